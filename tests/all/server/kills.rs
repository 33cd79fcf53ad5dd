//! `kill -9` in the middle of loads, again and again: everything acknowledged counts once, nothing
//! counts twice, and no read goes back behind an earlier one.
//!
//! Three producers write sequences 1, 2, .. in order: one event batches and one merges over the
//! client library, one `TILE.MADD` from a process of its own. Sequence `n` of a producer adds one
//! row with the amount `n` to the entity that bears its name, so that at any moment the sum of
//! that entity must be n (n + 1) / 2 where its count is n.

use super::kill_writers::{ENTITIES, PythonWriter, VIEW, VIEW_COMMAND, merge, send, write_until};
use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Scope, park_timeout};
use std::time::{Duration, Instant};
use tilekv_tests::patience::{pause, wait_until};
use tilekv_tests::resp::{RespClient, RespReply};
use tilekv_tests::seed;
use tilekv_tests::server_process::{ServerCommand, ServerProcess, kill};

const KILLS: u32 = 100;
const PRODUCERS: [&str; 3] = ["events", "merges", "told"];
/// Sequences that must be acknowledged after a restart before the next kill.
const PROGRESS: u64 = 60;

#[test]
fn kill_9_loses_nothing_and_doubles_nothing_under_always() {
    kill_again_and_again("always", "127.0.1.1");
}

#[test]
fn kill_9_loses_nothing_and_doubles_nothing_under_interval() {
    kill_again_and_again("interval", "127.0.1.2");
}

/// What was acknowledged to each producer, and whether they are to stop.
#[derive(Debug, Default)]
struct Book {
    acknowledged: [AtomicU64; PRODUCERS.len()],
    is_over: AtomicBool,
}

impl Book {
    fn total(&self) -> u64 {
        self.acknowledged.iter().map(|count| count.load(Ordering::Acquire)).sum()
    }
}

/// Sets the flag also when a thread fails, so that the others end and the failure shows.
struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Each mode has an address of its own, so that nothing else takes the port while no server is up.
fn kill_again_and_again(durability: &str, host: &str) {
    let mut generator = seed::generator(seed::draw(&format!("kills, {durability}")));
    let folder = tempfile::tempdir().unwrap();
    let command = server_command(folder.path(), durability, host);
    let mut server = command.start();
    let address = server.address();
    let command = command.flags(&format!("--port {}", address.port()));
    let created = RespClient::connect(address).call(VIEW_COMMAND);
    assert_eq!(created.to_string(), "+OK");
    let book = Book::default();
    let began = Instant::now();
    let reads = std::thread::scope(|scope| {
        let end = EndOnDrop(&book.is_over);
        start_writers(scope, address, &book);
        let reader = scope.spawn(|| {
            let _end = EndOnDrop(&book.is_over);
            read_until_over(address, &book)
        });
        let mut kill_count = 0;
        while kill_count < KILLS && !book.is_over.load(Ordering::Acquire) {
            kill_count += kill_once(&command, &mut server, &book, &mut generator);
        }
        drop(end);
        reader.join().unwrap()
    });
    let lasts = book.acknowledged.each_ref().map(|count| count.load(Ordering::Acquire));
    check_everything(address, lasts);
    println!(
        "{durability}: {KILLS} kills in {:.1?}, sequences {lasts:?} applied once, {reads} reads",
        began.elapsed()
    );
    assert!(lasts.iter().all(|last| u64::from(KILLS) < *last));
}

/// Little memory, so that flushes and compactions are killed too.
fn server_command(folder: &Path, durability: &str, host: &str) -> ServerCommand {
    let flags = format!("--bind {host} --durability {durability} --memory-max 32MiB");
    ServerCommand::new(folder).flags(&flags)
}

fn start_writers<'scope, 'a: 'scope>(
    scope: &'scope Scope<'scope, 'a>,
    address: SocketAddr,
    book: &'a Book,
) {
    let Book { acknowledged: [events, merges, told], is_over } = book;
    scope.spawn(move || {
        let _end = EndOnDrop(is_over);
        write_until(is_over, address, PRODUCERS[0], events, send);
    });
    scope.spawn(move || {
        let _end = EndOnDrop(is_over);
        write_until(is_over, address, PRODUCERS[1], merges, merge);
    });
    scope.spawn(move || {
        let _end = EndOnDrop(is_over);
        PythonWriter::start(address, PRODUCERS[2]).follow(is_over, told);
    });
}

/// Kills the server while writes are under way, and in one of four cases also its successor while
/// that one recovers. Gives how many were killed.
fn kill_once(
    command: &ServerCommand,
    server: &mut ServerProcess,
    book: &Book,
    generator: &mut Xoshiro256PlusPlus,
) -> u32 {
    let goal = book.total() + PROGRESS;
    let is_over = || book.is_over.load(Ordering::Acquire);
    wait_until("writes go on after a restart", || goal <= book.total() || is_over());
    park_timeout(Duration::from_micros(generator.random_range(0..300_000)));
    server.kill();
    let mut kill_count = 1;
    if generator.random_ratio(1, 4) {
        let mut recovering = command.spawn();
        park_timeout(Duration::from_micros(generator.random_range(0..60_000)));
        kill(&mut recovering);
        kill_count += 1;
    }
    *server = command.start();
    kill_count
}

/// Reads until the end; gives how often.
fn read_until_over(address: SocketAddr, book: &Book) -> u64 {
    let mut seen = [0; PRODUCERS.len()];
    let mut reads = 0;
    let mut connection = None;
    while !book.is_over.load(Ordering::Acquire) {
        let Ok(client) = connection.take().map_or_else(|| RespClient::try_connect(address), Ok)
        else {
            pause();
            continue;
        };
        connection = read_once(client, book, &mut seen);
        reads += u64::from(connection.is_some());
    }
    reads
}

/// Reads every producer's own entity; gives the connection back unless it was lost.
fn read_once(
    mut client: RespClient,
    book: &Book,
    seen: &mut [u64; PRODUCERS.len()],
) -> Option<RespClient> {
    for ((producer, acknowledged), seen) in PRODUCERS.iter().zip(&book.acknowledged).zip(seen) {
        let acknowledged = acknowledged.load(Ordering::Acquire);
        client
            .try_send(format!("WINDOW.GET {VIEW} {producer} n@lifetime s@lifetime\r\n").as_bytes())
            .ok()?;
        let (count, sum) = count_and_sum(&client.try_receive().ok()?);
        assert_eq!(sum, count * (count + 1) / 2, "{producer}: {count} rows, each once");
        assert!(*seen <= count, "{producer}: {count} rows after a read of {seen}");
        assert!(acknowledged <= count, "{producer}: {count} rows, acknowledged {acknowledged}");
        *seen = count;
    }
    Some(client)
}

/// Every counter, worked out from the last sequences.
fn check_everything(address: SocketAddr, lasts: [u64; PRODUCERS.len()]) {
    let mut client = RespClient::connect(address);
    for (producer, last) in PRODUCERS.iter().zip(lasts) {
        let known = client.call(&format!("PRODUCER.GET {VIEW} {producer}"));
        assert_eq!(known, RespReply::Integer(i64::try_from(last).unwrap()), "{producer}");
        let read = client.call(&format!("WINDOW.GET {VIEW} {producer} n@lifetime s@lifetime"));
        assert_eq!(count_and_sum(&read), (last, last * (last + 1) / 2), "{producer}");
    }
    let [events, _, told] = lasts;
    for entity in 0..ENTITIES {
        let sequences = (1..=events).chain(1..=told).filter(|n| n % ENTITIES == entity);
        let expected = sequences.fold((0, 0), |(count, sum), n| (count + 1, sum + n));
        let read = client.call(&format!("WINDOW.GET {VIEW} e{entity} n@lifetime s@lifetime"));
        assert_eq!(count_and_sum(&read), expected, "e{entity}");
    }
}

fn count_and_sum(reply: &RespReply) -> (u64, u64) {
    let [count, sum] = reply.items() else { panic!("expected two values, got {reply}") };
    let sum = if *sum == RespReply::NilBulk { 0 } else { sum.integer() };
    (u64::try_from(count.integer()).unwrap(), u64::try_from(sum).unwrap())
}
