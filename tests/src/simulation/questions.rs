//! Random window reads. It knows nothing of their answers.

use crate::simulation::actions::Actions;
use crate::simulation::check::Question;
use crate::simulation::definitions::{VIEW_NAMES, span, view_name};
use crate::simulation::dice::Dice;
use crate::simulation::model::{Model, ModelView};
use bytes::Bytes;
use tilekv_engine::{ReadRequest, ReadTime};
use tilekv_tile::{Edge, Identifier, Name, Selector, Span, WindowLength};

/// A question at `now` to a store that holds `model`; none where it holds no view.
pub fn question(dice: &mut Dice, actions: &Actions, model: &Model, now: i64) -> Option<Question> {
    let views: Vec<&ModelView> = model.views.values().collect();
    if views.is_empty() {
        return None;
    }
    let first = *dice.pick(&views);
    let keys = first.definition.keys.len();
    let alike: Vec<&ModelView> = views
        .iter()
        .copied()
        .filter(|view| view.definition.keys.len() == keys || dice.one_in(60))
        .collect();
    let mut groups = vec![group(dice, first)];
    for _ in 0..dice.weighed(&[5, 2, 1]) {
        let view = *dice.pick(if alike.is_empty() { &views } else { &alike });
        groups.push(group(dice, view));
    }
    let count = if dice.one_in(8) { dice.count(6, 16) } else { dice.count(1, 3) };
    let entities: Vec<Bytes> = (0..count).map(|_| actions.entity(dice, first)).collect();
    let time = match dice.weighed(&[35, 45, 20]) {
        0 => ReadTime::Now,
        1 => ReadTime::At(asked_time(dice, actions, first, now)),
        _ => {
            let mut times: Vec<i64> =
                entities.iter().map(|_| asked_time(dice, actions, first, now)).collect();
            if dice.one_in(2) {
                times.sort_unstable();
            }
            ReadTime::Each(times)
        }
    };
    let edge = *dice.pick(&[None, None, Some(Edge::Closed), Some(Edge::Live)]);
    let request = ReadRequest { groups, edge, known: dice.one_in(3) };
    Some(Question { request, time, entities })
}

fn group(dice: &mut Dice, view: &ModelView) -> (Name, Vec<Selector>) {
    let name = match dice.one_in(300) {
        true => view_name(dice.pick::<&str>(&VIEW_NAMES)),
        false => view.definition.name.clone(),
    };
    let offset = dice.within(0, 3);
    let count = dice.count(1, 4);
    (name, (0..count).map(|_| selector(dice, view, offset)).collect())
}

/// Windows of one group often share an offset, so that they are answered in one pass.
fn selector(dice: &mut Dice, view: &ModelView, offset: i64) -> Selector {
    let tile = view.span();
    let feature = match dice.one_in(300) {
        true => Identifier::parse(b"f_unknown").expect("an identifier"),
        false => dice.pick(&view.definition.features).name.clone(),
    };
    let window = match dice.weighed(&[6, 2, 2]) {
        0 => WindowLength::Span(span(tile * dice.within(1, 12))),
        1 => WindowLength::Span(span(tile * dice.within(13, 2_000))),
        _ => WindowLength::Lifetime,
    };
    let askew = if dice.one_in(300) { tile / 2 } else { 0 };
    let offset = match dice.one_in(4) {
        true => span(tile * dice.within(0, 6) + askew),
        false if dice.one_in(2) => Span::ZERO,
        false => span(tile * offset),
    };
    Selector { feature, window, offset }
}

fn asked_time(dice: &mut Dice, actions: &Actions, view: &ModelView, now: i64) -> i64 {
    let near = view.span() * dice.within(-2, 12);
    let time = actions.timestamp(dice, view, now);
    if dice.one_in(2) { time } else { time.saturating_add(near).clamp(-(1 << 53), 1 << 53) }
}
