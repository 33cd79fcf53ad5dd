//! Owns the pages of cold segments in memory: a bounded cache, the pages that one request holds
//! on to, and the request for those that must come from disk. Knows nothing of what pages hold.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use elsa::FrozenBTreeMap;
use foldhash::fast::FixedState;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

use crate::codec::bytes_u64;
use crate::error::EngineError;
use crate::segment::SegmentId;
use crate::segment_file::SegmentFile;

/// What a read came to that never waits for the disk.
#[derive(Debug)]
pub enum ReadOutcome<T> {
    /// The answer.
    Ready(T),
    /// Pages must come from disk first; then the read is to be asked again.
    Needs(PageRequest),
}

/// Pages that a read needs from disk, beside those that it holds already.
#[derive(Debug)]
pub struct PageRequest {
    pinned: PinnedPages,
}

/// Pages that one request holds: whatever the cache evicts, they stay until it is answered.
#[derive(Default)]
pub struct PinnedPages {
    pages: FrozenBTreeMap<PageKey, Arc<[u8]>>,
    missing: RefCell<BTreeMap<PageKey, Arc<SegmentFile>>>,
}

/// Which page of which segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PageKey {
    pub(crate) segment: SegmentId,
    /// The page's position in its file.
    pub(crate) page: u32,
}

/// Counts of what cold reads have done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PageCounters {
    /// Pages read from disk.
    pub pages_read: u64,
    /// Their bytes.
    pub bytes_read: u64,
    /// Pages that failed their checks when they were read.
    pub pages_damaged: u64,
}

/// Pages that were read lately, up to a weight in bytes.
pub(crate) struct PageCache {
    pages: Cache<PageKey, Arc<[u8]>, PageWeight, FixedState>,
    pages_read: AtomicU64,
    bytes_read: AtomicU64,
    pages_damaged: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
struct PageWeight;

impl<T> ReadOutcome<T> {
    /// The same outcome with another answer.
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> ReadOutcome<U> {
        match self {
            Self::Ready(answer) => ReadOutcome::Ready(change(answer)),
            Self::Needs(request) => ReadOutcome::Needs(request),
        }
    }
}

impl PageRequest {
    /// How many pages must be read.
    #[must_use]
    pub fn page_count(&self) -> usize {
        self.pinned.missing.borrow().len()
    }

    /// Reads the pages from disk and checks them. The read that is asked again with what comes
    /// back finds all of them, however small the cache is.
    ///
    /// # Errors
    /// A page is damaged, or the disk failed.
    pub fn load(self) -> Result<PinnedPages, EngineError> {
        let pinned = self.pinned;
        for (key, file) in pinned.missing.take() {
            pinned.pages.insert(key, file.load_page(key.page)?);
        }
        Ok(pinned)
    }
}

impl PinnedPages {
    /// The page, if it is in memory; else it is noted as missing.
    pub(crate) fn page(&self, file: &Arc<SegmentFile>, page: u32) -> Option<&[u8]> {
        let key = PageKey { segment: file.id, page };
        if let Some(pinned) = self.pages.get(&key) {
            return Some(pinned);
        }
        if let Some(cached) = file.cache().get(key) {
            return Some(self.pages.insert(key, cached));
        }
        self.missing.borrow_mut().insert(key, Arc::clone(file));
        None
    }

    /// Whether a page was asked for that is not in memory.
    pub(crate) fn is_missing_any(&self) -> bool {
        !self.missing.borrow().is_empty()
    }

    /// The outcome of a read with these pages. There is an answer where no page was missing.
    pub(crate) fn outcome<T>(self, answer: Option<T>) -> ReadOutcome<T> {
        if self.is_missing_any() {
            return ReadOutcome::Needs(PageRequest { pinned: self });
        }
        match answer {
            Some(answer) => ReadOutcome::Ready(answer),
            None => unreachable!("only missing pages keep a read from its answer"),
        }
    }

    /// Asks again and again, reading on this thread what is missing, until there is an answer.
    ///
    /// # Errors
    /// What `ask` or the disk says.
    pub fn read_in_place<T>(
        mut ask: impl FnMut(Self) -> Result<ReadOutcome<T>, EngineError>,
    ) -> Result<T, EngineError> {
        let mut pinned = Self::default();
        loop {
            match ask(pinned)? {
                ReadOutcome::Ready(answer) => return Ok(answer),
                ReadOutcome::Needs(request) => pinned = request.load()?,
            }
        }
    }
}

impl std::fmt::Debug for PinnedPages {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let missing = self.missing.borrow().len();
        write!(formatter, "{} pages pinned, {missing} missing", self.pages.len())
    }
}

impl PageCache {
    /// A cache for `bytes_max` bytes of pages.
    pub(crate) fn new(bytes_max: u64) -> Self {
        // A page larger than a shard is not kept, so that a small cache has one shard only.
        let shards = if bytes_max < SHARDED_BYTES_MIN { 1 } else { SHARDS };
        let items = usize::try_from(bytes_max / PAGE_BYTES_USUAL).unwrap_or(usize::MAX);
        let options = OptionsBuilder::new()
            .shards(shards)
            .estimated_items_capacity(items.clamp(1, ITEMS_EXPECTED_MAX))
            .weight_capacity(bytes_max)
            .build();
        let Ok(options) = options else { unreachable!("every needed option is given") };
        Self {
            pages: Cache::with_options(
                options,
                PageWeight,
                FixedState::default(),
                DefaultLifecycle::default(),
            ),
            pages_read: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
            pages_damaged: AtomicU64::new(0),
        }
    }

    /// The page, if it is here.
    pub(crate) fn get(&self, key: PageKey) -> Option<Arc<[u8]>> {
        self.pages.get(&key)
    }

    /// Keeps a page that was read and checked.
    pub(crate) fn insert(&self, key: PageKey, page: &Arc<[u8]>) {
        self.pages_read.fetch_add(1, Ordering::Relaxed);
        self.bytes_read.fetch_add(bytes_u64(page.len()), Ordering::Relaxed);
        self.pages.insert(key, Arc::clone(page));
    }

    /// Counts a page that failed its checks.
    pub(crate) fn note_damaged(&self) {
        self.pages_damaged.fetch_add(1, Ordering::Relaxed);
    }

    /// Changes how many bytes are kept.
    pub(crate) fn set_bytes_max(&self, bytes_max: u64) {
        if self.pages.capacity() != bytes_max {
            self.pages.set_capacity(bytes_max);
        }
    }

    /// Bytes that are kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.pages.weight()
    }

    /// What cold reads have done.
    pub(crate) fn counters(&self) -> PageCounters {
        PageCounters {
            pages_read: self.pages_read.load(Ordering::Relaxed),
            bytes_read: self.bytes_read.load(Ordering::Relaxed),
            pages_damaged: self.pages_damaged.load(Ordering::Relaxed),
        }
    }
}

impl std::fmt::Debug for PageCache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} bytes of cached pages", self.bytes())
    }
}

impl Weighter<PageKey, Arc<[u8]>> for PageWeight {
    fn weight(&self, _: &PageKey, page: &Arc<[u8]>) -> u64 {
        bytes_u64(page.len()) + ENTRY_BYTES
    }
}

/// What a cached page takes beside its bytes: the counts of its `Arc`, its slot in the cache's
/// list and table, and what the allocator rounds up.
const ENTRY_BYTES: u64 = 160;
const SHARDED_BYTES_MIN: u64 = 64 << 20;
const SHARDS: usize = 16;
const PAGE_BYTES_USUAL: u64 = 4_096;
/// The cache's tables grow with what it holds.
const ITEMS_EXPECTED_MAX: usize = 64 << 10;
