//! Owns as much of RESP2 as a load needs: writing commands, and taking replies apart without a
//! copy. Knows nothing of commands' meaning.

use bytes::{Buf, BufMut, BytesMut};

/// Starts a command of so many arguments.
pub fn put_command(out: &mut BytesMut, arguments: usize) {
    put_head(out, b'*', arguments);
}

/// Writes the next argument.
pub fn put_argument(out: &mut BytesMut, argument: &[u8]) {
    put_head(out, b'$', argument.len());
    out.put_slice(argument);
    out.put_slice(b"\r\n");
}

/// Writes a whole command.
pub fn put(out: &mut BytesMut, arguments: &[&[u8]]) {
    put_command(out, arguments.len());
    arguments.iter().for_each(|argument| put_argument(out, argument));
}

fn put_head(out: &mut BytesMut, kind: u8, count: usize) {
    out.put_u8(kind);
    put_decimal(out, u64::try_from(count).unwrap_or(u64::MAX));
    out.put_slice(b"\r\n");
}

/// Writes a number's digits.
fn put_decimal(out: &mut BytesMut, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.put_slice(&digits[at..]);
}

/// One item of a reply. An array is its length; its items follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    /// An integer.
    Integer(i64),
    /// A status, such as OK.
    Status(&'a [u8]),
    /// A refusal.
    Error(&'a [u8]),
    /// A string.
    Bulk(&'a [u8]),
    /// Nothing, where a string or array could be.
    Nil,
    /// So many items.
    Array(usize),
}

/// A walk over the items at the front of an input. Whatever is incomplete or malformed ends it:
/// what is malformed never becomes complete, and the run ends by waiting for it.
#[derive(Debug, Clone, Copy)]
pub struct Items<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Items<'a> {
    /// A walk from the front of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes taken so far.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.at
    }

    /// The next item; none until it is there in whole.
    pub fn next_item(&mut self) -> Option<Item<'a>> {
        let kind = *self.bytes.get(self.at)?;
        let start = self.at + 1;
        if matches!(kind, b'+' | b'-') {
            let length = self.bytes[start..].iter().position(|&byte| byte == b'\r')?;
            let text = &self.bytes[start..start + length];
            self.bytes.get(start + length + 1)?;
            self.at = start + length + 2;
            return Some(if kind == b'+' { Item::Status(text) } else { Item::Error(text) });
        }
        let (number, behind) = decimal(self.bytes, start)?;
        match kind {
            b':' => self.at = behind,
            b'*' | b'$' if number < 0 => {
                self.at = behind;
                return Some(Item::Nil);
            }
            b'*' => {
                self.at = behind;
                return usize::try_from(number).ok().map(Item::Array);
            }
            b'$' => {
                let end = behind + usize::try_from(number).ok()?;
                self.bytes.get(end + 1)?;
                self.at = end + 2;
                return Some(Item::Bulk(&self.bytes[behind..end]));
            }
            _ => return None,
        }
        Some(Item::Integer(number))
    }

    /// The next item, where it is a string.
    pub fn next_bulk(&mut self) -> Option<&'a [u8]> {
        match self.next_item()? {
            Item::Bulk(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// A whole reply's items, arrays flattened; none until all of it is there.
#[must_use]
pub fn whole_reply(bytes: &[u8]) -> Option<(Vec<Item<'_>>, usize)> {
    let mut items = Items::new(bytes);
    let mut all = Vec::new();
    let mut open: usize = 1;
    while 0 < open {
        let item = items.next_item()?;
        open -= 1;
        if let Item::Array(length) = item {
            open += length;
        }
        all.push(item);
    }
    Some((all, items.taken()))
}

/// Drops `count` bytes off the front.
pub fn drop_front(input: &mut BytesMut, count: usize) {
    input.advance(count);
}

/// The number at `at` and the position behind its line.
fn decimal(bytes: &[u8], mut at: usize) -> Option<(i64, usize)> {
    let is_negative = *bytes.get(at)? == b'-';
    at += usize::from(is_negative);
    let mut number: i64 = 0;
    loop {
        let byte = *bytes.get(at)?;
        at += 1;
        if byte == b'\r' {
            break;
        }
        number = number.wrapping_mul(10).wrapping_add(i64::from(byte.wrapping_sub(b'0')));
    }
    bytes.get(at)?;
    Some((if is_negative { -number } else { number }, at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_written_as_an_array_of_strings() {
        let mut out = BytesMut::new();
        put(&mut out, &[b"HGET", b"key of 15 bytes", b""]);
        let expected = "*3\r\n$4\r\nHGET\r\n$15\r\nkey of 15 bytes\r\n$0\r\n\r\n";
        assert_eq!(out, expected.as_bytes());
    }

    #[test]
    fn a_reply_is_taken_only_in_whole() {
        let reply = b"*4\r\n:-12\r\n$3\r\nabc\r\n$-1\r\n*2\r\n+OK\r\n-ERR no\r\n:7\r\n";
        let (whole, _) = reply.split_at(reply.len() - 4);
        for length in 0..whole.len() {
            assert_eq!(whole_reply(&reply[..length]), None, "{length} bytes");
        }
        let (items, taken) = whole_reply(reply).unwrap();
        assert_eq!(taken, whole.len());
        let expected = [
            Item::Array(4),
            Item::Integer(-12),
            Item::Bulk(b"abc"),
            Item::Nil,
            Item::Array(2),
            Item::Status(b"OK"),
            Item::Error(b"ERR no"),
        ];
        assert_eq!(items, expected);
    }
}
