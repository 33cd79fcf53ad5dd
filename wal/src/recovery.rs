//! Reads a log, and tells a torn tail from damage ([WAL-21] to [WAL-28]). Changes nothing.

use crate::disk::{Disk, DiskError};
use crate::error::WalError;
use crate::file_walk::{FileEnd, Place, Remains, Stop, scan, walk};
use crate::file_window::FileWindow;
use crate::frame::{FrameHeader, FrameKind};
use crate::log_file::{LogFile, find_files};
use crate::lsn::Lsn;

/// What opening a log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The files that were read, oldest first. Files wholly below the manifest's LSN are not.
    pub files_read: Vec<String>,
    /// Files that were created and never came into use; opening the log removes them.
    pub files_unused: Vec<String>,
    /// Batches read, those below the manifest's LSN included.
    pub batches_read: u64,
    /// Records handed to `replay`.
    pub records_replayed: u64,
    /// The LSN that the next record gets.
    pub next_lsn: Lsn,
    /// The `now_ms` of the last batch read.
    pub now_ms: Option<i64>,
    /// The torn tail, if there is one; opening the log cuts it.
    pub cut: Option<Cut>,
}

/// A torn tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub file: String,
    /// Where the first frame that is not whole was looked for.
    pub offset: u64,
    /// The first LSN that is cut.
    pub lsn: Lsn,
    /// Bytes from the last good batch to the last byte that is not zero.
    pub bytes: u64,
    /// Batches that are whole but stand beyond the first one that is not.
    pub batches_whole: u64,
    /// Records in those batches.
    pub records_whole: u64,
    /// What stands at `offset`.
    pub found: String,
}

/// A log that was read and found sound.
pub(crate) struct Recovery {
    /// Every file of the log, oldest first, those without a good start frame included.
    pub(crate) files: Vec<LogFile>,
    /// Where the records stop.
    pub(crate) tail: Option<Tail>,
    /// What the next batch follows.
    pub(crate) place: Place,
    pub(crate) report: RecoveryReport,
}

/// The file in which the records stop.
#[derive(Clone, Debug)]
pub(crate) struct Tail {
    /// Its place among the files.
    pub(crate) index: usize,
    pub(crate) end: FileEnd,
    /// Whether only zeros follow the last good batch.
    pub(crate) clean: bool,
}

/// What is called with each record from the manifest's LSN on: its LSN, its batch's `now_ms`,
/// its bytes.
pub(crate) type Replay<'a> = &'a mut dyn FnMut(Lsn, i64, &[u8]);

/// Reads the whole log from the file that holds `manifest_durable` on.
pub(crate) fn recover(
    disk: &dyn Disk,
    manifest_durable: Lsn,
    replay: Replay<'_>,
) -> Result<Recovery, WalError> {
    let files = find_files(disk)?;
    let begins_below =
        |file: &LogFile| file.first_lsn().is_some_and(|first| first <= manifest_durable);
    let Some(first) = files.iter().rposition(begins_below) else {
        return recover_without_start(disk, files, manifest_durable);
    };
    let place = Place { lsn: Lsn::ZERO, crc: 0 };
    let report = RecoveryReport::default();
    let mut reader =
        Reader { disk, files: &files, manifest_durable, replay, place, tail: None, report };
    for index in first..files.len() {
        reader.read_file(index)?;
    }
    reader.finish()?;
    let Reader { place, tail, mut report, .. } = reader;
    report.next_lsn = place.lsn;
    Ok(Recovery { files, tail, place, report })
}

/// No file begins at or below the manifest's LSN: a log that has not begun, or a hole ([WAL-33]).
fn recover_without_start(
    disk: &dyn Disk,
    files: Vec<LogFile>,
    manifest_durable: Lsn,
) -> Result<Recovery, WalError> {
    for file in &files {
        check_unused(disk, file, manifest_durable)?;
    }
    let missing =
        |found| Err(WalError::Missing { folder: disk.folder(), expected: manifest_durable, found });
    if let Some((name, first)) = files.iter().find_map(|file| Some((&file.name, file.first_lsn()?)))
    {
        return missing(format!("the oldest log file, {name}, begins at LSN {first}"));
    }
    if manifest_durable != Lsn::ZERO {
        return missing("there is no log file in use".to_owned());
    }
    let files_unused = files.iter().map(|file| file.name.clone()).collect();
    let report = RecoveryReport { files_unused, ..RecoveryReport::default() };
    Ok(Recovery { files, tail: None, place: Place { lsn: Lsn::ZERO, crc: 0 }, report })
}

struct Reader<'a> {
    disk: &'a dyn Disk,
    files: &'a [LogFile],
    manifest_durable: Lsn,
    replay: Replay<'a>,
    place: Place,
    /// The last file with a good start frame; set by the first file.
    tail: Option<Tail>,
    report: RecoveryReport,
}

impl Reader<'_> {
    fn read_file(&mut self, index: usize) -> Result<(), WalError> {
        let file = &self.files[index];
        let Ok(start) = &file.start else {
            check_unused(self.disk, file, self.place.lsn)?;
            self.report.files_unused.push(file.name.clone());
            return Ok(());
        };
        let begins = Place { lsn: start.first_lsn, crc: start.previous_crc };
        match &self.tail {
            Some(tail) if begins != self.place => return Err(self.misfit(file, start, tail)),
            _ => self.place = Place { lsn: start.first_lsn, crc: start.crc },
        }
        let mut window = FileWindow::open(self.disk, &file.name).map_err(read_error)?;
        let (report, replay) = (&mut self.report, &mut self.replay);
        report.files_read.push(file.name.clone());
        let manifest_durable = self.manifest_durable;
        let end = walk(&mut window, start, &mut self.place, &mut |header, batch| {
            report.batches_read += 1;
            report.now_ms = Some(header.now_ms);
            for (lsn, record) in batch.records().filter(|(lsn, _)| manifest_durable <= *lsn) {
                report.records_replayed += 1;
                replay(lsn, header.now_ms, record);
            }
        });
        self.tail = Some(Tail { index, end: end.map_err(read_error)?, clean: true });
        Ok(())
    }

    /// A sound start frame that does not follow what was read. A file begins only once
    /// everything before it is durable ([WAL-17]), so that this is never a torn tail ([WAL-24]).
    fn misfit(&self, file: &LogFile, start: &FrameHeader, tail: &Tail) -> WalError {
        let (name, begins, lsn) = (&file.name, start.first_lsn, self.place.lsn);
        if begins <= lsn {
            let (wanted, follows) = (self.place.crc, start.previous_crc);
            return WalError::Corrupt {
                file: name.clone(),
                offset: 0,
                lsn: begins,
                found: format!(
                    "it begins at LSN {begins} after checksum {follows:#010x}, \
                     want LSN {lsn} after {wanted:#010x}"
                ),
                proof: "a file begins only once everything before it is durable".to_owned(),
            };
        }
        match &tail.end.stop {
            Stop::Sealed => WalError::Missing {
                folder: self.disk.folder(),
                expected: lsn,
                found: format!("the next log file, {name}, begins at LSN {begins}"),
            },
            Stop::Open { offset, fault } => WalError::Corrupt {
                file: self.files[tail.index].name.clone(),
                offset: *offset,
                lsn,
                found: fault.to_string(),
                proof: format!(
                    "the next file, {name}, begins at LSN {begins}, and a file begins only once \
                     everything before it is durable"
                ),
            },
        }
    }

    /// Decides about what stands after the last good batch.
    fn finish(&mut self) -> Result<(), WalError> {
        let Some(tail) = &mut self.tail else {
            unreachable!("the first file that is read has a good start frame")
        };
        let file = &self.files[tail.index];
        let remains = match &tail.end.stop {
            Stop::Sealed => Remains::default(),
            Stop::Open { .. } => scan_open(self.disk, file, tail.end.position, self.place.lsn)?,
        };
        if let Some(proof) = prove(&remains, self.place.lsn, self.manifest_durable) {
            return Err(refusal(self.disk, file, tail, self.place.lsn, proof));
        }
        tail.clean = remains.nonzero_end.is_none();
        if let (Stop::Open { offset, fault }, Some(last)) = (&tail.end.stop, remains.nonzero_end) {
            self.report.cut = Some(Cut {
                file: file.name.clone(),
                offset: *offset,
                lsn: self.place.lsn,
                bytes: last - tail.end.position,
                batches_whole: remains.batches_whole,
                records_whole: remains.records_whole,
                found: fault.to_string(),
            });
        }
        Ok(())
    }
}

/// A file takes batches only once its start frame is durable ([WAL-18]), so that one without a good
/// start frame is new and unused, unless a frame stands in it.
pub(crate) fn check_unused(disk: &dyn Disk, file: &LogFile, lsn: Lsn) -> Result<(), WalError> {
    let Err(fault) = &file.start else {
        return Ok(());
    };
    let mut window = FileWindow::open(disk, &file.name).map_err(read_error)?;
    let remains = scan(&mut window, 0, None, lsn).map_err(read_error)?;
    let Some(offset) = remains.first_frame else {
        return Ok(());
    };
    Err(WalError::Corrupt {
        file: file.name.clone(),
        offset: 0,
        lsn,
        found: fault.to_string(),
        proof: format!(
            "a frame stands at offset {offset}, and a file takes frames only once its start frame \
             is durable"
        ),
    })
}

fn scan_open(
    disk: &dyn Disk,
    file: &LogFile,
    from: u64,
    missing: Lsn,
) -> Result<Remains, WalError> {
    let salt = file.start.as_ref().ok().map(|start| start.salt);
    let mut window = FileWindow::open(disk, &file.name).map_err(read_error)?;
    scan(&mut window, from, salt, missing).map_err(read_error)
}

/// What shows that the record at `lsn` had been durable, if anything does ([WAL-26]).
fn prove(remains: &Remains, lsn: Lsn, manifest_durable: Lsn) -> Option<String> {
    if lsn < manifest_durable {
        return Some(format!("the manifest holds every record below LSN {manifest_durable}"));
    }
    let (offset, header) = remains.proof.as_ref()?;
    let durable = header.durable_lsn;
    Some(match header.kind {
        FrameKind::End => {
            format!("the end frame at offset {offset} seals the file at LSN {durable}")
        }
        _ => format!(
            "the batch at offset {offset} was written when every record below LSN {durable} was \
             durable"
        ),
    })
}

fn refusal(disk: &dyn Disk, file: &LogFile, tail: &Tail, lsn: Lsn, proof: String) -> WalError {
    match &tail.end.stop {
        Stop::Sealed => WalError::Missing {
            folder: disk.folder(),
            expected: lsn,
            found: format!("the last log file, {}, ends there, but {proof}", file.name),
        },
        Stop::Open { offset, fault } => WalError::Corrupt {
            file: file.name.clone(),
            offset: *offset,
            lsn,
            found: fault.to_string(),
            proof,
        },
    }
}

fn read_error(source: DiskError) -> WalError {
    WalError::Disk { verb: "be read", source }
}
