//! MONITOR: connections that are shown every command that runs. Knows nothing of sockets.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tilekv_protocol::Arguments;

use crate::clients::{Client, Clients};
use crate::delivery::{ConnectionId, Delivery};

/// The connections that watch.
#[derive(Debug, Default)]
pub(crate) struct Monitors {
    count: AtomicUsize,
    /// Guards who watches: positions of network threads, and connections.
    watchers: Mutex<Vec<(usize, ConnectionId)>>,
}

impl Monitors {
    /// A connection watches from now on.
    pub(crate) fn add(&self, client: &Client) {
        let mut watchers = self.watchers.lock();
        if !watchers.iter().any(|(_, watcher)| *watcher == client.id) {
            watchers.push((client.thread, client.id));
        }
        self.count.store(watchers.len(), Ordering::Relaxed);
    }

    /// A connection watches no more, or has gone.
    pub(crate) fn remove(&self, connection: ConnectionId) {
        if self.is_watched() {
            let mut watchers = self.watchers.lock();
            watchers.retain(|(_, watcher)| *watcher != connection);
            self.count.store(watchers.len(), Ordering::Relaxed);
        }
    }

    /// Whether that connection watches.
    pub(crate) fn has(&self, connection: ConnectionId) -> bool {
        self.is_watched() && self.watchers.lock().iter().any(|(_, watcher)| *watcher == connection)
    }

    /// Whether anybody watches.
    pub(crate) fn is_watched(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Shows a command to everybody who watches.
    pub(crate) fn show(&self, clients: &Clients, line: &Bytes) {
        for (thread, watcher) in self.watchers.lock().iter() {
            clients.mailbox(*thread).send(vec![(*watcher, Delivery::Line(line.clone()))]);
        }
    }
}

/// The line that shows a command: time, client, then the arguments in quotes.
pub(crate) fn line(now_ms: i64, client: &Client, arguments: &Arguments) -> Bytes {
    let (seconds, rest_ms) = (now_ms.div_euclid(1000), now_ms.rem_euclid(1000));
    let mut line = format!("+{seconds}.{:06} [0 {}]", rest_ms * 1000, client.peer);
    for argument in arguments.iter() {
        line.push_str(" \"");
        argument.iter().for_each(|byte| push_shown(&mut line, *byte));
        line.push('"');
    }
    line.push_str("\r\n");
    Bytes::from(line)
}

/// Redis's spelling of a byte inside quotes.
fn push_shown(line: &mut String, byte: u8) {
    match byte {
        b'"' => line.push_str("\\\""),
        b'\\' => line.push_str("\\\\"),
        b'\n' => line.push_str("\\n"),
        b'\r' => line.push_str("\\r"),
        b'\t' => line.push_str("\\t"),
        0x07 => line.push_str("\\a"),
        0x08 => line.push_str("\\b"),
        0x20..0x7F => line.push(char::from(byte)),
        other => line.push_str(&format!("\\x{other:02x}")),
    }
}
