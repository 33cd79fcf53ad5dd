//! Settings of Redis that may change while the server runs and are kept nowhere else: the time
//! after which idle clients are disconnected, and those without an effect here. Knows nothing of
//! how clients are disconnected.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// The settings.
#[derive(Debug, Default)]
pub(crate) struct Tunables {
    /// `timeout` in seconds; 0 is never.
    timeout_s: AtomicU64,
    /// Guards values that were set of [`WITHOUT_EFFECT`].
    without_effect: Mutex<BTreeMap<&'static str, String>>,
}

impl Tunables {
    /// `timeout`: seconds after which an idle client is disconnected; 0 is never.
    pub(crate) fn timeout_s(&self) -> u64 {
        self.timeout_s.load(Ordering::Relaxed)
    }

    /// Sets `timeout`.
    pub(crate) fn set_timeout_s(&self, timeout_s: u64) {
        self.timeout_s.store(timeout_s, Ordering::Relaxed);
    }

    /// The settings without an effect, by name.
    pub(crate) fn without_effect(&self) -> Vec<(&'static str, String)> {
        let set = self.without_effect.lock();
        let value = |(name, default): &(&'static str, &str)| {
            (*name, set.get(name).map_or_else(|| (*default).to_owned(), String::clone))
        };
        WITHOUT_EFFECT.iter().map(value).collect()
    }

    /// Whether a setting has no effect here.
    pub(crate) fn is_without_effect(&self, name: &str) -> bool {
        WITHOUT_EFFECT.iter().any(|(known, _)| *known == name)
    }

    /// Remembers a setting without an effect.
    pub(crate) fn set_without_effect(&self, name: &'static str, value: String) {
        self.without_effect.lock().insert(name, value);
    }
}

/// Settings that tell Redis how to encode and schedule, with Redis's defaults. Nothing that they
/// say shows in an answer, so tools that set them can go on.
const WITHOUT_EFFECT: [(&str, &str); 12] = [
    ("active-expire-effort", "1"),
    ("hash-max-listpack-entries", "128"),
    ("hash-max-listpack-value", "64"),
    ("hash-max-ziplist-entries", "128"),
    ("hash-max-ziplist-value", "64"),
    ("hz", "10"),
    ("lazyfree-lazy-expire", "no"),
    ("lazyfree-lazy-server-del", "no"),
    ("lazyfree-lazy-user-del", "no"),
    ("lazyfree-lazy-user-flush", "no"),
    ("set-max-intset-entries", "512"),
    ("stop-writes-on-bgsave-error", "yes"),
];
