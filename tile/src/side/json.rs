//! Sides as JSON partials: lists of entries, and sketches by their values or as DataSketches
//! serialises them. It knows nothing of other partials.

use super::distinct::Distinct;
use super::entries::{Entries, EntryRule, Repeats};
use super::hll_image::{print_hll, read_hll};
use super::image::{Numbers, numbers_of, print_frequent, print_kll, read_frequent, read_kll};
use super::item::{Item, Number, Text};
use super::quantiles::Quantiles;
use super::top::{Top, counter_count};
use super::{Side, SideRule};
use crate::error::printable;
use crate::number::count;
use crate::scalar::{ColumnType, Scalar, parse_integer};
use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value as Json;
use std::ops::Range;

/// The partial of a side.
pub(crate) fn print_side(rule: SideRule, side: Option<&Side>) -> String {
    match (rule, side) {
        (SideRule::Entries(_), None) => "[]".to_owned(),
        (_, None) => print_values(std::iter::empty()),
        (SideRule::Entries(rule), Some(Side::Numbers(entries))) => print_entries(rule, entries),
        (SideRule::Entries(rule), Some(Side::Texts(entries))) => print_entries(rule, entries),
        (SideRule::Distinct(precision), Some(Side::Distinct(distinct))) => {
            print_image(&print_hll(distinct, precision))
        }
        (SideRule::Quantiles(kind, k), Some(Side::Quantiles(quantiles))) => {
            print_quantiles(kind, k, quantiles)
        }
        (SideRule::Top(kind, n), Some(Side::TopNumbers(top))) => print_top(kind, n, top),
        (SideRule::Top(kind, n), Some(Side::TopTexts(top))) => print_top(kind, n, top),
        _ => unreachable!("a side is as its component has it"),
    }
}

/// Reads the partial of a side over a column of type `kind`, in a tile that covers `times`, or
/// says what is wrong with it.
pub(crate) fn read_side(
    rule: SideRule,
    kind: ColumnType,
    json: &Json,
    times: Range<i64>,
) -> Result<Option<Side>, String> {
    let side = match rule {
        SideRule::Entries(rule) if kind == ColumnType::Str => {
            read_entries::<Text>(rule, json, times)?.map(|list| Side::Texts(Box::new(list)))
        }
        SideRule::Entries(rule) => {
            read_entries::<Number>(rule, json, times)?.map(|list| Side::Numbers(Box::new(list)))
        }
        SideRule::Distinct(precision) => {
            read_distinct(precision, kind, json)?.map(|distinct| Side::Distinct(Box::new(distinct)))
        }
        SideRule::Quantiles(_, k) => {
            read_quantiles(k, kind, json)?.map(|quantiles| Side::Quantiles(Box::new(quantiles)))
        }
        SideRule::Top(_, n) if kind == ColumnType::Str => {
            read_top::<Text>(n, kind, json)?.map(|top| Side::TopTexts(Box::new(top)))
        }
        SideRule::Top(_, n) => {
            read_top::<Number>(n, kind, json)?.map(|top| Side::TopNumbers(Box::new(top)))
        }
    };
    Ok(side)
}

/// What a sketch's partial says.
enum Sketch<'a> {
    /// The values themselves.
    Values(&'a [Json]),
    /// A sketch as DataSketches serialises it, with the type of its items where it says so.
    Image(Vec<u8>, Numbers),
}

impl<'a> Sketch<'a> {
    fn read(json: &'a Json) -> Result<Self, String> {
        let object = json.as_object();
        let field = |name| object.and_then(|object| object.get(name));
        let items = match field("items").map(Json::as_str) {
            None => Some(Numbers::Doubles),
            Some(Some("i64")) => Some(Numbers::Integers),
            Some(_) => None,
        };
        match (object.map_or(0, serde_json::Map::len), field("values"), field("b64"), items) {
            (1, Some(Json::Array(values)), None, _) => Ok(Self::Values(values)),
            (1 | 2, None, Some(Json::String(text)), Some(items)) => match BASE64.decode(text) {
                Ok(image) => Ok(Self::Image(image, items)),
                Err(error) => Err(format!(
                    "expected base64, found \"{}\": {error}",
                    printable(text.as_bytes())
                )),
            },
            _ => Err(mismatch(json, "{\"values\":[value..]} or {\"b64\":\"sketch\"}")),
        }
    }
}

fn print_entries<T: Item>(rule: EntryRule, entries: &Entries<T>) -> String {
    let entry = |(timestamp, item): &(i64, T)| format!("[{timestamp},{}]", item.print(rule.kind));
    let entries: Vec<String> = entries.as_slice().iter().map(entry).collect();
    format!("[{}]", entries.join(","))
}

fn print_quantiles(kind: ColumnType, k: u16, quantiles: &Quantiles) -> String {
    if quantiles.levels().len() == 1 {
        return print_values(quantiles.levels()[0].iter().map(|number| number.print(kind)));
    }
    let numbers = numbers_of(quantiles, kind);
    let image = BASE64.encode(print_kll(quantiles, k, kind, numbers));
    match numbers {
        Numbers::Doubles => format!("{{\"b64\":\"{image}\"}}"),
        Numbers::Integers => format!("{{\"b64\":\"{image}\",\"items\":\"i64\"}}"),
    }
}

/// Few rows are printed as they came, one value for each.
fn print_top<T: Item>(kind: ColumnType, n: u16, top: &Top<T>) -> String {
    if top.offset() != 0 || count(counter_count(n)) < top.rows() {
        return print_image(&print_frequent(top, n, kind));
    }
    let repeated = top
        .counters()
        .iter()
        .flat_map(|(item, counter)| (0..*counter).map(move |_| item.print(kind)));
    print_values(repeated)
}

fn print_image(image: &[u8]) -> String {
    format!("{{\"b64\":\"{}\"}}", BASE64.encode(image))
}

fn print_values(values: impl Iterator<Item = String>) -> String {
    format!("{{\"values\":[{}]}}", values.collect::<Vec<_>>().join(","))
}

fn read_entries<T: Item>(
    rule: EntryRule,
    json: &Json,
    times: Range<i64>,
) -> Result<Option<Entries<T>>, String> {
    let Json::Array(list) = json else {
        return Err(mismatch(json, "[[timestamp,value]..]"));
    };
    if rule.entry_count_max < list.len() {
        let most = rule.entry_count_max;
        return Err(format!("expected at most {most} entries, found {}", list.len()));
    }
    let read = |entry| read_entry(rule.kind, entry, &times);
    let entries: Result<Vec<(i64, T)>, String> = list.iter().map(read).collect();
    let entries = Entries::from_entries(entries?);
    if rule.repeats == Repeats::Dropped {
        let mut values: Vec<&T> = entries.as_slice().iter().map(|(_, item)| item).collect();
        values.sort_unstable();
        if let Some(pair) = values.windows(2).find(|pair| pair[0] == pair[1]) {
            let value = pair[0].print(rule.kind);
            return Err(format!("expected distinct values, found {value} twice"));
        }
    }
    Ok(Some(entries).filter(|entries| !entries.as_slice().is_empty()))
}

fn read_entry<T: Item>(
    kind: ColumnType,
    json: &Json,
    times: &Range<i64>,
) -> Result<(i64, T), String> {
    let pair = json.as_array().map(Vec::as_slice);
    let Some([timestamp, value]) = pair else {
        return Err(mismatch(json, "[timestamp,value]"));
    };
    let timestamp = match timestamp {
        Json::Number(number) => parse_integer(number.as_str().as_bytes()),
        Json::String(text) => parse_integer(text.as_bytes()),
        _ => None,
    };
    let timestamp = timestamp.ok_or_else(|| mismatch(json, "[timestamp,value]"))?;
    if !times.contains(&timestamp) {
        let Range { start, end } = times;
        return Err(format!(
            "timestamp {timestamp}: expected one of the tile, from {start} to before {end}"
        ));
    }
    Ok((timestamp, read_item(kind, value)?))
}

fn read_item<T: Item>(kind: ColumnType, json: &Json) -> Result<T, String> {
    T::read(kind, json).ok_or_else(|| mismatch(json, &format!("a value of type {}", kind.as_str())))
}

fn read_distinct(precision: u8, kind: ColumnType, json: &Json) -> Result<Option<Distinct>, String> {
    let distinct = match Sketch::read(json)? {
        Sketch::Image(image, _) => {
            read_hll(&image, precision).map_err(|error| error.to_string())?
        }
        Sketch::Values(values) => {
            let mut distinct = Distinct::default();
            for value in values {
                with_scalar(kind, value, |scalar| distinct.add(precision, scalar))?;
            }
            distinct
        }
    };
    Ok(Some(distinct).filter(|distinct| !distinct.is_empty()))
}

fn read_quantiles(k: u16, kind: ColumnType, json: &Json) -> Result<Option<Quantiles>, String> {
    match Sketch::read(json)? {
        Sketch::Image(image, numbers) => {
            if numbers == Numbers::Integers && kind != ColumnType::I64 {
                return Err("items \"i64\": expected a column of type i64".to_owned());
            }
            read_kll(&image, k, kind, numbers).map_err(|error| error.to_string())
        }
        Sketch::Values(values) => {
            let mut quantiles: Option<Quantiles> = None;
            for value in values {
                let number: Number = read_item(kind, value)?;
                quantiles.get_or_insert_with(|| Quantiles::before(number)).add(k, number);
            }
            Ok(quantiles)
        }
    }
}

fn read_top<T: Item>(n: u16, kind: ColumnType, json: &Json) -> Result<Option<Top<T>>, String> {
    match Sketch::read(json)? {
        Sketch::Image(image, _) => {
            read_frequent(&image, n, kind).map_err(|error| error.to_string())
        }
        Sketch::Values(values) => {
            let mut top = Top::default();
            for value in values {
                with_scalar(kind, value, |scalar| top.add(n, scalar))?;
            }
            Ok(Some(top).filter(|top| 0 < top.rows()))
        }
    }
}

/// Calls `take` with the input value that stands in JSON.
fn with_scalar(kind: ColumnType, json: &Json, take: impl FnOnce(Scalar<'_>)) -> Result<(), String> {
    if kind == ColumnType::Str {
        let text: Text = read_item(kind, json)?;
        take(Scalar::Str(&text));
        return Ok(());
    }
    let number: Number = read_item(kind, json)?;
    let word = number.word(kind);
    take(match kind {
        ColumnType::F64 => Scalar::F64(f64::from_bits(word)),
        ColumnType::I64 | ColumnType::Str => Scalar::I64(word.cast_signed()),
    });
    Ok(())
}

fn mismatch(json: &Json, expected: &str) -> String {
    format!("expected {expected}, found {}", printable(json.to_string().as_bytes()))
}

/// The base64 of RFC 4648, with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
