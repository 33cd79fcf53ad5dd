//! What other threads send to a network thread: outcomes of writes, replies of slow requests,
//! and orders to close. One mailbox per thread, one wake per commit.

use std::time::Instant;

use bytes::Bytes;
use tilekv_engine::Outcome;
use tilekv_protocol::{CommandId, ErrorReply, ProtocolError, Reply};
use tilekv_tile::Answers;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::family::Family;

/// Number of a connection, unique while the process runs.
pub(crate) type ConnectionId = u64;

/// Something for one connection.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// The outcomes of a batch of writes, in the order of the writes.
    Writes(WriteOutcomes),
    /// The reply of a slow request.
    Slow(SlowOutcome),
    /// What became of work on a job.
    Job(JobOutcome),
    /// A line of MONITOR, as it is written.
    Line(Bytes),
    /// Close the connection.
    Kill,
}

/// The outcomes of one batch of writes.
#[derive(Debug)]
pub(crate) struct WriteOutcomes {
    /// One entry per write.
    pub(crate) outcomes: Vec<(Tag, WriteResult)>,
    /// Bytes of the batch, as they were counted against the connection.
    pub(crate) bytes: usize,
    /// When the batch was read from the socket.
    pub(crate) started: Instant,
}

/// The reply of one slow request.
#[derive(Debug)]
pub(crate) struct SlowOutcome {
    /// The request.
    pub(crate) tag: Tag,
    /// What the client is told.
    pub(crate) reply: SlowReply,
    /// When the request was read from the socket.
    pub(crate) started: Instant,
}

/// What became of one piece of work on a job.
#[derive(Debug)]
pub(crate) struct JobOutcome {
    /// The request.
    pub(crate) tag: Tag,
    /// What the client is told.
    pub(crate) answer: JobAnswer,
    /// Bytes of the request, as they were counted against the connection.
    pub(crate) bytes: usize,
    /// When the request was read from the socket.
    pub(crate) started: Instant,
}

/// What a client is told of work on a job.
#[derive(Debug)]
pub(crate) enum JobAnswer {
    /// It is done.
    Done(Outcome),
    /// It is not, and the job is as it was.
    Refused(ErrorReply),
    /// The request breaks its format; the connection cannot go on.
    Malformed(ProtocolError),
}

/// What the client is told of a slow request.
#[derive(Debug)]
pub(crate) enum SlowReply {
    /// A reply of a command.
    Reply(Reply),
    /// The columns of a native read.
    Columns {
        /// The answers.
        answers: Answers,
        /// Whether statuses go with the values.
        with_status: bool,
    },
}

/// What became of a write.
pub(crate) type WriteResult = Result<Outcome, ErrorReply>;

/// What tells requests of a connection apart, and how they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    /// The request id of a native frame; in RESP, where order tells, 0, or the number of work on a
    /// job.
    pub(crate) request: u64,
    /// The command, if it came as one.
    pub(crate) command: Option<CommandId>,
    /// The family of the command.
    pub(crate) family: Family,
    /// How a write is answered.
    pub(crate) form: AnswerForm,
}

/// How a write is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerForm {
    /// As a reply of the command.
    Reply,
    /// As an APPLIED frame of the native protocol.
    Applied,
}

/// What goes through a mailbox in one piece: everything that one commit made ready for a thread.
pub(crate) type Parcel = Vec<(ConnectionId, Delivery)>;

/// The sending side of a network thread's mailbox. What goes in is bounded by the budgets of the
/// requests that caused it.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox(UnboundedSender<Parcel>);

impl Mailbox {
    /// A mailbox and its receiving end.
    pub(crate) fn new() -> (Self, UnboundedReceiver<Parcel>) {
        let (sender, receiver) = unbounded_channel();
        (Self(sender), receiver)
    }

    /// Delivers and wakes the thread; a thread that has ended needs nothing any more.
    pub(crate) fn send(&self, parcel: Parcel) {
        let _ = self.0.send(parcel);
    }
}
