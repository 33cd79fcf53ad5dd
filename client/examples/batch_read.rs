//! Prepares a read once and asks it for hundreds of entities at a time, as columns. Run a server
//! and `tilekv demo`, then `cargo run -p tilekv-client --example batch_read [host:port]`.

use std::io::{self, Write};
use std::time::Instant;

use tilekv_client::{Client, ClientOptions, PlanBuilder, ReadOptions, Status};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// 2013-07-05 12:00 UTC.
const AT_MS: i64 = 1_373_025_600_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8453".to_owned());
    let client = Client::connect(ClientOptions::new(address)).await?;
    let wanted = PlanBuilder::new()
        .view("demo.carriers", ["worst@7d", "delay@1d", "delay@7d", "delay@30d"])?;
    let plan = client.prepare(wanted).await?;

    let carriers = ["UA", "AA", "DL", "B6", "EV", "MQ", "US", "WN", "OO"];
    let entities: Vec<&str> = carriers.iter().copied().cycle().take(300).collect();
    let started = Instant::now();
    let batch = plan.read(&entities, &ReadOptions::at(AT_MS).with_status()).await?;
    let elapsed = started.elapsed();

    let mut output = io::stdout().lock();
    writeln!(output, "{} entities x 4 windows in {elapsed:?}", batch.rows())?;
    for column in batch.columns() {
        // No value is boxed: the doubles are read straight from the frame.
        let (mut sum, mut count) = (0.0, 0);
        for value in column.f64s().into_iter().flatten().flatten() {
            sum += value;
            count += 1;
        }
        let complete = column.statuses().filter(|status| *status == Status::Ok).count();
        let selector = column.selector();
        writeln!(output, "{selector}: {count} doubles, sum {sum:.1}, {complete} ok")?;
    }
    Ok(())
}
