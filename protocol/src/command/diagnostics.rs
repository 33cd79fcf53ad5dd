//! SLOWLOG, LATENCY, MEMORY, MONITOR, and the refusal of DEBUG. Knows nothing of what was noted.

use bytes::Bytes;

use super::cursor::Cursor;
use super::subcommand::{
    exactly, help, integer, not_an_integer, syntax_error, unknown_subcommand, wrong_count,
};
use super::table::{CommandFlag, CommandSpec, KeyPositions, server};
use super::{Command, CommandError};
use crate::error::ErrorReply;

/// What the server has noted about its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiagnosticsCommand {
    /// `SLOWLOG`.
    SlowLog(SlowLogCommand),
    /// `LATENCY`.
    Latency(LatencyCommand),
    /// `MEMORY`.
    Memory(MemoryCommand),
    /// `MONITOR`: show this connection every command from now on.
    Monitor,
}

/// Subcommands of SLOWLOG.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowLogCommand {
    /// `SLOWLOG GET [count]`: the newest so many; none is all.
    Get(Option<usize>),
    /// `SLOWLOG LEN`.
    Length,
    /// `SLOWLOG RESET`.
    Reset,
}

/// Subcommands of LATENCY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LatencyCommand {
    /// `LATENCY LATEST`.
    Latest,
    /// `LATENCY HISTORY event`.
    History(Bytes),
    /// `LATENCY RESET [event..]`; none is all.
    Reset(Vec<Bytes>),
    /// `LATENCY DOCTOR`.
    Doctor,
    /// `LATENCY HISTOGRAM [command..]`; none is all.
    Histogram(Vec<Bytes>),
}

/// Subcommands of MEMORY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemoryCommand {
    /// `MEMORY USAGE key [SAMPLES count]`: an estimate of the record's bytes.
    Usage(Bytes),
    /// `MEMORY DOCTOR`.
    Doctor,
    /// `MEMORY STATS`.
    Statistics,
}

const ADMIN: &[CommandFlag] = &[CommandFlag::Admin, CommandFlag::Loading, CommandFlag::NoScript];

pub(super) const COMMANDS: [CommandSpec; 5] = [
    CommandSpec {
        summary: "Commands that took longer than slowlog-log-slower-than.",
        flags: ADMIN,
        ..server("slowlog", -2, slow_log)
    },
    CommandSpec {
        summary: "Latencies: events above latency-monitor-threshold, and histograms.",
        flags: ADMIN,
        ..server("latency", -2, latency)
    },
    CommandSpec {
        summary: "Memory of a record, and of the server.",
        flags: &[CommandFlag::ReadOnly],
        keys: KeyPositions::SECOND,
        ..server("memory", -2, memory)
    },
    CommandSpec {
        summary: "Shows every command that the server runs.",
        flags: ADMIN,
        ..server("monitor", 1, monitor)
    },
    CommandSpec { summary: "Refused.", flags: ADMIN, ..server("debug", -2, debug) },
];

fn slow_log(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    let name = cursor.required("a subcommand")?;
    let parsed = match name.to_ascii_uppercase().as_slice() {
        b"GET" if cursor.remaining() <= 1 => SlowLogCommand::Get(slow_log_count(cursor)?),
        b"GET" => return Err(wrong_count(cursor, "get")),
        b"LEN" => exactly(cursor, 0, "len").map(|()| SlowLogCommand::Length)?,
        b"RESET" => exactly(cursor, 0, "reset").map(|()| SlowLogCommand::Reset)?,
        b"HELP" => return Ok(help(cursor, SLOW_LOG_HELP)),
        _ => return Err(unknown_subcommand(cursor, name)),
    };
    Ok(Command::Diagnostics(DiagnosticsCommand::SlowLog(parsed)))
}

/// Ten entries unless another number is asked for; -1 is all.
fn slow_log_count(cursor: &mut Cursor<'_>) -> Result<Option<usize>, ErrorReply> {
    const DEFAULT: usize = 10;
    let Some(text) = cursor.next() else { return Ok(Some(DEFAULT)) };
    let refused = || ErrorReply::usage("count should be greater than or equal to -1");
    match integer(text).ok_or_else(refused)? {
        -1 => Ok(None),
        count => usize::try_from(count).map(Some).map_err(|_| refused()),
    }
}

const SLOW_LOG_HELP: &[&str] = &[
    "GET [<count>]",
    "    The newest <count> entries, 10 by default, all by -1: id, time in seconds, duration in",
    "    microseconds, arguments, address and name of the client.",
    "LEN",
    "    How many entries there are.",
    "RESET",
    "    Forgets them.",
];

fn latency(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    let name = cursor.required("a subcommand")?;
    let parsed = match name.to_ascii_uppercase().as_slice() {
        b"LATEST" => exactly(cursor, 0, "latest").map(|()| LatencyCommand::Latest)?,
        b"HISTORY" => {
            exactly(cursor, 1, "history")?;
            LatencyCommand::History(cursor.required_bytes("the event")?)
        }
        b"RESET" => LatencyCommand::Reset(rest(cursor)),
        b"DOCTOR" => exactly(cursor, 0, "doctor").map(|()| LatencyCommand::Doctor)?,
        b"HISTOGRAM" => LatencyCommand::Histogram(rest(cursor)),
        b"HELP" => return Ok(help(cursor, LATENCY_HELP)),
        _ => return Err(unknown_subcommand(cursor, name)),
    };
    Ok(Command::Diagnostics(DiagnosticsCommand::Latency(parsed)))
}

const LATENCY_HELP: &[&str] = &[
    "DOCTOR",
    "    What the events say, in words.",
    "HISTOGRAM [<command>..]",
    "    How often commands of a family took how long.",
    "HISTORY <event>",
    "    The newest samples of an event: time in seconds, milliseconds.",
    "LATEST",
    "    Each event: name, newest time, newest and longest milliseconds.",
    "RESET [<event>..]",
    "    Forgets events, all of them by default.",
];

fn memory(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    let name = cursor.required("a subcommand")?;
    let parsed = match name.to_ascii_uppercase().as_slice() {
        b"USAGE" if cursor.remaining() > 0 => memory_usage(cursor)?,
        b"USAGE" => return Err(wrong_count(cursor, "usage")),
        b"DOCTOR" => exactly(cursor, 0, "doctor").map(|()| MemoryCommand::Doctor)?,
        b"STATS" => exactly(cursor, 0, "stats").map(|()| MemoryCommand::Statistics)?,
        b"HELP" => return Ok(help(cursor, MEMORY_HELP)),
        _ => return Err(unknown_subcommand(cursor, name)),
    };
    Ok(Command::Diagnostics(DiagnosticsCommand::Memory(parsed)))
}

fn memory_usage(cursor: &mut Cursor<'_>) -> Result<MemoryCommand, ErrorReply> {
    let key = cursor.required_bytes("the key")?;
    while cursor.remaining() > 0 {
        if cursor.remaining() < 2 || !cursor.take_keyword("SAMPLES") {
            return Err(syntax_error());
        }
        let samples = integer(cursor.required("the samples")?).ok_or_else(not_an_integer)?;
        if samples < 0 {
            return Err(syntax_error());
        }
    }
    Ok(MemoryCommand::Usage(key))
}

const MEMORY_HELP: &[&str] = &[
    "DOCTOR",
    "    Whether memory is short, in words.",
    "STATS",
    "    Where the memory is.",
    "USAGE <key> [SAMPLES <count>]",
    "    An estimate of the bytes of a record.",
];

fn monitor(_: &mut Cursor<'_>) -> Result<Command, CommandError> {
    Ok(Command::Diagnostics(DiagnosticsCommand::Monitor))
}

fn debug(_: &mut Cursor<'_>) -> Result<Command, CommandError> {
    let sentence = "DEBUG command not allowed. This server has no debug commands.";
    Err(ErrorReply::usage(sentence).into())
}

fn rest(cursor: &mut Cursor<'_>) -> Vec<Bytes> {
    let indexes = cursor.position()..cursor.arguments().len();
    indexes.filter_map(|index| cursor.arguments().bytes(index)).collect()
}
