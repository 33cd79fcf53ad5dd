//! Owns the memory of a store: the ledger, the page cache that takes what the ledger leaves over,
//! and the judgement which segments are resident. Knows nothing of how segments are read.

use std::sync::Arc;

use crate::ledger::{Ledger, MemoryUse, Reservation};
use crate::pages::{PageCache, PageCounters};

/// The memory that a store may use.
#[derive(Debug)]
pub(crate) struct Memory {
    ledger: Arc<Ledger>,
    cache: PageCache,
}

/// What a segment takes in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SegmentBytes {
    /// Its index and page directory: always.
    pub(crate) index: u64,
    /// Its data, where it is resident.
    pub(crate) data: u64,
}

/// What a store takes of its memory budget, and what reads from disk have done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryInfo {
    /// The budget in bytes.
    pub bytes_max: u64,
    /// Bytes in use, by what for.
    pub used: Vec<(MemoryUse, u64)>,
    /// What reads from disk have done.
    pub pages: PageCounters,
}

impl Memory {
    /// Memory of `bytes_max`, of which `overlay_share` is kept for overlays.
    pub(crate) fn new(bytes_max: u64, overlay_share: u64) -> Self {
        let ledger = Arc::new(Ledger::new(bytes_max, overlay_share));
        let cache = PageCache::new(ledger.room().min(CACHE_BYTES_MAX));
        Self { ledger, cache }
    }

    /// The page cache.
    pub(crate) fn cache(&self) -> &PageCache {
        &self.cache
    }

    /// Takes memory that cannot be refused.
    pub(crate) fn take(&self, purpose: MemoryUse, bytes: u64) -> Reservation {
        self.ledger.take(purpose, bytes)
    }

    /// Takes memory for the data of a segment, if there is room for it beside a cache. The cache
    /// gives way.
    pub(crate) fn reserve_resident(&self, bytes: u64) -> Option<Reservation> {
        let reservation = self.ledger.reserve_resident(bytes)?;
        self.fit_cache();
        Some(reservation)
    }

    /// Notes what overlays take now, and fits the cache to what is left over.
    pub(crate) fn note_overlays(&self, bytes: u64) {
        self.ledger.set(MemoryUse::Overlay, bytes);
        self.fit_cache();
    }

    /// Notes what records take now.
    pub(crate) fn note_records(&self, bytes: u64) {
        self.ledger.set(MemoryUse::Records, bytes);
    }

    /// Whether data of `bytes` could be made resident now.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        let resident = self.ledger.used(MemoryUse::Resident);
        resident.saturating_add(bytes) <= self.ledger.room()
    }

    /// What a use has taken, in bytes.
    pub(crate) fn used(&self, purpose: MemoryUse) -> u64 {
        self.ledger.used(purpose)
    }

    /// Which of `segments` (newest first) should be resident. All of them if they fit; else the
    /// newest ones that fit beside a share for the cache: new data is read most, and small
    /// segments, which are the new ones, cost least. The same segments are always judged the
    /// same, whatever is in use for a moment.
    pub(crate) fn judge(&self, segments: &[SegmentBytes]) -> Vec<bool> {
        let sum = |total: u64, bytes: u64| total.saturating_add(bytes);
        let index = segments.iter().map(|segment| segment.index).fold(0, sum);
        let data = segments.iter().map(|segment| segment.data).fold(0, sum);
        let room = self.ledger.room_beside(index);
        if data <= room {
            return vec![true; segments.len()];
        }
        let mut left = room - room / CACHE_PART;
        segments
            .iter()
            .map(|segment| {
                let fits = segment.data <= left;
                left -= if fits { segment.data } else { 0 };
                fits
            })
            .collect()
    }

    /// What is in use, by what for.
    pub(crate) fn info(&self) -> MemoryInfo {
        self.ledger.set(MemoryUse::Cache, self.cache.bytes());
        MemoryInfo {
            bytes_max: self.ledger.bytes_max(),
            used: MemoryUse::ALL.map(|purpose| (purpose, self.ledger.used(purpose))).to_vec(),
            pages: self.cache.counters(),
        }
    }

    fn fit_cache(&self) {
        let rest = self.ledger.room().saturating_sub(self.ledger.used(MemoryUse::Resident));
        self.cache.set_bytes_max(rest.min(CACHE_BYTES_MAX));
    }
}

/// The part of the room that the cache gets where not everything can be resident.
const CACHE_PART: u64 = 4;
/// More than any machine has, and far from where sums of weights overflow.
const CACHE_BYTES_MAX: u64 = 1 << 46;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_resident_while_it_fits_and_then_the_newest() {
        let memory = Memory::new(1_030, 0);
        let judge = |data: &[u64]| {
            let segments = data.iter().map(|&data| SegmentBytes { index: 10, data });
            memory.judge(&segments.collect::<Vec<_>>())
        };
        assert_eq!(judge(&[100, 200, 700]), [true, true, true]);
        // A quarter of the room is the cache's now.
        assert_eq!(judge(&[100, 200, 701]), [true, true, false]);
        assert_eq!(judge(&[100, 701, 200]), [true, false, true]);
        assert_eq!(judge(&[750, 1, 1_000]), [true, false, false]);
        assert_eq!(judge(&[]), Vec::<bool>::new());
    }

    #[test]
    fn the_cache_gives_way_to_resident_data_and_overlays() {
        let memory = Memory::new(1_000, 100);
        let resident = memory.reserve_resident(500);
        assert!(resident.is_some());
        assert!(memory.reserve_resident(401).is_none());
        memory.note_overlays(350);
        assert!(memory.reserve_resident(151).is_none());
        assert!(memory.reserve_resident(150).is_some());
    }
}
