//! Owns what one source, or several merged, hold of one entity: tiles and cleared ranges, and the
//! algebra of `Delta` and `Base` that merges them ([SEGMENT-1]). Knows nothing of files or locks.

use tilekv_tile::{Accumulator, Layout};

use crate::ranges::{TimeRange, add_range, holds};

/// A stored tile. `Delta` adds to what is older; `Base` hides everything older.
#[derive(Debug, Clone)]
pub(crate) struct StoredTile {
    /// The tile's start in milliseconds.
    pub(crate) start: i64,
    /// Whether it is a `Base`.
    pub(crate) base: bool,
    pub(crate) accumulator: Accumulator,
}

/// What one source holds of one entity in one view.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    /// Disjoint ranges, ascending, in which older sources are hidden.
    pub(crate) clears: Vec<TimeRange>,
    /// Ascending by start.
    pub(crate) tiles: Vec<StoredTile>,
}

impl Content {
    /// Whether nothing is held: no tile and nothing hidden.
    pub(crate) fn is_empty(&self) -> bool {
        self.tiles.is_empty() && self.clears.is_empty()
    }

    /// The same content with every accumulator under `to`, a layout that extends `from`.
    pub(crate) fn relaid(mut self, from: &Layout, to: &Layout) -> Self {
        if from.components().len() == to.components().len() {
            return self;
        }
        for tile in &mut self.tiles {
            let mut wider = to.empty();
            to.merge_mapped(&mut wider, from, &tile.accumulator);
            tile.accumulator = wider;
        }
        self
    }

    /// Puts `older` under this content: adds it where nothing here hides it.
    pub(crate) fn merge_older(&mut self, older: Self, layout: &Layout) {
        let mut merged = Vec::with_capacity(self.tiles.len() + older.tiles.len());
        let mut newer_tiles = std::mem::take(&mut self.tiles).into_iter().peekable();
        for below in older.tiles {
            while let Some(tile) = newer_tiles.next_if(|tile| tile.start < below.start) {
                merged.push(tile);
            }
            let is_hidden = holds(&self.clears, below.start);
            match newer_tiles.next_if(|tile| tile.start == below.start) {
                Some(mut tile) => {
                    if !tile.base && !is_hidden {
                        layout.merge(&mut tile.accumulator, &below.accumulator);
                        tile.base = below.base;
                    }
                    merged.push(tile);
                }
                None if is_hidden => {}
                None => merged.push(below),
            }
        }
        merged.extend(newer_tiles);
        self.tiles = merged;
        for (from, to) in older.clears {
            add_range(&mut self.clears, from, to);
        }
    }

    /// Drops the tiles that newer sources hide.
    pub(crate) fn hide(&mut self, hidden: &[TimeRange]) {
        if !hidden.is_empty() {
            self.tiles.retain(|tile| !holds(hidden, tile.start));
        }
    }

    /// Dissolves `Base` and clears: there is nothing older left to hide.
    pub(crate) fn settle(&mut self) {
        self.clears.clear();
        self.tiles.iter_mut().for_each(|tile| tile.base = false);
    }

    /// Drops tiles that start before `horizon`.
    pub(crate) fn expire(&mut self, horizon: i64) {
        self.tiles.retain(|tile| horizon <= tile.start);
    }
}
