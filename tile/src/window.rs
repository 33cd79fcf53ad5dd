//! Where a window lies: the right edge, the left edge, and what is known of it before any tile is
//! read. It knows nothing of tiles' contents.

use crate::answer::WindowBounds;
use crate::coverage::Coverage;
use crate::selector::{Selector, WindowLength};
use crate::time::{Span, floor_to};
use crate::view::{Edge, SealMode};

/// What a window's place depends on besides its selector. Times are in milliseconds since the
/// epoch, within the bounds of a [`crate::Timestamp`].
#[derive(Debug, Clone, Copy)]
pub struct EdgeInput<'a> {
    /// The time that the read asks about, if it names one.
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
    /// The retention horizon (see [`horizon`]), if the view has a retention.
    pub horizon: Option<i64>,
}

/// A window's place in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResolvedWindow {
    /// The tiles of the window: those with start in `[start, end)`, a live tile included. The
    /// start is never after the end.
    pub bounds: WindowBounds,
    /// The right edge without the live tile. Before a retention horizon it may lie before the
    /// start, where no tile is readable.
    pub closed_end: i64,
    /// Whether some of the window is not complete.
    pub incomplete: bool,
    /// Whether the newest complete time lies further back than allowed.
    pub stale: bool,
    /// Whether the window starts before the retention horizon.
    pub expired: bool,
    /// The start of the tile that holds the time of the read: F in the definition of windows.
    pub floor: i64,
    /// Up to where time is complete, at most `floor`: E in the definition of windows.
    pub complete_to: i64,
}

/// The retention horizon: tiles that start before it can be neither read nor written.
pub fn horizon(now: i64, retention: Span, tile: Span) -> i64 {
    floor_to(now.saturating_sub(retention.millis()), tile.millis())
}

/// Places a selector's window in time and judges what can be told without reading a tile.
/// `feature_incomplete` is the time `[from, to)` for which the feature has no complete data because
/// it was added later.
///
/// The selector's window and offset are multiples of the tile size ([`Selector::check`]).
pub fn resolve_window(
    input: &EdgeInput<'_>,
    selector: &Selector,
    feature_incomplete: &[(i64, i64)],
) -> ResolvedWindow {
    let floor = floor_to(input.at.unwrap_or(input.now), input.tile.millis());
    let complete_to = complete_to(input, floor);
    let closed_end = complete_to - selector.offset.millis();
    let has_live_tile = complete_to == floor && takes_live_tile(input, selector.offset, floor);
    let end = if has_live_tile { closed_end + input.tile.millis() } else { closed_end };
    let start = match selector.window {
        WindowLength::Span(window) => Some(closed_end - window.millis()),
        WindowLength::Lifetime => input.horizon.map(|horizon| horizon.min(end)),
    };
    let bounds = WindowBounds { start, end };
    ResolvedWindow {
        bounds,
        closed_end,
        incomplete: is_incomplete(input, selector.window, bounds, closed_end, feature_incomplete),
        stale: input.max_lag.is_some_and(|max_lag| max_lag.millis() < floor - complete_to),
        expired: is_expired(input.horizon, selector.window, start),
        floor,
        complete_to,
    }
}

/// E: where the newest sealed range that starts before the read's tile ends, at most that tile's
/// start; the tile's start itself where there is no such range, or the clock decides.
fn complete_to(input: &EdgeInput<'_>, floor: i64) -> i64 {
    match input.seal {
        SealMode::Off => floor,
        SealMode::Required => {
            input.coverage.newest_start_before(floor).map_or(floor, |end| end.min(floor))
        }
    }
}

/// Whether the edge takes in the tile that starts at the right edge. A read that names its time
/// leaves it out once it has ended, since it may hold events after that time.
fn takes_live_tile(input: &EdgeInput<'_>, offset: Span, floor: i64) -> bool {
    let has_ended = floor + input.tile.millis() <= input.now;
    let is_replay = input.at.is_some() && offset == Span::ZERO && has_ended;
    input.edge == Edge::Live && !is_replay
}

fn is_expired(horizon: Option<i64>, window: WindowLength, start: Option<i64>) -> bool {
    match (window, start, horizon) {
        (WindowLength::Span(_), Some(start), Some(horizon)) => start < horizon,
        _ => false,
    }
}

/// Whether some of the window lacks its seal or is older than the feature. A live tile needs no
/// seal. With seals required, a lifetime counts from the oldest seal: there is nothing to be
/// complete before it.
fn is_incomplete(
    input: &EdgeInput<'_>,
    window: WindowLength,
    bounds: WindowBounds,
    closed_end: i64,
    feature_incomplete: &[(i64, i64)],
) -> bool {
    let mut counted_from = bounds.start.unwrap_or(i64::MIN);
    if input.seal == SealMode::Required {
        if window == WindowLength::Lifetime {
            let Some(oldest) = input.coverage.oldest() else {
                return true;
            };
            counted_from = counted_from.max(oldest);
        }
        if !input.coverage.covers(counted_from, closed_end) {
            return true;
        }
    }
    let overlaps = |&(from, to): &(i64, i64)| from.max(counted_from) < to.min(bounds.end);
    feature_incomplete.iter().any(overlaps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const TILE: i64 = 10;

    fn tile() -> Span {
        Span::from_millis(TILE).unwrap()
    }

    fn selector(text: &str) -> Selector {
        Selector::parse(text.as_bytes()).unwrap()
    }

    fn input(coverage: &Coverage) -> EdgeInput<'_> {
        EdgeInput {
            at: None,
            now: 105,
            tile: tile(),
            edge: Edge::Closed,
            seal: SealMode::Off,
            coverage,
            max_lag: None,
            horizon: None,
        }
    }

    fn bounds(input: &EdgeInput<'_>, text: &str) -> (Option<i64>, i64) {
        let bounds = resolve_window(input, &selector(text), &[]).bounds;
        (bounds.start, bounds.end)
    }

    #[test]
    fn a_closed_window_holds_tiles_that_have_ended() {
        let none = Coverage::default();
        let input = input(&none);
        assert_eq!(bounds(&input, "f@30ms"), (Some(70), 100));
        assert_eq!(bounds(&input, "f@30ms:20ms"), (Some(50), 80));
        assert_eq!(bounds(&input, "f@lifetime"), (None, 100));
        let early = EdgeInput { at: Some(-1), ..input };
        assert_eq!(bounds(&early, "f@30ms"), (Some(-40), -10));
        let on_a_bound = EdgeInput { at: Some(-10), ..input };
        assert_eq!(bounds(&on_a_bound, "f@30ms"), (Some(-40), -10));
    }

    #[test]
    fn a_live_window_takes_in_the_open_tile() {
        let none = Coverage::default();
        let live = EdgeInput { edge: Edge::Live, ..input(&none) };
        assert_eq!(bounds(&live, "f@30ms"), (Some(70), 110));
        assert_eq!(bounds(&live, "f@30ms:20ms"), (Some(50), 90));
        assert_eq!(bounds(&live, "f@lifetime"), (None, 110));
    }

    #[test]
    fn a_replay_leaves_out_the_tile_that_has_ended_since() {
        let none = Coverage::default();
        let live = EdgeInput { edge: Edge::Live, ..input(&none) };
        let still_open = EdgeInput { at: Some(101), now: 109, ..live };
        assert_eq!(bounds(&still_open, "f@30ms"), (Some(70), 110));
        let ended = EdgeInput { at: Some(101), now: 110, ..live };
        assert_eq!(bounds(&ended, "f@30ms"), (Some(70), 100));
        assert_eq!(bounds(&ended, "f@30ms:10ms"), (Some(60), 100), "an offset looks back anyway");
        let future = EdgeInput { at: Some(500), now: 110, ..live };
        assert_eq!(bounds(&future, "f@30ms"), (Some(470), 510));
    }

    #[test]
    fn a_window_never_slides_over_time_that_is_not_sealed() {
        let sealed: Coverage = [(0, 60), (150, 200)].into_iter().collect();
        let required = EdgeInput { seal: SealMode::Required, edge: Edge::Live, ..input(&sealed) };
        let window = resolve_window(&required, &selector("f@30ms"), &[]);
        assert_eq!((window.bounds.start, window.bounds.end), (Some(30), 60));
        assert_eq!((window.floor, window.complete_to, window.incomplete), (100, 60, false));
        let window = resolve_window(&required, &selector("f@70ms"), &[]);
        assert!(window.incomplete, "the window reaches before the first seal");
        let window = resolve_window(&required, &selector("f@lifetime"), &[]);
        assert_eq!((window.bounds.start, window.incomplete), (None, false));
    }

    #[test]
    fn without_any_seal_a_window_that_requires_them_is_incomplete() {
        let none = Coverage::default();
        let required = EdgeInput { seal: SealMode::Required, ..input(&none) };
        for text in ["f@30ms", "f@lifetime", "f@lifetime:50ms"] {
            let window = resolve_window(&required, &selector(text), &[]);
            assert!(window.incomplete, "{text} over no seal is incomplete");
            assert_eq!(window.complete_to, 100);
        }
    }

    #[test]
    fn values_are_stale_beyond_the_lag_allowed() {
        let sealed: Coverage = [(0, 60)].into_iter().collect();
        for (lag, expected) in [(40, false), (39, true)] {
            let max_lag = Some(Span::from_millis(lag).unwrap());
            let input = EdgeInput { seal: SealMode::Required, max_lag, ..input(&sealed) };
            assert_eq!(resolve_window(&input, &selector("f@30ms"), &[]).stale, expected);
        }
    }

    #[test]
    fn a_window_expires_when_it_starts_before_the_horizon() {
        let none = Coverage::default();
        assert_eq!(horizon(105, Span::from_millis(42).unwrap(), tile()), 60);
        assert_eq!(horizon(5, Span::from_millis(42).unwrap(), tile()), -40);
        let input = EdgeInput { horizon: Some(60), ..input(&none) };
        for (text, expected) in [("f@40ms", false), ("f@50ms", true), ("f@lifetime", false)] {
            assert_eq!(resolve_window(&input, &selector(text), &[]).expired, expected, "{text}");
        }
        assert_eq!(bounds(&input, "f@lifetime"), (Some(60), 100));
        assert_eq!(
            bounds(&input, "f@lifetime:70ms"),
            (Some(30), 30),
            "a start is not past the end"
        );
    }

    #[test]
    fn a_window_that_reaches_before_its_feature_is_incomplete() {
        let none = Coverage::default();
        let input = input(&none);
        let added_later = [(i64::MIN, 70)];
        for (text, expected) in [("f@30ms", false), ("f@40ms", true), ("f@lifetime", true)] {
            let window = resolve_window(&input, &selector(text), &added_later);
            assert_eq!(window.incomplete, expected, "{text}");
        }
        let live = EdgeInput { edge: Edge::Live, ..input };
        let open_tile = resolve_window(&live, &selector("f@30ms"), &[(100, 110)]);
        assert!(open_tile.incomplete, "the open tile began before the feature");
    }

    /// The tiles that the restatement below enumerates, by start.
    fn every_tile() -> impl DoubleEndedIterator<Item = i64> {
        (-100..100).map(|index| index * TILE)
    }

    /// The definition of windows and completeness, said again by enumerating tiles.
    struct Restated<'a> {
        input: EdgeInput<'a>,
        sealed: &'a BTreeSet<i64>,
        selector: Selector,
        feature_incomplete: &'a [(i64, i64)],
    }

    impl Restated<'_> {
        /// The tile that holds the time of the read.
        fn floor(&self) -> i64 {
            let time = self.input.at.unwrap_or(self.input.now);
            every_tile().find(|tile| *tile <= time && time < tile + TILE).unwrap()
        }

        fn complete_to(&self) -> i64 {
            let starts_run =
                |tile: &i64| self.sealed.contains(tile) && !self.sealed.contains(&(tile - TILE));
            let floor = self.floor();
            let newest = every_tile().rev().find(|tile| *tile < floor && starts_run(tile));
            match newest {
                Some(first) if self.input.seal == SealMode::Required => every_tile()
                    .find(|tile| *tile == floor || (first < *tile && !self.sealed.contains(tile)))
                    .unwrap(),
                _ => floor,
            }
        }

        fn closed_tiles(&self) -> Vec<i64> {
            let edge = self.complete_to() - self.selector.offset.millis();
            let before_edge = every_tile().filter(|tile| *tile < edge);
            match self.selector.window {
                WindowLength::Span(window) => {
                    before_edge.filter(|tile| edge - tile <= window.millis()).collect()
                }
                WindowLength::Lifetime => before_edge
                    .filter(|tile| self.input.horizon.is_none_or(|horizon| horizon <= *tile))
                    .collect(),
            }
        }

        fn live_tile(&self) -> Option<i64> {
            let floor = self.floor();
            let now_tile_ended = self.input.now >= floor + TILE;
            let leaks =
                self.input.at.is_some() && self.selector.offset.millis() == 0 && now_tile_ended;
            let live = floor - self.selector.offset.millis();
            let lifetime = self.selector.window == WindowLength::Lifetime;
            let readable = !lifetime || self.input.horizon.is_none_or(|horizon| horizon <= live);
            let added = self.input.edge == Edge::Live && self.complete_to() == floor;
            (added && !leaks && readable).then_some(live)
        }

        fn tiles(&self) -> Vec<i64> {
            self.closed_tiles().into_iter().chain(self.live_tile()).collect()
        }

        fn incomplete(&self) -> bool {
            let required = self.input.seal == SealMode::Required;
            let lifetime = self.selector.window == WindowLength::Lifetime;
            let oldest = self.sealed.first().copied();
            if required && lifetime && oldest.is_none() {
                return true;
            }
            let counts = |tile: &i64| !required || !lifetime || oldest <= Some(*tile);
            let unsealed = |tile: &i64| required && !self.sealed.contains(tile);
            let before_feature = |tile: &i64| {
                self.feature_incomplete.iter().any(|(from, to)| from <= tile && tile < to)
            };
            self.closed_tiles().iter().any(|tile| counts(tile) && unsealed(tile))
                || self.tiles().iter().any(|tile| counts(tile) && before_feature(tile))
        }

        fn expired(&self) -> bool {
            let lifetime = self.selector.window == WindowLength::Lifetime;
            let readable = |tile: &i64| self.input.horizon.is_none_or(|horizon| horizon <= *tile);
            !lifetime && !self.closed_tiles().iter().all(readable)
        }
    }

    fn any_selector() -> impl Strategy<Value = Selector> {
        let window = prop_oneof![
            3 => (1..20i64).prop_map(|tiles| {
                WindowLength::Span(Span::from_millis(tiles * TILE).unwrap())
            }),
            1 => Just(WindowLength::Lifetime),
        ];
        let offset = prop_oneof![Just(0), 0..10i64];
        (window, offset).prop_map(|(window, tiles)| Selector {
            feature: crate::Identifier::parse(b"f").unwrap(),
            window,
            offset: Span::from_millis(tiles * TILE).unwrap(),
        })
    }

    fn any_sealed() -> impl Strategy<Value = BTreeSet<i64>> {
        let range = (-40..40i64, 0..30i64);
        proptest::collection::vec(range, 0..4).prop_map(|ranges| {
            let tiles = ranges.into_iter().flat_map(|(from, length)| from..from + length);
            tiles.map(|index| index * TILE).collect()
        })
    }

    fn any_tile_range() -> impl Strategy<Value = (i64, i64)> {
        (-40..40i64, 1..20i64).prop_map(|(from, length)| (from * TILE, (from + length) * TILE))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn windows_agree_with_their_definition(
            selector in any_selector(),
            sealed in any_sealed(),
            at in proptest::option::of(-300..300i64),
            now in -300..300i64,
            is_live in any::<bool>(),
            is_required in any::<bool>(),
            max_lag in proptest::option::of(0..200i64),
            horizon in proptest::option::of(-40..40i64),
            incomplete in proptest::collection::vec(any_tile_range(), 0..3),
        ) {
            let coverage = sealed.iter().map(|tile| (*tile, tile + TILE)).collect();
            let input = EdgeInput {
                at,
                now,
                tile: tile(),
                edge: if is_live { Edge::Live } else { Edge::Closed },
                seal: if is_required { SealMode::Required } else { SealMode::Off },
                coverage: &coverage,
                max_lag: max_lag.map(|millis| Span::from_millis(millis).unwrap()),
                horizon: horizon.map(|tiles| tiles * TILE),
            };
            let window = resolve_window(&input, &selector, &incomplete);
            let restated =
                Restated { input, sealed: &sealed, selector, feature_incomplete: &incomplete };
            let resolved: Vec<i64> = every_tile()
                .filter(|tile| window.bounds.start.is_none_or(|start| start <= *tile))
                .filter(|tile| *tile < window.bounds.end)
                .collect();
            prop_assert_eq!(resolved, restated.tiles());
            prop_assert!(window.bounds.start.is_none_or(|start| start <= window.bounds.end));
            prop_assert_eq!(window.floor, restated.floor());
            prop_assert_eq!(window.complete_to, restated.complete_to());
            prop_assert_eq!(window.incomplete, restated.incomplete());
            prop_assert_eq!(window.expired, restated.expired());
            let lag = window.floor - restated.complete_to();
            prop_assert_eq!(window.stale, max_lag.is_some_and(|allowed| lag > allowed));
        }
    }
}
