//! Owns the manifest: one file that says which segments make up the store, up to which LSN they
//! hold the log, and the control state (views, seals, producers) as of that LSN
//! (docs/format/manifest.md). It is replaced whole, by rename.

use std::sync::Arc;

use bytes::Bytes;
use tilekv_tile::SealSet;
use tilekv_wal::{Disk, DiskError, Lsn};

use crate::catalog::{Catalog, View, ViewCounters, ViewId};
use crate::codec::{FieldError, Fields, PutFields, count_u32, index};
use crate::definition::{decode_definition, encode_definition};
use crate::envelope::{Envelope, HEAD_BYTES, MAGIC_BYTES};
use crate::error::EngineError;
use crate::job_table::JobTable;
use crate::producer::ProducerTable;
use crate::segment::SegmentId;
use crate::service::Service;

/// The manifest's file name.
pub(crate) const MANIFEST: &str = "manifest";
/// The name that a manifest is written under before it takes its place.
pub(crate) const MANIFEST_TEMPORARY: &str = "manifest.tmp";
/// [MANIFEST-1], [MANIFEST-7]
const ENVELOPE: Envelope =
    Envelope { file: MANIFEST, name: "manifest", magic: b"TKVMANIF", newest: VERSION_RECORDS };
/// The version of a control state without services.
const VERSION_FIRST: u32 = 1;
/// The version of a control state that ends with services.
const VERSION_SERVICES: u32 = 2;
/// The version of a manifest that lists record files ([MANIFEST-12]).
const VERSION_RECORDS: u32 = 3;

/// Views, producers and committed jobs as of one LSN.
#[derive(Debug, Clone, Default)]
pub(crate) struct Control {
    pub(crate) catalog: Catalog,
    pub(crate) producers: ProducerTable,
    pub(crate) jobs: JobTable,
}

/// A control state as bytes, and the least version that has all of it ([MANIFEST-7]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EncodedControl {
    pub(crate) version: u32,
    pub(crate) bytes: Vec<u8>,
}

/// What the manifest says.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    /// The secret of the store's hashes, drawn when it was created.
    pub(crate) hash_seed: u64,
    /// The first LSN that no segment holds ([MANIFEST-2]).
    pub(crate) flushed: Lsn,
    /// The greatest log time, in milliseconds, that a segment or the control state knows.
    pub(crate) now_ms: i64,
    /// The id of the next segment.
    pub(crate) next_segment: SegmentId,
    /// The live segments, oldest first.
    pub(crate) segments: Vec<SegmentId>,
    /// The live record files, oldest first.
    pub(crate) records: Vec<SegmentId>,
    /// [`encode_control`] of the state as of `flushed`.
    pub(crate) control: Arc<EncodedControl>,
}

impl Manifest {
    /// Reads the manifest, if there is one.
    pub(crate) fn load(disk: &dyn Disk) -> Result<Option<Self>, EngineError> {
        Self::read(disk)?.map(|bytes| Self::decode(&bytes)).transpose()
    }

    /// The manifest's bytes, if there is one: all of one manifest, also while another takes its
    /// place.
    pub(crate) fn read(disk: &dyn Disk) -> Result<Option<Vec<u8>>, EngineError> {
        let file = match disk.open(MANIFEST) {
            Err(DiskError::NotFound { .. }) => return Ok(None),
            opened => opened?,
        };
        let mut bytes = vec![0; index(file.len()?)];
        file.read_at(0, &mut bytes)?;
        Ok(Some(bytes))
    }

    /// Writes the manifest in place of the one before it, durably: a reader meets the one or the
    /// other.
    pub(crate) fn store(&self, disk: &dyn Disk) -> Result<(), EngineError> {
        let file = disk.create(MANIFEST_TEMPORARY)?;
        file.write_at(0, &self.encode())?;
        file.sync()?;
        disk.rename(MANIFEST_TEMPORARY, MANIFEST)?;
        disk.sync_folder()?;
        Ok(())
    }

    /// The control state, decoded.
    pub(crate) fn control(&self) -> Result<Control, EngineError> {
        decode_control(&self.control).map_err(|error| ENVELOPE.corrupt(HEAD_BYTES, error))
    }

    fn encode(&self) -> Vec<u8> {
        let has_records = !self.records.is_empty();
        let version = if has_records { VERSION_RECORDS } else { self.control.version };
        ENVELOPE.seal(version, |out| {
            out.put_u64(self.hash_seed);
            out.put_u64(self.flushed.number());
            out.put_i64(self.now_ms);
            out.put_u64(self.next_segment.0);
            out.put_u32(count_u32(self.segments.len()));
            self.segments.iter().for_each(|segment| out.put_u64(segment.0));
            out.put_long(&self.control.bytes);
            if has_records {
                out.put_u32(self.control.version);
                out.put_u32(count_u32(self.records.len()));
                self.records.iter().for_each(|file| out.put_u64(file.0));
            }
        })
    }

    /// The manifest that these bytes are.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, EngineError> {
        let (version, fields) = ENVELOPE.open(bytes)?;
        Self::decode_fields(version, fields).map_err(|error| ENVELOPE.corrupt(MAGIC_BYTES, error))
    }

    fn decode_fields(version: u32, mut fields: Fields<'_>) -> Result<Self, FieldError> {
        let hash_seed = fields.u64()?;
        let flushed = Lsn::new(fields.u64()?);
        let now_ms = fields.i64()?;
        let next_segment = SegmentId(fields.u64()?);
        let segments = decode_ids(&mut fields)?;
        let bytes = fields.long()?.to_vec();
        let (version, records) = if version < VERSION_RECORDS {
            (version, Vec::new())
        } else {
            (fields.u32()?, decode_ids(&mut fields)?)
        };
        let control = Arc::new(EncodedControl { version, bytes });
        fields.end()?;
        Ok(Self { hash_seed, flushed, now_ms, next_segment, segments, records, control })
    }
}

fn decode_ids(fields: &mut Fields<'_>) -> Result<Vec<SegmentId>, FieldError> {
    let count = fields.u32()?;
    (0..count).map(|_| fields.u64().map(SegmentId)).collect()
}

/// The control state as bytes.
pub(crate) fn encode_control(control: &Control) -> EncodedControl {
    let mut out = Vec::new();
    out.put_u32(control.catalog.next_view_id().0);
    out.put_u32(count_u32(control.catalog.len()));
    for view in control.catalog.views() {
        encode_view(view, &mut out);
    }
    out.put_u32(count_u32(control.producers.len()));
    for (view, id, progress) in control.producers.iter() {
        out.put_u32(view.0);
        out.put_short(id);
        out.put_u64(progress.sequence);
        out.put_i64(progress.seen_at);
    }
    control.jobs.encode(&mut out);
    let services = control.catalog.services();
    let version = if services.len() == 0 { VERSION_FIRST } else { VERSION_SERVICES };
    if version == VERSION_SERVICES {
        out.put_u32(count_u32(services.len()));
        services.for_each(|service| service.encode(&mut out));
    }
    EncodedControl { version, bytes: out }
}

fn encode_view(view: &View, out: &mut Vec<u8>) {
    out.put_u32(view.id.0);
    out.put_u64(view.revision);
    encode_definition(&view.definition, out);
    out.put_u32(count_u32(view.layouts.len()));
    view.layouts.iter().for_each(|layout| out.put_u32(count_u32(layout.components().len())));
    for feature in &view.features {
        out.put_u32(count_u32(feature.incomplete.len()));
        for &(from, to) in &feature.incomplete {
            out.put_i64(from);
            out.put_i64(to);
        }
    }
    let mut seals = Vec::new();
    view.seals.encode(&mut seals);
    out.put_long(&seals);
    out.put_option(view.counters.newest_event());
    out.put_option(view.counters.oldest_tile());
    out.put_u64(view.counters.late_dropped());
    out.put_u64(view.counters.too_old());
}

fn decode_control(control: &EncodedControl) -> Result<Control, FieldError> {
    let mut fields = Fields::new(&control.bytes);
    let next_view_id = fields.u32()?;
    let view_count = fields.u32()?;
    let views = (0..view_count)
        .map(|_| decode_view(&mut fields))
        .collect::<Result<Vec<View>, FieldError>>()?;
    let mut producers = ProducerTable::default();
    for _ in 0..fields.u32()? {
        let view = ViewId(fields.u32()?);
        let id = Bytes::copy_from_slice(fields.short()?);
        producers.record(view, id, fields.u64()?, fields.i64()?);
    }
    let jobs = JobTable::decode(&mut fields)?;
    let service_count = if control.version < VERSION_SERVICES { 0 } else { fields.u32()? };
    let services = (0..service_count)
        .map(|_| Service::decode(&mut fields))
        .collect::<Result<Vec<Service>, FieldError>>()?;
    fields.end()?;
    // [MANIFEST-11]
    let is_known = |id: &ViewId| views.iter().any(|view| view.id == *id);
    if !services.iter().flat_map(|service| &service.windows).all(|(id, _)| is_known(id)) {
        return Err(FieldError::Value("view of a service"));
    }
    let catalog = Catalog::from_parts(next_view_id, views, services);
    Ok(Control { catalog, producers, jobs })
}

fn decode_view(fields: &mut Fields<'_>) -> Result<View, FieldError> {
    let id = ViewId(fields.u32()?);
    let revision = fields.u64()?;
    let definition = decode_definition(fields)?;
    let mut view =
        View::create(id, definition).map_err(|_| FieldError::Value("view definition"))?;
    view.revision = revision;
    decode_layouts(&mut view, fields)?;
    for feature in &mut view.features {
        let count = fields.u32()?;
        feature.incomplete = (0..count)
            .map(|_| Ok((fields.i64()?, fields.i64()?)))
            .collect::<Result<Vec<(i64, i64)>, FieldError>>()?;
    }
    // [MANIFEST-6]
    let seals = SealSet::decode(fields.long()?).map_err(|_| FieldError::Value("seals"))?;
    view.set_seals(seals);
    let (newest, oldest) = (fields.option("newest event")?, fields.option("oldest tile")?);
    view.counters = Arc::new(ViewCounters::new(newest, oldest, fields.u64()?, fields.u64()?));
    Ok(view)
}

/// Cuts the view's earlier layouts out of its newest: each is a prefix of the next.
fn decode_layouts(view: &mut View, fields: &mut Fields<'_>) -> Result<(), FieldError> {
    let newest = Arc::clone(view.layout());
    let count = fields.u32()?;
    view.layouts.clear();
    for _ in 0..count {
        let len = crate::codec::small_index(fields.u32()?);
        let prefix =
            newest.components().get(..len).ok_or(FieldError::Value("layout length"))?.to_vec();
        view.layouts.push(Arc::new(tilekv_tile::Layout::new(prefix)));
    }
    let is_whole = view.layouts.last().map(|last| last.components().len());
    if is_whole == Some(newest.components().len()) {
        Ok(())
    } else {
        Err(FieldError::Value("layouts"))
    }
}
