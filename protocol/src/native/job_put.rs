//! PUT: rows or tiles of a job as typed columns. The head is read when the frame arrives, the rest
//! by whoever works on the job. Knows nothing of jobs.

use bytes::{Bytes, BytesMut};
use tilekv_tile::{Cells, Identifier, Rows, TypedColumn};

use super::body::write_frame;
use super::events::{check_bound, decode_column, encode_column};
use super::frame::FrameKind;
use super::job_tiles::{self, JobTiles};
use super::payload::{Payload, i64s, item_range, read_u32};
use super::request::RequestError;
use crate::command::{JobContent, JobPut};
use crate::error::ProtocolError;
use crate::limits::{COLUMNS_MAX, WRITE_ROWS_MAX};

const CONTENT_ROWS: u8 = 1;
const CONTENT_TILES: u8 = 2;

/// Appends a PUT frame with rows. The buffer stays as it was on an error: something is too long
/// for its field, or the cells are text.
pub fn encode_job_rows(
    request_id: u64,
    job: &[u8],
    sequence: Option<u64>,
    rows: &Rows,
    out: &mut BytesMut,
) -> Result<(), ProtocolError> {
    let Cells::Typed(columns) = &rows.cells else {
        let problem = "cells are text, expected typed columns";
        return Err(ProtocolError::Malformed { place: "PUT", problem });
    };
    let names = rows.columns.iter().map(Identifier::as_str);
    let table = Table { entities: &rows.entities, times: &rows.timestamps };
    let columns = names.zip(columns);
    write_put(request_id, (job, sequence, CONTENT_ROWS), &table, columns, out)
}

/// Appends a PUT frame with tiles. The buffer stays as it was on an error: something is too long
/// for its field.
///
/// # Panics
/// Where a column has not a value for each tile.
pub fn encode_job_tiles(
    request_id: u64,
    job: &[u8],
    sequence: Option<u64>,
    tiles: &JobTiles,
    out: &mut BytesMut,
) -> Result<(), ProtocolError> {
    let table = Table { entities: &tiles.entities, times: &tiles.starts };
    let columns = tiles.columns.iter().map(|(name, column)| (name.as_str(), column));
    write_put(request_id, (job, sequence, CONTENT_TILES), &table, columns, out)
}

/// What rows and tiles share.
struct Table<'a> {
    entities: &'a [Bytes],
    times: &'a [i64],
}

/// [NAT-44]
fn write_put<'a>(
    request_id: u64,
    (job, sequence, content): (&[u8], Option<u64>, u8),
    table: &Table<'_>,
    columns: impl ExactSizeIterator<Item = (&'a str, &'a TypedColumn)>,
    out: &mut BytesMut,
) -> Result<(), ProtocolError> {
    let runs = Runs::find(table.entities);
    write_frame(out, FrameKind::Put, 0, request_id, |body| {
        body.u8(content);
        body.u8(u8::from(sequence.is_some()));
        body.length16("columns", columns.len());
        body.length32("rows", table.times.len());
        body.u64(sequence.unwrap_or(0));
        let entities = || runs.entities(table.entities);
        body.length32("entities", entities().count());
        body.length32("entities", entities().map(<[u8]>::len).sum());
        body.length16("job id", job.len());
        body.u8(u8::from(runs.is_short));
        body.bytes(&[0; 5]);
        body.bytes(job);
        body.pad();
        body.i64s(table.times);
        body.items("entities", entities());
        body.pad();
        if runs.is_short {
            runs.ends.iter().for_each(|end| body.length32("rows", *end));
            body.pad();
        }
        for (name, column) in columns {
            assert!(column.len() == table.times.len(), "a column has a value for each row");
            body.pad();
            encode_column(name, column, body);
        }
    })
}

/// Rows of one entity that stand together, where that makes the frame smaller.
struct Runs {
    ends: Vec<usize>,
    is_short: bool,
}

impl Runs {
    fn find(entities: &[Bytes]) -> Self {
        let is_end = |index: &usize| entities.get(*index) != entities.get(*index - 1);
        let ends: Vec<usize> = (1..=entities.len()).filter(is_end).collect();
        let is_short = ends.len() * 2 <= entities.len();
        Self { ends, is_short }
    }

    /// The entity of each run, or of each row.
    fn entities<'a>(&'a self, entities: &'a [Bytes]) -> impl Iterator<Item = &'a [u8]> + Clone {
        let of_runs = self.is_short.then(|| self.ends.iter().map(|end| &entities[*end - 1][..]));
        let of_rows = (!self.is_short).then(|| entities.iter().map(AsRef::as_ref));
        of_runs.into_iter().flatten().chain(of_rows.into_iter().flatten())
    }
}

/// The fixed part of the frame.
struct Head {
    content: u8,
    columns: usize,
    rows: usize,
    sequence: Option<u64>,
    entities: usize,
    entity_bytes: usize,
    job: Bytes,
    has_runs: bool,
}

impl Head {
    fn decode(payload: &mut Payload<'_>) -> Result<Self, ProtocolError> {
        let (content, has_sequence) = (payload.u8()?, payload.u8()?);
        let (columns, rows) = (payload.length16()?, payload.length32()?);
        let sequence = match (has_sequence, payload.u64()?) {
            (0, 0) => None,
            (1, sequence) => Some(sequence),
            _ => return Err(payload.malformed("a sequence that is not announced")),
        };
        let (entities, entity_bytes) = (payload.length32()?, payload.length32()?);
        let (job_bytes, has_runs) = (payload.length16()?, payload.u8()?);
        payload.reserved(5)?;
        let job = payload.bytes(job_bytes)?;
        payload.pad()?;
        let has_runs = match has_runs {
            0 if entities == rows => false,
            1 => true,
            _ => return Err(payload.malformed("the entities do not belong to the rows")),
        };
        if !matches!(content, CONTENT_ROWS | CONTENT_TILES) {
            return Err(payload.malformed("unknown content"));
        }
        Ok(Self { content, columns, rows, sequence, entities, entity_bytes, job, has_runs })
    }
}

/// Reads the head of a frame that has arrived.
pub(super) fn decode_head(
    payload: &mut Payload<'_>,
    frame: &Bytes,
) -> Result<JobPut, RequestError> {
    let head = Head::decode(payload)?;
    Ok(JobPut::from_frame(head.job, head.sequence, frame.clone()))
}

/// Reads the rows or tiles of a frame.
pub(crate) fn read_job_frame(frame: &Bytes) -> Result<JobContent, RequestError> {
    let payload = &mut Payload::over(frame, "PUT");
    let head = Head::decode(payload)?;
    check_bound("rows", head.rows, WRITE_ROWS_MAX)?;
    check_bound("columns", head.columns, COLUMNS_MAX)?;
    let times = i64s(&payload.array(head.rows, 8)?);
    let entities = decode_entities(payload, &head)?;
    let mut columns = Vec::with_capacity(head.columns.min(payload.remaining() / 8));
    for _ in 0..head.columns {
        payload.pad()?;
        columns.push(decode_column(payload, head.rows)?);
    }
    payload.end()?;
    if head.content == CONTENT_TILES {
        return Ok(JobContent::Tiles(job_tiles::read(entities, &times, &columns)?));
    }
    let mut names = Vec::with_capacity(columns.len());
    let mut cells = Vec::with_capacity(columns.len());
    for (name, column) in columns {
        names.push(Identifier::parse(name)?);
        cells.push(column);
    }
    let cells = Cells::Typed(cells);
    Ok(JobContent::Rows(Rows { columns: names, entities, timestamps: times, cells }))
}

/// The entity of each row. Those of a run share their bytes.
fn decode_entities(payload: &mut Payload<'_>, head: &Head) -> Result<Vec<Bytes>, ProtocolError> {
    let (ends, last_end) = payload.ends(head.entities)?;
    if last_end != head.entity_bytes {
        return Err(payload.malformed("the last entity does not end with the entities"));
    }
    let joined = payload.bytes(head.entity_bytes)?;
    payload.pad()?;
    let entity = |index: usize| joined.slice(item_range(&ends, index));
    if !head.has_runs {
        return Ok((0..head.entities).map(entity).collect());
    }
    let (run_ends, last_row) = payload.ends(head.entities)?;
    if last_row != head.rows {
        return Err(payload.malformed("the last run does not end with the rows"));
    }
    let mut entities = Vec::with_capacity(head.rows);
    for (index, end) in run_ends.chunks_exact(4).map(read_u32).enumerate() {
        entities.resize(crate::arguments::position(end), entity(index));
    }
    Ok(entities)
}
