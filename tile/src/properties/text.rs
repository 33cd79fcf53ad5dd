//! Partials as text: what is printed reads back to the same state.

use super::rows::{SPAN, any_double, any_rows, features, layout_of, state_of, tiles_of};
use crate::decimal::{print_moments, print_sum, read_moments, read_sum};
use crate::double_double::DoubleDouble;
use crate::draft::accumulator_from_partials;
use crate::float_sum::FloatSum;
use crate::moments::Moments;
use proptest::prelude::*;

proptest! {
    #[test]
    fn partials_read_back_as_the_same_state(rows in any_rows()) {
        let features = features();
        let layout = layout_of(&features);
        for (start, tile) in tiles_of(&layout, &rows) {
            let printed: Vec<String> = features
                .iter()
                .map(|feature| layout.print_partial(feature, &tile))
                .collect();
            for text in &printed {
                let json: Result<serde_json::Value, _> = serde_json::from_str(text);
                prop_assert!(json.is_ok(), "{} is JSON", text);
            }
            let given: Vec<(usize, &[u8])> = printed
                .iter()
                .enumerate()
                .map(|(at, text)| (at, text.as_bytes()))
                .collect();
            let tile_range = (start, start + SPAN);
            let read = accumulator_from_partials(&layout, &features, &given, tile_range);
            prop_assert_eq!(read, Ok(tile), "{:?}", printed);
        }
    }

    #[test]
    fn sums_read_back(values in proptest::collection::vec(any_double(), 0..20)) {
        let sum = values.into_iter().fold(FloatSum::ZERO, FloatSum::add);
        let text = print_sum(sum);
        prop_assert_eq!(read_sum(&text), Some(sum), "{}", text);
    }

    #[test]
    fn moments_read_back(values in proptest::collection::vec(any_double(), 1..20)) {
        let moments = (0..).zip(values).fold(Moments::ZERO, |moments, (count, value)| {
            moments.add(count, DoubleDouble::from_f64(value + 0.0))
        });
        let [mean, m2] = print_moments(moments);
        prop_assert_eq!(read_moments(&mean, &m2), Some(moments), "{} {}", mean, m2);
    }

    #[test]
    fn foreign_partials_never_panic(text in ".{0,40}", which in any::<prop::sample::Index>()) {
        let features = features();
        let layout = layout_of(&features);
        let at = which.index(features.len());
        let given = [(at, text.as_bytes())];
        if let Ok(state) = accumulator_from_partials(&layout, &features, &given, (0, SPAN)) {
            prop_assert!(layout.is_empty(&state) || state != state_of(&layout, &[]));
        }
    }

    #[test]
    fn numbers_of_any_form_never_panic(
        mantissa in "-?[0-9]{1,30}(\\.[0-9]{1,30})?",
        exponent in proptest::option::of(-9_999_i32..9_999),
    ) {
        let text = exponent.map_or(mantissa.clone(), |exponent| format!("{mantissa}e{exponent}"));
        if let Some(sum) = read_sum(&text) {
            prop_assert_eq!(read_sum(&print_sum(sum)), Some(sum));
        }
        if let Some(moments) = read_moments(&text, &text) {
            let [mean, m2] = print_moments(moments);
            prop_assert_eq!(read_moments(&mean, &m2), Some(moments));
        }
    }
}
