//! One connection: requests go out pipelined, answers come back in any order and find their
//! request by its number. Knows nothing of reconnecting, plans' meaning or retries.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tilekv_protocol::native::{Credit, FRAME_HEADER_BYTES, Frame, FrameKind, Request, Response};
use tilekv_protocol::{Limits, ProtocolError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::error::{ClientError, Fate};
use crate::limits::REQUESTS_IN_FLIGHT_MAX;

/// An open connection. Its driver (driver.rs) moves the bytes.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Guards what is under way; held for the copy of a frame at most.
    state: Mutex<State>,
    /// Wakes the driver: there is output, or the connection has ended.
    wake: Notify,
    /// Wakes writers that wait for credit.
    credit_freed: Notify,
    turns: Arc<Semaphore>,
    frame_bytes_max: u64,
    request_timeout: Duration,
    server: Bytes,
}

#[derive(Debug)]
struct State {
    output: BytesMut,
    /// The number of the newest request.
    newest: u64,
    /// The number of the newest request whose bytes the driver took.
    sent: u64,
    waiters: HashMap<u64, Waiter>,
    /// The numbers of the plans prepared here, by the client's own number of the plan.
    plans: HashMap<u64, u32>,
    credit: Credit,
    under_way: Credit,
    answered_at: Instant,
    ended: Option<ClientError>,
}

/// Who waits for an answer. The turn is free again when it goes.
#[derive(Debug)]
struct Waiter {
    answer: oneshot::Sender<Result<Frame, ClientError>>,
    cost: Credit,
    _turn: OwnedSemaphorePermit,
}

/// A request that was handed to the connection.
#[derive(Debug)]
pub(crate) struct Pending {
    connection: Arc<Connection>,
    answer: oneshot::Receiver<Result<Frame, ClientError>>,
    submitted_at: Instant,
    timeout: Duration,
}

/// What the server said when the connection opened.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) frame_bytes_max: u64,
    pub(crate) credit: Credit,
    pub(crate) server: Bytes,
    pub(crate) request_timeout: Duration,
}

const NO_COST: Credit = Credit { bytes: 0, rows: 0 };

/// Where the request id stands in a frame.
const REQUEST_ID_OFFSET: usize = 8;

impl Connection {
    pub(crate) fn new(terms: Terms) -> Arc<Self> {
        let state = State {
            output: BytesMut::new(),
            newest: 0,
            sent: 0,
            waiters: HashMap::new(),
            plans: HashMap::new(),
            credit: terms.credit,
            under_way: NO_COST,
            answered_at: Instant::now(),
            ended: None,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            wake: Notify::new(),
            credit_freed: Notify::new(),
            turns: Arc::new(Semaphore::new(REQUESTS_IN_FLIGHT_MAX)),
            frame_bytes_max: terms.frame_bytes_max,
            request_timeout: terms.request_timeout,
            server: terms.server,
        })
    }

    /// The server's name and version.
    pub(crate) fn server(&self) -> &Bytes {
        &self.server
    }

    /// The largest frame that the server takes.
    pub(crate) fn frame_bytes_max(&self) -> u64 {
        self.frame_bytes_max
    }

    /// Sends a request and waits for its answer; a refusal is an error.
    pub(crate) async fn call(self: &Arc<Self>, request: &Request) -> Result<Response, ClientError> {
        let encode = |id, out: &mut BytesMut| request.encode(id, out);
        self.submit(encode).await?.answer().await
    }

    /// Hands a request over. The frame is written by `encode` under the number it is given.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        encode: impl FnOnce(u64, &mut BytesMut) -> Result<(), ProtocolError>,
    ) -> Result<Pending, ClientError> {
        let submitted_at = Instant::now();
        let turn = self.turn(submitted_at + self.request_timeout).await?;
        let answer = self.enqueue(&mut self.state(), turn, NO_COST, encode)?;
        self.wake.notify_one();
        Ok(self.pending(answer, submitted_at))
    }

    /// Hands over a write whose frame stands ready, once the server's credit allows it. The time
    /// for the answer starts when the write is handed over.
    pub(crate) async fn submit_write(
        self: &Arc<Self>,
        frame: &Bytes,
        rows: u64,
    ) -> Result<Pending, ClientError> {
        let deadline = Instant::now() + self.request_timeout;
        let mut turn = Some(self.turn(deadline).await?);
        let bytes = u64::try_from(frame.len()).unwrap_or(u64::MAX);
        let cost = Credit { bytes, rows };
        loop {
            let freed = self.credit_freed.notified();
            if let Some(pending) = self.try_submit_write(frame, cost, &mut turn)? {
                return Ok(pending);
            }
            if timeout_at(deadline, freed).await.is_err() {
                return Err(self.timed_out(Fate::NotApplied));
            }
        }
    }

    fn try_submit_write(
        self: &Arc<Self>,
        frame: &Bytes,
        cost: Credit,
        turn: &mut Option<OwnedSemaphorePermit>,
    ) -> Result<Option<Pending>, ClientError> {
        let mut state = self.state();
        if state.ended.is_none() && !state.has_credit(cost) {
            return Ok(None);
        }
        let Some(turn) = turn.take() else {
            unreachable!("a write is handed over once");
        };
        let answer = self.enqueue(&mut state, turn, cost, |id, out| {
            let start = out.len() + REQUEST_ID_OFFSET;
            out.extend_from_slice(frame);
            out[start..start + 8].copy_from_slice(&id.to_le_bytes());
            Ok(())
        })?;
        drop(state);
        self.wake.notify_one();
        Ok(Some(self.pending(answer, Instant::now())))
    }

    /// Hands over a read through a plan, whose number here is looked up in the same instant: the
    /// server gives a released number to the next plan. None where the plan is not prepared here.
    pub(crate) async fn submit_read(
        self: &Arc<Self>,
        plan: u64,
        encode: impl FnOnce(u64, u32, &mut BytesMut) -> Result<(), ProtocolError>,
    ) -> Result<Option<Pending>, ClientError> {
        let submitted_at = Instant::now();
        let turn = self.turn(submitted_at + self.request_timeout).await?;
        let answer = {
            let mut state = self.state();
            let Some(number) = state.plans.get(&plan).copied() else {
                return Ok(None);
            };
            let encode = |id, out: &mut BytesMut| encode(id, number, out);
            self.enqueue(&mut state, turn, NO_COST, encode)?
        };
        self.wake.notify_one();
        Ok(Some(self.pending(answer, submitted_at)))
    }

    /// Remembers the number of a plan that was prepared here. Where another request was faster,
    /// its number stays and this one is released.
    pub(crate) fn remember_plan(&self, plan: u64, number: u32) {
        let mut state = self.state();
        let known = *state.plans.entry(plan).or_insert(number);
        if known != number {
            self.release(&mut state, number);
        }
    }

    /// Forgets a plan here, and tells the server so without waiting for its answer.
    pub(crate) fn forget_plan(&self, plan: u64) {
        let mut state = self.state();
        if let Some(number) = state.plans.remove(&plan) {
            self.release(&mut state, number);
        }
    }

    /// A connection without a free turn, or that has ended, keeps the plan: it is one of few.
    fn release(&self, state: &mut State, number: u32) {
        let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() else {
            return;
        };
        let encode = |id, out: &mut BytesMut| Request::Release(number).encode(id, out);
        if self.enqueue(state, turn, NO_COST, encode).is_ok() {
            self.wake.notify_one();
        }
    }

    /// Whether the connection can no longer be used.
    pub(crate) fn has_ended(&self) -> bool {
        self.state().ended.is_some()
    }

    /// Ends the connection: every request that waits is told, with its own fate.
    pub(crate) fn end(&self, error: ClientError) {
        let (waiters, sent) = {
            let mut state = self.state();
            if state.ended.is_some() {
                return;
            }
            state.ended = Some(error.clone().with_fate(Fate::NotApplied));
            state.output = BytesMut::new();
            (std::mem::take(&mut state.waiters), state.sent)
        };
        for (id, waiter) in waiters {
            let fate = if id <= sent { Fate::Unknown } else { Fate::NotApplied };
            drop(waiter.answer.send(Err(error.clone().with_fate(fate))));
        }
        self.wake.notify_one();
        self.credit_freed.notify_waiters();
    }

    /// Ends the connection for a failure below the protocol.
    pub(crate) fn lose(&self, problem: io::Error) {
        let (fate, problem) = (Fate::Unknown, Arc::new(problem));
        self.end(ClientError::Lost { fate, problem });
    }

    /// For the driver: the bytes to send next, moved into an empty buffer.
    pub(crate) fn take_output(&self, into: &mut BytesMut) {
        let mut state = self.state();
        std::mem::swap(&mut state.output, into);
        state.sent = state.newest;
    }

    /// For the driver: waits until there may be output, or the connection has ended.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// For the driver: gives a frame to whom it answers.
    pub(crate) fn deliver(&self, frame: Frame) -> Result<(), ClientError> {
        let credit = credit_of(&frame)?;
        if frame.request_id == 0 {
            self.set_credit(credit, NO_COST);
            return unasked(&frame);
        }
        let waiter = {
            let mut state = self.state();
            state.answered_at = Instant::now();
            state.waiters.remove(&frame.request_id)
        };
        let Some(waiter) = waiter else {
            let (place, problem) = ("frame", "an answer to a request that was not made");
            return Err(ProtocolError::Malformed { place, problem }.into());
        };
        self.set_credit(credit, waiter.cost);
        // Whoever asked may have stopped waiting.
        drop(waiter.answer.send(Ok(frame)));
        Ok(())
    }

    fn set_credit(&self, credit: Option<Credit>, cost: Credit) {
        if credit.is_none() && cost == NO_COST {
            return;
        }
        {
            let mut state = self.state();
            state.credit = credit.unwrap_or(state.credit);
            state.under_way.bytes -= cost.bytes;
            state.under_way.rows -= cost.rows;
        }
        self.credit_freed.notify_waiters();
    }

    async fn turn(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, ClientError> {
        let turns = Arc::clone(&self.turns);
        match timeout_at(deadline, turns.acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) => unreachable!("the semaphore of turns is never closed"),
            Err(_) => Err(self.timed_out(Fate::NotApplied)),
        }
    }

    /// Writes a frame into the output and notes who waits for its answer.
    fn enqueue(
        &self,
        state: &mut State,
        turn: OwnedSemaphorePermit,
        cost: Credit,
        encode: impl FnOnce(u64, &mut BytesMut) -> Result<(), ProtocolError>,
    ) -> Result<oneshot::Receiver<Result<Frame, ClientError>>, ClientError> {
        if let Some(error) = &state.ended {
            return Err(error.clone());
        }
        let (id, start) = (state.newest + 1, state.output.len());
        encode(id, &mut state.output)?;
        let bytes = u64::try_from(state.output.len() - start).unwrap_or(u64::MAX);
        if self.frame_bytes_max < bytes {
            state.output.truncate(start);
            let (what, bytes_max) = ("a request", self.frame_bytes_max);
            return Err(ClientError::TooLarge { what, bytes, bytes_max });
        }
        state.newest = id;
        state.under_way.bytes += cost.bytes;
        state.under_way.rows += cost.rows;
        let (sender, receiver) = oneshot::channel();
        let waiter = Waiter { answer: sender, cost, _turn: turn };
        state.waiters.insert(id, waiter);
        Ok(receiver)
    }

    fn pending(
        self: &Arc<Self>,
        answer: oneshot::Receiver<Result<Frame, ClientError>>,
        submitted_at: Instant,
    ) -> Pending {
        Pending {
            connection: Arc::clone(self),
            answer,
            submitted_at,
            timeout: self.request_timeout,
        }
    }

    fn timed_out(&self, fate: Fate) -> ClientError {
        let waited = self.request_timeout;
        ClientError::TimedOut { fate, waited }
    }

    /// A poisoned lock means that a panic is under way on another thread; what it guards here is
    /// whole between any two statements that could panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether so much more may be under way. A single write may always be: a frame larger than
    /// the whole credit could otherwise never go.
    fn has_credit(&self, cost: Credit) -> bool {
        let idle = self.under_way == NO_COST;
        let bytes = self.under_way.bytes.saturating_add(cost.bytes);
        let rows = self.under_way.rows.saturating_add(cost.rows);
        idle || (bytes <= self.credit.bytes && rows <= self.credit.rows)
    }
}

impl Pending {
    /// Waits for the answer; a refusal is an error. When the time is up and nothing at all came
    /// on the connection since the request went out, the connection is taken for dead. A caller
    /// that stops waiting may wait again.
    pub(crate) async fn answer(&mut self) -> Result<Response, ClientError> {
        let deadline = self.submitted_at + self.timeout;
        let frame = match timeout_at(deadline, &mut self.answer).await {
            Ok(Ok(frame)) => frame?,
            Ok(Err(_)) => unreachable!("a waiter is told before it is dropped"),
            Err(_) => {
                let is_silent = self.connection.state().answered_at < self.submitted_at;
                if is_silent {
                    self.connection.lose(io::ErrorKind::TimedOut.into());
                }
                return Err(self.connection.timed_out(Fate::Unknown));
            }
        };
        match Response::decode(&frame, &Limits::authenticated()) {
            Ok(Response::Error { error, .. }) => Err(error.into()),
            Ok(response) => Ok(response),
            Err(problem) => {
                self.connection.end(problem.clone().into());
                Err(problem.into())
            }
        }
    }
}

/// The credit that a frame brings.
fn credit_of(frame: &Frame) -> Result<Option<Credit>, ClientError> {
    let kind = FrameKind::from_number(frame.kind);
    if !matches!(kind, Some(FrameKind::Applied | FrameKind::Credit)) {
        return Ok(None);
    }
    Ok(match Response::decode(frame, &Limits::authenticated())? {
        Response::Applied(applied) => Some(applied.credit),
        Response::Credit(credit) => Some(credit),
        _ => None,
    })
}

/// A frame that answers no request: credit, or what is wrong with the whole connection.
fn unasked(frame: &Frame) -> Result<(), ClientError> {
    match Response::decode(frame, &Limits::authenticated())? {
        Response::Credit(_) => Ok(()),
        Response::Error { error, .. } => {
            let problem = Arc::new(io::Error::other(error));
            let fate = Fate::Unknown;
            Err(ClientError::Lost { fate, problem })
        }
        _ => {
            let (place, problem) = ("frame", "an answer without a request id");
            Err(ProtocolError::Malformed { place, problem }.into())
        }
    }
}

const _: () = assert!(REQUEST_ID_OFFSET + 8 == FRAME_HEADER_BYTES);
