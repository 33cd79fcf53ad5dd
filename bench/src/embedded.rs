//! Owns stores inside this process: filled with the data set, for measurements without a network.
//! Knows nothing of servers.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tilekv_engine::disk::{Disk, Durability, RealDisk};
use tilekv_engine::{
    Engine, EngineError, EngineOptions, Lateness, Plan, Prepared, ReadRequest, Write,
};
use tilekv_tile::{
    Cells, ColumnType, Identifier, Name, Rows, Selector, TypedColumn, ViewDefinition,
};

use crate::dataset::{Dataset, entity_name};
use crate::error::BenchError;

/// Milliseconds of a minute.
pub const MINUTE_MS: i64 = 60_000;

/// A store in this process.
pub struct Embedded {
    /// The writer.
    pub engine: Engine,
    /// The clock's reading, which stands still.
    pub now_ms: i64,
    disk: Arc<dyn Disk>,
}

impl Embedded {
    /// Opens a store in `folder`, whose overlays hold up to `overlay_bytes_max`.
    pub fn open(
        folder: &Path,
        durability: Durability,
        overlay_bytes_max: usize,
        now_ms: i64,
    ) -> Result<Self, BenchError> {
        Self::open_with(
            folder,
            EngineOptions { overlay_bytes_max, ..Self::options(durability) },
            now_ms,
        )
    }

    /// Opens a store in `folder`.
    pub fn open_with(
        folder: &Path,
        options: EngineOptions,
        now_ms: i64,
    ) -> Result<Self, BenchError> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(folder)?);
        let (engine, _) = Engine::open(Arc::clone(&disk), options, now_ms)?;
        Ok(Self { engine, now_ms, disk })
    }

    /// What stores are opened with where nothing else is measured.
    #[must_use]
    pub fn options(durability: Durability) -> EngineOptions {
        EngineOptions::standard(durability, SEED)
    }

    /// Creates a view of `amount` with the features `total`, `payments` and `peak`.
    pub fn create_view(&mut self, name: &str, tile: &str) -> Result<Name, BenchError> {
        let definition = ViewDefinition::of(name, tile, &[("amount", ColumnType::F64)], &FEATURES)?;
        let view = definition.name.clone();
        self.write(Write::CreateView(definition))?;
        Ok(view)
    }

    /// Adds events of one entity each: (entity, timestamp, amount).
    pub fn add(&mut self, view: &Name, events: &[(u32, i64, f64)]) -> Result<(), BenchError> {
        self.write(events_write(view, events)?)
    }

    /// Prepares and commits one write, and runs the background work that is due.
    pub fn write(&mut self, write: Write) -> Result<(), BenchError> {
        match self.engine.prepare(self.now_ms, write)? {
            Prepared::Staged(_) => {}
            Prepared::CommitFirst(_) | Prepared::Needs(..) => return Err(BenchError::NotStaged),
        }
        self.engine.commit()?;
        self.run_tasks()
    }

    /// Runs the background work that is due.
    pub fn run_tasks(&mut self) -> Result<(), BenchError> {
        loop {
            let tasks = self.engine.tasks(self.now_ms);
            if tasks.is_empty() {
                return Ok(());
            }
            for task in tasks {
                let result = task.run(&*self.disk);
                self.engine.finish(result)?;
            }
        }
    }

    /// Fills `view` with one of the data set's views, an event per tile, and flushes it all to
    /// segments.
    pub fn fill(&mut self, view: &Name, dataset: &Dataset, number: u32) -> Result<(), BenchError> {
        let mut events = Vec::with_capacity(FILL_ROWS);
        for entity in 0..dataset.entities {
            for tile in dataset.tiles(number, entity) {
                events.push((entity, dataset.day_ms(tile.day), tile.sum));
            }
            if FILL_ROWS <= events.len() {
                self.add(view, &events)?;
                events.clear();
            }
        }
        self.add(view, &events)?;
        self.flush()
    }

    /// Flushes everything to segments.
    pub fn flush(&mut self) -> Result<(), BenchError> {
        self.engine.checkpoint(self.now_ms)?;
        self.run_tasks()
    }

    /// A plan that reads `selectors` of each of `views`.
    pub fn plan(&self, views: &[&Name], selectors: &[&str]) -> Result<Plan, BenchError> {
        let parsed = selectors
            .iter()
            .map(|text| Selector::parse(text.as_bytes()))
            .collect::<Result<Vec<_>, _>>()?;
        let groups = views.iter().map(|view| ((*view).clone(), parsed.clone())).collect();
        let reader = self.engine.reader();
        let request = ReadRequest { groups, edge: None, known: false };
        Ok(reader.plan(&reader.snapshot(), &request)?)
    }
}

/// A write of events: (entity, timestamp, amount).
pub fn events_write(view: &Name, events: &[(u32, i64, f64)]) -> Result<Write, EngineError> {
    let entities = events.iter().map(|(entity, _, _)| Bytes::from(entity_name(*entity))).collect();
    let rows = Rows {
        columns: vec![Identifier::parse(b"amount")?],
        entities,
        timestamps: events.iter().map(|(_, timestamp, _)| *timestamp).collect(),
        cells: Cells::Typed(vec![TypedColumn::F64 {
            values: events.iter().map(|(_, _, amount)| *amount).collect(),
            valid: None,
        }]),
    };
    Ok(Write::Events { view: view.clone(), stamp: None, rows, lateness: Lateness::Refuse })
}

/// The features of every view here: what 24 bytes of sum, count and max hold.
pub const FEATURES: [(&str, &str); 3] =
    [("total", "sum(amount)"), ("payments", "count(amount)"), ("peak", "max(amount)")];

const SEED: u64 = 42;

/// Rows of one write while a store is filled.
const FILL_ROWS: usize = 4_096;
