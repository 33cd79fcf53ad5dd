//! The header that opens every frame of a log file: its bytes, both ways ([WAL-5] to [WAL-9]).
//! Knows nothing of files and of what batches carry.

use std::fmt;

use crate::limits::HEADER_BYTES;
use crate::lsn::Lsn;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// Opens a file.
    Start,
    /// Carries records.
    Batch,
    /// Closes a file: everything before it was durable when it was written.
    End,
}

/// A frame's header, checked against its checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) kind: FrameKind,
    /// The file's salt: bytes of another file or another life of it are not taken for ours.
    pub(crate) salt: u64,
    /// The LSN of the batch's first record; in Start and End, the LSN of the next batch.
    pub(crate) first_lsn: Lsn,
    /// Every record below was durable when this frame was written.
    pub(crate) durable_lsn: Lsn,
    /// The time stamped on the batch, in milliseconds since the epoch.
    pub(crate) now_ms: i64,
    pub(crate) record_count: u32,
    /// Bytes of the table and the records, without padding.
    pub(crate) body_bytes: u32,
    /// The header checksum of the frame before (Start and Batch count, End does not).
    pub(crate) previous_crc: u32,
    /// The checksum of the batch's table.
    pub(crate) table_crc: u32,
    /// This header's own checksum: the link for the next frame.
    pub(crate) crc: u32,
}

/// What is wrong with bytes that should be a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FrameFault {
    Zeros,
    FileEnd { bytes: u64 },
    Magic { found: u32 },
    HeaderChecksum { expected: u32, found: u32 },
    Version { found: u16 },
    Kind { found: u16 },
    Reserved,
    Salt { expected: u64, found: u64 },
    FirstLsn { expected: Lsn, found: Lsn },
    Chain { expected: u32, found: u32 },
    Field { field: &'static str, found: u64 },
    TableChecksum { expected: u32, found: u32 },
    RecordChecksum { lsn: Lsn, expected: u32, found: u32 },
    Padding,
}

impl FrameHeader {
    /// A frame without a body.
    pub(crate) fn bare(kind: FrameKind, salt: u64, lsn: Lsn, previous_crc: u32) -> Self {
        let (first_lsn, durable_lsn) = (lsn, lsn);
        let (now_ms, record_count, body_bytes, table_crc, crc) = (0, 0, 0, 0, 0);
        Self {
            kind,
            salt,
            first_lsn,
            durable_lsn,
            now_ms,
            record_count,
            body_bytes,
            previous_crc,
            table_crc,
            crc,
        }
    }

    /// The header's bytes; sets `crc`.
    pub(crate) fn encode(&mut self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.kind.number().to_le_bytes());
        bytes[8..16].copy_from_slice(&self.salt.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first_lsn.number().to_le_bytes());
        bytes[24..32].copy_from_slice(&self.durable_lsn.number().to_le_bytes());
        bytes[32..40].copy_from_slice(&self.now_ms.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.record_count.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.previous_crc.to_le_bytes());
        bytes[52..56].copy_from_slice(&self.table_crc.to_le_bytes());
        self.crc = crc32fast::hash(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&self.crc.to_le_bytes());
        bytes
    }

    /// Reads a header and checks everything that it says about itself.
    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, FrameFault> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(FrameFault::Zeros);
        }
        let magic = read_u32(bytes, 0);
        if magic != MAGIC {
            return Err(FrameFault::Magic { found: magic });
        }
        let (expected, found) = (crc32fast::hash(&bytes[..CRC_AT]), read_u32(bytes, CRC_AT));
        if expected != found {
            return Err(FrameFault::HeaderChecksum { expected, found });
        }
        let version = read_u16(bytes, 4);
        if version != VERSION {
            return Err(FrameFault::Version { found: version });
        }
        let kind = read_u16(bytes, 6);
        let header = Self {
            kind: FrameKind::of(kind).ok_or(FrameFault::Kind { found: kind })?,
            salt: read_u64(bytes, 8),
            first_lsn: Lsn::new(read_u64(bytes, 16)),
            durable_lsn: Lsn::new(read_u64(bytes, 24)),
            now_ms: i64::from_le_bytes(array(bytes, 32)),
            record_count: read_u32(bytes, 40),
            body_bytes: read_u32(bytes, 44),
            previous_crc: read_u32(bytes, 48),
            table_crc: read_u32(bytes, 52),
            crc: found,
        };
        header.check(read_u32(bytes, 56))?;
        Ok(header)
    }

    fn check(&self, reserved: u32) -> Result<(), FrameFault> {
        if reserved != 0 {
            return Err(FrameFault::Reserved);
        }
        let field = |field, found| Err(FrameFault::Field { field, found });
        if self.first_lsn < self.durable_lsn {
            return field("durable LSN", self.durable_lsn.number());
        }
        if self.kind == FrameKind::Batch {
            if self.record_count == 0 {
                return field("record count", 0);
            }
            return Ok(());
        }
        let bare = Self::bare(self.kind, self.salt, self.first_lsn, self.previous_crc);
        if *self != (Self { crc: self.crc, ..bare }) {
            return field("body of a bare frame", u64::from(self.body_bytes));
        }
        Ok(())
    }
}

impl FrameKind {
    pub(crate) const fn number(self) -> u16 {
        match self {
            Self::Start => 1,
            Self::Batch => 2,
            Self::End => 3,
        }
    }

    const fn of(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::Start),
            2 => Some(Self::Batch),
            3 => Some(Self::End),
            _ => None,
        }
    }
}

impl fmt::Display for FrameFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zeros => write!(formatter, "zeros stand where a frame should"),
            Self::FileEnd { bytes } => {
                write!(formatter, "the file ends within a frame, after {bytes} bytes")
            }
            Self::Magic { found } => {
                write!(formatter, "no frame begins there (magic {found:#010x}, want {MAGIC:#010x})")
            }
            Self::HeaderChecksum { expected, found } => {
                write!(
                    formatter,
                    "a frame header has checksum {found:#010x}, want {expected:#010x}"
                )
            }
            Self::Version { found } => {
                write!(formatter, "a frame has version {found}, want {VERSION}")
            }
            Self::Kind { found } => write!(formatter, "a frame has kind {found}, want 1 to 3"),
            Self::Reserved => write!(formatter, "a frame's reserved bytes are not zero"),
            Self::Salt { expected, found } => {
                write!(formatter, "a frame has salt {found:#018x}, the file has {expected:#018x}")
            }
            Self::FirstLsn { expected, found } => {
                write!(formatter, "a frame begins at LSN {found}, want {expected}")
            }
            Self::Chain { expected, found } => {
                write!(formatter, "a frame follows checksum {found:#010x}, want {expected:#010x}")
            }
            Self::Field { field, found } => {
                write!(formatter, "a frame's {field} cannot be {found}")
            }
            Self::TableChecksum { expected, found } => {
                write!(
                    formatter,
                    "a batch's table has checksum {found:#010x}, want {expected:#010x}"
                )
            }
            Self::RecordChecksum { lsn, expected, found } => {
                write!(formatter, "record {lsn} has checksum {found:#010x}, want {expected:#010x}")
            }
            Self::Padding => write!(formatter, "the padding after a batch is not zero"),
        }
    }
}

pub(crate) fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

fn read_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(bytes, at))
}

fn read_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

/// The `N` bytes from `at`, which the caller knows to be there.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

/// "TKVW", read as a little-endian number.
pub(crate) const MAGIC: u32 = u32::from_le_bytes(*b"TKVW");

/// The format version that this program reads and writes.
pub(crate) const VERSION: u16 = 1;

/// Where a header's own checksum stands.
const CRC_AT: usize = HEADER_BYTES - 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn batch_header() -> FrameHeader {
        FrameHeader {
            kind: FrameKind::Batch,
            salt: 0x0123_4567_89ab_cdef,
            first_lsn: Lsn::new(100),
            durable_lsn: Lsn::new(90),
            now_ms: -5,
            record_count: 3,
            body_bytes: 77,
            previous_crc: 0xdead_beef,
            table_crc: 0x1234_5678,
            crc: 0,
        }
    }

    #[test]
    fn a_header_reads_back() {
        for mut header in [
            batch_header(),
            FrameHeader::bare(FrameKind::Start, 1, Lsn::ZERO, 0),
            FrameHeader::bare(FrameKind::End, u64::MAX, Lsn::new(u64::MAX), u32::MAX),
        ] {
            let bytes = header.encode();
            assert_eq!(FrameHeader::decode(&bytes), Ok(header));
        }
    }

    #[test]
    fn any_flipped_bit_of_a_header_is_noticed() {
        let bytes = batch_header().encode();
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(FrameHeader::decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn sound_checksums_do_not_excuse_senseless_fields() {
        let resealed = |at: usize, value: u8| {
            let mut bytes = batch_header().encode();
            bytes[at] = value;
            let crc = crc32fast::hash(&bytes[..CRC_AT]);
            bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
            FrameHeader::decode(&bytes).unwrap_err()
        };
        assert_eq!(resealed(4, 2), FrameFault::Version { found: 2 });
        assert_eq!(resealed(6, 9), FrameFault::Kind { found: 9 });
        assert_eq!(resealed(57, 1), FrameFault::Reserved);
        assert_eq!(resealed(24, 101), FrameFault::Field { field: "durable LSN", found: 101 });
        assert_eq!(resealed(40, 0), FrameFault::Field { field: "record count", found: 0 });
        let bare = FrameFault::Field { field: "body of a bare frame", found: 77 };
        assert_eq!(resealed(6, 3), bare);
    }
}
