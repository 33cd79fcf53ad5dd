//! The WINDOW family: reads of rolled-up windows. Knows nothing of which features exist, nor of
//! what a window amounts to.

use bytes::Bytes;
use tilekv_tile::{Edge, Name, Selector, check_entity};

use super::cursor::Cursor;
use super::table::{CommandFlag, CommandSpec, KeyPositions, read};
use super::tile::RequestShape;
use super::view::take_edge;
use super::{Command, CommandError};
use crate::error::ErrorReply;
use crate::limits::{ANSWER_CELLS_MAX, COLUMNS_MAX};

/// Reads of windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowCommand {
    /// `WINDOW.GET` and `WINDOW.MGET`.
    Read(Box<WindowRead>),
    /// `WINDOW.EXPLAIN`.
    Explain(Box<WindowExplain>),
}

/// The time that a read is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadTime {
    /// The server's clock.
    Now,
    /// One time for every row, in milliseconds since the epoch.
    At(i64),
    /// A time for each row.
    Each(Vec<i64>),
}

/// Windows of one view for one entity or many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowRead {
    /// The view.
    pub view: Name,
    /// The entities: one for a single read.
    pub entities: Vec<Bytes>,
    /// The windows wanted, at least one.
    pub selectors: Vec<Selector>,
    /// The time; `Each` has as many as there are entities.
    pub time: ReadTime,
    /// Whether only the seals known at that time count.
    pub known: bool,
    /// The edge, where it is not the view's.
    pub edge: Option<Edge>,
    /// Whether each value comes with its status and window.
    pub with_status: bool,
    /// Whether the reply is one row or an array of rows.
    pub shape: RequestShape,
}

/// How one window came to its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowExplain {
    /// The view.
    pub view: Name,
    /// The entity.
    pub entity: Bytes,
    /// The window.
    pub selector: Selector,
    /// The time: `Now` or `At`.
    pub time: ReadTime,
    /// Whether only the seals known at that time count.
    pub known: bool,
    /// The edge, where it is not the view's.
    pub edge: Option<Edge>,
}

pub(super) const COMMANDS: [CommandSpec; 3] = [
    CommandSpec {
        summary: "Windows of one entity.",
        ..read("window.get", -4, KeyPositions::SECOND, get)
    },
    CommandSpec {
        summary: "Windows of many entities.",
        flags: &[CommandFlag::ReadOnly, CommandFlag::MovableKeys],
        ..read("window.mget", -7, KeyPositions::NONE, mget)
    },
    CommandSpec {
        summary: "How a window came to its value.",
        ..read("window.explain", -4, KeyPositions::SECOND, explain)
    },
];

/// Which options a command takes.
pub(super) struct Allowed {
    pub(super) times: bool,
    pub(super) edge: bool,
    pub(super) status: bool,
}

/// The options that reads share.
#[derive(Default)]
pub(super) struct Options {
    pub(super) time: Option<ReadTime>,
    pub(super) known: bool,
    pub(super) edge: Option<Edge>,
    pub(super) status: Option<()>,
}

impl Options {
    /// Reads one option; false if there is none at the cursor.
    pub(super) fn take(
        &mut self,
        cursor: &mut Cursor<'_>,
        allowed: &Allowed,
    ) -> Result<bool, ErrorReply> {
        if cursor.take_keyword("AT") {
            let at = cursor.timestamp("the timestamp after AT")?;
            self.set_time(cursor, ReadTime::At(at))?;
        } else if allowed.times && cursor.take_keyword("ATS") {
            let count = cursor.list_count("ATS", 1)?;
            let mut times = Vec::with_capacity(count);
            for _ in 0..count {
                times.push(cursor.timestamp("a timestamp after ATS")?);
            }
            self.set_time(cursor, ReadTime::Each(times))?;
        } else if allowed.edge && cursor.take_keyword("EDGE") {
            let edge = take_edge(cursor)?;
            cursor.set_once(&mut self.edge, "EDGE", edge)?;
        } else if allowed.status && cursor.take_keyword("STATUS") {
            cursor.set_once(&mut self.status, "STATUS", ())?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn set_time(&mut self, cursor: &mut Cursor<'_>, time: ReadTime) -> Result<(), ErrorReply> {
        cursor.set_once(&mut self.time, "the time (AT or ATS)", time)?;
        self.known = cursor.take_keyword("KNOWN");
        Ok(())
    }
}

fn get(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    let view = cursor.name()?;
    let entity = entity(cursor)?;
    let mut selectors = Vec::with_capacity(cursor.remaining().min(COLUMNS_MAX));
    while let Some(text) = cursor.peek().filter(|text| text.contains(&b'@')) {
        selectors.push(Selector::parse(text)?);
        cursor.next();
    }
    let mut options = Options::default();
    let allowed = Allowed { times: false, edge: true, status: true };
    while cursor.remaining() > 0 {
        if !options.take(cursor, &allowed)? {
            return Err(cursor.unexpected("feature@window, AT, EDGE or STATUS").into());
        }
    }
    let read = WindowRead {
        view,
        entities: vec![entity],
        selectors,
        time: options.time.unwrap_or(ReadTime::Now),
        known: options.known,
        edge: options.edge,
        with_status: options.status.is_some(),
        shape: RequestShape::Single,
    };
    check_read(cursor, read)
}

fn mget(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    let view = cursor.name()?;
    let (mut entities, mut selectors) = (None, None);
    let mut options = Options::default();
    let allowed = Allowed { times: true, edge: true, status: true };
    while cursor.remaining() > 0 {
        if cursor.take_keyword("ENTITIES") {
            let value = take_entities(cursor)?;
            cursor.set_once(&mut entities, "ENTITIES", value)?;
        } else if cursor.take_keyword("SELECTORS") {
            let value = cursor.list("SELECTORS", |text| Ok(Selector::parse(text)?))?;
            cursor.set_once(&mut selectors, "SELECTORS", value)?;
        } else if !options.take(cursor, &allowed)? {
            let expected = "ENTITIES, SELECTORS, AT, ATS, EDGE or STATUS";
            return Err(cursor.unexpected(expected).into());
        }
    }
    let missing = |what| ErrorReply::usage(format!("WINDOW.MGET: {what} is missing"));
    let read = WindowRead {
        view,
        entities: entities.ok_or_else(|| missing("ENTITIES n entity.."))?,
        selectors: selectors.ok_or_else(|| missing("SELECTORS m feature@window.."))?,
        time: options.time.unwrap_or(ReadTime::Now),
        known: options.known,
        edge: options.edge,
        with_status: options.status.is_some(),
        shape: RequestShape::Batch,
    };
    check_read(cursor, read)
}

fn explain(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    let view = cursor.name()?;
    let entity = entity(cursor)?;
    let selector = Selector::parse(cursor.required("a selector")?)?;
    let mut options = Options::default();
    let allowed = Allowed { times: false, edge: true, status: false };
    while cursor.remaining() > 0 {
        if !options.take(cursor, &allowed)? {
            return Err(cursor.unexpected("AT or EDGE").into());
        }
    }
    let explain = WindowExplain {
        view,
        entity,
        selector,
        time: options.time.unwrap_or(ReadTime::Now),
        known: options.known,
        edge: options.edge,
    };
    Ok(Command::Window(WindowCommand::Explain(Box::new(explain))))
}

fn check_read(cursor: &Cursor<'_>, read: WindowRead) -> Result<Command, CommandError> {
    if read.selectors.is_empty() {
        return Err(cursor.unexpected("at least one selector, such as likes@7d").into());
    }
    if let ReadTime::Each(times) = &read.time
        && times.len() != read.entities.len()
    {
        let (times, entities) = (times.len(), read.entities.len());
        return Err(ErrorReply::usage(format!(
            "WINDOW.MGET: ATS has {times} timestamps, expected one for each of {entities} entities"
        ))
        .into());
    }
    check_answer_size(read.entities.len(), read.selectors.len())?;
    Ok(Command::Window(WindowCommand::Read(Box::new(read))))
}

/// Refuses a read whose reply would have more than [`ANSWER_CELLS_MAX`] values, or more than
/// [`COLUMNS_MAX`] columns. Whoever reads through a prepared plan checks it again with this.
pub fn check_answer_size(rows: usize, columns: usize) -> Result<(), ErrorReply> {
    if columns > COLUMNS_MAX {
        return Err(ErrorReply::limit(format!(
            "{columns} selectors in one read, expected at most {COLUMNS_MAX}"
        )));
    }
    if rows.saturating_mul(columns) > ANSWER_CELLS_MAX {
        return Err(ErrorReply::limit(format!(
            "{rows} entities x {columns} selectors in one read, expected at most \
             {ANSWER_CELLS_MAX} values"
        )));
    }
    Ok(())
}

fn entity(cursor: &mut Cursor<'_>) -> Result<Bytes, ErrorReply> {
    let entity = cursor.required_bytes("an entity")?;
    check_entity(&entity)?;
    Ok(entity)
}

fn take_entities(cursor: &mut Cursor<'_>) -> Result<Vec<Bytes>, ErrorReply> {
    let count = cursor.list_count("ENTITIES", 1)?;
    let mut entities = Vec::with_capacity(count);
    for _ in 0..count {
        entities.push(entity(cursor)?);
    }
    Ok(entities)
}
