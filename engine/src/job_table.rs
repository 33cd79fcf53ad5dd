//! Owns the table of committed jobs: what a driver that repeats a commit is told. It travels with
//! the control state ([MANIFEST-10]). Knows nothing of open jobs.

use bytes::Bytes;
use hashbrown::HashMap;

use crate::catalog::ViewId;
use crate::codec::{FieldError, Fields, PutFields, count_u32};
use crate::job::{JobId, JobMode};
use crate::limits::{COMMITTED_JOB_COUNT_MAX, JOB_EXPIRY_MS};
use crate::record::JobRecord;

/// A job whose rows were published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommittedJob {
    pub(crate) id: JobId,
    pub(crate) view: ViewId,
    pub(crate) token: Option<Bytes>,
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) mode: JobMode,
    /// Rows and tiles that it took.
    pub(crate) rows: u64,
    /// The log's time of the commit, in milliseconds.
    pub(crate) committed_at: i64,
}

impl CommittedJob {
    /// What is remembered of the commit that `record` holds.
    pub(crate) fn new(record: &JobRecord<'_>, committed_at: i64) -> Self {
        Self {
            id: record.id,
            view: record.view,
            token: record.token.map(Bytes::copy_from_slice),
            from: record.from,
            to: record.to,
            mode: record.mode,
            rows: record.rows,
            committed_at,
        }
    }
}

/// The jobs committed in the last days.
#[derive(Debug, Clone, Default)]
pub(crate) struct JobTable {
    jobs: HashMap<JobId, CommittedJob>,
    /// The jobs that were begun with a token.
    tokens: HashMap<(ViewId, Bytes), JobId>,
}

impl JobTable {
    /// The job, unless it was committed too long before `now`.
    pub(crate) fn get(&self, id: JobId, now: i64) -> Option<&CommittedJob> {
        self.jobs.get(&id).filter(|job| is_remembered(job, now))
    }

    /// The job of `view` that was begun with `token`.
    pub(crate) fn by_token(&self, view: ViewId, token: &Bytes, now: i64) -> Option<&CommittedJob> {
        self.get(*self.tokens.get(&(view, token.clone()))?, now)
    }

    /// Every remembered job, in no particular order.
    pub(crate) fn iter(&self, now: i64) -> impl Iterator<Item = &CommittedJob> {
        self.jobs.values().filter(move |job| is_remembered(job, now))
    }

    /// Remembers a job; the oldest one goes where there are too many.
    pub(crate) fn record(&mut self, job: CommittedJob) {
        if COMMITTED_JOB_COUNT_MAX <= self.jobs.len() {
            let oldest = self.jobs.values().min_by_key(|job| (job.committed_at, job.id));
            if let Some(oldest) = oldest.map(|job| job.id) {
                self.remove(oldest);
            }
        }
        if let Some(token) = &job.token {
            self.tokens.insert((job.view, token.clone()), job.id);
        }
        self.jobs.insert(job.id, job);
    }

    /// Forgets jobs that were committed too long before `now`.
    pub(crate) fn expire(&mut self, now: i64) {
        self.jobs.retain(|_, job| is_remembered(job, now));
        let Self { jobs, tokens } = self;
        tokens.retain(|_, id| jobs.contains_key(id));
    }

    /// Appends the table, ascending by id.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut jobs: Vec<&CommittedJob> = self.jobs.values().collect();
        jobs.sort_unstable_by_key(|job| job.id);
        out.put_u32(count_u32(jobs.len()));
        for job in jobs {
            out.put_u64(job.id.number());
            out.put_u32(job.view.0);
            out.put_u8(u8::from(job.token.is_some()));
            out.put_short(job.token.as_deref().unwrap_or_default());
            out.put_i64(job.from);
            out.put_i64(job.to);
            out.put_u8(u8::from(job.mode == JobMode::Replace));
            out.put_u64(job.rows);
            out.put_i64(job.committed_at);
        }
    }

    /// Reads a table that [`JobTable::encode`] wrote.
    pub(crate) fn decode(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        let mut table = Self::default();
        for _ in 0..fields.u32()? {
            let (id, view) = (JobId::new(fields.u64()?), ViewId(fields.u32()?));
            let has_token = fields.flag("job token")?;
            let token = Some(Bytes::copy_from_slice(fields.short()?)).filter(|_| has_token);
            let (from, to) = (fields.i64()?, fields.i64()?);
            let mode = if fields.flag("job mode")? { JobMode::Replace } else { JobMode::Merge };
            let (rows, committed_at) = (fields.u64()?, fields.i64()?);
            table.record(CommittedJob { id, view, token, from, to, mode, rows, committed_at });
        }
        Ok(table)
    }

    fn remove(&mut self, id: JobId) {
        if let Some(CommittedJob { view, token: Some(token), .. }) = self.jobs.remove(&id) {
            self.tokens.remove(&(view, token));
        }
    }
}

fn is_remembered(job: &CommittedJob, now: i64) -> bool {
    now < job.committed_at.saturating_add(JOB_EXPIRY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: u64, committed_at: i64) -> CommittedJob {
        CommittedJob {
            id: JobId::new(id),
            view: ViewId(1),
            token: Some(Bytes::from(id.to_string())),
            from: 0,
            to: 10,
            mode: JobMode::Replace,
            rows: 3,
            committed_at,
        }
    }

    #[test]
    fn a_job_is_remembered_for_seven_days_and_then_forgotten() {
        let mut table = JobTable::default();
        table.record(job(5, 1_000));
        let last = 1_000 + JOB_EXPIRY_MS - 1;
        let token = Bytes::from_static(b"5");
        assert_eq!(table.get(JobId::new(5), last), Some(&job(5, 1_000)));
        assert_eq!(table.by_token(ViewId(1), &token, last), Some(&job(5, 1_000)));
        assert_eq!(table.get(JobId::new(5), last + 1), None);
        table.expire(last + 1);
        assert_eq!((table.jobs.len(), table.tokens.len()), (0, 0));
    }

    #[test]
    fn the_oldest_job_goes_where_there_are_too_many() {
        let mut table = JobTable::default();
        let count = u64::try_from(COMMITTED_JOB_COUNT_MAX).unwrap();
        for id in 0..=count {
            table.record(job(id, 1_000));
        }
        assert_eq!(table.jobs.len(), COMMITTED_JOB_COUNT_MAX);
        assert!(table.get(JobId::new(0), 1_000).is_none());
        assert!(table.get(JobId::new(count), 1_000).is_some());
        let mut bytes = Vec::new();
        table.encode(&mut bytes);
        let mut fields = Fields::new(&bytes);
        let read = JobTable::decode(&mut fields).unwrap();
        assert_eq!(read.jobs, table.jobs);
        assert_eq!(read.tokens, table.tokens);
    }
}
