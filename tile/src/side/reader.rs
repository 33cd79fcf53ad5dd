//! Reading stored bytes from their beginning to their end. It knows nothing of what they mean.

use crate::error::TileError;
use crate::number::count;

/// Reads stored bytes, checking that each is there.
pub(crate) struct Reader<'a> {
    /// What the bytes are, for errors.
    what: &'static str,
    bytes: &'a [u8],
    pub(crate) offset: usize,
}

impl<'a> Reader<'a> {
    /// A reader that stands at the beginning of a state.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self::named("stored tile state", bytes)
    }

    /// A reader that stands at the beginning of something else.
    pub(crate) fn named(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, bytes, offset: 0 }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, TileError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, TileError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, TileError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, TileError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn array<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], TileError> {
        let taken = self.take(COUNT)?;
        let Ok(array) = taken.try_into() else {
            unreachable!("as many bytes were taken as the array has");
        };
        Ok(array)
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], TileError> {
        let rest = self.rest();
        let Some(taken) = rest.get(..length) else {
            let found = format!("{} left", count(rest.len()));
            return Err(self.corrupt(self.offset, format!("{length} bytes"), found));
        };
        self.offset += length;
        Ok(taken)
    }

    /// A byte that was read before.
    pub(crate) fn byte_at(&self, at: usize) -> u8 {
        self.bytes[at]
    }

    /// What has not been read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.offset..]
    }

    /// Refuses bytes that were not read.
    pub(crate) fn end(&self) -> Result<(), TileError> {
        match self.rest().len() {
            0 => Ok(()),
            left => Err(self.corrupt(self.offset, "the end".to_owned(), format!("{left} bytes"))),
        }
    }

    /// The error of bytes that stand before where the reader is.
    pub(crate) fn wrong(&self, expected: &str, found: impl ToString) -> TileError {
        self.corrupt(self.offset, expected.to_owned(), found.to_string())
    }

    pub(crate) fn corrupt(&self, offset: usize, expected: String, found: String) -> TileError {
        TileError::Corrupt { what: self.what, offset, expected, found }
    }
}
