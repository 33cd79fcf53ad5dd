//! Producers that go on writing whatever happens to their server, and tell what was acknowledged.
//! They know nothing of kills.

use bytes::Bytes;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tilekv_client::blocking::{Client, Producer};
use tilekv_client::{Backoff, ClientError, ClientOptions, ColumnsBuilder, Handed, TilePartials};
use tilekv_tests::patience::DEADLINE;
use tilekv_tests::repository;
use tilekv_tile::{Identifier, Name};

/// The view that is written.
pub(super) const VIEW: &str = "kills";
/// What creates it.
pub(super) const VIEW_COMMAND: &str = "VIEW.CREATE kills TILE 1m EDGE live \
    COLUMNS 1 amount:i64 FEATURES 3 n=count() c=count(amount) s=sum(amount)";
/// Entities `e0`, `e1`, .. that event batches of all producers share: sequence n goes to n modulo
/// their number.
pub(super) const ENTITIES: u64 = 11;

/// Tiles that a producer writes in turn, as in tests/kills/writer.py.
const TILES: i64 = 500;
const TILE_MS: i64 = 60_000;
const FIRST_TILE: i64 = 1_700_000_000_000 / TILE_MS;
/// A producer is opened anew after so many sequences, as if its process had been restarted.
const REOPEN_EVERY: u64 = 5_000;

/// How a producer hands over a sequence.
pub(super) type Hand = fn(&mut Producer, id: &str, sequence: u64) -> Result<Handed, ClientError>;

/// Writes sequences until it is over, and then waits until all are acknowledged.
pub(super) fn write_until(
    is_over: &AtomicBool,
    address: SocketAddr,
    id: &str,
    acknowledged: &AtomicU64,
    hand: Hand,
) {
    let client = persist(|| Client::connect(options(address)));
    let mut last = 0;
    while !is_over.load(Ordering::Acquire) {
        let mut producer = persist(|| client.producer(&view(), id.to_owned()));
        let known = producer.last().unwrap_or(0);
        assert!(last <= known, "{id}: {last} was acknowledged, the server knows {known}");
        for sequence in (known + 1..).take_while(|n| *n <= known + REOPEN_EVERY) {
            persist(|| hand(&mut producer, id, sequence));
            acknowledged.store(producer.last().unwrap_or(0), Ordering::Release);
            if is_over.load(Ordering::Acquire) {
                break;
            }
        }
        persist(|| producer.flush());
        last = producer.last().unwrap_or(0);
        acknowledged.store(last, Ordering::Release);
    }
}

/// An event for the producer's own entity, and one for an entity that all share.
pub(super) fn send(
    producer: &mut Producer,
    id: &str,
    sequence: u64,
) -> Result<Handed, ClientError> {
    let number = i64::try_from(sequence).unwrap();
    let entities = [id.to_owned(), format!("e{}", sequence % ENTITIES)];
    let rows = ColumnsBuilder::new(entities, vec![timestamp(number); 2])
        .i64s("amount", vec![number; 2])?
        .finish()?;
    producer.send(sequence, rows)
}

/// A partial of one row for the producer's own entity.
pub(super) fn merge(
    producer: &mut Producer,
    id: &str,
    sequence: u64,
) -> Result<Handed, ClientError> {
    let number = i64::try_from(sequence).unwrap();
    let partials = [("n", 1), ("c", 1), ("s", number)].map(|(feature, partial)| {
        let feature = Identifier::parse(feature.as_bytes()).unwrap();
        (feature, Bytes::from(partial.to_string()))
    });
    let tile = TilePartials {
        entity: Bytes::from(id.to_owned()),
        tile_start: timestamp(number),
        partials: partials.into(),
    };
    producer.merge_tile(sequence, tile)
}

/// tests/kills/writer.py
#[derive(Debug)]
pub(super) struct PythonWriter {
    child: Child,
}

impl PythonWriter {
    /// Starts it.
    pub(super) fn start(address: SocketAddr, id: &str) -> Self {
        let script = repository::root().join("tests/kills/writer.py");
        let child = Command::new("python3")
            .arg(script)
            .args([&address.ip().to_string(), &address.port().to_string(), VIEW, id])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("start python3: {error}"));
        Self { child }
    }

    /// Reads its log until it is over and the writer has ended, which it must do with success.
    pub(super) fn follow(mut self, is_over: &AtomicBool, acknowledged: &AtomicU64) {
        let mut input = self.child.stdin.take();
        let mut ended = None;
        for line in BufReader::new(self.child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let (word, number) = line.split_once(' ').unwrap();
            acknowledged.store(number.parse().unwrap(), Ordering::Release);
            ended = (word == "end").then_some(());
            if is_over.load(Ordering::Acquire) {
                input = None;
            }
        }
        drop(input);
        let status = self.child.wait().unwrap();
        assert!(status.success() && ended.is_some(), "{status}");
    }
}

impl Drop for PythonWriter {
    fn drop(&mut self) {
        // An error is a process that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tries again what fails because there is no server at the moment.
fn persist<T>(mut attempt: impl FnMut() -> Result<T, ClientError>) -> T {
    let began = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(ClientError::Connect { .. } | ClientError::Lost { .. })
                if began.elapsed() < DEADLINE => {}
            Err(error) => panic!("after {:.1?}: {error}", began.elapsed()),
        }
    }
}

/// Gives up early, so that the test meets the errors that a program meets.
fn options(address: SocketAddr) -> ClientOptions {
    let backoff = Backoff::exponential(Duration::from_millis(2), Duration::from_millis(20), 4);
    ClientOptions::new(address.to_string()).with_backoff(backoff)
}

fn timestamp(number: i64) -> i64 {
    (FIRST_TILE + number % TILES) * TILE_MS
}

fn view() -> Name {
    Name::parse(VIEW.as_bytes()).unwrap()
}
