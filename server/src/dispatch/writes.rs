//! Commands that change the store, as the engine's writes, and the engine's outcomes as replies.

use tilekv_engine::{Lateness, Outcome, Write};
use tilekv_protocol::{
    ErrorReply, EventWrite, Reply, RequestShape, SealRange, TileCommand, TileWrite, TileWriteMode,
    ViewCommand,
};

/// The write of a TILE or ENTITY command.
pub(crate) fn tile(command: TileCommand) -> Result<Write, ErrorReply> {
    match command {
        TileCommand::Events(events) => Ok(add_events(*events)),
        TileCommand::Write(write) => Ok(write_tile(*write)),
        TileCommand::Delete { view, entity, from, to } => {
            Ok(Write::DeleteTiles { view, entity, from, to })
        }
        TileCommand::DeleteEntity { entity, views } => Ok(Write::DeleteEntity { entity, views }),
        TileCommand::Range { .. } | TileCommand::Producer { .. } => {
            unreachable!("reads are dispatched before writes")
        }
    }
}

/// The write of a VIEW command that changes definitions; None for one that reads.
pub(crate) fn view(command: ViewCommand) -> Option<Write> {
    match command {
        ViewCommand::Create(definition) => Some(Write::CreateView(*definition)),
        ViewCommand::Alter { view, change } => Some(Write::AlterView { view, change: *change }),
        ViewCommand::Drop(view) => Some(Write::DropView(view)),
        ViewCommand::List | ViewCommand::Info(_) => None,
    }
}

/// `SEAL.ADD`.
pub(crate) fn add_seal(range: SealRange) -> Write {
    let SealRange { view, from, to } = range;
    Write::AddSeal { view, from, to }
}

/// `SEAL.DEL`.
pub(crate) fn remove_seal(range: SealRange) -> Write {
    let SealRange { view, from, to } = range;
    Write::RemoveSeal { view, from, to }
}

/// What a client is told of a write that was done.
pub(crate) fn reply(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Ok => Reply::OK,
        Outcome::Count(count) => Reply::unsigned(count),
        Outcome::Duplicate => Reply::Integer(0),
        Outcome::Nil => Reply::Nil,
        Outcome::Integer(value) => Reply::Integer(value),
        Outcome::Text(text) => Reply::Bulk(text),
    }
}

fn add_events(events: EventWrite) -> Write {
    let lateness = match events.shape {
        RequestShape::Single => Lateness::Refuse,
        RequestShape::Batch => Lateness::Skip,
    };
    Write::Events { view: events.view, stamp: events.stamp, rows: events.rows, lateness }
}

fn write_tile(write: TileWrite) -> Write {
    let tile = tilekv_engine::TileWrite {
        view: write.view,
        entity: write.entity,
        start: write.tile_start,
        partials: write.partials,
        stamp: write.stamp,
    };
    match write.mode {
        TileWriteMode::Set => Write::SetTile(tile),
        TileWriteMode::Merge => Write::MergeTile(tile),
    }
}
