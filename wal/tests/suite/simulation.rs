//! Random lives of a log on a simulated disk: appends, syncs, flushes, failures, full disks,
//! restarts and power cuts, also in the middle of recovery. After each restart the records
//! must be exactly those written, up to a point that no acknowledged record is behind, and no
//! power cut may ever lead to a refusal.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tilekv_wal::{
    Log, LogStatistics, Lsn, SimCounters, SimDisk, SimFaults, SimOperation, SyncTask, WalError,
};

use crate::support::{Record, content, log_files, open};

#[derive(Clone, Debug)]
enum Step {
    Append {
        sizes: Vec<u16>,
    },
    /// A record that is a copy of log bytes, frames and all.
    AppendCopy {
        offset: u16,
    },
    Sync,
    SyncStart,
    SyncFinish,
    /// The manifest moves to a durable LSN, so far back, and files are released.
    Flush {
        back: u8,
    },
    Close,
    Restart,
    Crash,
    /// Crashes, and again while the log is being opened, at the nth operation of a kind.
    CrashTwice {
        operation: SimOperation,
        nth: u8,
    },
    Fail {
        operation: SimOperation,
        nth: u8,
    },
    Capacity {
        pages: Option<u8>,
    },
}

/// What a run counted, so that a kind of event that never happens is noticed.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    lives: u64,
    cuts: u64,
    cut_batches_whole: u64,
    records_lost: u64,
    no_space: u64,
    failures: u64,
    failed_recoveries: u64,
    released: u64,
    files: u64,
    counters: SimCounters,
}

struct Life {
    disk: SimDisk,
    log: Option<Log>,
    task: Option<SyncTask>,
    /// Every record that may still be there.
    written: Vec<Record>,
    /// Records below were acknowledged as durable.
    acknowledged: u64,
    manifest: u64,
    totals: Totals,
}

type Outcome<T = ()> = Result<T, String>;

impl Life {
    fn begin(seed: u64, faults: SimFaults) -> Outcome<Self> {
        let (disk, written) = (SimDisk::new(seed, faults), Vec::new());
        let totals = Totals { lives: 1, ..Totals::default() };
        let (log, task) = (None, None);
        let mut life = Self { disk, log, task, written, acknowledged: 0, manifest: 0, totals };
        life.reopen()?;
        Ok(life)
    }

    fn step(&mut self, step: &Step) -> Outcome {
        match step {
            Step::Append { sizes } => {
                let next = self.next_lsn();
                let records = (next..).zip(sizes);
                let records = records.map(|(lsn, size)| content(lsn, usize::from(*size)));
                self.append(records.collect())
            }
            Step::AppendCopy { offset } => {
                let name = log_files(&self.disk).pop();
                let bytes = name.and_then(|name| self.disk.contents(&name)).unwrap_or_default();
                let from = usize::from(*offset).min(bytes.len()) / 8 * 8;
                let to = (from + 5000).min(bytes.len());
                self.append(vec![bytes[from..to].to_vec()])
            }
            Step::Sync => self.sync(),
            Step::SyncStart => self.sync_start(),
            Step::SyncFinish => self.sync_finish(),
            Step::Flush { back } => self.flush(u64::from(*back)),
            Step::Close => self.close(),
            Step::Restart => self.restart(false),
            Step::Crash => self.restart(true),
            Step::CrashTwice { operation, nth } => {
                self.log = None;
                self.task = None;
                self.disk.crash();
                self.disk.fail_nth(*operation, u64::from(*nth).max(1));
                if let Err(error) = open(&self.disk, self.manifest) {
                    self.totals.failed_recoveries += 1;
                    fatal(&error)?;
                }
                self.restart(true)
            }
            Step::Fail { operation, nth } => {
                self.disk.fail_nth(*operation, u64::from(*nth).max(1));
                Ok(())
            }
            Step::Capacity { pages } => {
                let capacity_bytes = pages.map(|pages| u64::from(pages) * 4096);
                let faults = SimFaults { capacity_bytes, ..self.disk.faults() };
                self.disk.set_faults(faults);
                Ok(())
            }
        }
    }

    fn append(&mut self, contents: Vec<Vec<u8>>) -> Outcome {
        let first = self.next_lsn();
        let now_ms = i64::try_from(first).unwrap() - 5;
        let result = self.log().append(now_ms, &contents);
        let records = (first..).zip(contents);
        let records: Vec<Record> =
            records.map(|(lsn, bytes)| Record { lsn, now_ms, bytes }).collect();
        match result {
            Ok(_) => self.written.extend(records),
            Err(WalError::NoSpace { .. }) => {
                self.totals.no_space += 1;
                if self.disk.faults().capacity_bytes.is_none() {
                    return Err("no space on a disk without bounds".to_owned());
                }
                if self.next_lsn() != first {
                    return Err("a refused batch took LSNs".to_owned());
                }
            }
            Err(error) => {
                // Its bytes may have reached the disk, in part or whole.
                self.written.extend(records);
                return self.failed(&error);
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> Outcome {
        if self.task.is_some() {
            return self.sync_finish();
        }
        match self.log().sync() {
            Ok(durable) if durable == self.log().next_lsn() => self.acknowledge(durable),
            Ok(durable) => Err(format!("a sync stopped at {durable}")),
            Err(error) => self.failed(&error),
        }
    }

    fn sync_start(&mut self) -> Outcome {
        if self.task.is_none() {
            self.task = self.log().sync_start().map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn sync_finish(&mut self) -> Outcome {
        let Some(task) = self.task.take() else {
            return Ok(());
        };
        match self.log().sync_finish(task.run()) {
            Ok(durable) => self.acknowledge(durable),
            Err(error) => self.failed(&error),
        }
    }

    fn acknowledge(&mut self, durable: Lsn) -> Outcome {
        self.acknowledged = durable.number();
        Ok(())
    }

    fn flush(&mut self, back: u64) -> Outcome {
        self.manifest = self.manifest.max(self.log().durable_lsn().number().saturating_sub(back));
        let below = Lsn::new(self.manifest);
        match self.log().release(below) {
            Ok(removed) => self.totals.released += removed,
            // An old file that cannot be removed stops nothing.
            Err(WalError::Disk { .. }) => {}
            Err(error) => return self.failed(&error),
        }
        Ok(())
    }

    fn close(&mut self) -> Outcome {
        self.sync_finish()?;
        let next = self.next_lsn();
        let Some(log) = self.log.take() else {
            return Ok(());
        };
        match log.close() {
            Ok(()) => self.acknowledged = next,
            Err(error) => fatal(&error)?,
        }
        self.restart(false)
    }

    /// A write or a sync failed: the process ends. Half the time the power goes with it.
    fn failed(&mut self, error: &WalError) -> Outcome {
        fatal(error)?;
        self.totals.failures += 1;
        if !matches!(self.log().append(0, &[b"after"]), Err(WalError::Poisoned { .. })) {
            return Err("a log went on after a failure".to_owned());
        }
        self.restart(self.totals.failures.is_multiple_of(2))
    }

    fn restart(&mut self, crash: bool) -> Outcome {
        self.add_statistics();
        self.log = None;
        self.task = None;
        if crash {
            self.disk.crash();
        }
        self.reopen()
    }

    fn reopen(&mut self) -> Outcome {
        for attempt in 0..100 {
            let (log, report, replayed) = match open(&self.disk, self.manifest) {
                Ok(opened) => opened,
                Err(error) => {
                    fatal(&error)?;
                    self.totals.failed_recoveries += 1;
                    if attempt % 2 == 0 {
                        self.disk.crash();
                    }
                    continue;
                }
            };
            let next = report.next_lsn.number();
            if let Some(cut) = &report.cut {
                self.totals.cuts += 1;
                self.totals.cut_batches_whole += cut.batches_whole;
            }
            self.log = Some(log);
            return self.check(next, &replayed);
        }
        Err("a hundred attempts did not open the log".to_owned())
    }

    fn check(&mut self, next: u64, replayed: &[Record]) -> Outcome {
        if next < self.acknowledged {
            return Err(format!("acknowledged up to {}, recovered {next}", self.acknowledged));
        }
        let kept = usize::try_from(next).unwrap();
        if self.written.len() < kept {
            return Err(format!("{} records written, {next} recovered", self.written.len()));
        }
        self.totals.records_lost += u64::try_from(self.written.len() - kept).unwrap();
        self.written.truncate(kept);
        let from = usize::try_from(self.manifest).unwrap();
        if replayed != &self.written[from..] {
            return Err("a recovered record differs from the written one".to_owned());
        }
        self.acknowledged = next;
        Ok(())
    }

    fn finish(mut self) -> Outcome<Totals> {
        self.restart(true)?;
        self.add_statistics();
        self.totals.counters = self.disk.counters();
        Ok(self.totals)
    }

    fn add_statistics(&mut self) {
        let statistics = self.log.as_ref().map_or(LogStatistics::default(), Log::statistics);
        self.totals.files += statistics.files_begun;
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().expect("a life has an open log")
    }

    fn next_lsn(&mut self) -> u64 {
        self.log().next_lsn().number()
    }
}

/// Errors of the disk are to be expected; a refusal is a bug, since nothing was damaged.
fn fatal(error: &WalError) -> Outcome {
    match error {
        WalError::Failed { source, .. } if source.is_no_space() => {
            Err(format!("a full disk stopped the log: {error}"))
        }
        WalError::Disk { .. } | WalError::Failed { .. } | WalError::Poisoned { .. } => Ok(()),
        error => Err(format!("refused: {error}")),
    }
}

fn live(seed: u64, steps: &[Step], faults: SimFaults) -> Outcome<Totals> {
    let mut life = Life::begin(seed, faults)?;
    for step in steps {
        life.step(step)?;
    }
    life.finish()
}

fn any_operation() -> impl Strategy<Value = SimOperation> {
    proptest::sample::select(SimOperation::ALL.to_vec())
}

fn any_step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![8 => 0_u16..200, 3 => 0_u16..3000, 1 => 3000_u16..20_000];
    prop_oneof![
        12 => proptest::collection::vec(size, 1..5).prop_map(|sizes| Step::Append { sizes }),
        1 => (0_u16..20_000).prop_map(|offset| Step::AppendCopy { offset }),
        4 => Just(Step::Sync),
        2 => Just(Step::SyncStart),
        2 => Just(Step::SyncFinish),
        2 => (0_u8..40).prop_map(|back| Step::Flush { back }),
        1 => Just(Step::Close),
        1 => Just(Step::Restart),
        2 => Just(Step::Crash),
        1 => (any_operation(), 1_u8..5)
            .prop_map(|(operation, nth)| Step::CrashTwice { operation, nth }),
        1 => (any_operation(), 1_u8..9).prop_map(|(operation, nth)| Step::Fail { operation, nth }),
        1 => proptest::option::of(1_u8..40).prop_map(|pages| Step::Capacity { pages }),
    ]
}

#[test]
fn no_life_loses_an_acknowledged_record_or_is_refused() {
    let sum = Cell::new(Totals::default());
    let strategy = (any::<u64>(), proptest::collection::vec(any_step(), 1..60));
    let mut runner =
        TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(4000) });
    let result = runner.run(&strategy, |(seed, steps)| {
        let totals = live(seed, &steps, SimFaults::default()).map_err(TestCaseError::fail)?;
        sum.set(add(sum.get(), totals));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let sum = sum.get();
    println!("{sum:#?}");
    let counters = sum.counters;
    for (kind, count) in [
        ("crashes", counters.crashes),
        ("sectors lost", counters.sectors_lost),
        ("writes torn", counters.writes_torn),
        ("writes reordered", counters.writes_reordered),
        ("entries lost", counters.entries_lost),
        ("read errors", counters.read_errors),
        ("write errors", counters.write_errors),
        ("sync errors", counters.sync_errors),
        ("entry errors", counters.entry_errors),
        ("full disks", sum.no_space),
        ("cuts", sum.cuts),
        ("whole batches cut", sum.cut_batches_whole),
        ("records lost", sum.records_lost),
        ("failures", sum.failures),
        ("failed recoveries", sum.failed_recoveries),
        ("files released", sum.released),
    ] {
        assert!(100 < count, "only {count} {kind} in {} lives", sum.lives);
    }
}

#[test]
fn the_simulation_sees_a_disk_whose_syncs_lie() {
    let file_lies = SimFaults { file_syncs_lie: true, ..SimFaults::default() };
    let folder_lies = SimFaults { folder_syncs_lie: true, ..SimFaults::default() };
    let steps = [
        Step::Append { sizes: vec![100; 4] },
        Step::Sync,
        Step::Append { sizes: vec![100; 4] },
        Step::Sync,
        Step::Crash,
    ];
    for (story, faults) in [("files", file_lies), ("folders", folder_lies)] {
        let caught = (0..100).filter(|seed| live(*seed, &steps, faults.clone()).is_err()).count();
        assert!(20 < caught, "{story}: caught {caught} of 100");
    }
    let sound = |seed| live(seed, &steps, SimFaults::default()).is_ok();
    assert!((0..100).all(sound), "the same steps pass on a disk that does not lie");
}

fn add(sum: Totals, more: Totals) -> Totals {
    let (a, b) = (sum.counters, more.counters);
    let counters = SimCounters {
        crashes: a.crashes + b.crashes,
        sectors_lost: a.sectors_lost + b.sectors_lost,
        writes_torn: a.writes_torn + b.writes_torn,
        writes_reordered: a.writes_reordered + b.writes_reordered,
        entries_lost: a.entries_lost + b.entries_lost,
        read_errors: a.read_errors + b.read_errors,
        write_errors: a.write_errors + b.write_errors,
        sync_errors: a.sync_errors + b.sync_errors,
        entry_errors: a.entry_errors + b.entry_errors,
        no_space: a.no_space + b.no_space,
        misdirected: a.misdirected + b.misdirected,
        bits_flipped: a.bits_flipped + b.bits_flipped,
    };
    Totals {
        lives: sum.lives + more.lives,
        cuts: sum.cuts + more.cuts,
        cut_batches_whole: sum.cut_batches_whole + more.cut_batches_whole,
        records_lost: sum.records_lost + more.records_lost,
        no_space: sum.no_space + more.no_space,
        failures: sum.failures + more.failures,
        failed_recoveries: sum.failed_recoveries + more.failed_recoveries,
        released: sum.released + more.released,
        files: sum.files + more.files,
        counters,
    }
}
