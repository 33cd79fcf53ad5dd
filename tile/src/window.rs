//! Where a window lies: the right edge, the left edge, and what is known of it before any tile is
//! read. It knows nothing of tiles' contents.

use crate::answer::WindowBounds;
use crate::seal::Coverage;
use crate::time::Span;
use crate::view::{Edge, SealMode};

/// What a window's place depends on besides its selector.
#[derive(Debug, Clone, Copy)]
pub struct EdgeInput<'a> {
    /// The time that the read asks about, if it names one; in milliseconds, as all times here.
    pub at: Option<i64>,
    /// The server's clock, read once per request.
    pub now: i64,
    /// The view's tile size.
    pub tile: Span,
    /// Where windows end: the read's choice, or the view's.
    pub edge: Edge,
    /// What tells that time is complete.
    pub seal: SealMode,
    /// The sealed time of the view, as the read is to know it.
    pub coverage: &'a Coverage,
    /// The lag beyond which values are stale.
    pub max_lag: Option<Span>,
    /// The retention horizon ([`horizon`]), if the view has a retention.
    pub horizon: Option<i64>,
}

/// A window's place in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResolvedWindow {
    /// The tiles of the window: those with start in `[start, end)`, a live tile included.
    pub bounds: WindowBounds,
    /// The right edge without the live tile.
    pub closed_end: i64,
    /// Whether some of the window is not complete.
    pub incomplete: bool,
    /// Whether the newest complete time lies further back than allowed.
    pub stale: bool,
    /// Whether the window starts before the retention horizon.
    pub expired: bool,
    /// The start of the tile that holds the time of the read.
    pub floor: i64,
}
