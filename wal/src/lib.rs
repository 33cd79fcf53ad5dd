//! How bytes survive: disks, log files, batches, group commit and recovery.
//!
//! This crate owns the write-ahead log and the disks beneath it. It knows nothing of tiles,
//! commands, clocks, randomness or tokio: time, seeds and disks come in as values.
//! The format is written down in docs/format/wal.md; comments cite its sentences as [WAL-n].

mod batch;
mod disk;
mod durability;
mod error;
mod file_walk;
mod file_window;
mod frame;
pub mod limits;
mod live;
mod log;
mod log_file;
mod lsn;
mod number;
mod real_disk;
mod recovery;
mod repair;
mod sim_disk;
mod sim_inode;
mod sim_random;
mod sim_state;
mod survey;

pub use disk::{Disk, DiskError, DiskFile};
pub use durability::Durability;
pub use error::WalError;
pub use live::{LogTail, copy_log, read_log};
pub use log::{Log, LogOptions, LogStatistics, SyncDone, SyncTask};
pub use lsn::Lsn;
pub use real_disk::RealDisk;
pub use recovery::{Cut, RecoveryReport};
pub use sim_disk::{SimCounters, SimDisk, SimFaults, SimOperation};
pub use survey::{LogFault, survey_log};
