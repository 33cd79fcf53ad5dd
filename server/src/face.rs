//! The protocol that a client speaks, told by its first byte. Knows nothing of sockets.

use bytes::BytesMut;
use tilekv_protocol::ProtocolError;
use tilekv_protocol::native::PREAMBLE_FIRST_BYTE;

use crate::delivery::{JobOutcome, SlowOutcome, WriteOutcomes};
use crate::exchange::{Exchange, Turn};
use crate::native_face::NativeFace;
use crate::resp_face::RespFace;

/// One of the two faces, or none before the first byte.
#[derive(Debug)]
pub(crate) enum Face {
    /// The client has said nothing.
    Unknown,
    /// RESP2 or RESP3.
    Resp(Box<RespFace>),
    /// The native protocol.
    Native(Box<NativeFace>),
}

impl Face {
    /// Takes one command off the input and runs it or lets it wait; false if none is whole. After
    /// an error nothing more can be read.
    pub(crate) fn step(
        &mut self,
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        input: &mut BytesMut,
    ) -> Result<bool, ProtocolError> {
        let Some(first) = input.first() else { return Ok(false) };
        if let Self::Unknown = self {
            *self = Self::choose(*first, exchange);
        }
        match self {
            Self::Resp(face) => face.step(exchange, turn, input),
            Self::Native(face) => face.step(exchange, turn, input),
            Self::Unknown => unreachable!("the first byte has chosen a face"),
        }
    }

    fn choose(first: u8, exchange: &Exchange) -> Self {
        if first != PREAMBLE_FIRST_BYTE {
            return Self::Resp(Box::default());
        }
        exchange.session.client.about.lock().protocol = "native";
        Self::Native(Box::default())
    }

    /// Answers a protocol error and ends the conversation.
    pub(crate) fn fail(&mut self, exchange: &mut Exchange, error: &ProtocolError) {
        match self {
            Self::Resp(face) => face.fail(exchange, error),
            Self::Native(face) => face.fail(exchange, error),
            Self::Unknown => exchange.session.closing = true,
        }
    }

    /// Answers writes that were committed or refused.
    pub(crate) fn deliver_writes(
        &mut self,
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        delivered: WriteOutcomes,
    ) {
        match self {
            Self::Resp(face) => face.deliver_writes(exchange, turn, delivered),
            Self::Native(face) => face.deliver_writes(exchange, turn, delivered),
            Self::Unknown => unreachable!("a client that said nothing awaits nothing"),
        }
    }

    /// Answers a scan.
    pub(crate) fn deliver_scan(
        &mut self,
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        delivered: SlowOutcome,
    ) {
        match self {
            Self::Resp(face) => face.deliver_scan(exchange, turn, delivered),
            Self::Native(face) => face.deliver_scan(exchange, turn, delivered),
            Self::Unknown => unreachable!("a client that said nothing awaits nothing"),
        }
    }

    /// Answers work on a job.
    pub(crate) fn deliver_job(
        &mut self,
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        delivered: JobOutcome,
    ) {
        match self {
            Self::Resp(face) => face.deliver_job(exchange, turn, delivered),
            Self::Native(face) => face.deliver_job(exchange, turn, delivered),
            Self::Unknown => unreachable!("a client that said nothing awaits nothing"),
        }
    }

    /// Runs commands that waited for others; false if the turn ended first.
    pub(crate) fn advance(&mut self, exchange: &mut Exchange, turn: &Turn<'_>) -> bool {
        match self {
            Self::Resp(face) => face.advance(exchange, turn),
            Self::Unknown | Self::Native(_) => true,
        }
    }

    /// Whether more commands may be taken while earlier ones wait.
    pub(crate) fn has_room(&self, held_bytes_max: usize) -> bool {
        match self {
            Self::Resp(face) => face.has_room(held_bytes_max),
            Self::Unknown | Self::Native(_) => true,
        }
    }

    /// Whether nothing waits for an answer.
    pub(crate) fn is_idle(&self) -> bool {
        match self {
            Self::Resp(face) => face.is_idle(),
            Self::Native(face) => face.is_idle(),
            Self::Unknown => true,
        }
    }

    /// Bytes of commands that wait.
    pub(crate) fn held_bytes(&self) -> usize {
        match self {
            Self::Resp(face) => face.held_bytes(),
            Self::Unknown | Self::Native(_) => 0,
        }
    }
}
