//! The simulated disk's inside: names, files, dice and faults. Knows nothing of handles.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::disk::DiskError;
use crate::number::{u64_of, usize_of};
use crate::sim_disk::{SimCounters, SimFaults, SimOperation};
use crate::sim_inode::SimInode;
use crate::sim_random::SimRandom;

/// Everything a simulated disk is.
#[derive(Clone, Debug)]
pub(crate) struct SimState {
    random: SimRandom,
    pub(crate) faults: SimFaults,
    pub(crate) counters: SimCounters,
    operations: BTreeMap<SimOperation, u64>,
    /// Operations that are to fail, by kind and count.
    scripted: BTreeSet<(SimOperation, u64)>,
    /// Crashes so far: a handle of an earlier machine is dead.
    pub(crate) generation: u64,
    pub(crate) locked: bool,
    inodes: BTreeMap<u64, SimInode>,
    next_inode: u64,
    /// Names as readers see them.
    pub(crate) names: BTreeMap<String, u64>,
    /// Names as a power cut leaves them, but for `pending`.
    durable_names: BTreeMap<String, u64>,
    pending: Vec<EntryChange>,
}

#[derive(Clone, Debug)]
enum EntryChange {
    Create { name: String, inode: u64 },
    Rename { from: String, to: String },
    Remove { name: String },
}

impl SimState {
    pub(crate) fn new(seed: u64, faults: SimFaults) -> Self {
        Self {
            random: SimRandom::new(seed),
            faults,
            counters: SimCounters::default(),
            operations: BTreeMap::new(),
            scripted: BTreeSet::new(),
            generation: 0,
            locked: false,
            inodes: BTreeMap::new(),
            next_inode: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending: Vec::new(),
        }
    }

    pub(crate) fn operations(&self, operation: SimOperation) -> u64 {
        self.operations.get(&operation).copied().unwrap_or(0)
    }

    pub(crate) fn fail_nth(&mut self, operation: SimOperation, nth: u64) {
        assert!(0 < nth, "the next operation is number 1");
        self.scripted.insert((operation, self.operations(operation) + nth));
    }

    pub(crate) fn inode(&mut self, inode: u64) -> &mut SimInode {
        let Some(inode) = self.inodes.get_mut(&inode) else {
            unreachable!("a named or open simulated file has its bytes")
        };
        inode
    }

    pub(crate) fn find(&self, name: &str) -> Result<u64, DiskError> {
        let not_found = || DiskError::NotFound { name: name.to_owned(), folder: folder() };
        self.names.get(name).copied().ok_or_else(not_found)
    }

    pub(crate) fn create(&mut self, name: &str) -> Result<u64, DiskError> {
        self.count(SimOperation::Create, name)?;
        if let Some(inode) = self.names.get(name).copied() {
            self.inode(inode).resize(0);
            return Ok(inode);
        }
        let inode = self.add_inode(SimInode::default());
        self.names.insert(name.to_owned(), inode);
        self.pending.push(EntryChange::Create { name: name.to_owned(), inode });
        Ok(inode)
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.count(SimOperation::Rename, from)?;
        let inode = self.find(from)?;
        self.names.remove(from);
        self.names.insert(to.to_owned(), inode);
        self.pending.push(EntryChange::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    pub(crate) fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.count(SimOperation::Remove, name)?;
        self.find(name)?;
        self.names.remove(name);
        self.pending.push(EntryChange::Remove { name: name.to_owned() });
        Ok(())
    }

    pub(crate) fn sync_folder(&mut self) -> Result<(), DiskError> {
        self.count(SimOperation::SyncFolder, "folder")?;
        if !self.faults.folder_syncs_lie {
            self.durable_names.clone_from(&self.names);
            self.pending.clear();
            self.drop_unreachable();
        }
        Ok(())
    }

    pub(crate) fn write(
        &mut self,
        inode: u64,
        name: &str,
        at: u64,
        bytes: &[u8],
    ) -> Result<(), DiskError> {
        let whole = bytes.len();
        if let Err(error) = self.count(SimOperation::Write, name) {
            let some = usize_of(self.random.below(u64_of(whole) + 1));
            self.inode(inode).write(usize_of(at), &bytes[..some]);
            return Err(error);
        }
        let room = self.room_for(inode, at + u64_of(whole)).saturating_sub(at);
        if u64_of(whole) <= room {
            self.inode(inode).write(usize_of(at), bytes);
            return Ok(());
        }
        self.inode(inode).write(usize_of(at), &bytes[..usize_of(room)]);
        Err(self.no_space("write", name))
    }

    pub(crate) fn allocate(&mut self, inode: u64, name: &str, len: u64) -> Result<(), DiskError> {
        self.count(SimOperation::Allocate, name)?;
        if len <= u64_of(self.inode(inode).cached.len()) {
            return Ok(());
        }
        let room = self.room_for(inode, len);
        self.inode(inode).resize(usize_of(room));
        if room < len { Err(self.no_space("allocate", name)) } else { Ok(()) }
    }

    pub(crate) fn sync(&mut self, inode: u64, name: &str) -> Result<(), DiskError> {
        if let Err(error) = self.count(SimOperation::Sync, name) {
            let mut random = self.random.clone();
            self.inode(inode).sync_failed(&mut random);
            self.random = random;
            return Err(error);
        }
        if self.faults.file_syncs_lie {
            return Ok(());
        }
        let rate = self.faults.misdirected_per_million;
        let (mut random, mut misdirected) = (self.random.clone(), 0);
        self.inode(inode).sync(|| {
            let strays = random.per_million(rate);
            misdirected += u64::from(strays);
            strays.then(|| random.next())
        });
        self.random = random;
        self.counters.misdirected += misdirected;
        Ok(())
    }

    pub(crate) fn crash(&mut self) {
        self.counters.crashes += 1;
        self.generation += 1;
        self.locked = false;
        self.crash_entries();
        let mut random = self.random.clone();
        for inode in self.inodes.values_mut() {
            inode.crash(&mut random, &mut self.counters);
        }
        self.random = random;
        self.drop_unreachable();
    }

    /// Counts an operation and throws the dice for it.
    pub(crate) fn count(&mut self, operation: SimOperation, name: &str) -> Result<(), DiskError> {
        let count = self.operations.entry(operation).or_default();
        *count += 1;
        let scripted = self.scripted.remove(&(operation, *count));
        let (faults, counters) = (&self.faults, &mut self.counters);
        let (rate, counter) = match operation {
            SimOperation::Read => (faults.read_errors_per_million, &mut counters.read_errors),
            SimOperation::Write | SimOperation::Allocate => {
                (faults.write_errors_per_million, &mut counters.write_errors)
            }
            SimOperation::Sync | SimOperation::SyncFolder => {
                (faults.sync_errors_per_million, &mut counters.sync_errors)
            }
            _ => (faults.entry_errors_per_million, &mut counters.entry_errors),
        };
        if !scripted && !self.random.per_million(rate) {
            return Ok(());
        }
        *counter += 1;
        let source = io::Error::from_raw_os_error(EIO);
        Err(DiskError::Io { verb: operation.verb(), name: name.to_owned(), source })
    }

    pub(crate) fn put(&mut self, name: &str, contents: &[u8]) {
        let inode = self.add_inode(SimInode::holding(contents));
        self.names.insert(name.to_owned(), inode);
        self.durable_names.insert(name.to_owned(), inode);
        self.drop_unreachable();
    }

    pub(crate) fn forget_handles(&mut self) {
        self.locked = false;
        self.inodes.values_mut().for_each(|inode| inode.open_handles = 0);
    }

    fn add_inode(&mut self, inode: SimInode) -> u64 {
        let number = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(number, inode);
        number
    }

    /// The length up to `wanted` that the file may take without outgrowing the disk.
    fn room_for(&mut self, inode: u64, wanted: u64) -> u64 {
        let own = u64_of(self.inode(inode).cached.len());
        let Some(capacity) = self.faults.capacity_bytes else {
            return wanted;
        };
        let held = self.names.values().filter_map(|number| self.inodes.get(number));
        let used: u64 = held.map(|inode| u64_of(inode.cached.len())).sum();
        wanted.min(own + capacity.saturating_sub(used)).max(own)
    }

    fn no_space(&mut self, verb: &'static str, name: &str) -> DiskError {
        self.counters.no_space += 1;
        DiskError::NoSpace { verb, name: name.to_owned(), folder: folder() }
    }

    /// Each entry change survives or not, and none survives without the earlier ones of the
    /// same names.
    fn crash_entries(&mut self) {
        let style = self.random.below(3);
        let mut stuck = BTreeSet::new();
        for change in std::mem::take(&mut self.pending) {
            let kept = match style {
                0 => false,
                1 => true,
                _ => self.random.one_in(2),
            };
            let names = change.names();
            if kept && names.iter().all(|name| !stuck.contains(*name)) {
                self.keep_entry(&change);
            } else {
                self.counters.entries_lost += 1;
                stuck.extend(names.into_iter().map(str::to_owned));
            }
        }
        self.names.clone_from(&self.durable_names);
    }

    fn keep_entry(&mut self, change: &EntryChange) {
        match change {
            EntryChange::Create { name, inode } => {
                self.durable_names.insert(name.clone(), *inode);
            }
            EntryChange::Rename { from, to } => {
                if let Some(inode) = self.durable_names.remove(from) {
                    self.durable_names.insert(to.clone(), inode);
                }
            }
            EntryChange::Remove { name } => {
                self.durable_names.remove(name);
            }
        }
    }

    fn drop_unreachable(&mut self) {
        let mut reachable: BTreeSet<u64> = self.names.values().copied().collect();
        reachable.extend(self.durable_names.values());
        reachable.extend(self.pending.iter().filter_map(|change| match change {
            EntryChange::Create { inode, .. } => Some(*inode),
            _ => None,
        }));
        self.inodes.retain(|number, inode| reachable.contains(number) || inode.open_handles != 0);
    }
}

impl EntryChange {
    fn names(&self) -> Vec<&str> {
        match self {
            Self::Create { name, .. } | Self::Remove { name } => vec![name],
            Self::Rename { from, to } => vec![from, to],
        }
    }
}

pub(crate) fn folder() -> String {
    "simulated disk".to_owned()
}

/// Linux's number for an input/output error.
const EIO: i32 = 5;
