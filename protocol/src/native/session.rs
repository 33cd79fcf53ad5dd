//! HELLO, AUTH, WELCOME, APPLIED, CREDIT: how a session opens and how fast it may write. Knows
//! nothing of users and queues.

use bytes::Bytes;

use super::body::Body;
use super::payload::Payload;
use crate::command::Credentials;
use crate::error::ProtocolError;

/// What HELLO carries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NativeHello {
    /// Who the client is; none where the server asks for no authentication.
    pub credentials: Option<Credentials>,
    /// A name for the list of clients; may be empty.
    pub client_name: Bytes,
}

/// The answer to HELLO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// Whether the connection may use the store; otherwise AUTH comes first.
    pub authenticated: bool,
    /// The connection's number in the list of clients.
    pub connection_id: u64,
    /// The largest frame that the server takes, header included.
    pub frame_bytes_max: u64,
    /// The write credit to begin with.
    pub credit: Credit,
    /// The server's name and version, for people.
    pub server: Bytes,
}

/// How much a client may have under way in write frames that are not answered yet. The newest
/// credit received counts; `u64::MAX` is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credit {
    /// Bytes of frames, headers included.
    pub bytes: u64,
    /// Rows (a SET or MERGE counts as one).
    pub rows: u64,
}

impl Credit {
    /// No bound.
    pub const UNBOUNDED: Self = Self { bytes: u64::MAX, rows: u64::MAX };
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// So many rows were applied.
    Applied(u64),
    /// The producer's sequence had been applied before.
    Duplicate,
}

/// The answer to a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// What became of it.
    pub outcome: WriteOutcome,
    /// The credit from now on.
    pub credit: Credit,
}

impl NativeHello {
    /// [NAT-20]
    pub(super) fn encode(&self, body: &mut Body<'_>) {
        let none = Bytes::new();
        let (user, password) = match &self.credentials {
            Some(Credentials { user, password }) => (user.as_ref().unwrap_or(&none), password),
            None => (&none, &none),
        };
        body.length16("user", user.len());
        body.length16("password", password.len());
        body.length16("client name", self.client_name.len());
        body.u16(0);
        body.bytes(user);
        body.bytes(password);
        body.bytes(&self.client_name);
    }

    pub(super) fn decode(
        payload: &mut Payload<'_>,
        has_credentials: bool,
    ) -> Result<Self, ProtocolError> {
        let (user_bytes, password_bytes) = (payload.length16()?, payload.length16()?);
        let name_bytes = payload.length16()?;
        payload.reserved(2)?;
        let credentials = take_credentials(payload, user_bytes, password_bytes)?;
        let client_name = payload.bytes(name_bytes)?;
        payload.end()?;
        if !has_credentials && user_bytes + password_bytes > 0 {
            return Err(payload.malformed("credentials without their flag"));
        }
        Ok(Self { credentials: has_credentials.then_some(credentials), client_name })
    }
}

/// [NAT-21]
pub(super) fn encode_auth(credentials: &Credentials, body: &mut Body<'_>) {
    let none = Bytes::new();
    let user = credentials.user.as_ref().unwrap_or(&none);
    body.length16("user", user.len());
    body.length16("password", credentials.password.len());
    body.u32(0);
    body.bytes(user);
    body.bytes(&credentials.password);
}

pub(super) fn decode_auth(payload: &mut Payload<'_>) -> Result<Credentials, ProtocolError> {
    let (user_bytes, password_bytes) = (payload.length16()?, payload.length16()?);
    payload.reserved(4)?;
    let credentials = take_credentials(payload, user_bytes, password_bytes)?;
    payload.end()?;
    Ok(credentials)
}

/// A user of no bytes is the default user.
fn take_credentials(
    payload: &mut Payload<'_>,
    user_bytes: usize,
    password_bytes: usize,
) -> Result<Credentials, ProtocolError> {
    let user = payload.bytes(user_bytes)?;
    let password = payload.bytes(password_bytes)?;
    Ok(Credentials { user: Some(user).filter(|user| !user.is_empty()), password })
}

impl Welcome {
    /// [NAT-22]
    pub(super) fn encode(&self, body: &mut Body<'_>) {
        body.u8(u8::from(self.authenticated));
        body.u8(0);
        body.length16("server", self.server.len());
        body.u32(0);
        body.u64(self.connection_id);
        body.u64(self.frame_bytes_max);
        self.credit.encode(body);
        body.bytes(&self.server);
    }

    pub(super) fn decode(payload: &mut Payload<'_>) -> Result<Self, ProtocolError> {
        let authenticated = match payload.u8()? {
            0 => false,
            1 => true,
            _ => return Err(payload.malformed("authenticated is neither 0 nor 1")),
        };
        payload.reserved(1)?;
        let server_bytes = payload.length16()?;
        payload.reserved(4)?;
        let (connection_id, frame_bytes_max) = (payload.u64()?, payload.u64()?);
        let credit = Credit::decode(payload)?;
        let server = payload.bytes(server_bytes)?;
        payload.end()?;
        Ok(Self { authenticated, connection_id, frame_bytes_max, credit, server })
    }
}

impl Credit {
    /// [NAT-23]
    pub(super) fn encode(self, body: &mut Body<'_>) {
        body.u64(self.bytes);
        body.u64(self.rows);
    }

    pub(super) fn decode(payload: &mut Payload<'_>) -> Result<Self, ProtocolError> {
        Ok(Self { bytes: payload.u64()?, rows: payload.u64()? })
    }
}

impl Applied {
    /// [NAT-24]
    pub(super) fn encode(self, body: &mut Body<'_>) {
        let (outcome, rows) = match self.outcome {
            WriteOutcome::Applied(rows) => (1, rows),
            WriteOutcome::Duplicate => (2, 0),
        };
        body.u64(outcome);
        body.u64(rows);
        self.credit.encode(body);
    }

    pub(super) fn decode(payload: &mut Payload<'_>) -> Result<Self, ProtocolError> {
        let outcome = match (payload.u64()?, payload.u64()?) {
            (1, rows) => WriteOutcome::Applied(rows),
            (2, 0) => WriteOutcome::Duplicate,
            _ => return Err(payload.malformed("unknown outcome")),
        };
        let credit = Credit::decode(payload)?;
        payload.end()?;
        Ok(Self { outcome, credit })
    }
}
