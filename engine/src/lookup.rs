//! Owns how an entity is found in a version's sources, newest first, and what stays visible of
//! each. Knows nothing of windows or plans.

use std::ops::ControlFlow;

use tilekv_tile::Block;

use crate::catalog::{View, ViewId};
use crate::content::Content;
use crate::directory::DirectoryRow;
use crate::overlay::Entry;
use crate::pages::PinnedPages;
use crate::ranges::{TimeRange, add_range, for_each_visible};
use crate::segment::{Chunk, Segment, SegmentView, stored_tiles};
use crate::version::{Layer, Version};

/// One source's part of an entity.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    /// An overlay's entry; its shard stays locked while this is looked at.
    Entry(&'a Entry),
    /// A segment's only chunk, or the directory of its chunks.
    Chunks(&'a Segment, &'a SegmentView, Chunk<'a>, &'a PinnedPages),
    /// What a segment hides of every entity of the view in older sources.
    Cleared(&'a [TimeRange]),
}

impl<'a> Source<'a> {
    /// Adds to `hidden` what this source hides of older ones between `from` and `to`, and perhaps
    /// more.
    pub(crate) fn hide(self, span: i64, (from, to): TimeRange, hidden: &mut Vec<TimeRange>) {
        match self {
            Self::Entry(entry) => hide_entry(entry, span, hidden),
            Self::Chunks(..) => {
                let is_needed = |row: &DirectoryRow| {
                    row.has_clears || (row.has_bases && row.from < to && from < row.to)
                };
                self.for_each_block(is_needed, |block| hide_block(block, span, hidden));
            }
            Self::Cleared(ranges) => {
                ranges.iter().for_each(|&(from, to)| add_range(hidden, from, to));
            }
        }
    }

    /// Calls `visit` with the blocks of the view's own tiles, ascending in time: all where there is
    /// but one, else those whose row of the directory `is_needed`. Other sources have none. A block
    /// whose page must come from disk first is noted and passed over.
    pub(crate) fn for_each_block(
        self,
        is_needed: impl Fn(&DirectoryRow) -> bool,
        mut visit: impl FnMut(&Block<'a>),
    ) {
        let Self::Chunks(segment, view, first, pinned) = self else {
            return;
        };
        let Some(directory) = first.directory(view) else {
            return visit(&segment.block(&first, view));
        };
        for row in directory.base_rows().map(|row| directory.row(row)).filter(is_needed) {
            if let Some(chunk) = segment.chunk_of(&row, pinned) {
                visit(&segment.block(&chunk, view));
            }
        }
    }

    /// Whether a tile with `from <= start < to` is held that `hidden` does not hide.
    pub(crate) fn has_visible(self, hidden: &[TimeRange], (from, to): TimeRange) -> bool {
        let mut found = false;
        match self {
            Self::Entry(entry) => for_each_visible(hidden, from, to, |from, to| {
                found |= !entry.between(from, to).is_empty();
            }),
            Self::Chunks(..) => {
                let is_needed = |row: &DirectoryRow| row.from < to && from < row.to;
                self.for_each_block(is_needed, |block| {
                    for_each_visible(hidden, from, to, |from, to| {
                        found |= block.lower_bound(from) < block.lower_bound(to);
                    });
                });
            }
            Self::Cleared(_) => {}
        }
        found
    }
}

/// Adds to `hidden` what an overlay's entry hides of older sources.
pub(crate) fn hide_entry(entry: &Entry, span: i64, hidden: &mut Vec<TimeRange>) {
    entry.clears.iter().for_each(|&(from, to)| add_range(hidden, from, to));
    if entry.has_base {
        for tile in entry.tiles.iter().filter(|tile| tile.base) {
            add_range(hidden, tile.start, tile.start + span);
        }
    }
}

/// Adds to `hidden` what a segment's block hides of older sources.
pub(crate) fn hide_block(block: &Block<'_>, span: i64, hidden: &mut Vec<TimeRange>) {
    block.clears().for_each(|(from, to)| add_range(hidden, from, to));
    if block.has_base() {
        for tile in (0..block.len()).filter(|&tile| block.is_base(tile)) {
            let start = block.start(tile);
            add_range(hidden, start, start + span);
        }
    }
}

/// Calls `visit` with every source that holds something of the entity, newest first, until it
/// breaks. Sources whose pages must come from disk first are passed over and noted in `pinned`:
/// then the read is to be asked again.
pub(crate) fn for_each_source(
    version: &Version,
    view: ViewId,
    (hash, entity): (u64, &[u8]),
    pinned: &PinnedPages,
    mut visit: impl FnMut(Source<'_>) -> ControlFlow<()>,
) {
    for layer in &version.layers {
        let flow = match layer {
            Layer::Overlay(overlay) => overlay
                .with_entry(hash, view, entity, |entry| visit(Source::Entry(entry)))
                .unwrap_or(ControlFlow::Continue(())),
            Layer::Segment(segment) => {
                visit_segment(segment, view, (hash, entity), pinned, &mut visit)
            }
        };
        if flow.is_break() {
            return;
        }
    }
}

fn visit_segment(
    segment: &Segment,
    view: ViewId,
    (hash, entity): (u64, &[u8]),
    pinned: &PinnedPages,
    visit: &mut impl FnMut(Source<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let Some(segment_view) = segment.view(view) else {
        return ControlFlow::Continue(());
    };
    if let Some(chunk) = segment.find(hash, view, entity, pinned) {
        visit(Source::Chunks(segment, segment_view, chunk, pinned))?;
    }
    if segment_view.cleared.is_empty() {
        return ControlFlow::Continue(());
    }
    visit(Source::Cleared(&segment_view.cleared))
}

/// Whether the entity has a tile with `from <= start < to`.
pub(crate) fn is_present(
    version: &Version,
    view: &View,
    key: (u64, &[u8]),
    (from, to): TimeRange,
    pinned: &PinnedPages,
) -> bool {
    let mut hidden = Vec::new();
    let mut found = false;
    for_each_source(version, view.id, key, pinned, |source| {
        found = source.has_visible(&hidden, (from, to));
        if found {
            return ControlFlow::Break(());
        }
        source.hide(view.span(), (from, to), &mut hidden);
        ControlFlow::Continue(())
    });
    found
}

/// The entity's tiles with `from <= start < to`, merged over all sources, under the view's newest
/// layout. Nothing of it is a `Base` or hides anything: there is nothing older.
pub(crate) fn gather(
    version: &Version,
    view: &View,
    key: (u64, &[u8]),
    (from, to): TimeRange,
    pinned: &PinnedPages,
) -> Content {
    let mut gathered = Content::default();
    for_each_source(version, view.id, key, pinned, |source| {
        gathered.merge_older(content_between(source, view, from, to), view.layout());
        ControlFlow::Continue(())
    });
    gathered.settle();
    gathered
}

fn content_between(source: Source<'_>, view: &View, from: i64, to: i64) -> Content {
    let mut content = Content::default();
    match source {
        Source::Entry(entry) => {
            content.clears.clone_from(&entry.clears);
            content.tiles.extend(entry.tiles[entry.between(from, to)].iter().cloned());
            content.relaid(&entry.layout, view.layout())
        }
        Source::Chunks(_, segment_view, ..) => {
            let is_needed = |row: &DirectoryRow| row.has_clears || (row.from < to && from < row.to);
            source.for_each_block(is_needed, |block| {
                content.clears.extend(block.clears());
                let range = block.lower_bound(from)..block.lower_bound(to);
                content.tiles.extend(stored_tiles(block, range));
            });
            content.relaid(&segment_view.layout, view.layout())
        }
        Source::Cleared(ranges) => {
            content.clears.extend_from_slice(ranges);
            content
        }
    }
}
