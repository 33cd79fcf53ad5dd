//! Owns the overlay (memtable): recent writes per entity, in shards with a short lock each. Every
//! (overlay, view) pair has one layout: a view that gets a new one freezes the overlay first.
//! Knows nothing of logs, segments or windows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::hash_map::Entry as MapEntry;
use hashbrown::{HashMap, HashTable};
use parking_lot::RwLock;
use smallvec::SmallVec;
use tilekv_tile::{Accumulator, Layout, Scalar};
use tilekv_wal::Lsn;

use crate::catalog::{LayoutId, View, ViewId};
use crate::codec::index;
use crate::content::StoredTile;
use crate::ranges::add_range;

/// What the overlay holds of one entity in one view.
#[derive(Debug)]
pub(crate) struct Entry {
    hash: u64,
    pub(crate) view: ViewId,
    /// Short ones lie in the entry itself, so that comparing them loads no other memory.
    pub(crate) entity: SmallVec<[u8; INLINE_ENTITY_BYTES]>,
    /// What the accumulators below are laid out by.
    pub(crate) layout: Arc<Layout>,
    /// Disjoint half-open ranges, ascending, in which older sources are hidden.
    pub(crate) clears: Vec<(i64, i64)>,
    /// Ascending by start.
    pub(crate) tiles: Vec<StoredTile>,
    /// The start of each tile: a search among these loads few lines of memory.
    starts: SmallVec<[i64; INLINE_START_COUNT]>,
    /// Whether any of the tiles is, or was, a `Base`.
    pub(crate) has_base: bool,
}

impl Entry {
    /// The hash that found the entry's shard.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// The positions of the tiles with `from <= start < to`.
    pub(crate) fn between(&self, from: i64, to: i64) -> std::ops::Range<usize> {
        let first = self.starts.partition_point(|&start| start < from);
        let last = self.starts.partition_point(|&start| start < to);
        first..last.max(first)
    }

    fn tile(&mut self, start: i64, layout: &Layout) -> (&mut StoredTile, bool) {
        // Most events belong to the newest tile.
        let at = match self.starts.last() {
            Some(&last) if last < start => self.starts.len(),
            Some(&last) if last == start => self.starts.len() - 1,
            _ => self.starts.partition_point(|&known| known < start),
        };
        let is_new = self.starts.get(at) != Some(&start);
        if is_new {
            let tile = StoredTile { start, base: false, accumulator: layout.empty() };
            self.tiles.insert(at, tile);
            self.starts.insert(at, start);
        }
        (&mut self.tiles[at], is_new)
    }
}

/// How much one view holds in an overlay.
#[derive(Debug, Clone)]
pub(crate) struct OverlayView {
    pub(crate) layout_id: LayoutId,
    pub(crate) layout: Arc<Layout>,
    /// The tile size in milliseconds.
    pub(crate) span: i64,
}

#[derive(Debug, Default)]
struct Shard {
    entries: HashTable<Entry>,
}

/// Recent writes of all views.
#[derive(Debug)]
pub(crate) struct Overlay {
    /// The first LSN that this overlay may hold.
    pub(crate) first_lsn: Lsn,
    shards: Box<[RwLock<Shard>]>,
    /// Guards which views this overlay holds, and under which layout.
    views: RwLock<HashMap<ViewId, OverlayView>>,
    bytes: AtomicUsize,
    entries: AtomicUsize,
    tiles: AtomicUsize,
}

impl Overlay {
    /// An empty overlay for writes from `first_lsn` on.
    pub(crate) fn new(first_lsn: Lsn) -> Self {
        Self {
            first_lsn,
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            views: RwLock::default(),
            bytes: AtomicUsize::new(0),
            entries: AtomicUsize::new(0),
            tiles: AtomicUsize::new(0),
        }
    }

    /// About how many bytes of memory the entries take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How many tiles there are.
    pub(crate) fn tiles(&self) -> usize {
        self.tiles.load(Ordering::Relaxed)
    }

    /// Whether nothing was ever written here.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.load(Ordering::Relaxed) == 0
    }

    /// The layout under which this overlay holds the view, if it holds any of it.
    pub(crate) fn view(&self, view: ViewId) -> Option<OverlayView> {
        self.views.read().get(&view).cloned()
    }

    /// Runs `read` on the entry, under its shard's lock.
    pub(crate) fn with_entry<R>(
        &self,
        hash: u64,
        view: ViewId,
        entity: &[u8],
        read: impl FnOnce(&Entry) -> R,
    ) -> Option<R> {
        if self.is_empty() {
            return None;
        }
        let shard = self.shard(hash).read();
        let entry = shard.entries.find(hash, |entry| is_entry(entry, view, entity))?;
        Some(read(entry))
    }

    /// Calls `visit` with every entry, shard by shard, in no particular order.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&Entry)) {
        for shard in &self.shards {
            shard.read().entries.iter().for_each(&mut visit);
        }
    }

    /// Adds a row to the tile that starts at `start`.
    pub(crate) fn add_row(
        &self,
        hash: u64,
        view: &View,
        entity: &[u8],
        start: i64,
        timestamp: i64,
        cells: &[Option<Scalar<'_>>],
    ) {
        let layout = view.layout();
        self.update(hash, view, entity, |entry| {
            let (tile, is_new) = entry.tile(start, layout);
            let before = tile.accumulator.heap_bytes();
            layout.add_row(&mut tile.accumulator, timestamp, cells);
            let after = tile.accumulator.heap_bytes();
            if is_new { Growth::tile(after) } else { Growth::change(before, after) }
        });
    }

    /// Sets (`base`) or merges a whole tile.
    pub(crate) fn put_tile(
        &self,
        hash: u64,
        view: &View,
        entity: &[u8],
        start: i64,
        base: bool,
        accumulator: &Accumulator,
    ) {
        let layout = view.layout();
        self.update(hash, view, entity, |entry| {
            entry.has_base |= base;
            let (tile, is_new) = entry.tile(start, layout);
            let before = tile.accumulator.heap_bytes();
            if base {
                tile.base = true;
                tile.accumulator = accumulator.clone();
            } else {
                layout.merge(&mut tile.accumulator, accumulator);
            }
            let after = tile.accumulator.heap_bytes();
            if is_new { Growth::tile(after) } else { Growth::change(before, after) }
        });
    }

    /// Removes the entity's tiles with `from <= start < to`, here and in every older source.
    pub(crate) fn clear(&self, hash: u64, view: &View, entity: &[u8], from: i64, to: i64) {
        self.update(hash, view, entity, |entry| {
            let gone = entry.between(from, to);
            let mut growth = Growth::default();
            entry.starts.drain(gone.clone());
            for tile in entry.tiles.drain(gone) {
                growth.less_bytes += tile_bytes(tile.accumulator.heap_bytes());
                growth.less_tiles += 1;
            }
            add_range(&mut entry.clears, from, to);
            growth.more_bytes += size_of::<(i64, i64)>();
            growth
        });
    }

    fn update(
        &self,
        hash: u64,
        view: &View,
        entity: &[u8],
        change: impl FnOnce(&mut Entry) -> Growth,
    ) {
        let mut shard = self.shard(hash).write();
        let slot =
            shard.entries.entry(hash, |entry| is_entry(entry, view.id, entity), |entry| entry.hash);
        let (growth, is_new) = match slot {
            hashbrown::hash_table::Entry::Occupied(mut slot) => (change(slot.get_mut()), false),
            hashbrown::hash_table::Entry::Vacant(slot) => {
                let entry = Entry {
                    hash,
                    view: view.id,
                    entity: SmallVec::from_slice(entity),
                    layout: Arc::clone(view.layout()),
                    clears: Vec::new(),
                    tiles: Vec::new(),
                    starts: SmallVec::new(),
                    has_base: false,
                };
                (change(slot.insert(entry).into_mut()), true)
            }
        };
        drop(shard);
        self.account(growth);
        if is_new {
            let spilled = if INLINE_ENTITY_BYTES < entity.len() { entity.len() } else { 0 };
            self.bytes.fetch_add(size_of::<Entry>() + spilled, Ordering::Relaxed);
            self.entries.fetch_add(1, Ordering::Relaxed);
            self.note_view(view);
        }
    }

    fn note_view(&self, view: &View) {
        if self.views.read().contains_key(&view.id) {
            return;
        }
        if let MapEntry::Vacant(slot) = self.views.write().entry(view.id) {
            slot.insert(OverlayView {
                layout_id: view.layout_id(),
                layout: Arc::clone(view.layout()),
                span: view.span(),
            });
        }
    }

    fn account(&self, growth: Growth) {
        self.bytes.fetch_add(growth.more_bytes, Ordering::Relaxed);
        self.bytes.fetch_sub(growth.less_bytes, Ordering::Relaxed);
        self.tiles.fetch_add(growth.more_tiles, Ordering::Relaxed);
        self.tiles.fetch_sub(growth.less_tiles, Ordering::Relaxed);
    }

    fn shard(&self, hash: u64) -> &RwLock<Shard> {
        // The table tells entries apart by the highest 7 bits before it compares them, and finds
        // their place by the lowest: neither may be the same throughout a shard.
        &self.shards[index(hash >> 40) % SHARDS]
    }
}

/// Bytes of an entity that an entry holds without memory of its own.
const INLINE_ENTITY_BYTES: usize = 24;

/// Tile starts that an entry holds without memory of its own.
const INLINE_START_COUNT: usize = 4;

const SHARDS: usize = 128;

#[derive(Debug, Default, Clone, Copy)]
struct Growth {
    more_bytes: usize,
    less_bytes: usize,
    more_tiles: usize,
    less_tiles: usize,
}

impl Growth {
    fn tile(heap_bytes: usize) -> Self {
        Self { more_bytes: tile_bytes(heap_bytes), more_tiles: 1, ..Self::default() }
    }

    fn change(before: usize, after: usize) -> Self {
        Self { more_bytes: after, less_bytes: before, ..Self::default() }
    }
}

fn tile_bytes(heap_bytes: usize) -> usize {
    size_of::<StoredTile>() + size_of::<i64>() + heap_bytes
}

fn is_entry(entry: &Entry, view: ViewId, entity: &[u8]) -> bool {
    entry.view == view && *entry.entity == *entity
}
