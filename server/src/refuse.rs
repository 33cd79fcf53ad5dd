//! Refusals in the words of the protocol.

use tilekv_engine::EngineError;
use tilekv_protocol::{ErrorCode, ErrorReply};

/// An error of the engine as a client sees it.
pub(crate) fn engine_error(error: &EngineError) -> ErrorReply {
    let line = format!("{} {error}", error.code());
    match error {
        EngineError::OutOfOrder { .. } | EngineError::Busy { .. } => {
            ErrorReply::parse_line(line.as_bytes())
        }
        _ => {
            let code = ErrorCode::from_word(error.code().as_bytes()).unwrap_or(ErrorCode::Err);
            ErrorReply::new(code, error.to_string())
        }
    }
}

/// A producer's command after a refused one.
pub(crate) fn after_refusal(last: Option<u64>) -> ErrorReply {
    let sentence = "an earlier command of this producer was refused on this connection; \
                    send again from the refused sequence on";
    ErrorReply::out_of_order(last, sentence)
}

/// The write queue is full.
pub(crate) fn busy(retry_ms: u64) -> ErrorReply {
    ErrorReply::busy(retry_ms, "writes arrive faster than they can be stored; retry later")
}

/// The queue of work on jobs is full.
pub(crate) fn job_queue_full(retry_ms: u64) -> ErrorReply {
    ErrorReply::busy(retry_ms, "jobs are given rows faster than they are taken; retry later")
}

/// A command before authentication.
pub(crate) fn no_auth() -> ErrorReply {
    ErrorReply::new(ErrorCode::NoAuth, "Authentication required.")
}

/// A wrong user or password.
pub(crate) fn wrong_password() -> ErrorReply {
    let sentence = "invalid username-password pair or user is disabled.";
    ErrorReply::new(ErrorCode::WrongPass, sentence)
}

/// Too many reads wait for the disk.
pub(crate) fn cold_queue_full() -> ErrorReply {
    ErrorReply::busy(20, "too many reads wait for the disk already; retry later")
}

/// Too many slow requests wait.
pub(crate) fn slow_queue_full() -> ErrorReply {
    ErrorReply::busy(100, "too many scans wait already; retry later")
}
