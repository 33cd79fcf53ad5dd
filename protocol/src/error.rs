//! Errors: what a peer is told ([`ErrorReply`]) and what ends a connection ([`ProtocolError`]).
//! Knows nothing of how either is encoded on the wire.

use std::fmt;

use tilekv_tile::{ErrorKind, TileError};

use crate::limits::ERROR_SENTENCE_BYTES_MAX;

/// The first word of an error reply. Clients branch on it, so codes are never renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The command is not of its form, or cannot be carried out for a reason without its own code.
    Err,
    /// No view has that name.
    NoView,
    /// The view has no such feature.
    NoFeature,
    /// A window or offset does not fit the view's tile.
    BadWindow,
    /// A value, partial or timestamp is not of its type.
    BadValue,
    /// The event or tile lies before the retention horizon.
    TooOld,
    /// The producer's sequence does not follow; the number is the last one applied.
    OutOfOrder,
    /// A job that took no row was committed without EMPTY.
    EmptyJob,
    /// A job was committed with a number of rows that it did not take.
    RowCount,
    /// No job has that id.
    NoJob,
    /// The server has too much to do; the number says after how many milliseconds to retry.
    Busy,
    /// The server is still reading its data.
    Loading,
    /// Authentication is required first.
    NoAuth,
    /// The user may not do this.
    NoPerm,
    /// The server takes no writes now.
    ReadOnly,
    /// A limit of the server was reached.
    Limit,
    /// The key holds another kind of value.
    WrongType,
    /// Redis's code: the user name and password do not match.
    WrongPass,
    /// Redis's code: HELLO asked for a version that the server does not speak.
    NoProto,
    /// Redis's code: EXEC after a queued command was refused.
    ExecAbort,
    /// A page of the data on disk cannot be read back.
    Damaged,
}

const CODES: [(ErrorCode, &str, u16); 21] = [
    (ErrorCode::Err, "ERR", 1),
    (ErrorCode::NoView, "NOVIEW", 2),
    (ErrorCode::NoFeature, "NOFEATURE", 3),
    (ErrorCode::BadWindow, "BADWINDOW", 4),
    (ErrorCode::BadValue, "BADVALUE", 5),
    (ErrorCode::TooOld, "TOOOLD", 6),
    (ErrorCode::OutOfOrder, "OUTOFORDER", 7),
    (ErrorCode::EmptyJob, "EMPTYJOB", 8),
    (ErrorCode::RowCount, "ROWCOUNT", 9),
    (ErrorCode::NoJob, "NOJOB", 10),
    (ErrorCode::Busy, "BUSY", 11),
    (ErrorCode::Loading, "LOADING", 12),
    (ErrorCode::NoAuth, "NOAUTH", 13),
    (ErrorCode::NoPerm, "NOPERM", 14),
    (ErrorCode::ReadOnly, "READONLY", 15),
    (ErrorCode::Limit, "LIMIT", 16),
    (ErrorCode::WrongType, "WRONGTYPE", 17),
    (ErrorCode::WrongPass, "WRONGPASS", 18),
    (ErrorCode::NoProto, "NOPROTO", 19),
    (ErrorCode::ExecAbort, "EXECABORT", 20),
    (ErrorCode::Damaged, "DAMAGED", 21),
];

impl ErrorCode {
    /// Every code, in the order of its number.
    pub fn all() -> impl Iterator<Item = ErrorCode> {
        CODES.iter().map(|(code, _, _)| *code)
    }

    /// The word that opens the error line.
    pub fn as_str(self) -> &'static str {
        self.entry().1
    }

    /// The number that stands for the code in native frames.
    pub fn number(self) -> u16 {
        self.entry().2
    }

    /// The code with that word, if there is one.
    pub fn from_word(word: &[u8]) -> Option<Self> {
        CODES.iter().find(|(_, text, _)| text.as_bytes() == word).map(|(code, _, _)| *code)
    }

    /// The code with that number, if there is one.
    pub fn from_number(number: u16) -> Option<Self> {
        CODES.iter().find(|(_, _, wanted)| *wanted == number).map(|(code, _, _)| *code)
    }

    /// Whether a number (last sequence, or milliseconds to wait) follows the code.
    pub fn carries_number(self) -> bool {
        matches!(self, Self::OutOfOrder | Self::Busy)
    }

    fn entry(self) -> &'static (ErrorCode, &'static str, u16) {
        let found = CODES.iter().find(|(code, _, _)| *code == self);
        let Some(entry) = found else { unreachable!("every error code has a row in CODES") };
        entry
    }
}

/// A refusal as a peer sees it: a code, for two codes a number, and a sentence in printable ASCII
/// that fits [`crate::limits::ERROR_BYTES_MAX`] whatever went into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorReply {
    code: ErrorCode,
    number: Option<u64>,
    sentence: Box<str>,
}

impl ErrorReply {
    /// An error of a code that carries no number. Bytes of the sentence that are not printable
    /// ASCII become `\xNN`; a sentence that is too long is cut and ends in `...`.
    pub fn new(code: ErrorCode, sentence: impl AsRef<[u8]>) -> Self {
        Self { code, number: None, sentence: printable(sentence.as_ref()) }
    }

    /// A command that is not of its form (`-ERR`).
    pub fn usage(sentence: impl AsRef<[u8]>) -> Self {
        Self::new(ErrorCode::Err, sentence)
    }

    /// A value that is not of its type (`-BADVALUE`).
    pub fn bad_value(sentence: impl AsRef<[u8]>) -> Self {
        Self::new(ErrorCode::BadValue, sentence)
    }

    /// A bound that was passed (`-LIMIT`).
    pub fn limit(sentence: impl AsRef<[u8]>) -> Self {
        Self::new(ErrorCode::Limit, sentence)
    }

    /// `-OUTOFORDER last`, or `-OUTOFORDER -` where the producer has not written yet.
    pub fn out_of_order(last: Option<u64>, sentence: impl AsRef<[u8]>) -> Self {
        let sentence = printable(sentence.as_ref());
        Self { code: ErrorCode::OutOfOrder, number: last, sentence }
    }

    /// `-BUSY retry_ms`: try again after so many milliseconds.
    pub fn busy(retry_ms: u64, sentence: impl AsRef<[u8]>) -> Self {
        let sentence = printable(sentence.as_ref());
        Self { code: ErrorCode::Busy, number: Some(retry_ms), sentence }
    }

    /// Rebuilds an error that was decoded: the number is kept only where the code carries one.
    pub fn from_parts(code: ErrorCode, number: Option<u64>, sentence: impl AsRef<[u8]>) -> Self {
        let number = number.filter(|_| code.carries_number());
        Self { code, number, sentence: printable(sentence.as_ref()) }
    }

    /// Reads an error line without the leading `-`. A first word that is no code of ours (Redis's
    /// `MOVED`, say) stays in the sentence of an `ERR`.
    pub fn parse_line(line: &[u8]) -> Self {
        let (word, rest) = split_word(line);
        let Some(code) = ErrorCode::from_word(word) else {
            return Self::usage(line);
        };
        if !code.carries_number() {
            return Self::new(code, rest);
        }
        let (digits, sentence) = split_word(rest);
        let number = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
        if number.is_none() && digits != b"-" {
            return Self::new(code, rest);
        }
        Self::from_parts(code, number, sentence)
    }

    /// The code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// The last sequence of `OUTOFORDER` or the milliseconds of `BUSY`.
    pub fn number(&self) -> Option<u64> {
        self.number
    }

    /// The sentence, without code and number.
    pub fn sentence(&self) -> &str {
        &self.sentence
    }
}

/// A mistake in something that was sent: its kind chooses the code.
impl From<TileError> for ErrorReply {
    fn from(error: TileError) -> Self {
        let code = match error.kind() {
            ErrorKind::Usage | ErrorKind::Corrupt => ErrorCode::Err,
            ErrorKind::Window => ErrorCode::BadWindow,
            ErrorKind::Value => ErrorCode::BadValue,
            ErrorKind::Limit => ErrorCode::Limit,
        };
        Self::new(code, error.to_string())
    }
}

/// The error line without the leading `-` and the line end.
impl fmt::Display for ErrorReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.as_str())?;
        match (self.number, self.code) {
            (Some(number), _) => write!(f, " {number}")?,
            (None, ErrorCode::OutOfOrder) => f.write_str(" -")?,
            (None, ErrorCode::Busy) => f.write_str(" 0")?,
            (None, _) => {}
        }
        if !self.sentence.is_empty() {
            write!(f, " {}", self.sentence)?;
        }
        Ok(())
    }
}

impl std::error::Error for ErrorReply {}

/// Why the bytes of a connection cannot be followed any further. The server answers the text of
/// [`ProtocolError::reply`], where there is one, and closes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// `*<count>` is no count or passes the limit.
    #[error("invalid multibulk length")]
    InvalidMultibulkLength,
    /// `$<length>` is no length or passes the limit.
    #[error("invalid bulk length")]
    InvalidBulkLength,
    /// An argument did not start with `$`.
    #[error("expected '$', got '{}'", found.escape_ascii())]
    ExpectedBulk {
        /// The byte in its place.
        found: u8,
    },
    /// A `*<count>` line without an end.
    #[error("too big mbulk count string")]
    CountLineTooLong,
    /// A `$<length>` line without an end.
    #[error("too big bulk count string")]
    BulkLineTooLong,
    /// An inline request longer than the limit.
    #[error("too big inline request")]
    InlineTooLong,
    /// An inline request whose quotes do not close.
    #[error("unbalanced quotes in request")]
    UnbalancedQuotes,
    /// Bytes that should have been CRLF.
    #[error("expected CRLF after {after}")]
    ExpectedLineEnd {
        /// What ended there.
        after: &'static str,
    },
    /// One request or frame larger than the limit.
    #[error("a request of {bytes} bytes passes the limit of {bytes_max}")]
    FrameTooLong {
        /// Bytes announced.
        bytes: u64,
        /// Bytes allowed.
        bytes_max: u64,
    },
    /// The peer speaks HTTP: somebody's browser was tricked into sending us commands.
    #[error("an HTTP request instead of a command")]
    HttpRequest,
    /// A reply began with a byte that announces no type.
    #[error("unknown reply type '{}'", found.escape_ascii())]
    UnknownReplyType {
        /// That byte.
        found: u8,
    },
    /// A reply's number, length or boolean is none.
    #[error("invalid {what} in a reply")]
    InvalidReply {
        /// Which part.
        what: &'static str,
    },
    /// Arrays nested too deeply.
    #[error("nested more than {depth_max} levels deep")]
    NestedTooDeeply {
        /// Levels allowed.
        depth_max: usize,
    },
    /// A native connection that does not open with the preamble.
    #[error("expected the native preamble F4 54 4B 56")]
    InvalidPreamble,
    /// A native connection of another version.
    #[error("native protocol version {found} is not spoken here, {spoken} is")]
    UnsupportedVersion {
        /// Version asked for.
        found: u8,
        /// Version spoken.
        spoken: u8,
    },
    /// Bytes or bits that must be zero are not.
    #[error("{place}: reserved bits must be zero")]
    ReservedNotZero {
        /// Where they stand.
        place: &'static str,
    },
    /// A frame ends before what it announces.
    #[error("{place}: expected {expected} more bytes, found {found}")]
    Truncated {
        /// The part of the frame.
        place: &'static str,
        /// Bytes that it needs.
        expected: u64,
        /// Bytes that are left.
        found: u64,
    },
    /// A frame goes on after its content.
    #[error("{place}: {bytes} bytes after the end of its content")]
    TrailingBytes {
        /// The kind of frame.
        place: &'static str,
        /// How many.
        bytes: usize,
    },
    /// A count, tag or offset of a frame contradicts the rest of it.
    #[error("{place}: {problem}")]
    Malformed {
        /// The part of the frame.
        place: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl ProtocolError {
    /// What to answer before closing; nothing to a peer that does not speak our protocol.
    pub fn reply(&self) -> Option<ErrorReply> {
        match self {
            Self::HttpRequest => None,
            other => Some(ErrorReply::usage(format!("Protocol error: {other}"))),
        }
    }
}

fn split_word(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|byte| *byte == b' ') {
        Some(space) => (&line[..space], &line[space + 1..]),
        None => (line, &[]),
    }
}

fn printable(sentence: &[u8]) -> Box<str> {
    const CUT: &str = "...";
    let mut text = String::with_capacity(sentence.len().min(ERROR_SENTENCE_BYTES_MAX));
    for &byte in sentence {
        let before = text.len();
        push_printable(&mut text, byte);
        if text.len() > ERROR_SENTENCE_BYTES_MAX {
            text.truncate(before.min(ERROR_SENTENCE_BYTES_MAX - CUT.len()));
            text.push_str(CUT);
            break;
        }
    }
    text.into_boxed_str()
}

fn push_printable(text: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if (0x20..0x7F).contains(&byte) {
        text.push(char::from(byte));
        return;
    }
    text.push_str("\\x");
    text.push(char::from(HEX[usize::from(byte >> 4)]));
    text.push(char::from(HEX[usize::from(byte & 15)]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::ERROR_BYTES_MAX;

    #[test]
    fn codes_are_unique_and_found_again() {
        for code in ErrorCode::all() {
            assert_eq!(ErrorCode::from_word(code.as_str().as_bytes()), Some(code));
            assert_eq!(ErrorCode::from_number(code.number()), Some(code));
        }
        assert_eq!(ErrorCode::from_word(b"err"), None);
        assert_eq!(ErrorCode::from_number(0), None);
    }

    #[test]
    fn any_sentence_fits_one_printable_line() {
        let long: Vec<u8> = (0..4096u32).map(|i| u8::try_from(i % 256).unwrap()).collect();
        let replies = [
            ErrorReply::out_of_order(Some(u64::MAX), &long),
            ErrorReply::busy(u64::MAX, vec![b'x'; 4096]),
            ErrorReply::usage(b"a\r\nb\xff"),
        ];
        for reply in &replies {
            let line = reply.to_string();
            assert!(line.len() <= ERROR_BYTES_MAX, "{} bytes", line.len());
            assert!(line.bytes().all(|byte| (0x20..0x7F).contains(&byte)), "{line}");
        }
        assert_eq!(replies[2].to_string(), "ERR a\\x0D\\x0Ab\\xFF");
        assert!(replies[1].to_string().ends_with("..."));
        assert_eq!(replies[1].sentence().len(), ERROR_SENTENCE_BYTES_MAX);
    }

    #[test]
    fn a_line_reads_back() {
        for line in [
            "ERR no such thing",
            "NOVIEW",
            "OUTOFORDER 17 the last sequence is 17",
            "OUTOFORDER - nothing was applied",
            "BUSY 250 too many writes are waiting",
        ] {
            assert_eq!(ErrorReply::parse_line(line.as_bytes()).to_string(), line);
        }
        let foreign = ErrorReply::parse_line(b"MOVED 3999 127.0.0.1:6381");
        assert_eq!(foreign.code(), ErrorCode::Err);
        assert_eq!(foreign.sentence(), "MOVED 3999 127.0.0.1:6381");
    }
}
