//! The `/metrics` page: every number of the server in the OpenMetrics text form of Prometheus.
//!
//! Numbers are gathered when the page is asked for; nothing is kept for it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use tilekv_engine::{JobInfo, JobState, ViewFreshness};

use crate::family::Family;
use crate::memory;
use crate::metrics::{Ending, LatencySnapshot};
use crate::shared::Shared;

/// The whole page.
pub(crate) fn render(shared: &Arc<Shared>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page(Arc::clone(shared))));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

struct Page(Arc<Shared>);

impl fmt::Debug for Page {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Page").finish_non_exhaustive()
    }
}

impl Collector for Page {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = PageWriter(encoder);
        write_process(&mut writer, &self.0)?;
        write_connections(&mut writer, &self.0)?;
        write_commands(&mut writer, &self.0)?;
        write_commits(&mut writer, &self.0)?;
        write_engine(&mut writer, &self.0)?;
        write_memory(&mut writer, &self.0)?;
        write_jobs(&mut writer, &self.0)?;
        write_views(&mut writer, &self.0)
    }
}

type Labels = Vec<(&'static str, String)>;

/// Writes one metric with all its rows at a time.
struct PageWriter<'a>(DescriptorEncoder<'a>);

impl PageWriter<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.gauges(name, help, &[(Vec::new(), value)])
    }

    fn gauges<V>(&mut self, name: &str, help: &str, rows: &[(Labels, V)]) -> fmt::Result
    where
        V: prometheus_client::encoding::EncodeGaugeValue,
    {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in rows {
            row(&mut metric, labels, |metric| metric.encode_gauge(value))?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.counters(name, help, &[(Vec::new(), value)])
    }

    fn counters(&mut self, name: &str, help: &str, rows: &[(Labels, u64)]) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in rows {
            row(&mut metric, labels, |metric| {
                metric.encode_counter::<NoLabelSet, u64, u64>(value, None)
            })?;
        }
        Ok(())
    }

    fn latencies(
        &mut self,
        name: &str,
        help: &str,
        rows: &[(Labels, LatencySnapshot)],
    ) -> fmt::Result {
        let bounds = BOUNDS_US.map(Duration::from_micros);
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, snapshot) in rows {
            let ends = bounds.iter().map(Duration::as_secs_f64).chain([f64::MAX]);
            let buckets: Vec<(f64, u64)> = ends.zip(snapshot.counts(&bounds)).collect();
            let (sum, count) = (snapshot.sum_seconds(), snapshot.count());
            row(&mut metric, labels, |metric| {
                metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
            })?;
        }
        Ok(())
    }
}

/// Writes one row; a row without labels has no braces either.
fn row(
    metric: &mut MetricEncoder<'_>,
    labels: &Labels,
    write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    if labels.is_empty() {
        return write(metric);
    }
    write(&mut metric.encode_family(&labels.as_slice())?)
}

fn write_process(page: &mut PageWriter<'_>, shared: &Shared) -> fmt::Result {
    let memory = memory::read();
    let uptime_s = shared.metrics.started.elapsed().as_secs();
    page.gauge("tilekv_uptime_seconds", "Seconds since the process started", uptime_s)?;
    let rows = [
        (label("kind", "allocated"), memory.allocated),
        (label("kind", "active"), memory.active),
        (label("kind", "resident"), memory.resident),
    ];
    page.gauges("tilekv_memory_bytes", "Memory as the allocator counts it", &rows)
}

fn write_connections(page: &mut PageWriter<'_>, shared: &Shared) -> fmt::Result {
    let metrics = &shared.metrics;
    page.gauge("tilekv_connections", "Open connections", count(shared.clients.count()))?;
    page.counter(
        "tilekv_connections_accepted",
        "Connections accepted",
        metrics.sum(|thread| &thread.accepted),
    )?;
    page.counter(
        "tilekv_connections_rejected",
        "Connections refused because of the limit",
        metrics.sum(|thread| &thread.rejected),
    )?;
    page.counter(
        "tilekv_connections_timed_out",
        "Connections closed because a command did not arrive in time",
        metrics.sum(|thread| &thread.timeouts),
    )?;
    page.counter(
        "tilekv_network_read_bytes",
        "Bytes read from clients",
        metrics.sum(|thread| &thread.bytes_read),
    )?;
    page.counter(
        "tilekv_network_written_bytes",
        "Bytes written to clients",
        metrics.sum(|thread| &thread.bytes_written),
    )?;
    page.gauge(
        "tilekv_buffers_bytes",
        "Incomplete commands and waiting replies of all connections",
        count(shared.buffers.used()),
    )
}

fn write_commands(page: &mut PageWriter<'_>, shared: &Shared) -> fmt::Result {
    let endings = [(Ending::Answered, "answered"), (Ending::Refused, "refused")];
    let mut counts = Vec::new();
    for family in Family::ALL {
        for (ending, name) in endings {
            let labels = vec![("family", family.as_str().to_owned()), ("outcome", name.to_owned())];
            counts.push((labels, shared.metrics.commands(family, ending)));
        }
    }
    page.counters("tilekv_commands", "Commands by family and outcome", &counts)?;
    let latencies: Vec<_> = Family::ALL
        .into_iter()
        .map(|family| (label("family", family.as_str()), shared.metrics.latency(family)))
        .collect();
    page.latencies(
        "tilekv_command_seconds",
        "From the read of a batch of commands to their replies, durability included",
        &latencies,
    )
}

fn write_commits(page: &mut PageWriter<'_>, shared: &Shared) -> fmt::Result {
    let commits = &shared.metrics.commits;
    page.counter("tilekv_commits", "Commits of the log", commits.count.get())?;
    page.counter("tilekv_commit_writes", "Writes in all commits", commits.writes.get())?;
    page.latencies(
        "tilekv_commit_seconds",
        "One commit: append, sync as durability asks, apply",
        &[(Vec::new(), commits.latency.snapshot())],
    )?;
    page.latencies(
        "tilekv_sync_seconds",
        "One sync of the log by the interval timer or at the end",
        &[(Vec::new(), commits.sync_latency.snapshot())],
    )?;
    page.counter("tilekv_timer_syncs", "Syncs by the interval timer", commits.timer_syncs.get())?;
    page.counter(
        "tilekv_writes_busy",
        "Writes answered -BUSY",
        shared.metrics.sum(|thread| &thread.busy),
    )?;
    let (used, most) = (shared.write_queue.bytes(), shared.write_queue.bytes_max());
    page.gauge("tilekv_write_queue_bytes", "Writes that wait for a commit", count(used))?;
    page.gauge("tilekv_write_queue_bytes_max", "Bytes beyond which -BUSY is said", count(most))?;
    page.gauge(
        "tilekv_write_queue_messages",
        "Batches of writes that wait for the committer",
        count(shared.write_queue.len()),
    )?;
    page.counter("tilekv_background_tasks", "Flushes and compactions done", commits.tasks.get())?;
    page.gauge(
        "tilekv_background_tasks_running",
        "Flushes and compactions under way",
        commits.tasks_running.get(),
    )
}

fn write_engine(page: &mut PageWriter<'_>, shared: &Shared) -> fmt::Result {
    let info = shared.reader.snapshot().info();
    page.gauge("tilekv_views", "Views", count(info.views))?;
    page.gauge("tilekv_overlay_bytes", "Memory of recent writes", count(info.overlay_bytes))?;
    page.gauge("tilekv_overlay_tiles", "Tiles in recent writes", count(info.overlay_tiles))?;
    let frozen = count(info.frozen_overlays);
    page.gauge("tilekv_overlays_frozen", "Overlays that wait to be flushed", frozen)?;
    page.gauge("tilekv_segments", "Segment files", count(info.segments))?;
    page.gauge("tilekv_segment_bytes", "Bytes of segment files", info.segment_bytes)?;
    let help = "Tiles in segment files; a tile in two files counts twice";
    page.gauge("tilekv_segment_tiles", help, info.segment_tiles)?;
    let help = "Bytes of the log since the process started";
    page.counter("tilekv_wal_written_bytes", help, shared.metrics.commits.log_bytes.get())?;
    let help = "Syncs of the log since the process started";
    page.counter("tilekv_wal_syncs", help, shared.metrics.commits.log_syncs.get())
}

fn write_memory(page: &mut PageWriter<'_>, shared: &Shared) -> fmt::Result {
    let memory = shared.reader.memory();
    let used: Vec<_> = memory
        .used
        .iter()
        .map(|(purpose, bytes)| (label("use", purpose.as_str()), *bytes))
        .collect();
    page.gauges("tilekv_store_memory_bytes", "Memory of the store, by what it is for", &used)?;
    let help = "What the store may take in memory";
    page.gauge("tilekv_store_memory_bytes_max", help, memory.bytes_max)?;
    let help = "Data of segments that stays on disk until it is read";
    page.gauge("tilekv_cold_bytes", help, shared.reader.snapshot().info().cold_bytes)?;
    page.counter("tilekv_cold_pages_read", "Pages read from disk", memory.pages.pages_read)?;
    page.counter("tilekv_cold_read_bytes", "Bytes of these pages", memory.pages.bytes_read)?;
    let help = "Pages that failed their checks when they were read";
    page.counter("tilekv_cold_pages_damaged", help, memory.pages.pages_damaged)?;
    let cold = &shared.metrics.cold;
    let help = "Reads refused because a page is damaged";
    page.counter("tilekv_cold_reads_damaged", help, cold.damaged.get())?;
    let waiting = count(shared.cold_queue.len());
    page.gauge("tilekv_cold_queue_reads", "Reads that wait for the disk", waiting)?;
    let bytes = count(shared.cold_queue.bytes());
    page.gauge("tilekv_cold_queue_bytes", "Pages that these reads will hold", bytes)?;
    page.latencies(
        "tilekv_cold_read_seconds",
        "Reads that needed pages from disk, from their arrival to their answer",
        &[(Vec::new(), cold.latency.snapshot())],
    )
}

fn write_jobs(page: &mut PageWriter<'_>, shared: &Shared) -> fmt::Result {
    let jobs = shared.jobs.list(shared.clock.now_ms());
    let states = [JobState::Open, JobState::Busy, JobState::Committed];
    let rows = |value: fn(&[&JobInfo]) -> u64| -> Vec<(Labels, u64)> {
        let of = |state: JobState| -> Vec<&JobInfo> {
            jobs.iter().filter(|job| job.state == state).collect()
        };
        states.map(|state| (label("state", state.as_str()), value(&of(state)))).to_vec()
    };
    let help = "Jobs that are known; committed ones for 7 days";
    page.gauges("tilekv_jobs", help, &rows(|jobs| count(jobs.len())))?;
    let help = "Rows and tiles that these jobs have taken";
    page.gauges("tilekv_job_rows", help, &rows(|jobs| jobs.iter().map(|job| job.rows).sum()))?;
    let help = "Memory and files of jobs that are not committed";
    let bytes = jobs.iter().map(|job| job.bytes).sum();
    page.gauge("tilekv_job_bytes", help, bytes)?;
    let counters = shared.jobs.counters();
    let endings = [
        ("begun", counters.begun),
        ("committed", counters.committed),
        ("aborted", counters.aborted),
        ("expired", counters.expired),
        ("refused", counters.refused),
    ];
    let endings = endings.map(|(event, value)| (label("event", event), value));
    page.counters("tilekv_job_events", "What has become of jobs, refused commits too", &endings)?;
    page.counter("tilekv_job_rows_taken", "Rows and tiles taken by all jobs", counters.rows)?;
    let names = shared.reader.view_names(&shared.reader.snapshot());
    let last = shared.metrics.jobs.last_rows(&names);
    let last: Vec<(Labels, u64)> =
        last.iter().map(|(view, rows)| (label("view", view.as_str()), *rows)).collect();
    let help = "Rows of the job that was committed last since the process started";
    page.gauges("tilekv_view_last_job_rows", help, &last)?;
    let (used, most) = (shared.job_queue.bytes(), shared.job_queue.bytes_max());
    page.gauge("tilekv_job_queue_bytes", "Work that waits for a job worker", count(used))?;
    page.gauge("tilekv_job_queue_bytes_max", "Bytes beyond which -BUSY is said", count(most))
}

fn write_views(page: &mut PageWriter<'_>, shared: &Shared) -> fmt::Result {
    let views = shared.reader.snapshot().freshness(shared.clock.now_ms());
    let rows = |value: fn(&ViewFreshness) -> Option<i64>| -> Vec<(Labels, i64)> {
        let row = |view: &ViewFreshness| Some((label("view", &view.name), value(view)?));
        views.iter().filter_map(row).collect()
    };
    let counts = |value: fn(&ViewFreshness) -> u64| -> Vec<(Labels, u64)> {
        views.iter().map(|view| (label("view", &view.name), value(view))).collect()
    };
    page.gauges(
        "tilekv_view_newest_event_ms",
        "Greatest event time written, milliseconds since the epoch",
        &rows(|view| view.newest_event),
    )?;
    page.gauges(
        "tilekv_view_seal_lag_ms",
        "How far the newest sealed range lies behind the clock",
        &rows(|view| view.seal_lag),
    )?;
    page.gauges(
        "tilekv_view_stale",
        "1 where windows end more than the view's MAXLAG before the last whole tile, else 0",
        &rows(|view| view.is_stale.map(i64::from)),
    )?;
    page.counters(
        "tilekv_view_late_dropped",
        "Rows acknowledged and not applied because their range was sealed",
        &counts(|view| view.late_dropped),
    )?;
    page.counters(
        "tilekv_view_too_old",
        "Rows skipped because they lay before the retention horizon",
        &counts(|view| view.too_old),
    )
}

fn label(name: &'static str, value: &str) -> Labels {
    vec![(name, value.to_owned())]
}

fn count(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// Upper ends of the latency buckets.
const BOUNDS_US: [u64; 20] = [
    5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
    500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000,
];
