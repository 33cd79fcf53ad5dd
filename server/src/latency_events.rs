//! LATENCY: commands that took longer than a threshold in milliseconds, as series of samples, one
//! a second at most, as Redis keeps them. Knows nothing of how commands are run.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::limits::LATENCY_SAMPLE_COUNT_MAX;

/// The series of all events, and the setting.
#[derive(Debug, Default)]
pub(crate) struct LatencyEvents {
    /// `latency-monitor-threshold` in milliseconds; 0 notes nothing.
    threshold_ms: AtomicU64,
    /// Guards the series, by event.
    series: Mutex<BTreeMap<&'static str, Series>>,
}

/// The samples of one event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Series {
    /// Oldest first: seconds since the epoch, and the longest of that second in milliseconds.
    pub(crate) samples: VecDeque<(i64, i64)>,
    /// The longest ever, in milliseconds.
    pub(crate) longest_ms: i64,
}

impl LatencyEvents {
    /// Notes an event that took so long, if that is long.
    pub(crate) fn note(&self, event: &'static str, now_s: i64, time: Duration) {
        let threshold_ms = u128::from(self.threshold_ms.load(Ordering::Relaxed));
        if threshold_ms == 0 || time.as_millis() < threshold_ms {
            return;
        }
        let time_ms = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        self.series.lock().entry(event).or_default().add(now_s, time_ms);
    }

    /// `latency-monitor-threshold`.
    pub(crate) fn threshold_ms(&self) -> u64 {
        self.threshold_ms.load(Ordering::Relaxed)
    }

    /// Sets `latency-monitor-threshold`.
    pub(crate) fn set_threshold_ms(&self, threshold_ms: u64) {
        self.threshold_ms.store(threshold_ms, Ordering::Relaxed);
    }

    /// Every event and its series, by name.
    pub(crate) fn all(&self) -> Vec<(&'static str, Series)> {
        self.series.lock().iter().map(|(event, series)| (*event, series.clone())).collect()
    }

    /// Forgets the events chosen, and returns how many they were.
    pub(crate) fn forget(&self, is_chosen: impl Fn(&str) -> bool) -> usize {
        let mut series = self.series.lock();
        let before = series.len();
        series.retain(|event, _| !is_chosen(event));
        before - series.len()
    }
}

impl Series {
    fn add(&mut self, now_s: i64, time_ms: i64) {
        self.longest_ms = self.longest_ms.max(time_ms);
        if let Some((second, longest_ms)) = self.samples.back_mut()
            && *second == now_s
        {
            *longest_ms = (*longest_ms).max(time_ms);
            return;
        }
        if LATENCY_SAMPLE_COUNT_MAX <= self.samples.len() {
            self.samples.pop_front();
        }
        self.samples.push_back((now_s, time_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_one_sample_and_a_series_a_bound() {
        let events = LatencyEvents::default();
        events.note("command", 1, Duration::from_secs(9));
        assert!(events.all().is_empty(), "the threshold is 0");
        events.set_threshold_ms(5);
        for (second, time_ms) in [(1, 4), (1, 5), (1, 8), (1, 6), (2, 7)] {
            events.note("command", second, Duration::from_millis(time_ms));
        }
        let all = events.all();
        assert_eq!(all[0].1, Series { samples: [(1, 8), (2, 7)].into(), longest_ms: 8 });
        let most = i64::try_from(LATENCY_SAMPLE_COUNT_MAX).unwrap();
        (3..=most + 1).for_each(|second| events.note("command", second, Duration::from_secs(1)));
        let samples = &events.all()[0].1.samples;
        assert_eq!((samples.len(), samples[0]), (LATENCY_SAMPLE_COUNT_MAX, (2, 7)));
        assert_eq!(events.forget(|event| event == "other"), 0);
        assert_eq!((events.forget(|event| event == "command"), events.all().len()), (1, 0));
    }
}
