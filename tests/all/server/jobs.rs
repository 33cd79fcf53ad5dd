//! Jobs as a driver meets them: what a commit publishes, clears and seals, what it refuses, and
//! what a driver may repeat.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;
use tilekv_client::blocking::Client;
use tilekv_client::{ClientOptions, ColumnsBuilder, CommitOptions, Name, PlanBuilder, ReadOptions};
use tilekv_tests::patience::wait_until;
use tilekv_tests::resp::{RespClient, RespReply};
use tilekv_tests::server_process::{ServerCommand, ServerProcess};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const START: i64 = 1_767_225_600_000;
const VIEW: &str = "VIEW.CREATE v TILE 1h COLUMNS 1 x:i64 FEATURES 2 n=count() s=sum(x)";

/// A server with the view `v`.
struct Store {
    folder: TempDir,
    server: ServerProcess,
    client: RespClient,
}

impl Store {
    fn start() -> Self {
        Self::with(VIEW)
    }

    fn with(view: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = ServerCommand::new(folder.path()).start();
        let mut client = RespClient::connect(server.address());
        assert_eq!(client.call(view).to_string(), "+OK");
        Self { folder, server, client }
    }

    fn say(&mut self, line: &str) -> String {
        self.client.call(line).to_string()
    }

    /// Says it and expects OK.
    fn ok(&mut self, line: &str) {
        assert_eq!(self.say(line), "+OK", "{line}");
    }

    /// Begins a job and gives its id.
    fn begin(&mut self, rest: &str) -> String {
        let reply = self.client.call(&format!("JOB.BEGIN v {rest}"));
        reply.text().to_owned()
    }

    /// Puts one row into a job.
    fn put(&mut self, job: &str, entity: &str, time: i64, x: i64) -> String {
        self.say(&format!("JOB.PUT {job} COLUMNS 1 x ROWS 1 {entity} {time} {x}"))
    }

    /// Count and sum of an entity over its life, as `n s`.
    fn read(&mut self, entity: &str) -> String {
        self.say(&format!("WINDOW.GET v {entity} n@lifetime s@lifetime"))
    }

    fn seals(&mut self) -> usize {
        self.client.call("SEAL.LIST v").items().len()
    }
}

fn day(number: i64) -> String {
    format!("{} {}", START + number * DAY, START + (number + 1) * DAY)
}

#[test]
fn an_empty_source_becomes_no_seal_and_clears_nothing() {
    let create = "VIEW.CREATE v TILE 1h MINROWS 3 COLUMNS 1 x:i64 FEATURES 2 n=count() s=sum(x)";
    let mut store = Store::with(create);
    assert_eq!(store.say(&format!("TILE.ADD v e {START} x 5")), ":1");
    let job = store.begin(&day(0));
    for (put, refusal) in [(false, "-EMPTYJOB "), (true, "-EMPTYJOB ")] {
        if put {
            assert_eq!(store.put(&job, "e", START, 1), ":1");
        }
        let refused = store.say(&format!("JOB.COMMIT {job}"));
        assert!(refused.starts_with(refusal), "{refused}");
        assert_eq!((store.read("e").as_str(), store.seals()), ("[:1 :5]", 0));
    }
    let refused = store.say(&format!("JOB.COMMIT {job} ROWS 2 EMPTY"));
    assert!(refused.starts_with("-ROWCOUNT "), "{refused}");
    assert_eq!((store.read("e").as_str(), store.seals()), ("[:1 :5]", 0));
    store.ok(&format!("JOB.COMMIT {job} ROWS 1 EMPTY"));
    assert_eq!((store.read("e").as_str(), store.seals()), ("[:1 :1]", 1));
    let empty = store.begin(&day(0));
    store.ok(&format!("JOB.COMMIT {empty} EMPTY"));
    assert_eq!((store.read("e").as_str(), store.seals()), ("[:0 $-1]", 1));
}

#[test]
fn replace_clears_the_whole_view_and_merge_adds() {
    let mut store = Store::start();
    for (entity, time, x) in
        [("a", START, 1), ("b", START + HOUR, 2), ("a", START + DAY, 4), ("b", START - 1, 8)]
    {
        assert_eq!(store.say(&format!("TILE.ADD v {entity} {time} x {x}")), ":1");
    }
    let job = store.begin(&day(0));
    assert_eq!(store.put(&job, "a", START + 2 * HOUR, 100), ":1");
    assert_eq!(store.put(&job, "c", START, 200), ":1");
    let add = |x: i64| format!("TILE.ADD v b {} x {x}", START + HOUR);
    assert_eq!(store.say(&add(16)), ":1");
    store.ok(&format!("JOB.COMMIT {job}"));
    let reads = |store: &mut Store| ["a", "b", "c"].map(|entity| store.read(entity));
    assert_eq!(reads(&mut store), ["[:2 :104]", "[:1 :8]", "[:1 :200]"]);
    assert_eq!(store.say(&add(32)), ":1");
    let job = store.begin(&format!("{} MODE merge", day(0)));
    assert_eq!(store.put(&job, "b", START, 64), ":1");
    let tile = format!("JOB.PUT {job} TILES 1 c {START} 2 n 3 s 300");
    assert_eq!(store.say(&tile), ":1");
    store.ok(&format!("JOB.COMMIT {job} NOSEAL"));
    assert_eq!(reads(&mut store), ["[:2 :104]", "[:3 :104]", "[:4 :500]"]);
    assert_eq!(store.seals(), 1, "the job of mode merge said NOSEAL");
}

#[test]
fn a_row_outside_the_range_refuses_its_put_alone() {
    let mut store = Store::start();
    let job = store.begin(&day(0));
    for time in [START - 1, START + DAY] {
        let refused =
            store.say(&format!("JOB.PUT {job} SEQ 1 COLUMNS 1 x ROWS 2 e {START} 1 e {time} 1"));
        assert!(refused.starts_with("-BADVALUE row 2"), "{refused}");
    }
    for time in [START, START + DAY - 1] {
        assert_eq!(store.put(&job, "e", time, 1), ":1");
    }
    assert_eq!(store.say(&format!("JOB.PUT {job} SEQ 1 COLUMNS 1 x ROWS 1 e {START} 7")), ":1");
    store.ok(&format!("JOB.COMMIT {job} ROWS 3"));
    assert_eq!(store.read("e"), "[:3 :9]");
}

#[test]
fn a_driver_may_repeat_everything() {
    let mut store = Store::start();
    let rest = format!("{} ID nightly", day(0));
    let job = store.begin(&rest);
    assert_eq!(store.begin(&rest), job);
    let put = |sequence: u64, x: i64| {
        format!("JOB.PUT {job} SEQ {sequence} COLUMNS 1 x ROWS 1 e {START} {x}")
    };
    for (sequence, x, taken) in
        [(7, 1, ":1"), (u64::MAX, 2, ":1"), (0, 4, ":1"), (7, 1, ":0"), (3, 8, ":1"), (0, 4, ":0")]
    {
        assert_eq!(store.say(&put(sequence, x)), taken, "SEQ {sequence}");
    }
    for _ in 0..2 {
        store.ok(&format!("JOB.COMMIT {job} ROWS 4"));
        assert_eq!(store.say(&put(100, 64)), ":0");
        assert_eq!(store.begin(&rest), job);
    }
    assert_eq!(store.read("e"), "[:4 :15]");
    let other = store.say(&format!("JOB.BEGIN v {} ID nightly", day(1)));
    assert!(other.starts_with("-BADVALUE "), "{other}");
    store.server.kill();
    let server = ServerCommand::new(store.folder.path()).start();
    let mut client = RespClient::connect(server.address());
    let again = client.call(&format!("JOB.BEGIN v {rest}"));
    assert_eq!(again.text(), job, "a token is known after a restart");
    assert_eq!(client.call(&format!("JOB.COMMIT {job}")).to_string(), "+OK");
    assert_eq!(client.call(&put(101, 64)).to_string(), ":0");
}

#[test]
fn an_open_job_is_gone_after_a_restart_an_abort_or_its_time_out() {
    let mut store = Store::start();
    let lost = store.begin(&day(0));
    assert_eq!(store.put(&lost, "e", START, 1), ":1");
    let aborted = store.begin(&day(0));
    assert_eq!(store.put(&aborted, "e", START, 2), ":1");
    store.ok(&format!("JOB.ABORT {aborted}"));
    let silent = store.begin(&format!("{} TIMEOUT 50ms", day(0)));
    wait_until("the silent job is given up", || !store.say("JOB.LIST").contains(&silent));
    let gone = |client: &mut RespClient, job: &str| {
        for line in ["JOB.INFO {}", "JOB.COMMIT {}", "JOB.ABORT {}", "JOB.PUT {} TILES 0"] {
            let line = line.replace("{}", job);
            assert_eq!(client.call(&line).code(), "NOJOB", "{line}");
        }
    };
    gone(&mut store.client, &aborted);
    gone(&mut store.client, &silent);
    store.server.kill();
    let server = ServerCommand::new(store.folder.path()).start();
    let mut client = RespClient::connect(server.address());
    gone(&mut client, &lost);
    let read = client.call("WINDOW.GET v e n@lifetime STATUS");
    assert_eq!(read.items()[0].items()[1].text(), "unseen");
}

#[test]
fn overlapping_jobs_apply_in_the_order_of_their_commits() {
    let mut store = Store::start();
    let first = store.begin(&day(0));
    let second = store.begin(&format!("{START} {}", START + 2 * HOUR));
    assert_eq!(store.put(&second, "e", START, 10), ":1");
    assert_eq!(store.put(&first, "e", START, 1), ":1");
    assert_eq!(store.put(&first, "e", START + 5 * HOUR, 2), ":1");
    store.ok(&format!("JOB.COMMIT {first}"));
    assert_eq!(store.read("e"), "[:2 :3]");
    store.ok(&format!("JOB.COMMIT {second}"));
    assert_eq!(store.read("e"), "[:2 :12]", "the second replaced two hours of the first");
}

#[test]
fn a_commit_seals_its_range_and_completes_a_new_feature() {
    let create = "VIEW.CREATE v TILE 1h SEAL required COLUMNS 1 x:i64 FEATURES 1 n=count()";
    let mut store = Store::with(create);
    let read = |store: &mut Store, selector: &str| {
        let at = START + 2 * DAY;
        let reply = store.client.call(&format!("WINDOW.GET v e {selector} AT {at} STATUS"));
        let parts = reply.items()[0].items();
        format!("{} {} {}", parts[0], parts[1].text(), parts[3].integer())
    };
    for number in [0, 1] {
        let job = store.begin(&day(number));
        assert_eq!(store.put(&job, "e", START + number * DAY, 5), ":1");
        store.ok(&format!("JOB.COMMIT {job}"));
        let end = START + (number + 1) * DAY;
        assert_eq!(read(&mut store, "n@1d"), format!(":1 ok {end}"));
    }
    store.ok("VIEW.ALTER v ADD FEATURES 1 s=sum(x)");
    assert!(read(&mut store, "s@2d").contains(" incomplete "));
    let job = store.begin(&format!("{START} {}", START + 2 * DAY));
    assert_eq!(store.put(&job, "e", START, 7), ":1");
    store.ok(&format!("JOB.COMMIT {job}"));
    assert_eq!(read(&mut store, "s@2d"), format!(":7 ok {}", START + 2 * DAY));
}

/// Entities that one batch asks for.
const ENTITIES: usize = 50;

#[test]
fn a_batch_sees_all_of_a_job_or_nothing_of_it() {
    let store = Store::start();
    let address = store.server.address();
    let is_over = AtomicBool::new(false);
    let reads = std::thread::scope(|scope| {
        let reader = scope.spawn(|| watch(address, &is_over));
        let client = connect(address);
        for version in 1..=40 {
            let mut job = client.begin_job(client.job(&view(), START, START + DAY)).unwrap();
            for part in 0..4_i64 {
                let entities = (0..ENTITIES).map(|number| format!("e{number}"));
                let times = vec![START + part * HOUR; ENTITIES];
                let rows = ColumnsBuilder::new(entities, times);
                let rows = rows.i64s("x", vec![version; ENTITIES]).unwrap().finish().unwrap();
                job.put(&rows).unwrap();
            }
            job.commit(CommitOptions::default().with_rows(job.rows())).unwrap();
        }
        is_over.store(true, Ordering::Release);
        reader.join().unwrap()
    });
    assert!(40 < reads, "{reads} reads");
}

/// Reads all entities at once until the end: each must have four rows of the same job, and no
/// batch may go back behind an earlier one. Gives how often.
fn watch(address: SocketAddr, is_over: &AtomicBool) -> u32 {
    let client = connect(address);
    let wanted = PlanBuilder::new().view("v", ["n@lifetime", "s@lifetime"]).unwrap();
    let plan = client.prepare(wanted).unwrap();
    let keys: Vec<String> = (0..ENTITIES).map(|number| format!("e{number}")).collect();
    let (mut reads, mut newest) = (0, 0);
    while !is_over.load(Ordering::Acquire) {
        let batch = plan.read(&keys, &ReadOptions::NOW).unwrap();
        let counts: Vec<_> = batch.column(0).i64s().into_iter().flatten().collect();
        let sums: Vec<_> = batch.column(1).i64s().into_iter().flatten().collect();
        assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
        assert!(sums.iter().all(|sum| *sum == sums[0]), "{sums:?}");
        let version = sums[0].unwrap_or(0) / 4;
        assert_eq!(counts[0], Some(if version == 0 { 0 } else { 4 }));
        assert!(newest <= version, "version {version} after {newest}");
        newest = version;
        reads += 1;
    }
    reads
}

fn connect(address: SocketAddr) -> Client {
    Client::connect(ClientOptions::new(address.to_string())).unwrap()
}

fn view() -> Name {
    Name::parse(b"v").unwrap()
}

/// Tiles of the large job: their states alone take several times the memory of the server.
const LARGE_TILES: i64 = 1_000_000;

#[test]
fn a_job_larger_than_the_memory_is_taken_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServerCommand::new(folder.path()).flags("--memory-max 64MiB").start();
    let client = connect(server.address());
    client.command(&VIEW.split(' ').collect::<Vec<_>>()).unwrap();
    let mut job = client.begin_job(client.job(&view(), START, START + 100 * HOUR)).unwrap();
    let per_put = 50_000;
    for put in 0..LARGE_TILES / per_put {
        let numbers = put * per_put..(put + 1) * per_put;
        // Every hour of an entity comes in another put, so that runs must be merged.
        let entities = numbers.clone().map(|n| format!("e{}", n % (LARGE_TILES / 100)));
        let times = numbers.clone().map(|n| START + n / (LARGE_TILES / 100) * HOUR).collect();
        let rows = ColumnsBuilder::new(entities, times).i64s("x", numbers.collect()).unwrap();
        job.put(&rows.finish().unwrap()).unwrap();
    }
    assert_eq!(job.rows(), u64::try_from(LARGE_TILES).unwrap());
    job.commit(CommitOptions::default().with_rows(job.rows())).unwrap();
    let wanted = PlanBuilder::new().view("v", ["n@lifetime", "s@lifetime"]).unwrap();
    let plan = client.prepare(wanted).unwrap();
    let numbers = [0, 1, 7_777, LARGE_TILES / 100 - 1];
    let keys = numbers.map(|number| format!("e{number}"));
    let batch = plan.read(&keys, &ReadOptions::NOW).unwrap();
    let sums: Vec<_> = batch.column(1).i64s().into_iter().flatten().flatten().collect();
    let sum = |n: i64| (0..100).map(|hour| n + hour * (LARGE_TILES / 100)).sum::<i64>();
    let expected = numbers.map(sum);
    assert_eq!(sums, expected);
    let resident = resident_bytes(&server);
    assert!(resident < 400 << 20, "{} MiB resident", resident >> 20);
}

fn resident_bytes(server: &ServerProcess) -> u64 {
    let metrics = server.http("/metrics").1;
    let line = metrics.lines().find(|line| line.starts_with("tilekv_memory_bytes{kind=\"resident"));
    let value = line.and_then(|line| line.rsplit(' ').next()).unwrap();
    value.parse().unwrap()
}

#[test]
fn figures_of_jobs_are_published() {
    let mut store = Store::start();
    let open = store.begin(&day(0));
    assert_eq!(store.put(&open, "e", START, 1), ":1");
    let committed = store.begin(&day(1));
    assert_eq!(store.put(&committed, "e", START + DAY, 1), ":1");
    let refused = store.say(&format!("JOB.COMMIT {committed} ROWS 9"));
    assert!(refused.starts_with("-ROWCOUNT "), "{refused}");
    store.ok(&format!("JOB.COMMIT {committed}"));
    let aborted = store.begin(&day(2));
    store.ok(&format!("JOB.ABORT {aborted}"));
    let (_, metrics) = store.server.http("/metrics");
    for line in [
        "tilekv_jobs{state=\"open\"} 1",
        "tilekv_jobs{state=\"committed\"} 1",
        "tilekv_job_rows{state=\"open\"} 1",
        "tilekv_job_events_total{event=\"begun\"} 3",
        "tilekv_job_events_total{event=\"refused\"} 1",
        "tilekv_job_events_total{event=\"aborted\"} 1",
        "tilekv_job_rows_taken_total 2",
        "tilekv_view_last_job_rows{view=\"v\"} 1",
        "tilekv_job_queue_bytes 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
}

#[test]
fn replies_come_in_order_while_workers_are_busy() {
    let mut store = Store::start();
    let jobs = [0, 1].map(|number| store.begin(&day(number)));
    let mut lines = Vec::new();
    for number in 0..200_i64 {
        let (job, time) = (&jobs[usize::from(number % 2 == 1)], START + number % 2 * DAY);
        lines.push(format!("JOB.PUT {job} SEQ {number} COLUMNS 1 x ROWS 1 e {time} {number}"));
        lines.push(format!("ECHO {number}"));
    }
    let replies = store.client.pipeline(lines);
    let replies: Vec<String> = replies.iter().map(RespReply::to_string).collect();
    for (number, pair) in replies.chunks(2).enumerate() {
        assert_eq!(pair, [":1".to_owned(), format!("\"{number}\"")]);
    }
}
