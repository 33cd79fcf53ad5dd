//! Owns the walk over all entities of one segment, in order: from memory where its data is
//! resident, else from its file with one bounded buffer. Knows nothing of other sources.

use std::ops::Range;
use std::sync::Arc;

use tilekv_tile::Block;

use crate::catalog::ViewId;
use crate::codec::index;
use crate::content::Content;
use crate::error::EngineError;
use crate::ledger::{MemoryUse, Reservation};
use crate::scan::Scanned;
use crate::segment::{Chunk, ChunkKind, PAGE_HEAD_BYTES, Segment, parse_chunk, stored_tiles};
use crate::segment_file::READ_BYTES_MAX;

/// A walk over the entities of a segment whose views still exist.
#[derive(Debug)]
pub(crate) struct SegmentWalk<'a> {
    segment: &'a Segment,
    /// The page that the walk is in; the number of pages at its end.
    page: usize,
    /// Where in the page, counted from its head, the next entry starts.
    at: usize,
    /// What was read of the file, where the data is not resident.
    buffer: Option<Buffer>,
}

/// A run of pages of the file, checked.
#[derive(Debug)]
struct Buffer {
    pages: Range<usize>,
    bytes: Vec<u8>,
    _memory: Reservation,
}

impl<'a> SegmentWalk<'a> {
    /// A walk that stands at the first entity.
    pub(crate) fn new(segment: &'a Segment) -> Result<Self, EngineError> {
        let buffer = (!segment.is_resident()).then(|| Buffer {
            pages: 0..0,
            bytes: Vec::new(),
            _memory: segment.file().memory().take(MemoryUse::Buffers, READ_BYTES_MAX),
        });
        let mut walk = Self { segment, page: 0, at: PAGE_HEAD_BYTES, buffer };
        walk.fetch()?;
        walk.skip_dropped()?;
        Ok(walk)
    }

    /// The segment that is walked.
    pub(crate) fn segment(&self) -> &'a Segment {
        self.segment
    }

    /// The entity that is taken next.
    pub(crate) fn peek(&self) -> Option<(ViewId, &[u8])> {
        self.entry().map(|chunk| (chunk.view, chunk.entity))
    }

    /// Everything that the segment holds of the entity that `peek` shows.
    pub(crate) fn take(&mut self) -> Result<Option<Scanned>, EngineError> {
        let Some(first) = self.entry() else {
            return Ok(None);
        };
        let Some(view) = self.segment.view(first.view) else {
            unreachable!("the walk stands at views that exist");
        };
        let mut scanned = Scanned {
            view: first.view,
            entity: first.entity.to_vec(),
            layout_id: view.layout_id,
            layout: Arc::clone(&view.layout),
            span: view.span,
            content: Content::default(),
        };
        while let Some(chunk) = self.entry() {
            if chunk.kind == ChunkKind::Tiles {
                let block = self.segment.block(&chunk, view);
                push_block(&block, &mut scanned.content);
            }
            let (continues, next) = (chunk.continues, chunk.next);
            self.advance(next)?;
            if !continues {
                break;
            }
        }
        self.skip_dropped()?;
        Ok(Some(scanned))
    }

    fn skip_dropped(&mut self) -> Result<(), EngineError> {
        while let Some(chunk) = self.entry()
            && self.segment.view(chunk.view).is_none()
        {
            let next = chunk.next;
            self.advance(next)?;
        }
        Ok(())
    }

    /// The entry that the walk stands at.
    fn entry(&self) -> Option<Chunk<'_>> {
        if self.page == self.segment.file().page_count() {
            return None;
        }
        match parse_chunk(&self.page_bytes()[self.at..], self.at) {
            Some(chunk) => Some(chunk),
            None => unreachable!("an entry that was checked when it was loaded"),
        }
    }

    fn page_bytes(&self) -> &[u8] {
        let Some(buffer) = &self.buffer else {
            let Some(page) = self.segment.resident_page(self.page) else {
                unreachable!("a walk without a buffer is over resident data");
            };
            return page;
        };
        let file = self.segment.file();
        let start = file.page_range(buffer.pages.start).start;
        let page = file.page_range(self.page);
        &buffer.bytes[index(page.start - start)..index(page.end - start)]
    }

    /// Goes on to the entry at `next`, counted from the page's head.
    fn advance(&mut self, next: usize) -> Result<(), EngineError> {
        self.at = next;
        if self.page_bytes().len() < next {
            self.page += 1;
            self.at = PAGE_HEAD_BYTES;
            self.fetch()?;
        }
        Ok(())
    }

    /// Reads and checks the pages from the walk's own on, if they are not in memory.
    fn fetch(&mut self) -> Result<(), EngineError> {
        let file = self.segment.file();
        let Some(buffer) = &mut self.buffer else {
            return Ok(());
        };
        if self.page < buffer.pages.end || self.page == file.page_count() {
            return Ok(());
        }
        let pages = file.run_of_pages(self.page..file.page_count());
        let range = file.page_range(pages.start).start..file.page_range(pages.end - 1).end;
        buffer.bytes.resize(index(range.end - range.start), 0);
        file.read(range.start, &mut buffer.bytes)?;
        for page in pages.clone() {
            let own = file.page_range(page);
            let bytes = index(own.start - range.start)..index(own.end - range.start);
            file.check_page(&buffer.bytes[bytes], own.start)?;
        }
        // A walk over everything must not push what reads want out of the system's cache.
        file.forget(range);
        buffer.pages = pages;
        Ok(())
    }
}

fn push_block(block: &Block<'_>, content: &mut Content) {
    content.clears.extend(block.clears());
    content.tiles.extend(stored_tiles(block, 0..block.len()));
}
