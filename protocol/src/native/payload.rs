//! Reads the payload of one frame; everything is checked against the bytes that are there. Knows
//! nothing of what frames mean.

use bytes::Bytes;

use super::frame::Frame;
use crate::arguments::position;
use crate::error::ProtocolError;

/// A walk over a payload.
pub(super) struct Payload<'a> {
    bytes: &'a Bytes,
    at: usize,
    place: &'static str,
}

impl<'a> Payload<'a> {
    pub(super) fn new(frame: &'a Frame, place: &'static str) -> Self {
        Self { bytes: &frame.payload, at: 0, place }
    }

    pub(super) fn over(bytes: &'a Bytes, place: &'static str) -> Self {
        Self { bytes, at: 0, place }
    }

    pub(super) fn malformed(&self, problem: &'static str) -> ProtocolError {
        ProtocolError::Malformed { place: self.place, problem }
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn advance(&mut self, count: usize) -> Result<usize, ProtocolError> {
        if count > self.remaining() {
            let (expected, found) = (wide(count), wide(self.remaining()));
            return Err(ProtocolError::Truncated { place: self.place, expected, found });
        }
        let start = self.at;
        self.at += count;
        Ok(start)
    }

    pub(super) fn slice(&mut self, count: usize) -> Result<&'a [u8], ProtocolError> {
        let start = self.advance(count)?;
        Ok(&self.bytes[start..start + count])
    }

    /// Bytes that share the frame.
    pub(super) fn bytes(&mut self, count: usize) -> Result<Bytes, ProtocolError> {
        let start = self.advance(count)?;
        Ok(self.bytes.slice(start..start + count))
    }

    /// `count` times `width` bytes that share the frame.
    pub(super) fn array(&mut self, count: usize, width: usize) -> Result<Bytes, ProtocolError> {
        self.bytes(count.saturating_mul(width))
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], ProtocolError> {
        let start = self.advance(N)?;
        let mut chunk = [0; N];
        chunk.copy_from_slice(&self.bytes[start..start + N]);
        Ok(chunk)
    }

    pub(super) fn u8(&mut self) -> Result<u8, ProtocolError> {
        self.chunk().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, ProtocolError> {
        self.chunk().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, ProtocolError> {
        self.chunk().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, ProtocolError> {
        self.chunk().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, ProtocolError> {
        self.chunk().map(i64::from_le_bytes)
    }

    pub(super) fn f64(&mut self) -> Result<f64, ProtocolError> {
        self.chunk().map(f64::from_le_bytes)
    }

    pub(super) fn i128(&mut self) -> Result<i128, ProtocolError> {
        self.chunk().map(i128::from_le_bytes)
    }

    pub(super) fn length16(&mut self) -> Result<usize, ProtocolError> {
        self.u16().map(usize::from)
    }

    pub(super) fn length32(&mut self) -> Result<usize, ProtocolError> {
        self.u32().map(position)
    }

    /// Bytes that must be zero.
    pub(super) fn reserved(&mut self, count: usize) -> Result<(), ProtocolError> {
        if self.slice(count)?.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        Err(ProtocolError::ReservedNotZero { place: self.place })
    }

    /// Zeros up to the next multiple of eight.
    pub(super) fn pad(&mut self) -> Result<(), ProtocolError> {
        self.reserved(self.at.next_multiple_of(8) - self.at)
    }

    /// A padded bitmap of so many bits, as bytes that share the frame.
    pub(super) fn bitmap(&mut self, bits: usize) -> Result<Bytes, ProtocolError> {
        let bitmap = self.bytes(bits.div_ceil(8))?;
        let unused = bitmap.len() * 8 - bits;
        if bitmap.last().is_some_and(|last| last.leading_zeros() < count32(unused)) {
            return Err(ProtocolError::ReservedNotZero { place: self.place });
        }
        self.pad()?;
        Ok(bitmap)
    }

    /// Ends of so many items, padded: ascending, the last within `bytes_max`. As bytes that share
    /// the frame; [`end_at`] reads them.
    pub(super) fn ends(&mut self, count: usize) -> Result<(Bytes, usize), ProtocolError> {
        let ends = self.array(count, 4)?;
        let mut previous = 0;
        for end in ends.chunks_exact(4).map(read_u32) {
            if end < previous {
                return Err(self.malformed("the ends of its items do not ascend"));
            }
            previous = end;
        }
        self.pad()?;
        Ok((ends, position(previous)))
    }

    /// The end of the payload.
    pub(super) fn end(&self) -> Result<(), ProtocolError> {
        match self.remaining() {
            0 => Ok(()),
            bytes => Err(ProtocolError::TrailingBytes { place: self.place, bytes }),
        }
    }
}

/// The range of an item in the joined bytes.
pub(super) fn item_range(ends: &[u8], index: usize) -> std::ops::Range<usize> {
    let end = |index: usize| position(read_u32(&ends[index * 4..index * 4 + 4]));
    let start = index.checked_sub(1).map_or(0, end);
    start..end(index)
}

/// Whether a bit is set.
pub(super) fn bit(bitmap: &[u8], index: usize) -> bool {
    bitmap[index / 8] >> (index % 8) & 1 != 0
}

/// All bits of a bitmap.
pub(super) fn bits(bitmap: &[u8], count: usize) -> Vec<bool> {
    (0..count).map(|index| bit(bitmap, index)).collect()
}

/// Integers that stand side by side.
pub(super) fn i64s(bytes: &[u8]) -> Vec<i64> {
    words(bytes).map(i64::from_le_bytes).collect()
}

/// Doubles that stand side by side.
pub(super) fn f64s(bytes: &[u8]) -> Vec<f64> {
    words(bytes).map(f64::from_le_bytes).collect()
}

fn words(bytes: &[u8]) -> impl ExactSizeIterator<Item = [u8; 8]> {
    let (words, rest) = bytes.as_chunks::<8>();
    assert!(rest.is_empty(), "a column is made of whole words");
    words.iter().copied()
}

pub(super) fn read_u32(bytes: &[u8]) -> u32 {
    let Some(word) = bytes.first_chunk() else { unreachable!("an end has four bytes") };
    u32::from_le_bytes(*word)
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn count32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
