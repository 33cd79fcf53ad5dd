//! The TileKV server: reads the configuration, opens the store, starts the threads and waits for
//! the end. Every part has a file of its own; this one knows the order in which they start and
//! stop.

mod background;
mod banner;
mod budget;
mod clients;
mod clock;
mod cold_reads;
mod committer;
mod config;
mod connection;
mod cursors;
mod delivery;
mod dispatch;
mod durability;
mod exchange;
mod exposition;
mod face;
mod failure;
mod family;
mod glob;
mod http;
mod inbox;
mod job_queue;
mod job_worker;
mod latency_events;
mod layers;
mod lifecycle;
mod limits;
mod listener;
mod logging;
mod machine;
mod memory;
mod metrics;
mod monitors;
mod native_face;
mod output;
mod plans;
mod received;
mod refusals;
mod refuse;
mod resp_face;
mod server;
mod session;
mod settings;
mod shared;
mod signals;
mod size;
mod slow;
mod slow_log;
mod stamp;
mod statistics;
#[cfg(test)]
mod testing;
mod tunables;
mod worker;
mod write_queue;

use std::io::Write;
use std::process::ExitCode;

use config::{Config, ConfigError};
use layers::Request;
use settings::RawSettings;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    match layers::read(std::env::args_os(), &environment) {
        Ok(Request::Run(raw)) => match Config::from_raw(&raw, machine::inspect()) {
            Ok(config) => run(config),
            Err(error) => refuse_start(&error),
        },
        Ok(Request::Check(raw)) => check(&raw),
        Ok(Request::Print(text)) => {
            say(&text);
            ExitCode::SUCCESS
        }
        Err(error) => refuse_start(&error),
    }
}

fn run(config: Config) -> ExitCode {
    logging::install(config.log_format, config.log_level);
    server::end_process_on_panic();
    match server::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// `--check-config`: the effective values, and what is wrong with them.
fn check(raw: &RawSettings) -> ExitCode {
    say(&config::print_effective(raw));
    match Config::from_raw(raw, machine::inspect()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => refuse_start(&error),
    }
}

/// There is no log yet, since its form is part of the configuration.
fn refuse_start(error: &ConfigError) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "tilekv-server: {error}");
    ExitCode::FAILURE
}

fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
