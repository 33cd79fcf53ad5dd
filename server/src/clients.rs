//! The table of connected clients: what CLIENT LIST shows and CLIENT KILL finds. Knows nothing
//! of sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tilekv_protocol::CommandId;

use crate::delivery::{ConnectionId, Delivery, Mailbox};

/// One connected client, written by its network thread and read by any.
#[derive(Debug)]
pub(crate) struct Client {
    /// Number of the connection.
    pub(crate) id: ConnectionId,
    /// Where it comes from.
    pub(crate) peer: SocketAddr,
    /// Which of our addresses it reached.
    pub(crate) local: SocketAddr,
    /// Position of its network thread.
    pub(crate) thread: usize,
    /// When it connected, milliseconds since the epoch.
    pub(crate) connected_ms: i64,
    /// When it last sent something, milliseconds since the epoch.
    pub(crate) active_ms: AtomicI64,
    /// Commands that it has sent.
    pub(crate) commands: AtomicU64,
    /// Position of the command that it sent last, plus one.
    pub(crate) last_command: AtomicUsize,
    /// Bytes of replies that wait for it.
    pub(crate) output_bytes: AtomicUsize,
    /// Guards what the client says about itself.
    pub(crate) about: Mutex<About>,
}

/// What a client says about itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    /// CLIENT SETNAME.
    pub(crate) name: String,
    /// CLIENT SETINFO lib-name.
    pub(crate) library: String,
    /// CLIENT SETINFO lib-ver.
    pub(crate) library_version: String,
    /// `resp2`, `resp3` or `native`.
    pub(crate) protocol: &'static str,
}

/// All connected clients. The lock guards the table and is held to insert, remove or copy.
#[derive(Debug)]
pub(crate) struct Clients {
    table: Mutex<BTreeMap<ConnectionId, Arc<Client>>>,
    count: AtomicUsize,
    next_id: AtomicU64,
    count_max: usize,
    mailboxes: Vec<Mailbox>,
}

impl Clients {
    /// An empty table for at most `count_max` clients on these threads, behind whose mailboxes
    /// those of the job workers may stand.
    pub(crate) fn new(count_max: usize, mailboxes: Vec<Mailbox>) -> Self {
        Self {
            table: Mutex::new(BTreeMap::new()),
            count: AtomicUsize::new(0),
            next_id: AtomicU64::new(1),
            count_max,
            mailboxes,
        }
    }

    /// Enters a client; None if there are as many as there may be.
    pub(crate) fn enter(
        &self,
        peer: SocketAddr,
        local: SocketAddr,
        thread: usize,
        now_ms: i64,
    ) -> Option<Arc<Client>> {
        if self.count.fetch_add(1, Ordering::Relaxed) >= self.count_max {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let client = Arc::new(Client {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            peer,
            local,
            thread,
            connected_ms: now_ms,
            active_ms: AtomicI64::new(now_ms),
            commands: AtomicU64::new(0),
            last_command: AtomicUsize::new(0),
            output_bytes: AtomicUsize::new(0),
            about: Mutex::new(About { protocol: "resp2", ..About::default() }),
        });
        self.table.lock().insert(client.id, Arc::clone(&client));
        Some(client)
    }

    /// Removes a client that has gone.
    pub(crate) fn leave(&self, id: ConnectionId) {
        if self.table.lock().remove(&id).is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How many clients are connected.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many there may be.
    pub(crate) fn count_max(&self) -> usize {
        self.count_max
    }

    /// Whether that connection is still there.
    pub(crate) fn contains(&self, id: ConnectionId) -> bool {
        self.table.lock().contains_key(&id)
    }

    /// A copy of the table in the order of the numbers.
    pub(crate) fn list(&self) -> Vec<Arc<Client>> {
        self.table.lock().values().cloned().collect()
    }

    /// Orders those connections to close and returns how many there were.
    pub(crate) fn kill(&self, chosen: impl Fn(&Client) -> bool) -> usize {
        let chosen: Vec<_> = self.list().into_iter().filter(|client| chosen(client)).collect();
        for client in &chosen {
            self.mailboxes[client.thread].send(vec![(client.id, Delivery::Kill)]);
        }
        chosen.len()
    }

    /// The mailbox of a network thread.
    pub(crate) fn mailbox(&self, thread: usize) -> &Mailbox {
        &self.mailboxes[thread]
    }

    /// How many mailboxes there are.
    pub(crate) fn mailbox_count(&self) -> usize {
        self.mailboxes.len()
    }
}

impl Client {
    /// The line of CLIENT LIST and CLIENT INFO, without a line end.
    pub(crate) fn line(&self, now_ms: i64) -> String {
        let about = self.about.lock().clone();
        let age_s = (now_ms - self.connected_ms) / 1000;
        let idle_s = (now_ms - self.active_ms.load(Ordering::Relaxed)) / 1000;
        let resp = if about.protocol == "resp3" { 3 } else { 2 };
        let command = self.last_command.load(Ordering::Relaxed).checked_sub(1);
        let command = command.and_then(CommandId::at).map_or("NULL", |id| id.spec().name);
        format!(
            "id={} addr={} laddr={} fd=-1 name={} age={age_s} idle={idle_s} flags=N db=0 sub=0 \
             psub=0 ssub=0 multi=-1 watch=0 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 \
             obl=0 oll=0 omem={} tot-mem=0 events=r cmd={command} user=default redir=-1 \
             resp={resp} lib-name={} lib-ver={} tot-cmds={} proto={}",
            self.id,
            self.peer,
            self.local,
            about.name,
            self.output_bytes.load(Ordering::Relaxed),
            about.library,
            about.library_version,
            self.commands.load(Ordering::Relaxed),
            about.protocol,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_bounded_and_kills_by_choice() {
        let (mailbox, mut received) = Mailbox::new();
        let clients = Clients::new(2, vec![mailbox]);
        let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let first = clients.enter(address, address, 0, 0).unwrap();
        let second = clients.enter(address, address, 0, 0).unwrap();
        assert!(clients.enter(address, address, 0, 0).is_none());
        assert!(second.id > first.id);
        assert_eq!(clients.kill(|client| client.id == second.id), 1);
        let parcel = received.try_recv().unwrap();
        assert!(matches!(parcel[..], [(id, Delivery::Kill)] if id == second.id));
        clients.leave(second.id);
        assert_eq!(clients.count(), 1);
        assert!(!clients.contains(second.id));
        assert!(clients.enter(address, address, 0, 0).is_some());
        assert!(first.line(5_000).contains("age=5 idle=5"));
    }
}
