//! Ends the process when what is on disk is in doubt: a failed write or sync must never be
//! followed by another acknowledgement.

use tilekv_engine::EngineError;

/// Exit status after a failure of the disk, as sysexits.h names it (EX_IOERR).
pub(crate) const EXIT_DISK_FAILED: i32 = 74;

/// Passes on, or ends the process with a log line that names what failed.
pub(crate) fn check(what: &str, result: Result<(), EngineError>) {
    if let Err(error) = result {
        end(what, &error);
    }
}

/// Ends the process if the error is one after which the engine must not be used.
pub(crate) fn check_refusal(what: &str, error: &EngineError) {
    if error.is_fatal() {
        end(what, error);
    }
}

/// Log lines go to standard error without a buffer, so nothing is lost by leaving at once.
fn end(what: &str, error: &EngineError) -> ! {
    tracing::error!(
        %error,
        "cannot {what}: the process ends, since what is on disk is in doubt; \
         restarting recovers every acknowledged write"
    );
    std::process::exit(EXIT_DISK_FAILED)
}
