//! The committer: the one thread that owns the engine. It takes what waits in the write queue,
//! prepares each write, commits all of it at once and sends the outcomes back, one parcel per
//! network thread and commit. Knows nothing of sockets or replies' encodings.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded, never, select};
use hashbrown::HashMap;
use tilekv_engine::disk::Durability;
use tilekv_engine::{Engine, EngineError, EngineOptions, Outcome, Prepared, SealedJob, Write};
use tilekv_protocol::ErrorReply;

use crate::background::Background;
use crate::delivery::{ConnectionId, Delivery, Parcel, Tag, WriteOutcomes, WriteResult};
use crate::failure;
use crate::limits::{COMMIT_BYTES_MAX, COMMIT_WRITE_COUNT_MAX, TASK_INTERVAL_MS};
use crate::refusals::{Refusals, StampKey};
use crate::refuse;
use crate::shared::Shared;
use crate::stamp;
use crate::write_queue::{QueuedWrite, WriteBatch};

/// Orders to the committer beside writes.
#[derive(Debug)]
pub(crate) enum Order {
    /// Sync what is written.
    Sync,
    /// Commit what waits, sync and end.
    Stop,
}

/// The sending side of the committer's orders.
#[derive(Clone, Debug)]
pub(crate) struct Orders(Sender<Order>);

impl Orders {
    /// Orders and their receiving end.
    pub(crate) fn new() -> (Self, Receiver<Order>) {
        let (sender, receiver) = bounded(16);
        (Self(sender), receiver)
    }

    /// Gives an order; false if too many wait already.
    pub(crate) fn give(&self, order: Order) -> bool {
        self.0.try_send(order).is_ok()
    }
}

/// The committer's state.
pub(crate) struct Committer {
    engine: Engine,
    shared: Arc<Shared>,
    background: Background,
    orders: Receiver<Order>,
    refusals: HashMap<ConnectionId, Refusals>,
    durability: Durability,
    interval: Duration,
    synced: Instant,
    unsynced: bool,
    tasks_asked: Instant,
    frozen_count_max: usize,
}

/// What one commit will answer.
#[derive(Default)]
struct Turn {
    batches: Vec<Answered>,
    bytes: usize,
    write_count: usize,
    staged_count: usize,
}

/// A batch whose writes have all been prepared.
struct Answered {
    thread: usize,
    connection: ConnectionId,
    bytes: usize,
    started: Instant,
    answers: Vec<(Tag, Answer)>,
}

/// What a write will be answered.
enum Answer {
    /// This, whatever becomes of the commit.
    Final(WriteResult),
    /// This, once the commit has succeeded.
    Staged(Outcome, Option<Box<(StampKey, u64)>>),
}

impl Committer {
    /// A committer of an open engine.
    pub(crate) fn new(
        engine: Engine,
        shared: Arc<Shared>,
        background: Background,
        orders: Receiver<Order>,
        options: &EngineOptions,
    ) -> Self {
        let now = Instant::now();
        let (durability, interval) = (shared.config.durability, shared.config.interval);
        Self {
            engine,
            shared,
            background,
            orders,
            refusals: HashMap::new(),
            durability,
            interval,
            synced: now,
            unsynced: false,
            tasks_asked: now,
            frozen_count_max: options.frozen_count_max,
        }
    }

    /// Works until it is told to stop. Ends the process on a failure of the disk.
    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let orders = self.orders.clone();
        let finished = self.background.finished().clone();
        let nothing = never();
        loop {
            let is_full = self.is_backlogged();
            let batches = if is_full { &nothing } else { shared.write_queue.receiver() };
            select! {
                recv(batches) -> batch => {
                    let Ok(batch) = batch else { unreachable!("the queue holds its own sender") };
                    self.turn(batch);
                }
                recv(orders) -> order => {
                    match order {
                        Ok(Order::Sync) => self.sync(),
                        Ok(Order::Stop) | Err(_) => return self.stop(),
                    }
                }
                recv(finished) -> result => {
                    let Ok(result) = result else { return self.stop() };
                    self.background.note_finished();
                    shared.metrics.commits.tasks.add(1);
                    let finished = self.engine.finish(result);
                    check_task(finished);
                }
                default(self.wait()) => {}
            }
            self.sync_by_timer();
            self.ask_for_tasks();
        }
    }

    /// Whether as many overlays wait to be flushed as may wait. The engine would refuse writes;
    /// leaving them in the queue slows writers down instead, and refuses only when it is full.
    fn is_backlogged(&self) -> bool {
        let frozen = self.shared.reader.snapshot().info().frozen_overlays;
        self.frozen_count_max <= frozen
    }

    /// One commit, or several where the engine wants writes apart.
    fn turn(&mut self, first: WriteBatch) {
        let mut turn = Turn::default();
        self.admit(first, &mut turn);
        let shared = Arc::clone(&self.shared);
        while turn.bytes < COMMIT_BYTES_MAX && turn.write_count < COMMIT_WRITE_COUNT_MAX {
            let Ok(batch) = shared.write_queue.receiver().try_recv() else { break };
            self.admit(batch, &mut turn);
        }
        self.commit(&mut turn, None);
        self.forget_gone_connections();
    }

    fn admit(&mut self, batch: WriteBatch, turn: &mut Turn) {
        let mut answered = Answered {
            thread: batch.thread,
            connection: batch.connection,
            bytes: batch.bytes,
            started: batch.started,
            answers: Vec::with_capacity(batch.entries.len()),
        };
        let now_ms = self.shared.clock.now_ms();
        for entry in batch.entries {
            match entry {
                QueuedWrite::Write(tag, write) => {
                    turn.write_count += 1;
                    let answer = self.prepare(now_ms, *write, &mut answered, turn);
                    answered.answers.push((tag, answer));
                }
                QueuedWrite::Job(tag, sealed) => {
                    turn.write_count += 1;
                    let answer = self.prepare_job(now_ms, sealed, &answered, turn);
                    answered.answers.push((tag, answer));
                }
                QueuedWrite::Refused(key, sequence) => {
                    self.note_refusal(batch.thread, batch.connection, Some((key, sequence)));
                }
            }
        }
        turn.bytes += answered.bytes;
        turn.batches.push(answered);
    }

    /// Prepares one write. Where the engine wants what is staged committed first, `answered` holds
    /// the batch's own answers so far.
    fn prepare(
        &mut self,
        now_ms: i64,
        write: Write,
        answered: &mut Answered,
        turn: &mut Turn,
    ) -> Answer {
        let stamp = stamp::of(&write);
        if let Some(stamped) = &stamp
            && let Err(refused) = self.admit_producer(stamped, now_ms, answered, turn)
        {
            return Answer::Final(Err(refused));
        }
        let mut waiting = write;
        loop {
            match self.engine.prepare(now_ms, waiting) {
                Ok(Prepared::Staged(outcome)) => {
                    turn.staged_count += 1;
                    let stamp = stamp.map(|stamped| Box::new((stamped.key, stamped.sequence)));
                    return Answer::Staged(outcome, stamp);
                }
                Ok(Prepared::CommitFirst(write)) => {
                    self.commit(turn, Some(answered));
                    waiting = write;
                }
                Ok(Prepared::Needs(..)) => unreachable!("prepare reads what it needs"),
                Err(error) => {
                    let stamp = stamp.map(|stamped| (stamped.key, stamped.sequence));
                    return Answer::Final(Err(self.refuse(answered, error, stamp)));
                }
            }
        }
    }

    /// Prepares the publication of a job.
    fn prepare_job(
        &mut self,
        now_ms: i64,
        sealed: SealedJob,
        answered: &Answered,
        turn: &mut Turn,
    ) -> Answer {
        match self.engine.prepare_job(now_ms, sealed) {
            Ok(()) => {
                turn.staged_count += 1;
                Answer::Staged(Outcome::Ok, None)
            }
            Err(error) => Answer::Final(Err(self.refuse(answered, error, None))),
        }
    }

    /// The producer rule of a connection. The refusal names the last applied sequence, so what is
    /// staged is committed first.
    fn admit_producer(
        &mut self,
        stamped: &stamp::Stamped,
        now_ms: i64,
        answered: &mut Answered,
        turn: &mut Turn,
    ) -> Result<(), ErrorReply> {
        let Some(refusals) = self.refusals.get_mut(&answered.connection) else { return Ok(()) };
        if refusals.admits(&stamped.key, stamped.sequence) {
            return Ok(());
        }
        if turn.staged_count > 0 {
            self.commit(turn, Some(answered));
        }
        let (view, id) = &stamped.key;
        let reader = &self.shared.reader;
        match reader.producer(&reader.snapshot(), view, id, now_ms) {
            Ok(last) => Err(refuse::after_refusal(last)),
            Err(error) => Err(refuse::engine_error(&error)),
        }
    }

    /// The reply of a refused write, remembered against its producer.
    fn refuse(
        &mut self,
        answered: &Answered,
        error: EngineError,
        stamp: Option<(StampKey, u64)>,
    ) -> ErrorReply {
        failure::check_refusal("prepare a write", &error);
        self.note_refusal(answered.thread, answered.connection, stamp);
        refuse::engine_error(&error)
    }

    fn note_refusal(
        &mut self,
        thread: usize,
        connection: ConnectionId,
        stamp: Option<(StampKey, u64)>,
    ) {
        let Some((key, sequence)) = stamp else { return };
        let noted = self.refusals.entry(connection).or_default().note(key, sequence);
        self.kill_unless(noted, thread, connection);
    }

    /// A connection whose refused producers do not fit its memory is closed: forgetting one of
    /// them would break the rule.
    fn kill_unless(&self, noted: bool, thread: usize, connection: ConnectionId) {
        if !noted {
            tracing::warn!(connection, "close a connection with too many refused producers");
            self.shared.clients.mailbox(thread).send(vec![(connection, Delivery::Kill)]);
        }
    }

    /// Commits what is staged and sends the outcomes. `unfinished` is the batch in preparation:
    /// its answers so far are settled by this commit too, and sent with the rest of it later.
    fn commit(&mut self, turn: &mut Turn, unfinished: Option<&mut Answered>) {
        let started = Instant::now();
        let committed = self.engine.commit();
        let refused = match committed {
            Ok(()) => None,
            Err(error) => {
                failure::check_refusal("commit", &error);
                Some(refuse::engine_error(&error))
            }
        };
        self.count_commit(turn, started.elapsed());
        let mut batches = std::mem::take(&mut turn.batches);
        for batch in batches.iter_mut().chain(unfinished) {
            self.settle(batch, refused.as_ref());
        }
        self.shared.write_queue.release(std::mem::take(&mut turn.bytes), started.elapsed());
        self.send(batches);
    }

    fn count_commit(&mut self, turn: &mut Turn, time: Duration) {
        let staged = std::mem::take(&mut turn.staged_count);
        if staged == 0 {
            return;
        }
        self.unsynced = true;
        let commits = &self.shared.metrics.commits;
        commits.count.add(1);
        commits.writes.add(u64::try_from(staged).unwrap_or(u64::MAX));
        commits.latency.record(time, 1);
        self.publish_log_statistics();
    }

    /// Makes the staged answers of a batch final.
    fn settle(&mut self, batch: &mut Answered, refused: Option<&ErrorReply>) {
        let (thread, connection) = (batch.thread, batch.connection);
        for (_, answer) in &mut batch.answers {
            let Answer::Staged(outcome, stamp) = answer else { continue };
            let result = match refused {
                None => Ok(std::mem::replace(outcome, Outcome::Nil)),
                Some(reply) => {
                    self.note_refusal(thread, connection, stamp.take().map(|stamp| *stamp));
                    Err(reply.clone())
                }
            };
            *answer = Answer::Final(result);
        }
    }

    fn send(&self, batches: Vec<Answered>) {
        let mailbox_count = self.shared.clients.mailbox_count();
        let mut parcels: Vec<Parcel> = (0..mailbox_count).map(|_| Parcel::new()).collect();
        for batch in batches {
            let (thread, connection) = (batch.thread, batch.connection);
            parcels[thread].push((connection, Delivery::Writes(batch.into_outcomes())));
        }
        for (thread, parcel) in parcels.into_iter().enumerate() {
            if !parcel.is_empty() {
                self.shared.clients.mailbox(thread).send(parcel);
            }
        }
    }

    fn sync_by_timer(&mut self) {
        if self.durability != Durability::Interval || !self.unsynced {
            return;
        }
        if self.interval <= self.synced.elapsed() {
            self.sync();
            self.shared.metrics.commits.timer_syncs.add(1);
        }
    }

    fn publish_log_statistics(&self) {
        let statistics = self.engine.log_statistics();
        let commits = &self.shared.metrics.commits;
        commits.log_bytes.set(statistics.bytes_written);
        commits.log_syncs.set(statistics.syncs);
    }

    fn sync(&mut self) {
        let started = Instant::now();
        let synced = self.engine.sync();
        failure::check("sync the log", synced);
        self.shared.metrics.commits.sync_latency.record(started.elapsed(), 1);
        self.publish_log_statistics();
        self.synced = Instant::now();
        self.unsynced = false;
        self.shared.note_saved();
    }

    fn ask_for_tasks(&mut self) {
        let due = Duration::from_millis(TASK_INTERVAL_MS) <= self.tasks_asked.elapsed();
        if !due && !self.background.is_idle() {
            return;
        }
        self.tasks_asked = Instant::now();
        self.reclaim_records();
        for task in self.engine.tasks(self.shared.clock.now_ms()) {
            self.background.start(task);
        }
        self.shared.metrics.commits.tasks_running.set(self.background.running());
    }

    /// Removes records that have expired, some at a time: what is left over is due again.
    fn reclaim_records(&mut self) {
        match self.engine.reclaim_records(self.shared.clock.now_ms()) {
            Ok(0) => {}
            Err(error @ EngineError::NoSpace(_)) => {
                tracing::warn!(%error, "expired records stay until there is space");
            }
            reclaimed => {
                failure::check("reclaim expired records", reclaimed.map(|_| ()));
                self.unsynced = true;
                self.publish_log_statistics();
            }
        }
    }

    /// How long nothing need happen while no message comes.
    fn wait(&self) -> Duration {
        let tasks = Duration::from_millis(TASK_INTERVAL_MS);
        match (self.durability, self.unsynced) {
            (Durability::Interval, true) => {
                self.interval.saturating_sub(self.synced.elapsed()).min(tasks)
            }
            _ => tasks,
        }
    }

    /// Commits what waits and syncs.
    fn stop(mut self) {
        let shared = Arc::clone(&self.shared);
        while let Ok(batch) = shared.write_queue.receiver().try_recv() {
            self.turn(batch);
        }
        match self.engine.checkpoint(self.shared.clock.now_ms()) {
            Err(error @ EngineError::NoSpace(_)) => {
                tracing::warn!(%error, "the next start replays the log");
            }
            flushed => failure::check("flush what was written", flushed),
        }
        failure::check("close the log", self.engine.close());
        tracing::info!("log synced and sealed");
    }

    /// Drops the refusals of connections that have gone, now and then.
    fn forget_gone_connections(&mut self) {
        if self.refusals.len() <= self.shared.clients.count().saturating_mul(2) + 16 {
            return;
        }
        let clients = &self.shared.clients;
        self.refusals.retain(|id, refusals| !refusals.is_empty() && clients.contains(*id));
    }
}

/// A task that failed for want of space is due again, one that met a damaged page is not; after
/// any other failure what is on disk is in doubt.
fn check_task(finished: Result<(), EngineError>) {
    match finished {
        Err(error @ (EngineError::NoSpace(_) | EngineError::Damaged { .. })) => {
            tracing::error!(%error, "a background task ended without effect");
        }
        finished => failure::check("install a finished background task", finished),
    }
}

impl Answered {
    fn into_outcomes(self) -> WriteOutcomes {
        let outcomes = self.answers.into_iter().map(|(tag, answer)| (tag, answer.into_result()));
        WriteOutcomes { outcomes: outcomes.collect(), bytes: self.bytes, started: self.started }
    }
}

impl Answer {
    fn into_result(self) -> WriteResult {
        match self {
            Self::Final(result) => result,
            Self::Staged(..) => unreachable!("a commit settles every answer before it is sent"),
        }
    }
}
