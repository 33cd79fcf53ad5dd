//! The sketches against brute force over many rows: any tiling and any order of merging, orders of
//! arrival that are hard on sketches, and images that may be anything.

use super::distinct::Distinct;
use super::hll_image::{print_hll, read_hll};
use super::image::{Numbers, print_frequent, print_kll, read_frequent, read_kll};
use super::item::{Item, Number, Text};
use super::quantiles::Quantiles;
use super::top::{Top, counter_count};
use crate::extreme::Pick;
use crate::limits::PERCENTILE_K_DEFAULT;
use crate::quantile::Quantile;
use crate::scalar::{ColumnType, Scalar};
use crate::value::Value;
use proptest::prelude::*;

/// Numbers that look random: SplitMix64.
fn stream(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    })
}

fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap()
}

/// Rows in orders that are hard on sketches.
fn arrivals(length: usize, seed: u64) -> Vec<(&'static str, Vec<i64>)> {
    let sorted: Vec<i64> = (0..).take(length).collect();
    let reversed = sorted.iter().rev().copied().collect();
    let zigzag = sorted.iter().map(|&at| if at % 2 == 0 { at } else { -at }).collect();
    let repeated = sorted.iter().map(|&at| at % 1_000).collect();
    let few = stream(seed).take(length).map(|word| integer(word % 7)).collect();
    let random = stream(seed).take(length).map(|word| integer(word >> 1)).collect();
    let mut nearly_same = vec![5; length];
    nearly_same[length / 2..].copy_from_slice(&sorted[length / 2..]);
    vec![
        ("sorted", sorted),
        ("reversed", reversed),
        ("zigzag", zigzag),
        ("the same in every tile", repeated),
        ("few values", few),
        ("random", random),
        ("half one value", nearly_same),
    ]
}

fn quantiles_of(k: u16, values: &[i64]) -> Option<Quantiles> {
    let mut sketch: Option<Quantiles> = None;
    for &value in values {
        let number = Number::of(Scalar::I64(value));
        sketch.get_or_insert_with(|| Quantiles::before(number)).add(k, number);
    }
    sketch
}

/// Merges the sketches of tiles of equal length, in one of three shapes.
fn merged_quantiles(k: u16, values: &[i64], tile_count: usize, shape: usize) -> Quantiles {
    let chunks = values.chunks(values.len().div_ceil(tile_count));
    let mut tiles: Vec<Quantiles> = chunks.filter_map(|chunk| quantiles_of(k, chunk)).collect();
    if shape == 1 {
        tiles.reverse();
    }
    while 1 < tiles.len() {
        let step = if shape == 2 { 2 } else { tiles.len() };
        tiles = tiles
            .chunks(step)
            .map(|chunk| {
                let mut whole = chunk[0].clone();
                chunk[1..].iter().for_each(|tile| whole.merge(k, tile));
                whole
            })
            .collect();
    }
    tiles.remove(0)
}

/// How far the rank of an answer lies from the quantile, as a share of all rows.
fn rank_error(sorted: &[i64], quantile: u32, answer: &Value) -> f64 {
    let Value::Int(answer) = *answer else { panic!("{answer:?} is an input") };
    let below = sorted.partition_point(|value| *value < answer);
    let upto = sorted.partition_point(|value| *value <= answer);
    assert!(below < upto, "{answer} is an input");
    let rank = |count: usize| f64::from(u32::try_from(count).unwrap());
    let wanted = f64::from(quantile) / 100.0 * rank(sorted.len());
    let [low, high] = [rank(below) + 1.0, rank(upto)];
    let error = if wanted < low { low - wanted } else { wanted - high };
    error.max(0.0) / rank(sorted.len())
}

#[test]
fn percentiles_keep_their_bound_over_any_tiling() {
    let k = PERCENTILE_K_DEFAULT;
    let (mut asked, mut missed, mut worst) = (0, 0, 0.0_f64);
    for (length, tile_counts) in [(3_000, &[1, 30][..]), (100_000, &[1, 30, 1_000][..])] {
        for seed in 0..3 {
            for (name, values) in arrivals(length, seed) {
                let mut sorted = values.clone();
                sorted.sort_unstable();
                for (&tile_count, shape) in tile_counts.iter().cycle().zip(0..tile_counts.len() * 3)
                {
                    let sketch = merged_quantiles(k, &values, tile_count, shape % 3);
                    assert_eq!(sketch.rows(), u64::try_from(length).unwrap());
                    for percent in 1..100 {
                        let quantile =
                            Quantile::parse(format!("0.{percent:02}").as_bytes()).unwrap();
                        let number = sketch.at_rank(quantile.nearest_rank(sketch.rows()));
                        let error = rank_error(&sorted, percent, &number.value(ColumnType::I64));
                        asked += 1;
                        missed += u32::from(0.02 < error);
                        worst = worst.max(error);
                        assert!(
                            error < 0.04,
                            "{name}, {tile_count} tiles: {percent}% is off by {error}"
                        );
                    }
                }
            }
        }
    }
    println!("{asked} percentiles, {missed} beyond 0.02, the worst off by {worst:.4}");
    assert!(f64::from(missed) <= 0.01 * f64::from(asked), "{missed} of {asked}");
}

#[test]
fn percentiles_are_exact_up_to_k_rows() {
    for k in [8, 200, 16_384] {
        let values: Vec<i64> =
            stream(u64::from(k)).take(usize::from(k)).map(|word| integer(word % 500)).collect();
        let mut sorted = values.clone();
        sorted.sort_unstable();
        for tile_count in [1, 3, 8] {
            let sketch = merged_quantiles(k, &values, tile_count, tile_count % 3);
            for text in ["0", "0.001", "0.07", "0.5", "0.93", "1"] {
                let rank = Quantile::parse(text.as_bytes()).unwrap().nearest_rank(sketch.rows());
                let expected = sorted[usize::try_from(rank).unwrap() - 1];
                let found = sketch.at_rank(rank).value(ColumnType::I64);
                assert_eq!(found, Value::Int(expected), "k {k}, quantile {text}");
            }
        }
    }
}

#[test]
fn a_sketch_of_quantiles_stays_small() {
    let sketch = quantiles_of(PERCENTILE_K_DEFAULT, &arrivals(200_000, 1)[5].1).unwrap();
    let mut bytes = Vec::new();
    sketch.encode(ColumnType::I64, &mut bytes);
    assert!(bytes.len() < 6_000, "{} bytes", bytes.len());
}

fn top_of(n: u16, values: &[i64]) -> Top<Number> {
    let mut top = Top::default();
    values.iter().for_each(|&value| top.add(n, Scalar::I64(value)));
    top
}

/// Rows of many values, few of which are frequent, in several orders.
fn skewed(length: usize, seed: u64) -> Vec<Vec<i64>> {
    let by_rank = |word: u64| integer((1 << (word % 18)) + (word >> 20) % (1 << (word % 18)));
    let zipf: Vec<i64> = stream(seed).take(length).map(by_rank).collect();
    let mut sorted = zipf.clone();
    sorted.sort_unstable();
    let reversed = sorted.iter().rev().copied().collect();
    let distinct = (0..).take(length).collect();
    let rounds = (0..).take(length).map(|at| at % 100).collect();
    vec![zipf, sorted, reversed, distinct, rounds]
}

#[test]
fn counts_of_the_most_frequent_values_keep_their_bound() {
    let mut worst = 0.0_f64;
    for n in [1, 8, 20] {
        for (seed, tile_count) in [(1, 1), (2, 7), (3, 30), (4, 1_000)] {
            for values in skewed(30_000, seed) {
                let chunks = values.chunks(values.len().div_ceil(tile_count));
                let mut top = Top::default();
                chunks.for_each(|chunk| top.merge(n, &top_of(n, chunk)));
                worst = worst.max(check_top(n, &values, &top));
            }
        }
    }
    println!("counts are off by at most {worst:.3} of what they may be");
    assert!(0.2 < worst, "the orders are hard on counters");
}

/// Checks every count against brute force; gives the largest error as a share of the bound.
fn check_top(n: u16, values: &[i64], top: &Top<Number>) -> f64 {
    let mut counts = std::collections::BTreeMap::new();
    values.iter().for_each(|value| *counts.entry(*value).or_insert(0_u64) += 1);
    let mut ordered: Vec<(i64, u64)> =
        counts.iter().map(|(value, count)| (*value, *count)).collect();
    ordered.sort_by_key(|(value, count)| (std::cmp::Reverse(*count), *value));
    ordered.truncate(usize::from(n));
    let Value::List(found) = top.finish(ColumnType::I64, n) else { panic!("a list") };
    assert_eq!(found.len(), ordered.len());
    let bound = values.len().div_euclid(counter_count(n));
    let bound = f64::from(u32::try_from(bound).unwrap());
    let mut worst = 0.0_f64;
    for (pair, (_, expected)) in found.iter().zip(&ordered) {
        let Value::List(pair) = pair else { panic!("a pair") };
        let [Value::Int(value), Value::Int(count)] = pair[..] else { panic!("value and count") };
        let count = u64::try_from(count).unwrap();
        for expected in [counts[&value], *expected] {
            let error = f64::from(u32::try_from(count.abs_diff(expected)).unwrap());
            assert!(error <= bound, "{value} is counted {count} times, not {expected}");
            worst = worst.max(error / bound);
        }
    }
    if counts.len() <= counter_count(n) {
        assert_eq!(worst, 0.0, "few values are counted exactly");
    }
    worst
}

#[test]
fn as_many_values_as_counters_are_counted_exactly() {
    for n in [1, 9] {
        let most = counter_count(n);
        let values: Vec<i64> = stream(9)
            .take(20_000)
            .map(|word| integer(word % u64::try_from(most).unwrap()))
            .collect();
        let mut top = Top::default();
        values.chunks(37).for_each(|chunk| top.merge(n, &top_of(n, chunk)));
        assert_eq!(check_top(n, &values, &top), 0.0);
        assert_eq!(top.offset(), 0);
    }
}

#[test]
fn a_list_is_full_even_where_no_value_is_frequent() {
    let values: Vec<i64> = (0..5_000).collect();
    let Value::List(found) = top_of(3, &values).finish(ColumnType::I64, 3) else {
        panic!("a list")
    };
    assert_eq!(found.len(), 3);
}

fn distinct_of(precision: u8, values: &[i64]) -> Distinct {
    let mut distinct = Distinct::default();
    values.iter().for_each(|&value| distinct.add(precision, Scalar::I64(value)));
    distinct
}

#[test]
fn distinct_counts_depend_on_the_set_of_values_alone() {
    for precision in [4, 7, 8, 12, 16] {
        for count in [1, 7, 8, 24, 25, 384, 385, 7_000] {
            let values: Vec<i64> = (0..count).map(|at| at * 31).collect();
            let whole = distinct_of(precision, &values);
            let mut backwards = Distinct::default();
            for chunk in values.chunks(1 + values.len() / 9).rev() {
                let twice: Vec<i64> = chunk.iter().rev().chain(chunk).copied().collect();
                backwards.merge(precision, &distinct_of(precision, &twice));
            }
            assert_eq!(backwards, whole, "precision {precision}, {count} values");
        }
    }
}

#[test]
fn distinct_counts_err_as_their_precision_says() {
    for precision in [4, 6, 10, 12] {
        let expected_error = 1.04 / 2_f64.powi(i32::from(precision)).sqrt();
        for count in [50_u64, 400, 3_000, 10_000] {
            let trials = 200_u32;
            let errors = (0..u64::from(trials)).map(|trial| {
                let values: Vec<i64> = (0..count).map(|at| integer((trial << 40) + at)).collect();
                let estimate = distinct_of(precision, &values).estimate(precision);
                let [estimate, count] = [estimate, count].map(crate::number::nearest_double);
                (estimate - count) / count
            });
            let squares: f64 = errors.map(|error| error * error).sum();
            let error = (squares / f64::from(trials)).sqrt();
            println!("precision {precision}, {count} values: {error:.5} of {expected_error:.5}");
            // The root mean square of 40 trials is within a third of what it estimates.
            assert!(
                error < 1.34 * expected_error,
                "precision {precision}, {count} values: {error}"
            );
        }
    }
}

#[test]
fn few_distinct_values_are_counted_exactly_and_kept_small() {
    for count in [1, 16, 100, 384] {
        let values: Vec<i64> = (0..count).collect();
        let distinct = distinct_of(12, &values);
        assert_eq!(distinct.estimate(12), u64::try_from(count).unwrap());
        let mut bytes = Vec::new();
        distinct.encode(&mut bytes);
        assert_eq!(bytes.len(), 1 + 4 * values.len());
    }
    let mut bytes = Vec::new();
    distinct_of(12, &(0..100_000).collect::<Vec<_>>()).encode(&mut bytes);
    assert!(bytes.len() < 2_200, "{} bytes for 4,096 registers", bytes.len());
}

proptest! {
    #[test]
    fn images_read_back(
        values in proptest::collection::vec(-50_i64..50, 1..400),
        precision in 4_u8..=16,
        scale in prop_oneof![Just(1), Just(1_i64 << 56)],
    ) {
        let values: Vec<i64> = values.into_iter().map(|value| value * scale).collect();
        let distinct = distinct_of(precision, &values);
        let read = read_hll(&print_hll(&distinct, precision), precision);
        prop_assert_eq!(read.as_ref(), Ok(&distinct));
        let quantiles = quantiles_of(8, &values).unwrap();
        let numbers = if scale == 1 { Numbers::Doubles } else { Numbers::Integers };
        let image = print_kll(&quantiles, 8, ColumnType::I64, numbers);
        let read = read_kll(&image, 8, ColumnType::I64, numbers);
        prop_assert_eq!(read, Ok(Some(quantiles)));
        let top = top_of(1, &values);
        let image = print_frequent(&top, 1, ColumnType::I64);
        let read = read_frequent::<Number>(&image, 1, ColumnType::I64).unwrap().unwrap();
        prop_assert_eq!((read.rows(), read.offset()), (top.rows(), top.offset()));
        let counted = top.counters().iter().filter(|(_, count)| 0 < *count);
        prop_assert!(read.counters().iter().eq(counted));
    }

    #[test]
    fn damaged_images_never_panic(
        values in proptest::collection::vec(-500_i64..500, 1..900),
        precision in 4_u8..=16,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let images = [
            print_hll(&distinct_of(precision, &values), precision),
            print_kll(&quantiles_of(8, &values).unwrap(), 8, ColumnType::I64, Numbers::Doubles),
            print_frequent(&top_of(1, &values), 1, ColumnType::I64),
        ];
        for mut image in images {
            for (at, byte) in &damage {
                let at = at.index(image.len());
                image[at] = *byte;
            }
            read_any(&image);
            image.truncate(cut.index(image.len()));
            read_any(&image);
        }
    }

    #[test]
    fn garbage_images_never_panic(image in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_any(&image);
    }
}

#[test]
fn coupons_without_a_register_value_are_refused() {
    // Twenty of them, beyond the few that are counted without the estimator.
    let mut bytes = vec![0];
    (1_u32..=20).for_each(|coupon| bytes.extend_from_slice(&coupon.to_le_bytes()));
    assert!(Distinct::decode(12, &mut super::Reader::new(&bytes)).is_err());
    for coupon in bytes[1..].as_chunks_mut::<4>().0 {
        coupon[3] |= 1 << 2;
    }
    let distinct = Distinct::decode(12, &mut super::Reader::new(&bytes)).unwrap();
    assert_eq!(distinct.estimate(12), 20);
}

/// Reads an image as every sketch and merges what was read.
fn read_any(image: &[u8]) {
    for precision in [4, 12] {
        if let Ok(mut distinct) = read_hll(image, precision) {
            distinct.merge(precision, &distinct.clone());
            distinct.estimate(precision);
        }
    }
    for kind in [ColumnType::I64, ColumnType::F64] {
        if let Ok(Some(mut quantiles)) = read_kll(image, 8, kind, Numbers::Doubles) {
            quantiles.merge(8, &quantiles.clone());
            let mut bytes = Vec::new();
            quantiles.encode(kind, &mut bytes);
            assert!(Quantiles::decode(8, kind, &mut super::Reader::new(&bytes)).is_ok());
        }
        if let Ok(Some(mut top)) = read_frequent::<Number>(image, 1, kind) {
            top.merge(1, &top.clone());
            top.finish(kind, 1);
        }
    }
    if let Ok(Some(mut top)) = read_frequent::<Text>(image, 1, ColumnType::Str) {
        top.merge(1, &top.clone());
        top.finish(ColumnType::Str, 1);
    }
}

#[test]
fn the_outermost_end_is_that_of_the_pick() {
    // Guards the rule that both ends share: a list that is full drops what lies further in.
    use super::entries::{Entries, EntryRule, Repeats};
    let rule = |pick| EntryRule {
        pick,
        repeats: Repeats::Dropped,
        entry_count_max: 2,
        kind: ColumnType::I64,
    };
    for (pick, expected) in [(Pick::Least, [1, 2]), (Pick::Greatest, [2, 1])] {
        let mut entries: Entries<Number> = Entries::default();
        for (timestamp, value) in [(10, 1), (20, 2), (30, 3), (40, 2), (50, 1)] {
            entries.add(rule(pick), timestamp, Scalar::I64(value));
        }
        let expected = expected.map(Value::Int).to_vec();
        assert_eq!(entries.finish(rule(pick)), Value::List(expected), "{pick:?}");
    }
}
