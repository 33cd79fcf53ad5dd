//! Finishing: what a state amounts to under a feature's function.
//! It knows nothing of windows, statuses or replies.

use crate::accumulator::Accumulator;
use crate::answer::Values;
use crate::component::{Component, ComponentKind, components_of};
use crate::expression::Function;
use crate::float_sum::FloatSum;
use crate::integer_sum::{mean_of_integers, sum_of_words};
use crate::layout::{Layout, Slot};
use crate::moments::Moments;
use crate::number::index;
use crate::quantile::Quantile;
use crate::scalar::ColumnType;
use crate::value::Value;
use bytes::Bytes;

/// A function whose places in the states of one layout are resolved, so that finishing takes no
/// lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finisher {
    function: Function,
    /// The component that holds the value.
    slot: Slot,
    /// The word of the column's count, where the function needs it.
    count_word: u32,
}

impl Finisher {
    /// Resolves a function over a column, given by its index within the view. None where the
    /// layout lacks a component that the function needs.
    pub fn new(layout: &Layout, function: Function, column: Option<u16>) -> Option<Self> {
        let of_type = |kind| Self::of_type(layout, function, column.map(|index| (index, kind)));
        [ColumnType::I64, ColumnType::F64, ColumnType::Str].into_iter().find_map(of_type)
    }

    /// The value of the function over the rows that went into the state, which must be of the
    /// layout that this was made for.
    #[inline]
    pub fn finish(&self, accumulator: &Accumulator) -> Value {
        match self.function {
            Function::CountRows | Function::Count => Value::from(self.count(accumulator)),
            Function::Sum => self.sum(accumulator),
            Function::Mean => self.mean(accumulator),
            Function::VarPop => self.spread(accumulator, Divisor::Count, Moments::variance),
            Function::VarSamp => self.spread(accumulator, Divisor::CountLess1, Moments::variance),
            Function::StddevPop => self.spread(accumulator, Divisor::Count, Moments::deviation),
            Function::StddevSamp => {
                self.spread(accumulator, Divisor::CountLess1, Moments::deviation)
            }
            Function::Min | Function::Max => self.extreme(accumulator),
            Function::First | Function::Last => self.entry(accumulator),
            Function::ApproxPercentile(quantile, _) => self.side(accumulator, Some(quantile)),
            Function::FirstN(_)
            | Function::LastN(_)
            | Function::FirstDistinctN(_)
            | Function::LastDistinctN(_)
            | Function::ApproxCountDistinct(_)
            | Function::TopN(_) => self.side(accumulator, None),
        }
    }

    /// Appends the value of [`Finisher::finish`] to a column of answers.
    #[inline]
    pub fn push(&self, accumulator: &Accumulator, values: &mut Values) {
        match (self.function, self.slot.kind) {
            (Function::CountRows | Function::Count, _) => {
                values.push_count(self.count(accumulator))
            }
            (Function::Sum, ComponentKind::SumF64) => {
                let is_present = self.count(accumulator) != 0;
                let sum = FloatSum::from_words(self.slot.get(&accumulator.words));
                values.push_double(is_present.then(|| sum.nearest()));
            }
            _ => values.push(self.finish(accumulator)),
        }
    }

    fn side(&self, accumulator: &Accumulator, quantile: Option<Quantile>) -> Value {
        let side = accumulator.sides[self.slot.side_index()].as_ref();
        self.slot.rule().finish(side, quantile)
    }

    fn of_type(
        layout: &Layout,
        function: Function,
        column: Option<(u16, ColumnType)>,
    ) -> Option<Self> {
        let needed = components_of_known(function, column)?;
        let slots: Option<smallvec::SmallVec<[Slot; 2]>> = needed
            .iter()
            .map(|&component| Some(layout.slots()[layout.position(component)?]))
            .collect();
        let slots = slots?;
        // The count comes first where there is one; the component with the value comes last.
        Some(Self { function, slot: *slots.last()?, count_word: slots.first()?.word })
    }

    fn count(&self, accumulator: &Accumulator) -> u64 {
        accumulator.words[index(self.count_word)]
    }

    fn sum(&self, accumulator: &Accumulator) -> Value {
        if self.count(accumulator) == 0 {
            return Value::Nil;
        }
        match self.slot.kind {
            ComponentKind::SumI64 => {
                Value::integer(sum_of_words(self.slot.get(&accumulator.words)))
            }
            _ => Value::Double(FloatSum::from_words(self.slot.get(&accumulator.words)).nearest()),
        }
    }

    fn mean(&self, accumulator: &Accumulator) -> Value {
        let count = self.count(accumulator);
        if count == 0 {
            return Value::Nil;
        }
        Value::Double(match self.slot.kind {
            ComponentKind::SumI64 => {
                mean_of_integers(sum_of_words(self.slot.get(&accumulator.words)), count)
            }
            _ => FloatSum::from_words(self.slot.get(&accumulator.words)).mean(count),
        })
    }

    fn spread(
        &self,
        accumulator: &Accumulator,
        divisor: Divisor,
        measure: fn(Moments, u64) -> f64,
    ) -> Value {
        let divisor = match divisor {
            Divisor::Count => self.count(accumulator),
            Divisor::CountLess1 => self.count(accumulator).saturating_sub(1),
        };
        if divisor == 0 {
            return Value::Nil;
        }
        let moments = Moments::from_words(self.slot.get(&accumulator.words));
        Value::Double(measure(moments, divisor))
    }

    fn extreme(&self, accumulator: &Accumulator) -> Value {
        match self.slot.kind {
            ComponentKind::Min(ColumnType::I64) | ComponentKind::Max(ColumnType::I64) => {
                match self.slot.get(&accumulator.words) {
                    [_, 0] => Value::Nil,
                    [value, _] => Value::Int(value.cast_signed()),
                }
            }
            ComponentKind::Min(ColumnType::F64) | ComponentKind::Max(ColumnType::F64) => {
                let [bits] = self.slot.get(&accumulator.words);
                let value = f64::from_bits(bits);
                if value.is_finite() { Value::Double(value) } else { Value::Nil }
            }
            _ => text_value(accumulator.text(&self.slot)),
        }
    }

    fn entry(&self, accumulator: &Accumulator) -> Value {
        let kind = match self.slot.kind {
            ComponentKind::First(kind) | ComponentKind::Last(kind) => kind,
            _ => unreachable!("first and last are finished from entries"),
        };
        if kind == ColumnType::Str {
            return text_value(accumulator.text(&self.slot));
        }
        let [timestamp, value] = self.slot.get(&accumulator.words);
        if is_absent(timestamp) {
            return Value::Nil;
        }
        match kind {
            ColumnType::F64 => Value::Double(f64::from_bits(value)),
            ColumnType::I64 | ColumnType::Str => Value::Int(value.cast_signed()),
        }
    }
}

impl Layout {
    /// The value of a function over a column, given by its index within the view: for one state.
    /// For many, a [`Finisher`] is faster. Panics where the layout lacks a needed component.
    pub fn finish(
        &self,
        function: Function,
        column: Option<u16>,
        accumulator: &Accumulator,
    ) -> Value {
        let Some(finisher) = Finisher::new(self, function, column) else {
            panic!("the layout has no {} over column {column:?}", function.as_str());
        };
        finisher.finish(accumulator)
    }
}

/// By what a sum of squares is divided.
#[derive(Clone, Copy)]
enum Divisor {
    Count,
    CountLess1,
}

/// Whether the timestamp of an entry says that there is none.
pub(crate) fn is_absent(timestamp: u64) -> bool {
    matches!(timestamp.cast_signed(), i64::MIN | i64::MAX)
}

/// The components of a function if it can be over such a column.
fn components_of_known(
    function: Function,
    column: Option<(u16, ColumnType)>,
) -> Option<smallvec::SmallVec<[Component; 2]>> {
    if column.is_none() && function != Function::CountRows {
        return None;
    }
    components_of(function, column).ok()
}

fn text_value(text: Option<&[u8]>) -> Value {
    text.map_or(Value::Nil, |text| Value::Text(Bytes::copy_from_slice(text)))
}
