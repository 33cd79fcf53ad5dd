//! Frames of the native protocol put together and taken apart byte by byte, as docs/protocol.md
//! draws them, without the code of server and client: so that a test can send wrong ones. It knows
//! only the payloads that tests need.

use crate::patience;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// The first eight bytes of a connection.
pub const PREAMBLE: [u8; 8] = [0xF4, b'T', b'K', b'V', 1, 0, 0, 0];

/// Kinds of frames that tests send or expect.
pub mod kind {
    #![expect(missing_docs, reason = "the names of docs/protocol.md")]
    pub const HELLO: u8 = 0x01;
    pub const AUTH: u8 = 0x02;
    pub const PING: u8 = 0x03;
    pub const PREPARE: u8 = 0x10;
    pub const READ: u8 = 0x12;
    pub const ADD: u8 = 0x20;
    pub const COMMAND: u8 = 0x30;
    pub const WELCOME: u8 = 0x81;
    pub const DONE: u8 = 0x82;
    pub const PONG: u8 = 0x83;
    pub const APPLIED: u8 = 0xA0;
    pub const VALUE: u8 = 0xB0;
    pub const ERROR: u8 = 0xF0;
}

/// A frame from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// The request that it answers.
    pub id: u64,
    /// The rest.
    pub payload: Vec<u8>,
}

/// What an ERROR frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NativeError {
    /// The number of its code.
    pub code: u16,
    /// The number that goes with the code, where there is one.
    pub number: Option<u64>,
    /// The sentence.
    pub sentence: String,
    /// Whether the server closes the connection after it.
    pub is_closing: bool,
}

/// A connection that has sent its preamble.
#[derive(Debug)]
pub struct NativeConnection {
    stream: TcpStream,
}

impl NativeConnection {
    /// A connection that has said HELLO and was welcomed.
    ///
    /// # Panics
    /// Where it was not; as do all methods when the connection is lost or stays silent.
    pub fn open(address: SocketAddr) -> Self {
        let mut connection = Self::connect(address);
        let welcome = connection.ask(kind::HELLO, 0, &[0; 8]);
        assert_eq!((welcome.kind, welcome.payload[0]), (kind::WELCOME, 1), "{welcome:?}");
        connection
    }

    /// A connection that has sent the preamble alone.
    pub fn connect(address: SocketAddr) -> Self {
        let mut connection = Self::connect_raw(address);
        connection.send(&PREAMBLE);
        connection
    }

    /// A connection that has sent nothing.
    pub fn connect_raw(address: SocketAddr) -> Self {
        let connect = || {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(patience::DEADLINE))?;
            stream.set_write_timeout(Some(patience::DEADLINE))?;
            Ok(stream)
        };
        let stream = connect().unwrap_or_else(|error: std::io::Error| panic!("connect: {error}"));
        Self { stream }
    }

    /// Sends any bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        let sent = self.stream.write_all(bytes);
        sent.unwrap_or_else(|error| panic!("send {} bytes: {error}", bytes.len()));
    }

    /// Sends a request with the id 7 and receives the frame that answers it.
    pub fn ask(&mut self, kind: u8, flags: u8, payload: &[u8]) -> Frame {
        self.send(&frame(kind, flags, 7, payload));
        let answer = self.receive();
        assert_eq!(answer.id, 7, "{answer:?}");
        answer
    }

    /// The next frame.
    pub fn receive(&mut self) -> Frame {
        let read = || -> std::io::Result<Frame> {
            let mut header = [0; 16];
            self.stream.read_exact(&mut header)?;
            let word = |from: usize| u32::from_le_bytes(array(&header[from..from + 4]));
            let mut payload = vec![0; usize::try_from(word(0)).unwrap_or(usize::MAX)];
            self.stream.read_exact(&mut payload)?;
            let [_, _, _, _, kind, flags, ..] = header;
            assert_eq!(header[6..8], [0, 0], "reserved");
            let id = u64::from_le_bytes(array(&header[8..]));
            Ok(Frame { kind, flags, id, payload })
        };
        let mut read = read;
        read().unwrap_or_else(|error| panic!("receive a frame: {error}"))
    }

    /// Whether the server ended the connection and sent nothing more before it.
    pub fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

impl Frame {
    /// What it says as an ERROR.
    ///
    /// # Panics
    /// Where it is none, or says what an ERROR must not.
    pub fn error(&self) -> NativeError {
        assert_eq!(self.kind, kind::ERROR, "{self:?}");
        let has_number = self.payload[2] == 1;
        let length = usize::try_from(u32::from_le_bytes(array(&self.payload[4..8])));
        let sentence = &self.payload[16..];
        assert_eq!(Ok(sentence.len()), length);
        assert!(sentence.len() <= 480 && sentence.iter().all(|byte| (32..127).contains(byte)));
        NativeError {
            code: u16::from_le_bytes(array(&self.payload[..2])),
            number: has_number.then(|| u64::from_le_bytes(array(&self.payload[8..16]))),
            sentence: String::from_utf8_lossy(sentence).into_owned(),
            is_closing: self.flags == 1,
        }
    }
}

/// A frame.
///
/// # Panics
/// Where the payload is too long for one.
pub fn frame(kind: u8, flags: u8, id: u64, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or_else(|_| panic!("a payload of 4 GiB"));
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend([kind, flags, 0, 0]);
    bytes.extend(id.to_le_bytes());
    bytes.extend(payload);
    bytes
}

/// The payload of a COMMAND.
///
/// # Panics
/// Where the arguments are too long for one.
pub fn command_payload<A: AsRef<[u8]>>(arguments: &[A]) -> Vec<u8> {
    let mut payload = word(arguments.len()).to_vec();
    payload.extend([0; 4]);
    let mut end = 0;
    for argument in arguments {
        end += argument.as_ref().len();
        payload.extend(word(end));
    }
    pad(&mut payload);
    for argument in arguments {
        payload.extend(argument.as_ref());
    }
    payload
}

/// One row for an ADD.
#[derive(Debug, Clone)]
pub struct AddRow<'a> {
    /// The view.
    pub view: &'a [u8],
    /// The producer's id and the sequence.
    pub stamp: Option<(&'a [u8], u64)>,
    /// The entity.
    pub entity: &'a [u8],
    /// The time in milliseconds since the epoch.
    pub timestamp: i64,
    /// The column's name.
    pub column: &'a [u8],
    /// Its value.
    pub cell: AddCell<'a>,
}

/// The only cell of an ADD.
#[derive(Debug, Clone, Copy)]
pub enum AddCell<'a> {
    /// An integer.
    I64(i64),
    /// A double.
    F64(f64),
    /// A string.
    Str(&'a [u8]),
}

/// The payload of an ADD of one row with one column.
///
/// # Panics
/// Where something is too long for it.
pub fn add_payload(row: &AddRow<'_>) -> Vec<u8> {
    let (id, sequence) = row.stamp.unwrap_or_default();
    let mut payload = [short(row.view.len()), short(id.len()), [0, 0], [1, 0]].concat();
    payload.extend(sequence.to_le_bytes());
    payload.extend([0; 8]);
    payload.extend([word(1), word(row.entity.len())].concat());
    payload.extend([row.view, id].concat());
    pad(&mut payload);
    payload.extend(row.timestamp.to_le_bytes());
    payload.extend(word(row.entity.len()));
    pad(&mut payload);
    payload.extend(row.entity);
    pad(&mut payload);
    let (number, string) = match row.cell {
        AddCell::I64(_) => (1, &[][..]),
        AddCell::F64(_) => (2, &[][..]),
        AddCell::Str(string) => (3, string),
    };
    payload.extend([number, 0]);
    payload.extend(short(row.column.len()));
    payload.extend(word(string.len()));
    payload.extend(row.column);
    pad(&mut payload);
    match row.cell {
        AddCell::I64(value) => payload.extend(value.to_le_bytes()),
        AddCell::F64(value) => payload.extend(value.to_le_bytes()),
        AddCell::Str(string) => {
            payload.extend(word(string.len()));
            pad(&mut payload);
            payload.extend(string);
        }
    }
    payload
}

/// Zeros up to a multiple of eight; the header before the payload is two times eight bytes.
fn pad(payload: &mut Vec<u8>) {
    payload.resize(payload.len().next_multiple_of(8), 0);
}

fn word(value: usize) -> [u8; 4] {
    u32::try_from(value).unwrap_or_else(|_| panic!("{value} in four bytes")).to_le_bytes()
}

fn short(value: usize) -> [u8; 2] {
    u16::try_from(value).unwrap_or_else(|_| panic!("{value} in two bytes")).to_le_bytes()
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap_or_else(|_| panic!("{N} bytes in {bytes:?}"))
}
