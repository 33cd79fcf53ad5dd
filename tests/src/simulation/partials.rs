//! The partials of a tile as JSON: printed from rows, and compared with what a store prints.
//! It knows nothing of how a store keeps them.

use crate::simulation::aggregate::{
    Expected, aggregate, float, listed, m2, units, units_of_one, value_of, wide,
};
use crate::simulation::model::{Cell, Entry, Parts, Row};
use serde_json::Value as Json;
use std::sync::Arc;
use tilekv_tile::{ColumnType, Function, Value};

/// The partial of a function over the rows of a tile. For variances there must be 0, 1, 2 or 4
/// values, small ones where there are several, so that mean and m2 have few digits.
#[must_use]
pub fn print(function: Function, column: usize, kind: ColumnType, rows: &[Arc<Row>]) -> String {
    let cells: Vec<(i64, &Cell)> =
        rows.iter().filter_map(|row| Some((row.timestamp, row.cell(column)?))).collect();
    let total = || cells.iter().map(|(_, cell)| units(cell)).sum();
    match function {
        Function::CountRows => rows.len().to_string(),
        Function::Count => cells.len().to_string(),
        Function::FirstN(_)
        | Function::LastN(_)
        | Function::FirstDistinctN(_)
        | Function::LastDistinctN(_) => {
            let entries = listed(function, &cells);
            let entries: Vec<String> =
                entries.iter().map(|entry| print_entry(Some(entry))).collect();
            format!("[{}]", entries.join(","))
        }
        Function::ApproxCountDistinct(_) | Function::ApproxPercentile(..) | Function::TopN(_) => {
            let values: Vec<String> =
                cells.iter().map(|(_, cell)| print_cell(Some(cell))).collect();
            format!("{{\"values\":[{}]}}", values.join(","))
        }
        _ if cells.is_empty() => "null".to_owned(),
        Function::Sum => print_sum(kind, total()),
        Function::Mean => {
            format!("{{\"sum\":{},\"count\":{}}}", print_sum(kind, total()), cells.len())
        }
        Function::Min => print_cell(cells.iter().map(|(_, cell)| *cell).min()),
        Function::Max => print_cell(cells.iter().map(|(_, cell)| *cell).max()),
        Function::First => print_entry(cells.iter().min()),
        Function::Last => print_entry(cells.iter().max()),
        Function::VarPop | Function::VarSamp | Function::StddevPop | Function::StddevSamp => {
            print_spread(kind, &cells, total())
        }
    }
}

/// Whether a store's partial is that of these rows.
#[must_use]
pub fn admits(
    function: Function,
    column: usize,
    kind: ColumnType,
    entries: &[&Entry],
    text: &str,
) -> bool {
    let Ok(json) = serde_json::from_str::<Json>(text) else {
        return false;
    };
    let expected = aggregate(function, column, kind, entries);
    if expected == Expected::Anything {
        return true;
    }
    match function {
        Function::Mean => admits_mean(column, kind, entries, &json),
        Function::VarPop | Function::VarSamp | Function::StddevPop | Function::StddevSamp => {
            admits_spread(function, column, kind, entries, &json)
        }
        Function::First | Function::Last => {
            admits_time(function, column, entries, &json)
                && expected.admits(&value(&json[1], kind, function))
        }
        Function::FirstN(_)
        | Function::LastN(_)
        | Function::FirstDistinctN(_)
        | Function::LastDistinctN(_) => {
            let cells = cells_of(function, column, entries);
            let entries: Vec<String> =
                listed(function, &cells).iter().map(|entry| print_entry(Some(entry))).collect();
            let expected = serde_json::from_str::<Json>(&format!("[{}]", entries.join(",")));
            expected.is_ok_and(|expected| same(&expected, &json, kind))
        }
        Function::ApproxCountDistinct(_) | Function::ApproxPercentile(..) | Function::TopN(_) => {
            admits_sketch(kind, &cells_of(function, column, entries), &json)
        }
        _ => expected.admits(&value(&json, kind, function)),
    }
}

/// Values that are printed are those of the rows; what a sketch holds shows where it is read.
fn admits_sketch(kind: ColumnType, cells: &[(i64, &Cell)], json: &Json) -> bool {
    let Some(values) = json["values"].as_array() else {
        return json["b64"].is_string() && !cells.is_empty();
    };
    let mut expected: Vec<&Cell> = cells.iter().map(|(_, cell)| *cell).collect();
    expected.sort();
    let expected = expected.into_iter().map(value_of);
    expected.eq(values.iter().map(|json| value(json, kind, Function::Min)))
}

/// The values that went into a feature, with their times.
fn cells_of<'a>(function: Function, column: usize, entries: &[&'a Entry]) -> Vec<(i64, &'a Cell)> {
    let needed = Parts::needed(function, column);
    let counted = entries.iter().filter(|entry| entry.parts.has(needed));
    counted.filter_map(|entry| Some((entry.row.timestamp, entry.row.cell(column)?))).collect()
}

/// Whether two lists of entries are the same, numbers compared as such.
fn same(one: &Json, other: &Json, kind: ColumnType) -> bool {
    let entries = |json: &Json| -> Option<Vec<(i64, Value)>> {
        let entry =
            |entry: &Json| Some((entry[0].as_i64()?, value(&entry[1], kind, Function::Min)));
        json.as_array()?.iter().map(entry).collect()
    };
    entries(one).is_some() && entries(one) == entries(other)
}

fn admits_mean(column: usize, kind: ColumnType, entries: &[&Entry], json: &Json) -> bool {
    let counted = aggregate(Function::Count, column, kind, entries);
    let sum = aggregate(Function::Sum, column, kind, entries);
    let count = value(&json["count"], ColumnType::I64, Function::Count);
    let found = value(&json["sum"], kind, Function::Sum);
    let is_zero = matches!(found, Value::Int(0)) || found == Value::Double(0.0);
    let is_empty = count == Value::Int(0);
    counted.admits(&count) && if is_empty { is_zero } else { sum.admits(&found) }
}

fn admits_spread(
    function: Function,
    column: usize,
    kind: ColumnType,
    entries: &[&Entry],
    json: &Json,
) -> bool {
    let cells = cells_of(function, column, entries);
    let Some([count, mean, m2_found]) = numbers(json, ["n", "mean", "m2"]) else {
        return false;
    };
    let (expected_count, expected_m2) = (float(wide(cells.len())), m2(kind, &cells));
    if cells.is_empty() {
        return count == 0.0 && mean == 0.0 && m2_found == 0.0;
    }
    let total: i128 = cells.iter().map(|(_, cell)| units(cell)).sum();
    let expected_mean = float(total) / units_of_one(kind) / expected_count;
    let deviation = (expected_m2 / expected_count).sqrt();
    let mean_error = 4.0 * f64::EPSILON * (expected_mean.abs() + deviation);
    let m2_error = 1e-13 * (expected_m2 + expected_mean.abs() * deviation * expected_count);
    count == expected_count
        && (mean - expected_mean).abs() <= mean_error
        && (m2_found - expected_m2).abs() <= m2_error
}

fn admits_time(function: Function, column: usize, entries: &[&Entry], json: &Json) -> bool {
    let needed = Parts::needed(function, column);
    let times = entries
        .iter()
        .filter(|entry| entry.parts.has(needed) && entry.row.cell(column).is_some())
        .map(|entry| entry.row.timestamp);
    let expected = if function == Function::First { times.min() } else { times.max() };
    json.get(0).and_then(Json::as_i64) == expected
}

fn value(json: &Json, kind: ColumnType, function: Function) -> Value {
    let is_count = matches!(function, Function::Count | Function::CountRows);
    let is_text = kind == ColumnType::Str && !is_count;
    match json {
        Json::String(text) if is_text => Value::Text(text.clone().into()),
        Json::String(text) => number(text, kind, is_count),
        Json::Number(found) => number(&found.to_string(), kind, is_count),
        _ => Value::Nil,
    }
}

fn number(text: &str, kind: ColumnType, is_count: bool) -> Value {
    if kind == ColumnType::F64 && !is_count {
        return text.parse().map_or(Value::Nil, Value::Double);
    }
    text.parse().map_or(Value::Nil, Value::integer)
}

fn numbers<const COUNT: usize>(json: &Json, names: [&str; COUNT]) -> Option<[f64; COUNT]> {
    let found: Vec<f64> =
        names.iter().filter_map(|name| json[*name].to_string().parse().ok()).collect();
    found.try_into().ok()
}

fn print_sum(kind: ColumnType, total: i128) -> String {
    if kind == ColumnType::F64 {
        decimal(total, 2)
    } else if total.unsigned_abs() <= 1 << 53 {
        total.to_string()
    } else {
        format!("\"{total}\"")
    }
}

fn print_cell(cell: Option<&Cell>) -> String {
    match cell {
        None => "null".to_owned(),
        Some(Cell::Integer(integer)) => integer.to_string(),
        Some(Cell::Halves(halves)) => decimal(i128::from(*halves), 2),
        Some(Cell::Text(text)) => Json::from(String::from_utf8_lossy(text)).to_string(),
    }
}

fn print_entry(entry: Option<&(i64, &Cell)>) -> String {
    let Some((timestamp, cell)) = entry else {
        return "null".to_owned();
    };
    format!("[{timestamp},{}]", print_cell(Some(cell)))
}

fn print_spread(kind: ColumnType, cells: &[(i64, &Cell)], total: i128) -> String {
    let count = wide(cells.len());
    assert!(matches!(count, 1 | 2 | 4), "other counts have means with no end");
    let unit = if kind == ColumnType::F64 { 2 } else { 1 };
    let squares: i128 = cells
        .iter()
        .map(|(_, cell)| units(cell) * count - total)
        .map(|distance| distance * distance)
        .sum();
    let mean = decimal(total, count * unit);
    let m2 = decimal(squares, count * count * unit * unit);
    format!("{{\"n\":{count},\"mean\":{mean},\"m2\":{m2}}}")
}

/// A fraction whose denominator divides 64, digit by digit.
fn decimal(numerator: i128, denominator: i128) -> String {
    assert!(64 % denominator == 0, "six digits are enough for 64ths");
    let sign = if numerator < 0 { "-" } else { "" };
    let whole = numerator.abs() / denominator;
    let millionths = numerator.abs() % denominator * 1_000_000 / denominator;
    format!("{sign}{whole}.{millionths:06}")
}
