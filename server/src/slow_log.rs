//! SLOWLOG: the newest commands that took longer than a threshold, as Redis keeps them. Knows
//! nothing of how commands are run.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tilekv_protocol::Arguments;

use crate::limits::{SLOW_LOG_ARGUMENT_BYTES_MAX, SLOW_LOG_ARGUMENT_COUNT_MAX};

/// The log and its two settings.
#[derive(Debug)]
pub(crate) struct SlowLog {
    /// `slowlog-log-slower-than` in microseconds; below 0, nothing is logged.
    threshold_us: AtomicI64,
    /// `slowlog-max-len`.
    entry_count_max: AtomicUsize,
    /// Guards the entries, newest first.
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    newest_first: VecDeque<SlowEntry>,
    next_id: i64,
}

/// One command that took long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlowEntry {
    /// Its number, unique while the process runs.
    pub(crate) id: i64,
    /// When it ended, in seconds since the epoch.
    pub(crate) time_s: i64,
    /// How long it took.
    pub(crate) duration: Duration,
    /// Its arguments, cut as Redis cuts them.
    pub(crate) arguments: Vec<Bytes>,
    /// The client's address.
    pub(crate) peer: String,
    /// The client's name.
    pub(crate) name: String,
}

impl Default for SlowLog {
    fn default() -> Self {
        Self {
            threshold_us: AtomicI64::new(THRESHOLD_US_DEFAULT),
            entry_count_max: AtomicUsize::new(ENTRY_COUNT_MAX_DEFAULT),
            entries: Mutex::default(),
        }
    }
}

impl SlowLog {
    /// Whether a command that took so long is logged.
    pub(crate) fn takes(&self, duration: Duration) -> bool {
        let threshold = u128::try_from(self.threshold_us.load(Ordering::Relaxed));
        threshold.is_ok_and(|threshold| threshold <= duration.as_micros())
    }

    /// Logs a command; its id is given here.
    pub(crate) fn push(&self, mut entry: SlowEntry) {
        let most = self.entry_count_max.load(Ordering::Relaxed);
        let mut entries = self.entries.lock();
        entry.id = entries.next_id;
        entries.next_id += 1;
        entries.newest_first.push_front(entry);
        entries.newest_first.truncate(most);
    }

    /// The newest entries, at most so many, newest first.
    pub(crate) fn newest(&self, count_max: usize) -> Vec<SlowEntry> {
        self.entries.lock().newest_first.iter().take(count_max).cloned().collect()
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.lock().newest_first.len()
    }

    /// Forgets every entry; numbers go on.
    pub(crate) fn clear(&self) {
        self.entries.lock().newest_first.clear();
    }

    /// `slowlog-log-slower-than`.
    pub(crate) fn threshold_us(&self) -> i64 {
        self.threshold_us.load(Ordering::Relaxed)
    }

    /// Sets `slowlog-log-slower-than`.
    pub(crate) fn set_threshold_us(&self, threshold_us: i64) {
        self.threshold_us.store(threshold_us, Ordering::Relaxed);
    }

    /// `slowlog-max-len`.
    pub(crate) fn entry_count_max(&self) -> usize {
        self.entry_count_max.load(Ordering::Relaxed)
    }

    /// Sets `slowlog-max-len` and forgets the oldest entries beyond it.
    pub(crate) fn set_entry_count_max(&self, count_max: usize) {
        self.entry_count_max.store(count_max, Ordering::Relaxed);
        self.entries.lock().newest_first.truncate(count_max);
    }
}

/// Copies arguments as far as the log keeps them: what is cut off is told in the last place.
pub(crate) fn kept_arguments(arguments: &Arguments) -> Vec<Bytes> {
    let count = arguments.len();
    let is_cut = SLOW_LOG_ARGUMENT_COUNT_MAX < count;
    let whole = if is_cut { SLOW_LOG_ARGUMENT_COUNT_MAX - 1 } else { count };
    let mut kept: Vec<Bytes> = arguments.iter().take(whole).map(kept_argument).collect();
    if is_cut {
        kept.push(Bytes::from(format!("... ({} more arguments)", count - whole)));
    }
    kept
}

fn kept_argument(argument: &[u8]) -> Bytes {
    if argument.len() <= SLOW_LOG_ARGUMENT_BYTES_MAX {
        return Bytes::copy_from_slice(argument);
    }
    let (head, rest) = argument.split_at(SLOW_LOG_ARGUMENT_BYTES_MAX);
    let mut kept = head.to_vec();
    kept.extend_from_slice(format!("... ({} more bytes)", rest.len()).as_bytes());
    Bytes::from(kept)
}

const THRESHOLD_US_DEFAULT: i64 = 10_000;
const ENTRY_COUNT_MAX_DEFAULT: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(milliseconds: u64) -> SlowEntry {
        SlowEntry {
            id: 0,
            time_s: 0,
            duration: Duration::from_millis(milliseconds),
            arguments: Vec::new(),
            peer: String::new(),
            name: String::new(),
        }
    }

    #[test]
    fn the_threshold_decides() {
        let log = SlowLog::default();
        assert!(!log.takes(Duration::from_micros(9_999)) && log.takes(Duration::from_millis(10)));
        log.set_threshold_us(0);
        assert!(log.takes(Duration::ZERO));
        log.set_threshold_us(-1);
        assert!(!log.takes(Duration::from_secs(1000)));
    }

    #[test]
    fn the_oldest_entries_go_and_numbers_go_on() {
        let log = SlowLog::default();
        log.set_entry_count_max(3);
        (1..=5).for_each(|milliseconds| log.push(entry(milliseconds)));
        let ids = |log: &SlowLog| -> Vec<i64> {
            log.newest(usize::MAX).iter().map(|entry| entry.id).collect()
        };
        assert_eq!(ids(&log), [4, 3, 2]);
        assert_eq!(log.newest(1)[0].duration, Duration::from_millis(5));
        log.set_entry_count_max(2);
        assert_eq!(log.len(), 2);
        log.clear();
        log.push(entry(6));
        assert_eq!(ids(&log), [5]);
    }

    #[test]
    fn long_commands_are_cut() {
        let fits = vec![vec![b'x'; SLOW_LOG_ARGUMENT_BYTES_MAX]; SLOW_LOG_ARGUMENT_COUNT_MAX];
        assert_eq!(kept_arguments(&Arguments::from_list(&fits).unwrap()), fits);
        let long = vec![vec![b'x'; SLOW_LOG_ARGUMENT_BYTES_MAX + 1]; fits.len() + 1];
        let kept = kept_arguments(&Arguments::from_list(&long).unwrap());
        assert_eq!(kept.len(), fits.len());
        assert!(kept[0].ends_with(b"xx... (1 more bytes)"), "{:?}", kept[0]);
        assert_eq!(kept[kept.len() - 1], "... (2 more arguments)");
    }
}
