//! Owns how a segment file is built: entries in order, pages, directory, index, view table,
//! footer. Pages go to disk as they are finished, so that a segment of any size is written in
//! little memory. The format is drawn in docs/format/segment.md; `segment_file` reads it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tilekv_tile::{Layout, TileRow, encode_block, floor_to};
use tilekv_wal::{Disk, DiskFile};

use crate::catalog::{Catalog, LayoutId, View, ViewId};
use crate::codec::{PutFields, bytes_u64, count_u32};
use crate::content::{Content, StoredTile};
use crate::directory::{DirectoryRow, put_row};
use crate::error::EngineError;
use crate::limits::{BLOCK_BYTES_MAX, PAGE_BYTES_MIN};
use crate::memory::Memory;
use crate::ranges::{TimeRange, add_range};
use crate::scan::Scan;
use crate::segment::{
    EMPTY_SLOT, ENTRY_HEAD_BYTES, FLAG_CONTINUES, FLAG_DIRECTORY, FLAG_PAGE_END, FOOTER_BYTES,
    HEADER_BYTES, LEVEL_SHIFT, MAGIC, PAGE_HEAD_BYTES, Segment, SegmentId, VERSION, slot_home,
    slot_of,
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
    /// The lengths of the tiles of each level, ascending, in milliseconds.
    pub(crate) levels: &'a Arc<[i64]>,
}

#[derive(Debug, Default)]
struct ViewRow {
    layout_id: u16,
    tiles: u64,
    entities: u64,
    cleared: Vec<TimeRange>,
    levels: Arc<[i64]>,
}

/// Writes the file of one segment, under a temporary name until it is whole. Entities must come
/// sorted by (view id, entity).
pub(crate) struct SegmentWriter<'a> {
    disk: &'a dyn Disk,
    id: SegmentId,
    /// The temporary file, once something was written to it.
    file: Option<Box<dyn DiskFile>>,
    /// How far the file is written, and how far synced.
    written: u64,
    synced: u64,
    /// What follows: finished pages and the open one.
    buffer: Vec<u8>,
    /// Where in the buffer the open page's head stands.
    page_at: usize,
    /// Where in the buffer the flags of the newest entry stand.
    flags_at: Option<usize>,
    /// The length of every finished page.
    page_lens: Vec<u32>,
    /// Hash and position of every entity's only entry, or of its directory.
    entries: Vec<(u64, u64)>,
    views: BTreeMap<ViewId, ViewRow>,
    block: Vec<u8>,
    /// Tiles that one block holds at most.
    block_tiles_max: usize,
    /// How many tiles the next block is tried with: what fitted last, or twice as many.
    chunk_tiles: usize,
}

impl<'a> SegmentWriter<'a> {
    /// A writer for segment `id` with at most so many tiles in a block.
    pub(crate) fn new(disk: &'a dyn Disk, id: SegmentId, block_tiles_max: usize) -> Self {
        let mut buffer = Vec::new();
        buffer.extend_from_slice(MAGIC);
        buffer.put_u32(VERSION);
        buffer.put_u32(0);
        buffer.put_u64(id.0);
        buffer.put_u32(0);
        put_crc(&mut buffer, 0);
        assert_eq!(buffer.len(), HEADER_BYTES, "the header has its documented length");
        let page_at = buffer.len();
        buffer.extend_from_slice(&[0; PAGE_HEAD_BYTES]);
        Self {
            disk,
            id,
            file: None,
            written: 0,
            synced: 0,
            buffer,
            page_at,
            flags_at: None,
            page_lens: Vec::new(),
            entries: Vec::new(),
            views: BTreeMap::new(),
            block: Vec::new(),
            block_tiles_max,
            chunk_tiles: block_tiles_max,
        }
    }

    /// Appends everything that is held of one entity; nothing where there is nothing.
    pub(crate) fn add(
        &mut self,
        view: WriterView<'_>,
        hash: u64,
        entity: &[u8],
        content: &Content,
    ) -> Result<(), EngineError> {
        if content.is_empty() {
            return Ok(());
        }
        let row = self.views.entry(view.id).or_default();
        // Entities that only older sources hold come under older layouts, which are prefixes.
        row.layout_id = row.layout_id.max(view.layout_id.0);
        row.levels.clone_from(view.levels);
        row.entities += 1;
        row.tiles += bytes_u64(content.tiles.len());
        let taken = self.encode_chunk(view.layout, view.span, &content.clears, &content.tiles);
        let at = if taken == content.tiles.len() {
            self.put_entry(view.id, entity, 0)?
        } else {
            self.put_chunks(view, entity, content, taken)?
        };
        self.entries.push((hash, at));
        Ok(())
    }

    /// Puts an entity of several chunks, the first of `taken` tiles encoded: its tiles, its levels
    /// and then its directory, whose position it returns ([SEGMENT-2]).
    fn put_chunks(
        &mut self,
        view: WriterView<'_>,
        entity: &[u8],
        content: &Content,
        mut taken: usize,
    ) -> Result<u64, EngineError> {
        let mut directory = Vec::new();
        let mut tiles = &content.tiles[..];
        let mut has_clears = !content.clears.is_empty();
        while !tiles.is_empty() {
            if taken == 0 {
                taken = self.encode_chunk(view.layout, view.span, &[], tiles);
            }
            let (chunk, rest) = tiles.split_at(taken);
            self.put_listed(view, entity, 0, chunk, has_clears, &mut directory)?;
            (tiles, taken, has_clears) = (rest, 0, false);
        }
        self.put_levels(view, entity, &content.tiles, &mut directory)?;
        self.block = directory;
        self.put_entry(view.id, entity, FLAG_DIRECTORY)
    }

    /// Puts the levels of an entity that make a window cheaper: those with at most half as many
    /// tiles as the level below ([SEGMENT-14]).
    fn put_levels(
        &mut self,
        view: WriterView<'_>,
        entity: &[u8],
        tiles: &[StoredTile],
        directory: &mut Vec<u8>,
    ) -> Result<(), EngineError> {
        let mut below: Option<Vec<StoredTile>> = None;
        for (&span, level) in view.levels.iter().zip(1_u8..) {
            let finer = below.as_deref().unwrap_or(tiles);
            let coarser = merge_to(finer, span, view.layout);
            if finer.len() < coarser.len() * 2 {
                continue;
            }
            let mut rest = &coarser[..];
            while !rest.is_empty() {
                let taken = self.encode_chunk(view.layout, span, &[], rest);
                let (chunk, behind) = rest.split_at(taken);
                self.put_listed(view, entity, level, chunk, false, directory)?;
                rest = behind;
            }
            below = Some(coarser);
        }
        Ok(())
    }

    /// Puts the encoded block of `tiles` and lists it in the directory.
    fn put_listed(
        &mut self,
        view: WriterView<'_>,
        entity: &[u8],
        level: u8,
        tiles: &[StoredTile],
        has_clears: bool,
        directory: &mut Vec<u8>,
    ) -> Result<(), EngineError> {
        let flags = FLAG_CONTINUES | u16::from(level) << LEVEL_SHIFT;
        let offset = self.put_entry(view.id, entity, flags)?;
        let span = match level {
            0 => view.span,
            level => view.levels[usize::from(level) - 1],
        };
        let (Some(first), Some(last)) = (tiles.first(), tiles.last()) else {
            unreachable!("a listed block has tiles");
        };
        let row = DirectoryRow {
            from: first.start,
            to: last.start + span,
            offset,
            level,
            has_clears,
            has_bases: tiles.iter().any(|tile| tile.base),
        };
        put_row(directory, &row);
        Ok(())
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

    /// Ends the file and makes it and its name durable ([SEGMENT-10]); false if nothing was added
    /// or cleared: then there is no file.
    pub(crate) fn finish(mut self) -> Result<bool, EngineError> {
        if self.views.is_empty() {
            return Ok(false);
        }
        self.close_page()?;
        self.buffer.truncate(self.page_at);
        self.put_directory()?;
        let index_offset = self.position();
        let slots = self.put_index()?;
        let table_offset = self.position();
        let table_len = self.put_view_table();
        let footer_at = self.buffer.len();
        let entities = bytes_u64(self.entries.len());
        for position in [index_offset, slots, table_offset, table_len, entities] {
            self.buffer.put_u64(position);
        }
        self.buffer.put_u64(bytes_u64(self.page_lens.len()));
        for _reserved in 0..2 {
            self.buffer.put_u64(0);
        }
        self.buffer.extend_from_slice(MAGIC);
        self.buffer.put_u32(0);
        put_crc(&mut self.buffer, footer_at);
        assert_eq!(self.buffer.len() - footer_at, FOOTER_BYTES, "the footer's documented length");
        self.write_out(self.buffer.len())?;
        if let Some(file) = &self.file {
            file.sync()?;
        }
        self.disk.rename(&self.temporary_name(), &self.id.file_name())?;
        self.disk.sync_folder()?;
        Ok(true)
    }

    /// Encodes as many of `tiles` as one block takes; returns how many.
    fn encode_chunk(
        &mut self,
        layout: &Layout,
        span: i64,
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
            encode_block(layout, span, clears, &rows, &mut self.block);
            if self.block.len() <= BLOCK_BYTES_MAX || count <= 1 {
                if self.block.len() <= BLOCK_BYTES_MAX / 2 && self.chunk_tiles <= count {
                    self.chunk_tiles = (2 * count).min(self.block_tiles_max);
                }
                return count;
            }
            count = (count / 2).max(1);
            self.chunk_tiles = count;
        }
    }

    fn put_entry(&mut self, view: ViewId, entity: &[u8], flags: u16) -> Result<u64, EngineError> {
        let payload = self.buffer.len() - self.page_at - PAGE_HEAD_BYTES;
        let entry = ENTRY_HEAD_BYTES + entity.len() + self.block.len();
        if 0 < payload && PAGE_BYTES_MIN < payload + entry {
            self.close_page()?;
        }
        let at = self.position();
        self.buffer.put_u32(view.0);
        let Ok(key_len) = u16::try_from(entity.len()) else {
            unreachable!("an entity is at most 65,535 bytes");
        };
        self.buffer.put_u16(key_len);
        self.flags_at = Some(self.buffer.len());
        self.buffer.put_u16(flags);
        self.buffer.put_u32(count_u32(self.block.len()));
        self.buffer.extend_from_slice(entity);
        self.buffer.extend_from_slice(&self.block);
        Ok(at)
    }

    /// Where the next byte will stand in the file.
    fn position(&self) -> u64 {
        self.written + bytes_u64(self.buffer.len())
    }

    fn close_page(&mut self) -> Result<(), EngineError> {
        let Some(flags_at) = self.flags_at.take() else {
            return Ok(());
        };
        let flags = u16::from_le_bytes([self.buffer[flags_at], self.buffer[flags_at + 1]]);
        let flags = (flags | FLAG_PAGE_END).to_le_bytes();
        self.buffer[flags_at..flags_at + 2].copy_from_slice(&flags);
        let payload = &self.buffer[self.page_at + PAGE_HEAD_BYTES..];
        let (len, crc) = (count_u32(payload.len()), crc32fast::hash(payload));
        self.buffer[self.page_at..self.page_at + 4].copy_from_slice(&len.to_le_bytes());
        self.buffer[self.page_at + 4..self.page_at + 8].copy_from_slice(&crc.to_le_bytes());
        self.page_lens.push(len);
        self.page_at = self.buffer.len();
        if WRITE_BYTES <= self.page_at {
            self.write_out(self.page_at)?;
            self.page_at = 0;
        }
        self.buffer.extend_from_slice(&[0; PAGE_HEAD_BYTES]);
        Ok(())
    }

    /// The length of every page ([SEGMENT-12]).
    fn put_directory(&mut self) -> Result<(), EngineError> {
        let lens = std::mem::take(&mut self.page_lens);
        self.put_part(lens.iter().map(|len| len.to_le_bytes()))?;
        self.page_lens = lens;
        Ok(())
    }

    /// The slots, and how many there are ([SEGMENT-6]).
    fn put_index(&mut self) -> Result<u64, EngineError> {
        let count = if self.entries.is_empty() { 0 } else { self.entries.len() * 10 / 7 + 1 };
        let mut slots = vec![EMPTY_SLOT; count];
        for &(hash, offset) in &self.entries {
            let mut at = slot_home(hash, count);
            while slots[at] != EMPTY_SLOT {
                at = if at + 1 == count { 0 } else { at + 1 };
            }
            slots[at] = slot_of(hash, offset);
        }
        self.put_part(slots.iter().map(|slot| slot.to_le_bytes()))?;
        Ok(bytes_u64(count))
    }

    /// Puts words and their checksum, writing out what has gathered.
    fn put_part<const N: usize>(
        &mut self,
        words: impl Iterator<Item = [u8; N]>,
    ) -> Result<(), EngineError> {
        let mut crc = crc32fast::Hasher::new();
        let mut summed = self.buffer.len();
        for word in words {
            self.buffer.extend_from_slice(&word);
            if WRITE_BYTES <= self.buffer.len() {
                crc.update(&self.buffer[summed..]);
                self.write_out(self.buffer.len())?;
                summed = 0;
            }
        }
        crc.update(&self.buffer[summed..]);
        self.buffer.put_u32(crc.finalize());
        Ok(())
    }

    fn put_view_table(&mut self) -> u64 {
        let from = self.buffer.len();
        for (id, row) in &self.views {
            self.buffer.put_u32(id.0);
            self.buffer.put_u16(row.layout_id);
            self.buffer.put_u64(row.tiles);
            self.buffer.put_u64(row.entities);
            self.buffer.put_u32(count_u32(row.cleared.len()));
            for &(from, to) in &row.cleared {
                self.buffer.put_i64(from);
                self.buffer.put_i64(to);
            }
            self.buffer.put_u32(count_u32(row.levels.len()));
            row.levels.iter().for_each(|level| self.buffer.put_i64(*level));
        }
        let len = bytes_u64(self.buffer.len() - from);
        put_crc(&mut self.buffer, from);
        len
    }

    /// Writes the first `len` bytes of the buffer to the file.
    fn write_out(&mut self, len: usize) -> Result<(), EngineError> {
        let name = self.temporary_name();
        let file = match self.file.take() {
            Some(file) => file,
            None => self.disk.create(&name)?,
        };
        for piece in self.buffer[..len].chunks(WRITE_BYTES) {
            file.write_at(self.written, piece)?;
            self.written += bytes_u64(piece.len());
        }
        // In between as well: else the last sync would have the whole file to write, and the
        // log's syncs would wait behind it.
        if SYNC_BYTES <= self.written - self.synced {
            file.sync()?;
            self.synced = self.written;
        }
        self.file = Some(file);
        self.buffer.drain(..len);
        Ok(())
    }

    fn temporary_name(&self) -> String {
        format!("{}.tmp", self.id.file_name())
    }
}

/// The tiles merged to ones of length `span`.
fn merge_to(tiles: &[StoredTile], span: i64, layout: &Layout) -> Vec<StoredTile> {
    let mut merged: Vec<StoredTile> = Vec::new();
    for tile in tiles {
        let start = floor_to(tile.start, span);
        match merged.last_mut().filter(|last| last.start == start) {
            Some(last) => layout.merge(&mut last.accumulator, &tile.accumulator),
            None => {
                let accumulator = tile.accumulator.clone();
                merged.push(StoredTile { start, base: false, accumulator });
            }
        }
    }
    merged
}

/// Where a segment is written, and what its contents are judged by.
#[derive(Clone, Copy)]
pub(crate) struct SegmentTarget<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) memory: &'a Arc<Memory>,
    /// Views that it does not know were dropped and are left out.
    pub(crate) catalog: &'a Catalog,
    pub(crate) hash_seed: u64,
}

/// Writes everything that `scan` meets, changed by `change`, with `writer` to a durable segment,
/// whose data stays on disk. None where nothing is left to write.
pub(crate) fn write_scan(
    target: SegmentTarget<'_>,
    mut writer: SegmentWriter<'_>,
    mut scan: Scan<'_>,
    mut change: impl FnMut(&View, &mut Content),
) -> Result<Option<Segment>, EngineError> {
    while let Some(mut scanned) = scan.next_entity()? {
        let Some(view) = target.catalog.view(scanned.view) else {
            continue;
        };
        change(view, &mut scanned.content);
        let written = WriterView {
            id: scanned.view,
            layout_id: scanned.layout_id,
            layout: &scanned.layout,
            span: scanned.span,
            levels: &view.levels,
        };
        let hash = hash_entity(target.hash_seed, scanned.view, &scanned.entity);
        writer.add(written, hash, &scanned.entity, &scanned.content)?;
    }
    let id = writer.id();
    if !writer.finish()? {
        return Ok(None);
    }
    Segment::open(target.disk, target.memory, id, target.catalog).map(Some)
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

const WRITE_BYTES: usize = 1 << 20;
const SYNC_BYTES: u64 = 32 << 20;

fn put_crc(buffer: &mut Vec<u8>, from: usize) {
    let crc = crc32fast::hash(&buffer[from..]);
    buffer.put_u32(crc);
}
