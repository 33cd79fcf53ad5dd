//! What goes wrong with a simulated store: power cuts, kills, input/output errors, a full disk,
//! flipped bits and writes that go astray; and what must hold afterwards.

use crate::simulation::check::{Check, patiently};
use crate::simulation::driver::{Simulation, Stop};
use crate::simulation::questions::question;
use std::sync::Arc;
use tilekv_engine::disk::{Disk, Durability, SimDisk, SimFaults, SimOperation};
use tilekv_engine::{Engine, EngineError, OpenReport, ReadOutcome, StateHash, Version};

impl Simulation {
    /// Ends the store without warning and starts it again: after a power cut, or after the end of
    /// the process alone.
    ///
    /// # Errors
    /// What was lost, invented or refused.
    pub fn restart(&mut self, is_cut: bool) -> Result<(), String> {
        self.tell(|| if is_cut { "power cut".to_owned() } else { "kill".to_owned() });
        self.forget();
        let least = if is_cut { self.book.durable_end } else { self.book.end() };
        if is_cut {
            self.disk.crash();
            self.totals.add("power cuts");
        }
        self.start(least)?;
        self.check_everything()
    }

    /// An error that ends the process: allowed where the disk failed since the last start.
    pub(crate) fn fail_stop(&mut self, error: &EngineError) -> Result<(), String> {
        self.tell(|| format!("fatal: {error}"));
        if !error.is_fatal() {
            return Err(format!("refused out of place: {error}"));
        }
        if self.io_errors() == self.errors_seen {
            return Err(format!("a fatal error, and the disk is sound: {error}"));
        }
        self.totals.add("input/output errors that ended the process");
        let is_cut = self.dice.one_in(2);
        self.restart(is_cut)
    }

    /// Opens the store, however often the disk fails meanwhile, and finds at least all below LSN
    /// `least`.
    ///
    /// # Errors
    /// A refusal without a reason, or a state that must not be.
    pub(crate) fn start(&mut self, mut least: u64) -> Result<(), String> {
        self.clock = self.clock.max(self.log_clock);
        self.log_clock = self.clock;
        if self.is_squeezed && self.dice.one_in(2) {
            self.free_space();
        }
        if 0 < self.operations && self.dice.one_in(5) {
            self.arm_fault();
        }
        for _ in 0..OPEN_COUNT_MAX {
            self.options.salt_seed = self.dice.word();
            self.errors_seen = self.io_errors();
            let opened = Engine::open(self.shared_disk(), self.options, self.clock);
            match opened {
                Ok((engine, report)) => return self.started(engine, &report, least),
                Err(EngineError::NoSpace(_)) if self.is_squeezed => {
                    self.totals.add("starts without space");
                    self.free_space();
                }
                Err(error) if self.io_errors() == self.errors_seen => {
                    return Err(format!("the store does not start: {error}"));
                }
                Err(_) => {
                    self.totals.add("starts ended by an input/output error");
                    if self.dice.one_in(2) {
                        self.disk.crash();
                        self.totals.add("power cuts");
                        least = least.min(self.book.durable_end);
                    }
                }
            }
        }
        Err(format!("the store did not start in {OPEN_COUNT_MAX} attempts"))
    }

    fn started(&mut self, engine: Engine, report: &OpenReport, least: u64) -> Result<(), String> {
        let found = engine.next_lsn().number();
        self.tell(|| format!("started at LSN {found}: {report:?}"));
        self.engine = Some(engine);
        if report.log.cut.is_some() {
            self.totals.add("recoveries with a cut");
        }
        if self.book.in_flight.is_some() {
            self.totals.add(match &self.book.in_flight {
                Some(batch) if batch.end <= found => "batches in flight that survived",
                _ => "batches in flight that were lost",
            });
        }
        if found < self.book.end() {
            self.totals.add("recoveries of an earlier state");
        }
        self.totals.add("starts");
        self.book.restart(found, least)
    }

    /// Compares all that the store holds with the model.
    ///
    /// # Errors
    /// The first difference.
    pub fn check_everything(&mut self) -> Result<(), String> {
        let reader = self.reader();
        let version = reader.snapshot();
        let model = &self.book.committed;
        let check =
            Check { reader: &reader, version: &version, model, now: self.clock, is_damaged: false };
        let entities = [&self.actions.entities[..], &self.actions.pairs].concat();
        check.everything(&entities, &mut self.totals)?;
        for _ in 0..5 {
            let asked = question(&mut self.dice, &self.actions, model, self.clock);
            if let Some(asked) = asked {
                check.question(&asked, None, &mut self.totals)?;
            }
        }
        self.check_jobs()?;
        self.check_locked()
    }

    fn check_locked(&mut self) -> Result<(), String> {
        match self.disk.lock() {
            Ok(_) => Err("the folder of a running store is free to others".to_owned()),
            Err(_) => Ok(()),
        }
    }

    /// Flushes all, restarts, and finds the same.
    ///
    /// # Errors
    /// What differed.
    pub fn clean_restart(&mut self) -> Result<(), String> {
        match self.checkpoint() {
            Ok(()) => {}
            Err(Stop::Fatal(error)) => return self.fail_stop(&error),
            Err(Stop::Differs(difference)) => return Err(difference),
        }
        self.book.discard();
        let now = self.clock;
        let before = self.state_hash(now)?;
        self.restart(false)?;
        let after = self.state_hash(now)?;
        if before == after {
            self.totals.add("clean restarts");
            return Ok(());
        }
        Err(format!("the state's hash was {before} and is {after} after a restart"))
    }

    fn state_hash(&mut self, now: i64) -> Result<StateHash, String> {
        let version = self.reader().snapshot();
        let hash = patiently(|_| version.state_hash(now).map(ReadOutcome::Ready), &mut self.totals);
        hash.map_err(|error| format!("the state's hash: {error}"))
    }

    /// Bounds the disk, or frees it again.
    pub(crate) fn squeeze(&mut self) {
        if self.is_squeezed {
            self.free_space();
            return;
        }
        let used: usize = self.file_names().iter().map(|name| self.file(name).len()).sum();
        let room = *self.dice.pick(&[0, 600, 5_000, 20_000, 60_000]);
        let capacity = u64::try_from(used + room).unwrap_or(u64::MAX);
        self.tell(|| format!("squeeze to {capacity} bytes"));
        let faults = SimFaults { capacity_bytes: Some(capacity), ..self.disk.faults() };
        self.disk.set_faults(faults);
        self.is_squeezed = true;
        self.totals.add("full disks");
    }

    /// Gives the disk room without end.
    pub(crate) fn free_space(&mut self) {
        self.tell(|| "free space".to_owned());
        let faults = SimFaults { capacity_bytes: None, ..self.disk.faults() };
        self.disk.set_faults(faults);
        self.is_squeezed = false;
    }

    /// Lets one of the next operations of the disk fail.
    pub(crate) fn arm_fault(&mut self) {
        let operation = *self.dice.pick(&FAILING);
        let nth = self.dice.word() % 6 + 1;
        self.tell(|| format!("let {operation:?} number {nth} fail"));
        self.disk.fail_nth(operation, nth);
    }

    /// Flips a bit of a copy of the disk: a store must refuse that, or answer right.
    pub(crate) fn flip(&mut self) -> Result<(), String> {
        let copy = self.disk.fork();
        copy.set_faults(SimFaults::default());
        let names = self.file_names();
        let name = self.dice.pick(&names).clone();
        let bytes = self.file(&name);
        if bytes.is_empty() {
            return Ok(());
        }
        let mut at = self.dice.count(0, bytes.len() - 1);
        if self.dice.one_in(2) {
            // Most of a log file is zeros that wait for batches.
            at = bytes[..=at].iter().rposition(|byte| *byte != 0).unwrap_or(at);
        }
        let bit = u8::try_from(self.dice.count(0, 7)).unwrap_or(0);
        let offset = u64::try_from(at).unwrap_or(u64::MAX);
        copy.flip_bit(&name, offset, bit).map_err(|error| error.to_string())?;
        self.tell(|| format!("flip bit {bit} of byte {at} of {name}"));
        self.check_damaged(&copy, self.book.proven_end, true)
            .map_err(|difference| format!("bit {bit} of byte {at} of {name} flipped: {difference}"))
    }

    /// Opens a damaged copy of the disk: it is refused, or holds a state of the past from LSN
    /// `least` on, and says if it had to cut what came after, where it can know.
    fn check_damaged(&mut self, copy: &SimDisk, least: u64, must_tell: bool) -> Result<(), String> {
        let errors = io_errors(copy);
        let opened = Engine::open(Arc::new(copy.clone()), self.options, self.clock);
        let (engine, report) = match opened {
            Ok(opened) => opened,
            // A failure that was in store for the disk itself says nothing of the damage.
            Err(_) if errors < io_errors(copy) => return Ok(()),
            Err(_) => {
                self.totals.add("damaged stores refused");
                return Ok(());
            }
        };
        let found = engine.next_lsn().number();
        let end = self.book.end();
        if found < least || end < found {
            return Err(format!("the store opens at LSN {found}, expected {least} to {end}"));
        }
        if must_tell && found < end && report.log.cut.is_none() {
            return Err(format!("LSN {found} to {end} are gone without a word"));
        }
        let Some(model) = self.book.state_at(found) else {
            return Err(format!("LSN {found} is in the midst of a batch"));
        };
        let reader = engine.reader();
        let version: Arc<Version> = reader.snapshot();
        let check = Check {
            reader: &reader,
            version: &version,
            model: &model,
            now: self.clock,
            is_damaged: true,
        };
        check.everything(&[], &mut self.totals)?;
        self.totals.add(match found == end {
            true => "damaged stores that answered right",
            false => "damaged stores that lost an unproven tail",
        });
        Ok(())
    }

    /// Lets writes go astray for a while, cuts the power, and opens what is left.
    ///
    /// # Errors
    /// A wrong answer.
    pub fn go_astray(&mut self, steps: usize) -> Result<(), String> {
        self.free_space();
        self.tell(|| "writes go astray".to_owned());
        let faults = SimFaults { misdirected_per_million: 150_000, ..SimFaults::default() };
        self.disk.set_faults(faults);
        for _ in 0..steps {
            // A restart would meet the damage, which is looked at below.
            self.operations += 1;
            let result = self.quiet_operation();
            if let Err(stop) = result {
                return match stop {
                    Stop::Fatal(_) if self.errors_seen < self.io_errors() => Ok(()),
                    Stop::Fatal(error) => Err(format!("writes went astray unseen: {error}")),
                    Stop::Differs(difference) => Err(difference),
                };
            }
        }
        self.book.discard();
        self.forget();
        self.disk.crash();
        self.totals.add("power cuts");
        let copy = self.disk.fork();
        copy.set_faults(SimFaults::default());
        self.totals.add("stores whose writes went astray");
        // The last batches may lie elsewhere, and zeros where they should be.
        self.check_damaged(&copy, 0, false)
    }

    /// Notes what the disk has counted.
    pub(crate) fn count_faults(&mut self) {
        let counters = self.disk.counters();
        for (name, count) in [
            ("sectors lost", counters.sectors_lost),
            ("writes torn", counters.writes_torn),
            ("writes reordered", counters.writes_reordered),
            ("entries lost", counters.entries_lost),
            ("read errors", counters.read_errors),
            ("write errors", counters.write_errors),
            ("sync errors", counters.sync_errors),
            ("entry errors", counters.entry_errors),
            ("operations without space", counters.no_space),
            ("writes astray", counters.misdirected),
        ] {
            self.totals.add_many(name, count);
        }
        self.totals.add(match self.options.durability {
            Durability::Always => "seeds that are durable always",
            Durability::Interval => "seeds that are durable at intervals",
            Durability::None => "seeds that are never made durable",
        });
    }

    fn file_names(&self) -> Vec<String> {
        self.disk.list().unwrap_or_default()
    }

    fn file(&self, name: &str) -> Vec<u8> {
        self.disk.contents(name).unwrap_or_default()
    }

    pub(crate) fn io_errors(&self) -> u64 {
        io_errors(&self.disk)
    }
}

fn io_errors(disk: &SimDisk) -> u64 {
    let counters = disk.counters();
    counters.read_errors + counters.write_errors + counters.sync_errors + counters.entry_errors
}

const OPEN_COUNT_MAX: usize = 40;
const FAILING: [SimOperation; 10] = SimOperation::ALL;
