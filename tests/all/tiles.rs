//! The tile crate alone, driven as a small store, answers as the oracle does: rows in any order,
//! spread over two sources and blocks of any cut, windows folded from the blocks.

use bytes::Bytes;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, RngExt};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use tilekv_tests::flights::{
    FIRST_DEPARTURE_MS, Flight, Grouping, LAST_DEPARTURE_MS, TILE_MS, read,
};
use tilekv_tests::flights_questions::FlightQuestions;
use tilekv_tests::oracle::{OracleView, Question, SealOperation, SealVerb, ask};
use tilekv_tests::oracle_answer::compare;
use tilekv_tests::seed;
use tilekv_tile::{
    Accumulator, Block, ColumnDefinition, Component, ComponentId, EdgeInput, Finisher, Identifier,
    Layout, ResolvedWindow, Rows, SealMode, SealSet, Selector, Span, Status, TileRow, Value,
    ViewDefinition, components_of, encode_block, floor_to, horizon, resolve_window,
};

const QUESTION_COUNT: usize = 20_000;
const DAY_MS: i64 = 24 * TILE_MS;

#[test]
fn tiles_in_blocks_answer_as_brute_force_over_the_events() {
    let seed = seed::draw("tiles");
    let mut generator = seed::generator(seed);
    let flights = read();
    let views = Grouping::ALL.map(|grouping| random_view(grouping, &flights, &mut generator));
    let stores = views.each_ref().map(|view| TileStore::build(view, &mut generator));
    let questions: Vec<_> = FlightQuestions::exact(generator.next_u64(), &flights, 0)
        .take(QUESTION_COUNT)
        .map(|question| with_random_clock(question, &mut generator))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let expected = ask(folder.path(), &views, &questions).unwrap();
    let mut statuses = BTreeSet::new();
    for (question, expected) in questions.iter().zip(&expected) {
        let store = stores.iter().find(|store| store.view.definition.name == question.view);
        for (selector, expected) in question.selectors.iter().zip(expected) {
            let (value, status, window) = store.unwrap().answer(question, selector);
            statuses.insert(status);
            if let Err(difference) = compare(expected, &value, status, window.bounds) {
                panic!("{difference}\n{selector}: {question:?}");
            }
        }
    }
    assert_eq!(statuses, Status::ALL.into_iter().collect(), "every status was met");
}

/// The view with random options: seals made and withdrawn through the year, a retention, a lag
/// limit, features that are incomplete for a while.
fn random_view(grouping: Grouping, flights: &[Flight], generator: &mut impl Rng) -> OracleView {
    let mut definition = grouping.exact_definition();
    definition.retention = [None, Some(days(150)), Some(days(250))][generator.random_range(0..3)];
    if grouping != Grouping::Plane {
        definition.seal = SealMode::Required;
        definition.max_lag = Some(days(2));
    }
    let late: Vec<_> = definition.features.sample(generator, 5).cloned().collect();
    let until = FIRST_DEPARTURE_MS + 100 * DAY_MS;
    let late_time = vec![(None, floor_to(until, TILE_MS))];
    OracleView {
        rows: grouping.rows(flights),
        seals: random_seals(generator),
        incomplete: late.into_iter().map(|feature| (feature.name, late_time.clone())).collect(),
        definition,
    }
}

/// A seal most days for the day before, now and then a range of days withdrawn.
fn random_seals(generator: &mut impl Rng) -> Vec<SealOperation> {
    let mut operations = Vec::new();
    let first_day = FIRST_DEPARTURE_MS / DAY_MS;
    for day in first_day + 1..=LAST_DEPARTURE_MS / DAY_MS {
        let at = day * DAY_MS + generator.random_range(0..DAY_MS);
        let (verb, from) = match generator.random_range(0..40) {
            0 => (SealVerb::Remove, generator.random_range(first_day..day)),
            1 | 2 => continue,
            _ => (SealVerb::Add, generator.random_range((day - 4).max(first_day)..day)),
        };
        operations.push(SealOperation { verb, from: from * DAY_MS, to: day * DAY_MS, at });
    }
    operations
}

fn with_random_clock(mut question: Question, generator: &mut impl Rng) -> Question {
    question.now = generator.random_range(FIRST_DEPARTURE_MS..=LAST_DEPARTURE_MS + 20 * DAY_MS);
    question.known = generator.random();
    if generator.random_ratio(1, 4) {
        (question.at, question.known) = (None, false);
    }
    question
}

fn days(count: i64) -> Span {
    Span::from_millis(count * DAY_MS).unwrap()
}

struct TileStore<'a> {
    view: &'a OracleView,
    layout: Layout,
    finishers: HashMap<Identifier, Finisher>,
    /// The blocks of each entity, in no order.
    entities: HashMap<Bytes, Vec<Vec<u8>>>,
}

impl<'a> TileStore<'a> {
    fn build(view: &'a OracleView, generator: &mut impl Rng) -> Self {
        let layout = layout_of(&view.definition);
        let mut sources = [(); 2].map(|()| BTreeMap::<(Bytes, i64), Accumulator>::new());
        let mut order: Vec<_> = (0..view.rows.len()).collect();
        order.shuffle(generator);
        for row in order {
            let (entity, ts) = (&view.rows.entities[row], view.rows.timestamps[row]);
            let key = (entity.clone(), floor_to(ts, TILE_MS));
            let source = &mut sources[generator.random_range(0..2)];
            let tile = source.entry(key).or_insert_with(|| layout.empty());
            layout.add_row(tile, ts, &cells(&view.rows, row, &view.definition.columns));
        }
        let mut entities: HashMap<_, Vec<_>> = HashMap::new();
        for source in sources {
            for (entity, tiles) in by_entity(source) {
                let blocks = entities.entry(entity).or_default();
                let tile_count = generator.random_range(1..=800);
                blocks.extend(tiles.chunks(tile_count).map(|tiles| block_of(&layout, tiles)));
            }
        }
        let finishers = finishers_of(&view.definition, &layout);
        Self { view, layout, finishers, entities }
    }

    fn answer(&self, question: &Question, selector: &Selector) -> (Value, Status, ResolvedWindow) {
        let window = self.window(question, selector);
        let horizon = self.horizon(question).unwrap_or(i64::MIN);
        let start = window.bounds.start.unwrap_or(i64::MIN).max(horizon);
        let mut state = self.layout.empty();
        let (mut seen, mut present) = (false, false);
        for bytes in self.entities.get(question.entity.as_bytes()).into_iter().flatten() {
            let block = Block::parse(bytes, &self.layout, TILE_MS).unwrap();
            seen |= !positions(&block, horizon, window.floor + TILE_MS).is_empty();
            let range = positions(&block, start, window.bounds.end);
            present |= !range.is_empty();
            block.fold(&self.layout, range, &mut state);
        }
        let value = self.finishers[&selector.feature].finish(&state);
        (value, status_of(&window, seen, present), window)
    }

    fn window(&self, question: &Question, selector: &Selector) -> ResolvedWindow {
        let definition = &self.view.definition;
        let mut seals = SealSet::default();
        for operation in self.view.seals.iter().filter(|seal| seal.at <= question.now) {
            match operation.verb {
                SealVerb::Add => seals.add(operation.from, operation.to, operation.at),
                SealVerb::Remove => seals.remove(operation.from, operation.to, operation.at),
            }
        }
        let coverage = match question.at {
            Some(at) if question.known => seals.known_at(at),
            _ => seals.coverage(),
        };
        let input = EdgeInput {
            at: question.at,
            now: question.now,
            tile: definition.tile,
            edge: question.edge.unwrap_or(definition.edge),
            seal: definition.seal,
            coverage: &coverage,
            max_lag: definition.max_lag,
            horizon: self.horizon(question),
        };
        let incomplete = self.view.incomplete.get(&selector.feature).cloned().unwrap_or_default();
        let incomplete: Vec<_> =
            incomplete.into_iter().map(|(from, to)| (from.unwrap_or(i64::MIN), to)).collect();
        resolve_window(&input, selector, &incomplete)
    }

    fn horizon(&self, question: &Question) -> Option<i64> {
        let definition = &self.view.definition;
        let retention = definition.retention?;
        Some(horizon(question.now, retention, definition.tile))
    }
}

fn status_of(window: &ResolvedWindow, seen: bool, present: bool) -> Status {
    let found = [
        (window.expired, Status::Expired),
        (window.incomplete, Status::Incomplete),
        (window.stale, Status::Stale),
        (!seen, Status::Unseen),
        (!present, Status::Empty),
    ];
    let first = found.into_iter().find(|(applies, _)| *applies);
    first.map_or(Status::Ok, |(_, status)| status)
}

fn positions(block: &Block<'_>, start: i64, end: i64) -> Range<usize> {
    let low = block.lower_bound(start);
    low..block.lower_bound(end).max(low)
}

fn layout_of(definition: &ViewDefinition) -> Layout {
    let mut components: Vec<Component> = Vec::new();
    for feature in &definition.features {
        let column = feature.expression.column.as_ref().map(|name| column(definition, name));
        let column = column.map(|(index, definition)| (index, definition.kind));
        for component in components_of(feature.expression.function, column).unwrap() {
            if !components.contains(&component) {
                components.push(component);
            }
        }
    }
    Layout::new((0..).map(ComponentId::new).zip(components).collect())
}

fn finishers_of(definition: &ViewDefinition, layout: &Layout) -> HashMap<Identifier, Finisher> {
    let finisher = |expression: &tilekv_tile::Expression| {
        let column = expression.column.as_ref().map(|name| column(definition, name).0);
        Finisher::new(layout, expression.function, column).unwrap()
    };
    let features = definition.features.iter();
    features.map(|feature| (feature.name.clone(), finisher(&feature.expression))).collect()
}

fn column<'a>(definition: &'a ViewDefinition, name: &Identifier) -> (u16, &'a ColumnDefinition) {
    (0..).zip(&definition.columns).find(|(_, column)| column.name == *name).unwrap()
}

fn cells<'a>(
    rows: &'a Rows,
    row: usize,
    columns: &[ColumnDefinition],
) -> Vec<Option<tilekv_tile::Scalar<'a>>> {
    let cell = |(position, column): (usize, &ColumnDefinition)| {
        rows.cell(row, position, column.kind).unwrap()
    };
    columns.iter().enumerate().map(cell).collect()
}

type Tiles = Vec<(i64, Accumulator)>;

fn by_entity(source: BTreeMap<(Bytes, i64), Accumulator>) -> HashMap<Bytes, Tiles> {
    let mut entities: HashMap<_, Tiles> = HashMap::new();
    for ((entity, start), tile) in source {
        entities.entry(entity).or_default().push((start, tile));
    }
    entities
}

fn block_of(layout: &Layout, tiles: &[(i64, Accumulator)]) -> Vec<u8> {
    let rows: Vec<_> = tiles
        .iter()
        .map(|(start, accumulator)| TileRow { start: *start, base: false, accumulator })
        .collect();
    let mut bytes = Vec::new();
    encode_block(layout, TILE_MS, &[], &rows, &mut bytes);
    bytes
}
