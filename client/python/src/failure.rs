//! What a call can fail with, and the Python exception that says it. Knows nothing of calls.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use tilekv_client::{ClientError, TileError};

/// Why a call did not come about.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The client says so.
    Client(ClientError),
    /// What was given cannot be sent.
    Input(String),
    /// The client or the job was closed.
    Closed(&'static str),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Input(error) => Self::Input(error.to_string()),
            error => Self::Client(error),
        }
    }
}

impl From<TileError> for Failure {
    fn from(error: TileError) -> Self {
        Self::Input(error.to_string())
    }
}

impl Failure {
    /// The exception, of the class in `tilekv._errors` that its kind names.
    pub(crate) fn into_exception(self, py: Python<'_>) -> PyErr {
        match self.exception(py) {
            Ok(exception) => PyErr::from_value(exception),
            Err(error) => error,
        }
    }

    fn exception<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let make = MAKE.import(py, "tilekv._errors", "make_error")?;
        match self {
            Self::Client(error) => {
                let (number, applied) = (number(error), error.may_have_been_applied());
                make.call1((kind(error), error.to_string(), number, applied))
            }
            Self::Input(problem) => make.call1(("INPUT", problem, None::<u64>, false)),
            Self::Closed(what) => make.call1(("CLOSED", *what, None::<u64>, false)),
        }
    }
}

/// The error's code, or a word of our own for what did not come from the server.
fn kind(error: &ClientError) -> &'static str {
    if let Some(code) = error.code() {
        return code.as_str();
    }
    match error {
        ClientError::Connect { .. } => "CONNECT",
        ClientError::Lost { .. } => "LOST",
        ClientError::TimedOut { .. } => "TIMEDOUT",
        ClientError::Protocol { .. } | ClientError::UnexpectedAnswer { .. } => "PROTOCOL",
        _ => "INPUT",
    }
}

fn number(error: &ClientError) -> Option<u64> {
    match error {
        ClientError::OutOfOrder { last, .. } => *last,
        ClientError::Busy { retry_ms, .. } => Some(*retry_ms),
        _ => None,
    }
}
