//! A file read through a window that moves forward. Knows nothing of frames.

use crate::disk::{Disk, DiskError, DiskFile};
use crate::limits::READ_BYTES;
use crate::number::u64_of;

/// A file and the part of it that is in memory.
pub(crate) struct FileWindow {
    file: Box<dyn DiskFile>,
    len: u64,
    buffer: Vec<u8>,
    /// Where in the file the buffer begins.
    buffer_offset: u64,
}

impl FileWindow {
    pub(crate) fn open(disk: &dyn Disk, name: &str) -> Result<Self, DiskError> {
        let file = disk.open(name)?;
        Ok(Self { len: file.len()?, file, buffer: Vec::new(), buffer_offset: 0 })
    }

    /// Forgets what is in memory, so that what was written meanwhile is seen.
    pub(crate) fn refresh(&mut self) -> Result<(), DiskError> {
        self.buffer.clear();
        self.buffer_offset = 0;
        self.len = self.file.len()?;
        Ok(())
    }

    /// Bytes in the file.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Exactly the bytes asked for, or `None` when the file ends before.
    pub(crate) fn bytes(&mut self, offset: u64, count: usize) -> Result<Option<&[u8]>, DiskError> {
        let in_file = |len: u64| offset.checked_add(u64_of(count)).is_some_and(|end| end <= len);
        if !in_file(self.len) {
            return Ok(None);
        }
        let held_end = self.buffer_offset + u64_of(self.buffer.len());
        if offset < self.buffer_offset || !in_file(held_end) {
            self.fill(offset, count)?;
        }
        let Ok(start) = usize::try_from(offset - self.buffer_offset) else {
            unreachable!("the window holds the offset, so that it is near its beginning")
        };
        Ok(Some(&self.buffer[start..start + count]))
    }

    /// What is in memory from an offset on: at least `least` bytes, or all that the file has.
    pub(crate) fn ahead(&mut self, offset: u64, least: usize) -> Result<&[u8], DiskError> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let held_end = self.buffer_offset + u64_of(self.buffer.len());
        let wanted_end = offset + u64_of(least.min(left));
        if offset < self.buffer_offset || held_end < wanted_end {
            self.fill(offset, 0)?;
        }
        let start = usize::try_from(offset - self.buffer_offset).unwrap_or(usize::MAX);
        Ok(self.buffer.get(start..).unwrap_or(&[]))
    }

    fn fill(&mut self, offset: u64, count: usize) -> Result<(), DiskError> {
        let left = usize::try_from(self.len - offset).unwrap_or(usize::MAX);
        self.buffer.resize(count.max(READ_BYTES).min(left), 0);
        self.buffer_offset = offset;
        let result = self.file.read_at(offset, &mut self.buffer);
        if result.is_err() {
            self.buffer.clear();
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim_disk::{SimDisk, SimFaults};

    #[test]
    fn a_window_gives_any_bytes_of_the_file_and_none_past_it() {
        let contents: Vec<u8> =
            (0..READ_BYTES + 5000).map(|n| (n % 251).try_into().unwrap()).collect();
        let disk = SimDisk::new(0, SimFaults::default());
        disk.put("file", &contents);
        let mut window = FileWindow::open(&disk, "file").unwrap();
        for (offset, count) in [(0, 64), (READ_BYTES - 10, 20), (5, 3), (0, READ_BYTES + 5000)] {
            let expected = &contents[offset..offset + count];
            assert_eq!(window.bytes(u64_of(offset), count).unwrap(), Some(expected));
        }
        assert_eq!(window.bytes(u64_of(contents.len()), 0).unwrap(), Some(&[][..]));
        assert_eq!(window.bytes(u64_of(contents.len() - 1), 2).unwrap(), None);
        assert_eq!(window.bytes(u64::MAX, 2).unwrap(), None);
        for offset in [0, 7, READ_BYTES, READ_BYTES + 4990] {
            let ahead = window.ahead(u64_of(offset), 64).unwrap();
            assert!(64.min(contents.len() - offset) <= ahead.len());
            assert_eq!(ahead, &contents[offset..offset + ahead.len()]);
        }
        assert_eq!(window.ahead(u64_of(contents.len()), 64).unwrap(), &[][..]);
    }
}
