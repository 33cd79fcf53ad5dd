//! `kill -9` at random points of jobs: what is committed is all there, what is not leaves nothing.
//!
//! Job `n` replaces the whole range with rows that carry the value `n`, each run of a driver that
//! goes on after a kill as `docs/jobs.md` tells it to. So every state that a reader may find is
//! that of one job: the last that was acknowledged, or the one after it.

use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tilekv_tests::patience::{pause, wait_until};
use tilekv_tests::resp::{RespClient, RespReply, command};
use tilekv_tests::seed;
use tilekv_tests::server_process::ServerCommand;

const KILLS: u32 = 20;
const VIEW: &str = "VIEW.CREATE v TILE 1h COLUMNS 1 x:i64 FEATURES 2 n=count() s=sum(x)";
const ROWS_PER_PUT: u64 = 500;
const PUTS: u64 = 6;
const DAY: i64 = 86_400_000;

#[test]
fn a_kill_leaves_all_of_a_job_or_nothing() {
    let mut generator = seed::generator(seed::draw("kills of jobs"));
    let folder = tempfile::tempdir().unwrap();
    let command = ServerCommand::new(folder.path()).flags("--bind 127.0.1.3 --memory-max 32MiB");
    let mut server = command.start();
    let address = server.address();
    let command = command.flags(&format!("--port {}", address.port()));
    assert_eq!(RespClient::connect(address).call(VIEW).to_string(), "+OK");
    let (committed, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let began = Instant::now();
    std::thread::scope(|scope| {
        let driver = scope.spawn(|| drive(address, &committed, &is_over));
        for _ in 0..KILLS {
            let goal = committed.load(Ordering::Acquire) + 1;
            wait_until("jobs go on after a restart", || {
                goal <= committed.load(Ordering::Acquire) || driver.is_finished()
            });
            kill_soon(&mut generator);
            server.kill();
            server = command.start();
            check(address, &committed);
        }
        is_over.store(true, Ordering::Release);
        driver.join().unwrap();
    });
    let last = committed.load(Ordering::Acquire);
    println!("{KILLS} kills in {:.1?}, {last} jobs committed", began.elapsed());
    assert!(u64::from(KILLS) <= last);
    check(address, &committed);
}

fn kill_soon(generator: &mut Xoshiro256PlusPlus) {
    std::thread::park_timeout(Duration::from_micros(generator.random_range(0..60_000)));
}

/// Commits one job after the other until it is told to stop, whatever becomes of the server.
fn drive(address: SocketAddr, committed: &AtomicU64, is_over: &AtomicBool) {
    let mut number = 1;
    while !is_over.load(Ordering::Acquire) {
        match run_job(address, number) {
            Some(()) => {
                committed.store(number, Ordering::Release);
                number += 1;
            }
            None => pause(),
        }
    }
}

/// One attempt at a job; none where the server was lost on the way, or the job with it.
fn run_job(address: SocketAddr, number: u64) -> Option<()> {
    let mut client = RespClient::try_connect(address).ok()?;
    let begun = say(&mut client, &format!("JOB.BEGIN v 0 {DAY} ID job-{number}"))?;
    let job = begun.text().to_owned();
    for put in 0..PUTS {
        let count = ROWS_PER_PUT.to_string();
        let sequence = put.to_string();
        let mut words: Vec<String> =
            ["JOB.PUT", &job, "SEQ", &sequence, "COLUMNS", "1", "x", "ROWS", &count]
                .map(str::to_owned)
                .to_vec();
        for row in 0..ROWS_PER_PUT {
            let time = put * 3_600_000 + row;
            words.extend([format!("e{}", row % 10), time.to_string(), number.to_string()]);
        }
        client.try_send(&command(&words)).ok()?;
        let taken = client.try_receive().ok()?;
        if taken.code() == "NOJOB" {
            return None;
        }
        assert!(matches!(taken, RespReply::Integer(0 | 500)), "{taken}");
    }
    let rows = PUTS * ROWS_PER_PUT;
    let done = say(&mut client, &format!("JOB.COMMIT {job} ROWS {rows}"))?;
    if done.code() == "NOJOB" {
        return None;
    }
    assert_eq!(done.to_string(), "+OK");
    Some(())
}

fn say(client: &mut RespClient, line: &str) -> Option<RespReply> {
    client.try_send(&command(&line.split(' ').collect::<Vec<_>>())).ok()?;
    client.try_receive().ok()
}

/// All entities have all rows of one job, which is the last acknowledged one or the next.
fn check(address: SocketAddr, committed: &AtomicU64) {
    let acknowledged = committed.load(Ordering::Acquire);
    let mut client = RespClient::connect(address);
    let entities: Vec<String> = (0..10).map(|number| format!("e{number}")).collect();
    let line = format!(
        "WINDOW.MGET v ENTITIES 10 {} SELECTORS 2 n@lifetime s@lifetime",
        entities.join(" ")
    );
    let answer = client.call(&line);
    let rows = PUTS * ROWS_PER_PUT / 10;
    let first = answer.items()[0].to_string();
    for entity in answer.items() {
        assert_eq!(entity.to_string(), first, "each entity is of the same job: {answer}");
    }
    let [count, sum] = answer.items()[0].items() else { panic!("two values: {answer}") };
    assert_eq!(count.integer(), i64::try_from(rows).unwrap(), "{answer}");
    let found = u64::try_from(sum.integer()).unwrap() / rows;
    let next = committed.load(Ordering::Acquire) + 1;
    assert!((acknowledged..=next).contains(&found), "job {found} after {acknowledged}");
}
