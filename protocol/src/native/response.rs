//! Everything that a server sends. Knows nothing of how it came about.

use bytes::{Bytes, BytesMut};

use super::body::{Body, write_frame};
use super::columns::ColumnsReply;
use super::frame::{FLAG_CLOSING, FLAG_STATUS, Frame, FrameKind};
use super::payload::Payload;
use super::plan::PlanReply;
use super::session::{Applied, Credit, Welcome};
use super::tree::{decode_error, decode_reply, encode_error, encode_reply};
use crate::error::{ErrorReply, ProtocolError};
use crate::limits::Limits;
use crate::reply::Reply;

/// A response. Columns are written by `encode_answers`; the variant here is what a client reads.
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    /// Answers HELLO.
    Welcome(Welcome),
    /// Answers AUTH and RELEASE.
    Done,
    /// Answers PING with its bytes.
    Pong(Bytes),
    /// Answers PREPARE.
    Plan(PlanReply),
    /// Answers READ.
    Columns(Box<ColumnsReply>),
    /// Answers ADD, SET, MERGE and PUT.
    Applied(Applied),
    /// Answers COMMAND. A command that was refused is answered by `Error`.
    Value(Reply),
    /// Sets the write credit; it answers nothing and has request id 0.
    Credit(Credit),
    /// Answers any request that was refused; with request id 0 it is about the connection.
    Error {
        /// What was wrong.
        error: ErrorReply,
        /// Whether the server closes the connection after it.
        closing: bool,
    },
}

impl Response {
    /// A refusal after which the connection goes on.
    pub fn refusal(error: ErrorReply) -> Self {
        Self::Error { error, closing: false }
    }

    /// Appends the frame. The buffer stays as it was on an error: the reply is too long.
    pub fn encode(&self, request_id: u64, out: &mut BytesMut) -> Result<(), ProtocolError> {
        let (kind, flags) = self.kind_and_flags();
        write_frame(out, kind, flags, request_id, |body| self.encode_body(body))
    }

    fn encode_body(&self, body: &mut Body<'_>) {
        match self {
            Self::Welcome(welcome) => welcome.encode(body),
            Self::Done => {}
            Self::Pong(bytes) => body.bytes(bytes),
            Self::Plan(plan) => plan.encode(body),
            Self::Columns(columns) => columns.encode(body),
            Self::Applied(applied) => applied.encode(body),
            Self::Value(reply) => encode_reply(reply, body),
            Self::Credit(credit) => credit.encode(body),
            Self::Error { error, .. } => encode_error(error, body),
        }
    }

    fn kind_and_flags(&self) -> (FrameKind, u8) {
        match self {
            Self::Welcome(_) => (FrameKind::Welcome, 0),
            Self::Done => (FrameKind::Done, 0),
            Self::Pong(_) => (FrameKind::Pong, 0),
            Self::Plan(_) => (FrameKind::Plan, 0),
            Self::Columns(columns) if columns.with_status() => (FrameKind::Columns, FLAG_STATUS),
            Self::Columns(_) => (FrameKind::Columns, 0),
            Self::Applied(_) => (FrameKind::Applied, 0),
            Self::Value(_) => (FrameKind::Value, 0),
            Self::Credit(_) => (FrameKind::Credit, 0),
            Self::Error { closing: true, .. } => (FrameKind::Error, FLAG_CLOSING),
            Self::Error { closing: false, .. } => (FrameKind::Error, 0),
        }
    }

    /// Reads a response. After an error the connection cannot be used any more.
    pub fn decode(frame: &Frame, limits: &Limits) -> Result<Self, ProtocolError> {
        let unknown = ProtocolError::Malformed { place: "frame", problem: "unknown response kind" };
        let Some(kind) = FrameKind::from_number(frame.kind) else {
            return Err(unknown);
        };
        if frame.flags & !kind.flags_known() != 0 {
            return Err(ProtocolError::ReservedNotZero { place: "frame flags" });
        }
        let payload = &mut Payload::new(frame, place(kind));
        Ok(match kind {
            FrameKind::Welcome => Self::Welcome(Welcome::decode(payload)?),
            FrameKind::Done => {
                payload.end()?;
                Self::Done
            }
            FrameKind::Pong => Self::Pong(frame.payload.clone()),
            FrameKind::Plan => Self::Plan(PlanReply::decode(payload)?),
            FrameKind::Columns => {
                let with_status = frame.flags & FLAG_STATUS != 0;
                let columns = ColumnsReply::decode(&frame.payload, with_status, limits)?;
                Self::Columns(Box::new(columns))
            }
            FrameKind::Applied => Self::Applied(Applied::decode(payload)?),
            FrameKind::Value => {
                whole(payload, |payload| decode_reply(payload, limits)).map(Self::Value)?
            }
            FrameKind::Credit => whole(payload, Credit::decode).map(Self::Credit)?,
            FrameKind::Error => {
                let closing = frame.flags & FLAG_CLOSING != 0;
                let error = whole(payload, decode_error)?;
                Self::Error { error, closing }
            }
            _ => return Err(unknown),
        })
    }
}

fn whole<T>(
    payload: &mut Payload<'_>,
    decode: impl FnOnce(&mut Payload<'_>) -> Result<T, ProtocolError>,
) -> Result<T, ProtocolError> {
    let decoded = decode(payload)?;
    payload.end()?;
    Ok(decoded)
}

fn place(kind: FrameKind) -> &'static str {
    match kind {
        FrameKind::Welcome => "WELCOME",
        FrameKind::Done => "DONE",
        FrameKind::Plan => "PLAN",
        FrameKind::Applied => "APPLIED",
        FrameKind::Value => "VALUE",
        FrameKind::Credit => "CREDIT",
        FrameKind::Error => "ERROR",
        _ => "frame",
    }
}
