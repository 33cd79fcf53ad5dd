//! COMMAND, INFO, CONFIG, DBSIZE, TIME, LASTSAVE, BGSAVE and SHUTDOWN. Knows nothing of the
//! server's settings and state.

use bytes::Bytes;

use super::cursor::{Cursor, is_keyword};
use super::subcommand::{exactly, help, syntax_error, unknown_subcommand, wrong_count};
use super::table::{CommandFlag, CommandSpec, server};
use super::{Command, CommandError};
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
    /// `BGSAVE`: make what is written durable now.
    Save,
    /// `SHUTDOWN`.
    Shutdown(ShutdownMode),
    /// `HELP` of any command.
    Help {
        /// The command in upper case.
        name: String,
        /// Its subcommands, and indented what they do.
        lines: &'static [&'static str],
    },
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
    /// `COMMAND GETKEYS name argument..`: the keys among these.
    Keys(Vec<Bytes>),
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

pub(super) const COMMANDS: [CommandSpec; 8] = [
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
    CommandSpec {
        summary: "Makes what is written durable now.",
        flags: ADMIN,
        ..server("bgsave", -1, save)
    },
    CommandSpec { summary: "Stops the server.", flags: ADMIN, ..server("shutdown", -1, shutdown) },
];

fn command(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    let Some(name) = cursor.next() else {
        return Ok(query(CommandQuery::All));
    };
    let asked = match name.to_ascii_uppercase().as_slice() {
        b"COUNT" => exactly(cursor, 0, "count").map(|()| CommandQuery::Count)?,
        b"DOCS" => CommandQuery::Docs(rest(cursor)),
        b"INFO" => CommandQuery::Info(rest(cursor)),
        b"LIST" if cursor.remaining() == 0 => CommandQuery::List,
        b"LIST" => return Err(syntax_error().into()),
        b"GETKEYS" if cursor.remaining() > 0 => CommandQuery::Keys(rest(cursor)),
        b"GETKEYS" => return Err(wrong_count(cursor, "getkeys")),
        b"HELP" => return Ok(help(cursor, COMMAND_HELP)),
        _ => return Err(unknown_subcommand(cursor, name)),
    };
    Ok(query(asked))
}

const COMMAND_HELP: &[&str] = &[
    "(no subcommand)",
    "    Every command in full.",
    "COUNT",
    "    How many commands there are.",
    "DOCS [<command>..]",
    "    Summaries.",
    "GETKEYS <command and arguments>",
    "    The keys of a whole command.",
    "INFO [<command>..]",
    "    Arity, flags and positions of keys.",
    "LIST",
    "    The names.",
];

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
        b"GET" => return Err(wrong_count(cursor, "get")),
        b"SET" if cursor.remaining() > 1 => ConfigCommand::Set(config_pairs(cursor)?),
        b"SET" => return Err(wrong_count(cursor, "set")),
        b"RESETSTAT" => exactly(cursor, 0, "resetstat").map(|()| ConfigCommand::ResetStatistics)?,
        b"REWRITE" => {
            exactly(cursor, 0, "rewrite")?;
            return Err(ErrorReply::usage("The server is running without a config file").into());
        }
        b"HELP" => return Ok(help(cursor, CONFIG_HELP)),
        _ => return Err(unknown_subcommand(cursor, name)),
    };
    Ok(Command::Server(ServerCommand::Config(parsed)))
}

fn config_pairs(cursor: &mut Cursor<'_>) -> Result<Vec<(Bytes, Bytes)>, CommandError> {
    if !cursor.remaining().is_multiple_of(2) {
        return Err(wrong_count(cursor, "set"));
    }
    let flat = rest(cursor);
    Ok(flat.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
}

const CONFIG_HELP: &[&str] = &[
    "GET <pattern>..",
    "    Settings whose names match.",
    "SET (<name> <value>)..",
    "    Changes settings that may change while the server runs.",
    "RESETSTAT",
    "    Counts of INFO and latencies begin anew.",
];

fn save(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    let is_known = cursor.remaining() == 0 || cursor.take_keyword("SCHEDULE");
    if !is_known || cursor.remaining() > 0 {
        return Err(syntax_error().into());
    }
    Ok(Command::Server(ServerCommand::Save))
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
            return Err(syntax_error().into());
        }
    }
    Ok(Command::Server(ServerCommand::Shutdown(mode)))
}
