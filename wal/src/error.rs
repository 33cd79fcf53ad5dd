//! Why the log refused. Knows nothing of what the records mean.

use crate::disk::DiskError;
use crate::lsn::Lsn;

/// Why the log refused to open, to take a batch, or to make one durable.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// Bytes that were proved durable are damaged or gone. Nothing was changed on disk.
    #[error(
        "log file {file} is damaged at offset {offset}, LSN {lsn}: {found}; it had been made \
         durable, since {proof}. Restore the folder from a backup or from another copy of the file"
    )]
    Corrupt {
        /// The damaged file.
        file: String,
        /// Where the frame that should hold `lsn` begins.
        offset: u64,
        /// The first record that cannot be read.
        lsn: Lsn,
        /// What stands there.
        found: String,
        /// What shows that the record had been durable.
        proof: String,
    },
    /// Log files that held needed records are not there. Nothing was changed on disk.
    #[error(
        "the log in {folder} lacks the records from LSN {expected} on: {found}. \
         Put back the missing log files, or restore the folder from a backup"
    )]
    Missing {
        /// The disk's folder.
        folder: String,
        /// The first record that is needed.
        expected: Lsn,
        /// What is there.
        found: String,
    },
    /// A file was written by another version of the format. Nothing was changed on disk.
    #[error(
        "log file {file} has format version {found}, this program reads version {expected}: \
         use the program that wrote it, or a newer one"
    )]
    Version {
        /// The file.
        file: String,
        /// Its version.
        found: u16,
        /// The version that this program writes.
        expected: u16,
    },
    /// The disk is full. Nothing of the batch was written; the log stays usable, and the same
    /// call succeeds once there is space.
    #[error("the log cannot grow: {source}")]
    NoSpace {
        /// What the disk said.
        source: DiskError,
    },
    /// A batch is larger than the format allows. Nothing of it was written.
    #[error("a batch of {records} records and {bytes} bytes is too large: {limit}")]
    TooLarge {
        /// Records in the batch.
        records: usize,
        /// Bytes that it would take.
        bytes: usize,
        /// The bounds.
        limit: &'static str,
    },
    /// An option is outside its bounds.
    #[error("log option {option} is {found}, want {least} to {most}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// Its value.
        found: u64,
        /// Smallest value allowed.
        least: u64,
        /// Largest value allowed.
        most: u64,
    },
    /// The disk failed while the log was read or opened, or an old file could not be removed.
    #[error("the log cannot {verb}: {source}")]
    Disk {
        /// What was being done.
        verb: &'static str,
        /// What the disk said.
        source: DiskError,
    },
    /// A write or a sync failed. What was written since the last sync may be lost, so the log
    /// takes nothing more: the process has to end.
    #[error("the log cannot {verb} and takes no more writes: {source}")]
    Failed {
        /// What was being done.
        verb: &'static str,
        /// What the disk said.
        source: DiskError,
    },
    /// An earlier write or sync failed.
    #[error("the log takes no more writes since an earlier failure: {cause}")]
    Poisoned {
        /// The first failure, as it was reported then.
        cause: String,
    },
}
