//! From a command to what is done about it: answered at once, sent to the committer, or handed to
//! the slow worker. One file per family, one short function per command.

mod about_connection;
mod about_diagnostics;
mod about_server;
mod configuration;
mod info;
pub(crate) mod jobs;
mod records;
pub(crate) mod scan;
mod services;
pub(crate) mod transactions;
mod views;
mod windows;
pub(crate) mod writes;

use std::sync::Arc;

use tilekv_engine::{JobId, Version};
use tilekv_protocol::{
    Command, ConnectionCommand, ErrorReply, JobCommand, RecordCommand, Reply, SealCommand,
    ServiceCommand, TileCommand, ViewCommand, WindowCommand,
};

use crate::cold_reads::{self, ColdWork};
use crate::family::Family;
use crate::job_queue::JobWork;
use crate::plans::Plans;
use crate::received::Received;
use crate::refuse;
use crate::session::Session;
use crate::shared::Shared;

pub(crate) use about_connection::{authenticate, is_password};
pub(crate) use windows::engine_time;

use scan::Scan;

/// What commands of one turn are answered from.
pub(crate) struct Context<'a> {
    /// The server.
    pub(crate) shared: &'a Shared,
    /// The state of the store, taken once.
    pub(crate) version: Arc<Version>,
    /// The clock, read once.
    pub(crate) now_ms: i64,
    /// Read plans that this thread has made.
    pub(crate) plans: &'a Plans,
}

/// What is done about a command.
#[derive(Debug)]
pub(crate) enum Action {
    /// This is the answer.
    Reply(Reply),
    /// There is none.
    Silence,
    /// The committer answers.
    Write(Box<tilekv_engine::Write>),
    /// The slow worker answers.
    Scan(Scan),
    /// The threads of cold reads answer.
    Cold(ColdWork),
    /// A job worker answers.
    Job(JobId, JobWork),
    /// An array of the answers of these commands, run back to back.
    Transaction(Vec<Received>),
}

/// The answer of a command, or why it is refused.
pub(crate) type Answer = Result<Reply, ErrorReply>;

/// Decides what is done about a command.
pub(crate) fn dispatch(
    context: &Context<'_>,
    session: &mut Session,
    command: Command,
) -> Result<Action, ErrorReply> {
    if !session.authenticated && !is_allowed_before_authentication(&command) {
        return Err(refuse::no_auth());
    }
    match command {
        Command::Connection(command) => about_connection::run(context, session, command),
        Command::Server(command) => about_server::run(context, session, command),
        Command::Diagnostics(command) => about_diagnostics::run(context, session, command),
        Command::Transaction(command) => transactions::run(session, command),
        Command::View(command) => views::run(context, command),
        Command::Tile(command) => tile(context, command),
        Command::Window(command) => windows::run(context, command),
        Command::Seal(command) => seal(context, command),
        Command::Job(command) => jobs::run(context, command),
        Command::Record(command) => records::run(context, command),
        Command::Service(command) => services::run(context, command),
    }
}

/// Answers a read of windows or of a service on the calling thread, which may wait for the disk.
pub(crate) fn read_in_place(context: &Context<'_>, command: Command) -> Answer {
    let action = match command {
        Command::Window(command) => windows::run(context, command)?,
        Command::Service(command) => services::run(context, command)?,
        _ => return Err(ErrorReply::usage("expected a read of windows or of a service")),
    };
    match action {
        Action::Reply(reply) => Ok(reply),
        Action::Cold(ColdWork::Windows(windows)) => {
            cold_reads::answer_in_place(context.shared, *windows)
        }
        _ => Err(ErrorReply::usage("expected a read of windows or of a service")),
    }
}

/// Whether a command, run now, would go to the committer: then it may follow earlier writes of the
/// same pipeline without waiting for them.
pub(crate) fn is_write(session: &Session, command: &Command) -> bool {
    if !session.authenticated || session.transaction.is_some() {
        return false;
    }
    match command {
        Command::Tile(command) => {
            !matches!(command, TileCommand::Range { .. } | TileCommand::Producer { .. })
        }
        Command::View(command) => !matches!(command, ViewCommand::List | ViewCommand::Info(_)),
        Command::Seal(command) => !matches!(command, SealCommand::List(_)),
        Command::Record(command) => matches!(command, RecordCommand::Write(_)),
        Command::Service(command) => {
            matches!(command, ServiceCommand::Create { .. } | ServiceCommand::Drop(_))
        }
        Command::Connection(_)
        | Command::Server(_)
        | Command::Diagnostics(_)
        | Command::Transaction(_)
        | Command::Window(_)
        | Command::Job(_) => false,
    }
}

/// Whether a command, run now, would go to the worker of its job: then it may follow earlier ones
/// without waiting for them, since work on a job is done in order.
pub(crate) fn is_job_work(session: &Session, command: &Command) -> bool {
    if !session.authenticated || session.transaction.is_some() {
        return false;
    }
    match command {
        Command::Job(command) => {
            matches!(command, JobCommand::Put(_) | JobCommand::Commit(_) | JobCommand::Abort(_))
        }
        _ => false,
    }
}

/// The family under which a command is counted.
pub(crate) fn family(command: &Command) -> Family {
    match command {
        Command::Connection(_) | Command::Transaction(_) => Family::Connection,
        Command::Server(_) | Command::Diagnostics(_) => Family::Server,
        Command::View(_) => Family::View,
        Command::Service(ServiceCommand::Read(_)) => Family::Window,
        Command::Service(_) => Family::View,
        Command::Tile(TileCommand::Range { .. } | TileCommand::Producer { .. }) => Family::Stored,
        Command::Tile(_) => Family::Tile,
        Command::Window(WindowCommand::Read(_) | WindowCommand::Explain(_)) => Family::Window,
        Command::Seal(_) => Family::Seal,
        Command::Job(_) => Family::Job,
        Command::Record(RecordCommand::Write(_)) => Family::RecordWrite,
        Command::Record(_) => Family::Record,
    }
}

fn is_allowed_before_authentication(command: &Command) -> bool {
    matches!(
        command,
        Command::Connection(
            ConnectionCommand::Hello(_)
                | ConnectionCommand::Auth(_)
                | ConnectionCommand::Quit
                | ConnectionCommand::Reset
        )
    )
}

fn tile(context: &Context<'_>, command: TileCommand) -> Result<Action, ErrorReply> {
    match command {
        TileCommand::Range { view, entity, from, to, features } => {
            let range = scan::Range { view, entity, from, to, features };
            scan::range_action(context, range)
        }
        TileCommand::Producer { view, id } => {
            let (reader, version) = (&context.shared.reader, &context.version);
            let last = reader.producer(version, &view, &id, context.now_ms);
            let last = last.map_err(|error| refuse::engine_error(&error))?;
            Ok(Action::Reply(last.map_or(Reply::Nil, Reply::unsigned)))
        }
        write => writes::tile(write).map(|write| Action::Write(Box::new(write))),
    }
}

fn seal(context: &Context<'_>, command: SealCommand) -> Result<Action, ErrorReply> {
    match command {
        SealCommand::List(view) => {
            let seals = context.shared.reader.seals(&context.version, &view);
            let seals = seals.map_err(|error| refuse::engine_error(&error))?;
            Ok(Action::Reply(views::seal_list(&seals)))
        }
        SealCommand::Add(range) => Ok(Action::Write(Box::new(writes::add_seal(range)))),
        SealCommand::Delete(range) => Ok(Action::Write(Box::new(writes::remove_seal(range)))),
    }
}
