//! The queue of work on jobs between the network threads and the job workers, bounded in bytes.
//! Work on one job is done in order and by one worker at a time; jobs take turns. Knows nothing of
//! what the work is.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex};
use tilekv_engine::JobId;
use tilekv_protocol::{JobCommit, JobPut};

use crate::budget::Budget;
use crate::delivery::{ConnectionId, Tag};
use crate::write_queue::DrainRate;

/// Work on a job, and where its reply goes.
#[derive(Debug)]
pub(crate) struct JobRequest {
    /// Position of the network thread.
    pub(crate) thread: usize,
    /// The connection.
    pub(crate) connection: ConnectionId,
    /// The request.
    pub(crate) tag: Tag,
    /// Bytes that were reserved for it.
    pub(crate) bytes: usize,
    /// When it was read from the socket.
    pub(crate) started: Instant,
    /// The job.
    pub(crate) job: JobId,
    /// What to do.
    pub(crate) work: JobWork,
}

/// What is to be done on a job.
#[derive(Debug)]
pub(crate) enum JobWork {
    /// Take what this holds.
    Put(Box<JobPut>),
    /// Publish what was taken.
    Commit(JobCommit),
    /// Forget it.
    Abort,
}

/// Both ends of the queue.
#[derive(Debug)]
pub(crate) struct JobQueue {
    /// Guards which work waits, and which jobs are worked on.
    lines: Mutex<Lines>,
    /// There is work, or the server stops.
    changed: Condvar,
    budget: Budget,
    /// Guards the recent rate at which the workers work.
    rate: Mutex<DrainRate>,
}

#[derive(Debug, Default)]
struct Lines {
    /// What waits for each job that has work waiting or under way.
    waiting: HashMap<JobId, VecDeque<JobRequest>>,
    /// Jobs with work that no worker is at, in the order of their turns.
    ready: VecDeque<JobId>,
}

impl JobQueue {
    /// An empty queue for that many bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            lines: Mutex::default(),
            changed: Condvar::new(),
            budget: Budget::new(bytes_max),
            rate: Mutex::default(),
        }
    }

    /// Reserves room for work; false if the queue is full.
    pub(crate) fn reserve(&self, bytes: usize) -> bool {
        self.budget.try_take(bytes)
    }

    /// Puts in work whose bytes were reserved.
    pub(crate) fn send(&self, request: JobRequest) {
        let mut lines = self.lines.lock();
        let job = request.job;
        match lines.waiting.get_mut(&job) {
            Some(line) => line.push_back(request),
            None => {
                lines.waiting.insert(job, VecDeque::from([request]));
                lines.ready.push_back(job);
                drop(lines);
                self.changed.notify_one();
            }
        }
    }

    /// Takes work of the job whose turn it is; None if there is none for so long. The taker says
    /// when it is done.
    pub(crate) fn take(&self, wait: Duration) -> Option<JobRequest> {
        let deadline = Instant::now() + wait;
        let mut lines = self.lines.lock();
        loop {
            if let Some(job) = lines.ready.pop_front() {
                let line = lines.waiting.get_mut(&job);
                let Some(request) = line.and_then(VecDeque::pop_front) else {
                    unreachable!("a job whose turn it is has work waiting")
                };
                return Some(request);
            }
            if self.changed.wait_until(&mut lines, deadline).timed_out() {
                return None;
            }
        }
    }

    /// Tells that work on a job is done, which held bytes and took that time.
    pub(crate) fn finish(&self, job: JobId, bytes: usize, time: Duration) {
        self.budget.release(bytes);
        self.rate.lock().note(bytes, time);
        let mut lines = self.lines.lock();
        let has_more = lines.waiting.get(&job).is_some_and(|line| !line.is_empty());
        if has_more {
            lines.ready.push_back(job);
            drop(lines);
            self.changed.notify_one();
        } else {
            lines.waiting.remove(&job);
        }
    }

    /// How long a refused client should wait, by how fast the queue has drained lately.
    pub(crate) fn retry_ms(&self) -> u64 {
        self.rate.lock().retry_ms(self.budget.used())
    }

    /// Bytes in the queue and in the work under way.
    pub(crate) fn bytes(&self) -> usize {
        self.budget.used()
    }

    /// Bytes beyond which the queue is full.
    pub(crate) fn bytes_max(&self) -> usize {
        self.budget.bytes_max()
    }

    /// Bytes that one client may have under way: as much as is free, so that those who share the
    /// queue come to equal parts of it.
    pub(crate) fn credit_bytes(&self) -> usize {
        self.bytes_max().saturating_sub(self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::AnswerForm;
    use crate::family::Family;

    const SOON: Duration = Duration::from_millis(1);

    fn job(number: u64) -> JobId {
        format!("j{number:016x}").parse().unwrap()
    }

    fn request(number: u64, connection: ConnectionId) -> JobRequest {
        let tag = Tag { request: 0, command: None, family: Family::Job, form: AnswerForm::Reply };
        let (thread, bytes, started) = (0, 10, Instant::now());
        let (job, work) = (job(number), JobWork::Abort);
        JobRequest { thread, connection, tag, bytes, started, job, work }
    }

    #[test]
    fn work_on_one_job_is_done_in_order_and_jobs_take_turns() {
        let queue = JobQueue::new(1000);
        for (number, connection) in [(1, 11), (1, 12), (2, 21), (1, 13)] {
            queue.send(request(number, connection));
        }
        let first = queue.take(SOON).unwrap();
        let second = queue.take(SOON).unwrap();
        assert_eq!((first.connection, second.connection), (11, 21));
        assert!(queue.take(SOON).is_none(), "job 1 is worked on, job 2 has no more");
        queue.finish(job(1), 0, SOON);
        assert_eq!(queue.take(SOON).unwrap().connection, 12);
        queue.finish(job(2), 0, SOON);
        queue.finish(job(1), 0, SOON);
        assert_eq!(queue.take(SOON).unwrap().connection, 13);
        queue.finish(job(1), 0, SOON);
        assert!(queue.lines.lock().waiting.is_empty(), "jobs without work are forgotten");
    }

    #[test]
    fn the_queue_is_bounded_and_its_credit_shrinks() {
        let queue = JobQueue::new(100);
        assert_eq!(queue.credit_bytes(), 100);
        assert!(queue.reserve(60));
        assert!(!queue.reserve(41));
        assert_eq!((queue.bytes(), queue.credit_bytes()), (60, 40));
        assert!((1..=1000).contains(&queue.retry_ms()));
        queue.finish(job(1), 60, SOON);
        assert!(queue.reserve(100));
    }

    #[test]
    fn a_waiting_worker_is_woken() {
        let queue = JobQueue::new(100);
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| queue.take(Duration::from_secs(60)));
            queue.send(request(1, 7));
            assert_eq!(taken.join().unwrap().unwrap().connection, 7);
        });
    }
}
