//! When a write may be acknowledged. Knows nothing of how a log is synced.

use std::fmt;

/// What an acknowledged write survives. Whoever drives the log reads this to decide when to
/// call [`crate::Log::sync`]; the log itself does the same in every mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Acknowledged after an fdatasync: survives a power cut.
    Always,
    /// Synced every so many milliseconds: survives the end of the process; a power cut takes
    /// what was written since the last sync, always from the end.
    Interval,
    /// Synced when the kernel likes: survives the end of the process only.
    None,
}

impl Durability {
    /// The mode of this name: `always`, `interval` or `none`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "always" => Some(Self::Always),
            "interval" => Some(Self::Interval),
            "none" => Some(Self::None),
            _ => None,
        }
    }

    /// The mode's name, as `parse` reads it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Interval => "interval",
            Self::None => "none",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for mode in [Durability::Always, Durability::Interval, Durability::None] {
            assert_eq!(Durability::parse(mode.as_str()), Some(mode));
        }
        assert_eq!(Durability::parse("Always"), None);
    }
}
