//! Owns all records in memory: by the hash of their keys in shards with a short lock each, and in
//! the order of their keys. One thread changes it, any thread reads it and waits for no disk.
//! Knows nothing of logs or files.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;
use parking_lot::RwLock;

use super::effect::{Change, RecordEffect};
use super::key::Key;
use super::record::{NEVER, Record};
use super::shelf::RecordWriter;
use crate::catalog::ViewId;
use crate::codec::{bytes_u64, index};
use crate::version::hash_entity;

/// All records of a store.
pub struct RecordTable {
    shards: Box<[RwLock<HashTable<Entry>>]>,
    /// Guards the keys in ascending order.
    order: RwLock<BTreeSet<Key>>,
    /// Guards the keys of what expires, by when.
    expiries: RwLock<BTreeSet<(i64, Key)>>,
    /// Held shared by a read of several keys, and exclusively while a write of several is applied:
    /// so that a read sees all of it or nothing.
    gate: RwLock<()>,
    count: AtomicU64,
    bytes: AtomicU64,
    hash_seed: u64,
}

/// Records that were removed all at once, to be dropped where nobody waits.
pub(crate) type Garbage = Vec<HashTable<Entry>>;

/// A record under its key.
pub(crate) struct Entry {
    hash: u64,
    key: Key,
    record: Record,
    /// The first LSN of the overlay whose list of changed keys names this one.
    listed_in: u64,
}

/// Figures of all records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordFigures {
    /// Records that can be read.
    pub count: u64,
    /// Those of them that expire.
    pub expiring: u64,
    /// About how many bytes of memory all take.
    pub bytes: u64,
}

/// A step of a walk over keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordStep {
    /// The last key that was looked at, where there may be more behind it.
    pub last: Option<Arc<[u8]>>,
}

impl RecordTable {
    /// No records.
    pub(crate) fn new(hash_seed: u64) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            order: RwLock::default(),
            expiries: RwLock::default(),
            gate: RwLock::new(()),
            count: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            hash_seed,
        }
    }

    /// The record under a key, if it can be read at `now_ms`.
    #[must_use]
    pub fn get(&self, key: &[u8], now_ms: i64) -> Option<Record> {
        self.stored(key).filter(|record| record.is_live(now_ms))
    }

    /// Calls `visit` with the record of each key, in order: writes of several keys are seen whole
    /// or not at all.
    pub fn get_many<'a>(
        &self,
        keys: impl Iterator<Item = &'a [u8]>,
        now_ms: i64,
        mut visit: impl FnMut(Option<Record>),
    ) {
        let _whole = self.gate.read();
        keys.for_each(|key| visit(self.get(key, now_ms)));
    }

    /// Figures of what can be read at `now_ms`.
    #[must_use]
    pub fn figures(&self, now_ms: i64) -> RecordFigures {
        let expiries = self.expiries.read();
        let end = (now_ms.saturating_add(1), Key::from(&b""[..]));
        let expired = bytes_u64(expiries.range(..end).count());
        RecordFigures {
            count: self.count.load(Ordering::Relaxed).saturating_sub(expired),
            expiring: bytes_u64(expiries.len()).saturating_sub(expired),
            bytes: self.bytes(),
        }
    }

    /// About how many bytes of memory the record under a key takes.
    #[must_use]
    pub fn bytes_of(&self, key: &[u8], now_ms: i64) -> Option<u64> {
        self.get(key, now_ms).map(|record| entry_bytes(&Key::from(key), &record))
    }

    /// Calls `visit` with keys in ascending order and their records at `now_ms`: those that begin
    /// with `prefix` and follow `after`, at most `count` of them, the expired ones counted.
    pub fn walk(
        &self,
        (prefix, after): (&[u8], Option<&[u8]>),
        count: usize,
        now_ms: i64,
        mut visit: impl FnMut(&[u8], &Record),
    ) -> RecordStep {
        let keys = self.keys_after(prefix, after, count);
        for key in &keys {
            if let Some(record) = self.get(key, now_ms) {
                visit(key, &record);
            }
        }
        RecordStep { last: if keys.len() < count { None } else { keys.last().map(Arc::from) } }
    }

    /// A key that can be read at `now_ms`, chosen by `number`, which the caller draws.
    #[must_use]
    pub fn any_key(&self, number: u64, now_ms: i64) -> Option<Arc<[u8]>> {
        let first = self.shard_of(number);
        (0..SHARDS).find_map(|step| {
            let shard = self.shards[(first + step) % SHARDS].read();
            let live = shard.iter().filter(|entry| entry.record.is_live(now_ms));
            let count = bytes_u64(live.clone().count()).max(1);
            live.clone().nth(index(number % count)).map(|entry| Arc::from(&entry.key))
        })
    }

    /// Bytes of memory that the records take.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The record under a key, expired or not.
    pub(crate) fn stored(&self, key: &[u8]) -> Option<Record> {
        let hash = self.hash(key);
        let shard = self.shards[self.shard_of(hash)].read();
        shard.find(hash, |entry| *entry.key == *key).map(|entry| entry.record.clone())
    }

    /// Keys in ascending order: at most `count` of those that begin with `prefix` and follow
    /// `after`.
    pub(crate) fn keys_after(&self, prefix: &[u8], after: Option<&[u8]>, count: usize) -> Vec<Key> {
        let start = match after {
            Some(after) if prefix <= after => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let order = self.order.read();
        let keys = order.range::<[u8], _>((start, Bound::Unbounded));
        keys.take_while(|key| key.starts_with(prefix)).take(count).cloned().collect()
    }

    /// Keys whose records have expired at `now_ms`, the earliest first, at most `count`.
    pub(crate) fn expired(&self, now_ms: i64, count: usize) -> Vec<Key> {
        let expiries = self.expiries.read();
        let due = expiries.iter().take_while(|(at, _)| *at <= now_ms);
        due.take(count).map(|(_, key)| key.clone()).collect()
    }

    /// Applies an effect. Only one thread may: the one that `writer` belongs to.
    pub(crate) fn apply(&self, writer: &mut RecordWriter, effect: &RecordEffect<'_>) {
        let _whole = effect.is_of_many().then(|| self.gate.write());
        if let RecordEffect::Clear = effect {
            let garbage = self.clear();
            return writer.note_clear(garbage);
        }
        effect.for_each(|key, change| match change {
            Change::Remove => self.remove(writer, key),
            // An expiry of what is not there: a file that is newer than the log's record held a
            // later state ([RECORDFILE-6]).
            Change::SetExpiry(_) if self.stored(key).is_none() => {}
            change => self.change(writer, key, &change),
        });
    }

    /// Puts a record that a file holds in the place of what is under its key.
    pub(crate) fn restore(&self, writer: &mut RecordWriter, key: &[u8], record: Option<Record>) {
        match record {
            None => self.remove(writer, key),
            Some(new) => self.update(writer, key, |record, _| *record = new),
        }
    }

    fn change(&self, writer: &mut RecordWriter, key: &[u8], change: &Change<'_>) {
        self.update(writer, key, |record, scratch| record.change(change, scratch));
    }

    fn update(
        &self,
        writer: &mut RecordWriter,
        key: &[u8],
        change: impl FnOnce(&mut Record, &mut Vec<u8>),
    ) {
        let hash = self.hash(key);
        let mut shard = self.shards[self.shard_of(hash)].write();
        let slot = shard.entry(hash, |entry| *entry.key == *key, |entry| entry.hash);
        let (mut taken, is_new) = match slot {
            Slot::Occupied(taken) => (taken, false),
            Slot::Vacant(free) => {
                let (key, record) = (Key::from(key), Record::empty());
                (free.insert(Entry { hash, key, record, listed_in: LISTED_NOWHERE }), true)
            }
        };
        let entry = taken.get_mut();
        let before = (entry.record.heap_bytes(), entry.record.expires_ms);
        change(&mut entry.record, writer.scratch());
        let after = (entry.record.heap_bytes(), entry.record.expires_ms);
        if entry.listed_in != writer.listing() {
            entry.listed_in = writer.listing();
            writer.list(&entry.key);
        }
        if is_new || before.1 != after.1 {
            let key = entry.key.clone();
            drop(shard);
            self.note_expiry(&key, before.1, after.1);
            if is_new {
                self.note_new(writer, key);
            }
        }
        self.bytes.fetch_add(bytes_u64(after.0), Ordering::Relaxed);
        // A new record was empty and not counted before.
        let less = if is_new { 0 } else { before.0 };
        self.bytes.fetch_sub(bytes_u64(less), Ordering::Relaxed);
    }

    fn note_new(&self, writer: &RecordWriter, key: Key) {
        self.bytes.fetch_add(fixed_bytes(&key), Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
        if !writer.is_loading() {
            self.order.write().insert(key);
        }
    }

    /// Puts all keys in order, once files have filled the table.
    pub(crate) fn make_order(&self) {
        let mut keys = Vec::new();
        for shard in &self.shards {
            keys.extend(shard.read().iter().map(|entry| entry.key.clone()));
        }
        keys.sort_unstable();
        *self.order.write() = keys.into_iter().collect();
    }

    fn note_expiry(&self, key: &Key, before: i64, after: i64) {
        if before == after {
            return;
        }
        let mut expiries = self.expiries.write();
        if before != NEVER && expiries.remove(&(before, key.clone())) {
            self.bytes.fetch_sub(EXPIRY_BYTES, Ordering::Relaxed);
        }
        if after != NEVER && expiries.insert((after, key.clone())) {
            self.bytes.fetch_add(EXPIRY_BYTES, Ordering::Relaxed);
        }
    }

    fn remove(&self, writer: &mut RecordWriter, key: &[u8]) {
        let hash = self.hash(key);
        let mut shard = self.shards[self.shard_of(hash)].write();
        let Ok(found) = shard.find_entry(hash, |entry| *entry.key == *key) else {
            return;
        };
        let (entry, _) = found.remove();
        drop(shard);
        self.note_expiry(&entry.key, entry.record.expires_ms, NEVER);
        self.order.write().remove(&*entry.key);
        self.count.fetch_sub(1, Ordering::Relaxed);
        let bytes = fixed_bytes(&entry.key) + bytes_u64(entry.record.heap_bytes());
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        writer.list(&entry.key);
    }

    /// Removes all records, and hands them over.
    pub(crate) fn clear(&self) -> Garbage {
        let tables = self.shards.iter().map(|shard| std::mem::take(&mut *shard.write()));
        let garbage = tables.collect();
        drop(std::mem::take(&mut *self.order.write()));
        drop(std::mem::take(&mut *self.expiries.write()));
        self.count.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        garbage
    }

    fn hash(&self, key: &[u8]) -> u64 {
        hash_entity(self.hash_seed, NO_VIEW, key)
    }

    /// By bits that the tables themselves look at last: they tell entries apart by the highest
    /// seven, and find places by the lowest.
    fn shard_of(&self, hash: u64) -> usize {
        index((hash >> SHARD_SHIFT) % bytes_u64(SHARDS))
    }
}

impl std::fmt::Debug for RecordTable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} records", self.count.load(Ordering::Relaxed))
    }
}

/// No view has this id: keys are hashed apart from entities.
const NO_VIEW: ViewId = ViewId(u32::MAX);
const SHARDS: usize = 1 << 10;
const SHARD_SHIFT: u32 = 40;
/// No overlay begins here.
const LISTED_NOWHERE: u64 = u64::MAX;
/// What a key takes in the set of those that expire: a node of it is two thirds full.
const EXPIRY_BYTES: u64 = 48;
/// What a record takes in its shard, which is two thirds full, and its key in the sorted set.
const ENTRY_BYTES: usize = (size_of::<Entry>() + size_of::<Key>()) * 3 / 2;

fn fixed_bytes(key: &Key) -> u64 {
    bytes_u64(ENTRY_BYTES + key.heap_bytes())
}

fn entry_bytes(key: &Key, record: &Record) -> u64 {
    let expiry = if record.expires_ms == NEVER { 0 } else { EXPIRY_BYTES };
    fixed_bytes(key) + bytes_u64(record.heap_bytes()) + expiry
}
