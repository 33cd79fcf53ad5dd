//! How long to wait between attempts: a schedule fixed in advance. It knows nothing of what is
//! attempted, draws no random numbers and reads no clock.

use std::sync::Arc;
use std::time::Duration;

/// The delays between attempts. With `n` delays there are at most `n + 1` attempts. The same
/// schedule is used wherever a client waits: between attempts to connect, and before something
/// that was lost with its connection is sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    delays: Arc<[Duration]>,
}

impl Backoff {
    /// `count` delays: `first`, twice that, twice again, never above `maximum`.
    pub fn exponential(first: Duration, maximum: Duration, count: usize) -> Self {
        let doubled = |delay: &Duration| Some(delay.saturating_mul(2));
        let delays = std::iter::successors(Some(first), doubled);
        Self::from_delays(delays.map(|delay| delay.min(maximum)).take(count))
    }

    /// Exactly these delays; none means a single attempt.
    pub fn from_delays(delays: impl IntoIterator<Item = Duration>) -> Self {
        Self { delays: delays.into_iter().collect() }
    }

    /// A single attempt.
    pub fn none() -> Self {
        Self::from_delays([])
    }

    /// The delays in order.
    pub fn delays(&self) -> &[Duration] {
        &self.delays
    }

    /// The delay before the attempt after `failures` failed ones; none once there are no more.
    pub fn delay_after(&self, failures: usize) -> Option<Duration> {
        self.delays.get(failures.checked_sub(1)?).copied()
    }

    /// How long all delays are together.
    pub fn total(&self) -> Duration {
        self.delays.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_their_maximum() {
        let backoff = Backoff::exponential(Duration::from_millis(50), Duration::from_secs(1), 7);
        let millis: Vec<u128> = backoff.delays().iter().map(Duration::as_millis).collect();
        assert_eq!(millis, [50, 100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(backoff.total(), Duration::from_millis(3_550));
    }

    #[test]
    fn there_is_a_delay_after_each_failure_but_the_last() {
        let backoff = Backoff::from_delays([Duration::from_millis(3), Duration::from_millis(9)]);
        assert_eq!(backoff.delay_after(0), None);
        assert_eq!(backoff.delay_after(1), Some(Duration::from_millis(3)));
        assert_eq!(backoff.delay_after(2), Some(Duration::from_millis(9)));
        assert_eq!(backoff.delay_after(3), None);
        assert_eq!(Backoff::none().delay_after(1), None);
    }
}
