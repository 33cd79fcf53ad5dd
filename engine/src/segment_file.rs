//! Owns the sealed file of a segment: how it is opened and checked, its index, view table and page
//! directory, and how its pages come from disk (docs/format/segment.md). Knows nothing of where
//! the data is kept or of what is looked up in it.

use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashMap;
use tilekv_tile::Block;
use tilekv_wal::{Disk, DiskFile};

use crate::arena::{Arena, ArenaMut};
use crate::catalog::{Catalog, LayoutId, ViewId};
use crate::codec::{FieldError, Fields, bytes_u64, index, small_index};
use crate::directory::Directory;
use crate::error::EngineError;
use crate::ledger::{MemoryUse, Reservation};
use crate::memory::Memory;
use crate::pages::{PageCache, PageKey};
use crate::segment::{
    Chunk, ChunkKind, EMPTY_SLOT, FOOTER_BYTES, HEADER_BYTES, MAGIC, OFFSET_MASK, PAGE_HEAD_BYTES,
    SegmentId, SegmentView, VERSION, decode_levels, decode_ranges, parse_chunk,
};

/// A sealed file, and what of it is always in memory.
pub(crate) struct SegmentFile {
    pub(crate) id: SegmentId,
    pub(crate) slots: Box<[u64]>,
    pub(crate) views: HashMap<ViewId, SegmentView>,
    /// Where each page starts in the file, and where the last one ends.
    page_starts: Box<[u64]>,
    file: Box<dyn DiskFile>,
    file_bytes: u64,
    memory: Arc<Memory>,
    /// What slots and page starts take.
    _index: Reservation,
}

impl SegmentFile {
    /// Opens the file of `id` and reads and checks everything but its pages. `catalog` tells the
    /// layouts; views that it does not know were dropped and are passed over.
    pub(crate) fn open(
        disk: &dyn Disk,
        memory: &Arc<Memory>,
        id: SegmentId,
        catalog: &Catalog,
    ) -> Result<Self, EngineError> {
        let file = disk.open(&id.file_name())?;
        let file_bytes = file.len()?;
        let reader = Opener { id, file: &*file, file_bytes };
        reader.check_header()?;
        let footer = reader.footer()?;
        let views = reader.views(&footer, catalog)?;
        let page_starts = reader.page_starts(&footer)?;
        let slots = reader.slots(&footer)?;
        let index_bytes = size_of_val(&*page_starts) + size_of_val(&*slots);
        Ok(Self {
            id,
            slots,
            views,
            page_starts,
            file,
            file_bytes,
            _index: memory.take(MemoryUse::Index, bytes_u64(index_bytes)),
            memory: Arc::clone(memory),
        })
    }

    /// The bytes of the whole file.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// The bytes of the file up to the end of its pages: what a resident segment takes.
    pub(crate) fn data_bytes(&self) -> u64 {
        self.page_starts.last().copied().unwrap_or(0)
    }

    /// The bytes that the index and the page directory take in memory.
    pub(crate) fn index_bytes(&self) -> u64 {
        bytes_u64(size_of_val(&*self.page_starts) + size_of_val(&*self.slots))
    }

    /// How many pages there are.
    pub(crate) fn page_count(&self) -> usize {
        self.page_starts.len() - 1
    }

    /// Where a page lies in the file, its head included.
    pub(crate) fn page_range(&self, page: usize) -> Range<u64> {
        self.page_starts[page]..self.page_starts[page + 1]
    }

    /// The page that holds the byte at `offset`, which lies in the file's pages.
    pub(crate) fn page_of(&self, offset: u64) -> usize {
        self.page_starts.partition_point(|start| *start <= offset) - 1
    }

    /// The cache that this file's pages go through.
    pub(crate) fn cache(&self) -> &PageCache {
        self.memory.cache()
    }

    /// The ledger and the cache that the file's memory is taken from.
    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Reads a page from disk, checks it and puts it into the cache.
    pub(crate) fn load_page(&self, page: u32) -> Result<Arc<[u8]>, EngineError> {
        let range = self.page_range(small_index(page));
        let mut bytes = vec![0; index(range.end - range.start)];
        let read =
            self.read(range.start, &mut bytes).and_then(|()| self.check_page(&bytes, range.start));
        if let Err(error) = read {
            self.cache().note_damaged();
            return Err(error);
        }
        let page_bytes: Arc<[u8]> = bytes.into();
        self.cache().insert(PageKey { segment: self.id, page }, &page_bytes);
        Ok(page_bytes)
    }

    /// Reads all pages into memory, on `thread_count` threads, and checks each.
    pub(crate) fn load_data(&self, thread_count: usize) -> Result<Arena, EngineError> {
        let mut arena = ArenaMut::new(index(self.data_bytes()))?;
        let mut rest = arena.bytes();
        let page_count = self.page_count();
        let mut parts = Vec::new();
        let mut at = 0;
        for part in 1..=thread_count.max(1) {
            let first = page_count * (part - 1) / thread_count.max(1);
            let end = page_count * part / thread_count.max(1);
            let until = self.page_starts[end];
            let (bytes, behind) = rest.split_at_mut(index(until - at));
            rest = behind;
            parts.push((first..end, at, bytes));
            at = until;
        }
        std::thread::scope(|scope| {
            let mut own = None;
            let mut others = Vec::new();
            for (pages, at, bytes) in parts {
                if own.is_none() {
                    own = Some((pages, at, bytes));
                } else {
                    others.push(scope.spawn(move || self.load_part(pages, at, bytes)));
                }
            }
            let mut loaded = match own {
                Some((pages, at, bytes)) => self.load_part(pages, at, bytes),
                None => Ok(()),
            };
            for other in others {
                let Ok(other) = other.join() else { unreachable!("loading does not panic") };
                loaded = loaded.and(other);
            }
            loaded
        })?;
        arena.freeze()
    }

    /// Reads `pages` into `bytes`, which stand for the file from `at` on.
    fn load_part(&self, pages: Range<usize>, at: u64, bytes: &mut [u8]) -> Result<(), EngineError> {
        let mut read_to = at;
        let mut first = pages.start;
        while first < pages.end {
            let run = self.run_of_pages(first..pages.end);
            let end = self.page_starts[run.end];
            let piece = &mut bytes[index(read_to - at)..index(end - at)];
            self.read(read_to, piece)?;
            for page in run.clone() {
                let range = self.page_range(page);
                let page = index(range.start - read_to)..index(range.end - read_to);
                self.check_page(&piece[page], range.start)?;
            }
            // The copy in memory is the one that is read from now on.
            self.file.forget(read_to, end - read_to);
            read_to = end;
            first = run.end;
        }
        Ok(())
    }

    /// As many of `pages` as one read takes; at least one.
    pub(crate) fn run_of_pages(&self, pages: Range<usize>) -> Range<usize> {
        let limit = self.page_starts[pages.start] + READ_BYTES_MAX;
        let fitting = &self.page_starts[pages.start + 1..=pages.end];
        let count = fitting.partition_point(|end| *end <= limit).max(1);
        pages.start..pages.start + count
    }

    /// Reads bytes of the file; what goes wrong is wrong with this segment only.
    pub(crate) fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), EngineError> {
        let read = self.file.read_at(offset, bytes);
        read.map_err(|error| self.damaged(offset, error))
    }

    /// Says that the bytes of the file in the range are not wanted soon.
    pub(crate) fn forget(&self, range: Range<u64>) {
        self.file.forget(range.start, range.end - range.start);
    }

    /// Checks a page, its head included, that starts at `offset`: its checksum and every entry
    /// ([SEGMENT-4]).
    pub(crate) fn check_page(&self, page: &[u8], offset: u64) -> Result<(), EngineError> {
        let mut fields = Fields::new(page);
        let head = || -> Result<_, FieldError> { Ok((fields.u32()?, fields.u32()?)) };
        let (len, crc) = { head }().map_err(|error| self.damaged(offset, error))?;
        let payload = page.get(PAGE_HEAD_BYTES..).unwrap_or(&[]);
        if small_index(len) != payload.len() {
            return Err(self.damaged(offset, "a page's length is not the directory's"));
        }
        if crc32fast::hash(payload) != crc {
            return Err(self.damaged(offset, "a page's checksum does not match"));
        }
        self.check_entries(page, offset)
    }

    fn check_entries(&self, page: &[u8], offset: u64) -> Result<(), EngineError> {
        let mut at = PAGE_HEAD_BYTES;
        while at < page.len() {
            let here = offset + bytes_u64(at);
            let chunk = parse_chunk(&page[at..], at)
                .ok_or_else(|| self.damaged(here, "an entry reaches beyond its page"))?;
            if let Some(view) = self.views.get(&chunk.view) {
                self.check_block(&chunk, view, here)?;
            }
            at = chunk.next;
        }
        if at == page.len() + PAGE_HEAD_BYTES {
            return Ok(());
        }
        Err(self.damaged(offset + bytes_u64(at), "a page without its end"))
    }

    fn check_block(
        &self,
        chunk: &Chunk<'_>,
        view: &SegmentView,
        here: u64,
    ) -> Result<(), EngineError> {
        let span = match chunk.kind {
            ChunkKind::Directory => {
                let flaw = Directory::check(chunk.block, &view.levels, here);
                return flaw.map_or(Ok(()), |flaw| Err(self.damaged(here, flaw)));
            }
            ChunkKind::Tiles => Some(view.span),
            ChunkKind::Level(level) => view.levels.get(usize::from(level) - 1).copied(),
        };
        let span = span.ok_or_else(|| self.damaged(here, "a block of an unknown level"))?;
        Block::parse(chunk.block, &view.layout, span)
            .map(|_| ())
            .map_err(|error| self.damaged(here, error))
    }

    fn damaged(&self, offset: u64, what: impl ToString) -> EngineError {
        EngineError::Damaged { file: self.id.file_name(), offset, what: what.to_string() }
    }
}

impl std::fmt::Debug for SegmentFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} of {} bytes", self.id.file_name(), self.file_bytes)
    }
}

/// Bytes of pages that one read of many takes.
pub(crate) const READ_BYTES_MAX: u64 = 1 << 20;

struct Opener<'a> {
    id: SegmentId,
    file: &'a dyn DiskFile,
    file_bytes: u64,
}

struct Footer {
    directory_offset: u64,
    page_count: u64,
    index_offset: u64,
    slot_count: u64,
    table_offset: u64,
    table_len: u64,
}

impl Opener<'_> {
    fn check_header(&self) -> Result<(), EngineError> {
        if self.file_bytes < bytes_u64(HEADER_BYTES + FOOTER_BYTES) {
            return Err(self.corrupt(0, "no header and footer"));
        }
        let mut head = [0; HEADER_BYTES];
        self.file.read_at(0, &mut head)?;
        let mut fields = Fields::new(&head);
        let (magic, version) = (fields.take(8), fields.u32());
        if magic != Ok(MAGIC) {
            return Err(self.corrupt(0, "no segment magic"));
        }
        self.check_crc(&head, 0, "header")?;
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
        let at = self.file_bytes - bytes_u64(FOOTER_BYTES);
        let mut bytes = [0; FOOTER_BYTES];
        self.file.read_at(at, &mut bytes)?;
        self.check_crc(&bytes, at, "footer")?;
        let mut fields = Fields::new(&bytes);
        let mut read = || fields.u64().map_err(|error| self.corrupt(at, error));
        let (index_offset, slot_count) = (read()?, read()?);
        let (table_offset, table_len) = (read()?, read()?);
        let _entities = read()?;
        let page_count = read()?;
        // Each part ends with its checksum, right where the next one begins ([SEGMENT-12]).
        let ends_at = |offset: u64, bytes: Option<u64>, end: u64| {
            bytes.and_then(|bytes| bytes.checked_add(offset)?.checked_add(4)) == Some(end)
        };
        let directory_bytes = page_count.checked_mul(4);
        let directory_offset = directory_bytes
            .and_then(|bytes| index_offset.checked_sub(bytes)?.checked_sub(4))
            .filter(|start| bytes_u64(HEADER_BYTES) <= *start);
        let fits = ends_at(table_offset, Some(table_len), at)
            && ends_at(index_offset, slot_count.checked_mul(8), table_offset);
        let Some(directory_offset) = directory_offset.filter(|_| fits) else {
            return Err(self.corrupt(at, "the footer's offsets do not fit the file"));
        };
        Ok(Footer {
            directory_offset,
            page_count,
            index_offset,
            slot_count,
            table_offset,
            table_len,
        })
    }

    /// Where each page starts, and where the last one ends ([SEGMENT-12]).
    fn page_starts(&self, footer: &Footer) -> Result<Box<[u64]>, EngineError> {
        let mut starts = Vec::with_capacity(index(footer.page_count) + 1);
        let mut end = bytes_u64(HEADER_BYTES);
        starts.push(end);
        let at = footer.directory_offset;
        self.read_part(at, footer.page_count * 4, "page directory", |piece| {
            for word in piece.chunks_exact(4) {
                let len = Fields::new(word).u32().unwrap_or(0);
                end += u64::from(len) + bytes_u64(PAGE_HEAD_BYTES);
                starts.push(end);
            }
        })?;
        if end != footer.directory_offset {
            return Err(self.corrupt(at, "the page directory does not fit the file"));
        }
        Ok(starts.into_boxed_slice())
    }

    fn slots(&self, footer: &Footer) -> Result<Box<[u64]>, EngineError> {
        let mut slots = Vec::with_capacity(index(footer.slot_count));
        let (mut has_empty, mut is_outside) = (false, false);
        let data = bytes_u64(HEADER_BYTES + PAGE_HEAD_BYTES)..footer.directory_offset;
        let at = footer.index_offset;
        self.read_part(at, footer.slot_count * 8, "index", |piece| {
            for word in piece.chunks_exact(8) {
                let slot = Fields::new(word).u64().unwrap_or(EMPTY_SLOT);
                has_empty |= slot == EMPTY_SLOT;
                is_outside |= slot != EMPTY_SLOT && !data.contains(&(slot & OFFSET_MASK));
                slots.push(slot);
            }
        })?;
        if is_outside || (!slots.is_empty() && !has_empty) {
            return Err(self.corrupt(at, "the index does not fit the file"));
        }
        Ok(slots.into_boxed_slice())
    }

    fn views(
        &self,
        footer: &Footer,
        catalog: &Catalog,
    ) -> Result<HashMap<ViewId, SegmentView>, EngineError> {
        let at = footer.table_offset;
        let mut bytes = Vec::new();
        self.read_part(at, footer.table_len, "view table", |piece| bytes.extend(piece))?;
        let mut fields = Fields::new(&bytes);
        let mut views = HashMap::new();
        while !fields.rest().is_empty() {
            let mut read = || -> Result<_, FieldError> {
                let id = (ViewId(fields.u32()?), LayoutId(fields.u16()?));
                let (tiles, _entities) = (fields.u64()?, fields.u64()?);
                Ok((id, tiles, decode_ranges(&mut fields)?, decode_levels(&mut fields)?))
            };
            let ((id, layout_id), tiles, cleared, levels) =
                read().map_err(|error| self.corrupt(at, error))?;
            let Some(view) = catalog.view(id) else {
                continue;
            };
            let layout = view.layouts.get(usize::from(layout_id.0));
            let layout = layout.ok_or_else(|| self.corrupt(at, "an unknown layout"))?;
            let (layout, span) = (Arc::clone(layout), view.span());
            let held = SegmentView { layout_id, layout, span, tiles, cleared, levels };
            views.insert(id, held);
        }
        Ok(views)
    }

    /// Hands a part of the file to `visit`, piece by piece, and then checks the checksum behind it
    /// ([SEGMENT-4]): what was made of the pieces is to be used only after that.
    fn read_part(
        &self,
        offset: u64,
        len: u64,
        what: &str,
        mut visit: impl FnMut(&[u8]),
    ) -> Result<(), EngineError> {
        let mut crc = crc32fast::Hasher::new();
        let mut buffer = vec![0; index(len.min(READ_BYTES_MAX))];
        let mut done = 0;
        while done < len {
            let piece = &mut buffer[..index((len - done).min(READ_BYTES_MAX))];
            self.file.read_at(offset + done, piece)?;
            crc.update(piece);
            visit(piece);
            done += bytes_u64(piece.len());
        }
        let mut stored = [0; 4];
        self.file.read_at(offset + len, &mut stored)?;
        if crc.finalize().to_le_bytes() == stored {
            return Ok(());
        }
        Err(self.corrupt(offset, format!("the {what}'s checksum does not match")))
    }

    fn check_crc(&self, bytes: &[u8], at: u64, what: &str) -> Result<(), EngineError> {
        let (body, stored) = bytes.split_at(bytes.len() - 4);
        if crc32fast::hash(body).to_le_bytes() == *stored {
            return Ok(());
        }
        Err(self.corrupt(at, format!("the {what}'s checksum does not match")))
    }

    fn corrupt(&self, offset: u64, what: impl ToString) -> EngineError {
        EngineError::Corrupt { file: self.id.file_name(), offset, what: what.to_string() }
    }
}
