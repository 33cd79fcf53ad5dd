//! Owns what a check of a store found: which file is bad, where, and how. Knows nothing of how it
//! was looked for.

use std::fmt;

use tilekv_wal::Lsn;

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file's name in the folder.
    pub file: String,
    /// Where in the file, where that is known.
    pub offset: Option<u64>,
    /// The first record that is hurt, where that is known.
    pub lsn: Option<Lsn>,
    /// What is wrong.
    pub what: String,
}

impl Finding {
    /// What is wrong with a file as a whole.
    pub(crate) fn of_file(file: &str, what: impl ToString) -> Self {
        Self { file: file.to_owned(), offset: None, lsn: None, what: what.to_string() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.file)?;
        if let Some(offset) = self.offset {
            write!(formatter, " at byte {offset}")?;
        }
        if let Some(lsn) = self.lsn {
            write!(formatter, ", LSN {lsn}")?;
        }
        write!(formatter, ": {}", self.what)
    }
}
