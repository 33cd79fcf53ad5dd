//! Seeds of random tests: drawn fresh, printed, and repeatable through the environment.

use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use std::hash::{BuildHasher, RandomState};

/// The environment variable that fixes the seed of every random test.
pub const SEED_VARIABLE: &str = "TILEKV_SEED";

/// A seed for the test of this name, printed so that a failure can be repeated:
/// the one in `TILEKV_SEED`, or a fresh one.
///
/// # Panics
/// Where the variable holds no number.
#[expect(clippy::print_stdout, reason = "a failed run is repeated with the seed it printed")]
pub fn draw(name: &str) -> u64 {
    let seed = match std::env::var(SEED_VARIABLE) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{SEED_VARIABLE}={text} is no number")),
        Err(_) => RandomState::new().hash_one(name),
    };
    println!("{name}: seed {seed}; repeat with {SEED_VARIABLE}={seed}");
    seed
}

/// The generator that a seed stands for: the same on every machine.
pub fn generator(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}
