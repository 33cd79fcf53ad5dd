//! READ: keys, and the time to read them at, for a prepared plan. Knows nothing of plans.

use bytes::{Bytes, BytesMut};
use tilekv_tile::limits::ENTITY_BYTES_MAX;
use tilekv_tile::{Timestamp, check_entity};

use super::body::{Body, write_frame};
use super::frame::{FLAG_STATUS, FrameKind};
use super::payload::{Payload, i64s, item_range};
use super::request::RequestError;
use crate::command::ReadTime;
use crate::error::{ErrorReply, ProtocolError};

/// A read through a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRequest {
    /// The plan.
    pub plan: u32,
    /// The time; `Each` has as many as there are rows.
    pub time: ReadTime,
    /// Whether statuses, windows and tile counts are wanted.
    pub with_status: bool,
    /// How many keys make a row: one for a plan of views.
    pub keys_per_row: usize,
    /// The entities, or the key values of all rows, `keys_per_row` of them a row.
    pub keys: Keys,
}

/// Keys as they stand in the frame.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Keys {
    ends: Bytes,
    joined: Bytes,
}

impl Keys {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len() / 4
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All keys in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        (0..self.len()).map(|index| &self.joined[item_range(&self.ends, index)])
    }
}

impl ReadRequest {
    pub(super) fn decode(
        payload: &mut Payload<'_>,
        with_status: bool,
    ) -> Result<Self, RequestError> {
        let plan = payload.u32()?;
        let mode = payload.u8()?;
        payload.reserved(1)?;
        let keys_per_row = payload.length16()? + 1;
        let (key_count, joined_bytes) = (payload.length32()?, payload.length32()?);
        let rows = key_count / keys_per_row;
        if rows * keys_per_row != key_count {
            return Err(payload.malformed("the keys do not make whole rows").into());
        }
        let time = match mode {
            0 => ReadTime::Now,
            1 => ReadTime::At(payload.i64()?),
            2 => ReadTime::Each(i64s(&payload.array(rows, 8)?)),
            _ => return Err(payload.malformed("unknown time mode").into()),
        };
        let (ends, last_end) = payload.ends(key_count)?;
        if last_end != joined_bytes {
            return Err(payload.malformed("the last key does not end with the keys").into());
        }
        let keys = Keys { ends, joined: payload.bytes(joined_bytes)? };
        payload.end()?;
        check_times(&time)?;
        keys.iter().enumerate().try_for_each(|(index, key)| check_key(index, key))?;
        Ok(Self { plan, time, with_status, keys_per_row, keys })
    }

    /// Checks that the keys are entities, as a plan of views needs; in rows of key values one may
    /// be empty.
    pub fn check_entities(&self) -> Result<(), ErrorReply> {
        self.keys.iter().enumerate().try_for_each(|(index, key)| match check_entity(key) {
            Ok(()) => Ok(()),
            Err(error) => Err(ErrorReply::bad_value(format!("key {}: {error}", index + 1))),
        })
    }

    pub(super) fn encode(&self, request_id: u64, out: &mut BytesMut) -> Result<(), ProtocolError> {
        let Self { plan, ref time, with_status, keys_per_row, ref keys } = *self;
        let head = ReadHead { plan, time, with_status, keys_per_row };
        write_read(out, request_id, &head, keys.iter())
    }
}

/// Appends a READ frame for keys that the caller holds. The buffer stays as it was on an error.
///
/// # Panics
/// Where `time` is `Each` and has not a time for each key.
pub fn encode_read<K: AsRef<[u8]>>(
    request_id: u64,
    plan: u32,
    time: &ReadTime,
    with_status: bool,
    keys: &[K],
    out: &mut BytesMut,
) -> Result<(), ProtocolError> {
    let head = ReadHead { plan, time, with_status, keys_per_row: 1 };
    write_read(out, request_id, &head, keys.iter().map(AsRef::as_ref))
}

/// As [`encode_read`], for rows of `keys_per_row` key values: what a plan of a service takes.
///
/// # Panics
/// Where the values do not make whole rows, or `time` is `Each` and has not a time for each row.
pub fn encode_read_rows<K: AsRef<[u8]>>(
    request_id: u64,
    (plan, keys_per_row): (u32, usize),
    time: &ReadTime,
    with_status: bool,
    values: &[K],
    out: &mut BytesMut,
) -> Result<(), ProtocolError> {
    let head = ReadHead { plan, time, with_status, keys_per_row };
    write_read(out, request_id, &head, values.iter().map(AsRef::as_ref))
}

/// What stands in front of the keys of a READ.
struct ReadHead<'a> {
    plan: u32,
    time: &'a ReadTime,
    with_status: bool,
    keys_per_row: usize,
}

/// [NAT-32]
fn write_read<'a>(
    out: &mut BytesMut,
    request_id: u64,
    head: &ReadHead<'_>,
    keys: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
) -> Result<(), ProtocolError> {
    let ReadHead { plan, time, with_status, keys_per_row } = *head;
    assert!(0 < keys_per_row && keys.len().is_multiple_of(keys_per_row), "keys make whole rows");
    let flags = if with_status { FLAG_STATUS } else { 0 };
    write_frame(out, FrameKind::Read, flags, request_id, |body| {
        body.u32(plan);
        body.u8(match time {
            ReadTime::Now => 0,
            ReadTime::At(_) => 1,
            ReadTime::Each(_) => 2,
        });
        body.u8(0);
        body.length16("keys of a row", keys_per_row - 1);
        body.length32("keys", keys.len());
        body.length32("keys", keys.clone().map(<[u8]>::len).sum());
        write_times(body, time, keys.len() / keys_per_row);
        body.items("keys", keys);
    })
}

fn write_times(body: &mut Body<'_>, time: &ReadTime, row_count: usize) {
    match time {
        ReadTime::Now => {}
        ReadTime::At(at) => body.i64(*at),
        ReadTime::Each(times) => {
            assert!(times.len() == row_count, "a read has a time for each row");
            body.i64s(times);
        }
    }
}

fn check_times(time: &ReadTime) -> Result<(), RequestError> {
    let check = |at: &i64| match Timestamp::from_millis(*at) {
        Ok(_) => Ok(()),
        Err(error) => Err(ErrorReply::bad_value(error.to_string())),
    };
    match time {
        ReadTime::Now => Ok(()),
        ReadTime::At(at) => Ok(check(at)?),
        ReadTime::Each(times) => Ok(times.iter().try_for_each(check)?),
    }
}

fn check_key(index: usize, key: &[u8]) -> Result<(), RequestError> {
    if key.len() <= ENTITY_BYTES_MAX {
        return Ok(());
    }
    Err(ErrorReply::bad_value(format!(
        "key {} of {} bytes, expected at most {ENTITY_BYTES_MAX}",
        index + 1,
        key.len()
    ))
    .into())
}
