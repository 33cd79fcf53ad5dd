//! Owns the registry of jobs: rows that are taken beside the live data and published at once. Any
//! thread fills them; the writer publishes what was sealed. Open jobs live in memory and in files
//! of their own, and are gone after a restart. It has no clock: every call is told the time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::Mutex;
use tilekv_tile::{Rows, check_tile_range};
use tilekv_wal::Disk;

use crate::catalog::ViewId;
use crate::error::EngineError;
use crate::job::{JobCommit, JobCounters, JobId, JobInfo, JobMode, JobRequest, JobState, JobTile};
use crate::job_table::CommittedJob;
use crate::job_writer::{JobFiles, JobWriter};
use crate::limits::{JOB_TIMEOUT_MS, JOB_TIMEOUT_MS_MAX, JOB_TOKEN_BYTES_MAX};
use crate::open_job::{Counters, OpenJob, SealedJob, Slot, no_job};
use crate::options::EngineOptions;
use crate::reader::Shared;
use crate::segment::SegmentIds;
use crate::version::Version;

/// What the jobs of a store are built on.
pub(crate) struct JobsContext {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) segment_ids: Arc<SegmentIds>,
    pub(crate) hash_seed: u64,
    pub(crate) options: EngineOptions,
}

/// The open jobs of a store.
pub struct Jobs {
    context: JobsContext,
    /// Guards which jobs are open.
    open: Mutex<HashMap<JobId, Arc<OpenJob>>>,
    drawn: AtomicU64,
    counters: Arc<Counters>,
}

impl fmt::Debug for Jobs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Jobs").field("counters", &self.counters).finish_non_exhaustive()
    }
}

/// What sealing a job led to.
#[derive(Debug)]
pub enum Sealing {
    /// It was committed before.
    Committed,
    /// Its rows are durable: publish them with [`crate::Engine::prepare_job`].
    Ready(SealedJob),
}

impl Jobs {
    /// No jobs yet.
    pub(crate) fn new(context: JobsContext) -> Self {
        Self { context, open: Mutex::default(), drawn: AtomicU64::new(0), counters: Arc::default() }
    }

    /// Begins a job, or finds the one that was begun with the same token.
    ///
    /// # Errors
    /// There is no such view, the range is no whole tiles, the token belongs to a job of another
    /// range or mode, or too many jobs are open.
    pub fn begin(&self, now_ms: i64, request: JobRequest) -> Result<JobId, EngineError> {
        let version = self.context.shared.version.load();
        let view = version.catalog.named(&request.view)?;
        check_tile_range(request.from, request.to, view.definition.tile)?;
        let timeout_ms = request.timeout_ms.unwrap_or(JOB_TIMEOUT_MS);
        check_timeout(timeout_ms)?;
        if let Some(token) = &request.token {
            check_token(token)?;
            if let Some(known) = self.find_token(view.id, token, now_ms) {
                known.check_same(&request)?;
                self.find(now_ms, known.id)?;
                return Ok(known.id);
            }
        }
        let mut open = self.open.lock();
        open.retain(|_, job| !job.is_over());
        if self.context.options.job_count_max <= open.len() {
            return Err(EngineError::Limit(format!(
                "{} jobs are open, the limit; commit or abort one first",
                open.len()
            )));
        }
        let id = self.draw_id(&open);
        let Ok(feature_count) = u16::try_from(view.features.len()) else {
            unreachable!("limits bound the features of a view");
        };
        let job = OpenJob {
            id,
            view: view.id,
            name: request.view,
            from: request.from,
            to: request.to,
            mode: request.mode,
            token: request.token,
            timeout_ms,
            feature_count,
            begun_at: now_ms,
            touched_at: AtomicI64::new(now_ms),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            slot: Mutex::new(Slot::Idle(Box::new(JobWriter::new(Arc::clone(view))))),
        };
        open.insert(id, Arc::new(job));
        self.counters.begun.fetch_add(1, Ordering::Relaxed);
        Ok(id)
    }

    /// Takes all of `rows`, or none. Returns how many were taken: 0 for a sequence that was taken
    /// before, and for a job that is committed.
    ///
    /// # Errors
    /// A row is wrong or outside the range, the disk is full, another call is at work on the job,
    /// or there is no such job.
    pub fn put_rows(
        &self,
        now_ms: i64,
        job: JobId,
        sequence: Option<u64>,
        rows: Rows,
    ) -> Result<u64, EngineError> {
        self.put(now_ms, job, sequence, |writer, range| writer.put_rows(rows, range))
    }

    /// As [`Jobs::put_rows`], for whole tiles; a tile given twice is merged.
    ///
    /// # Errors
    /// As [`Jobs::put_rows`].
    pub fn put_tiles(
        &self,
        now_ms: i64,
        job: JobId,
        sequence: Option<u64>,
        tiles: &[JobTile],
    ) -> Result<u64, EngineError> {
        self.put(now_ms, job, sequence, |writer, range| writer.put_tiles(tiles, range))
    }

    /// Makes the job's rows durable in one segment, ready to be published. Slow: it writes and
    /// syncs a file.
    ///
    /// # Errors
    /// The job took too few rows, or another number than the commit says, its view is gone, the
    /// disk is full, another call is at work on it, or there is no such job. The job stays open.
    pub fn seal(&self, now_ms: i64, job: JobId, commit: JobCommit) -> Result<Sealing, EngineError> {
        let Some(job) = self.find(now_ms, job)? else {
            return Ok(Sealing::Committed);
        };
        let version = self.context.shared.version.load_full();
        let view = job.view(&version)?;
        let mut working = job.take_writer()?;
        working.check_rows(view, commit).inspect_err(|_| {
            self.counters.refused.fetch_add(1, Ordering::Relaxed);
        })?;
        let segment = working.writer().seal(job.mode, (job.from, job.to), &self.files(&version))?;
        Ok(Sealing::Ready(SealedJob {
            working,
            segment,
            seals: commit.seals,
            counters: Arc::clone(&self.counters),
        }))
    }

    /// Gives the job up and removes its files.
    ///
    /// # Errors
    /// It is committed, another call is at work on it, or there is no such job.
    pub fn abort(&self, now_ms: i64, job: JobId) -> Result<(), EngineError> {
        let Some(job) = self.find(now_ms, job)? else {
            return Err(EngineError::NoJob(format!("{job}, which is committed already")));
        };
        let writer = job.take_writer()?.keep();
        self.remove(&job, writer)?;
        self.counters.aborted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Figures of a job, open or committed in the last days.
    ///
    /// # Errors
    /// There is no such job.
    pub fn info(&self, now_ms: i64, job: JobId) -> Result<JobInfo, EngineError> {
        if let Some(open) = self.find(now_ms, job)? {
            return Ok(open.info());
        }
        let version = self.context.shared.version.load();
        let jobs = self.context.shared.jobs.read();
        let known = jobs.get(job, now_ms).ok_or_else(|| no_job(job))?;
        Ok(committed_info(&version, known))
    }

    /// Figures of all jobs, open ones first, each in the order of their ids.
    #[must_use]
    pub fn list(&self, now_ms: i64) -> Vec<JobInfo> {
        let open = self.open.lock();
        let mut listed: Vec<JobInfo> =
            open.values().filter(|job| !job.is_over()).map(|job| job.info()).collect();
        drop(open);
        listed.sort_unstable_by_key(|job| job.id);
        let version = self.context.shared.version.load();
        let jobs = self.context.shared.jobs.read();
        let mut committed: Vec<JobInfo> =
            jobs.iter(now_ms).map(|job| committed_info(&version, job)).collect();
        committed.sort_unstable_by_key(|job| job.id);
        listed.extend(committed);
        listed
    }

    /// Gives up jobs that no call has named for their time-out, and those whose view is gone.
    ///
    /// # Errors
    /// The disk failed.
    pub fn expire(&self, now_ms: i64) -> Result<(), EngineError> {
        let version = self.context.shared.version.load_full();
        let open: Vec<Arc<OpenJob>> = self.open.lock().values().cloned().collect();
        for job in open {
            if job.expires_at() <= now_ms {
                self.give_up(&job, &self.counters.expired)?;
            } else if job.view(&version).is_err() {
                self.give_up(&job, &self.counters.aborted)?;
            }
        }
        self.open.lock().retain(|_, job| !job.is_over());
        Ok(())
    }

    /// What has become of jobs since the store was opened.
    #[must_use]
    pub fn counters(&self) -> JobCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        JobCounters {
            begun: read(&self.counters.begun),
            committed: read(&self.counters.committed),
            aborted: read(&self.counters.aborted),
            expired: read(&self.counters.expired),
            refused: read(&self.counters.refused),
            rows: read(&self.counters.rows),
        }
    }

    fn put(
        &self,
        now_ms: i64,
        job: JobId,
        sequence: Option<u64>,
        take: impl FnOnce(&mut JobWriter, (i64, i64)) -> Result<u64, EngineError>,
    ) -> Result<u64, EngineError> {
        let Some(job) = self.find(now_ms, job)? else {
            return Ok(0);
        };
        let version = self.context.shared.version.load_full();
        let view = job.view(&version)?;
        let bytes_max = self.context.options.job_bytes_max / self.open.lock().len().max(1);
        let mut working = job.take_writer()?;
        let writer = working.writer();
        if let Some(sequence) = sequence {
            if writer.sequences.contains(sequence) {
                return Ok(0);
            }
            writer.sequences.check_room()?;
        }
        writer.make_room(view, bytes_max, &self.files(&version))?;
        let taken = take(writer, (job.from, job.to))?;
        writer.reserve(&self.context.shared.memory);
        if let Some(sequence) = sequence {
            writer.sequences.insert(sequence);
        }
        self.counters.rows.fetch_add(taken, Ordering::Relaxed);
        Ok(taken)
    }

    /// The open job, touched now; none where it is committed.
    fn find(&self, now_ms: i64, id: JobId) -> Result<Option<Arc<OpenJob>>, EngineError> {
        let known = self.open.lock().get(&id).cloned();
        if let Some(job) = known.filter(|job| !job.is_over()) {
            if now_ms < job.expires_at() {
                job.touched_at.fetch_max(now_ms, Ordering::Relaxed);
                return Ok(Some(job));
            }
            self.give_up(&job, &self.counters.expired)?;
        }
        match self.context.shared.jobs.read().get(id, now_ms) {
            Some(_) => Ok(None),
            None => Err(no_job(id)),
        }
    }

    fn find_token(&self, view: ViewId, token: &Bytes, now_ms: i64) -> Option<KnownJob> {
        let open = self.open.lock();
        let is_same = |job: &&Arc<OpenJob>| {
            job.view == view && job.token.as_ref() == Some(token) && now_ms < job.expires_at()
        };
        if let Some(job) = open.values().filter(|job| !job.is_over()).find(is_same) {
            return Some(KnownJob { id: job.id, from: job.from, to: job.to, mode: job.mode });
        }
        let jobs = self.context.shared.jobs.read();
        let known = jobs.by_token(view, token, now_ms)?;
        Some(KnownJob { id: known.id, from: known.from, to: known.to, mode: known.mode })
    }

    fn draw_id(&self, open: &HashMap<JobId, Arc<OpenJob>>) -> JobId {
        let committed = self.context.shared.jobs.read();
        loop {
            let drawn = self.drawn.fetch_add(1, Ordering::Relaxed).to_le_bytes();
            let seed = self.context.options.salt_seed;
            let id = JobId::new(xxhash_rust::xxh3::xxh3_64_with_seed(&drawn, seed));
            if !open.contains_key(&id) && committed.get(id, i64::MIN).is_none() {
                return id;
            }
        }
    }

    /// Removes the job, unless a call is at work on it: then it is not silent.
    fn give_up(&self, job: &Arc<OpenJob>, counter: &AtomicU64) -> Result<(), EngineError> {
        let Ok(working) = job.take_writer() else { return Ok(()) };
        let writer = working.keep();
        self.remove(job, writer)?;
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn remove(
        &self,
        job: &Arc<OpenJob>,
        writer: Option<Box<JobWriter>>,
    ) -> Result<(), EngineError> {
        *job.slot.lock() = Slot::Gone;
        self.open.lock().remove(&job.id);
        match writer {
            Some(writer) => writer.discard(&*self.context.disk),
            None => Ok(()),
        }
    }

    fn files<'a>(&'a self, version: &'a Version) -> JobFiles<'a> {
        JobFiles {
            disk: &*self.context.disk,
            memory: &self.context.shared.memory,
            segment_ids: &self.context.segment_ids,
            catalog: &version.catalog,
            hash_seed: self.context.hash_seed,
            block_tiles_max: self.context.options.block_tiles_max,
        }
    }
}

/// A job that a token names.
struct KnownJob {
    id: JobId,
    from: i64,
    to: i64,
    mode: JobMode,
}

impl KnownJob {
    fn check_same(&self, request: &JobRequest) -> Result<(), EngineError> {
        if (self.from, self.to, self.mode) == (request.from, request.to, request.mode) {
            return Ok(());
        }
        Err(EngineError::BadValue(format!(
            "the token belongs to job {} over [{}, {}) with mode {}; choose another token, or \
             begin with the same range and mode",
            self.id,
            self.from,
            self.to,
            self.mode.as_str()
        )))
    }
}

fn committed_info(version: &Version, job: &CommittedJob) -> JobInfo {
    JobInfo {
        id: job.id,
        view: version.catalog.view(job.view).map(|view| view.definition.name.clone()),
        from: job.from,
        to: job.to,
        mode: job.mode,
        state: JobState::Committed,
        rows: job.rows,
        bytes: 0,
        begun_at: None,
        expires_at: None,
        committed_at: Some(job.committed_at),
        token: job.token.clone(),
    }
}

fn check_timeout(timeout_ms: i64) -> Result<(), EngineError> {
    if (1..=JOB_TIMEOUT_MS_MAX).contains(&timeout_ms) {
        return Ok(());
    }
    Err(EngineError::Limit(format!(
        "a job's TIMEOUT is 1ms to {JOB_TIMEOUT_MS_MAX}ms, not {timeout_ms}ms"
    )))
}

fn check_token(token: &Bytes) -> Result<(), EngineError> {
    if !token.is_empty() && token.len() <= JOB_TOKEN_BYTES_MAX {
        return Ok(());
    }
    Err(EngineError::Limit(format!(
        "a job's token has 1 to {JOB_TOKEN_BYTES_MAX} bytes, not {}",
        token.len()
    )))
}
