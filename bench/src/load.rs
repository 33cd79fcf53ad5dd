//! Load over TCP: one thread, one core, sockets that do not block, so that the side that measures
//! is not what is measured. Knows nothing of what the bytes mean.

mod connection;
mod figures;
mod generator;

pub use figures::{Figures, Latencies};
pub use generator::{Load, Pace, run};

use bytes::BytesMut;
use std::net::TcpStream;

use crate::error::BenchError;

/// What was asked: a draw from which the request can be made again when its answer comes.
pub type Ticket = u64;

/// How far a call of [`Workload::read`] got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// More bytes must come.
    Wait,
    /// A part of the answer was taken off the input; there are more.
    Part,
    /// The last part of the answer was taken off the input.
    Done,
    /// The peer was busy and did nothing; its refusal was taken off the input.
    Busy,
}

/// Requests of one kind to one kind of peer, and the check of their answers. Answers come in the
/// order of the requests.
pub trait Workload {
    /// Prepares a fresh connection, which still blocks.
    fn open(&mut self, stream: &mut TcpStream) -> Result<(), BenchError>;

    /// Appends the request of this ticket.
    fn write(&mut self, ticket: Ticket, out: &mut BytesMut) -> Result<(), BenchError>;

    /// Takes the next part of the ticket's answer off the front of `input` and checks it. `step`
    /// counts the parts taken before.
    fn read(
        &mut self,
        ticket: Ticket,
        step: usize,
        input: &mut BytesMut,
    ) -> Result<Step, BenchError>;
}
