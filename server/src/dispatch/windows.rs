//! WINDOW.GET, WINDOW.MGET and WINDOW.EXPLAIN, answered from the turn's snapshot.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use tilekv_engine::{Explanation, PinnedPages, Plan, ReadOutcome, ReadRequest, Version};
use tilekv_protocol::{
    ErrorReply, ReadTime, Reply, RequestShape, WindowCommand, WindowExplain, WindowRead,
    WindowsReply,
};

use super::scan::Scan;
use super::{Action, Answer, Context};
use crate::cold_reads::{self, ColdForm, ColdWindows, ColdWork};
use crate::plans::Shape;
use crate::refuse;
use crate::shared::Shared;

pub(super) fn run(context: &Context<'_>, command: WindowCommand) -> Result<Action, ErrorReply> {
    match command {
        WindowCommand::Read(read) => self::read(context, *read),
        WindowCommand::Explain(explain) => self::explain(context, explain),
    }
}

fn read(context: &Context<'_>, read: WindowRead) -> Result<Action, ErrorReply> {
    let WindowRead { view, entities, selectors, time, known, edge, with_status, shape } = read;
    let request = ReadRequest { groups: vec![(view, selectors)], edge, known };
    let plan = context.plans.find(context, Shape::Windows(request))?;
    answer(context, plan, entities, time, (with_status, shape))
}

/// Answers a read through a plan, or hands it to the threads of cold reads.
pub(super) fn answer(
    context: &Context<'_>,
    plan: Arc<Plan>,
    entities: Vec<Bytes>,
    time: ReadTime,
    (with_status, shape): (bool, RequestShape),
) -> Result<Action, ErrorReply> {
    let keys: SmallVec<[&[u8]; 1]> = entities.iter().map(Bytes::as_ref).collect();
    let (reader, version) = (&context.shared.reader, &context.version);
    let (now_ms, time) = (context.now_ms, engine_time(time));
    let outcome = reader.try_read(version, &plan, now_ms, &time, &keys, PinnedPages::default());
    match outcome.map_err(|error| refuse::engine_error(&error))? {
        ReadOutcome::Ready(answers) => {
            let windows = WindowsReply { answers, with_status, shape };
            Ok(Action::Reply(Reply::Windows(Box::new(windows))))
        }
        ReadOutcome::Needs(request) => {
            let version = Arc::clone(version);
            let form = ColdForm::Reply { with_status, shape };
            drop(keys);
            let windows = ColdWindows { request, version, plan, now_ms, time, entities, form };
            Ok(Action::Cold(ColdWork::Windows(Box::new(windows))))
        }
    }
}

/// The protocol's read time as the engine's.
pub(crate) fn engine_time(time: ReadTime) -> tilekv_engine::ReadTime {
    match time {
        ReadTime::Now => tilekv_engine::ReadTime::Now,
        ReadTime::At(at) => tilekv_engine::ReadTime::At(at),
        ReadTime::Each(times) => tilekv_engine::ReadTime::Each(times),
    }
}

fn explain(context: &Context<'_>, explain: Box<WindowExplain>) -> Result<Action, ErrorReply> {
    let (request, at) = explain_request(&explain)?;
    let (reader, version) = (&context.shared.reader, &context.version);
    let (entity, pinned) = (&explain.entity, PinnedPages::default());
    let explained = reader.try_explain(version, &request, entity, at, context.now_ms, pinned);
    match explained.map_err(|error| refuse::engine_error(&error))? {
        ReadOutcome::Ready(explained) => Ok(Action::Reply(explanation(explained))),
        ReadOutcome::Needs(_) => Ok(Action::Cold(ColdWork::Scan(Scan::Explain(explain)))),
    }
}

/// Explains on the calling thread, which may wait for the disk.
pub(super) fn explain_in_place(
    shared: &Shared,
    version: &Version,
    now_ms: i64,
    explain: &WindowExplain,
) -> Answer {
    let (request, at) = explain_request(explain)?;
    let explained = shared.reader.explain(version, &request, &explain.entity, at, now_ms);
    explained.map(explanation).map_err(|error| cold_reads::refuse(shared, &error))
}

fn explain_request(explain: &WindowExplain) -> Result<(ReadRequest, Option<i64>), ErrorReply> {
    let at = match explain.time {
        ReadTime::Now => None,
        ReadTime::At(at) => Some(at),
        ReadTime::Each(_) => {
            return Err(ErrorReply::usage("WINDOW.EXPLAIN takes one time: AT ts"));
        }
    };
    let request = ReadRequest {
        groups: vec![(explain.view.clone(), vec![explain.selector.clone()])],
        edge: explain.edge,
        known: explain.known,
    };
    Ok((request, at))
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
