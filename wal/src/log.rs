//! The write-ahead log: batches in, files out, one sync for all that wait. Knows nothing of
//! what the records mean, and has no clock and no threads.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crate::batch::{BatchSize, encode_batch};
use crate::disk::{Disk, DiskError, DiskFile};
use crate::error::WalError;
use crate::file_walk::Place;
use crate::frame::{FrameHeader, FrameKind};
use crate::limits::{
    ALLOCATE_BYTES_LEAST, ALLOCATE_BYTES_MOST, BUFFER_BYTES_KEPT, FILE_BYTES_LEAST,
    FILE_BYTES_MOST, HEADER_BYTES, PAGE_BYTES,
};
use crate::log_file::{LogFile, name_of, page_after, salt_of};
use crate::lsn::Lsn;
use crate::number::u64_of;
use crate::recovery::{Recovery, RecoveryReport, Replay, recover};
use crate::repair::repair;

/// The write-ahead log of one partition.
///
/// Batches are appended by one writer and become durable by a sync, in order. After any failed
/// write or sync the log is poisoned: every later call answers [`WalError::Poisoned`], and the
/// process has to end, since nobody can tell what of the unsynced bytes is on the disk.
pub struct Log {
    disk: Arc<dyn Disk>,
    options: LogOptions,
    salt_seed: u64,
    /// All files, oldest first; the last is the active one, or the last that was sealed.
    files: VecDeque<FileSpan>,
    active: Option<ActiveFile>,
    next_number: u64,
    /// What the next batch follows.
    place: Place,
    durable_lsn: Lsn,
    sync_runs: bool,
    /// The last batch's bytes; kept for its capacity.
    buffer: Vec<u8>,
    poison: Option<String>,
    statistics: LogStatistics,
}

/// How a log lays out its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// A file that a batch would take past this many bytes is finished and a new one begun.
    pub file_bytes_max: u64,
    /// A file is filled with zeros ahead of its batches, this many bytes at a time.
    pub allocate_bytes: u64,
}

/// What a log has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStatistics {
    /// Batches written.
    pub batches: u64,
    /// Records written.
    pub records: u64,
    /// Bytes of batches written, their headers, tables and padding included.
    pub bytes_written: u64,
    /// Bytes by which files were filled ahead.
    pub bytes_allocated: u64,
    /// Syncs of batches that succeeded.
    pub syncs: u64,
    /// Files begun.
    pub files_begun: u64,
    /// Files removed by `release`.
    pub files_released: u64,
}

/// A sync that has begun and is to be run, on any thread. While it runs, the log takes further
/// batches, which it does not cover.
#[must_use = "a log whose sync was begun waits for its result"]
pub struct SyncTask {
    file: Arc<dyn DiskFile>,
    up_to: Lsn,
}

/// A sync that has run; [`Log::sync_finish`] takes it.
#[must_use = "a log whose sync was begun waits for its result"]
pub struct SyncDone {
    result: Result<(), DiskError>,
    up_to: Lsn,
}

impl SyncTask {
    /// Makes the bytes durable (fdatasync); takes as long as the disk does.
    pub fn run(self) -> SyncDone {
        SyncDone { result: self.file.sync(), up_to: self.up_to }
    }
}

impl Log {
    /// Opens the log of a folder: reads it, hands each record from `manifest_durable` on to
    /// `replay` (with its LSN and its batch's `now_ms`), cuts a torn tail, and makes all that
    /// was read durable. The next append begins a new file.
    ///
    /// The caller holds the folder's lock. `manifest_durable` is the LSN that the manifest
    /// proves durable: the records below it are not needed, and [`Log::durable_lsn`] had
    /// reached it before the manifest was written. `salt_seed` should differ from run to run.
    ///
    /// # Errors
    /// [`WalError::Corrupt`], [`WalError::Missing`] and [`WalError::Version`], before anything
    /// is changed; what `replay` was given is then to be thrown away. [`WalError::Disk`], and
    /// [`WalError::Option`].
    pub fn open(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        manifest_durable: Lsn,
        salt_seed: u64,
        replay: Replay<'_>,
    ) -> Result<(Self, RecoveryReport), WalError> {
        options.check()?;
        let recovery = recover(&*disk, manifest_durable, replay)?;
        repair(&*disk, &recovery)?;
        let report = recovery.report.clone();
        Ok((Self::after(disk, options, salt_seed, recovery), report))
    }

    /// Begins the log of a folder that was restored without its log files: the first record
    /// gets `first_lsn`. Where there is a log already, use [`Log::open`].
    ///
    /// # Errors
    /// [`WalError::Missing`] when the folder holds a log, [`WalError::Disk`],
    /// [`WalError::Option`], and as [`Log::append`].
    pub fn create(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        first_lsn: Lsn,
        salt_seed: u64,
    ) -> Result<Self, WalError> {
        options.check()?;
        let recovery = recover(&*disk, Lsn::ZERO, &mut |_, _, _| ())?;
        if let Some(file) = recovery.report.files_read.first() {
            let found = format!("{file} is there, and a log is created only where none is");
            return Err(WalError::Missing { folder: disk.folder(), expected: first_lsn, found });
        }
        repair(&*disk, &recovery)?;
        let mut log = Self::after(disk, options, salt_seed, recovery);
        log.place.lsn = first_lsn;
        log.durable_lsn = first_lsn;
        log.begin_file(0)?;
        Ok(log)
    }

    /// Reads the log as [`Log::open`] does, and changes nothing.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn inspect(
        disk: &dyn Disk,
        manifest_durable: Lsn,
        replay: Replay<'_>,
    ) -> Result<RecoveryReport, WalError> {
        recover(disk, manifest_durable, replay).map(|recovery| recovery.report)
    }

    /// Writes one batch, all of it or nothing to those who read the log later, and returns its
    /// LSNs. It is durable once a later sync returned Ok. No records, no batch.
    ///
    /// # Errors
    /// [`WalError::NoSpace`] and [`WalError::TooLarge`]: nothing was written, and the log stays
    /// usable. [`WalError::Failed`] and [`WalError::Poisoned`]: for good.
    pub fn append(
        &mut self,
        now_ms: i64,
        records: &[impl AsRef<[u8]>],
    ) -> Result<Range<Lsn>, WalError> {
        self.check_poison()?;
        let first_lsn = self.place.lsn;
        let size = BatchSize::of(records)?;
        let Some(next_lsn) = first_lsn.forward(u64::from(size.record_count)) else {
            return Err(WalError::TooLarge {
                records: records.len(),
                bytes: size.frame_bytes,
                limit: "a log holds 2^64 - 1 records",
            });
        };
        if next_lsn == first_lsn {
            return Ok(first_lsn..first_lsn);
        }
        self.make_room(u64_of(size.frame_bytes))?;
        self.write_batch(now_ms, size, records)?;
        self.place.lsn = next_lsn;
        self.statistics.batches += 1;
        self.statistics.records += u64::from(size.record_count);
        self.statistics.bytes_written += u64_of(size.frame_bytes);
        Ok(first_lsn..next_lsn)
    }

    /// Makes every batch durable; returns the first LSN that is not, which is the next one.
    ///
    /// # Errors
    /// [`WalError::Failed`] and [`WalError::Poisoned`]: for good.
    ///
    /// # Panics
    /// When a sync that was begun has not been finished.
    pub fn sync(&mut self) -> Result<Lsn, WalError> {
        match self.sync_start()? {
            Some(task) => self.sync_finish(task.run()),
            None => Ok(self.durable_lsn),
        }
    }

    /// Begins a sync of the batches written so far, to be run on another thread; `None` when
    /// all are durable.
    ///
    /// # Errors
    /// [`WalError::Poisoned`].
    ///
    /// # Panics
    /// When a sync that was begun has not been finished.
    pub fn sync_start(&mut self) -> Result<Option<SyncTask>, WalError> {
        self.check_poison()?;
        assert!(!self.sync_runs, "one sync at a time: two would share the kernel's one report");
        let Some(active) = &mut self.active else {
            return Ok(None);
        };
        if self.durable_lsn == self.place.lsn {
            return Ok(None);
        }
        self.sync_runs = true;
        // The next batch leaves the synced pages alone ([WAL-12]).
        active.position = page_after(active.position);
        Ok(Some(SyncTask { file: Arc::clone(&active.file), up_to: self.place.lsn }))
    }

    /// Takes the result of a sync; returns the first LSN that is not durable.
    ///
    /// # Errors
    /// [`WalError::Failed`]: for good.
    ///
    /// # Panics
    /// When no sync was begun.
    pub fn sync_finish(&mut self, done: SyncDone) -> Result<Lsn, WalError> {
        assert!(self.sync_runs, "a sync is begun before it is finished");
        self.sync_runs = false;
        done.result.map_err(|source| self.fail("sync a batch", source))?;
        self.durable_lsn = done.up_to;
        self.statistics.syncs += 1;
        Ok(self.durable_lsn)
    }

    /// Removes the files all of whose records are below an LSN, but never the newest file
    /// ([WAL-32]); returns how many were removed. Call it once a manifest with that LSN is durable.
    /// Where all records are below it, a newest file that has grown is left for a new one first:
    /// a log at rest takes little disk.
    ///
    /// # Errors
    /// [`WalError::Disk`] when a file could not be removed: it is tried again by the next
    /// call. [`WalError::Poisoned`], and [`WalError::Failed`] for good.
    pub fn release(&mut self, below: Lsn) -> Result<u64, WalError> {
        self.check_poison()?;
        let has_grown = |active: &ActiveFile| self.options.allocate_bytes < active.position;
        let is_at_rest = below == self.durable_lsn && below == self.place.lsn && !self.sync_runs;
        if is_at_rest && self.active.as_ref().is_some_and(has_grown) {
            self.seal()?;
            match self.begin_file(0) {
                Ok(()) | Err(WalError::NoSpace { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let mut removed = 0;
        while self.files.get(1).is_some_and(|next| next.first_lsn <= below) {
            match self.disk.remove(&self.files[0].name) {
                Ok(()) | Err(DiskError::NotFound { .. }) => {}
                Err(source) => {
                    return Err(WalError::Disk { verb: "release a file", source });
                }
            }
            self.files.pop_front();
            self.statistics.files_released += 1;
            removed += 1;
        }
        Ok(removed)
    }

    /// Syncs and seals the active file, so that any later damage to any batch is noticed.
    ///
    /// # Errors
    /// As [`Log::sync`].
    ///
    /// # Panics
    /// When a sync that was begun has not been finished.
    pub fn close(mut self) -> Result<(), WalError> {
        self.seal()
    }

    /// The LSN that the next record gets.
    #[must_use]
    pub fn next_lsn(&self) -> Lsn {
        self.place.lsn
    }

    /// The first LSN that is not known to be durable.
    #[must_use]
    pub fn durable_lsn(&self) -> Lsn {
        self.durable_lsn
    }

    /// How many files the log has.
    #[must_use]
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    /// What the log has done since it was opened.
    #[must_use]
    pub fn statistics(&self) -> LogStatistics {
        self.statistics
    }

    fn after(disk: Arc<dyn Disk>, options: LogOptions, salt_seed: u64, recovery: Recovery) -> Self {
        let next_number = recovery.files.last().map_or(1, |last| last.number + 1);
        let unused = &recovery.report.files_unused;
        let in_use = |file: &LogFile| !unused.contains(&file.name);
        let files = recovery.files.into_iter().filter(in_use).map(FileSpan::of).collect();
        Self {
            disk,
            options,
            salt_seed,
            files,
            active: None,
            next_number,
            place: recovery.place,
            durable_lsn: recovery.place.lsn,
            sync_runs: false,
            buffer: Vec::new(),
            poison: None,
            statistics: LogStatistics::default(),
        }
    }

    /// Finds a file with room for a frame, sealing and beginning files as needed. Here is
    /// where space runs out: before anything of the batch is written.
    fn make_room(&mut self, frame_bytes: u64) -> Result<(), WalError> {
        if self.active.as_ref().is_some_and(|active| self.is_full(active, frame_bytes)) {
            self.seal()?;
        }
        if self.active.is_none() {
            self.begin_file(frame_bytes)?;
        }
        let (step, active) = (self.options.allocate_bytes, &mut self.active);
        let Some(active) = active else { unreachable!("a file was begun just now") };
        match active.reserve(frame_bytes, step) {
            Ok(allocated) => {
                self.statistics.bytes_allocated += allocated;
                Ok(())
            }
            Err(source) if source.is_no_space() => Err(WalError::NoSpace { source }),
            Err(source) => Err(self.fail("fill its file ahead", source)),
        }
    }

    /// A file is left only when no sync of it runs: the kernel reports an error of writing
    /// back to one of two syncs, and the other would vouch for lost bytes.
    fn is_full(&self, active: &ActiveFile, frame_bytes: u64) -> bool {
        let holds_batches = PAGE_BYTES < active.position;
        let end = active.position + frame_bytes;
        holds_batches && !self.sync_runs && self.options.file_bytes_max < end
    }

    /// Writes the batch with what is durable by now ([WAL-15]).
    fn write_batch(
        &mut self,
        now_ms: i64,
        size: BatchSize,
        records: &[impl AsRef<[u8]>],
    ) -> Result<(), WalError> {
        let Some(active) = &mut self.active else { unreachable!("room was made for the batch") };
        let bare = FrameHeader::bare(FrameKind::Batch, active.salt, self.place.lsn, self.place.crc);
        let mut header = FrameHeader { durable_lsn: self.durable_lsn, now_ms, ..bare };
        encode_batch(&mut header, size, records, &mut self.buffer);
        let end = active.position + u64_of(self.buffer.len());
        assert!(end <= active.allocated, "a batch is written only to space that is there");
        let written = active.file.write_at(active.position, &self.buffer);
        active.position = end;
        self.place.crc = header.crc;
        if BUFFER_BYTES_KEPT < self.buffer.capacity() {
            self.buffer = Vec::new();
        }
        written.map_err(|source| self.fail("write a batch", source))
    }

    /// Makes the active file's batches durable, says so at its end, and leaves it.
    fn seal(&mut self) -> Result<(), WalError> {
        // The end frame vouches for every batch before it, so that it is not even written
        // before they are durable ([WAL-16]).
        self.sync()?;
        let Some(active) = self.active.take() else {
            return Ok(());
        };
        let mut end =
            FrameHeader::bare(FrameKind::End, active.salt, self.place.lsn, self.place.crc);
        let written = active.file.write_at(page_after(active.position), &end.encode());
        let sealed = written.and_then(|()| active.file.sync());
        sealed.map_err(|source| self.fail("seal a file", source))
    }

    /// Begins a file: durable itself, start frame and name, before it takes a batch ([WAL-18]).
    fn begin_file(&mut self, frame_bytes: u64) -> Result<(), WalError> {
        assert!(self.durable_lsn == self.place.lsn, "a file begins after durable records only");
        let (number, place) = (self.next_number, self.place);
        // Never used again, even if beginning the file fails: what it left may come back.
        self.next_number += 1;
        let name = name_of(number);
        let salt = salt_of(self.salt_seed, number, place.lsn, place.crc);
        let allocated = match self.allocate_file(&name, frame_bytes) {
            Err(source) if source.is_no_space() => {
                // Should this fail too, the empty file is removed when the log is opened.
                let _left_behind = self.disk.remove(&name);
                return Err(WalError::NoSpace { source });
            }
            result => result.map_err(|source| self.fail("begin a file", source))?,
        };
        let (file, bytes) = allocated;
        let mut start = FrameHeader::bare(FrameKind::Start, salt, place.lsn, place.crc);
        let written = file.write_at(0, &start.encode()).and_then(|()| file.sync());
        let durable = written.and_then(|()| self.disk.sync_folder());
        durable.map_err(|source| self.fail("begin a file", source))?;
        self.place.crc = start.crc;
        self.files.push_back(FileSpan { name, first_lsn: place.lsn });
        self.active = Some(ActiveFile { file, salt, position: PAGE_BYTES, allocated: bytes });
        self.statistics.files_begun += 1;
        self.statistics.bytes_allocated += bytes;
        Ok(())
    }

    fn allocate_file(
        &self,
        name: &str,
        frame_bytes: u64,
    ) -> Result<(Arc<dyn DiskFile>, u64), DiskError> {
        let file: Arc<dyn DiskFile> = Arc::from(self.disk.create(name)?);
        // Where no batch waits for the file, it is not filled ahead before one comes.
        let step = if frame_bytes == 0 { PAGE_BYTES } else { self.options.allocate_bytes };
        let bytes = space_for(PAGE_BYTES + frame_bytes, step);
        file.allocate(bytes)?;
        Ok((file, bytes))
    }

    /// After a failure nothing more is written ([WAL-20]).
    fn check_poison(&self) -> Result<(), WalError> {
        match &self.poison {
            Some(cause) => Err(WalError::Poisoned { cause: cause.clone() }),
            None => Ok(()),
        }
    }

    fn fail(&mut self, verb: &'static str, source: DiskError) -> WalError {
        let error = WalError::Failed { verb, source };
        self.poison = Some(error.to_string());
        error
    }
}

impl LogOptions {
    fn check(&self) -> Result<(), WalError> {
        let within = |option, found, least, most| {
            if (least..=most).contains(&found) {
                return Ok(());
            }
            Err(WalError::Option { option, found, least, most })
        };
        within("file_bytes_max", self.file_bytes_max, FILE_BYTES_LEAST, FILE_BYTES_MOST)?;
        let (least, most) = (ALLOCATE_BYTES_LEAST, ALLOCATE_BYTES_MOST);
        within("allocate_bytes", self.allocate_bytes, least, most)
    }
}

/// A file and where it begins.
struct FileSpan {
    name: String,
    first_lsn: Lsn,
}

impl FileSpan {
    /// A file without a good start frame is only kept when it lies wholly below the manifest's
    /// LSN, where its own place does not matter.
    fn of(file: LogFile) -> Self {
        Self { first_lsn: file.first_lsn().unwrap_or(Lsn::ZERO), name: file.name }
    }
}

/// The file that takes batches.
struct ActiveFile {
    file: Arc<dyn DiskFile>,
    salt: u64,
    /// Where the next batch goes.
    position: u64,
    /// Bytes that are filled with zeros or batches.
    allocated: u64,
}

impl ActiveFile {
    /// Fills the file ahead for a frame and an end frame after it; returns the bytes added.
    fn reserve(&mut self, frame_bytes: u64, step: u64) -> Result<u64, DiskError> {
        let wanted = space_for(self.position + frame_bytes, step);
        if wanted <= self.allocated {
            return Ok(0);
        }
        self.file.allocate(wanted)?;
        let added = wanted - self.allocated;
        self.allocated = wanted;
        Ok(added)
    }
}

/// Bytes of a file whose batches reach to `end`, with its end frame, in whole steps.
fn space_for(end: u64, step: u64) -> u64 {
    (page_after(end) + u64_of(HEADER_BYTES)).next_multiple_of(step)
}
