//! The shipped flights are what data/README.md says, and become rows that views take.

use std::collections::BTreeSet;
use tilekv_tests::flights::{
    FIRST_DEPARTURE_MS, FLIGHT_COUNT, Flight, Grouping, LAST_DEPARTURE_MS, read,
};
use tilekv_tests::flights_questions::FlightQuestions;
use tilekv_tile::{ColumnType, Scalar};

#[test]
fn the_flights_are_what_their_description_says() {
    let flights = read();
    assert_eq!(flights.len(), FLIGHT_COUNT);
    assert_eq!(flights[0].departure_ms, FIRST_DEPARTURE_MS);
    assert_eq!(flights[FLIGHT_COUNT - 1].departure_ms, LAST_DEPARTURE_MS);
    assert!(flights.is_sorted_by_key(|flight| flight.departure_ms));
    let entities = |grouping: Grouping| {
        let entities = flights.iter().filter_map(|flight| grouping.entity(flight));
        entities.collect::<BTreeSet<_>>().len()
    };
    assert_eq!(Grouping::ALL.map(entities), [16, 4_043, 224]);
    let count = |is: fn(&Flight) -> bool| flights.iter().filter(|flight| is(flight)).count();
    assert_eq!(count(|flight| flight.departure_delay.is_none()), 8_255);
    assert_eq!(count(|flight| flight.tail_number.is_none()), 2_512);
    let miles: i64 = flights.iter().map(|flight| flight.distance).sum();
    assert_eq!(miles, 350_217_607);
}

#[test]
fn flights_become_rows_of_their_views() {
    let flights = read();
    for grouping in Grouping::ALL {
        let rows = grouping.rows(&flights);
        rows.validate().unwrap();
        grouping.definition().validate().unwrap();
        let expected =
            if grouping == Grouping::Plane { FLIGHT_COUNT - 2_512 } else { FLIGHT_COUNT };
        assert_eq!(rows.len(), expected, "{grouping:?}");
    }
    let rows = Grouping::Route.rows(&flights[..1]);
    assert_eq!(rows.entities[0], "EWR-IAH");
    assert_eq!(rows.cell(0, 0, ColumnType::F64).unwrap(), Some(Scalar::F64(2.0)));
    assert_eq!(rows.cell(0, 1, ColumnType::F64).unwrap(), Some(Scalar::F64(2.0 / 60.0)));
    assert_eq!(rows.cell(0, 2, ColumnType::I64).unwrap(), Some(Scalar::I64(1_400)));
    assert_eq!(rows.cell(0, 3, ColumnType::Str).unwrap(), Some(Scalar::Str(b"IAH")));
}

#[test]
fn a_cancelled_flight_has_a_null_delay() {
    let flights = read();
    let cancelled = flights.iter().find(|flight| flight.departure_delay.is_none());
    let rows = Grouping::Carrier.rows(&[cancelled.unwrap().clone()]);
    assert_eq!(rows.cell(0, 0, ColumnType::F64).unwrap(), None);
    assert_eq!(rows.cell(0, 1, ColumnType::F64).unwrap(), None);
}

#[test]
fn a_seed_stands_for_one_stream_of_questions() {
    let flights = read();
    let stream = |seed| {
        let questions = FlightQuestions::new(seed, &flights, LAST_DEPARTURE_MS);
        questions.take(50).collect::<Vec<_>>()
    };
    assert_eq!(stream(1), stream(1));
    assert_ne!(stream(1), stream(2));
}
