//! A store inside a program: open a folder, create a view, write events, read windows.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::sync::Arc;

use tilekv_engine::disk::{Durability, RealDisk};
use tilekv_engine::{Engine, EngineOptions, Lateness, ReadRequest, ReadTime, Write};
use tilekv_tile::{Cells, ColumnType, Identifier, Name, Rows, Selector, ViewDefinition};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let now_ms = 1_700_000_000_000;
    let folder = std::env::args().nth(1).unwrap_or("tilekv-embedded".to_owned());
    let disk = Arc::new(RealDisk::open(folder.as_ref())?);
    let options = EngineOptions::standard(Durability::Always, 42);
    let (mut engine, report) = Engine::open(disk, options, now_ms)?;
    println!("opened: {} segments, {} log records", report.segments, report.log.records_replayed);

    let view = Name::parse(b"card_transactions")?;
    if report.is_new {
        let features = [("spent", "sum(amount)"), ("payments", "count()")];
        let columns = [("amount", ColumnType::F64)];
        let definition = ViewDefinition::of("card_transactions", "1m", &columns, &features)?;
        engine.prepare(now_ms, Write::CreateView(definition))?;
    }
    let rows = Rows {
        columns: vec![Identifier::parse(b"amount")?],
        entities: vec!["card:1".into(), "card:1".into(), "card:2".into()],
        timestamps: vec![now_ms - 90_000, now_ms - 600_000, now_ms - 60_000],
        cells: Cells::Text { null: None, cells: vec!["12.5".into(), "7".into(), "99.9".into()] },
    };
    let lateness = Lateness::Refuse;
    engine.prepare(now_ms, Write::Events { view: view.clone(), stamp: None, rows, lateness })?;
    engine.commit()?; // durable, and visible to readers, from here on

    let reader = engine.reader();
    let version = reader.snapshot();
    let selectors = ["spent@5m", "spent@30m", "payments@30m"];
    let selectors = selectors.map(|text| Selector::parse(text.as_bytes())).into_iter();
    let groups = vec![(view, selectors.collect::<Result<Vec<_>, _>>()?)];
    let plan = reader.plan(&version, &ReadRequest { groups, edge: None, known: false })?;
    let cards: [&[u8]; 2] = [b"card:1", b"card:2"];
    let answers = reader.read(&version, &plan, now_ms, &ReadTime::Now, &cards)?;
    for (row, card) in ["card:1", "card:2"].iter().enumerate() {
        println!("{card}: {:?}", (0..3).map(|column| answers.get(row, column)).collect::<Vec<_>>());
    }
    Ok(())
}
