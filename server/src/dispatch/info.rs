//! INFO: sections of `name:value` lines with Redis's names where a tool looks for them.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tilekv_protocol::{CommandId, Reply};

use super::Context;
use crate::durability;
use crate::family::Family;
use crate::lifecycle::Stage;
use crate::memory;
use crate::metrics::Ending;
use crate::statistics::Statistics;
use crate::{machine, size};

/// The Redis version whose behaviour clients may expect.
pub(super) const REDIS_VERSION: &str = "7.4.0";

/// Our name where modules are listed.
pub(super) const SERVER_NAME: &str = "tilekv";

/// The reply of INFO: the sections asked for, or the default ones.
pub(super) fn reply(context: &Context<'_>, sections: &[Bytes]) -> Reply {
    let asked: Vec<_> = sections.iter().map(|section| section.to_ascii_lowercase()).collect();
    let has = |word: &str| asked.iter().any(|section| section == word.as_bytes());
    let everything = has("all") || has("everything");
    let by_default = asked.is_empty() || has("default");
    let wanted = SECTIONS.iter().filter(|(name, is_default, _)| {
        everything || (by_default && *is_default) || has(&name.to_ascii_lowercase())
    });
    let texts: Vec<String> = wanted
        .map(|(name, _, write)| {
            let mut lines = Lines(format!("# {name}\r\n"));
            write(context, &mut lines);
            lines.0
        })
        .collect();
    Reply::text(texts.join("\r\n"))
}

type Section = fn(&Context<'_>, &mut Lines);

/// Name, whether it is shown by default, content.
const SECTIONS: [(&str, bool, Section); 14] = [
    ("Server", true, server),
    ("Clients", true, clients),
    ("Memory", true, memory_section),
    ("Persistence", true, persistence),
    ("Stats", true, stats),
    ("Replication", true, replication),
    ("CPU", true, cpu),
    ("Modules", true, modules),
    ("Commandstats", false, command_stats),
    ("Latencystats", false, latency_stats),
    ("Cluster", true, cluster),
    ("Families", false, families),
    ("TileKV", true, tilekv),
    ("Keyspace", true, keyspace),
];

struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, value: impl std::fmt::Display) {
        let written = write!(self.0, "{name}:{value}\r\n");
        assert!(written.is_ok(), "writing to a string cannot fail");
    }
}

fn server(context: &Context<'_>, lines: &mut Lines) {
    let shared = context.shared;
    let uptime_s = shared.metrics.started.elapsed().as_secs();
    lines.add("redis_version", REDIS_VERSION);
    lines.add("redis_git_sha1", "00000000");
    lines.add("redis_git_dirty", 0);
    lines.add("redis_mode", "standalone");
    lines.add("tilekv_version", env!("CARGO_PKG_VERSION"));
    lines.add("os", std::env::consts::OS);
    lines.add("arch_bits", usize::BITS);
    lines.add("process_id", std::process::id());
    lines.add("run_id", &shared.run_id);
    lines.add("tcp_port", shared.address.port());
    lines.add("http_port", shared.http_address.port());
    lines.add("server_time_usec", context.now_ms.saturating_mul(1000));
    lines.add("uptime_in_seconds", uptime_s);
    lines.add("uptime_in_days", uptime_s / 86_400);
    lines.add("hz", 10);
    lines.add("configured_hz", 10);
    lines.add("executable", executable());
    lines.add("config_file", "");
    lines.add("io_threads_active", usize::from(shared.config.thread_count > 1));
    lines.add("network_threads", shared.config.thread_count);
}

fn clients(context: &Context<'_>, lines: &mut Lines) {
    let shared = context.shared;
    lines.add("connected_clients", shared.clients.count());
    lines.add("maxclients", shared.clients.count_max());
    lines.add("cluster_connections", 0);
    lines.add("blocked_clients", 0);
    lines.add("tracking_clients", 0);
    lines.add("client_buffers_bytes", shared.buffers.used());
    lines.add("client_buffers_bytes_max", shared.buffers.bytes_max());
}

fn memory_section(context: &Context<'_>, lines: &mut Lines) {
    let memory = memory::read();
    let resident = machine::resident_bytes();
    let maximum = u64::try_from(context.shared.config.memory_bytes_max).unwrap_or(u64::MAX);
    lines.add("used_memory", memory.allocated);
    lines.add("used_memory_human", size::print(memory.allocated));
    lines.add("used_memory_rss", resident);
    lines.add("used_memory_rss_human", size::print(resident));
    lines.add("allocator_allocated", memory.allocated);
    lines.add("allocator_active", memory.active);
    lines.add("allocator_resident", memory.resident);
    lines.add("total_system_memory", machine::memory_total());
    lines.add("maxmemory", maximum);
    lines.add("maxmemory_human", size::print(maximum));
    lines.add("maxmemory_policy", "noeviction");
    let allocated = memory.allocated.max(1);
    let hundredths = resident.saturating_mul(100) / allocated;
    let ratio = format!("{}.{:02}", hundredths / 100, hundredths % 100);
    lines.add("mem_fragmentation_ratio", ratio);
    lines.add("mem_fragmentation_bytes", resident.saturating_sub(allocated));
    lines.add("mem_clients_normal", context.shared.buffers.used());
    lines.add("mem_allocator", "jemalloc");
}

fn persistence(context: &Context<'_>, lines: &mut Lines) {
    let shared = context.shared;
    let saved_s = shared.saved_ms.load(Ordering::Relaxed) / 1000;
    lines.add("loading", u8::from(shared.lifecycle.stage() == Stage::Recovering));
    lines.add("durability", durability::name(shared.config.durability));
    lines.add("aof_enabled", 1);
    lines.add("async_loading", 0);
    lines.add("aof_rewrite_in_progress", 0);
    lines.add("aof_rewrite_scheduled", 0);
    lines.add("aof_last_bgrewrite_status", "ok");
    lines.add("aof_last_write_status", "ok");
    lines.add("rdb_last_bgsave_time_sec", -1);
    lines.add("rdb_current_bgsave_time_sec", -1);
    lines.add("rdb_bgsave_in_progress", 0);
    lines.add("rdb_last_save_time", saved_s);
    lines.add("rdb_last_bgsave_status", "ok");
    lines.add("commits", shared.metrics.commits.count.get());
    lines.add("commit_writes", shared.metrics.commits.writes.get());
}

fn stats(context: &Context<'_>, lines: &mut Lines) {
    let counts = statistics(context);
    lines.add("total_connections_received", counts.accepted);
    lines.add("total_commands_processed", counts.commands);
    lines.add("total_net_input_bytes", counts.bytes_read);
    lines.add("total_net_output_bytes", counts.bytes_written);
    lines.add("rejected_connections", counts.rejected);
    lines.add("total_error_replies", counts.refused);
    lines.add("busy_replies", counts.busy);
    lines.add("evicted_keys", 0);
    lines.add("expired_keys", 0);
    lines.add("keyspace_hits", 0);
    lines.add("keyspace_misses", 0);
    lines.add("pubsub_channels", 0);
    lines.add("pubsub_patterns", 0);
}

/// Counts since the last CONFIG RESETSTAT.
fn statistics(context: &Context<'_>) -> Statistics {
    Statistics::read(&context.shared.metrics).since(&context.shared.baseline.lock())
}

fn replication(context: &Context<'_>, lines: &mut Lines) {
    lines.add("role", "master");
    lines.add("connected_slaves", 0);
    lines.add("master_failover_state", "no-failover");
    lines.add("master_replid", &context.shared.run_id);
    lines.add("master_repl_offset", 0);
    lines.add("repl_backlog_active", 0);
}

fn cluster(_: &Context<'_>, lines: &mut Lines) {
    lines.add("cluster_enabled", 0);
}

fn modules(_: &Context<'_>, lines: &mut Lines) {
    let module =
        format!("name={SERVER_NAME},ver=100,api=1,filters=0,usedby=[],using=[],options=[]");
    lines.add("module", module);
}

fn cpu(_: &Context<'_>, lines: &mut Lines) {
    let (user_s, system_s) = machine::cpu_seconds();
    lines.add("used_cpu_sys", format_args!("{system_s:.6}"));
    lines.add("used_cpu_user", format_args!("{user_s:.6}"));
}

fn command_stats(context: &Context<'_>, lines: &mut Lines) {
    for (index, counts) in statistics(context).by_command.into_iter().enumerate() {
        let Some(id) = CommandId::at(index).filter(|_| counts.calls > 0) else { continue };
        let micros = counts.time.as_micros();
        let calls = u128::from(counts.calls);
        let hundredths = counts.time.as_nanos() / 10 / calls;
        let line = format!(
            "calls={calls},usec={micros},usec_per_call={}.{:02},rejected_calls=0,failed_calls={}",
            hundredths / 100,
            hundredths % 100,
            counts.refused,
        );
        lines.add(&format!("cmdstat_{}", id.spec().name), line);
    }
}

/// Times are kept by family of commands; the line bears the family's name.
fn latency_stats(context: &Context<'_>, lines: &mut Lines) {
    for family in Family::ALL {
        let latency = context.shared.metrics.latency(family);
        if latency.count() == 0 {
            continue;
        }
        let micros = |quantile: f64| {
            let nanos = latency.quantile(quantile).as_nanos();
            format!("{}.{:03}", nanos / 1000, nanos % 1000)
        };
        let line = format!("p50={},p99={},p99.9={}", micros(0.5), micros(0.99), micros(0.999));
        lines.add(&format!("latency_percentiles_usec_{}", family.as_str()), line);
    }
}

fn families(context: &Context<'_>, lines: &mut Lines) {
    let metrics = &context.shared.metrics;
    for family in Family::ALL {
        let latency = metrics.latency(family);
        let refused = metrics.commands(family, Ending::Refused);
        let line = format!(
            "calls={},failed_calls={refused},p50_us={},p99_us={},p999_us={}",
            latency.count(),
            latency.quantile(0.5).as_micros(),
            latency.quantile(0.99).as_micros(),
            latency.quantile(0.999).as_micros(),
        );
        lines.add(&format!("family_{}", family.as_str()), line);
    }
}

fn tilekv(context: &Context<'_>, lines: &mut Lines) {
    let info = context.version.info();
    lines.add("views", info.views);
    lines.add("overlay_bytes", info.overlay_bytes);
    lines.add("overlay_tiles", info.overlay_tiles);
    lines.add("frozen_overlays", info.frozen_overlays);
    lines.add("segments", info.segments);
    lines.add("segment_bytes", info.segment_bytes);
    lines.add("segment_tiles", info.segment_tiles);
    lines.add("write_queue_bytes", context.shared.write_queue.bytes());
    lines.add("write_queue_bytes_max", context.shared.write_queue.bytes_max());
}

/// Records live in the key space; a store without any shows no database, as Redis does.
fn keyspace(context: &Context<'_>, lines: &mut Lines) {
    let figures = context.version.records().figures(context.now_ms);
    if 0 < figures.count {
        let (keys, expires) = (figures.count, figures.expiring);
        lines.add("db0", format_args!("keys={keys},expires={expires},avg_ttl=0,subexpiry=0"));
    }
}

fn executable() -> String {
    std::env::current_exe().map_or_else(|_| String::new(), |path| path.display().to_string())
}
