//! The closed set of commands, and how one is read from its arguments. Knows nothing of what a
//! command does, nor of the encoding that its arguments came in.

mod connection;
mod cursor;
mod diagnostics;
mod job;
mod record;
mod seal;
mod server;
mod service;
mod subcommand;
mod table;
mod tile;
mod transaction;
mod view;
mod window;

use bytes::Bytes;
use tilekv_tile::Name;

pub use connection::{
    ClientCommand, ConnectionCommand, Credentials, Hello, KillFilter, KillForm, ReplyMode, Switch,
};
pub use diagnostics::{DiagnosticsCommand, LatencyCommand, MemoryCommand, SlowLogCommand};
pub(crate) use job::check_job_tile;
pub use job::{JobBegin, JobCommand, JobCommit, JobContent, JobMode, JobPut, JobTile};
pub use record::{
    ExpiryForm, FieldScan, RecordCommand, RecordOperation, RecordRead, RecordScan, ScanFilter,
};
pub use seal::{SealCommand, SealRange};
pub use server::{CommandQuery, ConfigCommand, ServerCommand, ShutdownMode};
pub(crate) use service::check_key_count;
pub use service::{ServiceCommand, ServiceRead};
pub use table::{
    CommandFlag, CommandId, CommandSpec, KeyPositions, command_reply, commands, find_command,
};
pub use tile::{EventWrite, RequestShape, TileCommand, TileWrite, TileWriteMode, WriteLane};
pub(crate) use tile::{check_producer_id, refused_write};
pub use transaction::TransactionCommand;
pub use view::ViewCommand;
pub use window::{ReadTime, WindowCommand, WindowExplain, WindowRead, check_answer_size};

use crate::arguments::Arguments;
use crate::error::ErrorReply;
use cursor::Cursor;

/// Everything that a peer can ask for, by family.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Who is connected and how.
    Connection(ConnectionCommand),
    /// The server itself.
    Server(ServerCommand),
    /// What the server has noted about its work.
    Diagnostics(DiagnosticsCommand),
    /// Queues of commands.
    Transaction(TransactionCommand),
    /// View definitions.
    View(ViewCommand),
    /// Tiles, written and read as they are stored.
    Tile(TileCommand),
    /// Rolled-up windows.
    Window(WindowCommand),
    /// Seals.
    Seal(SealCommand),
    /// Jobs.
    Job(JobCommand),
    /// Feature services.
    Service(ServiceCommand),
    /// Records: hashes and strings.
    Record(RecordCommand),
}

/// A producer's write that was refused before it reached the store. The server remembers it: the
/// producer's later writes on the connection are out of order until this one is sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedWrite {
    /// The view written to.
    pub view: Name,
    /// The producer's id.
    pub producer: Bytes,
    /// The sequence of the refused write.
    pub sequence: u64,
}

/// Why arguments are no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reply}")]
pub struct CommandError {
    /// What to answer.
    pub reply: ErrorReply,
    /// The producer's write that this refuses, if it is one.
    pub refused: Option<Box<RefusedWrite>>,
    /// How far the arguments were understood.
    pub stage: ErrorStage,
}

/// How far arguments were understood before they were refused. In a transaction the difference
/// shows: EXEC runs nothing after [`ErrorStage::Name`], and answers [`ErrorStage::Content`] in the
/// place of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorStage {
    /// No command or subcommand has that name and that number of arguments.
    Name,
    /// The command is known; an argument is wrong.
    Content,
}

impl CommandError {
    /// No command or subcommand has that name and that number of arguments.
    fn of_name(reply: ErrorReply) -> Self {
        Self { reply, refused: None, stage: ErrorStage::Name }
    }
}

impl From<ErrorReply> for CommandError {
    fn from(reply: ErrorReply) -> Self {
        Self { reply, refused: None, stage: ErrorStage::Content }
    }
}

impl From<tilekv_tile::TileError> for CommandError {
    fn from(error: tilekv_tile::TileError) -> Self {
        Self::from(ErrorReply::from(error))
    }
}

impl Command {
    /// Reads a command. The grammar is that of docs/protocol.md; names of commands and keywords
    /// are taken in either case.
    pub fn from_arguments(arguments: &Arguments) -> Result<Self, CommandError> {
        Self::read(arguments).1
    }

    /// Reads a command like [`Command::from_arguments`], and tells which row of the table of
    /// commands has its name, also where the arguments are refused.
    pub fn read(arguments: &Arguments) -> (Option<CommandId>, Result<Self, CommandError>) {
        let Some(name) = arguments.get(0) else {
            return (None, Err(CommandError::of_name(ErrorReply::usage("empty command"))));
        };
        let Some(id) = CommandId::find(name) else {
            return (None, Err(CommandError::of_name(unknown_command(arguments))));
        };
        let spec = id.spec();
        if !spec.takes(arguments.len()) {
            return (Some(id), Err(wrong_arity(spec.name)));
        }
        (Some(id), (spec.parse)(&mut Cursor::new(arguments, spec)))
    }
}

/// Redis's words for a name or subcommand called with too few or too many arguments.
fn wrong_arity(name: &str) -> CommandError {
    let sentence = format!("wrong number of arguments for '{name}' command");
    CommandError::of_name(ErrorReply::usage(sentence))
}

/// Redis's words, which clients match to find out what a server can do.
fn unknown_command(arguments: &Arguments) -> ErrorReply {
    const SHOWN_BYTES_MAX: usize = 128;
    let shown = |text: &[u8]| text[..text.len().min(SHOWN_BYTES_MAX)].to_vec();
    let mut sentence = b"unknown command '".to_vec();
    sentence.extend(shown(arguments.get(0).unwrap_or_default()));
    sentence.extend_from_slice(b"', with args beginning with: ");
    let start = sentence.len();
    for argument in arguments.iter().skip(1) {
        if sentence.len() - start >= SHOWN_BYTES_MAX {
            break;
        }
        sentence.push(b'\'');
        sentence.extend(shown(argument));
        sentence.extend_from_slice(b"' ");
    }
    ErrorReply::usage(sentence)
}
