//! Reads or copies a log while its owner goes on appending to it: what is whole is decided as
//! recovery decides it, and what is still being written is left out ([WAL-35] to [WAL-37]).
//! Changes nothing of the log.

use crate::batch::Batch;
use crate::disk::{Disk, DiskError};
use crate::error::WalError;
use crate::file_walk::{Found, Place, Stop, scan, walk_on};
use crate::file_window::FileWindow;
use crate::frame::{FrameHeader, FrameKind};
use crate::limits::{CATCH_UP_ROUNDS_MAX, PAGE_BYTES};
use crate::log_file::{LogFile, find_files, page_after};
use crate::lsn::Lsn;
use crate::number::u64_of;
use crate::recovery::{Replay, check_unused};

/// Where a log that was read ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogTail {
    /// The files that were read, oldest first.
    pub files: Vec<String>,
    /// Batches read, those below the manifest's LSN included.
    pub batches: u64,
    /// Records handed on.
    pub records: u64,
    /// The LSN after the last record.
    pub next_lsn: Lsn,
    /// The time stamped on the last batch, in milliseconds.
    pub now_ms: Option<i64>,
    /// Where the last good batch of the last file ends, if the file was not finished.
    pub open_at: Option<u64>,
    /// Bytes after that, up to the last one that is not zero: a torn tail, if nobody is writing.
    pub torn_bytes: u64,
}

/// Reads the log of `disk` as [`crate::Log::inspect`] does, while another process may be
/// appending to it: hands each record from `manifest_durable` on to `replay`.
///
/// # Errors
/// [`WalError::Corrupt`] where recovery would refuse, [`WalError::Missing`] where files are not
/// there, [`WalError::Disk`]. The owner may have released files meanwhile: then the manifest has
/// changed, and reading is tried again with the new one.
pub fn read_log(
    disk: &dyn Disk,
    manifest_durable: Lsn,
    replay: Replay<'_>,
) -> Result<LogTail, WalError> {
    Follower::new(disk, manifest_durable, replay)?.read(None)
}

/// Copies to `target` the files of the log that hold the records from `manifest_durable` on, up to
/// the last whole batch, and finishes each with an end frame ([WAL-37]). Hands the records to
/// `replay` on the way. The copies' bytes are synced; their names are not.
///
/// # Errors
/// As [`read_log`], and what `target` refuses.
pub fn copy_log(
    disk: &dyn Disk,
    target: &dyn Disk,
    manifest_durable: Lsn,
    replay: Replay<'_>,
) -> Result<LogTail, WalError> {
    Follower::new(disk, manifest_durable, replay)?.read(Some(target))
}

struct Follower<'a> {
    disk: &'a dyn Disk,
    manifest_durable: Lsn,
    replay: Replay<'a>,
    /// Files with a good start frame, opened at once: their bytes stay when their names go.
    files: Vec<(LogFile, FileWindow)>,
    /// Files without one.
    nameless: Vec<LogFile>,
    place: Place,
    tail: LogTail,
}

impl<'a> Follower<'a> {
    fn new(
        disk: &'a dyn Disk,
        manifest_durable: Lsn,
        replay: Replay<'a>,
    ) -> Result<Self, WalError> {
        let mut files = Vec::new();
        let (begun, nameless): (Vec<LogFile>, Vec<LogFile>) =
            find_files(disk)?.into_iter().partition(|file| file.start.is_ok());
        for file in begun {
            let window = FileWindow::open(disk, &file.name).map_err(read_error)?;
            files.push((file, window));
        }
        let begins_below = |(file, _): &(LogFile, FileWindow)| {
            file.first_lsn().is_some_and(|first| first <= manifest_durable)
        };
        let first = files.iter().rposition(begins_below);
        match (first, files.first()) {
            (Some(first), _) => drop(files.drain(..first)),
            (None, None) if manifest_durable == Lsn::ZERO => {}
            (None, oldest) => {
                let found = match oldest {
                    Some((file, _)) => format!("the oldest log file is {}", file.name),
                    None => "there is no log file in use".to_owned(),
                };
                let (folder, expected) = (disk.folder(), manifest_durable);
                return Err(WalError::Missing { folder, expected, found });
            }
        }
        let place = Place { lsn: Lsn::ZERO, crc: 0 };
        let tail = LogTail::default();
        Ok(Self { disk, manifest_durable, replay, files, nameless, place, tail })
    }

    fn read(mut self, target: Option<&dyn Disk>) -> Result<LogTail, WalError> {
        let files = std::mem::take(&mut self.files);
        let count = files.len();
        for (index, (file, mut window)) in files.into_iter().enumerate() {
            let Ok(start) = &file.start else { unreachable!("only files with a start are kept") };
            self.enter(index == 0, &file, start)?;
            let (mut position, mut stop) =
                self.walk(&mut window, start.salt, PAGE_BYTES).map_err(read_error)?;
            if index + 1 == count {
                (position, stop) = self.catch_up(&file, &mut window, position, stop)?;
                self.note_end(&file, position, &stop)?;
            }
            if let Some(target) = target {
                let copied = copy_file(&file.name, &mut window, target, position);
                let sealed = copied
                    .and_then(|()| seal(&file.name, target, start.salt, position, self.place));
                sealed.map_err(copy_error)?;
            }
            self.tail.files.push(file.name);
        }
        self.nameless.iter().try_for_each(|file| self.check_new(file))?;
        self.tail.next_lsn = self.place.lsn;
        Ok(self.tail)
    }

    /// A file that had no good start frame is new, and has one as soon as it has any frame
    /// ([WAL-25], [WAL-35]).
    fn check_new(&self, file: &LogFile) -> Result<(), WalError> {
        match check_unused(self.disk, file, self.place.lsn) {
            Err(WalError::Disk { source: DiskError::NotFound { .. }, .. }) => Ok(()),
            Err(error) => {
                let files = find_files(self.disk)?;
                let is_sound = |now: &&LogFile| now.name == file.name && now.start.is_ok();
                files.iter().find(is_sound).map_or(Err(error), |_| Ok(()))
            }
            Ok(()) => Ok(()),
        }
    }

    /// Checks that the file follows what was read ([WAL-24]).
    fn enter(
        &mut self,
        is_first: bool,
        file: &LogFile,
        start: &FrameHeader,
    ) -> Result<(), WalError> {
        let begins = Place { lsn: start.first_lsn, crc: start.previous_crc };
        if !is_first && begins != self.place {
            let Place { lsn, crc } = self.place;
            return Err(WalError::Corrupt {
                file: file.name.clone(),
                offset: 0,
                lsn,
                found: format!(
                    "it begins at LSN {} after checksum {:#010x}, want LSN {lsn} after {crc:#010x}",
                    begins.lsn, begins.crc
                ),
                proof: "a file begins only once everything before it is durable".to_owned(),
            });
        }
        self.place = Place { lsn: start.first_lsn, crc: start.crc };
        Ok(())
    }

    fn walk(
        &mut self,
        window: &mut FileWindow,
        salt: u64,
        position: u64,
    ) -> Result<(u64, Stop), DiskError> {
        let (tail, replay, from) = (&mut self.tail, &mut self.replay, self.manifest_durable);
        let mut take = |found: &Found<'_>, batch: &Batch<'_>| {
            tail.batches += 1;
            tail.now_ms = Some(found.header.now_ms);
            for (lsn, record) in batch.records().filter(|(lsn, _)| from <= *lsn) {
                tail.records += 1;
                replay(lsn, found.header.now_ms, record);
            }
        };
        walk_on(window, salt, position, &mut self.place, &mut take)
    }

    /// Goes on in the last file as long as a frame beyond shows that its owner did. A frame that
    /// proves more than can be read then is damage, not haste ([WAL-36]).
    fn catch_up(
        &mut self,
        file: &LogFile,
        window: &mut FileWindow,
        mut position: u64,
        mut stop: Stop,
    ) -> Result<(u64, Stop), WalError> {
        let Ok(FrameHeader { salt, .. }) = file.start else { return Ok((position, stop)) };
        for _ in 0..CATCH_UP_ROUNDS_MAX {
            let Stop::Open { offset, fault } = &stop else { break };
            window.refresh().map_err(read_error)?;
            let remains = scan(window, position, Some(salt), self.place.lsn);
            let remains = remains.map_err(read_error)?;
            self.tail.torn_bytes = remains.nonzero_end.map_or(0, |end| end - position);
            let Some((proof_at, proof)) = remains.proof else { break };
            let (offset, found) = (*offset, fault.to_string());
            window.refresh().map_err(read_error)?;
            (position, stop) = self.walk(window, salt, position).map_err(read_error)?;
            if self.place.lsn < proof.first_lsn {
                return Err(WalError::Corrupt {
                    file: file.name.clone(),
                    offset,
                    lsn: self.place.lsn,
                    found,
                    proof: format!(
                        "the frame at offset {proof_at} was written when every record below LSN \
                         {} was durable",
                        proof.durable_lsn
                    ),
                });
            }
        }
        Ok((position, stop))
    }

    fn note_end(&mut self, file: &LogFile, position: u64, stop: &Stop) -> Result<(), WalError> {
        if self.place.lsn < self.manifest_durable {
            let (lsn, durable) = (self.place.lsn, self.manifest_durable);
            return Err(WalError::Corrupt {
                file: file.name.clone(),
                offset: position,
                lsn,
                found: "the log ends there".to_owned(),
                proof: format!("the manifest holds every record below LSN {durable}"),
            });
        }
        self.tail.open_at = (*stop != Stop::Sealed).then_some(position);
        if *stop == Stop::Sealed {
            self.tail.torn_bytes = 0;
        }
        Ok(())
    }
}

fn copy_file(
    name: &str,
    window: &mut FileWindow,
    target: &dyn Disk,
    end: u64,
) -> Result<(), DiskError> {
    // What was read ahead may have been written since.
    window.refresh()?;
    let copy = target.create(name)?;
    let mut offset = 0;
    while offset < end.min(window.len()) {
        let bytes = window.ahead(offset, 1)?;
        let wanted = usize::try_from(end - offset).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(wanted)];
        copy.write_at(offset, bytes)?;
        offset += u64_of(bytes.len());
    }
    Ok(())
}

fn seal(
    name: &str,
    target: &dyn Disk,
    salt: u64,
    position: u64,
    place: Place,
) -> Result<(), DiskError> {
    let mut end = FrameHeader::bare(FrameKind::End, salt, place.lsn, place.crc);
    let copy = target.open(name)?;
    copy.write_at(page_after(position), &end.encode())?;
    copy.sync()
}

fn copy_error(source: DiskError) -> WalError {
    if source.is_no_space() {
        return WalError::NoSpace { source };
    }
    WalError::Disk { verb: "be copied", source }
}

fn read_error(source: DiskError) -> WalError {
    WalError::Disk { verb: "be read", source }
}
