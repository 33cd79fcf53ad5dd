//! A tile's state put together from the partials of several features, which may share components
//! and must then agree. It knows nothing of where partials come from.

use crate::accumulator::Accumulator;
use crate::component::{Component, ComponentKind};
use crate::error::TileError;
use crate::expression::Function;
use crate::float_sum::FloatSum;
use crate::integer_sum::sum_of_words;
use crate::layout::{FeatureBinding, Layout, Slot};
use crate::moments::Moments;
use crate::number::{index, nearest_double, power_of_two};
use crate::partial::{Part, Parts, components_of_feature, read_partial};

/// The state of the tile `[start, end)` in which these partials, each of the feature at that
/// position of `features`, are given as JSON and all else is empty. `features` are all that the
/// view has.
///
/// Refuses a partial that does not fit its feature. Where features share components, which those
/// of one column that count, sum or average do, it refuses partials that disagree, and those that
/// are not given for all such features. A sum without a feature that counts its values counts as
/// the fewest values that can have it.
pub fn accumulator_from_partials(
    layout: &Layout,
    features: &[FeatureBinding],
    given: &[(usize, &[u8])],
    (start, end): (i64, i64),
) -> Result<Accumulator, TileError> {
    let mut draft = Draft {
        layout,
        features,
        accumulator: layout.empty(),
        given_by: vec![None; layout.components().len()],
        touched_by: vec![None; layout.components().len()],
    };
    for &(feature, text) in given {
        let problem = |problem| draft_error(&features[feature], problem);
        let parts = read_partial(&features[feature], text, start..end).map_err(problem)?;
        draft.take(feature, parts).map_err(problem)?;
    }
    draft.check_complete(given)?;
    for &(feature, _) in given {
        let problem = |problem| draft_error(&features[feature], problem);
        draft.settle(feature).map_err(problem)?;
    }
    Ok(draft.accumulator)
}

/// A state while partials are put into it.
struct Draft<'a> {
    layout: &'a Layout,
    features: &'a [FeatureBinding],
    accumulator: Accumulator,
    /// For each component, the feature whose partial gave it.
    given_by: Vec<Option<usize>>,
    /// For each component, a feature that needs it and was given.
    touched_by: Vec<Option<usize>>,
}

impl Draft<'_> {
    /// Puts the parts of a feature in their places.
    fn take(&mut self, feature: usize, parts: Parts) -> Result<(), String> {
        for component in components_of_feature(&self.features[feature]) {
            let at = self.place(component);
            self.touched_by[at].get_or_insert(feature);
        }
        for part in parts {
            self.put(feature, part)?;
        }
        Ok(())
    }

    fn put(&mut self, feature: usize, part: Part) -> Result<(), String> {
        let at = self.place(Component {
            column: self.features[feature].column.map(|(column, _)| column),
            kind: part.kind,
        });
        let slot = self.layout.slots()[at];
        let from = index(slot.word);
        let words = &mut self.accumulator.words[from..from + slot.word_count()];
        let side = slot.has_side().then(|| slot.side_index());
        if let Some(other) = self.given_by[at] {
            let is_same = *words == part.words[..]
                && side.is_none_or(|side| self.accumulator.sides[side] == part.side);
            return match is_same {
                true => Ok(()),
                false => Err(self.disagreement(other)),
            };
        }
        words.copy_from_slice(&part.words);
        if let Some(side) = side {
            self.accumulator.sides[side] = part.side;
        }
        self.given_by[at] = Some(feature);
        Ok(())
    }

    /// Refuses partials for some but not all of the features that share a component.
    fn check_complete(&self, given: &[(usize, &[u8])]) -> Result<(), TileError> {
        for (at, feature) in self.features.iter().enumerate() {
            if given.iter().any(|&(given, _)| given == at) {
                continue;
            }
            let shared = components_of_feature(feature)
                .into_iter()
                .find_map(|component| self.touched_by[self.place(component)]);
            if let Some(other) = shared {
                let other = &self.features[other].name;
                let problem = format!(
                    "expected one, since it shares its state with feature \"{other}\", \
                     which has one"
                );
                return Err(draft_error(feature, problem));
            }
        }
        Ok(())
    }

    /// Completes and checks the components of a feature once all partials are in.
    fn settle(&mut self, feature: usize) -> Result<(), String> {
        let binding = &self.features[feature];
        let slots = self.layout.slots_of(binding);
        let [count, value] = *slots.as_slice() else {
            return Ok(());
        };
        let value_at = self.place(Component { column: value.column, kind: value.kind });
        let is_given = self.given_by[value_at].is_some();
        if binding.function == Function::Sum {
            self.settle_count(&count, &value, is_given);
        }
        let [tile_count] = count.get(&self.accumulator.words);
        if 0 < tile_count && !is_given {
            return Err(format!("expected a value, since {tile_count} values are counted"));
        }
        match value.kind {
            ComponentKind::SumI64 => {
                check_integer_sum(sum_of_words(value.get(&self.accumulator.words)), tile_count)
            }
            ComponentKind::SumF64 => {
                let sum = FloatSum::from_words(value.get(&self.accumulator.words));
                check_empty(tile_count, sum == FloatSum::ZERO)
            }
            ComponentKind::Moments => self.check_moments(&value, tile_count),
            _ => Ok(()),
        }
    }

    /// Gives a sum the least count of values that can have it where no partial counts them.
    fn settle_count(&mut self, count: &Slot, value: &Slot, is_given: bool) {
        let at = self.place(Component { column: count.column, kind: count.kind });
        if self.given_by[at].is_none() {
            let least = match value.kind {
                _ if !is_given => 0,
                ComponentKind::SumI64 => {
                    least_count(sum_of_words(value.get(&self.accumulator.words)))
                }
                _ => 1,
            };
            *count.get_mut(&mut self.accumulator.words) = [least];
        }
    }

    fn check_moments(&self, slot: &Slot, tile_count: u64) -> Result<(), String> {
        let moments = Moments::from_words(slot.get(&self.accumulator.words));
        check_empty(tile_count, moments == Moments::ZERO)?;
        let Some((other, sum)) = self.sum_beside(slot) else {
            return Ok(());
        };
        if tile_count == 0 || moments.agrees_with_mean(tile_count, sum.mean(tile_count)) {
            return Ok(());
        }
        Err(self.disagreement(other))
    }

    /// The sum of the same column, and the feature that gave it.
    fn sum_beside(&self, slot: &Slot) -> Option<(usize, FloatSum)> {
        [ComponentKind::SumI64, ComponentKind::SumF64].into_iter().find_map(|kind| {
            let at = self.layout.position(Component { column: slot.column, kind })?;
            let sum = &self.layout.slots()[at];
            let sum = match kind {
                ComponentKind::SumI64 => {
                    nearest_sum(sum_of_words(sum.get(&self.accumulator.words)))
                }
                _ => FloatSum::from_words(sum.get(&self.accumulator.words)),
            };
            Some((self.given_by[at]?, sum))
        })
    }

    fn disagreement(&self, other: usize) -> String {
        format!(
            "expected agreement with feature \"{}\" over the same column",
            self.features[other].name
        )
    }

    fn place(&self, component: Component) -> usize {
        let Some(at) = self.layout.position(component) else {
            panic!("the layout has the components of every feature");
        };
        at
    }
}

fn draft_error(feature: &FeatureBinding, problem: String) -> TileError {
    TileError::Partial { feature: feature.name.clone(), problem }
}

/// Refuses a sum that so many integers of 64 bits cannot have.
fn check_integer_sum(sum: i128, count: u64) -> Result<(), String> {
    let least = i128::from(i64::MIN) * i128::from(count);
    let greatest = i128::from(i64::MAX) * i128::from(count);
    if (least..=greatest).contains(&sum) {
        return Ok(());
    }
    Err(format!("expected a sum that {count} values of type i64 can have, found {sum}"))
}

/// The least number of integers of 64 bits that have this sum, which is 1 at least.
fn least_count(sum: i128) -> u64 {
    let greatest = if sum < 0 { i64::MIN.unsigned_abs() } else { i64::MAX.unsigned_abs() };
    let least = sum.unsigned_abs().div_ceil(u128::from(greatest)).max(1);
    u64::try_from(least).unwrap_or(u64::MAX)
}

fn check_empty(count: u64, is_zero: bool) -> Result<(), String> {
    if count == 0 && !is_zero {
        return Err("expected null or zero, since 0 values are counted".to_owned());
    }
    Ok(())
}

/// The sum as a sum of doubles, to 64 bits: enough to compare.
fn nearest_sum(sum: i128) -> FloatSum {
    let shift = 64_u32.saturating_sub(sum.unsigned_abs().leading_zeros());
    let Ok(leading) = u64::try_from(sum.unsigned_abs() >> shift) else {
        unreachable!("what is left of the magnitude has 64 bits");
    };
    let magnitude = nearest_double(leading) * power_of_two(i64::from(shift));
    FloatSum::from_f64(if sum < 0 { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::ComponentId;
    use crate::name::Identifier;
    use crate::scalar::ColumnType;
    use crate::value::Value;

    fn features(kind: ColumnType, functions: &[(&str, Function)]) -> Vec<FeatureBinding> {
        let binding = |&(name, function): &(&str, Function)| FeatureBinding {
            function,
            column: Some((0, kind)),
            name: Identifier::parse(name.as_bytes()).unwrap(),
        };
        functions.iter().map(binding).collect()
    }

    fn layout_of(features: &[FeatureBinding]) -> Layout {
        let mut components = Vec::new();
        for component in features.iter().flat_map(components_of_feature) {
            if components.iter().all(|(_, known)| *known != component) {
                let id = u16::try_from(components.len()).unwrap();
                components.push((ComponentId::new(id), component));
            }
        }
        Layout::new(components)
    }

    fn draft(
        features: &[FeatureBinding],
        given: &[(usize, &str)],
    ) -> Result<Accumulator, TileError> {
        let given: Vec<(usize, &[u8])> =
            given.iter().map(|(at, text)| (*at, text.as_bytes())).collect();
        accumulator_from_partials(&layout_of(features), features, &given, (0, 10))
    }

    const SHARING: [(&str, Function); 5] = [
        ("n", Function::Count),
        ("s", Function::Sum),
        ("m", Function::Mean),
        ("v", Function::VarPop),
        ("top", Function::Max),
    ];

    #[test]
    fn agreeing_partials_make_one_state() {
        let features = features(ColumnType::F64, &SHARING);
        let given = [
            (0, "3"),
            (1, "4.5"),
            (2, "{\"sum\":4.5,\"count\":3}"),
            (3, "{\"n\":3,\"mean\":1.5,\"m2\":0.5}"),
        ];
        let state = draft(&features, &given).unwrap();
        let layout = layout_of(&features);
        assert_eq!(layout.finish(Function::Mean, Some(0), &state), Value::Double(1.5));
        assert_eq!(layout.finish(Function::Max, Some(0), &state), Value::Nil, "left out is empty");
    }

    #[test]
    fn partials_that_share_state_are_given_all_or_none() {
        let features = features(ColumnType::F64, &SHARING);
        assert_eq!(draft(&features, &[]), Ok(layout_of(&features).empty()));
        assert!(draft(&features, &[(4, "7")]).is_ok(), "max shares nothing");
        let error = draft(&features, &[(0, "3"), (1, "4.5"), (3, "null")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "partial of feature \"m\": expected one, since it shares its state with feature \"n\", \
             which has one"
        );
    }

    #[test]
    fn partials_that_disagree_are_refused() {
        let features = features(ColumnType::F64, &SHARING);
        let (sum, mean) = ("4.5", "{\"sum\":4.5,\"count\":3}");
        let spread = "{\"n\":3,\"mean\":1.5,\"m2\":0.5}";
        for (given, feature) in [
            (["4", sum, mean, spread], "m"),
            (["3", "4.6", mean, spread], "m"),
            (["3", sum, mean, "{\"n\":2,\"mean\":1.5,\"m2\":0.5}"], "v"),
            (["3", sum, mean, "{\"n\":3,\"mean\":1.6,\"m2\":0.5}"], "v"),
            (["3", "null", "{\"sum\":null,\"count\":0}", spread], "m"),
            (["3", "null", "null", spread], "s"),
        ] {
            let given: Vec<(usize, &str)> = (0..).zip(given).collect();
            let error = draft(&features, &given).unwrap_err().to_string();
            let place = format!("partial of feature \"{feature}\": expected ");
            assert!(error.starts_with(&place), "{given:?}: {error}");
        }
    }

    #[test]
    fn a_mean_computed_in_doubles_agrees() {
        let features = features(ColumnType::F64, &SHARING);
        let given = [
            (0, "3"),
            (1, "0.30000000000000004"),
            (2, "{\"sum\":0.30000000000000004,\"count\":3}"),
            (3, "{\"n\":3,\"mean\":0.1,\"m2\":0}"),
        ];
        assert!(draft(&features, &given).is_ok());
    }

    #[test]
    fn a_sum_that_nothing_counts_is_there_or_not() {
        let features = features(ColumnType::I64, &[("s", Function::Sum)]);
        let layout = layout_of(&features);
        for (text, expected) in [("0", Value::Int(0)), ("-7", Value::Int(-7)), ("null", Value::Nil)]
        {
            let state = draft(&features, &[(0, text)]).unwrap();
            assert_eq!(layout.finish(Function::Sum, Some(0), &state), expected);
        }
    }

    #[test]
    fn two_features_of_one_expression_share_it() {
        let features =
            features(ColumnType::I64, &[("low", Function::Min), ("least", Function::Min)]);
        assert!(draft(&features, &[(0, "1"), (1, "1")]).is_ok());
        assert!(draft(&features, &[(0, "1"), (1, "2")]).is_err());
        assert!(draft(&features, &[(0, "1")]).is_err());
    }
}
