//! Everything that a client sends. Knows nothing of how it is carried out.

use bytes::{Bytes, BytesMut};
use tilekv_tile::TileError;

use super::body::{Body, write_frame};
use super::frame::{FLAG_BACKFILL, FLAG_CREDENTIALS, FLAG_STATUS, Frame, FrameKind};
use super::payload::{Payload, item_range};
use super::plan::{PlanRequest, ServicePlanRequest};
use super::read::ReadRequest;
use super::session::{NativeHello, decode_auth, encode_auth};
use super::{events, job_put, tile_write};
use crate::arguments::{Arguments, Ranges, position};
use crate::command::{
    CommandError, Credentials, EventWrite, JobPut, TileWrite, TileWriteMode, WriteLane,
};
use crate::error::{ErrorReply, ProtocolError};
use crate::limits::Limits;

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Opens the session; answered by WELCOME.
    Hello(NativeHello),
    /// Authenticates; answered by DONE.
    Auth(Credentials),
    /// Answered by PONG with the same bytes.
    Ping(Bytes),
    /// Answered by PLAN.
    Prepare(PlanRequest),
    /// Prepares a plan of a service; answered by PLAN.
    PrepareService(ServicePlanRequest),
    /// Forgets a plan; answered by DONE.
    Release(u32),
    /// Answered by COLUMNS.
    Read(ReadRequest),
    /// Adds events as `TILE.MADD` does; answered by APPLIED.
    Events(Box<EventWrite>),
    /// Sets or merges a tile; answered by APPLIED.
    Tile(Box<TileWrite>),
    /// Gives rows or tiles to a job; answered by APPLIED. Only its head has been read.
    Put(Box<JobPut>),
    /// Any command, for `Command::from_arguments`; answered by VALUE.
    Command(Arguments),
}

/// Why a frame is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The frame breaks its format: answer, and close the connection.
    #[error(transparent)]
    Malformed(#[from] ProtocolError),
    /// The frame is of its format but asks for what cannot be: answer, and go on.
    #[error(transparent)]
    Refused(CommandError),
}

impl From<ErrorReply> for RequestError {
    fn from(reply: ErrorReply) -> Self {
        Self::Refused(CommandError::from(reply))
    }
}

impl From<TileError> for RequestError {
    fn from(error: TileError) -> Self {
        Self::from(ErrorReply::from(error))
    }
}

impl Request {
    /// Reads a request. A kind that no request has is refused, and the stream goes on.
    pub fn decode(frame: &Frame, limits: &Limits) -> Result<Self, RequestError> {
        let Some(kind) = FrameKind::from_number(frame.kind) else {
            return Err(not_a_request(frame).into());
        };
        if frame.flags & !kind.flags_known() != 0 {
            return Err(ProtocolError::ReservedNotZero { place: "frame flags" }.into());
        }
        let flag = |mask: u8| frame.flags & mask != 0;
        let lane = if flag(FLAG_BACKFILL) { WriteLane::Backfill } else { WriteLane::Stream };
        let payload = &mut Payload::new(frame, place(kind));
        Ok(match kind {
            FrameKind::Hello => Self::Hello(NativeHello::decode(payload, flag(FLAG_CREDENTIALS))?),
            FrameKind::Auth => Self::Auth(decode_auth(payload)?),
            FrameKind::Ping => Self::Ping(frame.payload.clone()),
            FrameKind::Prepare => Self::Prepare(PlanRequest::decode(payload)?),
            FrameKind::Service => Self::PrepareService(ServicePlanRequest::decode(payload)?),
            FrameKind::Release => Self::Release(decode_release(payload)?),
            FrameKind::Read => Self::Read(ReadRequest::decode(payload, flag(FLAG_STATUS))?),
            FrameKind::Add => Self::Events(Box::new(events::decode(payload, lane)?)),
            FrameKind::Set => Self::Tile(decode_tile(payload, TileWriteMode::Set, lane)?),
            FrameKind::Merge => Self::Tile(decode_tile(payload, TileWriteMode::Merge, lane)?),
            FrameKind::Put => Self::Put(Box::new(job_put::decode_head(payload, &frame.payload)?)),
            FrameKind::Command => Self::Command(decode_command(frame, limits)?),
            _ => return Err(not_a_request(frame).into()),
        })
    }

    /// Appends the frame. The buffer stays as it was on an error: something is too long for its
    /// field, or rows are not in typed columns.
    pub fn encode(&self, request_id: u64, out: &mut BytesMut) -> Result<(), ProtocolError> {
        let (kind, flags) = self.kind_and_flags();
        let mut outcome = Ok(());
        let start = out.len();
        if let Self::Read(read) = self {
            return read.encode(request_id, out);
        }
        write_frame(out, kind, flags, request_id, |body| outcome = self.encode_body(body))?;
        if outcome.is_err() {
            out.truncate(start);
        }
        outcome
    }

    fn encode_body(&self, body: &mut Body<'_>) -> Result<(), ProtocolError> {
        match self {
            Self::Hello(hello) => hello.encode(body),
            Self::Auth(credentials) => encode_auth(credentials, body),
            Self::Ping(bytes) => body.bytes(bytes),
            Self::Prepare(request) => request.encode(body),
            Self::PrepareService(request) => request.encode(body),
            Self::Release(plan) => {
                body.u32(*plan);
                body.u32(0);
            }
            Self::Read(_) => unreachable!("READ frames are written by encode_read"),
            Self::Events(write) => events::encode(write, body)?,
            Self::Tile(write) => tile_write::encode(write, body),
            Self::Put(put) => encode_put(put, body)?,
            Self::Command(arguments) => encode_command(arguments, body),
        }
        Ok(())
    }

    fn kind_and_flags(&self) -> (FrameKind, u8) {
        let backfill = |lane: WriteLane| match lane {
            WriteLane::Stream => 0,
            WriteLane::Backfill => FLAG_BACKFILL,
        };
        match self {
            Self::Hello(hello) if hello.credentials.is_some() => {
                (FrameKind::Hello, FLAG_CREDENTIALS)
            }
            Self::Hello(_) => (FrameKind::Hello, 0),
            Self::Auth(_) => (FrameKind::Auth, 0),
            Self::Ping(_) => (FrameKind::Ping, 0),
            Self::Prepare(_) => (FrameKind::Prepare, 0),
            Self::PrepareService(_) => (FrameKind::Service, 0),
            Self::Release(_) => (FrameKind::Release, 0),
            Self::Read(_) => (FrameKind::Read, 0),
            Self::Events(write) => (FrameKind::Add, backfill(write.lane)),
            Self::Tile(write) => match write.mode {
                TileWriteMode::Set => (FrameKind::Set, backfill(write.lane)),
                TileWriteMode::Merge => (FrameKind::Merge, backfill(write.lane)),
            },
            Self::Put(_) => (FrameKind::Put, 0),
            Self::Command(_) => (FrameKind::Command, 0),
        }
    }
}

fn place(kind: FrameKind) -> &'static str {
    match kind {
        FrameKind::Hello => "HELLO",
        FrameKind::Auth => "AUTH",
        FrameKind::Prepare => "PREPARE",
        FrameKind::Service => "SERVICE",
        FrameKind::Release => "RELEASE",
        FrameKind::Read => "READ",
        FrameKind::Add => "ADD",
        FrameKind::Set => "SET",
        FrameKind::Merge => "MERGE",
        FrameKind::Put => "PUT",
        FrameKind::Command => "COMMAND",
        _ => "frame",
    }
}

fn not_a_request(frame: &Frame) -> ErrorReply {
    ErrorReply::usage(format!(
        "frame kind 0x{:02X} is no request, expected one of docs/protocol.md, version 1",
        frame.kind
    ))
}

fn decode_release(payload: &mut Payload<'_>) -> Result<u32, ProtocolError> {
    let plan = payload.u32()?;
    payload.reserved(4)?;
    payload.end()?;
    Ok(plan)
}

fn decode_tile(
    payload: &mut Payload<'_>,
    mode: TileWriteMode,
    lane: WriteLane,
) -> Result<Box<TileWrite>, RequestError> {
    tile_write::decode(payload, mode, lane).map(Box::new)
}

/// A frame as it came; [`super::encode_job_rows`] and [`super::encode_job_tiles`] make new ones.
fn encode_put(put: &JobPut, body: &mut Body<'_>) -> Result<(), ProtocolError> {
    let Some(payload) = put.frame() else {
        let problem = "arguments, expected the payload of a frame";
        return Err(ProtocolError::Malformed { place: "PUT", problem });
    };
    body.bytes(payload);
    Ok(())
}

/// [NAT-50]
fn encode_command(arguments: &Arguments, body: &mut Body<'_>) {
    body.length32("arguments", arguments.len());
    body.u32(0);
    body.items("arguments", arguments.iter());
}

fn decode_command(frame: &Frame, limits: &Limits) -> Result<Arguments, RequestError> {
    let payload = &mut Payload::new(frame, "COMMAND");
    let count = payload.length32()?;
    payload.reserved(4)?;
    if count > limits.argument_count_max {
        let (found, allowed) = (count, limits.argument_count_max);
        let sentence = format!("{found} arguments in one command, expected at most {allowed}");
        return Err(ErrorReply::limit(sentence).into());
    }
    let (ends, joined_bytes) = payload.ends(count)?;
    let joined = payload.bytes(joined_bytes)?;
    payload.end()?;
    let ranges: Ranges = (0..count).map(|index| argument_range(&ends, index)).collect();
    let longest = ranges.iter().map(|(start, end)| position(end - start)).max().unwrap_or(0);
    if longest > limits.bulk_bytes_max {
        let allowed = limits.bulk_bytes_max;
        let sentence = format!("an argument of {longest} bytes, expected at most {allowed}");
        return Err(ErrorReply::limit(sentence).into());
    }
    Ok(Arguments::new(joined, ranges))
}

fn argument_range(ends: &[u8], index: usize) -> (u32, u32) {
    let range = item_range(ends, index);
    let offset = |position: usize| match u32::try_from(position) {
        Ok(offset) => offset,
        Err(_) => unreachable!("the ends of items are u32"),
    };
    (offset(range.start), offset(range.end))
}
