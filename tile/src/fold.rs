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
use crate::lane::{CHUNK, Lane, chunks};
use crate::layout::{Layout, Slot};
use crate::merge::{
    add_float_sum, add_integer_sum, merge_double_extreme, merge_integer_extreme, merge_moments,
    merge_text_extreme,
};
use crate::moments::Moments;
use crate::number::{count, nearest_double, power_of_two};
use crate::scalar::ColumnType;
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
    fn fold_slot(&self, source: &Slot, range: Range<usize>, slot: &Slot, into: &mut Accumulator) {
        match source.kind {
            ComponentKind::Rows | ComponentKind::Count => {
                let sum = self.lane(source, 0).sum_unsigned(range);
                let [own] = slot.get_mut(&mut into.words);
                *own = own.saturating_add(sum);
            }
            ComponentKind::SumI64 => {
                add_integer_sum(slot, into, self.integer_sum(source, range));
            }
            ComponentKind::SumF64 => add_float_sum(slot, into, self.float_sum(source, range)),
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
        }
    }

    #[inline]
    fn integer_sum(&self, source: &Slot, range: Range<usize>) -> i128 {
        let (low, high) = (self.lane(source, 0), self.lane(source, 1));
        if high.is_zero() {
            return low.sum_signed(range);
        }
        let mut sum = 0_i128;
        for at in range {
            let low = low.word(at);
            let high = high.word(at).wrapping_add(sign_word(low));
            sum = sum.saturating_add(crate::integer_sum::sum_of_words([low, high]));
        }
        sum
    }

    #[inline]
    fn float_sum(&self, source: &Slot, range: Range<usize>) -> FloatSum {
        let [hi, lo, carry] = [0, 1, 2].map(|word| self.lane(source, word));
        if carry.is_zero()
            && lo.is_zero()
            && let Some(sum) = hi.exact_sum(range.clone())
        {
            return FloatSum::from_parts(DoubleDouble::from_f64(sum), 0);
        }
        let sum = sum_of_doubles(&hi, &lo, range.clone());
        if carry.is_zero() && sum.hi.abs() < CARRY_BOUND {
            return FloatSum::from_parts(sum, 0);
        }
        // Sums that large are rare: they are merged one by one, which cannot overflow.
        range.fold(FloatSum::ZERO, |sum, at| {
            sum.merge(FloatSum::from_words([hi.word(at), lo.word(at), carry.word(at)]))
        })
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
        let mut merged = (Moments::ZERO, 0_u64);
        for chunk in chunks(range) {
            let mut tile_counts = [0; CHUNK];
            counts.decode(chunk.clone(), &mut tile_counts);
            let mut words = [[0; CHUNK]; 5];
            for (lane, words) in lanes.iter().zip(&mut words) {
                lane.decode(chunk.clone(), words);
            }
            for (at, &tile_count) in tile_counts[..chunk.len()].iter().enumerate() {
                let tile = Moments::from_words(words.each_ref().map(|words| words[at]));
                let (moments, total) = merged;
                let moments = moments.merge(total, tile, tile_count);
                merged = (moments, total.saturating_add(tile_count));
            }
        }
        merge_moments(slot, into, merged.0, merged.1);
    }

    #[inline]
    fn fold_extreme(
        &self,
        (source, pick, kind): (&Slot, Pick, ColumnType),
        range: Range<usize>,
        slot: &Slot,
        into: &mut Accumulator,
    ) {
        match kind {
            ColumnType::I64 => {
                let presence = self.lane(source, 1).sum_unsigned(range.clone());
                let key = |word: u64| word.cast_signed();
                let best = best_word(&self.lane(source, 0), range, pick, key);
                merge_integer_extreme(slot, into, pick, best, u64::from(presence != 0));
            }
            ColumnType::F64 => {
                let lane = self.lane(source, 0);
                if !lane.is_empty() {
                    let key = |word: u64| f64::from_bits(word);
                    let best = best_word(&lane, range, pick, key);
                    merge_double_extreme(slot, into, pick, f64::from_bits(best));
                }
            }
            ColumnType::Str => self.for_each_text(source, range, |_, text| {
                merge_text_extreme(slot, into, pick, text);
            }),
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
    fn for_each_text(
        &self,
        source: &Slot,
        range: Range<usize>,
        mut visit: impl FnMut(usize, &[u8]),
    ) {
        let (lengths, texts) = self.texts(source);
        let mut from = 0;
        for at in 0..range.end {
            let Some(length) = stored_length(lengths.word(at)) else {
                continue;
            };
            if range.start <= at {
                visit(at, &texts[from..from + length]);
            }
            from += length;
        }
    }
}

/// The best word of a lane by a key that is not NaN: the empty word where no tile has one.
#[inline]
fn best_word<K: PartialOrd>(
    lane: &Lane<'_>,
    range: Range<usize>,
    pick: Pick,
    key: impl Fn(u64) -> K,
) -> u64 {
    let best = match pick {
        Pick::Least => lane.least(range.clone()),
        Pick::Greatest => lane.greatest(range.clone()),
    };
    if let Some(best) = best {
        return best;
    }
    let mut words = [0; CHUNK];
    let mut best = lane.word(range.start);
    for chunk in chunks(range) {
        let length = chunk.len();
        lane.decode(chunk, &mut words);
        for &word in &words[..length] {
            let is_better = match pick {
                Pick::Least => key(word) < key(best),
                Pick::Greatest => key(best) < key(word),
            };
            best = if is_better { word } else { best };
        }
    }
    best
}

/// The sum of the doubles of two lanes. Errors of additions are summed apart (T. Ogita,
/// S. M. Rump, S. Oishi, "Accurate sum and dot product", 2005), which for the tiles of one block
/// errs by less than 2^-72 of the sum of magnitudes. Not finite where it overflowed on the way.
#[inline]
fn sum_of_doubles(hi: &Lane<'_>, lo: &Lane<'_>, range: Range<usize>) -> DoubleDouble {
    let tails = if lo.is_zero() { 0.0 } else { plain_sum(lo, range.clone()) };
    if hi.is_constant() {
        let value = f64::from_bits(hi.word(range.start));
        if value.abs() < PRODUCT_BOUND {
            let product =
                DoubleDouble::from_f64(value).times_f64(nearest_double(count(range.len())));
            return product.plus_f64(tails);
        }
    }
    let mut words = [0; CHUNK];
    let (mut sum, mut errors) = (0.0, tails);
    for chunk in chunks(range) {
        let length = chunk.len();
        hi.decode(chunk, &mut words);
        for &word in &words[..length] {
            let (next, error) = two_sum(sum, f64::from_bits(word));
            sum = next;
            errors += error;
        }
    }
    DoubleDouble::new(sum, errors)
}

/// The sum of the doubles of a lane, rounded at each step.
fn plain_sum(lane: &Lane<'_>, range: Range<usize>) -> f64 {
    let mut words = [0; CHUNK];
    let mut sum = 0.0;
    for chunk in chunks(range) {
        let length = chunk.len();
        lane.decode(chunk, &mut words);
        sum += words[..length].iter().map(|&word| f64::from_bits(word)).sum::<f64>();
    }
    sum
}

/// Below this a value can be multiplied by a number of tiles.
const PRODUCT_BOUND: f64 = power_of_two(900);
