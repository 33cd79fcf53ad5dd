//! The TILE family, with ENTITY.DEL and PRODUCER.GET: tiles written and read as they are stored.
//! Knows nothing of which columns and features a view has.

use bytes::Bytes;
use tilekv_tile::{
    After, Cells, Identifier, Name, ProducerStamp, Rows, TileError, Timestamp, check_entity,
};

use super::cursor::{Cursor, is_keyword, parse_unsigned, quoted};
use super::table::{CommandFlag, CommandSpec, KeyPositions, read, write};
use super::{Command, CommandError, RefusedWrite};
use crate::arguments::Arguments;
use crate::error::ErrorReply;
use crate::limits::{COLUMNS_MAX, PRODUCER_ID_BYTES_MAX, WRITE_ROWS_MAX};

/// Commands on stored tiles.
#[derive(Debug, Clone, PartialEq)]
pub enum TileCommand {
    /// `TILE.ADD` and `TILE.MADD`, and the native ADD frame.
    Events(Box<EventWrite>),
    /// `TILE.SET` and `TILE.MERGE`, and the native SET and MERGE frames.
    Write(Box<TileWrite>),
    /// `TILE.RANGE`.
    Range {
        /// The view.
        view: Name,
        /// The entity.
        entity: Bytes,
        /// The first tile start wanted.
        from: i64,
        /// The tile start to stop before.
        to: i64,
        /// The features wanted, or all.
        features: Option<Vec<Identifier>>,
    },
    /// `TILE.DEL`.
    Delete {
        /// The view.
        view: Name,
        /// The entity.
        entity: Bytes,
        /// The first tile start to delete.
        from: i64,
        /// The tile start to stop before.
        to: i64,
    },
    /// `ENTITY.DEL`.
    DeleteEntity {
        /// The entity.
        entity: Bytes,
        /// The views to delete it from, or all.
        views: Option<Vec<Name>>,
    },
    /// `PRODUCER.GET`.
    Producer {
        /// The view.
        view: Name,
        /// The producer's id.
        id: Bytes,
    },
}

/// Whether a request is about one row or many, which decides the form of its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestShape {
    /// One row.
    Single,
    /// Any number of rows.
    Batch,
}

/// The queue that a write goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WriteLane {
    /// Live writes.
    #[default]
    Stream,
    /// Writes that give way to reads: replays and backfills.
    Backfill,
}

/// Rows for the tiles that hold their timestamps.
#[derive(Debug, Clone, PartialEq)]
pub struct EventWrite {
    /// The view.
    pub view: Name,
    /// The rows. `Rows::validate` has not been called on them.
    pub rows: Rows,
    /// Who vouches that they count once.
    pub stamp: Option<ProducerStamp>,
    /// `TILE.ADD` (a row too old is an error) or `TILE.MADD` (it is skipped).
    pub shape: RequestShape,
    /// The queue.
    pub lane: WriteLane,
}

/// What a tile write does to the tile that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TileWriteMode {
    /// Replaces it.
    Set,
    /// Merges into it.
    Merge,
}

/// Partials for one tile.
#[derive(Debug, Clone, PartialEq)]
pub struct TileWrite {
    /// Replace or merge.
    pub mode: TileWriteMode,
    /// The view.
    pub view: Name,
    /// The entity.
    pub entity: Bytes,
    /// The start of the tile, not yet checked against the tile size.
    pub tile_start: i64,
    /// Features and their partials as JSON, not yet read.
    pub partials: Vec<(Identifier, Bytes)>,
    /// Who vouches that they count once.
    pub stamp: Option<ProducerStamp>,
    /// The queue.
    pub lane: WriteLane,
}

pub(super) const COMMANDS: [CommandSpec; 8] = [
    CommandSpec {
        summary: "Adds one event to the tile that holds its time.",
        ..write("tile.add", -4, KeyPositions::SECOND, add)
    },
    CommandSpec {
        summary: "Adds many events.",
        flags: &[CommandFlag::Write, CommandFlag::DenyOom, CommandFlag::MovableKeys],
        ..write("tile.madd", -6, KeyPositions::NONE, madd)
    },
    CommandSpec { summary: "Replaces a tile.", ..write("tile.set", -6, KeyPositions::SECOND, set) },
    CommandSpec {
        summary: "Merges partials into a tile.",
        ..write("tile.merge", -6, KeyPositions::SECOND, merge)
    },
    CommandSpec {
        summary: "The tiles of an entity in a range of time.",
        ..read("tile.range", -5, KeyPositions::SECOND, range)
    },
    CommandSpec {
        summary: "Deletes the tiles of an entity in a range of time.",
        ..write("tile.del", 5, KeyPositions::SECOND, delete)
    },
    CommandSpec {
        summary: "Deletes an entity from all views or some.",
        ..write("entity.del", -2, KeyPositions::FIRST, delete_entity)
    },
    CommandSpec {
        summary: "The last sequence of a producer that was applied.",
        ..read("producer.get", 3, KeyPositions::NONE, producer)
    },
];

fn add(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    const PAIRS_START: usize = 4;
    let pairs_end = find_pairs_end(cursor.arguments(), PAIRS_START);
    let stamp = take_trailing_stamp(cursor, pairs_end)?;
    let parsed = add_body(cursor.arguments(), PAIRS_START, pairs_end);
    let (view, rows) = parsed.map_err(|reply| refused(cursor, reply, stamp.as_ref()))?;
    let (shape, lane) = (RequestShape::Single, WriteLane::Stream);
    let write = EventWrite { view, rows, stamp, shape, lane };
    Ok(Command::Tile(TileCommand::Events(Box::new(write))))
}

fn add_body(arguments: &Arguments, start: usize, end: usize) -> Result<(Name, Rows), ErrorReply> {
    let view = Name::parse(argument(arguments, 1))?;
    let entity = entity_at(arguments, 2)?;
    let timestamp = timestamp_at(arguments, 3, "timestamp")?;
    let (columns, cells) = pairs(arguments, start, end, "column", "value")?.into_iter().unzip();
    let cells = Cells::Text { null: None, cells };
    let rows = Rows { columns, entities: vec![entity], timestamps: vec![timestamp], cells };
    Ok((view, rows))
}

fn madd(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    cursor.required("the name of a view")?;
    let (mut stamp, mut null) = (StampOptions::default(), None);
    loop {
        if cursor.take_keyword("NULL") {
            let token = cursor.required_bytes("the token after NULL")?;
            cursor.set_once(&mut null, "NULL", token)?;
        } else if !stamp.take(cursor)? {
            break;
        }
    }
    let stamp = stamp.finish(cursor)?;
    let parsed = madd_body(cursor, null);
    let (view, rows) = parsed.map_err(|reply| refused(cursor, reply, stamp.as_ref()))?;
    let (shape, lane) = (RequestShape::Batch, WriteLane::Stream);
    let write = EventWrite { view, rows, stamp, shape, lane };
    Ok(Command::Tile(TileCommand::Events(Box::new(write))))
}

fn madd_body(cursor: &mut Cursor<'_>, null: Option<Bytes>) -> Result<(Name, Rows), ErrorReply> {
    let view = Name::parse(argument(cursor.arguments(), 1))?;
    if !cursor.take_keyword("COLUMNS") {
        return Err(cursor.unexpected("PRODUCER, AFTER, NULL or COLUMNS"));
    }
    Ok((view, take_row_table(cursor, null)?))
}

/// `n name.. ROWS m (entity ts value..)..`, up to the end of the command.
pub(super) fn take_row_table(
    cursor: &mut Cursor<'_>,
    null: Option<Bytes>,
) -> Result<Rows, ErrorReply> {
    let columns = cursor.identifiers("COLUMNS")?;
    check_bound("columns", columns.len(), COLUMNS_MAX)?;
    if !cursor.take_keyword("ROWS") {
        return Err(cursor.unexpected("ROWS m"));
    }
    let width = columns.len() + 2;
    let rows = cursor.list_count("ROWS", width)?;
    check_bound("rows", rows, WRITE_ROWS_MAX)?;
    if cursor.remaining() != rows * width {
        return Err(ErrorReply::usage(format!(
            "{}: ROWS announces {rows} rows of {width} arguments each (entity, timestamp \
             and a value for each column), but {} arguments follow",
            cursor.command(),
            cursor.remaining()
        )));
    }
    take_rows(cursor.arguments(), cursor.position(), rows, columns, null)
}

/// Rows that are known to be there, from an index on.
fn take_rows(
    arguments: &Arguments,
    start: usize,
    row_count: usize,
    columns: Vec<Identifier>,
    null: Option<Bytes>,
) -> Result<Rows, ErrorReply> {
    let width = columns.len() + 2;
    let mut entities = Vec::with_capacity(row_count);
    let mut timestamps = Vec::with_capacity(row_count);
    let mut cells = Vec::with_capacity(row_count * columns.len());
    for row in 0..row_count {
        let first = start + row * width;
        entities.push(bytes_at(arguments, first));
        timestamps.push(row_timestamp(row, argument(arguments, first + 1))?);
        cells.extend((first + 2..first + width).map(|index| bytes_at(arguments, index)));
    }
    Ok(Rows { columns, entities, timestamps, cells: Cells::Text { null, cells } })
}

fn row_timestamp(row: usize, text: &[u8]) -> Result<i64, ErrorReply> {
    let wrap =
        |error| TileError::Row { row, place: "timestamp".to_owned(), source: Box::new(error) };
    Ok(Timestamp::parse(text).map_err(wrap)?.millis())
}

fn set(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    tile_write(cursor, TileWriteMode::Set)
}

fn merge(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    tile_write(cursor, TileWriteMode::Merge)
}

fn tile_write(cursor: &mut Cursor<'_>, mode: TileWriteMode) -> Result<Command, CommandError> {
    const PAIRS_START: usize = 4;
    let pairs_end = find_pairs_end(cursor.arguments(), PAIRS_START);
    let stamp = take_trailing_stamp(cursor, pairs_end)?;
    let parsed = tile_write_body(cursor, mode, PAIRS_START, pairs_end);
    let mut write = parsed.map_err(|reply| refused(cursor, reply, stamp.as_ref()))?;
    write.stamp = stamp;
    Ok(Command::Tile(TileCommand::Write(Box::new(write))))
}

fn tile_write_body(
    cursor: &Cursor<'_>,
    mode: TileWriteMode,
    start: usize,
    end: usize,
) -> Result<TileWrite, ErrorReply> {
    let arguments = cursor.arguments();
    let view = Name::parse(argument(arguments, 1))?;
    let entity = entity_at(arguments, 2)?;
    let tile_start = timestamp_at(arguments, 3, "tile_start")?;
    let partials = pairs(arguments, start, end, "feature", "partial")?;
    if partials.is_empty() {
        let command = cursor.command();
        let sentence = format!("{command}: expected at least one feature with its partial");
        return Err(ErrorReply::usage(sentence));
    }
    let (stamp, lane) = (None, WriteLane::Stream);
    Ok(TileWrite { mode, view, entity, tile_start, partials, stamp, lane })
}

fn range(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    let (view, entity) = (cursor.name()?, take_entity(cursor)?);
    let (from, to) = (cursor.timestamp("from")?, cursor.timestamp("to")?);
    let mut features = None;
    while cursor.remaining() > 0 {
        if !cursor.take_keyword("FEATURES") {
            return Err(cursor.unexpected("FEATURES").into());
        }
        let value = cursor.identifiers("FEATURES")?;
        cursor.set_once(&mut features, "FEATURES", value)?;
    }
    Ok(Command::Tile(TileCommand::Range { view, entity, from, to, features }))
}

fn delete(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    let (view, entity) = (cursor.name()?, take_entity(cursor)?);
    let (from, to) = (cursor.timestamp("from")?, cursor.timestamp("to")?);
    Ok(Command::Tile(TileCommand::Delete { view, entity, from, to }))
}

fn delete_entity(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    let entity = take_entity(cursor)?;
    let mut views = None;
    while cursor.remaining() > 0 {
        if !cursor.take_keyword("VIEWS") {
            return Err(cursor.unexpected("VIEWS").into());
        }
        let value = cursor.list("VIEWS", |text| Ok(Name::parse(text)?))?;
        cursor.set_once(&mut views, "VIEWS", value)?;
    }
    Ok(Command::Tile(TileCommand::DeleteEntity { entity, views }))
}

fn producer(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    let view = cursor.name()?;
    let id = cursor.required_bytes("a producer id")?;
    check_producer_id(&id)?;
    Ok(Command::Tile(TileCommand::Producer { view, id }))
}

/// PRODUCER and AFTER as they are met.
#[derive(Default)]
struct StampOptions {
    producer: Option<(Bytes, u64)>,
    after: Option<After>,
}

impl StampOptions {
    fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<bool, ErrorReply> {
        if cursor.take_keyword("PRODUCER") {
            let id = cursor.required_bytes("the id after PRODUCER")?;
            check_producer_id(&id)?;
            let sequence = cursor.unsigned("the sequence after the producer id")?;
            cursor.set_once(&mut self.producer, "PRODUCER", (id, sequence))?;
        } else if cursor.take_keyword("AFTER") {
            let after = parse_after(cursor.required("the sequence after AFTER")?)?;
            cursor.set_once(&mut self.after, "AFTER", after)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn finish(self, cursor: &Cursor<'_>) -> Result<Option<ProducerStamp>, ErrorReply> {
        match (self.producer, self.after) {
            (Some((id, sequence)), after) => {
                Ok(Some(ProducerStamp { id, sequence, after: after.unwrap_or(After::Any) }))
            }
            (None, None) => Ok(None),
            (None, Some(_)) => {
                let command = cursor.command();
                let sentence = format!("{command}: AFTER needs PRODUCER id seq beside it");
                Err(ErrorReply::usage(sentence))
            }
        }
    }
}

/// Refuses a producer id that is empty or longer than [`PRODUCER_ID_BYTES_MAX`].
pub(crate) fn check_producer_id(id: &[u8]) -> Result<(), ErrorReply> {
    if (1..=PRODUCER_ID_BYTES_MAX).contains(&id.len()) {
        return Ok(());
    }
    let length = id.len();
    Err(ErrorReply::usage(format!(
        "a producer id of {length} bytes, expected 1 to {PRODUCER_ID_BYTES_MAX}"
    )))
}

fn parse_after(text: &[u8]) -> Result<After, ErrorReply> {
    if text == b"-" {
        return Ok(After::First);
    }
    parse_unsigned(text).map(After::Sequence).ok_or_else(|| {
        let found = quoted(text);
        ErrorReply::usage(format!("AFTER {found}: expected - or an integer from 0 to 2^64 - 1"))
    })
}

/// The index at which `name value` pairs end and options begin. No name is a keyword, so a
/// keyword in a name's place is an option, and a value may be any text.
fn find_pairs_end(arguments: &Arguments, start: usize) -> usize {
    let is_option = |text: &[u8]| is_keyword(text, "PRODUCER") || is_keyword(text, "AFTER");
    let mut index = start;
    while arguments.get(index).is_some_and(|text| !is_option(text)) {
        index += 2;
    }
    index.min(arguments.len())
}

/// Reads the options behind the pairs, before the pairs themselves: a write that is refused for
/// its values must still be known by its producer and sequence.
fn take_trailing_stamp(
    cursor: &mut Cursor<'_>,
    pairs_end: usize,
) -> Result<Option<ProducerStamp>, ErrorReply> {
    cursor.move_to(pairs_end);
    let mut options = StampOptions::default();
    while cursor.remaining() > 0 {
        if !options.take(cursor)? {
            return Err(cursor.unexpected("PRODUCER or AFTER"));
        }
    }
    options.finish(cursor)
}

fn pairs(
    arguments: &Arguments,
    start: usize,
    end: usize,
    name: &str,
    value: &str,
) -> Result<Vec<(Identifier, Bytes)>, ErrorReply> {
    if !(end - start).is_multiple_of(2) {
        let last = quoted(argument(arguments, end - 1));
        return Err(ErrorReply::usage(format!(
            "{name} {last} has no {value}: expected pairs of {name} and {value}"
        )));
    }
    let pair = |index| {
        Ok((Identifier::parse(argument(arguments, index))?, bytes_at(arguments, index + 1)))
    };
    (start..end).step_by(2).map(pair).collect()
}

/// An error of a write that may carry a stamp.
fn refused(cursor: &Cursor<'_>, reply: ErrorReply, stamp: Option<&ProducerStamp>) -> CommandError {
    let view = Name::parse(argument(cursor.arguments(), 1)).ok();
    let refused = refused_write(view.as_ref(), stamp);
    CommandError { refused, ..CommandError::from(reply) }
}

/// What to remember of a refused write.
pub(crate) fn refused_write(
    view: Option<&Name>,
    stamp: Option<&ProducerStamp>,
) -> Option<Box<RefusedWrite>> {
    let (view, stamp) = (view?.clone(), stamp?);
    let (producer, sequence) = (stamp.id.clone(), stamp.sequence);
    Some(Box::new(RefusedWrite { view, producer, sequence }))
}

fn take_entity(cursor: &mut Cursor<'_>) -> Result<Bytes, ErrorReply> {
    let entity = cursor.required_bytes("an entity")?;
    check_entity(&entity)?;
    Ok(entity)
}

fn entity_at(arguments: &Arguments, index: usize) -> Result<Bytes, ErrorReply> {
    check_entity(argument(arguments, index))?;
    Ok(bytes_at(arguments, index))
}

pub(super) fn timestamp_at(
    arguments: &Arguments,
    index: usize,
    what: &str,
) -> Result<i64, ErrorReply> {
    match Timestamp::parse(argument(arguments, index)) {
        Ok(timestamp) => Ok(timestamp.millis()),
        Err(error) => Err(ErrorReply::bad_value(format!("{what}: {error}"))),
    }
}

/// An argument that the command's arity or a checked count guarantees.
pub(super) fn argument(arguments: &Arguments, index: usize) -> &[u8] {
    let Some(found) = arguments.get(index) else {
        unreachable!("the number of arguments was checked")
    };
    found
}

pub(super) fn bytes_at(arguments: &Arguments, index: usize) -> Bytes {
    let Some(found) = arguments.bytes(index) else {
        unreachable!("the number of arguments was checked")
    };
    found
}

pub(super) fn check_bound(what: &str, found: usize, allowed: usize) -> Result<(), ErrorReply> {
    if found <= allowed {
        return Ok(());
    }
    Err(ErrorReply::limit(format!("{found} {what} in one write, expected at most {allowed}")))
}
