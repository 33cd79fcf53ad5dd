//! INFO: sections of `name:value` lines with Redis's names where a tool looks for them.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tilekv_protocol::Reply;

use super::Context;
use crate::durability;
use crate::family::Family;
use crate::lifecycle::Stage;
use crate::memory;
use crate::metrics::Ending;
use crate::{machine, size};

/// The Redis version whose behaviour clients may expect.
pub(super) const REDIS_VERSION: &str = "7.4.0";

/// Our name where modules are listed.
pub(super) const SERVER_NAME: &str = "tilekv";

/// The reply of INFO: the sections asked for, or all.
pub(super) fn reply(context: &Context<'_>, sections: &[Bytes]) -> Reply {
    let everything = ["all", "default", "everything"];
    let asks_for = |name: &str| {
        sections.is_empty()
            || sections.iter().any(|section| {
                let section = section.to_ascii_lowercase();
                section == name.to_ascii_lowercase().as_bytes()
                    || everything.iter().any(|word| section == word.as_bytes())
            })
    };
    let wanted = SECTIONS.iter().filter(|(name, _)| asks_for(name));
    let texts: Vec<String> = wanted
        .map(|(name, write)| {
            let mut lines = Lines(format!("# {name}\r\n"));
            write(context, &mut lines);
            lines.0
        })
        .collect();
    Reply::text(texts.join("\r\n"))
}

type Section = fn(&Context<'_>, &mut Lines);

const SECTIONS: [(&str, Section); 10] = [
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory_section),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication),
    ("CPU", cpu),
    ("Commandstats", command_stats),
    ("TileKV", tilekv),
    ("Keyspace", keyspace),
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
    lines.add("io_threads_active", usize::from(shared.config.thread_count > 1));
    lines.add("network_threads", shared.config.thread_count);
}

fn clients(context: &Context<'_>, lines: &mut Lines) {
    let shared = context.shared;
    lines.add("connected_clients", shared.clients.count());
    lines.add("maxclients", shared.clients.count_max());
    lines.add("blocked_clients", 0);
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
    lines.add("maxmemory", maximum);
    lines.add("maxmemory_human", size::print(maximum));
    lines.add("maxmemory_policy", "noeviction");
    lines.add("mem_allocator", "jemalloc");
}

fn persistence(context: &Context<'_>, lines: &mut Lines) {
    let shared = context.shared;
    let saved_s = shared.saved_ms.load(Ordering::Relaxed) / 1000;
    lines.add("loading", u8::from(shared.lifecycle.stage() == Stage::Recovering));
    lines.add("durability", durability::name(shared.config.durability));
    lines.add("aof_enabled", 1);
    lines.add("aof_last_write_status", "ok");
    lines.add("rdb_bgsave_in_progress", 0);
    lines.add("rdb_last_save_time", saved_s);
    lines.add("rdb_last_bgsave_status", "ok");
    lines.add("commits", shared.metrics.commits.count.get());
    lines.add("commit_writes", shared.metrics.commits.writes.get());
}

fn stats(context: &Context<'_>, lines: &mut Lines) {
    let metrics = &context.shared.metrics;
    let commands: u64 = Family::ALL
        .iter()
        .flat_map(|family| [Ending::Answered, Ending::Refused].map(|ending| (*family, ending)))
        .map(|(family, ending)| metrics.commands(family, ending))
        .sum();
    let refused: u64 =
        Family::ALL.iter().map(|family| metrics.commands(*family, Ending::Refused)).sum();
    lines.add("total_connections_received", metrics.sum(|thread| &thread.accepted));
    lines.add("total_commands_processed", commands);
    lines.add("total_net_input_bytes", metrics.sum(|thread| &thread.bytes_read));
    lines.add("total_net_output_bytes", metrics.sum(|thread| &thread.bytes_written));
    lines.add("rejected_connections", metrics.sum(|thread| &thread.rejected));
    lines.add("total_error_replies", refused);
    lines.add("busy_replies", metrics.sum(|thread| &thread.busy));
    lines.add("evicted_keys", 0);
    lines.add("expired_keys", 0);
    lines.add("keyspace_hits", 0);
    lines.add("keyspace_misses", 0);
}

fn replication(_: &Context<'_>, lines: &mut Lines) {
    lines.add("role", "master");
    lines.add("connected_slaves", 0);
    lines.add("master_repl_offset", 0);
}

fn cpu(_: &Context<'_>, lines: &mut Lines) {
    let (user_s, system_s) = machine::cpu_seconds();
    lines.add("used_cpu_sys", format_args!("{system_s:.6}"));
    lines.add("used_cpu_user", format_args!("{user_s:.6}"));
}

fn command_stats(context: &Context<'_>, lines: &mut Lines) {
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
fn keyspace(_: &Context<'_>, _: &mut Lines) {}
