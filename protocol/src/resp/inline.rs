//! Inline requests: a line split into arguments by Redis's quoting rules (`sdssplitargs`;
//! [RESP-2]). Knows nothing of buffers and streams.

use bytes::Bytes;

use crate::arguments::{Arguments, Ranges};
use crate::error::ProtocolError;

/// Splits a line without its line end. Arguments are separated by white space; `"..."` takes the
/// escapes `\xHH \n \r \t \b \a` and `\` before any other byte for that byte; `'...'` takes only
/// `\'`. A closing quote must be followed by white space or the end of the line.
pub(super) fn split_line(line: &[u8]) -> Result<Arguments, ProtocolError> {
    if speaks_http(line) {
        return Err(ProtocolError::HttpRequest);
    }
    let mut splitter = Splitter { line, at: 0, body: Vec::with_capacity(line.len()) };
    let mut ranges = Ranges::new();
    while splitter.skip_space() {
        let start = offset(splitter.body.len())?;
        splitter.argument()?;
        ranges.push((start, offset(splitter.body.len())?));
    }
    Ok(Arguments::new(Bytes::from(splitter.body), ranges))
}

/// A browser that was tricked into posting to our port sends one of these lines before its body.
fn speaks_http(line: &[u8]) -> bool {
    let opens =
        |word: &[u8]| line.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    opens(b"POST ") || opens(b"Host:")
}

fn offset(length: usize) -> Result<u32, ProtocolError> {
    u32::try_from(length).map_err(|_| ProtocolError::InlineTooLong)
}

struct Splitter<'a> {
    line: &'a [u8],
    at: usize,
    body: Vec<u8>,
}

impl Splitter<'_> {
    fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    /// Moves to the next argument; false at the end of the line.
    fn skip_space(&mut self) -> bool {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
        self.at < self.line.len()
    }

    fn argument(&mut self) -> Result<(), ProtocolError> {
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'"' => return self.double_quoted(),
                b'\'' => return self.single_quoted(),
                other if is_space(other) => return Ok(()),
                other => self.body.push(other),
            }
        }
        Ok(())
    }

    fn double_quoted(&mut self) -> Result<(), ProtocolError> {
        loop {
            let byte = self.next_quoted()?;
            match byte {
                b'"' => return self.close_quote(),
                b'\\' => {
                    let escaped = self.escape()?;
                    self.body.push(escaped);
                }
                other => self.body.push(other),
            }
        }
    }

    fn single_quoted(&mut self) -> Result<(), ProtocolError> {
        loop {
            let byte = self.next_quoted()?;
            match byte {
                b'\'' => return self.close_quote(),
                b'\\' if self.peek() == Some(b'\'') => {
                    self.at += 1;
                    self.body.push(b'\'');
                }
                other => self.body.push(other),
            }
        }
    }

    fn next_quoted(&mut self) -> Result<u8, ProtocolError> {
        let byte = self.peek().ok_or(ProtocolError::UnbalancedQuotes)?;
        self.at += 1;
        Ok(byte)
    }

    fn close_quote(&self) -> Result<(), ProtocolError> {
        match self.peek() {
            Some(byte) if !is_space(byte) => Err(ProtocolError::UnbalancedQuotes),
            _ => Ok(()),
        }
    }

    /// What follows a backslash inside double quotes.
    fn escape(&mut self) -> Result<u8, ProtocolError> {
        let byte = self.next_quoted()?;
        if byte == b'x'
            && let Some(value) = self.hex_pair()
        {
            self.at += 2;
            return Ok(value);
        }
        Ok(match byte {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 0x08,
            b'a' => 0x07,
            other => other,
        })
    }

    fn hex_pair(&self) -> Option<u8> {
        let pair = self.line.get(self.at..self.at + 2)?;
        Some(hex_digit(pair[0])? << 4 | hex_digit(pair[1])?)
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// White space as C's `isspace` has it, NUL included as in Redis's splitter.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0B | 0x0C | 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, ProtocolError> {
        Ok(split_line(line)?.iter().map(<[u8]>::to_vec).collect())
    }

    #[test]
    fn quoting_follows_redis() {
        let cases: [(&[u8], &[&[u8]]); 8] = [
            (b"  PING  ", &[b"PING"]),
            (b"set a \"b c\"", &[b"set", b"a", b"b c"]),
            (b"a \"\\x41\\n\\q\\xZZ\"", &[b"a", b"A\nqxZZ"]),
            (b"a 'it\\'s \\n'", &[b"a", b"it's \\n"]),
            (b"a \"\" ''", &[b"a", b"", b""]),
            (b"a pre\"fix\"", &[b"a", b"prefix"]),
            (b" \t ", &[]),
            (b"a \xff\x01", &[b"a", b"\xff\x01"]),
        ];
        for (line, wanted) in cases {
            assert_eq!(split(line).unwrap(), wanted, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn quotes_must_balance() {
        for line in [&b"a \"b"[..], b"a 'b", b"a \"b\"c", b"a 'b'c", b"a \"b\\"] {
            assert_eq!(split(line), Err(ProtocolError::UnbalancedQuotes));
        }
    }

    #[test]
    fn a_browser_is_recognised() {
        for line in [&b"POST / HTTP/1.1"[..], b"post /", b"Host: x", b"host:x"] {
            assert_eq!(split(line), Err(ProtocolError::HttpRequest));
        }
        assert!(split(b"POSTER x").is_ok());
    }
}
