//! Lanes of any words give them back, one by one and folded.

use super::exact::{fixed, is_nearest};
use super::rows::any_double;
use crate::accumulator::Accumulator;
use crate::block::{Block, TileRow, encode_block};
use crate::component::{Component, ComponentId, ComponentKind};
use crate::frame::encode_lane;
use crate::lane::{CHUNK, Lane, LaneKind};
use crate::layout::Layout;
use crate::scalar::{ColumnType, Scalar};
use num_bigint::BigInt;
use proptest::prelude::*;

const INTEGERS: LaneKind = LaneKind { is_double: false, empty: 0 };
const SPARSE_INTEGERS: LaneKind = LaneKind { is_double: false, empty: i64::MAX.cast_unsigned() };
const DOUBLES: LaneKind = LaneKind { is_double: true, empty: 0 };
const SPARSE_DOUBLES: LaneKind = LaneKind { is_double: true, empty: f64::INFINITY.to_bits() };

fn integers() -> impl Strategy<Value = Vec<u64>> {
    let spread = prop_oneof![Just(0_i64), Just(200), Just(60_000), Just(1 << 31), Just(1 << 40)];
    let base = prop_oneof![Just(0_i64), Just(-5), Just(1 << 45), Just(-(1 << 62))];
    let narrow = (base, spread).prop_flat_map(|(base, spread)| {
        let word = (base..=base + spread).prop_map(i64::cast_unsigned);
        prop::collection::vec(word, 1..300)
    });
    prop_oneof![narrow, prop::collection::vec(any::<u64>(), 1..80)]
}

fn doubles() -> impl Strategy<Value = Vec<u64>> {
    let values = prop_oneof![
        Just((-5_000_i32..5_000).prop_map(|value| f64::from(value) * 0.25).boxed()),
        Just((0_i32..90_000).prop_map(|value| f64::from(value) / 100.0).boxed()),
        Just((0_i32..3).prop_map(|value| f64::from(value) * 1e-7).boxed()),
        Just(Just(-0.0).boxed()),
        Just(Just(0.1).boxed()),
        Just(any_double().boxed()),
        Just((-3.0_f64..3.0).boxed()),
    ];
    values.prop_flat_map(|value| prop::collection::vec(value.prop_map(f64::to_bits), 1..300))
}

/// Any lane: its kind and words, some of them empty if it may have holes.
fn any_lane() -> impl Strategy<Value = (LaneKind, Vec<u64>)> {
    let lane = prop_oneof![
        (Just(INTEGERS), integers()),
        (Just(SPARSE_INTEGERS), integers()),
        (Just(DOUBLES), doubles()),
        (Just(SPARSE_DOUBLES), doubles()),
    ];
    let holes = prop_oneof![Just(0), Just(u64::MAX), any::<u64>()];
    (lane, holes).prop_map(|((kind, mut words), holes)| {
        if kind.empty != 0 {
            let marked = (0_u32..).map(|at| holes >> (at % 64) & 1 == 1);
            words.iter_mut().zip(marked).filter(|(_, hole)| *hole).for_each(|(word, _)| {
                *word = kind.empty;
            });
        }
        (kind, words)
    })
}

proptest! {
    #[test]
    fn a_lane_gives_back_its_words((kind, words) in any_lane()) {
        let mut bytes = Vec::new();
        let descriptor = encode_lane(kind, &words, &mut bytes);
        prop_assert!(descriptor.is_valid());
        prop_assert_eq!(descriptor.payload_bytes(words.len()), bytes.len());
        let limit = 8 * words.len() + 9 + words.len().div_ceil(8);
        prop_assert!(bytes.len() <= limit, "{} bytes for {} words", bytes.len(), words.len());
        let lane = Lane::new(descriptor, kind, words.len(), &bytes);
        prop_assert!(lane.has_clean_holes(words.len()));
        let one_by_one: Vec<u64> = (0..words.len()).map(|at| lane.word(at)).collect();
        prop_assert_eq!(&one_by_one, &words);
        let mut folded = Vec::new();
        lane.fold_words(0..words.len(), (), |(), word| folded.push(word));
        prop_assert_eq!(&folded, &words);
        let mut chunk = [0; CHUNK];
        let some = words.len() / 3..words.len().min(words.len() / 3 + CHUNK);
        lane.decode(some.clone(), &mut chunk);
        prop_assert_eq!(&chunk[..some.len()], &words[some]);
    }

    #[test]
    fn lanes_of_integers_fold(words in integers(), from in any::<prop::sample::Index>()) {
        let mut bytes = Vec::new();
        let descriptor = encode_lane(INTEGERS, &words, &mut bytes);
        let lane = Lane::new(descriptor, INTEGERS, words.len(), &bytes);
        let from = from.index(words.len());
        let chosen = &words[from..];
        let signed = || chosen.iter().map(|word| word.cast_signed());
        prop_assert_eq!(lane.sum_signed(from..words.len()), signed().map(i128::from).sum::<i128>());
        let unsigned = chosen.iter().fold(0_u64, |sum, &word| sum.saturating_add(word));
        prop_assert_eq!(lane.sum_unsigned(from..words.len()), unsigned);
        let least = lane.least(from..words.len()).map(u64::cast_signed);
        prop_assert!(least.is_none() || least == signed().min());
        let greatest = lane.greatest(from..words.len()).map(u64::cast_signed);
        prop_assert!(greatest.is_none() || greatest == signed().max());
    }

    #[test]
    fn lanes_of_doubles_fold(words in doubles(), from in any::<prop::sample::Index>()) {
        let mut bytes = Vec::new();
        let descriptor = encode_lane(DOUBLES, &words, &mut bytes);
        let lane = Lane::new(descriptor, DOUBLES, words.len(), &bytes);
        let from = from.index(words.len());
        let values: Vec<f64> = words[from..].iter().map(|&word| f64::from_bits(word)).collect();
        let mut folded = Vec::new();
        lane.fold_doubles(from..words.len(), (), |(), value| folded.push(value.to_bits()));
        prop_assert_eq!(&folded, &words[from..]);
        if let Some(sum) = lane.exact_sum(from..words.len()) {
            prop_assert_eq!(fixed(sum), values.iter().map(|&value| fixed(value)).sum::<BigInt>());
        }
        if let Some(least) = lane.least(from..words.len()) {
            prop_assert_eq!(f64::from_bits(least), values.iter().copied().fold(f64::MAX, f64::min));
        }
        if let Some(greatest) = lane.greatest(from..words.len()) {
            let expected = values.iter().copied().fold(f64::MIN, f64::max);
            prop_assert_eq!(f64::from_bits(greatest), expected);
        }
    }

    #[test]
    fn starts_are_found_in_blocks_of_any_size(
        steps in prop::collection::vec(prop_oneof![Just(1_i64), 1_i64..400], 1..700),
        first in -100_000_i64..100_000,
        asked in prop::collection::vec(any::<prop::sample::Index>(), 20),
    ) {
        let layout = sum_layout();
        let state = layout.empty();
        let starts: Vec<i64> = steps
            .iter()
            .scan(first, |start, step| {
                *start += step;
                Some(*start * 5)
            })
            .collect();
        let rows: Vec<_> = starts
            .iter()
            .map(|&start| TileRow { start, base: false, accumulator: &state })
            .collect();
        let mut bytes = Vec::new();
        encode_block(&layout, 5, &[], &rows, &mut bytes);
        let block = Block::parse(&bytes, &layout, 5).unwrap();
        for (at, &start) in starts.iter().enumerate() {
            prop_assert_eq!(block.start(at), start);
        }
        for at in asked {
            let start = starts[at.index(starts.len())];
            for timestamp in start - 6..start + 6 {
                let expected = starts.partition_point(|&start| start < timestamp);
                prop_assert_eq!(block.lower_bound(timestamp), expected);
            }
        }
    }

    #[test]
    fn sums_of_large_blocks_are_exact_to_their_bound(words in doubles()) {
        let layout = sum_layout();
        let states: Vec<Accumulator> = words
            .iter()
            .map(|&word| {
                let mut state = layout.empty();
                let value = f64::from_bits(word) + 0.0;
                layout.add_row(&mut state, 0, &[Some(Scalar::F64(value))]);
                layout.add_row(&mut state, 0, &[Some(Scalar::F64(value / 3.0))]);
                state
            })
            .collect();
        let rows: Vec<_> = states
            .iter()
            .zip(0..)
            .map(|(accumulator, start)| TileRow { start, base: false, accumulator })
            .collect();
        let mut bytes = Vec::new();
        encode_block(&layout, 1, &[], &rows, &mut bytes);
        let block = Block::parse(&bytes, &layout, 1).unwrap();
        let mut folded = layout.empty();
        block.fold(&layout, 0..rows.len(), &mut folded);
        let mut merged = layout.empty();
        states.iter().for_each(|state| layout.merge(&mut merged, state));
        let sum = |state| layout.finish(crate::Function::Sum, Some(0), state);
        let (crate::Value::Double(folded), crate::Value::Double(merged)) =
            (sum(&folded), sum(&merged))
        else {
            panic!("the sum of doubles is one");
        };
        let values = || words.iter().map(|&word| f64::from_bits(word) + 0.0);
        let exact: BigInt = values().map(|value| fixed(value) + fixed(value / 3.0)).sum();
        let is_cancelled = folded.abs() < 1e-20 * values().map(f64::abs).fold(0.0, f64::max);
        prop_assert!(is_cancelled || is_nearest(folded, &exact, 1) || folded == merged);
    }
}

fn sum_layout() -> Layout {
    let component = |kind| Component { column: Some(0), kind };
    Layout::new(vec![
        (ComponentId::new(0), component(ComponentKind::Count)),
        (ComponentId::new(1), component(ComponentKind::SumF64)),
        (ComponentId::new(2), component(ComponentKind::Max(ColumnType::F64))),
    ])
}

/// Bytes of a block of ten tiles whose values follow from their numbers.
fn block_bytes(value: fn(f64) -> f64, maximum: fn(f64) -> f64) -> usize {
    let layout = sum_layout();
    let states: Vec<Accumulator> = (0_u32..10)
        .map(|tile| {
            let mut state = layout.empty();
            let number = f64::from(tile + 1_234);
            let max_alone = layout.project(&[ComponentId::new(2)]);
            let mut most = max_alone.empty();
            max_alone.add_row(&mut most, 0, &[Some(Scalar::F64(maximum(number)))]);
            layout.add_row(&mut state, 0, &[Some(Scalar::F64(value(number)))]);
            layout.merge_mapped(&mut state, &max_alone, &most);
            state
        })
        .collect();
    let rows: Vec<_> = states
        .iter()
        .zip(19_675..)
        .map(|(accumulator, day)| TileRow { start: day * 86_400_000, base: false, accumulator })
        .collect();
    let mut bytes = Vec::new();
    encode_block(&layout, 86_400_000, &[], &rows, &mut bytes);
    bytes.len()
}

#[test]
fn deltas_take_no_more_bytes_than_their_spread() {
    let bounds = [(0xff, 1), (0xffff, 2), (0xff_ffff, 3), (0xffff_ffff, 4), (0x1_0000_0000, 8)];
    for (spread, width) in bounds {
        let words = [0, spread, 1];
        let mut bytes = Vec::new();
        let descriptor = encode_lane(INTEGERS, &words, &mut bytes);
        assert_eq!(bytes.len(), width * words.len());
        let lane = Lane::new(descriptor, INTEGERS, words.len(), &bytes);
        assert_eq!(words, [lane.word(0), lane.word(1), lane.word(2)]);
    }
}

#[test]
fn ten_tiles_of_halves_and_quarters_take_40_bytes() {
    assert_eq!(block_bytes(|number| number * 0.5, |number| number + 0.25), 40);
}

#[test]
fn ten_tiles_of_full_mantissas_take_less_than_18_bytes_each() {
    let bytes = block_bytes(f64::sqrt, f64::cbrt);
    assert!(bytes < 180, "{bytes} bytes");
}
