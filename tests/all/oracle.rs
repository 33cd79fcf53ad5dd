//! The oracle is itself checked: by its own tests, by worked examples through the files, and by
//! answers that lie just within and just beyond each promised bound.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use tilekv_tests::flights::{Grouping, LAST_DEPARTURE_MS, TILE_MS, read};
use tilekv_tests::flights_questions::FlightQuestions;
use tilekv_tests::oracle::{OracleView, Question, SealOperation, SealVerb, ask};
use tilekv_tests::oracle_answer::{Expected, ExpectedValue, NearDouble, Percentile, compare};
use tilekv_tests::{repository, seed};
use tilekv_tile::{Edge, Rows, Selector, Status, Value, WindowBounds};

#[test]
fn the_oracle_passes_its_own_tests() {
    let seed = u32::try_from(seed::draw("oracle") & u64::from(u32::MAX)).unwrap();
    let output = Command::new("python3")
        .args(["test_oracle.py", &seed.to_string()])
        .current_dir(repository::root().join("tests/oracle"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("Ran 0 tests") && said.trim_end().ends_with("OK"), "{said}");
}

#[test]
fn questions_and_answers_travel_through_the_files() {
    let flights = read();
    let mut view = flights_view(Grouping::Carrier, &flights[..1_000]);
    let seal = |verb, from: i64, to: i64, at| SealOperation {
        verb,
        from: from * TILE_MS,
        to: to * TILE_MS,
        at: at * TILE_MS,
    };
    view.seals = vec![
        seal(SealVerb::Add, 376_900, 376_970, 376_971),
        seal(SealVerb::Remove, 376_960, 376_965, 376_980),
    ];
    view.definition.seal = tilekv_tile::SealMode::Required;
    let question = |at: i64, selectors: &[&str]| Question {
        view: view.definition.name.clone(),
        entity: "UA".to_owned(),
        now: LAST_DEPARTURE_MS,
        at: Some(at * TILE_MS),
        known: true,
        edge: Some(Edge::Live),
        selectors: selectors.iter().map(|text| Selector::parse(text.as_bytes()).unwrap()).collect(),
    };
    let selectors = ["flights@2h", "first_dest@1d:1h", "flights@lifetime", "sum_dep_delay@30d"];
    let questions = [question(376_970, &["flights@1h"]), question(376_985, &selectors)];
    let folder = tempfile::tempdir().unwrap();
    let answers = ask(folder.path(), &[view.clone()], &questions).unwrap();
    assert_eq!(answers.iter().map(Vec::len).collect::<Vec<_>>(), [1, 4]);
    assert_eq!(answers[0][0].bounds.end, 376_970 * TILE_MS, "no seal was known then");
    assert_eq!(answers[0][0].status, Status::Incomplete);
    let windows = answers[1].iter().map(|answer| answer.bounds.end / TILE_MS);
    assert_eq!(windows.collect::<Vec<_>>(), [376_970, 376_969, 376_970, 376_970]);
    assert_eq!(answers[1][2].bounds.start, None);
}

#[test]
fn oracle_counts_and_sums_are_those_of_a_plain_loop() {
    let flights = read();
    let views = Grouping::ALL.map(|grouping| flights_view(grouping, &flights));
    let seed = seed::draw("oracle over flights");
    let asked: Vec<_> =
        FlightQuestions::new(seed, &flights, LAST_DEPARTURE_MS + TILE_MS).take(2_000).collect();
    let folder = tempfile::tempdir().unwrap();
    let answers = ask(folder.path(), &views, &asked).unwrap();
    let mut statuses = BTreeSet::new();
    let mut checked = 0;
    for (question, answers) in asked.iter().zip(&answers) {
        assert_eq!(question.selectors.len(), answers.len());
        let view = views.iter().find(|view| view.definition.name == question.view).unwrap();
        for (selector, answer) in question.selectors.iter().zip(answers) {
            statuses.insert(answer.status);
            if selector.feature.as_str() == "sum_distance" {
                let expected = plain_sum(&view.rows, &question.entity, answer.bounds);
                assert_eq!(answer.value, ExpectedValue::Exact(expected), "{question:?}");
                checked += 1;
            }
        }
    }
    assert_eq!(statuses, BTreeSet::from([Status::Unseen, Status::Empty, Status::Ok]));
    assert!(checked > 50, "only {checked} sums were asked for");
}

fn plain_sum(rows: &Rows, entity: &str, bounds: WindowBounds) -> Value {
    let start = bounds.start.unwrap_or(i64::MIN);
    let range = rows.timestamps.partition_point(|ts| *ts < start)
        ..rows.timestamps.partition_point(|ts| *ts < bounds.end);
    let mut sum = None;
    for row in range.filter(|row| rows.entities[*row] == entity) {
        let cell = rows.cell(row, 2, tilekv_tile::ColumnType::I64).unwrap();
        if let Some(tilekv_tile::Scalar::I64(value)) = cell {
            sum = Some(sum.unwrap_or(0) + i128::from(value));
        }
    }
    sum.map_or(Value::Nil, Value::integer)
}

fn flights_view(grouping: Grouping, flights: &[tilekv_tests::flights::Flight]) -> OracleView {
    OracleView {
        definition: grouping.definition(),
        rows: grouping.rows(flights),
        seals: Vec::new(),
        incomplete: BTreeMap::new(),
    }
}

#[test]
fn status_and_window_must_agree() {
    let expected = expect(ExpectedValue::Exact(Value::Int(3)));
    let bounds = expected.bounds;
    assert_eq!(compare(&expected, &Value::Int(3), Status::Ok, bounds), Ok(()));
    let error = compare(&expected, &Value::Int(3), Status::Empty, bounds).unwrap_err();
    assert_eq!(error, "status empty, expected ok");
    let other = WindowBounds { end: 30, ..bounds };
    assert!(compare(&expected, &Value::Int(3), Status::Ok, other).is_err());
}

#[test]
fn exact_values_must_be_met_to_the_last_bit() {
    let exact = |value: Value| move |got: &Value| meets(ExpectedValue::Exact(value.clone()), got);
    let three = exact(Value::Int(3));
    assert!(three(&Value::Int(3)));
    for other in [Value::Int(4), Value::Double(3.0), Value::Nil, Value::Big(3)] {
        assert!(!three(&other), "{other:?}");
    }
    let tenth = exact(Value::Double(0.1));
    assert!(tenth(&Value::Double(0.1)));
    assert!(!tenth(&Value::Double(0.1_f64.next_up())));
    assert!(!exact(text("a"))(&text("b")));
}

#[test]
fn sums_may_be_off_by_one_ulp_and_a_share_of_their_size() {
    let near = |value: f64, rest, size| ExpectedValue::Sum(NearDouble { value, rest, size });
    let one_third = near(1.0 / 3.0, 1.850_371_707_708_594e-17, 1.0 / 3.0);
    let third = 1.0_f64 / 3.0;
    assert!(meets(one_third.clone(), &Value::Double(third)));
    assert!(meets(one_third.clone(), &Value::Double(third.next_up())));
    assert!(!meets(one_third.clone(), &Value::Double(third.next_up().next_up())));
    assert!(!meets(one_third, &Value::Double(third.next_down())), "1.33 ulp below the exact sum");
    let cancelled = near(0.0, 0.0, 2_f64.powi(80));
    assert!(meets(cancelled.clone(), &Value::Double(1_024.0)));
    assert!(!meets(cancelled, &Value::Double(1_025.0)));
    let infinite = near(f64::INFINITY, 0.0, f64::INFINITY);
    assert!(meets(infinite.clone(), &Value::Double(f64::INFINITY)));
    assert!(!meets(infinite, &Value::Double(f64::MAX)));
}

#[test]
fn spreads_may_be_off_as_far_as_their_condition_allows() {
    let spread = |value: f64, mean, stddev_pop| ExpectedValue::Spread { value, mean, stddev_pop };
    assert!(meets(spread(1.0, 0.0, 1.0), &Value::Double(1.0 + 0.9e-13)));
    assert!(!meets(spread(1.0, 0.0, 1.0), &Value::Double(1.0 + 1.2e-13)));
    assert!(meets(spread(1.0, 1e9, 1.0), &Value::Double(1.00009)));
    assert!(!meets(spread(1.0, 1e9, 1.0), &Value::Double(1.0002)));
    assert!(meets(spread(0.0, 5.0, 0.0), &Value::Double(0.0)));
    assert!(!meets(spread(0.0, 5.0, 0.0), &Value::Double(1e-300)));
    assert!(!meets(spread(1.0, 0.0, 1.0), &Value::Nil));
}

#[test]
fn sketches_are_held_to_their_bounds() {
    let distinct = ExpectedValue::Distinct { count: 10_000.0, precision: 12 };
    assert!(meets(distinct.clone(), &Value::Int(10_600)));
    assert!(!meets(distinct, &Value::Int(10_700)));
    let percentile = ExpectedValue::Percentile(Some(Percentile {
        nearest: Value::Int(5),
        low: Value::Int(4),
        high: Value::Int(6),
        count: 100,
    }));
    assert!(meets(percentile.clone(), &Value::Int(4)));
    assert!(!meets(percentile.clone(), &Value::Int(7)));
    assert!(!meets(percentile, &Value::Nil));
    assert!(meets(ExpectedValue::Percentile(None), &Value::Nil));
}

#[test]
fn the_most_frequent_values_are_exact_while_all_are_counted() {
    let pair = |name: &str, count| Value::List(vec![text(name), Value::Int(count)]);
    let top = |distinct| ExpectedValue::Top {
        list: vec![pair("a", 900), pair("b", 100)],
        counted: 6_400.0,
        distinct,
    };
    let exact = Value::List(vec![pair("a", 900), pair("b", 100)]);
    let near = Value::List(vec![pair("a", 1_000), pair("c", 200)]);
    let far = Value::List(vec![pair("a", 1_001), pair("b", 100)]);
    assert!(meets(top(64.0), &exact) && !meets(top(64.0), &near));
    assert!(meets(top(65.0), &exact) && meets(top(65.0), &near) && !meets(top(65.0), &far));
}

fn meets(value: ExpectedValue, got: &Value) -> bool {
    let expected = expect(value);
    compare(&expected, got, Status::Ok, expected.bounds).is_ok()
}

fn expect(value: ExpectedValue) -> Expected {
    Expected {
        value,
        status: Status::Ok,
        bounds: WindowBounds { start: Some(10), end: 20 },
        row_count: 1,
    }
}

fn text(text: &str) -> Value {
    Value::Text(Bytes::from(text.to_owned()))
}
