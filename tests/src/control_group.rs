//! A control group of a test's own that limits the memory of processes, version 1 or 2, whichever
//! the machine has. It knows nothing of the processes.

use std::fs;
use std::path::{Path, PathBuf};

/// A control group. It is removed when this is dropped, once its processes are gone.
#[derive(Debug)]
pub struct MemoryGroup {
    folder: PathBuf,
    is_second: bool,
}

impl MemoryGroup {
    /// A group whose processes may take `bytes` of memory together, the page cache included.
    ///
    /// # Panics
    /// Where none can be made: a test that needs one must not pass without it.
    pub fn new(name: &str, bytes: u64) -> Self {
        let first = Path::new("/sys/fs/cgroup/memory");
        let is_second = !first.is_dir();
        let root = if is_second { Path::new("/sys/fs/cgroup") } else { first };
        let folder = root.join(format!("{name}-{}", std::process::id()));
        fs::create_dir(&folder).unwrap_or_else(|error| panic!("make {folder:?}: {error}"));
        let group = Self { folder, is_second };
        let limit = if is_second { "memory.max" } else { "memory.limit_in_bytes" };
        group.write(limit, &bytes.to_string());
        group
    }

    /// Puts a process into the group: what it takes from now on counts.
    pub fn take(&self, process: u32) {
        self.write("cgroup.procs", &process.to_string());
    }

    /// How many processes of the group were killed for want of memory.
    pub fn kill_count(&self) -> u64 {
        let name = if self.is_second { "memory.events" } else { "memory.oom_control" };
        let text = self.read(name);
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no oom_kill: {text}"))
    }

    /// The most memory that the group took at once, in bytes.
    pub fn peak_bytes(&self) -> u64 {
        let name = if self.is_second { "memory.peak" } else { "memory.max_usage_in_bytes" };
        self.read(name).trim().parse().unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn write(&self, name: &str, value: &str) {
        let path = self.folder.join(name);
        fs::write(&path, value).unwrap_or_else(|error| panic!("write {path:?}: {error}"));
    }

    fn read(&self, name: &str) -> String {
        let path = self.folder.join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {path:?}: {error}"))
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // A group that still has a process stays until the machine restarts.
        let _ = fs::remove_dir(&self.folder);
    }
}
