//! A command as it was read off a RESP connection, until it is answered; and what is noted of one
//! that ran: counts, the slow log, latency events. Knows nothing of sockets.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tilekv_protocol::{Arguments, Command, CommandError, CommandFlag, CommandId};

use crate::clients::Client;
use crate::exchange::Turn;
use crate::metrics::Ending;
use crate::monitors;
use crate::slow_log::{SlowEntry, kept_arguments};

/// A command, or why it is none, and the bytes that it holds.
#[derive(Debug)]
pub(crate) struct Received {
    /// Its row in the table of commands, if its name has one.
    pub(crate) id: Option<CommandId>,
    /// What was read.
    pub(crate) parsed: Result<Command, CommandError>,
    /// As it was sent.
    pub(crate) arguments: Arguments,
    /// Bytes of memory that it holds.
    pub(crate) bytes: usize,
}

/// The client sends this command now: whoever watches is shown it.
pub(crate) fn note_start(
    turn: &Turn<'_>,
    client: &Client,
    id: Option<CommandId>,
    arguments: &Arguments,
) {
    let Some(id) = id else { return };
    client.last_command.store(id.index() + 1, Ordering::Relaxed);
    let shared = turn.context.shared;
    if shared.monitors.is_watched() && is_shown(id) {
        let line = monitors::line(turn.context.now_ms, client, arguments);
        shared.monitors.show(&shared.clients, &line);
    }
}

/// A command ended after that time.
pub(crate) fn note_end(
    turn: &Turn<'_>,
    client: &Client,
    id: Option<CommandId>,
    arguments: &Arguments,
    (ending, time): (Ending, Duration),
) {
    let Some(id) = id else { return };
    turn.metrics.count_command(id, ending, time);
    let (shared, now_s) = (turn.context.shared, turn.context.now_ms.div_euclid(1000));
    shared.latency_events.note(event(id), now_s, time);
    if !shared.slow_log.takes(time) {
        return;
    }
    shared.slow_log.push(SlowEntry {
        id: 0,
        time_s: now_s,
        duration: time,
        arguments: if holds_password(id) {
            vec![bytes::Bytes::from_static(id.spec().name.as_bytes()), "(redacted)".into()]
        } else {
            kept_arguments(arguments)
        },
        peer: client.peer.to_string(),
        name: client.about.lock().name.clone(),
    });
}

/// Redis's names of the two events that commands cause.
fn event(id: CommandId) -> &'static str {
    if id.spec().has(CommandFlag::Fast) { "fast-command" } else { "command" }
}

/// Like Redis, MONITOR shows neither what operators do nor passwords, nor what ends a watch.
fn is_shown(id: CommandId) -> bool {
    let ends = matches!(id.spec().name, "exec" | "quit" | "reset");
    !id.spec().has(CommandFlag::Admin) && !holds_password(id) && !ends
}

fn holds_password(id: CommandId) -> bool {
    matches!(id.spec().name, "auth" | "hello")
}
