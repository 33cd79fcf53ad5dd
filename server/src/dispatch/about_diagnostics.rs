//! Redis commands about what the server has noted: SLOWLOG, LATENCY, MEMORY, MONITOR.

use bytes::Bytes;
use tilekv_protocol::{
    CommandId, DiagnosticsCommand, ErrorReply, LatencyCommand, MemoryCommand, Reply, SlowLogCommand,
};

use super::{Action, Answer, Context};
use crate::family::Family;
use crate::latency_events::Series;
use crate::memory;
use crate::session::Session;
use crate::shared::Shared;
use crate::size;
use crate::slow_log::SlowEntry;

pub(super) fn run(
    context: &Context<'_>,
    session: &mut Session,
    command: DiagnosticsCommand,
) -> Result<Action, ErrorReply> {
    let reply = match command {
        DiagnosticsCommand::SlowLog(command) => slow_log(context.shared, command),
        DiagnosticsCommand::Latency(command) => latency(context.shared, &command),
        DiagnosticsCommand::Memory(command) => memory(context, &command)?,
        DiagnosticsCommand::Monitor => {
            context.shared.monitors.add(&session.client);
            Reply::OK
        }
    };
    Ok(Action::Reply(reply))
}

fn slow_log(shared: &Shared, command: SlowLogCommand) -> Reply {
    match command {
        SlowLogCommand::Get(count_max) => {
            let entries = shared.slow_log.newest(count_max.unwrap_or(usize::MAX));
            Reply::Array(entries.into_iter().map(slow_entry).collect())
        }
        SlowLogCommand::Length => count(shared.slow_log.len()),
        SlowLogCommand::Reset => {
            shared.slow_log.clear();
            Reply::OK
        }
    }
}

fn slow_entry(entry: SlowEntry) -> Reply {
    let micros = u64::try_from(entry.duration.as_micros()).unwrap_or(u64::MAX);
    Reply::Array(vec![
        Reply::Integer(entry.id),
        Reply::Integer(entry.time_s),
        Reply::unsigned(micros),
        Reply::Array(entry.arguments.into_iter().map(Reply::Bulk).collect()),
        Reply::text(entry.peer),
        Reply::text(entry.name),
    ])
}

fn latency(shared: &Shared, command: &LatencyCommand) -> Reply {
    let events = &shared.latency_events;
    match command {
        LatencyCommand::Latest => {
            let latest = |(event, series): (&'static str, Series)| {
                let (second, time_ms) = series.samples.back().copied().unwrap_or_default();
                let numbers = [second, time_ms, series.longest_ms].map(Reply::Integer);
                let event = Reply::text(event);
                Reply::Array(std::iter::once(event).chain(numbers).collect())
            };
            Reply::Array(events.all().into_iter().map(latest).collect())
        }
        LatencyCommand::History(event) => {
            let all = events.all().into_iter();
            let wanted = all.filter(|(name, _)| event.eq_ignore_ascii_case(name.as_bytes()));
            let samples = wanted.flat_map(|(_, series)| series.samples);
            let pair =
                |(second, time_ms)| Reply::Array([second, time_ms].map(Reply::Integer).into());
            Reply::Array(samples.map(pair).collect())
        }
        LatencyCommand::Reset(names) => {
            let is_chosen = |event: &str| {
                names.is_empty()
                    || names.iter().any(|name| name.eq_ignore_ascii_case(event.as_bytes()))
            };
            count(events.forget(is_chosen))
        }
        LatencyCommand::Doctor => Reply::text(diagnosis(shared)),
        LatencyCommand::Histogram(names) => histograms(shared, names),
    }
}

fn diagnosis(shared: &Shared) -> String {
    let threshold_ms = shared.latency_events.threshold_ms();
    if threshold_ms == 0 {
        return "Latency monitoring is off. CONFIG SET latency-monitor-threshold <milliseconds> \
                turns it on."
            .to_owned();
    }
    let all = shared.latency_events.all();
    if all.is_empty() {
        return format!("No command took {threshold_ms} milliseconds or more.");
    }
    let line = |(event, series): &(&'static str, Series)| {
        let (count, longest_ms) = (series.samples.len(), series.longest_ms);
        format!("{event}: {count} seconds with long ones, the longest {longest_ms} milliseconds.")
    };
    let lines: Vec<String> = all.iter().map(line).collect();
    format!("{}\nSLOWLOG GET shows which commands they were.", lines.join("\n"))
}

/// Times are kept by family of commands, so commands of one family have one distribution.
fn histograms(shared: &Shared, names: &[Bytes]) -> Reply {
    let is_wanted =
        |family: Family| names.is_empty() || names.iter().any(|name| is_of_family(name, family));
    let families = Family::ALL.into_iter().filter(|family| is_wanted(*family));
    let histogram = |family: Family| {
        let latency = shared.metrics.latency(family);
        let powers = (0..HISTOGRAM_POWER_COUNT).map(|power| 1_u64 << power);
        let bounds: Vec<_> = powers.clone().map(std::time::Duration::from_micros).collect();
        let mut total = 0;
        let pairs = powers.zip(latency.counts(&bounds)).filter_map(|(bound_us, found)| {
            total += found;
            (found > 0).then(|| (Reply::unsigned(bound_us), Reply::unsigned(total)))
        });
        let pairs = Reply::Map(pairs.collect());
        let calls = Reply::unsigned(latency.count());
        let fields = vec![(Reply::text("calls"), calls), (Reply::text("histogram_usec"), pairs)];
        (Reply::text(family.as_str()), Reply::Map(fields))
    };
    let used = families.filter(|family| shared.metrics.latency(*family).count() > 0);
    Reply::Map(used.map(histogram).collect())
}

/// Whether a name is that of the family, or of one of its commands.
fn is_of_family(name: &[u8], family: Family) -> bool {
    let group = CommandId::find(name).map_or("", |id| id.spec().group);
    let start = name.split(|byte| *byte == b'.').next().unwrap_or_default();
    group == family.as_str() || start.eq_ignore_ascii_case(family.as_str().as_bytes())
}

fn memory(context: &Context<'_>, command: &MemoryCommand) -> Answer {
    match command {
        MemoryCommand::Usage(key) => {
            let bytes = context.version.records().bytes_of(key, context.now_ms);
            Ok(bytes.map_or(Reply::Nil, Reply::unsigned))
        }
        MemoryCommand::Doctor => Ok(Reply::text(memory_diagnosis(context.shared))),
        MemoryCommand::Statistics => Ok(memory_statistics(context)),
    }
}

fn memory_diagnosis(shared: &Shared) -> String {
    let (used, most) = (memory::read().resident, shared.config.memory_bytes_max);
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    let verdict = if used <= most { "within" } else { "above" };
    let (used, most) = (size::print(used), size::print(most));
    format!("The process holds {used}, {verdict} its budget of {most}.")
}

fn memory_statistics(context: &Context<'_>) -> Reply {
    let (memory, info) = (memory::read(), context.version.info());
    let pairs = [
        ("total.allocated", memory.allocated),
        ("allocator.active", memory.active),
        ("allocator.resident", memory.resident),
        ("clients.normal", wide(context.shared.buffers.used())),
        ("overlay.bytes", wide(info.overlay_bytes)),
        ("write.queue.bytes", wide(context.shared.write_queue.bytes())),
    ];
    let pairs = pairs.map(|(name, bytes)| (Reply::text(name), Reply::unsigned(bytes)));
    Reply::Map(pairs.into())
}

fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn count(count: usize) -> Reply {
    Reply::unsigned(wide(count))
}

/// Histograms go from 1 microsecond to 2^26, about a minute.
const HISTOGRAM_POWER_COUNT: u32 = 27;
