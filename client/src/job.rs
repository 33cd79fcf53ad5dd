//! Jobs: rows and tiles that are published together. Puts go out pipelined, in pieces that fit a
//! frame, and again where they were lost: the server counts each piece once. Knows nothing of
//! where rows come from.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tilekv_protocol::native::{JobTiles, encode_job_rows, encode_job_tiles};
use tilekv_protocol::{ProtocolError, Reply};
use tilekv_tile::{Name, Rows, Span};
use tokio::time::{Instant, sleep};

use crate::client::{Client, Resend};
use crate::connection::Pending;
use crate::error::{ClientError, Fate};
use crate::limits::{
    PUT_BYTES_MAX, PUT_ROWS_MAX, RESEND_ROUNDS_MAX, RETRY_WAIT_MAX, WRITE_WINDOW_MAX,
};
use crate::pipeline::WriteTally;
use crate::reply::{Fields, bytes, done, integer, list, optional, text};
use crate::tiles::{TilePartials, WriteFrame, applied};
use crate::window::Window;

pub use tilekv_protocol::JobMode;

/// A job that is about to begin. See [`Client::job`].
#[derive(Debug, Clone)]
pub struct JobBuilder {
    client: Client,
    view: Name,
    from_ms: i64,
    to_ms: i64,
    mode: JobMode,
    timeout: Option<Span>,
    token: Option<Bytes>,
    puts_in_flight_max: usize,
}

/// An open job of one view. Dropping it leaves the job to its time-out.
#[derive(Debug)]
pub struct Job {
    client: Client,
    id: String,
    /// The connection that all puts take while it lives.
    index: usize,
    open: VecDeque<OpenPut>,
    window: Window,
    sequence: u64,
    rows: u64,
    failures: usize,
    rounds: usize,
    tally: WriteTally,
}

/// What a commit demands and does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitOptions {
    /// How many rows and tiles the job must have taken; any number by default.
    pub rows: Option<u64>,
    /// Whether it may have taken none, or fewer than the view's `MINROWS`; no by default.
    pub may_be_empty: bool,
    /// Whether its range becomes sealed; yes by default.
    pub seal: bool,
    /// How long the commit may take, the attempts after a lost connection included; 10 minutes
    /// by default. The server writes the whole job to disk in this time.
    pub timeout: Duration,
}

/// What JOB.INFO tells of a job. Times are in milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobInfo {
    /// Its id.
    pub id: String,
    /// Its view; none where that was dropped since.
    pub view: Option<Name>,
    /// The first millisecond of its range.
    pub from: i64,
    /// The first millisecond after it.
    pub to: i64,
    /// `replace` or `merge`.
    pub mode: String,
    /// `open`, `busy` or `committed`.
    pub state: String,
    /// Rows and tiles taken.
    pub rows: u64,
    /// Memory and files that they take; 0 once they are published.
    pub bytes: u64,
    /// When it was begun; not known of jobs that were committed before a restart.
    pub begun_at: Option<i64>,
    /// When it is aborted unless a command names it before; none once it is committed.
    pub expires_at: Option<i64>,
    /// When it was committed.
    pub committed_at: Option<i64>,
    /// The token that it was begun with.
    pub token: Option<Bytes>,
}

#[derive(Debug)]
struct OpenPut {
    frame: WriteFrame,
    /// The answer to come; none where it is to be sent.
    pending: Option<Pending>,
}

impl Default for CommitOptions {
    fn default() -> Self {
        let timeout = Duration::from_secs(600);
        Self { rows: None, may_be_empty: false, seal: true, timeout }
    }
}

impl CommitOptions {
    /// The same, demanding that the job took exactly so many rows and tiles.
    pub fn with_rows(self, rows: u64) -> Self {
        Self { rows: Some(rows), ..self }
    }

    /// The same for a source that may be empty.
    pub fn allowing_empty(self) -> Self {
        Self { may_be_empty: true, ..self }
    }

    /// The same without a seal.
    pub fn without_seal(self) -> Self {
        Self { seal: false, ..self }
    }
}

impl Client {
    /// A job for `[from_ms, to_ms)` of a view, both multiples of its tile size; it begins with
    /// [`JobBuilder::begin`].
    ///
    /// ```no_run
    /// # use tilekv_client::{Client, ClientError, CommitOptions, Name, Rows};
    /// # async fn example(client: Client, view: Name, rows: Rows) -> Result<(), ClientError> {
    /// let (from, to) = (1_767_225_600_000, 1_767_312_000_000);
    /// let mut job = client.job(&view, from, to).token("nightly-2026-01-01").begin().await?;
    /// job.put(&rows).await?;
    /// let taken = CommitOptions::default().with_rows(job.rows());
    /// job.commit(taken).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn job(&self, view: &Name, from_ms: i64, to_ms: i64) -> JobBuilder {
        JobBuilder {
            client: self.clone(),
            view: view.clone(),
            from_ms,
            to_ms,
            mode: JobMode::Replace,
            timeout: None,
            token: None,
            puts_in_flight_max: PUTS_IN_FLIGHT_DEFAULT,
        }
    }

    /// A job by its id, to go on with. Its sequences begin at 1 again, so that the same rows, put
    /// in the same order and the same portions, count once.
    pub fn resume_job(&self, id: impl Into<String>) -> Job {
        Job::new(self.clone(), id.into(), PUTS_IN_FLIGHT_DEFAULT)
    }

    /// All jobs that the server knows: open ones, then those committed in the last 7 days.
    ///
    /// # Errors
    /// Failures on the way.
    pub async fn jobs(&self) -> Result<Vec<JobInfo>, ClientError> {
        list(self.run(&["JOB.LIST"], Resend::Always).await?, job_info)
    }
}

impl JobBuilder {
    /// What the commit does to what the range holds: `Replace` unless said otherwise.
    pub fn mode(self, mode: JobMode) -> Self {
        Self { mode, ..self }
    }

    /// How long the job may go unnamed before the server aborts it: an hour unless said otherwise.
    pub fn timeout(self, timeout: Span) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// A token, 1 to 255 bytes, by which a driver that begins again finds its job, open or
    /// committed.
    pub fn token(self, token: impl Into<Bytes>) -> Self {
        Self { token: Some(token.into()), ..self }
    }

    /// How many puts may be under way at most; 16 unless said otherwise. Fewer are while the
    /// server is busy.
    pub fn puts_in_flight_max(self, count: usize) -> Self {
        Self { puts_in_flight_max: count.clamp(1, WRITE_WINDOW_MAX), ..self }
    }

    /// Begins the job, or finds the one that was begun with the same token.
    ///
    /// # Errors
    /// `NoView`, `BadValue` or `Refused` for a range that is not of whole tiles or a token of
    /// another range, `Limit`, failures on the way.
    pub async fn begin(self) -> Result<Job, ClientError> {
        let (from, to) = (self.from_ms.to_string(), self.to_ms.to_string());
        let timeout = self.timeout.map(|timeout| timeout.to_string());
        let mode = self.mode.as_str();
        let mut arguments: Vec<&[u8]> =
            vec![b"JOB.BEGIN", self.view.as_ref(), from.as_ref(), to.as_ref()];
        arguments.extend([&b"MODE"[..], mode.as_ref()]);
        if let Some(timeout) = &timeout {
            arguments.extend([&b"TIMEOUT"[..], timeout.as_ref()]);
        }
        if let Some(token) = &self.token {
            arguments.extend([&b"ID"[..], token.as_ref()]);
        }
        // Without a token, a job that was begun and not heard of is left to its time-out.
        let id = text(self.client.run(&arguments, Resend::Always).await?)?;
        Ok(Job::new(self.client, id, self.puts_in_flight_max))
    }
}

impl Job {
    fn new(client: Client, id: String, puts_in_flight_max: usize) -> Self {
        Self {
            index: client.pool().next_index(),
            client,
            id,
            open: VecDeque::new(),
            window: Window::adaptive(puts_in_flight_max),
            sequence: 0,
            rows: 0,
            failures: 0,
            rounds: 0,
            tally: WriteTally::default(),
        }
    }

    /// Its id, by which any connection can name it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How many rows and tiles were handed over.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// What became of the puts so far. A put that counts as a duplicate was sent again, by this
    /// run or an earlier one, or its job is committed.
    pub fn tally(&self) -> WriteTally {
        self.tally
    }

    /// Hands over rows, whose cells must be in typed columns; waits only while too many are under
    /// way. Rows that stand together by entity take fewer bytes.
    ///
    /// # Errors
    /// `Input`; and what puts before it failed with: `BadValue` naming the row, `NoJob` where the
    /// job was aborted or the server restarted, `Busy`, failures on the way. The put that failed
    /// is forgotten; the job is as it was without it.
    pub async fn put(&mut self, rows: &Rows) -> Result<(), ClientError> {
        rows.validate()?;
        let pieces = |start, end, sequence, out: &mut BytesMut, job: &[u8]| {
            let whole = start == 0 && end == rows.len();
            let piece = if whole { None } else { Some(rows.slice(start..end)) };
            encode_job_rows(0, job, Some(sequence), piece.as_ref().unwrap_or(rows), out)
        };
        self.put_pieces(rows.len(), pieces).await
    }

    /// Hands over whole tiles as columns of partials.
    ///
    /// # Errors
    /// As [`Job::put`].
    ///
    /// # Panics
    /// Where a column has not a value for each tile.
    pub async fn put_columns(&mut self, tiles: &JobTiles) -> Result<(), ClientError> {
        let count = tiles.entities.len();
        assert!(tiles.starts.len() == count, "each tile has an entity and a start");
        let pieces = |start, end, sequence, out: &mut BytesMut, job: &[u8]| {
            let piece = tiles.slice(start..end);
            encode_job_tiles(0, job, Some(sequence), &piece, out)
        };
        self.put_pieces(count, pieces).await
    }

    /// Hands over whole tiles.
    ///
    /// # Errors
    /// As [`Job::put`].
    pub async fn put_tiles(&mut self, tiles: &[TilePartials]) -> Result<(), ClientError> {
        let mut columns = JobTiles::default();
        for tile in tiles {
            columns.push(&tile.entity, tile.tile_start, &tile.partials);
        }
        self.put_columns(&columns).await
    }

    /// Cuts what was given into pieces that fit a frame, always the same for the same input and
    /// server, and numbers them.
    async fn put_pieces(
        &mut self,
        count: usize,
        encode: impl Fn(usize, usize, u64, &mut BytesMut, &[u8]) -> Result<(), ProtocolError>,
    ) -> Result<(), ClientError> {
        let taken = self.client.pool().connection(self.index).await?.frame_bytes_max();
        let bytes_max = PUT_BYTES_MAX.min(usize::try_from(taken).unwrap_or(usize::MAX));
        let mut waiting = vec![(0, count)];
        while let Some((start, end)) = waiting.pop() {
            let rows = end - start;
            let middle = start + rows / 2;
            if PUT_ROWS_MAX < rows {
                waiting.extend([(start + PUT_ROWS_MAX, end), (start, start + PUT_ROWS_MAX)]);
                continue;
            }
            let mut bytes = BytesMut::new();
            encode(start, end, self.sequence + 1, &mut bytes, self.id.as_bytes())?;
            if bytes_max < bytes.len() && 1 < rows {
                waiting.extend([(middle, end), (start, middle)]);
                continue;
            }
            let rows = u64::try_from(rows).unwrap_or(u64::MAX);
            self.push(WriteFrame { bytes: bytes.freeze(), rows }).await?;
        }
        Ok(())
    }

    async fn push(&mut self, frame: WriteFrame) -> Result<(), ClientError> {
        while self.window.size() <= self.open.len() {
            self.settle_oldest().await?;
        }
        self.sequence += 1;
        self.rows += frame.rows;
        self.open.push_back(OpenPut { frame, pending: None });
        self.send_ready().await
    }

    /// Waits until every put is acknowledged.
    ///
    /// # Errors
    /// What a put failed with, as [`Job::put`].
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        while !self.open.is_empty() {
            self.settle_oldest().await?;
        }
        Ok(())
    }

    /// Waits for all puts and publishes the job. It is sent again until the server answers, since
    /// a commit of a committed job changes nothing.
    ///
    /// # Errors
    /// `EmptyJob`, `RowCount`, `NoJob`, what a put failed with, `TimedOut` where the options' time
    /// is up. The job stays open after a refusal.
    pub async fn commit(&mut self, options: CommitOptions) -> Result<(), ClientError> {
        self.flush().await?;
        let mut arguments = vec!["JOB.COMMIT".to_owned(), self.id.clone()];
        if let Some(rows) = options.rows {
            arguments.extend(["ROWS".to_owned(), rows.to_string()]);
        }
        if options.may_be_empty {
            arguments.push("EMPTY".to_owned());
        }
        if !options.seal {
            arguments.push("NOSEAL".to_owned());
        }
        let deadline = Instant::now() + options.timeout;
        loop {
            let error = match self.client.run(&arguments, Resend::Always).await {
                Ok(reply) => return done(reply),
                Err(error) => error,
            };
            match (&error, deadline.checked_duration_since(Instant::now())) {
                (ClientError::Busy { retry_ms, .. }, Some(left)) => {
                    sleep(Duration::from_millis(*retry_ms).min(left)).await;
                }
                // The server is at it: the next one waits for the one before.
                (ClientError::TimedOut { .. } | ClientError::Lost { .. }, Some(_)) => {}
                _ => return Err(error),
            }
        }
    }

    /// Gives the job up; the server forgets it and its rows.
    ///
    /// # Errors
    /// `NoJob`, failures on the way.
    pub async fn abort(mut self) -> Result<(), ClientError> {
        self.open.clear();
        done(self.client.run(&["JOB.ABORT", &self.id], Resend::IfNotSent).await?)
    }

    /// What the job is and how far it has come.
    ///
    /// # Errors
    /// `NoJob`, failures on the way.
    pub async fn info(&self) -> Result<JobInfo, ClientError> {
        job_info(self.client.run(&["JOB.INFO", &self.id], Resend::Always).await?)
    }

    /// Sends what is not under way. What cannot be sent now is sent by whoever waits for it.
    async fn send_ready(&mut self) -> Result<(), ClientError> {
        for put in self.open.iter_mut().filter(|put| put.pending.is_none()) {
            let connection = self.client.pool().connection(self.index).await?;
            match connection.submit_write(&put.frame.bytes, put.frame.rows).await {
                Ok(pending) => put.pending = Some(pending),
                Err(ClientError::Lost { .. } | ClientError::TimedOut { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn settle_oldest(&mut self) -> Result<(), ClientError> {
        loop {
            self.send_ready().await?;
            let Some(oldest) = self.open.front_mut() else { return Ok(()) };
            let outcome = match &mut oldest.pending {
                Some(pending) => pending.answer().await.and_then(applied),
                None => Err(not_sent()),
            };
            match outcome {
                Ok((rows, is_duplicate)) => {
                    self.accept(rows, is_duplicate);
                    return Ok(());
                }
                Err(error) => self.recover(error).await?,
            }
        }
    }

    fn accept(&mut self, rows: u64, is_duplicate: bool) {
        let Some(put) = self.open.pop_front() else {
            unreachable!("a put that is accepted was open");
        };
        (self.failures, self.rounds) = (0, 0);
        self.tally.batches += 1;
        self.tally.batches_duplicate += u64::from(is_duplicate);
        self.tally.rows += put.frame.rows;
        self.tally.rows_applied += rows;
        self.window.succeed();
    }

    /// Waits until the oldest put may be sent again, or gives up on it.
    async fn recover(&mut self, error: ClientError) -> Result<(), ClientError> {
        self.rounds += 1;
        let after = match &error {
            ClientError::Busy { retry_ms, .. } if self.rounds <= RESEND_ROUNDS_MAX => {
                self.tally.busy += 1;
                self.window.shrink();
                Some(Duration::from_millis(*retry_ms).min(RETRY_WAIT_MAX))
            }
            ClientError::Loading { .. }
            | ClientError::Lost { .. }
            | ClientError::TimedOut { .. } => {
                self.failures += 1;
                self.client.options().backoff.delay_after(self.failures)
            }
            _ => None,
        };
        let Some(after) = after else {
            (self.failures, self.rounds) = (0, 0);
            let refused = self.open.pop_front();
            self.rows -= refused.map_or(0, |put| put.frame.rows);
            return Err(error);
        };
        self.tally.resent += 1;
        if let Some(oldest) = self.open.front_mut() {
            oldest.pending = None;
        }
        sleep(after).await;
        Ok(())
    }
}

fn job_info(reply: Reply) -> Result<JobInfo, ClientError> {
    let mut fields = Fields::of(reply)?;
    let name = |reply| Ok(Name::parse(text(reply)?.as_bytes())?);
    Ok(JobInfo {
        id: fields.text("id")?,
        view: optional(fields.take("view"), name)?,
        from: integer(fields.take("from"))?,
        to: integer(fields.take("to"))?,
        mode: fields.text("mode")?,
        state: fields.text("state")?,
        rows: fields.unsigned("rows")?,
        bytes: fields.unsigned("bytes")?,
        begun_at: fields.optional_integer("begun_at")?,
        expires_at: fields.optional_integer("expires_at")?,
        committed_at: fields.optional_integer("committed_at")?,
        token: optional(fields.take("token"), bytes)?,
    })
}

/// The put could not be handed to a connection.
fn not_sent() -> ClientError {
    let problem = std::io::Error::from(std::io::ErrorKind::NotConnected);
    ClientError::Lost { fate: Fate::NotApplied, problem: problem.into() }
}

/// Puts under way of a job, unless said otherwise.
const PUTS_IN_FLIGHT_DEFAULT: usize = 16;
