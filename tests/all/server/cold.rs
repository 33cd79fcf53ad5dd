//! Data larger than memory, in a control group that would kill a server that takes more: every
//! answer is right, and reads of what is in memory go on beside those that wait for the disk.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tilekv_tests::control_group::MemoryGroup;
use tilekv_tests::patience::pause;
use tilekv_tests::resp::RespClient;
use tilekv_tests::server_process::{ServerCommand, ServerProcess};

/// The variable that says how many mebibytes of data are stored; the memory is a quarter of it.
const SIZE_VARIABLE: &str = "TILEKV_COLD_MIB";
const MIB_USUAL: u64 = 384;
const VALUE_BYTES: usize = 1_000;
const BATCH_ROWS: u64 = 500;
const HOT_ENTITIES: u64 = 100;
const VIEW: &str = "VIEW.CREATE v TILE 1m COLUMNS 1 s:str FEATURES 1 s=last(s)";

#[test]
fn a_store_four_times_its_memory_answers_right_and_is_never_killed() {
    let mib = std::env::var(SIZE_VARIABLE).ok().map_or(MIB_USUAL, |mib| mib.parse().unwrap());
    let entities = (mib << 20) / u64::try_from(VALUE_BYTES).unwrap();
    let group = MemoryGroup::new("tilekv-cold", (mib / 4) << 20);
    let folder = tempfile::tempdir().unwrap();
    let command = ServerCommand::new(folder.path())
        .flags(&format!("--durability interval --memory-max {}MiB --threads 1", mib / 8));
    let mut server = start(&command, &group);
    let mut client = RespClient::connect(server.address());
    assert_eq!(client.call(VIEW).to_string(), "+OK");
    fill(&mut client, entities);
    check(&mut client, entities, 2_000);
    let reads = race(&server, entities);
    println!(
        "{mib} MiB in {} MiB, at most {} MiB taken: hot reads alone p50 {:?} p99 {:?}, beside \
         {} cold ones p50 {:?} p99 {:?}",
        mib / 4,
        group.peak_bytes() >> 20,
        reads.alone.0,
        reads.alone.1,
        reads.cold_count,
        reads.beside.0,
        reads.beside.1,
    );
    let page = server.http("/metrics").1;
    assert!(0 < metric(&page, "tilekv_cold_pages_read_total"), "nothing was read from disk");
    assert!((mib << 20) / 2 < metric(&page, "tilekv_cold_bytes"), "too little is cold");
    server.terminate();
    let server = start(&command, &group);
    check(&mut RespClient::connect(server.address()), entities, 500);
    assert_eq!(group.kill_count(), 0);
}

fn start(command: &ServerCommand, group: &MemoryGroup) -> ServerProcess {
    let server = command.start();
    group.take(server.id());
    server
}

/// The value of an entity: the same whenever it is asked for, and hard to compress.
fn value(entity: u64) -> String {
    let mut state = entity.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut text = String::with_capacity(VALUE_BYTES + 16);
    while text.len() < VALUE_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        write!(text, "{state:016x}").unwrap();
    }
    text.truncate(VALUE_BYTES);
    text
}

fn fill(client: &mut RespClient, entities: u64) {
    for first in (0..entities).step_by(usize::try_from(BATCH_ROWS).unwrap()) {
        let batch = first..(first + BATCH_ROWS).min(entities);
        let mut words: Vec<String> =
            ["TILE.MADD", "v", "COLUMNS", "1", "s", "ROWS"].map(str::to_owned).to_vec();
        words.push((batch.end - batch.start).to_string());
        for entity in batch.clone() {
            words.extend([format!("e{entity}"), "1000".to_owned(), value(entity)]);
        }
        loop {
            let reply = client.call_arguments(&words);
            if reply.to_string() == format!(":{}", batch.end - batch.start) {
                break;
            }
            assert_eq!(reply.code(), "BUSY", "{reply}");
            pause();
        }
    }
}

/// Reads entities from all over the store.
fn check(client: &mut RespClient, entities: u64, count: u64) {
    for read in 0..count {
        read_one(client, read.wrapping_mul(0x9E37_79B9) % entities);
    }
}

fn read_one(client: &mut RespClient, entity: u64) {
    let name = format!("e{entity}");
    let reply = client.call_arguments(&["WINDOW.GET", "v", &name, "s@lifetime"]);
    let text = reply.items()[0].text();
    assert!(text.contains(&value(entity)), "entity {entity}: {text}");
}

/// Median and 99th percentile.
type Times = (Duration, Duration);

struct Reads {
    alone: Times,
    beside: Times,
    cold_count: u64,
}

/// Times hot reads without and with two connections that read from all over the store.
fn race(server: &ServerProcess, entities: u64) -> Reads {
    let alone = hot_times(server.address(), entities);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (is_over, address) = (&is_over, server.address());
        let cold = move |seed: u64| {
            let mut client = RespClient::connect(address);
            let mut count = 0;
            while !is_over.load(Ordering::Relaxed) {
                read_one(&mut client, (seed + count).wrapping_mul(0x9E37_79B9) % entities);
                count += 1;
            }
            count
        };
        let readers = [1_000_000, 2_000_000].map(|seed| scope.spawn(move || cold(seed)));
        let beside = hot_times(server.address(), entities);
        is_over.store(true, Ordering::Relaxed);
        let cold_count = readers.map(|reader| reader.join().unwrap()).iter().sum();
        Reads { alone, beside, cold_count }
    })
}

fn hot_times(address: SocketAddr, entities: u64) -> Times {
    let mut client = RespClient::connect(address);
    let mut times: Vec<Duration> = (0..5_000)
        .map(|read| {
            let started = Instant::now();
            read_one(&mut client, entities - 1 - read % HOT_ENTITIES);
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() / 100 * 99])
}

fn metric(page: &str, name: &str) -> u64 {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in:\n{page}"))
}
