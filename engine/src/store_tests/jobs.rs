//! Stories of jobs.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{DAY, NOW, Store, events, feature, identifier, name, ok};
use crate::{
    EngineError, JobCommit, JobId, JobMode, JobRequest, JobState, JobTile, Lateness, Sealing, Write,
};
use tilekv_tile::{Cells, Rows, SealMode, Status, Value, ViewChange};

const COMMIT: JobCommit = JobCommit { rows: None, allows_empty: false, seals: true };

impl Store {
    fn begin(&mut self, from: i64, to: i64, mode: JobMode) -> JobId {
        self.begin_with(from, to, mode, None).unwrap()
    }

    fn begin_with(
        &mut self,
        from: i64,
        to: i64,
        mode: JobMode,
        token: Option<&'static str>,
    ) -> Result<JobId, EngineError> {
        let token = token.map(|token| Bytes::from_static(token.as_bytes()));
        let request = JobRequest { view: name("v"), from, to, mode, timeout_ms: None, token };
        let now = self.now;
        self.engine().jobs().begin(now, request)
    }

    fn put(&mut self, job: JobId, entity: &str, timestamp: i64, amount: &str) -> u64 {
        self.put_at(job, None, entity, timestamp, amount).unwrap()
    }

    fn put_at(
        &mut self,
        job: JobId,
        sequence: Option<u64>,
        entity: &str,
        timestamp: i64,
        amount: &str,
    ) -> Result<u64, EngineError> {
        let now = self.now;
        self.engine().jobs().put_rows(now, job, sequence, rows(entity, timestamp, amount))
    }

    fn commit_job(&mut self, job: JobId, commit: JobCommit) -> Result<(), EngineError> {
        let now = self.now;
        match self.engine().jobs().seal(now, job, commit)? {
            Sealing::Committed => Ok(()),
            Sealing::Ready(sealed) => {
                self.engine().prepare_job(now, sealed)?;
                self.engine().commit()
            }
        }
    }

    fn spent(&mut self, entity: &str) -> (Value, Status) {
        self.value(entity, "spent@30d")
    }
}

pub(super) fn rows(entity: &str, timestamp: i64, amount: &str) -> Rows {
    let Write::Events { rows, .. } = events(entity, timestamp, amount, "1", None) else {
        unreachable!("events are events")
    };
    rows
}

fn double(value: f64) -> (Value, Status) {
    ok(Value::Double(value))
}

/// Entities that share their first bytes, or end where others go on with zeros.
const ALIKE: [&str; 7] = ["a", "a\0", "ab", "abcdefgh", "abcdefgh\0", "abcdefghi", "b"];

fn several_rows(picked: &[(usize, i64, u8)]) -> Rows {
    let of = |&(entity, timestamp, amount): &(usize, i64, u8)| {
        rows(ALIKE[entity], timestamp, &amount.to_string())
    };
    let mut all: Vec<Rows> = picked.iter().map(of).collect();
    let mut first = all.remove(0);
    for mut next in all {
        first.entities.append(&mut next.entities);
        first.timestamps.append(&mut next.timestamps);
        let (Cells::Text { cells, .. }, Cells::Text { cells: more, .. }) =
            (&mut first.cells, &mut next.cells)
        else {
            unreachable!("the rows are text")
        };
        cells.append(more);
    }
    first
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn rows_in_any_order_make_the_tiles_of_their_entities(
        puts in vec(vec((0..ALIKE.len(), NOW - 3 * DAY..NOW - DAY, any::<u8>()), 1..40), 1..5),
        bytes_max in prop_oneof![Just(1), Just(2_000), Just(1 << 20)],
    ) {
        let mut store = Store::with_view(|_| {});
        store.options.job_bytes_max = bytes_max;
        store.reopen();
        let job = store.begin(NOW - 4 * DAY, NOW, JobMode::Replace);
        let mut sums = [None; ALIKE.len()];
        for picked in &puts {
            let now = store.now;
            store.engine().jobs().put_rows(now, job, None, several_rows(picked)).unwrap();
            for &(entity, _, amount) in picked {
                *sums[entity].get_or_insert(0.0) += f64::from(amount);
            }
        }
        store.commit_job(job, COMMIT).unwrap();
        for (entity, sum) in ALIKE.iter().zip(sums) {
            let expected = sum.map_or((Value::Nil, Status::Unseen), double);
            prop_assert_eq!(store.spent(entity), expected, "{:?}", entity);
        }
    }
}

#[test]
fn a_replacing_job_removes_what_was_acknowledged_before_its_commit_and_later_writes_add() {
    let mut store = Store::with_view(|_| {});
    let (from, to) = (NOW - 3 * DAY, NOW - DAY);
    store.add("kept", from - 1, "100", "1");
    store.add("gone", from, "7", "1");
    store.add("both", from, "7", "1");
    store.flush();
    store.add("both", from + 1, "8", "1");
    let job = store.begin(from, to, JobMode::Replace);
    store.put(job, "both", from, "1");
    store.put(job, "new", to - 1, "2");
    store.add("both", from, "16", "1");
    assert_eq!(store.spent("both"), double(31.0), "nothing is visible before the commit");
    assert_eq!(store.value("new", "spent@30d").1, Status::Unseen);
    store.commit_job(job, COMMIT).unwrap();
    store.add("both", from, "32", "1");
    for round in 0..4 {
        assert_eq!(store.spent("kept"), double(100.0), "round {round}");
        assert_eq!(store.value("gone", "spent@30d").1, Status::Unseen, "round {round}");
        assert_eq!(store.spent("both"), double(33.0), "round {round}");
        assert_eq!(store.spent("new"), double(2.0), "round {round}");
        match round {
            0 => store.crash(),
            1 => store.flush(),
            _ => {
                store.add("other", NOW - DAY, "1", "1");
                store.flush();
                store.run_due_tasks();
                store.reopen();
            }
        }
    }
}

#[test]
fn a_merging_job_adds_and_jobs_apply_in_the_order_of_their_commits() {
    let mut store = Store::with_view(|_| {});
    let (from, to) = (NOW - 2 * DAY, NOW);
    store.add("u", from, "1", "1");
    let merging = store.begin(from, to, JobMode::Merge);
    let replacing = store.begin(from, to, JobMode::Replace);
    store.put(merging, "u", from, "2");
    store.put(replacing, "u", from, "4");
    store.commit_job(replacing, COMMIT).unwrap();
    assert_eq!(store.spent("u"), double(4.0));
    store.commit_job(merging, COMMIT).unwrap();
    assert_eq!(store.spent("u"), double(6.0));
    store.crash();
    store.flush();
    assert_eq!(store.spent("u"), double(6.0));
}

#[test]
fn a_commit_is_refused_for_too_few_rows_and_changes_nothing() {
    let mut store = Store::with_view(|definition| {
        definition.seal = SealMode::Required;
        definition.min_rows = 2;
    });
    let (from, to) = (NOW - DAY, NOW);
    store.add("u", from, "1", "1");
    let job = store.begin(from, to, JobMode::Replace);
    assert!(matches!(store.commit_job(job, COMMIT), Err(EngineError::EmptyJob(_))));
    store.put(job, "u", from, "5");
    assert!(matches!(store.commit_job(job, COMMIT), Err(EngineError::EmptyJob(_))));
    store.put(job, "u", from, "6");
    let wrong = JobCommit { rows: Some(3), ..COMMIT };
    let refused = store.commit_job(job, wrong);
    assert!(matches!(refused, Err(EngineError::RowCount { expected: 3, taken: 2 })));
    assert_eq!(store.value("u", "spent@1d").1, Status::Incomplete, "nothing was sealed");
    store.commit_job(job, JobCommit { rows: Some(2), ..COMMIT }).unwrap();
    assert_eq!(store.value("u", "spent@1d"), double(11.0));
    let empty = store.begin(from, to, JobMode::Replace);
    let allowed = JobCommit { allows_empty: true, seals: false, rows: None };
    store.commit_job(empty, allowed).unwrap();
    assert_eq!(
        store.value("u", "spent@1d").1,
        Status::Unseen,
        "an empty job replaces with nothing"
    );
}

#[test]
fn a_committed_job_is_committed_again_and_takes_no_more_rows() {
    let mut store = Store::with_view(|_| {});
    let (from, to) = (NOW - DAY, NOW);
    let job = store.begin_with(from, to, JobMode::Replace, Some("run-1")).unwrap();
    assert_eq!(store.begin_with(from, to, JobMode::Replace, Some("run-1")).unwrap(), job);
    let other = store.begin_with(from - DAY, to, JobMode::Replace, Some("run-1"));
    assert!(matches!(other, Err(EngineError::BadValue(_))), "{other:?}");
    assert_eq!(store.put_at(job, Some(9), "u", from, "1").unwrap(), 1);
    assert_eq!(store.put_at(job, Some(9), "u", from, "1").unwrap(), 0, "a sequence counts once");
    assert_eq!(store.put_at(job, Some(3), "u", from, "2").unwrap(), 1, "in any order");
    store.commit_job(job, COMMIT).unwrap();
    for _ in 0..2 {
        store.commit_job(job, JobCommit { rows: Some(77), ..COMMIT }).unwrap();
        assert_eq!(store.put_at(job, Some(10), "u", from, "4").unwrap(), 0);
        assert_eq!(store.begin_with(from, to, JobMode::Replace, Some("run-1")).unwrap(), job);
        assert_eq!(store.spent("u"), double(3.0));
        let now = store.now;
        let info = store.engine().jobs().info(now, job).unwrap();
        assert_eq!((info.state, info.rows), (JobState::Committed, 2));
        store.flush();
        store.crash();
    }
}

#[test]
fn jobs_that_were_not_committed_leave_no_trace() {
    let mut store = Store::with_view(|_| {});
    store.options.job_bytes_max = 1;
    store.reopen();
    let (from, to) = (NOW - DAY, NOW);
    let aborted = store.begin(from, to, JobMode::Merge);
    let silent = store.begin(from, to, JobMode::Merge);
    let lost = store.begin(from, to, JobMode::Merge);
    for job in [aborted, silent, lost] {
        for round in 0..3 {
            store.put(job, "u", from + round, "1");
        }
    }
    let files = |store: &Store| {
        use tilekv_wal::Disk;
        let names = store.disk.list().unwrap();
        names.iter().filter(|name| name.starts_with("segment-")).count()
    };
    assert_eq!(files(&store), 6, "two of three rows of each job have left memory");
    let now = store.now;
    store.engine().jobs().abort(now, aborted).unwrap();
    assert_eq!(files(&store), 4);
    store.now += crate::limits::JOB_TIMEOUT_MS - 1;
    store.put(lost, "u", from, "1");
    store.now += 1;
    let now = store.now;
    store.engine().jobs().expire(now).unwrap();
    for job in [aborted, silent] {
        let put = store.put_at(job, None, "u", from, "1");
        assert!(matches!(put, Err(EngineError::NoJob(_))), "{put:?}");
    }
    store.crash();
    assert_eq!(files(&store), 0);
    assert!(matches!(store.commit_job(lost, COMMIT), Err(EngineError::NoJob(_))));
    assert_eq!(store.value("u", "spent@30d").1, Status::Unseen);
}

#[test]
fn rows_that_left_memory_are_published_with_the_others() {
    let mut store = Store::with_view(|_| {});
    store.options.job_bytes_max = 1;
    store.reopen();
    let (from, to) = (NOW - 10 * DAY, NOW);
    let job = store.begin(from, to, JobMode::Replace);
    for row in 0..50 {
        store.put(job, ["a", "b", "c"][row % 3], from + DAY * i64::try_from(row % 7).unwrap(), "1");
    }
    store.commit_job(job, JobCommit { rows: Some(50), ..COMMIT }).unwrap();
    for _ in 0..2 {
        let total: f64 = ["a", "b", "c"]
            .into_iter()
            .map(|entity| match store.spent(entity) {
                (Value::Double(spent), Status::Ok) => spent,
                other => panic!("{entity}: {other:?}"),
            })
            .sum();
        assert_eq!(total.to_bits(), 50_f64.to_bits());
        store.flush();
    }
}

#[test]
fn a_put_is_taken_whole_or_not_at_all() {
    let mut store = Store::with_view(|_| {});
    let (from, to) = (NOW - DAY, NOW);
    let job = store.begin(from, to, JobMode::Merge);
    let mut mixed = rows("u", from, "1");
    mixed.entities.push(Bytes::from_static(b"u"));
    mixed.timestamps.push(to);
    let cell = |text: &'static str| Bytes::from_static(text.as_bytes());
    mixed.cells =
        Cells::Text { null: None, cells: vec![cell("1"), cell("1"), cell("1"), cell("1")] };
    let now = store.now;
    let refused = store.engine().jobs().put_rows(now, job, Some(1), mixed);
    let Err(EngineError::BadValue(sentence)) = refused else { panic!("{refused:?}") };
    assert!(sentence.contains("row 2 (counted from 1)"), "{sentence}");
    assert_eq!(store.put_at(job, Some(1), "u", from, "4").unwrap(), 1, "its sequence is free");
    let tile = |start, json: &'static str| JobTile {
        entity: Bytes::from_static(b"u"),
        start,
        partials: vec![(identifier("n"), Bytes::from_static(json.as_bytes()))],
    };
    let tiles = [tile(from, "2"), tile(from, "x")];
    assert!(store.engine().jobs().put_tiles(now, job, None, &tiles).is_err());
    let taken = store.engine().jobs().put_tiles(now, job, None, &[tile(from, "2")]).unwrap();
    assert_eq!(taken, 1);
    store.commit_job(job, JobCommit { rows: Some(2), ..COMMIT }).unwrap();
    assert_eq!(store.value("u", "n@1d"), ok(Value::Int(3)));
    assert_eq!(store.spent("u"), double(4.0));
}

#[test]
fn a_refused_publication_opens_the_job_again() {
    let mut store = Store::with_view(|_| {});
    let (from, to) = (NOW - DAY, NOW);
    let job = store.begin(from, to, JobMode::Merge);
    store.put(job, "u", from, "1");
    let now = store.now;
    let Sealing::Ready(sealed) = store.engine().jobs().seal(now, job, COMMIT).unwrap() else {
        panic!("the job is open")
    };
    let busy = store.put_at(job, None, "u", from, "2");
    assert!(matches!(busy, Err(EngineError::Busy { .. })), "{busy:?}");
    drop(sealed);
    store.put(job, "u", from, "2");
    store.commit_job(job, JobCommit { rows: Some(2), ..COMMIT }).unwrap();
    assert_eq!(store.spent("u"), double(3.0));
    store.crash();
    assert_eq!(store.spent("u"), double(3.0));
}

#[test]
fn a_feature_added_later_is_complete_once_a_job_has_replaced_its_past() {
    let mut store = Store::with_view(|_| {});
    store.add("u", NOW - 2 * DAY, "1", "1");
    let early = store.begin(NOW - 3 * DAY, NOW + DAY, JobMode::Replace);
    store.put(early, "u", NOW - 2 * DAY, "3");
    let change =
        ViewChange { add_features: vec![feature("most", "max(amount)")], ..ViewChange::default() };
    store.write(Write::AlterView { view: name("v"), change }).unwrap();
    store.put(early, "u", NOW - 2 * DAY, "4");
    store.commit_job(early, COMMIT).unwrap();
    assert_eq!(store.value("u", "most@2d").1, Status::Incomplete, "its first rows lack it");
    assert_eq!(store.spent("u"), double(7.0));
    let late = store.begin(NOW - 3 * DAY, NOW + DAY, JobMode::Replace);
    store.put(late, "u", NOW - 2 * DAY, "5");
    store.commit_job(late, COMMIT).unwrap();
    assert_eq!(store.value("u", "most@2d"), double(5.0));
    store.crash();
    assert_eq!(store.value("u", "most@2d"), double(5.0));
}

#[test]
fn a_job_of_a_dropped_view_is_refused_and_given_up() {
    let mut store = Store::with_view(|_| {});
    let job = store.begin(NOW - DAY, NOW, JobMode::Merge);
    store.put(job, "u", NOW - DAY, "1");
    store.write(Write::DropView(name("v"))).unwrap();
    assert!(matches!(store.put_at(job, None, "u", NOW - DAY, "1"), Err(EngineError::NoView(_))));
    let now = store.now;
    store.engine().jobs().expire(now).unwrap();
    assert!(matches!(store.commit_job(job, COMMIT), Err(EngineError::NoJob(_))));
    let write = Write::Events {
        view: name("v"),
        stamp: None,
        rows: rows("u", NOW - DAY, "1"),
        lateness: Lateness::Skip,
    };
    assert!(matches!(store.write(write), Err(EngineError::NoView(_))));
}

#[test]
fn one_job_too_many_is_refused_until_another_is_over() {
    let mut store = Store::with_view(|_| {});
    store.options.job_count_max = 2;
    store.reopen();
    let first = store.begin(NOW - DAY, NOW, JobMode::Merge);
    store.begin(NOW - DAY, NOW, JobMode::Merge);
    let third = store.begin_with(NOW - DAY, NOW, JobMode::Merge, None);
    assert!(matches!(third, Err(EngineError::Limit(_))), "{third:?}");
    let now = store.now;
    store.engine().jobs().abort(now, first).unwrap();
    store.begin(NOW - DAY, NOW, JobMode::Merge);
}
