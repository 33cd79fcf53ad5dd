//! One connection on its network thread: reads what has arrived, has it run by the face of the
//! protocol that the client speaks, writes the replies, and keeps every budget. One turn makes at
//! most one read and one write system call per batch of commands.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tilekv_protocol::ProtocolError;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::clients::Client;
use crate::delivery::Delivery;
use crate::exchange::{Exchange, Turn};
use crate::face::Face;
use crate::inbox::{Expiry, Inbox};
use crate::limits::{
    FREE_BUFFER_BYTES, LINGER_MS_MAX, READ_CHUNK_BYTES, READ_COUNT_PER_TURN_MAX,
    READ_SPACE_BYTES_MIN, WRITE_TURN_BYTES_MAX,
};
use crate::session::{Session, Transaction};
use crate::worker::Worker;

/// A connection and all its state.
pub(crate) struct Connection {
    worker: Rc<Worker>,
    stream: TcpStream,
    inbox: Rc<Inbox>,
    exchange: Exchange,
    face: Face,
    /// Bytes that arrived and are not taken: an incomplete command, or commands that must wait.
    input: BytesMut,
    /// Whether the client will send nothing more.
    at_end: bool,
    /// Whether bytes arrived that no turn has looked at.
    has_news: bool,
    /// Whether the last turn ended before its commands did.
    is_unfinished: bool,
    is_killed: bool,
    /// Bytes counted in the budget of all connections.
    counted_bytes: usize,
    deliveries: Vec<Delivery>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The client is gone or has been cut off.
    Closed,
    /// We close; the client may still be sending and has replies to read first.
    ByUs,
}

impl Connection {
    /// A connection that was just accepted.
    pub(crate) fn new(
        worker: Rc<Worker>,
        stream: TcpStream,
        client: Arc<Client>,
        inbox: Rc<Inbox>,
    ) -> Self {
        let session = Session::new(client, &worker.shared);
        Self {
            worker,
            stream,
            inbox,
            exchange: Exchange::new(session),
            face: Face::Unknown,
            input: BytesMut::new(),
            at_end: false,
            has_news: false,
            is_unfinished: false,
            is_killed: false,
            counted_bytes: 0,
            deliveries: Vec::new(),
        }
    }

    /// Serves the client until one side ends.
    pub(crate) async fn serve(mut self) {
        let ended = std::future::poll_fn(|task| self.poll_turn(task)).await;
        if ended == Ended::ByUs {
            linger(&mut self.stream).await;
        }
    }

    /// One turn: answers what was delivered, then reads, runs and writes until there is nothing
    /// more to do or others should have their turn.
    fn poll_turn(&mut self, task: &mut TaskContext<'_>) -> Poll<Ended> {
        self.inbox.register(task.waker());
        if self.is_cut_off() {
            return Poll::Ready(Ended::Closed);
        }
        let worker = Rc::clone(&self.worker);
        let polled = self.poll_batches(&worker, task);
        self.count_bytes();
        self.return_buffers();
        polled
    }

    fn poll_batches(&mut self, worker: &Worker, task: &mut TaskContext<'_>) -> Poll<Ended> {
        let mut read_count = 0;
        loop {
            if self.has_work() {
                self.run_batch(worker);
            }
            if self.is_killed {
                return Poll::Ready(Ended::Closed);
            }
            if let Poll::Ready(Err(_)) = self.poll_write(task) {
                return Poll::Ready(Ended::Closed);
            }
            if self.is_unfinished || READ_COUNT_PER_TURN_MAX <= read_count {
                task.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.has_runnable_input() {
                continue;
            }
            if let Some(ended) = self.end() {
                return Poll::Ready(ended);
            }
            if !self.may_read() {
                return Poll::Pending;
            }
            match ready!(self.poll_read(task)) {
                Ok(0) => self.at_end = true,
                Ok(count) => {
                    worker.metrics.bytes_read.add(wide(count));
                    self.has_news = true;
                    read_count += 1;
                }
                Err(_) => return Poll::Ready(Ended::Closed),
            }
        }
    }

    fn has_work(&self) -> bool {
        self.is_unfinished
            || self.has_news
            || self.inbox.has_deliveries()
            || self.has_runnable_input()
    }

    /// Whether the input holds commands that only a budget has kept from being run, and the budget
    /// has room again.
    fn has_runnable_input(&self) -> bool {
        !self.input.is_empty() && !self.is_midway() && self.may_run()
    }

    fn run_batch(&mut self, worker: &Worker) {
        let turn = worker.turn();
        self.has_news = false;
        if self.exchange.output.is_empty() {
            self.exchange.output.lend(worker.lend_output());
        }
        self.is_unfinished = !self.run_commands(&turn);
        self.exchange.send_writes(&turn);
        turn.record();
        self.note_activity(&turn);
    }

    /// Answers deliveries and runs commands; false if the turn ended before the commands did.
    fn run_commands(&mut self, turn: &Turn<'_>) -> bool {
        self.take_deliveries(turn);
        self.advance(turn) && self.run_input(turn) && self.advance(turn)
    }

    /// Runs commands that waited for others, or that EXEC has just let go.
    fn advance(&mut self, turn: &Turn<'_>) -> bool {
        self.face.advance(&mut self.exchange, turn)
    }

    fn take_deliveries(&mut self, turn: &Turn<'_>) {
        let mut deliveries = std::mem::take(&mut self.deliveries);
        self.inbox.take(&mut deliveries);
        for delivery in deliveries.drain(..) {
            match delivery {
                Delivery::Writes(outcomes) => {
                    self.face.deliver_writes(&mut self.exchange, turn, outcomes);
                }
                Delivery::Slow(outcome) => {
                    self.face.deliver_scan(&mut self.exchange, turn, outcome);
                }
                Delivery::Job(outcome) => {
                    self.face.deliver_job(&mut self.exchange, turn, outcome);
                }
                Delivery::Line(line) => self.show(&line),
                Delivery::Kill => self.is_killed = true,
            }
        }
        self.deliveries = deliveries;
    }

    /// Writes a line of MONITOR. A client that does not read what it asked to see is closed.
    fn show(&mut self, line: &[u8]) {
        if !self.worker.shared.monitors.has(self.exchange.session.client.id) {
            return;
        }
        let output = &mut self.exchange.output;
        output.open().extend_from_slice(line);
        output.end_reply();
        self.is_killed |= self.worker.shared.config.output_bytes_max < output.len();
    }

    /// Runs the commands that have arrived, as far as budgets and the turn allow.
    fn run_input(&mut self, turn: &Turn<'_>) -> bool {
        while !self.input.is_empty() && self.may_run() {
            if turn.is_over() {
                return false;
            }
            match self.face.step(&mut self.exchange, turn, &mut self.input) {
                Ok(true) => {
                    turn.note_command();
                    self.inbox.frame_deadline.set(None);
                }
                Ok(false) => {
                    self.note_incomplete();
                    return true;
                }
                Err(error) => {
                    self.fail(&error);
                    return true;
                }
            }
        }
        true
    }

    /// The rest of the input cannot be understood.
    fn fail(&mut self, error: &ProtocolError) {
        let peer = self.exchange.session.client.peer;
        tracing::debug!(%peer, %error, "protocol error");
        self.input.clear();
        self.at_end = true;
        self.face.fail(&mut self.exchange, error);
    }

    /// The command that is arriving has a deadline from its first byte on.
    fn note_incomplete(&self) {
        let deadline = &self.inbox.frame_deadline;
        if deadline.get().is_none() {
            deadline.set(Some(Instant::now() + self.worker.shared.config.frame_timeout));
        }
    }

    /// Whether another command may be run: none while the client must first read replies, or the
    /// committer must first catch up with this connection.
    fn may_run(&self) -> bool {
        let config = &self.worker.shared.config;
        let waiting_max = config.connection_queue_bytes_max;
        !self.exchange.session.closing
            && self.exchange.output.len() < config.output_bytes_max
            && self.exchange.in_flight_bytes < waiting_max
            && self.face.has_room(waiting_max)
    }

    /// Whether more may be read from the socket. A connection that holds little may always read:
    /// so those that hold much cannot lock it out.
    fn may_read(&mut self) -> bool {
        if self.at_end || !self.may_run() || self.worker.is_draining() {
            return false;
        }
        let holds_much = FREE_BUFFER_BYTES < self.buffered_bytes();
        let waits = holds_much && self.worker.shared.buffers.is_spent();
        if waits && !self.inbox.waits_for_memory.replace(true) {
            self.worker.note_waiting(&self.inbox);
        }
        !waits
    }

    /// Reads behind what is left of the input. A small rest is copied into the thread's buffer, so
    /// that a stream of commands needs no buffers of its own.
    fn poll_read(&mut self, task: &mut TaskContext<'_>) -> Poll<io::Result<usize>> {
        if READ_SPACE_BYTES_MIN <= self.input.len() {
            self.input.reserve(READ_CHUNK_BYTES);
            return poll_read_into(&mut self.stream, &mut self.input, task);
        }
        let mut lent = self.worker.lend_input();
        lent.extend_from_slice(&self.input);
        let polled = poll_read_into(&mut self.stream, &mut lent, task);
        match polled {
            Poll::Ready(Ok(count)) if count > 0 => self.input = lent,
            _ => self.worker.return_input(lent),
        }
        polled
    }

    /// Writes what waits, as far as the socket takes it.
    fn poll_write(&mut self, task: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        let mut written = 0;
        while !self.exchange.output.is_empty() {
            if WRITE_TURN_BYTES_MAX <= written {
                task.waker().wake_by_ref();
                return Poll::Pending;
            }
            let front = self.exchange.output.front();
            let count = match Pin::new(&mut self.stream).poll_write(task, front) {
                Poll::Ready(count) => count?,
                Poll::Pending => {
                    if self.inbox.output_blocked.get().is_none() || written > 0 {
                        self.inbox.output_blocked.set(Some(Instant::now()));
                    }
                    return Poll::Pending;
                }
            };
            self.exchange.output.advance(count);
            self.worker.metrics.bytes_written.add(wide(count));
            written += count;
        }
        self.inbox.output_blocked.set(None);
        Poll::Ready(Ok(()))
    }

    /// How the connection ends now, if it does.
    fn end(&self) -> Option<Ended> {
        let is_written = self.exchange.output.is_empty();
        if self.exchange.session.closing {
            self.inbox.is_closing.set(true);
            return is_written.then_some(Ended::ByUs);
        }
        let is_idle = self.face.is_idle();
        if (self.at_end || self.worker.is_draining()) && is_idle && is_written {
            return Some(if self.at_end { Ended::Closed } else { Ended::ByUs });
        }
        None
    }

    /// Whether what is left of the input is an incomplete command.
    fn is_midway(&self) -> bool {
        self.inbox.frame_deadline.get().is_some()
    }

    fn is_cut_off(&self) -> bool {
        let Some(expiry) = self.inbox.expired() else { return false };
        let peer = self.exchange.session.client.peer;
        let reason = match expiry {
            Expiry::Frame => "a command took too long to arrive",
            Expiry::Output => "replies were not read while they had to be",
        };
        self.worker.metrics.timeouts.add(1);
        tracing::warn!(%peer, reason, "close connection");
        true
    }

    fn note_activity(&self, turn: &Turn<'_>) {
        let client = &self.exchange.session.client;
        if turn.command_count() > 0 {
            client.active_ms.store(turn.context.now_ms, Ordering::Relaxed);
            client.commands.fetch_add(u64::from(turn.command_count()), Ordering::Relaxed);
        }
        client.output_bytes.store(self.exchange.output.len(), Ordering::Relaxed);
    }

    fn buffered_bytes(&self) -> usize {
        let queued_bytes = self.exchange.session.transaction.as_ref().map_or(0, Transaction::bytes);
        let held_bytes = self.face.held_bytes() + queued_bytes;
        self.input.len() + self.exchange.output.len() + held_bytes
    }

    /// Brings the budget of all connections up to date with what this one holds.
    fn count_bytes(&mut self) {
        let bytes = self.buffered_bytes();
        let buffers = &self.worker.shared.buffers;
        if self.counted_bytes < bytes {
            buffers.take(bytes - self.counted_bytes);
        } else {
            buffers.release(self.counted_bytes - bytes);
        }
        self.counted_bytes = bytes;
    }

    /// Gives lent buffers back, so that a connection at rest holds no memory for data. What is
    /// left of the input moves into a buffer of its size.
    fn return_buffers(&mut self) {
        if self.input.len() < READ_SPACE_BYTES_MIN && self.input.len() < self.input.capacity() {
            let rest = BytesMut::from(&self.input[..]);
            self.worker.return_input(std::mem::replace(&mut self.input, rest));
        }
        if let Some(buffer) = self.exchange.output.reclaim() {
            self.worker.return_output(buffer);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.worker.shared.buffers.release(self.counted_bytes);
        self.worker.forget(self.exchange.session.client.id);
    }
}

/// The future keeps nothing between polls, so a new one each time is the same one.
fn poll_read_into(
    stream: &mut TcpStream,
    buffer: &mut BytesMut,
    task: &mut TaskContext<'_>,
) -> Poll<io::Result<usize>> {
    std::pin::pin!(stream.read_buf(buffer)).poll(task)
}

/// Closing a socket that holds unread input makes the kernel discard what the client has yet to
/// read; so the input is read away first, for a while.
async fn linger(stream: &mut TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let drained = async {
        let mut discarded = [0; 1024];
        while matches!(stream.read(&mut discarded).await, Ok(count) if count > 0) {}
    };
    let limit = Duration::from_millis(LINGER_MS_MAX);
    let _ = tokio::time::timeout(limit, drained).await;
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
