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
        for word in [FORMAT_VERSION, stored_count(live), stored_count(withdrawn), 0] {
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
            return Err(corrupt(offset, "a piece apart from the last [SEALS-5]", found));
        }
        self.live.push(seal);
        Ok(())
    }

    fn decode_withdrawn(&mut self, bytes: &[u8], offset: usize) -> Result<(), TileError> {
        let seal = decode_seal(bytes, offset)?;
        let piece = WithdrawnSeal { seal, withdrawn_at: time_at(bytes, offset + LIVE_BYTES) };
        if piece.withdrawn_at <= seal.made_at {
            let found = format!("{}, made at {}", piece.withdrawn_at, seal.made_at);
            return Err(corrupt(offset, "a withdrawal after the seal [SEALS-6]", found));
        }
        let follows = self
            .withdrawn
            .last()
            .is_none_or(|last| last.order() <= piece.order() && !last.joins(&piece));
        if !follows {
            let found = format!("one from {}", seal.from);
            return Err(corrupt(offset, "a piece in order, not joined to the last [SEALS-6]", found));
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
        return Err(corrupt(0, "format version 1 [SEALS-2]", word_at(bytes, 0).to_string()));
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
        return Err(corrupt(0, &format!("{expected} bytes in all [SEALS-3]"), found));
    }
    Ok((live_count, withdrawn_count))
}

fn decode_count(bytes: &[u8], offset: usize) -> Result<usize, TileError> {
    let word = word_at(bytes, offset);
    usize::try_from(word).ok().filter(|count| *count <= SEAL_PIECE_COUNT_STORED_MAX).ok_or_else(
        || {
            let expected = format!("at most {SEAL_PIECE_COUNT_STORED_MAX} pieces [SEALS-3]");
            corrupt(offset, &expected, word.to_string())
        },
    )
}

fn decode_seal(bytes: &[u8], offset: usize) -> Result<Seal, TileError> {
    let [from, to, made_at] = [0, 8, 16].map(|field| time_at(bytes, offset + field));
    if from < to {
        return Ok(Seal { from, to, made_at });
    }
    Err(corrupt(offset, "a piece with from < to [SEALS-5]", format!("{from} to {to}")))
}

fn stored_count(count: usize) -> u32 {
    assert!(count <= SEAL_PIECE_COUNT_STORED_MAX, "the history of seals stays in its limit");
    let Ok(count) = u32::try_from(count) else { unreachable!("the limit fits 32 bits") };
    count
}

fn put_times(out: &mut Vec<u8>, times: &[i64]) {
    times.iter().for_each(|time| out.extend_from_slice(&time.to_le_bytes()));
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
    TileError::Corrupt { what: "seal set", offset, expected: expected.to_owned(), found }
}
