//! Answers to window reads: values with their statuses and bounds, column by column.
//! It knows nothing of how they were found or how they travel.

use crate::scalar::ColumnType;
use crate::value::Value;
use std::fmt;

/// How far a value can be trusted: the first that applies, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// The window starts before the retention horizon.
    Expired,
    /// Some of the window was not materialised, or is older than the feature.
    Incomplete,
    /// The newest complete time lies further back than the view allows.
    Stale,
    /// The entity has no readable tile up to the time of the read.
    Unseen,
    /// The window holds no readable tile.
    Empty,
    /// Tiles are present.
    Ok,
}

/// The tile bounds of a window: `[start, end)` in milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WindowBounds {
    /// The start of the first tile; none for a lifetime without a horizon.
    pub start: Option<i64>,
    /// The end of the last tile.
    pub end: i64,
}

/// The values of one column of answers. A value whose `valid` entry is false is nil, and its
/// entry in `values` is zero.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Integers that all fit 64 bits.
    Int {
        /// One value per row.
        values: Vec<i64>,
        /// One entry per row: false is nil.
        valid: Vec<bool>,
    },
    /// Doubles.
    Double {
        /// One value per row.
        values: Vec<f64>,
        /// One entry per row: false is nil.
        valid: Vec<bool>,
    },
    /// Lists of one kind, and nils.
    Lists(ListKind, Vec<Value>),
    /// Values of any type.
    Any(Vec<Value>),
}

/// What the lists of a column hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListKind {
    /// The type of the items.
    pub items: ColumnType,
    /// Whether each item stands in a list of two with its count.
    pub counted: bool,
}

/// The answers of one selector, one per row of the request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AnswerColumn {
    /// The values.
    pub values: Values,
    /// The status of each value.
    pub statuses: Vec<Status>,
    /// The window of each value, or a single entry where all rows share it.
    pub bounds: Vec<WindowBounds>,
    /// How many stored tiles of any level each value was merged from.
    pub tiles_read: Vec<u32>,
}

/// The answers of a read: a column per selector, a row per entity.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answers {
    /// How many rows each column has.
    pub rows: usize,
    /// The columns, in the order of the selectors.
    pub columns: Vec<AnswerColumn>,
}

impl Status {
    /// Every status, in the order of precedence. The position is the status's number on the wire.
    pub const ALL: [Self; 6] =
        [Self::Expired, Self::Incomplete, Self::Stale, Self::Unseen, Self::Empty, Self::Ok];

    /// The word for it: "expired", "incomplete", "stale", "unseen", "empty" or "ok".
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Incomplete => "incomplete",
            Self::Stale => "stale",
            Self::Unseen => "unseen",
            Self::Empty => "empty",
            Self::Ok => "ok",
        }
    }

    /// The status that a word stands for.
    pub fn parse(text: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str().as_bytes() == text)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Default for Values {
    /// An empty column of any values.
    fn default() -> Self {
        Self::Any(Vec::new())
    }
}

impl Values {
    /// An empty column of integers with room for `rows` values.
    pub fn ints(rows: usize) -> Self {
        Self::Int { values: Vec::with_capacity(rows), valid: Vec::with_capacity(rows) }
    }

    /// An empty column of doubles with room for `rows` values.
    pub fn doubles(rows: usize) -> Self {
        Self::Double { values: Vec::with_capacity(rows), valid: Vec::with_capacity(rows) }
    }

    /// An empty column of any values with room for `rows` values.
    pub fn any(rows: usize) -> Self {
        Self::Any(Vec::with_capacity(rows))
    }

    /// An empty column of lists with room for `rows` values.
    pub fn lists(kind: ListKind, rows: usize) -> Self {
        Self::Lists(kind, Vec::with_capacity(rows))
    }

    /// How many values there are, nils included.
    pub fn len(&self) -> usize {
        match self {
            Self::Int { values, .. } => values.len(),
            Self::Double { values, .. } => values.len(),
            Self::Lists(_, values) | Self::Any(values) => values.len(),
        }
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a value. A column that cannot hold it becomes one of any values first, and keeps
    /// what it held.
    pub fn push(&mut self, value: Value) {
        match (&mut *self, value) {
            (Self::Int { values, valid }, Value::Int(value)) => push_present(values, valid, value),
            (Self::Int { values, valid }, Value::Nil) => push_nil(values, valid),
            (Self::Double { values, valid }, Value::Double(value)) => {
                push_present(values, valid, value);
            }
            (Self::Double { values, valid }, Value::Nil) => push_nil(values, valid),
            (Self::Lists(kind, values), value) if kind.admits(&value) => values.push(value),
            (Self::Any(values), value) => values.push(value),
            (_, value) => self.promoted().push(value),
        }
    }

    /// As [`Values::push`] of a count.
    #[inline]
    pub(crate) fn push_count(&mut self, count: u64) {
        match (&mut *self, i64::try_from(count)) {
            (Self::Int { values, valid }, Ok(count)) => push_present(values, valid, count),
            _ => self.push(Value::from(count)),
        }
    }

    /// As [`Values::push`] of a double or nil.
    #[inline]
    pub(crate) fn push_double(&mut self, double: Option<f64>) {
        if let Self::Double { values, valid } = self {
            values.push(double.unwrap_or(0.0));
            valid.push(double.is_some());
            return;
        }
        self.push(double.map_or(Value::Nil, Value::Double));
    }

    /// The value of a row.
    ///
    /// # Panics
    /// Where there is no such row.
    pub fn get(&self, row: usize) -> Value {
        match self {
            Self::Int { values, valid } if valid[row] => Value::Int(values[row]),
            Self::Double { values, valid } if valid[row] => Value::Double(values[row]),
            Self::Int { .. } | Self::Double { .. } => Value::Nil,
            Self::Lists(_, values) | Self::Any(values) => values[row].clone(),
        }
    }

    /// Turns this column into one of any values and gives those.
    fn promoted(&mut self) -> &mut Vec<Value> {
        if !matches!(self, Self::Any(_)) {
            let values = (0..self.len()).map(|row| self.get(row)).collect();
            *self = Self::Any(values);
        }
        match self {
            Self::Any(values) => values,
            _ => unreachable!("the column was promoted"),
        }
    }
}

impl ListKind {
    /// Whether a value is nil or a list of this kind.
    pub fn admits(self, value: &Value) -> bool {
        let is_item = |item: &Value| match self.items {
            ColumnType::I64 => matches!(item, Value::Int(_)),
            ColumnType::F64 => matches!(item, Value::Double(_)),
            ColumnType::Str => matches!(item, Value::Text(_)),
        };
        let admits = |item: &Value| match item {
            Value::List(pair) if self.counted => {
                matches!(pair.as_slice(), [item, Value::Int(_)] if is_item(item))
            }
            item => !self.counted && is_item(item),
        };
        match value {
            Value::Nil => true,
            Value::List(items) => items.iter().all(admits),
            _ => false,
        }
    }
}

impl AnswerColumn {
    /// The window of a row.
    ///
    /// # Panics
    /// Where there is no such row.
    pub fn bounds_of(&self, row: usize) -> WindowBounds {
        match self.bounds.as_slice() {
            [shared] => *shared,
            own => own[row],
        }
    }
}

impl Answers {
    /// The value of a row and column.
    ///
    /// # Panics
    /// Where there is no such row or column.
    pub fn get(&self, row: usize, column: usize) -> Value {
        self.columns[column].values.get(row)
    }
}

fn push_present<T>(values: &mut Vec<T>, valid: &mut Vec<bool>, value: T) {
    values.push(value);
    valid.push(true);
}

fn push_nil<T: Default>(values: &mut Vec<T>, valid: &mut Vec<bool>) {
    values.push(T::default());
    valid.push(false);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_read_back_from_their_words() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status.as_str().as_bytes()), Some(status));
        }
        assert_eq!(Status::parse(b"fine"), None);
        assert!(Status::ALL.is_sorted(), "the order of the statuses is their precedence");
    }

    #[test]
    fn values_of_one_type_stay_in_their_column() {
        let mut ints = Values::ints(2);
        ints.push(Value::Int(3));
        ints.push(Value::Nil);
        assert_eq!(ints, Values::Int { values: vec![3, 0], valid: vec![true, false] });
        let mut doubles = Values::doubles(2);
        doubles.push(Value::Nil);
        doubles.push(Value::Double(0.5));
        assert_eq!(doubles, Values::Double { values: vec![0.0, 0.5], valid: vec![false, true] });
        assert_eq!((doubles.get(0), doubles.get(1)), (Value::Nil, Value::Double(0.5)));
    }

    #[test]
    fn a_column_that_cannot_hold_a_value_keeps_all_it_held() {
        let big = Value::Big(i128::from(i64::MAX) + 1);
        let mut values = Values::ints(3);
        for value in [Value::Int(1), Value::Nil, big.clone(), Value::Int(2)] {
            values.push(value);
        }
        let expected = vec![Value::Int(1), Value::Nil, big, Value::Int(2)];
        assert_eq!(values, Values::Any(expected));
        assert_eq!(values.len(), 4);
    }

    #[test]
    fn lists_stay_in_their_column_and_others_do_not() {
        let kind = ListKind { items: ColumnType::I64, counted: true };
        let pair = |count| Value::List(vec![Value::Int(7), Value::Int(count)]);
        let mut values = Values::lists(kind, 3);
        let fitting = vec![Value::List(vec![pair(2), pair(1)]), Value::Nil, Value::List(vec![])];
        fitting.iter().cloned().for_each(|value| values.push(value));
        assert_eq!(values, Values::Lists(kind, fitting.clone()));
        let other = Value::List(vec![Value::Int(7)]);
        values.push(other.clone());
        assert_eq!(values, Values::Any([fitting, vec![other]].concat()));
    }

    #[test]
    fn rows_share_a_single_window_or_have_their_own() {
        let bounds = |end| WindowBounds { start: None, end };
        let mut column = AnswerColumn {
            values: Values::any(2),
            statuses: vec![Status::Empty; 2],
            bounds: vec![bounds(1)],
            tiles_read: vec![0; 2],
        };
        assert_eq!(column.bounds_of(1), bounds(1));
        column.bounds = vec![bounds(1), bounds(2)];
        assert_eq!(column.bounds_of(1), bounds(2));
    }
}
