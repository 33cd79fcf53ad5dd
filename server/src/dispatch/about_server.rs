//! Redis commands about the server: COMMAND, INFO, CONFIG, DBSIZE, TIME, LASTSAVE, BGSAVE,
//! SHUTDOWN, and HELP of every command.

use std::sync::atomic::Ordering;

use tilekv_protocol::{ErrorReply, Reply, ServerCommand, ShutdownMode, command_reply};

use super::{Action, Context, configuration, info};
use crate::committer::Order;
use crate::session::Session;

pub(super) fn run(
    context: &Context<'_>,
    session: &mut Session,
    command: ServerCommand,
) -> Result<Action, ErrorReply> {
    let reply = match command {
        ServerCommand::Commands(query) => command_reply(&query),
        ServerCommand::Info(sections) => info::reply(context, &sections),
        ServerCommand::Config(command) => configuration::run(context, command)?,
        ServerCommand::DatabaseSize => {
            Reply::unsigned(context.version.records().figures(context.now_ms).count)
        }
        ServerCommand::Time => time(context.now_ms),
        ServerCommand::LastSave => {
            Reply::Integer(context.shared.saved_ms.load(Ordering::Relaxed) / 1000)
        }
        ServerCommand::Save => {
            context.shared.orders.give(Order::Sync);
            Reply::Simple("Background saving started".into())
        }
        ServerCommand::Help { name, lines } => help(&name, lines),
        ServerCommand::Shutdown(mode) => return shutdown(context, session, mode),
    };
    Ok(Action::Reply(reply))
}

/// Redis's form: lines as simple strings, the first and the last two the same everywhere.
fn help(name: &str, lines: &[&'static str]) -> Reply {
    let first = format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    let last = ["HELP", "    Print this help."].map(|line| Reply::Simple(line.into()));
    let lines = lines.iter().map(|line| Reply::Simple((*line).into()));
    let first = Reply::Simple(first.into());
    Reply::Array(std::iter::once(first).chain(lines).chain(last).collect())
}

/// Seconds, and microseconds in the second, both as text.
fn time(now_ms: i64) -> Reply {
    let (seconds, rest_ms) = (now_ms.div_euclid(1000), now_ms.rem_euclid(1000));
    Reply::Array(vec![Reply::text(seconds.to_string()), Reply::text((rest_ms * 1000).to_string())])
}

/// Like Redis, a shutdown that succeeds is not answered: the connection closes.
fn shutdown(
    context: &Context<'_>,
    session: &mut Session,
    mode: ShutdownMode,
) -> Result<Action, ErrorReply> {
    let reason = match mode {
        ShutdownMode::Graceful => "SHUTDOWN",
        ShutdownMode::Now => "SHUTDOWN NOW",
        ShutdownMode::Abort => return Err(ErrorReply::usage("No shutdown in progress.")),
    };
    context.shared.lifecycle.begin_shutdown(reason);
    session.closing = true;
    Ok(Action::Silence)
}
