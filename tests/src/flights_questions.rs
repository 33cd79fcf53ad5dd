//! Random questions about the flights: which entity, which windows, at which time.
//! It knows nothing of the answers.

use crate::flights::{FIRST_DEPARTURE_MS, Flight, Grouping, LAST_DEPARTURE_MS, TILE_MS};
use crate::oracle::Question;
use crate::seed;
use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use std::collections::BTreeSet;
use tilekv_tile::{Edge, FeatureDefinition, Name, Selector, Span, ViewDefinition, WindowLength};

/// An endless stream of questions; the same seed gives the same stream.
#[derive(Debug)]
pub struct FlightQuestions {
    generator: Xoshiro256PlusPlus,
    views: Vec<AskedView>,
    now: i64,
}

#[derive(Debug)]
struct AskedView {
    name: Name,
    entities: Vec<String>,
    features: Vec<FeatureDefinition>,
}

impl FlightQuestions {
    /// Questions about these flights in the views of all groupings, by a server whose clock
    /// stands at `now`.
    pub fn new(seed: u64, flights: &[Flight], now: i64) -> Self {
        Self {
            generator: seed::generator(seed),
            views: Grouping::ALL
                .map(|grouping| asked_view(grouping, grouping.definition(), flights))
                .into(),
            now,
        }
    }

    /// The same about [`Grouping::exact_definition`].
    pub fn exact(seed: u64, flights: &[Flight], now: i64) -> Self {
        let asked = |grouping: Grouping| asked_view(grouping, grouping.exact_definition(), flights);
        Self { views: Grouping::ALL.map(asked).into(), ..Self::new(seed, flights, now) }
    }

    fn question(&mut self) -> Question {
        let generator = &mut self.generator;
        let view = choice(generator, &self.views);
        let entity = if generator.random_ratio(1, 100) {
            "nobody".to_owned()
        } else {
            choice(generator, &view.entities).clone()
        };
        let selector_count = generator.random_range(1..=SELECTORS_MAX);
        Question {
            view: view.name.clone(),
            entity,
            now: self.now,
            at: Some(generator.random_range(FIRST_DEPARTURE_MS..=LAST_DEPARTURE_MS)),
            known: false,
            edge: *choice(generator, &[None, Some(Edge::Closed), Some(Edge::Live)]),
            selectors: (0..selector_count).map(|_| selector(generator, &view.features)).collect(),
        }
    }
}

impl Iterator for FlightQuestions {
    type Item = Question;

    fn next(&mut self) -> Option<Question> {
        Some(self.question())
    }
}

fn asked_view(grouping: Grouping, definition: ViewDefinition, flights: &[Flight]) -> AskedView {
    let entities: BTreeSet<_> =
        flights.iter().filter_map(|flight| grouping.entity(flight)).collect();
    AskedView {
        name: definition.name,
        entities: entities.into_iter().collect(),
        features: definition.features,
    }
}

/// A window of 1 h to 90 d, uniform in its logarithm's nature: short ones as often as long ones;
/// one in eight is a lifetime, half of them end earlier by an offset.
fn selector(generator: &mut Xoshiro256PlusPlus, features: &[FeatureDefinition]) -> Selector {
    let window = if generator.random_ratio(1, 8) {
        WindowLength::Lifetime
    } else {
        let longest = *choice(generator, &[1, 6, 24, 7 * 24, 30 * 24, LONGEST_TILES]);
        WindowLength::Span(tiles(generator.random_range(1..=longest)))
    };
    let offset = if generator.random() {
        tiles(0)
    } else {
        tiles(generator.random_range(1..=OFFSET_TILES_MAX))
    };
    Selector { feature: choice(generator, features).name.clone(), window, offset }
}

fn tiles(count: i64) -> Span {
    Span::from_millis(count * TILE_MS)
        .unwrap_or_else(|error| panic!("{count} tiles are a span: {error}"))
}

fn choice<'a, T>(generator: &mut Xoshiro256PlusPlus, from: &'a [T]) -> &'a T {
    from.choose(generator).unwrap_or_else(|| unreachable!("there is something to choose from"))
}

const SELECTORS_MAX: usize = 4;
const LONGEST_TILES: i64 = 90 * 24;
const OFFSET_TILES_MAX: i64 = 14 * 24;
