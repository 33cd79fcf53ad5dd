//! The tile store: views, overlay, segments, windows, jobs, recovery. Synchronous and
//! deterministic: disk, clock and seeds come in as values. It knows nothing of sockets or RESP.
//!
//! [`Engine`] is the single writer: [`Engine::prepare`] judges writes, [`Engine::commit`] makes
//! them durable and visible. [`Reader`] answers reads on any thread and waits for nothing.

mod apply;
mod arena;
mod backup;
mod backup_file;
mod catalog;
mod codec;
mod content;
mod definition;
mod directory;
mod engine;
mod envelope;
mod error;
mod explain;
mod finding;
mod frame;
mod info;
mod inspect;
mod job;
mod job_rows;
mod job_table;
mod job_writer;
mod jobs;
mod ledger;
pub mod limits;
mod lookup;
mod manifest;
mod memory;
mod open;
mod open_job;
mod options;
mod overlay;
mod pages;
mod pending;
mod plan;
mod prepare;
mod producer;
mod ranges;
mod reader;
mod record;
mod records;
mod residency;
mod rollup;
mod scan;
mod segment;
mod segment_file;
mod segment_walk;
mod segment_writer;
mod service;
mod state_hash;
#[cfg(test)]
mod store_tests;
mod task;
mod verify;
mod version;
mod write;

/// Disks and durability, as the engine's callers choose them.
pub mod disk {
    pub use tilekv_wal::{
        Disk, DiskError, DiskFile, Durability, LogStatistics, Lsn, RealDisk, RecoveryReport,
        SimCounters, SimDisk, SimFaults, SimOperation, WalError,
    };
}

pub use backup::{BackupOptions, Link, PreviousBackup, Progress, back_up, check_backup, restore};
pub use backup_file::{Backup, BackupFile};
pub use catalog::{View, ViewId};
pub use engine::{Engine, EngineCounters};
pub use error::EngineError;
pub use explain::{ExplainedTile, Explanation};
pub use finding::Finding;
pub use info::{LastJob, StoreInfo, ViewFreshness, ViewInfo};
pub use inspect::Inspection;
pub use job::{JobCommit, JobCounters, JobId, JobInfo, JobMode, JobRequest, JobState, JobTile};
pub use jobs::{Jobs, Sealing};
pub use ledger::MemoryUse;
pub use memory::MemoryInfo;
pub use open::OpenReport;
pub use open_job::SealedJob;
pub use options::EngineOptions;
pub use pages::{PageCounters, PageRequest, PinnedPages, ReadOutcome};
pub use plan::{Plan, ReadRequest, ServiceRequest};
pub use reader::{ReadTime, Reader, TileRange};
pub use records::{Record, RecordFigures, RecordKind, RecordStep, RecordTable, Slices};
pub use service::{Service, ServiceInfo};
pub use state_hash::StateHash;
pub use task::{Task, TaskResult};
pub use verify::{Verification, verify};
pub use version::Version;
pub use write::{Lateness, Outcome, Partials, Prepared, TileWrite, Write};
