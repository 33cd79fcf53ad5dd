//! Owns the memory ledger: one budget, and how much each use has taken of it. Knows nothing of
//! what the memory holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What memory is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryUse {
    /// Indexes and page directories of segments: always in memory.
    Index,
    /// Recent writes, until they are flushed.
    Overlay,
    /// Data of resident segments.
    Resident,
    /// Pages of cold segments that were read lately.
    Cache,
    /// Buffers of flushes, merges and jobs.
    Buffers,
    /// Records: hashes and strings under keys.
    Records,
}

impl MemoryUse {
    /// All uses.
    pub const ALL: [Self; 6] =
        [Self::Index, Self::Overlay, Self::Resident, Self::Cache, Self::Buffers, Self::Records];

    /// The use as metrics name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Overlay => "overlay",
            Self::Resident => "resident",
            Self::Cache => "cache",
            Self::Buffers => "buffers",
            Self::Records => "records",
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Index => 0,
            Self::Overlay => 1,
            Self::Resident => 2,
            Self::Cache => 3,
            Self::Buffers => 4,
            Self::Records => 5,
        }
    }
}

/// The budget, and what is taken of it.
#[derive(Debug)]
pub(crate) struct Ledger {
    bytes_max: u64,
    /// What is kept for overlays, whatever they take now: they may grow at any time.
    overlay_share: u64,
    used: [AtomicU64; MemoryUse::ALL.len()],
}

/// Memory that is taken; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Reservation {
    ledger: Arc<Ledger>,
    purpose: MemoryUse,
    bytes: u64,
}

impl Ledger {
    /// A ledger over `bytes_max`, of which `overlay_share` is kept for overlays.
    pub(crate) fn new(bytes_max: u64, overlay_share: u64) -> Self {
        let used = std::array::from_fn(|_| AtomicU64::new(0));
        Self { bytes_max, overlay_share: overlay_share.min(bytes_max / 2), used }
    }

    /// Takes memory that cannot be refused.
    pub(crate) fn take(self: &Arc<Self>, purpose: MemoryUse, bytes: u64) -> Reservation {
        self.used[purpose.index()].fetch_add(bytes, Ordering::Relaxed);
        Reservation { ledger: Arc::clone(self), purpose, bytes }
    }

    /// Takes memory for resident data, if there is room for it.
    pub(crate) fn reserve_resident(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        let taken = self.take(MemoryUse::Resident, bytes);
        (self.used(MemoryUse::Resident) <= self.room()).then_some(taken)
    }

    /// Notes what a use that keeps its own count takes now.
    pub(crate) fn set(&self, purpose: MemoryUse, bytes: u64) {
        self.used[purpose.index()].store(bytes, Ordering::Relaxed);
    }

    /// What a use has taken, in bytes.
    pub(crate) fn used(&self, purpose: MemoryUse) -> u64 {
        self.used[purpose.index()].load(Ordering::Relaxed)
    }

    /// The budget in bytes.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// What there is for resident data and cached pages beside indexes of `index` bytes, once
    /// nothing but overlays takes memory for a while.
    pub(crate) fn room_beside(&self, index: u64) -> u64 {
        let fixed = self.overlay_share.saturating_add(index);
        self.bytes_max.saturating_sub(fixed.saturating_add(self.used(MemoryUse::Records)))
    }

    /// What there is for resident data and cached pages together: the budget without what cannot
    /// be given up.
    pub(crate) fn room(&self) -> u64 {
        let overlays = self.used(MemoryUse::Overlay).max(self.overlay_share);
        let fixed = [MemoryUse::Index, MemoryUse::Buffers, MemoryUse::Records]
            .into_iter()
            .fold(0_u64, |total, purpose| total.saturating_add(self.used(purpose)));
        self.bytes_max.saturating_sub(overlays.saturating_add(fixed))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.ledger.used[self.purpose.index()].fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back_and_what_does_not_fit_is_refused() {
        let ledger = Arc::new(Ledger::new(1_000, 100));
        let index = ledger.take(MemoryUse::Index, 300);
        assert_eq!(ledger.room(), 600);
        let data = ledger.reserve_resident(600);
        assert!(data.is_some(), "exactly what there is");
        assert!(ledger.reserve_resident(1).is_none(), "one byte more");
        assert_eq!(ledger.used(MemoryUse::Resident), 600);
        drop((index, data));
        assert_eq!((ledger.room(), ledger.used(MemoryUse::Resident)), (900, 0));
    }

    #[test]
    fn overlays_beyond_their_share_take_from_the_rest() {
        let ledger = Ledger::new(1_000, 100);
        ledger.set(MemoryUse::Overlay, 250);
        assert_eq!(ledger.room(), 750);
        ledger.set(MemoryUse::Overlay, 5_000);
        assert_eq!(ledger.room(), 0);
    }
}
