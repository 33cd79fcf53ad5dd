//! Events and tiles, written once and read as they are stored, and how a window came to its value.
//! Writes that must count exactly once stand in producer.rs. Knows nothing of connections.

use bytes::{Bytes, BytesMut};
use tilekv_protocol::native::{Request, Response, WriteOutcome};
use tilekv_protocol::{EventWrite, Reply, RequestShape, TileWrite, TileWriteMode, WriteLane};
use tilekv_tile::{Edge, Identifier, Name, ProducerStamp, Rows, Selector, Status, Value};

use crate::client::{Client, Resend, unexpected};
use crate::definition::edge_word;
use crate::error::ClientError;
use crate::reply::{
    Fields, bytes, integer, list, optional, text, truth, tuple, unexpected as unexpected_reply,
    unsigned, value,
};
use crate::service::SealsCounted;

/// Partials for one tile of one entity.
#[derive(Debug, Clone, PartialEq)]
pub struct TilePartials {
    /// The entity.
    pub entity: Bytes,
    /// The start of the tile in milliseconds since the epoch: a multiple of the tile size.
    pub tile_start: i64,
    /// Features and their partials in JSON, as `TILE.RANGE` prints them.
    pub partials: Vec<(Identifier, Bytes)>,
}

/// A stored tile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTile {
    /// Its start in milliseconds since the epoch.
    pub start: i64,
    /// The partial of each feature asked for, in JSON.
    pub partials: Vec<Bytes>,
}

/// How a window came to its value. Times are in milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The selector that was explained.
    pub selector: String,
    /// The edge that the window has: `closed` or `live`.
    pub edge: String,
    /// The tile size in milliseconds.
    pub tile_ms: i64,
    /// The start of the tile that holds the time of the read.
    pub floor: i64,
    /// Up to where the view is complete.
    pub complete_to: i64,
    /// The start of the window; none for a lifetime without a horizon.
    pub window_start: Option<i64>,
    /// The end of the window.
    pub window_end: i64,
    /// The end of the tiles that have ended.
    pub closed_end: i64,
    /// The retention horizon; none without retention.
    pub horizon: Option<i64>,
    /// How many stored tiles the value was merged from.
    pub tiles_read: u64,
    /// The tiles in the window, ascending.
    pub tiles: Vec<ExplainedTile>,
    /// The sealed ranges that matter to the window.
    pub seals: Vec<(i64, i64)>,
    /// The ranges of the window that are not complete.
    pub holes: Vec<(i64, i64)>,
    /// How far the value can be trusted.
    pub status: Status,
    /// The value.
    pub value: Value,
}

/// A tile that a window met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedTile {
    /// Its start.
    pub start: i64,
    /// Its length in milliseconds: the tile size, or a level's.
    pub span_ms: i64,
    /// Where it is stored, in the server's words.
    pub source: String,
    /// Whether it replaces everything older.
    pub is_base: bool,
    /// Whether something newer hides it.
    pub is_hidden: bool,
}

impl Client {
    /// Adds rows to the tiles that hold their times; gives how many were applied. The rest lies
    /// before the retention horizon. The batch is taken whole or not at all.
    ///
    /// # Errors
    /// `NoView`, `BadValue` naming the row, `Busy`, failures on the way. It is not sent again once
    /// it left, since it could count twice; see [`ClientError::may_have_been_applied`].
    pub async fn add_rows(&self, view: &Name, rows: Rows) -> Result<u64, ClientError> {
        let frame = encode_rows(view, rows, None, WriteLane::Stream)?;
        applied(self.write(&frame.bytes, frame.rows, Resend::IfNotSent).await?)
            .map(|(rows, _)| rows)
    }

    /// The same under a producer's stamp: it counts once, so it is sent again when its connection
    /// is lost. Gives 0 where the stamp's sequence had been applied before. Writes under stamps
    /// that follow one another go faster through a [`crate::Producer`], which sends several at
    /// once.
    ///
    /// # Errors
    /// As [`Client::add_rows`], and `OutOfOrder` where the stamp does not follow what was applied.
    pub async fn add_rows_stamped(
        &self,
        view: &Name,
        rows: Rows,
        stamp: ProducerStamp,
    ) -> Result<u64, ClientError> {
        let frame = encode_rows(view, rows, Some(stamp), WriteLane::Stream)?;
        applied(self.write(&frame.bytes, frame.rows, Resend::Always).await?).map(|(rows, _)| rows)
    }

    /// Replaces a tile: features that are left out become empty.
    ///
    /// # Errors
    /// As [`Client::add_rows`], and `TooOld` before the retention horizon.
    pub async fn set_tile(&self, view: &Name, tile: TilePartials) -> Result<(), ClientError> {
        self.write_tile(TileWriteMode::Set, view, tile).await
    }

    /// Merges partials into a tile: features that are left out stay.
    ///
    /// # Errors
    /// As [`Client::set_tile`].
    pub async fn merge_tile(&self, view: &Name, tile: TilePartials) -> Result<(), ClientError> {
        self.write_tile(TileWriteMode::Merge, view, tile).await
    }

    async fn write_tile(
        &self,
        mode: TileWriteMode,
        view: &Name,
        tile: TilePartials,
    ) -> Result<(), ClientError> {
        let frame = encode_tile(mode, view, tile, None)?;
        applied(self.write(&frame.bytes, frame.rows, Resend::IfNotSent).await?).map(|_| ())
    }

    /// The stored tiles of an entity whose start lies in `[from_ms, to_ms)`, ascending, with the
    /// partials of these features, or of all in the view's order.
    ///
    /// # Errors
    /// `NoView`, `NoFeature`, failures on the way.
    pub async fn tiles(
        &self,
        view: &Name,
        entity: &[u8],
        from_ms: i64,
        to_ms: i64,
        features: Option<&[Identifier]>,
    ) -> Result<Vec<StoredTile>, ClientError> {
        let (from, to) = (from_ms.to_string(), to_ms.to_string());
        let count = features.map_or(0, <[Identifier]>::len).to_string();
        let mut arguments: Vec<&[u8]> =
            vec![b"TILE.RANGE", view.as_ref(), entity, from.as_ref(), to.as_ref()];
        if let Some(features) = features {
            arguments.extend([&b"FEATURES"[..], count.as_ref()]);
            arguments.extend(features.iter().map(|feature| feature.as_str().as_bytes()));
        }
        list(self.run(&arguments, Resend::Always).await?, stored_tile)
    }

    /// Deletes the tiles of an entity whose start lies in `[from_ms, to_ms)`; gives how many.
    ///
    /// # Errors
    /// `NoView`, failures on the way.
    pub async fn delete_tiles(
        &self,
        view: &Name,
        entity: &[u8],
        from_ms: i64,
        to_ms: i64,
    ) -> Result<u64, ClientError> {
        let (from, to) = (from_ms.to_string(), to_ms.to_string());
        let arguments: [&[u8]; 5] =
            [b"TILE.DEL", view.as_ref(), entity, from.as_ref(), to.as_ref()];
        unsigned(self.run(&arguments, Resend::IfNotSent).await?)
    }

    /// Deletes all tiles of an entity from these views, or from all; gives how many.
    ///
    /// # Errors
    /// `NoView`, failures on the way.
    pub async fn delete_entity(
        &self,
        entity: &[u8],
        views: Option<&[Name]>,
    ) -> Result<u64, ClientError> {
        let count = views.map_or(0, <[Name]>::len).to_string();
        let mut arguments: Vec<&[u8]> = vec![b"ENTITY.DEL", entity];
        if let Some(views) = views {
            arguments.extend([&b"VIEWS"[..], count.as_ref()]);
            arguments.extend(views.iter().map(|view| view.as_str().as_bytes()));
        }
        unsigned(self.run(&arguments, Resend::IfNotSent).await?)
    }

    /// The last sequence of a producer that was applied to a view, durable with its data; none
    /// before its first.
    ///
    /// # Errors
    /// `NoView`, failures on the way.
    pub async fn producer_last(
        &self,
        view: &Name,
        producer: &[u8],
    ) -> Result<Option<u64>, ClientError> {
        let arguments: [&[u8]; 3] = [b"PRODUCER.GET", view.as_ref(), producer];
        optional(self.run(&arguments, Resend::Always).await?, unsigned)
    }

    /// How a window of an entity came to its value, by the server's clock or at a time in
    /// milliseconds since the epoch, where `seals` says which seals count.
    ///
    /// # Errors
    /// `NoView`, `NoFeature`, `BadWindow`, failures on the way.
    pub async fn explain(
        &self,
        view: &Name,
        entity: &[u8],
        selector: &Selector,
        (at_ms, seals): (Option<i64>, SealsCounted),
        edge: Option<Edge>,
    ) -> Result<Explanation, ClientError> {
        let (selector, at) = (selector.to_string(), at_ms.map(|at| at.to_string()));
        let mut arguments: Vec<&[u8]> =
            vec![b"WINDOW.EXPLAIN", view.as_ref(), entity, selector.as_ref()];
        if let Some(at) = &at {
            arguments.extend([&b"AT"[..], at.as_ref()]);
            arguments.extend((seals == SealsCounted::KnownThen).then_some(&b"KNOWN"[..]));
        }
        if let Some(edge) = edge {
            arguments.extend([&b"EDGE"[..], edge_word(edge).as_ref()]);
        }
        explanation(self.run(&arguments, Resend::Always).await?)
    }
}

/// A write that stands ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct WriteFrame {
    pub(crate) bytes: Bytes,
    pub(crate) rows: u64,
}

pub(crate) fn encode_rows(
    view: &Name,
    rows: Rows,
    stamp: Option<ProducerStamp>,
    lane: WriteLane,
) -> Result<WriteFrame, ClientError> {
    rows.validate()?;
    let row_count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    let (view, shape) = (view.clone(), RequestShape::Batch);
    let write = EventWrite { view, rows, stamp, shape, lane };
    encode(&Request::Events(Box::new(write)), row_count)
}

pub(crate) fn encode_tile(
    mode: TileWriteMode,
    view: &Name,
    tile: TilePartials,
    stamp: Option<ProducerStamp>,
) -> Result<WriteFrame, ClientError> {
    let TilePartials { entity, tile_start, partials } = tile;
    let (view, lane) = (view.clone(), WriteLane::Stream);
    let write = TileWrite { mode, view, entity, tile_start, partials, stamp, lane };
    encode(&Request::Tile(Box::new(write)), 1)
}

/// The request id is written when the frame is handed to a connection.
fn encode(request: &Request, rows: u64) -> Result<WriteFrame, ClientError> {
    let mut bytes = BytesMut::new();
    request.encode(0, &mut bytes)?;
    Ok(WriteFrame { bytes: bytes.freeze(), rows })
}

/// The rows applied by a write, and whether it was a duplicate.
pub(crate) fn applied(response: Response) -> Result<(u64, bool), ClientError> {
    match response {
        Response::Applied(applied) => Ok(match applied.outcome {
            WriteOutcome::Applied(rows) => (rows, false),
            WriteOutcome::Duplicate => (0, true),
        }),
        other => Err(unexpected("APPLIED", &other)),
    }
}

fn stored_tile(reply: Reply) -> Result<StoredTile, ClientError> {
    let [start, partials] = tuple(reply)?;
    Ok(StoredTile { start: integer(start)?, partials: list(partials, bytes)? })
}

fn explanation(reply: Reply) -> Result<Explanation, ClientError> {
    let mut fields = Fields::of(reply)?;
    let [window_start, window_end] = tuple(fields.take("window"))?;
    let status = fields.text("status")?;
    let unknown = || unexpected_reply("a status", &Reply::text(status.clone()));
    Ok(Explanation {
        selector: fields.text("selector")?,
        edge: fields.text("edge")?,
        tile_ms: fields.integer("tile_ms")?,
        floor: fields.integer("floor")?,
        complete_to: fields.integer("complete_to")?,
        window_start: optional(window_start, integer)?,
        window_end: integer(window_end)?,
        closed_end: fields.integer("closed_end")?,
        horizon: fields.optional_integer("horizon")?,
        tiles_read: fields.unsigned("tiles_read")?,
        tiles: fields.list("tiles", explained_tile)?,
        seals: fields.list("seals", time_range)?,
        holes: fields.list("holes", time_range)?,
        status: Status::parse(status.as_bytes()).ok_or_else(unknown)?,
        value: value(fields.take("result"))?,
    })
}

fn explained_tile(reply: Reply) -> Result<ExplainedTile, ClientError> {
    let mut fields = Fields::of(reply)?;
    Ok(ExplainedTile {
        start: fields.integer("start")?,
        span_ms: fields.integer("span_ms")?,
        source: text(fields.take("source"))?,
        is_base: truth(fields.take("base"))?,
        is_hidden: truth(fields.take("hidden"))?,
    })
}

fn time_range(reply: Reply) -> Result<(i64, i64), ClientError> {
    let [from, to] = tuple(reply)?;
    Ok((integer(from)?, integer(to)?))
}
