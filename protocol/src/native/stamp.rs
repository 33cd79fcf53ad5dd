//! The head that ADD, SET and MERGE share: the view, and the producer that vouches for the write.
//! Knows nothing of rows and partials.

use bytes::Bytes;
use tilekv_tile::{After, Name, ProducerStamp};

use super::body::Body;
use super::payload::Payload;
use super::request::RequestError;
use crate::command::{CommandError, check_producer_id, refused_write};
use crate::error::ErrorReply;

/// The head as it is read: the texts come behind the fixed fields of each frame.
pub(super) struct Head {
    view_bytes: usize,
    producer_bytes: usize,
    after: After,
    sequence: u64,
    /// Columns of an ADD, partials of a SET or MERGE.
    pub(super) items: usize,
}

/// View and producer, once both are read.
pub(super) struct Target {
    pub(super) view: Name,
    pub(super) stamp: Option<ProducerStamp>,
}

/// [NAT-40]
pub(super) fn encode_head(
    view: &Name,
    stamp: Option<&ProducerStamp>,
    items: usize,
    body: &mut Body<'_>,
) {
    let (mode, after) = match stamp.map(|stamp| stamp.after) {
        None | Some(After::Any) => (0, 0),
        Some(After::First) => (1, 0),
        Some(After::Sequence(sequence)) => (2, sequence),
    };
    body.length16("view name", view.as_str().len());
    body.length16("producer id", stamp.map_or(0, |stamp| stamp.id.len()));
    body.u8(mode);
    body.u8(0);
    body.length16("columns or partials", items);
    body.u64(stamp.map_or(0, |stamp| stamp.sequence));
    body.u64(after);
}

/// The texts of the head.
pub(super) fn encode_target(view: &Name, stamp: Option<&ProducerStamp>, body: &mut Body<'_>) {
    body.bytes(view.as_str().as_bytes());
    if let Some(stamp) = stamp {
        body.bytes(&stamp.id);
    }
}

impl Head {
    pub(super) fn decode(payload: &mut Payload<'_>) -> Result<Self, RequestError> {
        let (view_bytes, producer_bytes) = (payload.length16()?, payload.length16()?);
        let mode = payload.u8()?;
        payload.reserved(1)?;
        let items = payload.length16()?;
        let (sequence, after) = (payload.u64()?, payload.u64()?);
        let after = match (mode, after) {
            (0, 0) => After::Any,
            (1, 0) => After::First,
            (2, after) => After::Sequence(after),
            _ => return Err(payload.malformed("unknown form of AFTER").into()),
        };
        if producer_bytes == 0 && (sequence != 0 || after != After::Any) {
            return Err(payload.malformed("a sequence without a producer").into());
        }
        Ok(Self { view_bytes, producer_bytes, after, sequence, items })
    }

    pub(super) fn target(&self, payload: &mut Payload<'_>) -> Result<Target, RequestError> {
        let view = payload.slice(self.view_bytes)?;
        let id = payload.bytes(self.producer_bytes)?;
        let stamp = self.stamp(id)?;
        Ok(Target { view: Name::parse(view)?, stamp })
    }

    fn stamp(&self, id: Bytes) -> Result<Option<ProducerStamp>, ErrorReply> {
        if id.is_empty() {
            return Ok(None);
        }
        check_producer_id(&id)?;
        Ok(Some(ProducerStamp { id, sequence: self.sequence, after: self.after }))
    }
}

impl Target {
    /// A refusal that names the producer's write.
    pub(super) fn refuse(&self, reply: impl Into<ErrorReply>) -> RequestError {
        let refused = refused_write(Some(&self.view), self.stamp.as_ref());
        RequestError::Refused(CommandError { refused, ..CommandError::from(reply.into()) })
    }
}
