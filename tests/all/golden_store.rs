//! A store of format version 1, kept byte for byte in `tests/golden/store-1`: this version opens
//! it and answers right, writes the same bytes, and notices each damaged one. When a format is
//! changed on purpose, `TILEKV_GOLDEN=write` writes the folder of the new version.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tilekv_engine::disk::{Durability, RealDisk};
use tilekv_engine::{
    Engine, EngineError, EngineOptions, JobCommit, JobMode, JobRequest, Lateness, Prepared,
    ReadRequest, ReadTime, Sealing, TileWrite, Write,
};
use tilekv_tests::repository;
use tilekv_tile::{
    After, Cells, ColumnType, Identifier, Name, ProducerStamp, Rows, SealMode, Selector, Value,
    ViewDefinition,
};

const DAY: i64 = 86_400_000;
const HOUR: i64 = 3_600_000;
/// A day starts here.
const NOW: i64 = 19_675 * DAY;

#[test]
fn the_golden_store_opens_and_answers() {
    let folder = tempfile::tempdir().unwrap();
    place(folder.path(), &golden_files());
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.answers(), expected());
    assert_eq!(store.producer(), Some(7));
}

#[test]
fn this_version_writes_the_golden_store() {
    let folder = tempfile::tempdir().unwrap();
    Store::build(folder.path());
    let written = files_of(folder.path());
    if std::env::var("TILEKV_GOLDEN").as_deref() == Ok("write") {
        let _none_yet = std::fs::remove_dir_all(golden_folder());
        std::fs::create_dir_all(golden_folder()).unwrap();
        place(&golden_folder(), &written);
    }
    let golden = golden_files();
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&written), names(&golden));
    for (name, bytes) in &golden {
        assert!(written[name] == *bytes, "{name} is written otherwise than in version 1");
    }
}

/// Flips one bit in each byte, one at a time: the store is refused by name of the file. Only at
/// the end of the closed log it may open, and then answers right.
#[test]
fn each_damaged_byte_of_the_golden_store_is_noticed() {
    let golden = golden_files();
    // Thousands of stores are opened: their syncs go to memory where the machine has such a folder.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let folder = folder.unwrap();
    let (mut refused, mut unharmed) = (0, 0);
    for (name, bytes) in &golden {
        // Zeros pad a log's batches and fill it ahead: nothing reads them.
        let is_read = |at: &usize| !name.starts_with("wal") || bytes[*at] != 0;
        for at in (0..bytes.len()).filter(is_read) {
            let mut files = golden.clone();
            if let Some(file) = files.get_mut(name) {
                file[at] ^= 1 << (at % 8);
            }
            place(folder.path(), &files);
            match Store::open(folder.path()) {
                Err(error) => {
                    assert!(error.to_string().contains(&**name), "byte {at} of {name}: {error}");
                    refused += 1;
                }
                // The end of a closed log only proves that nothing is missing before it.
                Ok(store) => {
                    assert!(name.starts_with("wal"), "byte {at} of {name} goes unseen");
                    assert_eq!(store.answers(), expected(), "byte {at} of {name}");
                    unharmed += 1;
                }
            }
        }
    }
    println!("{refused} damaged stores refused, {unharmed} unharmed");
    assert!(1_000 < refused && unharmed < 100, "{refused} refused, {unharmed} unharmed");
}

struct Store {
    engine: Engine,
}

impl Store {
    fn open(folder: &Path) -> Result<Self, EngineError> {
        let options = EngineOptions {
            log_file_bytes_max: 16 << 10,
            block_tiles_max: 8,
            ..EngineOptions::standard(Durability::Always, 3)
        };
        let disk = Arc::new(RealDisk::open(folder)?);
        let (engine, _) = Engine::open(disk, options, NOW)?;
        Ok(Self { engine })
    }

    /// Two segments, one of them a job's, and a tail of the log.
    fn build(folder: &Path) {
        let mut store = Self::open(folder).unwrap();
        let columns = [("amount", ColumnType::F64), ("units", ColumnType::I64)];
        let features = [
            ("spent", "sum(amount)"),
            ("n", "count()"),
            ("top", "max(units)"),
            ("spread", "stddev_pop(amount)"),
            ("recent", "last_n(units,3)"),
        ];
        let mut view = ViewDefinition::of("v", "1h", &columns, &features).unwrap();
        view.seal = SealMode::Required;
        store.write(Write::CreateView(view));
        store.write(Write::AddSeal { view: name("v"), from: NOW - 30 * DAY, to: NOW });
        let hours: Vec<i64> = (1..=40).map(|hour| NOW - hour * HOUR).collect();
        store.write(events("u:1", &hours, 7));
        store.engine.checkpoint(NOW).unwrap();
        store.run_job();
        store.engine.checkpoint(NOW).unwrap();
        store.write(Write::SetTile(TileWrite {
            view: name("v"),
            entity: Bytes::from_static(b"u:1"),
            start: NOW - 3 * HOUR,
            partials: vec![(identifier("n"), Bytes::from_static(b"100"))],
            stamp: None,
        }));
        store.engine.close().unwrap();
    }

    fn run_job(&mut self) {
        let jobs = self.engine.jobs();
        let request = JobRequest {
            view: name("v"),
            from: NOW - 10 * HOUR,
            to: NOW - 5 * HOUR,
            mode: JobMode::Replace,
            timeout_ms: None,
            token: Some(Bytes::from_static(b"nightly")),
        };
        let job = jobs.begin(NOW, request).unwrap();
        let Write::Events { rows, .. } = events("u:2", &[NOW - 6 * HOUR], 8) else {
            unreachable!("events are events")
        };
        assert_eq!(jobs.put_rows(NOW, job, None, rows).unwrap(), 1);
        let commit = JobCommit { rows: Some(1), allows_empty: false, seals: true };
        let Sealing::Ready(sealed) = jobs.seal(NOW, job, commit).unwrap() else {
            panic!("the job is open")
        };
        self.engine.prepare_job(NOW, sealed).unwrap();
        self.engine.commit().unwrap();
    }

    fn write(&mut self, write: Write) {
        let prepared = self.engine.prepare(NOW, write).unwrap();
        assert!(matches!(prepared, Prepared::Staged(_)), "nothing was pending");
        self.engine.commit().unwrap();
    }

    fn answers(&self) -> Vec<String> {
        let reader = self.engine.reader();
        let version = reader.snapshot();
        let selectors = ["spent@1d", "n@1d", "n@lifetime", "top@2d", "spread@2d", "recent@1d"];
        let parse = |text: &str| Selector::parse(text.as_bytes()).unwrap();
        let groups = vec![(name("v"), selectors.map(parse).to_vec())];
        let request = ReadRequest { groups, edge: None, known: false };
        let Ok(plan) = reader.plan(&version, &request) else { return Vec::new() };
        let entities: [&[u8]; 2] = [b"u:1", b"u:2"];
        let answers = match reader.read(&version, &plan, NOW, &ReadTime::Now, &entities) {
            Ok(answers) => answers,
            Err(error) => return vec![error.to_string()],
        };
        let cells = (0..2).flat_map(|row| (0..selectors.len()).map(move |at| (row, at)));
        let value = |(row, at): (usize, usize)| match answers.get(row, at) {
            Value::Double(double) => format!("{double:.9}"),
            other => format!("{other:?}"),
        };
        cells.map(value).collect()
    }

    fn producer(&self) -> Option<u64> {
        let reader = self.engine.reader();
        let id = Bytes::from_static(b"stream");
        reader.producer(&reader.snapshot(), &name("v"), &id, NOW).unwrap()
    }
}

/// An event of hour `h` before now has the amount `h / 4` and `h` units.
fn events(entity: &'static str, timestamps: &[i64], sequence: u64) -> Write {
    let cells = timestamps.iter().flat_map(|timestamp| {
        let hours = (NOW - timestamp) / HOUR;
        let quarters = format!("{}.{:02}", hours / 4, hours % 4 * 25);
        [Bytes::from(quarters), Bytes::from(hours.to_string())]
    });
    let id = Bytes::from_static(b"stream");
    Write::Events {
        view: name("v"),
        stamp: Some(ProducerStamp { id, sequence, after: After::Any }),
        rows: Rows {
            columns: vec![identifier("amount"), identifier("units")],
            entities: vec![Bytes::from_static(entity.as_bytes()); timestamps.len()],
            timestamps: timestamps.to_vec(),
            cells: Cells::Text { null: None, cells: cells.collect() },
        },
        lateness: Lateness::Refuse,
    }
}

/// What the store holds of `u:1`: hours 1 to 40 but for 6 to 10, which the job replaced, with hour
/// 3 set to 100 rows and nothing else. Of `u:2` the job's row at hour 6.
fn expected() -> Vec<String> {
    let hours: Vec<f64> =
        (1..=40_u32).filter(|hour| !(6..=10).contains(hour) && *hour != 3).map(f64::from).collect();
    let day: Vec<f64> = hours.iter().copied().filter(|hour| *hour <= 24.0).collect();
    let amounts: Vec<f64> = hours.iter().map(|hour| hour / 4.0).collect();
    let count = f64::from(u32::try_from(amounts.len()).unwrap());
    let mean = amounts.iter().sum::<f64>() / count;
    let variance = amounts.iter().map(|amount| (amount - mean).powi(2)).sum::<f64>() / count;
    vec![
        format!("{:.9}", day.iter().sum::<f64>() / 4.0),
        format!("Int({})", day.len() + 100),
        format!("Int({})", hours.len() + 100),
        "Int(40)".to_owned(),
        format!("{:.9}", variance.sqrt()),
        format!("{:?}", Value::List(vec![Value::Int(4), Value::Int(2), Value::Int(1)])),
        format!("{:.9}", 1.5),
        "Int(1)".to_owned(),
        "Int(1)".to_owned(),
        "Int(6)".to_owned(),
        format!("{:.9}", 0.0),
        format!("{:?}", Value::List(vec![Value::Int(6)])),
    ]
}

fn golden_folder() -> PathBuf {
    repository::root().join("tests/golden/store-1")
}

fn golden_files() -> BTreeMap<String, Vec<u8>> {
    files_of(&golden_folder())
}

/// The files of a folder; the lock is an empty one.
fn files_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let bytes = std::fs::read(entry.path()).unwrap();
        if !bytes.is_empty() {
            files.insert(name, bytes);
        }
    }
    files
}

fn place(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}

fn name(text: &str) -> Name {
    Name::parse(text.as_bytes()).unwrap()
}

fn identifier(text: &str) -> Identifier {
    Identifier::parse(text.as_bytes()).unwrap()
}
