//! Owns the pending batch: records that are staged and not yet in the log.

use std::ops::Range;

use crate::error::EngineError;

/// Records in one growing buffer.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    bytes: Vec<u8>,
    /// Where each record ends.
    ends: Vec<usize>,
}

/// A place to rewind to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    bytes: usize,
    records: usize,
}

impl Pending {
    /// Whether no record is staged.
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all staged records.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// How many records are staged.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The buffer, to append one record to; `close` ends it.
    pub(crate) fn open(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Ends the record that was appended since the last one ended.
    pub(crate) fn close(&mut self, bytes_max: usize) -> Result<(), EngineError> {
        let bytes = self.bytes.len() - self.ends.last().copied().unwrap_or(0);
        if bytes_max < bytes {
            return Err(EngineError::Limit(format!(
                "the write takes {bytes} bytes, at most {bytes_max} are taken; split it"
            )));
        }
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// Appends one record whose size is bounded by the limits of its parts.
    pub(crate) fn push(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        put(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// The end of what is staged now.
    pub(crate) fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), records: self.ends.len() }
    }

    /// Drops what was staged since `mark`.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        self.ends.truncate(mark.records);
    }

    /// Every record, in order.
    pub(crate) fn records(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len()).map(|index| &self.bytes[self.range(index)])
    }

    /// The record at an index.
    pub(crate) fn record(&self, index: usize) -> &[u8] {
        &self.bytes[self.range(index)]
    }

    /// Drops everything, and memory beyond what an ordinary batch needs.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
    }

    fn range(&self, index: usize) -> Range<usize> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        start..self.ends[index]
    }
}

const KEPT_BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_write_leaves_no_bytes_behind() {
        let mut pending = Pending::default();
        pending.push(|out| out.extend_from_slice(b"one"));
        let mark = pending.mark();
        pending.open().extend_from_slice(b"half of two");
        pending.rewind(mark);
        pending.push(|out| out.extend_from_slice(b"three"));
        assert_eq!(pending.records().collect::<Vec<_>>(), [&b"one"[..], b"three"]);
    }

    #[test]
    fn a_record_at_the_limit_passes_and_one_above_does_not() {
        let mut pending = Pending::default();
        pending.open().extend_from_slice(b"1234");
        assert!(pending.close(4).is_ok());
        pending.open().extend_from_slice(b"12345");
        assert!(matches!(pending.close(4), Err(EngineError::Limit(_))));
    }
}
