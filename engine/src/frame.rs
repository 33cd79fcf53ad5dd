//! Owns a view's windows at one time: where each lies, what is known of it before a tile is read,
//! and the disjoint intervals that one backward pass folds. Knows nothing of sources.

use tilekv_tile::{Coverage, Edge, EdgeInput, Status, TileNumber, WindowBounds, resolve_window};

use crate::catalog::View;
use crate::plan::ViewPlan;
use crate::ranges::TimeRange;

/// The windows of a plan's view at one time.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Per selector: its window and the interval at which its value is complete.
    pub(crate) selectors: Vec<FramedSelector>,
    /// Disjoint within a chain. Each chain shares a right edge and runs from it backwards.
    pub(crate) intervals: Vec<Interval>,
    /// The start of the tile that holds the time asked for.
    pub(crate) floor: i64,
    /// Tiles that start before this cannot be read.
    pub(crate) horizon: i64,
}

/// A selector in its frame.
#[derive(Debug)]
pub(crate) struct FramedSelector {
    pub(crate) bounds: WindowBounds,
    /// The position of the last interval of its window.
    pub(crate) interval: usize,
    /// The status that holds whatever the tiles are.
    pub(crate) preset: Option<Status>,
}

/// Tiles with `from <= start < to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// The first tile that does not start before `from`, and before `to`.
    pub(crate) first: TileNumber,
    pub(crate) end: TileNumber,
    /// Whether the window goes on with what the interval before this one holds.
    pub(crate) continues: bool,
}

impl Interval {
    fn new(from: i64, to: i64, span: i64, continues: bool) -> Self {
        let [first, end] = [from, to].map(|edge| TileNumber::first_from(edge, span));
        Self { from, to, first, end, continues }
    }
}

/// The time of a read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameTime<'a> {
    /// The time asked for, if the read says one.
    pub(crate) at: Option<i64>,
    /// The server's clock.
    pub(crate) now: i64,
    /// What is sealed, as far as the read may know.
    pub(crate) coverage: &'a Coverage,
}

impl Frame {
    /// The frame of a read at the clock's time.
    pub(crate) fn at_now(view: &View, plan: &ViewPlan, now_ms: i64) -> Self {
        Self::new(view, plan, FrameTime { at: None, now: now_ms, coverage: &view.coverage })
    }

    /// The time that the windows reach over.
    pub(crate) fn extent(&self) -> TimeRange {
        let from = self.intervals.iter().map(|interval| interval.from).min();
        let to = self.intervals.iter().map(|interval| interval.to).max();
        from.zip(to).unwrap_or_default()
    }

    /// Places the windows of `plan` at `time`.
    pub(crate) fn new(view: &View, plan: &ViewPlan, time: FrameTime<'_>) -> Self {
        let input = edge_input(view, plan.edge, time);
        let horizon = input.horizon.unwrap_or(i64::MIN);
        let mut floor = i64::MIN;
        let mut selectors = Vec::with_capacity(plan.selectors.len());
        let mut windows = Vec::with_capacity(plan.selectors.len());
        for planned in &plan.selectors {
            let feature = &view.features[planned.feature];
            let window = resolve_window(&input, &planned.selector, &feature.incomplete);
            floor = window.floor;
            let preset = if window.expired {
                Some(Status::Expired)
            } else if window.incomplete {
                Some(Status::Incomplete)
            } else if window.stale {
                Some(Status::Stale)
            } else {
                None
            };
            let start = window.bounds.start.unwrap_or(i64::MIN).max(horizon);
            windows.push((window.bounds.end, start.min(window.bounds.end)));
            selectors.push(FramedSelector { bounds: window.bounds, interval: 0, preset });
        }
        let intervals = chain_intervals(&windows, view.span(), &mut selectors);
        Self { selectors, intervals, floor, horizon }
    }
}

/// What places the windows of a view at a time.
pub(crate) fn edge_input<'a>(view: &View, edge: Edge, time: FrameTime<'a>) -> EdgeInput<'a> {
    EdgeInput {
        at: time.at,
        now: time.now,
        tile: view.definition.tile,
        edge,
        seal: view.definition.seal,
        coverage: time.coverage,
        max_lag: view.definition.max_lag,
        horizon: view.horizon(time.now),
    }
}

/// Cuts the windows (end, start) into disjoint intervals and tells each selector its last one.
fn chain_intervals(
    windows: &[(i64, i64)],
    span: i64,
    selectors: &mut [FramedSelector],
) -> Vec<Interval> {
    let mut order: Vec<usize> = (0..windows.len()).collect();
    order.sort_unstable_by_key(|&index| (windows[index].0, std::cmp::Reverse(windows[index].1)));
    let mut intervals: Vec<Interval> = Vec::with_capacity(windows.len());
    let mut previous: Option<(i64, i64)> = None;
    for index in order {
        let window = windows[index];
        if previous != Some(window) {
            let to = match previous {
                Some((end, start)) if end == window.0 => start,
                _ => window.0,
            };
            let continues = previous.is_some_and(|(end, _)| end == window.0);
            intervals.push(Interval::new(window.1, to, span, continues));
            previous = Some(window);
        }
        selectors[index].interval = intervals.len() - 1;
    }
    intervals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_one_right_edge_are_cut_into_disjoint_intervals() {
        let bounds = WindowBounds { start: None, end: 0 };
        let framed = || FramedSelector { bounds, interval: 9, preset: None };
        let mut selectors: Vec<FramedSelector> = (0..4).map(|_| framed()).collect();
        let windows = [(100, 40), (100, 90), (60, 10), (100, 40)];
        let intervals = chain_intervals(&windows, 10, &mut selectors);
        assert_eq!(
            intervals,
            [
                Interval::new(10, 60, 10, false),
                Interval::new(90, 100, 10, false),
                Interval::new(40, 90, 10, true),
            ]
        );
        let last: Vec<usize> = selectors.iter().map(|selector| selector.interval).collect();
        assert_eq!(last, [2, 1, 0, 2]);
    }
}
