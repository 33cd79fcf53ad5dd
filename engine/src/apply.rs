//! Owns how records change the store: the same code for a live commit and for recovery, so that
//! both reach the same state. Infallible but for records that this version cannot read.

use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use tilekv_tile::{ViewDefinition, decode_accumulator, floor_to};
use tilekv_wal::{Disk, Lsn};

use crate::catalog::{AlterGaps, Catalog, View, ViewId};
use crate::codec::FieldError;
use crate::engine::Frozen;
use crate::error::EngineError;
use crate::job::JobMode;
use crate::job_table::CommittedJob;
use crate::limits::RECLAIM_GRACE_MS;
use crate::manifest::{Control, encode_control};
use crate::memory::Memory;
use crate::overlay::Overlay;
use crate::reader::Shared;
use crate::record::{Effect, EventsRecord, JobRecord, StampRecord, TileRecord};
use crate::records::{ChangedRecords, RecordTable, RecordWriter};
use crate::segment::{Segment, SegmentId};
use crate::version::{Layer, Version, hash_entity};

/// The state that records have led to.
pub(crate) struct Applied {
    pub(crate) catalog: Catalog,
    overlay: Arc<Overlay>,
    records: Arc<RecordTable>,
    record_writer: RecordWriter,
    disk: Arc<dyn Disk>,
    hash_seed: u64,
    /// Segments of jobs whose commit is staged: applying it takes them from here, recovery from
    /// their files.
    sealed: HashMap<SegmentId, Arc<Segment>>,
    /// Whether the catalog is ahead of the published version.
    changed: bool,
    /// Layers frozen since they were last taken.
    frozen: Vec<Frozen>,
}

impl Applied {
    /// The state as of a manifest; `overlay` takes what follows.
    pub(crate) fn new(
        catalog: Catalog,
        overlay: Arc<Overlay>,
        records: Arc<RecordTable>,
        disk: Arc<dyn Disk>,
        hash_seed: u64,
    ) -> Self {
        let record_writer = RecordWriter::new(overlay.first_lsn.number());
        Self {
            catalog,
            overlay,
            records,
            record_writer,
            disk,
            hash_seed,
            sealed: HashMap::new(),
            changed: false,
            frozen: Vec::new(),
        }
    }

    /// Takes over a job's segment until its commit is applied.
    pub(crate) fn stage_segment(&mut self, segment: Arc<Segment>) {
        self.sealed.insert(segment.id, segment);
    }

    /// Forgets segments whose commits were discarded.
    pub(crate) fn discard_segments(&mut self) {
        self.sealed.clear();
    }

    /// All records.
    pub(crate) fn records(&self) -> &Arc<RecordTable> {
        &self.records
    }

    /// Which records have changed since the last freeze.
    pub(crate) fn changed_records(&self) -> &ChangedRecords {
        self.record_writer.changed()
    }

    /// The overlay that takes writes.
    pub(crate) fn overlay(&self) -> &Arc<Overlay> {
        &self.overlay
    }

    /// Whether the catalog has changed since this was last asked.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The layers that applying has frozen since this was last asked.
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
            Effect::CreateService(service) => {
                self.changed = true;
                self.catalog.insert_service(service);
                Ok(())
            }
            Effect::DropService(name) => {
                self.changed = true;
                self.catalog.remove_service(&name);
                Ok(())
            }
            Effect::AddSeal { view, from, to, at } => {
                self.changed = true;
                self.catalog.update(view, |view| view.add_seal(from, to, at));
                Ok(())
            }
            Effect::CommitJob(job) => self.apply_job(shared, lsn, now_ms, &job),
            Effect::Record(effect) => {
                self.record_writer.note_applied(record.len());
                self.records.apply(&mut self.record_writer, &effect);
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
        let overlay = self.begin_overlay(end);
        let records = self.record_writer.freeze(end.number());
        self.publish_layers(shared, |layers| {
            layers.insert(0, Layer::Overlay(Arc::clone(&self.overlay)));
        });
        Some(self.frozen(shared, Layer::Overlay(overlay), (end, now_ms), records))
    }

    /// Begins an overlay for the writes from `first` on, and returns the one before it.
    fn begin_overlay(&mut self, first: Lsn) -> Arc<Overlay> {
        std::mem::replace(&mut self.overlay, Arc::new(Overlay::new(first)))
    }

    /// Publishes the catalog as it is now with the layers changed.
    fn publish_layers(&self, shared: &Shared, change: impl FnOnce(&mut Vec<Layer>)) {
        let mut version = Version::clone(&shared.version.load());
        version.catalog = Arc::new(self.catalog.clone());
        change(&mut version.layers);
        shared.version.store(Arc::new(version));
    }

    /// A layer with the state as of `end`, for the manifest that lists it.
    fn frozen(
        &self,
        shared: &Shared,
        layer: Layer,
        (end, now_ms): (Lsn, i64),
        records: ChangedRecords,
    ) -> Frozen {
        // As with tiles, what has expired is kept for a grace: the clock may have jumped ahead.
        let expired = now_ms.saturating_sub(RECLAIM_GRACE_MS);
        let mut producers = shared.producers.write();
        producers.expire(expired);
        let mut jobs = shared.jobs.write();
        jobs.expire(expired);
        let control = encode_control(&Control {
            catalog: self.catalog.clone(),
            producers: producers.clone(),
            jobs: jobs.clone(),
        });
        let catalog = Arc::new(self.catalog.clone());
        Frozen { layer, end, now_ms, catalog, control: Arc::new(control), records }
    }

    /// Publishes the catalog as it is now.
    pub(crate) fn publish(&self, shared: &Shared) {
        self.publish_layers(shared, |_| {});
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

    /// Publishes a job: its segment between what was written before and after the commit, its
    /// seal, and the end of what its view lacked there, all in one version ([RECORD-9]).
    fn apply_job(
        &mut self,
        shared: &Shared,
        lsn: Lsn,
        now_ms: i64,
        job: &JobRecord<'_>,
    ) -> Result<(), EngineError> {
        let segment = match job.segment {
            Some(id) => Some(self.job_segment(&shared.memory, id)?),
            None => None,
        };
        if self.catalog.view(job.view).is_none() {
            return Ok(());
        }
        let frozen = self.freeze(shared, lsn, now_ms);
        self.frozen.extend(frozen);
        self.changed = true;
        shared.jobs.write().record(CommittedJob::new(job, now_ms));
        self.catalog.update(job.view, |view| {
            if let Some(at) = job.sealed_at {
                view.add_seal(job.from, job.to, at);
            }
            if job.mode == JobMode::Replace {
                view.complete(usize::from(job.feature_count), job.from, job.to);
            }
            if let (Some(oldest), Some(newest)) = (job.oldest, job.newest) {
                view.counters.saw_write(oldest, newest);
            }
        });
        if let Some(segment) = segment {
            let end = Lsn::new(lsn.number() + 1);
            let before = self.begin_overlay(end);
            assert!(before.is_empty(), "the overlay was frozen before the job");
            let layer = Layer::Segment(segment);
            self.publish_layers(shared, |layers| {
                let active = Layer::Overlay(Arc::clone(&self.overlay));
                layers.splice(0..1, [active, layer.clone()]);
            });
            let records = ChangedRecords::default();
            let frozen = self.frozen(shared, layer, (end, now_ms), records);
            self.frozen.push(frozen);
        }
        Ok(())
    }

    fn job_segment(
        &mut self,
        memory: &Arc<Memory>,
        id: SegmentId,
    ) -> Result<Arc<Segment>, EngineError> {
        if let Some(segment) = self.sealed.remove(&id) {
            return Ok(segment);
        }
        let segment = Segment::open(&*self.disk, memory, id, &self.catalog)?;
        segment.into_resident(1).map(Arc::new).map_err(EngineError::at_start)
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
