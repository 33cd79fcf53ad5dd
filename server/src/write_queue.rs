//! The queue of writes between the network threads and the committer, bounded in bytes and in
//! messages. Knows nothing of what a write does.

use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, unbounded};
use parking_lot::Mutex;
use tilekv_engine::{SealedJob, Write};

use crate::budget::Budget;
use crate::delivery::{ConnectionId, Tag};
use crate::refusals::StampKey;

/// The writes of one socket read.
#[derive(Debug)]
pub(crate) struct WriteBatch {
    /// Position of the network thread that gets the outcomes.
    pub(crate) thread: usize,
    /// The connection that they came from.
    pub(crate) connection: ConnectionId,
    /// What the connection sent, in order.
    pub(crate) entries: Vec<QueuedWrite>,
    /// Bytes that were reserved for the entries.
    pub(crate) bytes: usize,
    /// When the batch was read from the socket.
    pub(crate) started: Instant,
}

/// One entry of a batch.
#[derive(Debug)]
pub(crate) enum QueuedWrite {
    /// A write to prepare and answer.
    Write(Tag, Box<Write>),
    /// A sealed job to publish and answer.
    Job(Tag, SealedJob),
    /// A producer's command that was refused and answered before it got here: the committer must
    /// refuse what follows it.
    Refused(StampKey, u64),
}

/// Both ends of the queue. Network threads reserve and send, the committer takes. The byte budget
/// bounds the count as well, since every entry reserves [`ENTRY_BYTES`] beside its own bytes.
#[derive(Debug)]
pub(crate) struct WriteQueue {
    sender: Sender<WriteBatch>,
    receiver: Receiver<WriteBatch>,
    budget: Budget,
    /// Guards the recent rate at which the committer works.
    rate: Mutex<DrainRate>,
}

/// How fast a queue has drained lately.
#[derive(Debug, Default)]
pub(crate) struct DrainRate {
    bytes_per_ms: usize,
}

/// Bytes reserved for an entry beside those of its command.
pub(crate) const ENTRY_BYTES: usize = 256;

impl WriteQueue {
    /// An empty queue for that many bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        let (sender, receiver) = unbounded();
        let rate = Mutex::new(DrainRate::default());
        Self { sender, receiver, budget: Budget::new(bytes_max), rate }
    }

    /// Reserves room for an entry; false if the queue is full.
    pub(crate) fn reserve(&self, bytes: usize) -> bool {
        self.budget.try_take(bytes)
    }

    /// Puts in a batch whose bytes were reserved.
    pub(crate) fn send(&self, batch: WriteBatch) {
        if self.sender.send(batch).is_err() {
            unreachable!("the queue holds its own receiver");
        }
    }

    /// The committer's end.
    pub(crate) fn receiver(&self) -> &Receiver<WriteBatch> {
        &self.receiver
    }

    /// Tells that the committer has dealt with bytes in that time.
    pub(crate) fn release(&self, bytes: usize, time: Duration) {
        self.budget.release(bytes);
        self.rate.lock().note(bytes, time);
    }

    /// How long a refused writer should wait, by how fast the queue has drained lately.
    pub(crate) fn retry_ms(&self) -> u64 {
        self.rate.lock().retry_ms(self.budget.used())
    }

    /// Bytes in the queue and in the commit under way.
    pub(crate) fn bytes(&self) -> usize {
        self.budget.used()
    }

    /// Bytes beyond which the queue is full.
    pub(crate) fn bytes_max(&self) -> usize {
        self.budget.bytes_max()
    }

    /// Batches that wait.
    pub(crate) fn len(&self) -> usize {
        self.receiver.len()
    }
}

impl DrainRate {
    /// Bytes were dealt with in that time.
    pub(crate) fn note(&mut self, bytes: usize, time: Duration) {
        let time_ms = usize::try_from(time.as_micros() / 1000).unwrap_or(usize::MAX).max(1);
        self.bytes_per_ms = (self.bytes_per_ms * 7 + bytes / time_ms) / 8;
    }

    /// How long it takes to drain so many bytes: 1 ms to 1 s.
    pub(crate) fn retry_ms(&self, bytes: usize) -> u64 {
        let wait_ms = (bytes / self.bytes_per_ms.max(1)).clamp(1, 1000);
        u64::try_from(wait_ms).unwrap_or(1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_takes_no_more_until_it_drains() {
        let queue = WriteQueue::new(100);
        assert!(queue.reserve(60));
        assert!(!queue.reserve(41));
        assert!(queue.reserve(40));
        let (thread, connection, started) = (0, 1, Instant::now());
        queue.send(WriteBatch { thread, connection, entries: Vec::new(), bytes: 100, started });
        assert_eq!((queue.bytes(), queue.len()), (100, 1));
        assert!((1..=1000).contains(&queue.retry_ms()));
        let taken = queue.receiver().try_recv().unwrap();
        queue.release(taken.bytes, Duration::from_millis(2));
        assert!(queue.reserve(100));
    }
}
