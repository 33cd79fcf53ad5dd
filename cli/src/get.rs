//! `tilekv get`: windows of entities as a table, as JSON or as CSV. Knows nothing of tiles.

use serde_json::{Value as Json, json};
use tilekv_client::{Batch, Edge, PlanBuilder, ReadOptions, Selector, Status, WindowBounds};

use crate::arguments::{EdgeWord, Get, Moment, Server};
use crate::clock_time;
use crate::failure::CliError;
use crate::render::{self, entity_bytes};
use crate::session::connect;
use crate::table::{Align, Table};
use crate::terminal::{say, write};

pub(crate) fn run(server: &Server, get: Get) -> Result<(), CliError> {
    let (entities, selectors) = split(&get.words)?;
    let entities: Vec<Vec<u8>> = entities.iter().map(|entity| entity_bytes(entity)).collect();
    let mut wanted = PlanBuilder::new().view(&get.view, selectors)?;
    if let Some(edge) = edge_of(&get.moment) {
        wanted = wanted.edge(edge);
    }
    if get.known {
        wanted = wanted.known_seals_only();
    }
    let options = match at_of(&get.moment)? {
        Some(at) => ReadOptions::at(at),
        None => ReadOptions::NOW,
    };
    let client = connect(server, 0)?;
    let batch = client.read_once(wanted, &entities, &options.with_status())?;
    if get.json {
        say(to_json(&entities, &batch))
    } else if get.csv {
        to_csv(&entities, &batch)
    } else {
        say(to_table(&entities, &batch))
    }
}

/// The time asked for.
pub(crate) fn at_of(moment: &Moment) -> Result<Option<i64>, CliError> {
    moment.at.as_deref().map(clock_time::parse).transpose()
}

/// The edge asked for.
pub(crate) fn edge_of(moment: &Moment) -> Option<Edge> {
    moment.edge.map(|edge| match edge {
        EdgeWord::Closed => Edge::Closed,
        EdgeWord::Live => Edge::Live,
    })
}

/// Entities come first; the selectors are the words at the end that can be read as such. At least
/// one word is an entity.
fn split(words: &[String]) -> Result<(&[String], &[String]), CliError> {
    let is_selector = |word: &&String| Selector::parse(word.as_bytes()).is_ok();
    let count = words.iter().rev().take_while(is_selector).count();
    let at = (words.len() - count).max(1).min(words.len());
    let (entities, selectors) = words.split_at(at);
    if let Some(last) = entities.last().filter(|last| selectors.is_empty() || last.contains('@')) {
        // Says what is wrong with it.
        Selector::parse(last.as_bytes())?;
    }
    if selectors.is_empty() {
        let form = "expected entities, then selectors such as likes@7d";
        return Err(CliError::Usage(format!("no selector: {form}")));
    }
    Ok((entities, selectors))
}

/// One answer with everything that is known of it.
struct Answer<'a> {
    entity: &'a [u8],
    selector: &'a Selector,
    value: tilekv_client::Value,
    status: Option<Status>,
    bounds: Option<WindowBounds>,
    tiles_read: u32,
}

fn answers<'a>(entities: &'a [Vec<u8>], batch: &'a Batch) -> impl Iterator<Item = Answer<'a>> {
    let of_entity = |(row, entity): (usize, &'a Vec<u8>)| {
        batch.columns().map(move |column| Answer {
            entity,
            selector: column.selector(),
            value: column.value(row),
            status: column.status(row),
            bounds: column.bounds(row),
            tiles_read: column.tiles_read(row).unwrap_or(0),
        })
    };
    entities.iter().enumerate().flat_map(of_entity)
}

fn status_word(status: Option<Status>) -> &'static str {
    status.map_or("", Status::as_str)
}

fn to_table(entities: &[Vec<u8>], batch: &Batch) -> String {
    let mut table = Table::new(&[
        ("entity", Align::Left),
        ("window", Align::Left),
        ("value", Align::Right),
        ("status", Align::Left),
        ("from (UTC)", Align::Left),
        ("to (UTC)", Align::Left),
        ("tiles", Align::Right),
    ]);
    for answer in answers(entities, batch) {
        let start = answer.bounds.and_then(|bounds| bounds.start);
        table.row(vec![
            render::entity(answer.entity),
            answer.selector.to_string(),
            render::value(&answer.value),
            status_word(answer.status).to_owned(),
            start.map_or_else(|| "the beginning".to_owned(), clock_time::show),
            answer.bounds.map(|bounds| clock_time::show(bounds.end)).unwrap_or_default(),
            answer.tiles_read.to_string(),
        ]);
    }
    table.render()
}

fn to_json(entities: &[Vec<u8>], batch: &Batch) -> Json {
    let object = |answer: Answer<'_>| {
        json!({
            "entity": render::text(answer.entity),
            "window": answer.selector.to_string(),
            "value": render::json(&answer.value),
            "status": status_word(answer.status),
            "window_start": answer.bounds.and_then(|bounds| bounds.start),
            "window_end": answer.bounds.map(|bounds| bounds.end),
            "tiles_read": answer.tiles_read,
        })
    };
    answers(entities, batch).map(object).collect()
}

fn to_csv(entities: &[Vec<u8>], batch: &Batch) -> Result<(), CliError> {
    const HEADER: [&str; 7] =
        ["entity", "window", "value", "status", "window_start", "window_end", "tiles_read"];
    let mut writer = csv::Writer::from_writer(Vec::new());
    let failed = |error: csv::Error| CliError::Output(std::io::Error::other(error));
    writer.write_record(HEADER).map_err(failed)?;
    for answer in answers(entities, batch) {
        let millis = |time: Option<i64>| time.map(|time| time.to_string()).unwrap_or_default();
        let value = match &answer.value {
            tilekv_client::Value::Nil => String::new(),
            value => render::value(value),
        };
        let record = [
            render::text(answer.entity),
            answer.selector.to_string(),
            value,
            status_word(answer.status).to_owned(),
            millis(answer.bounds.and_then(|bounds| bounds.start)),
            millis(answer.bounds.map(|bounds| bounds.end)),
            answer.tiles_read.to_string(),
        ];
        writer.write_record(&record).map_err(failed)?;
    }
    let bytes = writer.into_inner().map_err(|error| failed(error.into_error().into()))?;
    write(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn selectors_are_the_words_at_the_end() {
        let all = words("u:1 a@b.example u:2 likes@7d likes@7d:1d");
        let (entities, selectors) = split(&all).unwrap();
        assert_eq!((entities.len(), selectors.len()), (3, 2));
        let all = words("likes@7d likes@7d");
        let (entities, selectors) = split(&all).unwrap();
        assert_eq!((entities.len(), selectors.len()), (1, 1), "an entity may look like one");
    }

    #[test]
    fn a_selector_that_is_none_is_named() {
        let error = split(&words("u:1 likes@7x")).unwrap_err().to_string();
        assert!(error.contains("7x"), "{error}");
        let error = split(&words("u:1 likes")).unwrap_err().to_string();
        assert!(error.contains("likes"), "{error}");
    }
}
