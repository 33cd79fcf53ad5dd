//! Replies as they arrive, for clients and tools. Knows nothing of which request a reply answers.

use bytes::{Buf, Bytes, BytesMut};

use super::line::{LineEnd, find_line_end, parse_integer, strict_line};
use crate::error::{ErrorReply, ProtocolError};
use crate::limits::Limits;
use crate::reply::Reply;

/// A reply in the making, of either version of RESP. Parts are taken off the buffer as they are
/// whole, so nothing is read twice. Sets and pushes come out as arrays, verbatim strings as their
/// text, and attributes are dropped.
#[derive(Debug, Default)]
pub struct ReplyParser {
    open: Vec<Open>,
    scanned: usize,
    body: Option<Body>,
}

/// An array or map whose items are still coming.
#[derive(Debug)]
struct Open {
    form: Form,
    items: Vec<Reply>,
    items_left: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Array,
    Map,
    Attribute,
}

/// A string whose length is known.
#[derive(Debug, Clone, Copy)]
struct Body {
    form: BodyForm,
    length: usize,
}

#[derive(Debug, Clone, Copy)]
enum BodyForm {
    Bulk,
    Verbatim,
    Error,
}

impl ReplyParser {
    /// Takes the next whole reply off the front of the buffer; `None` until it has arrived. After
    /// an error the connection cannot be used any more.
    pub fn parse(
        &mut self,
        buffer: &mut BytesMut,
        limits: &Limits,
    ) -> Result<Option<Reply>, ProtocolError> {
        loop {
            let part = match self.body {
                Some(body) => self.body(buffer, body)?,
                None => self.line(buffer, limits)?,
            };
            match part {
                Part::Incomplete => return Ok(None),
                Part::Opened => {}
                Part::Whole(reply) => {
                    if let Some(reply) = self.close(reply) {
                        return Ok(Some(reply));
                    }
                }
            }
        }
    }

    /// Puts a whole value where it belongs; gives the outermost one once it is whole.
    fn close(&mut self, value: Reply) -> Option<Reply> {
        let mut value = value;
        loop {
            let Some(open) = self.open.last_mut() else {
                return Some(value);
            };
            open.items.push(value);
            open.items_left -= 1;
            if open.items_left > 0 {
                return None;
            }
            let Some(Open { form, items, .. }) = self.open.pop() else {
                unreachable!("an open array was just seen")
            };
            value = match form {
                Form::Array => Reply::Array(items),
                Form::Map => Reply::Map(pairs(items)),
                Form::Attribute => return None,
            };
        }
    }

    fn line(&mut self, buffer: &mut BytesMut, limits: &Limits) -> Result<Part, ProtocolError> {
        let line_feed = match find_line_end(buffer, 0, self.scanned, limits.inline_bytes_max) {
            LineEnd::At(line_feed) => line_feed,
            LineEnd::TooLong => return Err(ProtocolError::InvalidReply { what: "line" }),
            LineEnd::Missing(scanned) => {
                self.scanned = scanned;
                return Ok(Part::Incomplete);
            }
        };
        self.scanned = 0;
        let line = strict_line(buffer, 0, line_feed, "a reply")?;
        let Some((kind, text)) = line.split_first() else {
            return Err(ProtocolError::InvalidReply { what: "type" });
        };
        let part = self.typed(*kind, text, limits)?;
        buffer.advance(line_feed + 1);
        Ok(part)
    }

    fn typed(&mut self, kind: u8, text: &[u8], limits: &Limits) -> Result<Part, ProtocolError> {
        Ok(match kind {
            b'+' => Part::Whole(Reply::Simple(String::from_utf8_lossy(text).into_owned().into())),
            b'-' => Part::Whole(Reply::Error(ErrorReply::parse_line(text))),
            b':' => Part::Whole(Reply::Integer(integer(text, "integer")?)),
            b'(' => Part::Whole(Reply::Big(parse_text(text, "big number")?)),
            b',' => Part::Whole(Reply::Double(parse_text(text, "double")?)),
            b'#' => Part::Whole(Reply::Bool(boolean(text)?)),
            b'_' if text.is_empty() => Part::Whole(Reply::Nil),
            b'$' => self.string(BodyForm::Bulk, text, limits)?,
            b'=' => self.string(BodyForm::Verbatim, text, limits)?,
            b'!' => self.string(BodyForm::Error, text, limits)?,
            b'*' | b'~' | b'>' => self.aggregate(Form::Array, text, limits)?,
            b'%' => self.aggregate(Form::Map, text, limits)?,
            b'|' => self.aggregate(Form::Attribute, text, limits)?,
            found => return Err(ProtocolError::UnknownReplyType { found }),
        })
    }

    fn string(
        &mut self,
        form: BodyForm,
        text: &[u8],
        limits: &Limits,
    ) -> Result<Part, ProtocolError> {
        let length = integer(text, "length")?;
        if length == -1 {
            return Ok(Part::Whole(Reply::Nil));
        }
        let length = usize::try_from(length).ok().filter(|length| *length <= limits.bulk_bytes_max);
        let length = length.ok_or(ProtocolError::InvalidReply { what: "length" })?;
        self.body = Some(Body { form, length });
        Ok(Part::Opened)
    }

    fn body(&mut self, buffer: &mut BytesMut, body: Body) -> Result<Part, ProtocolError> {
        let Some(line_end) = buffer.get(body.length..body.length + 2) else {
            return Ok(Part::Incomplete);
        };
        if line_end != b"\r\n" {
            return Err(ProtocolError::ExpectedLineEnd { after: "a string" });
        }
        self.body = None;
        let bytes = buffer.split_to(body.length).freeze();
        buffer.advance(2);
        Ok(Part::Whole(match body.form {
            BodyForm::Bulk => Reply::Bulk(bytes),
            BodyForm::Verbatim => Reply::Bulk(verbatim(bytes)?),
            BodyForm::Error => Reply::Error(ErrorReply::parse_line(&bytes)),
        }))
    }

    fn aggregate(
        &mut self,
        form: Form,
        text: &[u8],
        limits: &Limits,
    ) -> Result<Part, ProtocolError> {
        let count = integer(text, "count")?;
        if count == -1 && form == Form::Array {
            return Ok(Part::Whole(Reply::Nil));
        }
        let count = u64::try_from(count).ok().filter(|count| fits(*count, limits));
        let count = count.ok_or(ProtocolError::InvalidReply { what: "count" })?;
        if count == 0 {
            return Ok(match form {
                Form::Array => Part::Whole(Reply::Array(Vec::new())),
                Form::Map => Part::Whole(Reply::Map(Vec::new())),
                Form::Attribute => Part::Opened,
            });
        }
        let depth_max = limits.nesting_depth_max;
        if self.open.len() >= depth_max {
            return Err(ProtocolError::NestedTooDeeply { depth_max });
        }
        let items_left = if form == Form::Array { count } else { count * 2 };
        self.open.push(Open { form, items: Vec::new(), items_left });
        Ok(Part::Opened)
    }
}

enum Part {
    /// More bytes are needed.
    Incomplete,
    /// A header was read; what it announces follows.
    Opened,
    /// A value is whole.
    Whole(Reply),
}

fn fits(count: u64, limits: &Limits) -> bool {
    usize::try_from(count).is_ok_and(|count| count <= limits.argument_count_max)
}

fn integer(text: &[u8], what: &'static str) -> Result<i64, ProtocolError> {
    parse_integer(text).ok_or(ProtocolError::InvalidReply { what })
}

fn parse_text<T: std::str::FromStr>(text: &[u8], what: &'static str) -> Result<T, ProtocolError> {
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    parsed.ok_or(ProtocolError::InvalidReply { what })
}

fn boolean(text: &[u8]) -> Result<bool, ProtocolError> {
    match text {
        b"t" => Ok(true),
        b"f" => Ok(false),
        _ => Err(ProtocolError::InvalidReply { what: "boolean" }),
    }
}

/// The text behind the three letters and the colon that tell its format.
fn verbatim(bytes: Bytes) -> Result<Bytes, ProtocolError> {
    match bytes.get(3) {
        Some(b':') => Ok(bytes.slice(4..)),
        _ => Err(ProtocolError::InvalidReply { what: "verbatim string" }),
    }
}

fn pairs(items: Vec<Reply>) -> Vec<(Reply, Reply)> {
    let mut items = items.into_iter();
    let mut pairs = Vec::with_capacity(items.len() / 2);
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        pairs.push((key, value));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::resp::{RespVersion, encode_reply};

    fn parse_all(input: &[u8], piece_bytes: usize) -> (Vec<Reply>, Option<ProtocolError>) {
        let mut parser = ReplyParser::default();
        let mut buffer = BytesMut::new();
        let mut replies = Vec::new();
        for piece in input.chunks(piece_bytes.max(1)) {
            buffer.extend_from_slice(piece);
            loop {
                match parser.parse(&mut buffer, &Limits::authenticated()) {
                    Ok(None) => break,
                    Ok(Some(reply)) => replies.push(reply),
                    Err(error) => return (replies, Some(error)),
                }
            }
        }
        (replies, None)
    }

    fn reply() -> impl Strategy<Value = Reply> {
        let leaf = prop_oneof![
            Just(Reply::OK),
            "[ -~]{0,20}".prop_map(|text| Reply::Simple(text.into())),
            Just(Reply::Error(ErrorReply::out_of_order(Some(7), "seven was the last"))),
            any::<i64>().prop_map(Reply::Integer),
            any::<i128>().prop_map(Reply::Big),
            (-1e300f64..1e300).prop_map(Reply::Double),
            any::<bool>().prop_map(Reply::Bool),
            proptest::collection::vec(any::<u8>(), 0..20)
                .prop_map(|bytes| Reply::Bulk(Bytes::from(bytes))),
            Just(Reply::Nil),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Reply::Array),
                proptest::collection::vec((inner.clone(), inner), 0..4).prop_map(Reply::Map),
            ]
        })
    }

    #[test]
    fn what_we_never_send_is_understood() {
        let input =
            b"=7\r\ntxt:abc\r\n~1\r\n:1\r\n|1\r\n+a\r\n+b\r\n>1\r\n_\r\n!5\r\nERR x\r\n*-1\r\n";
        let (replies, error) = parse_all(input, 1);
        assert_eq!(error, None);
        let wanted = [
            Reply::Bulk(Bytes::from_static(b"abc")),
            Reply::Array(vec![Reply::Integer(1)]),
            Reply::Array(vec![Reply::Nil]),
            Reply::Error(ErrorReply::usage("x")),
            Reply::Nil,
        ];
        assert_eq!(replies, wanted);
    }

    #[test]
    fn malformed_replies_are_named() {
        let deep = b"*1\r\n".repeat(17);
        let cases: [(&[u8], &str); 8] = [
            (b"?\r\n", "unknown reply type"),
            (b":x\r\n", "invalid integer"),
            (b"#x\r\n", "invalid boolean"),
            (b"$-2\r\n", "invalid length"),
            (b"$1\r\nab\r", "expected CRLF"),
            (b"*9999999999\r\n", "invalid count"),
            (b"+a\n", "expected CRLF"),
            (&deep, "nested more than 16 levels"),
        ];
        for (input, wanted) in cases {
            let text = parse_all(input, 1).1.map(|error| error.to_string()).unwrap_or_default();
            assert!(text.starts_with(wanted), "{}: {text}", input.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn resp3_replies_come_back(
            replies in proptest::collection::vec(reply(), 0..4),
            piece_bytes in 1usize..64,
        ) {
            let mut stream = BytesMut::new();
            for reply in &replies {
                encode_reply(reply, RespVersion::Resp3, &mut stream);
            }
            prop_assert_eq!(parse_all(&stream, piece_bytes), (replies, None));
        }

        #[test]
        fn any_split_parses_the_same(
            input in proptest::collection::vec(
                proptest::sample::select(&b"*$%+-:,(#_012tf\r\n\r\n"[..]), 0..60),
            piece_bytes in 1usize..9,
        ) {
            prop_assert_eq!(
                format!("{:?}", parse_all(&input, piece_bytes)),
                format!("{:?}", parse_all(&input, input.len()))
            );
        }
    }
}
