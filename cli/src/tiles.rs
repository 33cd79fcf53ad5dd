//! The commands on events and stored tiles. Knows nothing of windows.

use bytes::Bytes;
use serde_json::{Value as Json, json};
use tilekv_client::blocking::Client;
use tilekv_client::{Identifier, Reply, StoredTile, TilePartials};

use crate::arguments::{Add, Delete, Producer, Range, Server, TileWrite};
use crate::clock_time;
use crate::failure::CliError;
use crate::render::{self, entity_bytes};
use crate::session::connect;
use crate::table::{Align, Table};
use crate::terminal::say;
use crate::views::name;

pub(crate) fn add(server: &Server, add: Add) -> Result<(), CliError> {
    let time = clock_time::parse(&add.time)?.to_string();
    let entity = entity_bytes(&add.entity);
    let mut arguments: Vec<&[u8]> =
        vec![b"TILE.ADD", add.view.as_bytes(), &entity, time.as_bytes()];
    for (column, value) in pairs(&add.values, "COLUMN=VALUE")? {
        arguments.extend([column.as_bytes(), value.as_bytes()]);
    }
    match connect(server, 0)?.command(&arguments)? {
        Reply::Integer(1) => say("added 1 event"),
        _ => say("acknowledged, not applied: the event lies in a sealed range of the view"),
    }
}

pub(crate) fn set(server: &Server, write: TileWrite) -> Result<(), CliError> {
    let (client, view, tile) = tile_of(server, write)?;
    client.set_tile(&name(&view)?, tile)?;
    say("replaced 1 tile")
}

pub(crate) fn merge(server: &Server, write: TileWrite) -> Result<(), CliError> {
    let (client, view, tile) = tile_of(server, write)?;
    client.merge_tile(&name(&view)?, tile)?;
    say("merged into 1 tile")
}

pub(crate) fn range(server: &Server, range: Range) -> Result<(), CliError> {
    let client = connect(server, 0)?;
    let view = name(&range.view)?;
    let (from, to) = (clock_time::parse(&range.from)?, clock_time::parse(&range.to)?);
    let features = if range.features.is_empty() {
        let definition = client.view_info(&view)?.definition;
        definition.features.into_iter().map(|feature| feature.name).collect()
    } else {
        let features = range.features.iter().map(|name| Identifier::parse(name.as_bytes()));
        features.collect::<Result<Vec<_>, _>>()?
    };
    let entity = entity_bytes(&range.entity);
    let tiles = client.tiles(&view, &entity, from, to, Some(&features))?;
    if range.json {
        return tiles.iter().try_for_each(|tile| say(to_json(&features, tile)));
    }
    let mut columns = vec![("tile start (UTC)", Align::Left)];
    columns.extend(features.iter().map(|feature| (feature.as_str(), Align::Right)));
    let mut table = Table::new(&columns);
    for tile in tiles {
        let mut cells = vec![clock_time::show(tile.start)];
        cells.extend(tile.partials.iter().map(|partial| render::text(partial)));
        table.row(cells);
    }
    say(table.render())
}

fn to_json(features: &[Identifier], tile: &StoredTile) -> Json {
    let partial = |(feature, partial): (&Identifier, &Bytes)| {
        let parsed = serde_json::from_slice(partial).unwrap_or(Json::Null);
        (feature.to_string(), parsed)
    };
    let partials: serde_json::Map<_, _> =
        features.iter().zip(&tile.partials).map(partial).collect();
    json!({ "tile_start": tile.start, "partials": partials })
}

pub(crate) fn delete(server: &Server, delete: Delete) -> Result<(), CliError> {
    let client = connect(server, 0)?;
    let count = match delete {
        Delete::Tiles { view, entity, from, to } => {
            let (from, to) = (clock_time::parse(&from)?, clock_time::parse(&to)?);
            client.delete_tiles(&name(&view)?, &entity_bytes(&entity), from, to)?
        }
        Delete::Entity { entity, views } => {
            let views = views.iter().map(|view| name(view)).collect::<Result<Vec<_>, _>>()?;
            let views = Some(views.as_slice()).filter(|views| !views.is_empty());
            client.delete_entity(&entity_bytes(&entity), views)?
        }
    };
    say(format_args!("removed {} tiles", render::grouped(count)))
}

pub(crate) fn producer(server: &Server, producer: Producer) -> Result<(), CliError> {
    let client = connect(server, 0)?;
    match client.producer_last(&name(&producer.view)?, producer.id.as_bytes())? {
        Some(last) => say(last),
        None => say("none"),
    }
}

fn tile_of(server: &Server, write: TileWrite) -> Result<(Client, String, TilePartials), CliError> {
    let partial = |(feature, partial): (&str, &str)| {
        let feature = Identifier::parse(feature.as_bytes())?;
        Ok((feature, Bytes::copy_from_slice(partial.as_bytes())))
    };
    let partials = pairs(&write.partials, "FEATURE=PARTIAL")?.into_iter().map(partial);
    let tile = TilePartials {
        entity: entity_bytes(&write.entity).into(),
        tile_start: clock_time::parse(&write.tile_start)?,
        partials: partials.collect::<Result<_, CliError>>()?,
    };
    Ok((connect(server, 0)?, write.view, tile))
}

/// Splits each word at its first equals sign.
pub(crate) fn pairs<'a>(
    words: &'a [String],
    form: &str,
) -> Result<Vec<(&'a str, &'a str)>, CliError> {
    let pair = |word: &'a String| {
        word.split_once('=').ok_or_else(|| CliError::Usage(format!("\"{word}\": expected {form}")))
    };
    words.iter().map(pair).collect()
}
