//! Seals: which time of a view is complete, since when, and what was withdrawn.
//! It knows nothing of what the time holds.

mod format;

use crate::coverage::Coverage;
use crate::error::TileError;
use crate::limits::SEAL_PIECE_COUNT_MAX;
use crate::time::{Span, floor_to};

/// Every seal that a view had, those withdrawn included.
///
/// Changes are made in the order of their times. The set depends on the time covered alone, not on
/// the pieces in which it was added.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SealSet {
    /// What is sealed now: ascending, without overlap; pieces that touch differ in `made_at`.
    live: Vec<Seal>,
    /// What was withdrawn: ascending by time of withdrawal, time made, and start.
    withdrawn: Vec<WithdrawnSeal>,
}

/// A piece of time that is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seal {
    from: i64,
    to: i64,
    made_at: i64,
}

/// A piece of time whose seal was withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WithdrawnSeal {
    seal: Seal,
    withdrawn_at: i64,
}

/// Checks that a range is not empty and made of whole tiles.
pub fn check_tile_range(from: i64, to: i64, tile: Span) -> Result<(), TileError> {
    let is_bound = |time| floor_to(time, tile.millis()) == time;
    if from < to && is_bound(from) && is_bound(to) {
        Ok(())
    } else {
        Err(TileError::TileRange { from, to, tile })
    }
}

/// Checks that `start` is the start of a tile; gives the tile's end, all in milliseconds.
pub fn check_tile_start(start: i64, tile: Span) -> Result<i64, TileError> {
    let floor = floor_to(start, tile.millis());
    if floor == start {
        Ok(start.saturating_add(tile.millis()))
    } else {
        Err(TileError::TileStart { start, floor, tile })
    }
}

impl SealSet {
    /// Seals `[from, to)` at `made_at`. What is sealed already keeps the time it was made.
    pub fn add(&mut self, from: i64, to: i64, made_at: i64) {
        if to <= from {
            return;
        }
        let touching = self.live.partition_point(|seal| seal.to < from)
            ..self.live.partition_point(|seal| seal.from <= to);
        let mut pieces = Vec::with_capacity(touching.len() + 1);
        let mut open_from = from;
        for seal in &self.live[touching.clone()] {
            push_piece(&mut pieces, Seal { from: open_from, to: seal.from.min(to), made_at });
            push_piece(&mut pieces, *seal);
            open_from = open_from.max(seal.to);
        }
        push_piece(&mut pieces, Seal { from: open_from, to, made_at });
        self.live.splice(touching, pieces);
    }

    /// Withdraws whatever is sealed in `[from, to)`, at `at`.
    pub fn remove(&mut self, from: i64, to: i64, at: i64) {
        if to <= from {
            return;
        }
        let overlapping = self.live.partition_point(|seal| seal.to <= from)
            ..self.live.partition_point(|seal| seal.from < to);
        let removed = self.live[overlapping.clone()].to_vec();
        let mut kept = Vec::with_capacity(2);
        for seal in removed {
            push_piece(&mut kept, Seal { to: from, ..seal });
            push_piece(&mut kept, Seal { from: to, ..seal });
            let (from, to) = (seal.from.max(from), seal.to.min(to));
            self.withdraw(Seal { from, to, ..seal }, at);
        }
        self.live.splice(overlapping, kept);
    }

    /// What is sealed now, ascending: (from, to, made_at). Pieces that touch were made at
    /// different times.
    pub fn list(&self) -> Vec<(i64, i64, i64)> {
        self.live.iter().map(|seal| (seal.from, seal.to, seal.made_at)).collect()
    }

    /// The time that is sealed now.
    pub fn coverage(&self) -> Coverage {
        self.live.iter().map(|seal| (seal.from, seal.to)).collect()
    }

    /// The time whose seal had been made, and not withdrawn, by `time`.
    pub fn known_at(&self, time: i64) -> Coverage {
        let live = self.live.iter().filter(|seal| seal.made_at <= time);
        let since_withdrawn = self
            .withdrawn
            .iter()
            .filter(|piece| piece.seal.made_at <= time && time < piece.withdrawn_at)
            .map(|piece| &piece.seal);
        live.chain(since_withdrawn).map(|seal| (seal.from, seal.to)).collect()
    }

    /// Answers [`SealSet::known_at`] for many times in a row.
    pub fn known_walk(&self) -> KnownWalk {
        KnownWalk::new(self)
    }

    /// How many pieces the history has.
    pub fn piece_count(&self) -> usize {
        self.live.len() + self.withdrawn.len()
    }

    /// Checks that the history is short enough to take another change.
    pub fn check_room(&self) -> Result<(), TileError> {
        let count = self.piece_count() + 1;
        if count <= SEAL_PIECE_COUNT_MAX {
            return Ok(());
        }
        let what = "pieces of seal history in one view";
        Err(TileError::TooMany { what, count, limit: SEAL_PIECE_COUNT_MAX })
    }

    /// Moves a piece to the history, unless it was withdrawn before anyone could know of it.
    fn withdraw(&mut self, seal: Seal, at: i64) {
        if at <= seal.made_at {
            return;
        }
        let mut piece = WithdrawnSeal { seal, withdrawn_at: at };
        let place = self.withdrawn.partition_point(|other| other.order() < piece.order());
        let mut replaced = place..place;
        if let Some(before) = place.checked_sub(1).map(|index| self.withdrawn[index])
            && before.joins(&piece)
        {
            piece.seal.from = before.seal.from;
            replaced.start -= 1;
        }
        if let Some(after) = self.withdrawn.get(place)
            && piece.joins(after)
        {
            piece.seal.to = after.seal.to;
            replaced.end += 1;
        }
        self.withdrawn.splice(replaced, [piece]);
    }
}

impl WithdrawnSeal {
    fn order(&self) -> (i64, i64, i64) {
        (self.withdrawn_at, self.seal.made_at, self.seal.from)
    }

    /// Whether `next` goes on where this piece ends, with the same times.
    fn joins(&self, next: &Self) -> bool {
        self.withdrawn_at == next.withdrawn_at
            && self.seal.made_at == next.seal.made_at
            && self.seal.to == next.seal.from
    }
}

/// Appends a piece, unless it is empty; joins it to the last where it goes on from there.
fn push_piece(pieces: &mut Vec<Seal>, piece: Seal) {
    if piece.to <= piece.from {
        return;
    }
    match pieces.last_mut() {
        Some(last) if last.to == piece.from && last.made_at == piece.made_at => last.to = piece.to,
        _ => pieces.push(piece),
    }
}

/// What was known to be sealed, at one time after another. Times that ascend are the cheapest:
/// each costs only the changes since the one before; a time that lies earlier starts over.
#[derive(Debug, Clone)]
pub struct KnownWalk {
    /// Every change, ascending by time; at one time, withdrawals first.
    changes: Vec<SealChange>,
    /// How many changes the coverage has seen.
    applied: usize,
    coverage: Coverage,
}

#[derive(Debug, Clone, Copy)]
struct SealChange {
    time: i64,
    is_seal: bool,
    from: i64,
    to: i64,
}

impl KnownWalk {
    fn new(set: &SealSet) -> Self {
        let mut changes = Vec::with_capacity(set.live.len() + 2 * set.withdrawn.len());
        for &WithdrawnSeal { seal, withdrawn_at } in &set.withdrawn {
            changes.push(seal.made());
            changes.push(SealChange { time: withdrawn_at, is_seal: false, ..seal.made() });
        }
        changes.extend(set.live.iter().map(Seal::made));
        changes.sort_by_key(|change| (change.time, change.is_seal));
        Self { changes, applied: 0, coverage: Coverage::default() }
    }

    /// The time whose seal had been made, and not withdrawn, by `time`.
    pub fn at(&mut self, time: i64) -> &Coverage {
        let is_past = |index: usize| self.changes[index].time <= time;
        if self.applied.checked_sub(1).is_some_and(|last| !is_past(last)) {
            self.applied = 0;
            self.coverage = Coverage::default();
        }
        for change in &self.changes[self.applied..] {
            if time < change.time {
                break;
            }
            match change.is_seal {
                true => self.coverage.insert(change.from, change.to),
                false => self.coverage.remove(change.from, change.to),
            }
            self.applied += 1;
        }
        &self.coverage
    }
}

impl Seal {
    fn made(&self) -> SealChange {
        SealChange { time: self.made_at, is_seal: true, from: self.from, to: self.to }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn set_of(seals: &[(i64, i64, i64)]) -> SealSet {
        let mut set = SealSet::default();
        seals.iter().for_each(|(from, to, made_at)| set.add(*from, *to, *made_at));
        set
    }

    #[test]
    fn what_is_sealed_twice_keeps_its_first_time() {
        let set = set_of(&[(10, 20, 100), (30, 40, 200), (0, 50, 300)]);
        let expected = [(0, 10, 300), (10, 20, 100), (20, 30, 300), (30, 40, 200), (40, 50, 300)];
        assert_eq!(set.list(), expected);
        assert_eq!(set.coverage().ranges(), [(0, 50)]);
    }

    #[test]
    fn seals_made_at_one_time_merge_where_they_touch() {
        let set = set_of(&[(0, 10, 100), (20, 30, 100), (10, 20, 100), (30, 40, 101)]);
        assert_eq!(set.list(), [(0, 30, 100), (30, 40, 101)]);
    }

    #[test]
    fn a_withdrawn_seal_was_known_until_then() {
        let mut set = set_of(&[(0, 30, 100)]);
        set.remove(10, 20, 200);
        set.add(10, 20, 300);
        assert_eq!(set.list(), [(0, 10, 100), (10, 20, 300), (20, 30, 100)]);
        for (time, expected) in [
            (99, &[][..]),
            (100, &[(0, 30)]),
            (199, &[(0, 30)]),
            (200, &[(0, 10), (20, 30)]),
            (299, &[(0, 10), (20, 30)]),
            (300, &[(0, 30)]),
        ] {
            assert_eq!(set.known_at(time).ranges(), expected, "known at {time}");
        }
    }

    #[test]
    fn a_seal_withdrawn_at_once_was_never_known() {
        let mut set = set_of(&[(0, 30, 100)]);
        set.remove(0, 30, 100);
        assert_eq!(set, SealSet::default());
    }

    #[test]
    fn withdrawn_pieces_merge_whatever_their_order() {
        let mut in_pieces = set_of(&[(0, 40, 100)]);
        for (from, to) in [(20, 30), (0, 10), (10, 20)] {
            in_pieces.remove(from, to, 200);
        }
        let mut at_once = set_of(&[(0, 40, 100)]);
        at_once.remove(0, 30, 200);
        assert_eq!(in_pieces, at_once);
        assert_eq!(at_once.piece_count(), 2);
    }

    #[test]
    fn empty_ranges_change_nothing() {
        let mut set = set_of(&[(0, 10, 100)]);
        let before = set.clone();
        set.add(5, 5, 200);
        set.add(20, 15, 200);
        set.remove(5, 5, 200);
        set.remove(8, 2, 200);
        assert_eq!(set, before);
    }

    #[test]
    fn ranges_are_whole_tiles() {
        let tile = Span::from_millis(10).unwrap();
        assert_eq!(check_tile_range(-20, 30, tile), Ok(()));
        for (from, to) in [(0, 0), (10, 0), (1, 10), (0, 9), (-5, 10)] {
            let error = check_tile_range(from, to, tile).unwrap_err();
            assert_eq!(error, TileError::TileRange { from, to, tile });
        }
    }

    #[test]
    fn a_tile_start_is_a_multiple_of_the_tile() {
        let tile = Span::parse(b"1h").unwrap();
        assert_eq!(check_tile_start(-3_600_000, tile), Ok(0));
        for (start, floor) in [(1, 0), (-1, -3_600_000), (3_600_001, 3_600_000)] {
            let error = check_tile_start(start, tile).unwrap_err();
            assert_eq!(error, TileError::TileStart { start, floor, tile });
            let sentence = error.to_string();
            assert!(sentence.contains("1h") && sentence.contains(&floor.to_string()), "{sentence}");
        }
    }

    #[test]
    fn the_history_ends_at_its_limit() {
        let mut set = SealSet::default();
        for index in (0i64..).take(SEAL_PIECE_COUNT_MAX - 1) {
            set.add(2 * index, 2 * index + 1, 0);
        }
        assert_eq!(set.check_room(), Ok(()));
        set.add(-2, -1, 0);
        let error = set.check_room().unwrap_err();
        assert!(matches!(error, TileError::TooMany { .. }), "{error}");
    }

    /// Each tile's seals as (made, withdrawn), one tile at a time: what a seal set amounts to.
    #[derive(Debug, Default)]
    struct Naive(BTreeMap<i64, Vec<(i64, Option<i64>)>>);

    impl Naive {
        fn add(&mut self, from: i64, to: i64, at: i64) {
            for tile in from..to {
                let lives = self.0.entry(tile).or_default();
                if lives.last().is_none_or(|(_, withdrawn)| withdrawn.is_some()) {
                    lives.push((at, None));
                }
            }
        }

        fn remove(&mut self, from: i64, to: i64, at: i64) {
            for (_, lives) in self.0.range_mut(from..to) {
                if let Some((_, withdrawn @ None)) = lives.last_mut() {
                    *withdrawn = Some(at);
                }
            }
        }

        fn known_at(&self, time: i64) -> Coverage {
            let is_known = |lives: &[(i64, Option<i64>)]| {
                let known = |(made, withdrawn): &(i64, Option<i64>)| {
                    *made <= time && withdrawn.is_none_or(|withdrawn| withdrawn > time)
                };
                lives.iter().any(known)
            };
            let tiles = self.0.iter().filter(|(_, lives)| is_known(lives));
            tiles.map(|(tile, _)| (*tile, tile + 1)).collect()
        }

        fn made_at(&self, tile: i64) -> Option<i64> {
            match self.0.get(&tile)?.last()? {
                (made, None) => Some(*made),
                (_, Some(_)) => None,
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn a_seal_set_agrees_with_tiles_one_by_one(
            steps in proptest::collection::vec(
                (any::<bool>(), -20..20i64, 1..12i64, 0..3i64), 0..20,
            ),
            asked in proptest::collection::vec(-1..40i64, 0..8),
        ) {
            let (mut set, mut naive, mut now) = (SealSet::default(), Naive::default(), 0);
            for (adds, from, length, elapsed) in steps {
                now += elapsed;
                if adds {
                    set.add(from, from + length, now);
                    naive.add(from, from + length, now);
                } else {
                    set.remove(from, from + length, now);
                    naive.remove(from, from + length, now);
                }
            }
            let listed = set.list();
            for tile in -25..40i64 {
                let piece = listed.iter().find(|(from, to, _)| *from <= tile && tile < *to);
                prop_assert_eq!(piece.map(|(_, _, made_at)| *made_at), naive.made_at(tile));
            }
            prop_assert_eq!(set.coverage(), naive.known_at(i64::MAX));
            let mut walk = set.known_walk();
            for time in asked.into_iter().chain(-1..=now) {
                let expected = naive.known_at(time);
                prop_assert_eq!(&set.known_at(time), &expected, "known at {}", time);
                prop_assert_eq!(walk.at(time), &expected, "walked to {}", time);
            }
            let mut bytes = Vec::new();
            set.encode(&mut bytes);
            prop_assert_eq!(SealSet::decode(&bytes), Ok(set));
        }
    }
}
