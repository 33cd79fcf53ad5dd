//! Sums and means at the ends of what numbers can hold.

use super::exact::{POINT, fixed, is_nearest, magnitude};
use super::rows::any_double;
use crate::double_double::DoubleDouble;
use crate::float_sum::FloatSum;
use crate::integer_sum::{mean_of_integers, sum_of_words, words_of_sum};
use crate::moments::{Moments, Pool};
use num_bigint::BigInt;
use proptest::prelude::*;

/// Integers of any size, those near powers of two among them.
fn any_sum() -> impl Strategy<Value = i128> {
    let near_power = (0_u32..126, -3_i128..4).prop_map(|(bits, step)| (1_i128 << bits) + step);
    prop_oneof![
        any::<i128>().prop_map(|sum| sum / 2),
        near_power.clone(),
        near_power.prop_map(|sum| -sum)
    ]
}

fn any_count() -> impl Strategy<Value = u64> {
    let near_power = (0_u32..63, 0_u64..3).prop_map(|(bits, step)| (1_u64 << bits) + step);
    prop_oneof![1_u64..100, any::<u64>().prop_map(|count| count.max(1)), near_power]
}

fn total(values: &[f64]) -> FloatSum {
    values.iter().copied().fold(FloatSum::ZERO, FloatSum::add)
}

proptest! {
    #[test]
    fn a_mean_of_integers_is_rounded_correctly(sum in any_sum(), count in any_count()) {
        let mean = mean_of_integers(sum, count);
        prop_assert!(is_nearest(mean, &(BigInt::from(sum) << POINT), count), "{} / {}", sum, count);
    }

    #[test]
    fn words_hold_every_integer_sum(sum in any::<i128>()) {
        prop_assert_eq!(sum_of_words(words_of_sum(sum)), sum);
    }

    #[test]
    fn two_doubles_are_summed_correctly_rounded(a in any_double(), b in any_double()) {
        let sum = total(&[a, b]);
        prop_assert!(is_nearest(sum.nearest(), &(fixed(a) + fixed(b)), 1), "{} + {}", a, b);
    }

    #[test]
    fn what_is_taken_off_again_leaves_nothing(values in prop::collection::vec(any_double(), 1..9)) {
        let mut values = values;
        // Each value twice more, and taken off three times: only sums on the way are large.
        let rest: Vec<f64> = values.iter().flat_map(|value| [*value, *value]).collect();
        values.extend(rest);
        let back: Vec<f64> = values.iter().rev().map(|value| -value).collect();
        values.extend(back);
        let sizes: BigInt = values.iter().map(|value| magnitude(&fixed(*value))).sum();
        let left = magnitude(&fixed(total(&values).nearest()));
        prop_assert!(left << 70 <= sizes);
    }

    #[test]
    fn pooled_moments_are_merged_moments(
        parts in prop::collection::vec((0_u64..5, any_double(), 0.0_f64..1e9), 0..12),
        shrink in prop::sample::select(vec![1.0, 1e-150, 1e-300]),
    ) {
        let mut pool = Pool::EMPTY;
        let mut merged = (0, Moments::ZERO);
        for (count, mean, spread) in parts {
            let mean = DoubleDouble::from_f64(mean * shrink);
            let one = Moments::of_one(mean);
            let part = match count {
                0 => Moments::ZERO,
                1 => one,
                _ => one.add(1, mean.plus_f64(spread * shrink)),
            };
            let count = count.min(2);
            pool.add(count, part);
            merged = (merged.0 + count, merged.1.merge(merged.0, part, count));
        }
        let (count, moments) = pool.merged();
        prop_assert_eq!(count, merged.0);
        if 0 < count {
            let (one, other) = (moments.deviation(count), merged.1.deviation(count));
            prop_assert!((one - other).abs() <= 1e-15 * other.max(1e-290), "{} {}", one, other);
        }
    }
}

#[test]
fn a_sum_is_infinite_only_where_rounding_says_so() {
    let half_of_last_bit = 2.0_f64.powi(970);
    assert_eq!(total(&[f64::MAX, half_of_last_bit.next_down()]).nearest(), f64::MAX);
    assert_eq!(total(&[f64::MAX, half_of_last_bit]).nearest(), f64::INFINITY);
    assert_eq!(total(&[f64::MAX, half_of_last_bit, -5e-324]).nearest(), f64::MAX);
    assert_eq!(total(&[f64::MIN, -half_of_last_bit]).nearest(), f64::NEG_INFINITY);
    assert_eq!(total(&[f64::MAX; 1_000]).nearest(), f64::INFINITY);
    assert_eq!(total(&[f64::MAX; 1_000]).mean(1_000), f64::MAX);
    assert_eq!(total(&[1e308, 1e308, -1e308, -1e308, 1.0]).nearest(), 1.0);
}

#[test]
fn a_sum_keeps_a_small_value_beside_large_ones() {
    assert_eq!(total(&[1e16, 1.0, -1e16]).nearest(), 1.0);
    assert_eq!(total(&[1e308, 1.0, -1e308]).nearest(), 1.0);
    assert_eq!(total(&[0.1; 10]).nearest(), 1.0);
    assert_eq!(total(&[5e-324, 5e-324]).nearest(), 1e-323);
}
