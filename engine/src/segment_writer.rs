//! Owns how a segment file is built: entries in order, pages, index, view table, footer. The
//! format is drawn in docs/format/segment.md; `segment` reads it.

use std::collections::BTreeMap;

use tilekv_tile::{Layout, TileRow, encode_block};
use tilekv_wal::Disk;

use crate::catalog::{Catalog, LayoutId, View, ViewId};
use crate::codec::{PutFields, bytes_u64, count_u32};
use crate::content::{Content, StoredTile};
use crate::error::EngineError;
use crate::limits::{BLOCK_BYTES_MAX, BLOCK_TILE_COUNT_MAX, PAGE_BYTES_MIN};
use crate::ranges::{TimeRange, add_range};
use crate::scan::Scan;
use crate::segment::{
    EMPTY_SLOT, ENTRY_HEAD_BYTES, FLAG_CONTINUES, FLAG_PAGE_END, FOOTER_BYTES, HEADER_BYTES, MAGIC,
    PAGE_HEAD_BYTES, Segment, SegmentId, VERSION, slot_home, slot_of,
};
use crate::version::hash_entity;

/// How the entities of one view are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriterView<'a> {
    pub(crate) id: ViewId,
    pub(crate) layout_id: LayoutId,
    pub(crate) layout: &'a Layout,
    /// The tile size in milliseconds.
    pub(crate) span: i64,
}

#[derive(Debug, Default)]
struct ViewRow {
    layout_id: u16,
    tiles: u64,
    entities: u64,
    cleared: Vec<TimeRange>,
}

/// Builds the bytes of one segment. Entities must come sorted by (view id, entity).
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    id: SegmentId,
    image: Vec<u8>,
    /// Where the open page's head stands.
    page_at: usize,
    /// Where the flags of the newest entry stand.
    flags_at: Option<usize>,
    /// Hash and position of every entity's first entry.
    entries: Vec<(u64, usize)>,
    views: BTreeMap<ViewId, ViewRow>,
    block: Vec<u8>,
    /// How many tiles the next block is tried with: what fitted last, or twice as many.
    chunk_tiles: usize,
}

impl SegmentWriter {
    /// A writer for segment `id`.
    pub(crate) fn new(id: SegmentId) -> Self {
        let mut image = Vec::new();
        image.extend_from_slice(MAGIC);
        image.put_u32(VERSION);
        image.put_u32(0);
        image.put_u64(id.0);
        image.put_u32(0);
        put_crc(&mut image, 0);
        assert_eq!(image.len(), HEADER_BYTES, "the header has its documented length");
        let page_at = image.len();
        image.extend_from_slice(&[0; PAGE_HEAD_BYTES]);
        Self {
            id,
            image,
            page_at,
            flags_at: None,
            entries: Vec::new(),
            views: BTreeMap::new(),
            block: Vec::new(),
            chunk_tiles: BLOCK_TILE_COUNT_MAX,
        }
    }

    /// Appends everything that is held of one entity; nothing where there is nothing.
    pub(crate) fn add(
        &mut self,
        view: WriterView<'_>,
        hash: u64,
        entity: &[u8],
        content: &Content,
    ) {
        if content.is_empty() {
            return;
        }
        let row = self.views.entry(view.id).or_default();
        // Entities that only older sources hold come under older layouts, which are prefixes.
        row.layout_id = row.layout_id.max(view.layout_id.0);
        row.entities += 1;
        row.tiles += bytes_u64(content.tiles.len());
        let mut clears = &content.clears[..];
        let mut tiles = &content.tiles[..];
        let mut is_first = true;
        while is_first || !tiles.is_empty() {
            let taken = self.encode_chunk(view, clears, tiles);
            tiles = &tiles[taken..];
            clears = &[];
            let at = self.put_entry(view.id, entity, !tiles.is_empty());
            if is_first {
                self.entries.push((hash, at));
            }
            is_first = false;
        }
    }

    /// The id of the segment.
    pub(crate) fn id(&self) -> SegmentId {
        self.id
    }

    /// Hides `[from, to)` of every entity of the view in older sources.
    pub(crate) fn clear_view(&mut self, view: ViewId, layout: LayoutId, (from, to): TimeRange) {
        let row = self.views.entry(view).or_default();
        row.layout_id = row.layout_id.max(layout.0);
        add_range(&mut row.cleared, from, to);
    }

    /// Whether nothing was added or cleared.
    pub(crate) fn is_empty(&self) -> bool {
        self.views.is_empty()
    }

    /// Ends the segment and returns the bytes of its file.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.close_page();
        self.image.truncate(self.page_at);
        let index_offset = self.image.len();
        let slots = self.put_index();
        put_crc(&mut self.image, index_offset);
        let table_offset = self.image.len();
        for (id, row) in &self.views {
            self.image.put_u32(id.0);
            self.image.put_u16(row.layout_id);
            self.image.put_u64(row.tiles);
            self.image.put_u64(row.entities);
            self.image.put_u32(count_u32(row.cleared.len()));
            for &(from, to) in &row.cleared {
                self.image.put_i64(from);
                self.image.put_i64(to);
            }
        }
        let table_len = self.image.len() - table_offset;
        put_crc(&mut self.image, table_offset);
        let footer_at = self.image.len();
        for position in [index_offset, slots, table_offset, table_len, self.entries.len()] {
            self.image.put_u64(bytes_u64(position));
        }
        for _reserved in 0..3 {
            self.image.put_u64(0);
        }
        self.image.extend_from_slice(MAGIC);
        self.image.put_u32(0);
        put_crc(&mut self.image, footer_at);
        assert_eq!(self.image.len() - footer_at, FOOTER_BYTES, "the footer's documented length");
        self.image
    }

    /// Encodes as many of `tiles` as one block takes; returns how many.
    fn encode_chunk(
        &mut self,
        view: WriterView<'_>,
        clears: &[(i64, i64)],
        tiles: &[StoredTile],
    ) -> usize {
        let mut count = tiles.len().min(self.chunk_tiles);
        loop {
            let rows: Vec<TileRow<'_>> = tiles[..count]
                .iter()
                .map(|tile| TileRow {
                    start: tile.start,
                    base: tile.base,
                    accumulator: &tile.accumulator,
                })
                .collect();
            self.block.clear();
            encode_block(view.layout, view.span, clears, &rows, &mut self.block);
            if self.block.len() <= BLOCK_BYTES_MAX || count <= 1 {
                if self.block.len() <= BLOCK_BYTES_MAX / 2 && self.chunk_tiles <= count {
                    self.chunk_tiles = (2 * count).min(BLOCK_TILE_COUNT_MAX);
                }
                return count;
            }
            count = (count / 2).max(1);
            self.chunk_tiles = count;
        }
    }

    fn put_entry(&mut self, view: ViewId, entity: &[u8], continues: bool) -> usize {
        let payload = self.image.len() - self.page_at - PAGE_HEAD_BYTES;
        let entry = ENTRY_HEAD_BYTES + entity.len() + self.block.len();
        if 0 < payload && PAGE_BYTES_MIN < payload + entry {
            self.close_page();
        }
        let at = self.image.len();
        self.image.put_u32(view.0);
        let Ok(key_len) = u16::try_from(entity.len()) else {
            unreachable!("an entity is at most 65,535 bytes");
        };
        self.image.put_u16(key_len);
        self.flags_at = Some(self.image.len());
        self.image.put_u16(if continues { FLAG_CONTINUES } else { 0 });
        self.image.put_u32(count_u32(self.block.len()));
        self.image.extend_from_slice(entity);
        self.image.extend_from_slice(&self.block);
        at
    }

    fn close_page(&mut self) {
        let Some(flags_at) = self.flags_at.take() else {
            return;
        };
        let flags = u16::from_le_bytes([self.image[flags_at], self.image[flags_at + 1]]);
        let flags = (flags | FLAG_PAGE_END).to_le_bytes();
        self.image[flags_at..flags_at + 2].copy_from_slice(&flags);
        let payload = &self.image[self.page_at + PAGE_HEAD_BYTES..];
        let (len, crc) = (count_u32(payload.len()), crc32fast::hash(payload));
        self.image[self.page_at..self.page_at + 4].copy_from_slice(&len.to_le_bytes());
        self.image[self.page_at + 4..self.page_at + 8].copy_from_slice(&crc.to_le_bytes());
        self.page_at = self.image.len();
        self.image.extend_from_slice(&[0; PAGE_HEAD_BYTES]);
    }

    fn put_index(&mut self) -> usize {
        let count = if self.entries.is_empty() { 0 } else { self.entries.len() * 20 / 17 + 1 };
        let mut slots = vec![EMPTY_SLOT; count];
        for &(hash, offset) in &self.entries {
            let mut at = slot_home(hash, count);
            while slots[at] != EMPTY_SLOT {
                at = if at + 1 == count { 0 } else { at + 1 };
            }
            slots[at] = slot_of(hash, offset);
        }
        slots.iter().for_each(|slot| self.image.put_u64(*slot));
        count
    }
}

/// Where a segment is written, and what its contents are judged by.
#[derive(Clone, Copy)]
pub(crate) struct SegmentTarget<'a> {
    pub(crate) disk: &'a dyn Disk,
    /// Views that it does not know were dropped and are left out.
    pub(crate) catalog: &'a Catalog,
    pub(crate) hash_seed: u64,
}

/// Writes everything that `scan` meets, changed by `change`, with `writer` to a durable segment.
/// None where nothing is left to write.
pub(crate) fn write_scan(
    target: SegmentTarget<'_>,
    mut writer: SegmentWriter,
    mut scan: Scan<'_>,
    mut change: impl FnMut(&View, &mut Content),
) -> Result<Option<Segment>, EngineError> {
    while let Some(mut scanned) = scan.next_entity() {
        let Some(view) = target.catalog.view(scanned.view) else {
            continue;
        };
        change(view, &mut scanned.content);
        let written = WriterView {
            id: scanned.view,
            layout_id: scanned.layout_id,
            layout: &scanned.layout,
            span: scanned.span,
        };
        let hash = hash_entity(target.hash_seed, scanned.view, &scanned.entity);
        writer.add(written, hash, &scanned.entity, &scanned.content);
    }
    if writer.is_empty() {
        return Ok(None);
    }
    let id = writer.id();
    let image = writer.finish();
    write_segment(target.disk, id, &image)?;
    Segment::from_image(id, image, target.catalog).map(Some)
}

/// Writes `image` as the file of segment `id` and makes file and name durable ([SEGMENT-10]).
fn write_segment(disk: &dyn Disk, id: SegmentId, image: &[u8]) -> Result<(), EngineError> {
    let name = id.file_name();
    let temporary = format!("{name}.tmp");
    let file = disk.create(&temporary)?;
    let mut offset = 0;
    for piece in image.chunks(WRITE_BYTES_MAX) {
        file.write_at(offset, piece)?;
        offset += bytes_u64(piece.len());
    }
    file.sync()?;
    disk.rename(&temporary, &name)?;
    disk.sync_folder()?;
    Ok(())
}

/// Removes the file of segment `id`, whole or half written, where there is one.
pub(crate) fn remove_segment(disk: &dyn Disk, id: SegmentId) -> Result<(), EngineError> {
    let name = id.file_name();
    for name in [format!("{name}.tmp"), name] {
        if disk.exists(&name)? {
            disk.remove(&name)?;
        }
    }
    Ok(())
}

const WRITE_BYTES_MAX: usize = 1 << 20;

fn put_crc(image: &mut Vec<u8>, from: usize) {
    let crc = crc32fast::hash(&image[from..]);
    image.put_u32(crc);
}
