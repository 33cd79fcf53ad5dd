//! Owns packed fields: names and values of a hash back to back in one piece of memory, in the
//! order in which they were added ([RECORD-13]). Knows nothing of keys or expiry.

use std::sync::Arc;

use crate::codec::{count_u32, small_index};

/// The fields of a hash, or some of them.
#[derive(Debug, Clone)]
pub(crate) struct Packed(Arc<[u8]>);

/// Where a string lies: its first byte, and the first behind it.
pub(crate) type Range = (usize, usize);

/// Bytes in front of the fields: their count.
const HEAD_BYTES: usize = 4;
/// The first byte of a length that takes four more.
const LONG: u8 = 255;

impl Packed {
    /// No fields.
    pub(crate) fn empty() -> Self {
        Self(Arc::new([0; HEAD_BYTES]))
    }

    /// Takes over bytes that [`check`] has passed, or that [`upsert`] has made.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The bytes, for files.
    pub(crate) fn bytes(&self) -> &Arc<[u8]> {
        &self.0
    }

    /// How many fields there are.
    pub(crate) fn len(&self) -> usize {
        count(&self.0)
    }

    /// The value of a field.
    pub(crate) fn get(&self, field: &[u8]) -> Option<&[u8]> {
        self.find(field).map(|(start, end)| &self.0[start..end])
    }

    /// Where the value of a field lies.
    pub(crate) fn find(&self, field: &[u8]) -> Option<Range> {
        find(&self.0, field).map(|(_, value)| value)
    }

    /// Names and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        pairs(&self.0)
    }

    /// Where names and values lie.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (Range, Range)> {
        ranges(&self.0)
    }
}

/// Begins packed fields in `out`, which is emptied.
pub(crate) fn begin(out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&[0; HEAD_BYTES]);
}

/// How many fields there are.
pub(crate) fn count(packed: &[u8]) -> usize {
    let head = packed.first_chunk().copied().unwrap_or_default();
    small_index(u32::from_le_bytes(head))
}

/// Adds a field that is not there yet.
pub(crate) fn push(out: &mut Vec<u8>, field: &[u8], value: &[u8]) {
    put_string(out, field);
    put_string(out, value);
    let grown = count(out) + 1;
    set_count(out, grown);
}

/// Sets a field; whether it is new.
pub(crate) fn upsert(out: &mut Vec<u8>, field: &[u8], value: &[u8]) -> bool {
    let Some((_, (start, end))) = find(out, field) else {
        push(out, field, value);
        return true;
    };
    if value.len() == end - start {
        out[start..end].copy_from_slice(value);
        return false;
    }
    let length_at = start - length_bytes(end - start);
    let needed = length_bytes(value.len()) + value.len();
    make_room(out, (length_at, end), needed);
    let mut at = length_at;
    put_length(value.len(), |bytes| {
        out[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    });
    out[at..at + value.len()].copy_from_slice(value);
    false
}

/// Removes a field; whether it was there.
pub(crate) fn remove(out: &mut Vec<u8>, field: &[u8]) -> bool {
    let Some(((name_start, name_end), (_, end))) = find(out, field) else {
        return false;
    };
    let start = name_start - length_bytes(name_end - name_start);
    make_room(out, (start, end), 0);
    let left = count(out) - 1;
    set_count(out, left);
    true
}

/// Whether the bytes are packed fields and nothing else.
pub(crate) fn check(packed: &[u8]) -> bool {
    if packed.len() < HEAD_BYTES {
        return false;
    }
    let mut at = HEAD_BYTES;
    for _ in 0..count(packed) {
        for _ in 0..2 {
            match length_at(packed, at).and_then(|(len, from)| from.checked_add(len)) {
                Some(end) if end <= packed.len() => at = end,
                _ => return false,
            }
        }
    }
    at == packed.len()
}

/// Names and values of bytes that [`check`] has passed.
pub(crate) fn pairs(packed: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    ranges(packed).map(|((field, field_end), (value, value_end))| {
        (&packed[field..field_end], &packed[value..value_end])
    })
}

fn ranges(packed: &[u8]) -> impl Iterator<Item = (Range, Range)> {
    let mut at = HEAD_BYTES;
    (0..count(packed)).map(move |_| {
        let field = string_at(packed, at);
        let value = string_at(packed, field.1);
        at = value.1;
        (field, value)
    })
}

fn find(packed: &[u8], field: &[u8]) -> Option<(Range, Range)> {
    let mut at = HEAD_BYTES;
    while at < packed.len() {
        let name = string_at(packed, at);
        let value = string_at(packed, name.1);
        if &packed[name.0..name.1] == field {
            return Some((name, value));
        }
        at = value.1;
    }
    None
}

#[inline]
fn string_at(packed: &[u8], at: usize) -> Range {
    let Some((len, from)) = length_at(packed, at) else {
        unreachable!("packed fields are checked before they are kept");
    };
    (from, from + len)
}

#[inline]
fn length_at(packed: &[u8], at: usize) -> Option<(usize, usize)> {
    let first = *packed.get(at)?;
    if first < LONG {
        return Some((usize::from(first), at + 1));
    }
    let bytes = packed.get(at + 1..)?.first_chunk()?;
    Some((small_index(u32::from_le_bytes(*bytes)), at + 5))
}

fn length_bytes(len: usize) -> usize {
    if len < usize::from(LONG) { 1 } else { 5 }
}

fn put_length(len: usize, mut put: impl FnMut(&[u8])) {
    match u8::try_from(len).ok().filter(|short| *short < LONG) {
        Some(short) => put(&[short]),
        None => {
            put(&[LONG]);
            put(&count_u32(len).to_le_bytes());
        }
    }
}

fn put_string(out: &mut Vec<u8>, string: &[u8]) {
    put_length(string.len(), |bytes| out.extend_from_slice(bytes));
    out.extend_from_slice(string);
}

fn set_count(out: &mut [u8], count: usize) {
    out[..HEAD_BYTES].copy_from_slice(&count_u32(count).to_le_bytes());
}

/// Makes the range `needed` bytes long; what follows it moves.
fn make_room(out: &mut Vec<u8>, (start, end): Range, needed: usize) {
    let (old, tail) = (out.len(), out.len() - end);
    if end - start < needed {
        out.resize(start + needed + tail, 0);
    }
    out.copy_within(end..old, start + needed);
    out.truncate(start + needed + tail);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_order_and_lengths_change() {
        let mut out = Vec::new();
        begin(&mut out);
        let long = vec![b'x'; 300];
        assert!(upsert(&mut out, b"a", b"1"));
        assert!(upsert(&mut out, b"b", &long));
        assert!(upsert(&mut out, b"", b""));
        assert!(!upsert(&mut out, b"a", &long));
        assert!(!upsert(&mut out, b"b", b"22"));
        assert!(check(&out));
        let packed = Packed::from_bytes(&out);
        let expected: Vec<(&[u8], &[u8])> = vec![(b"a", &long), (b"b", b"22"), (b"", b"")];
        assert_eq!(packed.iter().collect::<Vec<_>>(), expected);
        assert_eq!((packed.len(), packed.get(b"b")), (3, Some(&b"22"[..])));
        assert!(remove(&mut out, b"a") && !remove(&mut out, b"a"));
        assert!(check(&out));
        assert_eq!(pairs(&out).map(|(field, _)| field).collect::<Vec<_>>(), [&b"b"[..], b""]);
    }

    /// [RECORD-13], in bytes.
    #[test]
    fn golden_bytes() {
        let mut out = Vec::new();
        begin(&mut out);
        push(&mut out, b"f", b"12");
        push(&mut out, b"gh", &[7; 255]);
        let mut expected = vec![2, 0, 0, 0, 1, b'f', 2, b'1', b'2', 2, b'g', b'h'];
        expected.extend([255, 255, 0, 0, 0]);
        expected.extend([7; 255]);
        assert_eq!(out, expected);
        for len in 0..out.len() {
            assert!(!check(&out[..len]), "{len} bytes are not all fields");
        }
    }
}
