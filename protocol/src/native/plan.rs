//! PREPARE and PLAN: reads prepared once and used many times. Knows nothing of which features
//! exist.

use tilekv_tile::{Edge, Identifier, Name, Selector};

use super::body::Body;
use super::payload::Payload;
use crate::command::{check_answer_size, check_key_count};
use crate::error::{ErrorReply, ProtocolError};
use crate::limits::PLAN_GROUPS_MAX;
use crate::native::RequestError;

/// What a plan reads for each key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRequest {
    /// Views and the windows wanted of each. The columns of a reply are these selectors in order.
    pub groups: Vec<(Name, Vec<Selector>)>,
    /// The edge, where it is not the views'.
    pub edge: Option<Edge>,
    /// Whether only the seals known at the time of a read count.
    pub known: bool,
}

/// A plan of a feature service: its vector for rows of key values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePlanRequest {
    /// The service.
    pub service: Name,
    /// What the key values of a row are called, at least one.
    pub keys: Vec<Identifier>,
    /// Whether only the seals known at the time of a read count.
    pub known: bool,
}

/// A prepared plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanReply {
    /// Its number on this connection.
    pub plan: u32,
    /// The columns of its replies.
    pub columns: u32,
}

impl PlanRequest {
    /// [NAT-30]
    pub(super) fn encode(&self, body: &mut Body<'_>) {
        body.u8(match self.edge {
            None => 0,
            Some(Edge::Closed) => 1,
            Some(Edge::Live) => 2,
        });
        body.u8(u8::from(self.known));
        body.length16("groups", self.groups.len());
        body.u32(0);
        for (view, selectors) in &self.groups {
            body.length16("view name", view.as_str().len());
            body.length16("selectors", selectors.len());
            body.bytes(view.as_str().as_bytes());
            for selector in selectors {
                let text = selector.to_string();
                body.length16("selector", text.len());
                body.bytes(text.as_bytes());
            }
        }
    }

    pub(super) fn decode(payload: &mut Payload<'_>) -> Result<Self, RequestError> {
        let edge = match payload.u8()? {
            0 => None,
            1 => Some(Edge::Closed),
            2 => Some(Edge::Live),
            _ => return Err(payload.malformed("unknown edge").into()),
        };
        let known = match payload.u8()? {
            0 => false,
            1 => true,
            _ => return Err(payload.malformed("known is neither 0 nor 1").into()),
        };
        let group_count = payload.length16()?;
        payload.reserved(4)?;
        check_groups(group_count)?;
        let mut groups = Vec::with_capacity(group_count);
        for _ in 0..group_count {
            groups.push(decode_group(payload)?);
        }
        payload.end()?;
        let columns = groups.iter().map(|(_, selectors)| selectors.len()).sum();
        check_answer_size(1, columns)?;
        Ok(Self { groups, edge, known })
    }
}

impl ServicePlanRequest {
    /// [NAT-35]
    pub(super) fn encode(&self, body: &mut Body<'_>) {
        body.u8(u8::from(self.known));
        body.u8(0);
        body.length16("keys", self.keys.len());
        body.length16("service name", self.service.as_str().len());
        body.u16(0);
        body.bytes(self.service.as_str().as_bytes());
        for key in &self.keys {
            body.length16("key name", key.as_str().len());
            body.bytes(key.as_str().as_bytes());
        }
    }

    pub(super) fn decode(payload: &mut Payload<'_>) -> Result<Self, RequestError> {
        let known = match payload.u8()? {
            0 => false,
            1 => true,
            _ => return Err(payload.malformed("known is neither 0 nor 1").into()),
        };
        payload.reserved(1)?;
        let (key_count, name_bytes) = (payload.length16()?, payload.length16()?);
        payload.reserved(2)?;
        check_key_count(key_count)?;
        let service = Name::parse(payload.slice(name_bytes)?)?;
        let mut keys = Vec::with_capacity(key_count.min(payload.remaining() / 2));
        for _ in 0..key_count {
            let bytes = payload.length16()?;
            keys.push(Identifier::parse(payload.slice(bytes)?)?);
        }
        payload.end()?;
        Ok(Self { service, keys, known })
    }
}

fn decode_group(payload: &mut Payload<'_>) -> Result<(Name, Vec<Selector>), RequestError> {
    let (name_bytes, selector_count) = (payload.length16()?, payload.length16()?);
    let view = Name::parse(payload.slice(name_bytes)?)?;
    if selector_count == 0 {
        let sentence = format!("no selectors for view {view}, expected at least one");
        return Err(ErrorReply::usage(sentence).into());
    }
    let mut selectors = Vec::with_capacity(selector_count.min(payload.remaining() / 2));
    for _ in 0..selector_count {
        let bytes = payload.length16()?;
        selectors.push(Selector::parse(payload.slice(bytes)?)?);
    }
    Ok((view, selectors))
}

fn check_groups(count: usize) -> Result<(), ErrorReply> {
    match count {
        0 => Err(ErrorReply::usage("a plan of no views, expected at least one")),
        1..=PLAN_GROUPS_MAX => Ok(()),
        _ => Err(ErrorReply::limit(format!(
            "{count} views in one plan, expected at most {PLAN_GROUPS_MAX}"
        ))),
    }
}

impl PlanReply {
    /// [NAT-31]
    pub(super) fn encode(self, body: &mut Body<'_>) {
        body.u32(self.plan);
        body.u32(self.columns);
    }

    pub(super) fn decode(payload: &mut Payload<'_>) -> Result<Self, ProtocolError> {
        let reply = Self { plan: payload.u32()?, columns: payload.u32()? };
        payload.end()?;
        Ok(reply)
    }
}
