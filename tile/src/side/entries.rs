//! The first or last entries of a column, each a timestamp and a value: all of them, or one for
//! each distinct value. It knows nothing of tiles.

use super::item::{INTEGERS, Item, decode_words, encode_words};
use super::reader::Reader;
use crate::error::TileError;
use crate::extreme::Pick;
use crate::number::count;
use crate::scalar::{ColumnType, Scalar};
use crate::value::Value;
use std::cmp::Ordering;

/// Which entries a list keeps. The rule is part of a component and not of its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryRule {
    /// Which end in time.
    pub(crate) pick: Pick,
    /// Whether a value is kept once.
    pub(crate) repeats: Repeats,
    /// How many entries at most.
    pub(crate) entry_count_max: usize,
    /// The type of the column.
    pub(crate) kind: ColumnType,
}

/// What becomes of a value that is there several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeats {
    /// Every entry counts.
    Kept,
    /// Of a value's entries the outermost alone counts.
    Dropped,
}

/// Entries in ascending order of (timestamp, value).
///
/// With [`Repeats::Dropped`] a list holds, of every value, the outermost entry that it knows, and
/// of these the outermost n. So lists merge without loss: where a list has dropped an entry, n
/// others lie further out, and each of them stays further out than any later entry of the same
/// value that another list may know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entries<T> {
    entries: Vec<(i64, T)>,
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<T: Item> Entries<T> {
    /// The list of these entries, in any order, which keep to the rule.
    pub(crate) fn from_entries(mut entries: Vec<(i64, T)>) -> Self {
        entries.sort_unstable();
        Self { entries }
    }

    pub(crate) fn as_slice(&self) -> &[(i64, T)] {
        &self.entries
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let items: usize = self.entries.iter().map(|(_, item)| item.heap_bytes()).sum();
        self.entries.capacity() * size_of::<(i64, T)>() + items
    }

    pub(crate) fn add(&mut self, rule: EntryRule, timestamp: i64, scalar: Scalar<'_>) {
        let compare = |(at, item): &(i64, T)| at.cmp(&timestamp).then_with(|| item.compare(scalar));
        if self.is_beyond(rule, compare) {
            return;
        }
        if rule.repeats == Repeats::Dropped
            && let Some(at) = self.entries.iter().position(|(_, item)| item.compare(scalar).is_eq())
        {
            if !rule.pick.prefers(compare(&self.entries[at]).reverse()) {
                return;
            }
            self.entries.remove(at);
        }
        let at = self.entries.partition_point(|entry| compare(entry).is_lt());
        self.entries.insert(at, (timestamp, T::of(scalar)));
        self.cut(rule);
    }

    pub(crate) fn merge(&mut self, rule: EntryRule, other: &Self) {
        let Some(outermost) = outermost_first(rule.pick, &other.entries).next() else {
            return;
        };
        if self.is_beyond(rule, |kept| kept.cmp(outermost)) {
            return;
        }
        match rule.repeats {
            Repeats::Kept => self.merge_all(rule, other),
            Repeats::Dropped => self.merge_distinct(rule, other),
        }
    }

    fn merge_all(&mut self, rule: EntryRule, other: &Self) {
        for entry in outermost_first(rule.pick, &other.entries) {
            if self.is_beyond(rule, |kept| kept.cmp(entry)) {
                return;
            }
            let at = self.entries.partition_point(|kept| kept < entry);
            self.entries.insert(at, entry.clone());
            self.cut(rule);
        }
    }

    /// Takes both lists together from the outermost entry on, each value once: sorting by value
    /// first finds the repeats without comparing each entry with each.
    fn merge_distinct(&mut self, rule: EntryRule, other: &Self) {
        let mut all = std::mem::take(&mut self.entries);
        all.extend_from_slice(&other.entries);
        all.sort_unstable_by(|one, next| {
            let outermost_first = match rule.pick {
                Pick::Least => one.0.cmp(&next.0),
                Pick::Greatest => next.0.cmp(&one.0),
            };
            one.1.cmp(&next.1).then(outermost_first)
        });
        all.dedup_by(|next, kept| next.1 == kept.1);
        all.sort_unstable();
        self.entries = all;
        self.cut(rule);
    }

    /// Whether the list is full of entries further out than one to which its entries compare so.
    fn is_beyond(&self, rule: EntryRule, compare: impl Fn(&(i64, T)) -> Ordering) -> bool {
        if self.entries.len() < rule.entry_count_max {
            return false;
        }
        match rule.pick {
            Pick::Least => self.entries.last().is_some_and(|entry| compare(entry).is_le()),
            Pick::Greatest => self.entries.first().is_some_and(|entry| compare(entry).is_ge()),
        }
    }

    fn cut(&mut self, rule: EntryRule) {
        let excess = self.entries.len().saturating_sub(rule.entry_count_max);
        match rule.pick {
            Pick::Least => self.entries.truncate(rule.entry_count_max),
            Pick::Greatest => drop(self.entries.drain(..excess)),
        }
    }

    /// The values, in ascending order of time.
    pub(crate) fn finish(&self, rule: EntryRule) -> Value {
        Value::List(self.entries.iter().map(|(_, item)| item.value(rule.kind)).collect())
    }

    /// [STATE-11]
    pub(crate) fn encode(&self, rule: EntryRule, out: &mut Vec<u8>) {
        let Ok(entry_count) = u16::try_from(self.entries.len()) else {
            unreachable!("a list has at most 1,024 entries");
        };
        out.extend_from_slice(&entry_count.to_le_bytes());
        let timestamps: Vec<u64> =
            self.entries.iter().map(|(timestamp, _)| timestamp.cast_unsigned()).collect();
        encode_words(INTEGERS, &timestamps, out);
        T::encode_all(self.entries.iter().map(|(_, item)| item), rule.kind, out);
    }

    pub(crate) fn decode(rule: EntryRule, reader: &mut Reader<'_>) -> Result<Self, TileError> {
        let entry_count = usize::from(reader.u16()?);
        if entry_count == 0 || rule.entry_count_max < entry_count {
            let expected = format!("1 to {} entries", rule.entry_count_max);
            return Err(reader.wrong(&expected, count(entry_count)));
        }
        let timestamps = decode_words(INTEGERS, entry_count, reader)?;
        let items = T::decode_all(rule.kind, entry_count, reader)?;
        let timestamps = timestamps.into_iter().map(u64::cast_signed);
        let entries: Vec<(i64, T)> = timestamps.zip(items).collect();
        if !entries.is_sorted() {
            return Err(reader.wrong("entries in order", "others"));
        }
        Ok(Self { entries })
    }
}

/// Entries from the one that a list keeps longest.
fn outermost_first<T>(pick: Pick, entries: &[T]) -> impl Iterator<Item = &T> {
    let (forwards, backwards) = match pick {
        Pick::Least => (entries, &entries[..0]),
        Pick::Greatest => (&entries[..0], entries),
    };
    forwards.iter().chain(backwards.iter().rev())
}
