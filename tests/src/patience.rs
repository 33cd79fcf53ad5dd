//! Waiting for what another process does: looked at again and again until a deadline that only a
//! failure meets. It knows nothing of what is waited for.

use std::time::{Duration, Instant};

/// How long something may take that should take a moment, on the busiest machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(2);

/// Waits until something is so.
///
/// # Panics
/// After [`DEADLINE`], naming what did not come about.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain until {what}");
        pause();
    }
}

/// The moment between two looks.
pub fn pause() {
    std::thread::sleep(PAUSE);
}
