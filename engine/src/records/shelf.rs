//! Owns what the one thread that changes records works with: which keys have changed since the
//! last freeze, and memory to build values in. Knows nothing of what the records hold.

use parking_lot::Mutex;

use super::key::Key;
use super::table::Garbage;
use crate::codec::bytes_u64;

/// The writer's side of the records.
#[derive(Debug, Default)]
pub(crate) struct RecordWriter {
    scratch: Vec<u8>,
    changed: ChangedRecords,
    listing: u64,
    is_loading: bool,
}

/// What has changed between two freezes: the keys, each at least once. Their records are looked up
/// when they are flushed ([RECORDFILE-6]).
#[derive(Default)]
pub(crate) struct ChangedRecords {
    /// Whether everything older was removed.
    pub(crate) is_cleared: bool,
    pub(crate) keys: Vec<Key>,
    /// Bytes of log records that made the changes.
    log_bytes: usize,
    /// Guards what clears have removed, until a background thread drops it.
    garbage: Mutex<Vec<Garbage>>,
}

impl RecordWriter {
    /// A writer that begins with the overlay whose first LSN is `listing`.
    pub(crate) fn new(listing: u64) -> Self {
        Self { listing, ..Self::default() }
    }

    /// A writer that fills an empty table from files: the order of keys is made at the end.
    pub(crate) fn loading() -> Self {
        Self { is_loading: true, ..Self::default() }
    }

    /// Whether the order of keys is made at the end.
    pub(crate) fn is_loading(&self) -> bool {
        self.is_loading
    }

    /// Memory to work in.
    pub(crate) fn scratch(&mut self) -> &mut Vec<u8> {
        if SCRATCH_BYTES_MAX < self.scratch.capacity() {
            self.scratch = Vec::new();
        }
        &mut self.scratch
    }

    /// What tells this list of changed keys from others.
    pub(crate) fn listing(&self) -> u64 {
        self.listing
    }

    /// Notes that the record under a key has changed.
    pub(crate) fn list(&mut self, key: &Key) {
        self.changed.keys.push(key.clone());
    }

    /// Notes that a log record of so many bytes was applied.
    pub(crate) fn note_applied(&mut self, bytes: usize) {
        self.changed.log_bytes += bytes;
    }

    /// Notes that all records were removed.
    pub(crate) fn note_clear(&mut self, garbage: Garbage) {
        self.changed.is_cleared = true;
        self.changed.keys.clear();
        self.changed.garbage.lock().push(garbage);
    }

    /// What has changed since the last freeze.
    pub(crate) fn changed(&self) -> &ChangedRecords {
        &self.changed
    }

    /// Begins anew for the overlay whose first LSN is `listing`; gives what has changed before.
    pub(crate) fn freeze(&mut self, listing: u64) -> ChangedRecords {
        self.listing = listing;
        std::mem::take(&mut self.changed)
    }

    /// Forgets what has changed: it came from files.
    pub(crate) fn forget_changes(&mut self) {
        self.changed = ChangedRecords::default();
    }
}

impl ChangedRecords {
    /// Bytes of log records that a flush of these changes sets free.
    pub(crate) fn log_bytes(&self) -> usize {
        self.log_bytes
    }

    /// Bytes of memory that the list takes.
    pub(crate) fn bytes(&self) -> u64 {
        bytes_u64(self.keys.capacity() * size_of::<Key>())
    }

    /// Drops what clears have removed: it may take long.
    pub(crate) fn drop_garbage(&self) {
        drop(std::mem::take(&mut *self.garbage.lock()));
    }
}

impl std::fmt::Debug for ChangedRecords {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} changed keys", self.keys.len())
    }
}

const SCRATCH_BYTES_MAX: usize = 1 << 20;
