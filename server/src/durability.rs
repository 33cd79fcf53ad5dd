//! The durability modes in words.

use std::time::Duration;

use tilekv_engine::disk::Durability;

/// The mode as it is written in the configuration.
pub(crate) fn name(durability: Durability) -> &'static str {
    match durability {
        Durability::Always => "always",
        Durability::Interval => "interval",
        Durability::None => "none",
    }
}

/// What an acknowledged write survives.
pub(crate) fn promise(durability: Durability, interval: Duration) -> String {
    match durability {
        Durability::Always => "an acknowledged write survives a power cut".to_owned(),
        Durability::Interval => {
            format!("a power cut takes back at most the last {} ms", interval.as_millis())
        }
        Durability::None => {
            "an acknowledged write survives kill -9, a power cut may take back any".to_owned()
        }
    }
}
