//! Reads that need pages from disk: a queue bounded in count and bytes, and the threads that load
//! the pages and answer. Reads of what is in memory never come here. Knows nothing of connections
//! but their numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use tilekv_engine::{EngineError, PageRequest, Plan, ReadOutcome, ReadTime, Version};
use tilekv_protocol::{ErrorReply, Reply, RequestShape, WindowsReply};
use tilekv_tile::Answers;

use crate::budget::Budget;
use crate::delivery::{ConnectionId, Delivery, SlowOutcome, SlowReply, Tag};
use crate::dispatch::scan::{self, Scan};
use crate::limits::{COLD_PAGE_BYTES, COLD_QUEUE_BYTES_MAX, COLD_QUEUE_COUNT_MAX};
use crate::refuse;
use crate::shared::Shared;

/// A read that needs pages, and where its reply goes.
#[derive(Debug)]
pub(crate) struct ColdRead {
    /// Position of the network thread.
    pub(crate) thread: usize,
    /// The connection.
    pub(crate) connection: ConnectionId,
    /// The request.
    pub(crate) tag: Tag,
    /// What to read.
    pub(crate) work: ColdWork,
    /// When the request was read from the socket.
    pub(crate) started: Instant,
}

/// What a cold read reads.
#[derive(Debug)]
pub(crate) enum ColdWork {
    /// Windows, from the state that the first attempt was made on.
    Windows(Box<ColdWindows>),
    /// Tiles of an entity, or the explanation of a window.
    Scan(Scan),
}

/// A window read that was tried and needs pages.
#[derive(Debug)]
pub(crate) struct ColdWindows {
    pub(crate) request: PageRequest,
    pub(crate) version: Arc<Version>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) now_ms: i64,
    pub(crate) time: ReadTime,
    pub(crate) entities: Vec<Bytes>,
    pub(crate) form: ColdForm,
}

/// How a window read is answered.
#[derive(Debug)]
pub(crate) enum ColdForm {
    /// As a command.
    Reply { with_status: bool, shape: RequestShape },
    /// As a frame of columns.
    Columns { with_status: bool },
}

/// The queue of cold reads.
#[derive(Debug)]
pub(crate) struct ColdQueue {
    reads: Sender<ColdRead>,
    /// Pages that waiting reads will hold.
    budget: Budget,
    /// When damage was last logged, by the server's clock.
    logged_ms: AtomicI64,
}

impl ColdQueue {
    /// A queue and its receiving end.
    pub(crate) fn new() -> (Self, Receiver<ColdRead>) {
        let (reads, receiver) = bounded(COLD_QUEUE_COUNT_MAX);
        let budget = Budget::new(COLD_QUEUE_BYTES_MAX);
        (Self { reads, budget, logged_ms: AtomicI64::new(i64::MIN) }, receiver)
    }

    /// Puts a read in; false if the queue is full.
    pub(crate) fn push(&self, read: ColdRead) -> bool {
        let bytes = read.work.bytes();
        // One read may be larger than the budget: it waits alone.
        if self.budget.used() != 0 && !self.budget.try_take(bytes) {
            return false;
        }
        if self.budget.used() == 0 {
            self.budget.take(bytes);
        }
        match self.reads.try_send(read) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.budget.release(bytes);
                false
            }
        }
    }

    /// Reads that wait.
    pub(crate) fn len(&self) -> usize {
        self.reads.len()
    }

    /// Bytes that waiting reads will hold.
    pub(crate) fn bytes(&self) -> usize {
        self.budget.used()
    }
}

impl ColdWork {
    fn bytes(&self) -> usize {
        let pages = match self {
            Self::Windows(windows) => windows.request.page_count(),
            Self::Scan(_) => 1,
        };
        pages * COLD_PAGE_BYTES
    }
}

/// Starts the threads.
pub(crate) fn start_workers(
    shared: &Arc<Shared>,
    reads: &Receiver<ColdRead>,
) -> std::io::Result<()> {
    for _ in 0..shared.config.cold_read_thread_count {
        let (shared, reads) = (Arc::clone(shared), reads.clone());
        std::thread::Builder::new().name("cold".to_owned()).spawn(move || {
            for read in reads {
                serve(&shared, read);
            }
        })?;
    }
    Ok(())
}

fn serve(shared: &Shared, read: ColdRead) {
    let ColdRead { thread, connection, tag, work, started } = read;
    let bytes = work.bytes();
    let reply = match work {
        ColdWork::Windows(windows) => {
            let answered = answer(shared, *windows);
            answered.unwrap_or_else(|error| SlowReply::Reply(Reply::Error(refuse(shared, &error))))
        }
        ColdWork::Scan(scan) => {
            let answered = scan::run(shared, &scan);
            SlowReply::Reply(answered.unwrap_or_else(Reply::Error))
        }
    };
    shared.cold_queue.budget.release(bytes);
    shared.metrics.cold.latency.record(started.elapsed(), 1);
    let delivery = Delivery::Slow(SlowOutcome { tag, reply, started });
    shared.clients.mailbox(thread).send(vec![(connection, delivery)]);
}

/// Answers a window read on the calling thread, which waits for the disk.
pub(crate) fn answer_in_place(shared: &Shared, windows: ColdWindows) -> Result<Reply, ErrorReply> {
    let started = Instant::now();
    let answered = answer(shared, windows);
    shared.metrics.cold.latency.record(started.elapsed(), 1);
    match answered.map_err(|error| refuse(shared, &error))? {
        SlowReply::Reply(reply) => Ok(reply),
        SlowReply::Columns { .. } => unreachable!("columns answer native frames only"),
    }
}

fn answer(shared: &Shared, windows: ColdWindows) -> Result<SlowReply, EngineError> {
    let ColdWindows { request, version, plan, now_ms, time, entities, form } = windows;
    let keys: Vec<&[u8]> = entities.iter().map(Bytes::as_ref).collect();
    let mut answers = Answers::default();
    let mut pinned = request.load()?;
    let (reader, clock) = (&shared.reader, (now_ms, &time));
    while let ReadOutcome::Needs(request) =
        reader.try_read_into(&version, &plan, clock, &keys, &mut answers, pinned)?
    {
        pinned = request.load()?;
    }
    Ok(match form {
        ColdForm::Reply { with_status, shape } => {
            let windows = WindowsReply { answers, with_status, shape };
            SlowReply::Reply(Reply::Windows(Box::new(windows)))
        }
        ColdForm::Columns { with_status } => SlowReply::Columns { answers, with_status },
    })
}

/// The reply of a failed read. Damage is logged now and then, and counted always.
pub(crate) fn refuse(shared: &Shared, error: &EngineError) -> ErrorReply {
    if let EngineError::Damaged { .. } = error {
        shared.metrics.cold.damaged.add(1);
        let now_ms = shared.clock.now_ms();
        let logged_ms = &shared.cold_queue.logged_ms;
        if logged_ms.load(Ordering::Relaxed).saturating_add(LOG_INTERVAL_MS) <= now_ms {
            logged_ms.store(now_ms, Ordering::Relaxed);
            tracing::error!(%error, "read a page of a segment");
        }
    }
    refuse::engine_error(error)
}

const LOG_INTERVAL_MS: i64 = 1_000;

#[cfg(test)]
mod tests {
    use tilekv_engine::disk::Disk;

    use crate::testing::Rig;

    const VIEW: &str = "VIEW.CREATE v TILE 1m COLUMNS 1 x:i64 FEATURES 2 n=count() s=sum(x)\r\n";
    const READ: &str = "WINDOW.GET v e n@lifetime s@lifetime\r\n";
    const ADD: &str = "TILE.ADD v e 1000 x 5\r\n";

    /// Waits until what was written lies in segments, and none of it in memory.
    fn wait_for_flush(rig: &Rig) {
        let is_flushed = || {
            let info = rig.shared.reader.snapshot().info();
            info.overlay_tiles == 0 && 0 < info.cold_bytes
        };
        while !is_flushed() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_is_not_in_memory_is_read_by_threads_of_its_own_and_answered_in_order() {
        let (mut rig, _disk) = Rig::without_memory();
        rig.talk(&[VIEW, ADD].concat());
        wait_for_flush(&rig);
        let input = [READ, "PING\r\n", ADD].concat();
        assert_eq!(rig.talk(&input), "*2\r\n:1\r\n:5\r\n+PONG\r\n:1\r\n");
        assert!(0 < rig.shared.reader.memory().pages.pages_read);
        assert_eq!(rig.shared.metrics.cold.latency.snapshot().count(), 1);
        let range = rig.talk("TILE.RANGE v e 0 60000\r\n");
        assert!(range.contains("\r\n2\r\n") && range.contains("10"), "{range}");
        assert!(rig.talk("WINDOW.EXPLAIN v e s@lifetime\r\n").contains(":10\r\n"));
        assert_eq!(rig.talk("TILE.DEL v e 0 60000\r\n"), ":1\r\n");
        assert_eq!(rig.talk(READ), "*2\r\n:0\r\n$-1\r\n");
    }

    #[test]
    fn a_damaged_page_is_refused_by_name_and_the_rest_is_served() {
        let (mut rig, disk) = Rig::without_memory();
        rig.talk(&[VIEW, ADD].concat());
        wait_for_flush(&rig);
        let names = disk.list().unwrap();
        let name = names.iter().find(|name| name.starts_with("segment-")).unwrap();
        disk.flip_bit(name, 50, 0).unwrap();
        let refused = rig.talk(READ);
        assert!(refused.starts_with("-DAMAGED segment-"), "{refused}");
        assert!(refused.contains("at byte 32"), "{refused}");
        assert!(rig.talk("TILE.DEL v e 0 60000\r\n").starts_with("-DAMAGED "));
        assert_eq!(rig.talk("WINDOW.GET v other n@lifetime\r\n"), "*1\r\n:0\r\n");
        let memory = rig.shared.reader.memory();
        assert!(0 < memory.pages.pages_damaged && 0 < rig.shared.metrics.cold.damaged.get());
    }
}
