//! A client of RESP2 and RESP3 that shares no code with the server: replies keep their types as
//! they came over the wire. It knows no command.

use crate::patience;
use bytes::Bytes;
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

/// A reply, typed as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RespReply {
    /// `+`
    Simple(String),
    /// `-`, the whole line without it.
    Error(String),
    /// `:`
    Integer(i64),
    /// `(`, its digits.
    Big(String),
    /// `,`, its text.
    Double(String),
    /// `#`
    Bool(bool),
    /// `$`
    Bulk(Bytes),
    /// `$-1`, the nil of RESP2.
    NilBulk,
    /// `_`, the nil of RESP3.
    Nil,
    /// `*`
    Array(Vec<RespReply>),
    /// `%`
    Map(Vec<(RespReply, RespReply)>),
}

/// A connection that speaks RESP.
#[derive(Debug)]
pub struct RespClient {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl RespClient {
    /// A connection in RESP2, the version in which every connection begins.
    ///
    /// # Panics
    /// Where there is no connection; as do all methods when it is lost or stays silent.
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("connect {address}: {error}"))
    }

    /// A connection in RESP2, or why there is none.
    pub fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience::DEADLINE))?;
        stream.set_write_timeout(Some(patience::DEADLINE))?;
        let reader = BufReader::with_capacity(READ_BYTES, stream.try_clone()?);
        Ok(Self { stream, reader })
    }

    /// A connection in RESP3.
    pub fn connect3(address: SocketAddr) -> Self {
        let mut client = Self::connect(address);
        let hello = client.call("HELLO 3");
        assert!(matches!(hello, RespReply::Map(_)), "HELLO 3: {hello}");
        client
    }

    /// Sends a command whose arguments stand between spaces, and waits for the reply.
    pub fn call(&mut self, line: &str) -> RespReply {
        self.call_arguments(&line.split(' ').collect::<Vec<_>>())
    }

    /// Sends a command and waits for the reply.
    pub fn call_arguments<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> RespReply {
        self.send(&command(arguments));
        self.receive()
    }

    /// Sends commands, each of arguments between spaces, and then reads all the replies.
    pub fn pipeline<L: AsRef<str>>(
        &mut self,
        lines: impl IntoIterator<Item = L>,
    ) -> Vec<RespReply> {
        let mut bytes = Vec::new();
        let mut count = 0;
        for line in lines {
            push_command(&line.as_ref().split(' ').collect::<Vec<_>>(), &mut bytes);
            count += 1;
        }
        self.send(&bytes);
        (0..count).map(|_| self.receive()).collect()
    }

    /// Sends any bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap_or_else(|error| panic!("send {} bytes: {error}", bytes.len()));
    }

    /// Sends any bytes, as far as the server takes them.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The sending half alone, for another thread.
    pub fn sender(&self) -> impl Write + Send + use<> {
        let half = self.stream.try_clone();
        half.unwrap_or_else(|error| panic!("share a connection: {error}"))
    }

    /// Says that nothing more will be sent.
    pub fn end_sending(&mut self) {
        let ended = self.stream.shutdown(Shutdown::Write);
        ended.unwrap_or_else(|error| panic!("shut down: {error}"));
    }

    /// The next reply.
    pub fn receive(&mut self) -> RespReply {
        self.try_receive().unwrap_or_else(|error| panic!("receive a reply: {error}"))
    }

    /// The next reply, or why there is none.
    pub fn try_receive(&mut self) -> std::io::Result<RespReply> {
        let line = self.line()?;
        let mut characters = line.chars();
        let kind = characters.next().ok_or_else(|| malformed(&line))?;
        let text = characters.as_str();
        Ok(match kind {
            '+' => RespReply::Simple(text.to_owned()),
            '-' => RespReply::Error(text.to_owned()),
            ':' => RespReply::Integer(text.parse().map_err(|_| malformed(&line))?),
            '(' => RespReply::Big(text.to_owned()),
            ',' => RespReply::Double(text.to_owned()),
            '#' if text == "t" || text == "f" => RespReply::Bool(text == "t"),
            '_' if text.is_empty() => RespReply::Nil,
            '$' if text == "-1" => RespReply::NilBulk,
            '$' => self.bulk(count(&line)?)?,
            '*' => RespReply::Array(self.items(count(&line)?)?),
            '%' => {
                let pairs =
                    (0..count(&line)?).map(|_| Ok((self.try_receive()?, self.try_receive()?)));
                RespReply::Map(pairs.collect::<std::io::Result<_>>()?)
            }
            _ => return Err(malformed(&line)),
        })
    }

    /// Whether the server ended the connection and sent nothing more before it.
    pub fn is_closed(&mut self) -> bool {
        match self.reader.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        let Some(text) = line.strip_suffix(b"\r\n") else {
            let kind = std::io::ErrorKind::UnexpectedEof;
            return Err(std::io::Error::new(kind, format!("a line that ends: {line:?}")));
        };
        String::from_utf8(text.to_vec()).map_err(|_| malformed(&String::from_utf8_lossy(text)))
    }

    fn bulk(&mut self, length: usize) -> std::io::Result<RespReply> {
        let mut bytes = vec![0; length + 2];
        self.reader.read_exact(&mut bytes)?;
        if bytes.split_off(length) != b"\r\n" {
            return Err(malformed("a bulk string without its end"));
        }
        Ok(RespReply::Bulk(bytes.into()))
    }

    fn items(&mut self, count: usize) -> std::io::Result<Vec<RespReply>> {
        (0..count).map(|_| self.try_receive()).collect()
    }
}

/// A command as an array of bulk strings.
pub fn command<A: AsRef<[u8]>>(arguments: &[A]) -> Vec<u8> {
    let mut bytes = Vec::new();
    push_command(arguments, &mut bytes);
    bytes
}

/// Appends a command as an array of bulk strings.
pub fn push_command<A: AsRef<[u8]>>(arguments: &[A], bytes: &mut Vec<u8>) {
    bytes.extend(format!("*{}\r\n", arguments.len()).bytes());
    for argument in arguments {
        let argument = argument.as_ref();
        bytes.extend(format!("${}\r\n", argument.len()).bytes());
        bytes.extend(argument);
        bytes.extend(b"\r\n");
    }
}

impl RespReply {
    /// The elements of a list.
    ///
    /// # Panics
    /// Where it is none.
    pub fn items(&self) -> &[RespReply] {
        let Self::Array(items) = self else { panic!("expected a list, got {self}") };
        items
    }

    /// The integer.
    ///
    /// # Panics
    /// Where it is none.
    pub fn integer(&self) -> i64 {
        let Self::Integer(value) = self else { panic!("expected an integer, got {self}") };
        *value
    }

    /// The text of a string of either kind.
    ///
    /// # Panics
    /// Where it is none, or not UTF-8.
    pub fn text(&self) -> &str {
        match self {
            Self::Simple(text) => text,
            Self::Bulk(bytes) => std::str::from_utf8(bytes)
                .unwrap_or_else(|error| panic!("expected a text, got {self}: {error}")),
            _ => panic!("expected a string, got {self}"),
        }
    }

    /// The first word of an error; the empty text where it is none.
    pub fn code(&self) -> &str {
        match self {
            Self::Error(line) => line.split(' ').next().unwrap_or_default(),
            _ => "",
        }
    }
}

/// One line that tells types apart: `+OK`, `-ERR text`, `:1`, `(10`, `,0.5`, `#t`, `"bulk"`, `$-1`,
/// `_`, `[a b]`, `{key=value}`.
impl fmt::Display for RespReply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simple(text) => write!(out, "+{text}"),
            Self::Error(line) => write!(out, "-{line}"),
            Self::Integer(value) => write!(out, ":{value}"),
            Self::Big(digits) => write!(out, "({digits}"),
            Self::Double(text) => write!(out, ",{text}"),
            Self::Bool(value) => write!(out, "#{}", if *value { 't' } else { 'f' }),
            Self::Bulk(bytes) => write!(out, "\"{}\"", bytes.escape_ascii()),
            Self::NilBulk => write!(out, "$-1"),
            Self::Nil => write!(out, "_"),
            Self::Array(items) => {
                let items: Vec<_> = items.iter().map(ToString::to_string).collect();
                write!(out, "[{}]", items.join(" "))
            }
            Self::Map(pairs) => {
                let pair = |(key, value): &(RespReply, RespReply)| format!("{key}={value}");
                let pairs: Vec<_> = pairs.iter().map(pair).collect();
                write!(out, "{{{}}}", pairs.join(" "))
            }
        }
    }
}

fn count(line: &str) -> std::io::Result<usize> {
    line[1..].parse().map_err(|_| malformed(line))
}

fn malformed(line: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, format!("no reply of RESP: {line:?}"))
}

const READ_BYTES: usize = 64 * 1024;
