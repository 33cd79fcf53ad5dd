//! The VIEW family, and SEAL.LIST.

use tilekv_engine::ViewInfo;
use tilekv_protocol::{ErrorReply, Reply, ViewCommand};
use tilekv_tile::{Edge, LateMode, SealMode, Span, ViewDefinition};

use super::{Action, Context, writes};
use crate::dispatch::scan::Scan;

pub(super) fn run(context: &Context<'_>, command: ViewCommand) -> Result<Action, ErrorReply> {
    match command {
        ViewCommand::List => {
            let names = context.shared.reader.view_names(&context.version);
            let names = names.iter().map(|name| Reply::text(name.as_str()));
            Ok(Action::Reply(Reply::Array(names.collect())))
        }
        ViewCommand::Info(view) => Ok(Action::Scan(Scan::ViewInfo(view))),
        change => match writes::view(change) {
            Some(write) => Ok(Action::Write(Box::new(write))),
            None => unreachable!("VIEW.LIST and VIEW.INFO are matched above"),
        },
    }
}

/// The reply of VIEW.INFO: the definition, then figures.
pub(super) fn info(info: &ViewInfo) -> Reply {
    Reply::Map(vec![
        pair("definition", Reply::Map(definition(&info.definition))),
        pair("entities", Reply::unsigned(info.entities)),
        pair("tiles", Reply::unsigned(info.tiles)),
        pair("bytes", Reply::unsigned(info.bytes)),
        pair("seals", seal_list(&info.seals)),
        pair("newest_event", info.newest_event.map_or(Reply::Nil, Reply::Integer)),
        pair("seal_lag", info.seal_lag.map_or(Reply::Nil, Reply::Integer)),
        pair("late_dropped", Reply::unsigned(info.late_dropped)),
        pair("too_old", Reply::unsigned(info.too_old)),
        pair("last_job_rows", info.last_job.map_or(Reply::Nil, |job| Reply::unsigned(job.rows))),
        pair(
            "last_job_at",
            info.last_job.map_or(Reply::Nil, |job| Reply::Integer(job.committed_at)),
        ),
    ])
}

/// The reply of SEAL.LIST.
pub(super) fn seal_list(seals: &[(i64, i64, i64)]) -> Reply {
    let triple = |(from, to, made_at): &(i64, i64, i64)| {
        Reply::Array([*from, *to, *made_at].map(Reply::Integer).to_vec())
    };
    Reply::Array(seals.iter().map(triple).collect())
}

fn definition(view: &ViewDefinition) -> Vec<(Reply, Reply)> {
    let edge = match view.edge {
        Edge::Closed => "closed",
        Edge::Live => "live",
    };
    let seal = match view.seal {
        SealMode::Off => "off",
        SealMode::Required => "required",
    };
    let late = match view.late {
        LateMode::Add => "add",
        LateMode::Drop => "drop",
    };
    vec![
        pair("name", Reply::text(view.name.as_str())),
        pair("tile", Reply::text(view.tile.to_string())),
        pair("retention", span(view.retention)),
        pair("edge", Reply::text(edge)),
        pair("seal", Reply::text(seal)),
        pair("max_lag", span(view.max_lag)),
        pair("late", Reply::text(late)),
        pair("min_rows", Reply::unsigned(view.min_rows)),
        pair("levels", levels(view.levels.as_deref())),
        pair("keys", texts(view.keys.iter().map(|key| key.as_str().to_owned()))),
        pair("columns", columns(view)),
        pair("features", features(view)),
    ]
}

fn columns(view: &ViewDefinition) -> Reply {
    texts(view.columns.iter().map(|column| format!("{}:{}", column.name, column.kind.as_str())))
}

fn features(view: &ViewDefinition) -> Reply {
    texts(view.features.iter().map(|feature| format!("{}={}", feature.name, feature.expression)))
}

fn levels(levels: Option<&[Span]>) -> Reply {
    levels.map_or(Reply::Nil, |levels| texts(levels.iter().map(Span::to_string)))
}

fn span(span: Option<Span>) -> Reply {
    span.map_or(Reply::Nil, |span| Reply::text(span.to_string()))
}

fn texts(items: impl Iterator<Item = String>) -> Reply {
    Reply::Array(items.map(Reply::text).collect())
}

fn pair(name: &'static str, value: Reply) -> (Reply, Reply) {
    (Reply::Bulk(bytes::Bytes::from_static(name.as_bytes())), value)
}
