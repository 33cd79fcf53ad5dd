//! Owns what can go wrong in a benchmark. Knows nothing of how it is shown.

use std::io;

use tilekv_engine::EngineError;
use tilekv_engine::disk::DiskError;
use tilekv_tile::TileError;

/// Why a benchmark gave no figure.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A call of the system failed.
    #[error("{verb}: {source}")]
    Io {
        /// What was being done: verb and object.
        verb: String,
        /// What the system said.
        source: io::Error,
    },
    /// A peer answered something else than what the data adds up to.
    #[error("wrong answer from {peer}: expected {expected}, found {found}")]
    WrongAnswer {
        /// Who answered.
        peer: &'static str,
        /// What the data adds up to.
        expected: String,
        /// What came.
        found: String,
    },
    /// A peer's program is missing.
    #[error("{program} was not found: {advice}")]
    NoProgram {
        /// Its name or path.
        program: String,
        /// How to get it.
        advice: &'static str,
    },
    /// A workload that does not exist.
    #[error("workload `{found}` is not known; expected one of {expected}")]
    NoWorkload {
        /// What was asked for.
        found: String,
        /// What there is.
        expected: String,
    },
    /// A row that does not exist.
    #[error("row `{found}` is not known; expected one of {expected}")]
    NoRow {
        /// What was asked for.
        found: String,
        /// What there is.
        expected: String,
    },
    /// A peer did not come up or went away.
    #[error("{program} {problem}; the end of its output: {output}")]
    Peer {
        /// Its name.
        program: &'static str,
        /// What happened.
        problem: String,
        /// What it wrote last.
        output: String,
    },
    /// The day ended during the measurement, so that windows moved and answers changed.
    #[error("the UTC day ended during the run, which moves the windows: run it again")]
    DayEnded,
    /// A write that needed an earlier one to be committed first.
    #[error("a write waits for an earlier one, which a benchmark never leaves pending")]
    NotStaged,
    /// The store inside this process.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Its disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A name, selector or definition.
    #[error(transparent)]
    Tile(#[from] TileError),
}

/// Says what was being done when a call of the system failed.
pub trait Doing<T> {
    /// The same result, with verb and object in its error.
    fn doing(self, verb: impl Into<String>) -> Result<T, BenchError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, verb: impl Into<String>) -> Result<T, BenchError> {
        self.map_err(|source| BenchError::Io { verb: verb.into(), source })
    }
}
