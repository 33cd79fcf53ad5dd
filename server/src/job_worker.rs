//! The job workers: threads of low priority that read what jobs are given, have the engine take
//! it, and publish it through the committer. Knows nothing of connections but their numbers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tilekv_engine::{EngineError, JobCommit, JobId, JobTile, Outcome, SealedJob, Sealing};
use tilekv_protocol::native::RequestError;
use tilekv_protocol::{ErrorReply, JobContent, JobPut};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::delivery::{Delivery, JobAnswer, JobOutcome, Parcel, WriteResult};
use crate::failure;
use crate::job_queue::{JobRequest, JobWork};
use crate::limits::{BACKGROUND_NICENESS, JOB_EXPIRY_INTERVAL_MS};
use crate::machine;
use crate::refuse;
use crate::shared::Shared;
use crate::write_queue::{QueuedWrite, WriteBatch};

/// One worker.
struct JobWorker {
    shared: Arc<Shared>,
    /// Position of its mailbox, behind those of the network threads.
    index: usize,
    mailbox: UnboundedReceiver<Parcel>,
    expired: Instant,
}

/// Starts a worker for each mailbox.
pub(crate) fn start_workers(
    shared: &Arc<Shared>,
    mailboxes: Vec<UnboundedReceiver<Parcel>>,
) -> std::io::Result<()> {
    for (index, mailbox) in (shared.config.thread_count..).zip(mailboxes) {
        let (shared, expired) = (Arc::clone(shared), Instant::now());
        let worker = JobWorker { shared, index, mailbox, expired };
        std::thread::Builder::new().name("jobs".to_owned()).spawn(move || worker.run())?;
    }
    Ok(())
}

impl JobWorker {
    fn run(mut self) {
        machine::lower_priority(BACKGROUND_NICENESS);
        let interval = Duration::from_millis(JOB_EXPIRY_INTERVAL_MS);
        loop {
            let request = self.shared.job_queue.take(interval);
            if let Some(request) = request {
                self.serve(request);
            }
            if interval <= self.expired.elapsed() {
                self.expired = Instant::now();
                let expired = self.shared.jobs.expire(self.shared.clock.now_ms());
                failure::check("give up silent jobs", expired);
            }
        }
    }

    fn serve(&mut self, request: JobRequest) {
        let JobRequest { thread, connection, tag, bytes, started, job, work } = request;
        let began = Instant::now();
        let answer = match work {
            JobWork::Put(put) => self.put(job, &put),
            JobWork::Commit(commit) => done(self.commit(job, &commit)),
            JobWork::Abort => done(self.abort(job)),
        };
        // The work's memory is free by now, so its room in the queue is as well.
        self.shared.job_queue.finish(job, bytes, began.elapsed());
        let outcome = JobOutcome { tag, answer, bytes, started };
        let parcel = vec![(connection, Delivery::Job(outcome))];
        self.shared.clients.mailbox(thread).send(parcel);
    }

    fn put(&self, job: JobId, put: &JobPut) -> JobAnswer {
        let content = match put.read() {
            Ok(content) => content,
            Err(RequestError::Malformed(error)) => return JobAnswer::Malformed(error),
            Err(RequestError::Refused(error)) => return JobAnswer::Refused(error.reply),
        };
        let (jobs, now_ms) = (&self.shared.jobs, self.shared.clock.now_ms());
        let (count, taken) = match content {
            JobContent::Rows(rows) => (rows.len(), jobs.put_rows(now_ms, job, put.sequence, rows)),
            JobContent::Tiles(tiles) => {
                let tiles: Vec<JobTile> = tiles.into_iter().map(tile).collect();
                (tiles.len(), jobs.put_tiles(now_ms, job, put.sequence, &tiles))
            }
        };
        match taken {
            Ok(0) if count > 0 => JobAnswer::Done(Outcome::Duplicate),
            Ok(taken) => JobAnswer::Done(Outcome::Count(taken)),
            Err(error) => JobAnswer::Refused(refused("take rows of a job", &error)),
        }
    }

    fn abort(&self, job: JobId) -> WriteResult {
        let aborted = self.shared.jobs.abort(self.shared.clock.now_ms(), job);
        aborted.map(|()| Outcome::Ok).map_err(|error| refused("abort a job", &error))
    }

    /// Writes the job's rows to disk and has the committer publish them.
    fn commit(&mut self, job: JobId, commit: &tilekv_protocol::JobCommit) -> WriteResult {
        let wanted =
            JobCommit { rows: commit.rows, allows_empty: commit.may_be_empty, seals: commit.seal };
        let (jobs, now_ms) = (&self.shared.jobs, self.shared.clock.now_ms());
        match jobs.seal(now_ms, job, wanted) {
            Ok(Sealing::Committed) => Ok(Outcome::Ok),
            Ok(Sealing::Ready(sealed)) => {
                let published = self.publish(sealed);
                if published.is_ok() {
                    self.note_committed(job);
                }
                published
            }
            Err(error) => Err(refused("seal a job", &error)),
        }
    }

    /// Waits for the committer, so that the next command on the job finds it published or open.
    fn publish(&mut self, sealed: SealedJob) -> WriteResult {
        let tag = crate::exchange::resp_tag(None, crate::family::Family::Job);
        self.shared.write_queue.send(WriteBatch {
            thread: self.index,
            connection: 0,
            entries: vec![QueuedWrite::Job(tag, sealed)],
            bytes: 0,
            started: Instant::now(),
        });
        loop {
            let Some(parcel) = self.mailbox.blocking_recv() else {
                unreachable!("the table of clients holds the mailbox's sender")
            };
            for (_, delivery) in parcel {
                if let Delivery::Writes(mut outcomes) = delivery
                    && let Some((_, result)) = outcomes.outcomes.pop()
                {
                    return result;
                }
            }
        }
    }

    fn note_committed(&self, job: JobId) {
        if let Ok(info) = self.shared.jobs.info(self.shared.clock.now_ms(), job)
            && let Some(view) = &info.view
        {
            self.shared.metrics.jobs.note_committed(view, info.rows);
        }
    }
}

fn done(result: WriteResult) -> JobAnswer {
    match result {
        Ok(outcome) => JobAnswer::Done(outcome),
        Err(error) => JobAnswer::Refused(error),
    }
}

fn tile(tile: tilekv_protocol::JobTile) -> JobTile {
    let tilekv_protocol::JobTile { entity, start, partials } = tile;
    JobTile { entity, start, partials }
}

/// A refusal for the client; the process ends where the disk is in doubt.
fn refused(what: &str, error: &EngineError) -> ErrorReply {
    failure::check_refusal(what, error);
    refuse::engine_error(error)
}
