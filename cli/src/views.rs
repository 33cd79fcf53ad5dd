//! The commands on views and seals. Knows nothing of entities and tiles.

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
        View::Create { file: Some(path), .. } => view_file::read(path)?,
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
        let pairs = facts.into_iter().map(|(key, value)| (key.to_owned(), value.into()));
        return say(serde_json::Value::Object(pairs.collect()));
    }
    let mut table = Table::new(&[(info.definition.name.as_str(), Align::Left), ("", Align::Left)]);
    for (key, value) in facts {
        table.row(vec![key.to_owned(), value]);
    }
    say(table.render())
}

/// The definition and the figures as pairs of text.
fn facts(info: &ViewInfo) -> Vec<(&'static str, String)> {
    let view = &info.definition;
    let span = |span: Option<Span>| span.map_or_else(|| "none".to_owned(), |s| s.to_string());
    let time = |time: Option<i64>| time.map_or_else(|| "none".to_owned(), show);
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
    let columns = view.columns.iter();
    let columns = columns.map(|column| format!("{}:{}", column.name, column.kind.as_str()));
    let features = view.features.iter();
    let features = features.map(|feature| format!("{}={}", feature.name, feature.expression));
    vec![
        ("tile", view.tile.to_string()),
        ("retention", span(view.retention)),
        ("edge", edge.to_owned()),
        ("seal", seal.to_owned()),
        ("max lag", span(view.max_lag)),
        ("late", late.to_owned()),
        ("min rows", view.min_rows.to_string()),
        ("levels", view.levels.as_ref().map_or_else(|| "chosen".to_owned(), |l| joined(l.iter()))),
        ("keys", joined(view.keys.iter())),
        ("columns", joined(columns)),
        ("features", joined(features)),
        ("entities", render::grouped(info.entities)),
        ("tiles", render::grouped(info.tiles)),
        ("bytes", render::grouped(info.bytes)),
        ("sealed ranges", info.seals.len().to_string()),
        ("newest event", time(info.newest_event)),
        ("seal lag", info.seal_lag.map_or_else(|| "none".to_owned(), |ms| format!("{ms} ms"))),
        ("late dropped", render::grouped(info.late_dropped)),
        ("too old", render::grouped(info.too_old)),
    ]
}

fn joined(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(" ")
}
