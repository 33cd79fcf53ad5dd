//! Columns of lists: the items of all rows side by side, with the offsets of each row's own, as
//! Arrow has them ([NAT-34]). Knows nothing of plans.

use bytes::Bytes;
use tilekv_tile::{ColumnType, ListKind, Value};

use super::body::Body;
use super::payload::{Payload, f64s, i64s, read_u32};
use crate::arguments::position;
use crate::error::ProtocolError;

/// The number of a list's type in a column.
pub(super) fn type_number(kind: ListKind) -> u8 {
    let items = match kind.items {
        ColumnType::I64 => 0,
        ColumnType::F64 => 1,
        ColumnType::Str => 2,
    };
    TYPE_LIST + items + if kind.counted { COUNTED } else { 0 }
}

/// The type of list with this number.
pub(super) fn kind_of(number: u8) -> Option<ListKind> {
    let number = number.checked_sub(TYPE_LIST)?;
    let items = match number % COUNTED {
        0 => ColumnType::I64,
        1 => ColumnType::F64,
        _ => ColumnType::Str,
    };
    (number < 2 * COUNTED).then_some(ListKind { items, counted: COUNTED <= number })
}

/// Appends the lists of a column. Each value is nil or a list of the column's kind.
pub(super) fn encode_lists(kind: ListKind, values: &[Value], body: &mut Body<'_>) {
    body.bitmap(values.iter().map(|value| *value != Value::Nil));
    offsets(values.iter().map(|value| items_of(value).len()), body);
    let items = || values.iter().flat_map(items_of);
    match kind.items {
        ColumnType::I64 | ColumnType::F64 => {
            items().for_each(|item| body.bytes(&word_of(first_of(kind, item))));
        }
        ColumnType::Str => {
            let texts = || items().map(|item| text_of(first_of(kind, item)));
            offsets(texts().map(<[u8]>::len), body);
            texts().for_each(|text| body.bytes(text));
            body.pad();
        }
    }
    if kind.counted {
        items().for_each(|item| body.i64(count_of(item)));
    }
}

/// The offsets of parts of these lengths: 0, and the end of each, padded.
fn offsets(lengths: impl Iterator<Item = usize>, body: &mut Body<'_>) {
    let mut end = 0;
    body.u32(0);
    for length in lengths {
        end += length;
        body.length32("items", end);
    }
    body.pad();
}

fn items_of(value: &Value) -> &[Value] {
    match value {
        Value::List(items) => items,
        _ => &[],
    }
}

/// The item itself, or the first of an item and its count.
fn first_of(kind: ListKind, item: &Value) -> &Value {
    match item {
        Value::List(pair) if kind.counted => &pair[0],
        item => item,
    }
}

fn word_of(item: &Value) -> [u8; 8] {
    match item {
        Value::Int(item) => item.to_le_bytes(),
        Value::Double(item) => item.to_le_bytes(),
        _ => unreachable!("a list of numbers holds numbers"),
    }
}

fn text_of(item: &Value) -> &[u8] {
    match item {
        Value::Text(text) => text,
        _ => unreachable!("a list of texts holds texts"),
    }
}

fn count_of(item: &Value) -> i64 {
    match item {
        Value::List(pair) => match pair[1] {
            Value::Int(count) => count,
            _ => unreachable!("a count is below 2^61"),
        },
        _ => unreachable!("a counted list holds pairs"),
    }
}

/// The lists of a column as they stand in the frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyLists {
    kind: ListKind,
    offsets: Bytes,
    /// Items of eight bytes, or the offsets of texts.
    words: Bytes,
    texts: Bytes,
    counts: Bytes,
}

impl ReplyLists {
    pub(super) fn decode(
        kind: ListKind,
        rows: usize,
        payload: &mut Payload<'_>,
    ) -> Result<Self, ProtocolError> {
        let (offsets, item_count) = decode_offsets(rows, payload)?;
        let mut lists =
            Self { kind, offsets, words: Bytes::new(), texts: Bytes::new(), counts: Bytes::new() };
        if kind.items == ColumnType::Str {
            let (words, text_bytes) = decode_offsets(item_count, payload)?;
            lists.words = words;
            lists.texts = payload.bytes(text_bytes)?;
            payload.pad()?;
        } else {
            lists.words = payload.array(item_count, 8)?;
        }
        if kind.counted {
            lists.counts = payload.array(item_count, 8)?;
        }
        Ok(lists)
    }

    /// What the lists hold.
    pub fn kind(&self) -> ListKind {
        self.kind
    }

    /// The offsets of the rows' items as they stand in the frame: one more than rows, four bytes
    /// each.
    pub fn offsets(&self) -> &Bytes {
        &self.offsets
    }

    /// The items of all rows as they stand in the frame: words of eight bytes, or for texts their
    /// offsets in [`ReplyLists::texts`], four bytes each and one more than items.
    pub fn words(&self) -> &Bytes {
        &self.words
    }

    /// The texts of all rows back to back; empty for lists of numbers.
    pub fn texts(&self) -> &Bytes {
        &self.texts
    }

    /// The counts of all items, eight bytes each; empty where items are not counted.
    pub fn counts(&self) -> &Bytes {
        &self.counts
    }

    /// The list of a row.
    pub(super) fn value(&self, row: usize) -> Value {
        let range = range_at(&self.offsets, row);
        let words = |bytes: &Bytes| bytes.slice(range.start * 8..range.end * 8);
        let items: Vec<Value> = match self.kind.items {
            ColumnType::I64 => i64s(&words(&self.words)).into_iter().map(Value::Int).collect(),
            ColumnType::F64 => f64s(&words(&self.words)).into_iter().map(Value::Double).collect(),
            ColumnType::Str => range
                .clone()
                .map(|item| Value::Text(self.texts.slice(range_at(&self.words, item))))
                .collect(),
        };
        if !self.kind.counted {
            return Value::List(items);
        }
        let counts = i64s(&words(&self.counts)).into_iter().map(Value::Int);
        let pairs = items.into_iter().zip(counts);
        Value::List(pairs.map(|(item, count)| Value::List(vec![item, count])).collect())
    }

    /// Whether a row has no items.
    pub(super) fn is_empty(&self, row: usize) -> bool {
        range_at(&self.offsets, row).is_empty()
    }
}

/// Offsets of so many parts, padded: from 0 on, ascending; with the last.
fn decode_offsets(
    count: usize,
    payload: &mut Payload<'_>,
) -> Result<(Bytes, usize), ProtocolError> {
    let offsets = payload.array(count.saturating_add(1), 4)?;
    let mut each = offsets.chunks_exact(4).map(read_u32);
    let is_ascending = each.clone().is_sorted();
    if each.next() != Some(0) || !is_ascending {
        return Err(payload.malformed("offsets do not ascend from 0"));
    }
    let last = each.next_back().unwrap_or(0);
    payload.pad()?;
    Ok((offsets, position(last)))
}

/// The range between an offset and the next.
fn range_at(offsets: &[u8], at: usize) -> std::ops::Range<usize> {
    let offset = |at: usize| position(read_u32(&offsets[at * 4..at * 4 + 4]));
    offset(at)..offset(at + 1)
}

/// The first of the types of lists.
const TYPE_LIST: u8 = 4;
/// How far the types of counted lists lie above those of others.
const COUNTED: u8 = 3;
