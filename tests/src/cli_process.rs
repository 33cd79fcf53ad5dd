//! The `tilekv` command line as a process: built, run, and what it said. It knows nothing of what
//! its commands do.

use crate::server_process::build;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// The environment variable that names a `tilekv` binary to test in place of a fresh build.
pub const CLI_VARIABLE: &str = "TILEKV_TEST_CLI";

/// The binary, built by this call if it is not as new as its sources.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os(CLI_VARIABLE) {
        Some(path) => PathBuf::from(path),
        None => build("tilekv-cli", "tilekv"),
    })
}

/// The command with these arguments, not started yet.
pub fn command<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the command to its end; gives its exit status and all that it said.
///
/// # Panics
/// Where it cannot be started, or ends by a signal.
pub fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> (i32, String) {
    let output = command(arguments).output();
    said(output.unwrap_or_else(|error| panic!("start tilekv: {error}")))
}

/// What a command that has ended said, and its exit status.
///
/// # Panics
/// Where it was ended by a signal.
pub fn said(output: Output) -> (i32, String) {
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    let Some(status) = output.status.code() else {
        panic!("tilekv was ended by a signal: {}", text.concat())
    };
    (status, text.concat())
}
