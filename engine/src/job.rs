//! Owns what jobs are asked and answered with: names, requests, figures. Knows nothing of how their
//! rows are kept.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use tilekv_tile::Name;

use crate::error::EngineError;
use crate::write::Partials;

/// The name of a job: not to be guessed, and never the same after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(u64);

impl JobId {
    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }

    pub(crate) const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "j{:016x}", self.0)
    }
}

impl FromStr for JobId {
    type Err = EngineError;

    /// Reads what `Display` wrote.
    ///
    /// # Errors
    /// [`EngineError::NoJob`]: no job was ever named so.
    fn from_str(text: &str) -> Result<Self, EngineError> {
        let is_canonical = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        text.strip_prefix('j')
            .filter(|digits| digits.len() == 16 && digits.bytes().all(is_canonical))
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .map(Self)
            .ok_or_else(|| EngineError::NoJob(text.to_owned()))
    }
}

/// What a job's commit does to what its range held before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobMode {
    /// It is removed from the whole view, whatever entities the job has rows for.
    Replace,
    /// The job's rows are added to it.
    Merge,
}

impl JobMode {
    /// The word of the contract.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Merge => "merge",
        }
    }
}

/// What a job is begun with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRequest {
    /// The view that the rows belong to.
    pub view: Name,
    /// The first millisecond of the range: a multiple of the tile size.
    pub from: i64,
    /// The first millisecond after it: a multiple of the tile size.
    pub to: i64,
    /// What the commit does to what the range held before.
    pub mode: JobMode,
    /// How long the job stays open without a call that names it, in milliseconds; an hour where
    /// none is given.
    pub timeout_ms: Option<i64>,
    /// The driver's own name of the job: to begin it again returns the same job.
    pub token: Option<Bytes>,
}

/// A whole tile of partials for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobTile {
    /// The entity.
    pub entity: Bytes,
    /// The tile's start: a multiple of the tile size, in milliseconds.
    pub start: i64,
    /// A partial per named feature; features left out are empty.
    pub partials: Partials,
}

/// What a commit demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobCommit {
    /// The number of rows and tiles that the job must have taken.
    pub rows: Option<u64>,
    /// Whether it may have taken none, or fewer than the view's `MINROWS`.
    pub allows_empty: bool,
    /// Whether the range is sealed.
    pub seals: bool,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// It takes rows.
    Open,
    /// A call is at work on it.
    Busy,
    /// Its rows are published.
    Committed,
}

impl JobState {
    /// The word that `JOB.INFO` answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Busy => "busy",
            Self::Committed => "committed",
        }
    }
}

/// Figures of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobInfo {
    /// Its name.
    pub id: JobId,
    /// The view's name; none where a committed job's view was dropped since.
    pub view: Option<Name>,
    /// The first millisecond of its range.
    pub from: i64,
    /// The first millisecond after it.
    pub to: i64,
    /// What the commit does, or did, to what the range held before.
    pub mode: JobMode,
    /// Where it stands.
    pub state: JobState,
    /// Rows and tiles taken.
    pub rows: u64,
    /// Bytes of memory and files that its rows take; 0 once they are published.
    pub bytes: u64,
    /// When it was begun, in milliseconds; unknown of jobs that were committed before a restart.
    pub begun_at: Option<i64>,
    /// When it is given up unless a call names it, in milliseconds; none once it is committed.
    pub expires_at: Option<i64>,
    /// When it was committed, in milliseconds by the log's clock.
    pub committed_at: Option<i64>,
    /// What it was begun with as its driver's name.
    pub token: Option<Bytes>,
}

/// Counts of what has become of jobs since the store was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobCounters {
    /// Jobs begun.
    pub begun: u64,
    /// Jobs published.
    pub committed: u64,
    /// Jobs that were aborted, or whose view was dropped.
    pub aborted: u64,
    /// Jobs given up for silence.
    pub expired: u64,
    /// Commits refused for the number of rows.
    pub refused: u64,
    /// Rows and tiles taken.
    pub rows: u64,
}
