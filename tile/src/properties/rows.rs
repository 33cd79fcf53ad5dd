//! Random rows over three columns, one of each type, and the view that aggregates them.

use crate::component::{Component, ComponentId, components_of};
use crate::expression::Function;
use crate::layout::{FeatureBinding, Layout};
use crate::name::Identifier;
use crate::quantile::Quantile;
use crate::scalar::{ColumnType, Scalar};
use crate::{Accumulator, floor_to};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The tile size of the tests, in milliseconds.
pub(super) const SPAN: i64 = 10;

/// One row of input.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) timestamp: i64,
    pub(super) cells: [Option<Cell>; 3],
}

/// One value of input.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub(super) enum Cell {
    I64(i64),
    F64(f64),
    Str(String),
}

/// The types of the columns.
pub(super) const COLUMNS: [ColumnType; 3] = [ColumnType::I64, ColumnType::F64, ColumnType::Str];

/// Every function, some with several parameters.
pub(super) fn functions() -> Vec<Function> {
    let median = Quantile::parse(b"0.5").unwrap();
    let upper = Quantile::parse(b"0.93").unwrap();
    let mut functions = FUNCTIONS.to_vec();
    functions.extend([
        Function::FirstN(1),
        Function::FirstN(5),
        Function::LastN(3),
        Function::LastN(1_024),
        Function::FirstDistinctN(2),
        Function::LastDistinctN(1),
        Function::LastDistinctN(4),
        Function::ApproxCountDistinct(4),
        Function::ApproxCountDistinct(12),
        Function::ApproxPercentile(median, 200),
        Function::ApproxPercentile(upper, 200),
        Function::ApproxPercentile(median, 8),
        Function::TopN(2),
        Function::TopN(20),
    ]);
    functions
}

const FUNCTIONS: [Function; 12] = [
    Function::CountRows,
    Function::Count,
    Function::Sum,
    Function::Mean,
    Function::Min,
    Function::Max,
    Function::VarPop,
    Function::VarSamp,
    Function::StddevPop,
    Function::StddevSamp,
    Function::First,
    Function::Last,
];

/// Every feature that can be had over the columns.
pub(super) fn features() -> Vec<FeatureBinding> {
    let mut features = Vec::new();
    for (column, kind) in (0_u16..).zip(COLUMNS) {
        for function in functions() {
            let is_rows = function == Function::CountRows;
            let binding = (!is_rows).then_some((column, kind));
            if (is_rows && column != 0) || components_of(function, binding).is_err() {
                continue;
            }
            let name = format!("{}_{column}_{}", function.as_str(), features.len());
            features.push(FeatureBinding {
                function,
                column: binding,
                name: Identifier::parse(name.as_bytes()).unwrap(),
            });
        }
    }
    features
}

/// The layout of all components of the features, with gaps in the ids.
pub(super) fn layout_of(features: &[FeatureBinding]) -> Layout {
    let mut components: Vec<(ComponentId, Component)> = Vec::new();
    for feature in features {
        for component in components_of(feature.function, feature.column).unwrap() {
            if components.iter().all(|(_, known)| *known != component) {
                let id = u16::try_from(components.len() * 2).unwrap();
                components.push((ComponentId::new(id), component));
            }
        }
    }
    Layout::new(components)
}

impl Row {
    /// Adds the row to a state.
    pub(super) fn add_to(&self, layout: &Layout, accumulator: &mut Accumulator) {
        let cells = self.cells.each_ref().map(|cell| {
            cell.as_ref().map(|cell| match cell {
                Cell::I64(value) => Scalar::I64(*value),
                Cell::F64(value) => Scalar::F64(*value),
                Cell::Str(text) => Scalar::Str(text.as_bytes()),
            })
        });
        layout.add_row(accumulator, self.timestamp, &cells);
    }
}

/// The state of all rows.
pub(super) fn state_of<'a>(
    layout: &Layout,
    rows: impl IntoIterator<Item = &'a Row>,
) -> Accumulator {
    let mut accumulator = layout.empty();
    rows.into_iter().for_each(|row| row.add_to(layout, &mut accumulator));
    accumulator
}

/// The tiles of the rows, by their starts.
pub(super) fn tiles_of(layout: &Layout, rows: &[Row]) -> BTreeMap<i64, Accumulator> {
    let mut tiles = BTreeMap::new();
    for row in rows {
        let tile = tiles.entry(floor_to(row.timestamp, SPAN)).or_insert_with(|| layout.empty());
        row.add_to(layout, tile);
    }
    tiles
}

/// Rows in any order, few of them at the same time.
pub(super) fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    let doubles = prop_oneof![
        Just(any_double().boxed()),
        Just(near(1.7e9).boxed()),
        Just(near(0.0).boxed()),
        Just(Just(0.1).boxed()),
        Just(huge().boxed()),
        Just(tiny().boxed()),
        Just(halves().boxed()),
    ];
    let integers = prop_oneof![
        Just(any::<i64>().boxed()),
        Just((-3_i64..3).boxed()),
        Just(Just(i64::MAX - 1).boxed()),
        Just(prop_oneof![Just(i64::MIN), Just(i64::MAX)].boxed()),
    ];
    (doubles, integers).prop_flat_map(|(doubles, integers)| {
        let texts = prop_oneof![Just(String::new()), "[a-c]{1,3}", ".{0,5}"];
        let row = (
            -100_i64..100,
            proptest::option::of(integers),
            proptest::option::of(doubles),
            proptest::option::of(texts),
        );
        proptest::collection::vec(row.prop_map(row_of), 0..40)
    })
}

fn row_of(
    (timestamp, integer, double, text): (i64, Option<i64>, Option<f64>, Option<String>),
) -> Row {
    Row {
        timestamp,
        cells: [
            integer.map(Cell::I64),
            double.map(|value| Cell::F64(value + 0.0)),
            text.map(Cell::Str),
        ],
    }
}

/// Any finite double, its exponent as random as its bits.
pub(super) fn any_double() -> impl Strategy<Value = f64> {
    any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |value| value.is_finite())
}

fn near(mean: f64) -> impl Strategy<Value = f64> {
    (-2.0_f64..2.0).prop_map(move |value| mean + value)
}

fn huge() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(1e308),
        Just(-1e308),
        Just(f64::MAX),
        Just(f64::MIN),
        1e300..1.7e308,
        Just(1.0)
    ]
}

fn tiny() -> impl Strategy<Value = f64> {
    prop_oneof![Just(5e-324), Just(-5e-324), Just(0.0), 1e-320..1e-300, Just(1e-200)]
}

fn halves() -> impl Strategy<Value = f64> {
    (-1_000_i32..1_000).prop_map(|value| f64::from(value) * 0.5)
}
