//! Quantiles: a KLL sketch (Z. Karnin, K. Lang, E. Liberty, "Optimal quantile approximation in
//! streams", 2016) of the numbers of a column, with the capacities of Apache DataSketches.
//!
//! The coins that the algorithm asks for are drawn from the numbers that each coin is about, so
//! that the same history always gives the same sketch. It knows nothing of tiles.

use super::item::{INTEGERS, Item, Number, decode_words, encode_words};
use super::reader::Reader;
use crate::error::TileError;
use crate::limits::SKETCH_ROWS_MAX;
use crate::number::count;
use crate::scalar::ColumnType;

/// The numbers of a column: all of them while there are at most k, then a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quantiles {
    /// How many numbers went in.
    rows: u64,
    least: Number,
    greatest: Number,
    /// Each level in ascending order; an item of level h stands for 2^h numbers.
    levels: Vec<Vec<Number>>,
}

impl Quantiles {
    /// The sketch of no numbers, to which this one is about to be added.
    pub(crate) fn before(number: Number) -> Self {
        Self { rows: 0, least: number, greatest: number, levels: vec![Vec::new()] }
    }

    /// A sketch of levels in ascending order, the numbers between `least` and `greatest`. None
    /// where there are no numbers, too many, or some out of order or beyond the ends.
    pub(crate) fn from_levels(
        k: u16,
        (least, greatest): (Number, Number),
        levels: Vec<Vec<Number>>,
    ) -> Option<Self> {
        let mut sketch = Self { rows: 0, least, greatest, levels };
        let weight = sketch.weight();
        sketch.rows =
            u64::try_from(weight).ok().filter(|rows| (1..=SKETCH_ROWS_MAX).contains(rows))?;
        let is_ordered = |level: &Vec<Number>| {
            level.is_sorted()
                && level.first().is_none_or(|first| least <= *first)
                && level.last().is_none_or(|last| *last <= greatest)
        };
        if !sketch.levels.iter().all(is_ordered) {
            return None;
        }
        sketch.compress(k);
        Some(sketch)
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    pub(crate) fn ends(&self) -> (Number, Number) {
        (self.least, self.greatest)
    }

    pub(crate) fn levels(&self) -> &[Vec<Number>] {
        &self.levels
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let items: usize = self.levels.iter().map(Vec::capacity).sum();
        items * size_of::<Number>() + self.levels.capacity() * size_of::<Vec<Number>>()
    }

    pub(crate) fn add(&mut self, k: u16, number: Number) {
        if SKETCH_ROWS_MAX <= self.rows {
            return;
        }
        self.rows += 1;
        self.least = self.least.min(number);
        self.greatest = self.greatest.max(number);
        let at = self.levels[0].partition_point(|kept| *kept <= number);
        self.levels[0].insert(at, number);
        self.compress(k);
    }

    /// Takes in another sketch of the same k, unless both together are of more than
    /// [`SKETCH_ROWS_MAX`] numbers.
    pub(crate) fn merge(&mut self, k: u16, other: &Self) {
        let rows = self.rows.saturating_add(other.rows);
        if SKETCH_ROWS_MAX < rows {
            return;
        }
        self.rows = rows;
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
        if self.levels.len() < other.levels.len() {
            self.levels.resize_with(other.levels.len(), Vec::new);
        }
        for (own, other) in self.levels.iter_mut().zip(&other.levels) {
            insert_sorted(own, other);
        }
        self.compress(k);
    }

    /// The number of this rank, counted from 1: the exact one while nothing was dropped.
    pub(crate) fn at_rank(&self, rank: u64) -> Number {
        if rank <= 1 {
            return self.least;
        }
        if self.rows <= rank {
            return self.greatest;
        }
        let weights = self.levels.iter().zip(0..).flat_map(|(level, height)| {
            level.iter().map(move |number| (*number, weight_of(height)))
        });
        let mut weights: Vec<(Number, u128)> = weights.collect();
        weights.sort_unstable();
        let mut before = 0;
        for (number, weight) in weights {
            before += weight;
            if u128::from(rank) <= before {
                return number;
            }
        }
        self.greatest
    }

    /// [STATE-14]
    pub(crate) fn encode(&self, kind: ColumnType, out: &mut Vec<u8>) {
        let Ok(level_count) = u8::try_from(self.levels.len()) else {
            unreachable!("2^60 numbers make fewer than 80 levels");
        };
        out.push(level_count);
        let lengths: Vec<u64> = self.levels.iter().map(|level| count(level.len())).collect();
        encode_words(INTEGERS, &lengths, out);
        let ends = [self.least, self.greatest];
        let ends = if self.levels.len() == 1 { &ends[..0] } else { &ends[..] };
        Number::encode_all(ends.iter().chain(self.levels.iter().flatten()), kind, out);
    }

    pub(crate) fn decode(
        k: u16,
        kind: ColumnType,
        reader: &mut Reader<'_>,
    ) -> Result<Self, TileError> {
        let level_count = usize::from(reader.u8()?);
        if !(1..=LEVEL_COUNT_MAX).contains(&level_count) {
            return Err(reader.wrong("1 to 61 levels", level_count));
        }
        let lengths = decode_words(INTEGERS, level_count, reader)?;
        let item_count = lengths.iter().fold(0, |sum: u64, &length| sum.saturating_add(length));
        let capacity = capacity(k, level_count);
        let item_count = usize::try_from(item_count).unwrap_or(usize::MAX);
        if capacity < item_count {
            return Err(reader.wrong(&format!("at most {capacity} numbers"), item_count));
        }
        let end_count = if level_count == 1 { 0 } else { 2 };
        let mut numbers = Number::decode_all(kind, end_count + item_count, reader)?.into_iter();
        let ends: Vec<Number> = numbers.by_ref().take(end_count).collect();
        let levels: Vec<Vec<Number>> = lengths
            .iter()
            .map(|&length| numbers.by_ref().take(usize::try_from(length).unwrap_or(0)).collect())
            .collect();
        let ends = match (ends.as_slice(), levels[0].first(), levels[0].last()) {
            (&[least, greatest], _, _) => Some((least, greatest)),
            (_, Some(&least), Some(&greatest)) => Some((least, greatest)),
            _ => None,
        };
        ends.and_then(|ends| Self::from_levels(k, ends, levels)).ok_or_else(|| {
            reader.wrong("levels of a KLL sketch, each in ascending order", level_count)
        })
    }

    fn weight(&self) -> u128 {
        let level = |(level, height): (&Vec<Number>, u32)| {
            u128::from(count(level.len())).saturating_mul(weight_of(height))
        };
        self.levels.iter().zip(0..).map(level).fold(0, u128::saturating_add)
    }

    /// Halves levels until the sketch is as small as its levels allow.
    fn compress(&mut self, k: u16) {
        loop {
            let level_count = self.levels.len();
            let retained: usize = self.levels.iter().map(Vec::len).sum();
            if retained <= capacity(k, level_count) {
                return;
            }
            let is_full = |&at: &usize| level_capacity(k, level_count, at) <= self.levels[at].len();
            let Some(at) = (0..level_count).find(is_full) else {
                unreachable!("more numbers than all levels hold fill one of them");
            };
            self.halve(at);
        }
    }

    /// Moves every other number of a level, where they are even in number all but the least one,
    /// to the level above, where each stands for two.
    fn halve(&mut self, at: usize) {
        if at + 1 == self.levels.len() {
            self.levels.push(Vec::new());
        }
        let level = std::mem::take(&mut self.levels[at]);
        let (kept, halved) = level.split_at(level.len() % 2);
        let coin = usize::from(toss(self.rows, halved));
        let promoted: Vec<Number> = halved.iter().skip(coin).step_by(2).copied().collect();
        insert_sorted(&mut self.levels[at + 1], &promoted);
        self.levels[at] = kept.to_vec();
    }
}

/// A fair coin drawn from what it decides about: the numbers, and how many there are in all. The
/// mixing is that of SplitMix64 (G. Steele, D. Lea, C. Flood, 2014).
fn toss(rows: u64, numbers: &[Number]) -> bool {
    let mix = |state: u64| {
        let state = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let state = (state ^ state >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^ state >> 31
    };
    let step = |state: u64, number: &Number| {
        mix(state.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ number.word(ColumnType::I64))
    };
    numbers.iter().fold(mix(rows), step) & 1 == 1
}

/// Merges ascending numbers into ascending ones.
fn insert_sorted(own: &mut Vec<Number>, other: &[Number]) {
    match (own.last(), other.first()) {
        (_, None) => return,
        (Some(last), Some(first)) if first < last => {}
        _ => return own.extend_from_slice(other),
    }
    let mut merged = Vec::with_capacity(own.len() + other.len());
    let mut from = 0;
    for &number in other {
        let until = from + own[from..].partition_point(|kept| *kept <= number);
        merged.extend_from_slice(&own[from..until]);
        merged.push(number);
        from = until;
    }
    merged.extend_from_slice(&own[from..]);
    *own = merged;
}

/// How many numbers a sketch of so many levels holds.
pub(crate) fn capacity(k: u16, level_count: usize) -> usize {
    (0..level_count).map(|at| level_capacity(k, level_count, at)).sum()
}

/// How many numbers a level holds: k times 2/3 to the power of its depth below the top, rounded,
/// and 8 at least. As in DataSketches, powers beyond 30 are taken in two steps.
fn level_capacity(k: u16, level_count: usize, at: usize) -> usize {
    let shallow = |k: u64, depth: u32| ((k << (depth + 1)) / 3_u64.pow(depth) + 1) >> 1;
    let depth = u32::try_from(level_count - at - 1).unwrap_or(u32::MAX);
    let numbers = match depth {
        0..=30 => shallow(u64::from(k), depth),
        _ => shallow(shallow(u64::from(k), depth / 2), depth - depth / 2),
    };
    usize::try_from(numbers).unwrap_or(usize::MAX).max(LEVEL_CAPACITY_MIN)
}

fn weight_of(height: u32) -> u128 {
    1_u128.checked_shl(height).unwrap_or(u128::MAX)
}

/// What DataSketches calls m: the least capacity of a level.
pub(crate) const LEVEL_CAPACITY_MIN: usize = 8;

/// The most levels: DataSketches has no more either.
pub(crate) const LEVEL_COUNT_MAX: usize = 61;
