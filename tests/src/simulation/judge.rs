//! What a write should answer and do, judged against a model by the words of the contract.
//! It knows nothing of how writes are made up.

use crate::simulation::model::{Effect, Entry, Model, ModelView, Parts, Row, SealChange};
use crate::simulation::windows::is_sealed;
use bytes::Bytes;
use std::sync::Arc;
use tilekv_engine::{Lateness, Outcome, TileWrite, Write};
use tilekv_tile::{After, LateMode, Name, ProducerStamp, ViewChange, floor_to};

/// A write with what it means.
#[derive(Debug, Clone)]
pub struct Action {
    /// What the engine is asked.
    pub write: Write,
    /// What the parts of the write mean that are text to the engine.
    pub meaning: Meaning,
}

/// What a write means.
#[derive(Debug, Clone)]
pub enum Meaning {
    /// The write says it all.
    Plain,
    /// Events, and the code of what is wrong with them.
    Rows(Vec<(Bytes, Arc<Row>)>, Option<&'static str>),
    /// The rows of a tile's partials, and the code of what is wrong with them.
    Tile(Vec<Entry>, Option<&'static str>),
}

/// What should come of a write.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// It is taken.
    Taken(Outcome, Vec<Effect>),
    /// It is refused.
    Refused(Refusal),
    /// It depends on what was reclaimed so far, which is the engine's choice: not to be asked.
    Open,
}

/// How a write is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// With this code.
    Code(&'static str),
    /// Out of order, with the last sequence.
    OutOfOrder(Option<u64>),
    /// With whatever code.
    Any,
}

/// Judges a write at `now` by the log's clock.
#[must_use]
pub fn judge(model: &Model, now: i64, action: &Action) -> Verdict {
    match judged(model, now, action) {
        Ok(verdict) => verdict,
        Err(refusal) => Verdict::Refused(refusal),
    }
}

fn judged(model: &Model, now: i64, action: &Action) -> Result<Verdict, Refusal> {
    let taken = |effect| Ok(Verdict::Taken(Outcome::Ok, vec![effect]));
    match &action.write {
        Write::CreateView(definition) => {
            let is_known = model.views.contains_key(&definition.name);
            if is_known || definition.validate().is_err() {
                return Err(Refusal::Any);
            }
            taken(Effect::Create(definition.clone()))
        }
        Write::AlterView { view, change } => alter(view_of(model, view)?, now, change),
        Write::DropView(name) => {
            view_of(model, name)?;
            taken(Effect::Drop(name.clone()))
        }
        Write::Events { view, stamp, lateness, .. } => {
            if let Some(verdict) = admit(model, now, view, stamp.as_ref())? {
                return Ok(verdict);
            }
            let Meaning::Rows(rows, flaw) = &action.meaning else {
                unreachable!("events mean rows");
            };
            let verdict = events(view_of(model, view)?, now, stamp.as_ref(), rows, *lateness);
            match (flaw, verdict) {
                (None, verdict) => verdict,
                (Some(code), Ok(_)) => Err(Refusal::Code(code)),
                // Which of two flaws is named is the engine's choice.
                (Some(_), Err(_)) => Err(Refusal::Any),
            }
        }
        Write::SetTile(tile) => tile_write(model, now, tile, true, &action.meaning),
        Write::MergeTile(tile) => tile_write(model, now, tile, false, &action.meaning),
        Write::DeleteTiles { view, entity, from, to } => {
            let view = view_of(model, view)?;
            check_entity(view, entity)?;
            let (removed, effect) = clear(view, entity, *from, *to, now);
            Ok(Verdict::Taken(Outcome::Count(removed), vec![effect]))
        }
        Write::DeleteEntity { entity, views } => {
            delete_entity(model, now, entity, views.as_deref())
        }
        Write::AddSeal { view, from, to } => seal(model, view, *from, *to, now, true),
        Write::RemoveSeal { view, from, to } => seal(model, view, *from, *to, now, false),
        Write::CreateService { .. } | Write::DropService(_) => {
            unreachable!("services are tried by the tests of the engine")
        }
        Write::Record(_) => {
            unreachable!("records are tried by a model test of the engine")
        }
    }
}

fn view_of<'a>(model: &'a Model, name: &Name) -> Result<&'a ModelView, Refusal> {
    model.views.get(name).ok_or(Refusal::Code("NOVIEW"))
}

fn check_entity(view: &ModelView, entity: &[u8]) -> Result<(), Refusal> {
    let separators = entity.iter().filter(|byte| **byte == 0x1F).count();
    let keys = view.definition.keys.len();
    let is_sound = !entity.is_empty() && (keys == 1 || separators + 1 == keys);
    if is_sound { Ok(()) } else { Err(Refusal::Code("BADVALUE")) }
}

/// Whether a view takes an entity.
#[must_use]
pub fn takes_entity(view: &ModelView, entity: &[u8]) -> bool {
    check_entity(view, entity).is_ok()
}

fn alter(view: &ModelView, now: i64, change: &ViewChange) -> Result<Verdict, Refusal> {
    let definition = change.apply(&view.definition).map_err(|_| Refusal::Any)?;
    let reclaimed = view.horizon(now - RECLAIM_GRACE_MS).unwrap_or(i64::MIN);
    let reclaimed_below = view.reclaimed_below.max(reclaimed);
    let starts = || view.entities.values().flat_map(|tiles| tiles.keys().copied());
    let is_longer = match (view.definition.retention, definition.retention) {
        (Some(before), Some(after)) => before < after,
        (Some(_), None) => true,
        (None, _) => false,
    };
    if is_longer && starts().any(|start| start < reclaimed_below) {
        return Ok(Verdict::Open);
    }
    let next_start = floor_to(now, view.span()) + view.span();
    let gap_of_new = view.oldest_tile.map(|oldest| (oldest, next_start));
    // What lay behind the horizon was written no more, and so is not whole.
    let hidden = view.oldest_tile.zip(view.horizon(now));
    let gap_of_all = hidden.filter(|_| is_longer);
    let effect = Effect::Alter { definition, gap_of_new, gap_of_all, reclaimed_below };
    Ok(Verdict::Taken(Outcome::Ok, vec![effect]))
}

/// A verdict where the stamp alone decides.
fn admit(
    model: &Model,
    now: i64,
    view: &Name,
    stamp: Option<&ProducerStamp>,
) -> Result<Option<Verdict>, Refusal> {
    view_of(model, view)?;
    let Some(stamp) = stamp else {
        return Ok(None);
    };
    let last = model.last_sequence(view, &stamp.id, now);
    if last.is_some_and(|last| stamp.sequence <= last) {
        return Ok(Some(Verdict::Taken(Outcome::Duplicate, Vec::new())));
    }
    let follows = match stamp.after {
        After::Any => true,
        After::First => last.is_none(),
        After::Sequence(previous) => last == Some(previous),
    };
    if follows { Ok(None) } else { Err(Refusal::OutOfOrder(last)) }
}

fn events(
    view: &ModelView,
    now: i64,
    stamp: Option<&ProducerStamp>,
    rows: &[(Bytes, Arc<Row>)],
    lateness: Lateness,
) -> Result<Verdict, Refusal> {
    let (mut applied, mut too_old, mut late_dropped) = (Vec::new(), 0, 0);
    for (entity, row) in rows {
        check_entity(view, entity)?;
        let start = floor_to(row.timestamp, view.span());
        let is_late = || {
            view.definition.late == LateMode::Drop && is_sealed(view, start, start + view.span())
        };
        if view.horizon(now).is_some_and(|horizon| start < horizon) {
            if lateness == Lateness::Refuse {
                return Err(Refusal::Code("TOOOLD"));
            }
            too_old += 1;
        } else if is_late() {
            late_dropped += 1;
        } else {
            applied.push((entity.clone(), Arc::clone(row)));
        }
    }
    let outcome = Outcome::Count(number(applied.len()));
    let effect = Effect::Rows {
        view: view.definition.name.clone(),
        stamp: stamp.map(|stamp| (stamp.id.clone(), stamp.sequence)),
        parts: view.parts(),
        rows: applied,
        too_old,
        late_dropped,
    };
    Ok(Verdict::Taken(outcome, vec![effect]))
}

fn tile_write(
    model: &Model,
    now: i64,
    tile: &TileWrite,
    is_replaced: bool,
    meaning: &Meaning,
) -> Result<Verdict, Refusal> {
    if let Some(verdict) = admit(model, now, &tile.view, tile.stamp.as_ref())? {
        return Ok(verdict);
    }
    let view = view_of(model, &tile.view)?;
    check_entity(view, &tile.entity)?;
    if floor_to(tile.start, view.span()) != tile.start {
        return Err(Refusal::Any);
    }
    if view.horizon(now).is_some_and(|horizon| tile.start < horizon) {
        return Err(Refusal::Code("TOOOLD"));
    }
    let Meaning::Tile(entries, flaw) = meaning else {
        unreachable!("a tile's partials mean rows");
    };
    flaw.map_or(Ok(()), |code| Err(Refusal::Code(code)))?;
    let effect = Effect::Tile {
        view: tile.view.clone(),
        stamp: tile.stamp.as_ref().map(|stamp| (stamp.id.clone(), stamp.sequence)),
        entity: tile.entity.clone(),
        start: tile.start,
        is_replaced,
        entries: entries.clone(),
    };
    Ok(Verdict::Taken(Outcome::Ok, vec![effect]))
}

fn clear(view: &ModelView, entity: &Bytes, from: i64, to: i64, now: i64) -> (u64, Effect) {
    let horizon = view.horizon(now).unwrap_or(i64::MIN);
    let tiles = view.entities.get(entity);
    let starts = tiles.into_iter().flat_map(|tiles| tiles.keys());
    let removed = starts.filter(|start| from.max(horizon) <= **start && **start < to).count();
    let view = view.definition.name.clone();
    (number(removed), Effect::Clear { view, entity: entity.clone(), from, to })
}

fn delete_entity(
    model: &Model,
    now: i64,
    entity: &Bytes,
    names: Option<&[Name]>,
) -> Result<Verdict, Refusal> {
    if entity.is_empty() {
        return Err(Refusal::Code("BADVALUE"));
    }
    let mut names = match names {
        Some(names) => names.to_vec(),
        None => model.views.keys().cloned().collect(),
    };
    names.sort();
    names.dedup();
    let (mut removed, mut effects) = (0, Vec::new());
    for name in names {
        let (count, effect) = clear(view_of(model, &name)?, entity, i64::MIN, i64::MAX, now);
        removed += count;
        effects.push(effect);
    }
    Ok(Verdict::Taken(Outcome::Count(removed), effects))
}

fn seal(
    model: &Model,
    name: &Name,
    from: i64,
    to: i64,
    at: i64,
    is_made: bool,
) -> Result<Verdict, Refusal> {
    let view = view_of(model, name)?;
    let is_bound = |time| floor_to(time, view.span()) == time;
    if to <= from || !is_bound(from) || !is_bound(to) {
        return Err(Refusal::Any);
    }
    let change = SealChange { from, to, at, is_made };
    Ok(Verdict::Taken(Outcome::Ok, vec![Effect::Seal(name.clone(), change)]))
}

/// A count as the engine gives it.
#[must_use]
pub fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// The parts that a set of features fills when each is given a partial.
#[must_use]
pub fn parts_given(view: &ModelView, features: &[usize]) -> Parts {
    features.iter().fold(Parts::default(), |parts, feature| {
        let (function, column, _) = view.feature(*feature);
        parts.and(Parts::needed(function, column))
    })
}

/// How long expired tiles stay at least: the stated day.
const RECLAIM_GRACE_MS: i64 = 24 * 3_600_000;
