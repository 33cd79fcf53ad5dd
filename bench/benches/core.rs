//! Micro-benchmarks of the store inside this process: window reads, batches, events, the log.
//! Under `cargo bench` they run at full size; anywhere else each is executed once on a small store.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has no figure")]

use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tempfile::TempDir;
use tilekv_bench::dataset::{DAY_COUNT, DAY_MS, Dataset, entity_name};
use tilekv_bench::embedded::{Embedded, MINUTE_MS, events_write};
use tilekv_bench::random::Random;
use tilekv_engine::disk::Durability;
use tilekv_engine::{Plan, ReadTime, Reader, Version, Write};
use tilekv_tile::{Answers, Name};

criterion_group!(benches, reads_of_days, reads_of_minutes, events, log);
criterion_main!(benches);

/// The server's allocator.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// One entity's windows and batches of 200, over daily tiles: one entity, 20,000, a million.
fn reads_of_days(criterion: &mut Criterion) {
    let sizes = Sizes::chosen();
    for entities in [sizes.hot_entities, sizes.cold_entities] {
        let folder = folder();
        let dataset = Dataset::new(entities, NOW_MS, SEED);
        let mut store = open(&folder, Durability::None, OVERLAY_BYTES_FILL);
        let views = ["daily0", "daily1"].map(|name| store.create_view(name, "1d").unwrap());
        for (number, view) in (0..).zip(&views) {
            store.fill(view, &dataset, number).unwrap();
        }
        let single = store.plan(&[&views[0]], &SINGLE_SELECTORS).unwrap();
        let batch = store.plan(&[&views[0], &views[1]], &BATCH_SELECTORS).unwrap();
        let names = names(entities);
        let mut group = criterion.benchmark_group("window_read_4x2");
        if entities == sizes.hot_entities {
            let mut read = Reading::new(&store, &single, 1);
            group.bench_function("one_entity", |bencher| bencher.iter(|| read.next(&names[..1])));
        }
        let mut read = Reading::new(&store, &single, 1);
        group.bench_function(BenchmarkId::new("uniform", entities), |bencher| {
            bencher.iter(|| read.next(&names));
        });
        group.finish();
        let mut group = criterion.benchmark_group("batch_200x2x3");
        let mut read = Reading::new(&store, &batch, 200);
        group.throughput(Throughput::Elements(200));
        group.bench_function(BenchmarkId::new("uniform", entities), |bencher| {
            bencher.iter(|| read.next(&names));
        });
        group.finish();
    }
}

/// A window of 30 minutes over 1,440 tiles of a minute.
fn reads_of_minutes(criterion: &mut Criterion) {
    let entities = Sizes::chosen().minute_entities;
    let folder = folder();
    let mut store = open(&folder, Durability::None, OVERLAY_BYTES_FILL);
    let view = store.create_view("minutely", "1m").unwrap();
    for entity in 0..entities {
        let minutes = NOW_MS / MINUTE_MS - 1_440..NOW_MS / MINUTE_MS;
        let events: Vec<_> = minutes.map(|minute| (entity, minute * MINUTE_MS, 0.5)).collect();
        store.add(&view, &events).unwrap();
    }
    store.flush().unwrap();
    let plan = store.plan(&[&view], &["total@30m"]).unwrap();
    let names = names(entities);
    let mut read = Reading::new(&store, &plan, 1);
    criterion.bench_function(&format!("minutes_30_of_1440/uniform/{entities}"), |bencher| {
        bencher.iter(|| read.next(&names));
    });
}

/// Events prepared and committed without a sync; flushes run outside the measured time.
fn events(criterion: &mut Criterion) {
    let entities = Sizes::chosen().hot_entities;
    let mut group = criterion.benchmark_group("event_apply");
    for rows in [1, 100] {
        let folder = folder();
        let mut writing = Writing::new(&folder, Durability::None, entities);
        group.throughput(Throughput::Elements(rows));
        group.bench_function(BenchmarkId::new("rows", rows), |bencher| {
            bencher.iter_custom(|iterations| writing.measure(iterations, rows, 1));
        });
    }
    group.throughput(Throughput::Elements(800));
    let folder = folder();
    let mut writing = Writing::new(&folder, Durability::None, entities);
    group.bench_function("rows/1/commit_of_800", |bencher| {
        bencher.iter_custom(|iterations| writing.measure(iterations, 1, 800));
    });
    group.finish();
}

/// Commits of 100 rows, with and without fdatasync.
fn log(criterion: &mut Criterion) {
    let entities = Sizes::chosen().hot_entities;
    let mut group = criterion.benchmark_group("commit_100_rows");
    for (name, durability) in [("none", Durability::None), ("always", Durability::Always)] {
        let folder = folder();
        let mut writing = Writing::new(&folder, durability, entities);
        group.throughput(Throughput::Elements(100));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| writing.measure(iterations, 100, 1));
        });
    }
    group.finish();
}

/// How large the stores are.
struct Sizes {
    hot_entities: u32,
    cold_entities: u32,
    minute_entities: u32,
}

impl Sizes {
    /// Full size for `cargo bench`, unless the environment says otherwise; small for `cargo test`.
    fn chosen() -> Self {
        let is_full = std::env::args().any(|argument| argument == "--bench");
        let size = |name: &str, full: u32, small: u32| {
            let chosen = std::env::var(name).ok().and_then(|text| text.parse().ok());
            chosen.unwrap_or(if is_full { full } else { small })
        };
        Self {
            hot_entities: size("TILEKV_BENCH_HOT", 20_000, 300),
            cold_entities: size("TILEKV_BENCH_COLD", 1_000_000, 600),
            minute_entities: size("TILEKV_BENCH_MINUTES", 1_000, 3),
        }
    }
}

/// Reads one plan over and over.
struct Reading<'a> {
    reader: Reader,
    version: std::sync::Arc<Version>,
    plan: &'a Plan,
    keys: usize,
    random: Random,
    now_ms: i64,
    answers: Answers,
}

impl<'a> Reading<'a> {
    fn new(store: &Embedded, plan: &'a Plan, keys: usize) -> Self {
        let reader = store.engine.reader();
        let version = reader.snapshot();
        let (random, now_ms, answers) = (Random::new(SEED), store.now_ms, Answers::default());
        Self { reader, version, plan, keys, random, now_ms, answers }
    }

    /// Reads entities drawn from `names`; every value is there.
    fn next(&mut self, names: &[Vec<u8>]) {
        let bound = u32::try_from(names.len()).unwrap();
        let drawn = (0..self.keys).map(|_| usize::try_from(self.random.below(bound)).unwrap());
        let keys: Vec<&[u8]> = drawn.map(|index| &names[index][..]).collect();
        let time = ReadTime::Now;
        let answers = &mut self.answers;
        self.reader
            .read_into(&self.version, self.plan, self.now_ms, &time, &keys, answers)
            .unwrap();
        black_box(&mut *answers);
        assert_eq!(answers.rows, self.keys);
    }
}

/// Writes events over and over.
struct Writing {
    store: Embedded,
    view: Name,
    entities: u32,
    random: Random,
}

impl Writing {
    fn new(folder: &TempDir, durability: Durability, entities: u32) -> Self {
        let mut store = open(folder, durability, OVERLAY_BYTES_SERVE);
        let view = store.create_view("events", "1d").unwrap();
        Self { store, view, entities, random: Random::new(SEED) }
    }

    /// The time of `iterations` commits of `writes` writes of `rows` rows each.
    fn measure(&mut self, iterations: u64, rows: u64, writes: u64) -> Duration {
        let mut elapsed = Duration::ZERO;
        for _ in 0..iterations {
            let batch: Vec<Write> = (0..writes).map(|_| self.draw(rows)).collect();
            let started = Instant::now();
            for write in batch {
                self.store.engine.prepare(NOW_MS, write).unwrap();
            }
            self.store.engine.commit().unwrap();
            elapsed += started.elapsed();
            self.store.run_tasks().unwrap();
        }
        elapsed
    }

    fn draw(&mut self, rows: u64) -> Write {
        let mut event = || {
            let entity = self.random.below(self.entities);
            let day = i64::from(self.random.below(DAY_COUNT));
            (entity, NOW_MS - day * DAY_MS, f64::from(self.random.below(1_000)) * 0.5)
        };
        let events: Vec<_> = (0..rows).map(|_| event()).collect();
        events_write(&self.view, &events).unwrap()
    }
}

fn open(folder: &TempDir, durability: Durability, overlay_bytes_max: usize) -> Embedded {
    Embedded::open(folder.path(), durability, overlay_bytes_max, NOW_MS).unwrap()
}

/// A folder on the disk that holds the build, which is no memory in disguise.
fn folder() -> TempDir {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    tempfile::tempdir_in(target).unwrap()
}

fn names(entities: u32) -> Vec<Vec<u8>> {
    (0..entities).map(|entity| entity_name(entity).into_bytes()).collect()
}

const SINGLE_SELECTORS: [&str; 8] = [
    "total@7d",
    "payments@7d",
    "total@14d",
    "payments@14d",
    "total@30d",
    "payments@30d",
    "total@90d",
    "payments@90d",
];
const BATCH_SELECTORS: [&str; 3] = ["total@7d", "total@30d", "total@90d"];

/// Noon of a day.
const NOW_MS: i64 = 1_699_963_200_000;
const SEED: u64 = 1;
const OVERLAY_BYTES_FILL: usize = 1 << 30;
const OVERLAY_BYTES_SERVE: usize = 64 << 20;
