//! The slow worker: one thread for requests that read much data, so that no network thread waits
//! for them. Knows nothing of connections but their numbers.

use std::sync::Arc;
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, bounded};
use tilekv_protocol::Reply;

use crate::delivery::{ConnectionId, Delivery, SlowOutcome, SlowReply, Tag};
use crate::dispatch::scan::{self, Scan};
use crate::limits::SLOW_QUEUE_COUNT_MAX;
use crate::shared::Shared;

/// A slow request and where its reply goes.
#[derive(Debug)]
pub(crate) struct SlowRequest {
    /// Position of the network thread.
    pub(crate) thread: usize,
    /// The connection.
    pub(crate) connection: ConnectionId,
    /// The request.
    pub(crate) tag: Tag,
    /// What to do.
    pub(crate) scan: Scan,
    /// When the request was read from the socket.
    pub(crate) started: Instant,
}

/// The queue of slow requests.
#[derive(Debug)]
pub(crate) struct SlowQueue(Sender<SlowRequest>);

impl SlowQueue {
    /// A queue and its receiving end.
    pub(crate) fn new() -> (Self, Receiver<SlowRequest>) {
        let (sender, receiver) = bounded(SLOW_QUEUE_COUNT_MAX);
        (Self(sender), receiver)
    }

    /// Puts a request in; false if the queue is full.
    pub(crate) fn push(&self, request: SlowRequest) -> bool {
        self.0.try_send(request).is_ok()
    }
}

/// Starts the worker.
pub(crate) fn start_worker(
    shared: Arc<Shared>,
    requests: Receiver<SlowRequest>,
) -> std::io::Result<()> {
    std::thread::Builder::new().name("slow".to_owned()).spawn(move || {
        for request in requests {
            let reply = scan::run(&shared, &request.scan).unwrap_or_else(Reply::Error);
            let (tag, started) = (request.tag, request.started);
            let reply = SlowReply::Reply(reply);
            let delivery = Delivery::Slow(SlowOutcome { tag, reply, started });
            shared.clients.mailbox(request.thread).send(vec![(request.connection, delivery)]);
        }
    })?;
    Ok(())
}
