//! Owns what is asked of the operating system: cores, processor time, free ports, names. Knows
//! nothing of peers.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use crate::error::{BenchError, Doing};

/// The cores of a run: the server's and the measuring thread's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cores {
    /// Each side has one of its own.
    Apart {
        /// The server's.
        server: usize,
        /// The measuring thread's.
        client: usize,
    },
    /// There is one core, which both share.
    Shared,
}

impl Cores {
    /// The first two cores that this process may run on.
    pub fn find() -> Result<Self, BenchError> {
        let allowed = sched_getaffinity(None).map_err(std::io::Error::from);
        let allowed = allowed.doing("read the allowed cores")?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
        Ok(match (cores.next(), cores.next()) {
            (Some(server), Some(client)) => Self::Apart { server, client },
            _ => Self::Shared,
        })
    }

    /// Puts this thread, and what it starts from now on, on the server's core.
    pub fn enter_server(self) -> Result<(), BenchError> {
        match self {
            Self::Apart { server, .. } => pin(server),
            Self::Shared => Ok(()),
        }
    }

    /// Puts this thread on the client's core.
    pub fn enter_client(self) -> Result<(), BenchError> {
        match self {
            Self::Apart { client, .. } => pin(client),
            Self::Shared => Ok(()),
        }
    }
}

fn pin(core: usize) -> Result<(), BenchError> {
    let mut cores = CpuSet::new();
    cores.set(core);
    let pinned = sched_setaffinity(None, &cores).map_err(std::io::Error::from);
    pinned.doing(format!("move to core {core}"))
}

/// The processor time of a process, all threads, both modes, to 10 ms.
pub fn process_cpu(process: u32) -> Result<Duration, BenchError> {
    let path = format!("/proc/{process}/stat");
    let text = std::fs::read_to_string(&path).doing(format!("read {path}"))?;
    let Some(ticks) = parse_stat(&text) else {
        let error = std::io::Error::from(std::io::ErrorKind::InvalidData);
        return Err(error).doing(format!("read {path}"));
    };
    Ok(Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second()))
}

/// The sum of utime and stime, the 14th and 15th field; the 2nd may hold spaces and parentheses.
fn parse_stat(text: &str) -> Option<u64> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// The resident memory of a process in bytes.
pub fn resident_bytes(process: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1_024)
}

/// The processor time of this thread.
#[must_use]
pub fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds)
        + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default())
}

/// An address of this machine on which nothing listens.
pub fn free_address() -> Result<SocketAddr, BenchError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).doing("find a free port")?;
    listener.local_addr().doing("find a free port")
}

/// The clock, in milliseconds since the epoch.
#[must_use]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The processor's name, as the kernel has it.
#[must_use]
pub fn processor_name() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(':')).map(|(_, name)| name.trim().to_owned());
    name.unwrap_or_else(|| "unknown processor".to_owned())
}

/// The kernel's release.
#[must_use]
pub fn kernel_name() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// How many processes wanted to run over the last minute.
#[must_use]
pub fn load_average() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_a_name_with_spaces() {
        let text = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 120 34 0 0";
        assert_eq!(parse_stat(text), Some(154));
        assert_eq!(parse_stat("7 (a"), None);
    }

    #[test]
    fn this_process_uses_processor_time_and_memory() {
        let started = std::time::Instant::now();
        while thread_cpu() < Duration::from_millis(30) {
            assert!(started.elapsed() < Duration::from_secs(60), "no processor time is counted");
        }
        let process = std::process::id();
        assert!(Duration::from_millis(10) <= process_cpu(process).unwrap());
        assert!(1 << 20 < resident_bytes(process).unwrap());
    }

    #[test]
    fn a_free_address_can_be_bound() {
        TcpListener::bind(free_address().unwrap()).unwrap();
    }
}
