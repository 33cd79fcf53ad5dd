//! Writes under way in order: some are sent before the first is answered, and after a failure
//! they are sent again in the same order, where that cannot count anything twice. Producer and
//! loader are faces of it. Knows nothing of what the writes hold.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tilekv_tile::{After, Name, ProducerStamp};
use tokio::time::sleep;

use crate::client::Client;
use crate::connection::Pending;
use crate::error::{ClientError, Fate};
use crate::limits::{RESEND_ROUNDS_MAX, RETRY_WAIT_MAX};
use crate::tiles::{WriteFrame, applied};
use crate::window::Window;

/// The writes of one producer, or unstamped ones.
///
/// Stamped writes name the sequence before them (`AFTER`), so that the server applies none whose
/// predecessor it has not applied, whatever was lost or refused on the way.
#[derive(Debug)]
pub(crate) struct Pipeline {
    client: Client,
    /// The connection that all writes take while it lives.
    index: usize,
    view: Name,
    producer: Option<Bytes>,
    open: VecDeque<OpenWrite>,
    window: Window,
    /// The last sequence known to be applied.
    last: Option<u64>,
    /// Failures and rounds since the last write that was accepted.
    failures: usize,
    rounds: usize,
    tally: WriteTally,
}

/// What became of the writes of a producer or loader so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteTally {
    /// Writes that were acknowledged.
    pub batches: u64,
    /// Of these, writes that had been applied before: sent again, or by an earlier run.
    pub batches_duplicate: u64,
    /// Rows in the writes that were acknowledged.
    pub rows: u64,
    /// Rows that these acknowledgements applied; a duplicate's rows were applied before.
    pub rows_applied: u64,
    /// How often writes were sent again.
    pub resent: u64,
    /// How often the server said that it was busy.
    pub busy: u64,
}

#[derive(Debug)]
struct OpenWrite {
    sequence: Option<u64>,
    frame: WriteFrame,
    state: Sending,
    was_out_of_order: bool,
}

#[derive(Debug)]
enum Sending {
    /// To be sent.
    Ready,
    /// Sent and not answered.
    Sent(Pending),
    /// Answered before the writes ahead of it were: rows applied, and whether a duplicate.
    Answered(u64, bool),
}

/// What to do after a failure of the oldest write.
enum Advice {
    Resend { after: Duration },
    GiveUp,
}

impl Pipeline {
    /// A pipeline of unstamped writes, or of a producer that has applied up to `last`.
    pub(crate) fn new(
        client: Client,
        view: Name,
        producer: Option<Bytes>,
        last: Option<u64>,
        window: Window,
    ) -> Self {
        Self {
            index: client.pool().next_index(),
            client,
            view,
            producer,
            open: VecDeque::new(),
            window,
            last,
            failures: 0,
            rounds: 0,
            tally: WriteTally::default(),
        }
    }

    pub(crate) fn view(&self) -> &Name {
        &self.view
    }

    pub(crate) fn last(&self) -> Option<u64> {
        self.last
    }

    pub(crate) fn tally(&self) -> WriteTally {
        self.tally
    }

    pub(crate) fn window(&self) -> &Window {
        &self.window
    }

    /// The newest sequence handed over or known to be applied.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.open.back().map_or(self.last, |write| write.sequence)
    }

    /// Hands over a write once the window has room. `encode` gets the stamp.
    pub(crate) async fn push(
        &mut self,
        sequence: Option<u64>,
        encode: impl FnOnce(&Name, Option<ProducerStamp>) -> Result<WriteFrame, ClientError>,
    ) -> Result<(), ClientError> {
        while self.window.size() <= self.open.len() {
            self.settle_oldest().await?;
        }
        let frame = encode(&self.view, self.stamp(sequence)?)?;
        let state = Sending::Ready;
        self.open.push_back(OpenWrite { sequence, frame, state, was_out_of_order: false });
        match self.send_ready().await {
            // The write is under way now: what waits for it tries again.
            Err(error) if may_pass(&error) => Ok(()),
            Err(error) => {
                self.open.pop_back();
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    /// Waits until every write is acknowledged.
    pub(crate) async fn flush(&mut self) -> Result<(), ClientError> {
        while !self.open.is_empty() {
            self.settle_oldest().await?;
        }
        Ok(())
    }

    fn stamp(&self, sequence: Option<u64>) -> Result<Option<ProducerStamp>, ClientError> {
        let (Some(id), Some(sequence)) = (&self.producer, sequence) else {
            return Ok(None);
        };
        let after = match self.newest() {
            Some(last) if sequence <= last => {
                return Err(ClientError::SequenceNotGrowing { found: sequence, last });
            }
            Some(last) => After::Sequence(last),
            None => After::First,
        };
        Ok(Some(ProducerStamp { id: id.clone(), sequence, after }))
    }

    /// Sends what is not under way, in order. A failure that may pass leaves the rest for later.
    async fn send_ready(&mut self) -> Result<(), ClientError> {
        for write in &mut self.open {
            if !matches!(write.state, Sending::Ready) {
                continue;
            }
            let connection = self.client.pool().connection(self.index).await?;
            match connection.submit_write(&write.frame.bytes, write.frame.rows).await {
                Ok(pending) => write.state = Sending::Sent(pending),
                Err(ClientError::Lost { .. } | ClientError::TimedOut { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits for the oldest write's acknowledgement, sending again what must be.
    async fn settle_oldest(&mut self) -> Result<(), ClientError> {
        loop {
            self.send_ready().await?;
            let Some(oldest) = self.open.front_mut() else { return Ok(()) };
            let outcome = match &mut oldest.state {
                Sending::Answered(rows, is_duplicate) => Ok((*rows, *is_duplicate)),
                Sending::Sent(pending) => pending.answer().await.and_then(applied),
                Sending::Ready => Err(not_sent()),
            };
            match outcome {
                Ok((rows, is_duplicate)) => {
                    self.accept(rows, is_duplicate);
                    return Ok(());
                }
                Err(error) => self.recover(error).await?,
            }
        }
    }

    fn accept(&mut self, rows: u64, is_duplicate: bool) {
        let Some(write) = self.open.pop_front() else {
            unreachable!("a write that is accepted was open");
        };
        self.last = write.sequence.or(self.last);
        (self.failures, self.rounds) = (0, 0);
        self.tally.batches += 1;
        self.tally.batches_duplicate += u64::from(is_duplicate);
        self.tally.rows += write.frame.rows;
        self.tally.rows_applied += rows;
        self.window.succeed();
    }

    /// Makes the oldest write ready to be sent again after a wait, or gives the error back.
    async fn recover(&mut self, error: ClientError) -> Result<(), ClientError> {
        if matches!(error, ClientError::Busy { .. }) {
            self.tally.busy += 1;
            self.window.shrink();
        }
        let after = match self.advice(&error) {
            Advice::Resend { after } => after,
            Advice::GiveUp => return Err(self.give_up(error).await),
        };
        if self.producer.is_some() {
            self.settle_later().await;
        }
        self.tally.resent += 1;
        self.make_ready();
        sleep(after).await;
        Ok(())
    }

    fn advice(&mut self, error: &ClientError) -> Advice {
        self.rounds += 1;
        let Some(oldest) = self.open.front_mut() else {
            unreachable!("a write that failed is open");
        };
        let is_stamped = self.producer.is_some();
        let may_pass = match error {
            ClientError::Busy { retry_ms, .. } if self.rounds <= RESEND_ROUNDS_MAX => {
                let after = Duration::from_millis(*retry_ms).min(RETRY_WAIT_MAX);
                return Advice::Resend { after };
            }
            // It was sent behind a write that was refused, which by now is acknowledged.
            ClientError::OutOfOrder { .. } if is_stamped && !oldest.was_out_of_order => {
                oldest.was_out_of_order = true;
                return Advice::Resend { after: Duration::ZERO };
            }
            // The server agrees on what comes before it, and remembers an older refusal.
            ClientError::OutOfOrder { last, .. } => is_stamped && *last == self.last,
            ClientError::Loading { .. } => true,
            ClientError::Lost { fate, .. } | ClientError::TimedOut { fate, .. } => {
                is_stamped || *fate == Fate::NotApplied
            }
            _ => false,
        };
        self.failures += 1;
        match self.client.options().backoff.delay_after(self.failures) {
            Some(after) if may_pass => Advice::Resend { after },
            _ => Advice::GiveUp,
        }
    }

    /// Waits for the answers to all writes behind the oldest. Those that were refused because of
    /// it, or lost with it, become ready to be sent again.
    async fn settle_later(&mut self) {
        for write in self.open.iter_mut().skip(1) {
            let Sending::Sent(pending) = &mut write.state else { continue };
            write.state = match pending.answer().await.and_then(applied) {
                Ok((rows, is_duplicate)) => Sending::Answered(rows, is_duplicate),
                Err(_) => Sending::Ready,
            };
        }
    }

    fn make_ready(&mut self) {
        if let Some(oldest) = self.open.front_mut() {
            oldest.state = Sending::Ready;
        }
    }

    /// After a failure that may pass, the writes of a producer stay, to be tried again by the next
    /// call. After another, what was behind a producer's refused write was refused too and goes;
    /// of unstamped writes the failed one goes.
    async fn give_up(&mut self, error: ClientError) -> ClientError {
        self.failures = 0;
        self.rounds = 0;
        let is_stamped = self.producer.is_some();
        if is_stamped {
            self.settle_later().await;
        }
        match (is_stamped, may_pass(&error)) {
            (true, true) => self.make_ready(),
            (true, false) => self.open.clear(),
            (false, _) => drop(self.open.pop_front()),
        }
        error
    }
}

/// Whether the same write may succeed later.
fn may_pass(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Connect { .. }
            | ClientError::Lost { .. }
            | ClientError::TimedOut { .. }
            | ClientError::Loading { .. }
    )
}

/// The oldest write could not be handed to a connection.
fn not_sent() -> ClientError {
    let problem = std::io::Error::from(std::io::ErrorKind::NotConnected);
    ClientError::Lost { fate: Fate::NotApplied, problem: problem.into() }
}
