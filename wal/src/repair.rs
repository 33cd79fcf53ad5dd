//! Makes what recovery read durable, and the cut of a torn tail too ([WAL-29] to [WAL-31]).
//! Decides nothing.
//!
//! Each step leaves a log that recovery reads the same way, so that a crash in between, or any
//! number of them, changes nothing.

use crate::disk::{Disk, DiskError, DiskFile};
use crate::error::WalError;
use crate::file_walk::{FileEnd, Stop};
use crate::frame::{FrameHeader, FrameKind};
use crate::limits::READ_BYTES;
use crate::log_file::{LogFile, page_after};
use crate::number::{u64_of, usize_of};
use crate::recovery::{Recovery, Tail};

/// Repairs the last file, and removes the files that never came into use.
pub(crate) fn repair(disk: &dyn Disk, recovery: &Recovery) -> Result<(), WalError> {
    if let Some(tail) = &recovery.tail {
        let found = &recovery.files[tail.index];
        let opened =
            disk.open(&found.name).map_err(|source| error("open its last file", source))?;
        make_durable(&*opened, tail).map_err(|source| error("cut its tail", source))?;
        seal(&*opened, found, tail, recovery)?;
    }
    for name in &recovery.report.files_unused {
        disk.remove(name).map_err(|source| error("remove an unused file", source))?;
    }
    disk.sync_folder().map_err(|source| error("sync its folder", source))
}

fn make_durable(file: &dyn DiskFile, tail: &Tail) -> Result<(), DiskError> {
    let end = &tail.end;
    // Written again, since after a failed sync the kernel shows bytes that it will never
    // write: reading them proves nothing, and neither does a sync that finds them clean.
    rewrite(file, end.unproven_from, end.position)?;
    if !tail.clean {
        file.truncate(cut_at(file, end)?)?;
    }
    file.sync()
}

/// Cuts at the page boundary if all before it is zero: the page of the last batch may be
/// acknowledged, and is then left alone.
fn cut_at(file: &dyn DiskFile, end: &FileEnd) -> Result<u64, DiskError> {
    let page_end = page_after(end.position).min(file.len()?);
    let mut padding = vec![0; usize_of(page_end.saturating_sub(end.position))];
    file.read_at(end.position, &mut padding)?;
    let untouched = padding.iter().all(|byte| *byte == 0);
    Ok(if untouched { page_end } else { end.position })
}

/// Seals the file, if there is space for that: the cut needs no seal to hold.
fn seal(
    file: &dyn DiskFile,
    found: &LogFile,
    tail: &Tail,
    recovery: &Recovery,
) -> Result<(), WalError> {
    let (Stop::Open { .. }, Ok(start)) = (&tail.end.stop, &found.start) else {
        return Ok(());
    };
    let place = recovery.place;
    let mut header = FrameHeader::bare(FrameKind::End, start.salt, place.lsn, place.crc);
    let written = file.write_at(page_after(tail.end.position), &header.encode());
    match written.and_then(|()| file.sync()) {
        Err(source) if source.is_no_space() => Ok(()),
        result => result.map_err(|source| error("seal its last file", source)),
    }
}

fn rewrite(file: &dyn DiskFile, from: u64, to: u64) -> Result<(), DiskError> {
    // A crash may have left the file shorter than the page of its start frame.
    let (mut offset, to) = (from, to.min(file.len()?));
    while offset < to {
        let count = usize::try_from(to - offset).map_or(READ_BYTES, |left| left.min(READ_BYTES));
        let mut bytes = vec![0; count];
        file.read_at(offset, &mut bytes)?;
        file.write_at(offset, &bytes)?;
        offset += u64_of(count);
    }
    Ok(())
}

fn error(verb: &'static str, source: DiskError) -> WalError {
    WalError::Disk { verb, source }
}
