//! COMMAND, INFO, CONFIG, DBSIZE, TIME, LASTSAVE and SHUTDOWN. Knows nothing of the server's
//! settings and state.

use bytes::Bytes;

use super::connection::unknown_subcommand;
use super::cursor::{Cursor, is_keyword};
use super::table::{CommandFlag, CommandSpec, server};
use super::{Command, CommandError, wrong_arity};
use crate::error::ErrorReply;

/// Commands about the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerCommand {
    /// `COMMAND`; `command_reply` answers it.
    Commands(CommandQuery),
    /// `INFO` with the sections wanted; none is the default set.
    Info(Vec<Bytes>),
    /// `CONFIG`.
    Config(ConfigCommand),
    /// `DBSIZE`.
    DatabaseSize,
    /// `TIME`.
    Time,
    /// `LASTSAVE`.
    LastSave,
    /// `SHUTDOWN`.
    Shutdown(ShutdownMode),
}

/// What COMMAND asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandQuery {
    /// `COMMAND`: all descriptions.
    All,
    /// `COMMAND COUNT`.
    Count,
    /// `COMMAND DOCS [name..]`.
    Docs(Vec<Bytes>),
    /// `COMMAND INFO [name..]`.
    Info(Vec<Bytes>),
    /// `COMMAND LIST`.
    List,
}

/// Subcommands of CONFIG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigCommand {
    /// `CONFIG GET pattern..`.
    Get(Vec<Bytes>),
    /// `CONFIG SET (name value)..`.
    Set(Vec<(Bytes, Bytes)>),
    /// `CONFIG RESETSTAT`.
    ResetStatistics,
}

/// How to shut down. Data is durable by the log, so SAVE and NOSAVE end alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownMode {
    /// In order: finish what is under way.
    Graceful,
    /// `NOW`, `FORCE`: without waiting for clients.
    Now,
    /// `ABORT`: call a shutdown off.
    Abort,
}

const ADMIN: &[CommandFlag] = &[CommandFlag::Admin, CommandFlag::Loading];
const FAST: &[CommandFlag] = &[CommandFlag::Loading, CommandFlag::Fast];

pub(super) const COMMANDS: [CommandSpec; 7] = [
    CommandSpec { summary: "The commands of this server.", ..server("command", -1, command) },
    CommandSpec { summary: "How the server is.", ..server("info", -1, info) },
    CommandSpec { summary: "Settings.", flags: ADMIN, ..server("config", -2, config) },
    CommandSpec {
        summary: "How many records there are.",
        flags: FAST,
        ..server("dbsize", 1, size)
    },
    CommandSpec { summary: "The server's clock.", flags: FAST, ..server("time", 1, time) },
    CommandSpec {
        summary: "When data last became durable as a whole, in seconds since the epoch.",
        flags: FAST,
        ..server("lastsave", 1, last_save)
    },
    CommandSpec { summary: "Stops the server.", flags: ADMIN, ..server("shutdown", -1, shutdown) },
];

fn command(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    let Some(name) = cursor.next() else {
        return Ok(query(CommandQuery::All));
    };
    let asked = match name.to_ascii_uppercase().as_slice() {
        b"COUNT" if cursor.remaining() == 0 => CommandQuery::Count,
        b"COUNT" => return Err(wrong_arity("command|count").into()),
        b"DOCS" => CommandQuery::Docs(rest(cursor)),
        b"INFO" => CommandQuery::Info(rest(cursor)),
        b"LIST" => {
            cursor.end()?;
            CommandQuery::List
        }
        _ => {
            let known = "COUNT, DOCS, INFO or LIST";
            return Err(unknown_subcommand("COMMAND", name, known).into());
        }
    };
    Ok(query(asked))
}

fn query(query: CommandQuery) -> Command {
    Command::Server(ServerCommand::Commands(query))
}

fn rest(cursor: &mut Cursor<'_>) -> Vec<Bytes> {
    let indexes = cursor.position()..cursor.arguments().len();
    let items = indexes.filter_map(|index| cursor.arguments().bytes(index)).collect();
    cursor.move_to(cursor.arguments().len());
    items
}

fn info(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    Ok(Command::Server(ServerCommand::Info(rest(cursor))))
}

fn config(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    let name = cursor.required("a subcommand")?;
    let parsed = match name.to_ascii_uppercase().as_slice() {
        b"GET" if cursor.remaining() > 0 => ConfigCommand::Get(rest(cursor)),
        b"GET" => return Err(wrong_arity("config|get").into()),
        b"SET" if cursor.remaining() > 0 && cursor.remaining().is_multiple_of(2) => {
            let flat = rest(cursor);
            ConfigCommand::Set(
                flat.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect(),
            )
        }
        b"SET" => return Err(wrong_arity("config|set").into()),
        b"RESETSTAT" if cursor.remaining() == 0 => ConfigCommand::ResetStatistics,
        b"RESETSTAT" => return Err(wrong_arity("config|resetstat").into()),
        _ => {
            let known = "GET, SET or RESETSTAT";
            return Err(unknown_subcommand("CONFIG", name, known).into());
        }
    };
    Ok(Command::Server(ServerCommand::Config(parsed)))
}

fn size(_: &mut Cursor<'_>) -> Result<Command, CommandError> {
    Ok(Command::Server(ServerCommand::DatabaseSize))
}

fn time(_: &mut Cursor<'_>) -> Result<Command, CommandError> {
    Ok(Command::Server(ServerCommand::Time))
}

fn last_save(_: &mut Cursor<'_>) -> Result<Command, CommandError> {
    Ok(Command::Server(ServerCommand::LastSave))
}

fn shutdown(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    let mut mode = ShutdownMode::Graceful;
    while let Some(option) = cursor.next() {
        if is_keyword(option, "NOW") || is_keyword(option, "FORCE") {
            mode = ShutdownMode::Now;
        } else if is_keyword(option, "ABORT") && cursor.arguments().len() == 2 {
            mode = ShutdownMode::Abort;
        } else if !is_keyword(option, "SAVE") && !is_keyword(option, "NOSAVE") {
            let found = tilekv_tile::printable(option);
            return Err(ErrorReply::usage(format!(
                "SHUTDOWN: found \"{found}\", expected NOSAVE, SAVE, NOW, FORCE, or ABORT alone"
            ))
            .into());
        }
    }
    Ok(Command::Server(ServerCommand::Shutdown(mode)))
}
