//! Requests that may read much data: VIEW.INFO, and TILE.RANGE over many tiles. They run on the
//! slow worker.

use bytes::Bytes;
use tilekv_engine::{PinnedPages, ReadOutcome, TileRange};
use tilekv_protocol::{ErrorReply, RecordScan, Reply, WindowExplain};
use tilekv_tile::{Identifier, Name};

use super::{Action, Answer, Context, records, views, windows};
use crate::cold_reads::{self, ColdWork};
use crate::limits::INLINE_RANGE_TILE_COUNT_MAX;
use crate::refuse;
use crate::shared::Shared;

/// A request for the slow worker.
#[derive(Debug)]
pub(crate) enum Scan {
    /// VIEW.INFO.
    ViewInfo(Name),
    /// SCAN.
    Records(RecordScan),
    /// KEYS.
    Keys(Bytes),
    /// TILE.RANGE.
    Range(Range),
    /// WINDOW.EXPLAIN.
    Explain(Box<WindowExplain>),
}

/// The arguments of TILE.RANGE.
#[derive(Debug)]
pub(crate) struct Range {
    /// The view.
    pub(crate) view: Name,
    /// The entity.
    pub(crate) entity: Bytes,
    /// First tile start.
    pub(crate) from: i64,
    /// End of the tile starts.
    pub(crate) to: i64,
    /// Features to print; all of the view's if none are named.
    pub(crate) features: Option<Vec<Identifier>>,
}

/// A range that can hold few tiles is answered at once, any other by the slow worker.
pub(super) fn range_action(context: &Context<'_>, range: Range) -> Result<Action, ErrorReply> {
    let (shared, version) = (context.shared, &context.version);
    let view = shared.reader.view(version, &range.view);
    let view = view.map_err(|error| refuse::engine_error(&error))?;
    let length = range.to.saturating_sub(range.from).max(0);
    let tile_count = length / view.definition().tile.millis().max(1);
    if INLINE_RANGE_TILE_COUNT_MAX < tile_count {
        return Ok(Action::Scan(Scan::Range(range)));
    }
    let asked = (&range.entity[..], range.from..range.to);
    let features = range.features.as_deref();
    let pinned = PinnedPages::default();
    let now_ms = context.now_ms;
    let tiles = shared.reader.try_range(version, &range.view, asked, features, now_ms, pinned);
    match tiles.map_err(|error| refuse::engine_error(&error))? {
        ReadOutcome::Ready(tiles) => Ok(Action::Reply(range_reply(tiles))),
        ReadOutcome::Needs(_) => Ok(Action::Cold(ColdWork::Scan(Scan::Range(range)))),
    }
}

/// Runs a request on the calling thread, which may take long.
pub(crate) fn run(shared: &Shared, scan: &Scan) -> Answer {
    let version = shared.reader.snapshot();
    let now_ms = shared.clock.now_ms();
    match scan {
        Scan::ViewInfo(view) => {
            let info = shared.reader.view_info(&version, view, now_ms);
            info.map(|info| views::info(&info)).map_err(|error| cold_reads::refuse(shared, &error))
        }
        Scan::Records(scan) => records::scan_keys(shared, version.records(), now_ms, scan),
        Scan::Keys(pattern) => Ok(records::keys(version.records(), now_ms, pattern)),
        Scan::Explain(explain) => windows::explain_in_place(shared, &version, now_ms, explain),
        Scan::Range(range) => read_range(shared, &version, now_ms, range),
    }
}

fn read_range(
    shared: &Shared,
    version: &tilekv_engine::Version,
    now_ms: i64,
    range: &Range,
) -> Answer {
    let Range { view, entity, from, to, features } = range;
    let reader = &shared.reader;
    let tiles = reader.range(version, view, entity, *from..*to, features.as_deref(), now_ms);
    tiles.map(range_reply).map_err(|error| cold_reads::refuse(shared, &error))
}

fn range_reply(tiles: TileRange) -> Reply {
    let tile = |(start, partials): (i64, Vec<String>)| {
        let partials = partials.into_iter().map(Reply::text).collect();
        Reply::Array(vec![Reply::Integer(start), Reply::Array(partials)])
    };
    Reply::Array(tiles.into_iter().map(tile).collect())
}
