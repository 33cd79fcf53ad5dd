//! Owns the log records of records: what was decided about hashes and strings, as bytes
//! ([RECORD-12]). Knows nothing of what they are applied to.

use super::packed;
use super::record::NEVER;
use crate::codec::{FieldError, Fields, PutFields, count_u32};

const PUT_FIELDS: u8 = 32;
const REMOVE_FIELDS: u8 = 33;
const PUT_TEXTS: u8 = 34;
const REMOVE: u8 = 35;
const SET_EXPIRY: u8 = 36;
const CLEAR: u8 = 37;

/// The view id in the records of records: no view has it.
const NO_VIEW: u32 = u32::MAX;

/// One effect on records, decoded and checked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RecordEffect<'a> {
    /// Changes one record.
    One(&'a [u8], Change<'a>),
    /// Sets strings: so many, as they stand in the log.
    PutTexts(u32, Fields<'a>),
    /// Removes records: so many, as they stand in the log.
    Remove(u32, Fields<'a>),
    /// Removes all records.
    Clear,
}

/// What becomes of one record.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change<'a> {
    /// Fields are set; a base replaces the record and says when it expires.
    PutFields { is_base: bool, expires_ms: i64, fields: &'a [u8] },
    /// Fields go; their values are empty here.
    RemoveFields(&'a [u8]),
    /// It becomes a string.
    PutText { expires_ms: i64, text: &'a [u8] },
    /// It goes.
    Remove,
    /// It expires at another time.
    SetExpiry(i64),
}

impl<'a> RecordEffect<'a> {
    /// Reads what stands behind the kind.
    pub(crate) fn decode(kind: u8, view: u32, mut fields: Fields<'a>) -> Result<Self, FieldError> {
        if view != NO_VIEW {
            return Err(FieldError::Value("view id"));
        }
        let effect = match kind {
            PUT_FIELDS => {
                let is_base = fields.flag("base")?;
                let expires_ms = expiry(&mut fields)?;
                let key = fields.short()?;
                let put = checked(fields.long()?)?;
                Self::One(key, Change::PutFields { is_base, expires_ms, fields: put })
            }
            REMOVE_FIELDS => {
                let key = fields.short()?;
                Self::One(key, Change::RemoveFields(checked(fields.long()?)?))
            }
            SET_EXPIRY => {
                let key = fields.short()?;
                Self::One(key, Change::SetExpiry(expiry(&mut fields)?))
            }
            PUT_TEXTS => {
                let (count, texts) = (fields.u32()?, fields);
                for _ in 0..count {
                    text(&mut fields)?;
                }
                Self::PutTexts(count, texts)
            }
            REMOVE => {
                let (count, keys) = (fields.u32()?, fields);
                for _ in 0..count {
                    fields.short()?;
                }
                Self::Remove(count, keys)
            }
            CLEAR => Self::Clear,
            _ => return Err(FieldError::Value("record kind")),
        };
        fields.end()?;
        Ok(effect)
    }

    /// Whether it changes more than one record.
    pub(crate) fn is_of_many(&self) -> bool {
        match self {
            Self::One(..) => false,
            Self::PutTexts(count, _) | Self::Remove(count, _) => 1 < *count,
            Self::Clear => true,
        }
    }

    /// Calls `visit` with every key and what becomes of its record; a clear has none.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&'a [u8], Change<'a>)) {
        let done = match *self {
            Self::One(key, change) => {
                visit(key, change);
                Ok(())
            }
            Self::PutTexts(count, mut fields) => (0..count).try_for_each(|_| {
                let (key, expires_ms, text) = text(&mut fields)?;
                visit(key, Change::PutText { expires_ms, text });
                Ok(())
            }),
            Self::Remove(count, mut fields) => (0..count).try_for_each(|_| {
                visit(fields.short()?, Change::Remove);
                Ok(())
            }),
            Self::Clear => Ok(()),
        };
        let result: Result<(), FieldError> = done;
        assert!(result.is_ok(), "an effect is checked when it is decoded");
    }
}

/// Appends the record of fields that are set.
pub(crate) fn put_fields(out: &mut Vec<u8>, key: &[u8], base: Option<i64>, fields: &[u8]) {
    put_head(out, PUT_FIELDS);
    out.put_u8(u8::from(base.is_some()));
    put_expiry(out, base.unwrap_or(NEVER));
    out.put_short(key);
    out.put_long(fields);
}

/// Appends the record of fields that go.
pub(crate) fn put_remove_fields(out: &mut Vec<u8>, key: &[u8], fields: &[u8]) {
    put_head(out, REMOVE_FIELDS);
    out.put_short(key);
    out.put_long(fields);
}

/// Appends the record of strings that are set: key, expiry in milliseconds and value of each.
pub(crate) fn put_texts<'a>(
    out: &mut Vec<u8>,
    texts: impl ExactSizeIterator<Item = (&'a [u8], i64, &'a [u8])>,
) {
    put_head(out, PUT_TEXTS);
    out.put_u32(count_u32(texts.len()));
    for (key, expires_ms, text) in texts {
        out.put_short(key);
        put_expiry(out, expires_ms);
        out.put_long(text);
    }
}

/// Appends the record of records that go.
pub(crate) fn put_remove<'a>(out: &mut Vec<u8>, keys: impl ExactSizeIterator<Item = &'a [u8]>) {
    put_head(out, REMOVE);
    out.put_u32(count_u32(keys.len()));
    keys.for_each(|key| out.put_short(key));
}

/// Appends the record of another expiry.
pub(crate) fn put_set_expiry(out: &mut Vec<u8>, key: &[u8], expires_ms: i64) {
    put_head(out, SET_EXPIRY);
    out.put_short(key);
    put_expiry(out, expires_ms);
}

/// Appends the record of the removal of everything.
pub(crate) fn put_clear(out: &mut Vec<u8>) {
    put_head(out, CLEAR);
}

fn put_head(out: &mut Vec<u8>, kind: u8) {
    out.put_u8(kind);
    out.put_u32(NO_VIEW);
}

fn put_expiry(out: &mut Vec<u8>, expires_ms: i64) {
    out.put_option(Some(expires_ms).filter(|expires| *expires != NEVER));
}

fn expiry(fields: &mut Fields<'_>) -> Result<i64, FieldError> {
    Ok(fields.option("expiry")?.unwrap_or(NEVER))
}

fn text<'a>(fields: &mut Fields<'a>) -> Result<(&'a [u8], i64, &'a [u8]), FieldError> {
    Ok((fields.short()?, expiry(fields)?, fields.long()?))
}

fn checked(packed: &[u8]) -> Result<&[u8], FieldError> {
    if packed::check(packed) { Ok(packed) } else { Err(FieldError::Value("fields")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Effect;

    /// The example of docs/format/record.md ([RECORD-12]).
    #[test]
    fn golden_bytes() {
        let mut fields = Vec::new();
        packed::begin(&mut fields);
        packed::push(&mut fields, b"f", b"12");
        let mut out = Vec::new();
        put_fields(&mut out, b"k", Some(NEVER), &fields);
        let head = [32, 0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 1, 0, b'k', 9, 0, 0, 0];
        let body = [1, 0, 0, 0, 1, b'f', 2, b'1', b'2'];
        assert_eq!(out, [&head[..], &body].concat());
        for len in 0..out.len() {
            assert!(Effect::decode(&out[..len]).is_err(), "{len} bytes must not decode");
        }
    }

    #[test]
    fn effects_read_back() {
        let mut out = Vec::new();
        put_texts(&mut out, [(&b"a"[..], 5, &b"x"[..]), (b"b", NEVER, b"")].into_iter());
        let Ok(Effect::Record(effect)) = Effect::decode(&out) else { panic!("texts") };
        let mut seen = Vec::new();
        effect.for_each(|key, change| seen.push(format!("{key:?} {change:?}")));
        let put = |expires_ms, text| Change::PutText { expires_ms, text };
        let first = format!("{:?} {:?}", b"a", put(5, b"x"));
        assert_eq!(seen, [first, format!("{:?} {:?}", b"b", put(NEVER, b""))]);
        assert!(effect.is_of_many());
        out.clear();
        put_set_expiry(&mut out, b"k", -7);
        let Ok(Effect::Record(effect)) = Effect::decode(&out) else { panic!("an expiry") };
        let mut expiry = None;
        effect.for_each(|_, change| {
            if let Change::SetExpiry(at) = change {
                expiry = Some(at);
            }
        });
        assert_eq!((expiry, effect.is_of_many()), (Some(-7), false));
    }
}
