//! Owns the explanation of one window: where it lies, which tiles it was merged from, what is
//! sealed, and what came out.

use std::ops::ControlFlow;

use tilekv_tile::{AnswerColumn, Edge, SealMode, Status, Value, WindowBounds, resolve_window};

use crate::catalog::View;
use crate::directory::Cover;
use crate::error::EngineError;
use crate::frame::{FrameTime, edge_input};
use crate::lookup::{Source, for_each_source};
use crate::pages::PinnedPages;
use crate::plan::Plan;
use crate::ranges::{TimeRange, for_each_visible, holds};
use crate::reader::{ReadTime, Request};
use crate::segment::{Chunk, Segment, SegmentView};
use crate::version::Version;

/// A stored tile that a window met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedTile {
    /// The tile's start in milliseconds.
    pub start: i64,
    /// The tile's length in milliseconds.
    pub span: i64,
    /// Where it is stored: `overlay` or `segment`.
    pub source: &'static str,
    /// Whether it hides everything older for its time.
    pub base: bool,
    /// Whether something newer hides it.
    pub hidden: bool,
}

/// How one window was answered.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The selector as asked.
    pub selector: String,
    /// The right edge rule in force.
    pub edge: Edge,
    /// The tile size in milliseconds.
    pub tile: i64,
    /// The start of the tile that holds the time asked for.
    pub floor: i64,
    /// Up to where the view is complete, as far as the read may know.
    pub complete_to: i64,
    /// The window; its end includes the live tile.
    pub bounds: WindowBounds,
    /// The right edge without the live tile.
    pub closed_end: i64,
    /// The first readable instant, where the view has a retention.
    pub horizon: Option<i64>,
    /// The stored tiles of the window, newest source first, ascending in each.
    pub tiles: Vec<ExplainedTile>,
    /// What is sealed of the window's closed part.
    pub seals: Vec<(i64, i64)>,
    /// What is not sealed of it; empty where the view needs no seals.
    pub holes: Vec<(i64, i64)>,
    /// The answer's status.
    pub status: Status,
    /// How many stored tiles were merged.
    pub tiles_read: u32,
    /// The answer.
    pub value: Value,
}

/// Explains the only selector of `plan` for `entity`; none where pages must come from disk first.
pub(crate) fn explain(
    version: &Version,
    plan: &Plan,
    entity: &[u8],
    at: Option<i64>,
    now_ms: i64,
    pinned: &PinnedPages,
) -> Result<Option<Explanation>, EngineError> {
    let [group] = &plan.groups[..] else {
        return Err(EngineError::BadValue("an explanation takes one view".to_owned()));
    };
    let [planned] = &group.selectors[..] else {
        return Err(EngineError::BadValue("an explanation takes one selector".to_owned()));
    };
    let Some(view) = version.catalog.view(group.id) else {
        unreachable!("the plan was made from this version");
    };
    view.definition.entity_check(entity)?;
    let request = Request { version, view, plan: group, known: plan.known, now_ms, pinned };
    let time = at.map_or(ReadTime::Now, ReadTime::At);
    let mut column = AnswerColumn::default();
    request.read(&time, &[entity], std::slice::from_mut(&mut column));
    if pinned.is_missing_any() {
        return Ok(None);
    }
    let mut walk = request.known_walk();
    let coverage = match (&mut walk, at) {
        (Some(walk), Some(at)) => walk.at(at),
        _ => &view.coverage,
    };
    let input = edge_input(view, group.edge, FrameTime { at, now: now_ms, coverage });
    let window =
        resolve_window(&input, &planned.selector, &view.features[planned.feature].incomplete);
    let from = window.bounds.start.or(coverage.oldest()).unwrap_or(window.closed_end);
    let holes = match view.definition.seal {
        SealMode::Required => coverage.gaps(from, window.closed_end),
        SealMode::Off => Vec::new(),
    };
    Ok(Some(Explanation {
        selector: planned.selector.to_string(),
        edge: group.edge,
        tile: view.span(),
        floor: window.floor,
        complete_to: window.complete_to,
        bounds: window.bounds,
        closed_end: window.closed_end,
        horizon: input.horizon,
        tiles: window_tiles(version, view, entity, (window.bounds, input.horizon), pinned),
        seals: clipped(coverage.ranges(), from, window.closed_end),
        holes,
        status: column.statuses[0],
        tiles_read: column.tiles_read[0],
        value: column.values.get(0),
    }))
}

fn clipped(ranges: &[(i64, i64)], from: i64, to: i64) -> Vec<(i64, i64)> {
    let parts = ranges.iter().map(|&(start, end)| (start.max(from), end.min(to)));
    parts.filter(|(start, end)| start < end).collect()
}

fn window_tiles(
    version: &Version,
    view: &View,
    entity: &[u8],
    (bounds, horizon): (WindowBounds, Option<i64>),
    pinned: &PinnedPages,
) -> Vec<ExplainedTile> {
    let from = bounds.start.unwrap_or(i64::MIN).max(horizon.unwrap_or(i64::MIN));
    let mut tiles = Vec::new();
    let mut hidden = Vec::new();
    let hash = version.hash(view.id, entity);
    for_each_source(version, view.id, (hash, entity), pinned, |source| {
        let mut push = |start: i64, span: i64, base: bool, source: &'static str| {
            if from <= start && start < bounds.end {
                let hidden = holds(&hidden, start);
                tiles.push(ExplainedTile { start, span, source, base, hidden });
            }
        };
        match source {
            Source::Entry(entry) => {
                entry
                    .tiles
                    .iter()
                    .for_each(|tile| push(tile.start, view.span(), tile.base, "overlay"));
            }
            Source::Chunks(segment, held, chunk, pinned) => {
                let range = (from, bounds.end);
                for_each_part(segment, held, chunk, pinned, &hidden, range, &mut push);
            }
            Source::Cleared(_) => {}
        }
        source.hide(view.span(), (from, bounds.end), &mut hidden);
        ControlFlow::Continue(())
    });
    tiles
}

/// Shows the tiles of a segment that a range is answered from, and the hidden ones that it is not.
fn for_each_part(
    segment: &Segment,
    held: &SegmentView,
    chunk: Chunk<'_>,
    pinned: &PinnedPages,
    hidden: &[TimeRange],
    (from, to): TimeRange,
    push: &mut impl FnMut(i64, i64, bool, &'static str),
) {
    let Some(directory) = chunk.directory(held) else {
        let block = segment.block(&chunk, held);
        (0..block.len()).for_each(|tile| {
            push(block.start(tile), held.span, block.is_base(tile), "segment");
        });
        return;
    };
    let mut covers: Vec<Cover> = Vec::new();
    for_each_visible(hidden, from, to, |from, to| {
        directory.cover(from, to, &mut |cover| covers.push(cover));
    });
    for &(from, to) in hidden {
        let rows = directory.base_rows().map(|row| (row, directory.row(row)));
        let hidden_rows = rows.filter(|(_, row)| row.from < to && from < row.to);
        covers.extend(hidden_rows.map(|(row, _)| Cover { row, from, to }));
    }
    covers.sort_unstable_by_key(|cover| (cover.from, cover.row));
    for cover in covers {
        let row = directory.row(cover.row);
        let Some(chunk) = segment.chunk_of(&row, pinned) else { continue };
        let block = segment.block(&chunk, held);
        let span = directory.span_of(row.level).unwrap_or(held.span);
        for tile in block.lower_bound(cover.from)..block.lower_bound(cover.to) {
            push(block.start(tile), span, block.is_base(tile), "segment");
        }
    }
}
