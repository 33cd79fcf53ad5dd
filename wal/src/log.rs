//! The write-ahead log. (Signatures; bodies follow.)

use std::ops::Range;
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::WalError;
use crate::lsn::Lsn;

/// How a log lays out its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// A file that has reached this many bytes is finished and a new one begun.
    pub file_bytes_max: u64,
    /// A file is filled with zeros this far ahead of its last batch.
    pub allocate_bytes: u64,
}

/// What opening a log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The files that were read, oldest first.
    pub files_read: Vec<String>,
    /// Files that were created but never came into use, and are removed now.
    pub files_removed: Vec<String>,
    /// Batches read, those below the manifest's LSN included.
    pub batches_read: u64,
    /// Records handed to `replay`.
    pub records_replayed: u64,
    /// The LSN that the next record gets.
    pub next_lsn: Lsn,
    /// The largest `now_ms` of the batches read.
    pub now_ms_max: Option<i64>,
    /// The torn tail that was cut, if there was one.
    pub cut: Option<Cut>,
}

/// A torn tail that recovery cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub file: String,
    /// Where the cut was made.
    pub offset: u64,
    /// The first LSN that was cut.
    pub lsn: Lsn,
    /// Bytes from the cut to the last byte that is not zero.
    pub bytes: u64,
    /// Batches found whole beyond the cut, and the records in them.
    pub batches_whole: u64,
    /// Records in those batches.
    pub records_whole: u64,
    /// What stood at the place of the cut.
    pub found: String,
}

/// What a log has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStatistics {
    /// Batches written.
    pub batches: u64,
    /// Records written.
    pub records: u64,
    /// Bytes of batches written, headers and padding inside frames included.
    pub bytes_written: u64,
    /// Bytes of zeros written ahead.
    pub bytes_allocated: u64,
    /// Syncs of files that held batches.
    pub syncs: u64,
    /// Files begun.
    pub files_created: u64,
    /// Files removed by `release`.
    pub files_released: u64,
}

/// The write-ahead log of one partition.
pub struct Log {}

/// A sync that has begun; run it on any thread.
pub struct SyncTask {}

/// A sync that has run; hand it to [`Log::sync_finish`].
pub struct SyncDone {}

impl SyncTask {
    /// Makes the bytes durable (fdatasync).
    #[must_use]
    pub fn run(self) -> SyncDone {
        unimplemented!()
    }
}

impl Log {
    /// Opens the log: reads it, cuts a torn tail, replays.
    pub fn open(
        _disk: Arc<dyn Disk>,
        _options: LogOptions,
        _manifest_durable: Lsn,
        _salt_seed: u64,
        _replay: &mut dyn FnMut(Lsn, i64, &[u8]),
    ) -> Result<(Self, RecoveryReport), WalError> {
        unimplemented!()
    }

    /// Writes one batch; it is not durable before the next sync.
    pub fn append(
        &mut self,
        _now_ms: i64,
        _records: &[impl AsRef<[u8]>],
    ) -> Result<Range<Lsn>, WalError> {
        unimplemented!()
    }

    /// Makes all batches durable; returns the first LSN that is not.
    pub fn sync(&mut self) -> Result<Lsn, WalError> {
        unimplemented!()
    }

    /// Begins a sync that another thread runs; `None` when everything is durable.
    pub fn sync_start(&mut self) -> Result<Option<SyncTask>, WalError> {
        unimplemented!()
    }

    /// Takes the result of a sync.
    pub fn sync_finish(&mut self, _done: SyncDone) -> Result<Lsn, WalError> {
        unimplemented!()
    }

    /// Removes files all of whose records are below `below`; returns how many.
    pub fn release(&mut self, _below: Lsn) -> Result<u64, WalError> {
        unimplemented!()
    }

    /// Syncs and seals the file, so that any later damage is noticed.
    pub fn close(self) -> Result<(), WalError> {
        unimplemented!()
    }

    /// The LSN that the next record gets.
    #[must_use]
    pub fn next_lsn(&self) -> Lsn {
        unimplemented!()
    }

    /// The first LSN that is not durable.
    #[must_use]
    pub fn durable_lsn(&self) -> Lsn {
        unimplemented!()
    }

    /// What the log has done since it was opened.
    #[must_use]
    pub fn statistics(&self) -> LogStatistics {
        unimplemented!()
    }
}
