//! Loads events so that each counts once, whatever is lost on the way: run it twice, or end the
//! server in the middle and start it again. Needs no runtime of its own. Run a server, then
//! `cargo run -p tilekv-client --example exactly_once [host:port]`.

use std::io::{self, Write};
use std::time::Duration;

use tilekv_client::blocking::Client;
use tilekv_client::{
    Backoff, ClientOptions, ColumnsBuilder, LoaderOptions, Name, PlanBuilder, ReadOptions,
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const BATCHES: i64 = 200;
const ROWS: i64 = 500;

/// 2024-01-01 00:00 UTC.
const START_MS: i64 = 1_704_067_200_000;

fn main() -> Outcome {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8453".to_owned());
    // Go on trying for about a minute.
    let backoff = Backoff::exponential(Duration::from_millis(50), Duration::from_secs(2), 34);
    let client = Client::connect(ClientOptions::new(address).with_backoff(backoff))?;
    let view = Name::parse(b"example.events")?;
    if !client.view_names()?.contains(&view) {
        let definition = "VIEW.CREATE example.events TILE 1h COLUMNS 1 pieces:i64 \
                          FEATURES 2 events=count() pieces=sum(pieces)";
        let words: Vec<&str> = definition.split_whitespace().collect();
        client.command(&words)?;
    }

    // The id names the source; batch n carries the sequence n.
    let mut loader = client.loader(&view, LoaderOptions::exactly_once("example:events"))?;
    for batch in 0..BATCHES {
        let times: Vec<i64> =
            (0..ROWS).map(|row| START_MS + (batch * ROWS + row) * 1_000).collect();
        let entities = (0..ROWS).map(|row| format!("u:{}", row % 10));
        let rows = ColumnsBuilder::new(entities, times).i64s("pieces", vec![1; 500])?.finish()?;
        loader.send(rows)?;
    }
    loader.flush()?;

    let wanted = PlanBuilder::new().view("example.events", ["events@lifetime"])?;
    let batch = client.read_once(wanted, &["u:0"], &ReadOptions::NOW)?;
    let mut output = io::stdout().lock();
    writeln!(output, "{:?}", loader.tally())?;
    writeln!(output, "{} batches had been applied before", loader.resumed_after())?;
    writeln!(output, "u:0 has {:?} events, {} expected", batch.value(0, 0), BATCHES * ROWS / 10)?;
    Ok(())
}
