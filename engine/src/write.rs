//! Owns what can be asked of the writer, and what it answers.

use bytes::Bytes;
use tilekv_tile::{
    Identifier, Name, ProducerStamp, RecordWrite, Rows, ViewChange, ViewDefinition, ViewSelector,
};

use crate::pages::PageRequest;

/// A partial per named feature, as JSON.
pub type Partials = Vec<(Identifier, Bytes)>;

/// A command that changes the store.
#[derive(Debug, Clone)]
pub enum Write {
    /// Creates a view.
    CreateView(ViewDefinition),
    /// Adds columns and features to a view, or changes its settings.
    AlterView {
        /// The view.
        view: Name,
        /// What changes.
        change: ViewChange,
    },
    /// Drops a view with all its tiles.
    DropView(Name),
    /// Adds rows to the tiles that hold their timestamps.
    Events {
        /// The view.
        view: Name,
        /// Makes the write count once, however often it is sent.
        stamp: Option<ProducerStamp>,
        /// The rows, in any order.
        rows: Rows,
        /// What happens to rows before the retention horizon.
        lateness: Lateness,
    },
    /// Replaces a whole tile; features left out become empty.
    SetTile(TileWrite),
    /// Merges into a tile; features left out stay.
    MergeTile(TileWrite),
    /// Removes the entity's tiles with `from <= start < to`.
    DeleteTiles {
        /// The view.
        view: Name,
        /// The entity.
        entity: Bytes,
        /// The first start that goes, in milliseconds.
        from: i64,
        /// The first start that stays, in milliseconds.
        to: i64,
    },
    /// Removes the entity from some views, or from all.
    DeleteEntity {
        /// The entity.
        entity: Bytes,
        /// The views; all where none are named.
        views: Option<Vec<Name>>,
    },
    /// Says that `[from, to)` of a view is complete.
    AddSeal {
        /// The view.
        view: Name,
        /// The range's first millisecond: a multiple of the tile size.
        from: i64,
        /// The first millisecond after it: a multiple of the tile size.
        to: i64,
    },
    /// Withdraws the seals of `[from, to)`.
    RemoveSeal {
        /// The view.
        view: Name,
        /// The range's first millisecond: a multiple of the tile size.
        from: i64,
        /// The first millisecond after it: a multiple of the tile size.
        to: i64,
    },
    /// Creates a feature service.
    CreateService {
        /// Its name.
        name: Name,
        /// Its windows, in the order of its vector.
        selectors: Vec<ViewSelector>,
    },
    /// Drops a feature service; its views stay.
    DropService(Name),
    /// Changes records.
    Record(RecordWrite),
}

impl Write {
    /// Whether the write takes something away and adds nothing.
    pub(crate) fn is_removal(&self) -> bool {
        if let Self::Record(write) = self {
            return write.is_removal();
        }
        matches!(
            self,
            Self::DropView(_)
                | Self::DropService(_)
                | Self::AlterView { .. }
                | Self::DeleteTiles { .. }
                | Self::DeleteEntity { .. }
                | Self::RemoveSeal { .. }
        )
    }
}

/// What happens to rows before the retention horizon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lateness {
    /// They are skipped and counted: one late row cannot block a batch.
    Skip,
    /// The write is refused with `TooOld`.
    Refuse,
}

/// A whole tile of partials.
#[derive(Debug, Clone)]
pub struct TileWrite {
    /// The view.
    pub view: Name,
    /// The entity.
    pub entity: Bytes,
    /// The tile's start: a multiple of the tile size, in milliseconds.
    pub start: i64,
    /// A partial per named feature.
    pub partials: Partials,
    /// Makes the write count once, however often it is sent.
    pub stamp: Option<ProducerStamp>,
}

/// What a write answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Ok,
    /// Done, with this many rows applied or tiles removed.
    Count(u64),
    /// Applied before: nothing was done now.
    Duplicate,
    /// Done, or not done, with nothing to tell.
    Nil,
    /// Done, with this number.
    Integer(i64),
    /// Done, with this string.
    Text(Bytes),
}

/// What preparing a write led to.
#[derive(Debug)]
pub enum Prepared {
    /// Part of the pending batch: the outcome holds once `commit` has returned.
    Staged(Outcome),
    /// The write depends on what is pending: commit, then prepare it again.
    CommitFirst(Write),
    /// The write depends on pages that must come from disk: load them, then prepare it again with
    /// them. [`crate::Engine::prepare`] does so itself and never answers this.
    Needs(Write, PageRequest),
}
