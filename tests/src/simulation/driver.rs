//! Drives a store through the random operations of one seed and compares it with the model at
//! every step. It knows nothing of which seeds are run.

use crate::simulation::actions::Actions;
use crate::simulation::book::Book;
use crate::simulation::check::{Check, Question, patiently, some_range};
use crate::simulation::dice::Dice;
use crate::simulation::jobs::OpenJob;
use crate::simulation::judge::{Action, Refusal, Verdict, judge, number};
use crate::simulation::model::{Effect, ModelView};
use crate::simulation::questions::question;
use crate::simulation::totals::Totals;
use std::sync::Arc;
use tilekv_engine::disk::{Durability, SimDisk, SimFaults};
use tilekv_engine::{
    Engine, EngineError, EngineOptions, JobId, Outcome, Plan, Prepared, ReadOutcome, Reader, Task,
    TaskResult, Write,
};

/// Why a step ended early.
#[derive(Debug)]
pub enum Stop {
    /// The engine says that it must not be used any more.
    Fatal(EngineError),
    /// The store and the model differ.
    Differs(String),
}

/// A store under simulation.
pub struct Simulation {
    pub(crate) dice: Dice,
    pub(crate) actions: Actions,
    pub(crate) disk: SimDisk,
    pub(crate) options: EngineOptions,
    /// None while the store is down.
    pub(crate) engine: Option<Engine>,
    pub(crate) book: Book,
    pub(crate) clock: i64,
    /// The greatest clock that the writer was given.
    pub(crate) log_clock: i64,
    pub(crate) tasks: Vec<Task>,
    /// What tasks have produced, and whether the disk had a bound then.
    pub(crate) done: Vec<(TaskResult, bool)>,
    plan: Option<(Question, Plan)>,
    /// Stamped writes that were taken, to be sent again.
    sent: Vec<Action>,
    /// Jobs that are open.
    pub(crate) jobs: Vec<OpenJob>,
    /// Every job that was ever begun.
    pub(crate) job_ids: Vec<JobId>,
    /// Whether the disk has a bound now.
    pub(crate) is_squeezed: bool,
    /// Input/output errors that the disk had given when the store was last opened.
    pub(crate) errors_seen: u64,
    pub(crate) totals: Totals,
    pub(crate) operations: u64,
    /// The last things done, for a failure's story.
    pub(crate) story: Vec<String>,
    pub(crate) is_traced: bool,
}

impl Simulation {
    /// A new store of a seed.
    ///
    /// # Errors
    /// The store cannot be created.
    pub fn new(seed: u64, is_traced: bool) -> Result<Self, String> {
        let mut dice = Dice::new(seed);
        let durability = match dice.weighed(&[6, 3, 2]) {
            0 => Durability::Always,
            1 => Durability::Interval,
            _ => Durability::None,
        };
        let options = EngineOptions {
            durability,
            overlay_bytes_max: dice.count(2, 16) << 10,
            overlay_age_ms_max: *dice.pick(&[1_000, 60_000, 86_400_000]),
            memory_bytes_max: memory_bytes_max(seed),
            load_thread_count: 1,
            block_tiles_max: *dice.pick(&[1, 3, 8, 1_024]),
            frozen_count_max: dice.count(2, 4),
            segment_count_max: dice.count(1, 3),
            log_file_bytes_max: *dice.pick(&[16 << 10, 32 << 10, 128 << 10]),
            job_bytes_max: *dice.pick(&[1, 4 << 10, 64 << 10]),
            job_count_max: 8,
            producer_count_max: 10_000,
            hash_seed: dice.word(),
            salt_seed: dice.word(),
        };
        let clock = *dice.pick(&[1_700_000_000_000, 20_000_000, -10_000_000_000]);
        let mut simulation = Self {
            actions: Actions::new(&mut dice),
            disk: SimDisk::new(dice.word(), SimFaults::default()),
            options,
            engine: None,
            book: Book::default(),
            clock,
            log_clock: clock,
            tasks: Vec::new(),
            done: Vec::new(),
            plan: None,
            sent: Vec::new(),
            jobs: Vec::new(),
            job_ids: Vec::new(),
            is_squeezed: false,
            errors_seen: 0,
            totals: Totals::default(),
            operations: 0,
            story: Vec::new(),
            is_traced,
            dice,
        };
        simulation.tell(|| format!("{options:?}"));
        simulation.start(0)?;
        Ok(simulation)
    }

    /// One random operation.
    ///
    /// # Errors
    /// What differed.
    pub fn step(&mut self) -> Result<(), String> {
        self.operations += 1;
        self.advance_clock();
        if self.is_squeezed && self.dice.one_in(40) {
            self.free_space();
        }
        match self.operation() {
            Ok(()) => Ok(()),
            Err(Stop::Differs(difference)) => Err(difference),
            Err(Stop::Fatal(error)) => self.fail_stop(&error),
        }
    }

    fn operation(&mut self) -> Result<(), Stop> {
        match self.dice.weighed(&[3_800, 1_500, 2_300, 500, 150, 150, 400, 500, 500, 100, 200, 500])
        {
            0 => self.write(),
            1 => self.commit(),
            2 => self.read(),
            3 => self.range(),
            4 => self.figures(),
            5 => self.producer(),
            6 => self.schedule(),
            7 => self.run_task(),
            8 => self.finish_task(),
            9 => self.rare(),
            10 => self.copy_tile(),
            _ => self.job(),
        }
    }

    /// An operation that neither ends the store nor harms the disk.
    pub(crate) fn quiet_operation(&mut self) -> Result<(), Stop> {
        match self.dice.weighed(&[6, 3, 2, 1, 1, 1]) {
            0 => self.write(),
            1 => self.commit(),
            2 => self.read(),
            3 => self.schedule(),
            4 => self.run_task(),
            _ => self.finish_task(),
        }
    }

    fn rare(&mut self) -> Result<(), Stop> {
        match self.dice.weighed(&[10, 5, 12, 10, 10, 8, 10, 8]) {
            0 => {
                self.tell(|| "freeze".to_owned());
                self.totals.add("freezes asked for");
                self.engine().freeze();
                Ok(())
            }
            1 => self.checkpoint(),
            2 => self.sync(),
            3 => {
                self.totals.add("power cuts between operations");
                self.restart(true).map_err(Stop::Differs)
            }
            4 => {
                self.totals.add("kills between operations");
                self.restart(false).map_err(Stop::Differs)
            }
            5 => {
                self.squeeze();
                Ok(())
            }
            6 => {
                self.arm_fault();
                Ok(())
            }
            _ => self.flip().map_err(Stop::Differs),
        }
    }

    fn write(&mut self) -> Result<(), Stop> {
        if !self.sent.is_empty() && self.dice.one_in(12) {
            let action = self.dice.pick(&self.sent).clone();
            let verdict = judge(&self.book.staged, self.log_clock.max(self.clock), &action);
            let is_resent = matches!(verdict, Verdict::Taken(Outcome::Duplicate, _))
                || matches!(verdict, Verdict::Refused(Refusal::OutOfOrder(_)));
            if is_resent {
                return self.send(action);
            }
        }
        let action = self.actions.next(&mut self.dice, &self.book.staged, self.clock);
        self.send(action)
    }

    /// Has the engine judge a write, and compares its verdict.
    fn send(&mut self, action: Action) -> Result<(), Stop> {
        let verdict = judge(&self.book.staged, self.log_clock.max(self.clock), &action);
        if matches!(verdict, Verdict::Open) {
            self.totals.add("writes not asked");
            return Ok(());
        }
        self.log_clock = self.log_clock.max(self.clock);
        self.tell(|| format!("write {:?}", action.write));
        let mut prepared = self.prepare(action.write.clone());
        if let Ok(Prepared::CommitFirst(write)) = prepared {
            self.totals.add("commits asked for");
            if self.book.pending.is_empty() {
                return Err(Stop::Differs("a commit is asked for, and nothing pends".to_owned()));
            }
            self.commit()?;
            if matches!(judge(&self.book.staged, self.log_clock, &action), Verdict::Open) {
                return Ok(());
            }
            prepared = self.prepare(write);
        }
        if matches!(prepared, Err(EngineError::Busy { .. })) {
            self.totals.add("writes busy");
            return self.drain();
        }
        // The commit may have been refused, and everything pending with it.
        let verdict = judge(&self.book.staged, self.log_clock, &action);
        self.settle(action, verdict, prepared)
    }

    /// Prepares a write, loading the pages that it needs in between.
    fn prepare(&mut self, write: Write) -> Result<Prepared, EngineError> {
        let Self { engine, totals, clock, .. } = self;
        let engine = engine.as_mut().expect("the store is up");
        let mut waiting = Some(write);
        let mut has_waited = false;
        let prepared = patiently(
            |pinned| {
                let write = waiting.take().expect("a write that waits comes back");
                match engine.try_prepare(*clock, write, pinned)? {
                    Prepared::Needs(write, request) => {
                        waiting = Some(write);
                        has_waited = true;
                        Ok(ReadOutcome::Needs(request))
                    }
                    prepared => Ok(ReadOutcome::Ready(prepared)),
                }
            },
            totals,
        );
        if has_waited {
            totals.add("writes that needed pages");
        }
        prepared
    }

    fn settle(
        &mut self,
        action: Action,
        verdict: Verdict,
        prepared: Result<Prepared, EngineError>,
    ) -> Result<(), Stop> {
        match (verdict, prepared) {
            (Verdict::Taken(expected, effects), Ok(Prepared::Staged(outcome)))
                if expected == outcome =>
            {
                self.note_taken(action, outcome, &effects);
                self.book.stage(effects, self.log_clock);
                Ok(())
            }
            (Verdict::Refused(refusal), Err(error)) if is_refused_so(refusal, &error) => {
                self.totals.add("writes refused");
                Ok(())
            }
            (_, Err(error)) if error.is_fatal() => Err(Stop::Fatal(error)),
            (Verdict::Open, _) => {
                Err(Stop::Differs("a write became undecided between two judgements".to_owned()))
            }
            (expected, found) => {
                Err(Stop::Differs(format!("{action:?}: found {found:?}, expected {expected:?}")))
            }
        }
    }

    fn note_taken(&mut self, action: Action, outcome: Outcome, effects: &[Effect]) {
        self.totals.add(match (&action.write, outcome) {
            (_, Outcome::Duplicate) => "duplicates",
            (Write::AlterView { .. }, _) => "alters",
            (Write::CreateView(_), _) => "creates",
            (Write::DropView(_), _) => "drops",
            (Write::Events { .. }, _) => "batches of events",
            (Write::SetTile(_), _) => "tiles set",
            (Write::MergeTile(_), _) => "tiles merged",
            (Write::DeleteTiles { .. }, _) => "tile deletions",
            (Write::DeleteEntity { .. }, _) => "entity deletions",
            (Write::AddSeal { .. }, _) => "seals made",
            (Write::RemoveSeal { .. }, _) => "seals withdrawn",
            (Write::CreateService { .. } | Write::DropService(_), _) => "services",
            (Write::Record(_), _) => "writes to records",
        });
        for effect in effects {
            if let Effect::Rows { too_old, late_dropped, .. } = effect {
                self.totals.add_many("rows too old", *too_old);
                self.totals.add_many("rows late", *late_dropped);
            }
        }
        let is_stamped = match &action.write {
            Write::Events { stamp, .. } => stamp.is_some(),
            Write::SetTile(tile) | Write::MergeTile(tile) => tile.stamp.is_some(),
            _ => false,
        };
        if is_stamped && self.sent.len() < SENT_MAX {
            self.sent.push(action);
        } else if is_stamped {
            let at = self.dice.count(0, SENT_MAX - 1);
            self.sent[at] = action;
        }
    }

    fn commit(&mut self) -> Result<(), Stop> {
        let engine = self.engine();
        let records = number(engine.pending_records());
        let (begin, durable) = (engine.next_lsn().number(), engine.durable_lsn().number());
        self.tell(|| format!("commit {records} records from LSN {begin}"));
        self.book.begin(self.log_clock, begin + records);
        let result = self.engine().commit();
        match result {
            Ok(()) => {}
            Err(EngineError::NoSpace(_)) if self.is_squeezed => {
                self.totals.add("commits without space");
                self.book.discard();
                self.settle_jobs(false);
                return Ok(());
            }
            Err(error) => return Err(Stop::Fatal(error)),
        }
        self.totals.add("commits");
        if 0 < records {
            self.book.proven_end = self.book.proven_end.max(durable);
        }
        self.book.acknowledge();
        self.settle_jobs(true);
        let (end, durable) = (self.engine().next_lsn().number(), self.durable());
        if end != begin + records {
            return Err(Stop::Differs(format!("{records} records went from LSN {begin} to {end}")));
        }
        if self.options.durability == Durability::Always {
            self.book.durable_end = end;
        }
        if durable < self.book.durable_end {
            return Err(Stop::Differs(format!("an acknowledged commit is durable to {durable}")));
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Stop> {
        self.tell(|| "sync".to_owned());
        self.engine().sync().map_err(Stop::Fatal)?;
        self.book.durable_end = self.engine().next_lsn().number();
        if self.durable() < self.book.durable_end {
            return Err(Stop::Differs("a sync left something behind".to_owned()));
        }
        self.totals.add("syncs asked for");
        Ok(())
    }

    fn read(&mut self) -> Result<(), Stop> {
        let reader = self.engine().reader();
        let version = reader.snapshot();
        if let Some((asked, plan)) = &self.plan
            && self.dice.one_in(3)
            && reader.is_current(&version, plan)
        {
            let model = &self.book.committed;
            let check = Check {
                reader: &reader,
                version: &version,
                model,
                now: self.clock,
                is_damaged: false,
            };
            self.totals.add("plans used again");
            return check.question(asked, Some(plan), &mut self.totals).map_err(Stop::Differs);
        }
        let asked = question(&mut self.dice, &self.actions, &self.book.committed, self.clock);
        let Some(asked) = asked else {
            return Ok(());
        };
        self.tell(|| format!("read {asked:?}"));
        let check = Check {
            reader: &reader,
            version: &version,
            model: &self.book.committed,
            now: self.clock,
            is_damaged: false,
        };
        check.question(&asked, None, &mut self.totals).map_err(Stop::Differs)?;
        self.plan = reader.plan(&version, &asked.request).ok().map(|plan| (asked, plan));
        Ok(())
    }

    fn range(&mut self) -> Result<(), Stop> {
        let names: Vec<_> = self.book.committed.views.keys().cloned().collect();
        if names.is_empty() {
            return Ok(());
        }
        let name = self.dice.pick(&names).clone();
        let reader = self.reader();
        let view = &self.book.committed.views[&name];
        let entity = self.actions.entity(&mut self.dice, view);
        let around = self.actions.timestamp(&mut self.dice, view, self.clock);
        let range = some_range(&mut self.dice, view, around);
        let version = reader.snapshot();
        let check = Check {
            reader: &reader,
            version: &version,
            model: &self.book.committed,
            now: self.clock,
            is_damaged: false,
        };
        check.range(&name, view, &entity, range, &mut self.totals).map_err(Stop::Differs)
    }

    /// Writes what the store prints of a tile: the same tile again, or one more of another entity.
    fn copy_tile(&mut self) -> Result<(), Stop> {
        if !self.book.pending.is_empty() {
            return Ok(());
        }
        let horizon = |view: &ModelView| view.horizon(self.clock).unwrap_or(i64::MIN);
        let tiles: Vec<_> = self
            .book
            .committed
            .views
            .values()
            .flat_map(|view| view.entities.iter().map(move |(entity, tiles)| (view, entity, tiles)))
            .flat_map(|(view, entity, tiles)| {
                let readable = tiles.range(horizon(view)..);
                readable.map(move |(start, entries)| (view, entity, *start, entries))
            })
            .collect();
        if tiles.is_empty() {
            return Ok(());
        }
        let (view, entity, start, entries) = *self.dice.pick(&tiles);
        let Some(engine) = &self.engine else { return Ok(()) };
        let reader = engine.reader();
        let name = &view.definition.name;
        let range = start..start + 1;
        let (version, clock) = (reader.snapshot(), self.clock);
        let ask =
            |pinned| reader.try_range(&version, name, (entity, range.clone()), None, clock, pinned);
        let printed = match patiently(ask, &mut self.totals) {
            Ok(mut found) if found.len() == 1 => found.remove(0).1,
            found => return Err(Stop::Differs(format!("tile {start} of {entity:?}: {found:?}"))),
        };
        let action = self.actions.copy(&mut self.dice, view, (entity, start, entries), printed);
        let Some(action) = action else {
            return Ok(());
        };
        self.totals.add("tiles copied");
        self.send(action)
    }

    fn figures(&mut self) -> Result<(), Stop> {
        let reader = self.reader();
        let version = reader.snapshot();
        let model = &self.book.committed;
        let check =
            Check { reader: &reader, version: &version, model, now: self.clock, is_damaged: false };
        for (name, view) in &model.views {
            check.view(name, view, &mut self.totals).map_err(Stop::Differs)?;
        }
        Ok(())
    }

    fn producer(&mut self) -> Result<(), Stop> {
        let known: Vec<_> = self.book.staged.producers.keys().cloned().collect();
        if known.is_empty() {
            return Ok(());
        }
        let (view, id) = self.dice.pick(&known).clone();
        let reader = self.reader();
        let version = reader.snapshot();
        let model = &self.book.committed;
        let check =
            Check { reader: &reader, version: &version, model, now: self.clock, is_damaged: false };
        check.producer(&view, &id, &mut self.totals).map_err(Stop::Differs)
    }

    fn schedule(&mut self) -> Result<(), Stop> {
        let clock = self.clock;
        self.log_clock = self.log_clock.max(clock);
        let tasks = self.engine().tasks(clock);
        self.tell(|| format!("schedule {} tasks", tasks.len()));
        self.tasks.extend(tasks);
        Ok(())
    }

    fn run_task(&mut self) -> Result<(), Stop> {
        if self.tasks.is_empty() {
            return Ok(());
        }
        let at = self.dice.count(0, self.tasks.len() - 1);
        let task = self.tasks.remove(at);
        self.tell(|| format!("run a flush: {}", task.is_flush()));
        self.done.push((task.run(&self.disk), self.is_squeezed));
        Ok(())
    }

    /// Installs a result, after which an older snapshot must answer as before.
    fn finish_task(&mut self) -> Result<(), Stop> {
        if self.done.is_empty() {
            return Ok(());
        }
        let at = self.dice.count(0, self.done.len() - 1);
        let (result, was_squeezed) = self.done.remove(at);
        let reader = self.reader();
        let before = reader.snapshot();
        self.tell(|| "finish a task".to_owned());
        let finished = self.engine().finish(result);
        self.tolerate_no_space(finished, was_squeezed)?;
        let asked = question(&mut self.dice, &self.actions, &self.book.committed, self.clock);
        let Some(asked) = asked else {
            return Ok(());
        };
        let after = reader.snapshot();
        for version in [&before, &after] {
            let model = &self.book.committed;
            let check =
                Check { reader: &reader, version, model, now: self.clock, is_damaged: false };
            check.question(&asked, None, &mut self.totals).map_err(Stop::Differs)?;
        }
        Ok(())
    }

    /// Runs every task until none is left.
    pub(crate) fn drain(&mut self) -> Result<(), Stop> {
        loop {
            self.schedule()?;
            if self.tasks.is_empty() && self.done.is_empty() {
                return Ok(());
            }
            while !self.tasks.is_empty() {
                self.run_task()?;
            }
            while !self.done.is_empty() {
                let (result, was_squeezed) = self.done.remove(0);
                let finished = self.engine().finish(result);
                if self.tolerate_no_space(finished, was_squeezed)? && self.is_squeezed {
                    return Ok(());
                }
            }
        }
    }

    pub(crate) fn checkpoint(&mut self) -> Result<(), Stop> {
        self.drain()?;
        self.tell(|| "checkpoint".to_owned());
        let clock = self.clock;
        self.log_clock = self.log_clock.max(clock);
        let finished = self.engine().checkpoint(clock);
        self.tolerate_no_space(finished, false)?;
        self.totals.add("checkpoints");
        Ok(())
    }

    /// Whether there was no space, where that may be.
    fn tolerate_no_space(
        &mut self,
        result: Result<(), EngineError>,
        was_squeezed: bool,
    ) -> Result<bool, Stop> {
        match result {
            Ok(()) => Ok(false),
            Err(EngineError::NoSpace(_)) if self.is_squeezed || was_squeezed => {
                self.totals.add("tasks without space");
                Ok(true)
            }
            Err(EngineError::Damaged { .. }) if self.errors_seen < self.io_errors() => {
                self.totals.add("tasks that could not read a page");
                Ok(true)
            }
            Err(error) => Err(Stop::Fatal(error)),
        }
    }

    fn advance_clock(&mut self) {
        const HOUR_MS: i64 = 3_600_000;
        let step = match self.dice.weighed(&[500, 300, 150, 40, 8, 1, 3]) {
            0 => 0,
            1 => self.dice.within(1, 50),
            2 => self.dice.within(1_000, 90_000),
            3 => self.dice.within(60_000, HOUR_MS),
            4 => self.dice.within(HOUR_MS, 24 * HOUR_MS),
            5 => self.dice.within(29 * 24 * HOUR_MS, 32 * 24 * HOUR_MS),
            _ => -self.dice.within(1, HOUR_MS),
        };
        // The grace before expired tiles go is a day: jumps back add up to less.
        self.clock = (self.clock + step).max(self.log_clock - 8 * HOUR_MS);
    }

    /// The engine.
    ///
    /// # Panics
    /// Where the store is down.
    pub(crate) fn engine(&mut self) -> &mut Engine {
        self.engine.as_mut().expect("the store is up")
    }

    pub(crate) fn reader(&mut self) -> Reader {
        self.engine().reader()
    }

    fn durable(&mut self) -> u64 {
        self.engine().durable_lsn().number()
    }

    pub(crate) fn shared_disk(&self) -> Arc<SimDisk> {
        Arc::new(self.disk.clone())
    }

    /// Forgets what a restart takes away.
    pub(crate) fn forget(&mut self) {
        self.tasks.clear();
        self.done.clear();
        self.plan = None;
        self.forget_jobs();
        if let Some(engine) = self.engine.take() {
            let counters = engine.counters();
            self.totals.add_many("flushes", counters.flushes);
            self.totals.add_many("compactions", counters.compactions);
        }
    }

    pub(crate) fn tell(&mut self, line: impl FnOnce() -> String) {
        if self.is_traced {
            let line = format!("{} at {}: {}", self.operations, self.clock, line());
            self.story.push(line);
        }
    }
}

fn is_refused_so(expected: Refusal, found: &EngineError) -> bool {
    match (expected, found) {
        (Refusal::OutOfOrder(expected), EngineError::OutOfOrder { last }) => expected == *last,
        (Refusal::Code(expected), found) => expected == found.code(),
        (Refusal::Any, found) => !found.is_fatal(),
        (Refusal::OutOfOrder(_), _) => false,
    }
}

/// One store in three has less memory than data. Not drawn from the dice, so that a seed's story
/// stays the same.
fn memory_bytes_max(seed: u64) -> u64 {
    match seed % 9 {
        0 => 16 << 10,
        3 => 40 << 10,
        6 => 120 << 10,
        _ => u64::MAX,
    }
}

const SENT_MAX: usize = 30;
