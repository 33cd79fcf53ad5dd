//! Bulk writes at the rate that the server takes: numbered batches, in order, as many under way
//! as its credit and its answers allow. Knows nothing of where rows come from.

use bytes::Bytes;
use tilekv_protocol::WriteLane;
use tilekv_tile::{Name, Rows};

use crate::client::Client;
use crate::error::ClientError;
use crate::pipeline::{Pipeline, WriteTally};
use crate::producer::Handed;
use crate::tiles::encode_rows;
use crate::window::Window;

/// How a loader writes.
#[derive(Debug, Clone)]
pub struct LoaderOptions {
    /// The producer's id under which the batches count exactly once, also over several runs that
    /// hand over the same batches; none lets batches count again that are loaded again.
    pub producer: Option<Bytes>,
    /// How many batches may be under way at most; 16 by default. Fewer are as long as the server
    /// is busy: the number begins at 2, grows while batches are acknowledged, and is halved at
    /// each `Busy`.
    pub batches_in_flight_max: usize,
    /// The server's queue: backfill by default, which gives way to reads.
    pub lane: WriteLane,
}

impl LoaderOptions {
    /// Batches that count once under this producer's id.
    pub fn exactly_once(producer: impl Into<Bytes>) -> Self {
        Self { producer: Some(producer.into()), ..Self::unstamped() }
    }

    /// Batches that nobody vouches for. They are not sent again once they left, so a lost
    /// connection ends the load with an error.
    pub fn unstamped() -> Self {
        Self { producer: None, batches_in_flight_max: 16, lane: WriteLane::Backfill }
    }
}

/// Writes batches of rows as fast as the server takes them. With a producer's id, batch `n`
/// (counted from 1) has the sequence `n`: a run that hands over the same batches again skips those
/// that are applied, which is how a load goes on where an earlier one broke off.
#[derive(Debug)]
pub struct Loader {
    pipeline: Pipeline,
    lane: WriteLane,
    batches: u64,
    resumed_after: u64,
}

impl Loader {
    /// Opens a loader; with a producer's id, asks the server for the batches that are applied.
    ///
    /// # Errors
    /// `NoView`, failures on the way.
    pub async fn open(
        client: &Client,
        view: &Name,
        options: LoaderOptions,
    ) -> Result<Self, ClientError> {
        let LoaderOptions { producer, batches_in_flight_max, lane } = options;
        let last = match &producer {
            Some(id) => client.producer_last(view, id).await?,
            None => None,
        };
        let window = Window::adaptive(batches_in_flight_max);
        let pipeline = Pipeline::new(client.clone(), view.clone(), producer, last, window);
        Ok(Self { pipeline, lane, batches: 0, resumed_after: last.unwrap_or(0) })
    }

    /// How many batches of an earlier run are applied: so many are skipped.
    pub fn resumed_after(&self) -> u64 {
        self.resumed_after
    }

    /// Whether the next batch was applied by an earlier run, so that its rows need not be made:
    /// [`Loader::skip`] it.
    pub fn is_next_applied(&self) -> bool {
        self.batches < self.resumed_after
    }

    /// Passes over a batch that is applied.
    ///
    /// # Panics
    /// Where the next batch is not applied: skipping it would lose its rows.
    pub fn skip(&mut self) {
        assert!(self.is_next_applied(), "only a batch that is applied is skipped");
        self.batches += 1;
    }

    /// Hands over the next batch; waits while as many are under way as may be. Rows before the
    /// retention horizon are skipped by the server and counted there.
    ///
    /// # Errors
    /// What batches before it failed with. After `Connect`, `Lost`, `TimedOut` or `Loading`, those
    /// of a producer stay and [`Loader::flush`] tries them again, but this batch was not taken.
    /// After any other error the load cannot go on with this loader.
    pub async fn send(&mut self, rows: Rows) -> Result<Handed, ClientError> {
        if self.is_next_applied() {
            self.skip();
            return Ok(Handed::AlreadyApplied);
        }
        let lane = self.lane;
        let encode = move |view: &Name, stamp: Option<_>| encode_rows(view, rows, stamp, lane);
        self.pipeline.push(Some(self.batches + 1), encode).await?;
        self.batches += 1;
        Ok(Handed::UnderWay)
    }

    /// Waits until every batch handed over is acknowledged.
    ///
    /// # Errors
    /// What a batch failed with, as [`Loader::send`].
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        self.pipeline.flush().await
    }

    /// The view that is loaded.
    pub fn view(&self) -> &Name {
        self.pipeline.view()
    }

    /// How many batches may be under way at the moment.
    pub fn window(&self) -> usize {
        self.pipeline.window().size()
    }

    /// What became of the batches so far, skipped ones not counted.
    pub fn tally(&self) -> WriteTally {
        self.pipeline.tally()
    }
}
