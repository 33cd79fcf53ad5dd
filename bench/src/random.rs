//! Owns the pseudo-random numbers of workloads: SplitMix64 (G. Steele, D. Lea, C. Flood, "Fast
//! splittable pseudorandom number generators", 2014). The same seed gives the same numbers on
//! every machine. Knows nothing of what they are used for.

/// A stream of pseudo-random numbers.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The stream of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The stream that belongs to a list of numbers, such as (seed, view, entity).
    #[must_use]
    pub fn of(parts: &[u64]) -> Self {
        let state = parts.iter().fold(0, |state, &part| mix(state ^ part.wrapping_add(STEP)));
        Self { state }
    }

    /// The next 64 bits.
    pub fn next_bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mix(self.state)
    }

    /// A number in `0..bound` (D. Lemire, "Fast random integer generation in an interval", 2019,
    /// without the rejection: the bias is below bound / 2^32).
    ///
    /// # Panics
    /// Where `bound` is 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        assert!(0 < bound, "a range to draw from has a number in it");
        let [low, high] = halves((self.next_bits() >> 32) * u64::from(bound));
        debug_assert!(high < bound, "{low} is the fraction");
        high
    }
}

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

fn halves(bits: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = bits.to_le_bytes();
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_the_published_one() {
        let mut random = Random::new(1_234_567);
        let drawn = [random.next_bits(), random.next_bits(), random.next_bits()];
        let published =
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(drawn, published);
    }

    #[test]
    fn numbers_below_a_bound_cover_it() {
        let mut random = Random::of(&[1, 2]);
        let mut seen = [0_u32; 7];
        for _ in 0..7_000 {
            let index = usize::try_from(random.below(7)).unwrap();
            seen[index] += 1;
        }
        assert!(seen.iter().all(|count| (800..1_200).contains(count)), "{seen:?}");
    }

    #[test]
    fn lists_that_differ_have_streams_that_differ() {
        let first = |parts: &[u64]| Random::of(parts).next_bits();
        assert_eq!(first(&[1, 2]), first(&[1, 2]));
        assert_ne!(first(&[1, 2]), first(&[2, 1]));
        assert_ne!(first(&[0]), first(&[0, 0]));
    }
}
