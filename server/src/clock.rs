//! The server's clock: the system's wall clock that never steps back while the process runs.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, never less than any value handed out before to any thread.
#[derive(Debug)]
pub(crate) struct Clock {
    latest_ms: AtomicI64,
}

impl Clock {
    /// A clock that starts at the system's time.
    pub(crate) fn new() -> Self {
        Self { latest_ms: AtomicI64::new(system_ms()) }
    }

    /// The time now. Read once per batch of commands; threads write the shared word only when
    /// the millisecond has changed.
    pub(crate) fn now_ms(&self) -> i64 {
        self.guard(system_ms())
    }

    fn guard(&self, system_ms: i64) -> i64 {
        let latest_ms = self.latest_ms.load(Ordering::Relaxed);
        if system_ms <= latest_ms {
            return latest_ms;
        }
        self.latest_ms.fetch_max(system_ms, Ordering::Relaxed).max(system_ms)
    }
}

/// The system's time, clamped to what a timestamp can hold.
fn system_ms() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(MILLIS_MAX).min(MILLIS_MAX),
        Err(before) => {
            -i64::try_from(before.duration().as_millis()).unwrap_or(MILLIS_MAX).min(MILLIS_MAX)
        }
    }
}

const MILLIS_MAX: i64 = 1 << 53;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_back_is_not_seen() {
        let clock = Clock { latest_ms: AtomicI64::new(1_000) };
        assert_eq!(clock.guard(1_500), 1_500);
        assert_eq!(clock.guard(1_200), 1_500);
        assert_eq!(clock.guard(1_501), 1_501);
    }
}
