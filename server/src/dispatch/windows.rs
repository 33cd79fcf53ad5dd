//! WINDOW.GET, WINDOW.MGET and WINDOW.EXPLAIN, answered from the turn's snapshot.

use bytes::Bytes;
use smallvec::SmallVec;
use tilekv_engine::{Explanation, ReadRequest};
use tilekv_protocol::{
    ErrorReply, ReadTime, Reply, WindowCommand, WindowExplain, WindowRead, WindowsReply,
};

use super::{Answer, Context};
use crate::refuse;

pub(super) fn run(context: &Context<'_>, command: WindowCommand) -> Answer {
    match command {
        WindowCommand::Read(read) => self::read(context, *read),
        WindowCommand::Explain(explain) => self::explain(context, *explain),
    }
}

fn read(context: &Context<'_>, read: WindowRead) -> Answer {
    let WindowRead { view, entities, selectors, time, known, edge, with_status, shape } = read;
    let request = ReadRequest { groups: vec![(view, selectors)], edge, known };
    let plan = context.plans.find(context, request)?;
    let entities: SmallVec<[&[u8]; 1]> = entities.iter().map(Bytes::as_ref).collect();
    let answers = context
        .shared
        .reader
        .read(&context.version, &plan, context.now_ms, &engine_time(time), &entities)
        .map_err(|error| refuse::engine_error(&error))?;
    Ok(Reply::Windows(Box::new(WindowsReply { answers, with_status, shape })))
}

/// The protocol's read time as the engine's.
pub(crate) fn engine_time(time: ReadTime) -> tilekv_engine::ReadTime {
    match time {
        ReadTime::Now => tilekv_engine::ReadTime::Now,
        ReadTime::At(at) => tilekv_engine::ReadTime::At(at),
        ReadTime::Each(times) => tilekv_engine::ReadTime::Each(times),
    }
}

fn explain(context: &Context<'_>, explain: WindowExplain) -> Answer {
    let at = match explain.time {
        ReadTime::Now => None,
        ReadTime::At(at) => Some(at),
        ReadTime::Each(_) => {
            return Err(ErrorReply::usage("WINDOW.EXPLAIN takes one time: AT ts"));
        }
    };
    let request = ReadRequest {
        groups: vec![(explain.view, vec![explain.selector])],
        edge: explain.edge,
        known: explain.known,
    };
    let (reader, version) = (&context.shared.reader, &context.version);
    let explained = reader.explain(version, &request, &explain.entity, at, context.now_ms);
    explained.map(explanation).map_err(|error| refuse::engine_error(&error))
}

fn explanation(explanation: Explanation) -> Reply {
    let window = Reply::Array(vec![
        optional(explanation.bounds.start),
        Reply::Integer(explanation.bounds.end),
    ]);
    let tiles = explanation.tiles.iter().map(|tile| {
        Reply::Map(vec![
            (Reply::text("start"), Reply::Integer(tile.start)),
            (Reply::text("span_ms"), Reply::Integer(tile.span)),
            (Reply::text("source"), Reply::text(tile.source)),
            (Reply::text("base"), Reply::Bool(tile.base)),
            (Reply::text("hidden"), Reply::Bool(tile.hidden)),
        ])
    });
    let edge = match explanation.edge {
        tilekv_tile::Edge::Closed => "closed",
        tilekv_tile::Edge::Live => "live",
    };
    Reply::Map(vec![
        (Reply::text("selector"), Reply::text(explanation.selector)),
        (Reply::text("edge"), Reply::text(edge)),
        (Reply::text("tile_ms"), Reply::Integer(explanation.tile)),
        (Reply::text("floor"), Reply::Integer(explanation.floor)),
        (Reply::text("complete_to"), Reply::Integer(explanation.complete_to)),
        (Reply::text("window"), window),
        (Reply::text("closed_end"), Reply::Integer(explanation.closed_end)),
        (Reply::text("horizon"), optional(explanation.horizon)),
        (Reply::text("tiles_read"), Reply::Integer(i64::from(explanation.tiles_read))),
        (Reply::text("tiles"), Reply::Array(tiles.collect())),
        (Reply::text("seals"), ranges(&explanation.seals)),
        (Reply::text("holes"), ranges(&explanation.holes)),
        (Reply::text("status"), Reply::text(explanation.status.as_str())),
        (Reply::text("result"), Reply::from(explanation.value)),
    ])
}

fn ranges(ranges: &[(i64, i64)]) -> Reply {
    let pair =
        |(from, to): &(i64, i64)| Reply::Array(vec![Reply::Integer(*from), Reply::Integer(*to)]);
    Reply::Array(ranges.iter().map(pair).collect())
}

fn optional(value: Option<i64>) -> Reply {
    value.map_or(Reply::Nil, Reply::Integer)
}
