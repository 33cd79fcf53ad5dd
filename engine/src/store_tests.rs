//! The whole engine on a simulated disk: each test tells one story of a store.

use std::sync::Arc;

use bytes::Bytes;
use tilekv_tile::{
    After, Answers, Cells, ColumnDefinition, ColumnType, Edge, FeatureDefinition, Identifier,
    LateMode, Name, ProducerStamp, Rows, SealMode, Selector, Span, Status, Value, ViewChange,
    ViewDefinition,
};
use tilekv_wal::{Durability, SimDisk, SimFaults};

use crate::limits::PRODUCER_EXPIRY_MS;
use crate::{
    Engine, EngineError, EngineOptions, Lateness, MemoryUse, Outcome, Prepared, ReadRequest,
    ReadTime, TileWrite, Write,
};

mod backup;
mod jobs;
mod levels;
mod records;
mod services;
mod verify;

const DAY: i64 = 86_400_000;
/// 2023-11-14 00:00 UTC: a day starts here.
const NOW: i64 = 19_675 * DAY;

struct Store {
    disk: SimDisk,
    options: EngineOptions,
    engine: Option<Engine>,
    now: i64,
}

impl Store {
    fn new() -> Self {
        let options = EngineOptions {
            overlay_bytes_max: 1 << 20,
            segment_count_max: 2,
            log_file_bytes_max: 64 << 10,
            ..EngineOptions::standard(Durability::Always, 7)
        };
        let disk = SimDisk::new(1, SimFaults::default());
        let mut store = Self { disk, options, engine: None, now: NOW };
        store.reopen();
        store
    }

    fn with_view(change: impl FnOnce(&mut ViewDefinition)) -> Self {
        let mut store = Self::new();
        let columns = [("amount", ColumnType::F64), ("units", ColumnType::I64)];
        let features = [("spent", "sum(amount)"), ("n", "count()"), ("top", "max(units)")];
        let mut definition = ViewDefinition::of("v", "1d", &columns, &features).unwrap();
        change(&mut definition);
        store.write(Write::CreateView(definition)).unwrap();
        store
    }

    fn with_features(features: &[(&str, &str)]) -> Self {
        let mut store = Self::new();
        let columns = [("amount", ColumnType::F64), ("units", ColumnType::I64)];
        let definition = ViewDefinition::of("v", "1d", &columns, features).unwrap();
        store.write(Write::CreateView(definition)).unwrap();
        store
    }

    fn engine(&mut self) -> &mut Engine {
        self.engine.as_mut().unwrap()
    }

    fn reopen(&mut self) {
        self.engine = None;
        let disk = Arc::new(self.disk.clone());
        let (engine, _) = Engine::open(disk, self.options, self.now).unwrap();
        self.engine = Some(engine);
    }

    fn crash(&mut self) {
        self.disk.crash();
        self.reopen();
    }

    fn write(&mut self, write: Write) -> Result<Outcome, EngineError> {
        let now = self.now;
        let prepared = self.engine().prepare(now, write)?;
        let Prepared::Staged(outcome) = prepared else { panic!("nothing was pending") };
        self.engine().commit()?;
        Ok(outcome)
    }

    fn add(&mut self, entity: &str, timestamp: i64, amount: &str, units: &str) -> Outcome {
        self.write(events(entity, timestamp, amount, units, None)).unwrap()
    }

    fn used(&mut self, purpose: MemoryUse) -> u64 {
        let memory = self.engine().reader().memory();
        memory.used.iter().find(|(used_for, _)| *used_for == purpose).unwrap().1
    }

    fn flush(&mut self) {
        let now = self.now;
        self.engine().checkpoint(now).unwrap();
    }

    fn run_due_tasks(&mut self) {
        let (now, disk) = (self.now, self.disk.clone());
        for task in self.engine().tasks(now) {
            self.engine().finish(task.run(&disk)).unwrap();
        }
    }

    fn read(&mut self, entity: &str, selectors: &[&str], time: &ReadTime) -> Answers {
        let reader = self.engine().reader();
        let version = reader.snapshot();
        let selectors =
            selectors.iter().map(|text| Selector::parse(text.as_bytes()).unwrap()).collect();
        let request =
            ReadRequest { groups: vec![(name("v"), selectors)], edge: None, known: false };
        let plan = reader.plan(&version, &request).unwrap();
        reader.read(&version, &plan, self.now, time, &[entity.as_bytes()]).unwrap()
    }

    fn value(&mut self, entity: &str, selector: &str) -> (Value, Status) {
        let answers = self.read(entity, &[selector], &ReadTime::Now);
        (answers.get(0, 0), answers.columns[0].statuses[0])
    }

    fn set(
        &mut self,
        start: i64,
        partials: &[(&str, &'static str)],
    ) -> Result<Outcome, EngineError> {
        self.write(Write::SetTile(tile("u", start, partials)))
    }
}

fn name(text: &str) -> Name {
    Name::parse(text.as_bytes()).unwrap()
}

fn identifier(text: &str) -> Identifier {
    Identifier::parse(text.as_bytes()).unwrap()
}

fn feature(feature: &str, expression: &str) -> FeatureDefinition {
    let expression = tilekv_tile::Expression::parse(expression.as_bytes()).unwrap();
    FeatureDefinition { name: identifier(feature), expression }
}

fn span(text: &str) -> Span {
    Span::parse(text.as_bytes()).unwrap()
}

fn events(
    entity: &str,
    timestamp: i64,
    amount: &str,
    units: &str,
    stamp: Option<ProducerStamp>,
) -> Write {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    Write::Events {
        view: name("v"),
        stamp,
        rows: Rows {
            columns: vec![identifier("amount"), identifier("units")],
            entities: vec![bytes(entity)],
            timestamps: vec![timestamp],
            cells: Cells::Text { null: None, cells: vec![bytes(amount), bytes(units)] },
        },
        lateness: Lateness::Refuse,
    }
}

fn tile(entity: &str, start: i64, partials: &[(&str, &'static str)]) -> TileWrite {
    TileWrite {
        view: name("v"),
        entity: Bytes::copy_from_slice(entity.as_bytes()),
        start,
        partials: partials
            .iter()
            .map(|(feature, json)| (identifier(feature), Bytes::from_static(json.as_bytes())))
            .collect(),
        stamp: None,
    }
}

fn stamp(sequence: u64, after: After) -> Option<ProducerStamp> {
    Some(ProducerStamp { id: Bytes::from_static(b"partition-0"), sequence, after })
}

fn ok(value: Value) -> (Value, Status) {
    (value, Status::Ok)
}

#[test]
fn windows_hold_only_tiles_that_have_ended_unless_the_edge_is_live() {
    let mut store = Store::with_view(|_| {});
    store.add("u", NOW - 1, "1.5", "3");
    store.add("u", NOW, "2", "9");
    store.add("u", NOW - 2 * DAY, "4", "");
    assert_eq!(store.value("u", "spent@1d"), ok(Value::Double(1.5)));
    assert_eq!(store.value("u", "spent@2d"), ok(Value::Double(5.5)));
    assert_eq!(store.value("u", "spent@1d:1d"), ok(Value::Double(4.0)));
    assert_eq!(store.value("u", "top@lifetime"), ok(Value::Int(3)));
    let mut live = Store::with_view(|definition| definition.edge = Edge::Live);
    live.add("u", NOW - 1, "1.5", "3");
    live.add("u", NOW, "2", "9");
    assert_eq!(live.value("u", "spent@1d"), ok(Value::Double(3.5)));
    let at = live.read("u", &["spent@1d"], &ReadTime::At(NOW - DAY));
    assert_eq!(at.get(0, 0), Value::Nil, "a replay leaves out a tile that has ended");
}

#[test]
fn one_pass_answers_many_windows_over_overlay_and_segments() {
    let mut store = Store::with_view(|_| {});
    for day in 1..=90 {
        store.add("u", NOW - day * DAY, "1", "1");
        if day % 20 == 0 {
            store.flush();
        }
    }
    let selectors = ["n@1d", "n@7d", "n@30d", "n@90d", "n@7d:30d", "spent@lifetime"];
    let answers = store.read("u", &selectors, &ReadTime::Now);
    let values: Vec<Value> = (0..6).map(|column| answers.get(0, column)).collect();
    let counts = [1, 7, 30, 90, 7].map(Value::Int);
    assert_eq!(values[..5], counts);
    assert_eq!(values[5], Value::Double(90.0));
    let tiles: Vec<u32> = answers.columns.iter().map(|column| column.tiles_read[0]).collect();
    assert_eq!(tiles, [1, 7, 30, 90, 7, 90]);
    assert!(0 < store.engine().counters().compactions, "the story needs a compaction");
}

#[test]
fn a_crash_loses_nothing_that_was_acknowledged_and_applies_nothing_twice() {
    let mut store = Store::with_view(|_| {});
    for round in 1..=6 {
        store.add("u", NOW - DAY, "0.5", "1");
        match round % 3 {
            0 => store.flush(),
            1 => store.crash(),
            _ => {}
        }
        let expected = Value::Int(round);
        assert_eq!(store.value("u", "n@1d"), ok(expected), "round {round}");
    }
}

#[test]
fn a_set_tile_hides_what_older_sources_hold_and_later_events_add() {
    let mut store = Store::with_view(|_| {});
    let day = NOW - DAY;
    store.add("u", day, "1", "1");
    store.flush();
    store.set(day, &[("spent", "10.5"), ("n", "4")]).unwrap();
    assert_eq!(store.value("u", "spent@1d"), ok(Value::Double(10.5)));
    assert_eq!(store.value("u", "top@1d"), ok(Value::Nil), "features left out become empty");
    store.flush();
    store.add("u", day, "1", "7");
    assert_eq!(store.value("u", "spent@1d"), ok(Value::Double(11.5)));
    store.write(Write::MergeTile(tile("u", day, &[("n", "2")]))).unwrap();
    assert_eq!(store.value("u", "n@1d"), ok(Value::Int(7)));
    assert_eq!(store.value("u", "top@1d"), ok(Value::Int(7)));
    store.flush();
    store.crash();
    assert_eq!(store.value("u", "n@1d"), ok(Value::Int(7)));
}

#[test]
fn deleted_tiles_and_entities_stay_gone() {
    let mut store = Store::with_view(|_| {});
    for day in 1..=4 {
        store.add("u", NOW - day * DAY, "1", "1");
    }
    store.add("other", NOW - DAY, "1", "1");
    store.flush();
    let removed = store.write(Write::DeleteTiles {
        view: name("v"),
        entity: Bytes::from_static(b"u"),
        from: NOW - 3 * DAY,
        to: NOW - DAY,
    });
    assert_eq!(removed.unwrap(), Outcome::Count(2));
    assert_eq!(store.value("u", "n@4d"), ok(Value::Int(2)));
    store.add("u", NOW - 2 * DAY, "1", "1");
    store.flush();
    assert_eq!(store.value("u", "n@4d"), ok(Value::Int(3)));
    let entity = Bytes::from_static(b"u");
    let removed = store.write(Write::DeleteEntity { entity, views: None });
    assert_eq!(removed.unwrap(), Outcome::Count(3));
    assert_eq!(store.value("u", "n@4d"), (Value::Int(0), Status::Unseen));
    for _ in 0..3 {
        store.add("other", NOW - DAY, "1", "1");
        store.flush();
    }
    store.crash();
    assert_eq!(store.value("u", "n@4d"), (Value::Int(0), Status::Unseen));
    assert_eq!(store.value("other", "n@4d"), ok(Value::Int(4)));
}

#[test]
fn a_resent_write_counts_once_even_after_a_crash() {
    let mut store = Store::with_view(|_| {});
    let send = |store: &mut Store, sequence, after| {
        store.write(events("u", NOW - DAY, "1", "1", stamp(sequence, after)))
    };
    assert_eq!(send(&mut store, 1, After::First).unwrap(), Outcome::Count(1));
    assert_eq!(send(&mut store, 1, After::First).unwrap(), Outcome::Duplicate);
    store.crash();
    assert_eq!(send(&mut store, 1, After::First).unwrap(), Outcome::Duplicate);
    assert_eq!(send(&mut store, 5, After::Sequence(1)).unwrap(), Outcome::Count(1));
    store.flush();
    store.crash();
    assert_eq!(send(&mut store, 4, After::Any).unwrap(), Outcome::Duplicate);
    let refused = send(&mut store, 9, After::Sequence(7));
    assert!(matches!(refused, Err(EngineError::OutOfOrder { last: Some(5) })));
    assert_eq!(store.value("u", "n@1d"), ok(Value::Int(2)));
    let reader = store.engine().reader();
    let id = Bytes::from_static(b"partition-0");
    let last = reader.producer(&reader.snapshot(), &name("v"), &id, NOW);
    assert_eq!(last.unwrap(), Some(5));
}

#[test]
fn a_duplicate_inside_one_batch_is_seen_before_the_commit() {
    let mut store = Store::with_view(|_| {});
    let write = || events("u", NOW - DAY, "1", "1", stamp(3, After::Any));
    let engine = store.engine();
    assert!(matches!(engine.prepare(NOW, write()), Ok(Prepared::Staged(Outcome::Count(1)))));
    assert!(matches!(engine.prepare(NOW, write()), Ok(Prepared::Staged(Outcome::Duplicate))));
    engine.commit().unwrap();
    assert_eq!(store.value("u", "n@1d"), ok(Value::Int(1)));
}

#[test]
fn a_refused_batch_applies_nothing_and_names_the_row() {
    let mut store = Store::with_view(|_| {});
    let mut write = events("u", NOW - DAY, "1", "1", stamp(1, After::Any));
    let Write::Events { rows, .. } = &mut write else { panic!("events") };
    rows.entities.push(Bytes::from_static(b"w"));
    rows.timestamps.push(NOW - DAY);
    let Cells::Text { cells, .. } = &mut rows.cells else { panic!("text") };
    cells.extend([Bytes::from_static(b"nan"), Bytes::from_static(b"1")]);
    let refused = store.write(write).unwrap_err();
    assert_eq!(refused.code(), "BADVALUE");
    assert!(refused.to_string().contains("row 2"), "{refused}");
    assert_eq!(store.value("u", "n@1d"), (Value::Int(0), Status::Unseen));
    let retried = store.write(events("u", NOW - DAY, "1", "1", stamp(1, After::Any)));
    assert_eq!(retried.unwrap(), Outcome::Count(1), "a refused write consumes no sequence");
}

#[test]
fn a_window_never_slides_over_time_that_was_not_sealed() {
    let mut store = Store::with_view(|definition| definition.seal = SealMode::Required);
    for day in 1..=4 {
        store.add("u", NOW - day * DAY, "1", "1");
    }
    assert_eq!(store.value("u", "n@2d"), (Value::Int(2), Status::Incomplete));
    let seal = |from, to| Write::AddSeal { view: name("v"), from, to };
    store.write(seal(NOW - 4 * DAY, NOW - 2 * DAY)).unwrap();
    let answers = store.read("u", &["n@2d"], &ReadTime::Now);
    assert_eq!(answers.columns[0].bounds[0].end, NOW - 2 * DAY);
    assert_eq!(store.value("u", "n@2d"), ok(Value::Int(2)));
    assert_eq!(store.value("u", "n@3d"), (Value::Int(2), Status::Incomplete));
    store.flush();
    store.crash();
    assert_eq!(store.value("u", "n@2d"), ok(Value::Int(2)));
    let (from, to) = (NOW - 3 * DAY, NOW - 2 * DAY);
    store.write(Write::RemoveSeal { view: name("v"), from, to }).unwrap();
    assert_eq!(store.value("u", "n@1d"), ok(Value::Int(1)));
    let reader = store.engine().reader();
    let seals = reader.seals(&reader.snapshot(), &name("v")).unwrap();
    assert_eq!(seals, [(NOW - 4 * DAY, NOW - 3 * DAY, NOW)]);
}

#[test]
fn late_events_on_a_sealed_range_are_dropped_where_the_view_says_so() {
    let mut store = Store::with_view(|definition| definition.late = LateMode::Drop);
    let (from, to) = (NOW - 2 * DAY, NOW - DAY);
    store.write(Write::AddSeal { view: name("v"), from, to }).unwrap();
    assert_eq!(store.add("u", from, "1", "1"), Outcome::Count(0));
    assert_eq!(store.add("u", to, "1", "1"), Outcome::Count(1));
    store.flush();
    store.crash();
    let reader = store.engine().reader();
    let info = reader.view_info(&reader.snapshot(), &name("v"), NOW).unwrap();
    assert_eq!((info.late_dropped, info.tiles, info.entities), (1, 1, 1));
}

#[test]
fn tiles_before_the_horizon_can_be_neither_read_nor_written_and_are_reclaimed() {
    let mut store = Store::with_view(|definition| definition.retention = Some(span("3d")));
    store.add("u", NOW - 2 * DAY, "1", "1");
    let refused = store.write(events("u", NOW - 4 * DAY, "1", "1", None));
    assert!(matches!(refused, Err(EngineError::TooOld { .. })));
    store.flush();
    store.now = NOW + 2 * DAY;
    assert_eq!(store.value("u", "n@3d"), (Value::Int(0), Status::Unseen));
    assert_eq!(store.value("u", "n@5d"), (Value::Int(0), Status::Expired));
    store.now = NOW + 20 * DAY;
    for _ in 0..3 {
        let now = store.now;
        store.add("w", now, "1", "1");
        store.flush();
    }
    let tiles = store.engine().reader().snapshot().info().segment_tiles;
    assert!(tiles < 4, "compaction reclaims expired tiles, {tiles} are left");
}

#[test]
fn a_feature_added_later_is_incomplete_before_it_existed() {
    let mut store = Store::with_view(|_| {});
    store.add("u", NOW - DAY, "1.5", "5");
    let change = ViewChange {
        add_columns: vec![ColumnDefinition { name: identifier("label"), kind: ColumnType::Str }],
        add_features: vec![feature("low", "min(units)"), feature("labels", "count(label)")],
        ..ViewChange::default()
    };
    store.write(Write::AlterView { view: name("v"), change }).unwrap();
    store.add("u", NOW - DAY, "1.5", "3");
    store.add("u", NOW + DAY, "1", "4");
    store.now = NOW + 2 * DAY;
    assert_eq!(store.value("u", "low@3d"), (Value::Int(3), Status::Incomplete));
    assert_eq!(store.value("u", "low@1d"), ok(Value::Int(4)));
    assert_eq!(store.value("u", "spent@3d"), ok(Value::Double(4.0)));
    for _ in 0..3 {
        store.flush();
        store.crash();
        store.add("w", NOW, "1", "1");
    }
    assert_eq!(store.value("u", "low@3d"), (Value::Int(3), Status::Incomplete));
    assert_eq!(store.value("u", "labels@1d"), ok(Value::Int(0)));
    assert_eq!(store.value("u", "spent@3d"), ok(Value::Double(4.0)));
}

#[test]
fn segments_from_before_and_after_a_new_feature_merge_whatever_their_last_entity() {
    let mut store = Store::with_view(|_| {});
    store.add("z", NOW - DAY, "1.5", "5");
    store.flush();
    let change =
        ViewChange { add_features: vec![feature("low", "min(units)")], ..ViewChange::default() };
    store.write(Write::AlterView { view: name("v"), change }).unwrap();
    for units in ["7", "6", "8", "9"] {
        store.add("a", NOW + DAY, "1", units);
        store.flush();
    }
    assert!(1 < store.engine().counters().compactions, "the story needs merges of all segments");
    store.crash();
    store.now = NOW + 2 * DAY;
    assert_eq!(store.value("a", "low@1d"), ok(Value::Int(6)));
    assert_eq!(store.value("z", "top@3d"), ok(Value::Int(5)));
}

#[test]
fn a_power_cut_that_takes_back_a_drop_gives_back_the_tiles() {
    let mut came_back = 0;
    for seed in 0..20 {
        let mut store = Store::new();
        store.options.durability = Durability::Interval;
        store.disk = SimDisk::new(seed, SimFaults::default());
        store.reopen();
        let columns = [("amount", ColumnType::F64), ("units", ColumnType::I64)];
        let definition = ViewDefinition::of("v", "1d", &columns, &[("n", "count()")]).unwrap();
        store.write(Write::CreateView(definition)).unwrap();
        for _ in 0..3 {
            store.add("u", NOW - DAY, "1", "1");
            store.engine().freeze();
            store.run_due_tasks();
        }
        store.write(Write::DropView(name("v"))).unwrap();
        store.run_due_tasks();
        assert_eq!(store.engine().counters().compactions, 1, "the story needs a compaction");
        store.crash();
        let reader = store.engine().reader();
        if !reader.view_names(&reader.snapshot()).is_empty() {
            assert_eq!(store.value("u", "n@1d"), ok(Value::Int(3)), "seed {seed}");
            came_back += 1;
        }
    }
    assert!(0 < came_back, "the story needs a power cut that takes back the drop");
}

#[test]
fn a_dropped_view_takes_its_tiles_along_and_frees_its_name() {
    let mut store = Store::with_view(|_| {});
    store.add("u", NOW - DAY, "1", "1");
    store.flush();
    store.write(Write::DropView(name("v"))).unwrap();
    let refused = store.write(events("u", NOW - DAY, "1", "1", None));
    assert!(matches!(refused, Err(EngineError::NoView(_))));
    let columns = [("amount", ColumnType::F64), ("units", ColumnType::I64)];
    let again = ViewDefinition::of("v", "1d", &columns, &[("n", "count()")]).unwrap();
    store.write(Write::CreateView(again)).unwrap();
    store.crash();
    assert_eq!(store.value("u", "n@1d"), (Value::Int(0), Status::Unseen));
}

#[test]
fn ranges_print_what_set_takes_back() {
    let mut store = Store::with_view(|_| {});
    store.add("u", NOW - DAY, "1.25", "5");
    store.flush();
    store.add("u", NOW - DAY, "1", "");
    let reader = store.engine().reader();
    let range = NOW - 2 * DAY..NOW;
    let tiles =
        reader.range(&reader.snapshot(), &name("v"), b"u", range.clone(), None, NOW).unwrap();
    assert_eq!(tiles, [(NOW - DAY, vec!["2.25".to_owned(), "2".to_owned(), "5".to_owned()])]);
    let features = [identifier("top")];
    let some =
        reader.range(&reader.snapshot(), &name("v"), b"u", range, Some(&features), NOW).unwrap();
    assert_eq!(some, [(NOW - DAY, vec!["5".to_owned()])]);
}

#[test]
fn a_full_disk_refuses_writes_and_takes_them_again_once_there_is_space() {
    let mut store = Store::with_view(|_| {});
    store.add("u", NOW - DAY, "1", "1");
    store.disk.set_faults(SimFaults { capacity_bytes: Some(0), ..SimFaults::default() });
    let mut refused = false;
    for _ in 0..200_000 {
        match store.write(events("u", NOW - DAY, "1", "1", None)) {
            Ok(_) => {}
            Err(EngineError::NoSpace(_)) => {
                refused = true;
                break;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused, "a disk without space must refuse at last");
    let (before, _) = store.value("u", "n@1d");
    store.disk.set_faults(SimFaults::default());
    store.add("u", NOW - DAY, "1", "1");
    let (after, _) = store.value("u", "n@1d");
    let (Value::Int(before), Value::Int(after)) = (before, after) else { panic!("counts") };
    assert_eq!(after, before + 1);
    store.crash();
    assert_eq!(store.value("u", "n@1d"), ok(Value::Int(after)));
}

#[test]
fn a_second_engine_on_the_same_folder_is_refused() {
    let store = Store::new();
    let opened = Engine::open(Arc::new(store.disk.clone()), store.options, NOW);
    let Err(error) = opened else { panic!("the folder is taken") };
    assert!(error.to_string().contains("in use"), "{error}");
}

#[test]
fn a_power_cut_in_interval_mode_after_a_flush_is_no_corruption() {
    for seed in 0..20 {
        let mut store = Store::with_view(|_| {});
        store.options.durability = Durability::Interval;
        store.disk = SimDisk::new(seed, SimFaults::default());
        store.reopen();
        let definition = ViewDefinition::of(
            "v",
            "1d",
            &[("amount", ColumnType::F64), ("units", ColumnType::I64)],
            &[("n", "count()")],
        );
        store.write(Write::CreateView(definition.unwrap())).unwrap();
        for _ in 0..20 {
            store.add("u", NOW - DAY, "1", "1");
        }
        store.flush();
        store.add("u", NOW - DAY, "1", "1");
        store.crash();
        let (value, _) = store.value("u", "n@1d");
        assert!(matches!(value, Value::Int(20 | 21)), "what was flushed is kept: {value:?}");
    }
}

#[test]
fn writes_that_have_grown_old_are_flushed() {
    let mut store = Store::with_view(|_| {});
    store.add("u", NOW - DAY, "1", "1");
    let due = |store: &mut Store, after: i64| {
        let (disk, engine) = (store.disk.clone(), store.engine());
        let tasks = engine.tasks(NOW + after);
        let count = tasks.len();
        tasks.into_iter().for_each(|task| engine.finish(task.run(&disk)).unwrap());
        count
    };
    let age = store.options.overlay_age_ms_max;
    assert_eq!(due(&mut store, age - 1), 0);
    assert_eq!(due(&mut store, age), 1);
    assert_eq!(due(&mut store, 10 * age), 0, "nothing was written since");
    let info = store.engine().reader().snapshot().info();
    assert_eq!((info.segments, info.overlay_tiles), (1, 0));
    store.crash();
    assert_eq!(store.value("u", "n@1d"), ok(Value::Int(1)));
}

#[test]
fn a_store_whose_index_takes_the_memory_budget_takes_only_removals() {
    let mut store = Store::with_view(|_| {});
    store.add("u", NOW - DAY, "1", "1");
    store.flush();
    let index_bytes = store.used(MemoryUse::Index);
    store.options.memory_bytes_max = 2 * index_bytes;
    store.reopen();
    store.add("u", NOW - DAY, "1", "1");
    store.options.memory_bytes_max = 2 * index_bytes - 1;
    store.reopen();
    let refused = store.write(events("u", NOW - DAY, "1", "1", None)).unwrap_err();
    assert_eq!(refused.code(), "LIMIT");
    assert!(refused.to_string().contains("budget"), "{refused}");
    assert_eq!(store.value("u", "n@1d"), ok(Value::Int(2)), "reads go on");
    let entity = Bytes::from_static(b"u");
    store.write(Write::DeleteEntity { entity, views: None }).unwrap();
    for _ in 0..4 {
        store.flush();
        store.write(Write::RemoveSeal { view: name("v"), from: 0, to: DAY }).unwrap();
    }
    store.options.segment_count_max = 1;
    store.reopen();
    store.flush();
    store.add("u", NOW - DAY, "1", "1");
    assert_eq!(store.value("u", "n@1d"), ok(Value::Int(1)));
}

#[test]
fn a_clock_that_jumps_ahead_and_back_forgets_no_producer() {
    let mut store = Store::with_view(|_| {});
    let write = || events("u", NOW - DAY, "1", "1", stamp(3, After::Any));
    assert_eq!(store.write(write()).unwrap(), Outcome::Count(1));
    store.now = NOW + PRODUCER_EXPIRY_MS;
    store.add("u", NOW - DAY, "1", "1");
    store.flush();
    store.crash();
    let reader = store.engine().reader();
    let id = Bytes::from_static(b"partition-0");
    let known_at = |now| reader.producer(&reader.snapshot(), &name("v"), &id, now).unwrap();
    assert_eq!(known_at(NOW + PRODUCER_EXPIRY_MS - 3_600_000), Some(3));
    assert_eq!(known_at(NOW + PRODUCER_EXPIRY_MS), None);
}
