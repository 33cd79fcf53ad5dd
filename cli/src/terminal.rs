//! The one place that writes to standard output and standard error. Knows nothing of what is
//! written.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};

use crate::failure::CliError;
use crate::limits::{DRAWING_COLUMNS_DEFAULT, DRAWING_COLUMNS_MAX, DRAWING_COLUMNS_MIN};

/// Writes a line to standard output.
pub(crate) fn say(line: impl Display) -> Result<(), CliError> {
    write(format!("{line}\n").as_bytes())
}

/// Writes bytes to standard output.
pub(crate) fn write(bytes: &[u8]) -> Result<(), CliError> {
    let mut output = io::stdout().lock();
    output.write_all(bytes).and_then(|()| output.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => CliError::OutputClosed,
        _ => CliError::Output(error),
    })
}

/// Writes a note to standard error. Nothing can be done where that fails.
pub(crate) fn note(line: impl Display) {
    drop(writeln!(io::stderr().lock(), "{line}"));
}

/// Writes an error, and what to do about it, to standard error.
pub(crate) fn complain(error: &CliError) {
    note(format_args!("tilekv: {error}"));
    if let Some(advice) = error.advice() {
        note(format_args!("  {advice}"));
    }
}

/// Whether a person reads standard error.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// How many columns of text a drawing may take: what `COLUMNS` says, within bounds.
pub(crate) fn drawing_columns() -> usize {
    let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    told.unwrap_or(DRAWING_COLUMNS_DEFAULT).clamp(DRAWING_COLUMNS_MIN, DRAWING_COLUMNS_MAX)
}
