//! Which of two values or entries wins: for min, max, first and last alike. Entries at equal
//! timestamps are ordered by value, numbers as numbers and strings bytewise.
//! It knows nothing of where values are kept.

use crate::scalar::ColumnType;
use std::cmp::Ordering;

/// Which end is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pick {
    /// The least: min and first.
    Least,
    /// The greatest: max and last.
    Greatest,
}

impl Pick {
    /// Whether a candidate that compares so to what is kept takes its place.
    #[inline]
    pub(crate) fn prefers(self, candidate: Ordering) -> bool {
        match self {
            Self::Least => candidate == Ordering::Less,
            Self::Greatest => candidate == Ordering::Greater,
        }
    }

    /// The better of two integers.
    #[inline]
    pub(crate) fn of_integers(self, one: i64, other: i64) -> i64 {
        match self {
            Self::Least => one.min(other),
            Self::Greatest => one.max(other),
        }
    }

    /// The better of two doubles, neither of which is NaN.
    #[inline]
    pub(crate) fn of_doubles(self, one: f64, other: f64) -> f64 {
        match self {
            Self::Least if other < one => other,
            Self::Greatest if one < other => other,
            Self::Least | Self::Greatest => one,
        }
    }
}

/// A number of a column as an integer that sorts as the number does.
#[inline]
pub(crate) fn sort_key(kind: ColumnType, word: u64) -> i64 {
    let bits = word.cast_signed();
    match kind {
        // Negative doubles sort backwards by their bits.
        ColumnType::F64 if bits < 0 => bits ^ i64::MAX,
        ColumnType::I64 | ColumnType::F64 | ColumnType::Str => bits,
    }
}
