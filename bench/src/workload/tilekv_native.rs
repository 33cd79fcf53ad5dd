//! TileKV over its native protocol, with the client library's frames on sockets of our own. Knows
//! nothing of RESP.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tilekv_client::wire::{
    ColumnsReply, EventWrite, FrameParser, Limits, NativeHello, PlanRequest, ReplyColumn, Request,
    RequestShape, Response, WriteOutcome, encode_read, preamble,
};
use tilekv_client::{ErrorCode, ReadTime, WriteLane};
use tilekv_tile::{Cells, Identifier, Name, Rows, Selector, TypedColumn};

use super::tilekv_resp::NOON_MS;
use super::{
    BATCH_ENTITIES, BATCH_ROWS, EVENT_VIEW_NAME, Key, Model, VIEW_NAMES, batch_selectors,
    batch_sums, position, single_selectors, wrong_answer,
};
use crate::dataset::{DAY_COUNT, Totals, WINDOW_COUNT};
use crate::error::{BenchError, Doing};
use crate::load::{Step, Ticket, Workload};
use crate::random::Random;

/// READ through a plan prepared on each connection.
#[derive(Debug)]
pub struct Reads {
    model: Arc<Model>,
    session: Session,
    shape: Shape,
    drawn: Vec<u32>,
    time: ReadTime,
}

/// How much one READ asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// One entity of one view: all windows, sum and count.
    Single,
    /// 200 entities of two views: the sums of three windows.
    Batch,
}

impl Reads {
    /// One entity per request.
    pub fn single(model: Arc<Model>) -> Result<Self, BenchError> {
        Self::of(model, Shape::Single, &VIEW_NAMES[..1], &single_selectors())
    }

    /// 200 entities per request.
    pub fn batch(model: Arc<Model>) -> Result<Self, BenchError> {
        Self::of(model, Shape::Batch, &VIEW_NAMES, &batch_selectors())
    }

    fn of(
        model: Arc<Model>,
        shape: Shape,
        views: &[&str],
        selectors: &[String],
    ) -> Result<Self, BenchError> {
        let selectors = selectors
            .iter()
            .map(|text| Selector::parse(text.as_bytes()))
            .collect::<Result<Vec<_>, _>>()?;
        let groups = views
            .iter()
            .map(|view| Ok((Name::parse(view.as_bytes())?, selectors.clone())))
            .collect::<Result<Vec<_>, BenchError>>()?;
        let plan = PlanRequest { groups, edge: None, known: false };
        let time = model.read_at.map_or(ReadTime::Now, ReadTime::At);
        Ok(Self { model, session: Session::new(Some(plan)), shape, drawn: Vec::new(), time })
    }

    fn draw(&mut self, ticket: Ticket) {
        match self.shape {
            Shape::Batch => self.model.draw_batch(ticket, &mut self.drawn),
            Shape::Single => {
                self.drawn.clear();
                self.drawn.push(self.model.entity(ticket));
            }
        }
    }

    fn check(&self, columns: &ColumnsReply) -> Result<(), BenchError> {
        let expected = match self.shape {
            Shape::Single => 2 * WINDOW_COUNT,
            Shape::Batch => 2 * BATCH_SELECTORS,
        };
        if columns.rows() != self.drawn.len() || columns.columns().len() != expected {
            let found = (columns.rows(), columns.columns().len());
            return Err(wrong_answer(PEER, "a row per entity, a column per window", &found));
        }
        match self.shape {
            Shape::Single => self.check_single(columns.columns()),
            Shape::Batch => self.check_batch(columns.columns()),
        }
    }

    fn check_single(&self, columns: &[ReplyColumn]) -> Result<(), BenchError> {
        let mut found = Totals::default();
        for (window, pair) in columns.chunks_exact(2).enumerate() {
            found.sums[window] = f64::from_bits(word(&pair[0], 0));
            found.counts[window] = word(&pair[1], 0);
        }
        self.model.check(PEER, (0, self.drawn[0]), &found)
    }

    fn check_batch(&self, columns: &[ReplyColumn]) -> Result<(), BenchError> {
        for (view, columns) in (0..).zip(columns.chunks_exact(BATCH_SELECTORS)) {
            for (row, entity) in self.drawn.iter().enumerate() {
                let expected = batch_sums(self.model.totals(view, *entity));
                let found = [0, 1, 2].map(|column| f64::from_bits(word(&columns[column], row)));
                if expected != found {
                    return Err(wrong_answer(PEER, &format!("{expected:?}"), &found));
                }
            }
        }
        Ok(())
    }
}

impl Workload for Reads {
    fn open(&mut self, stream: &mut TcpStream) -> Result<(), BenchError> {
        self.session.open(stream)
    }

    fn write(&mut self, ticket: Ticket, out: &mut BytesMut) -> Result<(), BenchError> {
        self.draw(ticket);
        let plan = self.session.plan;
        let written = match self.drawn[..] {
            [entity] => {
                let key = Key::new("u:", entity);
                encode_read(ticket, plan, &self.time, false, &[key.bytes()], out)
            }
            _ => {
                let keys: Vec<Key> =
                    self.drawn.iter().map(|entity| Key::new("u:", *entity)).collect();
                let keys: Vec<&[u8]> = keys.iter().map(Key::bytes).collect();
                encode_read(ticket, plan, &self.time, false, &keys, out)
            }
        };
        written.map_err(|error| wrong_answer(PEER, "a request that fits", &error))
    }

    fn read(&mut self, ticket: Ticket, _: usize, input: &mut BytesMut) -> Result<Step, BenchError> {
        let Some(response) = self.session.take(Some(ticket), input)? else {
            return Ok(Step::Wait);
        };
        let Response::Columns(columns) = response else {
            return Err(wrong_answer(PEER, "columns", &response));
        };
        self.draw(ticket);
        self.check(&columns)?;
        Ok(Step::Done)
    }
}

/// The word of a row: zero where there is no value, as the sum of nothing.
fn word(column: &ReplyColumn, row: usize) -> u64 {
    let words = column.words().map(|bytes| bytes.as_chunks::<8>().0);
    words.map_or(u64::MAX, |words| u64::from_le_bytes(words[row]))
}

/// ADD of one row, or of 100.
#[derive(Debug)]
pub struct Events {
    model: Arc<Model>,
    session: Session,
    rows: usize,
    view: Name,
    column: Identifier,
}

impl Events {
    /// One row per request.
    pub fn single(model: Arc<Model>) -> Result<Self, BenchError> {
        Self::of(model, 1)
    }

    /// 100 rows per request.
    pub fn batch(model: Arc<Model>) -> Result<Self, BenchError> {
        Self::of(model, BATCH_ROWS)
    }

    fn of(model: Arc<Model>, rows: usize) -> Result<Self, BenchError> {
        let view = Name::parse(EVENT_VIEW_NAME.as_bytes())?;
        let column = Identifier::parse(b"amount")?;
        Ok(Self { model, session: Session::new(None), rows, view, column })
    }

    fn draw(&self, ticket: Ticket) -> Rows {
        let mut random = Random::new(ticket);
        let (mut names, mut ends) = (Vec::with_capacity(self.rows * 8), Vec::new());
        let (mut timestamps, mut values) = (Vec::new(), Vec::new());
        for _ in 0..self.rows {
            let key = Key::new("u:", random.below(self.model.dataset.entities));
            names.extend_from_slice(key.bytes());
            ends.push(names.len());
            timestamps.push(self.model.dataset.day_ms(random.below(DAY_COUNT)) + NOON_MS);
            values.push(f64::from(random.below(1_000)));
        }
        let names = Bytes::from(names);
        let starts = std::iter::once(&0).chain(&ends);
        let entities = starts.zip(&ends).map(|(start, end)| names.slice(start..end)).collect();
        let cells = Cells::Typed(vec![TypedColumn::F64 { values, valid: None }]);
        Rows { columns: vec![self.column.clone()], entities, timestamps, cells }
    }
}

impl Workload for Events {
    fn open(&mut self, stream: &mut TcpStream) -> Result<(), BenchError> {
        self.session.open(stream)
    }

    fn write(&mut self, ticket: Ticket, out: &mut BytesMut) -> Result<(), BenchError> {
        let write = EventWrite {
            view: self.view.clone(),
            rows: self.draw(ticket),
            stamp: None,
            shape: RequestShape::Batch,
            lane: WriteLane::Stream,
        };
        let written = Request::Events(Box::new(write)).encode(ticket, out);
        written.map_err(|error| wrong_answer(PEER, "a request that fits", &error))
    }

    fn read(&mut self, ticket: Ticket, _: usize, input: &mut BytesMut) -> Result<Step, BenchError> {
        match self.session.take(Some(ticket), input)? {
            None => Ok(Step::Wait),
            Some(Response::Applied(applied)) => {
                let WriteOutcome::Applied(rows) = applied.outcome else {
                    return Err(wrong_answer(PEER, "rows applied", &applied));
                };
                if position(rows) != self.rows {
                    return Err(wrong_answer(PEER, "every row applied", &applied));
                }
                Ok(Step::Done)
            }
            Some(Response::Error { error, closing: false }) if error.code() == ErrorCode::Busy => {
                Ok(Step::Busy)
            }
            Some(other) => Err(wrong_answer(PEER, "rows applied", &other)),
        }
    }
}

/// What opening a connection leaves behind.
#[derive(Debug)]
struct Session {
    limits: Limits,
    request: Option<PlanRequest>,
    /// The plan's number: the same on every connection, since each prepares one.
    plan: u32,
}

impl Session {
    fn new(request: Option<PlanRequest>) -> Self {
        Self { limits: Limits::authenticated(), request, plan: 0 }
    }

    /// Greets, and prepares the plan where there is one.
    fn open(&mut self, stream: &mut TcpStream) -> Result<(), BenchError> {
        let mut out = BytesMut::from(&preamble()[..]);
        let client_name = Bytes::from_static(b"tilekv-bench");
        let hello = Request::Hello(NativeHello { credentials: None, client_name });
        let welcome = self.call(stream, &hello, &mut out)?;
        if !matches!(&welcome, Response::Welcome(welcome) if welcome.authenticated) {
            return Err(wrong_answer(PEER, "a welcome", &welcome));
        }
        let Some(request) = self.request.clone() else {
            return Ok(());
        };
        out.clear();
        match self.call(stream, &Request::Prepare(request), &mut out)? {
            Response::Plan(plan) => self.plan = plan.plan,
            other => return Err(wrong_answer(PEER, "a plan", &other)),
        }
        Ok(())
    }

    fn call(
        &self,
        stream: &mut TcpStream,
        request: &Request,
        out: &mut BytesMut,
    ) -> Result<Response, BenchError> {
        let encoded = request.encode(1, out);
        encoded.map_err(|error| wrong_answer(PEER, "a request that fits", &error))?;
        stream.write_all(out).doing("send a greeting")?;
        let mut input = BytesMut::new();
        let mut buffer = [0; 4_096];
        loop {
            let count = stream.read(&mut buffer).doing("receive a greeting")?;
            if count == 0 {
                let closed = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                return Err(closed).doing("receive a greeting");
            }
            input.extend_from_slice(&buffer[..count]);
            if let Some(response) = self.take(Some(1), &mut input)? {
                return Ok(response);
            }
        }
    }

    /// Takes the next response off the input; credits, which answer nothing, are passed over.
    fn take(
        &self,
        request_id: Option<u64>,
        input: &mut BytesMut,
    ) -> Result<Option<Response>, BenchError> {
        loop {
            let broken = |error| wrong_answer(PEER, "a frame", &error);
            let Some(frame) = FrameParser.parse(input, &self.limits).map_err(broken)? else {
                return Ok(None);
            };
            match Response::decode(&frame, &self.limits).map_err(broken)? {
                Response::Credit(_) => {}
                response if Some(frame.request_id) == request_id => return Ok(Some(response)),
                response => return Err(wrong_answer(PEER, "answers in order", &response)),
            }
        }
    }
}

const PEER: &str = "tilekv";
const BATCH_SELECTORS: usize = crate::dataset::BATCH_WINDOWS.len();
const _: () = assert!(1 < BATCH_ENTITIES, "a batch is told from a single read by its keys");
