//! Owns a store that is opened to be looked at alone: nothing is locked, repaired or removed, and
//! another process may be serving it.

use std::sync::Arc;

use tilekv_wal::{Disk, LogTail, read_log};

use crate::backup::no_store;
use crate::error::EngineError;
use crate::manifest::Manifest;
use crate::memory::Memory;
use crate::open::begin;
use crate::reader::Reader;
use crate::segment::Segment;
use crate::state_hash::StateHash;

/// A state of a store: its manifest with every whole batch of the log applied.
#[derive(Debug)]
pub struct Inspection {
    /// Reads from it.
    pub reader: Reader,
    /// What the log held.
    pub log: LogTail,
    /// The log's time at its last record, in milliseconds; the least i64 of a new store.
    pub now_ms: i64,
}

impl Inspection {
    /// Opens the store on `disk` for looking at it. Segments stay on disk; what the log holds is
    /// applied in memory.
    ///
    /// # Errors
    /// What opening the store would be refused for, and files that went meanwhile.
    pub fn open(disk: &Arc<dyn Disk>) -> Result<Self, EngineError> {
        let Some(manifest) = Manifest::load(&**disk)? else {
            return Err(no_store(&**disk));
        };
        let control = manifest.control()?;
        let memory = Arc::new(Memory::new(CACHE_BYTES, 0));
        let open = |id| Segment::open(&**disk, &memory, id, &control.catalog).map(Arc::new);
        let segments = manifest.segments.iter().rev().map(|id| open(*id));
        let segments = segments.collect::<Result<Vec<Arc<Segment>>, EngineError>>()?;
        let (shared, mut applied) = begin(disk, &manifest, control, segments, memory)?;
        let mut failure = None;
        let log = read_log(&**disk, manifest.flushed, &mut |lsn, now_ms, record| {
            if failure.is_none() {
                failure = applied.apply(&shared, lsn, now_ms, record).err();
            }
        })?;
        if let Some(error) = failure {
            return Err(error);
        }
        applied.publish(&shared);
        let now_ms = log.now_ms.unwrap_or(i64::MIN).max(manifest.now_ms);
        Ok(Self { reader: Reader { shared }, log, now_ms })
    }

    /// The hashes of the state, at the log's time.
    ///
    /// # Errors
    /// As [`crate::Version::state_hash`].
    pub fn state_hash(&self) -> Result<StateHash, EngineError> {
        self.reader.snapshot().state_hash(self.now_ms)
    }
}

/// Bytes of pages that are kept in memory.
const CACHE_BYTES: u64 = 64 << 20;
