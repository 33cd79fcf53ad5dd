//! Work on a store inside this process, over and over: what a profiler is pointed at. Knows
//! nothing of networks.

use std::path::Path;
use std::time::{Duration, Instant};

use tilekv_engine::ReadTime;
use tilekv_engine::disk::Durability;
use tilekv_tile::Answers;

use crate::dataset::{DAY_COUNT, DAY_MS, Dataset, entity_name};
use crate::embedded::{Embedded, events_write};
use crate::error::{BenchError, Doing};
use crate::random::Random;
use crate::workload::{
    BATCH_ENTITIES, BATCH_ROWS, EVENT_VIEW_NAME, VIEW_NAMES, batch_selectors, single_selectors,
};

/// What is done over and over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum EmbeddedWork {
    /// One entity of one view: 4 windows, sum and count.
    Single,
    /// 200 entities of two views: the sums of 3 windows.
    Batch,
    /// One event per write, 800 writes per commit, not durable.
    Events,
    /// 100 events per write and commit, not durable.
    EventBatches,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EmbeddedFigures {
    /// Reads, or rows written.
    pub operations: u32,
    /// How long they took; flushes in between do not count.
    pub elapsed: Duration,
}

/// Does `work` for `duration` on a store of so many entities in a folder of its own in `parent`.
pub fn run_embedded(
    work: EmbeddedWork,
    entities: u32,
    duration: Duration,
    parent: &Path,
) -> Result<EmbeddedFigures, BenchError> {
    let making = || format!("make a folder in {}", parent.display());
    let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(parent).doing(making())?;
    let mut store = Embedded::open(folder.path(), Durability::None, OVERLAY_BYTES_MAX, NOW_MS)?;
    match work {
        EmbeddedWork::Single => read_over_and_over(&mut store, entities, 1, duration),
        EmbeddedWork::Batch => read_over_and_over(&mut store, entities, BATCH_ENTITIES, duration),
        EmbeddedWork::Events => write_over_and_over(&mut store, entities, (1, 800), duration),
        EmbeddedWork::EventBatches => {
            write_over_and_over(&mut store, entities, (BATCH_ROWS, 1), duration)
        }
    }
}

fn read_over_and_over(
    store: &mut Embedded,
    entities: u32,
    keys: usize,
    duration: Duration,
) -> Result<EmbeddedFigures, BenchError> {
    let dataset = Dataset::new(entities, NOW_MS, SEED);
    let mut views = Vec::new();
    let (view_names, selectors) = match keys {
        1 => (&VIEW_NAMES[..1], single_selectors()),
        _ => (&VIEW_NAMES[..], batch_selectors()),
    };
    for (number, name) in (0..).zip(view_names) {
        let view = store.create_view(name, "1d")?;
        store.fill(&view, &dataset, number)?;
        views.push(view);
    }
    let views: Vec<_> = views.iter().collect();
    let selectors: Vec<_> = selectors.iter().map(String::as_str).collect();
    let plan = store.plan(&views, &selectors)?;
    let names: Vec<_> = (0..entities).map(entity_name).collect();
    let reader = store.engine.reader();
    let version = reader.snapshot();
    let mut random = Random::new(SEED);
    let started = Instant::now();
    let mut answers = Answers::default();
    let mut operations = 0;
    while started.elapsed() < duration {
        let draw =
            |_| names[usize::try_from(random.below(entities)).unwrap_or_default()].as_bytes();
        let drawn: Vec<&[u8]> = (0..keys).map(draw).collect();
        reader.read_into(&version, &plan, NOW_MS, &ReadTime::Now, &drawn, &mut answers)?;
        assert_eq!(answers.rows, keys, "a read answers every entity");
        operations += 1;
    }
    Ok(EmbeddedFigures { operations, elapsed: started.elapsed() })
}

fn write_over_and_over(
    store: &mut Embedded,
    entities: u32,
    (rows, writes): (usize, usize),
    duration: Duration,
) -> Result<EmbeddedFigures, BenchError> {
    let view = store.create_view(EVENT_VIEW_NAME, "1d")?;
    let mut random = Random::new(SEED);
    let mut draw_event = move |_| {
        let (entity, day) = (random.below(entities), random.below(DAY_COUNT));
        let amount = f64::from(random.below(1_000)) * 0.5;
        (entity, NOW_MS - i64::from(day) * DAY_MS, amount)
    };
    let started = Instant::now();
    let mut figures = EmbeddedFigures { operations: 0, elapsed: Duration::ZERO };
    while started.elapsed() < duration {
        let mut draw_write = |_| {
            let events: Vec<_> = (0..rows).map(&mut draw_event).collect();
            events_write(&view, &events)
        };
        let batch = (0..writes).map(&mut draw_write).collect::<Result<Vec<_>, _>>()?;
        let begin = Instant::now();
        commit_batch(store, batch)?;
        figures.elapsed += begin.elapsed();
        figures.operations += u32::try_from(rows * writes).unwrap_or(u32::MAX);
        store.run_tasks()?;
    }
    Ok(figures)
}

/// Kept apart so that a profiler can tell it from the drawing of events and from flushes.
#[inline(never)]
fn commit_batch(store: &mut Embedded, batch: Vec<tilekv_engine::Write>) -> Result<(), BenchError> {
    for write in batch {
        store.engine.prepare(NOW_MS, write)?;
    }
    Ok(store.engine.commit()?)
}

/// Noon of a day.
const NOW_MS: i64 = 1_699_963_200_000;
const SEED: u64 = 1;
const OVERLAY_BYTES_MAX: usize = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_work_is_done() {
        for work in [
            EmbeddedWork::Single,
            EmbeddedWork::Batch,
            EmbeddedWork::Events,
            EmbeddedWork::EventBatches,
        ] {
            let parent = tempfile::tempdir().unwrap();
            let figures = run_embedded(work, 50, Duration::from_millis(1), parent.path()).unwrap();
            assert!(0 < figures.operations, "{work:?}");
        }
    }
}
