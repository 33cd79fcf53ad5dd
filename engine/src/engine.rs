//! Owns the engine: the single writer of a store. It stages, commits and applies; flush and
//! compaction run elsewhere and come back as results. It has no clock, threads or randomness.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use tilekv_wal::{Disk, Durability, Log, LogStatistics, Lsn};

use crate::apply::Applied;
use crate::catalog::Catalog;
use crate::codec::bytes_u64;
use crate::error::EngineError;
use crate::jobs::Jobs;
use crate::ledger::MemoryUse;
use crate::manifest::{EncodedControl, Manifest};
use crate::open_job::SealedJob;
use crate::options::EngineOptions;
use crate::pending::Pending;
use crate::producer::ProducerTable;
use crate::reader::{Reader, Shared};
use crate::records::{ChangedRecords, StagedRecords};
use crate::segment::{SegmentId, SegmentIds};
use crate::version::Layer;
use crate::write::Write;

/// What is judged against: the applied state with everything pending on top.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    pub(crate) catalog: Catalog,
    /// Producers of the pending batch only.
    pub(crate) producers: ProducerTable,
    /// Jobs whose commit is in the pending batch.
    pub(crate) jobs: Vec<SealedJob>,
    /// Records that the pending batch changes.
    pub(crate) records: StagedRecords,
}

/// A layer that the manifest does not list yet and that takes no more writes: an overlay to be
/// flushed, or a job's segment. With it comes what the manifest will say of it.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) layer: Layer,
    /// The first LSN that neither it nor an older layer holds.
    pub(crate) end: Lsn,
    /// The log's time at the cut.
    pub(crate) now_ms: i64,
    pub(crate) catalog: Arc<Catalog>,
    /// [`encode_control`] of the state at the cut.
    pub(crate) control: Arc<EncodedControl>,
    /// Which records have changed.
    pub(crate) records: ChangedRecords,
}

/// What the background is doing.
#[derive(Debug, Default)]
pub(crate) struct Running {
    pub(crate) flush: bool,
    pub(crate) compaction: bool,
    pub(crate) load: bool,
    pub(crate) record_merge: bool,
}

/// Counts of what an engine has done since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineCounters {
    /// Batches committed.
    pub commits: u64,
    /// Overlays flushed to segments.
    pub flushes: u64,
    /// Compactions finished.
    pub compactions: u64,
    /// Bytes of segment files written, by flushes and compactions.
    pub segment_bytes_written: u64,
}

/// The single writer of a store.
pub struct Engine {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: EngineOptions,
    pub(crate) shared: Arc<Shared>,
    pub(crate) log: Log,
    pub(crate) manifest: Manifest,
    pub(crate) segment_ids: Arc<SegmentIds>,
    pub(crate) jobs: Arc<Jobs>,
    /// The catalog as of the manifest's flushed LSN: what merges may rely on, since no power cut
    /// takes it back.
    pub(crate) flushed_catalog: Arc<Catalog>,
    pub(crate) staged: Staged,
    pub(crate) applied: Applied,
    pub(crate) pending: Pending,
    /// Memory to gather the fields of a write in.
    pub(crate) field_scratch: Vec<u8>,
    /// Oldest first.
    pub(crate) frozen: VecDeque<Arc<Frozen>>,
    pub(crate) running: Running,
    pub(crate) counters: EngineCounters,
    /// Log bytes written before the active overlay began.
    pub(crate) log_bytes_at_freeze: u64,
    /// The log's time at the first write to the active overlay.
    pub(crate) overlay_began_ms: Option<i64>,
    /// Segments of which a page could not be read back: they are neither merged nor loaded.
    pub(crate) damaged: BTreeSet<SegmentId>,
    /// The log's time: the greatest clock reading it was given.
    pub(crate) now_ms: i64,
    /// The log's time at the last commit: a clock that jumps ahead and back between commits makes
    /// nothing expire for good.
    pub(crate) committed_ms: i64,
    /// Keeps other processes out of the folder.
    pub(crate) _lock: Box<dyn Send>,
}

impl Engine {
    /// A handle for reading.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader { shared: Arc::clone(&self.shared) }
    }

    /// The jobs of this store: any thread may fill them while the engine goes on.
    #[must_use]
    pub fn jobs(&self) -> Arc<Jobs> {
        Arc::clone(&self.jobs)
    }

    /// Writes what is pending to the log, makes it durable as the options say, and applies it, so
    /// that reads see it.
    ///
    /// # Errors
    /// [`EngineError::NoSpace`]: nothing of the batch was kept, and every write in it is refused.
    /// Any other error is fatal: the store on disk is in doubt, and the process must end.
    pub fn commit(&mut self) -> Result<(), EngineError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let records: Vec<&[u8]> = self.pending.records().collect();
        let lsns = match self.log.append(self.now_ms, &records) {
            Ok(lsns) => lsns,
            Err(error) => {
                self.discard_pending();
                return Err(error.into());
            }
        };
        if self.options.durability == Durability::Always {
            self.log.sync()?;
        }
        self.apply_pending(lsns.start)?;
        self.counters.commits += 1;
        self.measure_memory();
        self.freeze_if_full();
        Ok(())
    }

    /// Makes everything committed durable: what `interval` does on its timer.
    ///
    /// # Errors
    /// Every error is fatal.
    pub fn sync(&mut self) -> Result<(), EngineError> {
        self.log.sync()?;
        Ok(())
    }

    /// Makes everything committed durable and seals the log, so that later damage to any of it is
    /// noticed. What is pending is dropped.
    ///
    /// # Errors
    /// Every error is fatal.
    pub fn close(self) -> Result<(), EngineError> {
        Ok(self.log.close()?)
    }

    /// Bytes of the pending batch.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pending.bytes()
    }

    /// Writes in the pending batch.
    #[must_use]
    pub fn pending_records(&self) -> usize {
        self.pending.len()
    }

    /// What the engine has done since it was opened.
    #[must_use]
    pub fn counters(&self) -> EngineCounters {
        self.counters
    }

    /// What the log has done since it was opened.
    #[must_use]
    pub fn log_statistics(&self) -> LogStatistics {
        self.log.statistics()
    }

    /// The first LSN that is not known to be durable.
    #[must_use]
    pub fn durable_lsn(&self) -> Lsn {
        self.log.durable_lsn()
    }

    /// The LSN that the next record gets.
    #[must_use]
    pub fn next_lsn(&self) -> Lsn {
        self.log.next_lsn()
    }

    /// Freezes the active overlay, so that the next flush moves the checkpoint up to now.
    pub fn freeze(&mut self) {
        let frozen = self.applied.freeze(&self.shared, self.log.next_lsn(), self.committed_ms);
        self.adopt_frozen(frozen);
    }

    /// Takes over overlays that applying has frozen.
    pub(crate) fn adopt_frozen(&mut self, frozen: impl IntoIterator<Item = Frozen>) {
        for frozen in frozen {
            self.log_bytes_at_freeze = self.log.statistics().bytes_written;
            self.overlay_began_ms = None;
            self.frozen.push_back(Arc::new(frozen));
        }
    }

    pub(crate) fn advance_clock(&mut self, now_ms: i64) -> i64 {
        self.now_ms = self.now_ms.max(now_ms);
        self.now_ms
    }

    /// Refuses writes that add to a store whose indexes leave nothing of its memory budget: data
    /// goes cold, indexes do not.
    pub(crate) fn check_memory(&self, write: &Write) -> Result<(), EngineError> {
        if !self.is_memory_full() || write.is_removal() {
            return Ok(());
        }
        let used = |purpose| self.shared.memory.used(purpose);
        Err(EngineError::Limit(format!(
            "the indexes of the store take {} bytes of memory and its records {}, its budget is \
             {}; delete entities or records, shorten a retention, or give it more",
            used(MemoryUse::Index),
            used(MemoryUse::Records),
            self.options.memory_bytes_max
        )))
    }

    /// Whether what cannot leave memory takes all of the budget.
    pub(crate) fn is_memory_full(&self) -> bool {
        let memory = &self.shared.memory;
        let fixed = memory.used(MemoryUse::Index) + memory.used(MemoryUse::Records);
        let room = self.options.memory_bytes_max.saturating_sub(self.options.overlay_share());
        room.max(self.options.memory_bytes_max / 2) < fixed
    }

    /// Measures what overlays take in memory.
    pub(crate) fn measure_memory(&mut self) {
        let overlays = self.shared.version.load().overlay_bytes();
        let listed: u64 = self.frozen.iter().map(|frozen| frozen.records.bytes()).sum();
        let lists = listed + self.applied.changed_records().bytes();
        self.shared.memory.note_records(self.applied.records().bytes() + lists);
        self.shared.memory.note_overlays(bytes_u64(overlays));
    }

    /// Refuses writes while too many overlays wait to be flushed.
    pub(crate) fn check_backlog(&self) -> Result<(), EngineError> {
        let is_overlay = |frozen: &&Arc<Frozen>| matches!(frozen.layer, Layer::Overlay(_));
        if self.frozen.iter().filter(is_overlay).count() < self.options.frozen_count_max {
            return Ok(());
        }
        Err(EngineError::Busy { retry_ms: BACKLOG_RETRY_MS })
    }

    fn apply_pending(&mut self, first: Lsn) -> Result<(), EngineError> {
        self.committed_ms = self.now_ms;
        let pending = std::mem::take(&mut self.pending);
        for (index, record) in pending.records().enumerate() {
            let lsn = Lsn::new(first.number() + bytes_u64(index));
            self.applied.apply(&self.shared, lsn, self.now_ms, record)?;
        }
        self.pending = pending;
        self.pending.clear();
        if self.applied.take_changed() {
            self.staged.catalog = self.applied.catalog.clone();
            self.applied.publish(&self.shared);
        }
        self.staged.producers = ProducerTable::default();
        self.staged.records.reset();
        self.staged.jobs.drain(..).for_each(SealedJob::commit);
        let frozen = self.applied.take_frozen();
        self.adopt_frozen(frozen);
        self.overlay_began_ms.get_or_insert(self.now_ms);
        Ok(())
    }

    /// Freezes an overlay whose first write is older than the options allow.
    pub(crate) fn freeze_if_old(&mut self) {
        let age = self.overlay_began_ms.map_or(0, |began| self.now_ms - began);
        if self.options.overlay_age_ms_max <= age && self.frozen.is_empty() {
            self.freeze();
        }
    }

    fn discard_pending(&mut self) {
        self.pending.clear();
        self.staged.catalog = self.applied.catalog.clone();
        self.staged.producers = ProducerTable::default();
        self.staged.records.reset();
        self.staged.jobs.clear();
        self.applied.discard_segments();
    }

    fn freeze_if_full(&mut self) {
        let log_bytes = self.log.statistics().bytes_written - self.log_bytes_at_freeze;
        let written = self.applied.overlay().bytes() + self.applied.changed_records().log_bytes();
        let is_full = self.options.overlay_bytes_max <= written;
        if is_full || self.options.log_file_bytes_max * LOG_FILES_MAX <= log_bytes {
            self.freeze();
        }
    }
}

/// Log files that may wait for one flush: bounds the time to recover.
const LOG_FILES_MAX: u64 = 4;
/// What a write refused for the flush backlog is told to wait.
const BACKLOG_RETRY_MS: u64 = 20;
