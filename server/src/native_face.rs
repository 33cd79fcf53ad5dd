//! The native face of a connection: frames with request ids, answered as soon as each is ready
//! ([NAT-3], [NAT-4]). Knows nothing of sockets.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use smallvec::SmallVec;
use tilekv_engine::{Outcome, PinnedPages, Plan, ReadOutcome, ReadRequest, ServiceRequest};
use tilekv_protocol::native::{
    Applied, Credit, FrameParser, NativeHello, PREAMBLE_BYTES, PlanReply, PlanRequest, Request,
    RequestError, Response, ServicePlanRequest, Welcome, WriteOutcome, encode_answers,
    parse_preamble,
};
use tilekv_protocol::{
    Arguments, Command, CommandError, ConnectionCommand, Credentials, DiagnosticsCommand,
    ErrorReply, JobPut, ProtocolError, Reply, TileCommand, check_answer_size,
};
use tilekv_tile::Answers;

use crate::cold_reads::{ColdForm, ColdWindows, ColdWork};
use crate::delivery::{
    AnswerForm, JobAnswer, JobOutcome, SlowOutcome, SlowReply, Tag, WriteOutcomes,
};
use crate::dispatch::{self, Action, jobs, writes};
use crate::exchange::{self, Exchange, Turn};
use crate::family::Family;
use crate::job_queue::JobWork;
use crate::limits::PREPARED_PLAN_COUNT_MAX;
use crate::metrics::Ending;
use crate::plans::Shape;
use crate::received;
use crate::refuse;
use crate::shared::Shared;
use crate::write_queue::ENTRY_BYTES;

/// The state of a native conversation.
#[derive(Debug, Default)]
pub(crate) struct NativeFace {
    has_preamble: bool,
    prepared: Vec<Option<Prepared>>,
    /// Requests that the committer or the slow worker will answer.
    waiting: usize,
}

/// A prepared read. The plan is made anew when the views have changed.
#[derive(Debug)]
struct Prepared {
    shape: Shape,
    plan: RefCell<Arc<Plan>>,
}

impl NativeFace {
    /// Takes one frame off the input; false if none is whole. After an error nothing more can be
    /// read.
    pub(crate) fn step(
        &mut self,
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        input: &mut BytesMut,
    ) -> Result<bool, ProtocolError> {
        if !self.has_preamble {
            if !parse_preamble(input)? {
                return Ok(false);
            }
            input.advance(PREAMBLE_BYTES);
            self.has_preamble = true;
        }
        let limits = &exchange.session.limits;
        let Some(frame) = FrameParser.parse(input, limits)? else { return Ok(false) };
        let bytes = frame.payload.len() + ENTRY_BYTES;
        match Request::decode(&frame, limits) {
            Ok(request) => self.run(exchange, turn, frame.request_id, request, bytes),
            Err(RequestError::Malformed(error)) => return Err(error),
            Err(RequestError::Refused(CommandError { reply, refused, .. })) => {
                if let Some(refused) = refused {
                    exchange.note_refused_write(*refused);
                }
                turn.count(Family::Unknown, Ending::Refused);
                respond(exchange, frame.request_id, &Response::refusal(reply));
            }
        }
        Ok(true)
    }

    /// Answers a protocol error and ends the conversation.
    pub(crate) fn fail(&mut self, exchange: &mut Exchange, error: &ProtocolError) {
        if let Some(error) = error.reply() {
            respond(exchange, 0, &Response::Error { error, closing: true });
        }
        exchange.session.closing = true;
    }

    /// Answers writes that were committed or refused.
    pub(crate) fn deliver_writes(
        &mut self,
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        delivered: WriteOutcomes,
    ) {
        let time = delivered.started.elapsed();
        exchange.in_flight_bytes -= delivered.bytes;
        self.waiting -= delivered.outcomes.len();
        let credit = credit(turn.context.shared);
        for (tag, result) in delivered.outcomes {
            let response = match (tag.form, result) {
                (_, Err(error)) => Response::refusal(error),
                (AnswerForm::Reply, Ok(outcome)) => Response::Value(writes::reply(outcome)),
                (AnswerForm::Applied, Ok(outcome)) => {
                    Response::Applied(Applied { outcome: native_outcome(outcome), credit })
                }
            };
            let refused = matches!(response, Response::Error { .. });
            let ending = if refused { Ending::Refused } else { Ending::Answered };
            turn.metrics.record(tag.family, ending, 1, time);
            respond(exchange, tag.request, &response);
        }
    }

    /// Answers a scan.
    pub(crate) fn deliver_scan(
        &mut self,
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        delivered: SlowOutcome,
    ) {
        self.waiting -= 1;
        let SlowOutcome { tag, reply, started } = delivered;
        let ending = match &reply {
            SlowReply::Reply(reply) => exchange::ending(reply),
            SlowReply::Columns { .. } => Ending::Answered,
        };
        turn.metrics.record(tag.family, ending, 1, started.elapsed());
        match reply {
            SlowReply::Reply(reply) => respond(exchange, tag.request, &value(reply)),
            SlowReply::Columns { answers, with_status } => {
                let sent = send_answers(exchange, tag.request, &answers, with_status);
                if let Err(error) = sent {
                    respond(exchange, tag.request, &Response::refusal(error));
                }
            }
        }
    }

    /// Answers work on a job.
    pub(crate) fn deliver_job(
        &mut self,
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        delivered: JobOutcome,
    ) {
        let JobOutcome { tag, answer, bytes, started } = delivered;
        exchange.in_flight_bytes -= bytes;
        self.waiting -= 1;
        let (response, ending) = match (tag.form, answer) {
            (AnswerForm::Applied, JobAnswer::Done(outcome)) => {
                let credit = job_credit(turn.context.shared);
                let applied = Applied { outcome: native_outcome(outcome), credit };
                (Response::Applied(applied), Ending::Answered)
            }
            (_, answer) => match exchange::job_reply(answer) {
                Ok((reply, ending)) => (value(reply), ending),
                Err(error) => {
                    self.fail(exchange, &error);
                    return;
                }
            },
        };
        turn.metrics.record(tag.family, ending, 1, started.elapsed());
        respond(exchange, tag.request, &response);
    }

    /// Whether nothing waits for an answer.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting == 0
    }

    fn run(
        &mut self,
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        id: u64,
        request: Request,
        bytes: usize,
    ) {
        let family = family(&request);
        let tag = Tag { request: id, command: None, family, form: AnswerForm::Applied };
        let done = match request {
            _ if !exchange.session.authenticated && !opens(&request) => Err(refuse::no_auth()),
            Request::Hello(hello) => Self::hello(exchange, turn, id, hello),
            Request::Auth(credentials) => Self::authenticate(exchange, turn, &credentials)
                .map(|()| respond(exchange, id, &Response::Done)),
            Request::Ping(payload) => {
                respond(exchange, id, &Response::Pong(payload));
                Ok(())
            }
            Request::Prepare(PlanRequest { groups, edge, known }) => {
                let shape = Shape::Windows(ReadRequest { groups, edge, known });
                self.prepare(exchange, turn, id, shape)
            }
            Request::PrepareService(ServicePlanRequest { service, keys, known }) => {
                let shape = Shape::Service(ServiceRequest { service, keys, known });
                self.prepare(exchange, turn, id, shape)
            }
            Request::Release(plan) => self.release(exchange, id, plan),
            Request::Read(read) => {
                if let Err(error) = self.read(exchange, turn, tag, read) {
                    self.finish(exchange, turn, tag, Err(error));
                }
                return;
            }
            Request::Events(events) => {
                self.write(exchange, turn, tag, TileCommand::Events(events), bytes)
            }
            Request::Tile(tile) => self.write(exchange, turn, tag, TileCommand::Write(tile), bytes),
            Request::Put(put) => self.put(exchange, turn, tag, put, bytes),
            Request::Command(arguments) => {
                self.command(exchange, turn, id, &arguments);
                return;
            }
        };
        self.finish(exchange, turn, tag, done);
    }

    /// Counts what was answered in this turn, and answers refusals. Writes that were taken are
    /// counted when they are answered.
    fn finish(
        &mut self,
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        tag: Tag,
        done: Result<(), ErrorReply>,
    ) {
        match done {
            Ok(()) if matches!(tag.family, Family::Tile | Family::Job) => {}
            Ok(()) => turn.count(tag.family, Ending::Answered),
            Err(error) => {
                turn.count(tag.family, Ending::Refused);
                respond(exchange, tag.request, &Response::refusal(error));
            }
        }
    }

    fn hello(
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        id: u64,
        hello: NativeHello,
    ) -> Result<(), ErrorReply> {
        if let Some(credentials) = &hello.credentials {
            Self::authenticate(exchange, turn, credentials)?;
        }
        let shared = turn.context.shared;
        let client = &exchange.session.client;
        client.about.lock().name = String::from_utf8_lossy(&hello.client_name).into_owned();
        let welcome = Welcome {
            authenticated: exchange.session.authenticated,
            connection_id: client.id,
            frame_bytes_max: wide(exchange.session.limits.frame_bytes_max),
            credit: credit(shared),
            server: Bytes::from_static(SERVER.as_bytes()),
        };
        respond(exchange, id, &Response::Welcome(welcome));
        Ok(())
    }

    fn authenticate(
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        credentials: &Credentials,
    ) -> Result<(), ErrorReply> {
        dispatch::authenticate(&turn.context, &mut exchange.session, credentials)
    }

    fn prepare(
        &mut self,
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        id: u64,
        shape: Shape,
    ) -> Result<(), ErrorReply> {
        let plan = turn.context.plans.find(&turn.context, shape.clone())?;
        let columns = u32::try_from(plan.columns()).unwrap_or(u32::MAX);
        let index = self.free_index()?;
        self.prepared[index] = Some(Prepared { shape, plan: RefCell::new(plan) });
        let plan = u32::try_from(index).unwrap_or(u32::MAX);
        respond(exchange, id, &Response::Plan(PlanReply { plan, columns }));
        Ok(())
    }

    fn free_index(&mut self) -> Result<usize, ErrorReply> {
        if let Some(index) = self.prepared.iter().position(Option::is_none) {
            return Ok(index);
        }
        if PREPARED_PLAN_COUNT_MAX <= self.prepared.len() {
            return Err(ErrorReply::limit(format!(
                "{PREPARED_PLAN_COUNT_MAX} plans are prepared on this connection; release one"
            )));
        }
        self.prepared.push(None);
        Ok(self.prepared.len() - 1)
    }

    fn release(&mut self, exchange: &mut Exchange, id: u64, plan: u32) -> Result<(), ErrorReply> {
        let index = usize::try_from(plan).unwrap_or(usize::MAX);
        let released = self.prepared.get_mut(index).and_then(Option::take);
        released.map(|_| ()).ok_or_else(|| no_plan(plan))?;
        respond(exchange, id, &Response::Done);
        Ok(())
    }

    fn read(
        &mut self,
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        tag: Tag,
        read: tilekv_protocol::native::ReadRequest,
    ) -> Result<(), ErrorReply> {
        let plan = self.current_plan(turn, read.plan)?;
        check_rows(&plan, &read)?;
        check_answer_size(read.keys.len() / read.keys_per_row, plan.columns())?;
        let keys: SmallVec<[&[u8]; 8]> = read.keys.iter().collect();
        let context = &turn.context;
        let time = dispatch::engine_time(read.time);
        let (reader, version) = (&context.shared.reader, &context.version);
        let (now_ms, with_status) = (context.now_ms, read.with_status);
        let mut answers = context.plans.lend_answers();
        let (clock, pinned) = ((now_ms, &time), PinnedPages::default());
        let outcome = reader.try_read_into(version, &plan, clock, &keys, &mut answers, pinned);
        match outcome.map_err(|error| refuse::engine_error(&error))? {
            ReadOutcome::Ready(()) => {
                let sent = send_answers(exchange, tag.request, &answers, with_status);
                context.plans.return_answers(answers);
                turn.count(tag.family, Ending::Answered);
                sent
            }
            ReadOutcome::Needs(request) => {
                let entities = keys.iter().map(|key| Bytes::copy_from_slice(key)).collect();
                let (version, form) = (Arc::clone(version), ColdForm::Columns { with_status });
                let windows = ColdWindows { request, version, plan, now_ms, time, entities, form };
                exchange.submit_cold(turn, tag, ColdWork::Windows(Box::new(windows)))?;
                self.waiting += 1;
                Ok(())
            }
        }
    }

    fn current_plan(&self, turn: &Turn<'_>, plan: u32) -> Result<Arc<Plan>, ErrorReply> {
        let index = usize::try_from(plan).unwrap_or(usize::MAX);
        let prepared = self.prepared.get(index).and_then(Option::as_ref);
        let prepared = prepared.ok_or_else(|| no_plan(plan))?;
        let known = Arc::clone(&prepared.plan.borrow());
        let context = &turn.context;
        if context.shared.reader.is_current(&context.version, &known) {
            return Ok(known);
        }
        let fresh = context.plans.find(context, prepared.shape.clone())?;
        *prepared.plan.borrow_mut() = Arc::clone(&fresh);
        Ok(fresh)
    }

    fn write(
        &mut self,
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        tag: Tag,
        command: TileCommand,
        bytes: usize,
    ) -> Result<(), ErrorReply> {
        let write = writes::tile(command)?;
        exchange.submit(turn, tag, Box::new(write), bytes)?;
        self.waiting += 1;
        Ok(())
    }

    fn put(
        &mut self,
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        tag: Tag,
        put: Box<JobPut>,
        bytes: usize,
    ) -> Result<(), ErrorReply> {
        let job = jobs::id(&put.job)?;
        exchange.submit_job(turn, tag, (job, JobWork::Put(put)), bytes)?;
        self.waiting += 1;
        Ok(())
    }

    /// Any command of RESP, answered by VALUE.
    fn command(
        &mut self,
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        id: u64,
        arguments: &Arguments,
    ) {
        let bytes = exchange::command_bytes(arguments);
        let (command_id, parsed) = Command::read(arguments);
        let command = match parsed {
            Ok(command) => command,
            Err(CommandError { reply, refused, .. }) => {
                if let Some(refused) = refused {
                    exchange.note_refused_write(*refused);
                }
                turn.count(Family::Unknown, Ending::Refused);
                respond(exchange, id, &Response::refusal(reply));
                return;
            }
        };
        let family = dispatch::family(&command);
        let tag = Tag { request: id, command: command_id, family, form: AnswerForm::Reply };
        received::note_start(turn, &exchange.session.client, command_id, arguments);
        if let Err(error) = self.run_command(exchange, turn, tag, command, bytes) {
            turn.count(family, Ending::Refused);
            respond(exchange, id, &Response::refusal(error));
        }
    }

    fn run_command(
        &mut self,
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        tag: Tag,
        command: Command,
        bytes: usize,
    ) -> Result<(), ErrorReply> {
        if belongs_to_resp(&command) {
            return Err(ErrorReply::usage("this command is for RESP connections only"));
        }
        match dispatch::dispatch(&turn.context, &mut exchange.session, command)? {
            Action::Reply(reply) => {
                let ending = exchange::ending(&reply);
                turn.count(tag.family, ending);
                if let Some(id) = tag.command {
                    turn.metrics.count_command(id, ending, turn.lap());
                }
                respond(exchange, tag.request, &value(reply));
            }
            Action::Silence | Action::Transaction(_) => {
                turn.count(tag.family, Ending::Answered);
            }
            Action::Write(write) => {
                exchange.submit(turn, tag, write, bytes)?;
                self.waiting += 1;
            }
            Action::Job(job, work) => {
                exchange.submit_job(turn, tag, (job, work), bytes)?;
                self.waiting += 1;
            }
            Action::Scan(scan) => {
                exchange.submit_scan(turn, tag, scan)?;
                self.waiting += 1;
            }
            Action::Cold(work) => {
                exchange.submit_cold(turn, tag, work)?;
                self.waiting += 1;
            }
        }
        Ok(())
    }
}

/// Commands that change how a RESP stream is read or answered, and those that frames of their own
/// or the end of the connection stand for ([NAT-50]).
fn belongs_to_resp(command: &Command) -> bool {
    matches!(
        command,
        Command::Transaction(_)
            | Command::Connection(
                ConnectionCommand::Hello(_)
                    | ConnectionCommand::Auth(_)
                    | ConnectionCommand::Quit
                    | ConnectionCommand::Reset
                    | ConnectionCommand::Client(tilekv_protocol::ClientCommand::Reply(_))
            )
            | Command::Diagnostics(DiagnosticsCommand::Monitor)
    )
}

fn opens(request: &Request) -> bool {
    matches!(request, Request::Hello(_) | Request::Auth(_))
}

fn family(request: &Request) -> Family {
    match request {
        Request::Hello(_) | Request::Auth(_) | Request::Ping(_) => Family::Connection,
        Request::Prepare(_) | Request::PrepareService(_) | Request::Release(_) => Family::View,
        Request::Read(_) => Family::Window,
        Request::Events(_) | Request::Tile(_) => Family::Tile,
        Request::Put(_) => Family::Job,
        Request::Command(_) => Family::Unknown,
    }
}

/// What a client may have under way on one connection without being made to wait.
fn credit(shared: &Shared) -> Credit {
    let config = &shared.config;
    let bytes = config.connection_queue_bytes_max.max(config.frame_bytes_max);
    Credit { bytes: wide(bytes), rows: u64::MAX }
}

/// What a client may have under way for jobs.
fn job_credit(shared: &Shared) -> Credit {
    let Credit { bytes, rows } = credit(shared);
    Credit { bytes: bytes.min(wide(shared.job_queue.credit_bytes())), rows }
}

fn native_outcome(outcome: Outcome) -> WriteOutcome {
    match outcome {
        Outcome::Ok => WriteOutcome::Applied(1),
        Outcome::Count(rows) => WriteOutcome::Applied(rows),
        Outcome::Duplicate => WriteOutcome::Duplicate,
        Outcome::Nil | Outcome::Integer(_) | Outcome::Text(_) => {
            unreachable!("frames of rows change no records")
        }
    }
}

fn value(reply: Reply) -> Response {
    match reply {
        Reply::Error(error) => Response::refusal(error),
        reply => Response::Value(reply),
    }
}

/// Checks that rows are what the plan takes: entities, or as many key values as it names keys.
fn check_rows(plan: &Plan, read: &tilekv_protocol::native::ReadRequest) -> Result<(), ErrorReply> {
    if plan.values_per_row() != read.keys_per_row {
        return Err(ErrorReply::usage(format!(
            "rows of {} keys, expected {} for plan {}",
            read.keys_per_row,
            plan.values_per_row(),
            read.plan
        )));
    }
    if plan.is_of_service() { Ok(()) } else { read.check_entities() }
}

fn no_plan(plan: u32) -> ErrorReply {
    ErrorReply::usage(format!("plan {plan} is not prepared on this connection; send PREPARE"))
}

/// Appends the answers of a read.
fn send_answers(
    exchange: &mut Exchange,
    id: u64,
    answers: &Answers,
    with_status: bool,
) -> Result<(), ErrorReply> {
    let encoded = encode_answers(id, answers, with_status, exchange.output.open());
    exchange.output.end_reply();
    encoded.map_err(|error| ErrorReply::limit(error.to_string()))
}

/// Appends a response, or a refusal if it is too large for a frame.
fn respond(exchange: &mut Exchange, id: u64, response: &Response) {
    let output = exchange.output.open();
    if let Err(error) = response.encode(id, output) {
        let refusal = Response::refusal(ErrorReply::limit(error.to_string()));
        let encoded = refusal.encode(id, output);
        assert!(encoded.is_ok(), "an error reply fits a frame");
    }
    exchange.output.end_reply();
}

fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

const SERVER: &str = concat!("tilekv-server ", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests;
