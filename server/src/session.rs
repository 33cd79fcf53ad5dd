//! What one connection has said about itself and is in the middle of: authentication, protocol
//! version, an open transaction. Knows nothing of sockets or the order of replies.

use std::sync::Arc;

use tilekv_protocol::resp::RespVersion;
use tilekv_protocol::{Limits, ReplyMode};

use crate::clients::Client;
use crate::limits::TRANSACTION_COMMAND_COUNT_MAX;
use crate::received::Received;
use crate::shared::Shared;

/// The state of one connection's conversation.
#[derive(Debug)]
pub(crate) struct Session {
    /// Its entry in the table of clients.
    pub(crate) client: Arc<Client>,
    /// RESP version of replies.
    pub(crate) version: RespVersion,
    /// Whether the client may do anything but authenticate.
    pub(crate) authenticated: bool,
    /// What the client's commands may be.
    pub(crate) limits: Limits,
    /// CLIENT REPLY.
    pub(crate) replies: Replies,
    /// Commands since MULTI.
    pub(crate) transaction: Option<Transaction>,
    /// Whether the connection ends once its replies are written.
    pub(crate) closing: bool,
}

/// Which commands are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replies {
    /// All.
    On,
    /// None.
    Off,
    /// All but so many of the next.
    Skip(usize),
}

/// Commands between MULTI and EXEC.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    commands: Vec<Received>,
    bytes: usize,
    /// Whether a command was refused, so that EXEC runs none.
    pub(crate) aborted: bool,
}

impl Session {
    /// A connection that has said nothing yet.
    pub(crate) fn new(client: Arc<Client>, shared: &Shared) -> Self {
        let authenticated = shared.config.password.is_none();
        Self {
            client,
            version: RespVersion::default(),
            authenticated,
            limits: limits(shared, authenticated),
            replies: Replies::On,
            transaction: None,
            closing: false,
        }
    }

    /// The client has shown that it knows the password.
    pub(crate) fn authenticate(&mut self, shared: &Shared) {
        self.authenticated = true;
        self.limits = limits(shared, true);
    }

    /// Makes the session as if it were new.
    pub(crate) fn reset(&mut self, shared: &Shared) {
        *self = Self::new(Arc::clone(&self.client), shared);
        shared.monitors.remove(self.client.id);
        let mut about = self.client.about.lock();
        about.name.clear();
        about.protocol = "resp2";
    }

    /// Whether the next command is to be answered; `CLIENT REPLY SKIP` skips the next.
    pub(crate) fn takes_reply(&mut self) -> bool {
        match self.replies {
            Replies::On => true,
            Replies::Off => false,
            Replies::Skip(count) => {
                self.skip(count.saturating_sub(1));
                false
            }
        }
    }

    /// Skips so many replies.
    pub(crate) fn skip(&mut self, count: usize) {
        self.replies = if count == 0 { Replies::On } else { Replies::Skip(count) };
    }

    /// CLIENT REPLY. Only ON is itself answered.
    pub(crate) fn set_replies(&mut self, mode: ReplyMode) {
        self.replies = match mode {
            ReplyMode::On => Replies::On,
            ReplyMode::Off => Replies::Off,
            ReplyMode::Skip if self.replies == Replies::Off => Replies::Off,
            ReplyMode::Skip => Replies::Skip(1),
        };
    }
}

impl Transaction {
    /// Queues a command; false if there are too many, or they hold more than `bytes_max`.
    pub(crate) fn push(&mut self, command: Received, bytes_max: usize) -> bool {
        let bytes = self.bytes.saturating_add(command.bytes);
        if TRANSACTION_COMMAND_COUNT_MAX <= self.commands.len() || bytes_max < bytes {
            self.aborted = true;
            return false;
        }
        self.bytes = bytes;
        self.commands.push(command);
        true
    }

    /// Bytes that the commands hold.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The commands in order.
    pub(crate) fn into_commands(self) -> Vec<Received> {
        self.commands
    }
}

fn limits(shared: &Shared, authenticated: bool) -> Limits {
    if !authenticated {
        return Limits::before_authentication();
    }
    let frame_bytes_max = shared.config.frame_bytes_max;
    let standard = Limits::authenticated();
    Limits {
        frame_bytes_max,
        bulk_bytes_max: standard.bulk_bytes_max.min(frame_bytes_max),
        ..standard
    }
}
