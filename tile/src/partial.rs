//! The partial of one feature as JSON: printed from a tile's state, and read into the parts of
//! one. It knows nothing of other features of the view or of how partials travel.

use crate::accumulator::Accumulator;
use crate::component::{Component, ComponentKind, components_of};
use crate::decimal::{is_json_number, print_double, print_moments, print_sum};
use crate::decimal::{read_moments, read_sum};
use crate::error::printable;
use crate::expression::Function;
use crate::finish::is_absent;
use crate::float_sum::FloatSum;
use crate::integer_sum::{sum_of_words, words_of_sum};
use crate::layout::{FeatureBinding, Layout, Slot};
use crate::moments::Moments;
use crate::number::index;
use crate::scalar::{ColumnType, parse_double, parse_integer};
use crate::side::{Side, SideRule, print_side, read_side};
use serde_json::{Map, Value as Json};
use smallvec::{SmallVec, smallvec};
use std::ops::Range;

/// What a partial says of one component.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part {
    pub(crate) kind: ComponentKind,
    pub(crate) words: SmallVec<[u64; 5]>,
    pub(crate) side: Option<Side>,
}

/// The parts of a partial; none at all where it says that there is no value.
pub(crate) type Parts = SmallVec<[Part; 2]>;

impl Layout {
    /// The partial of a feature in a state of this layout, as JSON. Panics where the layout lacks
    /// a component of the feature.
    pub fn print_partial(&self, feature: &FeatureBinding, accumulator: &Accumulator) -> String {
        let slots = self.slots_of(feature);
        let [first, last] = [slots[0], slots[slots.len() - 1]];
        let words = &accumulator.words;
        let count = words.get(index(first.word)).copied().unwrap_or(0);
        match feature.function {
            Function::CountRows | Function::Count => count.to_string(),
            Function::Sum if count == 0 => NULL.to_owned(),
            Function::Sum => print_any_sum(&last, words),
            Function::Mean => {
                format!("{{\"sum\":{},\"count\":{count}}}", print_any_sum(&last, words))
            }
            Function::VarPop | Function::VarSamp | Function::StddevPop | Function::StddevSamp => {
                let [mean, m2] = print_moments(Moments::from_words(last.get(words)));
                format!("{{\"n\":{count},\"mean\":{mean},\"m2\":{m2}}}")
            }
            Function::Min | Function::Max => print_extreme(&last, accumulator),
            Function::First | Function::Last => print_entry(&last, accumulator),
            Function::FirstN(_)
            | Function::LastN(_)
            | Function::FirstDistinctN(_)
            | Function::LastDistinctN(_)
            | Function::ApproxCountDistinct(_)
            | Function::ApproxPercentile(..)
            | Function::TopN(_) => {
                print_side(last.rule(), accumulator.sides[last.side_index()].as_ref())
            }
        }
    }

    /// The slots of a feature's components, its count first and its value last.
    pub(crate) fn slots_of(&self, feature: &FeatureBinding) -> SmallVec<[Slot; 2]> {
        let slot = |component| match self.position(component) {
            Some(at) => self.slots()[at],
            None => panic!("the layout has the components of feature \"{}\"", feature.name),
        };
        components_of_feature(feature).into_iter().map(slot).collect()
    }
}

/// The components of a feature that was bound to its column.
pub(crate) fn components_of_feature(feature: &FeatureBinding) -> SmallVec<[Component; 2]> {
    match components_of(feature.function, feature.column) {
        Ok(components) => components,
        Err(error) => panic!("feature \"{}\" was bound in spite of this: {error}", feature.name),
    }
}

/// Reads the partial of a feature in a tile that covers `times`, or says what is wrong with it.
pub(crate) fn read_partial(
    feature: &FeatureBinding,
    text: &[u8],
    times: Range<i64>,
) -> Result<Parts, String> {
    let json = Partial::read(text)?;
    match (feature.function, feature.column) {
        (Function::CountRows, _) => {
            Ok(smallvec![Part::number(ComponentKind::Rows, read_count(&json)?)])
        }
        (Function::Count, _) => {
            Ok(smallvec![Part::number(ComponentKind::Count, read_count(&json)?)])
        }
        _ if json.is_null() => Ok(Parts::new()),
        (Function::Sum, Some((_, kind))) => Ok(smallvec![read_any_sum(kind, &json)?]),
        (Function::Mean, Some((_, kind))) => read_mean(kind, &json),
        (Function::Min, Some((_, kind))) => read_extreme(ComponentKind::Min(kind), kind, &json),
        (Function::Max, Some((_, kind))) => read_extreme(ComponentKind::Max(kind), kind, &json),
        (Function::First, Some((_, kind))) => {
            read_entry(ComponentKind::First(kind), kind, &json, times)
        }
        (Function::Last, Some((_, kind))) => {
            read_entry(ComponentKind::Last(kind), kind, &json, times)
        }
        _ => match side_of(feature) {
            Some((component, rule, kind)) => read_sided(component, rule, kind, &json, times),
            None => read_spread(&json),
        },
    }
}

/// The component of a feature that keeps a list or sketch, and its column's type.
fn side_of(feature: &FeatureBinding) -> Option<(ComponentKind, SideRule, ColumnType)> {
    let (_, kind) = feature.column?;
    let component = components_of_feature(feature).first()?.kind;
    Some((component, SideRule::of(component)?, kind))
}

fn read_sided(
    component: ComponentKind,
    rule: SideRule,
    kind: ColumnType,
    json: &Partial<'_>,
    times: Range<i64>,
) -> Result<Parts, String> {
    let side = match json {
        Partial::Tree(json) => read_side(rule, kind, json, times)?,
        // A bare number is none of these partials: the error says what would be.
        Partial::Number(number) => {
            let json = serde_json::from_str(number).unwrap_or(Json::Null);
            read_side(rule, kind, &json, times)?
        }
    };
    let part = |side| Part { kind: component, words: SmallVec::new(), side: Some(side) };
    Ok(side.into_iter().map(part).collect())
}

/// A partial's text: a bare number, which needs no JSON tree, or a tree.
enum Partial<'a> {
    Number(&'a str),
    Tree(Json),
}

impl<'a> Partial<'a> {
    fn read(text: &'a [u8]) -> Result<Self, String> {
        if is_json_number(text)
            && let Ok(number) = std::str::from_utf8(text)
        {
            return Ok(Self::Number(number));
        }
        serde_json::from_slice(text)
            .map(Self::Tree)
            .map_err(|error| format!("expected JSON, found \"{}\": {error}", printable(text)))
    }

    fn is_null(&self) -> bool {
        matches!(self, Self::Tree(Json::Null))
    }

    /// The number's text; digits in a string are a number too.
    fn number(&self) -> Option<&str> {
        match self {
            Self::Number(number) => Some(number),
            Self::Tree(json) => number_of(json),
        }
    }

    fn object(&self) -> Option<&Map<String, Json>> {
        match self {
            Self::Tree(Json::Object(object)) => Some(object),
            Self::Tree(_) | Self::Number(_) => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Number(number) => printable(number.as_bytes()),
            Self::Tree(json) => printable(json.to_string().as_bytes()),
        }
    }

    fn mismatch(&self, expected: &str) -> String {
        format!("expected {expected}, found {}", self.text())
    }
}

impl Part {
    fn number(kind: ComponentKind, word: u64) -> Self {
        Self { kind, words: smallvec![word], side: None }
    }

    fn of_words(kind: ComponentKind, words: &[u64]) -> Self {
        Self { kind, words: words.into(), side: None }
    }
}

fn print_any_sum(slot: &Slot, words: &[u64]) -> String {
    if slot.kind == ComponentKind::SumF64 {
        return print_sum(FloatSum::from_words(slot.get(words)));
    }
    let sum = sum_of_words(slot.get(words));
    // Readers that know doubles alone would round larger numbers.
    if sum.unsigned_abs() <= PLAIN_INTEGER_MAX { sum.to_string() } else { format!("\"{sum}\"") }
}

fn print_extreme(slot: &Slot, accumulator: &Accumulator) -> String {
    match slot.kind {
        ComponentKind::Min(ColumnType::Str) | ComponentKind::Max(ColumnType::Str) => {
            accumulator.text(slot).map_or(NULL.to_owned(), print_text)
        }
        ComponentKind::Min(ColumnType::F64) | ComponentKind::Max(ColumnType::F64) => {
            let [bits] = slot.get(&accumulator.words);
            let value = f64::from_bits(bits);
            if value.is_finite() { print_double(value) } else { NULL.to_owned() }
        }
        _ => match slot.get(&accumulator.words) {
            [_, 0] => NULL.to_owned(),
            [value, _] => value.cast_signed().to_string(),
        },
    }
}

fn print_entry(slot: &Slot, accumulator: &Accumulator) -> String {
    let [timestamp] = slot.get(&accumulator.words);
    if is_absent(timestamp) {
        return NULL.to_owned();
    }
    let value = match slot.kind {
        ComponentKind::First(ColumnType::Str) | ComponentKind::Last(ColumnType::Str) => {
            print_text(accumulator.text(slot).unwrap_or_default())
        }
        ComponentKind::First(ColumnType::F64) | ComponentKind::Last(ColumnType::F64) => {
            let [_, bits] = slot.get(&accumulator.words);
            print_double(f64::from_bits(bits))
        }
        _ => {
            let [_, bits] = slot.get(&accumulator.words);
            bits.cast_signed().to_string()
        }
    };
    format!("[{},{value}]", timestamp.cast_signed())
}

fn print_text(text: &[u8]) -> String {
    Json::from(String::from_utf8_lossy(text)).to_string()
}

fn read_count(json: &Partial<'_>) -> Result<u64, String> {
    json.number()
        .and_then(count_of)
        .ok_or_else(|| json.mismatch("a count from 0 to 18446744073709551615"))
}

fn read_any_sum(kind: ColumnType, json: &Partial<'_>) -> Result<Part, String> {
    match kind {
        ColumnType::F64 => json
            .number()
            .and_then(read_sum)
            .map(|sum| Part::of_words(ComponentKind::SumF64, &sum.words()))
            .ok_or_else(|| json.mismatch("a number")),
        ColumnType::I64 | ColumnType::Str => json
            .number()
            .and_then(|text| text.parse().ok())
            .map(|sum| Part::of_words(ComponentKind::SumI64, &words_of_sum(sum)))
            .ok_or_else(|| json.mismatch("an integer, or its digits in a string")),
    }
}

fn read_mean(kind: ColumnType, json: &Partial<'_>) -> Result<Parts, String> {
    let expected = || json.mismatch("{\"sum\":number,\"count\":integer}");
    let [sum, count] = fields_of(json, ["sum", "count"]).ok_or_else(expected)?;
    let count = number_of(count).and_then(count_of).ok_or_else(expected)?;
    let mut parts: Parts = smallvec![Part::number(ComponentKind::Count, count)];
    match sum {
        Json::Null if count == 0 => {}
        sum => parts.push(read_any_sum(kind, &Partial::Tree(sum.clone()))?),
    }
    Ok(parts)
}

fn read_spread(json: &Partial<'_>) -> Result<Parts, String> {
    let expected = || json.mismatch("{\"n\":integer,\"mean\":number,\"m2\":number}");
    let [count, mean, m2] = fields_of(json, ["n", "mean", "m2"]).ok_or_else(expected)?;
    let count = number_of(count).and_then(count_of).ok_or_else(expected)?;
    let mut parts: Parts = smallvec![Part::number(ComponentKind::Count, count)];
    if count == 0 && mean.is_null() && m2.is_null() {
        return Ok(parts);
    }
    let moments = number_of(mean)
        .zip(number_of(m2))
        .and_then(|(mean, m2)| read_moments(mean, m2))
        .ok_or_else(expected)?;
    if moments.m2.hi < 0.0 {
        return Err(format!("expected an m2 of 0 or more, found {m2}"));
    }
    parts.push(Part::of_words(ComponentKind::Moments, &moments.words()));
    Ok(parts)
}

fn read_extreme(
    component: ComponentKind,
    kind: ColumnType,
    json: &Partial<'_>,
) -> Result<Parts, String> {
    let mut part = read_value(component, kind, json)?;
    if kind == ColumnType::I64 {
        part.words.push(1);
    }
    Ok(smallvec![part])
}

fn read_entry(
    component: ComponentKind,
    kind: ColumnType,
    json: &Partial<'_>,
    times: Range<i64>,
) -> Result<Parts, String> {
    let expected = || json.mismatch("[timestamp,value] or null");
    let Partial::Tree(Json::Array(entry)) = json else {
        return Err(expected());
    };
    let [timestamp, value] = entry.as_slice() else {
        return Err(expected());
    };
    let timestamp = number_of(timestamp)
        .and_then(|text| parse_integer(text.as_bytes()))
        .ok_or_else(expected)?;
    if !times.contains(&timestamp) {
        let Range { start, end } = times;
        return Err(format!(
            "timestamp {timestamp}: expected one of the tile, from {start} to before {end}"
        ));
    }
    let mut part = read_value(component, kind, &Partial::Tree(value.clone()))?;
    part.words.insert(0, timestamp.cast_unsigned());
    Ok(smallvec![part])
}

/// A value as the part of a component: a number in a word, a text in a side.
fn read_value(
    component: ComponentKind,
    kind: ColumnType,
    json: &Partial<'_>,
) -> Result<Part, String> {
    let word = |word| Part::number(component, word);
    let part = match (kind, json) {
        (ColumnType::I64, _) => json
            .number()
            .and_then(|text| parse_integer(text.as_bytes()))
            .map(|value| word(value.cast_unsigned())),
        (ColumnType::F64, _) => json
            .number()
            .and_then(|text| parse_double(text.as_bytes()))
            .map(|value| word(value.to_bits())),
        (ColumnType::Str, Partial::Tree(Json::String(text))) => Some(Part {
            kind: component,
            words: SmallVec::new(),
            side: Some(Side::Text(text.as_bytes().into())),
        }),
        (ColumnType::Str, _) => None,
    };
    part.ok_or_else(|| json.mismatch(&format!("a value of type {} or null", kind.as_str())))
}

/// The values of an object's fields, if it has these and no others.
fn fields_of<'a, const COUNT: usize>(
    json: &'a Partial<'_>,
    names: [&str; COUNT],
) -> Option<[&'a Json; COUNT]> {
    let object = json.object().filter(|object| object.len() == COUNT)?;
    let values: Vec<&Json> = names.iter().filter_map(|name| object.get(*name)).collect();
    values.try_into().ok()
}

/// The text of a number, or of one in a string.
fn number_of(json: &Json) -> Option<&str> {
    match json {
        Json::Number(number) => Some(number.as_str()),
        Json::String(text) if is_json_number(text.as_bytes()) => Some(text),
        _ => None,
    }
}

fn count_of(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// The greatest magnitude up to which every integer is a double: 2^53.
const PLAIN_INTEGER_MAX: u128 = 1 << 53;

const NULL: &str = "null";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft::accumulator_from_partials;
    use crate::name::Identifier;
    use crate::scalar::Scalar;

    fn feature(function: Function, kind: ColumnType) -> FeatureBinding {
        let column = (function != Function::CountRows).then_some((0, kind));
        FeatureBinding { function, column, name: Identifier::parse(b"f").unwrap() }
    }

    fn layout_of(features: &[FeatureBinding]) -> Layout {
        let mut components = Vec::new();
        for component in features.iter().flat_map(components_of_feature) {
            if components.iter().all(|(_, known)| *known != component) {
                let id = u16::try_from(components.len()).unwrap();
                components.push((crate::ComponentId::new(id), component));
            }
        }
        Layout::new(components)
    }

    fn printed(function: Function, kind: ColumnType, values: &[Scalar<'_>]) -> String {
        let feature = feature(function, kind);
        let layout = layout_of(std::slice::from_ref(&feature));
        let mut state = layout.empty();
        for (value, timestamp) in values.iter().zip(100..) {
            layout.add_row(&mut state, timestamp, &[Some(*value)]);
        }
        layout.print_partial(&feature, &state)
    }

    /// What a partial of one feature reads as, printed again.
    fn read(function: Function, kind: ColumnType, text: &str) -> Result<String, String> {
        let feature = feature(function, kind);
        let layout = layout_of(std::slice::from_ref(&feature));
        let features = std::slice::from_ref(&feature);
        accumulator_from_partials(&layout, features, &[(0, text.as_bytes())], (100, 200))
            .map(|state| layout.print_partial(&feature, &state))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn partials_are_printed_as_documented() {
        use ColumnType::{F64, I64, Str};
        let integers = [Scalar::I64(2), Scalar::I64(-5), Scalar::I64(6)];
        let large = [Scalar::I64(i64::MAX), Scalar::I64(1)];
        let doubles = [Scalar::F64(0.5), Scalar::F64(1.0)];
        let texts = [Scalar::Str(b"b\"\n"), Scalar::Str("\u{e9}".as_bytes())];
        for (function, kind, values, expected) in [
            (Function::CountRows, I64, &integers[..], "3"),
            (Function::Count, Str, &texts, "2"),
            (Function::Sum, I64, &integers, "3"),
            (Function::Sum, I64, &large, "\"9223372036854775808\""),
            (Function::Sum, F64, &doubles, "1.5"),
            (Function::Mean, I64, &integers, "{\"sum\":3,\"count\":3}"),
            (Function::Mean, F64, &doubles, "{\"sum\":1.5,\"count\":2}"),
            (Function::VarPop, F64, &doubles, "{\"n\":2,\"mean\":0.75,\"m2\":0.125}"),
            (Function::Min, I64, &integers, "-5"),
            (Function::Max, F64, &doubles, "1.0"),
            (Function::Min, Str, &texts, "\"b\\\"\\n\""),
            (Function::First, I64, &integers, "[100,2]"),
            (Function::Last, Str, &texts, "[101,\"\u{e9}\"]"),
        ] {
            assert_eq!(printed(function, kind, values), expected);
            assert_eq!(read(function, kind, expected).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn empty_partials_are_printed_and_read() {
        for (function, expected) in [
            (Function::CountRows, "0"),
            (Function::Count, "0"),
            (Function::Sum, "null"),
            (Function::Mean, "{\"sum\":0.0,\"count\":0}"),
            (Function::StddevSamp, "{\"n\":0,\"mean\":0.0,\"m2\":0.0}"),
            (Function::Min, "null"),
            (Function::Last, "null"),
        ] {
            assert_eq!(printed(function, ColumnType::F64, &[]), expected);
            assert_eq!(read(function, ColumnType::F64, expected).as_deref(), Ok(expected));
        }
        let empty_mean = "{\"sum\":null,\"count\":0}";
        assert!(read(Function::Mean, ColumnType::F64, empty_mean).is_ok());
        assert!(read(Function::Mean, ColumnType::F64, "null").is_ok());
    }

    #[test]
    fn numbers_are_taken_plainly_or_as_digits_in_a_string() {
        use ColumnType::{F64, I64};
        for (function, kind, text, expected) in [
            (Function::Sum, I64, "\"12\"", "12"),
            (Function::Sum, I64, "9007199254740993", "\"9007199254740993\""),
            (Function::Max, I64, "\"-9223372036854775808\"", "-9223372036854775808"),
            (Function::Sum, F64, "1e2", "100.0"),
            (Function::Sum, F64, "-0.0", "0.0"),
            (Function::Sum, F64, "9007199254740993.00", "9007199254740993.00"),
            (Function::Sum, F64, "9007199254740993", "9007199254740992.0"),
            (Function::Mean, F64, " {\"count\": 2, \"sum\": 3} ", "{\"sum\":3.0,\"count\":2}"),
        ] {
            assert_eq!(read(function, kind, text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_reason() {
        use ColumnType::{F64, I64, Str};
        for (function, kind, text, reason) in [
            (Function::Count, I64, "-1", "a count from 0"),
            (Function::Count, I64, "null", "a count from 0"),
            (Function::Count, I64, "18446744073709551616", "a count from 0"),
            (Function::Sum, I64, "1.5", "an integer"),
            (Function::Sum, I64, "\"abc\"", "an integer"),
            (
                Function::Mean,
                I64,
                "{\"sum\":9223372036854775808,\"count\":1}",
                "a sum that 1 values",
            ),
            (Function::Sum, F64, "NaN", "expected JSON"),
            (Function::Sum, F64, "\"inf\"", "a number"),
            (Function::Sum, F64, "[1]", "a number"),
            (Function::Mean, I64, "3", "{\"sum\":number,\"count\":integer}"),
            (Function::Mean, I64, "{\"sum\":3}", "{\"sum\":number,\"count\":integer}"),
            (Function::Mean, I64, "{\"sum\":3,\"count\":1,\"x\":1}", "{\"sum\":number"),
            (Function::Mean, I64, "{\"sum\":3,\"count\":0}", "a sum that 0 values"),
            (Function::Mean, F64, "{\"sum\":3,\"count\":0}", "0 values are counted"),
            (Function::Mean, F64, "{\"sum\":null,\"count\":2}", "a number"),
            (Function::VarPop, F64, "{\"n\":2,\"mean\":1,\"m2\":-1}", "an m2 of 0 or more"),
            (Function::VarPop, F64, "{\"n\":0,\"mean\":1,\"m2\":0}", "0 values are counted"),
            (Function::VarPop, F64, "{\"n\":2,\"mean\":\"x\",\"m2\":0}", "\"m2\":number"),
            (Function::Min, I64, "1.0", "a value of type i64 or null"),
            (Function::Min, F64, "1e999", "a value of type f64 or null"),
            (Function::Min, Str, "1", "a value of type str or null"),
            (Function::Last, I64, "[1]", "[timestamp,value] or null"),
            (Function::Last, I64, "[99,1]", "from 100 to before 200"),
            (Function::Last, I64, "[200,1]", "from 100 to before 200"),
            (Function::Last, Str, "[100,null]", "a value of type str"),
        ] {
            let error = read(function, kind, text).unwrap_err();
            assert!(error.starts_with("partial of feature \"f\": "), "{error}");
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn numbers_end_at_their_limit() {
        let fits = format!("1{}", "0".repeat(crate::limits::NUMBER_BYTES_MAX - 1));
        assert!(is_json_number(fits.as_bytes()));
        assert!(!is_json_number(format!("{fits}0").as_bytes()));
    }
}
