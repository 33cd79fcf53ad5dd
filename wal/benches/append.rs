//! How fast the log takes batches: 64 KiB without a sync, 4 KiB with one each.
//!
//! The folder is a temporary one; TMPDIR chooses the disk.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tilekv_wal::limits::{ALLOCATE_BYTES_USUAL, FILE_BYTES_USUAL};
use tilekv_wal::{Disk, Log, LogOptions, Lsn, RealDisk};

/// Batches between two syncs that the clock does not see, so that the disk keeps up.
const UNTIMED_SYNC_BATCHES: u64 = 256;

fn open(folder: &Path) -> Log {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(folder).expect("a folder"));
    let options =
        LogOptions { file_bytes_max: FILE_BYTES_USUAL, allocate_bytes: ALLOCATE_BYTES_USUAL };
    Log::open(disk, options, Lsn::ZERO, 1, &mut |_, _, _| ()).expect("a log").0
}

/// Times appends alone; syncs and releases files between them, untimed.
fn timed_appends(log: &mut Log, records: &[Vec<u8>], batches: u64) -> Duration {
    let mut timed = Duration::ZERO;
    for batch in 1..=batches {
        let begun = Instant::now();
        black_box(log.append(1, records).expect("a batch"));
        timed += begun.elapsed();
        if batch.is_multiple_of(UNTIMED_SYNC_BATCHES) {
            let durable = log.sync().expect("a sync");
            log.release(durable).expect("a release");
        }
    }
    timed
}

fn append(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut log = open(folder.path());
    let mut group = criterion.benchmark_group("append");
    for (name, count, size) in [("64KiB_of_one", 1, 64 << 10), ("64KiB_of_100B", 640, 94)] {
        let records = vec![vec![7_u8; size]; count];
        group.throughput(Throughput::Bytes(64 << 10));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|batches| timed_appends(&mut log, &records, batches));
        });
    }
    group.finish();
}

fn commit(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut log = open(folder.path());
    let records = vec![vec![7_u8; 100]; 37];
    let mut group = criterion.benchmark_group("commit");
    group.throughput(Throughput::Bytes(4 << 10));
    group.bench_function("4KiB", |bencher| {
        bencher.iter(|| {
            log.append(1, &records).expect("a batch");
            let durable = log.sync().expect("a sync");
            log.release(durable).expect("a release");
        });
    });
    group.finish();
}

criterion_group!(benches, append, commit);
criterion_main!(benches);
