//! The flights of 2013 (data/README.md) as rows of three views, one per kind of entity.
//! It knows nothing of engine, server or oracle.

use crate::repository;
use bytes::Bytes;
use flate2::read::GzDecoder;
use std::fs::File;
use std::io::Read;
use tilekv_tile::{
    Cells, ColumnDefinition, ColumnType, Edge, Expression, FeatureDefinition, Identifier, LateMode,
    Name, Rows, SealMode, Span, TypedColumn, ViewDefinition,
};

/// How many flights there are.
pub const FLIGHT_COUNT: usize = 336_776;
/// The scheduled departure of the first flight, in milliseconds since the epoch.
pub const FIRST_DEPARTURE_MS: i64 = 1_357_035_300_000;
/// The scheduled departure of the last flight.
pub const LAST_DEPARTURE_MS: i64 = 1_388_552_340_000;
/// The tile size of the views.
pub const TILE_MS: i64 = 3_600_000;

/// One flight.
#[derive(Debug, Clone, PartialEq)]
pub struct Flight {
    /// The scheduled departure in milliseconds since the epoch.
    pub departure_ms: i64,
    /// The airline's code.
    pub carrier: String,
    /// The plane's tail number, where it is known.
    pub tail_number: Option<String>,
    /// The airport of departure.
    pub origin: String,
    /// The airport of arrival.
    pub destination: String,
    /// Minutes late at departure; none for a flight that was cancelled.
    pub departure_delay: Option<f64>,
    /// Miles between the airports.
    pub distance: i64,
}

/// What an entity stands for. Each is a view of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grouping {
    /// An airline, such as `UA`: few entities with tens of thousands of flights.
    Carrier,
    /// A plane, such as `N14228`: thousands of entities with some tens of flights.
    Plane,
    /// An origin and a destination, such as `EWR-IAH`.
    Route,
}

impl Grouping {
    /// Every grouping.
    pub const ALL: [Self; 3] = [Self::Carrier, Self::Plane, Self::Route];

    /// The name of its view.
    pub const fn view_name(self) -> &'static str {
        match self {
            Self::Carrier => "carrier",
            Self::Plane => "plane",
            Self::Route => "route",
        }
    }

    /// The entity that a flight counts for; none where the tail number is unknown.
    pub fn entity(self, flight: &Flight) -> Option<String> {
        match self {
            Self::Carrier => Some(flight.carrier.clone()),
            Self::Plane => flight.tail_number.clone(),
            Self::Route => Some(format!("{}-{}", flight.origin, flight.destination)),
        }
    }

    /// The view's definition: hourly tiles and every aggregate over every column that allows it.
    ///
    /// # Panics
    /// Never: the names and expressions are fixed and well formed.
    pub fn definition(self) -> ViewDefinition {
        ViewDefinition {
            name: parsed(Name::parse(self.view_name().as_bytes())),
            tile: parsed(Span::from_millis(TILE_MS)),
            retention: None,
            edge: Edge::Closed,
            seal: SealMode::Off,
            max_lag: None,
            late: LateMode::Add,
            min_rows: 0,
            levels: None,
            keys: vec![parsed(Identifier::parse(self.view_name().as_bytes()))],
            columns: columns(),
            features: features(),
        }
    }

    /// The same without lists and sketches: they are too slow for a hundred thousand questions.
    ///
    /// # Panics
    /// Never, as [`Grouping::definition`].
    pub fn exact_definition(self) -> ViewDefinition {
        let mut definition = self.definition();
        definition.features.retain(|feature| {
            let function = feature.expression.function.as_str();
            !function.starts_with("approx_") && !function.ends_with("_n")
        });
        definition
    }

    /// The flights as rows of the view, in the order given.
    pub fn rows(self, flights: &[Flight]) -> Rows {
        let kept: Vec<_> = flights
            .iter()
            .filter_map(|flight| Some((Bytes::from(self.entity(flight)?), flight)))
            .collect();
        Rows {
            columns: COLUMNS.map(|(name, _)| identifier(name)).into(),
            entities: kept.iter().map(|(entity, _)| entity.clone()).collect(),
            timestamps: kept.iter().map(|(_, flight)| flight.departure_ms).collect(),
            cells: Cells::Typed(vec![
                doubles(&kept, |flight| flight.departure_delay),
                doubles(&kept, |flight| flight.departure_delay.map(|minutes| minutes / 60.0)),
                TypedColumn::I64 {
                    values: kept.iter().map(|(_, flight)| flight.distance).collect(),
                    valid: None,
                },
                TypedColumn::Str {
                    values: kept
                        .iter()
                        .map(|(_, flight)| Bytes::from(flight.destination.clone()))
                        .collect(),
                    valid: None,
                },
            ]),
        }
    }
}

/// All flights, ascending by departure.
///
/// # Panics
/// Where the file is missing or not what data/README.md says.
pub fn read() -> Vec<Flight> {
    let path = repository::root().join("data/flights.csv.gz");
    let file = File::open(&path).unwrap_or_else(|error| panic!("open {path:?}: {error}"));
    let mut text = String::new();
    GzDecoder::new(file)
        .read_to_string(&mut text)
        .unwrap_or_else(|error| panic!("unpack {path:?}: {error}"));
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(HEADER), "the header of {path:?}");
    lines.map(parse_line).collect()
}

fn parse_line(line: &str) -> Flight {
    let cells: Vec<_> = line.split(',').collect();
    let [departure, carrier, tail_number, origin, destination, delay, _, distance] = cells[..]
    else {
        panic!("a flight has eight cells: {line}");
    };
    let integer =
        |text: &str| text.parse().unwrap_or_else(|_| panic!("{text:?} is no integer: {line}"));
    Flight {
        departure_ms: integer(departure),
        carrier: carrier.to_owned(),
        tail_number: (!tail_number.is_empty()).then(|| tail_number.to_owned()),
        origin: origin.to_owned(),
        destination: destination.to_owned(),
        departure_delay: delay.parse().ok(),
        distance: integer(distance),
    }
}

fn doubles(kept: &[(Bytes, &Flight)], value: impl Fn(&Flight) -> Option<f64>) -> TypedColumn {
    let values: Vec<_> = kept.iter().map(|(_, flight)| value(flight)).collect();
    TypedColumn::F64 {
        valid: Some(values.iter().map(Option::is_some).collect()),
        values: values.into_iter().map(Option::unwrap_or_default).collect(),
    }
}

fn columns() -> Vec<ColumnDefinition> {
    let column = |(name, kind)| ColumnDefinition { name: identifier(name), kind };
    COLUMNS.map(column).into()
}

/// `flights` is `count()`; every other feature is named after its function and column, percentiles
/// after their quantile.
fn features() -> Vec<FeatureDefinition> {
    let mut features = vec![feature("flights", "count()")];
    for (column, kind) in COLUMNS {
        let numeric: &[_] = if kind.is_numeric() { &NUMERIC_FUNCTIONS } else { &[] };
        for function in ANY_FUNCTIONS.iter().chain(numeric) {
            let expression = format!("{function}({column})");
            features.push(feature(&format!("{function}_{column}"), &expression));
        }
        let numeric: &[_] = if kind.is_numeric() { &PERCENTILES } else { &[] };
        for (name, function, parameters) in LISTS_AND_SKETCHES.iter().chain(numeric) {
            let expression = format!("{function}({column}{parameters})");
            features.push(feature(&format!("{name}_{column}"), &expression));
        }
    }
    features
}

fn feature(name: &str, expression: &str) -> FeatureDefinition {
    FeatureDefinition {
        name: identifier(name),
        expression: parsed(Expression::parse(expression.as_bytes())),
    }
}

fn identifier(name: &str) -> Identifier {
    parsed(Identifier::parse(name.as_bytes()))
}

fn parsed<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("a fixed definition is well formed: {error}"))
}

const HEADER: &str = "time,carrier,tailnum,origin,dest,dep_delay,arr_delay,distance";

/// The delay is also told in hours, so that one column has doubles that fill their mantissa.
const COLUMNS: [(&str, ColumnType); 4] = [
    ("dep_delay", ColumnType::F64),
    ("delay_hours", ColumnType::F64),
    ("distance", ColumnType::I64),
    ("dest", ColumnType::Str),
];

const LISTS_AND_SKETCHES: [(&str, &str, &str); 7] = [
    ("first_n", "first_n", ",3"),
    ("last_n", "last_n", ",10"),
    ("first_distinct_n", "first_distinct_n", ",5"),
    ("last_distinct_n", "last_distinct_n", ",3"),
    ("distinct", "approx_count_distinct", ""),
    ("distinct_10", "approx_count_distinct", ",10"),
    ("top_n", "top_n", ",3"),
];
const PERCENTILES: [(&str, &str, &str); 2] =
    [("median", "approx_percentile", ",0.5"), ("p95", "approx_percentile", ",0.95")];
const ANY_FUNCTIONS: [&str; 5] = ["count", "min", "max", "first", "last"];

const NUMERIC_FUNCTIONS: [&str; 6] =
    ["sum", "mean", "var_pop", "var_samp", "stddev_pop", "stddev_samp"];
