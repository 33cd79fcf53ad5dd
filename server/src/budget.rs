//! A byte budget that many threads draw from. Knows nothing of what the bytes are for.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes in use out of a maximum.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    bytes_max: usize,
}

impl Budget {
    /// Nothing used out of `bytes_max`.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { used: AtomicUsize::new(0), bytes_max }
    }

    /// Takes bytes if they fit. A taker gives them back with [`Budget::release`].
    pub(crate) fn try_take(&self, bytes: usize) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.bytes_max;
        if !fits {
            self.release(bytes);
        }
        fits
    }

    /// Takes bytes that are in memory already, even beyond the maximum.
    pub(crate) fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives bytes back.
    pub(crate) fn release(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "more bytes released than taken");
    }

    /// Whether the maximum is reached.
    pub(crate) fn is_spent(&self) -> bool {
        self.used() >= self.bytes_max
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// The maximum.
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_holds_on_both_sides() {
        let budget = Budget::new(10);
        assert!(budget.try_take(10));
        assert!(budget.is_spent());
        assert!(!budget.try_take(1));
        assert_eq!(budget.used(), 10);
        budget.release(1);
        assert!(!budget.is_spent());
        assert!(budget.try_take(1));
        budget.take(5);
        assert_eq!(budget.used(), 15);
        assert_eq!(budget.bytes_max(), 10);
    }
}
