//! Stories of feature services: one vector of several views, for rows of key values.

use bytes::Bytes;
use tilekv_tile::{Answers, Cells, ColumnType, Rows, Status, Value, ViewDefinition, ViewSelector};

use super::{DAY, NOW, Store, feature, identifier, name, span};
use crate::limits::{GROUP_COUNT_MAX, SELECTOR_COUNT_MAX, SERVICE_COUNT_MAX};
use crate::{
    EngineError, Lateness, Outcome, PinnedPages, ReadOutcome, ReadRequest, ReadTime,
    ServiceRequest, Write,
};

const SELECTORS: [&str; 5] =
    ["v.spent@7d", "pairs.n@7d", "v.n@30d:1d", "shop.likes.n@1d", "pairs.spent@lifetime"];

fn selectors(texts: &[&str]) -> Vec<ViewSelector> {
    texts.iter().map(|text| ViewSelector::parse(text.as_bytes()).unwrap()).collect()
}

/// A store of three views, joined by `user`, by `user` and `item`, and by `item`; and a service of
/// all three, whose windows alternate between them.
fn ranking() -> Store {
    let mut store = Store::with_view(|definition| definition.keys = vec![identifier("user")]);
    for (view, keys) in [("pairs", &["user", "item"][..]), ("shop.likes", &["item"])] {
        let columns = [("amount", ColumnType::F64), ("units", ColumnType::I64)];
        let features = [("spent", "sum(amount)"), ("n", "count()")];
        let mut definition = ViewDefinition::of(view, "1d", &columns, &features).unwrap();
        definition.keys = keys.iter().map(|key| identifier(key)).collect();
        store.write(Write::CreateView(definition)).unwrap();
    }
    create(&mut store, "ranking.v1", &SELECTORS).unwrap();
    for (view, entity, days_ago, amount) in [
        ("v", "u1", 1, "1.5"),
        ("v", "u1", 3, "2"),
        ("v", "u2", 2, "7"),
        ("pairs", "u1\x1Fi1", 1, "10"),
        ("pairs", "u2\x1Fi1", 2, "20"),
        ("pairs", "u2\x1Fi2", 40, "30"),
        ("shop.likes", "i1", 1, "100"),
        ("shop.likes", "i2", 2, "200"),
    ] {
        add(&mut store, view, entity, NOW - days_ago * DAY, amount);
    }
    store
}

fn create(store: &mut Store, service: &str, texts: &[&str]) -> Result<Outcome, EngineError> {
    store.write(Write::CreateService { name: name(service), selectors: selectors(texts) })
}

fn add(store: &mut Store, view: &str, entity: &str, timestamp: i64, amount: &str) {
    let rows = Rows {
        columns: vec![identifier("amount")],
        entities: vec![Bytes::copy_from_slice(entity.as_bytes())],
        timestamps: vec![timestamp],
        cells: Cells::Text { null: None, cells: vec![Bytes::copy_from_slice(amount.as_bytes())] },
    };
    let lateness = Lateness::Refuse;
    store.write(Write::Events { view: name(view), stamp: None, rows, lateness }).unwrap();
}

fn request(service: &str, keys: &[&str]) -> ServiceRequest {
    let keys = keys.iter().map(|key| identifier(key)).collect();
    ServiceRequest { service: name(service), keys, known: false }
}

fn ask(
    store: &mut Store,
    keys: &[&str],
    time: &ReadTime,
    values: &[&str],
) -> Result<Answers, EngineError> {
    let reader = store.engine().reader();
    let version = reader.snapshot();
    let plan = reader.plan_service(&version, &request("ranking.v1", keys))?;
    let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
    reader.read(&version, &plan, store.now, time, &values)
}

/// The same vector by a read of each view.
fn ask_views(store: &mut Store, time: &ReadTime, row: usize, entities: [&str; 3]) -> Vec<Value> {
    let reader = store.engine().reader();
    let version = reader.snapshot();
    let time = match time {
        ReadTime::Each(times) => ReadTime::At(times[row]),
        same => same.clone(),
    };
    let read = |window: &ViewSelector| {
        let groups = vec![(window.view.clone(), vec![window.selector.clone()])];
        let plan =
            reader.plan(&version, &ReadRequest { groups, edge: None, known: false }).unwrap();
        let entity = match window.view.as_str() {
            "v" => entities[0],
            "pairs" => entities[1],
            _ => entities[2],
        };
        let answers = reader.read(&version, &plan, NOW, &time, &[entity.as_bytes()]).unwrap();
        answers.get(0, 0)
    };
    selectors(&SELECTORS).iter().map(read).collect()
}

fn row(answers: &Answers, row: usize) -> Vec<Value> {
    (0..answers.columns.len()).map(|column| answers.get(row, column)).collect()
}

#[test]
fn a_service_answers_as_its_views_do_row_by_row() {
    let mut store = ranking();
    let rows = [["u1", "i1"], ["u2", "i1"], ["u2", "i2"], ["u9", "i9"], ["u1", "i2"]];
    let by_user: Vec<&str> = rows.iter().flatten().copied().collect();
    let by_item: Vec<&str> = rows.iter().flat_map(|[user, item]| [*item, *user]).collect();
    let each = (0..5).map(|row| NOW - row * DAY).collect();
    for time in [ReadTime::Now, ReadTime::At(NOW - DAY), ReadTime::Each(each)] {
        for flush in [false, true] {
            if flush {
                store.flush();
            }
            let answers = ask(&mut store, &["user", "item"], &time, &by_user).unwrap();
            assert_eq!((answers.rows, answers.columns.len()), (5, 5));
            let turned = ask(&mut store, &["item", "user"], &time, &by_item).unwrap();
            for (number, [user, item]) in rows.iter().enumerate() {
                let pair = format!("{user}\x1F{item}");
                let expected = ask_views(&mut store, &time, number, [user, &pair, item]);
                assert_eq!(row(&answers, number), expected, "row {number} at {time:?}");
                assert_eq!(row(&turned, number), expected, "turned row {number} at {time:?}");
            }
        }
    }
    let answers = ask(&mut store, &["user", "item"], &ReadTime::Now, &by_user).unwrap();
    let expected = [Value::Double(3.5), Value::Int(1), Value::Int(1), Value::Int(1)];
    assert_eq!(row(&answers, 0)[..4], expected);
    assert_eq!(answers.get(2, 4), Value::Double(30.0));
}

#[test]
fn a_key_that_a_row_does_not_have_leaves_the_other_views_their_answers() {
    let mut store = ranking();
    let values = ["u1", "", "", "i2", "", ""];
    let answers = ask(&mut store, &["user", "item"], &ReadTime::Now, &values).unwrap();
    let statuses = |row: usize| -> Vec<Status> {
        answers.columns.iter().map(|column| column.statuses[row]).collect()
    };
    use Status::{Ok, Unseen};
    assert_eq!(statuses(0), [Ok, Unseen, Ok, Unseen, Unseen]);
    assert_eq!(statuses(1), [Unseen, Unseen, Unseen, Status::Empty, Unseen]);
    assert_eq!(statuses(2), [Unseen; 5]);
    assert_eq!(answers.get(0, 0), Value::Double(3.5));
    assert_eq!(answers.get(0, 1), Value::Int(0));
}

#[test]
fn rows_that_do_not_fit_are_refused_by_name() {
    let mut store = ranking();
    let mut refused = |keys: &[&str], values: &[&str]| {
        let error = ask(&mut store, keys, &ReadTime::Now, values).unwrap_err();
        format!("{} {error}", error.code())
    };
    for (keys, values, expected) in [
        (&["user"][..], &["u1"][..], "ERR service `ranking.v1` needs key `item` for view `pairs`"),
        (&["user", "item", "day"], &["a", "b", "c"], "ERR service `ranking.v1` has no key `day`"),
        (&["user", "user"], &["a", "b"], "ERR key `user` is named twice"),
        (&["user", "item"], &["a", "b", "c"], "BADVALUE 3 key values do not make rows of 2"),
        (
            &["user", "item"],
            &["a", "b", "c\x1F", "d"],
            "BADVALUE row 2: the value of key `user` holds the byte 0x1F",
        ),
    ] {
        let found = refused(keys, values);
        assert!(found.starts_with(expected), "{found}");
    }
    let long = "x".repeat(40_000);
    let found = refused(&["user", "item"], &[&long, &long]);
    assert!(found.starts_with("BADVALUE row 1: the keys of view `pairs` come to 80001"), "{found}");
    let fits = "x".repeat(65_534);
    ask(&mut store, &["user", "item"], &ReadTime::Now, &[&fits, ""]).unwrap();
}

#[test]
fn what_a_service_names_must_exist() {
    let mut store = ranking();
    for (texts, code) in [
        (&["nothing.n@7d"][..], "NOVIEW"),
        (&["v.n@7d", "v.missing@7d"], "NOFEATURE"),
        (&["v.n@36h"], "BADWINDOW"),
        (&["v.n@7d:1h"], "BADWINDOW"),
        (&[], "LIMIT"),
    ] {
        assert_eq!(create(&mut store, "other", texts).unwrap_err().code(), code, "{texts:?}");
    }
    let again = create(&mut store, "ranking.v1", &["v.n@1d"]).unwrap_err();
    assert!(again.to_string().contains("a service `ranking.v1` exists already"), "{again}");
    assert!(create(&mut store, "other", &["v.n@1d", "v.n@1d"]).is_ok(), "a window may be twice");
}

#[test]
fn a_view_that_services_read_is_not_dropped() {
    let mut store = ranking();
    create(&mut store, "other", &["v.n@1d"]).unwrap();
    let refused = store.write(Write::DropView(name("v"))).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "view `v` is read by services `other`, `ranking.v1`; drop them first"
    );
    store.write(Write::DropService(name("other"))).unwrap();
    let refused = store.write(Write::DropView(name("v"))).unwrap_err();
    assert_eq!(refused.to_string(), "view `v` is read by service `ranking.v1`; drop it first");
    store.write(Write::DropService(name("ranking.v1"))).unwrap();
    assert!(store.write(Write::DropService(name("ranking.v1"))).is_err());
    assert_eq!(store.write(Write::DropView(name("v"))).unwrap(), Outcome::Ok);
    let gone = ask(&mut store, &["user", "item"], &ReadTime::Now, &[]).unwrap_err();
    assert!(gone.to_string().starts_with("there is no service `ranking.v1`"), "{gone}");
}

#[test]
fn services_survive_crashes_and_flushes() {
    let mut store = ranking();
    let values = ["u1", "i1", "u2", "i2"];
    let expected = ask(&mut store, &["user", "item"], &ReadTime::Now, &values).unwrap();
    for flush in [false, true] {
        if flush {
            store.flush();
        }
        store.crash();
        let answers = ask(&mut store, &["user", "item"], &ReadTime::Now, &values).unwrap();
        assert_eq!(answers.get(0, 0), expected.get(0, 0), "after a flush: {flush}");
        assert_eq!(row(&answers, 1), row(&expected, 1), "after a flush: {flush}");
    }
    let hash = |store: &mut Store| store.engine().reader().snapshot().state_hash(NOW).unwrap();
    let before = hash(&mut store);
    store.write(Write::DropService(name("ranking.v1"))).unwrap();
    assert_ne!(hash(&mut store), before, "a service is part of the state");
    store.flush();
    store.crash();
    assert!(store.engine().reader().service_names(&store_version(&mut store)).is_empty());
    assert!(store.write(Write::DropView(name("pairs"))).is_ok());
}

fn store_version(store: &mut Store) -> std::sync::Arc<crate::Version> {
    store.engine().reader().snapshot()
}

#[test]
fn a_plan_ends_with_its_service_and_not_with_another_feature() {
    let mut store = ranking();
    let reader = store.engine().reader();
    let request = request("ranking.v1", &["user", "item"]);
    let plan = reader.plan_service(&reader.snapshot(), &request).unwrap();
    assert!(reader.is_current(&reader.snapshot(), &plan));
    create(&mut store, "other", &["v.n@1d"]).unwrap();
    assert!(reader.is_current(&reader.snapshot(), &plan), "another service is no change");
    let change = tilekv_tile::ViewChange {
        add_features: vec![feature("least", "min(units)")],
        retention: Some(Some(span("90d"))),
        ..tilekv_tile::ViewChange::default()
    };
    store.write(Write::AlterView { view: name("v"), change }).unwrap();
    assert!(!reader.is_current(&reader.snapshot(), &plan), "an altered view needs a new plan");
    let plan = reader.plan_service(&reader.snapshot(), &request).unwrap();
    store.write(Write::DropService(name("ranking.v1"))).unwrap();
    create(&mut store, "ranking.v1", &["v.n@1d"]).unwrap();
    assert!(!reader.is_current(&reader.snapshot(), &plan), "a new service of the same name");
    assert!(reader.plan_service(&reader.snapshot(), &request).is_err(), "it has no key `item`");
}

#[test]
fn a_service_is_read_from_disk_in_the_order_of_its_windows() {
    let mut store = ranking();
    let values = ["u1", "i1", "u2", "i1"];
    let expected = ask(&mut store, &["user", "item"], &ReadTime::Now, &values).unwrap();
    store.flush();
    store.options.memory_bytes_max = 100;
    store.reopen();
    let reader = store.engine().reader();
    let version = reader.snapshot();
    let plan = reader.plan_service(&version, &request("ranking.v1", &["user", "item"])).unwrap();
    let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
    let mut answers = Answers::default();
    let mut pinned = PinnedPages::default();
    let mut loads = 0;
    while let ReadOutcome::Needs(request) = reader
        .try_read_into(&version, &plan, (NOW, &ReadTime::Now), &values, &mut answers, pinned)
        .unwrap()
    {
        pinned = request.load().unwrap();
        loads += 1;
    }
    assert!(0 < loads, "nothing was on disk");
    assert_eq!([row(&answers, 0), row(&answers, 1)], [row(&expected, 0), row(&expected, 1)]);
}

#[test]
fn services_have_limits_on_both_sides() {
    let mut store = Store::with_view(|_| {});
    let texts = |count: usize| vec!["v.n@1d"; count];
    create(&mut store, "widest", &texts(SELECTOR_COUNT_MAX)).unwrap();
    let wider = create(&mut store, "wider", &texts(SELECTOR_COUNT_MAX + 1)).unwrap_err();
    assert_eq!(wider.code(), "LIMIT");
    for view in 1..=GROUP_COUNT_MAX {
        let definition =
            ViewDefinition::of(&format!("v{view}"), "1d", &[], &[("n", "count()")]).unwrap();
        store.write(Write::CreateView(definition)).unwrap();
    }
    let names: Vec<String> = (0..=GROUP_COUNT_MAX)
        .map(|view| if view == 0 { "v.n@1d".to_owned() } else { format!("v{view}.n@1d") })
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    create(&mut store, "most_views", &names[..GROUP_COUNT_MAX]).unwrap();
    let more = create(&mut store, "more_views", &names).unwrap_err();
    assert!(more.to_string().contains("257 views, expected at most 256"), "{more}");
    for service in 2..SERVICE_COUNT_MAX {
        let now = store.now;
        let write = Write::CreateService {
            name: name(&format!("s{service}")),
            selectors: selectors(&["v.n@1d"]),
        };
        store.engine().prepare(now, write).unwrap();
    }
    store.engine().commit().unwrap();
    let last = create(&mut store, "one_more", &["v.n@1d"]).unwrap_err();
    assert!(last.to_string().contains("4096 services, its limit"), "{last}");
    store.write(Write::DropService(name("s2"))).unwrap();
    create(&mut store, "one_more", &["v.n@1d"]).unwrap();
}
