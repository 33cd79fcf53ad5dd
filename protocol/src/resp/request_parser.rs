//! Requests as they arrive: arrays of bulk strings, or inline lines ([RESP-1], [RESP-3]). Knows
//! nothing of sockets: the caller appends what it read to a buffer and asks for the next request.

use bytes::{Buf, BytesMut};

use super::inline::split_line;
use super::line::{LineEnd, find_line_end, parse_integer, short_count, strict_line};
use crate::arguments::{Arguments, Ranges};
use crate::error::ProtocolError;
use crate::limits::{HEADER_LINE_BYTES_MAX, Limits};

/// A request in the making. It remembers how far it has read, so that a request that arrives in
/// many pieces costs no more than one that arrives whole, and it stores only what has arrived:
/// a count or length that is merely announced reserves nothing.
#[derive(Debug, Default)]
pub struct RequestParser {
    /// Bytes of the request that are understood.
    position: usize,
    /// Bytes that were searched for a line end.
    scanned: usize,
    expected: Expected,
    ranges: Ranges,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// The first byte of a request.
    #[default]
    Start,
    /// `$<length>` of the next of so many arguments.
    Length { arguments_left: usize },
    /// The bytes of an argument.
    Body { arguments_left: usize, length: usize },
}

enum Step {
    /// One part was read.
    Advanced,
    /// More bytes are needed.
    Incomplete,
    /// All arguments of a request are there.
    Complete,
    /// An inline request, with its line taken off the buffer.
    Inline(Arguments),
}

impl RequestParser {
    /// Takes the next whole request off the front of the buffer; `None` until it has arrived.
    /// Empty requests (`*0`, blank lines) are skipped, as Redis does. After an error the
    /// connection must be closed: where the next request would begin is unknown.
    pub fn parse(
        &mut self,
        buffer: &mut BytesMut,
        limits: &Limits,
    ) -> Result<Option<Arguments>, ProtocolError> {
        loop {
            match self.step(buffer, limits)? {
                Step::Advanced => {}
                Step::Incomplete => return Ok(None),
                Step::Complete if self.ranges.is_empty() => {
                    buffer.advance(self.position);
                    self.reset();
                }
                Step::Complete => return Ok(Some(self.take(buffer))),
                Step::Inline(arguments) => {
                    self.reset();
                    if !arguments.is_empty() {
                        return Ok(Some(arguments));
                    }
                }
            }
        }
    }

    /// Whether a request has begun to arrive but is not whole.
    pub fn is_midway(&self) -> bool {
        self.position > 0 || self.scanned > 0
    }

    fn take(&mut self, buffer: &mut BytesMut) -> Arguments {
        let body = buffer.split_to(self.position).freeze();
        let ranges = std::mem::take(&mut self.ranges);
        self.reset();
        Arguments::new(body, ranges)
    }

    fn reset(&mut self) {
        *self = Self::default();
    }

    fn step(&mut self, buffer: &mut BytesMut, limits: &Limits) -> Result<Step, ProtocolError> {
        match self.expected {
            Expected::Start => match buffer.first() {
                None => Ok(Step::Incomplete),
                Some(b'*') => self.count(buffer, limits),
                Some(_) => self.inline(buffer, limits),
            },
            Expected::Length { arguments_left: 0 } => Ok(Step::Complete),
            Expected::Length { arguments_left } => self.length(buffer, limits, arguments_left),
            Expected::Body { arguments_left, length } => self.body(buffer, arguments_left, length),
        }
    }

    fn count(&mut self, buffer: &[u8], limits: &Limits) -> Result<Step, ProtocolError> {
        let Some(header) = self.header(buffer, ProtocolError::CountLineTooLong)? else {
            return Ok(Step::Incomplete);
        };
        let arguments_left = header
            .and_then(|count| usize::try_from(count.max(0)).ok())
            .filter(|count| *count <= limits.argument_count_max)
            .ok_or(ProtocolError::InvalidMultibulkLength)?;
        self.expected = Expected::Length { arguments_left };
        Ok(Step::Advanced)
    }

    fn length(
        &mut self,
        buffer: &[u8],
        limits: &Limits,
        arguments_left: usize,
    ) -> Result<Step, ProtocolError> {
        match buffer.get(self.position) {
            None => return Ok(Step::Incomplete),
            Some(b'$') => {}
            Some(found) => return Err(ProtocolError::ExpectedBulk { found: *found }),
        }
        let Some(header) = self.header(buffer, ProtocolError::BulkLineTooLong)? else {
            return Ok(Step::Incomplete);
        };
        let length = header
            .and_then(|length| usize::try_from(length).ok())
            .filter(|length| *length <= limits.bulk_bytes_max)
            .ok_or(ProtocolError::InvalidBulkLength)?;
        check_request_size(self.position.saturating_add(length).saturating_add(2), limits)?;
        self.expected = Expected::Body { arguments_left, length };
        Ok(Step::Advanced)
    }

    fn body(
        &mut self,
        buffer: &[u8],
        arguments_left: usize,
        length: usize,
    ) -> Result<Step, ProtocolError> {
        let end = self.position + length;
        let Some(line_end) = buffer.get(end..end + 2) else {
            return Ok(Step::Incomplete);
        };
        if line_end != b"\r\n" {
            return Err(ProtocolError::ExpectedLineEnd { after: "an argument" });
        }
        self.ranges.push((offset(self.position)?, offset(end)?));
        self.position = end + 2;
        self.expected = Expected::Length { arguments_left: arguments_left - 1 };
        Ok(Step::Advanced)
    }

    /// Reads the line at the position without its first byte, which told its type: `None` until it
    /// has arrived, an inner `None` where it is no integer.
    fn header(
        &mut self,
        buffer: &[u8],
        too_long: ProtocolError,
    ) -> Result<Option<Option<i64>>, ProtocolError> {
        let start = self.position + 1;
        if let Some((value, line_bytes)) = short_count(&buffer[start..]) {
            self.position = start + line_bytes;
            return Ok(Some(Some(value)));
        }
        match find_line_end(buffer, start, self.scanned, HEADER_LINE_BYTES_MAX) {
            LineEnd::Missing(scanned) => {
                self.scanned = scanned;
                Ok(None)
            }
            LineEnd::TooLong => Err(too_long),
            LineEnd::At(line_feed) => {
                self.position = line_feed + 1;
                let line = strict_line(buffer, start, line_feed, "a length")?;
                Ok(Some(parse_integer(line)))
            }
        }
    }

    fn inline(&mut self, buffer: &mut BytesMut, limits: &Limits) -> Result<Step, ProtocolError> {
        match find_line_end(buffer, 0, self.scanned, limits.inline_bytes_max) {
            LineEnd::Missing(scanned) => {
                self.scanned = scanned;
                Ok(Step::Incomplete)
            }
            LineEnd::TooLong => Err(ProtocolError::InlineTooLong),
            LineEnd::At(line_feed) => {
                let line = &buffer[..line_feed];
                let arguments = split_line(line.strip_suffix(b"\r").unwrap_or(line))?;
                check_inline_count(&arguments, limits)?;
                buffer.advance(line_feed + 1);
                Ok(Step::Inline(arguments))
            }
        }
    }
}

fn check_request_size(bytes: usize, limits: &Limits) -> Result<(), ProtocolError> {
    if bytes <= limits.frame_bytes_max {
        return Ok(());
    }
    let as_u64 = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let (bytes, bytes_max) = (as_u64(bytes), as_u64(limits.frame_bytes_max));
    Err(ProtocolError::FrameTooLong { bytes, bytes_max })
}

fn check_inline_count(arguments: &Arguments, limits: &Limits) -> Result<(), ProtocolError> {
    if arguments.len() <= limits.argument_count_max {
        return Ok(());
    }
    Err(ProtocolError::InvalidMultibulkLength)
}

fn offset(position: usize) -> Result<u32, ProtocolError> {
    u32::try_from(position).map_err(|_| ProtocolError::InvalidBulkLength)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { frame_bytes_max: 64, bulk_bytes_max: 32, argument_count_max: 4, ..full() }
    }

    fn full() -> Limits {
        Limits::authenticated()
    }

    fn parse_all(
        input: &[u8],
        piece_bytes: usize,
        limits: &Limits,
    ) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
        let mut parser = RequestParser::default();
        let mut buffer = BytesMut::new();
        let mut requests = Vec::new();
        for piece in input.chunks(piece_bytes.max(1)) {
            buffer.extend_from_slice(piece);
            loop {
                match parser.parse(&mut buffer, limits) {
                    Ok(None) => break,
                    Ok(Some(request)) => {
                        requests.push(request.iter().map(<[u8]>::to_vec).collect());
                    }
                    Err(error) => return (requests, Some(error)),
                }
            }
        }
        (requests, None)
    }

    #[test]
    fn requests_follow_each_other() {
        let input =
            b"*1\r\n$4\r\nPING\r\n\r\n*0\r\n*-1\r\nECHO 'a b'\r\n*2\r\n$1\r\na\r\n$0\r\n\r\n";
        let (requests, error) = parse_all(input, input.len(), &full());
        assert_eq!(error, None);
        let wanted: [Vec<Vec<u8>>; 3] = [
            vec![b"PING".to_vec()],
            vec![b"ECHO".to_vec(), b"a b".to_vec()],
            vec![b"a".to_vec(), vec![]],
        ];
        assert_eq!(requests, wanted);
    }

    #[test]
    fn malformed_framing_is_named() {
        let long = [b'*'; 40];
        let cases: [(&[u8], &str); 12] = [
            (b"*x\r\n", "invalid multibulk length"),
            (b"*5\r\n", "invalid multibulk length"),
            (b"*99999999999999999999\r\n", "invalid multibulk length"),
            (b"*1\n", "expected CRLF after a length"),
            (&long, "too big mbulk count string"),
            (b"*1\r\n:5\r\n", "expected '$', got ':'"),
            (b"*1\r\n$-1\r\n", "invalid bulk length"),
            (b"*1\r\n$33\r\n", "invalid bulk length"),
            (b"*1\r\n$03\r\n", "invalid bulk length"),
            (b"*1\r\n$1\r\nabc", "expected CRLF after an argument"),
            (b"*2\r\n$30\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n$30\r\n", "a request of 78 bytes"),
            (b"set \"a\r\n", "unbalanced quotes in request"),
        ];
        for (input, wanted) in cases {
            for piece_bytes in [1, 3, input.len()] {
                let (_, error) = parse_all(input, piece_bytes, &limits());
                let text = error.map(|error| error.to_string()).unwrap_or_default();
                assert!(text.starts_with(wanted), "{}: {text}", input.escape_ascii());
            }
        }
    }

    #[test]
    fn an_inline_line_has_a_bound() {
        let bounded = Limits { inline_bytes_max: 8, ..full() };
        let (requests, error) = parse_all(b"12345678\r\n", 3, &bounded);
        assert_eq!((requests.len(), error), (1, None));
        let (_, error) = parse_all(b"1234567890", 1, &bounded);
        assert_eq!(error, Some(ProtocolError::InlineTooLong));
    }

    #[test]
    fn an_announced_length_reserves_nothing() {
        let mut parser = RequestParser::default();
        let mut buffer = BytesMut::from(&b"*1048576\r\n$33554432\r\nab"[..]);
        assert_eq!(parser.parse(&mut buffer, &full()), Ok(None));
        assert!(buffer.capacity() < 4096, "{}", buffer.capacity());
        assert!(parser.ranges.capacity() < 4096);
        assert!(parser.is_midway());
    }

    proptest::proptest! {
        #[test]
        fn any_split_parses_the_same(
            input in proptest::collection::vec(proptest::sample::select(
                &b"*$0123\r\n\r\n ab\"'\\x-"[..]), 0..80),
            piece_bytes in 1usize..9,
        ) {
            let whole = parse_all(&input, input.len(), &limits());
            proptest::prop_assert_eq!(parse_all(&input, piece_bytes, &limits()), whole);
        }

        #[test]
        fn well_formed_requests_come_back(
            requests in proptest::collection::vec(proptest::collection::vec(
                proptest::collection::vec(proptest::num::u8::ANY, 0..20), 1..8), 0..6),
            piece_bytes in 1usize..40,
        ) {
            let mut stream = BytesMut::new();
            for request in &requests {
                crate::resp::encode_arguments(request, &mut stream);
            }
            let parsed = parse_all(&stream, piece_bytes, &full());
            proptest::prop_assert_eq!(parsed, (requests, None));
        }
    }
}
