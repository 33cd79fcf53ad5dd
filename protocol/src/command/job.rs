//! The JOB family: rows and tiles that are published together. What a JOB.PUT holds is read late,
//! by whoever works on the job ([`JobPut::read`]). Knows nothing of which jobs there are.

use bytes::Bytes;
use tilekv_tile::{Identifier, Name, Rows, Span, TileError, Timestamp, check_entity};

use super::cursor::{Cursor, quoted};
use super::table::{CommandFlag, CommandSpec, KeyPositions, find_command, read, write};
use super::tile::{argument, bytes_at, check_bound, take_row_table, timestamp_at};
use super::{Command, CommandError};
use crate::arguments::Arguments;
use crate::error::ErrorReply;
use crate::limits::{COLUMNS_MAX, JOB_TOKEN_BYTES_MAX, WRITE_ROWS_MAX};
use crate::native::{RequestError, read_job_frame};

/// Commands on jobs. A job is named by the id that JOB.BEGIN replied.
#[derive(Debug, Clone, PartialEq)]
pub enum JobCommand {
    /// `JOB.BEGIN`.
    Begin(Box<JobBegin>),
    /// `JOB.PUT`, and the native PUT frame.
    Put(Box<JobPut>),
    /// `JOB.COMMIT`.
    Commit(JobCommit),
    /// `JOB.ABORT`.
    Abort(Bytes),
    /// `JOB.INFO`.
    Info(Bytes),
    /// `JOB.LIST`.
    List,
}

/// What a job is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobBegin {
    /// The view.
    pub view: Name,
    /// The first millisecond of the job's range, not yet checked against the tile size.
    pub from: i64,
    /// The first millisecond after it.
    pub to: i64,
    /// What becomes of what the range holds.
    pub mode: JobMode,
    /// How long the job may go unnamed before it is aborted; the server's default if not said.
    pub timeout: Option<Span>,
    /// A token by which a driver that begins again finds its job.
    pub token: Option<Bytes>,
}

/// What a commit does to what the job's range held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JobMode {
    /// It goes: the range holds what the job took.
    #[default]
    Replace,
    /// It stays, and the job's tiles are merged into it.
    Merge,
}

/// Rows or tiles for a job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobPut {
    /// The job's id.
    pub job: Bytes,
    /// The number under which this counts once.
    pub sequence: Option<u64>,
    body: JobBody,
}

/// What has not been read yet.
#[derive(Debug, Clone, PartialEq)]
enum JobBody {
    /// The arguments from `start` on.
    Arguments { arguments: Arguments, start: usize, null: Option<Bytes> },
    /// The payload of a native frame.
    Frame(Bytes),
}

/// What a JOB.PUT holds.
#[derive(Debug, Clone, PartialEq)]
pub enum JobContent {
    /// Rows. `Rows::validate` has not been called on them.
    Rows(Rows),
    /// Whole tiles.
    Tiles(Vec<JobTile>),
}

/// Partials for one tile of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobTile {
    /// The entity.
    pub entity: Bytes,
    /// The start of the tile, not yet checked against the tile size.
    pub start: i64,
    /// Features and their partials as JSON, not yet read.
    pub partials: Vec<(Identifier, Bytes)>,
}

/// `JOB.COMMIT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobCommit {
    /// The job's id.
    pub job: Bytes,
    /// How many rows it must have taken.
    pub rows: Option<u64>,
    /// Whether it may have taken none.
    pub may_be_empty: bool,
    /// Whether its range becomes sealed.
    pub seal: bool,
}

pub(super) const COMMANDS: [CommandSpec; 6] = [
    CommandSpec {
        summary: "Begins a job: rows for a range of a view's time, published together.",
        ..write("job.begin", -4, KeyPositions::NONE, begin)
    },
    CommandSpec {
        summary: "Gives rows or tiles to a job.",
        flags: &[CommandFlag::Write, CommandFlag::DenyOom, CommandFlag::MovableKeys],
        ..write("job.put", -4, KeyPositions::NONE, put)
    },
    CommandSpec {
        summary: "Publishes all rows of a job at once and seals its range.",
        ..write("job.commit", -2, KeyPositions::NONE, commit)
    },
    CommandSpec {
        summary: "Forgets a job and its rows.",
        ..write("job.abort", 2, KeyPositions::NONE, abort)
    },
    CommandSpec {
        summary: "What a job is and how far it has come.",
        ..read("job.info", 2, KeyPositions::NONE, info)
    },
    CommandSpec {
        summary: "All jobs that are known.",
        ..read("job.list", 1, KeyPositions::NONE, list)
    },
];

impl JobCommand {
    /// The job that is named; none for a command on no job in particular.
    pub fn job(&self) -> Option<&Bytes> {
        match self {
            Self::Put(put) => Some(&put.job),
            Self::Commit(commit) => Some(&commit.job),
            Self::Abort(job) | Self::Info(job) => Some(job),
            Self::Begin(_) | Self::List => None,
        }
    }
}

impl JobMode {
    /// The mode's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Merge => "merge",
        }
    }
}

impl JobPut {
    /// A native frame's payload, whose head was read.
    pub(crate) fn from_frame(job: Bytes, sequence: Option<u64>, payload: Bytes) -> Self {
        Self { job, sequence, body: JobBody::Frame(payload) }
    }

    /// The payload of the native frame that it came in; none where it came as arguments.
    pub(crate) fn frame(&self) -> Option<&Bytes> {
        match &self.body {
            JobBody::Frame(payload) => Some(payload),
            JobBody::Arguments { .. } => None,
        }
    }

    /// Reads what it holds, which costs as much as there is of it.
    ///
    /// # Errors
    /// `Refused` for what is not of its form; `Malformed` for a native frame after which the
    /// connection cannot go on.
    pub fn read(&self) -> Result<JobContent, RequestError> {
        match &self.body {
            JobBody::Frame(payload) => read_job_frame(payload),
            JobBody::Arguments { arguments, start, null } => {
                let Some(spec) = find_command(b"job.put") else {
                    unreachable!("JOB.PUT stands in the table of commands")
                };
                let mut cursor = Cursor::new(arguments, spec);
                cursor.move_to(*start);
                Ok(content(&mut cursor, null.as_ref())?)
            }
        }
    }
}

fn begin(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    let (view, from, to) = (cursor.name()?, cursor.timestamp("from")?, cursor.timestamp("to")?);
    let (mut mode, mut timeout, mut token) = (None, None, None);
    while cursor.remaining() > 0 {
        if cursor.take_keyword("MODE") {
            let choices = [JobMode::Replace, JobMode::Merge].map(|mode| (mode.as_str(), mode));
            let value = cursor.choice("MODE", &choices)?;
            cursor.set_once(&mut mode, "MODE", value)?;
        } else if cursor.take_keyword("TIMEOUT") {
            let value = timeout_span(cursor.required("the duration after TIMEOUT")?)?;
            cursor.set_once(&mut timeout, "TIMEOUT", value)?;
        } else if cursor.take_keyword("ID") {
            let value = cursor.required_bytes("the token after ID")?;
            check_job_token(&value)?;
            cursor.set_once(&mut token, "ID", value)?;
        } else {
            return Err(cursor.unexpected("MODE, TIMEOUT or ID").into());
        }
    }
    let mode = mode.unwrap_or_default();
    let begin = JobBegin { view, from, to, mode, timeout, token };
    Ok(Command::Job(JobCommand::Begin(Box::new(begin))))
}

fn timeout_span(text: &[u8]) -> Result<Span, ErrorReply> {
    let span = Span::parse(text)?;
    if span.millis() > 0 {
        return Ok(span);
    }
    let found = quoted(text);
    Err(ErrorReply::usage(format!("TIMEOUT {found}: expected a duration above zero")))
}

fn check_job_token(token: &[u8]) -> Result<(), ErrorReply> {
    if (1..=JOB_TOKEN_BYTES_MAX).contains(&token.len()) {
        return Ok(());
    }
    let length = token.len();
    Err(ErrorReply::usage(format!(
        "an ID token of {length} bytes, expected 1 to {JOB_TOKEN_BYTES_MAX}"
    )))
}

/// Reads the head alone: what follows is for whoever works on the job.
fn put(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    let job = cursor.required_bytes("the id of a job")?;
    let (mut sequence, mut null) = (None, None);
    loop {
        if cursor.take_keyword("SEQ") {
            let value = cursor.unsigned("the number after SEQ")?;
            cursor.set_once(&mut sequence, "SEQ", value)?;
        } else if cursor.take_keyword("NULL") {
            let token = cursor.required_bytes("the token after NULL")?;
            cursor.set_once(&mut null, "NULL", token)?;
        } else {
            break;
        }
    }
    let (arguments, start) = (cursor.arguments().clone(), cursor.position());
    let body = JobBody::Arguments { arguments, start, null };
    Ok(Command::Job(JobCommand::Put(Box::new(JobPut { job, sequence, body }))))
}

fn content(cursor: &mut Cursor<'_>, null: Option<&Bytes>) -> Result<JobContent, ErrorReply> {
    if cursor.take_keyword("COLUMNS") {
        return take_row_table(cursor, null.cloned()).map(JobContent::Rows);
    }
    if null.is_none() && cursor.take_keyword("TILES") {
        return take_tiles(cursor).map(JobContent::Tiles);
    }
    let expected = if null.is_some() { "COLUMNS" } else { "SEQ, NULL, COLUMNS or TILES" };
    Err(cursor.unexpected(expected))
}

/// `m (entity tile_start n (feature partial)..)..`
fn take_tiles(cursor: &mut Cursor<'_>) -> Result<Vec<JobTile>, ErrorReply> {
    const ARGUMENTS_MIN: usize = 3;
    let count = cursor.list_count("TILES", ARGUMENTS_MIN)?;
    check_bound("tiles", count, WRITE_ROWS_MAX)?;
    let mut tiles = Vec::with_capacity(count);
    for index in 0..count {
        let tile = take_tile(cursor);
        tiles.push(tile.map_err(|error| in_tile(index, &error))?);
    }
    cursor.end()?;
    Ok(tiles)
}

fn take_tile(cursor: &mut Cursor<'_>) -> Result<JobTile, ErrorReply> {
    let entity = cursor.required_bytes("an entity")?;
    check_entity(&entity)?;
    cursor.required("a tile_start")?;
    let start = timestamp_at(cursor.arguments(), cursor.position() - 1, "tile_start")?;
    let count = cursor.list_count("a tile", 2)?;
    check_bound("features", count, COLUMNS_MAX)?;
    let first = cursor.position();
    let pair = |index: usize| {
        let at = first + index * 2;
        let arguments = cursor.arguments();
        Ok((Identifier::parse(argument(arguments, at))?, bytes_at(arguments, at + 1)))
    };
    let partials = (0..count).map(pair).collect::<Result<_, ErrorReply>>()?;
    cursor.move_to(first + count * 2);
    Ok(JobTile { entity, start, partials })
}

/// Checks what any encoding of a tile must hold to. Errors name the tile.
pub(crate) fn check_job_tile(index: usize, entity: &[u8], start: i64) -> Result<(), ErrorReply> {
    let checked = check_entity(entity).and_then(|()| Timestamp::from_millis(start).map(drop));
    checked.map_err(|error: TileError| in_tile(index, &ErrorReply::from(error)))
}

fn in_tile(index: usize, error: &ErrorReply) -> ErrorReply {
    let sentence = format!("tile {} (counted from 1): {}", index + 1, error.sentence());
    ErrorReply::new(error.code(), sentence)
}

fn commit(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    let job = cursor.required_bytes("the id of a job")?;
    let (mut rows, mut empty, mut no_seal) = (None, None, None);
    while cursor.remaining() > 0 {
        if cursor.take_keyword("ROWS") {
            let value = cursor.unsigned("the number after ROWS")?;
            cursor.set_once(&mut rows, "ROWS", value)?;
        } else if cursor.take_keyword("EMPTY") {
            cursor.set_once(&mut empty, "EMPTY", ())?;
        } else if cursor.take_keyword("NOSEAL") {
            cursor.set_once(&mut no_seal, "NOSEAL", ())?;
        } else {
            return Err(cursor.unexpected("ROWS, EMPTY or NOSEAL").into());
        }
    }
    let (may_be_empty, seal) = (empty.is_some(), no_seal.is_none());
    Ok(Command::Job(JobCommand::Commit(JobCommit { job, rows, may_be_empty, seal })))
}

fn abort(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    Ok(Command::Job(JobCommand::Abort(cursor.required_bytes("the id of a job")?)))
}

fn info(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    Ok(Command::Job(JobCommand::Info(cursor.required_bytes("the id of a job")?)))
}

fn list(_: &mut Cursor<'_>) -> Result<Command, CommandError> {
    Ok(Command::Job(JobCommand::List))
}
