//! Stories of levels: coarse tiles that stand for many.

use bytes::Bytes;
use tilekv_tile::{Cells, Rows, Value};

use super::{NOW, Store, identifier, name, ok, span};
use crate::{Lateness, Write};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAYS: i64 = 31;

/// A view of minute tiles that holds an event of 1 in each minute of the last days, but for the
/// first minute of every hour.
fn dense_store() -> Store {
    let mut store = Store::with_view(|definition| definition.tile = span("1m"));
    let minutes = DAYS * 24 * 60;
    let starts: Vec<i64> = (0..minutes)
        .map(|minute| NOW - (minute + 1) * MINUTE)
        .filter(|start| start.rem_euclid(HOUR) != 0)
        .collect();
    add(&mut store, &starts);
    store.flush();
    store
}

fn add(store: &mut Store, timestamps: &[i64]) {
    let one = Bytes::from_static(b"1");
    let rows = Rows {
        columns: vec![identifier("amount"), identifier("units")],
        entities: vec![Bytes::from_static(b"u"); timestamps.len()],
        timestamps: timestamps.to_vec(),
        cells: Cells::Text { null: None, cells: vec![one; timestamps.len() * 2] },
    };
    let lateness = Lateness::Refuse;
    store.write(Write::Events { view: name("v"), stamp: None, rows, lateness }).unwrap();
}

/// How many tiles the window holds by the story, and how many were merged for it.
fn window(store: &mut Store, minutes: i64, offset: i64) -> (Value, u32) {
    let answers = store.read("u", &[&format!("n@{minutes}m:{offset}m")], &crate::ReadTime::Now);
    (answers.get(0, 0), answers.columns[0].tiles_read[0])
}

fn counted(minutes: i64, offset: i64) -> i64 {
    let starts = (0..minutes).map(|minute| NOW - (offset + minute + 1) * MINUTE);
    let first = NOW - DAYS * 24 * HOUR;
    starts
        .filter(|start| first <= *start && start.rem_euclid(HOUR) != 0)
        .fold(0, |count, _| count + 1)
}

#[test]
fn a_long_window_over_small_tiles_costs_few_merges() {
    let mut store = dense_store();
    for (minutes, offset, merges_max) in
        [(30 * 1_440, 0, 30), (30 * 1_440, 17, 170), (30 * 1_440, 721, 170), (61, 5, 70), (7, 3, 7)]
    {
        let (value, merges) = window(&mut store, minutes, offset);
        assert_eq!(value, Value::Int(counted(minutes, offset)), "{minutes}m:{offset}m");
        assert!(merges <= merges_max, "{minutes}m:{offset}m took {merges} merges");
    }
    assert_eq!(store.value("u", "n@lifetime"), ok(Value::Int(counted(DAYS * 1_440, 0))));
    store.crash();
    assert_eq!(window(&mut store, 30 * 1_440, 17).0, Value::Int(counted(30 * 1_440, 17)));
}

#[test]
fn levels_follow_late_rows_replaced_tiles_and_deletions() {
    let mut store = dense_store();
    let long = 30 * 1_440;
    let whole = counted(long, 0);
    add(&mut store, &[NOW - 3 * HOUR + 5, NOW - 20 * 24 * HOUR + 7]);
    assert_eq!(window(&mut store, long, 0).0, Value::Int(whole + 2));
    store.set(NOW - 5 * HOUR + MINUTE, &[("n", "10")]).unwrap();
    let from = NOW - 9 * 24 * HOUR + 30 * MINUTE;
    let (view, entity) = (name("v"), Bytes::from_static(b"u"));
    store.write(Write::DeleteTiles { view, entity, from, to: from + 2 * HOUR }).unwrap();
    let expected = whole + 2 + 9 - 2 * 59;
    for round in 0..4 {
        let (value, merges) = window(&mut store, long, 0);
        assert_eq!(value, Value::Int(expected), "round {round}");
        assert!(merges <= 400, "round {round} took {merges} merges");
        store.flush();
        add(&mut store, &[NOW + HOUR]);
        store.run_due_tasks();
    }
    assert!(0 < store.engine().counters().compactions, "the story needs a merge");
}
