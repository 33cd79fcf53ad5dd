//! The body of a batch: a table of record lengths and checksums, then the records ([WAL-10],
//! [WAL-11], [WAL-13]). Knows nothing of files and of what the records mean.

use crate::error::WalError;
use crate::frame::{FrameFault, FrameHeader, read_u32};
use crate::limits::{
    BATCH_BYTES_MAX, BATCH_RECORDS_MAX, FRAME_ALIGNMENT_BYTES, HEADER_BYTES, TABLE_ENTRY_BYTES,
};
use crate::lsn::Lsn;
use crate::number::usize_of;

/// The size of a batch that may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchSize {
    pub(crate) record_count: u32,
    /// Bytes of the table and the records.
    body_bytes: u32,
    /// Bytes of the whole frame: header, body, padding.
    pub(crate) frame_bytes: usize,
}

impl BatchSize {
    /// Measures the records; refuses more than the format allows.
    pub(crate) fn of(records: &[impl AsRef<[u8]>]) -> Result<Self, WalError> {
        let table = records.len().saturating_mul(TABLE_ENTRY_BYTES);
        let body =
            records.iter().map(|record| record.as_ref().len()).fold(table, usize::saturating_add);
        let frame_bytes = frame_bytes(body);
        let too_large = || WalError::TooLarge {
            records: records.len(),
            bytes: frame_bytes,
            limit: "split it into batches of at most 1048576 records and 64 MiB",
        };
        if BATCH_BYTES_MAX < frame_bytes || BATCH_RECORDS_MAX < records.len() {
            return Err(too_large());
        }
        let record_count = u32::try_from(records.len()).map_err(|_| too_large())?;
        let body_bytes = u32::try_from(body).map_err(|_| too_large())?;
        Ok(Self { record_count, body_bytes, frame_bytes })
    }
}

/// Writes a batch into a cleared buffer. Sets the sizes and checksums of the header.
pub(crate) fn encode_batch(
    header: &mut FrameHeader,
    size: BatchSize,
    records: &[impl AsRef<[u8]>],
    frame: &mut Vec<u8>,
) {
    frame.clear();
    frame.reserve(size.frame_bytes);
    frame.resize(HEADER_BYTES, 0);
    for record in records {
        let record = record.as_ref();
        let Ok(bytes) = u32::try_from(record.len()) else {
            unreachable!("a record is not longer than its measured batch")
        };
        frame.extend_from_slice(&bytes.to_le_bytes());
        frame.extend_from_slice(&crc32fast::hash(record).to_le_bytes());
    }
    header.record_count = size.record_count;
    header.body_bytes = size.body_bytes;
    header.table_crc = crc32fast::hash(&frame[HEADER_BYTES..]);
    for record in records {
        frame.extend_from_slice(record.as_ref());
    }
    frame.resize(size.frame_bytes, 0);
    frame[..HEADER_BYTES].copy_from_slice(&header.encode());
}

/// A batch whose every byte was checked.
pub(crate) struct Batch<'a> {
    first_lsn: Lsn,
    table: &'a [u8],
    records: &'a [u8],
}

impl<'a> Batch<'a> {
    /// Checks what follows a batch header, padding included; `body` is as long as
    /// [`padded_body_bytes`] says.
    pub(crate) fn decode(header: &FrameHeader, body: &'a [u8]) -> Result<Self, FrameFault> {
        let (table_bytes, body_bytes) = sizes(header)?;
        let (body, padding) = body.split_at(body_bytes);
        let (table, records) = body.split_at(table_bytes);
        let (expected, found) = (header.table_crc, crc32fast::hash(table));
        if expected != found {
            return Err(FrameFault::TableChecksum { expected, found });
        }
        if padding.iter().any(|byte| *byte != 0) {
            return Err(FrameFault::Padding);
        }
        let batch = Self { first_lsn: header.first_lsn, table, records };
        batch.check()?;
        Ok(batch)
    }

    /// Each record with its LSN, in order.
    pub(crate) fn records(&self) -> impl Iterator<Item = (Lsn, &'a [u8])> {
        let mut rest = self.records;
        self.entries().map(move |(lsn, bytes, _)| {
            let (record, after) = rest.split_at(bytes);
            rest = after;
            (lsn, record)
        })
    }

    fn check(&self) -> Result<(), FrameFault> {
        let mut rest = self.records;
        for (lsn, bytes, expected) in self.entries() {
            let Some((record, after)) = rest.split_at_checked(bytes) else {
                return Err(FrameFault::Field { field: "record length", found: lsn.number() });
            };
            let found = crc32fast::hash(record);
            if found != expected {
                return Err(FrameFault::RecordChecksum { lsn, expected, found });
            }
            rest = after;
        }
        if rest.is_empty() {
            return Ok(());
        }
        Err(FrameFault::Field { field: "body length", found: self.first_lsn.number() })
    }

    fn entries(&self) -> impl Iterator<Item = (Lsn, usize, u32)> + use<'a> {
        let mut lsn = self.first_lsn.number();
        self.table.chunks_exact(TABLE_ENTRY_BYTES).map(move |entry| {
            let own = Lsn::new(lsn);
            lsn = lsn.wrapping_add(1);
            (own, usize_of(read_u32(entry, 0)), read_u32(entry, 4))
        })
    }
}

/// Bytes that follow a batch header, or what makes the header impossible.
pub(crate) fn padded_body_bytes(header: &FrameHeader) -> Result<usize, FrameFault> {
    let (_, body_bytes) = sizes(header)?;
    Ok(frame_bytes(body_bytes) - HEADER_BYTES)
}

/// Bytes of the table, and of the table and the records.
fn sizes(header: &FrameHeader) -> Result<(usize, usize), FrameFault> {
    let field = |field, found| Err(FrameFault::Field { field, found: u64::from(found) });
    let body_bytes = usize_of(header.body_bytes);
    let record_count = usize_of(header.record_count);
    if BATCH_RECORDS_MAX < record_count {
        return field("record count", header.record_count);
    }
    if header.first_lsn.forward(u64::from(header.record_count)).is_none() {
        return field("record count", header.record_count);
    }
    let table_bytes = record_count * TABLE_ENTRY_BYTES;
    if body_bytes < table_bytes || BATCH_BYTES_MAX < frame_bytes(body_bytes) {
        return field("body length", header.body_bytes);
    }
    Ok((table_bytes, body_bytes))
}

/// Bytes of a frame with such a body.
fn frame_bytes(body: usize) -> usize {
    let bytes = body.saturating_add(HEADER_BYTES);
    bytes.checked_next_multiple_of(FRAME_ALIGNMENT_BYTES).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameKind;

    fn encoded(records: &[&[u8]]) -> (FrameHeader, Vec<u8>) {
        let mut header = FrameHeader::bare(FrameKind::Batch, 9, Lsn::new(40), 7);
        let mut frame = vec![0xee; 100];
        let size = BatchSize::of(records).unwrap();
        encode_batch(&mut header, size, records, &mut frame);
        assert_eq!(frame.len(), size.frame_bytes);
        (header, frame)
    }

    fn decoded(frame: &[u8]) -> Result<Vec<(Lsn, Vec<u8>)>, FrameFault> {
        let header = FrameHeader::decode(frame[..HEADER_BYTES].try_into().unwrap())?;
        assert_eq!(padded_body_bytes(&header)?, frame.len() - HEADER_BYTES);
        let batch = Batch::decode(&header, &frame[HEADER_BYTES..])?;
        Ok(batch.records().map(|(lsn, record)| (lsn, record.to_vec())).collect())
    }

    #[test]
    fn records_read_back_empty_ones_too() {
        let (header, frame) = encoded(&[b"first", b"", b"third record"]);
        assert_eq!(header.record_count, 3);
        let expected = [(40, &b"first"[..]), (41, b""), (42, b"third record")];
        let expected = expected.map(|(lsn, record)| (Lsn::new(lsn), record.to_vec()));
        assert_eq!(decoded(&frame).unwrap(), expected);
    }

    #[test]
    fn any_flipped_bit_of_a_batch_is_noticed() {
        let (_, frame) = encoded(&[b"first", b"", b"third record"]);
        for bit in 0..frame.len() * 8 {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decoded(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_damaged_table_is_named_as_such() {
        let (_, frame) = encoded(&[b"first", b"", b"third record"]);
        for at in HEADER_BYTES..HEADER_BYTES + 3 * TABLE_ENTRY_BYTES {
            let mut flipped = frame.clone();
            flipped[at] ^= 1;
            let fault = decoded(&flipped).unwrap_err();
            assert!(matches!(fault, FrameFault::TableChecksum { .. }), "byte {at}: {fault}");
        }
    }

    #[test]
    fn limits_hold_on_both_sides() {
        let most = vec![[0_u8; 0]; BATCH_RECORDS_MAX];
        assert!(BatchSize::of(&most).is_ok());
        let more = vec![[0_u8; 0]; BATCH_RECORDS_MAX + 1];
        assert!(matches!(BatchSize::of(&more), Err(WalError::TooLarge { .. })));
        let longest = BATCH_BYTES_MAX - HEADER_BYTES - TABLE_ENTRY_BYTES;
        assert!(BatchSize::of(&[vec![0; longest]]).is_ok());
        let longer = BatchSize::of(&[vec![0; longest + 1]]);
        assert!(matches!(longer, Err(WalError::TooLarge { .. })));
    }

    #[test]
    fn senseless_sizes_are_refused_before_anything_is_read() {
        let (mut header, _) = encoded(&[b"x"]);
        header.body_bytes = 7;
        assert!(padded_body_bytes(&header).is_err(), "shorter than its table");
        header.body_bytes = u32::MAX;
        assert!(padded_body_bytes(&header).is_err(), "longer than any batch");
        header.body_bytes = 9;
        header.record_count = u32::MAX;
        assert!(padded_body_bytes(&header).is_err(), "more records than any batch");
    }
}
