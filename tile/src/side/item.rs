//! Items: the single values that lists and sketches keep, numbers and texts, and their form as
//! bytes ([STATE-9], [STATE-10]). It knows nothing of what lists and sketches do with them.

use super::reader::Reader;
use crate::decimal::print_double;
use crate::error::TileError;
use crate::extreme::sort_key;
use crate::fixed_point::FixedPoint;
use crate::frame::encode_lane;
use crate::lane::{Descriptor, Lane, LaneKind};
use crate::number::{count, index};
use crate::scalar::{ColumnType, Scalar, finite, parse_double, parse_integer};
use crate::value::Value;
use bytes::Bytes;
use serde_json::Value as Json;
use std::cmp::Ordering;
use std::fmt::Debug;

/// A value of a column, in the order that the contract gives to values.
pub(crate) trait Item: Clone + Ord + Debug {
    /// The item of an input value, whose type is that of the column.
    fn of(scalar: Scalar<'_>) -> Self;

    /// How the item compares with an input value of its column.
    fn compare(&self, scalar: Scalar<'_>) -> Ordering;

    /// Bytes that it holds on the heap.
    fn heap_bytes(&self) -> usize;

    /// Appends items of a column.
    fn encode_all<'a>(items: impl Iterator<Item = &'a Self>, kind: ColumnType, out: &mut Vec<u8>)
    where
        Self: 'a;

    /// Reads so many items of a column.
    fn decode_all(
        kind: ColumnType,
        item_count: usize,
        reader: &mut Reader<'_>,
    ) -> Result<Vec<Self>, TileError>;

    /// The item as an answer.
    fn value(&self, kind: ColumnType) -> Value;

    /// The item as JSON.
    fn print(&self, kind: ColumnType) -> String;

    /// Reads an item from JSON; none where it is no value of the column's type.
    fn read(kind: ColumnType, json: &Json) -> Option<Self>;

    /// Appends the item as DataSketches serialises it.
    fn encode_image(&self, kind: ColumnType, out: &mut Vec<u8>);

    /// Reads an item that DataSketches serialised.
    fn decode_image(kind: ColumnType, reader: &mut Reader<'_>) -> Result<Self, TileError>;
}

/// A number as an integer that sorts as the number does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Number(i64);

/// A text.
pub(crate) type Text = Box<[u8]>;

impl Number {
    /// The number whose bits stand in a word.
    pub(crate) fn from_word(kind: ColumnType, word: u64) -> Self {
        Self(sort_key(kind, word))
    }

    /// The bits of the number.
    pub(crate) fn word(self, kind: ColumnType) -> u64 {
        // The key of a key is the number again.
        sort_key(kind, self.0.cast_unsigned()).cast_unsigned()
    }
}

impl Item for Number {
    fn of(scalar: Scalar<'_>) -> Self {
        match scalar {
            Scalar::I64(value) => Self(value),
            Scalar::F64(value) => Self::from_word(ColumnType::F64, value.to_bits()),
            Scalar::Str(_) => unreachable!("a number is kept of a column of numbers"),
        }
    }

    fn compare(&self, scalar: Scalar<'_>) -> Ordering {
        self.cmp(&Self::of(scalar))
    }

    fn heap_bytes(&self) -> usize {
        0
    }

    fn encode_all<'a>(items: impl Iterator<Item = &'a Self>, kind: ColumnType, out: &mut Vec<u8>)
    where
        Self: 'a,
    {
        let words: Vec<u64> = items.map(|item| item.word(kind)).collect();
        encode_words(lane_kind(kind), &words, out);
    }

    fn decode_all(
        kind: ColumnType,
        item_count: usize,
        reader: &mut Reader<'_>,
    ) -> Result<Vec<Self>, TileError> {
        let words = decode_words(lane_kind(kind), item_count, reader)?;
        Ok(words.into_iter().map(|word| Self::from_word(kind, word)).collect())
    }

    fn value(&self, kind: ColumnType) -> Value {
        match kind {
            ColumnType::F64 => Value::Double(f64::from_bits(self.word(kind))),
            ColumnType::I64 | ColumnType::Str => Value::Int(self.0),
        }
    }

    fn print(&self, kind: ColumnType) -> String {
        match kind {
            ColumnType::F64 => print_double(f64::from_bits(self.word(kind))),
            ColumnType::I64 | ColumnType::Str => self.0.to_string(),
        }
    }

    fn read(kind: ColumnType, json: &Json) -> Option<Self> {
        let text = match json {
            Json::Number(number) => number.as_str(),
            Json::String(text) => text,
            _ => return None,
        };
        match kind {
            ColumnType::F64 => {
                parse_double(text.as_bytes()).map(|value| Self::of(Scalar::F64(value)))
            }
            ColumnType::I64 | ColumnType::Str => parse_integer(text.as_bytes()).map(Self),
        }
    }

    fn encode_image(&self, kind: ColumnType, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.word(kind).to_le_bytes());
    }

    fn decode_image(kind: ColumnType, reader: &mut Reader<'_>) -> Result<Self, TileError> {
        let word = reader.u64()?;
        match (kind, finite(f64::from_bits(word))) {
            (ColumnType::F64, None) => Err(reader.wrong("a finite double", f64::from_bits(word))),
            (ColumnType::F64, Some(value)) => Ok(Self::of(Scalar::F64(value))),
            (ColumnType::I64 | ColumnType::Str, _) => Ok(Self(word.cast_signed())),
        }
    }
}

impl Item for Text {
    fn of(scalar: Scalar<'_>) -> Self {
        text_of(scalar).into()
    }

    fn compare(&self, scalar: Scalar<'_>) -> Ordering {
        (**self).cmp(text_of(scalar))
    }

    fn heap_bytes(&self) -> usize {
        self.len()
    }

    fn encode_all<'a>(items: impl Iterator<Item = &'a Self>, _kind: ColumnType, out: &mut Vec<u8>)
    where
        Self: 'a,
    {
        let texts: Vec<&Self> = items.collect();
        let lengths: Vec<u64> = texts.iter().map(|text| count(text.len())).collect();
        encode_words(INTEGERS, &lengths, out);
        texts.iter().for_each(|text| out.extend_from_slice(text));
    }

    fn decode_all(
        _kind: ColumnType,
        item_count: usize,
        reader: &mut Reader<'_>,
    ) -> Result<Vec<Self>, TileError> {
        let lengths = decode_words(INTEGERS, item_count, reader)?;
        let text = |length| match u32::try_from(length) {
            Ok(length) => reader.take(index(length)).map(Self::from),
            Err(_) => Err(reader.wrong("texts below 4 GiB", length)),
        };
        lengths.into_iter().map(text).collect()
    }

    fn value(&self, _kind: ColumnType) -> Value {
        Value::Text(Bytes::copy_from_slice(self))
    }

    fn print(&self, _kind: ColumnType) -> String {
        Json::from(String::from_utf8_lossy(self)).to_string()
    }

    fn read(_kind: ColumnType, json: &Json) -> Option<Self> {
        json.as_str().map(|text| text.as_bytes().into())
    }

    fn encode_image(&self, _kind: ColumnType, out: &mut Vec<u8>) {
        let Ok(length) = u32::try_from(self.len()) else {
            unreachable!("a text came in a command, which is below 4 GiB");
        };
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(self);
    }

    fn decode_image(_kind: ColumnType, reader: &mut Reader<'_>) -> Result<Self, TileError> {
        let length = reader.u32()?;
        let text = reader.take(index(length))?;
        match std::str::from_utf8(text) {
            Ok(text) => Ok(text.as_bytes().into()),
            Err(error) => Err(reader.wrong("text in UTF-8", error)),
        }
    }
}

/// Appends words as the descriptor of a lane and its payload ([BLOCK-16] to [BLOCK-18]).
pub(crate) fn encode_words(kind: LaneKind, words: &[u64], out: &mut Vec<u8>) {
    let at = out.len();
    out.push(0);
    out[at] = encode_lane(kind, words, out).0;
}

/// Reads so many words.
pub(crate) fn decode_words(
    kind: LaneKind,
    word_count: usize,
    reader: &mut Reader<'_>,
) -> Result<Vec<u64>, TileError> {
    let descriptor = Descriptor(reader.u8()?);
    let is_scaled = descriptor.is_scaled();
    let unscaled = Descriptor(descriptor.0 & !Descriptor::SCALED);
    let has_scale = !is_scaled
        || kind.is_double
            && reader.rest().first().is_some_and(|&scale| FixedPoint(scale).is_valid());
    if !descriptor.is_valid() || !unscaled.is_plain() || !has_scale {
        return Err(reader.wrong("a descriptor without holes", descriptor.0));
    }
    let payload = reader.take(descriptor.payload_bytes(word_count))?;
    let lane = Lane::new(descriptor, kind, word_count, payload);
    Ok((0..word_count).map(|at| lane.word(at)).collect())
}

fn lane_kind(kind: ColumnType) -> LaneKind {
    LaneKind { is_double: kind == ColumnType::F64, empty: 0 }
}

fn text_of(scalar: Scalar<'_>) -> &[u8] {
    match scalar {
        Scalar::Str(text) => text,
        Scalar::I64(_) | Scalar::F64(_) => unreachable!("a text is kept of a column of texts"),
    }
}

/// Words that are integers.
pub(crate) const INTEGERS: LaneKind = LaneKind { is_double: false, empty: 0 };
