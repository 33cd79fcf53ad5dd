//! CONFIG GET, SET and RESETSTAT. Settings of Redis that tools ask for are shown as what they
//! amount to here, beside our own; what may be set while the server runs is little, and lasts
//! until it ends.

use bytes::Bytes;
use tilekv_engine::disk::Durability;
use tilekv_protocol::{ConfigCommand, ErrorReply, Reply};

use super::{Answer, Context};
use crate::durability;
use crate::glob;
use crate::limits::SLOW_LOG_ENTRY_COUNT_MAX;
use crate::shared::Shared;
use crate::statistics::Statistics;

pub(super) fn run(context: &Context<'_>, command: ConfigCommand) -> Answer {
    match command {
        ConfigCommand::Get(patterns) => Ok(get(context.shared, &patterns)),
        ConfigCommand::Set(pairs) => set(context.shared, &pairs),
        ConfigCommand::ResetStatistics => {
            *context.shared.baseline.lock() = Statistics::read(&context.shared.metrics);
            Ok(Reply::OK)
        }
    }
}

fn get(shared: &Shared, patterns: &[Bytes]) -> Reply {
    let wanted = |name: &str| {
        patterns.iter().any(|pattern| glob::matches(&pattern.to_ascii_lowercase(), name.as_bytes()))
    };
    let pairs = parameters(shared).into_iter().filter(|(name, _)| wanted(name));
    Reply::Map(pairs.map(|(name, value)| (Reply::text(name), Reply::text(value))).collect())
}

/// All pairs are set, or none. A parameter that cannot change may be set to the value that it has;
/// saying OK to another value would be a lie.
fn set(shared: &Shared, pairs: &[(Bytes, Bytes)]) -> Answer {
    let parameters = parameters(shared);
    let mut changes = Vec::with_capacity(pairs.len());
    for (index, (name, value)) in pairs.iter().enumerate() {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let Some((name, current)) = parameters.iter().find(|(known, _)| *known == name) else {
            let name = name.escape_default();
            return Err(ErrorReply::usage(format!(
                "Unknown option or number of arguments for CONFIG SET - '{name}'"
            )));
        };
        let later = &pairs[index + 1..];
        if later.iter().any(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes())) {
            return Err(refused(name, "duplicate parameter"));
        }
        let value = String::from_utf8_lossy(value).into_owned();
        changes.push(Change::read(shared, name, current, value)?);
    }
    changes.into_iter().for_each(|change| change.make(shared));
    Ok(Reply::OK)
}

/// One pair of CONFIG SET that can be done.
enum Change {
    Nothing,
    SlowLogThreshold(i64),
    SlowLogLength(usize),
    LatencyThreshold(u64),
    Timeout(u64),
    WithoutEffect(&'static str, String),
}

impl Change {
    fn read(
        shared: &Shared,
        name: &'static str,
        current: &str,
        value: String,
    ) -> Result<Self, ErrorReply> {
        match name {
            "slowlog-log-slower-than" => {
                number(name, &value, -1, i64::MAX).map(Self::SlowLogThreshold)
            }
            "slowlog-max-len" => {
                let most = i64::try_from(SLOW_LOG_ENTRY_COUNT_MAX).unwrap_or(i64::MAX);
                let length = number(name, &value, 0, most)?;
                Ok(Self::SlowLogLength(usize::try_from(length).unwrap_or(0)))
            }
            "latency-monitor-threshold" => {
                let threshold_ms = number(name, &value, 0, i64::MAX)?;
                Ok(Self::LatencyThreshold(u64::try_from(threshold_ms).unwrap_or(0)))
            }
            "timeout" => {
                let timeout_s = number(name, &value, 0, i64::from(i32::MAX))?;
                Ok(Self::Timeout(u64::try_from(timeout_s).unwrap_or(0)))
            }
            _ if current == value => Ok(Self::Nothing),
            _ if shared.tunables.is_without_effect(name) => Ok(Self::WithoutEffect(name, value)),
            _ => Err(refused(
                name,
                &format!(
                    "can't set immutable config: it is '{current}' and can be changed by a \
                     restart only; docs/configuration.md tells how"
                ),
            )),
        }
    }

    fn make(self, shared: &Shared) {
        match self {
            Self::Nothing => {}
            Self::SlowLogThreshold(threshold_us) => shared.slow_log.set_threshold_us(threshold_us),
            Self::SlowLogLength(count_max) => shared.slow_log.set_entry_count_max(count_max),
            Self::LatencyThreshold(threshold_ms) => {
                shared.latency_events.set_threshold_ms(threshold_ms);
            }
            Self::Timeout(timeout_s) => shared.tunables.set_timeout_s(timeout_s),
            Self::WithoutEffect(name, value) => shared.tunables.set_without_effect(name, value),
        }
    }
}

fn number(name: &str, value: &str, least: i64, most: i64) -> Result<i64, ErrorReply> {
    let Ok(number) = value.parse::<i64>() else {
        return Err(refused(name, "argument couldn't be parsed into an integer"));
    };
    if (least..=most).contains(&number) {
        return Ok(number);
    }
    Err(refused(name, &format!("argument must be between {least} and {most} inclusive")))
}

/// Redis's words for a pair that cannot be set.
fn refused(name: &str, reason: &str) -> ErrorReply {
    let sentence = "CONFIG SET failed (possibly related to argument";
    ErrorReply::usage(format!("{sentence} '{name}') - {reason}"))
}

/// Redis's names with what is true here, then our own.
fn parameters(shared: &Shared) -> Vec<(&'static str, String)> {
    let config = &shared.config;
    let (appendonly, appendfsync) = match config.durability {
        Durability::Always => ("yes", "always"),
        Durability::Interval => ("yes", "everysec"),
        Durability::None => ("yes", "no"),
    };
    let mut parameters = vec![
        ("appendfsync", appendfsync.to_owned()),
        ("appendonly", appendonly.to_owned()),
        ("bind", config.address.ip().to_string()),
        ("databases", "1".to_owned()),
        ("dir", shared.data_dir.display().to_string()),
        ("durability", durability::name(config.durability).to_owned()),
        ("http-port", shared.http_address.port().to_string()),
        ("interval-ms", config.interval.as_millis().to_string()),
        ("maxclients", config.connection_count_max.to_string()),
        ("maxmemory", config.memory_bytes_max.to_string()),
        ("latency-monitor-threshold", shared.latency_events.threshold_ms().to_string()),
        ("lfu-decay-time", "1".to_owned()),
        ("lfu-log-factor", "10".to_owned()),
        ("maxmemory-policy", "noeviction".to_owned()),
        ("notify-keyspace-events", String::new()),
        ("port", shared.address.port().to_string()),
        ("proto-max-bulk-len", config.frame_bytes_max.to_string()),
        ("save", String::new()),
        ("slowlog-log-slower-than", shared.slow_log.threshold_us().to_string()),
        ("slowlog-max-len", shared.slow_log.entry_count_max().to_string()),
        ("tcp-keepalive", crate::limits::KEEPALIVE_IDLE_S.to_string()),
        ("threads", config.thread_count.to_string()),
        ("timeout", shared.tunables.timeout_s().to_string()),
    ];
    parameters.extend(shared.tunables.without_effect());
    parameters.sort();
    parameters
}
