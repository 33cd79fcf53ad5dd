//! Owns how a store is opened: manifest, segments, the tail of the log, and the removal of what a
//! crash left behind.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::RwLock;
use tilekv_wal::{Disk, Log, LogOptions, Lsn, RecoveryReport};

use crate::apply::Applied;
use crate::catalog::Catalog;
use crate::engine::{Engine, EngineCounters, Running, Staged};
use crate::error::EngineError;
use crate::jobs::{Jobs, JobsContext};
use crate::manifest::{Control, MANIFEST, Manifest, encode_control};
use crate::memory::Memory;
use crate::options::EngineOptions;
use crate::overlay::Overlay;
use crate::pending::Pending;
use crate::producer::ProducerTable;
use crate::reader::Shared;
use crate::records::{RecordTable, StagedRecords, load_files};
use crate::segment::{Segment, SegmentId, SegmentIds};
use crate::version::{Layer, Version};

/// What opening a store found.
#[derive(Debug, Clone)]
pub struct OpenReport {
    /// Whether the store was created now.
    pub is_new: bool,
    /// Segments that were read and checked.
    pub segments: usize,
    /// Bytes of their files.
    pub segment_bytes: u64,
    /// What the log held, and what was cut from it.
    pub log: RecoveryReport,
}

impl Engine {
    /// Opens the store on `disk`, or creates one where the folder is empty.
    ///
    /// # Errors
    /// Another process holds the folder, the disk failed, or something that had been made durable
    /// is damaged: then nothing was changed, and the error names file, offset and LSN.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: EngineOptions,
        now_ms: i64,
    ) -> Result<(Self, OpenReport), EngineError> {
        let lock = disk.lock()?;
        let (manifest, is_new) = load_or_create(&*disk, &options)?;
        let Control { catalog, producers, jobs } = manifest.control()?;
        let flushed_catalog = Arc::new(catalog.clone());
        let memory = Arc::new(Memory::new(options.memory_bytes_max, options.overlay_share()));
        let segments = open_segments(&*disk, &memory, &manifest, &catalog, &options)?;
        let segment_bytes = segments.iter().map(|segment| segment.file_bytes()).sum();
        let segment_count = segments.len();
        let control = Control { catalog, producers, jobs };
        let (shared, mut applied) = begin(&disk, &manifest, control, segments, memory)?;
        let segment_ids = Arc::new(SegmentIds::new(manifest.next_segment));
        let (log, report) = replay(&disk, &options, &manifest, &shared, &mut applied)?;
        let committed_ms = report.now_ms.unwrap_or(i64::MIN).max(manifest.now_ms);
        let newest = committed_ms.max(now_ms);
        applied.publish(&shared);
        let frozen = applied.take_frozen();
        // The log may name segments of jobs that are newer than the manifest.
        shared.version.load().segments().for_each(|segment| segment_ids.pass(segment.id));
        let context = JobsContext {
            disk: Arc::clone(&disk),
            shared: Arc::clone(&shared),
            segment_ids: Arc::clone(&segment_ids),
            hash_seed: manifest.hash_seed,
            options,
        };
        let mut engine = Self {
            disk,
            options,
            shared,
            log,
            manifest,
            segment_ids,
            jobs: Arc::new(Jobs::new(context)),
            flushed_catalog,
            staged: Staged {
                catalog: applied.catalog.clone(),
                producers: ProducerTable::default(),
                jobs: Vec::new(),
                records: StagedRecords::default(),
            },
            applied,
            pending: Pending::default(),
            field_scratch: Vec::new(),
            frozen: VecDeque::new(),
            running: Running::default(),
            counters: EngineCounters::default(),
            log_bytes_at_freeze: 0,
            damaged: BTreeSet::new(),
            overlay_began_ms: (0 < report.records_replayed).then_some(newest),
            now_ms: newest,
            committed_ms,
            _lock: lock,
        };
        engine.applied.take_changed();
        engine.adopt_frozen(frozen);
        engine.measure_memory();
        engine.remove_orphans()?;
        let report = OpenReport { is_new, segments: segment_count, segment_bytes, log: report };
        Ok((engine, report))
    }
}

/// The state that a manifest says, and what applies the log to it.
pub(crate) fn begin(
    disk: &Arc<dyn Disk>,
    manifest: &Manifest,
    control: Control,
    segments: Vec<Arc<Segment>>,
    memory: Arc<Memory>,
) -> Result<(Arc<Shared>, Applied), EngineError> {
    let records = Arc::new(RecordTable::new(manifest.hash_seed));
    load_files(&**disk, &manifest.records, &records)?;
    let overlay = Arc::new(Overlay::new(manifest.flushed));
    let active = Layer::Overlay(Arc::clone(&overlay));
    let shared = Shared {
        version: ArcSwap::from_pointee(Version {
            catalog: Arc::new(control.catalog.clone()),
            layers: std::iter::once(active)
                .chain(segments.into_iter().map(Layer::Segment))
                .collect(),
            records: Arc::clone(&records),
            hash_seed: manifest.hash_seed,
        }),
        producers: RwLock::new(control.producers),
        jobs: RwLock::new(control.jobs),
        memory,
    };
    let disk = Arc::clone(disk);
    let applied = Applied::new(control.catalog, overlay, records, disk, manifest.hash_seed);
    Ok((Arc::new(shared), applied))
}

fn load_or_create(
    disk: &dyn Disk,
    options: &EngineOptions,
) -> Result<(Manifest, bool), EngineError> {
    if let Some(manifest) = Manifest::load(disk)? {
        return Ok((manifest, false));
    }
    // [MANIFEST-8]
    let names = disk.list()?;
    if let Some(name) = names.iter().find(|name| !name.ends_with(".tmp")) {
        return Err(EngineError::Corrupt {
            file: MANIFEST.to_owned(),
            offset: 0,
            what: format!(
                "the folder holds `{name}` and no manifest; it is no store, or lost its manifest"
            ),
        });
    }
    let manifest = Manifest {
        hash_seed: options.hash_seed,
        flushed: Lsn::ZERO,
        now_ms: i64::MIN,
        next_segment: SegmentId(0),
        segments: Vec::new(),
        records: Vec::new(),
        control: Arc::new(encode_control(&Control::default())),
    };
    manifest.store(disk)?;
    Ok((manifest, true))
}

/// The manifest's segments, newest first; those that should be are resident.
fn open_segments(
    disk: &dyn Disk,
    memory: &Arc<Memory>,
    manifest: &Manifest,
    catalog: &Catalog,
    options: &EngineOptions,
) -> Result<Vec<Arc<Segment>>, EngineError> {
    let ids = manifest.segments.iter().rev();
    let opened = ids
        .map(|id| Segment::open(disk, memory, *id, catalog))
        .collect::<Result<Vec<Segment>, EngineError>>()?;
    let bytes: Vec<_> = opened.iter().map(Segment::memory_bytes).collect();
    let load = |(segment, is_resident): (Segment, bool)| {
        if !is_resident {
            return Ok(Arc::new(segment));
        }
        segment.into_resident(options.load_thread_count).map(Arc::new)
    };
    let segments = opened.into_iter().zip(memory.judge(&bytes)).map(load);
    segments.collect::<Result<_, EngineError>>().map_err(EngineError::at_start)
}

fn replay(
    disk: &Arc<dyn Disk>,
    options: &EngineOptions,
    manifest: &Manifest,
    shared: &Shared,
    applied: &mut Applied,
) -> Result<(Log, RecoveryReport), EngineError> {
    let log_options = LogOptions {
        file_bytes_max: options.log_file_bytes_max,
        allocate_bytes: ALLOCATE_BYTES.min(options.log_file_bytes_max),
    };
    let mut failure = None;
    let flushed = manifest.flushed;
    let mut apply = |lsn: Lsn, now_ms: i64, record: &[u8]| {
        if failure.is_none() && flushed <= lsn {
            failure = applied.apply(shared, lsn, now_ms, record).err();
        }
    };
    let opened = Log::open(Arc::clone(disk), log_options, flushed, options.salt_seed, &mut apply)?;
    match failure {
        Some(error) => Err(error),
        None => Ok(opened),
    }
}

/// How far ahead of its last batch a log file is filled with zeros.
const ALLOCATE_BYTES: u64 = 4 << 20;
