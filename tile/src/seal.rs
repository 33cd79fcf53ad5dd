//! Seals: which time of a view is complete, since when, and what was withdrawn, with their stored
//! form (docs/format/seals.md). It knows nothing of what the time holds, nor of where the bytes
//! are kept.

use crate::coverage::Coverage;
use crate::error::TileError;
use crate::limits::{SEAL_PIECE_COUNT_MAX, SEAL_PIECE_COUNT_STORED_MAX};
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
            push_piece(
                &mut pieces,
                Seal {
                    from: open_from,
                    to: seal.from.min(to),
                    made_at,
                },
            );
            push_piece(&mut pieces, *seal);
            open_from = open_from.max(seal.to);
        }
        push_piece(
            &mut pieces,
            Seal {
                from: open_from,
                to,
                made_at,
            },
        );
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
        self.live
            .iter()
            .map(|seal| (seal.from, seal.to, seal.made_at))
            .collect()
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
        live.chain(since_withdrawn)
            .map(|seal| (seal.from, seal.to))
            .collect()
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
        Err(TileError::TooMany {
            what,
            count,
            limit: SEAL_PIECE_COUNT_MAX,
        })
    }

    /// Moves a piece to the history, unless it was withdrawn before anyone could know of it.
    fn withdraw(&mut self, seal: Seal, at: i64) {
        if at <= seal.made_at {
            return;
        }
        let mut piece = WithdrawnSeal {
            seal,
            withdrawn_at: at,
        };
        let place = self
            .withdrawn
            .partition_point(|other| other.order() < piece.order());
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
            changes.push(SealChange {
                time: withdrawn_at,
                is_seal: false,
                ..seal.made()
            });
        }
        changes.extend(set.live.iter().map(Seal::made));
        changes.sort_by_key(|change| (change.time, change.is_seal));
        Self {
            changes,
            applied: 0,
            coverage: Coverage::default(),
        }
    }

    /// The time whose seal had been made, and not withdrawn, by `time`.
    pub fn at(&mut self, time: i64) -> &Coverage {
        let is_past = |index: usize| self.changes[index].time <= time;
        if self
            .applied
            .checked_sub(1)
            .is_some_and(|last| !is_past(last))
        {
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
        SealChange {
            time: self.made_at,
            is_seal: true,
            from: self.from,
            to: self.to,
        }
    }
}

/// The format's version [SEALS-2].
const FORMAT_VERSION: u32 = 1;
/// Bytes before the first piece [SEALS-1].
const HEADER_BYTES: usize = 16;
/// Bytes of a live piece [SEALS-5].
const LIVE_BYTES: usize = 24;
/// Bytes of a withdrawn piece [SEALS-6].
const WITHDRAWN_BYTES: usize = 32;

impl SealSet {
    /// Appends the stored form (docs/format/seals.md). Equal sets have equal bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (live, withdrawn) = (self.live.len(), self.withdrawn.len());
        out.reserve(HEADER_BYTES + live * LIVE_BYTES + withdrawn * WITHDRAWN_BYTES);
        for word in [
            FORMAT_VERSION,
            stored_count(live),
            stored_count(withdrawn),
            0,
        ] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        for seal in &self.live {
            put_times(out, &[seal.from, seal.to, seal.made_at]);
        }
        for WithdrawnSeal { seal, withdrawn_at } in &self.withdrawn {
            put_times(out, &[seal.from, seal.to, seal.made_at, *withdrawn_at]);
        }
    }

    /// Reads the stored form back. Every rule of the format is checked; an error names the byte.
    pub fn decode(bytes: &[u8]) -> Result<Self, TileError> {
        let (live_count, withdrawn_count) = decode_header(bytes)?;
        let live_end = HEADER_BYTES + live_count * LIVE_BYTES;
        let mut set = Self::default();
        for offset in (HEADER_BYTES..live_end).step_by(LIVE_BYTES) {
            set.decode_live(bytes, offset)?;
        }
        for index in 0..withdrawn_count {
            set.decode_withdrawn(bytes, live_end + index * WITHDRAWN_BYTES)?;
        }
        Ok(set)
    }

    fn decode_live(&mut self, bytes: &[u8], offset: usize) -> Result<(), TileError> {
        let seal = decode_seal(bytes, offset)?;
        let follows = self.live.last().is_none_or(|last| {
            last.to < seal.from || (last.to == seal.from && last.made_at != seal.made_at)
        });
        if !follows {
            let found = format!("one from {}", seal.from);
            return Err(corrupt(
                offset,
                "a piece apart from the last [SEALS-5]",
                found,
            ));
        }
        self.live.push(seal);
        Ok(())
    }

    fn decode_withdrawn(&mut self, bytes: &[u8], offset: usize) -> Result<(), TileError> {
        let seal = decode_seal(bytes, offset)?;
        let piece = WithdrawnSeal {
            seal,
            withdrawn_at: time_at(bytes, offset + LIVE_BYTES),
        };
        if piece.withdrawn_at <= seal.made_at {
            let found = format!("{}, made at {}", piece.withdrawn_at, seal.made_at);
            return Err(corrupt(
                offset,
                "a withdrawal after the seal [SEALS-6]",
                found,
            ));
        }
        let follows = self
            .withdrawn
            .last()
            .is_none_or(|last| last.order() <= piece.order() && !last.joins(&piece));
        if !follows {
            let found = format!("one from {}", seal.from);
            return Err(corrupt(
                offset,
                "a piece in order, not joined to the last [SEALS-6]",
                found,
            ));
        }
        self.withdrawn.push(piece);
        Ok(())
    }
}

/// The counts of live and withdrawn pieces, once the header and the length are right.
fn decode_header(bytes: &[u8]) -> Result<(usize, usize), TileError> {
    if bytes.len() < HEADER_BYTES {
        let found = format!("{} bytes", bytes.len());
        return Err(corrupt(0, "a header of 16 bytes [SEALS-1]", found));
    }
    if word_at(bytes, 0) != FORMAT_VERSION {
        return Err(corrupt(
            0,
            "format version 1 [SEALS-2]",
            word_at(bytes, 0).to_string(),
        ));
    }
    if word_at(bytes, 12) != 0 {
        let found = word_at(bytes, 12).to_string();
        return Err(corrupt(12, "zero in the reserved word [SEALS-4]", found));
    }
    let live_count = decode_count(bytes, 4)?;
    let withdrawn_count = decode_count(bytes, 8)?;
    let expected = HEADER_BYTES + live_count * LIVE_BYTES + withdrawn_count * WITHDRAWN_BYTES;
    if bytes.len() != expected {
        let found = format!("{} bytes", bytes.len());
        return Err(corrupt(
            0,
            &format!("{expected} bytes in all [SEALS-3]"),
            found,
        ));
    }
    Ok((live_count, withdrawn_count))
}

fn decode_count(bytes: &[u8], offset: usize) -> Result<usize, TileError> {
    let word = word_at(bytes, offset);
    usize::try_from(word)
        .ok()
        .filter(|count| *count <= SEAL_PIECE_COUNT_STORED_MAX)
        .ok_or_else(|| {
            let expected = format!("at most {SEAL_PIECE_COUNT_STORED_MAX} pieces [SEALS-3]");
            corrupt(offset, &expected, word.to_string())
        })
}

fn decode_seal(bytes: &[u8], offset: usize) -> Result<Seal, TileError> {
    let [from, to, made_at] = [0, 8, 16].map(|field| time_at(bytes, offset + field));
    if from < to {
        return Ok(Seal { from, to, made_at });
    }
    Err(corrupt(
        offset,
        "a piece with from < to [SEALS-5]",
        format!("{from} to {to}"),
    ))
}

fn stored_count(count: usize) -> u32 {
    assert!(
        count <= SEAL_PIECE_COUNT_STORED_MAX,
        "the history of seals stays in its limit"
    );
    let Ok(count) = u32::try_from(count) else {
        unreachable!("the limit fits 32 bits")
    };
    count
}

fn put_times(out: &mut Vec<u8>, times: &[i64]) {
    times
        .iter()
        .for_each(|time| out.extend_from_slice(&time.to_le_bytes()));
}

/// The word at `offset`, which the caller knows to be there.
fn word_at(bytes: &[u8], offset: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(word)
}

/// The time at `offset`, which the caller knows to be there.
fn time_at(bytes: &[u8], offset: usize) -> i64 {
    let mut time = [0; 8];
    time.copy_from_slice(&bytes[offset..offset + 8]);
    i64::from_le_bytes(time)
}

fn corrupt(offset: usize, expected: &str, found: String) -> TileError {
    TileError::Corrupt {
        what: "seal set",
        offset,
        expected: expected.to_owned(),
        found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn set_of(seals: &[(i64, i64, i64)]) -> SealSet {
        let mut set = SealSet::default();
        seals
            .iter()
            .for_each(|(from, to, made_at)| set.add(*from, *to, *made_at));
        set
    }

    #[test]
    fn what_is_sealed_twice_keeps_its_first_time() {
        let set = set_of(&[(10, 20, 100), (30, 40, 200), (0, 50, 300)]);
        let expected = [
            (0, 10, 300),
            (10, 20, 100),
            (20, 30, 300),
            (30, 40, 200),
            (40, 50, 300),
        ];
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

    /// The worked example of docs/format/seals.md.
    fn example() -> (SealSet, Vec<u8>) {
        let mut set = set_of(&[(0, 3_600_000, 7_200_000)]);
        set.remove(1_800_000, 3_600_000, 7_200_001);
        let words = [[1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]];
        let times: [[u8; 8]; 7] = [
            [0, 0, 0, 0, 0, 0, 0, 0],
            [0x40, 0x77, 0x1B, 0, 0, 0, 0, 0],
            [0x00, 0xDD, 0x6D, 0, 0, 0, 0, 0],
            [0x40, 0x77, 0x1B, 0, 0, 0, 0, 0],
            [0x80, 0xEE, 0x36, 0, 0, 0, 0, 0],
            [0x00, 0xDD, 0x6D, 0, 0, 0, 0, 0],
            [0x01, 0xDD, 0x6D, 0, 0, 0, 0, 0],
        ];
        (set, [words.concat(), times.concat()].concat())
    }

    fn encoded(set: &SealSet) -> Vec<u8> {
        let mut bytes = Vec::new();
        set.encode(&mut bytes);
        bytes
    }

    #[test]
    fn the_worked_example_reads_and_writes_as_documented() {
        let (set, bytes) = example();
        assert_eq!(encoded(&set), bytes);
        assert_eq!(SealSet::decode(&bytes), Ok(set));
    }

    #[test]
    fn a_changed_byte_is_an_error_or_another_sound_set() {
        let (set, bytes) = example();
        for offset in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[offset] ^= 1 << bit;
                match SealSet::decode(&flipped) {
                    Ok(other) => assert!(other != set && encoded(&other) == flipped),
                    Err(error) => assert!(matches!(error, TileError::Corrupt { .. }), "{error}"),
                }
            }
        }
    }

    #[test]
    fn every_rule_of_the_format_is_checked() {
        let (_, bytes) = example();
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut changed = bytes.clone();
            change(&mut changed);
            SealSet::decode(&changed).unwrap_err().to_string()
        };
        let swapped: &dyn Fn(&mut Vec<u8>) = &|bytes| bytes[24..32].copy_from_slice(&[0; 8]);
        let same_time: &dyn Fn(&mut Vec<u8>) = &|bytes| bytes[64] = 0;
        for (rule, change) in [
            (
                "[SEALS-1]",
                &(|bytes: &mut Vec<u8>| bytes.truncate(15)) as &dyn Fn(&mut Vec<u8>),
            ),
            ("[SEALS-2]", &|bytes| bytes[0] = 2),
            ("[SEALS-3]", &|bytes| bytes[4] = 2),
            ("[SEALS-3]", &|bytes| bytes[7] = 0xFF),
            ("[SEALS-3]", &|bytes| bytes.push(0)),
            ("[SEALS-4]", &|bytes| bytes[12] = 1),
            ("[SEALS-5]", swapped),
            ("[SEALS-6]", same_time),
        ] {
            let error = refused(change);
            assert!(error.contains(rule), "{error} cites {rule}");
        }
    }

    #[test]
    fn pieces_are_stored_in_order_and_joined() {
        for (first, second) in [((0, 20), (10, 30)), ((0, 10), (10, 20)), ((10, 20), (0, 5))] {
            let piece = |(from, to)| Seal {
                from,
                to,
                made_at: 7,
            };
            let live = SealSet {
                live: vec![piece(first), piece(second)],
                withdrawn: Vec::new(),
            };
            let error = SealSet::decode(&encoded(&live)).unwrap_err().to_string();
            assert!(error.contains("[SEALS-5]"), "{error}");
        }
        for (first, second) in [((0, 10), (10, 20)), ((10, 20), (0, 5))] {
            let piece = |(from, to)| WithdrawnSeal {
                seal: Seal {
                    from,
                    to,
                    made_at: 7,
                },
                withdrawn_at: 9,
            };
            let withdrawn = vec![piece(first), piece(second)];
            let error = SealSet::decode(&encoded(&SealSet {
                live: Vec::new(),
                withdrawn,
            }));
            assert!(
                error.unwrap_err().to_string().contains("[SEALS-6]"),
                "{first:?} {second:?}"
            );
        }
    }

    /// Each tile's seals as (made, withdrawn), one tile at a time: what a seal set amounts to.
    #[derive(Debug, Default)]
    struct Naive(BTreeMap<i64, Vec<(i64, Option<i64>)>>);

    impl Naive {
        fn add(&mut self, from: i64, to: i64, at: i64) {
            for tile in from..to {
                let lives = self.0.entry(tile).or_default();
                if lives
                    .last()
                    .is_none_or(|(_, withdrawn)| withdrawn.is_some())
                {
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
            prop_assert_eq!(SealSet::decode(&encoded(&set)), Ok(set));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(0..4u8, 0..120)) {
            if let Ok(set) = SealSet::decode(&bytes) {
                prop_assert_eq!(encoded(&set), bytes);
            }
        }
    }
}
