//! The commands on views and seals. Knows nothing of entities and tiles.

use serde_json::{Value as Json, json};
use tilekv_client::blocking::Client;
use tilekv_client::{Edge, LateMode, Name, SealMode, Span, ViewInfo};

use crate::arguments::{Seal, SealRange, Server, View};
use crate::clock_time;
use crate::failure::CliError;
use crate::render;
use crate::session::connect;
use crate::table::{Align, Table};
use crate::terminal::say;
use crate::view_file;

pub(crate) fn run(server: &Server, action: View) -> Result<(), CliError> {
    // A file that cannot be used is told before the server is asked for anything.
    let definitions = match &action {
        View::Create { file: Some(path), .. } => view_file::read(path)?.views,
        _ => Vec::new(),
    };
    let client = connect(server, 0)?;
    match action {
        View::Create { file: Some(_), .. } => {
            for definition in definitions {
                client.create_view(&definition)?;
                say(format_args!("created view {}", definition.name))?;
            }
            Ok(())
        }
        View::Create { words, file: None } => command(&client, "VIEW.CREATE", "created", &words),
        View::Alter { words } => command(&client, "VIEW.ALTER", "changed", &words),
        View::List => client.view_names()?.iter().try_for_each(say),
        View::Info { view, json } => info(&client.view_info(&name(&view)?)?, json),
        View::Drop { view } => {
            client.drop_view(&name(&view)?)?;
            say(format_args!("dropped view {view}"))
        }
    }
}

pub(crate) fn seal(server: &Server, action: Seal) -> Result<(), CliError> {
    let client = connect(server, 0)?;
    match action {
        Seal::Add(range) => {
            let (view, from, to) = range_of(&range)?;
            client.add_seal(&view, from, to)?;
            say(format_args!("sealed {view} from {} to {}", show(from), show(to)))
        }
        Seal::Del(range) => {
            let (view, from, to) = range_of(&range)?;
            client.delete_seal(&view, from, to)?;
            say(format_args!("withdrew the seal of {view} from {} to {}", show(from), show(to)))
        }
        Seal::List { view } => {
            let headings = ["from (UTC)", "to (UTC)", "made at (UTC)"];
            let mut table = Table::new(&headings.map(|heading| (heading, Align::Left)));
            for seal in client.seals(&name(&view)?)? {
                table.row([seal.from, seal.to, seal.made_at].map(show).into());
            }
            say(table.render())
        }
    }
}

/// A name as typed.
pub(crate) fn name(text: &str) -> Result<Name, CliError> {
    Ok(Name::parse(text.as_bytes())?)
}

fn command(client: &Client, verb: &str, done: &str, words: &[String]) -> Result<(), CliError> {
    let arguments: Vec<&str> =
        std::iter::once(verb).chain(words.iter().map(String::as_str)).collect();
    client.command(&arguments)?;
    let view = words.first().map_or("", String::as_str);
    say(format_args!("{done} view {view}"))
}

fn range_of(range: &SealRange) -> Result<(Name, i64, i64), CliError> {
    Ok((name(&range.view)?, clock_time::parse(&range.from)?, clock_time::parse(&range.to)?))
}

fn show(millis: i64) -> String {
    clock_time::show(millis)
}

fn info(info: &ViewInfo, json: bool) -> Result<(), CliError> {
    let facts = facts(info);
    if json {
        let pairs = facts.into_iter().map(|(key, value)| (key.replace(' ', "_"), value));
        return say(Json::Object(pairs.collect()));
    }
    let mut table = Table::new(&[("", Align::Left), (info.definition.name.as_str(), Align::Left)]);
    for (key, value) in facts {
        for (index, line) in lines(&value).into_iter().enumerate() {
            table.row(vec![if index == 0 { key.to_owned() } else { String::new() }, line]);
        }
    }
    say(table.render())
}

/// The definition and the figures.
fn facts(info: &ViewInfo) -> Vec<(&'static str, Json)> {
    let view = &info.definition;
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
    let span = |span: Option<Span>| json!(span.map(|span| span.to_string()));
    let columns = view.columns.iter();
    let columns = columns.map(|column| format!("{}:{}", column.name, column.kind.as_str()));
    let features = view.features.iter();
    let features = features.map(|feature| format!("{}={}", feature.name, feature.expression));
    vec![
        ("tile", json!(view.tile.to_string())),
        ("retention", span(view.retention)),
        ("edge", json!(edge)),
        ("seal", json!(seal)),
        ("max lag", span(view.max_lag)),
        ("late", json!(late)),
        ("min rows", json!(view.min_rows)),
        ("levels", view.levels.as_ref().map_or(Json::Null, |levels| texts(levels.iter()))),
        ("keys", texts(view.keys.iter())),
        ("columns", texts(columns)),
        ("features", texts(features)),
        ("entities", json!(info.entities)),
        ("tiles", json!(info.tiles)),
        ("bytes", json!(info.bytes)),
        ("sealed ranges", json!(info.seals.len())),
        ("newest event", json!(info.newest_event.map(show))),
        ("seal lag ms", json!(info.seal_lag)),
        ("late dropped", json!(info.late_dropped)),
        ("too old", json!(info.too_old)),
        ("last job rows", json!(info.last_job_rows)),
        ("last job", json!(info.last_job_at.map(show))),
    ]
}

fn texts(items: impl Iterator<Item = impl ToString>) -> Json {
    items.map(|item| item.to_string()).collect()
}

/// A fact as lines of text: a list has one for each item.
fn lines(value: &Json) -> Vec<String> {
    match value {
        Json::Null => vec!["none".to_owned()],
        Json::String(text) => vec![text.clone()],
        Json::Array(items) if items.is_empty() => vec!["none".to_owned()],
        Json::Array(items) => items.iter().flat_map(lines).collect(),
        Json::Number(number) => {
            vec![number.as_u64().map_or_else(|| number.to_string(), render::grouped)]
        }
        other => vec![other.to_string()],
    }
}
