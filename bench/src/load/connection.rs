//! One connection of a load: what was asked on it and not yet answered. Knows nothing of when to
//! ask.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use bytes::{Buf, BytesMut};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::{Step, Ticket, Workload};
use crate::error::{BenchError, Doing};

/// A connection, registered with the poll under its number.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    out: BytesMut,
    input: BytesMut,
    waiting: VecDeque<Waiting>,
    step: usize,
}

/// A request that was sent, or is about to be.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    ticket: Ticket,
    since: Instant,
}

impl Connection {
    /// Connects, lets the workload greet, and registers.
    pub(super) fn open(
        address: SocketAddr,
        workload: &mut dyn Workload,
        registry: &Registry,
        number: usize,
    ) -> Result<Self, BenchError> {
        let connecting = || format!("connect to {address}");
        let mut stream = std::net::TcpStream::connect(address).doing(connecting())?;
        stream.set_nodelay(true).doing(connecting())?;
        workload.open(&mut stream)?;
        stream.set_nonblocking(true).doing(connecting())?;
        let mut stream = TcpStream::from_std(stream);
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut stream, Token(number), interest).doing("watch a socket")?;
        Ok(Self {
            stream,
            out: BytesMut::new(),
            input: BytesMut::new(),
            waiting: VecDeque::new(),
            step: 0,
        })
    }

    /// Requests without an answer.
    pub(super) fn in_flight(&self) -> usize {
        self.waiting.len()
    }

    /// Writes a request to the output; `since` is when its latency begins.
    pub(super) fn ask(
        &mut self,
        workload: &mut dyn Workload,
        ticket: Ticket,
        since: Instant,
    ) -> Result<(), BenchError> {
        workload.write(ticket, &mut self.out)?;
        self.waiting.push_back(Waiting { ticket, since });
        Ok(())
    }

    /// Sends what the socket takes; the rest goes when it is writable again.
    pub(super) fn flush(&mut self) -> Result<(), BenchError> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(sent) => self.out.advance(sent),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(source).doing("send a request"),
            }
        }
        Ok(())
    }

    /// Receives what is there and checks whole answers; `answered` gets the start of each, and
    /// whether the peer was busy. A read that does not fill the buffer has emptied
    /// the socket.
    pub(super) fn receive(
        &mut self,
        workload: &mut dyn Workload,
        buffer: &mut [u8],
        mut answered: impl FnMut(Instant, Step),
    ) -> Result<(), BenchError> {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => {
                    let closed = std::io::Error::from(ErrorKind::UnexpectedEof);
                    return Err(closed).doing("receive an answer: the peer closed");
                }
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(source) => return Err(source).doing("receive an answer"),
            };
            self.input.extend_from_slice(&buffer[..count]);
            self.take_answers(workload, &mut answered)?;
            if count < buffer.len() {
                return Ok(());
            }
        }
    }

    fn take_answers(
        &mut self,
        workload: &mut dyn Workload,
        answered: &mut impl FnMut(Instant, Step),
    ) -> Result<(), BenchError> {
        while let Some(first) = self.waiting.front() {
            match workload.read(first.ticket, self.step, &mut self.input)? {
                Step::Wait => return Ok(()),
                Step::Part => self.step += 1,
                step @ (Step::Done | Step::Busy) => {
                    self.step = 0;
                    answered(first.since, step);
                    self.waiting.pop_front();
                }
            }
        }
        Ok(())
    }
}
