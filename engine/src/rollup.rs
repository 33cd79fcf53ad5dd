//! Owns the window read of one entity in one view: one backward pass over its sources answers all
//! windows of a frame. Knows nothing of names, requests or clocks.

use smallvec::SmallVec;
use tilekv_tile::{Accumulator, AnswerColumn, Block, Piece, Status, Sweep, Values};

use crate::catalog::View;
use crate::directory::{Cover, Directory};
use crate::frame::{Frame, FramedSelector};
use crate::lookup::{Source, hide_entry, is_present};
use crate::overlay::{Entry, Overlay};
use crate::pages::PinnedPages;
use crate::plan::{ColumnForm, ViewPlan};
use crate::ranges::{TimeRange, add_range, for_each_visible};
use crate::segment::{Chunk, ChunkKind, GROUP_KEYS_MAX, Segment, SegmentView};
use crate::version::{Layer, Version};

/// Memory for reading rows, to be kept from one read to the next.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    /// What each interval's tiles merge to; with the chain before it, once the pass is over.
    states: Vec<Accumulator>,
    /// How many stored tiles went into each.
    tiles: Vec<u32>,
    /// The parts of the block that is being folded.
    pieces: Vec<Piece>,
    /// The parts of blocks that are to be folded, each with its state.
    covers: Vec<(Cover, usize)>,
    sweep: Sweep,
    /// What newer sources hide of the one that is being folded.
    hidden: Vec<TimeRange>,
    /// What the source that is being folded hides of older ones.
    hiding: Vec<TimeRange>,
}

/// What the rows of one view share while they are read.
#[derive(Debug)]
pub(crate) struct Rollup<'a> {
    version: &'a Version,
    view: &'a View,
    plan: &'a ViewPlan,
    /// The layers that may hold the view, newest first.
    layers: SmallVec<[ViewLayer<'a>; 8]>,
    workspace: &'a mut Workspace,
    pinned: &'a PinnedPages,
}

/// A layer that may hold the view.
#[derive(Debug, Clone, Copy)]
enum ViewLayer<'a> {
    Overlay(&'a Overlay),
    Segment(&'a Segment, &'a SegmentView),
}

/// Rows that are looked up together.
#[derive(Debug, Default)]
pub(crate) struct RowGroup<'a> {
    keys: SmallVec<[(u64, &'a [u8]); GROUP_KEYS_MAX]>,
    /// Where each segment of the layers holds each row: all rows of the newest segment, then of
    /// the next.
    found: SmallVec<[Option<Chunk<'a>>; GROUP_KEYS_MAX]>,
}

impl<'a> Rollup<'a> {
    /// A rollup for rows of `view`.
    pub(crate) fn new(
        version: &'a Version,
        view: &'a View,
        plan: &'a ViewPlan,
        workspace: &'a mut Workspace,
        pinned: &'a PinnedPages,
    ) -> Self {
        let layers = version.layers.iter().filter_map(|layer| match layer {
            Layer::Overlay(overlay) => (!overlay.is_empty()).then_some(ViewLayer::Overlay(overlay)),
            Layer::Segment(segment) => {
                segment.view(view.id).map(|held| ViewLayer::Segment(segment, held))
            }
        });
        Self { version, view, plan, layers: layers.collect(), workspace, pinned }
    }

    /// Looks up at most [`GROUP_KEYS_MAX`] rows in all segments.
    pub(crate) fn look_up(&self, entities: &[&'a [u8]], group: &mut RowGroup<'a>) {
        group.keys.clear();
        group.found.clear();
        let key = |&entity: &&'a [u8]| (self.version.hash(self.view.id, entity), entity);
        group.keys.extend(entities.iter().map(key));
        for layer in &self.layers {
            if let ViewLayer::Segment(segment, _) = layer {
                segment.find_group(self.view.id, &group.keys, self.pinned, &mut group.found);
            }
        }
    }

    /// Reads the windows of `frame` for one row of `group` and appends it to `columns`.
    pub(crate) fn push_row(
        &mut self,
        frame: &Frame,
        group: &RowGroup<'a>,
        row: usize,
        columns: &mut [AnswerColumn],
    ) {
        let (hash, entity) = group.keys[row];
        self.fold_sources(frame, group, row);
        let mut seen = None;
        let planned = self.plan.selectors.iter();
        for ((selector, planned), column) in frame.selectors.iter().zip(planned).zip(columns) {
            let FramedSelector { interval, preset, .. } = *selector;
            let tiles = self.workspace.tiles[interval];
            let status = match preset {
                Some(status) => status,
                None if 0 < tiles => Status::Ok,
                None if *seen.get_or_insert_with(|| self.is_seen(frame, hash, entity)) => {
                    Status::Empty
                }
                None => Status::Unseen,
            };
            planned.finisher.push(&self.workspace.states[interval], &mut column.values);
            column.statuses.push(status);
            column.tiles_read.push(tiles);
        }
    }

    /// Folds the row's sources, newest first.
    fn fold_sources(&mut self, frame: &Frame, group: &RowGroup<'a>, row: usize) {
        let (hash, entity) = group.keys[row];
        let mut found = group.found.iter().skip(row).step_by(group.keys.len());
        let mut is_begun = false;
        self.workspace.hidden.clear();
        for at in 0..self.layers.len() {
            match self.layers[at] {
                ViewLayer::Overlay(overlay) => {
                    overlay.with_entry(hash, self.view.id, entity, |entry| {
                        self.begin(frame, &mut is_begun);
                        self.fold(frame, Source::Entry(entry), true);
                    });
                }
                ViewLayer::Segment(segment, view) => {
                    let chunk = found.next().copied().flatten();
                    // Where nothing is older, what a source hides is of no interest.
                    let is_oldest = self.is_oldest(at, found.clone());
                    if let Some(chunk) = chunk {
                        let is_alone = is_oldest && !is_begun && self.workspace.hidden.is_empty();
                        if is_alone && self.chain_chunk(frame, segment, view, chunk) {
                            return;
                        }
                        self.begin(frame, &mut is_begun);
                        let source = Source::Chunks(segment, view, chunk, self.pinned);
                        self.fold(frame, source, !is_oldest);
                    }
                    if !is_oldest && !view.cleared.is_empty() {
                        self.fold(frame, Source::Cleared(&view.cleared), true);
                    }
                }
            }
        }
        self.begin(frame, &mut is_begun);
        self.chain(frame);
    }

    /// Whether no layer behind this one can hold the row; `found` is where their segments do.
    fn is_oldest<'c>(
        &self,
        layer: usize,
        mut found: impl Iterator<Item = &'c Option<Chunk<'c>>>,
    ) -> bool {
        let behind = &self.layers[layer + 1..];
        let is_segment = |layer: &ViewLayer<'_>| matches!(layer, ViewLayer::Segment(..));
        behind.iter().all(is_segment) && found.all(Option::is_none)
    }

    /// Empties the states for the first source that is folded into them.
    fn begin(&mut self, frame: &Frame, is_begun: &mut bool) {
        if !std::mem::replace(is_begun, true) {
            self.reset(frame.intervals.len());
        }
    }

    fn reset(&mut self, intervals: usize) {
        let projection = &self.plan.projection;
        let Workspace { states, tiles, .. } = &mut *self.workspace;
        states.iter_mut().for_each(|state| projection.reset(state));
        states.resize_with(intervals, || projection.empty());
        tiles.clear();
        tiles.resize(intervals, 0);
    }

    fn fold(&mut self, frame: &Frame, source: Source<'_>, hides: bool) {
        let span = self.view.span();
        match source {
            Source::Entry(entry) => {
                self.fold_entry(frame, entry);
                if hides {
                    hide_entry(entry, span, &mut self.workspace.hiding);
                }
            }
            Source::Chunks(segment, view, chunk, _) => {
                match chunk.directory(view) {
                    Some(directory) => self.fold_directory(frame, directory, segment, view),
                    None => self.fold_block(frame, &segment.block(&chunk, view)),
                }
                if hides {
                    source.hide(span, frame.extent(), &mut self.workspace.hiding);
                }
            }
            Source::Cleared(_) => source.hide(span, frame.extent(), &mut self.workspace.hiding),
        }
        for (from, to) in self.workspace.hiding.drain(..) {
            add_range(&mut self.workspace.hidden, from, to);
        }
    }

    fn fold_entry(&mut self, frame: &Frame, entry: &Entry) {
        let Workspace { states, tiles, hidden, .. } = &mut *self.workspace;
        for ((interval, state), count) in frame.intervals.iter().zip(states).zip(tiles) {
            for_each_visible(hidden, interval.from, interval.to, |from, to| {
                for tile in &entry.tiles[entry.between(from, to)] {
                    self.plan.projection.merge_mapped(state, &entry.layout, &tile.accumulator);
                    *count += 1;
                }
            });
        }
    }

    fn fold_block(&mut self, frame: &Frame, block: &Block<'_>) {
        let Workspace { states, tiles, pieces, sweep, hidden, .. } = &mut *self.workspace;
        pieces.clear();
        for (state, interval) in frame.intervals.iter().enumerate() {
            for_each_visible(hidden, interval.from, interval.to, |from, to| {
                let range = block.lower_bound(from)..block.lower_bound(to);
                if !range.is_empty() {
                    tiles[state] += crate::codec::count_u32(range.len());
                    pieces.push(Piece { tiles: range, state, continues: false });
                }
            });
        }
        sweep.merge(block, &self.plan.projection, pieces, states);
    }

    /// Folds an entity of many blocks: of each window the coarsest tiles that fit it, and finer
    /// ones at its edges.
    fn fold_directory(
        &mut self,
        frame: &Frame,
        directory: Directory<'_>,
        segment: &Segment,
        view: &SegmentView,
    ) {
        let Workspace { states, tiles, pieces, sweep, hidden, covers, .. } = &mut *self.workspace;
        covers.clear();
        for (state, interval) in frame.intervals.iter().enumerate() {
            for_each_visible(hidden, interval.from, interval.to, |from, to| {
                directory.cover(from, to, &mut |cover| covers.push((cover, state)));
            });
        }
        covers.sort_unstable_by_key(|(cover, state)| (cover.row, *state, cover.from));
        for group in covers.chunk_by(|(one, _), (next, _)| one.row == next.row) {
            let row = directory.row(group[0].0.row);
            let Some(chunk) = segment.chunk_of(&row, self.pinned) else { continue };
            let block = segment.block(&chunk, view);
            pieces.clear();
            for &(cover, state) in group {
                let range = block.lower_bound(cover.from)..block.lower_bound(cover.to);
                if !range.is_empty() {
                    tiles[state] += crate::codec::count_u32(range.len());
                    pieces.push(Piece { tiles: range, state, continues: false });
                }
            }
            sweep.merge(&block, &self.plan.projection, pieces, states);
        }
    }

    /// Folds the block of a row that has no other, so that nothing is hidden and each interval can
    /// go on from the one before it at once; false, and nothing done, where there is more to it.
    fn chain_chunk(
        &mut self,
        frame: &Frame,
        segment: &Segment,
        view: &SegmentView,
        chunk: Chunk<'_>,
    ) -> bool {
        let is_possible = self.plan.projection.is_chainable() && chunk.kind == ChunkKind::Tiles;
        if is_possible {
            self.chain_block(frame, &segment.block(&chunk, view));
        }
        is_possible
    }

    fn chain_block(&mut self, frame: &Frame, block: &Block<'_>) {
        let projection = &self.plan.projection;
        let Workspace { states, tiles, pieces, sweep, .. } = &mut *self.workspace;
        states.resize_with(frame.intervals.len(), || projection.empty());
        tiles.clear();
        pieces.clear();
        let (mut start, mut count) = (0, 0);
        for (state, interval) in frame.intervals.iter().enumerate() {
            let end = if interval.continues { start } else { block.lower_bound_of(interval.end) };
            start = block.lower_bound_of(interval.first).min(end);
            let before = if interval.continues { count } else { 0 };
            count = before + crate::codec::count_u32(end - start);
            tiles.push(count);
            pieces.push(Piece { tiles: start..end, state, continues: interval.continues });
        }
        sweep.chain(block, projection, pieces, states);
    }

    /// Adds to every interval what the shorter windows of its chain hold.
    fn chain(&mut self, frame: &Frame) {
        let Workspace { states, tiles, .. } = &mut *self.workspace;
        for index in 1..frame.intervals.len() {
            if frame.intervals[index].continues {
                let (shorter, longer) = states.split_at_mut(index);
                self.plan.projection.merge(&mut longer[0], &shorter[index - 1]);
                tiles[index] += tiles[index - 1];
            }
        }
    }

    fn is_seen(&self, frame: &Frame, hash: u64, entity: &[u8]) -> bool {
        let is_read = self.workspace.tiles.iter().any(|&tiles| 0 < tiles);
        let range = (frame.horizon, frame.floor.saturating_add(1));
        is_read || is_present(self.version, self.view, (hash, entity), range, self.pinned)
    }
}

/// Makes `columns` those of a plan's view, empty and with room for `rows` rows. Columns that were
/// of the same form keep their memory.
pub(crate) fn clear_columns(plan: &ViewPlan, columns: &mut [AnswerColumn], rows: usize) {
    for (column, planned) in columns.iter_mut().zip(&plan.selectors) {
        match (planned.form, &mut column.values) {
            (ColumnForm::Ints, Values::Int { values, valid }) => {
                empty(values, rows);
                empty(valid, rows);
            }
            (ColumnForm::Doubles, Values::Double { values, valid }) => {
                empty(values, rows);
                empty(valid, rows);
            }
            (ColumnForm::Lists(planned), Values::Lists(kind, values)) if planned == *kind => {
                empty(values, rows);
            }
            (ColumnForm::Any, Values::Any(values)) => empty(values, rows),
            (ColumnForm::Ints, other) => *other = Values::ints(rows),
            (ColumnForm::Doubles, other) => *other = Values::doubles(rows),
            (ColumnForm::Lists(kind), other) => *other = Values::lists(kind, rows),
            (ColumnForm::Any, other) => *other = Values::any(rows),
        }
        empty(&mut column.statuses, rows);
        empty(&mut column.tiles_read, rows);
        column.bounds.clear();
    }
}

fn empty<T>(list: &mut Vec<T>, room: usize) {
    list.clear();
    list.reserve(room);
}
