//! Owns the log's records: the effects of commands as bytes ([RECORD-1]; docs/format/record.md).
//! The live path and recovery apply the same bytes, so they cannot differ. Knows nothing of files.

use tilekv_tile::{ColumnType, Name, ProducerStamp, Scalar, ViewDefinition};

use crate::catalog::{AlterGaps, LayoutId, ViewId};
use crate::codec::{FieldError, Fields, PutFields, count_u32, small_index};
use crate::definition::{decode_definition, encode_definition};
use crate::job::{JobId, JobMode};
use crate::ranges::TimeRange;
use crate::records::RecordEffect;
use crate::segment::SegmentId;
use crate::service::Service;

const CREATE_VIEW: u8 = 1;
const ALTER_VIEW: u8 = 2;
const DROP_VIEW: u8 = 3;
const EVENTS: u8 = 4;
const TILE: u8 = 5;
const CLEAR: u8 = 6;
const ADD_SEAL: u8 = 7;
const REMOVE_SEAL: u8 = 8;
const COMMIT_JOB: u8 = 9;
const CREATE_SERVICE: u8 = 10;
const DROP_SERVICE: u8 = 11;

/// What stands in the place of the view id in records that are about no view.
const NO_VIEW: ViewId = ViewId(0);

/// The producer's sequence that a record applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StampRecord<'a> {
    pub(crate) id: &'a [u8],
    pub(crate) sequence: u64,
}

/// A whole tile that was set or merged ([RECORD-6]).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TileRecord<'a> {
    pub(crate) view: ViewId,
    pub(crate) stamp: Option<StampRecord<'a>>,
    pub(crate) layout: LayoutId,
    pub(crate) start: i64,
    /// Whether the tile hides everything older.
    pub(crate) base: bool,
    pub(crate) entity: &'a [u8],
    /// The encoded accumulator under the layout.
    pub(crate) state: &'a [u8],
}

/// A job's commit ([RECORD-9]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JobRecord<'a> {
    pub(crate) view: ViewId,
    pub(crate) id: JobId,
    pub(crate) token: Option<&'a [u8]>,
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) mode: JobMode,
    /// When its range is sealed, in milliseconds; none where it is not.
    pub(crate) sealed_at: Option<i64>,
    /// Rows and tiles that the job took.
    pub(crate) rows: u64,
    /// How many of the view's features the job's rows were given to.
    pub(crate) feature_count: u16,
    /// The least tile start of its rows.
    pub(crate) oldest: Option<i64>,
    /// Their greatest timestamp.
    pub(crate) newest: Option<i64>,
    /// The segment that holds them; none where there is nothing to add or to remove.
    pub(crate) segment: Option<SegmentId>,
}

/// One effect, decoded.
#[derive(Debug)]
pub(crate) enum Effect<'a> {
    /// A view comes to be.
    CreateView { id: ViewId, definition: ViewDefinition },
    /// A view changes.
    AlterView { id: ViewId, gaps: AlterGaps, definition: ViewDefinition },
    /// A view and all its tiles go.
    DropView { id: ViewId },
    /// Rows are added to the tiles that hold their timestamps.
    Events(EventsRecord<'a>),
    /// A tile is set or merged.
    Tile(TileRecord<'a>),
    /// Tiles of an entity with `from <= start < to` go ([RECORD-7]).
    Clear { view: ViewId, from: i64, to: i64, entity: &'a [u8] },
    /// A range is sealed.
    AddSeal { view: ViewId, from: i64, to: i64, at: i64 },
    /// A job's rows are published.
    CommitJob(JobRecord<'a>),
    /// A range's seals are withdrawn.
    RemoveSeal { view: ViewId, from: i64, to: i64, at: i64 },
    /// A service comes to be.
    CreateService(Service),
    /// A service goes.
    DropService(Name),
    /// Records change.
    Record(RecordEffect<'a>),
}

impl<'a> Effect<'a> {
    /// Reads one record. An error means that the record is not one that this version writes
    /// ([RECORD-8]).
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, FieldError> {
        let mut fields = Fields::new(bytes);
        let kind = fields.u8()?;
        let view = ViewId(fields.u32()?);
        let effect = match kind {
            CREATE_VIEW => {
                Self::CreateView { id: view, definition: decode_definition(&mut fields)? }
            }
            ALTER_VIEW => Self::AlterView {
                id: view,
                gaps: AlterGaps {
                    new_features: decode_gap(&mut fields)?,
                    all_features: decode_gap(&mut fields)?,
                },
                definition: decode_definition(&mut fields)?,
            },
            DROP_VIEW => Self::DropView { id: view },
            EVENTS => return EventsRecord::decode(view, fields).map(Self::Events),
            TILE => Self::Tile(decode_tile(view, &mut fields)?),
            CLEAR => Self::Clear {
                view,
                from: fields.i64()?,
                to: fields.i64()?,
                entity: fields.short()?,
            },
            ADD_SEAL => {
                Self::AddSeal { view, from: fields.i64()?, to: fields.i64()?, at: fields.i64()? }
            }
            REMOVE_SEAL => {
                Self::RemoveSeal { view, from: fields.i64()?, to: fields.i64()?, at: fields.i64()? }
            }
            COMMIT_JOB => Self::CommitJob(decode_job(view, &mut fields)?),
            CREATE_SERVICE | DROP_SERVICE => decode_service(kind, view, &mut fields)?,
            _ => return RecordEffect::decode(kind, view.0, fields).map(Self::Record),
        };
        fields.end()?;
        Ok(effect)
    }
}

/// Appends the record of a new view.
pub(crate) fn put_create_view(out: &mut Vec<u8>, id: ViewId, definition: &ViewDefinition) {
    put_head(out, CREATE_VIEW, id);
    encode_definition(definition, out);
}

/// Appends the record of a changed view.
pub(crate) fn put_alter_view(
    out: &mut Vec<u8>,
    id: ViewId,
    gaps: AlterGaps,
    definition: &ViewDefinition,
) {
    put_head(out, ALTER_VIEW, id);
    for gap in [gaps.new_features, gaps.all_features] {
        out.put_option(gap.map(|(from, _)| from));
        out.put_option(gap.map(|(_, to)| to));
    }
    encode_definition(definition, out);
}

/// Appends the record of a dropped view.
pub(crate) fn put_drop_view(out: &mut Vec<u8>, id: ViewId) {
    put_head(out, DROP_VIEW, id);
}

/// Appends the record of a set or merged tile.
pub(crate) fn put_tile(out: &mut Vec<u8>, tile: &TileRecord<'_>) {
    put_head(out, TILE, tile.view);
    put_stamp(out, tile.stamp);
    out.put_u16(tile.layout.0);
    out.put_i64(tile.start);
    out.put_u8(u8::from(tile.base));
    out.put_short(tile.entity);
    out.put_long(tile.state);
}

/// Appends the record of an entity's cleared range.
pub(crate) fn put_clear(out: &mut Vec<u8>, view: ViewId, from: i64, to: i64, entity: &[u8]) {
    put_head(out, CLEAR, view);
    out.put_i64(from);
    out.put_i64(to);
    out.put_short(entity);
}

/// Appends the record of a new seal, made at `at`.
pub(crate) fn put_add_seal(out: &mut Vec<u8>, view: ViewId, from: i64, to: i64, at: i64) {
    put_head(out, ADD_SEAL, view);
    out.put_i64(from);
    out.put_i64(to);
    out.put_i64(at);
}

/// Appends the record of seals withdrawn at `at`.
pub(crate) fn put_remove_seal(out: &mut Vec<u8>, view: ViewId, from: i64, to: i64, at: i64) {
    put_head(out, REMOVE_SEAL, view);
    out.put_i64(from);
    out.put_i64(to);
    out.put_i64(at);
}

/// Appends the record of a job's commit.
pub(crate) fn put_commit_job(out: &mut Vec<u8>, job: &JobRecord<'_>) {
    put_head(out, COMMIT_JOB, job.view);
    out.put_u64(job.id.number());
    out.put_u8(u8::from(job.token.is_some()));
    out.put_short(job.token.unwrap_or_default());
    out.put_i64(job.from);
    out.put_i64(job.to);
    out.put_u8(u8::from(job.mode == JobMode::Replace));
    out.put_option(job.sealed_at);
    out.put_u64(job.rows);
    out.put_u16(job.feature_count);
    out.put_option(job.oldest);
    out.put_option(job.newest);
    out.put_u8(u8::from(job.segment.is_some()));
    out.put_u64(job.segment.map_or(0, |segment| segment.0));
}

/// Appends the record of a new service.
pub(crate) fn put_create_service(out: &mut Vec<u8>, service: &Service) {
    put_head(out, CREATE_SERVICE, NO_VIEW);
    service.encode(out);
}

/// Appends the record of a dropped service.
pub(crate) fn put_drop_service(out: &mut Vec<u8>, name: &Name) {
    put_head(out, DROP_SERVICE, NO_VIEW);
    out.put_short(name.as_str().as_bytes());
}

fn decode_service<'a>(
    kind: u8,
    view: ViewId,
    fields: &mut Fields<'_>,
) -> Result<Effect<'a>, FieldError> {
    if view != NO_VIEW {
        return Err(FieldError::Value("reserved"));
    }
    if kind == CREATE_SERVICE {
        return Service::decode(fields).map(Effect::CreateService);
    }
    let name = Name::parse(fields.short()?).map_err(|_| FieldError::Value("service name"))?;
    Ok(Effect::DropService(name))
}

fn decode_job<'a>(view: ViewId, fields: &mut Fields<'a>) -> Result<JobRecord<'a>, FieldError> {
    Ok(JobRecord {
        view,
        id: JobId::new(fields.u64()?),
        token: {
            let is_given = fields.flag("token")?;
            Some(fields.short()?).filter(|_| is_given)
        },
        from: fields.i64()?,
        to: fields.i64()?,
        mode: if fields.flag("mode")? { JobMode::Replace } else { JobMode::Merge },
        sealed_at: fields.option("sealed at")?,
        rows: fields.u64()?,
        feature_count: fields.u16()?,
        oldest: fields.option("oldest tile")?,
        newest: fields.option("newest row")?,
        segment: {
            let is_given = fields.flag("segment")?;
            Some(SegmentId(fields.u64()?)).filter(|_| is_given)
        },
    })
}

fn put_head(out: &mut Vec<u8>, kind: u8, view: ViewId) {
    out.put_u8(kind);
    out.put_u32(view.0);
}

fn put_stamp(out: &mut Vec<u8>, stamp: Option<StampRecord<'_>>) {
    out.put_u8(u8::from(stamp.is_some()));
    if let Some(stamp) = stamp {
        out.put_short(stamp.id);
        out.put_u64(stamp.sequence);
    }
}

fn decode_gap(fields: &mut Fields<'_>) -> Result<Option<TimeRange>, FieldError> {
    Ok(fields.option("gap start")?.zip(fields.option("gap end")?))
}

fn decode_stamp<'a>(fields: &mut Fields<'a>) -> Result<Option<StampRecord<'a>>, FieldError> {
    if !fields.flag("stamp")? {
        return Ok(None);
    }
    Ok(Some(StampRecord { id: fields.short()?, sequence: fields.u64()? }))
}

fn decode_tile<'a>(view: ViewId, fields: &mut Fields<'a>) -> Result<TileRecord<'a>, FieldError> {
    Ok(TileRecord {
        view,
        stamp: decode_stamp(fields)?,
        layout: LayoutId(fields.u16()?),
        start: fields.i64()?,
        base: fields.flag("base")?,
        entity: fields.short()?,
        state: fields.long()?,
    })
}

impl<'a> From<&'a ProducerStamp> for StampRecord<'a> {
    fn from(stamp: &'a ProducerStamp) -> Self {
        Self { id: &stamp.id, sequence: stamp.sequence }
    }
}

/// Writes an events record row by row, straight into the pending batch.
#[derive(Debug)]
pub(crate) struct EventsWriter<'a> {
    out: &'a mut Vec<u8>,
    counts_at: usize,
    columns: usize,
    rows: usize,
    too_old: usize,
    late_dropped: usize,
    nulls_at: usize,
    next_column: usize,
}

impl<'a> EventsWriter<'a> {
    /// Begins a record of rows for `view`, whose cells belong to the columns at `columns`.
    pub(crate) fn begin(
        out: &'a mut Vec<u8>,
        view: ViewId,
        stamp: Option<StampRecord<'_>>,
        columns: &[u16],
    ) -> Self {
        put_head(out, EVENTS, view);
        put_stamp(out, stamp);
        out.put_u32(count_u32(columns.len()));
        for column in columns {
            out.put_u16(*column);
        }
        let counts_at = out.len();
        out.extend_from_slice(&[0; 12]);
        Self {
            out,
            counts_at,
            columns: columns.len(),
            rows: 0,
            too_old: 0,
            late_dropped: 0,
            nulls_at: 0,
            next_column: 0,
        }
    }

    /// Begins a row; a cell for every column must follow.
    pub(crate) fn begin_row(&mut self, timestamp: i64, entity: &[u8]) {
        debug_assert!(self.rows == 0 || self.next_column == self.columns);
        self.out.put_i64(timestamp);
        self.out.put_short(entity);
        self.nulls_at = self.out.len();
        self.out.resize(self.nulls_at + self.columns.div_ceil(8), 0);
        self.next_column = 0;
        self.rows += 1;
    }

    /// Writes the row's next cell.
    pub(crate) fn cell(&mut self, cell: Option<Scalar<'_>>) {
        debug_assert!(self.next_column < self.columns);
        match cell {
            None => self.out[self.nulls_at + self.next_column / 8] |= 1 << (self.next_column % 8),
            Some(Scalar::I64(value)) => self.out.put_i64(value),
            Some(Scalar::F64(value)) => self.out.put_u64(value.to_bits()),
            Some(Scalar::Str(value)) => self.out.put_long(value),
        }
        self.next_column += 1;
    }

    /// Counts a row that lay before the retention horizon.
    pub(crate) fn skip_too_old(&mut self) {
        self.too_old += 1;
    }

    /// Counts a row that came late for a sealed range.
    pub(crate) fn skip_late(&mut self) {
        self.late_dropped += 1;
    }

    /// Ends the record; returns how many rows it holds.
    pub(crate) fn finish(self) -> usize {
        let counts = [self.rows, self.too_old, self.late_dropped];
        for (index, count) in counts.into_iter().enumerate() {
            let at = self.counts_at + 4 * index;
            self.out[at..at + 4].copy_from_slice(&count_u32(count).to_le_bytes());
        }
        self.rows
    }
}

/// Rows of events, as they stand in the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventsRecord<'a> {
    pub(crate) view: ViewId,
    pub(crate) stamp: Option<StampRecord<'a>>,
    pub(crate) too_old: u32,
    pub(crate) late_dropped: u32,
    columns: &'a [u8],
    row_count: u32,
    rows: &'a [u8],
}

impl<'a> EventsRecord<'a> {
    fn decode(view: ViewId, mut fields: Fields<'a>) -> Result<Self, FieldError> {
        let stamp = decode_stamp(&mut fields)?;
        let column_count = small_index(fields.u32()?);
        let columns =
            fields.take(column_count.checked_mul(2).ok_or(FieldError::Value("column count"))?)?;
        let (row_count, too_old, late_dropped) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let rows = fields.rest();
        Ok(Self { view, stamp, too_old, late_dropped, columns, row_count, rows })
    }

    /// Calls `row` with the timestamp, entity and cells of every row. Cells are indexed by the
    /// view's columns; `kinds` gives their types.
    pub(crate) fn for_each_row(
        &self,
        kinds: &[ColumnType],
        mut row: impl FnMut(i64, &'a [u8], &[Option<Scalar<'a>>]),
    ) -> Result<(), FieldError> {
        let mut cells: Vec<Option<Scalar<'a>>> = vec![None; kinds.len()];
        let mut fields = Fields::new(self.rows);
        for _ in 0..self.row_count {
            let timestamp = fields.i64()?;
            let entity = fields.short()?;
            self.read_cells(&mut fields, kinds, &mut cells)?;
            row(timestamp, entity, &cells);
        }
        fields.end()
    }

    /// Reads a row's cells behind their null bitmap ([RECORD-5]).
    fn read_cells(
        &self,
        fields: &mut Fields<'a>,
        kinds: &[ColumnType],
        cells: &mut [Option<Scalar<'a>>],
    ) -> Result<(), FieldError> {
        let nulls = fields.take((self.columns.len() / 2).div_ceil(8))?;
        for (index, column) in self.columns.chunks_exact(2).enumerate() {
            let column = usize::from(u16::from_le_bytes([column[0], column[1]]));
            let kind = *kinds.get(column).ok_or(FieldError::Value("column"))?;
            let is_null = nulls[index / 8] >> (index % 8) & 1 == 1;
            cells[column] = if is_null { None } else { Some(read_cell(fields, kind)?) };
        }
        Ok(())
    }
}

fn read_cell<'a>(fields: &mut Fields<'a>, kind: ColumnType) -> Result<Scalar<'a>, FieldError> {
    Ok(match kind {
        ColumnType::I64 => Scalar::I64(fields.i64()?),
        ColumnType::F64 => Scalar::F64(f64::from_bits(fields.u64()?)),
        ColumnType::Str => Scalar::Str(fields.long()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_back_with_their_nulls_and_counts() {
        let mut out = Vec::new();
        let stamp = StampRecord { id: b"p", sequence: 3 };
        let mut writer = EventsWriter::begin(&mut out, ViewId(9), Some(stamp), &[2, 0]);
        writer.begin_row(-5, b"u:1");
        writer.cell(Some(Scalar::Str(b"x")));
        writer.cell(None);
        writer.skip_too_old();
        writer.skip_late();
        writer.begin_row(6, b"u:2");
        writer.cell(None);
        writer.cell(Some(Scalar::I64(-1)));
        assert_eq!(writer.finish(), 2);
        let Ok(Effect::Events(record)) = Effect::decode(&out) else {
            panic!("an events record");
        };
        assert_eq!((record.view, record.stamp), (ViewId(9), Some(stamp)));
        assert_eq!((record.too_old, record.late_dropped), (1, 1));
        let kinds = [ColumnType::I64, ColumnType::F64, ColumnType::Str];
        let mut rows = Vec::new();
        let read = record.for_each_row(&kinds, |timestamp, entity, cells| {
            rows.push((timestamp, entity.to_vec(), format!("{cells:?}")));
        });
        assert_eq!(read, Ok(()));
        assert_eq!(rows[0].0, -5);
        assert_eq!(rows[0].2, format!("{:?}", [None, None, Some(Scalar::Str(b"x"))]));
        assert_eq!(rows[1].1, b"u:2");
        assert_eq!(rows[1].2, format!("{:?}", [Some(Scalar::I64(-1)), None, None]));
    }

    #[test]
    fn a_cut_record_is_an_error_at_every_length() {
        let mut out = Vec::new();
        put_clear(&mut out, ViewId(1), 0, 10, b"entity");
        for len in 0..out.len() {
            assert!(Effect::decode(&out[..len]).is_err(), "{len} bytes must not decode");
        }
        assert!(matches!(Effect::decode(&out), Ok(Effect::Clear { from: 0, to: 10, .. })));
    }

    #[test]
    fn services_read_back_and_are_about_no_view() {
        let selector = tilekv_tile::Selector::parse(b"likes@7d:1d").unwrap();
        let name = Name::parse(b"ranking.v1").unwrap();
        let service = Service { name: name.clone(), windows: vec![(ViewId(3), selector)] };
        let mut out = Vec::new();
        put_create_service(&mut out, &service);
        let Ok(Effect::CreateService(read)) = Effect::decode(&out) else { panic!("a service") };
        assert_eq!(read, service);
        for len in 0..out.len() {
            assert!(Effect::decode(&out[..len]).is_err(), "{len} bytes must not decode");
        }
        out[1] = 1;
        assert!(Effect::decode(&out).is_err(), "a service of view 1");
        out.clear();
        put_drop_service(&mut out, &name);
        assert!(matches!(Effect::decode(&out), Ok(Effect::DropService(read)) if read == name));
    }

    #[test]
    fn tiles_and_seals_read_back() {
        let tile = TileRecord {
            view: ViewId(4),
            stamp: None,
            layout: LayoutId(2),
            start: -60_000,
            base: true,
            entity: b"e",
            state: b"state",
        };
        let mut out = Vec::new();
        put_tile(&mut out, &tile);
        let Ok(Effect::Tile(read)) = Effect::decode(&out) else { panic!("a tile record") };
        assert_eq!(read, tile);
        out.clear();
        put_remove_seal(&mut out, ViewId(4), 1, 2, 3);
        assert!(matches!(
            Effect::decode(&out),
            Ok(Effect::RemoveSeal { view: ViewId(4), from: 1, to: 2, at: 3 })
        ));
    }
}
