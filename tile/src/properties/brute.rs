//! Every aggregate by brute force over the rows, exactly; and how near an answer must come.

use super::exact::{POINT, fixed, fixed_integer, magnitude, ratio};
use super::rows::{Cell, Row};
use crate::expression::Function;
use crate::quantile::Quantile;
use crate::value::Value;
use bytes::Bytes;
use num_bigint::BigInt;

/// Panics unless `answer` is what the function over the column amounts to for the rows.
pub(super) fn check(function: Function, column: usize, rows: &[Row], answer: &Value) {
    let cells: Vec<(i64, &Cell)> =
        rows.iter().filter_map(|row| Some((row.timestamp, row.cells[column].as_ref()?))).collect();
    match function {
        Function::CountRows => assert_eq!(*answer, Value::from(length(rows.len()))),
        Function::Count => assert_eq!(*answer, Value::from(length(cells.len()))),
        Function::FirstN(n) => check_entries(&cells, answer, (false, false, n)),
        Function::LastN(n) => check_entries(&cells, answer, (true, false, n)),
        Function::FirstDistinctN(n) => check_entries(&cells, answer, (false, true, n)),
        Function::LastDistinctN(n) => check_entries(&cells, answer, (true, true, n)),
        Function::ApproxCountDistinct(precision) => check_distinct(&cells, answer, precision),
        Function::TopN(n) => assert_eq!(*answer, top(&cells, n)),
        _ if cells.is_empty() => assert_eq!(*answer, Value::Nil, "{function:?}"),
        Function::ApproxPercentile(quantile, k) => check_percentile(&cells, answer, quantile, k),
        Function::Sum => check_sum(&cells, answer),
        Function::Mean => check_mean(&cells, answer),
        Function::Min => assert_eq!(*answer, extreme(&cells, |one, best| one < best)),
        Function::Max => assert_eq!(*answer, extreme(&cells, |one, best| best < one)),
        Function::First => assert_eq!(*answer, entry(&cells, |one, best| one < best)),
        Function::Last => assert_eq!(*answer, entry(&cells, |one, best| best < one)),
        Function::VarPop => check_variance(&cells, length(cells.len()), answer, 1),
        Function::StddevPop => check_variance(&cells, length(cells.len()), answer, 2),
        Function::VarSamp => check_variance(&cells, length(cells.len()) - 1, answer, 1),
        Function::StddevSamp => check_variance(&cells, length(cells.len()) - 1, answer, 2),
    }
}

fn check_sum(cells: &[(i64, &Cell)], answer: &Value) {
    if let Some(sum) = integer_sum(cells) {
        assert_eq!(*answer, Value::integer(sum));
        return;
    }
    let Value::Double(answer) = answer else {
        panic!("{answer:?} is the sum of doubles");
    };
    let (sum, sizes) = fixed_sums(cells);
    if answer.is_infinite() {
        let rounds_up = (BigInt::from(1) << (1024 + POINT)) - (BigInt::from(1) << (970 + POINT));
        assert!(rounds_up <= magnitude(&sum), "the sum rounds to infinity");
        assert_eq!(sum < BigInt::ZERO, *answer < 0.0);
        return;
    }
    // SPEC: within 1 ulp + 2^-70 * sum(|x|) of the exact sum.
    let error = magnitude(&(fixed(*answer) - sum));
    let last_place = match answer.abs().next_up() {
        f64::INFINITY => fixed(answer.abs()) - fixed(answer.abs().next_down()),
        next => fixed(next) - fixed(answer.abs()),
    };
    assert!(error << 70 <= (last_place << 70) + sizes, "{answer} is near the sum");
}

/// Checks the values of the n outermost entries, backwards from the last or forwards from the
/// first, of each value once or not.
fn check_entries(
    cells: &[(i64, &Cell)],
    answer: &Value,
    (is_backwards, is_distinct, n): (bool, bool, u16),
) {
    let mut entries = cells.to_vec();
    entries.sort_by(|one, next| one.partial_cmp(next).unwrap());
    if is_backwards {
        entries.reverse();
    }
    let mut kept: Vec<&Cell> = Vec::new();
    for (_, cell) in entries {
        if !(is_distinct && kept.contains(&cell)) && kept.len() < usize::from(n) {
            kept.push(cell);
        }
    }
    if is_backwards {
        kept.reverse();
    }
    assert_eq!(*answer, Value::List(kept.into_iter().map(value_of).collect()));
}

/// Exact where coupons are kept, that is below 8 values or, from a precision of 8 on, a few more.
fn check_distinct(cells: &[(i64, &Cell)], answer: &Value, precision: u8) {
    let count = counts(cells).len();
    if 8 <= precision || count < 8 {
        assert_eq!(*answer, Value::from(length(count)));
    } else {
        let Value::Int(answer) = *answer else { panic!("{answer:?} is a count") };
        assert!((1..1_000).contains(&answer), "{answer} is near {count}");
    }
}

fn check_percentile(cells: &[(i64, &Cell)], answer: &Value, quantile: Quantile, k: u16) {
    let mut values: Vec<&Cell> = cells.iter().map(|(_, cell)| *cell).collect();
    values.sort_by(|one, next| one.partial_cmp(next).unwrap());
    if values.len() <= usize::from(k) {
        let rank = quantile.nearest_rank(length(values.len()));
        let nearest = values[usize::try_from(rank).unwrap() - 1];
        assert_eq!(*answer, value_of(nearest));
    } else {
        let is_input = values.iter().any(|value| value_of(value) == *answer);
        assert!(is_input, "{answer:?} is one of the inputs");
    }
}

/// The n most frequent values with their counts, exactly.
fn top(cells: &[(i64, &Cell)], n: u16) -> Value {
    let mut counts = counts(cells);
    counts.sort_by(|(value, count), (other, other_count)| {
        other_count.cmp(count).then(value.partial_cmp(other).unwrap())
    });
    counts.truncate(usize::from(n));
    let pair = |(value, count)| Value::List(vec![value_of(value), Value::from(count)]);
    Value::List(counts.into_iter().map(pair).collect())
}

/// How often each value is there.
fn counts<'a>(cells: &[(i64, &'a Cell)]) -> Vec<(&'a Cell, u64)> {
    let mut counts: Vec<(&Cell, u64)> = Vec::new();
    for (_, cell) in cells {
        match counts.iter_mut().find(|(known, _)| known == cell) {
            Some((_, count)) => *count += 1,
            None => counts.push((cell, 1)),
        }
    }
    counts
}

fn check_mean(cells: &[(i64, &Cell)], answer: &Value) {
    let Value::Double(answer) = answer else {
        panic!("{answer:?} is a mean");
    };
    let count = length(cells.len());
    if let Some(sum) = integer_sum(cells) {
        let numerator = BigInt::from(sum) << POINT;
        assert!(super::exact::is_nearest(*answer, &numerator, count), "{answer} of {sum}");
        return;
    }
    assert!(answer.is_finite(), "the mean of finite values is finite");
    let (sum, sizes) = fixed_sums(cells);
    let error = magnitude(&(fixed(*answer) * count - sum));
    let last_place = fixed(answer.abs()) - fixed(answer.abs().next_down().max(0.0));
    assert!(error << 70 <= ((last_place * count) << 71) + (BigInt::from(count) << 70) + sizes);
}

/// Checks a variance (`power` 1) or the square of a deviation (`power` 2), over `divisor`.
fn check_variance(cells: &[(i64, &Cell)], divisor: u64, answer: &Value, power: u32) {
    if divisor == 0 {
        assert_eq!(*answer, Value::Nil, "a sample of one value has no variance");
        return;
    }
    let Value::Double(answer) = answer else {
        panic!("{answer:?} is a variance or deviation");
    };
    assert!(0.0 <= *answer, "{answer} is not negative");
    let count = length(cells.len());
    let values = || cells.iter().map(|(_, cell)| fixed_cell(cell));
    let sum: BigInt = values().sum();
    let squares: BigInt = values().map(|value| &value * &value).sum();
    // n * sum(x^2) - sum(x)^2 = n^2 * var_pop, times 2^2148.
    let spread = squares * count - &sum * &sum;
    if spread == BigInt::ZERO {
        assert_eq!(*answer, 0.0, "equal values have no variance");
        return;
    }
    let expected = &spread * count;
    let scale = BigInt::from(count) * count * divisor;
    let limit = (BigInt::from(1) << (1024 + POINT)) - (BigInt::from(1) << (970 + POINT));
    let limit = if power == 2 { &limit * &limit } else { limit << POINT };
    if answer.is_infinite() {
        assert!(limit * scale <= expected, "the variance rounds to infinity");
        return;
    }
    let found = match power {
        1 => fixed(*answer) << POINT,
        _ => fixed(*answer) * fixed(*answer),
    };
    let error = magnitude(&(found * &scale - &expected));
    // SPEC: relative 1e-13 * (1 + |mean| / stddev_pop). A deviation errs half as much as its
    // square; and no double is nearer to a tiny value than half the least subnormal.
    let allowed = f64::from(power) * 1e-13 * (1.0 + ratio(&(&sum * &sum), &spread).sqrt());
    let least = match power {
        1 => BigInt::from(1) << POINT,
        _ => fixed(*answer) * 2 + 1,
    };
    let is_near = ratio(&error, &expected) <= allowed || error <= least * scale;
    assert!(is_near, "{answer}: error {} allowed {allowed}", ratio(&error, &expected));
}

fn extreme(cells: &[(i64, &Cell)], is_better: fn(&Cell, &Cell) -> bool) -> Value {
    let best = cells.iter().map(|(_, cell)| *cell);
    let best = best.reduce(|best, one| if is_better(one, best) { one } else { best });
    best.map_or(Value::Nil, value_of)
}

fn entry(cells: &[(i64, &Cell)], is_better: fn(&(i64, &Cell), &(i64, &Cell)) -> bool) -> Value {
    let best = cells.iter().copied();
    let best = best.reduce(|best, one| if is_better(&one, &best) { one } else { best });
    best.map_or(Value::Nil, |(_, cell)| value_of(cell))
}

fn value_of(cell: &Cell) -> Value {
    match cell {
        Cell::I64(value) => Value::Int(*value),
        Cell::F64(value) => Value::Double(*value),
        Cell::Str(text) => Value::Text(Bytes::copy_from_slice(text.as_bytes())),
    }
}

fn integer_sum(cells: &[(i64, &Cell)]) -> Option<i128> {
    let values = cells.iter().map(|(_, cell)| match cell {
        Cell::I64(value) => Some(i128::from(*value)),
        Cell::F64(_) | Cell::Str(_) => None,
    });
    values.sum()
}

/// The sum of the values and of their magnitudes.
fn fixed_sums(cells: &[(i64, &Cell)]) -> (BigInt, BigInt) {
    let values = || cells.iter().map(|(_, cell)| fixed_cell(cell));
    (values().sum(), values().map(|value| magnitude(&value)).sum())
}

fn fixed_cell(cell: &Cell) -> BigInt {
    match cell {
        Cell::I64(value) => fixed_integer(*value),
        Cell::F64(value) => fixed(*value),
        Cell::Str(_) => panic!("strings are not summed"),
    }
}

fn length(length: usize) -> u64 {
    u64::try_from(length).unwrap()
}
