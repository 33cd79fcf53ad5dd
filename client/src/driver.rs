//! Opens a connection and moves its bytes: the greeting first, then output and input at once, so
//! that a peer that answers before it has read everything never stalls. Knows nothing of requests.

use std::io;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use tilekv_protocol::Limits;
use tilekv_protocol::native::{
    FRAME_HEADER_BYTES, Frame, FrameParser, NativeHello, Request, Response, Welcome, preamble,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::timeout;

use crate::connection::{Connection, Terms};
use crate::error::{ClientError, Fate};
use crate::limits::INPUT_BYTES_MIN;
use crate::options::ClientOptions;

/// Makes one attempt to connect and greet. On success a task of its own moves the connection's
/// bytes until it ends.
pub(crate) async fn open(options: &ClientOptions) -> Result<Arc<Connection>, ClientError> {
    let attempt = timeout(options.connect_timeout, greet(options));
    let (stream, welcome, input) = match attempt.await {
        Ok(greeted) => greeted?,
        Err(_) => return Err(lost(io::ErrorKind::TimedOut.into())),
    };
    if !welcome.authenticated {
        let sentence = "the server asks for a password and none was given".to_owned();
        return Err(ClientError::NoAuth { sentence });
    }
    let connection = Connection::new(Terms {
        frame_bytes_max: welcome.frame_bytes_max,
        credit: welcome.credit,
        server: welcome.server,
        request_timeout: options.request_timeout,
    });
    tokio::spawn(drive(Arc::clone(&connection), stream, input));
    Ok(connection)
}

async fn greet(options: &ClientOptions) -> Result<(TcpStream, Welcome, BytesMut), ClientError> {
    let mut stream = TcpStream::connect(&options.address).await.map_err(lost)?;
    if is_connected_to_itself(&stream).map_err(lost)? {
        return Err(lost(io::ErrorKind::ConnectionRefused.into()));
    }
    stream.set_nodelay(true).map_err(lost)?;
    let hello = Request::Hello(NativeHello {
        credentials: options.credentials.clone(),
        client_name: options.client_name.clone(),
    });
    let mut bytes = BytesMut::from(&preamble()[..]);
    hello.encode(HELLO_ID, &mut bytes)?;
    stream.write_all(&bytes).await.map_err(lost)?;
    bytes.clear();
    let frame = loop {
        if let Some(frame) = parse(&mut bytes)? {
            break frame;
        }
        if stream.read_buf(&mut bytes).await.map_err(lost)? == 0 {
            return Err(lost(closed()));
        }
    };
    match Response::decode(&frame, &Limits::authenticated())? {
        Response::Welcome(welcome) => Ok((stream, welcome, bytes)),
        Response::Error { error, .. } => Err(error.into()),
        other => {
            Err(ClientError::UnexpectedAnswer { expected: "WELCOME", found: format!("{other:?}") })
        }
    }
}

/// Where nobody listens on a port of this machine that it also gives to outgoing connections, an
/// attempt may get that very port and reach itself. It would keep the server from coming back.
fn is_connected_to_itself(stream: &TcpStream) -> io::Result<bool> {
    Ok(stream.local_addr()? == stream.peer_addr()?)
}

/// Numbers of requests start at 1 on each connection; the greeting is answered before the first.
const HELLO_ID: u64 = 1;

async fn drive(connection: Arc<Connection>, mut stream: TcpStream, mut input: BytesMut) {
    let (mut reader, mut writer) = stream.split();
    let mut output = BytesMut::new();
    let outcome = loop {
        if let Err(error) =
            move_bytes(&connection, (&mut reader, &mut input), (&mut writer, &mut output)).await
        {
            break error;
        }
        if connection.has_ended() {
            return;
        }
    };
    connection.end(outcome);
}

/// One step: some bytes in, some bytes out, or a wake-up because there is more to send.
async fn move_bytes(
    connection: &Connection,
    (reader, input): (&mut ReadHalf<'_>, &mut BytesMut),
    (writer, output): (&mut WriteHalf<'_>, &mut BytesMut),
) -> Result<(), ClientError> {
    if output.is_empty() {
        output.clear();
        connection.take_output(output);
    }
    reserve(input);
    tokio::select! {
        read = reader.read_buf(input) => {
            if read.map_err(lost)? == 0 {
                return Err(lost(closed()));
            }
            while let Some(frame) = parse(input)? {
                connection.deliver(frame)?;
            }
        }
        written = writer.write_buf(output), if output.has_remaining() => {
            written.map_err(lost)?;
        }
        () = connection.woken(), if !output.has_remaining() => {}
    }
    Ok(())
}

/// Makes room for the rest of the frame that has begun, so that a large one is read in few steps.
fn reserve(input: &mut BytesMut) {
    let length = input.first_chunk::<4>().map(|length| u32::from_le_bytes(*length));
    let payload_bytes = usize::try_from(length.unwrap_or(0)).unwrap_or(0);
    let frame_bytes = payload_bytes.saturating_add(FRAME_HEADER_BYTES);
    let bytes_max = Limits::authenticated().frame_bytes_max;
    let missing = frame_bytes.min(bytes_max).saturating_sub(input.len());
    input.reserve(missing.max(INPUT_BYTES_MIN / 2));
}

fn parse(input: &mut BytesMut) -> Result<Option<Frame>, ClientError> {
    Ok(FrameParser.parse(input, &Limits::authenticated())?)
}

fn lost(problem: io::Error) -> ClientError {
    let (fate, problem) = (Fate::Unknown, Arc::new(problem));
    ClientError::Lost { fate, problem }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpSocket};

    #[tokio::test]
    async fn a_connection_to_oneself_is_told_from_others() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let own = socket.local_addr().unwrap();
        let stream = socket.connect(own).await.unwrap();
        assert!(is_connected_to_itself(&stream).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(!is_connected_to_itself(&stream).unwrap());
    }
}
