//! The client: how a request finds a connection and is sent again where that is safe. What can be
//! asked stands in views.rs, tiles.rs and seals.rs. Knows nothing of bytes.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tilekv_protocol::native::{PlanReply, Request, Response, encode_read_rows};
use tilekv_protocol::{Arguments, ErrorCode, Reply};
use tokio::time::{Instant, sleep};

use crate::connection::{Connection, Pending};
use crate::error::{ClientError, Fate};
use crate::options::ClientOptions;
use crate::plan::{Batch, Detail, Plan, PlanBuilder, PlanShared, ReadOptions};
use crate::pool::Pool;
use crate::reply;

/// A client of one server, over one or more pipelined connections that are opened when needed and
/// opened anew after they were lost. Clones share them. It must be used within a tokio runtime;
/// [`crate::blocking`] needs none.
///
/// Reads, and commands without an effect, are sent again by the schedule of
/// [`ClientOptions::backoff`] when their connection is lost. Commands with an effect are sent
/// again only if no byte of them had left; [`ClientError::may_have_been_applied`] tells otherwise.
/// Events that must count exactly once go through a [`crate::Producer`] or [`crate::Loader`].
#[derive(Debug, Clone)]
pub struct Client {
    pool: Arc<Pool>,
}

/// When a request may be sent a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resend {
    /// Only if nothing of it was sent.
    IfNotSent,
    /// Also if it was carried out: it has no effect.
    Always,
}

impl Client {
    /// A client whose first connection is open.
    ///
    /// # Errors
    /// `Options` that cannot work, `Connect` after the schedule's last attempt, `NoAuth` or
    /// `WrongPassword` at once.
    pub async fn connect(options: ClientOptions) -> Result<Self, ClientError> {
        let client = Self::new(options)?;
        client.pool.connection(0).await?;
        Ok(client)
    }

    /// A client that connects with its first request.
    ///
    /// # Errors
    /// `Options` that cannot work.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        options.validate()?;
        Ok(Self { pool: Arc::new(Pool::new(options)) })
    }

    /// The options that the client was made with.
    pub fn options(&self) -> &ClientOptions {
        self.pool.options()
    }

    /// The server's name and version.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn server(&self) -> Result<String, ClientError> {
        let connection = self.pool.connection(0).await?;
        Ok(String::from_utf8_lossy(connection.server()).into_owned())
    }

    /// Asks for an echo; gives the time that it took.
    ///
    /// # Errors
    /// Failures on the way.
    pub async fn ping(&self) -> Result<Duration, ClientError> {
        let started = Instant::now();
        let payload = Bytes::from_static(b"tilekv");
        match self.call(&Request::Ping(payload.clone()), Resend::Always).await? {
            Response::Pong(echo) if echo == payload => Ok(started.elapsed()),
            other => Err(unexpected("PONG with the same bytes", &other)),
        }
    }

    /// Carries out any command of docs/protocol.md that is not tied to RESP. It is taken to have
    /// an effect, so it is sent again only if nothing of it had left.
    ///
    /// # Errors
    /// What the command is refused with, and failures on the way.
    pub async fn command<A: AsRef<[u8]>>(&self, arguments: &[A]) -> Result<Reply, ClientError> {
        self.run(arguments, Resend::IfNotSent).await
    }

    /// Carries out a command that comes to the same however often it is carried out, such as a
    /// read: it is sent again by the schedule when its connection is lost.
    ///
    /// # Errors
    /// As [`Client::command`].
    pub async fn query<A: AsRef<[u8]>>(&self, arguments: &[A]) -> Result<Reply, ClientError> {
        self.run(arguments, Resend::Always).await
    }

    /// Prepares a read.
    ///
    /// # Errors
    /// `NoView`, `NoFeature` and `BadWindow` for what the views do not have, failures on the way.
    pub async fn prepare(&self, wanted: PlanBuilder) -> Result<Plan, ClientError> {
        self.prepare_now(wanted.finish(self.clone())).await
    }

    /// Prepares a plan on one connection, so that what is wrong with it shows.
    pub(crate) async fn prepare_now(&self, plan: Plan) -> Result<Plan, ClientError> {
        let mut failures = 0;
        loop {
            let connection = self.pool.connection(self.pool.next_index()).await?;
            match prepare_on(&connection, plan.shared()).await {
                Ok(()) => return Ok(plan),
                Err(error) => self.before_resend(error, Resend::Always, &mut failures).await?,
            }
        }
    }

    /// A read without preparing it first: for tools and tests. See [`Plan::read`].
    ///
    /// # Errors
    /// As [`Client::prepare`] and [`Plan::read`].
    pub async fn read_once<K: AsRef<[u8]>>(
        &self,
        wanted: PlanBuilder,
        entities: &[K],
        options: &ReadOptions,
    ) -> Result<Batch, ClientError> {
        self.prepare(wanted).await?.read(entities, options).await
    }

    pub(crate) async fn read<K: AsRef<[u8]>>(
        &self,
        plan: &Arc<PlanShared>,
        entities: &[K],
        options: &ReadOptions,
    ) -> Result<Batch, ClientError> {
        let (mut failures, mut refreshed) = (0, false);
        loop {
            let connection = self.pool.connection(self.pool.next_index()).await?;
            let error = match read_on(&connection, plan, entities, options).await {
                Ok(batch) => return Ok(batch),
                Err(error) => error,
            };
            // A server that forgot the plan says so without a code of its own.
            if error.code() == Some(ErrorCode::Err) && !refreshed {
                connection.forget_plan(plan.id);
                refreshed = true;
            } else {
                self.before_resend(error, Resend::Always, &mut failures).await?;
            }
        }
    }

    /// Carries out a command given as arguments.
    pub(crate) async fn run<A: AsRef<[u8]>>(
        &self,
        arguments: &[A],
        resend: Resend,
    ) -> Result<Reply, ClientError> {
        let Some(arguments) = Arguments::from_list(arguments) else {
            let (what, bytes_max) = ("a command", u64::from(u32::MAX));
            return Err(ClientError::TooLarge { what, bytes: bytes_max + 1, bytes_max });
        };
        match self.call(&Request::Command(arguments), resend).await? {
            Response::Value(reply) => Ok(reply),
            other => Err(unexpected("VALUE", &other)),
        }
    }

    /// Sends a request and waits for its answer, again where that is safe.
    pub(crate) async fn call(
        &self,
        request: &Request,
        resend: Resend,
    ) -> Result<Response, ClientError> {
        let mut failures = 0;
        loop {
            let connection = self.pool.connection(self.pool.next_index()).await?;
            match connection.call(request).await {
                Ok(response) => return Ok(response),
                Err(error) => self.before_resend(error, resend, &mut failures).await?,
            }
        }
    }

    /// Sends a write that stands ready, again where that is safe.
    pub(crate) async fn write(
        &self,
        frame: &Bytes,
        rows: u64,
        resend: Resend,
    ) -> Result<Response, ClientError> {
        let mut failures = 0;
        loop {
            let connection = self.pool.connection(self.pool.next_index()).await?;
            let error = match submit_and_wait(&connection, frame, rows).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            self.before_resend(error, resend, &mut failures).await?;
        }
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Waits by the schedule where the request may be sent again, else gives the error back.
    async fn before_resend(
        &self,
        error: ClientError,
        resend: Resend,
        failures: &mut usize,
    ) -> Result<(), ClientError> {
        let is_safe = match &error {
            ClientError::Lost { fate, .. } => *fate == Fate::NotApplied || resend == Resend::Always,
            ClientError::Loading { .. } => true,
            _ => false,
        };
        *failures += 1;
        match self.options().backoff.delay_after(*failures) {
            Some(delay) if is_safe => {
                sleep(delay).await;
                Ok(())
            }
            _ => Err(error),
        }
    }
}

async fn submit_and_wait(
    connection: &Arc<Connection>,
    frame: &Bytes,
    rows: u64,
) -> Result<Response, ClientError> {
    connection.submit_write(frame, rows).await?.answer().await
}

/// Prepares a plan on a connection that has not prepared it yet.
async fn prepare_on(connection: &Arc<Connection>, plan: &PlanShared) -> Result<(), ClientError> {
    match connection.call(&plan.request).await? {
        Response::Plan(PlanReply { plan: number, .. }) => {
            connection.remember_plan(plan.id, number);
            Ok(())
        }
        other => Err(unexpected("PLAN", &other)),
    }
}

async fn read_on<K: AsRef<[u8]>>(
    connection: &Arc<Connection>,
    plan: &Arc<PlanShared>,
    entities: &[K],
    options: &ReadOptions,
) -> Result<Batch, ClientError> {
    let mut pending = submit_read(connection, plan, entities, options).await?;
    match pending.answer().await? {
        Response::Columns(columns) => {
            Batch::new(columns, Arc::clone(plan), entities.len() / plan.keys_per_row)
        }
        other => Err(unexpected("COLUMNS", &other)),
    }
}

async fn submit_read<K: AsRef<[u8]>>(
    connection: &Arc<Connection>,
    plan: &Arc<PlanShared>,
    entities: &[K],
    options: &ReadOptions,
) -> Result<Pending, ClientError> {
    let with_status = options.detail == Detail::Status;
    loop {
        let encode = |id, number, out: &mut BytesMut| {
            let plan = (number, plan.keys_per_row);
            encode_read_rows(id, plan, &options.time, with_status, entities, out)
        };
        if let Some(pending) = connection.submit_read(plan.id, encode).await? {
            return Ok(pending);
        }
        prepare_on(connection, plan).await?;
    }
}

pub(crate) fn unexpected(expected: &'static str, found: &Response) -> ClientError {
    match found {
        Response::Value(reply) => reply::unexpected(expected, reply),
        other => {
            const SHOWN_CHARS_MAX: usize = 200;
            let found = format!("{other:?}").chars().take(SHOWN_CHARS_MAX).collect();
            ClientError::UnexpectedAnswer { expected, found }
        }
    }
}
