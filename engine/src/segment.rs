//! Owns segments: sealed, sorted files of tile blocks with an index of 8-byte slots beside them
//! (docs/format/segment.md), and how entities are found in them, wherever their data is. Knows
//! nothing of overlays, windows or the log's records.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;
use tilekv_tile::{Block, Layout};
use tilekv_wal::Disk;

use crate::arena::Arena;
use crate::catalog::{Catalog, LayoutId, ViewId};
use crate::codec::{FieldError, Fields, bytes_u64, count_u32, index, small_index};
use crate::content::StoredTile;
use crate::directory::{Directory, DirectoryRow};
use crate::error::EngineError;
use crate::ledger::Reservation;
use crate::memory::{Memory, SegmentBytes};
use crate::pages::PinnedPages;
use crate::ranges::TimeRange;
use crate::segment_file::SegmentFile;

/// A segment's number in its store: names the file, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SegmentId(pub(crate) u64);

impl SegmentId {
    /// The name of the segment's file.
    pub(crate) fn file_name(self) -> String {
        format!("segment-{:016x}", self.0)
    }

    /// The id in a file name, if it is a segment's.
    pub(crate) fn from_file_name(name: &str) -> Option<Self> {
        u64::from_str_radix(name.strip_prefix("segment-")?, 16).ok().map(Self)
    }
}

/// Hands out the ids of new segments, to flushes, compactions and jobs alike.
#[derive(Debug)]
pub(crate) struct SegmentIds {
    next: AtomicU64,
}

impl SegmentIds {
    /// Ids from `first` on.
    pub(crate) fn new(first: SegmentId) -> Self {
        Self { next: AtomicU64::new(first.0) }
    }

    /// An id that was never handed out.
    pub(crate) fn next(&self) -> SegmentId {
        SegmentId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// The id that comes next.
    pub(crate) fn peek(&self) -> SegmentId {
        SegmentId(self.next.load(Ordering::Relaxed))
    }

    /// Makes all later ids greater than `used`.
    pub(crate) fn pass(&self, used: SegmentId) {
        self.next.fetch_max(used.0 + 1, Ordering::Relaxed);
    }
}

/// How a segment holds one view.
#[derive(Debug, Clone)]
pub(crate) struct SegmentView {
    pub(crate) layout_id: LayoutId,
    pub(crate) layout: Arc<Layout>,
    /// The tile size in milliseconds.
    pub(crate) span: i64,
    /// Tiles of the view in this segment.
    pub(crate) tiles: u64,
    /// Disjoint ranges, ascending, in which older sources are hidden for every entity of the view.
    pub(crate) cleared: Vec<TimeRange>,
    /// The lengths of the tiles of each level, ascending, in milliseconds.
    pub(crate) levels: Vec<i64>,
}

/// One entity's block, or one time chunk of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunk<'a> {
    pub(crate) view: ViewId,
    pub(crate) entity: &'a [u8],
    pub(crate) block: &'a [u8],
    /// What the block holds.
    pub(crate) kind: ChunkKind,
    /// Whether the next entry belongs to the same entity ([SEGMENT-2]).
    pub(crate) continues: bool,
    /// Where the next entry of the file starts.
    pub(crate) next: usize,
}

impl<'a> Chunk<'a> {
    /// The directory of the entity's chunks, if this is it.
    pub(crate) fn directory(&self, view: &'a SegmentView) -> Option<Directory<'a>> {
        (self.kind == ChunkKind::Directory).then(|| Directory::new(self.block, &view.levels))
    }
}

/// What an entry's block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChunkKind {
    /// The view's own tiles.
    Tiles,
    /// Tiles of a level, 1 for the finest: each merges the segment's own tiles within its time.
    Level(u8),
    /// Where the entity's other entries are.
    Directory,
}

/// A sealed file of tile blocks. Its data is resident, checked and in memory, or cold: then its
/// pages come from disk as they are needed.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) id: SegmentId,
    file: Arc<SegmentFile>,
    resident: Option<Arc<ResidentData>>,
}

/// The file up to the end of its pages, in memory.
#[derive(Debug)]
struct ResidentData {
    bytes: Arena,
    _memory: Reservation,
}

impl Segment {
    /// Opens the file of `id` and leaves its data on disk.
    pub(crate) fn open(
        disk: &dyn Disk,
        memory: &Arc<Memory>,
        id: SegmentId,
        catalog: &Catalog,
    ) -> Result<Self, EngineError> {
        let file = SegmentFile::open(disk, memory, id, catalog)?;
        Ok(Self { id, file: Arc::new(file), resident: None })
    }

    /// The segment with its data in memory, every page checked; the segment as it is where the
    /// budget has no room for that.
    pub(crate) fn into_resident(self, thread_count: usize) -> Result<Self, EngineError> {
        if self.is_resident() {
            return Ok(self);
        }
        let Some(reservation) = self.file.memory().reserve_resident(self.data_bytes()) else {
            return Ok(self);
        };
        let bytes = self.file.load_data(thread_count)?;
        let resident = ResidentData { bytes, _memory: reservation };
        Ok(Self { resident: Some(Arc::new(resident)), ..self })
    }

    /// The segment with its data on disk only.
    pub(crate) fn to_cold(&self) -> Self {
        Self { resident: None, ..self.clone() }
    }

    /// Whether the data is in memory.
    pub(crate) fn is_resident(&self) -> bool {
        self.resident.is_some()
    }

    /// The bytes of the segment's file.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.file.file_bytes()
    }

    /// The bytes that the segment's data takes when it is resident.
    pub(crate) fn data_bytes(&self) -> u64 {
        self.file.data_bytes()
    }

    /// What the segment takes in memory.
    pub(crate) fn memory_bytes(&self) -> SegmentBytes {
        SegmentBytes { index: self.file.index_bytes(), data: self.data_bytes() }
    }

    /// The segment's file, for walks over all of it.
    pub(crate) fn file(&self) -> &Arc<SegmentFile> {
        &self.file
    }

    /// The bytes of a page, its head included, if the data is in memory.
    pub(crate) fn resident_page(&self, page: usize) -> Option<&[u8]> {
        let range = self.file.page_range(page);
        self.resident.as_ref().map(|data| &data.bytes[index(range.start)..index(range.end)])
    }

    /// How the segment holds the view, if it does.
    pub(crate) fn view(&self, view: ViewId) -> Option<&SegmentView> {
        self.file.views.get(&view)
    }

    /// Every view that the segment holds and that still exists.
    pub(crate) fn views(&self) -> impl Iterator<Item = (ViewId, &SegmentView)> {
        self.file.views.iter().map(|(id, view)| (*id, view))
    }

    /// The entity's only chunk, or its directory. A page that must come from disk is noted in
    /// `pinned`, and nothing is found.
    pub(crate) fn find<'a>(
        &'a self,
        hash: u64,
        view: ViewId,
        entity: &[u8],
        pinned: &'a PinnedPages,
    ) -> Option<Chunk<'a>> {
        let slots = &*self.file.slots;
        if slots.is_empty() {
            return None;
        }
        self.find_from(slot_home(hash, slots.len()), hash, view, entity, pinned)
    }

    /// Looks up several entities of one view, a stage at a time over all of them: the loads of a
    /// stage do not depend on each other, so that their memory latencies overlap.
    pub(crate) fn find_group<'a>(
        &'a self,
        view: ViewId,
        keys: &[(u64, &[u8])],
        pinned: &'a PinnedPages,
        found: &mut SmallVec<[Option<Chunk<'a>>; GROUP_KEYS_MAX]>,
    ) {
        assert!(keys.len() <= GROUP_KEYS_MAX, "a group of at most {GROUP_KEYS_MAX} keys");
        let slots = &*self.file.slots;
        if slots.is_empty() {
            found.extend(keys.iter().map(|_| None));
            return;
        }
        let mut places = [0; GROUP_KEYS_MAX];
        let mut touched = 0;
        for (place, (hash, _)) in places.iter_mut().zip(keys) {
            *place = slot_home(*hash, slots.len());
            touched ^= slots[*place];
        }
        for (place, (hash, _)) in places.iter_mut().zip(keys) {
            *place = self.next_candidate(*hash, *place);
            touched ^= self.touch(index(slots[*place] & OFFSET_MASK));
        }
        std::hint::black_box(touched);
        found.extend(
            keys.iter()
                .zip(places)
                .map(|((hash, entity), place)| self.find_from(place, *hash, view, entity, pinned)),
        );
    }

    /// The first slot from `at` on that has the hash's tag, or is empty.
    #[inline]
    fn next_candidate(&self, hash: u64, mut at: usize) -> usize {
        let slots = &*self.file.slots;
        loop {
            let slot = slots[at];
            if slot == EMPTY_SLOT || slot >> OFFSET_BITS == hash & TAG_MASK {
                return at;
            }
            at = if at + 1 == slots.len() { 0 } else { at + 1 };
        }
    }

    /// As [`Segment::find`], from a slot on that the search comes to.
    #[inline]
    fn find_from<'a>(
        &'a self,
        mut at: usize,
        hash: u64,
        view: ViewId,
        entity: &[u8],
        pinned: &'a PinnedPages,
    ) -> Option<Chunk<'a>> {
        let slots = &*self.file.slots;
        loop {
            at = self.next_candidate(hash, at);
            if slots[at] == EMPTY_SLOT {
                return None;
            }
            let chunk = self.chunk_at(index(slots[at] & OFFSET_MASK), pinned)?;
            if chunk.view == view && chunk.entity == entity {
                return Some(chunk);
            }
            at = if at + 1 == slots.len() { 0 } else { at + 1 };
        }
    }

    /// Loads the lines of memory in which an entry and its block begin, if they are in memory.
    #[inline]
    fn touch(&self, offset: usize) -> u64 {
        let Some(data) = &self.resident else { return 0 };
        let byte = |at: usize| u64::from(data.bytes.get(at).copied().unwrap_or(0));
        byte(offset) ^ byte(offset + LINE_BYTES) ^ byte(offset + 2 * LINE_BYTES)
    }

    /// The chunk that a row of the entity's directory names. A page that must come from disk is
    /// noted in `pinned`, and nothing is found.
    pub(crate) fn chunk_of<'a>(
        &'a self,
        row: &DirectoryRow,
        pinned: &'a PinnedPages,
    ) -> Option<Chunk<'a>> {
        self.chunk_at(index(row.offset), pinned)
    }

    /// The decoded block of a chunk of tiles.
    pub(crate) fn block<'a>(&self, chunk: &Chunk<'a>, view: &'a SegmentView) -> Block<'a> {
        let span = match chunk.kind {
            ChunkKind::Level(level) => Directory::new(&[], &view.levels).span_of(level),
            ChunkKind::Tiles | ChunkKind::Directory => None,
        };
        match Block::parse_again(chunk.block, &view.layout, span.unwrap_or(view.span)) {
            Ok(block) => block,
            Err(error) => unreachable!("a block that was checked when it was loaded: {error}"),
        }
    }

    fn chunk_at<'a>(&'a self, offset: usize, pinned: &'a PinnedPages) -> Option<Chunk<'a>> {
        let bytes = self.bytes_from(offset, pinned)?;
        match parse_chunk(bytes, offset) {
            Some(chunk) => Some(chunk),
            None => unreachable!("an entry that was checked when it was loaded"),
        }
    }

    /// The bytes of the file from `offset` on, at least to the end of their page; none if they
    /// must come from disk first.
    fn bytes_from<'a>(&'a self, offset: usize, pinned: &'a PinnedPages) -> Option<&'a [u8]> {
        match &self.resident {
            Some(data) => Some(&data.bytes[offset..]),
            None => self.cold_bytes_from(offset, pinned),
        }
    }

    fn cold_bytes_from<'a>(&'a self, offset: usize, pinned: &'a PinnedPages) -> Option<&'a [u8]> {
        let page = self.file.page_of(bytes_u64(offset));
        let bytes = pinned.page(&self.file, count_u32(page))?;
        let skipped = offset - index(self.file.page_range(page).start);
        Some(&bytes[skipped..])
    }
}

/// The tiles of a block at the positions of `range`.
pub(crate) fn stored_tiles(
    block: &Block<'_>,
    range: Range<usize>,
) -> impl Iterator<Item = StoredTile> {
    let accumulators = block.accumulators(range.clone());
    range.zip(accumulators).map(|(tile, accumulator)| StoredTile {
        start: block.start(tile),
        base: block.is_base(tile),
        accumulator,
    })
}

/// The bytes of a file's head: magic, version, id, CRC.
pub(crate) const HEADER_BYTES: usize = 32;
/// The bytes before each page's payload: its length and CRC.
pub(crate) const PAGE_HEAD_BYTES: usize = 8;
/// The bytes before each entry's key: view, key length, flags, block length.
pub(crate) const ENTRY_HEAD_BYTES: usize = 12;
/// The bytes of a file's end.
pub(crate) const FOOTER_BYTES: usize = 80;
/// What a segment file begins and ends with.
pub(crate) const MAGIC: &[u8; 8] = b"TKVSEGMT";
/// The version of the format that this code writes.
pub(crate) const VERSION: u32 = 1;
/// The next entry belongs to the same entity.
pub(crate) const FLAG_CONTINUES: u16 = 1;
/// The entry is the last of its page ([SEGMENT-3]).
pub(crate) const FLAG_PAGE_END: u16 = 2;
/// The entry's block is a directory.
pub(crate) const FLAG_DIRECTORY: u16 = 4;
/// The bits of the flags above which the level of the block's tiles stands.
pub(crate) const LEVEL_SHIFT: u32 = 8;
/// Entities that [`Segment::find_group`] takes at once.
pub(crate) const GROUP_KEYS_MAX: usize = 16;
/// Bytes of a line of memory, the unit of loading.
const LINE_BYTES: usize = 64;
/// A slot that holds nothing.
pub(crate) const EMPTY_SLOT: u64 = 0;

const OFFSET_BITS: u32 = 40;
/// The bits of a slot that say where an entry starts.
pub(crate) const OFFSET_MASK: u64 = (1 << OFFSET_BITS) - 1;
const TAG_MASK: u64 = (1 << (64 - OFFSET_BITS)) - 1;

/// The slot of an entry: the hash's low 24 bits as a tag, and where the entry starts
/// ([SEGMENT-5]).
pub(crate) fn slot_of(hash: u64, offset: u64) -> u64 {
    assert!(offset <= OFFSET_MASK, "a segment is at most 1 TiB");
    (hash & TAG_MASK) << OFFSET_BITS | offset
}

/// Where the search for `hash` begins in a table of `slots` ([SEGMENT-6]).
pub(crate) fn slot_home(hash: u64, slots: usize) -> usize {
    let scaled = (u128::from(hash) * u128::from(bytes_u64(slots))) >> 64;
    let Ok(home) = usize::try_from(scaled) else {
        unreachable!("less than the number of slots");
    };
    home
}

/// The entry at the start of `bytes`, which stand for the file from `offset` on.
pub(crate) fn parse_chunk(bytes: &[u8], offset: usize) -> Option<Chunk<'_>> {
    let mut fields = Fields::new(bytes);
    let view = ViewId(fields.u32().ok()?);
    let key_len = usize::from(fields.u16().ok()?);
    let flags = fields.u16().ok()?;
    let block_len = small_index(fields.u32().ok()?);
    let entity = fields.take(key_len).ok()?;
    let block = fields.take(block_len).ok()?;
    let end = offset + ENTRY_HEAD_BYTES + key_len + block_len;
    let gap = if flags & FLAG_PAGE_END == 0 { 0 } else { PAGE_HEAD_BYTES };
    let kind = match u8::try_from(flags >> LEVEL_SHIFT).ok()? {
        _ if flags & FLAG_DIRECTORY != 0 => ChunkKind::Directory,
        0 => ChunkKind::Tiles,
        level => ChunkKind::Level(level),
    };
    let continues = flags & FLAG_CONTINUES != 0;
    Some(Chunk { view, entity, block, kind, continues, next: end + gap })
}

/// Reads the lengths of a view's level tiles: ascending, none of them 0.
pub(crate) fn decode_levels(fields: &mut Fields<'_>) -> Result<Vec<i64>, FieldError> {
    let count = fields.u32()?;
    let levels = (0..count).map(|_| fields.i64()).collect::<Result<Vec<i64>, FieldError>>()?;
    let ascends = levels.is_sorted_by(|one, next| one < next);
    let is_positive = levels.first().is_none_or(|first| 0 < *first);
    if ascends && is_positive { Ok(levels) } else { Err(FieldError::Value("levels")) }
}

/// Reads the ranges that a segment clears of a view: ascending and disjoint ([SEGMENT-11]).
pub(crate) fn decode_ranges(fields: &mut Fields<'_>) -> Result<Vec<TimeRange>, FieldError> {
    let mut ranges: Vec<TimeRange> = Vec::new();
    for _ in 0..fields.u32()? {
        let range = (fields.i64()?, fields.i64()?);
        let follows = ranges.last().is_none_or(|last| last.1 < range.0);
        if range.1 <= range.0 || !follows {
            return Err(FieldError::Value("cleared range"));
        }
        ranges.push(range);
    }
    Ok(ranges)
}
