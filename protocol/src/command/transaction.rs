//! MULTI, EXEC, DISCARD, UNWATCH, and the refusal of WATCH. Knows nothing of what is queued.

use super::cursor::Cursor;
use super::table::{CommandFlag, CommandSpec, KeyPositions, connection};
use super::{Command, CommandError};
use crate::error::ErrorReply;

/// Commands on the connection's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionCommand {
    /// `MULTI`: queue what follows.
    Multi,
    /// `EXEC`: run what was queued, back to back.
    Exec,
    /// `DISCARD`: forget what was queued.
    Discard,
    /// `UNWATCH`: nothing is watched, so nothing is to do.
    Unwatch,
}

pub(super) const COMMANDS: [CommandSpec; 5] = [
    CommandSpec { summary: "Queues the commands that follow.", ..spec("multi", 1, multi) },
    CommandSpec { summary: "Runs the queued commands back to back.", ..spec("exec", 1, exec) },
    CommandSpec { summary: "Forgets the queued commands.", ..spec("discard", 1, discard) },
    CommandSpec { summary: "Refused: there are no optimistic locks.", ..spec("watch", -2, watch) },
    CommandSpec { summary: "Answers OK: nothing is watched.", ..spec("unwatch", 1, unwatch) },
];

const fn spec(name: &'static str, arity: i64, parse: super::table::Parse) -> CommandSpec {
    CommandSpec {
        group: "transactions",
        flags: &[CommandFlag::NoScript, CommandFlag::Fast],
        keys: KeyPositions::NONE,
        ..connection(name, arity, parse)
    }
}

fn multi(_: &mut Cursor<'_>) -> Result<Command, CommandError> {
    Ok(Command::Transaction(TransactionCommand::Multi))
}

fn exec(_: &mut Cursor<'_>) -> Result<Command, CommandError> {
    Ok(Command::Transaction(TransactionCommand::Exec))
}

fn discard(_: &mut Cursor<'_>) -> Result<Command, CommandError> {
    Ok(Command::Transaction(TransactionCommand::Discard))
}

fn unwatch(_: &mut Cursor<'_>) -> Result<Command, CommandError> {
    Ok(Command::Transaction(TransactionCommand::Unwatch))
}

fn watch(_: &mut Cursor<'_>) -> Result<Command, CommandError> {
    let sentence = "WATCH is not supported: MULTI and EXEC run their commands back to back, \
                    without conditions";
    Err(ErrorReply::usage(sentence).into())
}
