//! Owns the engine's error: what a command can be refused for, and what ends a store. Knows the
//! names of the wire's codes, since they are the contract, and nothing of the wire.

use tilekv_tile::{ErrorKind, Name, TileError};
use tilekv_wal::{DiskError, WalError};

/// Why the engine refused a command, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No view has this name.
    #[error("there is no view `{0}`; VIEW.LIST names those that exist")]
    NoView(String),
    /// A view with this name exists.
    #[error("a view `{0}` exists already; drop it first or choose another name")]
    ViewExists(Name),
    /// No service has this name.
    #[error("there is no service `{0}`; SERVICE.LIST names those that exist")]
    NoService(String),
    /// A service with this name exists.
    #[error("a service `{0}` exists already; drop it first or choose another name")]
    ServiceExists(Name),
    /// Services read the view that was to be dropped.
    #[error(
        "view `{view}` is read by {}; drop {} first",
        service_list(services),
        if services.len() == 1 { "it" } else { "them" }
    )]
    ViewInUse {
        /// The view.
        view: Name,
        /// The services that read it.
        services: Vec<String>,
    },
    /// The keys of a service's rows are not those that its views are joined by.
    #[error("{0}")]
    NoKey(String),
    /// The view has no such feature.
    #[error("view `{view}` has no feature `{feature}`; it has {}", known.join(", "))]
    NoFeature {
        /// The view that was asked.
        view: Name,
        /// The feature that it lacks.
        feature: String,
        /// The features that it has.
        known: Vec<String>,
    },
    /// The view has no such input column.
    #[error("view `{view}` has no column `{column}`; it has {}", list_or_none(known))]
    NoColumn {
        /// The view that was asked.
        view: Name,
        /// The column that it lacks.
        column: String,
        /// The columns that it has.
        known: Vec<String>,
    },
    /// A value, name, window or definition that breaks its rule.
    #[error(transparent)]
    Tile(#[from] TileError),
    /// A value that fits its own rule and not the view's.
    #[error("{0}")]
    BadValue(String),
    /// A row or tile before the retention horizon.
    #[error(
        "tile start {start} of view `{view}` is before the retention horizon {horizon}; \
         send data that is at most the view's RETENTION old"
    )]
    TooOld {
        /// The view written to.
        view: Name,
        /// The tile start of the refused write, in milliseconds.
        start: i64,
        /// The first start that is accepted now, in milliseconds.
        horizon: i64,
    },
    /// A stamped command does not follow the producer's last applied sequence.
    #[error("{}", out_of_order(*last))]
    OutOfOrder {
        /// The producer's last applied sequence.
        last: Option<u64>,
    },
    /// A job took fewer rows than a commit needs.
    #[error("{0}")]
    EmptyJob(String),
    /// A job took another number of rows than its commit says.
    #[error(
        "the job took {taken} rows and the commit says {expected}; nothing was published. Send \
         what is missing, or abort the job and begin again"
    )]
    RowCount {
        /// What the commit says.
        expected: u64,
        /// What the job took.
        taken: u64,
    },
    /// No open or remembered job has this id.
    #[error(
        "there is no job `{0}`: it was aborted, timed out, or not committed when the server \
         stopped; begin it again"
    )]
    NoJob(String),
    /// A limit was passed.
    #[error("{0}")]
    Limit(String),
    /// Too much waits to be flushed; try again.
    #[error("{retry_ms} the store is flushing faster writes than the disk takes; retry later")]
    Busy {
        /// How long to wait before trying again, in milliseconds.
        retry_ms: u64,
    },
    /// The record under the key is of another kind.
    #[error("Operation against a key holding the wrong kind of value")]
    WrongType,
    /// A command on records that cannot be carried out, in Redis's words.
    #[error("{0}")]
    Refused(String),
    /// The disk is full: reads go on, writes are refused until there is space.
    #[error("no space is left on the data disk; writes resume by themselves once there is: {0}")]
    NoSpace(String),
    /// The log refused, failed or is corrupt.
    #[error(transparent)]
    Wal(WalError),
    /// The disk failed outside the log.
    #[error(transparent)]
    Disk(DiskError),
    /// A stored file is not what was written.
    #[error("{file} at byte {offset}: {what}")]
    Corrupt {
        /// The file's name in the data folder.
        file: String,
        /// Where in the file.
        offset: u64,
        /// What was expected and what was found.
        what: String,
    },
    /// A page of a sealed file cannot be read back, while the store runs: what needs it is
    /// refused, everything else is served.
    #[error("{file} at byte {offset}: {what}; restore the store from a backup")]
    Damaged {
        /// The file's name in the data folder.
        file: String,
        /// Where in the file.
        offset: u64,
        /// What was expected and what was found.
        what: String,
    },
    /// A file was written by a newer version.
    #[error("{file} has format version {found}, this version reads up to {expected}")]
    NewerFormat {
        /// The file's name in the data folder.
        file: String,
        /// The version in the file.
        found: u32,
        /// The newest version that is understood.
        expected: u32,
    },
}

impl EngineError {
    /// The wire's code for this error (docs/protocol.md, error codes).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoView(_) => "NOVIEW",
            Self::NoFeature { .. } => "NOFEATURE",
            Self::Tile(error) => match error.kind() {
                ErrorKind::Window => "BADWINDOW",
                ErrorKind::Value => "BADVALUE",
                ErrorKind::Limit => "LIMIT",
                ErrorKind::Usage | ErrorKind::Corrupt => "ERR",
            },
            Self::BadValue(_) => "BADVALUE",
            Self::TooOld { .. } => "TOOOLD",
            Self::OutOfOrder { .. } => "OUTOFORDER",
            Self::EmptyJob(_) => "EMPTYJOB",
            Self::RowCount { .. } => "ROWCOUNT",
            Self::NoJob(_) => "NOJOB",
            Self::Limit(_) => "LIMIT",
            Self::Busy { .. } => "BUSY",
            Self::NoSpace(_) => "READONLY",
            Self::Damaged { .. } => "DAMAGED",
            Self::WrongType => "WRONGTYPE",
            Self::Refused(_)
            | Self::ViewExists(_)
            | Self::NoService(_)
            | Self::ServiceExists(_)
            | Self::ViewInUse { .. }
            | Self::NoKey(_)
            | Self::NoColumn { .. }
            | Self::Wal(_)
            | Self::Disk(_)
            | Self::Corrupt { .. }
            | Self::NewerFormat { .. } => "ERR",
        }
    }

    /// The error of a page that could not be read back, where the store cannot do without it.
    pub(crate) fn at_start(self) -> Self {
        match self {
            Self::Damaged { file, offset, what } => Self::Corrupt { file, offset, what },
            other => other,
        }
    }

    /// Whether the engine must not be used any more: what is on disk is in doubt.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(
            self,
            Self::Wal(_) | Self::Disk(_) | Self::Corrupt { .. } | Self::NewerFormat { .. }
        )
    }
}

impl From<DiskError> for EngineError {
    fn from(error: DiskError) -> Self {
        if error.is_no_space() { Self::NoSpace(error.to_string()) } else { Self::Disk(error) }
    }
}

impl From<WalError> for EngineError {
    fn from(error: WalError) -> Self {
        match error {
            WalError::NoSpace { .. } => Self::NoSpace(error.to_string()),
            other => Self::Wal(other),
        }
    }
}

/// As many names as a sentence holds.
fn service_list(services: &[String]) -> String {
    const SHOWN_COUNT_MAX: usize = 3;
    let shown: Vec<String> =
        services.iter().take(SHOWN_COUNT_MAX).map(|name| format!("`{name}`")).collect();
    let kind = if services.len() == 1 { "service" } else { "services" };
    match services.len().checked_sub(SHOWN_COUNT_MAX) {
        None | Some(0) => format!("{kind} {}", shown.join(", ")),
        Some(more) => format!("{kind} {} and {more} more", shown.join(", ")),
    }
}

fn list_or_none(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn out_of_order(last: Option<u64>) -> String {
    match last {
        Some(last) => {
            format!("{last} is the last sequence applied; send the ones that follow it, in order")
        }
        None => "- no sequence is applied yet; send AFTER - with the first".to_owned(),
    }
}
