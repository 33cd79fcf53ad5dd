//! Folding the tiles of a block into one state, a lane at a time: the inner loop of reads.
//! It knows nothing of windows.

use crate::accumulator::Accumulator;
use crate::add_row::{keep_entry, keep_text_entry};
use crate::block::{Block, sign_word, stored_length};
use crate::component::ComponentKind;
use crate::double_double::{DoubleDouble, two_sum};
use crate::extreme::Pick;
use crate::finish::is_absent;
use crate::float_sum::{CARRY_BOUND, FloatSum};
use crate::integer_sum::sum_of_words;
use crate::lane::{CHUNK, Lane, chunks};
use crate::layout::{Layout, Slot};
use crate::merge::{
    add_integer_sum, merge_double_extreme, merge_integer_extreme, merge_moments, merge_text_extreme,
};
use crate::moments::{Moments, Pool};
use crate::number::{count, nearest_double, power_of_two};
use crate::scalar::ColumnType;
use std::borrow::Cow;
use std::ops::Range;

impl Block<'_> {
    /// Merges the tiles at the positions of `range` into a state of `into_layout`, which may be
    /// any projection or extension of the block's layout. Components that the block lacks stay as
    /// they are. Panics where the range leaves the block.
    pub fn fold(&self, into_layout: &Layout, range: Range<usize>, into: &mut Accumulator) {
        assert!(range.end <= self.len(), "the tiles are in the block");
        if range.is_empty() {
            return;
        }
        for (position, slot) in into_layout.in_merge_order() {
            if let Some(source) = self.source_slot(into_layout, position) {
                self.fold_slot(source, range.clone(), slot, into);
            }
        }
    }

    #[inline]
    pub(crate) fn fold_slot(
        &self,
        source: &Slot,
        range: Range<usize>,
        slot: &Slot,
        into: &mut Accumulator,
    ) {
        match source.kind {
            ComponentKind::Rows | ComponentKind::Count => {
                let sum = self.lane(source, 0).sum_unsigned(range);
                let [own] = slot.get_mut(&mut into.words);
                *own = own.saturating_add(sum);
            }
            ComponentKind::SumI64 => {
                add_integer_sum(slot, into, self.integer_sum(source, range));
            }
            ComponentKind::SumF64 => self.fold_float_sum(source, range, slot, into),
            ComponentKind::Moments => self.fold_moments(source, range, slot, into),
            ComponentKind::Min(kind) => {
                self.fold_extreme((source, Pick::Least, kind), range, slot, into);
            }
            ComponentKind::Max(kind) => {
                self.fold_extreme((source, Pick::Greatest, kind), range, slot, into);
            }
            ComponentKind::First(kind) => {
                self.fold_entry((source, Pick::Least, kind), range, slot, into);
            }
            ComponentKind::Last(kind) => {
                self.fold_entry((source, Pick::Greatest, kind), range, slot, into);
            }
            _ => self.fold_sides(source, range, slot, into),
        }
    }

    /// Merges lists or sketches, which were read once when the block was parsed.
    fn fold_sides(&self, source: &Slot, range: Range<usize>, slot: &Slot, into: &mut Accumulator) {
        let rule = slot.rule();
        self.for_each_text(source, range, |bytes| match rule.decode(bytes) {
            Ok(side) => rule.merge(into.side_mut(slot), Cow::Owned(side)),
            Err(error) => unreachable!("sides are checked when a block is parsed: {error}"),
        });
    }

    #[inline]
    fn integer_sum(&self, source: &Slot, range: Range<usize>) -> i128 {
        let low = self.lane(source, 0);
        if self.is_first_lane_alone::<1>(source) {
            return low.sum_signed(range);
        }
        let high = self.lane(source, 1);
        let mut sum = 0_i128;
        for at in range {
            let low = low.word(at);
            let high = high.word(at).wrapping_add(sign_word(low));
            sum = sum.saturating_add(sum_of_words([low, high]));
        }
        sum
    }

    #[inline]
    fn fold_float_sum(
        &self,
        source: &Slot,
        range: Range<usize>,
        slot: &Slot,
        into: &mut Accumulator,
    ) {
        let hi = self.lane(source, 0);
        let is_alone = self.is_first_lane_alone::<2>(source);
        let own = slot.get_mut(&mut into.words);
        let sum = FloatSum::from_words(*own);
        if is_alone && let Some(exact) = hi.exact_sum(range.clone()) {
            *own = sum.add(exact).words();
            return;
        }
        let tails = if is_alone { 0.0 } else { self.tail_sum(source, range.clone()) };
        let parts = sum_of_doubles(&hi, tails, range.clone());
        // Not so where it overflowed on the way, or where there are carries.
        if parts.hi.abs() < CARRY_BOUND {
            *own = sum.merge(FloatSum::from_parts(parts, 0)).words();
            return;
        }
        let [lo, carry] = [1, 2].map(|word| self.lane(source, word));
        *own = range
            .fold(sum, |sum, at| {
                sum.merge(FloatSum::from_words([hi.word(at), lo.word(at), carry.word(at)]))
            })
            .words();
    }

    /// The sum of the low parts of sums, or NaN where there are carries.
    #[inline]
    fn tail_sum(&self, source: &Slot, range: Range<usize>) -> f64 {
        if !self.lane(source, 2).is_zero() {
            return f64::NAN;
        }
        self.lane(source, 1).fold_doubles(range, 0.0, |sum, value| sum + value)
    }

    fn fold_moments(
        &self,
        source: &Slot,
        range: Range<usize>,
        slot: &Slot,
        into: &mut Accumulator,
    ) {
        let counts = self.count_lane(source);
        let lanes = [0, 1, 2, 3, 4].map(|word| self.lane(source, word));
        let mut pool = Pool::EMPTY;
        for chunk in chunks(range) {
            let mut tile_counts = [0; CHUNK];
            counts.decode(chunk.clone(), &mut tile_counts);
            let mut words = [[0; CHUNK]; 5];
            for (lane, words) in lanes.iter().zip(&mut words) {
                lane.decode(chunk.clone(), words);
            }
            for (at, &tile_count) in tile_counts[..chunk.len()].iter().enumerate() {
                let tile = Moments::from_words(words.each_ref().map(|words| words[at]));
                pool.add(tile_count, tile);
            }
        }
        let (count, moments) = pool.merged();
        merge_moments(slot, into, moments, count);
    }

    #[inline]
    fn fold_extreme(
        &self,
        (source, pick, kind): (&Slot, Pick, ColumnType),
        range: Range<usize>,
        slot: &Slot,
        into: &mut Accumulator,
    ) {
        if kind == ColumnType::Str {
            self.for_each_text(source, range, |text| merge_text_extreme(slot, into, pick, text));
            return;
        }
        let lane = self.lane(source, 0);
        // The empty word of integers is also a value: there, the presence decides.
        if kind == ColumnType::F64 && lane.is_empty() {
            return;
        }
        let best = match pick {
            Pick::Least => lane.least(range.clone()),
            Pick::Greatest => lane.greatest(range.clone()),
        };
        if kind == ColumnType::F64 {
            let best = best.map(f64::from_bits).unwrap_or_else(|| {
                let first = f64::from_bits(lane.word(range.start));
                lane.fold_doubles(range, first, |best, value| pick.of_doubles(best, value))
            });
            merge_double_extreme(slot, into, pick, best);
        } else {
            let presence = self.lane(source, 1).sum_unsigned(range.clone());
            let best = best.unwrap_or_else(|| {
                let first = lane.word(range.start).cast_signed();
                let step = |best, word: u64| pick.of_integers(best, word.cast_signed());
                lane.fold_words(range, first, step).cast_unsigned()
            });
            merge_integer_extreme(slot, into, pick, best, u64::from(presence != 0));
        }
    }

    /// Tiles lie apart in time, so that the best entry is that of the outermost tile with one.
    fn fold_entry(
        &self,
        (source, pick, kind): (&Slot, Pick, ColumnType),
        mut range: Range<usize>,
        slot: &Slot,
        into: &mut Accumulator,
    ) {
        let timestamps = self.lane(source, 0);
        let is_present = |&at: &usize| !is_absent(timestamps.word(at));
        let outermost = match pick {
            Pick::Least => range.find(is_present),
            Pick::Greatest => range.rfind(is_present),
        };
        let Some(at) = outermost else {
            return;
        };
        let timestamp = timestamps.word(at).wrapping_add(self.start(at).cast_unsigned());
        match kind {
            ColumnType::I64 | ColumnType::F64 => {
                let entry = [timestamp, self.lane(source, 1).word(at)];
                keep_entry(slot.get_mut(&mut into.words), entry, pick, kind);
            }
            ColumnType::Str => {
                if let Some(text) = self.text(source, at) {
                    keep_text_entry(slot, into, pick, timestamp.cast_signed(), text);
                }
            }
        }
    }

    /// Calls `visit` with each text of the tiles of `range`.
    fn for_each_text(&self, source: &Slot, range: Range<usize>, mut visit: impl FnMut(&[u8])) {
        let (lengths, texts) = self.texts(source);
        let mut from = 0;
        for at in 0..range.end {
            let Some(length) = stored_length(lengths.word(at)) else {
                continue;
            };
            if range.start <= at {
                visit(&texts[from..from + length]);
            }
            from += length;
        }
    }
}

/// The sum of the doubles of a lane and of `tails`. Errors of additions are summed apart
/// (T. Ogita, S. M. Rump, S. Oishi, "Accurate sum and dot product", 2005), which for the at most
/// 65,535 tiles of a block errs by less than 2^-72 of the sum of magnitudes. Not finite, or past
/// [`CARRY_BOUND`], where it may have overflowed on the way.
#[inline]
fn sum_of_doubles(lane: &Lane<'_>, tails: f64, range: Range<usize>) -> DoubleDouble {
    if lane.is_constant() {
        let value = f64::from_bits(lane.word(range.start));
        if value.abs() < PRODUCT_BOUND {
            let times = nearest_double(count(range.len()));
            return DoubleDouble::from_f64(value).times_f64(times).plus_f64(tails);
        }
    }
    let (sum, errors) = lane.fold_doubles(range, (0.0, tails), |(sum, errors), value| {
        let (sum, error) = two_sum(sum, value);
        (sum, errors + error)
    });
    DoubleDouble::new(sum, errors)
}

/// Below this a value can be multiplied by a number of tiles.
const PRODUCT_BOUND: f64 = power_of_two(900);
