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
