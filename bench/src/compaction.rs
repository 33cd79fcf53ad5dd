//! What keeping a store in few segments costs: bytes written and held for those that are needed,
//! and what reads notice of it. Knows nothing of networks.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tilekv_engine::disk::Durability;
use tilekv_engine::{EngineOptions, Plan, ReadTime, Reader};

use crate::dataset::{DAY_MS, entity_name};
use crate::embedded::Embedded;
use crate::error::{BenchError, Doing};
use crate::random::Random;

/// How much is written before and while a store is measured.
#[derive(Debug, Clone, Copy)]
pub struct CompactionLoad {
    /// Entities, each with ten tiles before the updates begin.
    pub entities: u32,
    /// Events of random entities and days that follow.
    pub updates: u32,
    /// Bytes of an overlay before it is flushed.
    pub overlay_bytes: usize,
}

/// What one policy came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CompactionFigures {
    /// Segments above which the store compacts.
    pub segment_count_max: usize,
    /// Bytes of the log that the updates took.
    pub log_bytes: u64,
    /// Bytes of segments that flushes and merges wrote meanwhile.
    pub written_bytes: u64,
    /// Merges among them.
    pub merges: u64,
    /// Bytes of segments in the end, and once all are one.
    pub held_bytes: (u64, u64),
    /// The 50th and 99th percentile of a read of one entity with nothing else going on.
    pub idle: (Duration, Duration),
    /// The same while the updates, their flushes and merges go on in another thread.
    pub busy: (Duration, Duration),
}

/// Fills a store in `folder` for each of `policies`, updates it, and reads meanwhile.
pub fn run_compaction(
    folder: &Path,
    load: CompactionLoad,
    policies: &[usize],
) -> Result<Vec<CompactionFigures>, BenchError> {
    policies.iter().map(|policy| measure(folder, load, *policy)).collect()
}

/// The figures as a table in Markdown.
#[must_use]
pub fn to_markdown(figures: &[CompactionFigures]) -> String {
    let mut lines = vec![
        "| segments at most | merges | written / logged | held / needed | read p50, p99 idle, us | \
         beside updates, us | p99 / idle |"
            .to_owned(),
        "|---|---|---|---|---|---|---|".to_owned(),
    ];
    for one in figures {
        let (held, needed) = one.held_bytes;
        lines.push(format!(
            "| {} | {} | {:.2} | {:.2} | {:.1}, {:.1} | {:.1}, {:.1} | {:.2} |",
            one.segment_count_max,
            one.merges,
            ratio(one.written_bytes, one.log_bytes),
            ratio(held, needed),
            micros(one.idle.0),
            micros(one.idle.1),
            micros(one.busy.0),
            micros(one.busy.1),
            micros(one.busy.1) / micros(one.idle.1),
        ));
    }
    lines.join("\n")
}

fn measure(
    folder: &Path,
    load: CompactionLoad,
    segment_count_max: usize,
) -> Result<CompactionFigures, BenchError> {
    let place = tempfile::tempdir_in(folder).doing("make a folder for the store")?;
    let options = EngineOptions {
        overlay_bytes_max: load.overlay_bytes,
        segment_count_max,
        ..Embedded::options(Durability::None)
    };
    let mut store = Embedded::open_with(place.path(), options, NOW_MS)?;
    let view = store.create_view("v", "1d")?;
    let all = (0..load.entities).flat_map(|entity| (0..TILES).map(move |day| (entity, day)));
    let mut events = Vec::with_capacity(ROWS);
    for (entity, day) in all {
        events.push((entity, i64::from(day) * DAY_MS, 0.5));
        if events.len() == ROWS {
            store.add(&view, &events)?;
            events.clear();
        }
    }
    store.add(&view, &events)?;
    store.flush()?;
    let plan = store.plan(&[&view], &["total@7d", "total@3d", "payments@7d"])?;
    let reads = Reads { reader: store.engine.reader(), plan, entities: load.entities };
    let idle = reads.for_a_while(&AtomicBool::new(false), IDLE)?;
    let (log_before, before) = (store.engine.log_statistics(), store.engine.counters());
    let done = Arc::new(AtomicBool::new(false));
    let reading = {
        let done = Arc::clone(&done);
        std::thread::spawn(move || reads.for_a_while(&done, FOREVER))
    };
    let updated = update(&mut store, &view, load);
    done.store(true, Ordering::Relaxed);
    let busy = match reading.join() {
        Ok(busy) => busy?,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    updated?;
    let (log, counters) = (store.engine.log_statistics(), store.engine.counters());
    let held = store.engine.reader().snapshot().info().segment_bytes;
    drop(store);
    let one = EngineOptions { segment_count_max: 1, ..options };
    let mut store = Embedded::open_with(place.path(), one, NOW_MS)?;
    store.run_tasks()?;
    let needed = store.engine.reader().snapshot().info().segment_bytes;
    Ok(CompactionFigures {
        segment_count_max,
        log_bytes: log.bytes_written - log_before.bytes_written,
        written_bytes: counters.segment_bytes_written - before.segment_bytes_written,
        merges: counters.compactions - before.compactions,
        held_bytes: (held, needed),
        idle,
        busy,
    })
}

/// Adds events of random entities and days, and flushes the last of them.
fn update(
    store: &mut Embedded,
    view: &tilekv_tile::Name,
    load: CompactionLoad,
) -> Result<(), BenchError> {
    let mut random = Random::new(1);
    let mut left = load.updates;
    while 0 < left {
        let rows = left.min(1_000);
        let events: Vec<(u32, i64, f64)> = (0..rows)
            .map(|_| {
                let (entity, day) = (random.below(load.entities), random.below(TILES));
                (entity, i64::from(day) * DAY_MS, f64::from(random.below(1_000)))
            })
            .collect();
        store.add(view, &events)?;
        left -= rows;
    }
    store.flush()
}

/// Reads of single entities, one after the other.
struct Reads {
    reader: Reader,
    plan: Plan,
    entities: u32,
}

impl Reads {
    /// Reads until it is told to end, at most for `duration`; gives the 50th and 99th percentile.
    fn for_a_while(
        &self,
        is_done: &AtomicBool,
        duration: Duration,
    ) -> Result<(Duration, Duration), BenchError> {
        let mut times = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3)
            .map_err(|_| BenchError::NotStaged)?;
        let mut random = Random::new(2);
        let started = Instant::now();
        while !is_done.load(Ordering::Relaxed) && started.elapsed() < duration {
            let name = entity_name(random.below(self.entities));
            let asked = Instant::now();
            let version = self.reader.snapshot();
            let entities = [name.as_bytes()];
            self.reader.read(&version, &self.plan, NOW_MS, &ReadTime::Now, &entities)?;
            times.saturating_record(u64::try_from(asked.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
        let at = |quantile| Duration::from_nanos(times.value_at_quantile(quantile));
        Ok((at(0.5), at(0.99)))
    }
}

fn ratio(one: u64, other: u64) -> f64 {
    let kilobytes = |bytes: u64| f64::from(u32::try_from(bytes / 1_024).unwrap_or(u32::MAX));
    kilobytes(one) / kilobytes(other)
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

const TILES: u32 = 10;
const NOW_MS: i64 = 10 * DAY_MS;
const ROWS: usize = 4_096;
const IDLE: Duration = Duration::from_secs(2);
const FOREVER: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_segments_cost_more_writing() {
        let folder = tempfile::tempdir().unwrap();
        let load = CompactionLoad { entities: 500, updates: 20_000, overlay_bytes: 100_000 };
        let figures = run_compaction(folder.path(), load, &[1, 8]).unwrap();
        let [few, many] = &figures[..] else { panic!("a row for each policy") };
        assert!(many.merges < few.merges, "{figures:?}");
        assert!(many.written_bytes < few.written_bytes, "{figures:?}");
        assert!(few.held_bytes.1 <= few.held_bytes.0);
        assert_eq!(to_markdown(&figures).lines().count(), 4);
    }
}
