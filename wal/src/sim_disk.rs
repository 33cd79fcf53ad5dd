//! A disk in memory that crashes, tears, loses and refuses on command, the same for the same
//! seed. Knows nothing of what the files hold.
//!
//! Files are made of 512-byte sectors, each written as a whole or not at all. What was not
//! synced is in the cache only: after [`SimDisk::crash`] any of its sectors may be there, in
//! the order of writes for each sector alone. Entry operations are likewise lost or kept, in
//! order for each name alone. After a failed sync the cache and the platter differ for good,
//! as on Linux: a program that tries again is told Ok, and loses.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskError, DiskFile, check_name};
use crate::number::{u64_of, usize_of};
use crate::sim_state::{SimState, folder};

/// A disk in memory, the same for the same seed and the same calls. Clones share it.
#[derive(Clone, Debug)]
pub struct SimDisk {
    /// Guards the whole disk; held for one operation at a time.
    state: Arc<Mutex<SimState>>,
}

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

/// How often a simulated disk fails by itself (in failures per million operations), and what
/// it cannot do. The default is a sound disk without end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SimFaults {
    /// Input/output errors of reads.
    pub read_errors_per_million: u32,
    /// Input/output errors of writes and allocations. A failed write leaves a part behind.
    pub write_errors_per_million: u32,
    /// Input/output errors of syncs, of files and folders.
    pub sync_errors_per_million: u32,
    /// Input/output errors of create, rename, remove, open and truncate.
    pub entry_errors_per_million: u32,
    /// Synced writes that land in another place of the same file, unseen before a crash.
    pub misdirected_per_million: u32,
    /// Bytes the disk holds; `None` for no bound.
    pub capacity_bytes: Option<u64>,
    /// Syncs of files answer Ok and do nothing, as cheap disks do: a check that cannot see
    /// this sees nothing.
    pub file_syncs_lie: bool,
    /// The same for syncs of the folder.
    pub folder_syncs_lie: bool,
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
    /// Writes kept, at least in part, by a crash that took some of an earlier one.
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

impl SimOperation {
    /// All operations.
    pub const ALL: [Self; 10] = [
        Self::Open,
        Self::Read,
        Self::Write,
        Self::Allocate,
        Self::Truncate,
        Self::Sync,
        Self::Create,
        Self::Rename,
        Self::Remove,
        Self::SyncFolder,
    ];

    pub(crate) const fn verb(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Allocate => "allocate",
            Self::Truncate => "truncate",
            Self::Sync => "sync",
            Self::Create => "create",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::SyncFolder => "sync folder",
        }
    }
}

impl SimDisk {
    /// An empty disk whose faults and crashes follow from the seed.
    #[must_use]
    pub fn new(seed: u64, faults: SimFaults) -> Self {
        Self { state: Arc::new(Mutex::new(SimState::new(seed, faults))) }
    }

    /// Cuts the power and starts the machine anew: every handle opened before is dead, and so
    /// is the lock. This handle and its clones go on with what the crash left.
    pub fn crash(&self) {
        self.state().crash();
    }

    /// Sets the rates of faults, the capacity and the lies.
    pub fn set_faults(&self, faults: SimFaults) {
        self.state().faults = faults;
    }

    /// The faults as they are set.
    #[must_use]
    pub fn faults(&self) -> SimFaults {
        self.state().faults.clone()
    }

    /// Lets the nth operation of a kind from now on (1 is the next) fail with an I/O error.
    ///
    /// # Panics
    /// When `nth` is 0.
    pub fn fail_nth(&self, operation: SimOperation, nth: u64) {
        self.state().fail_nth(operation, nth);
    }

    /// Operations of a kind so far, failed ones included.
    #[must_use]
    pub fn operations(&self, operation: SimOperation) -> u64 {
        self.state().operations(operation)
    }

    /// Flips a bit (0 to 7) of a byte, in the cache and on the platter.
    ///
    /// # Errors
    /// [`DiskError::NotFound`], and [`DiskError::ShortRead`] where there is no such byte.
    pub fn flip_bit(&self, name: &str, offset: u64, bit: u8) -> Result<(), DiskError> {
        let mut state = self.state();
        let inode = state.find(name)?;
        let inode = state.inode(inode);
        if !inode.flip_bit(usize_of(offset), bit % 8) {
            let len = u64_of(inode.cached.len());
            return Err(DiskError::ShortRead { name: name.to_owned(), end: offset + 1, len });
        }
        state.counters.bits_flipped += 1;
        Ok(())
    }

    /// How often each kind of fault happened.
    #[must_use]
    pub fn counters(&self) -> SimCounters {
        self.state().counters
    }

    /// An independent copy of everything, dice included; no file of it is open or locked.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut state = self.state().clone();
        state.forget_handles();
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// A file's bytes as a reader would see them now.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let mut state = self.state();
        let inode = state.find(name).ok()?;
        Some(state.inode(inode).cached.clone())
    }

    /// Puts a durable file in place, instead of the one that bears the name.
    pub fn put(&self, name: &str, contents: &[u8]) {
        self.state().put(name, contents);
    }

    fn state(&self) -> MutexGuard<'_, SimState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, state: &mut SimState, name: &str, inode: u64) -> Box<dyn DiskFile> {
        state.inode(inode).open_handles += 1;
        let generation = state.generation;
        Box::new(SimFile { disk: self.clone(), name: name.to_owned(), inode, generation })
    }
}

impl Disk for SimDisk {
    fn create(&self, name: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        check_name(name)?;
        let mut state = self.state();
        let inode = state.create(name)?;
        Ok(self.handle(&mut state, name, inode))
    }

    fn open(&self, name: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        check_name(name)?;
        let mut state = self.state();
        state.count(SimOperation::Open, name)?;
        let inode = state.find(name)?;
        Ok(self.handle(&mut state, name, inode))
    }

    fn exists(&self, name: &str) -> Result<bool, DiskError> {
        check_name(name)?;
        Ok(self.state().names.contains_key(name))
    }

    fn list(&self) -> Result<Vec<String>, DiskError> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        check_name(from)?;
        check_name(to)?;
        self.state().rename(from, to)
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        check_name(name)?;
        self.state().remove(name)
    }

    fn sync_folder(&self) -> Result<(), DiskError> {
        self.state().sync_folder()
    }

    fn lock(&self) -> Result<Box<dyn Send>, DiskError> {
        let mut state = self.state();
        if state.locked {
            return Err(DiskError::Locked { folder: folder() });
        }
        state.locked = true;
        Ok(Box::new(SimLock { disk: self.clone(), generation: state.generation }))
    }

    fn folder(&self) -> String {
        folder()
    }
}

struct SimFile {
    disk: SimDisk,
    name: String,
    inode: u64,
    generation: u64,
}

impl SimFile {
    fn alive(&self) -> Result<MutexGuard<'_, SimState>, DiskError> {
        let state = self.disk.state();
        if state.generation != self.generation {
            return Err(DiskError::Crashed { name: self.name.clone() });
        }
        Ok(state)
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.alive()?.write(self.inode, &self.name, offset, bytes)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        let mut state = self.alive()?;
        state.count(SimOperation::Read, &self.name)?;
        let bytes = &state.inode(self.inode).cached;
        let end = offset.saturating_add(u64_of(buffer.len()));
        let len = u64_of(bytes.len());
        if len < end {
            return Err(DiskError::ShortRead { name: self.name.clone(), end, len });
        }
        buffer.copy_from_slice(&bytes[usize_of(offset)..usize_of(end)]);
        Ok(())
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.alive()?.sync(self.inode, &self.name)
    }

    fn len(&self) -> Result<u64, DiskError> {
        Ok(u64_of(self.alive()?.inode(self.inode).cached.len()))
    }

    fn allocate(&self, len: u64) -> Result<(), DiskError> {
        self.alive()?.allocate(self.inode, &self.name, len)
    }

    fn truncate(&self, len: u64) -> Result<(), DiskError> {
        let mut state = self.alive()?;
        state.count(SimOperation::Truncate, &self.name)?;
        state.inode(self.inode).resize(usize_of(len));
        Ok(())
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if let Ok(mut state) = self.alive() {
            state.inode(self.inode).open_handles -= 1;
        }
    }
}

struct SimLock {
    disk: SimDisk,
    generation: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.generation == self.generation {
            state.locked = false;
        }
    }
}
