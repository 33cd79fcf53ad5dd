//! Owns segments: sealed, sorted files of tile blocks with an index of 8-byte slots beside them
//! (docs/format/segment.md). Knows nothing of overlays, windows or the log's records.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use smallvec::SmallVec;
use tilekv_tile::{Block, Layout};
use tilekv_wal::Disk;

use crate::catalog::{Catalog, LayoutId, ViewId};
use crate::codec::{FieldError, Fields, bytes_u64, index, small_index};
use crate::content::{Content, StoredTile};
use crate::error::EngineError;
use crate::ranges::TimeRange;

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
}

/// One entity's block, or one time chunk of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunk<'a> {
    pub(crate) view: ViewId,
    pub(crate) entity: &'a [u8],
    pub(crate) block: &'a [u8],
    /// Whether the next entry is a later chunk of the same entity ([SEGMENT-2]).
    continues: bool,
    /// Where the next entry of the file starts.
    next: usize,
}

impl Chunk<'_> {
    /// Whether the next entry is a later chunk of the same entity.
    pub(crate) fn continues(&self) -> bool {
        self.continues
    }
}

/// A sealed file of tile blocks, checked and held in memory.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) id: SegmentId,
    /// The file up to its index.
    data: Box<[u8]>,
    slots: Box<[u64]>,
    views: HashMap<ViewId, SegmentView>,
    file_bytes: u64,
}

impl Segment {
    /// Reads the file of `id`, checking every checksum and every block. `catalog` tells the
    /// layouts; views that it does not know were dropped and are passed over.
    pub(crate) fn open(
        disk: &dyn Disk,
        id: SegmentId,
        catalog: &Catalog,
    ) -> Result<Self, EngineError> {
        let name = id.file_name();
        let file = disk.open(&name)?;
        let mut image = vec![0; index(file.len()?)];
        file.read_at(0, &mut image)?;
        Self::from_image(id, image, catalog)
    }

    /// A segment from the bytes of its file.
    pub(crate) fn from_image(
        id: SegmentId,
        image: Vec<u8>,
        catalog: &Catalog,
    ) -> Result<Self, EngineError> {
        Loader { id, image: &image }.load(catalog)
    }

    /// The bytes of the segment's file.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// How the segment holds the view, if it does.
    pub(crate) fn view(&self, view: ViewId) -> Option<&SegmentView> {
        self.views.get(&view)
    }

    /// Every view that the segment holds and that still exists.
    pub(crate) fn views(&self) -> impl Iterator<Item = (ViewId, &SegmentView)> {
        self.views.iter().map(|(id, view)| (*id, view))
    }

    /// The first chunk of the entity.
    pub(crate) fn find(&self, hash: u64, view: ViewId, entity: &[u8]) -> Option<Chunk<'_>> {
        if self.slots.is_empty() {
            return None;
        }
        let mut at = slot_home(hash, self.slots.len());
        loop {
            let slot = self.slots[at];
            if slot == EMPTY_SLOT {
                return None;
            }
            if slot >> OFFSET_BITS == hash & TAG_MASK {
                let chunk = self.chunk_at(index(slot & OFFSET_MASK));
                if chunk.view == view && chunk.entity == entity {
                    return Some(chunk);
                }
            }
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
    }

    /// Looks up several entities of one view, a stage at a time over all of them: the loads of a
    /// stage do not depend on each other, so that their memory latencies overlap.
    pub(crate) fn find_group<'a>(
        &'a self,
        view: ViewId,
        keys: &[(u64, &[u8])],
        found: &mut SmallVec<[Option<Chunk<'a>>; GROUP_KEYS_MAX]>,
    ) {
        let mut homes = [EMPTY_SLOT; GROUP_KEYS_MAX];
        assert!(keys.len() <= homes.len(), "a group of at most {GROUP_KEYS_MAX} keys");
        if !self.slots.is_empty() {
            for (home, (hash, _)) in homes.iter_mut().zip(keys) {
                *home = self.slots[slot_home(*hash, self.slots.len())];
            }
        }
        let touched = homes.iter().fold(0, |touched, home| {
            let at = index(home & OFFSET_MASK);
            touched ^ self.data.get(at).copied().unwrap_or(0)
        });
        std::hint::black_box(touched);
        found.extend(keys.iter().map(|(hash, entity)| self.find(*hash, view, entity)));
    }

    /// The later chunk of the same entity, if there is one.
    pub(crate) fn next_chunk(&self, chunk: &Chunk<'_>) -> Option<Chunk<'_>> {
        chunk.continues.then(|| self.chunk_at(chunk.next))
    }

    /// The first entry of the file.
    pub(crate) fn first_entry(&self) -> Option<Chunk<'_>> {
        self.entry_from(HEADER_BYTES + PAGE_HEAD_BYTES)
    }

    /// The entry that follows `chunk` in the file: a later chunk or another entity.
    pub(crate) fn next_entry(&self, chunk: &Chunk<'_>) -> Option<Chunk<'_>> {
        self.entry_from(chunk.next)
    }

    /// Everything the segment holds of the entity whose first chunk is `chunk`, and the last of
    /// its chunks.
    pub(crate) fn content<'a>(&'a self, chunk: Chunk<'a>) -> (Content, Chunk<'a>) {
        let mut content = Content::default();
        let Some(view) = self.views.get(&chunk.view) else {
            return (content, self.last_chunk(chunk));
        };
        let mut chunk = chunk;
        loop {
            let block = self.block(&chunk, view);
            content.clears.extend(block.clears());
            content.tiles.extend(stored_tiles(&block, 0..block.len()));
            match self.next_chunk(&chunk) {
                Some(next) => chunk = next,
                None => return (content, chunk),
            }
        }
    }

    /// The decoded block of a chunk.
    pub(crate) fn block<'a>(&self, chunk: &Chunk<'a>, view: &'a SegmentView) -> Block<'a> {
        match Block::parse_again(chunk.block, &view.layout, view.span) {
            Ok(block) => block,
            Err(error) => unreachable!("a block that was checked when it was loaded: {error}"),
        }
    }

    fn last_chunk<'a>(&'a self, mut chunk: Chunk<'a>) -> Chunk<'a> {
        while let Some(next) = self.next_chunk(&chunk) {
            chunk = next;
        }
        chunk
    }

    fn entry_from(&self, offset: usize) -> Option<Chunk<'_>> {
        (offset < self.data.len()).then(|| self.chunk_at(offset))
    }

    fn chunk_at(&self, offset: usize) -> Chunk<'_> {
        match parse_chunk(&self.data, offset) {
            Some(chunk) => chunk,
            None => unreachable!("an entry that was checked when it was loaded"),
        }
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
/// The entry's entity goes on in the next entry.
pub(crate) const FLAG_CONTINUES: u16 = 1;
/// The entry is the last of its page ([SEGMENT-3]).
pub(crate) const FLAG_PAGE_END: u16 = 2;
/// Entities that [`Segment::find_group`] takes at once.
pub(crate) const GROUP_KEYS_MAX: usize = 16;
/// A slot that holds nothing.
pub(crate) const EMPTY_SLOT: u64 = 0;

const OFFSET_BITS: u32 = 40;
const OFFSET_MASK: u64 = (1 << OFFSET_BITS) - 1;
const TAG_MASK: u64 = (1 << (64 - OFFSET_BITS)) - 1;

/// The slot of an entry: the hash's low 24 bits as a tag, and where the entry starts
/// ([SEGMENT-5]).
pub(crate) fn slot_of(hash: u64, offset: usize) -> u64 {
    let offset = bytes_u64(offset);
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

fn parse_chunk(data: &[u8], offset: usize) -> Option<Chunk<'_>> {
    let mut fields = Fields::new(data.get(offset..)?);
    let view = ViewId(fields.u32().ok()?);
    let key_len = usize::from(fields.u16().ok()?);
    let flags = fields.u16().ok()?;
    let block_len = small_index(fields.u32().ok()?);
    let entity = fields.take(key_len).ok()?;
    let block = fields.take(block_len).ok()?;
    let end = offset + ENTRY_HEAD_BYTES + key_len + block_len;
    let gap = if flags & FLAG_PAGE_END == 0 { 0 } else { PAGE_HEAD_BYTES };
    Some(Chunk { view, entity, block, continues: flags & FLAG_CONTINUES != 0, next: end + gap })
}

/// Reads the ranges that a segment clears of a view: ascending and disjoint ([SEGMENT-11]).
fn decode_ranges(fields: &mut Fields<'_>) -> Result<Vec<TimeRange>, FieldError> {
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

struct Loader<'a> {
    id: SegmentId,
    image: &'a [u8],
}

struct Footer {
    index_offset: usize,
    slot_count: usize,
    table_offset: usize,
    table_len: usize,
}

impl Loader<'_> {
    fn load(&self, catalog: &Catalog) -> Result<Segment, EngineError> {
        self.check_header()?;
        let footer = self.footer()?;
        let views = self.views(&footer, catalog)?;
        let slots = self.slots(&footer)?;
        let data = &self.image[..footer.index_offset];
        self.check_pages(data, &views)?;
        Ok(Segment {
            id: self.id,
            data: data.into(),
            slots,
            views,
            file_bytes: bytes_u64(self.image.len()),
        })
    }

    fn check_header(&self) -> Result<(), EngineError> {
        let head = self.image.get(..HEADER_BYTES).ok_or_else(|| self.corrupt(0, "no header"))?;
        self.check_crc(head, 0, "header")?;
        let mut fields = Fields::new(head);
        let (magic, version) = (fields.take(8), fields.u32());
        if magic != Ok(MAGIC) {
            return Err(self.corrupt(0, "no segment magic"));
        }
        // [SEGMENT-8]
        if version != Ok(VERSION) {
            return Err(EngineError::NewerFormat {
                file: self.id.file_name(),
                found: version.unwrap_or(0),
                expected: VERSION,
            });
        }
        let _reserved = fields.u32();
        match fields.u64() {
            Ok(id) if id == self.id.0 => Ok(()),
            _ => Err(self.corrupt(16, "the header names another segment")),
        }
    }

    fn footer(&self) -> Result<Footer, EngineError> {
        let at = self.image.len().checked_sub(FOOTER_BYTES).filter(|&at| HEADER_BYTES <= at);
        let at = at.ok_or_else(|| self.corrupt(self.image.len(), "no footer"))?;
        let bytes = &self.image[at..];
        self.check_crc(bytes, at, "footer")?;
        let mut fields = Fields::new(bytes);
        let mut read = || fields.u64().map(index).map_err(|error| self.corrupt(at, error));
        let (index_offset, slot_count) = (read()?, read()?);
        let (table_offset, table_len) = (read()?, read()?);
        let table_fits = table_offset.checked_add(table_len).is_some_and(|end| end + 4 == at);
        let index_fits = slot_count
            .checked_mul(8)
            .and_then(|bytes| bytes.checked_add(index_offset))
            .is_some_and(|end| end + 4 == table_offset);
        if !table_fits || !index_fits || index_offset < HEADER_BYTES {
            return Err(self.corrupt(at, "the footer's offsets do not fit the file"));
        }
        Ok(Footer { index_offset, slot_count, table_offset, table_len })
    }

    fn slots(&self, footer: &Footer) -> Result<Box<[u64]>, EngineError> {
        let bytes = &self.image[footer.index_offset..footer.table_offset];
        self.check_crc(bytes, footer.index_offset, "index")?;
        let (words, _crc) = bytes.split_at(footer.slot_count * 8);
        let slots: Box<[u64]> = words
            .chunks_exact(8)
            .map(|word| Fields::new(word).u64().unwrap_or(EMPTY_SLOT))
            .collect();
        let limit = bytes_u64(footer.index_offset);
        let is_outside = |slot: &u64| *slot != EMPTY_SLOT && limit <= *slot & OFFSET_MASK;
        let is_full = !slots.is_empty() && !slots.contains(&EMPTY_SLOT);
        if is_full || slots.iter().any(is_outside) {
            return Err(self.corrupt(footer.index_offset, "the index does not fit the file"));
        }
        Ok(slots)
    }

    fn views(
        &self,
        footer: &Footer,
        catalog: &Catalog,
    ) -> Result<HashMap<ViewId, SegmentView>, EngineError> {
        let at = footer.table_offset;
        let bytes = &self.image[at..at + footer.table_len + 4];
        self.check_crc(bytes, at, "view table")?;
        let mut fields = Fields::new(&bytes[..footer.table_len]);
        let mut views = HashMap::new();
        while !fields.rest().is_empty() {
            let mut read = || -> Result<_, FieldError> {
                let id = (ViewId(fields.u32()?), LayoutId(fields.u16()?));
                let (tiles, _entities) = (fields.u64()?, fields.u64()?);
                Ok((id, tiles, decode_ranges(&mut fields)?))
            };
            let ((id, layout_id), tiles, cleared) =
                read().map_err(|error| self.corrupt(at, error))?;
            let Some(view) = catalog.view(id) else {
                continue;
            };
            let layout = view.layouts.get(usize::from(layout_id.0));
            let layout = layout.ok_or_else(|| self.corrupt(at, "an unknown layout"))?;
            let (layout, span) = (Arc::clone(layout), view.span());
            views.insert(id, SegmentView { layout_id, layout, span, tiles, cleared });
        }
        Ok(views)
    }

    fn check_pages(
        &self,
        data: &[u8],
        views: &HashMap<ViewId, SegmentView>,
    ) -> Result<(), EngineError> {
        let mut at = HEADER_BYTES;
        while at < data.len() {
            let mut fields = Fields::new(&data[at..]);
            let mut head = || Ok((small_index(fields.u32()?), fields.u32()?));
            let (len, crc) = head().map_err(|error: FieldError| self.corrupt(at, error))?;
            let payload = fields.take(len).map_err(|error| self.corrupt(at, error))?;
            if crc32fast::hash(payload) != crc {
                return Err(self.corrupt(at, "a page's checksum does not match"));
            }
            let start = at + PAGE_HEAD_BYTES;
            at = start + len;
            self.check_entries(&data[..at], start, views)?;
        }
        Ok(())
    }

    fn check_entries(
        &self,
        data: &[u8],
        start: usize,
        views: &HashMap<ViewId, SegmentView>,
    ) -> Result<(), EngineError> {
        let mut at = start;
        while at < data.len() {
            let chunk = parse_chunk(data, at)
                .ok_or_else(|| self.corrupt(at, "an entry reaches beyond its page"))?;
            if let Some(view) = views.get(&chunk.view) {
                Block::parse(chunk.block, &view.layout, view.span)
                    .map_err(|error| self.corrupt(at, error))?;
            }
            at = chunk.next;
        }
        let is_last_of_page = at == data.len() + PAGE_HEAD_BYTES;
        if is_last_of_page { Ok(()) } else { Err(self.corrupt(at, "a page without its end")) }
    }

    /// Checks a part that ends with its checksum ([SEGMENT-4]).
    fn check_crc(&self, bytes: &[u8], at: usize, what: &str) -> Result<(), EngineError> {
        let (body, stored) = bytes.split_at(bytes.len() - 4);
        if crc32fast::hash(body).to_le_bytes() == *stored {
            return Ok(());
        }
        Err(self.corrupt(at, format!("the {what}'s checksum does not match")))
    }

    fn corrupt(&self, offset: usize, what: impl ToString) -> EngineError {
        EngineError::Corrupt {
            file: self.id.file_name(),
            offset: bytes_u64(offset),
            what: what.to_string(),
        }
    }
}
