//! Writes that count exactly once, under sequences of the caller's own, such as the offsets of a
//! topic's partition. Knows nothing of how they are sent again.

use bytes::Bytes;
use tilekv_protocol::{TileWriteMode, WriteLane};
use tilekv_tile::{Name, Rows};

use crate::client::Client;
use crate::error::ClientError;
use crate::pipeline::{Pipeline, WriteTally};
use crate::tiles::{TilePartials, encode_rows, encode_tile};
use crate::window::Window;

/// Writes under way of a producer, unless said otherwise.
const WINDOW_DEFAULT: usize = 16;

/// One ordered writer of a view. Each write carries the producer's id and a sequence that grows;
/// the server applies each once, keeps the last sequence durably with the data, and applies none
/// whose predecessor it has not. After a lost connection, a time-out or `Busy`, writes are sent
/// again in order by the client's schedule.
///
/// Writes are handed over with `send`, which waits only while too many are under way, and are
/// acknowledged with [`Producer::flush`]. An id belongs to one producer at a time: a second one
/// gets `OutOfOrder`, and so does one whose acknowledged writes the server lost because it was
/// told to run without durability.
///
/// After `Connect`, `Lost`, `TimedOut` or `Loading`, the writes under way stay, and the next call
/// tries them again. After any other error, nothing from the refused sequence on was applied and
/// those writes are forgotten: go on behind [`Producer::last`].
#[derive(Debug)]
pub struct Producer {
    pipeline: Pipeline,
}

/// What became of a write that was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handed {
    /// It is under way.
    UnderWay,
    /// Its sequence had been applied before; nothing was sent.
    AlreadyApplied,
}

impl Producer {
    /// Opens a producer and asks the server for its last sequence.
    ///
    /// # Errors
    /// `NoView`, failures on the way.
    pub async fn open(
        client: &Client,
        view: &Name,
        id: impl Into<Bytes>,
    ) -> Result<Self, ClientError> {
        let id = id.into();
        let last = client.producer_last(view, &id).await?;
        let window = Window::fixed(WINDOW_DEFAULT);
        let pipeline = Pipeline::new(client.clone(), view.clone(), Some(id), last, window);
        Ok(Self { pipeline })
    }

    /// The last sequence known to be applied, durable with its data.
    pub fn last(&self) -> Option<u64> {
        self.pipeline.last()
    }

    /// What became of the writes so far.
    pub fn tally(&self) -> WriteTally {
        self.pipeline.tally()
    }

    /// Hands over rows under a sequence. Rows before the retention horizon are skipped by the
    /// server and counted there.
    ///
    /// # Errors
    /// `SequenceNotGrowing` for one not above those under way; `Input`; and what writes before it
    /// failed with, see above.
    pub async fn send(&mut self, sequence: u64, rows: Rows) -> Result<Handed, ClientError> {
        if self.is_applied(sequence) {
            return Ok(Handed::AlreadyApplied);
        }
        let lane = WriteLane::Stream;
        let encode = move |view: &Name, stamp: Option<_>| encode_rows(view, rows, stamp, lane);
        self.pipeline.push(Some(sequence), encode).await?;
        Ok(Handed::UnderWay)
    }

    /// Hands over a tile that replaces the one stored.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub async fn set_tile(
        &mut self,
        sequence: u64,
        tile: TilePartials,
    ) -> Result<Handed, ClientError> {
        self.send_tile(TileWriteMode::Set, sequence, tile).await
    }

    /// Hands over partials that are merged into the tile stored.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub async fn merge_tile(
        &mut self,
        sequence: u64,
        tile: TilePartials,
    ) -> Result<Handed, ClientError> {
        self.send_tile(TileWriteMode::Merge, sequence, tile).await
    }

    async fn send_tile(
        &mut self,
        mode: TileWriteMode,
        sequence: u64,
        tile: TilePartials,
    ) -> Result<Handed, ClientError> {
        if self.is_applied(sequence) {
            return Ok(Handed::AlreadyApplied);
        }
        let encode = move |view: &Name, stamp: Option<_>| encode_tile(mode, view, tile, stamp);
        self.pipeline.push(Some(sequence), encode).await?;
        Ok(Handed::UnderWay)
    }

    /// Waits until every write handed over is acknowledged: then [`Producer::last`] is the newest.
    ///
    /// # Errors
    /// What a write failed with, see above.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        self.pipeline.flush().await
    }

    fn is_applied(&self, sequence: u64) -> bool {
        self.last().is_some_and(|last| sequence <= last)
    }
}
