//! CONFIG GET, SET and RESETSTAT. Settings of Redis that tools ask for are shown as what they
//! amount to here, beside our own; what may be set while the server runs is little.

use bytes::Bytes;
use tilekv_engine::disk::Durability;
use tilekv_protocol::{ConfigCommand, ErrorReply, Reply};

use super::{Answer, Context};
use crate::durability;
use crate::glob;
use crate::shared::Shared;

pub(super) fn run(context: &Context<'_>, command: ConfigCommand) -> Answer {
    match command {
        ConfigCommand::Get(patterns) => Ok(get(context.shared, &patterns)),
        ConfigCommand::Set(pairs) => set(context.shared, &pairs),
        ConfigCommand::ResetStatistics => Ok(Reply::OK),
    }
}

fn get(shared: &Shared, patterns: &[Bytes]) -> Reply {
    let wanted = |name: &str| {
        patterns.iter().any(|pattern| glob::matches(&pattern.to_ascii_lowercase(), name.as_bytes()))
    };
    let pairs = parameters(shared).into_iter().filter(|(name, _)| wanted(name));
    Reply::Map(pairs.map(|(name, value)| (Reply::text(name), Reply::text(value))).collect())
}

/// A parameter may be set to the value that it has; another value needs a restart, and saying OK
/// to it would be a lie.
fn set(shared: &Shared, pairs: &[(Bytes, Bytes)]) -> Answer {
    let parameters = parameters(shared);
    for (name, value) in pairs {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let Some((_, current)) = parameters.iter().find(|(known, _)| *known == name) else {
            return Err(ErrorReply::usage(format!(
                "Unknown option or number of arguments for CONFIG SET - '{name}'"
            )));
        };
        if current.as_bytes() != value.as_ref() {
            return Err(ErrorReply::usage(format!(
                "CONFIG SET failed (possibly related to argument '{name}') - it is '{current}' \
                 and can be changed by a restart only; docs/configuration.md tells how"
            )));
        }
    }
    Ok(Reply::OK)
}

/// Redis's names with what is true here, then our own.
fn parameters(shared: &Shared) -> Vec<(&'static str, String)> {
    let config = &shared.config;
    let (appendonly, appendfsync) = match config.durability {
        Durability::Always => ("yes", "always"),
        Durability::Interval => ("yes", "everysec"),
        Durability::None => ("yes", "no"),
    };
    vec![
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
        ("maxmemory-policy", "noeviction".to_owned()),
        ("port", shared.address.port().to_string()),
        ("proto-max-bulk-len", config.frame_bytes_max.to_string()),
        ("save", String::new()),
        ("tcp-keepalive", crate::limits::KEEPALIVE_IDLE_S.to_string()),
        ("threads", config.thread_count.to_string()),
        ("timeout", "0".to_owned()),
    ]
}
