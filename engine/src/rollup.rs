//! Owns the window read of one entity in one view: one backward pass over its sources answers all
//! windows of a frame. Knows nothing of names, requests or clocks.

use tilekv_tile::{Accumulator, AnswerColumn, Block, Status, Value, Values};

use crate::catalog::View;
use crate::frame::Frame;
use crate::lookup::{Source, hide_block, hide_entry, is_present};
use crate::overlay::{Entry, Overlay};
use crate::plan::ViewPlan;
use crate::ranges::{TimeRange, add_range, for_each_visible};
use crate::segment::{Chunk, Segment, SegmentView};
use crate::version::{Layer, Version};

/// What the rows of one view share while they are read: reused from row to row.
#[derive(Debug)]
pub(crate) struct Rollup<'a> {
    version: &'a Version,
    view: &'a View,
    plan: &'a ViewPlan,
    /// The layers that hold the view, newest first.
    layers: Vec<ViewLayer<'a>>,
    /// What each interval's tiles merge to; with the chain before it, once the pass is over.
    accumulators: Vec<Accumulator>,
    /// How many stored tiles went into each.
    tiles: Vec<u32>,
    /// What newer sources hide of the one that is being folded.
    hidden: Vec<TimeRange>,
    /// What the source that is being folded hides of older ones.
    hiding: Vec<TimeRange>,
}

/// A layer that holds the view.
#[derive(Debug, Clone, Copy)]
enum ViewLayer<'a> {
    Overlay(&'a Overlay),
    Segment(&'a Segment, &'a SegmentView),
}

/// Rows that are looked up together.
#[derive(Debug, Default)]
pub(crate) struct RowGroup<'a> {
    keys: Vec<(u64, &'a [u8])>,
    /// Where each segment of the layers holds each row: all rows of the newest segment, then of
    /// the next.
    found: Vec<Option<Chunk<'a>>>,
}

impl<'a> Rollup<'a> {
    /// A rollup for rows of `view`.
    pub(crate) fn new(version: &'a Version, view: &'a View, plan: &'a ViewPlan) -> Self {
        let layers = version.layers.iter().filter_map(|layer| match layer {
            Layer::Overlay(overlay) => overlay.view(view.id).map(|_| ViewLayer::Overlay(overlay)),
            Layer::Segment(segment) => {
                segment.view(view.id).map(|held| ViewLayer::Segment(segment, held))
            }
        });
        Self {
            version,
            view,
            plan,
            layers: layers.collect(),
            accumulators: Vec::new(),
            tiles: Vec::new(),
            hidden: Vec::new(),
            hiding: Vec::new(),
        }
    }

    /// Looks up at most [`GROUP_KEYS_MAX`] rows in all segments.
    pub(crate) fn look_up(&self, entities: &[&'a [u8]], group: &mut RowGroup<'a>) {
        group.keys.clear();
        group.found.clear();
        let key = |&entity: &&'a [u8]| (self.version.hash(self.view.id, entity), entity);
        group.keys.extend(entities.iter().map(key));
        for layer in &self.layers {
            if let ViewLayer::Segment(segment, _) = layer {
                segment.find_group(self.view.id, &group.keys, &mut group.found);
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
        self.reset(frame.intervals.len());
        self.fold_sources(frame, group, row);
        self.chain(frame);
        let mut seen = None;
        for (index, selector) in frame.selectors.iter().enumerate() {
            let tiles = self.tiles[selector.interval];
            let status = match selector.preset {
                Some(status) => status,
                None if 0 < tiles => Status::Ok,
                None if *seen.get_or_insert_with(|| self.is_seen(frame, hash, entity)) => {
                    Status::Empty
                }
                None => Status::Unseen,
            };
            let value = self.value(index, selector.interval);
            let column = &mut columns[index];
            column.values.push(value);
            column.statuses.push(status);
            column.tiles_read.push(tiles);
        }
    }

    fn fold_sources(&mut self, frame: &Frame, group: &RowGroup<'a>, row: usize) {
        let (hash, entity) = group.keys[row];
        let mut found = group.found.iter().skip(row).step_by(group.keys.len());
        for at in 0..self.layers.len() {
            match self.layers[at] {
                ViewLayer::Overlay(overlay) => {
                    overlay.with_entry(hash, self.view.id, entity, |entry| {
                        self.fold(frame, Source::Entry(entry));
                    });
                }
                ViewLayer::Segment(segment, view) => {
                    let is_oldest = at + 1 == self.layers.len();
                    if let Some(Some(chunk)) = found.next() {
                        self.fold_chunks(frame, Source::Chunks(segment, view, *chunk), is_oldest);
                    }
                    for &(from, to) in &view.cleared {
                        add_range(&mut self.hidden, from, to);
                    }
                }
            }
        }
    }

    fn fold_chunks(&mut self, frame: &Frame, source: Source<'_>, is_oldest: bool) {
        if is_oldest {
            // What this source hides is of no interest.
            source.for_each_block(|block| self.fold_block(frame, block));
        } else {
            self.fold(frame, source);
        }
    }

    fn value(&self, selector: usize, interval: usize) -> Value {
        self.plan.selectors[selector].finisher.finish(&self.accumulators[interval])
    }

    fn reset(&mut self, intervals: usize) {
        let projection = &self.plan.projection;
        self.accumulators.iter_mut().for_each(|accumulator| projection.reset(accumulator));
        self.accumulators.resize_with(intervals, || projection.empty());
        self.tiles.clear();
        self.tiles.resize(intervals, 0);
        self.hidden.clear();
    }

    fn fold(&mut self, frame: &Frame, source: Source<'_>) {
        let span = self.view.span();
        match source {
            Source::Entry(entry) => {
                self.fold_entry(frame, entry);
                hide_entry(entry, span, &mut self.hiding);
            }
            Source::Chunks(..) => source.for_each_block(|block| {
                self.fold_block(frame, block);
                hide_block(block, span, &mut self.hiding);
            }),
            Source::Cleared(_) => source.hide(span, &mut self.hiding),
        }
        for (from, to) in self.hiding.drain(..) {
            add_range(&mut self.hidden, from, to);
        }
    }

    fn fold_entry(&mut self, frame: &Frame, entry: &Entry) {
        for (index, interval) in frame.intervals.iter().enumerate() {
            let accumulator = &mut self.accumulators[index];
            let count = &mut self.tiles[index];
            for_each_visible(&self.hidden, interval.from, interval.to, |from, to| {
                for tile in &entry.tiles[entry.between(from, to)] {
                    self.plan.projection.merge_mapped(
                        accumulator,
                        &entry.layout,
                        &tile.accumulator,
                    );
                    *count += 1;
                }
            });
        }
    }

    fn fold_block(&mut self, frame: &Frame, block: &Block<'_>) {
        if self.hidden.is_empty() {
            return self.fold_whole_block(frame, block);
        }
        for (index, interval) in frame.intervals.iter().enumerate() {
            let accumulator = &mut self.accumulators[index];
            let count = &mut self.tiles[index];
            for_each_visible(&self.hidden, interval.from, interval.to, |from, to| {
                let range = block.lower_bound(from)..block.lower_bound(to);
                if !range.is_empty() {
                    *count += crate::codec::count_u32(range.len());
                    block.fold(&self.plan.projection, range, accumulator);
                }
            });
        }
    }

    /// As [`Rollup::fold_block`] where nothing is hidden. The intervals of a chain share their
    /// edges, so that each edge is looked for once.
    fn fold_whole_block(&mut self, frame: &Frame, block: &Block<'_>) {
        let mut edge = (i64::MAX, block.len());
        for (index, interval) in frame.intervals.iter().enumerate() {
            let end = if interval.to == edge.0 { edge.1 } else { block.lower_bound(interval.to) };
            let start = block.lower_bound(interval.from);
            edge = (interval.from, start);
            if start < end {
                self.tiles[index] += crate::codec::count_u32(end - start);
                let accumulator = &mut self.accumulators[index];
                block.fold(&self.plan.projection, start..end, accumulator);
            }
        }
    }

    /// Adds to every interval what the shorter windows of its chain hold.
    fn chain(&mut self, frame: &Frame) {
        for index in 1..frame.intervals.len() {
            if frame.intervals[index].continues {
                let (shorter, longer) = self.accumulators.split_at_mut(index);
                self.plan.projection.merge(&mut longer[0], &shorter[index - 1]);
                self.tiles[index] += self.tiles[index - 1];
            }
        }
    }

    fn is_seen(&self, frame: &Frame, hash: u64, entity: &[u8]) -> bool {
        let is_read = self.tiles.iter().any(|&tiles| 0 < tiles);
        let (from, to) = (frame.horizon, frame.floor.saturating_add(1));
        is_read || is_present(self.version, self.view, hash, entity, from, to)
    }
}

/// Empty answer columns for a plan's view, with room for `rows` rows.
pub(crate) fn answer_columns(plan: &ViewPlan, view: &View, rows: usize) -> Vec<AnswerColumn> {
    plan.selectors
        .iter()
        .map(|selector| AnswerColumn {
            values: empty_values(view, selector.feature, rows),
            statuses: Vec::with_capacity(rows),
            bounds: Vec::new(),
            tiles_read: Vec::with_capacity(rows),
        })
        .collect()
}

/// An empty column of the type that the feature's function answers with.
fn empty_values(view: &View, feature: usize, rows: usize) -> Values {
    use tilekv_tile::{ColumnType, Function};
    let binding = &view.features[feature].binding;
    let kind = binding.column.map(|(_, kind)| kind);
    match (binding.function, kind) {
        (Function::CountRows | Function::Count, _) => Values::ints(rows),
        (Function::Mean, _)
        | (Function::VarPop | Function::VarSamp, _)
        | (Function::StddevPop | Function::StddevSamp, _) => Values::doubles(rows),
        (_, Some(ColumnType::I64)) => Values::ints(rows),
        (_, Some(ColumnType::F64)) => Values::doubles(rows),
        (_, Some(ColumnType::Str) | None) => Values::any(rows),
    }
}
