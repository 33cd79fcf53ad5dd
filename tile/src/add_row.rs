//! Taking a row into a state: what an event does to its tile.
//! It knows nothing of which tile that is.

use crate::accumulator::Accumulator;
use crate::component::ComponentKind;
use crate::double_double::DoubleDouble;
use crate::extreme::{Pick, sort_key};
use crate::float_sum::FloatSum;
use crate::integer_sum::{sum_of_words, words_of_sum};
use crate::layout::{Layout, Slot};
use crate::moments::Moments;
use crate::number::index;
use crate::scalar::{ColumnType, Scalar};

impl Layout {
    /// Adds a row at `timestamp` (milliseconds) to the state. A cell is looked up by the index of
    /// its column; where there are fewer cells than columns, the rest are null. Each cell must be
    /// of the type of its column.
    pub fn add_row(
        &self,
        accumulator: &mut Accumulator,
        timestamp: i64,
        cells: &[Option<Scalar<'_>>],
    ) {
        for (_, slot) in self.in_merge_order() {
            let Some(column) = slot.column else {
                add_one(slot, &mut accumulator.words);
                continue;
            };
            if let Some(Some(scalar)) = cells.get(usize::from(column)) {
                add_scalar(slot, accumulator, timestamp, *scalar);
            }
        }
    }
}

#[inline]
fn add_scalar(slot: &Slot, accumulator: &mut Accumulator, timestamp: i64, scalar: Scalar<'_>) {
    let words = &mut accumulator.words;
    match (slot.kind, scalar) {
        (ComponentKind::Rows | ComponentKind::Count, _) => add_one(slot, words),
        (ComponentKind::SumI64, Scalar::I64(value)) => {
            let own = slot.get_mut(words);
            *own = words_of_sum(sum_of_words(*own).saturating_add(i128::from(value)));
        }
        (ComponentKind::SumF64, Scalar::F64(value)) => {
            let own = slot.get_mut(words);
            *own = FloatSum::from_words(*own).add(value).words();
        }
        (ComponentKind::Moments, Scalar::I64(value)) => {
            add_to_moments(slot, words, DoubleDouble::from_i64(value));
        }
        (ComponentKind::Moments, Scalar::F64(value)) => {
            add_to_moments(slot, words, DoubleDouble::from_f64(value));
        }
        (ComponentKind::Min(_), _) => add_extreme(slot, accumulator, Pick::Least, scalar),
        (ComponentKind::Max(_), _) => add_extreme(slot, accumulator, Pick::Greatest, scalar),
        (ComponentKind::First(_), _) => {
            add_entry(slot, accumulator, Pick::Least, timestamp, scalar);
        }
        (ComponentKind::Last(_), _) => {
            add_entry(slot, accumulator, Pick::Greatest, timestamp, scalar);
        }
        (ComponentKind::SumI64 | ComponentKind::SumF64 | ComponentKind::Moments, _) => {
            unreachable!("a cell has the type of its column")
        }
        _ => slot.rule().add(accumulator.side_mut(slot), timestamp, scalar),
    }
}

#[inline]
fn add_one(slot: &Slot, words: &mut [u64]) {
    let [rows] = slot.get_mut(words);
    *rows = rows.saturating_add(1);
}

#[inline]
fn add_to_moments(slot: &Slot, words: &mut [u64], value: DoubleDouble) {
    let count = words[index(slot.count_word)];
    let own = slot.get_mut(words);
    *own = Moments::from_words(*own).add(count, value).words();
}

#[inline]
fn add_extreme(slot: &Slot, accumulator: &mut Accumulator, pick: Pick, scalar: Scalar<'_>) {
    match scalar {
        Scalar::I64(value) => {
            let [kept, presence] = slot.get_mut(&mut accumulator.words);
            *kept = pick.of_integers(kept.cast_signed(), value).cast_unsigned();
            *presence = 1;
        }
        Scalar::F64(value) => {
            let [kept] = slot.get_mut(&mut accumulator.words);
            *kept = pick.of_doubles(f64::from_bits(*kept), value).to_bits();
        }
        Scalar::Str(text) => {
            let kept = accumulator.text(slot);
            if kept.is_none_or(|kept| pick.prefers(text.cmp(kept))) {
                accumulator.set_text(slot, text);
            }
        }
    }
}

#[inline]
fn add_entry(
    slot: &Slot,
    accumulator: &mut Accumulator,
    pick: Pick,
    timestamp: i64,
    scalar: Scalar<'_>,
) {
    match scalar {
        Scalar::I64(value) => {
            let own = slot.get_mut(&mut accumulator.words);
            let entry = [timestamp.cast_unsigned(), value.cast_unsigned()];
            keep_entry(own, entry, pick, ColumnType::I64);
        }
        Scalar::F64(value) => {
            let own = slot.get_mut(&mut accumulator.words);
            let entry = [timestamp.cast_unsigned(), value.to_bits()];
            keep_entry(own, entry, pick, ColumnType::F64);
        }
        Scalar::Str(text) => keep_text_entry(slot, accumulator, pick, timestamp, text),
    }
}

/// Keeps the better of two entries (timestamp, number).
#[inline]
pub(crate) fn keep_entry(kept: &mut [u64; 2], entry: [u64; 2], pick: Pick, kind: ColumnType) {
    let key = |[timestamp, value]: [u64; 2]| (timestamp.cast_signed(), sort_key(kind, value));
    if pick.prefers(key(entry).cmp(&key(*kept))) {
        *kept = entry;
    }
}

/// Keeps the better of the state's entry (timestamp, text) and another.
pub(crate) fn keep_text_entry(
    slot: &Slot,
    accumulator: &mut Accumulator,
    pick: Pick,
    timestamp: i64,
    text: &[u8],
) {
    let [kept_at] = slot.get(&accumulator.words);
    let kept = (kept_at.cast_signed(), accumulator.text(slot));
    if pick.prefers((timestamp, Some(text)).cmp(&kept)) {
        let [kept_at] = slot.get_mut(&mut accumulator.words);
        *kept_at = timestamp.cast_unsigned();
        accumulator.set_text(slot, text);
    }
}
