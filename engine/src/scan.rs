//! Owns walks over everything that sources hold: entity by entity in (view id, entity) order,
//! merged over the sources. Flush, compaction, figures and state hashes stand on it.

use std::cmp::Ordering;
use std::sync::Arc;

use tilekv_tile::Layout;

use crate::catalog::{LayoutId, ViewId};
use crate::content::Content;
use crate::error::EngineError;
use crate::overlay::Overlay;
use crate::ranges::{TimeRange, add_range};
use crate::segment_walk::SegmentWalk;
use crate::version::Layer;

/// One entity's content in a scan.
#[derive(Debug)]
pub(crate) struct Scanned {
    pub(crate) view: ViewId,
    pub(crate) entity: Vec<u8>,
    pub(crate) layout_id: LayoutId,
    /// What the content's accumulators are laid out by: the newest layout of its sources.
    pub(crate) layout: Arc<Layout>,
    /// The tile size in milliseconds.
    pub(crate) span: i64,
    pub(crate) content: Content,
}

/// A merging walk over sources. Entities of dropped views are passed over in segments.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    /// Newest first.
    cursors: Vec<Cursor<'a>>,
}

#[derive(Debug)]
enum Cursor<'a> {
    Overlay { overlay: &'a Overlay, keys: Vec<OverlayKey>, next: usize },
    Segment(SegmentWalk<'a>),
}

#[derive(Debug)]
struct OverlayKey {
    view: ViewId,
    entity: Box<[u8]>,
    hash: u64,
}

impl<'a> Scan<'a> {
    /// A walk over `layers`, newest first.
    pub(crate) fn new(layers: impl IntoIterator<Item = &'a Layer>) -> Result<Self, EngineError> {
        let cursor = |layer: &'a Layer| match layer {
            Layer::Overlay(overlay) => Ok(Cursor::overlay(overlay)),
            Layer::Segment(segment) => SegmentWalk::new(segment).map(Cursor::Segment),
        };
        Ok(Self { cursors: layers.into_iter().map(cursor).collect::<Result<_, EngineError>>()? })
    }

    /// The next entity, merged over all sources.
    pub(crate) fn next_entity(&mut self) -> Result<Option<Scanned>, EngineError> {
        let next = self.cursors.iter().filter_map(Cursor::peek).min();
        let Some((view, entity)) = next.map(|(view, entity)| (view, entity.to_vec())) else {
            return Ok(None);
        };
        let mut scanned: Option<Scanned> = None;
        let mut cleared: Vec<TimeRange> = Vec::new();
        for cursor in &mut self.cursors {
            if cursor.peek() == Some((view, &entity[..]))
                && let Some(mut older) = cursor.take(&entity)?
            {
                older.content.hide(&cleared);
                scanned = Some(match scanned {
                    None => older,
                    Some(newer) => newer.over(older),
                });
            }
            for &(from, to) in cursor.cleared(view) {
                add_range(&mut cleared, from, to);
            }
        }
        Ok(scanned)
    }
}

impl Scanned {
    fn over(self, older: Self) -> Self {
        let (layout_id, layout) = match self.layout_id.cmp(&older.layout_id) {
            Ordering::Less => (older.layout_id, Arc::clone(&older.layout)),
            Ordering::Equal | Ordering::Greater => (self.layout_id, Arc::clone(&self.layout)),
        };
        let mut content = self.content.relaid(&self.layout, &layout);
        content.merge_older(older.content.relaid(&older.layout, &layout), &layout);
        Self { layout_id, layout, content, ..self }
    }
}

impl<'a> Cursor<'a> {
    fn overlay(overlay: &'a Overlay) -> Self {
        let mut keys = Vec::new();
        overlay.for_each(|entry| {
            keys.push(OverlayKey {
                view: entry.view,
                entity: (*entry.entity).into(),
                hash: entry.hash(),
            });
        });
        keys.sort_unstable_by(|left, right| {
            (left.view, &left.entity).cmp(&(right.view, &right.entity))
        });
        Self::Overlay { overlay, keys, next: 0 }
    }

    /// What the source hides of every entity of the view in older sources.
    fn cleared(&self, view: ViewId) -> &'a [TimeRange] {
        match self {
            Self::Overlay { .. } => &[],
            Self::Segment(walk) => walk.segment().view(view).map_or(&[], |view| &view.cleared[..]),
        }
    }

    fn peek(&self) -> Option<(ViewId, &[u8])> {
        match self {
            Self::Overlay { keys, next, .. } => {
                keys.get(*next).map(|key| (key.view, &key.entity[..]))
            }
            Self::Segment(walk) => walk.peek(),
        }
    }

    /// Takes the entity that `peek` showed.
    fn take(&mut self, entity: &[u8]) -> Result<Option<Scanned>, EngineError> {
        match self {
            Self::Overlay { overlay, keys, next } => {
                let taken = take_entry(overlay, keys.get(*next), entity);
                *next += 1;
                Ok(taken)
            }
            Self::Segment(walk) => walk.take(),
        }
    }
}

fn take_entry(overlay: &Overlay, key: Option<&OverlayKey>, entity: &[u8]) -> Option<Scanned> {
    let key = key?;
    let view = overlay.view(key.view)?;
    let content = overlay.with_entry(key.hash, key.view, entity, |entry| Content {
        clears: entry.clears.clone(),
        tiles: entry.tiles.clone(),
    })?;
    Some(Scanned {
        view: key.view,
        entity: entity.to_vec(),
        layout_id: view.layout_id,
        layout: view.layout,
        span: view.span,
        content,
    })
}
