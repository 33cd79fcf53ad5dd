//! Runs the simulation of many seeds on all cores and gathers what they did. It knows nothing of
//! what a seed does.

use crate::simulation::check::STATUS_NAMES;
use crate::simulation::driver::Simulation;
use crate::simulation::totals::Totals;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// A seed that failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// How many operations it had begun.
    pub operation: u64,
    /// What differed.
    pub difference: String,
    /// What was done, oldest first, where it was traced.
    pub story: Vec<String>,
}

/// What some seeds have done.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How many seeds were run to the end.
    pub seeds: usize,
    /// What they did.
    pub totals: Totals,
    /// Those that failed.
    pub failures: Vec<Failure>,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, operation, difference, story } = self;
        for line in story {
            writeln!(formatter, "{line}")?;
        }
        write!(
            formatter,
            "seed {seed}, operation {operation}: {difference}\n\
             repeat with {SEED_VARIABLE}={seed}"
        )
    }
}

/// Runs these seeds on as many threads as there are cores, until `failures_max` have failed.
#[must_use]
pub fn run(seeds: &[u64], failures_max: usize) -> Report {
    let next = AtomicUsize::new(0);
    let report = Mutex::new(Report::default());
    let lock = || report.lock().unwrap_or_else(PoisonError::into_inner);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = run_seed(*seed, false);
                    let mut report = lock();
                    match result {
                        Ok(totals) => {
                            report.totals.merge(&totals);
                            report.seeds += 1;
                        }
                        Err(failure) => report.failures.push(failure),
                    }
                    if failures_max <= report.failures.len() {
                        next.store(seeds.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    lock().clone()
}

/// Runs one seed, and gives what it did.
///
/// # Errors
/// What differed, panics included; and a seed that did less than a seed should.
pub fn run_seed(seed: u64, is_traced: bool) -> Result<Totals, Failure> {
    let mut simulation = None;
    let outcome = catch_unwind(AssertUnwindSafe(|| live(seed, is_traced, &mut simulation)));
    let difference = match outcome {
        Ok(Ok(totals)) => match totals.missing(&NEEDED_IN_A_SEED)[..] {
            [] if OPERATIONS_LEAST <= totals.of("operations") => return Ok(totals),
            [] => "too few operations".to_owned(),
            ref missing => format!("the seed has no {}", missing.join(", no ")),
        },
        Ok(Err(difference)) => difference,
        Err(panic) => format!("panic: {}", words_of(&*panic)),
    };
    let (operation, story) =
        simulation.map_or((0, Vec::new()), |simulation| (simulation.operations, simulation.story));
    let story = story[story.len().saturating_sub(STORY_MAX)..].to_vec();
    Err(Failure { seed, operation, difference, story })
}

fn live(seed: u64, is_traced: bool, simulation: &mut Option<Simulation>) -> Result<Totals, String> {
    let simulation = simulation.insert(Simulation::new(seed, is_traced)?);
    let operations = OPERATIONS_LEAST + seed % 200;
    while simulation.operations < operations {
        simulation.step()?;
    }
    simulation.free_space();
    while simulation.totals.of("clean restarts") == 0 {
        simulation.clean_restart()?;
    }
    simulation.restart(true)?;
    if seed.is_multiple_of(4) {
        simulation.go_astray(60)?;
    }
    simulation.forget();
    simulation.count_faults();
    let mut totals = simulation.totals.clone();
    totals.add_many("operations", simulation.operations);
    Ok(totals)
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "without words".to_owned())
}

/// The environment variable that names the one seed to run.
pub const SEED_VARIABLE: &str = "TILEKV_SIM_SEED";

/// The environment variable that says how many fresh seeds to run.
pub const COUNT_VARIABLE: &str = "TILEKV_SIM_SEEDS";

/// Operations of a seed, at least.
pub const OPERATIONS_LEAST: u64 = 1_000;

const STORY_MAX: usize = 60;

/// What each seed does at least once.
const NEEDED_IN_A_SEED: [&str; 2] = ["power cuts", "flushes"];

/// What a run of many seeds does at least once.
#[must_use]
pub fn needed() -> Vec<&'static str> {
    let mut needed = STATUS_NAMES.to_vec();
    needed.extend(NEEDED);
    needed
}

const NEEDED: [&str; 79] = [
    "operations",
    "values compared",
    "partials compared",
    "producers looked up",
    "plans used again",
    "reads that needed pages",
    "pages needed",
    "writes that needed pages",
    "reads refused",
    "writes refused",
    "writes busy",
    "duplicates",
    "creates",
    "alters",
    "drops",
    "batches of events",
    "tiles set",
    "tiles merged",
    "tiles copied",
    "tile deletions",
    "entity deletions",
    "seals made",
    "seals withdrawn",
    "rows too old",
    "rows late",
    "commits",
    "commits asked for",
    "commits without space",
    "tasks without space",
    "full disks",
    "syncs asked for",
    "freezes asked for",
    "checkpoints",
    "flushes",
    "compactions",
    "starts",
    "clean restarts",
    "power cuts",
    "power cuts between operations",
    "kills between operations",
    "recoveries with a cut",
    "recoveries of an earlier state",
    "batches in flight that survived",
    "batches in flight that were lost",
    "input/output errors that ended the process",
    "starts ended by an input/output error",
    "damaged stores refused",
    "damaged stores that answered right",
    "damaged stores that lost an unproven tail",
    "stores whose writes went astray",
    "sectors lost",
    "writes torn",
    "writes reordered",
    "entries lost",
    "read errors",
    "write errors",
    "sync errors",
    "entry errors",
    "operations without space",
    "writes astray",
    "jobs begun",
    "jobs found by their token",
    "jobs looked up",
    "jobs aborted",
    "jobs timed out",
    "jobs of dropped views",
    "jobs lost in a restart",
    "job rows",
    "job rows sent again",
    "job rows refused",
    "job rows without space",
    "job commits refused",
    "job commits without space",
    "replacing jobs committed",
    "merging jobs committed",
    "sealed jobs opened again",
    "seeds that are durable always",
    "seeds that are durable at intervals",
    "seeds that are never made durable",
];
