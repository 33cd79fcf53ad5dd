//! Creates a view, adds events, asks for windows. Run a server, then
//! `cargo run -p tilekv-client --example quick_start [host:port]`.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use tilekv_client::{
    Client, ClientOptions, ColumnType, Edge, Name, PlanBuilder, ReadOptions, RowsBuilder, Scalar,
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8453".to_owned());
    let client = Client::connect(ClientOptions::new(address)).await?;
    let view = Name::parse(b"example.likes")?;
    if !client.view_names().await?.contains(&view) {
        let definition = "VIEW.CREATE example.likes TILE 1m RETENTION 90d COLUMNS 1 amount:f64 \
                          FEATURES 2 likes=count() spent=sum(amount)";
        let words: Vec<&str> = definition.split_whitespace().collect();
        client.command(&words).await?;
    }

    let now_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let mut rows = RowsBuilder::new(&[("amount", ColumnType::F64)])?;
    rows.push("u:42", now_ms - 90_000, &[Some(Scalar::F64(9.5))])?;
    rows.push("u:42", now_ms, &[Some(Scalar::F64(0.5))])?;
    rows.push("u:43", now_ms, &[None])?;
    let applied = client.add_rows(&view, rows.take()?).await?;

    // The live edge makes an event visible in the next read.
    let wanted =
        PlanBuilder::new().view("example.likes", ["likes@1h", "spent@1h"])?.edge(Edge::Live);
    let batch = client.read_once(wanted, &["u:42", "u:43"], &ReadOptions::NOW).await?;
    let mut output = io::stdout().lock();
    writeln!(output, "{applied} rows applied")?;
    for (row, user) in ["u:42", "u:43"].iter().enumerate() {
        let (likes, spent) = (batch.value(row, 0), batch.value(row, 1));
        writeln!(output, "{user}: likes {likes:?}, spent {spent:?}")?;
    }
    Ok(())
}
