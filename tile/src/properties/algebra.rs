//! Any tiling, any order and any way of merging answers as brute force over the rows.

use super::brute::check;
use super::rows::{Row, any_rows, features, layout_of, state_of, tiles_of};
use crate::accumulator::Accumulator;
use crate::finish::Finisher;
use crate::layout::Layout;
use proptest::prelude::*;

/// Checks every feature of a state against the rows that went into it.
pub(super) fn check_all(layout: &Layout, accumulator: &Accumulator, rows: &[Row]) {
    for feature in features() {
        let column = feature.column.map(|(column, _)| column);
        let finisher = Finisher::new(layout, feature.function, column).unwrap();
        let answer = finisher.finish(accumulator);
        assert_eq!(
            format!("{answer:?}"),
            format!("{:?}", layout.finish(feature.function, column, accumulator)),
            "a prepared finish is a finish"
        );
        check(feature.function, usize::from(column.unwrap_or(0)), rows, &answer);
    }
}

fn merged<'a>(layout: &Layout, parts: impl IntoIterator<Item = &'a Accumulator>) -> Accumulator {
    let mut whole = layout.empty();
    parts.into_iter().for_each(|part| layout.merge(&mut whole, part));
    whole
}

proptest! {
    #[test]
    fn one_state_answers_as_brute_force(rows in any_rows()) {
        let layout = layout_of(&features());
        check_all(&layout, &state_of(&layout, &rows), &rows);
    }

    #[test]
    fn tiles_merged_in_any_order_answer_as_brute_force(
        rows in any_rows(),
        order in any::<prop::sample::Index>(),
    ) {
        let layout = layout_of(&features());
        let tiles: Vec<Accumulator> = tiles_of(&layout, &rows).into_values().collect();
        check_all(&layout, &merged(&layout, &tiles), &rows);
        check_all(&layout, &merged(&layout, tiles.iter().rev()), &rows);
        if !tiles.is_empty() {
            let (left, right) = tiles.split_at(order.index(tiles.len()));
            let mut whole = merged(&layout, right);
            layout.merge(&mut whole, &merged(&layout, left));
            check_all(&layout, &whole, &rows);
        }
    }

    #[test]
    fn nothing_merged_changes_nothing(rows in any_rows()) {
        let layout = layout_of(&features());
        let state = state_of(&layout, &rows);
        let mut merged = state.clone();
        layout.merge(&mut merged, &layout.empty());
        prop_assert_eq!(&merged, &state);
        let mut merged = layout.empty();
        layout.merge(&mut merged, &state);
        prop_assert_eq!(&merged, &state);
        prop_assert_eq!(layout.is_empty(&state), rows.is_empty());
        layout.reset(&mut merged);
        prop_assert_eq!(merged, layout.empty());
    }

    #[test]
    fn merging_commutes_but_for_the_last_bits(
        rows in any_rows(),
        at in any::<prop::sample::Index>(),
    ) {
        let layout = layout_of(&features());
        let (left, right) = rows.split_at(at.index(rows.len() + 1));
        let (left, right) = (state_of(&layout, left), state_of(&layout, right));
        let mut one = left.clone();
        layout.merge(&mut one, &right);
        let mut other = right;
        layout.merge(&mut other, &left);
        check_all(&layout, &one, &rows);
        check_all(&layout, &other, &rows);
    }

    #[test]
    fn a_projection_merges_what_it_has(rows in any_rows(), kept in any::<u64>()) {
        let layout = layout_of(&features());
        let needed: Vec<_> = layout
            .components()
            .iter()
            .map(|(id, _)| *id)
            .filter(|id| kept >> (id.number() / 2) & 1 == 1)
            .collect();
        let projection = layout.project(&needed);
        let mut into = projection.empty();
        for tile in tiles_of(&layout, &rows).values() {
            projection.merge_mapped(&mut into, &layout, tile);
        }
        for feature in features() {
            let column = feature.column.map(|(column, _)| column);
            if let Some(finisher) = Finisher::new(&projection, feature.function, column) {
                let answer = finisher.finish(&into);
                check(feature.function, usize::from(column.unwrap_or(0)), &rows, &answer);
            }
        }
        // Merged into a state of the whole layout, what the projection lacks stays empty.
        let mut back = layout.empty();
        layout.merge_mapped(&mut back, &projection, &into);
        let mut again = projection.empty();
        projection.merge_mapped(&mut again, &layout, &back);
        prop_assert_eq!(again, into);
    }
}

#[test]
fn a_variance_far_from_zero_keeps_its_digits() {
    // Thirty daily tiles around 1.7e9 whose true variance is near 1: sums of squares answer 0.
    let layout = layout_of(&features());
    let mut rows = Vec::new();
    for tile in 0..30_i64 {
        for value in 0..40_i32 {
            let step = f64::from((value * 7 + 3) % 40);
            let double = 1.7e9 + (step - 19.5) / 11.6;
            rows.push(Row {
                timestamp: tile * super::rows::SPAN,
                cells: [None, Some(super::rows::Cell::F64(double)), None],
            });
        }
    }
    let tiles = tiles_of(&layout, &rows);
    let whole = merged(&layout, tiles.values());
    check_all(&layout, &whole, &rows);
    let answer = layout.finish(crate::Function::VarPop, Some(1), &whole);
    let crate::Value::Double(answer) = answer else {
        panic!("{answer:?} is a variance");
    };
    let mean = rows.iter().map(shifted).sum::<f64>() / 1_200.0;
    let squares = rows.iter().map(|row| (shifted(row) - mean).powi(2)).sum::<f64>();
    let expected = squares / 1_200.0;
    assert!((answer - expected).abs() < 1e-9 * expected, "{answer} is near {expected}");
}

/// The double of a row less 1.7e9, which is exact.
fn shifted(row: &Row) -> f64 {
    match row.cells[1] {
        Some(super::rows::Cell::F64(value)) => value - 1.7e9,
        _ => panic!("every row has a double"),
    }
}
