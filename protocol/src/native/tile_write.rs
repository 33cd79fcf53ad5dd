//! SET and MERGE: partials for one tile. Knows nothing of what partials mean.

use bytes::Bytes;
use tilekv_tile::{Identifier, Timestamp, check_entity};

use super::body::Body;
use super::payload::Payload;
use super::request::RequestError;
use super::stamp::{Head, Target, encode_head, encode_target};
use crate::command::{TileWrite, TileWriteMode, WriteLane};
use crate::error::ErrorReply;

/// [NAT-43]
pub(super) fn encode(write: &TileWrite, body: &mut Body<'_>) {
    let stamp = write.stamp.as_ref();
    encode_head(&write.view, stamp, write.partials.len(), body);
    body.i64(write.tile_start);
    body.length32("entity", write.entity.len());
    body.u32(0);
    encode_target(&write.view, stamp, body);
    body.bytes(&write.entity);
    for (feature, partial) in &write.partials {
        body.length16("feature name", feature.as_str().len());
        body.u16(0);
        body.length32("partial", partial.len());
        body.bytes(feature.as_str().as_bytes());
        body.bytes(partial);
    }
}

pub(super) fn decode(
    payload: &mut Payload<'_>,
    mode: TileWriteMode,
    lane: WriteLane,
) -> Result<TileWrite, RequestError> {
    let head = Head::decode(payload)?;
    let tile_start = payload.i64()?;
    let entity_bytes = payload.length32()?;
    payload.reserved(4)?;
    let target = head.target(payload)?;
    let entity = payload.bytes(entity_bytes)?;
    let texts = decode_texts(payload, head.items)?;
    payload.end()?;
    let partials = name_partials(texts).map_err(|error| target.refuse(error))?;
    check_tile(&entity, tile_start).map_err(|error| target.refuse(error))?;
    let Target { view, stamp } = target;
    Ok(TileWrite { mode, view, entity, tile_start, partials, stamp, lane })
}

fn decode_texts<'a>(
    payload: &mut Payload<'a>,
    count: usize,
) -> Result<Vec<(&'a [u8], Bytes)>, RequestError> {
    let mut texts = Vec::with_capacity(count.min(payload.remaining() / 8));
    for _ in 0..count {
        let name_bytes = payload.length16()?;
        payload.reserved(2)?;
        let partial_bytes = payload.length32()?;
        texts.push((payload.slice(name_bytes)?, payload.bytes(partial_bytes)?));
    }
    Ok(texts)
}

fn name_partials(texts: Vec<(&[u8], Bytes)>) -> Result<Vec<(Identifier, Bytes)>, ErrorReply> {
    if texts.is_empty() {
        return Err(ErrorReply::usage(
            "no partials, expected at least one feature with its partial",
        ));
    }
    texts.into_iter().map(|(name, partial)| Ok((Identifier::parse(name)?, partial))).collect()
}

fn check_tile(entity: &[u8], tile_start: i64) -> Result<(), ErrorReply> {
    check_entity(entity)?;
    match Timestamp::from_millis(tile_start) {
        Ok(_) => Ok(()),
        Err(error) => Err(ErrorReply::bad_value(format!("tile_start: {error}"))),
    }
}
