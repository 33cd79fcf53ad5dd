//! Sides: the parts of a state that have no fixed size, texts, lists and sketches. What a side
//! keeps is part of its component, and not of its state. It knows nothing of where sides lie.

mod distinct;
mod entries;
mod hll_image;
mod image;
mod item;
mod json;
mod quantiles;
mod reader;
#[cfg(test)]
mod tests;
mod top;

pub(crate) use self::json::{print_side, read_side};
pub(crate) use self::reader::Reader;

use self::distinct::Distinct;
use self::entries::{Entries, EntryRule, Repeats};
use self::item::{Number, Text};
use self::quantiles::Quantiles;
use self::top::Top;
use crate::component::ComponentKind;
use crate::error::TileError;
use crate::extreme::Pick;
use crate::quantile::Quantile;
use crate::scalar::{ColumnType, Scalar};
use crate::value::Value;
use std::borrow::Cow;

/// A value without a fixed size. What is empty has no side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Side {
    /// A string.
    Text(Box<[u8]>),
    /// Entries of a column of numbers.
    Numbers(Box<Entries<Number>>),
    /// Entries of a column of strings.
    Texts(Box<Entries<Text>>),
    /// Distinct values, counted.
    Distinct(Box<Distinct>),
    /// The distribution of numbers.
    Quantiles(Box<Quantiles>),
    /// The most frequent numbers.
    TopNumbers(Box<Top<Number>>),
    /// The most frequent strings.
    TopTexts(Box<Top<Text>>),
}

/// What a list or sketch keeps, as its component says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SideRule {
    /// Entries of one end in time.
    Entries(EntryRule),
    /// Distinct values, to this precision.
    Distinct(u8),
    /// The distribution of numbers: the column's type, and k.
    Quantiles(ColumnType, u16),
    /// The most frequent values: the column's type, and n.
    Top(ColumnType, u16),
}

impl SideRule {
    /// The rule of a component that keeps a list or sketch; none for others.
    pub(crate) fn of(kind: ComponentKind) -> Option<Self> {
        let entries = |pick, repeats, kind, n: u16| {
            Self::Entries(EntryRule { pick, repeats, entry_count_max: usize::from(n), kind })
        };
        match kind {
            ComponentKind::FirstN(kind, n) => Some(entries(Pick::Least, Repeats::Kept, kind, n)),
            ComponentKind::LastN(kind, n) => Some(entries(Pick::Greatest, Repeats::Kept, kind, n)),
            ComponentKind::FirstDistinctN(kind, n) => {
                Some(entries(Pick::Least, Repeats::Dropped, kind, n))
            }
            ComponentKind::LastDistinctN(kind, n) => {
                Some(entries(Pick::Greatest, Repeats::Dropped, kind, n))
            }
            ComponentKind::Distinct(precision) => Some(Self::Distinct(precision)),
            ComponentKind::Quantiles(kind, k) => Some(Self::Quantiles(kind, k)),
            ComponentKind::Top(kind, n) => Some(Self::Top(kind, n)),
            ComponentKind::Rows
            | ComponentKind::Count
            | ComponentKind::SumI64
            | ComponentKind::SumF64
            | ComponentKind::Min(_)
            | ComponentKind::Max(_)
            | ComponentKind::Moments
            | ComponentKind::First(_)
            | ComponentKind::Last(_) => None,
        }
    }

    /// Adds a value at a time to a side.
    pub(crate) fn add(self, side: &mut Option<Side>, timestamp: i64, scalar: Scalar<'_>) {
        match (self, side.get_or_insert_with(|| self.first_of(scalar))) {
            (Self::Entries(rule), Side::Numbers(entries)) => entries.add(rule, timestamp, scalar),
            (Self::Entries(rule), Side::Texts(entries)) => entries.add(rule, timestamp, scalar),
            (Self::Distinct(precision), Side::Distinct(distinct)) => {
                distinct.add(precision, scalar);
            }
            (Self::Quantiles(_, k), Side::Quantiles(quantiles)) => {
                quantiles.add(k, item::Item::of(scalar));
            }
            (Self::Top(_, n), Side::TopNumbers(top)) => top.add(n, scalar),
            (Self::Top(_, n), Side::TopTexts(top)) => top.add(n, scalar),
            _ => unreachable!("a side is as its component has it"),
        }
    }

    /// Merges another side of the same component into one.
    pub(crate) fn merge(self, into: &mut Option<Side>, other: Cow<'_, Side>) {
        let Some(into) = into else {
            *into = Some(other.into_owned());
            return;
        };
        match (self, into, &*other) {
            (Self::Entries(rule), Side::Numbers(into), Side::Numbers(other)) => {
                into.merge(rule, other);
            }
            (Self::Entries(rule), Side::Texts(into), Side::Texts(other)) => into.merge(rule, other),
            (Self::Distinct(precision), Side::Distinct(into), Side::Distinct(other)) => {
                into.merge(precision, other);
            }
            (Self::Quantiles(_, k), Side::Quantiles(into), Side::Quantiles(other)) => {
                into.merge(k, other);
            }
            (Self::Top(_, n), Side::TopNumbers(into), Side::TopNumbers(other)) => {
                into.merge(n, other);
            }
            (Self::Top(_, n), Side::TopTexts(into), Side::TopTexts(other)) => into.merge(n, other),
            _ => unreachable!("sides of one component are alike"),
        }
    }

    /// What a side amounts to under its function; `quantile` is that of a percentile.
    pub(crate) fn finish(self, side: Option<&Side>, quantile: Option<Quantile>) -> Value {
        match (self, side) {
            (Self::Entries(_) | Self::Top(..), None) => Value::List(Vec::new()),
            (Self::Distinct(_), None) => Value::Int(0),
            (Self::Quantiles(..), None) => Value::Nil,
            (Self::Entries(rule), Some(Side::Numbers(entries))) => entries.finish(rule),
            (Self::Entries(rule), Some(Side::Texts(entries))) => entries.finish(rule),
            (Self::Distinct(precision), Some(Side::Distinct(distinct))) => {
                Value::from(distinct.estimate(precision))
            }
            (Self::Quantiles(kind, _), Some(Side::Quantiles(quantiles))) => {
                let Some(quantile) = quantile else {
                    unreachable!("a percentile has a quantile");
                };
                let rank = quantile.nearest_rank(quantiles.rows());
                item::Item::value(&quantiles.at_rank(rank), kind)
            }
            (Self::Top(kind, n), Some(Side::TopNumbers(top))) => top.finish(kind, n),
            (Self::Top(kind, n), Some(Side::TopTexts(top))) => top.finish(kind, n),
            _ => unreachable!("a side is as its component has it"),
        }
    }

    /// Reads the stored bytes of a list or sketch ([STATE-16]).
    pub(crate) fn decode(self, bytes: &[u8]) -> Result<Side, TileError> {
        let mut reader = Reader::new(bytes);
        let reader_of = &mut reader;
        let side = match self {
            Self::Entries(rule) if rule.kind == ColumnType::Str => {
                Side::Texts(Box::new(Entries::decode(rule, reader_of)?))
            }
            Self::Entries(rule) => Side::Numbers(Box::new(Entries::decode(rule, reader_of)?)),
            Self::Distinct(precision) => {
                Side::Distinct(Box::new(Distinct::decode(precision, reader_of)?))
            }
            Self::Quantiles(kind, k) => {
                Side::Quantiles(Box::new(Quantiles::decode(k, kind, reader_of)?))
            }
            Self::Top(ColumnType::Str, n) => {
                Side::TopTexts(Box::new(Top::decode(n, ColumnType::Str, reader_of)?))
            }
            Self::Top(kind, n) => Side::TopNumbers(Box::new(Top::decode(n, kind, reader_of)?)),
        };
        reader.end()?;
        Ok(side)
    }

    /// The side before its first value.
    fn first_of(self, scalar: Scalar<'_>) -> Side {
        let is_text = matches!(scalar, Scalar::Str(_));
        match self {
            Self::Entries(_) if is_text => Side::Texts(Box::default()),
            Self::Entries(_) => Side::Numbers(Box::default()),
            Self::Distinct(_) => Side::Distinct(Box::default()),
            Self::Quantiles(..) => {
                Side::Quantiles(Box::new(Quantiles::before(item::Item::of(scalar))))
            }
            Self::Top(..) if is_text => Side::TopTexts(Box::default()),
            Self::Top(..) => Side::TopNumbers(Box::default()),
        }
    }
}

impl Side {
    /// Bytes that it holds on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Numbers(entries) => size_of_val(&**entries) + entries.heap_bytes(),
            Self::Texts(entries) => size_of_val(&**entries) + entries.heap_bytes(),
            Self::Distinct(distinct) => size_of_val(&**distinct) + distinct.heap_bytes(),
            Self::Quantiles(quantiles) => size_of_val(&**quantiles) + quantiles.heap_bytes(),
            Self::TopNumbers(top) => size_of_val(&**top) + top.heap_bytes(),
            Self::TopTexts(top) => size_of_val(&**top) + top.heap_bytes(),
        }
    }

    /// The bytes that stand for it in stored forms, under its component.
    pub(crate) fn bytes(&self, kind: ComponentKind) -> Cow<'_, [u8]> {
        let mut bytes = Vec::new();
        match (self, SideRule::of(kind)) {
            (Self::Text(text), _) => return Cow::Borrowed(text),
            (Self::Numbers(entries), Some(SideRule::Entries(rule))) => {
                entries.encode(rule, &mut bytes);
            }
            (Self::Texts(entries), Some(SideRule::Entries(rule))) => {
                entries.encode(rule, &mut bytes);
            }
            (Self::Distinct(distinct), _) => distinct.encode(&mut bytes),
            (Self::Quantiles(quantiles), Some(SideRule::Quantiles(kind, _))) => {
                quantiles.encode(kind, &mut bytes);
            }
            (Self::TopNumbers(top), Some(SideRule::Top(kind, _))) => top.encode(kind, &mut bytes),
            (Self::TopTexts(top), Some(SideRule::Top(kind, _))) => top.encode(kind, &mut bytes),
            _ => unreachable!("a side is as its component has it"),
        }
        Cow::Owned(bytes)
    }

    /// Reads the stored bytes of a component's side ([STATE-8]).
    pub(crate) fn decode(kind: ComponentKind, bytes: &[u8]) -> Result<Self, TileError> {
        match SideRule::of(kind) {
            Some(rule) => rule.decode(bytes),
            None => Ok(Self::Text(bytes.into())),
        }
    }
}
