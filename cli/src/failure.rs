//! What can go wrong, the exit code that says so, and what to do about it. Knows nothing of how
//! it is shown.

use std::io;

use thiserror::Error;
use tilekv_client::{ClientError, Fate, TileError};

/// Why a command did not do what was asked.
#[derive(Debug, Error)]
pub(crate) enum CliError {
    /// The server refused, or could not be reached.
    #[error("{0}")]
    Client(#[from] ClientError),
    /// Something on the command line cannot be read.
    #[error("{0}")]
    Input(#[from] TileError),
    /// The command line is of its form, but asks for what cannot be.
    #[error("{0}")]
    Usage(String),
    /// A file cannot be read.
    #[error("{verb} {path}: {source}")]
    File {
        /// What was being done.
        verb: &'static str,
        /// The file.
        path: String,
        /// What it failed with.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path}: {problem}")]
    Content {
        /// The file.
        path: String,
        /// What is wrong, with the line.
        problem: String,
    },
    /// A store or a backup cannot be used.
    #[error("{0}")]
    Store(String),
    /// A check found files that are not as they were written.
    #[error("{count} {} not as written", if *count == 1 { "place is" } else { "places are" })]
    Damaged {
        /// How many places.
        count: usize,
    },
    /// What a file declares cannot be made so.
    #[error("{0}")]
    Refused(String),
    /// A plan has changes, and its exit status is to say so.
    #[error("there are changes to apply")]
    ChangesPending,
    /// Standard output cannot be written.
    #[error("write to standard output: {0}")]
    Output(io::Error),
    /// Whoever read the output has seen enough.
    #[error("standard output was closed")]
    OutputClosed,
}

impl CliError {
    /// 1: the server refused. 2: the command line is wrong. 3: the server could not be reached or
    /// was lost. 4: a file cannot be used. 5: output cannot be written. 6: a check found damage.
    /// 7: a plan has changes.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Client(error) if is_about_the_way(error) => 3,
            Self::Client(ClientError::Input(_)) => 2,
            Self::Client(_) | Self::Refused(_) => 1,
            Self::Input(_) | Self::Usage(_) => 2,
            Self::File { .. } | Self::Content { .. } | Self::Store(_) => 4,
            Self::Output(_) | Self::OutputClosed => 5,
            Self::Damaged { .. } => 6,
            Self::ChangesPending => 7,
        }
    }

    /// What to do about it, where there is something to say.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        let Self::Client(error) = self else { return None };
        Some(match error {
            ClientError::Connect { .. } => {
                "is the server running? Start one with tilekv-server, or name its address with \
                 --server host:port"
            }
            ClientError::NoAuth { .. } | ClientError::WrongPassword { .. } => {
                "give the password with --password or in TKV_PASSWORD"
            }
            ClientError::NoView { .. } => {
                "`tilekv view list` shows the views there are, `tilekv view create` makes one"
            }
            ClientError::NoFeature { .. } => "`tilekv view info VIEW` shows a view's features",
            ClientError::BadWindow { .. } => {
                "windows and offsets are whole numbers of tiles; `tilekv view info VIEW` shows \
                 the tile size"
            }
            ClientError::EmptyJob { .. } => {
                "nothing was published or sealed; where the source may be empty, say --allow-empty"
            }
            ClientError::RowCount { .. } => "nothing was published or sealed; see what is missing",
            ClientError::NoJob { .. } => "`tilekv job list` shows the jobs there are",
            ClientError::Busy { .. } => "the server has too much to do; try again later",
            ClientError::ReadOnly { .. } => "the server's disk may be full; see its log",
            ClientError::Lost { fate: Fate::Unknown, .. }
            | ClientError::TimedOut { fate: Fate::Unknown, .. } => {
                "what was asked may have been done all the same: look before you do it again"
            }
            _ => return None,
        })
    }
}

fn is_about_the_way(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Connect { .. }
            | ClientError::Lost { .. }
            | ClientError::TimedOut { .. }
            | ClientError::Protocol { .. }
            | ClientError::UnexpectedAnswer { .. }
    )
}
