//! Counters and latencies that the threads of the server write and `/metrics` and INFO read.
//!
//! Each network thread has its own set, so that counting touches no shared cache line; readers
//! add the sets up. Knows nothing of the form in which they are published.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tilekv_protocol::{CommandId, commands};
use tilekv_tile::Name;

use crate::family::{FAMILY_COUNT, Family};
use crate::statistics::CommandStatistics;

/// How a command ended, as far as counting goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It was answered.
    Answered,
    /// It was refused with an error.
    Refused,
}

/// All counters of the process.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// When the process started.
    pub(crate) started: Instant,
    /// One set per network thread.
    pub(crate) threads: Vec<Arc<ThreadMetrics>>,
    /// The set of the threads that answer reads over HTTP; it counts with the others.
    pub(crate) http: Arc<ThreadMetrics>,
    /// Written by the committer.
    pub(crate) commits: CommitMetrics,
    /// Written by the job workers.
    pub(crate) jobs: JobMetrics,
    /// Written by the threads of cold reads.
    pub(crate) cold: ColdMetrics,
}

/// Counters of one network thread.
#[derive(Debug)]
pub(crate) struct ThreadMetrics {
    /// Connections accepted.
    pub(crate) accepted: Counter,
    /// Connections refused because of the limit.
    pub(crate) rejected: Counter,
    /// Bytes read from sockets.
    pub(crate) bytes_read: Counter,
    /// Bytes written to sockets.
    pub(crate) bytes_written: Counter,
    /// Writes answered -BUSY.
    pub(crate) busy: Counter,
    /// Connections closed because a command did not arrive in time.
    pub(crate) timeouts: Counter,
    families: [FamilyMetrics; FAMILY_COUNT],
    /// In the order of the table of commands.
    commands: Box<[CommandMetrics]>,
}

/// Counters of one command on one thread.
#[derive(Debug, Default)]
struct CommandMetrics {
    calls: Counter,
    refused: Counter,
    time_ns: Counter,
}

/// Counters of one family of commands on one thread.
#[derive(Debug, Default)]
struct FamilyMetrics {
    answered: Counter,
    refused: Counter,
    latency: Latency,
}

/// Counters of the committer.
#[derive(Debug, Default)]
pub(crate) struct CommitMetrics {
    /// Commits that held at least one write.
    pub(crate) count: Counter,
    /// Writes in them.
    pub(crate) writes: Counter,
    /// Syncs by the timer of interval durability.
    pub(crate) timer_syncs: Counter,
    /// Time of a whole commit: append, sync as durability asks, apply.
    pub(crate) latency: Latency,
    /// Time of a sync by the timer or at the end.
    pub(crate) sync_latency: Latency,
    /// Bytes of the log that were written.
    pub(crate) log_bytes: Gauge,
    /// Syncs of the log.
    pub(crate) log_syncs: Gauge,
    /// Background tasks done.
    pub(crate) tasks: Counter,
    /// Background tasks under way.
    pub(crate) tasks_running: Gauge,
}

/// What the threads of cold reads have seen.
#[derive(Debug, Default)]
pub(crate) struct ColdMetrics {
    /// Time from the read of a command to its answer, of reads that needed pages from disk.
    pub(crate) latency: Latency,
    /// Reads refused because a page is damaged.
    pub(crate) damaged: Counter,
}

/// What the job workers have seen.
#[derive(Debug, Default)]
pub(crate) struct JobMetrics {
    /// Guards the rows of the job that was committed last in each view.
    last_rows: Mutex<BTreeMap<Name, u64>>,
}

impl JobMetrics {
    /// A job of that many rows was committed.
    pub(crate) fn note_committed(&self, view: &Name, rows: u64) {
        self.last_rows.lock().insert(view.clone(), rows);
    }

    /// The rows of the job that was committed last in each of these views, and of no other: those
    /// of views that are gone are forgotten.
    pub(crate) fn last_rows(&self, views: &[Name]) -> Vec<(Name, u64)> {
        let mut last_rows = self.last_rows.lock();
        last_rows.retain(|view, _| views.contains(view));
        last_rows.iter().map(|(view, rows)| (view.clone(), *rows)).collect()
    }
}

impl Metrics {
    /// Zero everywhere, for that many network threads.
    pub(crate) fn new(thread_count: usize) -> Self {
        let threads = (0..thread_count).map(|_| Arc::new(ThreadMetrics::new())).collect();
        let http = Arc::new(ThreadMetrics::new());
        Self {
            started: Instant::now(),
            threads,
            http,
            commits: CommitMetrics::default(),
            jobs: JobMetrics::default(),
            cold: ColdMetrics::default(),
        }
    }

    /// The sum of one counter over all network threads.
    pub(crate) fn sum(&self, counter: impl Fn(&ThreadMetrics) -> &Counter) -> u64 {
        self.sets().map(|set| counter(set).get()).sum()
    }

    /// Commands of one family that ended so.
    pub(crate) fn commands(&self, family: Family, ending: Ending) -> u64 {
        self.sum(|thread| thread.families[family.index()].counter(ending))
    }

    /// Counts of one command over all network threads.
    pub(crate) fn command(&self, id: CommandId) -> CommandStatistics {
        let sum = |counter: fn(&CommandMetrics) -> &Counter| -> u64 {
            self.sets().map(|set| counter(&set.commands[id.index()]).get()).sum()
        };
        CommandStatistics {
            calls: sum(|counts| &counts.calls),
            refused: sum(|counts| &counts.refused),
            time: Duration::from_nanos(sum(|counts| &counts.time_ns)),
        }
    }

    fn sets(&self) -> impl Iterator<Item = &Arc<ThreadMetrics>> {
        self.threads.iter().chain([&self.http])
    }

    /// Latencies of one family over all network threads.
    pub(crate) fn latency(&self, family: Family) -> LatencySnapshot {
        let mut total = LatencySnapshot::empty();
        for set in self.sets() {
            set.families[family.index()].latency.add_to(&mut total);
        }
        total
    }
}

impl ThreadMetrics {
    fn new() -> Self {
        Self {
            accepted: Counter::default(),
            rejected: Counter::default(),
            bytes_read: Counter::default(),
            bytes_written: Counter::default(),
            busy: Counter::default(),
            timeouts: Counter::default(),
            families: std::array::from_fn(|_| FamilyMetrics::default()),
            commands: commands().iter().map(|_| CommandMetrics::default()).collect(),
        }
    }

    /// Counts one command that took so long.
    pub(crate) fn count_command(&self, id: CommandId, ending: Ending, time: Duration) {
        let counts = &self.commands[id.index()];
        counts.calls.add(1);
        counts.time_ns.add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        if ending == Ending::Refused {
            counts.refused.add(1);
        }
    }

    /// Counts `count` commands of a family that took the same time.
    pub(crate) fn record(&self, family: Family, ending: Ending, count: u64, time: Duration) {
        let metrics = &self.families[family.index()];
        metrics.counter(ending).add(count);
        metrics.latency.record(time, count);
    }
}

impl FamilyMetrics {
    fn counter(&self, ending: Ending) -> &Counter {
        match ending {
            Ending::Answered => &self.answered,
            Ending::Refused => &self.refused,
        }
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Its value.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    /// Sets it.
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Its value.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A distribution of times. The lock guards the histogram; writers are one thread each, so it is
/// contended only while somebody reads.
pub(crate) struct Latency(Mutex<Times>);

struct Times {
    histogram: Histogram<u64>,
    sum_ns: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self(Mutex::new(Times { histogram: new_histogram(), sum_ns: 0 }))
    }
}

impl std::fmt::Debug for Latency {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Latency").finish_non_exhaustive()
    }
}

impl Latency {
    /// Adds `count` equal times.
    pub(crate) fn record(&self, time: Duration, count: u64) {
        let time_ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let mut times = self.0.lock();
        times.histogram.saturating_record_n(time_ns, count);
        times.sum_ns = times.sum_ns.saturating_add(time_ns.saturating_mul(count));
    }

    /// A copy for reading.
    pub(crate) fn snapshot(&self) -> LatencySnapshot {
        let mut snapshot = LatencySnapshot::empty();
        self.add_to(&mut snapshot);
        snapshot
    }

    fn add_to(&self, total: &mut LatencySnapshot) {
        let times = self.0.lock();
        if total.histogram.add(&times.histogram).is_err() {
            unreachable!("all histograms have the bounds that new_histogram gives");
        }
        total.sum_ns = total.sum_ns.saturating_add(times.sum_ns);
    }
}

/// A distribution of times at one moment.
pub(crate) struct LatencySnapshot {
    histogram: Histogram<u64>,
    sum_ns: u64,
}

impl LatencySnapshot {
    fn empty() -> Self {
        Self { histogram: new_histogram(), sum_ns: 0 }
    }

    /// How many times there are.
    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Their sum in seconds.
    pub(crate) fn sum_seconds(&self) -> f64 {
        Duration::from_nanos(self.sum_ns).as_secs_f64()
    }

    /// The time that the fraction `quantile` does not exceed.
    pub(crate) fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.histogram.value_at_quantile(quantile))
    }

    /// How many times lie in each of the ranges that the bounds cut, and beyond the last.
    pub(crate) fn counts(&self, bounds: &[Duration]) -> Vec<u64> {
        let mut counts = vec![0; bounds.len() + 1];
        for step in self.histogram.iter_recorded() {
            let time = Duration::from_nanos(step.value_iterated_to());
            let index = bounds.partition_point(|bound| *bound < time);
            counts[index] += step.count_at_value();
        }
        counts
    }
}

fn new_histogram() -> Histogram<u64> {
    match Histogram::new_with_bounds(LATENCY_NS_MIN, LATENCY_NS_MAX, LATENCY_DIGITS) {
        Ok(histogram) => histogram,
        Err(error) => unreachable!("the bounds of the latency histogram are constants: {error}"),
    }
}

const LATENCY_NS_MIN: u64 = 256;
const LATENCY_NS_MAX: u64 = 60_000_000_000;
const LATENCY_DIGITS: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_up() {
        let metrics = Metrics::new(2);
        let millisecond = Duration::from_millis(1);
        metrics.threads[0].record(Family::Window, Ending::Answered, 3, millisecond);
        metrics.threads[1].record(Family::Window, Ending::Answered, 2, 2 * millisecond);
        metrics.threads[1].record(Family::Window, Ending::Refused, 1, millisecond);
        assert_eq!(metrics.commands(Family::Window, Ending::Answered), 5);
        assert_eq!(metrics.commands(Family::Window, Ending::Refused), 1);
        assert_eq!(metrics.commands(Family::Tile, Ending::Answered), 0);
        let latency = metrics.latency(Family::Window);
        assert_eq!(latency.count(), 6);
        assert!((latency.sum_seconds() - 0.008).abs() < 1e-9);
        let bounds = [Duration::from_micros(500), Duration::from_micros(1500)];
        assert_eq!(latency.counts(&bounds), [0, 4, 2]);
        let median = latency.quantile(0.5).as_secs_f64();
        assert!((median - 0.001).abs() < 1e-5, "{median}");
    }
}
