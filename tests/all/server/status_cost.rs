//! What statuses cost: 200 entities of 10 features are read with and without them in turn.

use std::time::{Duration, Instant};
use tilekv_client::blocking::Client;
use tilekv_client::{ClientOptions, PlanBuilder, ReadOptions};
use tilekv_tests::resp::RespClient;
use tilekv_tests::server_process::ServerCommand;

const ENTITIES: usize = 200;
const FEATURES: usize = 10;
const READS: usize = 400;
const HOUR: i64 = 3_600_000;
/// Twice what is promised of a quiet machine, since this one may be busy.
const RATIO_MAX: f64 = 1.6;

#[test]
fn statuses_cost_little() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServerCommand::new(folder.path()).start();
    let mut resp = RespClient::connect(server.address());
    let features: Vec<String> = (0..FEATURES).map(|number| format!("f{number}=sum(x)")).collect();
    let create =
        format!("VIEW.CREATE v TILE 1h COLUMNS 1 x:f64 FEATURES {FEATURES} {}", features.join(" "));
    assert_eq!(resp.call(&create).to_string(), "+OK");
    let rows: String = (0..ENTITIES * 48)
        .map(|row| format!(" e{} {} {row}.5", row % ENTITIES, row / ENTITIES * 3_600_000))
        .collect();
    let add = format!("TILE.MADD v COLUMNS 1 x ROWS {}{rows}", ENTITIES * 48);
    assert_eq!(resp.call(&add).to_string(), format!(":{}", ENTITIES * 48));

    let client = Client::connect(ClientOptions::new(server.address().to_string())).unwrap();
    let selectors = (0..FEATURES).map(|number| format!("f{number}@1d"));
    let plan = client.prepare(PlanBuilder::new().view("v", selectors).unwrap()).unwrap();
    let entities: Vec<String> = (0..ENTITIES).map(|entity| format!("e{entity}")).collect();
    let plain = ReadOptions::at(48 * HOUR);
    let detailed = plain.clone().with_status();
    let time = |options: &ReadOptions| {
        let began = Instant::now();
        let batch = plan.read(&entities, options).unwrap();
        let elapsed = began.elapsed();
        assert_eq!(batch.rows(), ENTITIES);
        elapsed
    };
    let (mut without, mut with): (Vec<Duration>, Vec<Duration>) =
        (0..READS).map(|_| (time(&plain), time(&detailed))).unzip();
    without.sort_unstable();
    with.sort_unstable();
    let (without, with) = (without[READS / 4], with[READS / 4]);
    let ratio = with.as_secs_f64() / without.as_secs_f64();
    println!(
        "{ENTITIES} entities x {FEATURES} features: {without:.1?} without statuses, {with:.1?} \
         with, {ratio:.2} times (lower quartiles of {READS} reads each)"
    );
    assert!(ratio < RATIO_MAX, "{ratio}");
}
