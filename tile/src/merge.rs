//! Merging one state into another, under one layout or across two.
//! It knows nothing of time or of where states come from.

use crate::accumulator::Accumulator;
use crate::add_row::{keep_entry, keep_text_entry};
use crate::component::ComponentKind;
use crate::extreme::Pick;
use crate::float_sum::FloatSum;
use crate::integer_sum::{sum_of_words, words_of_sum};
use crate::layout::{Layout, Slot};
use crate::moments::Moments;
use crate::number::index;
use crate::scalar::ColumnType;
use std::borrow::Cow;

impl Layout {
    /// Merges `from` into `into`, both of this layout.
    pub fn merge(&self, into: &mut Accumulator, from: &Accumulator) {
        for (_, slot) in self.in_merge_order() {
            merge_slot(slot, into, slot, from);
        }
    }

    /// Merges `from`, a state of another layout of the same view, into `into`, one of this layout.
    /// Components that `from` lacks stay as they are.
    pub fn merge_mapped(&self, into: &mut Accumulator, from_layout: &Layout, from: &Accumulator) {
        for (at, slot) in self.in_merge_order() {
            let id = self.components()[at].0;
            if let Some(other) = from_layout.position_of(id, slot.source) {
                merge_slot(slot, into, &from_layout.slots()[other], from);
            }
        }
    }
}

#[inline]
fn merge_slot(slot: &Slot, into: &mut Accumulator, from_slot: &Slot, from: &Accumulator) {
    match slot.kind {
        ComponentKind::Rows | ComponentKind::Count => {
            let [other] = from_slot.get(&from.words);
            let [own] = slot.get_mut(&mut into.words);
            *own = own.saturating_add(other);
        }
        ComponentKind::SumI64 => {
            let other = sum_of_words(from_slot.get(&from.words));
            add_integer_sum(slot, into, other);
        }
        ComponentKind::SumF64 => {
            let other = FloatSum::from_words(from_slot.get(&from.words));
            add_float_sum(slot, into, other);
        }
        ComponentKind::Moments => {
            let other = Moments::from_words(from_slot.get(&from.words));
            merge_moments(slot, into, other, from.words[index(from_slot.count_word)]);
        }
        ComponentKind::Min(kind) => {
            merge_extreme(slot, into, (from_slot, from), (Pick::Least, kind));
        }
        ComponentKind::Max(kind) => {
            merge_extreme(slot, into, (from_slot, from), (Pick::Greatest, kind));
        }
        ComponentKind::First(kind) => {
            merge_entry(slot, into, (from_slot, from), (Pick::Least, kind));
        }
        ComponentKind::Last(kind) => {
            merge_entry(slot, into, (from_slot, from), (Pick::Greatest, kind));
        }
        _ => {
            if let Some(side) = &from.sides[from_slot.side_index()] {
                slot.rule().merge(into.side_mut(slot), Cow::Borrowed(side));
            }
        }
    }
}

#[inline]
pub(crate) fn add_integer_sum(slot: &Slot, into: &mut Accumulator, other: i128) {
    let own = slot.get_mut(&mut into.words);
    *own = words_of_sum(sum_of_words(*own).saturating_add(other));
}

#[inline]
fn add_float_sum(slot: &Slot, into: &mut Accumulator, other: FloatSum) {
    let own = slot.get_mut(&mut into.words);
    *own = FloatSum::from_words(*own).merge(other).words();
}

/// Merges the moments of `other_count` values; the state's count is still that of its own part.
#[inline]
pub(crate) fn merge_moments(slot: &Slot, into: &mut Accumulator, other: Moments, other_count: u64) {
    let count = into.words[index(slot.count_word)];
    let own = slot.get_mut(&mut into.words);
    *own = Moments::from_words(*own).merge(count, other, other_count).words();
}

#[inline]
fn merge_extreme(
    slot: &Slot,
    into: &mut Accumulator,
    (from_slot, from): (&Slot, &Accumulator),
    (pick, kind): (Pick, ColumnType),
) {
    match kind {
        ColumnType::I64 => {
            let [value, is_present] = from_slot.get(&from.words);
            merge_integer_extreme(slot, into, pick, value, is_present);
        }
        ColumnType::F64 => {
            let [value] = from_slot.get(&from.words);
            merge_double_extreme(slot, into, pick, f64::from_bits(value));
        }
        ColumnType::Str => {
            if let Some(text) = from.text(from_slot) {
                merge_text_extreme(slot, into, pick, text);
            }
        }
    }
}

#[inline]
pub(crate) fn merge_integer_extreme(
    slot: &Slot,
    into: &mut Accumulator,
    pick: Pick,
    value: u64,
    presence: u64,
) {
    let [kept, kept_presence] = slot.get_mut(&mut into.words);
    *kept = pick.of_integers(kept.cast_signed(), value.cast_signed()).cast_unsigned();
    *kept_presence |= presence;
}

#[inline]
pub(crate) fn merge_double_extreme(slot: &Slot, into: &mut Accumulator, pick: Pick, value: f64) {
    let [kept] = slot.get_mut(&mut into.words);
    *kept = pick.of_doubles(f64::from_bits(*kept), value).to_bits();
}

pub(crate) fn merge_text_extreme(slot: &Slot, into: &mut Accumulator, pick: Pick, text: &[u8]) {
    let kept = into.text(slot);
    if kept.is_none_or(|kept| pick.prefers(text.cmp(kept))) {
        into.set_text(slot, text);
    }
}

#[inline]
fn merge_entry(
    slot: &Slot,
    into: &mut Accumulator,
    (from_slot, from): (&Slot, &Accumulator),
    (pick, kind): (Pick, ColumnType),
) {
    match kind {
        ColumnType::I64 | ColumnType::F64 => {
            let entry = from_slot.get(&from.words);
            keep_entry(slot.get_mut(&mut into.words), entry, pick, kind);
        }
        ColumnType::Str => {
            let [timestamp] = from_slot.get(&from.words);
            if let Some(text) = from.text(from_slot) {
                keep_text_entry(slot, into, pick, timestamp.cast_signed(), text);
            }
        }
    }
}
