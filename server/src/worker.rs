//! One network thread: its listener, its connections, and the buffers that they borrow. A
//! connection stays on the thread that accepted it. Knows nothing of protocols.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use hashbrown::HashMap;
use tilekv_protocol::ErrorReply;
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::connection::Connection;
use crate::delivery::{ConnectionId, Parcel};
use crate::dispatch::Context;
use crate::exchange::Turn;
use crate::inbox::{Expiry, Inbox};
use crate::limits::{
    OUTPUT_BUFFER_BYTES, OUTPUT_CHUNK_BYTES, READ_CHUNK_BYTES, READ_SPACE_BYTES_MIN,
    SWEEP_INTERVAL_MS,
};
use crate::listener::prepare_connection;
use crate::metrics::ThreadMetrics;
use crate::plans::Plans;
use crate::shared::Shared;

/// The state of one network thread.
pub(crate) struct Worker {
    /// The server.
    pub(crate) shared: Arc<Shared>,
    /// Counters of this thread.
    pub(crate) metrics: Arc<ThreadMetrics>,
    index: usize,
    plans: Plans,
    inboxes: RefCell<HashMap<ConnectionId, Rc<Inbox>>>,
    waiting_for_memory: RefCell<Vec<Rc<Inbox>>>,
    input: RefCell<BytesMut>,
    output: RefCell<BytesMut>,
    is_draining: Cell<bool>,
}

/// Runs a network thread until the server shuts down and its connections have ended.
pub(crate) fn run(
    shared: Arc<Shared>,
    index: usize,
    listener: TcpListener,
    mailbox: UnboundedReceiver<Parcel>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .event_interval(EVENT_INTERVAL)
        .build_local(tokio::runtime::LocalOptions::default())?;
    let worker = Rc::new(Worker::new(shared, index));
    runtime.block_on(worker.serve(listener, mailbox))
}

impl Worker {
    fn new(shared: Arc<Shared>, index: usize) -> Self {
        Self {
            metrics: Arc::clone(&shared.metrics.threads[index]),
            shared,
            index,
            plans: Plans::default(),
            inboxes: RefCell::default(),
            waiting_for_memory: RefCell::default(),
            input: RefCell::default(),
            output: RefCell::default(),
            is_draining: Cell::new(false),
        }
    }

    async fn serve(
        self: Rc<Self>,
        listener: TcpListener,
        mailbox: UnboundedReceiver<Parcel>,
    ) -> io::Result<()> {
        let mut draining = self.shared.lifecycle.draining();
        tokio::task::spawn_local(Rc::clone(&self).hand_out(mailbox));
        tokio::task::spawn_local(Rc::clone(&self).sweep());
        let accepting = tokio::task::spawn_local(
            Rc::clone(&self).accept(tokio::net::TcpListener::from_std(listener)?),
        );
        let _ = draining.wait_for(|draining| *draining).await;
        accepting.abort();
        self.is_draining.set(true);
        self.wake_all();
        while !self.inboxes.borrow().is_empty() {
            tokio::time::sleep(Duration::from_millis(DRAIN_POLL_MS)).await;
        }
        Ok(())
    }

    /// Accepts connections. A failure to accept is about that connection, or about resources that
    /// may come back.
    async fn accept(self: Rc<Self>, listener: tokio::net::TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    if let Err(error) = self.welcome(stream, peer) {
                        tracing::debug!(%peer, %error, "prepare connection");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "accept connection");
                    tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                }
            }
        }
    }

    fn welcome(self: &Rc<Self>, stream: TcpStream, peer: std::net::SocketAddr) -> io::Result<()> {
        prepare_connection(&stream)?;
        let (local, now_ms) = (stream.local_addr()?, self.shared.clock.now_ms());
        let Some(client) = self.shared.clients.enter(peer, local, self.index, now_ms) else {
            self.reject(&stream);
            return Ok(());
        };
        self.metrics.accepted.add(1);
        let inbox = Rc::new(Inbox::default());
        self.inboxes.borrow_mut().insert(client.id, Rc::clone(&inbox));
        let connection = Connection::new(Rc::clone(self), stream, client, inbox);
        tokio::task::spawn_local(connection.serve());
        Ok(())
    }

    /// Says why and closes; a client that cannot take one line at once goes without.
    fn reject(&self, stream: &TcpStream) {
        self.metrics.rejected.add(1);
        let most = self.shared.clients.count_max();
        let error = ErrorReply::limit(format!("max number of clients reached: {most}"));
        let _ = stream.try_write(format!("-{error}\r\n").as_bytes());
    }

    /// Hands parcels of other threads to the connections, which may have gone.
    async fn hand_out(self: Rc<Self>, mut mailbox: UnboundedReceiver<Parcel>) {
        while let Some(parcel) = mailbox.recv().await {
            let inboxes = self.inboxes.borrow();
            for (connection, delivery) in parcel {
                if let Some(inbox) = inboxes.get(&connection) {
                    inbox.deliver(delivery);
                }
            }
        }
    }

    /// Looks now and then for connections whose time is up, and wakes those that wait for memory.
    async fn sweep(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(Duration::from_millis(SWEEP_INTERVAL_MS));
        loop {
            ticks.tick().await;
            for inbox in self.waiting_for_memory.take() {
                inbox.waits_for_memory.set(false);
                inbox.wake();
            }
            self.expire(Instant::now());
            self.close_idle();
        }
    }

    fn expire(&self, now: Instant) {
        let patience = self.shared.config.frame_timeout;
        let is_short = self.shared.buffers.is_spent();
        for inbox in self.inboxes.borrow().values() {
            if inbox.frame_deadline.get().is_some_and(|deadline| deadline <= now) {
                inbox.expire(Expiry::Frame);
            }
            let blocked = inbox.output_blocked.get();
            let must_read = is_short || inbox.is_closing.get();
            if must_read && blocked.is_some_and(|since| patience <= now.duration_since(since)) {
                inbox.expire(Expiry::Output);
            }
        }
    }

    /// Closes clients that have said nothing for longer than `timeout`.
    fn close_idle(&self) {
        let timeout_s = i64::try_from(self.shared.tunables.timeout_s()).unwrap_or(i64::MAX);
        if timeout_s == 0 {
            return;
        }
        let oldest_ms = self.shared.clock.now_ms().saturating_sub(timeout_s.saturating_mul(1000));
        self.shared.clients.kill(|client| {
            let is_idle = client.active_ms.load(Ordering::Relaxed) < oldest_ms;
            client.thread == self.index && is_idle && !self.shared.monitors.has(client.id)
        });
    }

    fn wake_all(&self) {
        for inbox in self.inboxes.borrow().values() {
            inbox.wake();
        }
    }

    /// A turn of one connection: the state of the store and the clock, read once.
    pub(crate) fn turn(&self) -> Turn<'_> {
        let context = Context {
            shared: &self.shared,
            version: self.shared.reader.snapshot(),
            now_ms: self.shared.clock.now_ms(),
            plans: &self.plans,
        };
        Turn::new(context, &self.metrics, self.index)
    }

    /// Whether the server shuts down: nothing more is read.
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.get()
    }

    /// Removes a connection that has ended.
    pub(crate) fn forget(&self, connection: ConnectionId) {
        self.inboxes.borrow_mut().remove(&connection);
        self.shared.clients.leave(connection);
        self.shared.monitors.remove(connection);
    }

    /// Has a connection woken when memory may be free again.
    pub(crate) fn note_waiting(&self, inbox: &Rc<Inbox>) {
        self.waiting_for_memory.borrow_mut().push(Rc::clone(inbox));
    }

    /// The thread's buffer to read into, empty and with room for a chunk. Commands that are still
    /// in use keep its memory; it then goes on with fresh memory.
    pub(crate) fn lend_input(&self) -> BytesMut {
        let mut buffer = self.input.take();
        if buffer.capacity() < 2 * READ_SPACE_BYTES_MIN {
            buffer.reserve(READ_CHUNK_BYTES);
        }
        buffer
    }

    /// Takes back what [`Worker::lend_input`] gave, or any other buffer.
    pub(crate) fn return_input(&self, mut buffer: BytesMut) {
        buffer.clear();
        if buffer.capacity() <= 2 * READ_CHUNK_BYTES {
            self.input.replace(buffer);
        }
    }

    /// The thread's buffer to encode replies into.
    pub(crate) fn lend_output(&self) -> BytesMut {
        let mut buffer = self.output.take();
        if buffer.capacity() < OUTPUT_BUFFER_BYTES {
            buffer.reserve(OUTPUT_BUFFER_BYTES);
        }
        buffer
    }

    /// Takes back what [`Worker::lend_output`] gave, unless it has grown large.
    pub(crate) fn return_output(&self, mut buffer: BytesMut) {
        buffer.clear();
        if buffer.capacity() <= 2 * OUTPUT_CHUNK_BYTES {
            self.output.replace(buffer);
        }
    }
}

/// Task polls between two looks at the sockets: small, so that many ready connections are served
/// in the order in which they became ready.
const EVENT_INTERVAL: u32 = 31;

/// Pause after a failure to accept, which a lack of descriptors repeats at once.
const ACCEPT_PAUSE_MS: u64 = 50;

/// How often a draining thread looks whether its connections have ended.
const DRAIN_POLL_MS: u64 = 5;
