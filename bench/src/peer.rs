//! Peers: servers that a comparison starts by itself, on free ports of the loopback address, and
//! stops again. Knows nothing of what is asked of them.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::error::{BenchError, Doing};
use crate::machine::{Cores, free_address};
use crate::resp::Item;
use crate::workload::fill::ask;

/// When a peer makes writes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerDurability {
    /// Redis: no append-only file. TileKV: `none`.
    None,
    /// Redis: append-only file with `always`. TileKV: `always`.
    Always,
}

/// Where the programs and folders of the peers are.
#[derive(Debug, Clone)]
pub struct Places {
    /// The Redis server.
    pub redis: PathBuf,
    /// The TileKV server.
    pub tilekv: PathBuf,
    /// Where folders of data are made.
    pub folder: PathBuf,
}

impl Places {
    /// Refuses programs that are not there, saying how to get them.
    pub fn check(&self) -> Result<(), BenchError> {
        check_program(&self.redis, "install Debian's package redis-server, or give --redis PATH")?;
        let advice =
            "build it with `cargo build --release -p tilekv-server`, or give --server PATH";
        check_program(&self.tilekv, advice)
    }
}

/// A server that runs until this is dropped.
#[derive(Debug)]
pub struct Peer {
    /// Where it listens.
    pub address: SocketAddr,
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    cores: Cores,
    child: Child,
    folder: TempDir,
}

impl Peer {
    /// Starts Redis without snapshots.
    pub fn redis(
        places: &Places,
        cores: Cores,
        durability: PeerDurability,
    ) -> Result<Self, BenchError> {
        let address = free_address()?;
        let (file, sync) = match durability {
            PeerDurability::None => ("no", "everysec"),
            PeerDurability::Always => ("yes", "always"),
        };
        let port = address.port().to_string();
        let arguments = ["--port", &port, "--bind", "127.0.0.1", "--save", ""];
        let arguments = arguments.into_iter().chain(["--appendonly", file, "--appendfsync", sync]);
        let arguments = arguments.map(str::to_owned).collect();
        Self::start("redis-server", places, (address, cores), arguments)
    }

    /// Starts TileKV with its defaults but for ports, folder and durability.
    pub fn tilekv(
        places: &Places,
        cores: Cores,
        durability: PeerDurability,
    ) -> Result<Self, BenchError> {
        let address = free_address()?;
        let durability = match durability {
            PeerDurability::None => "none",
            PeerDurability::Always => "always",
        };
        let port = address.port().to_string();
        let arguments = ["--port", &port, "--http-port", "0", "--data-dir", "data"];
        let arguments = arguments.into_iter().chain(["--durability", durability]);
        let arguments = arguments.map(str::to_owned).collect();
        Self::start("tilekv-server", places, (address, cores), arguments)
    }

    fn start(
        name: &'static str,
        places: &Places,
        (address, cores): (SocketAddr, Cores),
        arguments: Vec<String>,
    ) -> Result<Self, BenchError> {
        let program = if name == "redis-server" { &places.redis } else { &places.tilekv };
        let making = || format!("make a folder in {}", places.folder.display());
        let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(&places.folder);
        let folder = folder.doing(making())?;
        let child = spawn(program, &arguments, folder.path(), cores)?;
        let program = program.clone();
        let mut peer = Self { address, name, program, arguments, cores, child, folder };
        peer.wait_until_ready()?;
        Ok(peer)
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// The program's name and its arguments.
    #[must_use]
    pub fn command_line(&self) -> String {
        let quoted = self.arguments.iter().map(|argument| match argument.as_str() {
            "" => "\"\"".to_owned(),
            _ => argument.clone(),
        });
        format!("{} {}", self.name, quoted.collect::<Vec<_>>().join(" "))
    }

    /// What the program says its version is.
    #[must_use]
    pub fn version(&self) -> String {
        let output = Command::new(&self.program).arg("--version").output();
        let text = output.map(|output| output.stdout).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.lines().next().unwrap_or_default().trim().to_owned()
    }

    /// Stops it in its orderly way and starts it again on the same data.
    pub fn restart(&mut self) -> Result<(), BenchError> {
        self.stop()?;
        self.start_again()
    }

    /// The folder that it was started in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it on the data that it was stopped with.
    pub fn start_again(&mut self) -> Result<(), BenchError> {
        self.child = spawn(&self.program, &self.arguments, self.folder.path(), self.cores)?;
        self.wait_until_ready()
    }

    /// Stops it in its orderly way.
    pub fn stop(&mut self) -> Result<(), BenchError> {
        let signalled = kill_process(Pid::from_child(&self.child), Signal::TERM);
        signalled.map_err(std::io::Error::from).doing(format!("stop {}", self.name))?;
        let until = Instant::now() + STOP_TIME_MAX;
        while Instant::now() < until {
            if self.exit_problem().is_some() {
                return Ok(());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Err(self.failed(format!("did not stop within {} s", STOP_TIME_MAX.as_secs())))
    }

    fn wait_until_ready(&mut self) -> Result<(), BenchError> {
        let until = Instant::now() + START_TIME_MAX;
        while Instant::now() < until {
            if let Some(problem) = self.exit_problem() {
                return Err(self.failed(problem));
            }
            let answer = ask(self.address, &[b"PING"], |item| item == Item::Status(b"PONG"));
            if let Ok(true) = answer {
                return Ok(());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Err(self.failed(format!("was not ready within {} s", START_TIME_MAX.as_secs())))
    }

    fn exit_problem(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        Some(format!("ended with {status}"))
    }

    fn failed(&self, problem: String) -> BenchError {
        let text = std::fs::read(self.folder.path().join(OUTPUT_NAME)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().rev().take(3).collect();
        let output = lines.into_iter().rev().collect::<Vec<_>>().join(" / ");
        BenchError::Peer { program: self.name, problem, output }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Nobody needs its data any more; a process that is gone already is no error.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Starts the program on the server's core: a child begins on the core of the thread that made it.
fn spawn(
    program: &Path,
    arguments: &[String],
    folder: &Path,
    cores: Cores,
) -> Result<Child, BenchError> {
    let output = File::options().create(true).append(true).open(folder.join(OUTPUT_NAME));
    let output = output.doing("create a log file")?;
    let errors = output.try_clone().doing("create a log file")?;
    cores.enter_server()?;
    let child = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn();
    cores.enter_client()?;
    child.doing(format!("start {}", program.display()))
}

fn check_program(program: &Path, advice: &'static str) -> Result<(), BenchError> {
    let runs = Command::new(program).arg("--version").output().is_ok();
    if runs {
        return Ok(());
    }
    Err(BenchError::NoProgram { program: program.display().to_string(), advice })
}

const OUTPUT_NAME: &str = "output";
const START_TIME_MAX: Duration = Duration::from_secs(60);
const STOP_TIME_MAX: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(5);
