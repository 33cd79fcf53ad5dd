//! Where a window of the model lies and what can be trusted of it, by the words of the contract.
//! It knows nothing of values.

use crate::simulation::model::{ModelView, SealChange};
use tilekv_tile::{Edge, SealMode, Selector, WindowLength, floor_to};

/// The time of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The time asked for, if the read names one.
    pub at: Option<i64>,
    /// The clock.
    pub now: i64,
    /// Whether only seals count that were known by then.
    pub known: bool,
}

/// A window of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first tile start; none is unbounded.
    pub start: Option<i64>,
    /// The first tile start after it.
    pub end: i64,
    /// The start of the tile that holds the time of the read.
    pub floor: i64,
    /// What the window is, whatever it holds.
    pub fault: Option<Fault>,
}

/// Why a window cannot be trusted, in the order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It starts before the horizon.
    Expired,
    /// Some of it was not complete.
    Incomplete,
    /// What is complete is too old.
    Stale,
}

/// Places the window of a selector over the feature at `feature`.
#[must_use]
pub fn place(
    view: &ModelView,
    feature: usize,
    selector: &Selector,
    edge: Edge,
    moment: Moment,
) -> Window {
    let span = view.span();
    let floor = floor_to(moment.at.unwrap_or(moment.now), span);
    let sealed = sealed(view, moment);
    let is_required = view.definition.seal == SealMode::Required;
    let newest = sealed.iter().rev().find(|(from, _)| *from < floor);
    let complete_to = match newest {
        Some((_, to)) if is_required => floor.min(*to),
        _ => floor,
    };
    let offset = selector.offset.millis();
    let closed_end = complete_to - offset;
    let has_ended = floor + span <= moment.now;
    let would_leak = moment.at.is_some() && offset == 0 && has_ended;
    let is_live = edge == Edge::Live && complete_to == floor && !would_leak;
    let end = if is_live { closed_end + span } else { closed_end };
    let horizon = view.horizon(moment.now);
    let start = match selector.window {
        WindowLength::Span(window) => Some(closed_end - window.millis()),
        WindowLength::Lifetime => horizon.map(|horizon| horizon.min(end)),
    };
    let is_lifetime = selector.window == WindowLength::Lifetime;
    let is_expired = !is_lifetime && start < horizon;
    let oldest = sealed.first().map(|(from, _)| *from);
    let from = start.unwrap_or(i64::MIN);
    let counted_from = match oldest {
        Some(oldest) if is_lifetime && is_required => from.max(oldest),
        _ => from,
    };
    let is_sealed = closed_end <= counted_from
        || sealed.iter().any(|(from, to)| *from <= counted_from && closed_end <= *to);
    let lacks_seal = is_required && (!is_sealed || (is_lifetime && oldest.is_none()));
    let lacks_feature =
        view.gaps[feature].iter().any(|(from, to)| counted_from.max(*from) < end.min(*to));
    let is_stale =
        view.definition.max_lag.is_some_and(|max_lag| max_lag.millis() < floor - complete_to);
    let fault = if is_expired {
        Some(Fault::Expired)
    } else if lacks_seal || lacks_feature {
        Some(Fault::Incomplete)
    } else {
        is_stale.then_some(Fault::Stale)
    };
    Window { start, end, floor, fault }
}

/// What is sealed, or was known to be at the time asked for: ranges that neither overlap nor
/// touch, ascending.
fn sealed(view: &ModelView, moment: Moment) -> Vec<(i64, i64)> {
    if view.definition.seal == SealMode::Off {
        return Vec::new();
    }
    let known_by = match moment.at {
        Some(at) if moment.known => at,
        _ => i64::MAX,
    };
    let known = view.seals.iter().filter(|change| change.at <= known_by);
    joined(&pieces(known.copied().collect::<Vec<_>>().as_slice()))
}

/// Whether a range is sealed now.
#[must_use]
pub fn is_sealed(view: &ModelView, from: i64, to: i64) -> bool {
    joined(&pieces(&view.seals)).iter().any(|(first, last)| *first <= from && to <= *last)
}

/// What is sealed after these changes, as (from, to, made at): what is sealed twice keeps its
/// first time, and ranges of one time are joined where they touch.
#[must_use]
pub fn pieces(changes: &[SealChange]) -> Vec<(i64, i64, i64)> {
    let mut bounds: Vec<i64> = changes.iter().flat_map(|change| [change.from, change.to]).collect();
    bounds.sort_unstable();
    bounds.dedup();
    let mut pieces: Vec<(i64, i64, i64)> = Vec::new();
    for pair in bounds.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let mut made_at = None;
        for change in changes.iter().filter(|change| change.from <= from && to <= change.to) {
            made_at = if change.is_made { made_at.or(Some(change.at)) } else { None };
        }
        let Some(made_at) = made_at else { continue };
        match pieces.last_mut() {
            Some(last) if last.1 == from && last.2 == made_at => last.1 = to,
            _ => pieces.push((from, to, made_at)),
        }
    }
    pieces
}

fn joined(pieces: &[(i64, i64, i64)]) -> Vec<(i64, i64)> {
    let mut ranges: Vec<(i64, i64)> = Vec::new();
    for (from, to, _) in pieces {
        match ranges.last_mut() {
            Some(last) if last.1 == *from => last.1 = *to,
            _ => ranges.push((*from, *to)),
        }
    }
    ranges
}
