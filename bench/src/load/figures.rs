//! What a load measured: throughput, latencies, and the processor time of both sides. Knows
//! nothing of how it came about.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// Latencies in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Latencies {
    /// Half of the requests took no longer.
    pub p50_us: f64,
    /// 99% took no longer.
    pub p99_us: f64,
    /// 99.9% took no longer.
    pub p999_us: f64,
    /// None took longer.
    pub max_us: f64,
}

/// What one run of a load measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// Requests answered while it was measured.
    pub requests: u64,
    /// Requests refused because the peer was busy; they count nowhere else.
    pub busy: u64,
    /// Requests answered per second.
    pub per_second: f64,
    /// Time from the request, or from when it was due, to its whole answer.
    pub latencies: Latencies,
    /// Processor time of the server per request, in microseconds, both modes; none where the
    /// server's process is not known.
    pub server_cpu_us: Option<f64>,
    /// The share of the time for which the measuring thread was on its core, 0 to 1. Near 1 in a
    /// closed loop means that the measuring side may be what limits.
    pub client_share: f64,
}

/// Latencies as they are collected.
pub(super) struct Collected {
    histogram: Histogram<u64>,
    pub(super) busy: u64,
}

impl Collected {
    /// Room for latencies of up to a minute, to three digits.
    pub(super) fn new() -> Self {
        let Ok(mut histogram) = Histogram::new_with_max(60_000_000_000, 3) else {
            unreachable!("the bounds of the histogram are sound");
        };
        histogram.auto(true);
        Self { histogram, busy: 0 }
    }

    pub(super) fn add(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(nanoseconds);
    }

    pub(super) fn clear(&mut self) {
        self.histogram.clear();
        self.busy = 0;
    }

    pub(super) fn count(&self) -> u64 {
        self.histogram.len()
    }

    pub(super) fn latencies(&self) -> Latencies {
        let at = |quantile| microseconds(self.histogram.value_at_quantile(quantile));
        Latencies {
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: microseconds(self.histogram.max()),
        }
    }
}

fn microseconds(nanoseconds: u64) -> f64 {
    Duration::from_nanos(nanoseconds).as_secs_f64() * 1e6
}
