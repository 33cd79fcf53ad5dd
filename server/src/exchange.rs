//! What both faces of a connection, RESP and native, work with: the session, replies that wait to
//! be written, writes that wait to be sent to the committer, and what is counted. Knows nothing
//! of sockets or of how replies are encoded.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tilekv_engine::{JobId, Write};
use tilekv_protocol::{CommandId, ErrorReply, ProtocolError, RefusedWrite, Reply};

use crate::cold_reads::{ColdRead, ColdWork};
use crate::delivery::{AnswerForm, JobAnswer, Tag};
use crate::dispatch::scan::Scan;
use crate::dispatch::{Context, writes};
use crate::family::{FAMILY_COUNT, Family};
use crate::job_queue::{JobRequest, JobWork};
use crate::limits::{TURN_COMMAND_COUNT_CHECKED, TURN_TIME_US_MAX};
use crate::metrics::{Ending, ThreadMetrics};
use crate::output::Output;
use crate::refusals::Refusals;
use crate::refuse;
use crate::session::Session;
use crate::slow::SlowRequest;
use crate::stamp;
use crate::write_queue::{QueuedWrite, WriteBatch};

/// The state of one connection that both faces share.
pub(crate) struct Exchange {
    /// What the client has said about itself.
    pub(crate) session: Session,
    /// Replies that wait to be written.
    pub(crate) output: Output,
    /// Bytes of writes and of work on jobs that are not answered.
    pub(crate) in_flight_bytes: usize,
    outgoing: Vec<QueuedWrite>,
    outgoing_bytes: usize,
    /// Producers refused on the way to the committer, which has yet to hear of it.
    refused: Refusals,
}

/// One turn of a connection: what it answers from, and how long it may go on.
pub(crate) struct Turn<'a> {
    /// The snapshot, the clock and the server.
    pub(crate) context: Context<'a>,
    /// Counters of this thread.
    pub(crate) metrics: &'a ThreadMetrics,
    /// Position of this thread.
    pub(crate) thread: usize,
    /// When the commands of this turn were read from the socket.
    pub(crate) started: Instant,
    lapped: Cell<Instant>,
    commands: Cell<u32>,
    looks: Cell<u32>,
    tally: [Cell<(u64, u64)>; FAMILY_COUNT],
}

impl<'a> Turn<'a> {
    /// A turn that begins now.
    pub(crate) fn new(context: Context<'a>, metrics: &'a ThreadMetrics, thread: usize) -> Self {
        let tally = std::array::from_fn(|_| Cell::new((0, 0)));
        let (commands, looks) = (Cell::new(0), Cell::new(0));
        let started = Instant::now();
        let lapped = Cell::new(started);
        Self { context, metrics, thread, started, lapped, commands, looks, tally }
    }

    /// The time since the last lap, or since the turn began: commands of a turn run back to back,
    /// so one look at the clock times each of them.
    pub(crate) fn lap(&self) -> Duration {
        let now = Instant::now();
        now.duration_since(self.lapped.replace(now))
    }

    /// Counts a command that was answered in this turn.
    pub(crate) fn count(&self, family: Family, ending: Ending) {
        let tally = &self.tally[family.index()];
        let (answered, refused) = tally.get();
        tally.set(match ending {
            Ending::Answered => (answered + 1, refused),
            Ending::Refused => (answered, refused + 1),
        });
    }

    /// Whether other connections should have their turn. The clock is read once in a while.
    pub(crate) fn is_over(&self) -> bool {
        let looks = self.looks.get() + 1;
        self.looks.set(looks);
        looks.is_multiple_of(TURN_COMMAND_COUNT_CHECKED)
            && Duration::from_micros(TURN_TIME_US_MAX) < self.started.elapsed()
    }

    /// Counts a command that was taken off the input.
    pub(crate) fn note_command(&self) {
        self.commands.set(self.commands.get() + 1);
    }

    /// Commands that were taken in this turn.
    pub(crate) fn command_count(&self) -> u32 {
        self.commands.get()
    }

    /// Hands the counts over: all commands of a turn count as having taken as long as the turn.
    pub(crate) fn record(&self) {
        let time = self.started.elapsed();
        for family in Family::ALL {
            let (answered, refused) = self.tally[family.index()].get();
            for (ending, count) in [(Ending::Answered, answered), (Ending::Refused, refused)] {
                if count > 0 {
                    self.metrics.record(family, ending, count, time);
                }
            }
        }
    }
}

impl Exchange {
    /// The state of a new connection.
    pub(crate) fn new(session: Session) -> Self {
        Self {
            session,
            output: Output::default(),
            in_flight_bytes: 0,
            outgoing: Vec::new(),
            outgoing_bytes: 0,
            refused: Refusals::default(),
        }
    }

    /// Puts a write among those that go to the committer at the end of the turn; `bytes` is what
    /// it holds in memory. An error is to be answered at once: the queue is full.
    pub(crate) fn submit(
        &mut self,
        turn: &Turn<'_>,
        tag: Tag,
        write: Box<Write>,
        bytes: usize,
    ) -> Result<(), ErrorReply> {
        let queue = &turn.context.shared.write_queue;
        if !queue.reserve(bytes) {
            turn.metrics.busy.add(1);
            if let Some(stamped) = stamp::of(&write) {
                self.note_refused(stamped.key, stamped.sequence);
            }
            return Err(refuse::busy(queue.retry_ms()));
        }
        let refused = self.refused.take();
        let refused = refused.into_iter().map(|(key, seq)| QueuedWrite::Refused(key, seq));
        self.outgoing.extend(refused);
        self.outgoing.push(QueuedWrite::Write(tag, write));
        self.outgoing_bytes += bytes;
        self.in_flight_bytes += bytes;
        Ok(())
    }

    /// Notes a producer's write that was refused before it became one.
    pub(crate) fn note_refused_write(&mut self, refused: RefusedWrite) {
        self.note_refused((refused.view, refused.producer), refused.sequence);
    }

    fn note_refused(&mut self, key: crate::refusals::StampKey, sequence: u64) {
        if !self.refused.note(key, sequence) {
            self.session.closing = true;
        }
    }

    /// Sends the writes of this turn to the committer.
    pub(crate) fn send_writes(&mut self, turn: &Turn<'_>) {
        if self.outgoing.is_empty() {
            return;
        }
        turn.context.shared.write_queue.send(WriteBatch {
            thread: turn.thread,
            connection: self.session.client.id,
            entries: std::mem::take(&mut self.outgoing),
            bytes: std::mem::take(&mut self.outgoing_bytes),
            started: turn.started,
        });
    }

    /// Hands work on a job to the job workers; `bytes` is what it holds in memory. An error is to
    /// be answered at once: the queue is full.
    pub(crate) fn submit_job(
        &mut self,
        turn: &Turn<'_>,
        tag: Tag,
        (job, work): (JobId, JobWork),
        bytes: usize,
    ) -> Result<(), ErrorReply> {
        let queue = &turn.context.shared.job_queue;
        if !queue.reserve(bytes) {
            turn.metrics.busy.add(1);
            return Err(refuse::job_queue_full(queue.retry_ms()));
        }
        self.in_flight_bytes += bytes;
        queue.send(JobRequest {
            thread: turn.thread,
            connection: self.session.client.id,
            tag,
            bytes,
            started: turn.started,
            job,
            work,
        });
        Ok(())
    }

    /// Hands a scan to the slow worker.
    pub(crate) fn submit_scan(
        &mut self,
        turn: &Turn<'_>,
        tag: Tag,
        scan: Scan,
    ) -> Result<(), ErrorReply> {
        let request = SlowRequest {
            thread: turn.thread,
            connection: self.session.client.id,
            tag,
            scan,
            started: turn.started,
        };
        if turn.context.shared.slow_queue.push(request) {
            return Ok(());
        }
        turn.metrics.busy.add(1);
        Err(refuse::slow_queue_full())
    }

    /// Hands a read that needs pages from disk to the threads of cold reads.
    pub(crate) fn submit_cold(
        &mut self,
        turn: &Turn<'_>,
        tag: Tag,
        work: ColdWork,
    ) -> Result<(), ErrorReply> {
        let read = ColdRead {
            thread: turn.thread,
            connection: self.session.client.id,
            tag,
            work,
            started: turn.started,
        };
        if turn.context.shared.cold_queue.push(read) {
            return Ok(());
        }
        turn.metrics.busy.add(1);
        Err(refuse::cold_queue_full())
    }
}

/// What a client is told of a write, and how that counts.
pub(crate) fn write_reply(result: crate::delivery::WriteResult) -> (Reply, Ending) {
    match result {
        Ok(outcome) => (writes::reply(outcome), Ending::Answered),
        Err(error) => (Reply::Error(error), Ending::Refused),
    }
}

/// What a client is told of work on a job, and how that counts. A malformed request is for the
/// caller to deal with.
pub(crate) fn job_reply(answer: JobAnswer) -> Result<(Reply, Ending), ProtocolError> {
    match answer {
        JobAnswer::Done(outcome) => Ok((writes::reply(outcome), Ending::Answered)),
        JobAnswer::Refused(error) => Ok((Reply::Error(error), Ending::Refused)),
        JobAnswer::Malformed(error) => Err(error),
    }
}

/// Whether a reply counts as a refusal.
pub(crate) fn ending(reply: &Reply) -> Ending {
    if matches!(reply, Reply::Error(_)) { Ending::Refused } else { Ending::Answered }
}

/// Bytes that a command occupies in memory while it waits: its body, and a handle for each
/// argument.
pub(crate) fn command_bytes(arguments: &tilekv_protocol::Arguments) -> usize {
    const HANDLE_BYTES: usize = size_of::<bytes::Bytes>();
    arguments.body_bytes() + arguments.len() * HANDLE_BYTES + crate::write_queue::ENTRY_BYTES
}

/// The tag of a command on a RESP connection, where order tells replies apart.
pub(crate) fn resp_tag(command: Option<CommandId>, family: Family) -> Tag {
    Tag { request: 0, command, family, form: AnswerForm::Reply }
}
