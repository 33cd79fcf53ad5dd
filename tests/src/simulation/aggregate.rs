//! What a feature amounts to over rows, by brute force and in exact integers, and whether an
//! answer agrees. It knows nothing of windows or tiles.

use crate::simulation::model::{Cell, Entry, Part, Parts};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use tilekv_tile::{ColumnType, Function, Quantile, Value};

/// What an answer should be.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// Exactly this.
    Exactly(Value),
    /// A double this close.
    About {
        /// The value.
        value: f64,
        /// How far an answer may be off.
        tolerance: f64,
    },
    /// One of these.
    OneOf(Vec<Value>),
    /// Anything: the rows went into the feature's parts unequally, which a status says.
    Anything,
}

impl Expected {
    /// Whether an answer is as expected.
    #[must_use]
    pub fn admits(&self, answer: &Value) -> bool {
        match (self, answer) {
            (Self::Exactly(value), answer) => value == answer,
            (Self::About { value, tolerance }, Value::Double(answer)) => {
                (value - answer).abs() <= *tolerance
            }
            (Self::About { .. }, _) => false,
            (Self::OneOf(values), answer) => values.contains(answer),
            (Self::Anything, _) => true,
        }
    }
}

/// Whether the rows went into all parts of a feature alike, so that its value is defined.
#[must_use]
pub fn is_defined(function: Function, column: usize, entries: &[&Entry]) -> bool {
    let needed = Parts::needed(function, column);
    let uncounted = Parts::of(Part::Uncounted, column);
    let is_alone = matches!(
        function,
        Function::CountRows | Function::Min | Function::Max | Function::First | Function::Last
    ) || is_list_or_sketch(function);
    is_alone
        || entries.iter().all(|entry| {
            let is_whole = entry.parts.has(needed) || entry.parts.lacks(needed);
            is_whole && (function == Function::Sum || entry.parts.lacks(uncounted))
        })
}

/// What a feature should answer over these rows.
#[must_use]
pub fn aggregate(
    function: Function,
    column: usize,
    kind: ColumnType,
    entries: &[&Entry],
) -> Expected {
    if !is_defined(function, column, entries) {
        return Expected::Anything;
    }
    let needed = Parts::needed(function, column);
    let counted: Vec<&Entry> =
        entries.iter().copied().filter(|entry| entry.parts.has(needed)).collect();
    if function == Function::CountRows {
        return Expected::Exactly(Value::integer(wide(counted.len())));
    }
    let cells: Vec<(i64, &Cell)> = counted
        .iter()
        .filter_map(|entry| Some((entry.row.timestamp, entry.row.cell(column)?)))
        .collect();
    match function {
        Function::CountRows | Function::Count => {
            Expected::Exactly(Value::integer(wide(cells.len())))
        }
        Function::Min => chosen(cells.iter().map(|(_, cell)| *cell).min()),
        Function::Max => chosen(cells.iter().map(|(_, cell)| *cell).max()),
        Function::First => chosen(cells.iter().min().map(|(_, cell)| *cell)),
        Function::Last => chosen(cells.iter().max().map(|(_, cell)| *cell)),
        Function::Sum => sum(kind, &cells),
        Function::Mean => mean(kind, &cells),
        Function::VarPop | Function::VarSamp | Function::StddevPop | Function::StddevSamp => {
            spread(function, kind, &cells)
        }
        Function::FirstN(_)
        | Function::LastN(_)
        | Function::FirstDistinctN(_)
        | Function::LastDistinctN(_) => {
            let entries = listed(function, &cells).into_iter();
            Expected::Exactly(Value::List(entries.map(|(_, cell)| value_of(cell)).collect()))
        }
        Function::ApproxCountDistinct(_) => distinct(&cells),
        Function::ApproxPercentile(quantile, k) => percentile(quantile, k, &cells),
        Function::TopN(n) => top(n, &cells),
    }
}

/// Whether a function is a list or a sketch: computed from a part that no other function has.
#[must_use]
pub fn is_list_or_sketch(function: Function) -> bool {
    matches!(
        function,
        Function::FirstN(_)
            | Function::LastN(_)
            | Function::FirstDistinctN(_)
            | Function::LastDistinctN(_)
            | Function::ApproxCountDistinct(_)
            | Function::ApproxPercentile(..)
            | Function::TopN(_)
    )
}

/// The entries that a list keeps, in ascending order.
#[must_use]
pub fn listed<'a>(function: Function, cells: &[(i64, &'a Cell)]) -> Vec<(i64, &'a Cell)> {
    let (n, is_last, is_distinct) = match function {
        Function::FirstN(n) => (n, false, false),
        Function::LastN(n) => (n, true, false),
        Function::FirstDistinctN(n) => (n, false, true),
        Function::LastDistinctN(n) => (n, true, true),
        _ => panic!("{function:?} is no list"),
    };
    let mut entries = cells.to_vec();
    entries.sort();
    if is_last {
        entries.reverse();
    }
    let mut kept: Vec<(i64, &Cell)> = Vec::new();
    for (timestamp, cell) in entries {
        let is_repeat = is_distinct && kept.iter().any(|(_, known)| *known == cell);
        if !is_repeat && kept.len() < usize::from(n) {
            kept.push((timestamp, cell));
        }
    }
    kept.sort();
    kept
}

/// Few values are counted exactly; many within four standard errors.
fn distinct(cells: &[(i64, &Cell)]) -> Expected {
    let values: BTreeSet<&Cell> = cells.iter().map(|(_, cell)| *cell).collect();
    let count = wide(values.len());
    if count <= DISTINCT_EXACT_MAX {
        return Expected::Exactly(Value::integer(count));
    }
    let tolerance = count / 15 + 1;
    let near = count - tolerance..=count + tolerance;
    Expected::OneOf(near.map(Value::integer).collect())
}

/// Exact while there are at most k values; after that one of the inputs.
fn percentile(quantile: Quantile, k: u16, cells: &[(i64, &Cell)]) -> Expected {
    let mut values: Vec<&Cell> = cells.iter().map(|(_, cell)| *cell).collect();
    values.sort();
    if usize::from(k) < values.len() {
        return Expected::OneOf(values.into_iter().map(value_of).collect());
    }
    let count = u64::try_from(values.len()).unwrap_or(u64::MAX);
    let rank = usize::try_from(quantile.nearest_rank(count)).unwrap_or(usize::MAX);
    chosen(values.get(rank - 1).copied())
}

/// Exact while there are at most as many values as counters.
fn top(n: u16, cells: &[(i64, &Cell)]) -> Expected {
    let mut counts: BTreeMap<&Cell, i128> = BTreeMap::new();
    cells.iter().for_each(|(_, cell)| *counts.entry(cell).or_default() += 1);
    if TOP_EXACT_MAX < counts.len() {
        return Expected::Anything;
    }
    let mut ordered: Vec<(&Cell, i128)> = counts.into_iter().collect();
    ordered.sort_by_key(|(cell, count)| (Reverse(*count), *cell));
    ordered.truncate(usize::from(n));
    let pair = |(cell, count)| Value::List(vec![value_of(cell), Value::integer(count)]);
    Expected::Exactly(Value::List(ordered.into_iter().map(pair).collect()))
}

/// The value of a cell.
#[must_use]
pub fn value_of(cell: &Cell) -> Value {
    match cell {
        Cell::Integer(integer) => Value::Int(*integer),
        Cell::Halves(halves) => Value::Double(float(i128::from(*halves)) / 2.0),
        Cell::Text(text) => Value::Text(text.clone()),
    }
}

/// The number of a cell in the units of its type: ones or halves.
#[must_use]
pub fn units(cell: &Cell) -> i128 {
    match cell {
        Cell::Integer(number) | Cell::Halves(number) => i128::from(*number),
        Cell::Text(_) => panic!("a text is no number"),
    }
}

/// How many units of a type make one.
#[must_use]
pub fn units_of_one(kind: ColumnType) -> f64 {
    if kind == ColumnType::F64 { 2.0 } else { 1.0 }
}

/// The double nearest to an integer.
#[expect(clippy::as_conversions, reason = "no From is there for the nearest double")]
#[must_use]
pub fn float(number: i128) -> f64 {
    number as f64
}

/// A count as a wide integer.
#[must_use]
pub fn wide(count: usize) -> i128 {
    i128::try_from(count).unwrap_or(i128::MAX)
}

fn chosen(cell: Option<&Cell>) -> Expected {
    Expected::Exactly(cell.map_or(Value::Nil, value_of))
}

fn total(cells: &[(i64, &Cell)]) -> i128 {
    cells.iter().map(|(_, cell)| units(cell)).sum()
}

fn sum(kind: ColumnType, cells: &[(i64, &Cell)]) -> Expected {
    Expected::Exactly(if cells.is_empty() {
        Value::Nil
    } else if kind == ColumnType::F64 {
        Value::Double(float(total(cells)) / 2.0)
    } else {
        Value::integer(total(cells))
    })
}

/// Exact where both the sum and the count are doubles, since a division rounds once.
fn mean(kind: ColumnType, cells: &[(i64, &Cell)]) -> Expected {
    if cells.is_empty() {
        return Expected::Exactly(Value::Nil);
    }
    let sum = total(cells);
    let value = float(sum) / units_of_one(kind) / float(wide(cells.len()));
    if sum.unsigned_abs() <= 1 << 53 {
        Expected::Exactly(Value::Double(value))
    } else {
        Expected::About { value, tolerance: value.abs() * f64::EPSILON }
    }
}

fn spread(function: Function, kind: ColumnType, cells: &[(i64, &Cell)]) -> Expected {
    let is_sample = matches!(function, Function::VarSamp | Function::StddevSamp);
    let is_deviation = matches!(function, Function::StddevPop | Function::StddevSamp);
    let count = wide(cells.len());
    let divisor = if is_sample { count - 1 } else { count };
    if divisor <= 0 {
        return Expected::Exactly(Value::Nil);
    }
    let m2 = m2(kind, cells);
    if m2 == 0.0 {
        return Expected::Exactly(Value::Double(0.0));
    }
    let variance = m2 / float(divisor);
    let value = if is_deviation { variance.sqrt() } else { variance };
    let deviation = (m2 / float(count)).sqrt();
    let mean = float(total(cells)) / units_of_one(kind) / float(count);
    let tolerance = SPREAD_ERROR_MAX * (1.0 + mean.abs() / deviation) * value;
    Expected::About { value, tolerance }
}

/// The sum of squared distances from the mean, each distance exact before it is squared.
#[must_use]
pub fn m2(kind: ColumnType, cells: &[(i64, &Cell)]) -> f64 {
    let (count, sum) = (wide(cells.len()), total(cells));
    let scale = float(count) * units_of_one(kind);
    let squares = cells.iter().map(|(_, cell)| {
        let distance = float(units(cell) * count - sum) / scale;
        distance * distance
    });
    squares.sum()
}

/// Up to so many values a count of distinct values at precision 12 is exact.
const DISTINCT_EXACT_MAX: i128 = 384;
/// Up to so many values a list of the most frequent ones is exact.
const TOP_EXACT_MAX: usize = 64;
/// The stated relative error of variances and deviations of well-placed data.
const SPREAD_ERROR_MAX: f64 = 1e-13;
