//! READ: keys, and the time to read them at, for a prepared plan. Knows nothing of plans.

use bytes::{Bytes, BytesMut};
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
    /// The time; `Each` has as many as there are keys.
    pub time: ReadTime,
    /// Whether statuses, windows and tile counts are wanted.
    pub with_status: bool,
    /// The entities.
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
        payload.reserved(3)?;
        let (key_count, joined_bytes) = (payload.length32()?, payload.length32()?);
        let time = match mode {
            0 => ReadTime::Now,
            1 => ReadTime::At(payload.i64()?),
            2 => ReadTime::Each(i64s(&payload.array(key_count, 8)?)),
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
        Ok(Self { plan, time, with_status, keys })
    }

    pub(super) fn encode(&self, request_id: u64, out: &mut BytesMut) -> Result<(), ProtocolError> {
        let (plan, time, keys) = (self.plan, &self.time, self.keys.iter());
        write_read(out, request_id, plan, time, self.with_status, keys)
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
    let keys = keys.iter().map(AsRef::as_ref);
    write_read(out, request_id, plan, time, with_status, keys)
}

/// [NAT-32]
fn write_read<'a>(
    out: &mut BytesMut,
    request_id: u64,
    plan: u32,
    time: &ReadTime,
    with_status: bool,
    keys: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
) -> Result<(), ProtocolError> {
    let flags = if with_status { FLAG_STATUS } else { 0 };
    write_frame(out, FrameKind::Read, flags, request_id, |body| {
        body.u32(plan);
        body.u8(match time {
            ReadTime::Now => 0,
            ReadTime::At(_) => 1,
            ReadTime::Each(_) => 2,
        });
        body.u8(0);
        body.u16(0);
        body.length32("keys", keys.len());
        body.length32("keys", keys.clone().map(<[u8]>::len).sum());
        write_times(body, time, keys.len());
        body.items("keys", keys);
    })
}

fn write_times(body: &mut Body<'_>, time: &ReadTime, key_count: usize) {
    match time {
        ReadTime::Now => {}
        ReadTime::At(at) => body.i64(*at),
        ReadTime::Each(times) => {
            assert!(times.len() == key_count, "a read has a time for each key");
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
    match check_entity(key) {
        Ok(()) => Ok(()),
        Err(error) => Err(ErrorReply::bad_value(format!("key {}: {error}", index + 1)).into()),
    }
}
