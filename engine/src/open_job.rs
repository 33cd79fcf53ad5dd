//! Owns one open job: who works on its rows, when it is given up, and how it is handed to the
//! writer and back. Knows nothing of other jobs.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tilekv_tile::Name;

use crate::catalog::{View, ViewId};
use crate::codec::bytes_u64;
use crate::error::EngineError;
use crate::job::{JobCommit, JobId, JobInfo, JobMode, JobState};
use crate::job_writer::JobWriter;
use crate::record::JobRecord;
use crate::segment::Segment;
use crate::version::Version;

/// A job that was begun.
#[derive(Debug)]
pub(crate) struct OpenJob {
    pub(crate) id: JobId,
    pub(crate) view: ViewId,
    pub(crate) name: Name,
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) mode: JobMode,
    pub(crate) token: Option<Bytes>,
    pub(crate) timeout_ms: i64,
    /// The view's features when the job was begun: later ones get no data from its first rows.
    pub(crate) feature_count: u16,
    pub(crate) begun_at: i64,
    pub(crate) touched_at: AtomicI64,
    pub(crate) rows: AtomicU64,
    pub(crate) bytes: AtomicU64,
    /// Guards who works on the rows. Whoever does takes them out, so that the lock is not held
    /// across disk I/O.
    pub(crate) slot: Mutex<Slot>,
}

#[derive(Debug)]
pub(crate) enum Slot {
    Idle(Box<JobWriter>),
    Busy,
    Committed,
    Gone,
}

/// A job whose rows are durable and not yet published. Dropping it opens the job again.
pub struct SealedJob {
    pub(crate) working: Working,
    pub(crate) segment: Option<Arc<Segment>>,
    pub(crate) seals: bool,
    pub(crate) counters: Arc<Counters>,
}

/// What has become of jobs.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) begun: AtomicU64,
    pub(crate) committed: AtomicU64,
    pub(crate) aborted: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) rows: AtomicU64,
}

impl OpenJob {
    /// The view, unless it was dropped.
    pub(crate) fn view<'a>(&self, version: &'a Version) -> Result<&'a Arc<View>, EngineError> {
        version.catalog.view(self.view).ok_or_else(|| EngineError::NoView(self.name.to_string()))
    }

    /// When the job is given up unless a call names it.
    pub(crate) fn expires_at(&self) -> i64 {
        self.touched_at.load(Ordering::Relaxed).saturating_add(self.timeout_ms)
    }

    /// Whether it takes rows no more.
    pub(crate) fn is_over(&self) -> bool {
        matches!(*self.slot.lock(), Slot::Committed | Slot::Gone)
    }

    /// Takes the rows out, to work on them.
    pub(crate) fn take_writer(self: &Arc<Self>) -> Result<Working, EngineError> {
        let mut slot = self.slot.lock();
        match std::mem::replace(&mut *slot, Slot::Busy) {
            Slot::Idle(writer) => Ok(Working { job: Arc::clone(self), writer: Some(writer) }),
            Slot::Busy => Err(EngineError::Busy { retry_ms: JOB_RETRY_MS }),
            over @ (Slot::Committed | Slot::Gone) => {
                *slot = over;
                Err(no_job(self.id))
            }
        }
    }

    fn give_back(&self, writer: Box<JobWriter>) {
        let bytes = bytes_u64(writer.memory_bytes()) + writer.file_bytes();
        self.rows.store(writer.rows, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
        *self.slot.lock() = Slot::Idle(writer);
    }

    /// Its figures.
    pub(crate) fn info(&self) -> JobInfo {
        let state = match *self.slot.lock() {
            Slot::Idle(_) => JobState::Open,
            Slot::Busy => JobState::Busy,
            Slot::Committed | Slot::Gone => JobState::Committed,
        };
        JobInfo {
            id: self.id,
            view: Some(self.name.clone()),
            from: self.from,
            to: self.to,
            mode: self.mode,
            state,
            rows: self.rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            begun_at: Some(self.begun_at),
            expires_at: Some(self.expires_at()),
            committed_at: None,
            token: self.token.clone(),
        }
    }
}

/// The rows of a job while a call works on them; given back when the call ends.
pub(crate) struct Working {
    job: Arc<OpenJob>,
    writer: Option<Box<JobWriter>>,
}

impl Working {
    /// The rows.
    pub(crate) fn rows(&self) -> &JobWriter {
        let Some(writer) = &self.writer else { unreachable!("{KEPT}") };
        writer
    }

    /// The rows, to be worked on.
    pub(crate) fn writer(&mut self) -> &mut JobWriter {
        let Some(writer) = &mut self.writer else { unreachable!("{KEPT}") };
        writer
    }

    /// Keeps the rows from being given back.
    pub(crate) fn keep(mut self) -> Option<Box<JobWriter>> {
        self.writer.take()
    }

    /// Judges the number of rows.
    pub(crate) fn check_rows(&self, view: &View, commit: JobCommit) -> Result<(), EngineError> {
        let taken = self.rows().rows;
        if let Some(expected) = commit.rows.filter(|&expected| expected != taken) {
            return Err(EngineError::RowCount { expected, taken });
        }
        let least = view.definition.min_rows.max(1);
        if commit.allows_empty || least <= taken {
            return Ok(());
        }
        Err(EngineError::EmptyJob(format!(
            "the job took {taken} rows and view `{}` needs {least}; nothing was published or \
             sealed. Send the rows, or say EMPTY if the source is known to be so",
            view.definition.name
        )))
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            self.job.give_back(writer);
        }
    }
}

impl SealedJob {
    /// The view that the rows belong to.
    pub(crate) fn view(&self) -> (ViewId, &Name) {
        (self.working.job.view, &self.working.job.name)
    }

    /// The segment that holds them.
    pub(crate) fn segment(&self) -> Option<&Arc<Segment>> {
        self.segment.as_ref()
    }

    /// The commit as the log holds it, staged at `now_ms`.
    pub(crate) fn record(&self, now_ms: i64) -> JobRecord<'_> {
        let (job, writer) = (&self.working.job, self.working.rows());
        JobRecord {
            view: job.view,
            id: job.id,
            token: job.token.as_deref(),
            from: job.from,
            to: job.to,
            mode: job.mode,
            sealed_at: self.seals.then_some(now_ms),
            rows: writer.rows,
            feature_count: job.feature_count,
            oldest: writer.oldest,
            newest: writer.newest,
            segment: self.segment.as_ref().map(|segment| segment.id),
        }
    }

    /// Ends the job: its rows are published.
    pub(crate) fn commit(self) {
        let job = Arc::clone(&self.working.job);
        drop(self.working.keep());
        *job.slot.lock() = Slot::Committed;
        self.counters.committed.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for SealedJob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sealed job {}", self.working.job.id)
    }
}

/// The refusal of a job that is not known.
pub(crate) fn no_job(id: JobId) -> EngineError {
    EngineError::NoJob(id.to_string())
}

const KEPT: &str = "the rows are kept at most once, at the end";
/// What a call that meets another one at work is told to wait.
const JOB_RETRY_MS: u64 = 5;
