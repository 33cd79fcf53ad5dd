//! Random writes: sound ones, repeated ones, and ones with a flaw. It knows nothing of what
//! should come of them.

use crate::simulation::aggregate::is_list_or_sketch;
use crate::simulation::definitions::{VIEW_NAMES, change, definition, is_huge, view_name};
use crate::simulation::dice::Dice;
use crate::simulation::judge::{Action, Meaning, parts_given};
use crate::simulation::model::{Cell, Entry, Model, ModelView, Part, Parts, Row, SMALL_K};
use crate::simulation::partials::print;
use crate::simulation::row_text::rows_of;
use bytes::Bytes;
use std::sync::Arc;
use tilekv_engine::{Lateness, TileWrite, Write};
use tilekv_tile::{After, ColumnType, Function, Identifier, Name, ProducerStamp, floor_to};

/// Where a seed's writes come from.
#[derive(Debug)]
pub struct Actions {
    /// Entities of views with one key.
    pub entities: Vec<Bytes>,
    /// Entities of views with two keys.
    pub pairs: Vec<Bytes>,
    /// Timestamps written of late, to be written to and asked about again.
    pub recent: Vec<i64>,
}

impl Actions {
    /// The writes of a seed.
    pub fn new(dice: &mut Dice) -> Self {
        let mut entities: Vec<Bytes> =
            ENTITIES.iter().map(|text| Bytes::from_static(text)).collect();
        entities.push(Bytes::from(vec![b'e'; dice.count(100, 400)]));
        let pairs = PAIRS.iter().map(|text| Bytes::from_static(text)).collect();
        Self { entities, pairs, recent: Vec::new() }
    }

    /// The entities that a view is written under.
    #[must_use]
    pub fn entities_of(&self, view: &ModelView) -> &[Bytes] {
        if view.definition.keys.len() == 1 { &self.entities } else { &self.pairs }
    }

    /// A write at `now` to a store that holds `model`.
    pub fn next(&mut self, dice: &mut Dice, model: &Model, now: i64) -> Action {
        let Some(view) = self.some_view(dice, model) else {
            return create(dice);
        };
        let name = view.definition.name.clone();
        match dice.weighed(&[3, 5, 1, 100, 22, 22, 6, 4, 10, 4]) {
            0 => create(dice),
            1 => plain(Write::AlterView { view: name, change: change(dice, view) }),
            2 => plain(Write::DropView(some_name(dice, name))),
            3 => self.events(dice, model, view, now),
            4 => self.tile(dice, model, view, now, true),
            5 => self.tile(dice, model, view, now, false),
            6 => {
                let entity = self.entity(dice, view);
                let from = self.timestamp(dice, view, now);
                let to = from + view.span() * dice.within(-1, 6);
                plain(Write::DeleteTiles { view: some_name(dice, name), entity, from, to })
            }
            7 => {
                let views = (!dice.one_in(3)).then(|| vec![name; dice.count(1, 2)]);
                plain(Write::DeleteEntity { entity: self.entity(dice, view), views })
            }
            8 => {
                let (from, to) = self.range(dice, view, now);
                plain(Write::AddSeal { view: name, from, to })
            }
            _ => {
                let (from, to) = self.range(dice, view, now);
                plain(Write::RemoveSeal { view: name, from, to })
            }
        }
    }

    /// An entity of a view; seldom one that it does not take.
    pub fn entity(&self, dice: &mut Dice, view: &ModelView) -> Bytes {
        if dice.one_in(300) {
            return Bytes::new();
        }
        let is_other = dice.one_in(150);
        let own = self.entities_of(view);
        dice.pick(if is_other { &self.pairs } else { own }).clone()
    }

    /// A time at which something may have happened.
    pub fn timestamp(&self, dice: &mut Dice, view: &ModelView, now: i64) -> i64 {
        let span = view.span();
        let recent = match self.recent.as_slice() {
            [] => now,
            recent => *dice.pick(recent),
        };
        let far = 1 << 53;
        match dice.weighed(&[45, 25, 15, 8, 5, 1]) {
            0 => now - dice.within(0, span * 10),
            1 => recent,
            2 => recent + span * dice.within(-3, 3),
            3 => now + dice.within(0, span * 4),
            4 => now - span * dice.within(0, 400),
            _ if dice.one_in(2) => far,
            _ => -far,
        }
        .clamp(-far, far)
    }

    fn some_view<'a>(&self, dice: &mut Dice, model: &'a Model) -> Option<&'a ModelView> {
        let views: Vec<&ModelView> = model.views.values().collect();
        (!views.is_empty()).then(|| *dice.pick(&views))
    }

    fn range(&self, dice: &mut Dice, view: &ModelView, now: i64) -> (i64, i64) {
        let span = view.span();
        let from = floor_to(self.timestamp(dice, view, now), span);
        let to = from + span * dice.within(1, 30);
        match dice.weighed(&[40, 1, 1]) {
            0 => (from, to),
            1 => (from, from - span),
            _ => (from, to + span / 2),
        }
    }

    fn stamp(
        &self,
        dice: &mut Dice,
        model: &Model,
        name: &Name,
        now: i64,
    ) -> Option<ProducerStamp> {
        if dice.one_in(2) {
            return None;
        }
        let id = Bytes::from_static(dice.pick::<&[u8]>(&PRODUCERS));
        let last = model.last_sequence(name, &id, now);
        let next = last.map_or(0, |last| last + 1);
        let sequence = match dice.weighed(&[6, 3, 1]) {
            0 => next,
            1 => next + dice.word() % 5,
            _ => next.saturating_sub(dice.word() % 4),
        };
        let after = match dice.weighed(&[4, 5, 1]) {
            0 => After::Any,
            1 => last.map_or(After::First, After::Sequence),
            _ if dice.one_in(3) => After::First,
            _ => After::Sequence(next.saturating_sub(dice.word() % 3)),
        };
        Some(ProducerStamp { id, sequence, after })
    }

    /// Events of a view, around `now`.
    pub fn events(&mut self, dice: &mut Dice, model: &Model, view: &ModelView, now: i64) -> Action {
        let is_single = dice.one_in(3);
        let row_count = match dice.weighed(&[20, 1, 1]) {
            _ if is_single => 1,
            0 => dice.count(1, 6),
            1 => 0,
            _ => dice.count(20, 60),
        };
        let columns = sent_columns(dice, view);
        let same_time = self.timestamp(dice, view, now);
        let mut rows = Vec::with_capacity(row_count);
        for _ in 0..row_count {
            let entity = self.entity(dice, view);
            let timestamp =
                if dice.one_in(3) { same_time } else { self.timestamp(dice, view, now) };
            let cells = cells(dice, view, &columns);
            rows.push((entity, Arc::new(Row { timestamp, cells })));
            self.remember(dice, timestamp);
        }
        let lateness = if is_single { Lateness::Refuse } else { Lateness::Skip };
        let (sent, flaw) = rows_of(dice, view, &columns, &rows);
        let name = view.definition.name.clone();
        let stamp = self.stamp(dice, model, &name, now);
        let view = some_name(dice, name);
        let write = Write::Events { view, stamp, rows: sent, lateness };
        Action { write, meaning: Meaning::Rows(rows, flaw) }
    }

    /// A tile of a view, near `now`, to be set or merged.
    pub fn tile(
        &mut self,
        dice: &mut Dice,
        model: &Model,
        view: &ModelView,
        now: i64,
        is_replaced: bool,
    ) -> Action {
        let span = view.span();
        let start = floor_to(self.timestamp(dice, view, now), span);
        let features = chosen_features(dice, view);
        let rows: Vec<Arc<Row>> = bag(dice, view, start).into_iter().map(Arc::new).collect();
        let mut partials = Vec::with_capacity(features.len());
        for feature in &features {
            let (function, column, kind) = view.feature(*feature);
            let name = view.definition.features[*feature].name.clone();
            partials.push((name, Bytes::from(print(function, column, kind, &rows))));
        }
        let flaw = spoil(dice, view, &mut partials);
        let parts = parts_given(view, &features).and(uncounted(view, &features));
        let entries = rows.into_iter().map(|row| Entry { parts, row }).collect();
        self.remember(dice, start);
        let entity = self.entity(dice, view);
        let name = view.definition.name.clone();
        let stamp = self.stamp(dice, model, &name, now);
        let is_askew = dice.one_in(200);
        let start = if is_askew { start + span / 2 } else { start };
        let write = TileWrite { view: some_name(dice, name), entity, start, partials, stamp };
        let write = if is_replaced { Write::SetTile(write) } else { Write::MergeTile(write) };
        Action { write, meaning: Meaning::Tile(entries, flaw) }
    }

    /// A write that sets a tile to what a store prints of one, or merges that into another
    /// entity's; none where the tile's rows did not go into all that the view keeps.
    pub fn copy(
        &self,
        dice: &mut Dice,
        view: &ModelView,
        from: (&Bytes, i64, &[Entry]),
        printed: Vec<String>,
    ) -> Option<Action> {
        let (entity, start, entries) = from;
        let features: Vec<usize> = (0..view.definition.features.len()).collect();
        let parts = view.parts();
        if !entries.iter().all(|entry| entry.parts.has(parts)) {
            return None;
        }
        let named = view.definition.features.iter().zip(printed);
        let partials =
            named.map(|(feature, text)| (feature.name.clone(), Bytes::from(text))).collect();
        let more = uncounted(view, &features);
        let entries = entries
            .iter()
            .map(|entry| Entry { parts: entry.parts.and(more), row: Arc::clone(&entry.row) });
        let meaning = Meaning::Tile(entries.collect(), None);
        let view = view.definition.name.clone();
        let is_same = dice.one_in(2);
        let others = if entity.contains(&0x1F) { &self.pairs } else { &self.entities };
        let entity = if is_same { entity.clone() } else { dice.pick(others).clone() };
        let tile = TileWrite { view, entity, start, partials, stamp: None };
        let write = if is_same { Write::SetTile(tile) } else { Write::MergeTile(tile) };
        Some(Action { write, meaning })
    }

    fn remember(&mut self, dice: &mut Dice, timestamp: i64) {
        if self.recent.len() < RECENT_MAX {
            self.recent.push(timestamp);
        } else {
            let at = dice.count(0, RECENT_MAX - 1);
            self.recent[at] = timestamp;
        }
    }
}

/// A write that says all it means.
#[must_use]
pub fn plain(write: Write) -> Action {
    Action { write, meaning: Meaning::Plain }
}

fn create(dice: &mut Dice) -> Action {
    let name = *dice.pick(&VIEW_NAMES);
    plain(Write::CreateView(definition(dice, name)))
}

/// The name, seldom that of no view.
fn some_name(dice: &mut Dice, name: Name) -> Name {
    if dice.one_in(200) { view_name(NOWHERE) } else { name }
}

/// The columns that a batch of rows names, in its order.
fn sent_columns(dice: &mut Dice, view: &ModelView) -> Vec<usize> {
    let mut columns: Vec<usize> = (0..view.definition.columns.len()).collect();
    if dice.one_in(4) {
        columns.reverse();
    }
    if dice.one_in(4) {
        columns.pop();
    }
    columns
}

fn cells(dice: &mut Dice, view: &ModelView, sent: &[usize]) -> Vec<Option<Cell>> {
    let is_bare = dice.one_in(12);
    let columns = view.definition.columns.iter().enumerate();
    columns
        .map(|(at, column)| {
            let is_null = is_bare || dice.one_in(6) || !sent.contains(&at);
            (!is_null).then(|| cell(dice, column.kind, is_huge(column)))
        })
        .collect()
}

fn cell(dice: &mut Dice, kind: ColumnType, is_huge: bool) -> Cell {
    match kind {
        ColumnType::Str => Cell::Text(Bytes::from_static(dice.pick(&TEXTS).as_bytes())),
        ColumnType::I64 if is_huge && !dice.one_in(3) => Cell::Integer(*dice.pick(&HUGE)),
        ColumnType::I64 => Cell::Integer(dice.within(-20, 20)),
        ColumnType::F64 if dice.one_in(10) => Cell::Halves(dice.within(-(1 << 40), 1 << 40)),
        ColumnType::F64 => Cell::Halves(dice.within(-40, 40)),
    }
}

/// The rows that a tile's partials stand for: 0, 1, 2 or 4 values per column, so that their
/// means have few digits.
fn bag(dice: &mut Dice, view: &ModelView, start: i64) -> Vec<Row> {
    let count = *dice.pick(&[0, 1, 1, 2, 2, 4]);
    let columns = &view.definition.columns;
    let nulls: Vec<bool> = columns.iter().map(|_| dice.one_in(6)).collect();
    let last = (start + view.span() - 1).min(1 << 53);
    (0..count)
        .map(|_| Row {
            timestamp: dice.within(start.max(-(1 << 53)), last),
            cells: columns
                .iter()
                .zip(&nulls)
                .enumerate()
                .map(|(at, (column, is_null))| {
                    let is_spread = view.parts().has(Parts::of(Part::Moments, at));
                    let kind = column.kind;
                    let cell = match kind {
                        ColumnType::F64 => Cell::Halves(dice.within(-40, 40)),
                        _ => cell(dice, kind, is_huge(column) && (count == 1 || !is_spread)),
                    };
                    (!is_null).then_some(cell)
                })
                .collect(),
        })
        .collect()
}

/// Features to give partials for: of those that share parts, all or none.
fn chosen_features(dice: &mut Dice, view: &ModelView) -> Vec<usize> {
    let features = 0..view.definition.features.len();
    if !dice.one_in(4) {
        return features.collect();
    }
    let groups: Vec<u64> = (0..=ROWS_GROUP).map(|_| dice.word() % 2).collect();
    features
        .filter(|feature| {
            let (function, column, _) = view.feature(*feature);
            let group = match function {
                Function::CountRows => ROWS_GROUP,
                Function::Min => column * 16 + 1,
                Function::Max => column * 16 + 2,
                Function::First => column * 16 + 3,
                Function::Last => column * 16 + 4,
                Function::FirstN(_) => column * 16 + 5,
                Function::LastN(_) => column * 16 + 6,
                Function::FirstDistinctN(_) => column * 16 + 7,
                Function::LastDistinctN(_) => column * 16 + 8,
                Function::ApproxCountDistinct(_) => column * 16 + 9,
                Function::ApproxPercentile(_, SMALL_K) => column * 16 + 10,
                Function::ApproxPercentile(..) => column * 16 + 11,
                Function::TopN(_) => column * 16 + 12,
                _ => column * 16,
            };
            groups[group] == 0
        })
        .collect()
}

/// Marks the columns whose sums are given while no feature of the view counts their values.
fn uncounted(view: &ModelView, given: &[usize]) -> Parts {
    let mut parts = Parts::default();
    for feature in given {
        let (function, column, _) = view.feature(*feature);
        let counts = |other: usize| {
            let (other, other_column, _) = view.feature(other);
            let is_count = !matches!(
                other,
                Function::CountRows
                    | Function::Sum
                    | Function::Min
                    | Function::Max
                    | Function::First
                    | Function::Last
            ) && !is_list_or_sketch(other);
            is_count && other_column == column
        };
        let is_counted = (0..view.definition.features.len()).any(counts);
        if function == Function::Sum && !is_counted {
            parts = parts.and(Parts::of(Part::Uncounted, column));
        }
    }
    parts
}

/// Seldom puts a flaw into partials, and gives the code that it is refused with.
fn spoil(
    dice: &mut Dice,
    view: &ModelView,
    partials: &mut [(Identifier, Bytes)],
) -> Option<&'static str> {
    if partials.is_empty() || !dice.one_in(60) {
        return None;
    }
    let at = dice.count(0, partials.len() - 1);
    if dice.one_in(3) {
        partials[at].0 = Identifier::parse(b"f_unknown").ok()?;
        return Some("NOFEATURE");
    }
    let feature = view.feature_at(&partials[at].0)?;
    let (function, _, _) = view.feature(feature);
    let is_entry = matches!(function, Function::First | Function::Last);
    let flaw: &[u8] = match function {
        _ if is_entry => b"[9223372036854775807,1]",
        Function::FirstN(_) | Function::LastDistinctN(_) => b"[[9223372036854775807,1]]",
        Function::ApproxCountDistinct(_) | Function::TopN(_) => b"{\"b64\":\"AAAA\"}",
        _ => b"{\"n\"",
    };
    partials[at].1 = Bytes::from_static(flaw);
    Some("BADVALUE")
}

/// A name that no view has.
const NOWHERE: &str = "nowhere";
const ROWS_GROUP: usize = 255;
const RECENT_MAX: usize = 24;
const PRODUCERS: [&[u8]; 3] = [b"p", b"\x00", b"partition-7"];
const ENTITIES: [&[u8]; 9] = [
    b"u:42",
    b"a",
    b"b",
    b"\x00",
    b"\xff\x1f\x00",
    b"\x1f",
    b"entity with spaces",
    b"aa",
    b"a\x00",
];
const PAIRS: [&[u8]; 6] =
    [b"x\x1fy", b"\x1f", b"x\x1f", b"\x1fy", b"\xff\xfe\x1f\x00", b"shop\x1fuser"];
const HUGE: [i64; 6] = [i64::MAX, i64::MIN, i64::MAX - 1, (1 << 53) + 1, -(1 << 62), i64::MAX];
const TEXTS: [&str; 9] = [
    "",
    "a",
    "b",
    "\u{fc}ber",
    "quote\" and \\",
    "line\nend\u{0}",
    "null",
    "\u{1f9ea}",
    "a text that is a good deal longer than the others, so that sides are not all of a size",
];
