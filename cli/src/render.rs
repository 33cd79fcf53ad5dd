//! Values, entities and figures as text and as JSON. Knows nothing of where they come from.

use serde_json::{Number, Value as Json};
use tilekv_client::Value;

/// The byte between the values of an entity of several keys, and how it is typed and shown.
const KEY_SEPARATOR: u8 = 0x1F;
const KEY_SEPARATOR_TYPED: &str = "\\x1F";
const KEY_SEPARATOR_SHOWN: &str = "|";

/// An entity as typed: `\x1F` stands for the byte between the values of several keys.
pub(crate) fn entity_bytes(typed: &str) -> Vec<u8> {
    typed.replace(KEY_SEPARATOR_TYPED, "\x1F").into_bytes()
}

/// An entity of several keys.
pub(crate) fn joined_keys<'a>(keys: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let keys: Vec<&[u8]> = keys.collect();
    keys.join(&KEY_SEPARATOR)
}

/// An entity for people: the values of several keys with a bar between them.
pub(crate) fn entity(bytes: &[u8]) -> String {
    let parts: Vec<String> = bytes.split(|byte| *byte == KEY_SEPARATOR).map(text).collect();
    parts.join(KEY_SEPARATOR_SHOWN)
}

/// A value for people.
pub(crate) fn value(value: &Value) -> String {
    match value {
        Value::Nil => "null".to_owned(),
        Value::Int(value) => value.to_string(),
        Value::Big(value) => value.to_string(),
        Value::Double(value) => value.to_string(),
        Value::Text(bytes) => text(bytes),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(self::value).collect();
            format!("[{}]", items.join(", "))
        }
    }
}

/// A value in JSON; integers past 64 bits and infinities as text.
pub(crate) fn json(value: &Value) -> Json {
    match value {
        Value::Nil => Json::Null,
        Value::Int(value) => Json::from(*value),
        Value::Big(value) => Json::from(value.to_string()),
        Value::Double(value) => {
            Number::from_f64(*value).map_or_else(|| Json::from(value.to_string()), Json::Number)
        }
        Value::Text(bytes) => Json::from(text(bytes)),
        Value::List(items) => items.iter().map(json).collect(),
    }
}

/// Bytes as text; those that are not UTF-8 as `\xNN`.
pub(crate) fn text(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in bytes.utf8_chunks() {
        shown.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| shown.push_str(&format!("\\x{byte:02X}")));
    }
    shown
}

/// A count with a comma between each three digits.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut shown = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_by_thousands() {
        let shown = [0, 999, 1_000, 336_776, 1_234_567].map(grouped);
        assert_eq!(shown, ["0", "999", "1,000", "336,776", "1,234,567"]);
    }

    #[test]
    fn entities_of_several_keys_are_typed_and_shown() {
        let bytes = entity_bytes("EWR\\x1FIAH");
        assert_eq!(bytes, b"EWR\x1FIAH");
        assert_eq!(joined_keys([&b"EWR"[..], b"IAH"].into_iter()), bytes);
        assert_eq!(entity(&bytes), "EWR|IAH");
        assert_eq!(entity(b"a\xFF"), "a\\xFF");
    }

    #[test]
    fn values_are_shown_in_full() {
        let list = Value::List(vec![Value::Int(1), Value::Nil, Value::Double(0.1)]);
        assert_eq!(value(&list), "[1, null, 0.1]");
        assert_eq!(json(&list).to_string(), "[1,null,0.1]");
        assert_eq!(json(&Value::Big(1 << 70)).to_string(), "\"1180591620717411303424\"");
    }
}
