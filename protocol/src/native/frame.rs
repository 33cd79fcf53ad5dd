//! Frames: a header of sixteen bytes and a payload ([NAT-2]). Knows nothing of what payloads hold.

use bytes::{Buf, Bytes, BytesMut};

use crate::arguments::position;
use crate::error::ProtocolError;
use crate::limits::Limits;

/// Bytes of a frame's header.
pub const FRAME_HEADER_BYTES: usize = 16;

/// READ: statuses are wanted. COLUMNS: they are there.
pub const FLAG_STATUS: u8 = 1;

/// ADD, SET, MERGE: the write gives way to reads.
pub const FLAG_BACKFILL: u8 = 1;

/// HELLO: user and password are given.
pub const FLAG_CREDENTIALS: u8 = 1;

/// ERROR: the server closes the connection after this frame.
pub const FLAG_CLOSING: u8 = 1;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// Opens the session.
    Hello,
    /// Authenticates.
    Auth,
    /// Asks for a PONG.
    Ping,
    /// Prepares a plan.
    Prepare,
    /// Forgets a plan.
    Release,
    /// Reads through a plan.
    Read,
    /// Prepares a plan of a service.
    Service,
    /// Adds events.
    Add,
    /// Replaces a tile.
    Set,
    /// Merges into a tile.
    Merge,
    /// Gives rows or tiles to a job.
    Put,
    /// Any command, as arguments.
    Command,
    /// Answers HELLO.
    Welcome,
    /// Answers AUTH and RELEASE.
    Done,
    /// Answers PING.
    Pong,
    /// Answers PREPARE and SERVICE.
    Plan,
    /// Answers READ.
    Columns,
    /// Answers ADD, SET, MERGE and PUT.
    Applied,
    /// Answers COMMAND.
    Value,
    /// Sets the write credit, unasked.
    Credit,
    /// Answers any request that was refused.
    Error,
}

const KINDS: [(FrameKind, u8, u8); 21] = [
    (FrameKind::Hello, 0x01, FLAG_CREDENTIALS),
    (FrameKind::Auth, 0x02, 0),
    (FrameKind::Ping, 0x03, 0),
    (FrameKind::Prepare, 0x10, 0),
    (FrameKind::Release, 0x11, 0),
    (FrameKind::Read, 0x12, FLAG_STATUS),
    (FrameKind::Service, 0x13, 0),
    (FrameKind::Add, 0x20, FLAG_BACKFILL),
    (FrameKind::Set, 0x21, FLAG_BACKFILL),
    (FrameKind::Merge, 0x22, FLAG_BACKFILL),
    (FrameKind::Put, 0x23, 0),
    (FrameKind::Command, 0x30, 0),
    (FrameKind::Welcome, 0x81, 0),
    (FrameKind::Done, 0x82, 0),
    (FrameKind::Pong, 0x83, 0),
    (FrameKind::Plan, 0x90, 0),
    (FrameKind::Columns, 0x92, FLAG_STATUS),
    (FrameKind::Applied, 0xA0, 0),
    (FrameKind::Value, 0xB0, 0),
    (FrameKind::Credit, 0xC0, 0),
    (FrameKind::Error, 0xF0, FLAG_CLOSING),
];

impl FrameKind {
    /// Every kind, in the order of its number.
    pub fn all() -> impl Iterator<Item = FrameKind> {
        KINDS.iter().map(|(kind, _, _)| *kind)
    }

    /// Its number on the wire.
    pub fn number(self) -> u8 {
        self.entry().1
    }

    /// The kind with that number.
    pub fn from_number(number: u8) -> Option<Self> {
        KINDS.iter().find(|(_, wanted, _)| *wanted == number).map(|(kind, _, _)| *kind)
    }

    /// The flags that it may carry.
    pub(super) fn flags_known(self) -> u8 {
        self.entry().2
    }

    fn entry(self) -> &'static (FrameKind, u8, u8) {
        let found = KINDS.iter().find(|(kind, _, _)| *kind == self);
        let Some(entry) = found else { unreachable!("every frame kind has a row in KINDS") };
        entry
    }
}

/// A frame as it arrived. The kind is a number here: one that is not known is for the decoder of
/// requests or responses to refuse, since the stream can go on behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The number of its kind.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// The number by which request and reply belong together; 0 is for frames that answer none.
    pub request_id: u64,
    /// What it carries.
    pub payload: Bytes,
}

/// Takes frames off a stream. It keeps nothing between calls: a header says how long a frame is,
/// so nothing is scanned twice.
#[derive(Debug, Default, Clone, Copy)]
pub struct FrameParser;

impl FrameParser {
    /// Takes the next whole frame off the front of the buffer; `None` until it has arrived. After
    /// an error the connection must be closed.
    pub fn parse(
        &mut self,
        buffer: &mut BytesMut,
        limits: &Limits,
    ) -> Result<Option<Frame>, ProtocolError> {
        let Some(header) = buffer.first_chunk::<FRAME_HEADER_BYTES>() else {
            return Ok(None);
        };
        let mut fields = &header[..];
        let length = fields.get_u32_le();
        let (kind, flags) = (fields.get_u8(), fields.get_u8());
        let reserved = fields.get_u16_le();
        let request_id = fields.get_u64_le();
        if reserved != 0 {
            return Err(ProtocolError::ReservedNotZero { place: "frame header" });
        }
        let frame_bytes = FRAME_HEADER_BYTES + position(length);
        check_frame_bytes(frame_bytes, limits)?;
        if buffer.len() < frame_bytes {
            return Ok(None);
        }
        let mut bytes = buffer.split_to(frame_bytes).freeze();
        bytes.advance(FRAME_HEADER_BYTES);
        Ok(Some(Frame { kind, flags, request_id, payload: bytes }))
    }
}

fn check_frame_bytes(frame_bytes: usize, limits: &Limits) -> Result<(), ProtocolError> {
    if frame_bytes <= limits.frame_bytes_max {
        return Ok(());
    }
    let bytes = u64::try_from(frame_bytes).unwrap_or(u64::MAX);
    let bytes_max = u64::try_from(limits.frame_bytes_max).unwrap_or(u64::MAX);
    Err(ProtocolError::FrameTooLong { bytes, bytes_max })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_unique_and_found_again() {
        for kind in FrameKind::all() {
            assert_eq!(FrameKind::from_number(kind.number()), Some(kind));
        }
        assert_eq!(FrameKind::from_number(0), None);
    }

    #[test]
    fn a_frame_has_a_bound_on_both_sides() {
        let limits = Limits { frame_bytes_max: 20, ..Limits::authenticated() };
        let frame = |length: u8| {
            let mut bytes = vec![length, 0, 0, 0, 3, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
            bytes.resize(bytes.len() + usize::from(length), 7);
            BytesMut::from(&bytes[..])
        };
        let parsed = FrameParser.parse(&mut frame(4), &limits).unwrap().unwrap();
        assert_eq!((parsed.kind, parsed.request_id, parsed.payload.len()), (3, 9, 4));
        let error = FrameParser.parse(&mut frame(5), &limits).unwrap_err();
        assert_eq!(error, ProtocolError::FrameTooLong { bytes: 21, bytes_max: 20 });
    }

    #[test]
    fn an_announced_length_reserves_nothing() {
        let mut buffer = BytesMut::from(&[0, 0, 0, 1, 3, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0][..]);
        assert_eq!(FrameParser.parse(&mut buffer, &Limits::authenticated()), Ok(None));
        assert!(buffer.capacity() < 4096, "{}", buffer.capacity());
    }
}
