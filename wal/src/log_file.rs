//! A log file's name, its start frame and the places within it ([WAL-1] to [WAL-4]). Knows
//! nothing of batches' contents.

use crate::disk::{Disk, DiskFile};
use crate::error::WalError;
use crate::frame::{FrameFault, FrameHeader, FrameKind, VERSION};
use crate::limits::{HEADER_BYTES, PAGE_BYTES};
use crate::lsn::Lsn;
use crate::number::u64_of;
use crate::sim_random::mix;

/// A file of the log as it was found on disk.
pub(crate) struct LogFile {
    pub(crate) name: String,
    pub(crate) number: u64,
    /// The start frame, or what stands in its place.
    pub(crate) start: Result<FrameHeader, FrameFault>,
}

impl LogFile {
    /// The LSN at which the file begins, if its start frame is sound.
    pub(crate) fn first_lsn(&self) -> Option<Lsn> {
        self.start.as_ref().ok().map(|start| start.first_lsn)
    }
}

/// Finds every log file of the folder, oldest first, and reads its start frame ([WAL-1]).
pub(crate) fn find_files(disk: &dyn Disk) -> Result<Vec<LogFile>, WalError> {
    let fail = |source| WalError::Disk { verb: "find its files", source };
    let mut numbered: Vec<(u64, String)> = Vec::new();
    for name in disk.list().map_err(fail)? {
        if let Some(number) = number_of(&name) {
            numbered.push((number, name));
        }
    }
    numbered.sort_unstable();
    let open = |(number, name): (u64, String)| {
        let file = disk.open(&name).map_err(fail)?;
        let start = read_start(&*file).map_err(fail)?;
        // [WAL-34]
        if let Err(FrameFault::Version { found }) = start {
            return Err(WalError::Version { file: name, found, expected: VERSION });
        }
        Ok(LogFile { name, number, start })
    };
    numbered.into_iter().map(open).collect()
}

/// The file's name: its number in hexadecimal, so that names sort as numbers do.
pub(crate) fn name_of(number: u64) -> String {
    format!("wal-{number:016x}.log")
}

/// The salt of a new file: different for each number, place and life of the log ([WAL-8]).
pub(crate) fn salt_of(seed: u64, number: u64, first_lsn: Lsn, previous_crc: u32) -> u64 {
    [number, first_lsn.number(), u64::from(previous_crc)]
        .into_iter()
        .fold(mix(seed), |salt, part| mix(salt ^ mix(part.wrapping_add(SALT_STEP))))
}

/// The first page boundary at or after an offset: where the frame after a sync begins.
pub(crate) fn page_after(offset: u64) -> u64 {
    offset.next_multiple_of(PAGE_BYTES)
}

fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("wal-")?.strip_suffix(".log")?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    // The last number has none after it, so that no log ever reached it.
    (name_of(number) == name && number < u64::MAX).then_some(number)
}

fn read_start(file: &dyn DiskFile) -> Result<Result<FrameHeader, FrameFault>, crate::DiskError> {
    let len = file.len()?;
    if len < u64_of(HEADER_BYTES) {
        return Ok(Err(FrameFault::FileEnd { bytes: len }));
    }
    let mut bytes = [0; HEADER_BYTES];
    file.read_at(0, &mut bytes)?;
    let kind_checked = |header: FrameHeader| match header.kind {
        FrameKind::Start => Ok(header),
        kind => Err(FrameFault::Kind { found: kind.number() }),
    };
    Ok(FrameHeader::decode(&bytes).and_then(kind_checked))
}

/// Any odd constant: keeps `mix` away from its fixed point at zero.
const SALT_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree_and_nothing_else_is_taken() {
        assert_eq!(number_of(&name_of(0x1f)), Some(0x1f));
        assert_eq!(name_of(0x1f), "wal-000000000000001f.log");
        for name in ["wal-1f.log", "wal-000000000000001F.log", "wal-.log", "segments/7", "MANIFEST"]
        {
            assert_eq!(number_of(name), None, "{name}");
        }
    }

    #[test]
    fn each_part_changes_the_salt() {
        let salt = salt_of(1, 2, Lsn::new(3), 4);
        assert_ne!(salt, salt_of(9, 2, Lsn::new(3), 4));
        assert_ne!(salt, salt_of(1, 9, Lsn::new(3), 4));
        assert_ne!(salt, salt_of(1, 2, Lsn::new(9), 4));
        assert_ne!(salt, salt_of(1, 2, Lsn::new(3), 9));
        assert_ne!(salt_of(0, 0, Lsn::ZERO, 0), 0);
    }
}
