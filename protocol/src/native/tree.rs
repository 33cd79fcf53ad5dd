//! Typed values inside each other: the content of VALUE frames and of columns of any type
//! ([NAT-51]). Knows nothing of commands.

use bytes::Bytes;
use tilekv_tile::Value;

use super::body::Body;
use super::payload::Payload;
use crate::command::RequestShape;
use crate::error::{ErrorCode, ErrorReply, ProtocolError};
use crate::limits::Limits;
use crate::reply::{Reply, SlicesForm, SlicesReply, WindowsReply};

const NIL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INTEGER: u8 = 3;
const DOUBLE: u8 = 4;
const BIG: u8 = 5;
const BULK: u8 = 6;
const SIMPLE: u8 = 7;
const ARRAY: u8 = 8;
const MAP: u8 = 9;
const ERROR: u8 = 10;

/// Appends a reply.
pub(super) fn encode_reply(reply: &Reply, body: &mut Body<'_>) {
    match reply {
        Reply::Nil => body.u8(NIL),
        Reply::Bool(false) => body.u8(FALSE),
        Reply::Bool(true) => body.u8(TRUE),
        Reply::Integer(value) => integer(*value, body),
        Reply::Double(value) => double(*value, body),
        Reply::Big(value) => big(*value, body),
        Reply::Bulk(bytes) => bulk(bytes, body),
        Reply::Simple(text) => {
            body.u8(SIMPLE);
            body.length32("text", text.len());
            body.bytes(text.as_bytes());
        }
        Reply::Array(items) => {
            array(items.len(), body);
            items.iter().for_each(|item| encode_reply(item, body));
        }
        Reply::Map(pairs) => {
            body.u8(MAP);
            body.length32("map", pairs.len());
            for (key, value) in pairs {
                encode_reply(key, body);
                encode_reply(value, body);
            }
        }
        Reply::Error(error) => {
            body.u8(ERROR);
            encode_error(error, body);
        }
        Reply::Windows(windows) => encode_windows(windows, body),
        Reply::Slices(slices) => encode_slices(slices, body),
    }
}

/// Appends a value.
pub(super) fn encode_value(value: &Value, body: &mut Body<'_>) {
    match value {
        Value::Nil => body.u8(NIL),
        Value::Int(value) => integer(*value, body),
        Value::Double(value) => double(*value, body),
        Value::Big(value) => big(*value, body),
        Value::Text(text) => bulk(text, body),
        Value::List(items) => {
            array(items.len(), body);
            items.iter().for_each(|item| encode_value(item, body));
        }
    }
}

fn integer(value: i64, body: &mut Body<'_>) {
    body.u8(INTEGER);
    body.i64(value);
}

fn double(value: f64, body: &mut Body<'_>) {
    body.u8(DOUBLE);
    body.f64(value);
}

fn big(value: i128, body: &mut Body<'_>) {
    body.u8(BIG);
    body.i128(value);
}

fn bulk(bytes: &[u8], body: &mut Body<'_>) {
    body.u8(BULK);
    body.length32("bytes", bytes.len());
    body.bytes(bytes);
}

fn array(count: usize, body: &mut Body<'_>) {
    body.u8(ARRAY);
    body.length32("array", count);
}

/// [NAT-52]
pub(super) fn encode_error(error: &ErrorReply, body: &mut Body<'_>) {
    body.u16(error.code().number());
    body.u8(u8::from(error.number().is_some()));
    body.u8(0);
    body.length32("sentence", error.sentence().len());
    body.u64(error.number().unwrap_or(0));
    body.bytes(error.sentence().as_bytes());
}

fn encode_slices(slices: &SlicesReply, body: &mut Body<'_>) {
    let count = slices.ranges.len();
    match slices.form {
        SlicesForm::List => array(count, body),
        SlicesForm::Map => {
            body.u8(MAP);
            body.length32("map", count / 2);
        }
    }
    for item in slices.items() {
        match item {
            Some(bytes) => bulk(bytes, body),
            None => body.u8(NIL),
        }
    }
}

fn encode_windows(windows: &WindowsReply, body: &mut Body<'_>) {
    let WindowsReply { answers, with_status, shape } = windows;
    if *shape == RequestShape::Batch {
        array(answers.rows, body);
    }
    for row in 0..answers.rows {
        array(answers.columns.len(), body);
        for column in &answers.columns {
            if !with_status {
                encode_value(&column.values.get(row), body);
                continue;
            }
            array(5, body);
            encode_value(&column.values.get(row), body);
            bulk(column.statuses[row].as_str().as_bytes(), body);
            let bounds = column.bounds_of(row);
            encode_value(&bounds.start.map_or(Value::Nil, Value::Int), body);
            integer(bounds.end, body);
            integer(i64::from(column.tiles_read[row]), body);
        }
    }
}

/// Reads one reply.
pub(super) fn decode_reply(
    payload: &mut Payload<'_>,
    limits: &Limits,
) -> Result<Reply, ProtocolError> {
    decode_at(payload, limits, 0)
}

fn decode_at(
    payload: &mut Payload<'_>,
    limits: &Limits,
    depth: usize,
) -> Result<Reply, ProtocolError> {
    let tag = payload.u8()?;
    if depth >= limits.nesting_depth_max && matches!(tag, ARRAY | MAP) {
        return Err(ProtocolError::NestedTooDeeply { depth_max: limits.nesting_depth_max });
    }
    Ok(match tag {
        NIL => Reply::Nil,
        FALSE => Reply::Bool(false),
        TRUE => Reply::Bool(true),
        INTEGER => Reply::Integer(payload.i64()?),
        DOUBLE => Reply::Double(payload.f64()?),
        BIG => Reply::Big(payload.i128()?),
        BULK => Reply::Bulk(decode_bytes(payload)?),
        SIMPLE => Reply::Simple(decode_text(payload)?.into()),
        ARRAY => {
            let count = payload.length32()?;
            let mut items = Vec::with_capacity(count.min(payload.remaining()).min(1024));
            for _ in 0..count {
                items.push(decode_at(payload, limits, depth + 1)?);
            }
            Reply::Array(items)
        }
        MAP => {
            let count = payload.length32()?;
            let mut pairs = Vec::with_capacity(count.min(payload.remaining() / 2).min(1024));
            for _ in 0..count {
                let key = decode_at(payload, limits, depth + 1)?;
                pairs.push((key, decode_at(payload, limits, depth + 1)?));
            }
            Reply::Map(pairs)
        }
        ERROR => Reply::Error(decode_error(payload)?),
        _ => return Err(payload.malformed("unknown type of value")),
    })
}

fn decode_bytes(payload: &mut Payload<'_>) -> Result<Bytes, ProtocolError> {
    let length = payload.length32()?;
    payload.bytes(length)
}

fn decode_text(payload: &mut Payload<'_>) -> Result<String, ProtocolError> {
    let bytes = decode_bytes(payload)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| payload.malformed("a text is not UTF-8"))
}

pub(super) fn decode_error(payload: &mut Payload<'_>) -> Result<ErrorReply, ProtocolError> {
    let code = ErrorCode::from_number(payload.u16()?);
    let code = code.ok_or_else(|| payload.malformed("unknown error code"))?;
    let has_number = payload.u8()?;
    payload.reserved(1)?;
    let sentence_bytes = payload.length32()?;
    let number = match (has_number, payload.u64()?) {
        (0, 0) => None,
        (1, number) if code.carries_number() => Some(number),
        _ => return Err(payload.malformed("an error's number does not fit its code")),
    };
    let sentence = payload.slice(sentence_bytes)?;
    let error = ErrorReply::from_parts(code, number, sentence);
    if error.sentence().as_bytes() != sentence {
        return Err(payload.malformed("an error's sentence is too long or not printable ASCII"));
    }
    Ok(error)
}

/// Reads one value; what values cannot be is an error.
pub(super) fn decode_value(
    payload: &mut Payload<'_>,
    limits: &Limits,
) -> Result<Value, ProtocolError> {
    let reply = decode_reply(payload, limits)?;
    value_of(reply).ok_or_else(|| payload.malformed("a type that is no value of a feature"))
}

fn value_of(reply: Reply) -> Option<Value> {
    Some(match reply {
        Reply::Nil => Value::Nil,
        Reply::Integer(value) => Value::Int(value),
        Reply::Big(value) => Value::Big(value),
        Reply::Double(value) => Value::Double(value),
        Reply::Bulk(text) => Value::Text(text),
        Reply::Array(items) => {
            Value::List(items.into_iter().map(value_of).collect::<Option<Vec<_>>>()?)
        }
        _ => return None,
    })
}
