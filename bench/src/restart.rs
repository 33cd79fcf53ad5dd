//! How long a store takes to open: its tiles in segments, flushed and closed, until the first
//! right answer. Knows nothing of networks.

use std::path::Path;
use std::time::{Duration, Instant};

use tilekv_engine::ReadTime;
use tilekv_engine::disk::Durability;
use tilekv_tile::Value;

use crate::dataset::{DAY_MS, entity_name};
use crate::embedded::Embedded;
use crate::error::{BenchError, Doing};

/// What opening a store took.
#[derive(Debug, Clone, PartialEq)]
pub struct RestartFigures {
    /// Tiles in the store.
    pub tiles: u64,
    /// Bytes of its segment files.
    pub file_bytes: u64,
    /// From the call to the first right answer, once for each time it was opened.
    pub times: Vec<Duration>,
    /// What the store then takes of its memory budget, by what for.
    pub memory: Vec<(&'static str, u64)>,
}

/// Fills a new store in `folder` with `tiles` days of every entity, and opens it `times` times.
pub fn run_restart(
    folder: &Path,
    entities: u32,
    tiles: u32,
    times: u32,
) -> Result<RestartFigures, BenchError> {
    let place = tempfile::tempdir_in(folder).doing("make a folder for the store")?;
    fill(place.path(), entities, tiles)?;
    let mut figures = RestartFigures {
        tiles: u64::from(entities) * u64::from(tiles),
        file_bytes: 0,
        times: Vec::new(),
        memory: Vec::new(),
    };
    for _ in 0..times {
        let started = Instant::now();
        let store = Embedded::open(place.path(), Durability::None, OVERLAY_BYTES, now_ms(tiles))?;
        check(&store, entities, tiles)?;
        figures.times.push(started.elapsed());
        let reader = store.engine.reader();
        figures.file_bytes = reader.snapshot().info().segment_bytes;
        let used = reader.memory().used;
        figures.memory = used.iter().map(|(purpose, bytes)| (purpose.as_str(), *bytes)).collect();
    }
    Ok(figures)
}

fn fill(folder: &Path, entities: u32, tiles: u32) -> Result<(), BenchError> {
    let mut store = Embedded::open(folder, Durability::None, OVERLAY_BYTES, now_ms(tiles))?;
    let view = store.create_view("v", "1d")?;
    let mut events = Vec::with_capacity(ROWS);
    for entity in 0..entities {
        for day in 0..tiles {
            events.push((entity, i64::from(day) * DAY_MS, amount(entity, day)));
        }
        if ROWS <= events.len() {
            store.add(&view, &events)?;
            events.clear();
        }
    }
    store.add(&view, &events)?;
    store.flush()
}

/// The last entity's greatest amount is there.
fn check(store: &Embedded, entities: u32, tiles: u32) -> Result<(), BenchError> {
    let reader = store.engine.reader();
    let version = reader.snapshot();
    let view = reader.view_names(&version).remove(0);
    let plan = store.plan(&[&view], &["peak@lifetime"])?;
    let (name, now_ms) = (entity_name(entities - 1), now_ms(tiles));
    let answers = reader.read(&version, &plan, now_ms, &ReadTime::Now, &[name.as_bytes()])?;
    let greatest = (0..tiles).map(|day| amount(entities - 1, day)).fold(0.0, f64::max);
    match answers.get(0, 0) {
        Value::Double(found) if found.to_bits() == greatest.to_bits() => Ok(()),
        found => Err(BenchError::WrongAnswer {
            peer: "tilekv",
            expected: greatest.to_string(),
            found: format!("{found:?}"),
        }),
    }
}

fn amount(entity: u32, day: u32) -> f64 {
    f64::from((entity.wrapping_mul(31).wrapping_add(day.wrapping_mul(7))) % 1_000) * 0.5 + 0.5
}

fn now_ms(tiles: u32) -> i64 {
    i64::from(tiles) * DAY_MS
}

const OVERLAY_BYTES: usize = 64 << 20;
const ROWS: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_store_opens_with_all_its_tiles() {
        let folder = tempfile::tempdir().unwrap();
        let figures = run_restart(folder.path(), 500, 10, 2).unwrap();
        assert_eq!((figures.tiles, figures.times.len()), (5_000, 2));
        let resident = figures.memory.iter().find(|(purpose, _)| *purpose == "resident");
        assert!(resident.is_some_and(|(_, bytes)| 5_000 < *bytes), "{figures:?}");
    }
}
