//! Owns how records change the store: the same code for a live commit and for recovery, so that
//! both reach the same state. Infallible but for records that this version cannot read.

use std::sync::Arc;

use bytes::Bytes;
use tilekv_tile::{ViewDefinition, decode_accumulator, floor_to};
use tilekv_wal::Lsn;

use crate::catalog::{AlterGaps, Catalog, View, ViewId};
use crate::codec::FieldError;
use crate::engine::Frozen;
use crate::error::EngineError;
use crate::limits::RECLAIM_GRACE_MS;
use crate::manifest::{Control, encode_control};
use crate::overlay::Overlay;
use crate::reader::Shared;
use crate::record::{Effect, EventsRecord, StampRecord, TileRecord};
use crate::version::{Version, hash_entity};

/// The state that records have led to.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) catalog: Catalog,
    overlay: Arc<Overlay>,
    hash_seed: u64,
    /// Whether the catalog is ahead of the published version.
    changed: bool,
    /// Overlays frozen since they were last taken.
    frozen: Vec<Frozen>,
}

impl Applied {
    /// The state as of a manifest; `overlay` takes what follows.
    pub(crate) fn new(catalog: Catalog, overlay: Arc<Overlay>, hash_seed: u64) -> Self {
        Self { catalog, overlay, hash_seed, changed: false, frozen: Vec::new() }
    }

    /// The overlay that takes writes.
    pub(crate) fn overlay(&self) -> &Arc<Overlay> {
        &self.overlay
    }

    /// Whether the catalog has changed since this was last asked.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The overlays that applying has frozen since this was last asked.
    pub(crate) fn take_frozen(&mut self) -> Vec<Frozen> {
        std::mem::take(&mut self.frozen)
    }

    /// Applies the record at `lsn`, written at `now_ms`.
    pub(crate) fn apply(
        &mut self,
        shared: &Shared,
        lsn: Lsn,
        now_ms: i64,
        record: &[u8],
    ) -> Result<(), EngineError> {
        let effect = Effect::decode(record).map_err(|error| unreadable(lsn, error))?;
        match effect {
            Effect::Events(events) => {
                self.apply_events(shared, now_ms, &events).map_err(|error| unreadable(lsn, error))
            }
            Effect::Tile(tile) => self.apply_tile(shared, lsn, now_ms, &tile),
            Effect::Clear { view, from, to, entity } => {
                self.apply_clear(view, from, to, entity);
                Ok(())
            }
            Effect::CreateView { id, definition } => {
                self.changed = true;
                self.catalog.insert(View::create(id, definition)?);
                Ok(())
            }
            Effect::AlterView { id, gaps, definition } => {
                self.apply_alter(shared, lsn, now_ms, (id, gaps), definition)
            }
            Effect::DropView { id } => {
                self.changed = true;
                self.catalog.remove(id);
                shared.producers.write().forget_view(id);
                Ok(())
            }
            Effect::AddSeal { view, from, to, at } => {
                self.changed = true;
                self.catalog.update(view, |view| view.add_seal(from, to, at));
                Ok(())
            }
            Effect::RemoveSeal { view, from, to, at } => {
                self.changed = true;
                self.catalog.update(view, |view| view.remove_seal(from, to, at));
                Ok(())
            }
        }
    }

    /// Freezes the active overlay at `end` and publishes a version with an empty one in front.
    pub(crate) fn freeze(&mut self, shared: &Shared, end: Lsn, now_ms: i64) -> Option<Frozen> {
        if self.overlay.first_lsn == end {
            return None;
        }
        let mut producers = shared.producers.write();
        // As with tiles, what has expired is kept for a grace: the clock may have jumped ahead.
        producers.expire(now_ms.saturating_sub(RECLAIM_GRACE_MS));
        let control = Control { catalog: self.catalog.clone(), producers: producers.clone() };
        drop(producers);
        let active = Arc::new(Overlay::new(end));
        let overlay = std::mem::replace(&mut self.overlay, Arc::clone(&active));
        let catalog = Arc::new(self.catalog.clone());
        let version = shared.version.load().with_active(Arc::clone(&catalog), active);
        shared.version.store(Arc::new(version));
        let control = Arc::new(encode_control(&control));
        Some(Frozen { overlay, end, now_ms, catalog, control })
    }

    /// Publishes the catalog as it is now.
    pub(crate) fn publish(&self, shared: &Shared) {
        let version = Version {
            catalog: Arc::new(self.catalog.clone()),
            ..Version::clone(&shared.version.load())
        };
        shared.version.store(Arc::new(version));
    }

    /// Adds the rows to their tiles; a view that was dropped before takes none ([RECORD-4]).
    fn apply_events(
        &self,
        shared: &Shared,
        now_ms: i64,
        events: &EventsRecord<'_>,
    ) -> Result<(), FieldError> {
        let Some(view) = self.catalog.view(events.view) else {
            return Ok(());
        };
        let span = view.span();
        let (mut oldest, mut newest) = (i64::MAX, i64::MIN);
        events.for_each_row(&view.kinds, |timestamp, entity, cells| {
            let hash = hash_entity(self.hash_seed, view.id, entity);
            let start = floor_to(timestamp, span);
            self.overlay.add_row(hash, view, entity, start, timestamp, cells);
            oldest = oldest.min(start);
            newest = newest.max(timestamp);
        })?;
        view.counters.saw_write(oldest, newest);
        view.counters.skipped(u64::from(events.too_old), u64::from(events.late_dropped));
        note_producer(shared, events.view, events.stamp, now_ms);
        Ok(())
    }

    fn apply_tile(
        &self,
        shared: &Shared,
        lsn: Lsn,
        now_ms: i64,
        tile: &TileRecord<'_>,
    ) -> Result<(), EngineError> {
        let Some(view) = self.catalog.view(tile.view) else {
            return Ok(());
        };
        let layout = view
            .layouts
            .get(usize::from(tile.layout.0))
            .ok_or_else(|| unreadable(lsn, "an unknown layout"))?;
        let (accumulator, _) = decode_accumulator(layout, tile.state)?;
        assert_eq!(tile.layout, view.layout_id(), "a tile is written under the newest layout");
        let hash = hash_entity(self.hash_seed, view.id, tile.entity);
        self.overlay.put_tile(hash, view, tile.entity, tile.start, tile.base, &accumulator);
        view.counters.saw_write(tile.start, tile.start);
        note_producer(shared, tile.view, tile.stamp, now_ms);
        Ok(())
    }

    fn apply_clear(&self, view: ViewId, from: i64, to: i64, entity: &[u8]) {
        if let Some(view) = self.catalog.view(view) {
            let hash = hash_entity(self.hash_seed, view.id, entity);
            self.overlay.clear(hash, view, entity, from, to);
        }
    }

    fn apply_alter(
        &mut self,
        shared: &Shared,
        lsn: Lsn,
        now_ms: i64,
        (id, gaps): (ViewId, AlterGaps),
        definition: ViewDefinition,
    ) -> Result<(), EngineError> {
        let Some(view) = self.catalog.view(id) else {
            return Ok(());
        };
        let mut altered = View::clone(view);
        altered.alter(definition, gaps)?;
        let is_relaid = view.layouts.len() < altered.layouts.len();
        if is_relaid && self.overlay.view(id).is_some() {
            let frozen = self.freeze(shared, lsn, now_ms);
            self.frozen.extend(frozen);
        }
        self.changed = true;
        self.catalog.insert(altered);
        Ok(())
    }
}

fn note_producer(shared: &Shared, view: ViewId, stamp: Option<StampRecord<'_>>, now_ms: i64) {
    if let Some(stamp) = stamp {
        let id = Bytes::copy_from_slice(stamp.id);
        shared.producers.write().record(view, id, stamp.sequence, now_ms);
    }
}

fn unreadable(lsn: Lsn, what: impl ToString) -> EngineError {
    EngineError::Corrupt {
        file: "the log".to_owned(),
        offset: lsn.number(),
        what: what.to_string(),
    }
}
