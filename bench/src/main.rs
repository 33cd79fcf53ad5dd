//! The command line of the benchmarks: reads the arguments, runs one of the commands, prints what
//! came out.

use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use tilekv_bench::arguments::{
    Arguments, BackfillArguments, Command, CompactionArguments, CompareArguments,
    EmbeddedArguments, FillArguments, FillPeer, FootprintArguments, LoadArguments,
    RestartArguments, program_folder,
};
use tilekv_bench::backfill::{backfill, to_markdown};
use tilekv_bench::compaction::{self, CompactionLoad, run_compaction};
use tilekv_bench::compare::{SEED, WRITTEN_SHARE, compare, run_contender};
use tilekv_bench::dataset::Dataset;
use tilekv_bench::embedded_load::run_embedded;
use tilekv_bench::error::{BenchError, Doing};
use tilekv_bench::footprint::{SHAPES, TABLE_HEAD, measure, table_lines};
use tilekv_bench::load::{Load, Pace};
use tilekv_bench::machine::{Cores, now_ms};
use tilekv_bench::report::place_figures;
use tilekv_bench::restart::run_restart;
use tilekv_bench::rows::{Contender, Row, all_rows};
use tilekv_bench::workload::Model;
use tilekv_bench::workload::fill::{fill_redis, fill_tilekv};

/// The server's allocator, so that a store in this process behaves as one in the server.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Compare(arguments) => run_compare(&arguments),
        Command::Backfill(arguments) => run_backfill(&arguments),
        Command::Footprint(arguments) => run_footprint(&arguments),
        Command::Fill(arguments) => run_fill(&arguments),
        Command::Load(arguments) => run_load(&arguments),
        Command::Embedded(arguments) => run_embedded_work(&arguments),
        Command::Restart(arguments) => run_restarts(&arguments),
        Command::Compaction(arguments) => run_compactions(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run_compare(arguments: &CompareArguments) -> Result<(), BenchError> {
    let comparison = compare(&arguments.settings(), &mut |line| tell(line))?;
    let markdown = comparison.to_markdown();
    print(&markdown)?;
    if let Some(path) = &arguments.json {
        write_file(path, &comparison.to_json())?;
    }
    if let Some(path) = &arguments.document {
        let document = std::fs::read_to_string(path).doing(format!("read {}", path.display()))?;
        let Some(placed) = place_figures(&document, &markdown) else {
            let error = std::io::Error::from(std::io::ErrorKind::InvalidData);
            return Err(error).doing(format!("find the marks in {}", path.display()));
        };
        write_file(path, &placed)?;
    }
    Ok(())
}

fn run_backfill(arguments: &BackfillArguments) -> Result<(), BenchError> {
    let outcomes = backfill(&arguments.settings(), &mut |line| tell(line))?;
    print(&to_markdown(&outcomes))
}

fn run_footprint(arguments: &FootprintArguments) -> Result<(), BenchError> {
    print(TABLE_HEAD)?;
    for shape in SHAPES {
        let shape = shape.divided(arguments.divide);
        let measured = measure(shape, &arguments.places())?;
        table_lines(shape, &measured).iter().try_for_each(|line| print(line))?;
    }
    Ok(())
}

fn run_fill(arguments: &FillArguments) -> Result<(), BenchError> {
    let model = Model::new(Dataset::new(arguments.entities, now_ms(), SEED), None);
    match arguments.peer {
        FillPeer::Tilekv => fill_tilekv(arguments.address, &model),
        FillPeer::Redis => fill_redis(arguments.address, &model),
    }
}

fn run_load(arguments: &LoadArguments) -> Result<(), BenchError> {
    Cores::find()?.enter_client()?;
    let (row, contender) = find_workload(&arguments.workload)?;
    let model = Arc::new(Model::new(Dataset::new(arguments.entities, now_ms(), SEED), None));
    let pace = match (arguments.rate, arguments.depth) {
        (Some(per_second), _) => Pace::Open { per_second },
        (None, Some(depth)) => Pace::Closed { depth },
        (None, None) => row.pace,
    };
    let beside = f64::from(arguments.entities) * WRITTEN_SHARE;
    let load = Load {
        address: arguments.address,
        connections: arguments.connections.unwrap_or(row.connections),
        pace,
        warm_up: Duration::from_secs_f64(arguments.warm_up),
        duration: Duration::from_secs_f64(arguments.seconds),
        seed: SEED,
        server: arguments.process,
        beside_per_second: arguments.beside.unwrap_or(beside),
    };
    let figures = run_contender(&load, &contender, &model)?;
    print(&serde_json::to_string_pretty(&figures).unwrap_or_default())
}

fn run_embedded_work(arguments: &EmbeddedArguments) -> Result<(), BenchError> {
    let folder = arguments.folder.clone().unwrap_or_else(program_folder);
    let duration = Duration::from_secs_f64(arguments.seconds);
    let figures = run_embedded(arguments.work, arguments.entities, duration, &folder)?;
    let (operations, seconds) = (figures.operations, figures.elapsed.as_secs_f64());
    let per_second = f64::from(operations) / seconds;
    let nanoseconds = 1e9 / per_second;
    print(&format!("{operations} in {seconds:.2} s: {per_second:.0}/s, {nanoseconds:.0} ns each"))
}

fn run_restarts(arguments: &RestartArguments) -> Result<(), BenchError> {
    let folder = arguments.folder.clone().unwrap_or_else(program_folder);
    let RestartArguments { entities, tiles, times, .. } = *arguments;
    let figures = run_restart(&folder, entities, tiles, times)?;
    print(&format!("{} tiles, {} bytes of files", figures.tiles, figures.file_bytes))?;
    for (purpose, bytes) in figures.memory {
        print(&format!("memory of the {purpose}: {bytes} bytes"))?;
    }
    for time in figures.times {
        print(&format!("open to first answer: {:.3} s", time.as_secs_f64()))?;
    }
    Ok(())
}

fn run_compactions(arguments: &CompactionArguments) -> Result<(), BenchError> {
    let folder = arguments.folder.clone().unwrap_or_else(program_folder);
    let CompactionArguments { entities, updates, overlay: overlay_bytes, .. } = *arguments;
    let load = CompactionLoad { entities, updates, overlay_bytes };
    print(&compaction::to_markdown(&run_compaction(&folder, load, &arguments.segments)?))
}

/// A row and a contender by name; without the contender, the row's first one.
fn find_workload(name: &str) -> Result<(Row, Contender), BenchError> {
    let (row_name, contender_name) = name.split_once(':').unwrap_or((name, ""));
    for row in all_rows().into_iter().filter(|row| row.id == row_name) {
        let is_named =
            |contender: &&Contender| contender_name.is_empty() || contender.name == contender_name;
        if let Some(contender) = row.contenders.iter().find(is_named).copied() {
            return Ok((row, contender));
        }
    }
    let all = all_rows();
    let names = all.iter().flat_map(|row| {
        row.contenders.iter().map(move |contender| format!("{}:{}", row.id, contender.name))
    });
    let expected = names.collect::<Vec<_>>().join(", ");
    Err(BenchError::NoWorkload { found: name.to_owned(), expected })
}

fn write_file(path: &Path, text: &str) -> Result<(), BenchError> {
    std::fs::write(path, text).doing(format!("write {}", path.display()))
}

fn print(text: &str) -> Result<(), BenchError> {
    writeln!(std::io::stdout(), "{}", text.trim_end()).doing("print the results")
}

/// Progress goes to standard error; nobody may be listening.
fn tell(line: impl Display) {
    let _told = writeln!(std::io::stderr(), "{line}");
}
