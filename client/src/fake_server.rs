//! A server of one's own for tests: it takes connections on a free loopback port, and the test
//! says what it answers. Knows nothing of views and tiles.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use tilekv_protocol::native::{
    Credit, FrameParser, NativeHello, PREAMBLE_BYTES, Request, Response, Welcome, parse_preamble,
};
use tilekv_protocol::{ErrorReply, Limits, Reply};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{Backoff, ClientOptions};
use std::time::Duration;

/// A listener and the terms of its greeting.
pub(crate) struct FakeServer {
    listener: TcpListener,
    pub(crate) credit: Credit,
    pub(crate) frame_bytes_max: u64,
    pub(crate) password: Option<Bytes>,
}

/// The server's end of one connection.
pub(crate) struct FakePeer {
    stream: TcpStream,
    input: BytesMut,
    requests: VecDeque<(u64, Request)>,
}

impl FakeServer {
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0").await
    }

    /// A server at the address of one that is gone.
    pub(crate) async fn start_at(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        Self { listener, credit: Credit::UNBOUNDED, frame_bytes_max: 1 << 20, password: None }
    }

    /// Options for it, with short waits.
    pub(crate) fn options(&self) -> ClientOptions {
        let address = self.listener.local_addr().unwrap().to_string();
        let delay = Duration::from_millis(5);
        ClientOptions::new(address).with_backoff(Backoff::exponential(delay, delay, 5))
    }

    /// Takes the next connection and answers its greeting.
    pub(crate) async fn accept(&self) -> FakePeer {
        let (stream, _) = self.listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let input = BytesMut::new();
        let mut peer = FakePeer { stream, input, requests: VecDeque::new() };
        while !parse_preamble(&peer.input).unwrap() {
            peer.stream.read_buf(&mut peer.input).await.unwrap();
        }
        peer.input.advance(PREAMBLE_BYTES);
        let (id, Request::Hello(hello)) = peer.next().await.unwrap() else {
            panic!("a client greets first");
        };
        peer.answer(id, &self.welcome(&hello)).await;
        peer
    }

    fn welcome(&self, hello: &NativeHello) -> Response {
        let given = hello.credentials.as_ref().map(|credentials| &credentials.password);
        if given.is_some() && given != self.password.as_ref() {
            let code = tilekv_protocol::ErrorCode::WrongPass;
            return Response::refusal(ErrorReply::new(code, "wrong"));
        }
        Response::Welcome(Welcome {
            authenticated: given == self.password.as_ref(),
            connection_id: 1,
            frame_bytes_max: self.frame_bytes_max,
            credit: self.credit,
            server: Bytes::from_static(b"fake"),
        })
    }
}

impl FakePeer {
    /// The next request; none once the client has closed.
    pub(crate) async fn next(&mut self) -> Option<(u64, Request)> {
        loop {
            if let Some(request) = self.requests.pop_front() {
                return Some(request);
            }
            while let Some(frame) =
                FrameParser.parse(&mut self.input, &Limits::authenticated()).unwrap()
            {
                let request = Request::decode(&frame, &Limits::authenticated()).unwrap();
                self.requests.push_back((frame.request_id, request));
            }
            if self.requests.is_empty()
                && self.stream.read_buf(&mut self.input).await.unwrap_or(0) == 0
            {
                return None;
            }
        }
    }

    pub(crate) async fn answer(&mut self, id: u64, response: &Response) {
        let mut output = BytesMut::new();
        response.encode(id, &mut output).unwrap();
        // A client that has gone reads no more.
        let _ = self.stream.write_all(&output).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Answers each request by the test's rule until the client closes or the rule wants no more.
    pub(crate) async fn serve(&mut self, mut rule: impl FnMut(Request) -> Option<Response>) {
        while let Some((id, request)) = self.next().await {
            match rule(request) {
                Some(response) => self.answer(id, &response).await,
                None => return,
            }
        }
    }
}

/// The arguments of a generic command, as text.
pub(crate) fn words(request: &Request) -> Vec<String> {
    match request {
        Request::Command(arguments) => {
            arguments.iter().map(|word| String::from_utf8(word.to_vec()).unwrap()).collect()
        }
        other => panic!("{other:?} is no generic command"),
    }
}

pub(crate) fn text(text: &str) -> Response {
    Response::Value(Reply::text(text))
}
