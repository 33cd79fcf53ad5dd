//! The simulated disk's dice: one seed, one course of events. Knows nothing of disks.

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub(crate) struct SimRandom {
    state: u64,
}

impl SimRandom {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number below `bound`, or 0 when there is none.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// True once in `count` throws, on average.
    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// True in so many of a million throws.
    pub(crate) fn per_million(&mut self, rate: u32) -> bool {
        rate != 0 && self.below(1_000_000) < u64::from(rate)
    }
}

/// SplitMix64's output function: spreads every bit of the input over the whole output.
pub(crate) fn mix(input: u64) -> u64 {
    let first = (input ^ (input >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let second = (first ^ (first >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    second ^ (second >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_course() {
        let course = |seed| {
            let mut random = SimRandom::new(seed);
            (0..8).map(|_| random.next()).collect::<Vec<_>>()
        };
        assert_eq!(course(7), course(7));
        assert_ne!(course(7), course(8));
        // The published first output of SplitMix64 for the seed 0.
        assert_eq!(course(0)[0], 0xe220_a839_7b1d_cdaf);
    }
}
