//! The shipped engine on a simulated disk, held against a naive model: fresh seeds in each run,
//! and the seeds of old failures before them.

use std::hash::{BuildHasher, RandomState};
use tilekv_tests::simulation::run::{COUNT_VARIABLE, SEED_VARIABLE, needed, run, run_seed};

#[test]
fn random_stores_keep_the_contract() {
    if let Some(seed) = variable(SEED_VARIABLE) {
        let totals = run_seed(seed, true).unwrap_or_else(|failure| panic!("{failure}"));
        println!("{}", totals.lines().join("\n"));
        return;
    }
    let count = variable(COUNT_VARIABLE).unwrap_or(SEED_COUNT);
    let first = RandomState::new().hash_one("simulation");
    println!("simulation: {count} seeds from {first} on");
    let mut seeds = KEPT_SEEDS.to_vec();
    seeds.extend((0..count).map(|at| first.wrapping_add(at)));
    let report = run(&seeds, FAILURES_MAX);
    println!("simulation: {} seeds went through", report.seeds);
    println!("{}", report.totals.lines().join("\n"));
    let failures: Vec<String> = report.failures.iter().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    let missing = report.totals.missing(&needed());
    assert!(missing.is_empty(), "never happened: {}", missing.join(", "));
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Seeds that find failures which were mended: a merged segment under the layout of its last
/// entity, tiles far apart around the epoch, ends of an integer in a block, merges by a catalog
/// that a power cut takes back, a tail that recovery had not written again, a producer that was
/// forgotten by a clock that went back, and a merge while a longer retention was pending.
const KEPT_SEEDS: [u64; 7] = [
    6_770_289_226_650_404_688,
    1_252_340_148_497_496_174,
    4_485_791_813_879_098_650,
    17_665_402_271_603_761_434,
    8_757_151_505_717_075_299,
    10_378_031_213_283_651_371,
    16_611_081_563_357_102_651,
];
/// Fresh seeds of a run that does not say how many.
const SEED_COUNT: u64 = 5_000;
const FAILURES_MAX: usize = 10;
