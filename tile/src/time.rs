//! Timestamps and durations: their bounds, their text, and rounding to tile bounds.
//! It knows nothing of tiles' contents, and reads no clock.

use crate::error::{TileError, printable};
use crate::limits::TIME_MILLIS_MAX;
use std::fmt;

/// A point in time: milliseconds since 1970-01-01 UTC, from -2^53 to 2^53.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A duration: milliseconds, from 0 to 2^53.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(i64);

/// Rounds `millis` to a multiple of `step`, towards minus infinity. The result is exact wherever
/// it can be told in an i64, so for every timestamp and span.
///
/// # Panics
/// Where `step` is not positive.
pub const fn floor_to(millis: i64, step: i64) -> i64 {
    assert!(step > 0, "a step to round to is positive");
    millis - millis.rem_euclid(step)
}

impl Timestamp {
    /// The timestamp at `millis`, or an error beyond 2^53 either way.
    pub fn from_millis(millis: i64) -> Result<Self, TileError> {
        if (-TIME_MILLIS_MAX..=TIME_MILLIS_MAX).contains(&millis) {
            Ok(Self(millis))
        } else {
            Err(TileError::Timestamp { text: millis.to_string() })
        }
    }

    /// Reads `-?[0-9]+`.
    pub fn parse(text: &[u8]) -> Result<Self, TileError> {
        let error = || TileError::Timestamp { text: printable(text) };
        let (negative, digits) = match text.strip_prefix(b"-") {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let magnitude = parse_digits(digits).ok_or_else(error)?;
        Self::from_millis(if negative { -magnitude } else { magnitude }).map_err(|_| error())
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// The start of the step that holds this time. It may lie less than one step below the least
    /// timestamp.
    pub const fn floor(self, step: Span) -> Self {
        Self(floor_to(self.0, step.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// The units of a duration with their milliseconds, ascending.
const UNITS: [(&str, i64); 6] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 7 * 86_400_000),
];

/// The units in which a duration prints itself: weeks are read, but the field says `7d` and `28d`.
const UNIT_COUNT_PRINTED: usize = 5;

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// The span of `millis`, or an error below 0 or above 2^53.
    pub fn from_millis(millis: i64) -> Result<Self, TileError> {
        if (0..=TIME_MILLIS_MAX).contains(&millis) {
            Ok(Self(millis))
        } else {
            Err(TileError::Duration { text: format!("{millis}ms") })
        }
    }

    /// Reads one integer and one unit of `ms s m h d w`: `250ms`, `7d`.
    pub fn parse(text: &[u8]) -> Result<Self, TileError> {
        Self::parse_option(text).ok_or_else(|| TileError::Duration { text: printable(text) })
    }

    fn parse_option(text: &[u8]) -> Option<Self> {
        let unit_at = text.iter().position(|byte| !byte.is_ascii_digit())?;
        let (digits, unit) = text.split_at(unit_at);
        let (_, unit_millis) = UNITS.iter().find(|(name, _)| name.as_bytes() == unit)?;
        let millis = parse_digits(digits)?.checked_mul(*unit_millis)?;
        Self::from_millis(millis).ok()
    }

    /// Milliseconds.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whether this span is a whole number of `step`s; zero is a multiple of every step.
    ///
    /// # Panics
    /// Where `step` is zero.
    pub const fn is_multiple_of(self, step: Self) -> bool {
        floor_to(self.0, step.0) == self.0
    }
}

impl fmt::Display for Span {
    /// Prints the largest unit up to a day that divides the span: `90m`, `7d`, `0ms`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let printed = UNITS.iter().take(UNIT_COUNT_PRINTED);
        let dividing = printed.rev().find(|(_, millis)| self.0 != 0 && self.0 % millis == 0);
        let (name, millis) = dividing.unwrap_or(&UNITS[0]);
        write!(formatter, "{}{name}", self.0 / millis)
    }
}

/// The integer that a non-empty run of digits tells, if it fits.
fn parse_digits(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0i64, |value, digit| {
        if !digit.is_ascii_digit() {
            return None;
        }
        value.checked_mul(10)?.checked_add(i64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn span(text: &str) -> Span {
        Span::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn durations_read_every_unit() {
        let read: Vec<i64> = ["250ms", "30s", "5m", "1h", "7d", "2w"]
            .iter()
            .map(|text| span(text).millis())
            .collect();
        assert_eq!(read, [250, 30_000, 300_000, 3_600_000, 604_800_000, 1_209_600_000]);
    }

    #[test]
    fn durations_print_the_largest_dividing_unit() {
        for (read, printed) in [
            ("7d", "7d"),
            ("2w", "14d"),
            ("90m", "90m"),
            ("60m", "1h"),
            ("1500ms", "1500ms"),
            ("0d", "0ms"),
            ("007h", "7h"),
        ] {
            assert_eq!(span(read).to_string(), printed);
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_by_name() {
        for text in ["", "7", "d", "7x", "7D", "-7d", "+7d", "7 d", "7dd", "1h30m", "1.5h", "7d "] {
            let error = Span::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error, TileError::Duration { text: text.to_owned() });
        }
    }

    #[test]
    fn durations_end_at_their_limit() {
        assert_eq!(span("9007199254740992ms").millis(), TIME_MILLIS_MAX);
        for text in ["9007199254740993ms", "104249992w", "99999999999999999999s"] {
            assert!(Span::parse(text.as_bytes()).is_err(), "{text} is too long");
        }
        assert!(Span::from_millis(-1).is_err(), "a duration is not negative");
    }

    #[test]
    fn timestamps_end_at_their_limits() {
        for text in ["-9007199254740992", "9007199254740992", "0", "-0", "-1"] {
            let expected: i64 = text.parse().unwrap();
            assert_eq!(Timestamp::parse(text.as_bytes()).unwrap().millis(), expected);
        }
        for text in ["-9007199254740993", "9007199254740993", "", "-", "+1", "1.0", "1e3", " 1"] {
            let error = Timestamp::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error, TileError::Timestamp { text: text.to_owned() });
        }
    }

    proptest! {
        #[test]
        fn durations_read_back_as_printed(millis in 0..=TIME_MILLIS_MAX, unit in 0..UNITS.len()) {
            let whole = millis - millis % UNITS[unit].1;
            let printed = Span::from_millis(whole).unwrap().to_string();
            prop_assert_eq!(span(&printed).millis(), whole);
        }

        #[test]
        fn timestamps_read_back_as_printed(millis in -TIME_MILLIS_MAX..=TIME_MILLIS_MAX) {
            let printed = Timestamp::from_millis(millis).unwrap().to_string();
            prop_assert_eq!(Timestamp::parse(printed.as_bytes()).unwrap().millis(), millis);
        }

        #[test]
        fn rounding_goes_towards_minus_infinity(
            millis in -TIME_MILLIS_MAX..=TIME_MILLIS_MAX,
            step in 1i64..=TIME_MILLIS_MAX,
        ) {
            let floor = floor_to(millis, step);
            prop_assert!(floor <= millis && millis < floor + step);
            prop_assert_eq!(floor % step, 0);
        }

        #[test]
        fn no_text_panics(text in proptest::collection::vec(any::<u8>(), 0..24)) {
            if let Ok(read) = Span::parse(&text) {
                prop_assert!(read.millis() <= TIME_MILLIS_MAX);
            }
            if let Ok(read) = Timestamp::parse(&text) {
                prop_assert!(read.millis().abs() <= TIME_MILLIS_MAX);
            }
        }
    }
}
