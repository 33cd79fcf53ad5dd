//! Sweeping a block once for many windows: each lane is resolved once, and the parts of it that
//! belong to different windows are summed from one pass. It knows nothing of time.

use crate::accumulator::Accumulator;
use crate::block::Block;
use crate::component::ComponentKind;
use crate::float_sum::FloatSum;
use crate::lane::Lane;
use crate::layout::{Layout, Slot};
use crate::number::{count, index};
use std::ops::Range;

/// Neighbouring tiles of a block that go into one of several states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The positions of the tiles; there may be none.
    pub tiles: Range<usize>,
    /// The position of the state that they are merged into.
    pub state: usize,
    /// Whether, in [`Sweep::chain`], the state goes on from the one before it.
    pub continues: bool,
}

/// What the states of a sweep hold before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    /// What they are given with.
    Kept,
    /// Nothing, or what the state before holds in the end.
    Anew,
}

/// Memory for sweeps, to be kept from one to the next.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// For each tile of a pass, the sum of the deltas before it; then the sum of all.
    sums: [u64; SPREAD_MAX + 1],
}

impl Default for Sweep {
    fn default() -> Self {
        Self { sums: [0; SPREAD_MAX + 1] }
    }
}

impl Sweep {
    /// Merges the tiles of each piece into its state, one of `layout`, which may be any projection
    /// or extension of the block's. Panics where a piece leaves the block.
    pub fn merge(
        &mut self,
        block: &Block<'_>,
        layout: &Layout,
        pieces: &[Piece],
        states: &mut [Accumulator],
    ) {
        if layout.is_chainable() {
            return self.fold(block, layout, Begin::Kept, pieces, states);
        }
        // Moments need the count of all that their state holds so far.
        for piece in pieces {
            block.fold(layout, piece.tiles.clone(), &mut states[piece.state]);
        }
    }

    /// As [`Sweep::merge`] for states that hold nothing yet, whatever they are given with; those of
    /// pieces that continue begin with what the state before them holds in the end. Pieces come in
    /// the order of their states, and those that continue each other share no tile. Panics
    /// where the layout is not [`Layout::is_chainable`].
    pub fn chain(
        &mut self,
        block: &Block<'_>,
        layout: &Layout,
        pieces: &[Piece],
        states: &mut [Accumulator],
    ) {
        assert!(layout.is_chainable(), "each component stands alone");
        self.fold(block, layout, Begin::Anew, pieces, states);
    }

    fn fold(
        &mut self,
        block: &Block<'_>,
        layout: &Layout,
        begin: Begin,
        pieces: &[Piece],
        states: &mut [Accumulator],
    ) {
        let spread = spread(block, pieces);
        for (position, slot) in layout.in_merge_order() {
            let source = block.source_slot(layout, position);
            let is_done = match source {
                Some(source) => {
                    let lanes = Lanes { block, source, slot, spread: spread.clone() };
                    self.sum(&lanes, begin, pieces, states)
                }
                None => false,
            };
            if is_done {
                continue;
            }
            for piece in pieces {
                if begin == Begin::Anew {
                    begin_slot(layout, slot, piece, states);
                }
                if let Some(source) = source.filter(|_| !piece.tiles.is_empty()) {
                    block.fold_slot(source, piece.tiles.clone(), slot, &mut states[piece.state]);
                }
            }
        }
    }

    /// Sums a component over all pieces, if it is one whose sums come from narrow deltas.
    #[inline]
    fn sum(
        &mut self,
        lanes: &Lanes<'_>,
        begin: Begin,
        pieces: &[Piece],
        states: &mut [Accumulator],
    ) -> bool {
        match lanes.source.kind {
            ComponentKind::Rows | ComponentKind::Count => {
                self.sum_counts(lanes, begin, pieces, states)
            }
            ComponentKind::SumF64 => self.sum_doubles(lanes, begin, pieces, states),
            _ => false,
        }
    }

    fn sum_counts(
        &mut self,
        lanes: &Lanes<'_>,
        begin: Begin,
        pieces: &[Piece],
        states: &mut [Accumulator],
    ) -> bool {
        let lane = lanes.block.lane(lanes.source, 0);
        let Some(base) = lane.narrow_base().and_then(|base| u64::try_from(base).ok()) else {
            return false;
        };
        if !self.sum_up(&lane, &lanes.spread) {
            return false;
        }
        let mut total: u64 = 0;
        for piece in pieces {
            let bases = base.saturating_mul(count(piece.tiles.len()));
            let sum = bases.saturating_add(self.deltas_of(piece, &lanes.spread));
            let [own] = lanes.slot.get_mut(&mut states[piece.state].words);
            let before = match begin {
                Begin::Kept => *own,
                Begin::Anew if piece.continues => total,
                Begin::Anew => 0,
            };
            total = before.saturating_add(sum);
            *own = total;
        }
        true
    }

    /// Sums doubles that are integers over a power of two and whose sums are exact.
    fn sum_doubles(
        &mut self,
        lanes: &Lanes<'_>,
        begin: Begin,
        pieces: &[Piece],
        states: &mut [Accumulator],
    ) -> bool {
        let lane = lanes.block.lane(lanes.source, 0);
        let Some(base) = lane.exact_base() else { return false };
        let is_alone = lanes.block.is_first_lane_alone::<2>(lanes.source);
        if BASE_MAX < base.unsigned_abs() || !is_alone || !self.sum_up(&lane, &lanes.spread) {
            return false;
        }
        let mut total: i64 = 0;
        for piece in pieces {
            let bases = base * count(piece.tiles.len()).cast_signed();
            let sum = bases + self.deltas_of(piece, &lanes.spread).cast_signed();
            let own = lanes.slot.get_mut(&mut states[piece.state].words);
            let value = match begin {
                Begin::Kept => FloatSum::from_words(*own).add(lane.exact_value(sum)),
                Begin::Anew => {
                    total = if piece.continues { total + sum } else { sum };
                    FloatSum { hi: lane.exact_value(total), lo: 0.0, carry: 0 }
                }
            };
            *own = value.words();
        }
        true
    }

    /// Fills the running sums of the deltas of `spread`; false where they are too many.
    #[inline]
    fn sum_up(&mut self, lane: &Lane<'_>, spread: &Range<usize>) -> bool {
        if spread.is_empty() {
            return true;
        }
        let Some(sums) = self.sums.get_mut(1..=spread.len()) else { return false };
        lane.running_sums(spread.clone(), sums);
        true
    }

    /// The sum of a piece's deltas. There is no branch to mispredict: how many tiles a window
    /// meets differs from entity to entity.
    #[inline]
    fn deltas_of(&self, piece: &Piece, spread: &Range<usize>) -> u64 {
        let at = |position: usize| self.sums[position.saturating_sub(spread.start).min(SPREAD_MAX)];
        at(piece.tiles.end).wrapping_sub(at(piece.tiles.start))
    }
}

/// A component of a block, and where it goes.
struct Lanes<'a> {
    block: &'a Block<'a>,
    source: &'a Slot,
    slot: &'a Slot,
    /// The tiles from the first to the last of all pieces.
    spread: Range<usize>,
}

/// The tiles from the first to the last of all pieces.
fn spread(block: &Block<'_>, pieces: &[Piece]) -> Range<usize> {
    let (mut start, mut end) = (usize::MAX, 0);
    for Piece { tiles, .. } in pieces {
        assert!(tiles.end <= block.len(), "the tiles are in the block");
        if !tiles.is_empty() {
            (start, end) = (start.min(tiles.start), end.max(tiles.end));
        }
    }
    start.min(end)..end
}

/// Gives a state the words of a component that it begins with.
#[inline]
fn begin_slot(layout: &Layout, slot: &Slot, piece: &Piece, states: &mut [Accumulator]) {
    let first = index(slot.word);
    let words = first..first + slot.word_count();
    let (before, own) = states.split_at_mut(piece.state);
    let own = &mut own[0].words[words.clone()];
    match before.last().filter(|_| piece.continues) {
        Some(before) => own.copy_from_slice(&before.words[words]),
        None => own.copy_from_slice(&layout.identity()[words]),
    }
}

/// Tiles of one pass of running sums. Beyond, what is skipped costs more than branches do.
const SPREAD_MAX: usize = 64;

/// The greatest magnitude of a base of exact sums: with 64 tiles and deltas of 4 bytes they stay
/// below 2^53.
const BASE_MAX: u64 = 1 << 46;
