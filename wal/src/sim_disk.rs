//! A disk in memory that fails on command. (Signatures; bodies follow.)

use crate::disk::{Disk, DiskError, DiskFile};

/// What a simulated disk counts and can be told to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SimOperation {
    /// Opening a file.
    Open,
    /// Reading bytes.
    Read,
    /// Writing bytes.
    Write,
    /// Growing a file by zeros.
    Allocate,
    /// Cutting a file.
    Truncate,
    /// Making a file durable.
    Sync,
    /// Creating a file.
    Create,
    /// Renaming a file.
    Rename,
    /// Removing a file.
    Remove,
    /// Making entries durable.
    SyncFolder,
}

/// How often a simulated disk fails by itself, in failures per million operations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SimFaults {
    /// Input/output errors of reads.
    pub read_errors_per_million: u32,
    /// Input/output errors of writes and allocations.
    pub write_errors_per_million: u32,
    /// Input/output errors of syncs, of files and folders.
    pub sync_errors_per_million: u32,
    /// Input/output errors of create, rename, remove, open and truncate.
    pub entry_errors_per_million: u32,
    /// Writes that land in another place of the same file.
    pub misdirected_per_million: u32,
    /// Bytes the disk holds.
    pub capacity_bytes: Option<u64>,
}

/// How often each kind of fault has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SimCounters {
    /// Crashes.
    pub crashes: u64,
    /// Sectors that a crash took back.
    pub sectors_lost: u64,
    /// Writes of which a crash kept some sectors and took others.
    pub writes_torn: u64,
    /// Writes kept by a crash that took an earlier one.
    pub writes_reordered: u64,
    /// Entry operations that a crash took back.
    pub entries_lost: u64,
    /// Input/output errors of reads.
    pub read_errors: u64,
    /// Input/output errors of writes and allocations.
    pub write_errors: u64,
    /// Input/output errors of file and folder syncs.
    pub sync_errors: u64,
    /// Input/output errors of create, rename, remove, open and truncate.
    pub entry_errors: u64,
    /// Operations refused for want of space.
    pub no_space: u64,
    /// Writes that landed elsewhere.
    pub misdirected: u64,
    /// Bits flipped.
    pub bits_flipped: u64,
}

/// A disk in memory, the same for the same seed and the same calls. Clones share it.
#[derive(Clone, Debug)]
pub struct SimDisk {}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(_seed: u64, _faults: SimFaults) -> Self {
        unimplemented!()
    }
    /// Cuts the power.
    pub fn crash(&self) {
        unimplemented!()
    }
    /// Sets the rates of faults and the capacity.
    pub fn set_faults(&self, _faults: SimFaults) {
        unimplemented!()
    }
    /// Lets the nth operation of a kind from now on (1 is the next) fail with an I/O error.
    pub fn fail_nth(&self, _operation: SimOperation, _nth: u64) {
        unimplemented!()
    }
    /// Operations of a kind so far.
    #[must_use]
    pub fn operations(&self, _operation: SimOperation) -> u64 {
        unimplemented!()
    }
    /// Flips a bit (0 to 7) of a byte, in the cache and on the platter.
    ///
    /// # Errors
    /// [`DiskError::NotFound`] and [`DiskError::ShortRead`].
    pub fn flip_bit(&self, _name: &str, _offset: u64, _bit: u8) -> Result<(), DiskError> {
        unimplemented!()
    }
    /// How often each kind of fault happened.
    #[must_use]
    pub fn counters(&self) -> SimCounters {
        unimplemented!()
    }
    /// An independent copy of everything.
    #[must_use]
    pub fn fork(&self) -> Self {
        unimplemented!()
    }
    /// A file's bytes as a reader would see them now.
    #[must_use]
    pub fn contents(&self, _name: &str) -> Option<Vec<u8>> {
        unimplemented!()
    }
    /// Puts a durable file in place.
    pub fn put(&self, _name: &str, _contents: &[u8]) {
        unimplemented!()
    }
}

impl Disk for SimDisk {
    fn create(&self, _name: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        unimplemented!()
    }
    fn open(&self, _name: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        unimplemented!()
    }
    fn exists(&self, _name: &str) -> Result<bool, DiskError> {
        unimplemented!()
    }
    fn list(&self) -> Result<Vec<String>, DiskError> {
        unimplemented!()
    }
    fn rename(&self, _from: &str, _to: &str) -> Result<(), DiskError> {
        unimplemented!()
    }
    fn remove(&self, _name: &str) -> Result<(), DiskError> {
        unimplemented!()
    }
    fn sync_folder(&self) -> Result<(), DiskError> {
        unimplemented!()
    }
    fn lock(&self) -> Result<Box<dyn Send>, DiskError> {
        unimplemented!()
    }
    fn folder(&self) -> String {
        unimplemented!()
    }
}
