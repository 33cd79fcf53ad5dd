//! The SEAL family. Knows nothing of which ranges are sealed, nor of tile sizes.

use tilekv_tile::Name;

use super::cursor::Cursor;
use super::table::{CommandSpec, KeyPositions, read, write};
use super::{Command, CommandError};

/// Commands on seals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SealCommand {
    /// `SEAL.ADD`.
    Add(SealRange),
    /// `SEAL.DEL`.
    Delete(SealRange),
    /// `SEAL.LIST`.
    List(Name),
}

/// A range of time of a view: `[from, to)`, not yet checked against its tile size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealRange {
    /// The view.
    pub view: Name,
    /// The first millisecond.
    pub from: i64,
    /// The first millisecond after it.
    pub to: i64,
}

pub(super) const COMMANDS: [CommandSpec; 3] = [
    CommandSpec {
        summary: "States that a range of a view's time is complete.",
        ..write("seal.add", 4, KeyPositions::NONE, add)
    },
    CommandSpec {
        summary: "Withdraws that statement.",
        ..write("seal.del", 4, KeyPositions::NONE, delete)
    },
    CommandSpec {
        summary: "The sealed ranges of a view and when each was made.",
        ..read("seal.list", 2, KeyPositions::NONE, list)
    },
];

fn add(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    Ok(Command::Seal(SealCommand::Add(range(cursor)?)))
}

fn delete(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    Ok(Command::Seal(SealCommand::Delete(range(cursor)?)))
}

fn list(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    Ok(Command::Seal(SealCommand::List(cursor.name()?)))
}

fn range(cursor: &mut Cursor<'_>) -> Result<SealRange, CommandError> {
    Ok(SealRange {
        view: cursor.name()?,
        from: cursor.timestamp("from")?,
        to: cursor.timestamp("to")?,
    })
}
