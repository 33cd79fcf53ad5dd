//! The dice of one seed: every random choice of a simulation is thrown here.
//! It knows nothing of what is chosen.

use crate::seed;
use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;

/// Random choices that follow from a seed.
#[derive(Debug)]
pub struct Dice {
    generator: Xoshiro256PlusPlus,
}

impl Dice {
    /// The dice of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { generator: seed::generator(seed) }
    }

    /// Any number.
    pub fn word(&mut self) -> u64 {
        self.generator.random()
    }

    /// A number from `least` to `most`.
    pub fn within(&mut self, least: i64, most: i64) -> i64 {
        self.generator.random_range(least..=most)
    }

    /// A number from `least` to `most`.
    pub fn count(&mut self, least: usize, most: usize) -> usize {
        self.generator.random_range(least..=most)
    }

    /// Whether something happens that does so once in so many times.
    pub fn one_in(&mut self, times: u32) -> bool {
        self.generator.random_ratio(1, times)
    }

    /// One of several.
    ///
    /// # Panics
    /// Where there is none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let at = self.generator.random_range(0..choices.len());
        &choices[at]
    }

    /// The place of one of several weights, each as likely as it is heavy.
    ///
    /// # Panics
    /// Where all weights are zero.
    pub fn weighed(&mut self, weights: &[u32]) -> usize {
        let mut left = self.generator.random_range(0..weights.iter().sum());
        for (at, weight) in weights.iter().enumerate() {
            if left < *weight {
                return at;
            }
            left -= weight;
        }
        unreachable!("the number drawn is below the sum of the weights")
    }
}
