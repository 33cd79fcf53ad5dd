//! Random views and changes of views. It knows nothing of what they hold.

use crate::simulation::dice::Dice;
use crate::simulation::model::{COLUMN_COUNT_MAX, ModelView, SMALL_K};
use tilekv_tile::{
    ColumnDefinition, ColumnType, Edge, Expression, FeatureDefinition, Function, Identifier,
    LateMode, Name, Quantile, SealMode, Span, ViewChange, ViewDefinition,
};

/// The names that views go by.
pub const VIEW_NAMES: [&str; 5] = ["likes", "shop.sales", "v-2", "rides", "late"];

/// A view's name.
///
/// # Panics
/// Where the text is no name.
#[must_use]
pub fn view_name(text: &str) -> Name {
    Name::parse(text.as_bytes()).expect("a name as the contract has it")
}

/// A random view of this name.
pub fn definition(dice: &mut Dice, name: &str) -> ViewDefinition {
    let tile = *dice.pick(&TILES);
    let columns: Vec<ColumnDefinition> = (0..dice.count(0, 3)).map(|at| column(dice, at)).collect();
    let features = (0..dice.count(1, 8)).map(|at| feature(dice, at, &columns)).collect();
    let key_count = if dice.one_in(4) { 2 } else { 1 };
    ViewDefinition {
        name: view_name(name),
        tile: span(tile),
        retention: retention(dice),
        edge: *dice.pick(&EDGES),
        seal: *dice.pick(&SEALS),
        max_lag: max_lag(dice, tile),
        late: *dice.pick(&LATES),
        min_rows: *dice.pick(&[0, 0, 0, 2]),
        levels: dice.one_in(4).then(|| vec![span(tile * 10), span(tile * 60)]),
        keys: (0..key_count).map(|at| identifier(&format!("key_{at}"))).collect(),
        columns,
        features,
    }
}

/// A random change of a view; now and then one that the view cannot take.
pub fn change(dice: &mut Dice, view: &ModelView) -> ViewChange {
    let definition = &view.definition;
    let mut change = ViewChange::default();
    let mut columns = definition.columns.clone();
    if columns.len() < COLUMN_COUNT_MAX && dice.one_in(3) {
        columns.push(column(dice, columns.len()));
        change.add_columns = columns[definition.columns.len()..].to_vec();
    }
    if definition.features.len() < FEATURE_COUNT_MAX && !dice.one_in(3) {
        let known = definition.features.len();
        let is_known_twice = dice.one_in(12);
        let first = if is_known_twice { 0 } else { known };
        let count = dice.count(1, 2);
        change.add_features =
            (first..first + count).map(|at| feature(dice, at, &columns)).collect();
    }
    let tile = definition.tile.millis();
    change.retention = dice.one_in(4).then(|| retention(dice));
    change.edge = dice.one_in(4).then(|| *dice.pick(&EDGES));
    change.seal = dice.one_in(4).then(|| *dice.pick(&SEALS));
    change.max_lag = dice.one_in(4).then(|| max_lag(dice, tile));
    change.late = dice.one_in(4).then(|| *dice.pick(&LATES));
    change
}

fn column(dice: &mut Dice, at: usize) -> ColumnDefinition {
    let (prefix, kind) = *dice.pick(&COLUMNS);
    ColumnDefinition { name: identifier(&format!("{prefix}_{at}")), kind }
}

fn feature(dice: &mut Dice, at: usize, columns: &[ColumnDefinition]) -> FeatureDefinition {
    let name = identifier(&format!("f_{at}"));
    if columns.is_empty() || dice.one_in(6) {
        let expression = Expression { function: Function::CountRows, column: None };
        return FeatureDefinition { name, expression };
    }
    let column = dice.pick(columns);
    let function = match column.kind {
        ColumnType::Str => *dice.pick(&FUNCTIONS_OF_ANY),
        _ if dice.one_in(4) => {
            let quantile = Quantile::parse(dice.pick(&QUANTILES).as_bytes());
            let quantile = quantile.expect("a quantile as the contract has it");
            Function::ApproxPercentile(quantile, *dice.pick(&[SMALL_K, 200]))
        }
        _ => *dice.pick(&[&FUNCTIONS_OF_ANY[..], &FUNCTIONS_OF_NUMBERS].concat()),
    };
    let expression = Expression { function, column: Some(column.name.clone()) };
    FeatureDefinition { name, expression }
}

fn retention(dice: &mut Dice) -> Option<Span> {
    (!dice.one_in(2)).then(|| span(*dice.pick(&RETENTIONS)))
}

fn max_lag(dice: &mut Dice, tile: i64) -> Option<Span> {
    (!dice.one_in(2)).then(|| span(tile * dice.within(0, 20)))
}

fn identifier(text: &str) -> Identifier {
    Identifier::parse(text.as_bytes()).expect("an identifier as the contract has it")
}

/// A duration of so many milliseconds.
///
/// # Panics
/// Where it is negative or too long.
#[must_use]
pub fn span(millis: i64) -> Span {
    Span::from_millis(millis).expect("a duration as the contract has it")
}

/// Whether values of this column reach to the ends of an i64.
#[must_use]
pub fn is_huge(column: &ColumnDefinition) -> bool {
    column.name.as_str().starts_with(HUGE_PREFIX)
}

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
const TILES: [i64; 5] = [1, 1_000, MINUTE_MS, HOUR_MS, DAY_MS];
const RETENTIONS: [i64; 6] = [50, MINUTE_MS, 90 * MINUTE_MS, 8 * HOUR_MS, 3 * DAY_MS, 40 * DAY_MS];
const EDGES: [Edge; 2] = [Edge::Closed, Edge::Live];
const SEALS: [SealMode; 2] = [SealMode::Off, SealMode::Required];
const LATES: [LateMode; 2] = [LateMode::Add, LateMode::Drop];
const HUGE_PREFIX: &str = "huge";
const COLUMNS: [(&str, ColumnType); 4] = [
    ("amount", ColumnType::F64),
    ("item", ColumnType::Str),
    ("small", ColumnType::I64),
    (HUGE_PREFIX, ColumnType::I64),
];
const FEATURE_COUNT_MAX: usize = 14;
const QUANTILES: [&str; 5] = ["0", "0.25", "0.5", "0.99", "1"];
const FUNCTIONS_OF_ANY: [Function; 11] = [
    Function::Count,
    Function::Min,
    Function::Max,
    Function::First,
    Function::Last,
    Function::FirstN(3),
    Function::LastN(3),
    Function::FirstDistinctN(2),
    Function::LastDistinctN(3),
    Function::ApproxCountDistinct(12),
    Function::TopN(2),
];
const FUNCTIONS_OF_NUMBERS: [Function; 6] = [
    Function::Sum,
    Function::Mean,
    Function::VarPop,
    Function::VarSamp,
    Function::StddevPop,
    Function::StddevSamp,
];
