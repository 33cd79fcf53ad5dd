//! What the machine grants this process: cores, memory, file descriptors.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Machine;
use crate::limits::RESERVED_DESCRIPTOR_COUNT;

/// Cores of the affinity mask and bytes of memory, the tightest control group's limit included.
pub(crate) fn inspect() -> Machine {
    Machine { core_count: core_count(), memory_bytes: memory_bytes() }
}

/// Raises the limit of open files as far as it goes and returns how many connections fit.
pub(crate) fn raise_descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let count = current.unwrap_or(u64::MAX).saturating_sub(RESERVED_DESCRIPTOR_COUNT);
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Makes the calling thread give way to all others.
pub(crate) fn lower_priority(niceness: i32) {
    if let Err(error) = rustix::process::setpriority_process(None, niceness) {
        tracing::warn!(%error, "set priority of a background thread");
    }
}

/// Resident bytes of this process; zero where the system does not say.
pub(crate) fn resident_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
    pages * u64::try_from(rustix::param::page_size()).unwrap_or(4096)
}

/// Seconds of processor time that the process has used: in user mode, in the kernel.
pub(crate) fn cpu_seconds() -> (f64, f64) {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = text.rsplit(") ").next().unwrap_or_default();
    let mut fields = after_name.split(' ').skip(11).map(|field| field.parse().unwrap_or(0.0));
    let ticks_per_second = 100.0;
    let mut next = || fields.next().unwrap_or(0.0) / ticks_per_second;
    (next(), next())
}

/// Bytes of memory that this process may use: the machine's, or its control group's.
pub(crate) fn memory_total() -> usize {
    memory_bytes()
}

fn core_count() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn memory_bytes() -> usize {
    let of_machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_of(&text));
    let of_group = GROUP_LIMIT_FILES.iter().filter_map(|path| {
        fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<usize>().ok())
    });
    of_group.chain(of_machine).min().unwrap_or(MEMORY_BYTES_UNKNOWN)
}

/// `MemTotal` of /proc/meminfo in bytes.
fn total_of(text: &str) -> Option<usize> {
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kibibytes: usize = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Limits of the control group, version 2 and version 1, as seen from inside a container.
const GROUP_LIMIT_FILES: [&str; 2] =
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

const MEMORY_BYTES_UNKNOWN: usize = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_something() {
        let machine = inspect();
        assert!(machine.core_count >= 1);
        assert!(machine.memory_bytes > 1 << 20);
        assert!(resident_bytes() > 0);
    }

    #[test]
    fn the_total_is_read_from_its_line() {
        assert_eq!(total_of("MemTotal:       16 kB\nMemFree: 1 kB\n"), Some(16_384));
        assert_eq!(total_of("MemFree: 1 kB\n"), None);
    }
}
