//! ADD: rows as typed columns. Knows nothing of the columns that a view has.

use bytes::Bytes;
use tilekv_tile::{Cells, Identifier, Rows, TypedColumn};

use super::body::Body;
use super::payload::{Payload, bits, f64s, i64s, item_range};
use super::request::RequestError;
use super::stamp::{Head, Target, encode_head, encode_target};
use crate::command::{EventWrite, RequestShape, WriteLane};
use crate::error::{ErrorReply, ProtocolError};
use crate::limits::{COLUMNS_MAX, WRITE_ROWS_MAX};

const TYPE_I64: u8 = 1;
const TYPE_F64: u8 = 2;
const TYPE_STR: u8 = 3;

/// [NAT-41] Rows whose cells are text have no form here.
pub(super) fn encode(write: &EventWrite, body: &mut Body<'_>) -> Result<(), ProtocolError> {
    let (rows, stamp) = (&write.rows, write.stamp.as_ref());
    let Cells::Typed(columns) = &rows.cells else {
        let problem = "cells are text, expected typed columns";
        return Err(ProtocolError::Malformed { place: "ADD", problem });
    };
    encode_head(&write.view, stamp, columns.len(), body);
    body.length32("rows", rows.len());
    body.length32("entities", rows.entities.iter().map(Bytes::len).sum());
    encode_target(&write.view, stamp, body);
    body.pad();
    body.i64s(&rows.timestamps);
    body.items("entities", rows.entities.iter().map(AsRef::as_ref));
    for (name, column) in rows.columns.iter().zip(columns) {
        body.pad();
        encode_column(name.as_str(), column, body);
    }
    Ok(())
}

/// [NAT-42]
pub(super) fn encode_column(name: &str, column: &TypedColumn, body: &mut Body<'_>) {
    let text_bytes = match column {
        TypedColumn::Str { values, .. } => values.iter().map(Bytes::len).sum(),
        _ => 0,
    };
    body.u8(match column {
        TypedColumn::I64 { .. } => TYPE_I64,
        TypedColumn::F64 { .. } => TYPE_F64,
        TypedColumn::Str { .. } => TYPE_STR,
    });
    body.u8(u8::from(column.valid().is_some()));
    body.length16("column name", name.len());
    body.length32("strings", text_bytes);
    body.bytes(name.as_bytes());
    body.pad();
    if let Some(valid) = column.valid() {
        body.bitmap(valid.iter().copied());
    }
    match column {
        TypedColumn::I64 { values, .. } => body.i64s(values),
        TypedColumn::F64 { values, .. } => body.f64s(values),
        TypedColumn::Str { values, .. } => {
            body.items("strings", values.iter().map(AsRef::as_ref));
        }
    }
}

pub(super) fn decode(
    payload: &mut Payload<'_>,
    lane: WriteLane,
) -> Result<EventWrite, RequestError> {
    let head = Head::decode(payload)?;
    let (row_count, entity_bytes) = (payload.length32()?, payload.length32()?);
    let target = head.target(payload)?;
    check_bound("rows", row_count, WRITE_ROWS_MAX).map_err(|error| target.refuse(error))?;
    check_bound("columns", head.items, COLUMNS_MAX).map_err(|error| target.refuse(error))?;
    payload.pad()?;
    let timestamps = i64s(&payload.array(row_count, 8)?);
    let entities = decode_items(payload, row_count, entity_bytes)?;
    let (columns, cells) = decode_columns(payload, &target, head.items, row_count)?;
    payload.end()?;
    let rows = Rows { columns, entities, timestamps, cells: Cells::Typed(cells) };
    let Target { view, stamp } = target;
    Ok(EventWrite { view, rows, stamp, shape: RequestShape::Batch, lane })
}

fn decode_columns(
    payload: &mut Payload<'_>,
    target: &Target,
    column_count: usize,
    row_count: usize,
) -> Result<(Vec<Identifier>, Vec<TypedColumn>), RequestError> {
    let mut names = Vec::with_capacity(column_count.min(payload.remaining() / 8));
    let mut columns = Vec::with_capacity(names.capacity());
    for _ in 0..column_count {
        payload.pad()?;
        let (name, column) = decode_column(payload, row_count)?;
        names.push(Identifier::parse(name).map_err(|error| target.refuse(error))?);
        columns.push(column);
    }
    Ok((names, columns))
}

pub(super) fn decode_column<'a>(
    payload: &mut Payload<'a>,
    row_count: usize,
) -> Result<(&'a [u8], TypedColumn), ProtocolError> {
    let (kind, has_nulls) = (payload.u8()?, payload.u8()?);
    let (name_bytes, text_bytes) = (payload.length16()?, payload.length32()?);
    let name = payload.slice(name_bytes)?;
    payload.pad()?;
    let valid = match has_nulls {
        0 => None,
        1 => Some(bits(&payload.bitmap(row_count)?, row_count)),
        _ => return Err(payload.malformed("a column's validity is neither 0 nor 1")),
    };
    if kind != TYPE_STR && text_bytes != 0 {
        return Err(payload.malformed("string bytes in a column of numbers"));
    }
    let column = match kind {
        TYPE_I64 => TypedColumn::I64 { values: i64s(&payload.array(row_count, 8)?), valid },
        TYPE_F64 => TypedColumn::F64 { values: f64s(&payload.array(row_count, 8)?), valid },
        TYPE_STR => {
            TypedColumn::Str { values: decode_items(payload, row_count, text_bytes)?, valid }
        }
        _ => return Err(payload.malformed("unknown column type")),
    };
    Ok((name, column))
}

fn decode_items(
    payload: &mut Payload<'_>,
    count: usize,
    joined_bytes: usize,
) -> Result<Vec<Bytes>, ProtocolError> {
    let (ends, last_end) = payload.ends(count)?;
    if last_end != joined_bytes {
        return Err(payload.malformed("the last item does not end with the items"));
    }
    let joined = payload.bytes(joined_bytes)?;
    Ok((0..count).map(|index| joined.slice(item_range(&ends, index))).collect())
}

pub(super) fn check_bound(what: &str, found: usize, allowed: usize) -> Result<(), ErrorReply> {
    if found <= allowed {
        return Ok(());
    }
    Err(ErrorReply::limit(format!("{found} {what} in one write, expected at most {allowed}")))
}
