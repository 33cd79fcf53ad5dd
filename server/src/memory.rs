//! What the allocator holds, as jemalloc counts it.

use tikv_jemalloc_ctl::{background_thread, epoch, stats};

/// Bytes that the allocator holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Bytes in live allocations.
    pub(crate) allocated: u64,
    /// Bytes of pages that hold live allocations.
    pub(crate) active: u64,
    /// Bytes of pages that are mapped to memory.
    pub(crate) resident: u64,
}

/// Lets the allocator return unused pages on a thread of its own, not on ours.
pub(crate) fn start_background_purge() {
    if let Err(error) = background_thread::write(true) {
        tracing::warn!(%error, "start the allocator's background thread");
    }
}

/// Reads the allocator's statistics; zeros if it does not keep them.
pub(crate) fn read() -> Memory {
    if epoch::advance().is_err() {
        return Memory::default();
    }
    Memory {
        allocated: bytes(stats::allocated::read()),
        active: bytes(stats::active::read()),
        resident: bytes(stats::resident::read()),
    }
}

fn bytes(value: Result<usize, tikv_jemalloc_ctl::Error>) -> u64 {
    value.ok().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allocator_counts() {
        let memory = read();
        assert!(memory.allocated > 0 && memory.resident >= memory.active);
    }
}
