//! Owns the measurement of what stored tiles take: memory and disk per tile, and the time from the
//! start of a process to its first right answer, beside Redis with the same tiles. Knows nothing of
//! throughput.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::dataset::entity_name;
use crate::error::{BenchError, Doing};
use crate::machine::{Cores, now_ms, resident_bytes};
use crate::peer::{Peer, PeerDurability, Places};
use crate::random::Random;
use crate::resp::{Item, put, whole_reply};
use crate::workload::fill::{Pipeline, ask};

/// What tiles are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Its name.
    pub name: &'static str,
    /// How many entities there are.
    pub entities: u32,
    /// Tiles of time that an entity may have.
    pub tiles: u32,
    /// How many of 100 are there.
    pub fill_percent: u32,
    /// The length of a tile, as the contract writes it, and in milliseconds.
    pub tile: (&'static str, i64),
    /// What sums and maxima are like.
    pub values: Values,
}

/// What the doubles of a tile are like, by a random integer k of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// A sum of k * 0.5 and a maximum of k + 0.25, with k below this.
    Quarters(u32),
    /// All 53 bits of a double, at random.
    FullMantissas,
}

/// The shapes that are measured: short, sparse and long histories, larger values, and doubles that
/// nothing shortens.
pub const SHAPES: [Shape; 5] = [
    Shape {
        name: "1,000,000 x 10 days",
        entities: 1_000_000,
        tiles: 10,
        fill_percent: 100,
        tile: ("1d", DAY_MS),
        values: Values::Quarters(10_000),
    },
    Shape {
        name: "20,000 x 27 of 90 days",
        entities: 20_000,
        tiles: 90,
        fill_percent: 30,
        tile: ("1d", DAY_MS),
        values: Values::Quarters(10_000),
    },
    Shape {
        name: "300 x 43,200 minutes",
        entities: 300,
        tiles: 43_200,
        fill_percent: 100,
        tile: ("1m", MINUTE_MS),
        values: Values::Quarters(10_000),
    },
    Shape {
        name: "1,000,000 x 10 days, k below 1,000,000",
        entities: 1_000_000,
        tiles: 10,
        fill_percent: 100,
        tile: ("1d", DAY_MS),
        values: Values::Quarters(1_000_000),
    },
    Shape {
        name: "1,000,000 x 10 days, full doubles",
        entities: 1_000_000,
        tiles: 10,
        fill_percent: 100,
        tile: ("1d", DAY_MS),
        values: Values::FullMantissas,
    },
];

/// One stored tile.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Tile {
    start_ms: i64,
    sum: f64,
    count: u64,
    max: f64,
}

/// What one server takes for one shape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Footprint {
    /// Tiles stored.
    pub tiles: u64,
    /// The resident memory of the process, once every entity was read.
    pub memory_bytes: u64,
    /// The bytes of the data folder's files.
    pub disk_bytes: u64,
    /// From the start of the process on this data to its first right answer.
    pub restart: Duration,
}

/// Measures one shape in TileKV, in Redis hashes and in Redis blobs.
pub fn measure(shape: Shape, places: &Places) -> Result<[Footprint; 3], BenchError> {
    places.check()?;
    Ok([
        measure_tilekv(shape, places)?,
        measure_redis(shape, places, Form::Hash)?,
        measure_redis(shape, places, Form::Blob)?,
    ])
}

/// The lines of a table: one for each contender.
#[must_use]
pub fn table_lines(shape: Shape, measured: &[Footprint; 3]) -> Vec<String> {
    ["TileKV", "Redis hash", "Redis blob"]
        .iter()
        .zip(measured)
        .map(|(contender, taken)| {
            format!(
                "| {} | {contender} | {:.1} | {:.1} | {:.2} |",
                shape.name,
                per_tile(taken.memory_bytes, taken.tiles),
                per_tile(taken.disk_bytes, taken.tiles),
                taken.restart.as_secs_f64()
            )
        })
        .collect()
}

/// The head of that table.
pub const TABLE_HEAD: &str = "\
    | tiles | store | memory, bytes per tile | disk, bytes per tile | restart, s |\n\
    |---|---|---|---|---|";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A hash per entity, a field per tile.
    Hash,
    /// A string per entity that holds all its tiles.
    Blob,
}

impl Shape {
    /// The same shape with so many times fewer entities, but at least one.
    #[must_use]
    pub fn divided(self, divisor: u32) -> Self {
        Self { entities: (self.entities / divisor.max(1)).max(1), ..self }
    }

    fn edge_ms(self) -> i64 {
        now_ms().div_euclid(self.tile.1) * self.tile.1
    }

    /// The tiles of an entity, ascending; `edge_ms` is the end of the newest.
    fn tiles_of(self, entity: u32, edge_ms: i64) -> impl Iterator<Item = Tile> {
        let mut random = Random::of(&[SEED, u64::from(entity)]);
        let oldest = edge_ms - i64::from(self.tiles) * self.tile.1;
        (0..self.tiles).filter_map(move |at| {
            if self.fill_percent <= random.below(100) {
                return None;
            }
            let (sum, max) = match self.values {
                Values::Quarters(bound) => {
                    let k = f64::from(random.below(bound));
                    (k * 0.5, k + 0.25)
                }
                Values::FullMantissas => {
                    (full_double(random.next_bits()), full_double(random.next_bits()))
                }
            };
            let start_ms = oldest + i64::from(at) * self.tile.1;
            Some(Tile { start_ms, sum, count: u64::from(1 + random.below(9)), max })
        })
    }

    fn tile_count(self, edge_ms: i64) -> u64 {
        let count = |entity| u64::try_from(self.tiles_of(entity, edge_ms).count());
        (0..self.entities).map(|entity| count(entity).unwrap_or(u64::MAX)).sum()
    }
}

fn measure_tilekv(shape: Shape, places: &Places) -> Result<Footprint, BenchError> {
    let edge_ms = shape.edge_ms();
    let mut peer = Peer::tilekv(places, Cores::find()?, PeerDurability::None)?;
    let mut pipeline = Pipeline::connect(peer.address, "tilekv over RESP")?;
    pipeline.create_view(VIEW, shape.tile.0)?;
    for entity in 0..shape.entities {
        let name = entity_name(entity);
        for tile in shape.tiles_of(entity, edge_ms) {
            let (start, sum) = (tile.start_ms.to_string(), tile.sum.to_string());
            let (count, max) = (tile.count.to_string(), tile.max.to_string());
            pipeline.put(&[
                b"TILE.SET",
                VIEW.as_bytes(),
                name.as_bytes(),
                start.as_bytes(),
                b"total",
                sum.as_bytes(),
                b"payments",
                count.as_bytes(),
                b"peak",
                max.as_bytes(),
            ])?;
        }
    }
    pipeline.finish()?;
    peer.stop()?;
    let began = Instant::now();
    peer.start_again()?;
    check_counts(&peer, shape, 0..1, edge_ms)?;
    let restart = began.elapsed();
    check_counts(&peer, shape, 0..shape.entities, edge_ms)?;
    Ok(Footprint {
        tiles: shape.tile_count(edge_ms),
        memory_bytes: resident_bytes(peer.process()).unwrap_or(0),
        disk_bytes: folder_bytes(&peer.folder().join("data"))?,
        restart,
    })
}

/// Reads the number of rows of each entity, and checks it.
fn check_counts(
    peer: &Peer,
    shape: Shape,
    entities: Range<u32>,
    edge_ms: i64,
) -> Result<(), BenchError> {
    let connecting = || format!("connect to {}", peer.address);
    let mut stream = TcpStream::connect(peer.address).doing(connecting())?;
    let mut out = BytesMut::new();
    for first in entities.clone().step_by(READ_ENTITIES) {
        let batch: Vec<u32> = (first..entities.end).take(READ_ENTITIES).collect();
        let names: Vec<String> = batch.iter().map(|entity| entity_name(*entity)).collect();
        let count = batch.len().to_string();
        let mut arguments: Vec<&[u8]> =
            vec![b"WINDOW.MGET", VIEW.as_bytes(), b"ENTITIES", count.as_bytes()];
        arguments.extend(names.iter().map(|name| name.as_bytes()));
        arguments.extend([&b"SELECTORS"[..], b"1", b"payments@lifetime"]);
        out.clear();
        put(&mut out, &arguments);
        stream.write_all(&out).doing("send a read")?;
        let found = read_integers(&mut stream)?;
        let rows = |entity: &u32| shape.tiles_of(*entity, edge_ms).map(|tile| tile.count).sum();
        let expected: Vec<u64> = batch.iter().map(rows).collect();
        if found != expected {
            let (expected, found) = (format!("{expected:?}"), format!("{found:?}"));
            return Err(BenchError::WrongAnswer { peer: "tilekv over RESP", expected, found });
        }
    }
    Ok(())
}

/// The integers of one reply.
fn read_integers(stream: &mut TcpStream) -> Result<Vec<u64>, BenchError> {
    let mut input = Vec::new();
    let mut buffer = [0; 65_536];
    loop {
        let count = stream.read(&mut buffer).doing("receive an answer")?;
        if count == 0 {
            let closed = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
            return Err(closed).doing("receive an answer");
        }
        input.extend_from_slice(&buffer[..count]);
        if let Some((items, _)) = whole_reply(&input) {
            let integers = items.iter().filter_map(|item| match item {
                Item::Integer(integer) => u64::try_from(*integer).ok(),
                _ => None,
            });
            return Ok(integers.collect());
        }
    }
}

fn measure_redis(shape: Shape, places: &Places, form: Form) -> Result<Footprint, BenchError> {
    let edge_ms = shape.edge_ms();
    let mut peer = Peer::redis(places, Cores::find()?, PeerDurability::None)?;
    let mut pipeline = Pipeline::connect(peer.address, "redis")?;
    for entity in 0..shape.entities {
        let name = entity_name(entity);
        let tiles: Vec<(String, [u8; 24])> = shape
            .tiles_of(entity, edge_ms)
            .map(|tile| ((tile.start_ms / shape.tile.1).to_string(), packed(&tile)))
            .collect();
        match form {
            Form::Hash => {
                for part in tiles.chunks(HASH_FIELDS_MAX) {
                    let mut arguments: Vec<&[u8]> = vec![b"HSET", name.as_bytes()];
                    for (field, value) in part {
                        arguments.extend([field.as_bytes(), &value[..]]);
                    }
                    pipeline.put(&arguments)?;
                }
            }
            Form::Blob => {
                let blob: Vec<u8> = tiles.iter().flat_map(|(_, value)| *value).collect();
                pipeline.put(&[b"SET", name.as_bytes(), &blob])?;
            }
        }
    }
    pipeline.finish()?;
    let memory_bytes = resident_bytes(peer.process()).unwrap_or(0);
    ask(peer.address, &[b"SAVE"], |_| ())?;
    peer.stop()?;
    let began = Instant::now();
    peer.start_again()?;
    let restart = began.elapsed();
    Ok(Footprint {
        tiles: shape.tile_count(edge_ms),
        memory_bytes,
        disk_bytes: folder_bytes(peer.folder())?,
        restart,
    })
}

fn packed(tile: &Tile) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&tile.sum.to_le_bytes());
    bytes[8..16].copy_from_slice(&tile.count.to_le_bytes());
    bytes[16..].copy_from_slice(&tile.max.to_le_bytes());
    bytes
}

/// A double between 1 and 2 with 52 random bits.
fn full_double(bits: u64) -> f64 {
    f64::from_bits(1_f64.to_bits() | bits >> 12)
}

fn per_tile(bytes: u64, tiles: u64) -> f64 {
    let kilobytes = u32::try_from(bytes / 1_024).unwrap_or(u32::MAX);
    let tiles = u32::try_from(tiles.max(1)).unwrap_or(u32::MAX);
    f64::from(kilobytes) * 1_024.0 / f64::from(tiles)
}

/// The bytes that the files of a folder take on disk.
fn folder_bytes(folder: &Path) -> Result<u64, BenchError> {
    let reading = || format!("read {}", folder.display());
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).doing(reading())? {
        let path: PathBuf = entry.doing(reading())?.path();
        let file = std::fs::metadata(&path).doing(reading())?;
        bytes += if file.is_dir() { folder_bytes(&path)? } else { file.len() };
    }
    Ok(bytes)
}

const VIEW: &str = "footprint";
const SEED: u64 = 11;
const DAY_MS: i64 = 86_400_000;
const MINUTE_MS: i64 = 60_000;
/// Fields that one HSET is given.
const HASH_FIELDS_MAX: usize = 500;
/// Entities that one read asks for.
const READ_ENTITIES: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_have_the_tiles_that_they_say() {
        let [short, sparse, ..] = SHAPES;
        let edge_ms = short.edge_ms();
        assert_eq!(Shape { entities: 7, ..short }.tile_count(edge_ms), 70);
        let sparse = Shape { entities: 1_000, ..sparse };
        let mean = sparse.tile_count(edge_ms) / 1_000;
        assert!((25..=29).contains(&mean), "{mean} tiles of 90");
        let one: Vec<Tile> = sparse.tiles_of(3, edge_ms).collect();
        assert_eq!(one, sparse.tiles_of(3, edge_ms).collect::<Vec<_>>());
        assert!(one.iter().all(|tile| tile.start_ms < edge_ms && tile.start_ms % DAY_MS == 0));
    }
}
