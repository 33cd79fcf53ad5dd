//! What the oracle expects, and whether a store's answer meets it within the promised bounds.
//! It knows nothing of how either came about.

use bytes::Bytes;
use serde_json::Value as Json;
use tilekv_tile::{Status, Value, WindowBounds};

/// The answer expected for one selector.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// The value, with what its bound depends on.
    pub value: ExpectedValue,
    /// The status.
    pub status: Status,
    /// The window.
    pub bounds: WindowBounds,
    /// How many rows lie in the window.
    pub row_count: u64,
}

/// A value and how closely it is to be met.
#[derive(Debug, Clone, PartialEq)]
pub enum ExpectedValue {
    /// Met to the last bit.
    Exact(Value),
    /// A sum of doubles: within 1 ulp + 2^-70 * `size`.
    Sum(NearDouble),
    /// A mean of doubles: within 2 ulp + 2^-70 * `size`.
    Mean(NearDouble),
    /// A variance or standard deviation: within relative 1e-13 * (1 + |mean| / `stddev_pop`).
    Spread {
        /// The double nearest to the exact value.
        value: f64,
        /// The mean of the inputs.
        mean: f64,
        /// Their standard deviation over n; zero where all are equal.
        stddev_pop: f64,
    },
    /// A count of distinct values: within four standard errors of 1.04 / sqrt(2^p).
    Distinct {
        /// The exact count.
        count: f64,
        /// The sketch's precision.
        precision: i32,
    },
    /// A percentile: an input from `low` to `high`. None in an empty window.
    Percentile(Option<Percentile>),
    /// The most frequent values, each with its count.
    Top {
        /// The exact list of `[value, count]`.
        list: Vec<Value>,
        /// How many values were counted.
        counted: f64,
        /// How many of them were distinct.
        distinct: f64,
    },
}

/// A double held to an absolute bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NearDouble {
    /// The double nearest to the exact value.
    pub value: f64,
    /// The exact value less that double.
    pub rest: f64,
    /// The sum (for a mean, the mean) of the inputs' absolute values.
    pub size: f64,
}

/// The inputs whose rank is near enough to a quantile.
#[derive(Debug, Clone, PartialEq)]
pub struct Percentile {
    /// The value of the exact nearest rank.
    pub nearest: Value,
    /// The least value allowed.
    pub low: Value,
    /// The greatest value allowed.
    pub high: Value,
    /// How many inputs there are.
    pub count: u64,
}

/// Whether an answer meets what is expected; the error tells both sides.
pub fn compare(
    expected: &Expected,
    value: &Value,
    status: Status,
    bounds: WindowBounds,
) -> Result<(), String> {
    if status != expected.status {
        return Err(format!("status {status}, expected {}", expected.status));
    }
    if bounds != expected.bounds {
        return Err(format!("window {bounds:?}, expected {:?}", expected.bounds));
    }
    if is_met(&expected.value, value) {
        return Ok(());
    }
    Err(format!("value {value:?}, expected {:?}", expected.value))
}

impl Expected {
    /// Reads one element of the list `answers` that the oracle wrote; none if it is malformed.
    pub fn from_json(json: &Json) -> Option<Self> {
        let status = Status::parse(json.get("status")?.as_str()?.as_bytes())?;
        let start = json.get("start")?;
        let start = if start.is_null() { None } else { Some(start.as_i64()?) };
        let end = json.get("end")?.as_i64()?;
        Some(Self {
            value: ExpectedValue::from_json(json)?,
            status,
            bounds: WindowBounds { start, end },
            row_count: json.get("rows")?.as_u64()?,
        })
    }
}

impl ExpectedValue {
    fn from_json(json: &Json) -> Option<Self> {
        let number = |name| double(json.get(name)?);
        match json.get("kind")?.as_str()? {
            "exact" => Some(Self::Exact(value_from_json(json.get("value")?)?)),
            "sum" => Some(Self::Sum(NearDouble::from_json(json)?)),
            "mean" => Some(Self::Mean(NearDouble::from_json(json)?)),
            "spread" => Some(Self::Spread {
                value: number("value")?,
                mean: number("mean")?,
                stddev_pop: number("stddev_pop")?,
            }),
            "distinct" => Some(Self::Distinct {
                count: number("value")?,
                precision: i32::try_from(json.get("p")?.as_i64()?).ok()?,
            }),
            "percentile" => Percentile::from_json(json).map(Self::Percentile),
            "top" => Some(Self::Top {
                list: list_from_json(json.get("value")?)?,
                counted: number("n")?,
                distinct: number("distinct")?,
            }),
            _ => None,
        }
    }
}

impl NearDouble {
    fn from_json(json: &Json) -> Option<Self> {
        Some(Self {
            value: double(json.get("value")?)?,
            rest: double(json.get("rest")?)?,
            size: double(json.get("size")?)?,
        })
    }

    /// Whether `got` lies within some ulps and the share of `size` that the bound allows.
    fn is_met(&self, got: f64, ulps: f64) -> bool {
        if !self.value.is_finite() || !got.is_finite() {
            return got == self.value;
        }
        let error = ((got - self.value) - self.rest).abs();
        error <= ulps * ulp(self.value.abs().max(got.abs())) + SUM_ERROR * self.size
    }
}

impl Percentile {
    fn from_json(json: &Json) -> Option<Option<Self>> {
        let count = json.get("n")?.as_u64()?;
        if count == 0 {
            return Some(None);
        }
        let value = |name| value_from_json(json.get(name)?);
        Some(Some(Self {
            nearest: value("value")?,
            low: value("low")?,
            high: value("high")?,
            count,
        }))
    }
}

fn is_met(expected: &ExpectedValue, got: &Value) -> bool {
    match (expected, got) {
        (ExpectedValue::Exact(value), got) => value == got,
        (ExpectedValue::Sum(near), Value::Double(got)) => near.is_met(*got, 1.0),
        (ExpectedValue::Mean(near), Value::Double(got)) => near.is_met(*got, 2.0),
        (ExpectedValue::Spread { value, mean, stddev_pop }, Value::Double(got)) => {
            spread_is_met(*value, *mean, *stddev_pop, *got)
        }
        (ExpectedValue::Distinct { count, precision }, got) => {
            let error = 4.0 * 1.04 / 2_f64.powi(*precision).sqrt();
            number(got).is_some_and(|got| (got - count).abs() <= error * count)
        }
        (ExpectedValue::Percentile(None), got) => *got == Value::Nil,
        (ExpectedValue::Percentile(Some(percentile)), got) => {
            match (number(got), number(&percentile.low), number(&percentile.high)) {
                (Some(got), Some(low), Some(high)) => low <= got && got <= high,
                _ => false,
            }
        }
        (ExpectedValue::Top { list, counted, distinct }, Value::List(got)) => {
            top_is_met(list, *counted, *distinct, got)
        }
        _ => false,
    }
}

fn spread_is_met(value: f64, mean: f64, stddev_pop: f64, got: f64) -> bool {
    if stddev_pop == 0.0 || !value.is_finite() {
        return got == value;
    }
    (got - value).abs() <= SPREAD_ERROR * (1.0 + mean.abs() / stddev_pop) * value
}

/// Exact while every distinct value has a counter; then each count may be off by at most
/// counted / counters.
fn top_is_met(list: &[Value], counted: f64, distinct: f64, got: &[Value]) -> bool {
    let counters = TOP_COUNTERS_MIN.max(TOP_COUNTERS_PER_VALUE * double_of_len(list.len()));
    if distinct <= counters {
        return list == got;
    }
    let error = counted / counters;
    list.len() == got.len()
        && list.iter().zip(got).all(|(expected, got)| {
            match (pair_count(expected), pair_count(got)) {
                (Some(expected), Some(got)) => (got - expected).abs() <= error,
                _ => false,
            }
        })
}

fn pair_count(pair: &Value) -> Option<f64> {
    match pair {
        Value::List(items) if items.len() == 2 => number(&items[1]),
        _ => None,
    }
}

fn double_of_len(len: usize) -> f64 {
    u32::try_from(len).map_or(f64::INFINITY, f64::from)
}

/// The distance from a positive double to the next greater one, or below the greatest of all to
/// the next less.
fn ulp(value: f64) -> f64 {
    let above = value.next_up() - value;
    if above.is_finite() { above } else { value - value.next_down() }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(value) => value.to_string().parse().ok(),
        Value::Big(value) => value.to_string().parse().ok(),
        Value::Double(value) => Some(*value),
        Value::Nil | Value::Text(_) | Value::List(_) => None,
    }
}

/// A double, or one of the words that stand for the infinities.
fn double(json: &Json) -> Option<f64> {
    match json.as_str() {
        Some("inf") => Some(f64::INFINITY),
        Some("-inf") => Some(f64::NEG_INFINITY),
        Some(_) => None,
        None => json.as_f64(),
    }
}

fn value_from_json(json: &Json) -> Option<Value> {
    match json {
        Json::Null => Some(Value::Nil),
        Json::Number(number) if number.is_f64() => number.as_f64().map(Value::Double),
        Json::Number(number) => number.as_i128().map(Value::integer),
        Json::String(text) => Some(Value::Text(Bytes::from(text.clone()))),
        Json::Array(_) => list_from_json(json).map(Value::List),
        Json::Bool(_) | Json::Object(_) => None,
    }
}

fn list_from_json(json: &Json) -> Option<Vec<Value>> {
    json.as_array()?.iter().map(value_from_json).collect()
}

/// 2^-70.
const SUM_ERROR: f64 = 8.470_329_472_543_003e-22;
const SPREAD_ERROR: f64 = 1e-13;
const TOP_COUNTERS_MIN: f64 = 64.0;
const TOP_COUNTERS_PER_VALUE: f64 = 8.0;
