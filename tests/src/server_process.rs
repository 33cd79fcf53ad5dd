//! A `tilekv-server` process of a test's own: built, started on free ports, watched and ended by
//! its process id. It knows nothing of what is said over its connections.

use crate::patience::{self, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

/// The environment variable that names a server binary to test in place of a fresh build.
pub const SERVER_VARIABLE: &str = "TILEKV_TEST_SERVER";

/// How a server is started.
#[derive(Debug, Clone)]
pub struct ServerCommand {
    folder: PathBuf,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
}

/// A server that was started. It is killed when this is dropped.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    log: PathBuf,
    address: SocketAddr,
    http_address: SocketAddr,
}

/// A server that did not come up.
#[derive(Debug)]
pub struct Refusal {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub output: String,
    /// What this one wrote to standard error.
    pub log: String,
}

impl ServerCommand {
    /// A server with its data and its log under `folder`, on ports that the system picks.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf(), flags: Vec::new(), environment: Vec::new() }
    }

    /// The same with more flags, split at spaces. The ports stay free ones unless named here.
    pub fn flags(mut self, flags: &str) -> Self {
        self.flags.extend(flags.split_whitespace().map(str::to_owned));
        self
    }

    /// The same with one more flag, taken whole.
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// The same with a variable in the environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the server and waits until it serves.
    ///
    /// # Panics
    /// Where it does not, with its log.
    pub fn start(&self) -> ServerProcess {
        self.try_start().unwrap_or_else(|refusal| {
            panic!("the server did not start, {}:\n{}", refusal.status, refusal.log)
        })
    }

    /// Starts the server and waits until it serves or has ended.
    pub fn try_start(&self) -> Result<ServerProcess, Refusal> {
        let earlier = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        let mut child = self.spawn();
        let mut output = String::new();
        match addresses(&mut child, &mut output) {
            Some((address, http_address)) => {
                let server = ServerProcess { child, log: self.log_path(), address, http_address };
                wait_until("/readyz answers 200", || server.http("/readyz").0 == 200);
                Ok(server)
            }
            None => {
                let status = wait(&mut child);
                let log = self.log().split_off(earlier.len());
                Err(Refusal { status, output, log })
            }
        }
    }

    /// Starts the server and waits for nothing; its standard output is closed to the caller.
    pub fn spawn(&self) -> Child {
        let mut command = Command::new(binary());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TILEKV_")) {
            command.env_remove(name);
        }
        command
            .args(self.free_ports())
            .arg("--data-dir")
            .arg(self.data_folder())
            .args(&self.flags)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(open_log(&self.log_path()));
        command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"))
    }

    /// The flags of the ports that nothing else names.
    fn free_ports(&self) -> Vec<&'static str> {
        let is_free = |port: &&str| !self.flags.iter().any(|flag| flag == port);
        let ports = ["--port", "--http-port"].into_iter().filter(is_free);
        ports.flat_map(|port| [port, "0"]).collect()
    }

    /// Where the server keeps its data.
    pub fn data_folder(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Everything that servers of this folder have logged.
    pub fn log(&self) -> String {
        read_text(&self.log_path())
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("server.log")
    }
}

impl ServerProcess {
    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process at once, as `kill -9` does, and waits until it is gone.
    pub fn kill(&mut self) {
        kill(&mut self.child);
    }

    /// Asks the process to end, as SIGTERM does, and waits until it has.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        wait(&mut self.child)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let sent = kill_process(Pid::from_child(&self.child), signal);
        sent.unwrap_or_else(|error| panic!("signal {signal:?}: {error}"));
    }

    /// How it ended, once it has.
    pub fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }

    /// Bytes of memory that the process holds now.
    pub fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most bytes of memory that the process held since [`ServerProcess::reset_peak`].
    pub fn peak_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    /// Lets the peak begin anew at what is held now.
    pub fn reset_peak(&self) {
        let path = format!("/proc/{}/clear_refs", self.id());
        std::fs::write(&path, "5").unwrap_or_else(|error| panic!("write {path}: {error}"));
    }

    /// GETs a path of the HTTP port; 0 is a server that does not answer.
    pub fn http(&self, path: &str) -> (u16, String) {
        http(self.http_address, &format!("GET {path}"), &[], b"").unwrap_or_default()
    }

    /// POSTs a body to a path of the HTTP port; 0 is a server that does not answer.
    pub fn http_post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
        http(self.http_address, &format!("POST {path}"), headers, body).unwrap_or_default()
    }

    /// Everything that servers of this folder have logged.
    pub fn log(&self) -> String {
        read_text(&self.log)
    }

    fn status_bytes(&self, field: &str) -> u64 {
        let status = read_text(Path::new(&format!("/proc/{}/status", self.id())));
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kibibytes = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kibibytes.unwrap_or_else(|| panic!("no {field} in the status of the server:\n{status}"))
            * 1024
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        kill(&mut self.child);
    }
}

/// Kills a process that [`ServerCommand::spawn`] gave, and waits until it is gone.
pub fn kill(child: &mut Child) {
    // An error is a process that has ended.
    let _ = child.kill();
    let _ = child.wait();
}

/// The server binary, built by this call if it is not as new as its sources.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os(SERVER_VARIABLE) {
        Some(path) => PathBuf::from(path),
        None => build("tilekv-server", "tilekv-server"),
    })
}

/// `cargo test` builds a binary only for tests of the same package, so this asks for it, with the
/// profile of the test that runs.
pub(crate) fn build(package: &str, name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap_or_else(|error| panic!("find the test: {error}"));
    let folder = test.parent().and_then(Path::parent);
    let folder = folder.unwrap_or_else(|| panic!("{test:?} does not lie in deps/ of a profile"));
    let profile = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let profile = if profile == "debug" { "dev" } else { profile };
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(["build", "--locked", "--quiet", "-p", package, "--profile", profile])
        .arg("--target-dir")
        .arg(folder.parent().unwrap_or(folder))
        .current_dir(crate::repository::root());
    let status = command.status().unwrap_or_else(|error| panic!("run {command:?}: {error}"));
    assert!(status.success(), "{command:?} failed");
    folder.join(name)
}

/// Reads the banner as far as both addresses; none if the process ends before.
fn addresses(child: &mut Child, output: &mut String) -> Option<(SocketAddr, SocketAddr)> {
    let mut lines = BufReader::new(child.stdout.take()?);
    let mut clients = None;
    loop {
        let start = output.len();
        if lines.read_line(output).ok()? == 0 {
            return None;
        }
        let mut words = output[start..].split_whitespace();
        match (words.next(), words.next()) {
            (Some("clients"), Some(address)) => clients = address.parse().ok(),
            (Some("page"), Some(page)) => {
                let page = page.strip_prefix("http://")?.split('/').next()?;
                // What follows is read too, so that the server can finish its banner.
                std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
                return Some((clients?, page.parse().ok()?));
            }
            _ => {}
        }
    }
}

fn http(
    address: SocketAddr,
    asked: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(patience::DEADLINE))?;
    let length = body.len();
    let mut head = format!("{asked} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
    headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    stream.write_all(format!("{head}Content-Length: {length}\r\n\r\n").as_bytes())?;
    stream.write_all(body)?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.unwrap_or_default(), body.to_owned()))
}

fn wait(child: &mut Child) -> ExitStatus {
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status,
            Ok(None) if started.elapsed() < patience::DEADLINE => patience::pause(),
            Ok(None) => {
                kill(child);
                panic!("the server did not end within {:?}", patience::DEADLINE);
            }
            Err(error) => panic!("wait for the server: {error}"),
        }
    }
}

fn open_log(path: &Path) -> File {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.unwrap_or_else(|error| panic!("open {path:?}: {error}"))
}

fn read_text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("read {path:?}: {error}"))
}
