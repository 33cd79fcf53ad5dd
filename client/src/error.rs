//! The one error of the crate: refusals of the server by code, and failures on the way, which
//! tell whether the request may have taken effect. Knows nothing of retries.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tilekv_protocol::{ErrorCode, ErrorReply, ProtocolError};
use tilekv_tile::TileError;

/// What became of a request that got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// No byte of it left this process: it has no effect.
    NotApplied,
    /// It was sent, at least in part: the server may have carried it out, or may yet.
    Unknown,
}

/// Why something asked of a server did not come about. `sentence` is always the server's own
/// explanation.
#[derive(Debug, Clone, Error)]
pub enum ClientError {
    /// `NOVIEW`: no view has that name.
    #[error("no such view: {sentence}")]
    NoView {
        /// The server's explanation.
        sentence: String,
    },
    /// `NOFEATURE`: the view has no such feature.
    #[error("no such feature: {sentence}")]
    NoFeature {
        /// The server's explanation.
        sentence: String,
    },
    /// `BADWINDOW`: a window or offset does not fit the view's tile.
    #[error("bad window: {sentence}")]
    BadWindow {
        /// The server's explanation.
        sentence: String,
    },
    /// `BADVALUE`: a value, partial or timestamp is not of its type. Nothing was applied.
    #[error("bad value: {sentence}")]
    BadValue {
        /// The server's explanation; of a batch, it names the row.
        sentence: String,
    },
    /// `TOOOLD`: an event or tile lies before the retention horizon.
    #[error("too old: {sentence}")]
    TooOld {
        /// The server's explanation.
        sentence: String,
    },
    /// `OUTOFORDER`: a producer's write does not follow its last one.
    #[error("out of order, the last sequence applied is {}: {sentence}", shown_last(*last))]
    OutOfOrder {
        /// The last sequence that was applied; none where there is none.
        last: Option<u64>,
        /// The server's explanation.
        sentence: String,
    },
    /// `BUSY`: the server has too much to do. Nothing was applied.
    #[error("the server is busy, retry after {retry_ms} ms: {sentence}")]
    Busy {
        /// After how many milliseconds to try again.
        retry_ms: u64,
        /// The server's explanation.
        sentence: String,
    },
    /// `LOADING`: the server is still reading its data.
    #[error("the server is still loading: {sentence}")]
    Loading {
        /// The server's explanation.
        sentence: String,
    },
    /// `NOAUTH`: the server asks for a password.
    #[error("authentication is required: {sentence}")]
    NoAuth {
        /// The server's explanation.
        sentence: String,
    },
    /// `WRONGPASS`: user and password do not match.
    #[error("wrong user or password: {sentence}")]
    WrongPassword {
        /// The server's explanation.
        sentence: String,
    },
    /// `NOPERM`: the user may not do this.
    #[error("not permitted: {sentence}")]
    NoPermission {
        /// The server's explanation.
        sentence: String,
    },
    /// `READONLY`: the server takes no writes now.
    #[error("the server is read-only: {sentence}")]
    ReadOnly {
        /// The server's explanation.
        sentence: String,
    },
    /// `LIMIT`: a limit of the server was reached.
    #[error("a limit was reached: {sentence}")]
    Limit {
        /// The server's explanation.
        sentence: String,
    },
    /// `EMPTYJOB`: a job that took no row was committed without saying so.
    #[error("the job took no row: {sentence}")]
    EmptyJob {
        /// The server's explanation.
        sentence: String,
    },
    /// `ROWCOUNT`: a job was committed with another number of rows than it took.
    #[error("another number of rows: {sentence}")]
    RowCount {
        /// The server's explanation.
        sentence: String,
    },
    /// `NOJOB`: no job has that id.
    #[error("no such job: {sentence}")]
    NoJob {
        /// The server's explanation.
        sentence: String,
    },
    /// `ERR` and any code without a variant of its own.
    #[error("refused: {sentence}")]
    Refused {
        /// The code.
        code: ErrorCode,
        /// The server's explanation.
        sentence: String,
    },
    /// No connection came about, or it was refused at the greeting.
    #[error("connect to {address}, {attempts} attempts: {problem}")]
    Connect {
        /// Host and port.
        address: String,
        /// How many attempts were made.
        attempts: usize,
        /// What the last one failed with.
        problem: Arc<io::Error>,
    },
    /// The connection ended before the answer came.
    #[error("the connection was lost, {}: {problem}", shown_fate(*fate))]
    Lost {
        /// Whether the request may have taken effect.
        fate: Fate,
        /// What ended it.
        problem: Arc<io::Error>,
    },
    /// No answer within the request's time.
    #[error("no answer within {waited:?}, {}", shown_fate(*fate))]
    TimedOut {
        /// Whether the request may have taken effect.
        fate: Fate,
        /// The time that it had.
        waited: Duration,
    },
    /// The server sent what is not of the protocol; the connection was closed.
    #[error("the server broke the protocol: {problem}")]
    Protocol {
        /// What was wrong.
        problem: ProtocolError,
    },
    /// The server answered with something else than this request's answer.
    #[error("unexpected answer: expected {expected}, found {found}")]
    UnexpectedAnswer {
        /// What should have come.
        expected: &'static str,
        /// What came.
        found: String,
    },
    /// Something given to the client cannot be sent: a name, selector, row or definition.
    #[error(transparent)]
    Input(#[from] TileError),
    /// A request that cannot be put into one frame.
    #[error("{what} of {bytes} bytes: the server takes {bytes_max}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        bytes: u64,
        /// The largest size that is taken.
        bytes_max: u64,
    },
    /// A producer was given sequences that do not grow.
    #[error("sequence {found} of a producer: expected more than {last}")]
    SequenceNotGrowing {
        /// The sequence given.
        found: u64,
        /// The one before.
        last: u64,
    },
    /// Options that cannot work.
    #[error("options: {problem}")]
    Options {
        /// What was wrong and what would be right.
        problem: String,
    },
}

impl ClientError {
    /// The server's error code; none where the server did not refuse.
    pub fn code(&self) -> Option<ErrorCode> {
        Some(match self {
            Self::NoView { .. } => ErrorCode::NoView,
            Self::NoFeature { .. } => ErrorCode::NoFeature,
            Self::BadWindow { .. } => ErrorCode::BadWindow,
            Self::BadValue { .. } => ErrorCode::BadValue,
            Self::TooOld { .. } => ErrorCode::TooOld,
            Self::OutOfOrder { .. } => ErrorCode::OutOfOrder,
            Self::Busy { .. } => ErrorCode::Busy,
            Self::Loading { .. } => ErrorCode::Loading,
            Self::NoAuth { .. } => ErrorCode::NoAuth,
            Self::WrongPassword { .. } => ErrorCode::WrongPass,
            Self::NoPermission { .. } => ErrorCode::NoPerm,
            Self::ReadOnly { .. } => ErrorCode::ReadOnly,
            Self::Limit { .. } => ErrorCode::Limit,
            Self::EmptyJob { .. } => ErrorCode::EmptyJob,
            Self::RowCount { .. } => ErrorCode::RowCount,
            Self::NoJob { .. } => ErrorCode::NoJob,
            Self::Refused { code, .. } => *code,
            _ => return None,
        })
    }

    /// Whether the request may have taken effect although it failed: its connection was lost or
    /// its time ran out after it had been sent. Everything else that fails has no effect.
    pub fn may_have_been_applied(&self) -> bool {
        match self {
            Self::Lost { fate, .. } | Self::TimedOut { fate, .. } => *fate == Fate::Unknown,
            Self::Protocol { .. } | Self::UnexpectedAnswer { .. } => true,
            _ => false,
        }
    }

    /// Whether the same request may well succeed later, without a change to it: the server is
    /// busy, loading or read-only, or it could not be reached.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. }
                | Self::Loading { .. }
                | Self::ReadOnly { .. }
                | Self::Connect { .. }
                | Self::Lost { .. }
                | Self::TimedOut { .. }
        )
    }

    /// The same loss with the fate of one request.
    pub(crate) fn with_fate(self, fate: Fate) -> Self {
        match self {
            Self::Lost { problem, .. } => Self::Lost { fate, problem },
            other => other,
        }
    }
}

impl From<ErrorReply> for ClientError {
    fn from(error: ErrorReply) -> Self {
        let sentence = error.sentence().to_owned();
        match error.code() {
            ErrorCode::NoView => Self::NoView { sentence },
            ErrorCode::NoFeature => Self::NoFeature { sentence },
            ErrorCode::BadWindow => Self::BadWindow { sentence },
            ErrorCode::BadValue => Self::BadValue { sentence },
            ErrorCode::TooOld => Self::TooOld { sentence },
            ErrorCode::OutOfOrder => Self::OutOfOrder { last: error.number(), sentence },
            ErrorCode::Busy => Self::Busy { retry_ms: error.number().unwrap_or(0), sentence },
            ErrorCode::Loading => Self::Loading { sentence },
            ErrorCode::NoAuth => Self::NoAuth { sentence },
            ErrorCode::WrongPass => Self::WrongPassword { sentence },
            ErrorCode::NoPerm => Self::NoPermission { sentence },
            ErrorCode::ReadOnly => Self::ReadOnly { sentence },
            ErrorCode::Limit => Self::Limit { sentence },
            ErrorCode::EmptyJob => Self::EmptyJob { sentence },
            ErrorCode::RowCount => Self::RowCount { sentence },
            ErrorCode::NoJob => Self::NoJob { sentence },
            code => Self::Refused { code, sentence },
        }
    }
}

impl From<ProtocolError> for ClientError {
    fn from(problem: ProtocolError) -> Self {
        Self::Protocol { problem }
    }
}

fn shown_last(last: Option<u64>) -> String {
    last.map_or_else(|| "none".to_owned(), |last| last.to_string())
}

fn shown_fate(fate: Fate) -> &'static str {
    match fate {
        Fate::NotApplied => "the request had not been sent",
        Fate::Unknown => "the request may have taken effect",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_told_back() {
        for code in ErrorCode::all() {
            let error = ClientError::from(ErrorReply::new(code, "why"));
            assert_eq!(error.code(), Some(code));
            assert!(error.to_string().ends_with("why"), "{error}");
            assert!(!error.may_have_been_applied(), "{error}");
        }
    }

    #[test]
    fn numbers_of_refusals_are_kept() {
        let last = ClientError::from(ErrorReply::out_of_order(Some(7), "why"));
        assert_eq!(last.to_string(), "out of order, the last sequence applied is 7: why");
        let busy = ClientError::from(ErrorReply::busy(250, "why"));
        let ClientError::Busy { retry_ms, .. } = busy else {
            panic!("{busy} is no Busy");
        };
        assert_eq!(retry_ms, 250);
    }

    #[test]
    fn a_loss_says_whether_the_request_was_sent() {
        let problem = Arc::new(io::Error::from(io::ErrorKind::ConnectionReset));
        let fate = Fate::Unknown;
        let lost = ClientError::Lost { fate, problem };
        assert!(lost.may_have_been_applied());
        assert!(lost.is_transient());
        assert!(!lost.with_fate(Fate::NotApplied).may_have_been_applied());
    }
}
