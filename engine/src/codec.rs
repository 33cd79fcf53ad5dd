//! Owns fixed-width little-endian fields: how every record, segment table and manifest of this
//! crate writes and checks them. Knows nothing of what the fields mean.

/// Appends fields to a byte buffer.
pub(crate) trait PutFields {
    /// Appends one byte.
    fn put_u8(&mut self, value: u8);
    /// Appends a `u16`, little-endian.
    fn put_u16(&mut self, value: u16);
    /// Appends a `u32`, little-endian.
    fn put_u32(&mut self, value: u32);
    /// Appends a `u64`, little-endian.
    fn put_u64(&mut self, value: u64);
    /// Appends an `i64`, little-endian.
    fn put_i64(&mut self, value: i64);
    /// Appends a `u16` length and the bytes. Panics past 65,535 bytes: callers check limits first.
    fn put_short(&mut self, bytes: &[u8]);
    /// Appends a `u32` length and the bytes. Panics past 4 GiB: callers check limits first.
    fn put_long(&mut self, bytes: &[u8]);
    /// Appends a presence byte and, where there is one, the value.
    fn put_option(&mut self, value: Option<i64>);
}

impl PutFields for Vec<u8> {
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }

    fn put_u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_i64(&mut self, value: i64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_short(&mut self, bytes: &[u8]) {
        let Ok(len) = u16::try_from(bytes.len()) else {
            panic!("a short field holds at most 65,535 bytes, not {}", bytes.len());
        };
        self.put_u16(len);
        self.extend_from_slice(bytes);
    }

    fn put_long(&mut self, bytes: &[u8]) {
        self.put_u32(count_u32(bytes.len()));
        self.extend_from_slice(bytes);
    }

    fn put_option(&mut self, value: Option<i64>) {
        self.put_u8(u8::from(value.is_some()));
        if let Some(value) = value {
            self.put_i64(value);
        }
    }
}

/// A count as the `u32` that a format stores. Panics past `u32::MAX`: callers check limits first.
pub(crate) fn count_u32(count: usize) -> u32 {
    let Ok(count) = u32::try_from(count) else {
        panic!("a stored count is at most 4,294,967,295, not {count}");
    };
    count
}

/// A byte count or position as the `u64` that a format stores.
pub(crate) fn bytes_u64(bytes: usize) -> u64 {
    let Ok(bytes) = u64::try_from(bytes) else {
        unreachable!("a usize fits 64 bits on every supported machine");
    };
    bytes
}

/// A stored `u64` position as an index into memory.
pub(crate) fn index(position: u64) -> usize {
    let Ok(position) = usize::try_from(position) else {
        panic!("position {position} is beyond this machine's address space");
    };
    position
}

/// A stored `u32` count as an index into memory.
pub(crate) fn small_index(position: u32) -> usize {
    index(u64::from(position))
}

/// What is wrong with a run of fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FieldError {
    /// The bytes end inside a field.
    #[error("the bytes end inside a field")]
    Short,
    /// Bytes are left after the last field.
    #[error("{0} bytes are left after the last field")]
    Trailing(usize),
    /// A field holds a value that its meaning does not allow.
    #[error("the field `{0}` holds a value that is not allowed")]
    Value(&'static str),
}

/// Reads fields from the front of a byte slice, each one checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a> {
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Fields from the start of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The bytes that are not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// The next `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], FieldError> {
        let (head, tail) = self.bytes.split_at_checked(len).ok_or(FieldError::Short)?;
        self.bytes = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FieldError> {
        let (head, tail) = self.bytes.split_first_chunk::<N>().ok_or(FieldError::Short)?;
        self.bytes = tail;
        Ok(*head)
    }

    /// One byte.
    pub(crate) fn u8(&mut self) -> Result<u8, FieldError> {
        Ok(self.array::<1>()?[0])
    }

    /// A `u16`.
    pub(crate) fn u16(&mut self) -> Result<u16, FieldError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// A `u32`.
    pub(crate) fn u32(&mut self) -> Result<u32, FieldError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// A `u64`.
    pub(crate) fn u64(&mut self) -> Result<u64, FieldError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// An `i64`.
    pub(crate) fn i64(&mut self) -> Result<i64, FieldError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// Bytes behind a `u16` length.
    pub(crate) fn short(&mut self) -> Result<&'a [u8], FieldError> {
        let len = usize::from(self.u16()?);
        self.take(len)
    }

    /// Bytes behind a `u32` length.
    pub(crate) fn long(&mut self) -> Result<&'a [u8], FieldError> {
        let len = small_index(self.u32()?);
        self.take(len)
    }

    /// A byte that is 0 or 1.
    pub(crate) fn flag(&mut self, name: &'static str) -> Result<bool, FieldError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(FieldError::Value(name)),
        }
    }

    /// A presence byte and, where it says so, an `i64`.
    pub(crate) fn option(&mut self, name: &'static str) -> Result<Option<i64>, FieldError> {
        Ok(if self.flag(name)? { Some(self.i64()?) } else { None })
    }

    /// Refuses bytes that are left over.
    pub(crate) fn end(self) -> Result<(), FieldError> {
        match self.bytes.len() {
            0 => Ok(()),
            left => Err(FieldError::Trailing(left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_read_back_what_was_put() {
        let mut out = Vec::new();
        out.put_u8(7);
        out.put_u16(300);
        out.put_u32(70_000);
        out.put_u64(u64::MAX);
        out.put_i64(-5);
        out.put_short(b"ab");
        out.put_long(b"cde");
        out.put_option(None);
        out.put_option(Some(-9));
        let mut fields = Fields::new(&out);
        assert_eq!(fields.u8(), Ok(7));
        assert_eq!(fields.u16(), Ok(300));
        assert_eq!(fields.u32(), Ok(70_000));
        assert_eq!(fields.u64(), Ok(u64::MAX));
        assert_eq!(fields.i64(), Ok(-5));
        assert_eq!(fields.short(), Ok(&b"ab"[..]));
        assert_eq!(fields.long(), Ok(&b"cde"[..]));
        assert_eq!(fields.option("none"), Ok(None));
        assert_eq!(fields.option("some"), Ok(Some(-9)));
        assert_eq!(fields.end(), Ok(()));
    }

    #[test]
    fn short_and_trailing_bytes_are_named() {
        assert_eq!(Fields::new(&[1]).u16(), Err(FieldError::Short));
        assert_eq!(Fields::new(&[1, 2]).end(), Err(FieldError::Trailing(2)));
        assert_eq!(Fields::new(&[2]).flag("kind"), Err(FieldError::Value("kind")));
    }
}
