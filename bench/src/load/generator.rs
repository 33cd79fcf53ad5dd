//! The loop that drives a load: closed (a fixed number of requests under way on each connection)
//! or open (requests are due at a rate, whether the peer keeps up or not; latency counts from when
//! a request was due). Knows nothing of what is asked.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use super::connection::Connection;
use super::figures::Collected;
use super::{Figures, Step, Workload};
use crate::error::{BenchError, Doing};
use crate::machine::{process_cpu, thread_cpu};
use crate::random::Random;

/// When requests are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// As many under way on each connection, all the time.
    Closed {
        /// Requests under way on each connection.
        depth: usize,
    },
    /// At a rate over all connections.
    Open {
        /// Requests due per second.
        per_second: f64,
    },
}

/// How a workload is driven.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where the peer listens.
    pub address: SocketAddr,
    /// Connections.
    pub connections: usize,
    /// When requests are made.
    pub pace: Pace,
    /// Time before the measurement.
    pub warm_up: Duration,
    /// Time of the measurement.
    pub duration: Duration,
    /// The seed of the tickets.
    pub seed: u64,
    /// The server's process, to read its processor time.
    pub server: Option<u32>,
    /// How many writes per second run beside the workload.
    pub beside_per_second: f64,
}

/// Drives `workload`, with `beside` at its own rate on a connection of its own, and measures.
///
/// # Errors
/// The first wrong answer, refusal or failure of a socket ends the run.
pub fn run<'a>(
    load: &'a Load,
    workload: &mut dyn Workload,
    beside: Option<&'a mut dyn Workload>,
) -> Result<Figures, BenchError> {
    let mut generator = Generator::open(load, workload, beside)?;
    generator.start(workload)?;
    let begin = Instant::now();
    generator.drive(workload, begin + load.warm_up)?;
    generator.collected.clear();
    let before = Reading::take(load.server)?;
    generator.drive(workload, before.at + load.duration)?;
    let after = Reading::take(load.server)?;
    Ok(figures(&generator.collected, &before, &after))
}

struct Generator<'a> {
    load: &'a Load,
    poll: Poll,
    connections: Vec<Connection>,
    beside: Option<Beside<'a>>,
    random: Random,
    collected: Collected,
    buffer: Vec<u8>,
    due: Instant,
    /// Whose turn it is in an open loop.
    turn: usize,
}

/// Writes that run beside the workload.
struct Beside<'a> {
    workload: &'a mut dyn Workload,
    connection: Connection,
    due: Instant,
    interval: Duration,
}

impl<'a> Generator<'a> {
    fn open(
        load: &'a Load,
        workload: &mut dyn Workload,
        beside: Option<&'a mut dyn Workload>,
    ) -> Result<Self, BenchError> {
        let poll = Poll::new().doing("create a poll")?;
        let connections = (0..load.connections)
            .map(|number| Connection::open(load.address, workload, poll.registry(), number))
            .collect::<Result<Vec<_>, BenchError>>()?;
        let beside = match beside {
            Some(workload) if 0.0 < load.beside_per_second => {
                let number = load.connections;
                let connection = Connection::open(load.address, workload, poll.registry(), number)?;
                let interval = Duration::from_secs_f64(1.0 / load.beside_per_second);
                Some(Beside { workload, connection, due: Instant::now(), interval })
            }
            _ => None,
        };
        Ok(Self {
            load,
            poll,
            connections,
            beside,
            random: Random::new(load.seed),
            collected: Collected::new(),
            buffer: vec![0; BUFFER_BYTES],
            due: Instant::now(),
            turn: 0,
        })
    }

    /// Puts the first requests of a closed loop under way.
    fn start(&mut self, workload: &mut dyn Workload) -> Result<(), BenchError> {
        for number in 0..self.connections.len() {
            self.refill(workload, number)?;
        }
        self.due = Instant::now();
        Ok(())
    }

    fn drive(&mut self, workload: &mut dyn Workload, until: Instant) -> Result<(), BenchError> {
        let mut events = Events::with_capacity(self.connections.len() + 1);
        loop {
            let now = Instant::now();
            if until <= now {
                return Ok(());
            }
            self.ask_due(workload, now)?;
            self.ask_beside(now)?;
            let timeout = self.timeout(now, until);
            self.poll.poll(&mut events, Some(timeout)).doing("wait for sockets")?;
            for event in &events {
                let number = event.token().0;
                if event.is_readable() || event.is_read_closed() {
                    self.receive(workload, number)?;
                }
                if event.is_writable() {
                    self.connection(number).flush()?;
                }
            }
        }
    }

    /// An open loop never sleeps: a wait would be coarser than what it measures.
    fn timeout(&self, now: Instant, until: Instant) -> Duration {
        match self.load.pace {
            Pace::Open { .. } => Duration::ZERO,
            Pace::Closed { .. } => {
                let next = self.beside.as_ref().map_or(until, |beside| beside.due.min(until));
                next.saturating_duration_since(now)
            }
        }
    }

    fn connection(&mut self, number: usize) -> &mut Connection {
        match &mut self.beside {
            Some(beside) if number == self.connections.len() => &mut beside.connection,
            _ => &mut self.connections[number],
        }
    }

    fn receive(&mut self, workload: &mut dyn Workload, number: usize) -> Result<(), BenchError> {
        let collected = &mut self.collected;
        if number == self.connections.len() {
            let Some(beside) = &mut self.beside else {
                unreachable!("only a write beside has a number behind all connections");
            };
            return beside.connection.receive(beside.workload, &mut self.buffer, |_, _| {});
        }
        let now = &mut None;
        self.connections[number].receive(workload, &mut self.buffer, |since, step| {
            let now = now.get_or_insert_with(Instant::now);
            match step {
                Step::Busy => collected.busy += 1,
                _ => collected.add(now.saturating_duration_since(since)),
            }
        })?;
        self.refill(workload, number)
    }

    /// Keeps a closed loop closed.
    fn refill(&mut self, workload: &mut dyn Workload, number: usize) -> Result<(), BenchError> {
        let Pace::Closed { depth } = self.load.pace else {
            return Ok(());
        };
        let connection = &mut self.connections[number];
        let missing = depth.saturating_sub(connection.in_flight());
        if missing == 0 {
            return Ok(());
        }
        let now = Instant::now();
        for _ in 0..missing {
            connection.ask(workload, self.random.next_bits(), now)?;
        }
        connection.flush()
    }

    /// Makes the requests of an open loop that are due, in turn over the connections.
    fn ask_due(&mut self, workload: &mut dyn Workload, now: Instant) -> Result<(), BenchError> {
        let Pace::Open { per_second } = self.load.pace else {
            return Ok(());
        };
        let interval = Duration::from_secs_f64(1.0 / per_second);
        while self.due <= now {
            let connection = &mut self.connections[self.turn];
            connection.ask(workload, self.random.next_bits(), self.due)?;
            connection.flush()?;
            self.due += interval;
            self.turn = (self.turn + 1) % self.connections.len();
        }
        Ok(())
    }

    fn ask_beside(&mut self, now: Instant) -> Result<(), BenchError> {
        let Some(beside) = &mut self.beside else {
            return Ok(());
        };
        while beside.due <= now {
            if beside.connection.in_flight() < BESIDE_IN_FLIGHT_MAX {
                let ticket = self.random.next_bits();
                beside.connection.ask(&mut *beside.workload, ticket, now)?;
                beside.connection.flush()?;
            }
            beside.due += beside.interval;
        }
        Ok(())
    }
}

/// Clocks at one moment.
struct Reading {
    at: Instant,
    server: Option<Duration>,
    client: Duration,
}

impl Reading {
    fn take(server: Option<u32>) -> Result<Self, BenchError> {
        let server = server.map(process_cpu).transpose()?;
        Ok(Self { at: Instant::now(), server, client: thread_cpu() })
    }
}

fn figures(collected: &Collected, before: &Reading, after: &Reading) -> Figures {
    let seconds = (after.at - before.at).as_secs_f64();
    let requests = collected.count();
    let count = count_f64(requests);
    let server = after.server.zip(before.server).map(|(after, before)| after - before);
    Figures {
        requests,
        busy: collected.busy,
        per_second: count / seconds,
        latencies: collected.latencies(),
        server_cpu_us: server
            .filter(|_| 0 < requests)
            .map(|server| server.as_secs_f64() * 1e6 / count),
        client_share: (after.client - before.client).as_secs_f64() / seconds,
    }
}

/// A count of requests as a double; no run makes 2^32 of them.
fn count_f64(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Bytes taken off a socket at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Writes beside the workload that may be under way; further ones are left out.
const BESIDE_IN_FLIGHT_MAX: usize = 64;
