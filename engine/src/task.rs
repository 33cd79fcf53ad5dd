//! Owns background work: flushing a frozen overlay to a segment and merging adjacent segments. A
//! task is a value: any thread runs it, and the engine installs what comes back.

use std::sync::Arc;

use tilekv_wal::Disk;

use crate::catalog::{Catalog, View};
use crate::engine::{Engine, Frozen};
use crate::error::EngineError;
use crate::limits::RECLAIM_GRACE_MS;
use crate::manifest::Manifest;
use crate::memory::Memory;
use crate::records::{RecordTable, is_record_file, merge_files, record_file_name, write_changes};
use crate::scan::Scan;
use crate::segment::{Segment, SegmentId};
use crate::segment_writer::{SegmentTarget, SegmentWriter, remove_segment, write_scan};
use crate::version::{Layer, Version};

/// A piece of background work.
#[derive(Debug)]
pub struct Task {
    kind: TaskKind,
    output: SegmentId,
    hash_seed: u64,
    block_tiles_max: usize,
    memory: Arc<Memory>,
    records: Arc<RecordTable>,
}

#[derive(Debug, Clone)]
enum TaskKind {
    /// Writes a frozen overlay as a segment; a job's segment is there already.
    Flush { frozen: Arc<Frozen>, is_oldest: bool, has_records: bool },
    /// Merges segments, newest first, that lie side by side.
    Compact { inputs: Vec<Arc<Segment>>, grounds: Grounds, is_oldest: bool, now_ms: i64 },
    /// Merges an older record file and the next newer one.
    MergeRecords { inputs: (SegmentId, SegmentId), is_oldest: bool },
    /// Brings the data of a cold segment into memory.
    Load { segment: Arc<Segment> },
}

/// What a merge may leave tiles out for. It is durable at once, and so must its grounds be: a power
/// cut may take back what the log says beyond the flushed LSN.
#[derive(Debug, Clone)]
struct Grounds {
    /// As of the flushed LSN.
    flushed: Arc<Catalog>,
    /// With every change that is pending: it may be committed before the merge is done.
    newest: Arc<Catalog>,
}

impl Grounds {
    /// The horizon of a view, unless a change of the view may still be lost.
    fn horizon(&self, view: &View, now_ms: i64) -> Option<i64> {
        let is_settled =
            self.newest.view(view.id).is_some_and(|newest| newest.revision == view.revision);
        view.horizon(now_ms.saturating_sub(RECLAIM_GRACE_MS)).filter(|_| is_settled)
    }
}

/// What a task produced, to be handed to [`Engine::finish`].
#[derive(Debug)]
pub struct TaskResult {
    kind: TaskKind,
    /// The id of the new segment.
    id: SegmentId,
    /// The new segment; none where nothing was left to write.
    output: Result<Option<Segment>, EngineError>,
    /// The new record file; none where there is nothing to write.
    records: Option<SegmentId>,
}

impl Task {
    /// Does the work: reads memory, writes and syncs one file.
    #[must_use]
    pub fn run(self, disk: &dyn Disk) -> TaskResult {
        let records = match &self.kind {
            TaskKind::Flush { frozen, has_records, .. } => {
                write_changes(disk, self.output, &self.records, &frozen.records, !has_records)
            }
            TaskKind::MergeRecords { inputs, is_oldest } => {
                merge_files(disk, self.output, *inputs, *is_oldest)
            }
            TaskKind::Compact { .. } | TaskKind::Load { .. } => Ok(None),
        };
        let records = match records {
            Ok(records) => records,
            Err(error) => {
                let output = Err(error);
                return TaskResult { kind: self.kind, id: self.output, output, records: None };
            }
        };
        let output = match &self.kind {
            TaskKind::Flush { frozen, is_oldest, .. } => self.flush(disk, frozen, *is_oldest),
            TaskKind::MergeRecords { .. } => Ok(None),
            TaskKind::Compact { inputs, grounds, is_oldest, now_ms } => {
                self.compact(disk, inputs, grounds, *is_oldest, *now_ms)
            }
            TaskKind::Load { segment } => Segment::clone(segment).into_resident(1).map(Some),
        };
        TaskResult { kind: self.kind, id: self.output, output, records }
    }

    /// Whether this is a flush, which writers wait for in the end; else it is a compaction, or
    /// data is brought into memory.
    #[must_use]
    pub fn is_flush(&self) -> bool {
        matches!(self.kind, TaskKind::Flush { .. })
    }

    fn flush(
        &self,
        disk: &dyn Disk,
        frozen: &Frozen,
        is_oldest: bool,
    ) -> Result<Option<Segment>, EngineError> {
        if let Layer::Segment(_) = &frozen.layer {
            return Ok(None);
        }
        let scan = Scan::new([&frozen.layer])?;
        let writer = SegmentWriter::new(disk, self.output, self.block_tiles_max);
        let written = write_scan(self.target(disk, &frozen.catalog), writer, scan, |_, content| {
            if is_oldest {
                content.settle();
            }
        });
        // The log is still there: a flush that cannot be read back must not replace it.
        written.and_then(into_resident).map_err(EngineError::at_start)
    }

    fn compact(
        &self,
        disk: &dyn Disk,
        inputs: &[Arc<Segment>],
        grounds: &Grounds,
        is_oldest: bool,
        now_ms: i64,
    ) -> Result<Option<Segment>, EngineError> {
        let layers: Vec<Layer> = inputs.iter().cloned().map(Layer::Segment).collect();
        let mut writer = SegmentWriter::new(disk, self.output, self.block_tiles_max);
        if !is_oldest {
            keep_clears(&mut writer, inputs);
        }
        let scan = Scan::new(&layers)?;
        let target = self.target(disk, &grounds.flushed);
        let written = write_scan(target, writer, scan, |view, content| {
            if is_oldest {
                content.settle();
            }
            if let Some(horizon) = grounds.horizon(view, now_ms) {
                content.expire(horizon);
            }
        });
        written.and_then(into_resident)
    }

    fn target<'a>(&'a self, disk: &'a dyn Disk, catalog: &'a Catalog) -> SegmentTarget<'a> {
        let memory = &self.memory;
        SegmentTarget { disk, memory, catalog, hash_seed: self.hash_seed }
    }
}

/// New segments are resident where the budget has room now.
fn into_resident(segment: Option<Segment>) -> Result<Option<Segment>, EngineError> {
    segment.map(|segment| segment.into_resident(1)).transpose()
}

/// What the inputs of a merge hide of older segments stays hidden.
fn keep_clears(writer: &mut SegmentWriter<'_>, inputs: &[Arc<Segment>]) {
    for (id, view) in inputs.iter().flat_map(|segment| segment.views()) {
        for &range in &view.cleared {
            writer.clear_view(id, view.layout_id, range);
        }
    }
}

impl Engine {
    /// The background work that is due at `now_ms`: at most one flush and one compaction at a
    /// time. Each task must be run and handed to [`Engine::finish`].
    pub fn tasks(&mut self, now_ms: i64) -> Vec<Task> {
        let now_ms = self.advance_clock(now_ms);
        self.freeze_if_old();
        let mut tasks = Vec::new();
        if !self.running.flush
            && let Some(frozen) = self.frozen.front()
        {
            self.running.flush = true;
            let is_oldest = self.manifest.segments.is_empty();
            let has_records = !self.manifest.records.is_empty();
            let kind = TaskKind::Flush { frozen: Arc::clone(frozen), is_oldest, has_records };
            tasks.push(self.task(kind));
        }
        if !self.running.compaction
            && let Some(kind) = self.due_compaction(now_ms)
        {
            self.running.compaction = true;
            tasks.push(self.task(kind));
        }
        if !self.running.record_merge
            && let Some(kind) = self.due_record_merge()
        {
            self.running.record_merge = true;
            tasks.push(self.task(kind));
        }
        if let Some(segment) = self.due_load() {
            self.running.load = true;
            tasks.push(self.task(TaskKind::Load { segment }));
        }
        tasks
    }

    /// Installs what a task produced: manifest first, then the version, then old files go.
    ///
    /// # Errors
    /// [`EngineError::NoSpace`]: the work is due again later. [`EngineError::Damaged`]: a segment
    /// stays as it is. Any other error is fatal.
    pub fn finish(&mut self, result: TaskResult) -> Result<(), EngineError> {
        let TaskResult { kind, id, output, records } = result;
        let installed = match &kind {
            TaskKind::Flush { frozen, .. } => {
                self.running.flush = false;
                output.and_then(|segment| self.install_flush(frozen, segment, records))
            }
            TaskKind::Compact { inputs, .. } => {
                self.running.compaction = false;
                self.note_damage(&output, inputs.iter().map(|input| input.id));
                output.and_then(|segment| self.install_compaction(inputs, segment))
            }
            TaskKind::MergeRecords { inputs, .. } => {
                self.running.record_merge = false;
                self.note_damage(&output, [inputs.0, inputs.1]);
                output.and_then(|_| self.install_record_merge(*inputs, records))
            }
            TaskKind::Load { segment } => {
                self.running.load = false;
                self.note_damage(&output, [segment.id]);
                output.map(|segment| self.install_load(segment))
            }
        };
        if matches!(installed, Err(EngineError::NoSpace(_) | EngineError::Damaged { .. })) {
            remove_segment(&*self.disk, id)?;
            self.remove_record_file(id)?;
        }
        installed
    }

    /// Flushes everything that is committed, running the tasks here: a clean stop starts fast.
    ///
    /// # Errors
    /// As [`Engine::finish`].
    pub fn checkpoint(&mut self, now_ms: i64) -> Result<(), EngineError> {
        self.freeze();
        while !self.frozen.is_empty() {
            let disk = Arc::clone(&self.disk);
            let tasks = self.tasks(now_ms);
            if tasks.is_empty() {
                return Ok(());
            }
            for task in tasks {
                self.finish(task.run(&*disk))?;
            }
        }
        Ok(())
    }

    fn task(&mut self, kind: TaskKind) -> Task {
        let output = self.segment_ids.next();
        let memory = Arc::clone(&self.shared.memory);
        Task {
            kind,
            output,
            hash_seed: self.manifest.hash_seed,
            block_tiles_max: self.options.block_tiles_max,
            memory,
            records: Arc::clone(self.applied.records()),
        }
    }

    /// The adjacent pair of segments that is cheapest to merge, once there are too many: only
    /// neighbours are merged, so that ages stay in order ([SEGMENT-7]).
    fn due_compaction(&self, now_ms: i64) -> Option<TaskKind> {
        let version = self.shared.version.load();
        let listed = |segment: &&Arc<Segment>| self.manifest.segments.contains(&segment.id);
        let segments: Vec<&Arc<Segment>> = version.segments().filter(listed).collect();
        if segments.len() <= self.options.segment_count_max {
            return None;
        }
        let cost = |&at: &usize| segments[at].file_bytes() + segments[at + 1].file_bytes();
        let is_sound = |&at: &usize| !self.is_damaged(&segments[at..at + 2]);
        let at = (0..segments.len() - 1).filter(is_sound).min_by_key(cost)?;
        Some(TaskKind::Compact {
            inputs: segments[at..at + 2].iter().copied().cloned().collect(),
            grounds: Grounds {
                flushed: Arc::clone(&self.flushed_catalog),
                newest: Arc::new(self.staged.catalog.clone()),
            },
            is_oldest: at + 2 == segments.len(),
            now_ms,
        })
    }

    fn install_flush(
        &mut self,
        frozen: &Arc<Frozen>,
        segment: Option<Segment>,
        records: Option<SegmentId>,
    ) -> Result<(), EngineError> {
        // The manifest proves the log durable up to the flushed LSN, so it must be by then; and a
        // record file may hold what the log says beyond it ([RECORDFILE-6]).
        let end = if records.is_some() { self.log.next_lsn() } else { frozen.end };
        if self.log.durable_lsn() < end {
            self.log.sync()?;
        }
        let layer = match &frozen.layer {
            Layer::Segment(segment) => Some(Layer::Segment(Arc::clone(segment))),
            Layer::Overlay(_) => segment.map(|segment| Layer::Segment(Arc::new(segment))),
        };
        let mut segments = self.manifest.segments.clone();
        if let Some(Layer::Segment(segment)) = &layer {
            segments.push(segment.id);
            self.counters.segment_bytes_written += segment.file_bytes();
        }
        self.store_manifest(Manifest {
            flushed: frozen.end,
            now_ms: frozen.now_ms,
            segments,
            records: self.manifest.records.iter().copied().chain(records).collect(),
            control: Arc::clone(&frozen.control),
            ..self.manifest.clone()
        })?;
        self.flushed_catalog = Arc::clone(&frozen.catalog);
        self.counters.flushes += 1;
        self.publish(|version| {
            let at = version.layers.iter().position(|known| known.is_same(&frozen.layer));
            let Some(at) = at else { unreachable!("a frozen layer stays until it is flushed") };
            version.layers.splice(at..=at, layer);
        });
        self.frozen.pop_front();
        self.log.release(self.manifest.flushed)?;
        Ok(())
    }

    /// Puts one segment in the place of several; the flushed LSN stays ([MANIFEST-3]).
    fn install_compaction(
        &mut self,
        inputs: &[Arc<Segment>],
        segment: Option<Segment>,
    ) -> Result<(), EngineError> {
        let segment = segment.map(Arc::new);
        let is_input = |id: SegmentId| inputs.iter().any(|input| input.id == id);
        let mut segments = self.manifest.segments.clone();
        let first = segments.iter().position(|id| is_input(*id));
        let Some(first) = first else { unreachable!("only this engine replaces segments") };
        let id = segment.iter().map(|segment| segment.id);
        segments.splice(first..first + inputs.len(), id);
        self.store_manifest(Manifest { segments, ..self.manifest.clone() })?;
        self.counters.compactions += 1;
        self.counters.segment_bytes_written += segment.as_deref().map_or(0, Segment::file_bytes);
        self.publish(|version| {
            let newest = inputs.first().map(|input| input.id);
            let first = version
                .layers
                .iter()
                .position(|layer| newest.is_some_and(|newest| layer.is_segment(newest)));
            let Some(first) = first else {
                unreachable!("the version lists what the manifest does")
            };
            let layer = segment.map(Layer::Segment);
            version.layers.splice(first..first + inputs.len(), layer);
        });
        for input in inputs {
            self.disk.remove(&input.id.file_name())?;
        }
        Ok(())
    }

    /// The neighbouring pair of record files that is cheapest to merge, once there are too many.
    fn due_record_merge(&self) -> Option<TaskKind> {
        let files = &self.manifest.records;
        if files.len() <= self.options.segment_count_max {
            return None;
        }
        let bytes = |id: SegmentId| {
            let opened = self.disk.open(&record_file_name(id));
            opened.and_then(|file| file.len()).unwrap_or(u64::MAX)
        };
        let sizes: Vec<u64> = files.iter().map(|id| bytes(*id)).collect();
        let cost = |&at: &usize| sizes[at].saturating_add(sizes[at + 1]);
        let is_sound =
            |&at: &usize| files[at..at + 2].iter().all(|file| !self.damaged.contains(file));
        let at = (0..files.len() - 1).filter(is_sound).min_by_key(cost)?;
        Some(TaskKind::MergeRecords { inputs: (files[at], files[at + 1]), is_oldest: at == 0 })
    }

    /// Puts one record file in the place of two ([MANIFEST-3]).
    fn install_record_merge(
        &mut self,
        (older, newer): (SegmentId, SegmentId),
        output: Option<SegmentId>,
    ) -> Result<(), EngineError> {
        let mut records = self.manifest.records.clone();
        let Some(at) = records.iter().position(|id| *id == older) else {
            unreachable!("only this engine replaces record files")
        };
        records.splice(at..at + 2, output);
        self.store_manifest(Manifest { records, ..self.manifest.clone() })?;
        self.counters.compactions += 1;
        self.disk.remove(&record_file_name(older))?;
        self.disk.remove(&record_file_name(newer))?;
        Ok(())
    }

    /// Removes the record file of a task that ended without effect.
    fn remove_record_file(&self, id: SegmentId) -> Result<(), EngineError> {
        let name = record_file_name(id);
        for name in [format!("{name}.tmp"), name] {
            if self.disk.exists(&name)? {
                self.disk.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Makes `manifest` the store's, on disk and then here.
    fn store_manifest(&mut self, manifest: Manifest) -> Result<(), EngineError> {
        let manifest = Manifest { next_segment: self.segment_ids.peek(), ..manifest };
        manifest.store(&*self.disk)?;
        self.manifest = manifest;
        Ok(())
    }

    pub(crate) fn publish(&mut self, change: impl FnOnce(&mut Version)) {
        let mut version = Version::clone(&self.shared.version.load());
        change(&mut version);
        self.settle_residency(&mut version);
        self.shared.version.store(Arc::new(version));
        self.measure_memory();
    }

    /// Removes segment files, whole or half written, that no layer names: what a crash left of
    /// flushes, compactions and jobs ([MANIFEST-9]).
    pub(crate) fn remove_orphans(&self) -> Result<(), EngineError> {
        let version = self.shared.version.load();
        for name in self.disk.list()? {
            let id = SegmentId::from_file_name(name.strip_suffix(".tmp").unwrap_or(&name));
            let is_temporary = name.ends_with(".tmp");
            let is_layer = |id| version.layers.iter().any(|layer| layer.is_segment(id));
            let is_lost = |id| !self.manifest.records.contains(&id);
            let is_orphan =
                id.is_some_and(|id| !is_layer(id)) || is_record_file(&name).is_some_and(is_lost);
            if is_orphan || is_temporary {
                self.disk.remove(&name)?;
            }
        }
        Ok(())
    }
}
