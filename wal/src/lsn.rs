//! The log sequence number: a record's place in the log. Knows nothing of files.

use std::fmt;

/// A record's place in the log: 0 for the first record ever, and dense, so that the next
/// record's number is one more. A bound written as an `Lsn` is exclusive: "durable up to 7"
/// means that the records 0 to 6 are durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(u64);

impl Lsn {
    /// The place of the first record of a log.
    pub const ZERO: Self = Self(0);

    /// The place with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number itself.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The place `records` further on, or `None` past 2^64 - 1.
    #[must_use]
    pub fn forward(self, records: u64) -> Option<Self> {
        self.0.checked_add(records).map(Self)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forward_stops_at_the_end_of_the_numbers() {
        assert_eq!(Lsn::new(5).forward(2), Some(Lsn::new(7)));
        assert_eq!(Lsn::new(u64::MAX).forward(1), None);
    }
}
