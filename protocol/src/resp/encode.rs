//! Replies and requests as RESP2 or RESP3 bytes, written straight into an output buffer. Knows
//! nothing of where the bytes go.

use bytes::{BufMut, BytesMut};
use tilekv_tile::{Answers, Value, Values};

use crate::command::RequestShape;
use crate::error::ErrorReply;
use crate::reply::{Reply, SlicesForm, SlicesReply, WindowsReply};

/// The version of RESP that a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RespVersion {
    /// Every connection begins with this one.
    #[default]
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

/// Appends a reply.
pub fn encode_reply(reply: &Reply, version: RespVersion, out: &mut BytesMut) {
    let mut writer = Writer { out, version };
    writer.reply(reply);
}

/// Appends a request as an array of bulk strings.
pub fn encode_arguments<T: AsRef<[u8]>>(arguments: &[T], out: &mut BytesMut) {
    let mut writer = Writer { out, version: RespVersion::Resp2 };
    writer.header(b'*', arguments.len());
    for argument in arguments {
        writer.bulk(argument.as_ref());
    }
}

struct Writer<'a> {
    out: &'a mut BytesMut,
    version: RespVersion,
}

impl Writer<'_> {
    fn reply(&mut self, reply: &Reply) {
        match reply {
            Reply::Simple(text) => self.simple(text),
            Reply::Error(error) => self.error(error),
            Reply::Integer(value) => self.integer(*value),
            Reply::Big(value) => self.big(*value),
            Reply::Double(value) => self.double(*value),
            Reply::Bool(value) => self.boolean(*value),
            Reply::Bulk(bytes) => self.bulk(bytes),
            Reply::Nil => self.nil(),
            Reply::Array(items) => {
                self.header(b'*', items.len());
                items.iter().for_each(|item| self.reply(item));
            }
            Reply::Map(pairs) => self.map(pairs),
            Reply::Windows(windows) => self.windows(windows),
            Reply::Slices(slices) => self.slices(slices),
        }
    }

    /// `<type><count>\r\n`, for arrays, maps and lengths alike.
    fn header(&mut self, kind: u8, count: usize) {
        let mut digits = itoa::Buffer::new();
        self.line(kind, digits.format(count).as_bytes());
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.reserve(text.len() + 3);
        self.out.put_u8(kind);
        self.out.put_slice(text);
        self.out.put_slice(b"\r\n");
    }

    /// A line end inside the text would break the stream, so it becomes a space.
    fn simple(&mut self, text: &str) {
        if text.bytes().any(|byte| byte == b'\r' || byte == b'\n') {
            let text = text.replace(['\r', '\n'], " ");
            self.line(b'+', text.as_bytes());
        } else {
            self.line(b'+', text.as_bytes());
        }
    }

    fn error(&mut self, error: &ErrorReply) {
        self.line(b'-', error.to_string().as_bytes());
    }

    fn integer(&mut self, value: i64) {
        let mut digits = itoa::Buffer::new();
        self.line(b':', digits.format(value).as_bytes());
    }

    fn big(&mut self, value: i128) {
        let mut digits = itoa::Buffer::new();
        let text = digits.format(value).as_bytes();
        match self.version {
            RespVersion::Resp2 => self.bulk(text),
            RespVersion::Resp3 => self.line(b'(', text),
        }
    }

    fn double(&mut self, value: f64) {
        let mut digits = ryu::Buffer::new();
        let text = double_text(value, &mut digits).as_bytes();
        match self.version {
            RespVersion::Resp2 => self.bulk(text),
            RespVersion::Resp3 => self.line(b',', text),
        }
    }

    fn boolean(&mut self, value: bool) {
        match (self.version, value) {
            (RespVersion::Resp2, true) => self.out.put_slice(b":1\r\n"),
            (RespVersion::Resp2, false) => self.out.put_slice(b":0\r\n"),
            (RespVersion::Resp3, true) => self.out.put_slice(b"#t\r\n"),
            (RespVersion::Resp3, false) => self.out.put_slice(b"#f\r\n"),
        }
    }

    fn nil(&mut self) {
        match self.version {
            RespVersion::Resp2 => self.out.put_slice(b"$-1\r\n"),
            RespVersion::Resp3 => self.out.put_slice(b"_\r\n"),
        }
    }

    fn bulk(&mut self, bytes: &[u8]) {
        self.header(b'$', bytes.len());
        self.out.reserve(bytes.len() + 2);
        self.out.put_slice(bytes);
        self.out.put_slice(b"\r\n");
    }

    fn map(&mut self, pairs: &[(Reply, Reply)]) {
        match self.version {
            RespVersion::Resp2 => self.header(b'*', pairs.len().saturating_mul(2)),
            RespVersion::Resp3 => self.header(b'%', pairs.len()),
        }
        for (key, value) in pairs {
            self.reply(key);
            self.reply(value);
        }
    }

    fn slices(&mut self, slices: &SlicesReply) {
        let count = slices.ranges.len();
        match (slices.form, self.version) {
            (SlicesForm::Map, RespVersion::Resp3) => self.header(b'%', count / 2),
            _ => self.header(b'*', count),
        }
        for item in slices.items() {
            match item {
                Some(bytes) => self.bulk(bytes),
                None => self.nil(),
            }
        }
    }

    fn windows(&mut self, windows: &WindowsReply) {
        let WindowsReply { answers, with_status, shape } = windows;
        if *shape == RequestShape::Batch {
            self.header(b'*', answers.rows);
        }
        for row in 0..answers.rows {
            self.header(b'*', answers.columns.len());
            for column in 0..answers.columns.len() {
                if *with_status {
                    self.answer_with_status(answers, row, column);
                } else {
                    self.answer(&answers.columns[column].values, row);
                }
            }
        }
    }

    fn answer(&mut self, values: &Values, row: usize) {
        match values {
            Values::Int { values, valid } if valid[row] => self.integer(values[row]),
            Values::Double { values, valid } if valid[row] => self.double(values[row]),
            Values::Int { .. } | Values::Double { .. } => self.nil(),
            Values::Lists(_, values) | Values::Any(values) => self.value(&values[row]),
        }
    }

    fn answer_with_status(&mut self, answers: &Answers, row: usize, column: usize) {
        let column = &answers.columns[column];
        let bounds = column.bounds_of(row);
        self.header(b'*', 5);
        self.answer(&column.values, row);
        self.bulk(column.statuses[row].as_str().as_bytes());
        match bounds.start {
            Some(start) => self.integer(start),
            None => self.nil(),
        }
        self.integer(bounds.end);
        self.integer(i64::from(column.tiles_read[row]));
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Nil => self.nil(),
            Value::Int(value) => self.integer(*value),
            Value::Big(value) => self.big(*value),
            Value::Double(value) => self.double(*value),
            Value::Text(text) => self.bulk(text),
            Value::List(items) => {
                self.header(b'*', items.len());
                items.iter().for_each(|item| self.value(item));
            }
        }
    }
}

/// The shortest text that reads back as the same double, by Ryu (Adams, PLDI 2018); integers are
/// written without a fraction, as Redis does.
fn double_text(value: f64, digits: &mut ryu::Buffer) -> &str {
    if value.is_nan() {
        return "nan";
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" };
    }
    let text = digits.format_finite(value);
    text.strip_suffix(".0").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tilekv_tile::{AnswerColumn, Status, WindowBounds};

    use super::*;

    fn encoded(reply: &Reply, version: RespVersion) -> String {
        let mut out = BytesMut::new();
        encode_reply(reply, version, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn each_type_has_its_form() {
        let cases = [
            (Reply::OK, "+OK\r\n", "+OK\r\n"),
            (Reply::Simple("a\r\nb".into()), "+a  b\r\n", "+a  b\r\n"),
            (Reply::Integer(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"),
            (Reply::Big(1 << 64), "$20\r\n18446744073709551616\r\n", "(18446744073709551616\r\n"),
            (Reply::Double(0.1), "$3\r\n0.1\r\n", ",0.1\r\n"),
            (Reply::Double(10.0), "$2\r\n10\r\n", ",10\r\n"),
            (Reply::Double(1e300), "$5\r\n1e300\r\n", ",1e300\r\n"),
            (Reply::Double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n"),
            (Reply::Bool(true), ":1\r\n", "#t\r\n"),
            (Reply::Nil, "$-1\r\n", "_\r\n"),
            (Reply::Bulk(Bytes::from_static(b"a\r\n")), "$3\r\na\r\n\r\n", "$3\r\na\r\n\r\n"),
            (
                Reply::Map(vec![(Reply::text("k"), Reply::Array(vec![Reply::Nil]))]),
                "*2\r\n$1\r\nk\r\n*1\r\n$-1\r\n",
                "%1\r\n$1\r\nk\r\n*1\r\n_\r\n",
            ),
            (Reply::Error(ErrorReply::busy(5, "later")), "-BUSY 5 later\r\n", "-BUSY 5 later\r\n"),
        ];
        for (reply, resp2, resp3) in cases {
            assert_eq!(encoded(&reply, RespVersion::Resp2), resp2);
            assert_eq!(encoded(&reply, RespVersion::Resp3), resp3);
        }
    }

    fn answers() -> Answers {
        let bounds = vec![WindowBounds { start: None, end: 60_000 }];
        let counts = AnswerColumn {
            values: Values::Int { values: vec![3, 0], valid: vec![true, false] },
            statuses: vec![Status::Ok, Status::Unseen],
            bounds: bounds.clone(),
            tiles_read: vec![2, 0],
        };
        let tops = AnswerColumn {
            values: Values::Any(vec![
                Value::List(vec![Value::Text(Bytes::from_static(b"x")), Value::Big(1 << 64)]),
                Value::Nil,
            ]),
            ..counts.clone()
        };
        Answers { rows: 2, columns: vec![counts, tops] }
    }

    #[test]
    fn windows_are_rows_of_values() {
        let windows = |with_status, shape| {
            let answers = answers();
            Reply::Windows(Box::new(WindowsReply { answers, with_status, shape }))
        };
        let plain = encoded(&windows(false, RequestShape::Batch), RespVersion::Resp3);
        assert_eq!(
            plain,
            "*2\r\n*2\r\n:3\r\n*2\r\n$1\r\nx\r\n(18446744073709551616\r\n*2\r\n_\r\n_\r\n"
        );
        let with_status = encoded(&windows(true, RequestShape::Batch), RespVersion::Resp2);
        assert!(
            with_status
                .starts_with("*2\r\n*2\r\n*5\r\n:3\r\n$2\r\nok\r\n$-1\r\n:60000\r\n:2\r\n*5\r\n"),
            "{with_status}"
        );
    }

    #[test]
    fn a_single_row_stands_alone() {
        let mut answers = answers();
        answers.rows = 1;
        let shape = RequestShape::Single;
        let reply = Reply::Windows(Box::new(WindowsReply { answers, with_status: false, shape }));
        assert!(encoded(&reply, RespVersion::Resp2).starts_with("*2\r\n:3\r\n*2\r\n"));
    }

    proptest::proptest! {
        #[test]
        fn doubles_read_back_exactly(bits in proptest::num::u64::ANY) {
            let value = f64::from_bits(bits);
            let mut digits = ryu::Buffer::new();
            let text = double_text(value, &mut digits);
            let back: f64 = text.parse().unwrap();
            proptest::prop_assert!(
                back.to_bits() == bits || (back.is_nan() && value.is_nan()), "{}", text);
        }
    }
}
