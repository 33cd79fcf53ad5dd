//! The command line, and what its words mean. Knows nothing of measuring.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::backfill;
use crate::compare::Settings;
use crate::embedded_load::EmbeddedWork;
use crate::peer::Places;

/// Measures TileKV and the stores that it is compared with.
#[derive(Debug, Parser)]
#[command(name = "tilekv-bench", version)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Starts TileKV and Redis, loads the same data into both, and measures them side by side.
    Compare(CompareArguments),
    /// Loads the same tiles into TileKV, as jobs, and into Redis, and says how fast.
    Backfill(BackfillArguments),
    /// Stores tiles of several shapes in TileKV and Redis, and measures what they take.
    Footprint(FootprintArguments),
    /// Loads the data set into a running server.
    Fill(FillArguments),
    /// Drives one workload against a running server.
    Load(LoadArguments),
    /// Works on a store inside this process, over and over: for a profiler.
    Embedded(EmbeddedArguments),
    /// Fills a store inside this process and measures how long it takes to open again.
    Restart(RestartArguments),
    /// Updates a store inside this process and measures what its compaction costs.
    Compaction(CompactionArguments),
}

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub struct CompareArguments {
    /// Runs of each contender of a row.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Seconds of each run.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Entities of the data set.
    #[arg(long, default_value_t = 20_000)]
    entities: u32,
    /// Rows to run, by name and separated by commas; all of them by default.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// A short look with one run on 2,000 entities: shows that it works, and judges nothing.
    #[arg(long)]
    quick: bool,
    /// The TileKV server; by default the one beside this program.
    #[arg(long)]
    server: Option<PathBuf>,
    /// The Redis server.
    #[arg(long, default_value = "redis-server")]
    redis: PathBuf,
    /// Where the peers' folders are made: a real disk; by default beside this program.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Writes all results to this file.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Puts the tables between the marks of this document.
    #[arg(long)]
    pub document: Option<PathBuf>,
}

impl CompareArguments {
    /// The settings that they mean.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let places = places(&self.redis, self.server.as_deref(), self.folder.as_deref());
        let seconds = if self.quick { 0.4 } else { self.seconds };
        Settings {
            places,
            entities: if self.quick { 2_000 } else { self.entities },
            runs: if self.quick { 1 } else { self.runs },
            warm_up: Duration::from_secs_f64(seconds / 4.0),
            duration: Duration::from_secs_f64(seconds),
            rows: self.rows.clone(),
            is_quick: self.quick,
        }
    }
}

/// Arguments of `backfill`.
#[derive(Debug, Args)]
pub struct BackfillArguments {
    /// Runs of each form.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Entities, each with ten tiles.
    #[arg(long, default_value_t = 300_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    entities: u32,
    /// The TileKV server; by default the one beside this program.
    #[arg(long)]
    server: Option<PathBuf>,
    /// The Redis server.
    #[arg(long, default_value = "redis-server")]
    redis: PathBuf,
    /// Where the peers' folders are made: a real disk; by default beside this program.
    #[arg(long)]
    folder: Option<PathBuf>,
}

impl BackfillArguments {
    /// The settings that they mean.
    #[must_use]
    pub fn settings(&self) -> backfill::Settings {
        let places = places(&self.redis, self.server.as_deref(), self.folder.as_deref());
        backfill::Settings { places, entities: self.entities, runs: self.runs }
    }
}

/// Arguments of `footprint`.
#[derive(Debug, Args)]
pub struct FootprintArguments {
    /// Measures so many times fewer entities: a short look.
    #[arg(long, default_value_t = 1)]
    pub divide: u32,
    /// The TileKV server; by default the one beside this program.
    #[arg(long)]
    server: Option<PathBuf>,
    /// The Redis server.
    #[arg(long, default_value = "redis-server")]
    redis: PathBuf,
    /// Where the peers' folders are made: a real disk; by default beside this program.
    #[arg(long)]
    folder: Option<PathBuf>,
}

impl FootprintArguments {
    /// The programs and folders that they mean.
    #[must_use]
    pub fn places(&self) -> Places {
        places(&self.redis, self.server.as_deref(), self.folder.as_deref())
    }
}

fn places(redis: &Path, server: Option<&Path>, folder: Option<&Path>) -> Places {
    let beside = program_folder();
    Places {
        redis: redis.to_path_buf(),
        tilekv: server.map_or_else(|| beside.join("tilekv-server"), Path::to_path_buf),
        folder: folder.map_or(beside, Path::to_path_buf),
    }
}

/// Arguments of `fill`.
#[derive(Debug, Args)]
pub struct FillArguments {
    /// Where the server listens.
    #[arg(long)]
    pub address: SocketAddr,
    /// Entities of the data set.
    #[arg(long, default_value_t = 20_000)]
    pub entities: u32,
    /// What the server is.
    #[arg(long, value_enum, default_value_t = FillPeer::Tilekv)]
    pub peer: FillPeer,
}

/// Who can be filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FillPeer {
    /// TileKV.
    Tilekv,
    /// Redis.
    Redis,
}

/// Arguments of `embedded`.
#[derive(Debug, Args)]
pub struct EmbeddedArguments {
    /// What is done.
    #[arg(long, value_enum)]
    pub work: EmbeddedWork,
    /// Entities of the data set.
    #[arg(long, default_value_t = 20_000)]
    pub entities: u32,
    /// For how long.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Where the store's folder is made; by default beside this program.
    #[arg(long)]
    pub folder: Option<PathBuf>,
}

/// Arguments of `restart`.
#[derive(Debug, Args)]
pub struct RestartArguments {
    /// Entities of the store.
    #[arg(long, default_value_t = 1_000_000)]
    pub entities: u32,
    /// Tiles of each.
    #[arg(long, default_value_t = 10)]
    pub tiles: u32,
    /// How often it is opened.
    #[arg(long, default_value_t = 5)]
    pub times: u32,
    /// Where the store's folder is made; by default beside this program.
    #[arg(long)]
    pub folder: Option<PathBuf>,
}

/// Arguments of `compaction`.
#[derive(Debug, Args)]
pub struct CompactionArguments {
    /// Entities of the store, each with ten tiles.
    #[arg(long, default_value_t = 300_000)]
    pub entities: u32,
    /// Events of random entities and days.
    #[arg(long, default_value_t = 5_000_000)]
    pub updates: u32,
    /// Bytes of writes that are flushed at once.
    #[arg(long, default_value_t = 64 << 20)]
    pub overlay: usize,
    /// Segments above which the store compacts: a row for each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16])]
    pub segments: Vec<usize>,
    /// Where the stores' folders are made; by default beside this program.
    #[arg(long)]
    pub folder: Option<PathBuf>,
}

/// The folder that holds this program.
#[must_use]
pub fn program_folder() -> PathBuf {
    let program = std::env::current_exe().ok();
    let folder = program.as_deref().and_then(Path::parent);
    folder.map_or_else(std::env::temp_dir, Path::to_owned)
}

/// Arguments of `load`.
#[derive(Debug, Args)]
pub struct LoadArguments {
    /// Where the server listens.
    #[arg(long)]
    pub address: SocketAddr,
    /// What is asked: a row and a contender of `compare`, such as `single:tilekv`.
    #[arg(long)]
    pub workload: String,
    /// Entities of the data set that the server was filled with.
    #[arg(long, default_value_t = 20_000)]
    pub entities: u32,
    /// Connections; the row's by default.
    #[arg(long)]
    pub connections: Option<usize>,
    /// Requests under way on each connection, in a closed loop; the row's by default.
    #[arg(long, conflicts_with = "rate")]
    pub depth: Option<usize>,
    /// Requests due per second, in an open loop: latency counts from when a request was due.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Seconds before the measurement.
    #[arg(long, default_value_t = 1.0)]
    pub warm_up: f64,
    /// Seconds of the measurement.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// The server's process, to tell the processor time of a request.
    #[arg(long)]
    pub process: Option<u32>,
    /// Writes per second beside the workload; 1% of the entities by default, for reads.
    #[arg(long)]
    pub beside: Option<f64>,
}
