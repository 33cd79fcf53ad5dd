//! The most frequent values: counters after J. Misra and D. Gries (1982), which merge without
//! loss of their bound (P. Agarwal and others, "Mergeable summaries", 2012). It knows nothing of
//! tiles.

use super::item::{INTEGERS, Item, decode_words, encode_words};
use super::reader::Reader;
use crate::error::TileError;
use crate::limits::SKETCH_ROWS_MAX;
use crate::number::count;
use crate::scalar::{ColumnType, Scalar};
use crate::value::Value;
use std::cmp::Reverse;

/// Counters of values. While there are at most twice as many values as [`counter_count`] says,
/// every count is exact. When there are more, the count of the first that has to go is taken off
/// all and added to `offset`: the true count of a value is its counter at least, and at most
/// `offset` above it. As every unit of `offset` takes one off more than [`counter_count`]
/// counters, it is less than rows / counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Top<T> {
    /// How many values went in.
    rows: u64,
    offset: u64,
    /// Ascending by value.
    counters: Vec<(T, u64)>,
}

impl<T> Default for Top<T> {
    fn default() -> Self {
        Self { rows: 0, offset: 0, counters: Vec::new() }
    }
}

impl<T: Item> Top<T> {
    /// Counters in any order, of as many rows and as inexact as said. None where a value stands
    /// there twice, or where so many rows cannot be so inexact, or not exact enough for n.
    pub(crate) fn from_counters(
        n: u16,
        rows: u64,
        offset: u64,
        mut counters: Vec<(T, u64)>,
    ) -> Option<Self> {
        counters.sort_unstable();
        let is_distinct = counters.is_sorted_by(|one, next| one.0 < next.0);
        let sum = counters.iter().fold(0, |sum: u64, (_, counter)| sum.saturating_add(*counter));
        let uncounted = u128::from(rows.checked_sub(sum)?);
        let least_uncounted = u128::from(offset) * u128::from(count(counter_count(n)) + 1);
        let is_bounded = rows <= SKETCH_ROWS_MAX && least_uncounted <= uncounted;
        if !is_distinct || !is_bounded || (offset == 0 && uncounted != 0) {
            return None;
        }
        let mut top = Self { rows, offset, counters };
        top.purge(n);
        Some(top)
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn counters(&self) -> &[(T, u64)] {
        &self.counters
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let items: usize = self.counters.iter().map(|(item, _)| item.heap_bytes()).sum();
        self.counters.capacity() * size_of::<(T, u64)>() + items
    }

    pub(crate) fn add(&mut self, n: u16, scalar: Scalar<'_>) {
        if SKETCH_ROWS_MAX <= self.rows {
            return;
        }
        self.rows += 1;
        match self.counters.binary_search_by(|(item, _)| item.compare(scalar)) {
            Ok(at) => self.counters[at].1 += 1,
            Err(at) => {
                self.counters.insert(at, (T::of(scalar), 1));
                self.purge(n);
            }
        }
    }

    /// Takes in another summary of the same n, unless both together are of more than
    /// [`SKETCH_ROWS_MAX`] rows.
    pub(crate) fn merge(&mut self, n: u16, other: &Self) {
        let rows = self.rows.saturating_add(other.rows);
        if SKETCH_ROWS_MAX < rows {
            return;
        }
        self.rows = rows;
        self.offset += other.offset;
        if other.counters.len() * FEW_FACTOR < self.counters.len() {
            other.counters.iter().for_each(|counter| self.merge_counter(counter));
        } else {
            let own = std::mem::take(&mut self.counters);
            self.counters = merged(own, &other.counters);
        }
        self.purge(n);
    }

    fn merge_counter(&mut self, (item, counter): &(T, u64)) {
        match self.counters.binary_search_by(|(own, _)| own.cmp(item)) {
            Ok(at) => self.counters[at].1 += counter,
            Err(at) => self.counters.insert(at, (item.clone(), *counter)),
        }
    }

    /// Makes room where there are more than twice the counters. Values whose counters reach zero
    /// stay while there is room, the least first, since they were seen.
    fn purge(&mut self, n: u16) {
        let kept = counter_count(n);
        if self.counters.len() <= 2 * kept {
            return;
        }
        let mut counts: Vec<u64> = self.counters.iter().map(|(_, counter)| *counter).collect();
        let (_, &mut dropped, _) =
            counts.select_nth_unstable_by_key(kept, |&counter| Reverse(counter));
        let greater = self.counters.iter().filter(|(_, counter)| dropped < *counter).count();
        let mut room = kept - greater;
        self.counters.retain_mut(|(_, counter)| {
            let is_level = *counter == dropped;
            let stays = dropped < *counter || (is_level && 0 < room);
            room -= usize::from(is_level && stays);
            *counter = counter.saturating_sub(dropped);
            stays
        });
        self.offset += dropped;
    }

    /// The n most frequent values, each with its count: `[value, count]`, the most frequent first,
    /// and of equally frequent ones the least first.
    pub(crate) fn finish(&self, kind: ColumnType, n: u16) -> Value {
        let mut best: Vec<&(T, u64)> = self.counters.iter().collect();
        best.sort_unstable_by_key(|(item, counter)| (Reverse(*counter), item));
        best.truncate(usize::from(n));
        let pair = |(item, counter): &(T, u64)| {
            Value::List(vec![item.value(kind), Value::from(counter + self.offset)])
        };
        Value::List(best.into_iter().map(pair).collect())
    }

    /// [STATE-15]
    pub(crate) fn encode(&self, kind: ColumnType, out: &mut Vec<u8>) {
        let Ok(counter_count) = u16::try_from(self.counters.len()) else {
            unreachable!("there are at most 16,384 counters");
        };
        out.extend_from_slice(&counter_count.to_le_bytes());
        encode_words(INTEGERS, &[self.rows, self.offset], out);
        let counters: Vec<u64> = self.counters.iter().map(|(_, counter)| *counter).collect();
        encode_words(INTEGERS, &counters, out);
        T::encode_all(self.counters.iter().map(|(item, _)| item), kind, out);
    }

    pub(crate) fn decode(
        n: u16,
        kind: ColumnType,
        reader: &mut Reader<'_>,
    ) -> Result<Self, TileError> {
        let length = usize::from(reader.u16()?);
        if 2 * counter_count(n) < length {
            let expected = format!("at most {} counters", 2 * counter_count(n));
            return Err(reader.wrong(&expected, length));
        }
        let totals = decode_words(INTEGERS, 2, reader)?;
        let counters = decode_words(INTEGERS, length, reader)?;
        let items = T::decode_all(kind, length, reader)?;
        let counters = items.into_iter().zip(counters).collect();
        Self::from_counters(n, totals[0], totals[1], counters).ok_or_else(|| {
            reader.wrong("counters of distinct values that bound their error", length)
        })
    }
}

/// How many counters the contract gives to a list of n values.
pub(crate) fn counter_count(n: u16) -> usize {
    (8 * usize::from(n)).max(64)
}

/// Both lists of counters in one, ascending by value.
fn merged<T: Item>(own: Vec<(T, u64)>, other: &[(T, u64)]) -> Vec<(T, u64)> {
    let mut all = Vec::with_capacity(own.len() + other.len());
    let mut others = other.iter().peekable();
    for (item, mut counter) in own {
        while let Some(before) = others.next_if(|(other, _)| *other < item) {
            all.push(before.clone());
        }
        if let Some((_, same)) = others.next_if(|(other, _)| *other == item) {
            counter += same;
        }
        all.push((item, counter));
    }
    all.extend(others.cloned());
    all
}

/// Where one list is this many times as long as the other, the shorter one is put in one by one.
const FEW_FACTOR: usize = 4;
