//! What simulations have done, counted: a count of zero shows that something was never tried.
//! It knows nothing of how it is done.

use std::collections::BTreeMap;

/// Counts by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    counts: BTreeMap<&'static str, u64>,
}

impl Totals {
    /// Counts one more.
    pub fn add(&mut self, name: &'static str) {
        self.add_many(name, 1);
    }

    /// Counts so many more.
    pub fn add_many(&mut self, name: &'static str, count: u64) {
        *self.counts.entry(name).or_default() += count;
    }

    /// Takes over another's counts.
    pub fn merge(&mut self, other: &Self) {
        for (name, count) in &other.counts {
            self.add_many(name, *count);
        }
    }

    /// How often something happened.
    #[must_use]
    pub fn of(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    /// Which of these never happened.
    #[must_use]
    pub fn missing<'a>(&self, names: &[&'a str]) -> Vec<&'a str> {
        names.iter().copied().filter(|name| self.of(name) == 0).collect()
    }

    /// One line per count.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.counts.iter().map(|(name, count)| format!("{name}: {count}")).collect()
    }
}
