//! What a feature amounts to over rows, by brute force and in exact integers, and whether an
//! answer agrees. It knows nothing of windows or tiles.

use crate::simulation::model::{Cell, Entry, Part, Parts};
use tilekv_tile::{ColumnType, Function, Value};

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
    );
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
    }
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

/// The stated relative error of variances and deviations of well-placed data.
const SPREAD_ERROR_MAX: f64 = 1e-13;
