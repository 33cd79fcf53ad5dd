//! Owns the judgement of writes to records: what each comes to, against the staged state, as one
//! log record of effects. Knows nothing of how effects are applied.

use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use tilekv_tile::{
    ExpiryConditions, ExpiryTime, FieldsAnswer, Increment, Presence, RecordWrite, TextAnswer,
    TextExpiry, TextWrite,
};

use super::effect::{
    put_clear, put_fields, put_remove, put_remove_fields, put_set_expiry, put_texts,
};
use super::record::{NEVER, Record, RecordKind};
use super::{number, packed};
use crate::codec::bytes_u64;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::limits::{
    RECLAIM_RECORD_COUNT_MAX, RECORD_BYTES_MAX, RECORD_GRACE_MS, RECORD_KEY_BYTES_MAX,
};
use crate::write::Outcome;

type Staged = Result<Outcome, EngineError>;

impl Engine {
    /// Judges a write to records and stages what it comes to.
    pub(crate) fn stage_record(&mut self, now_ms: i64, write: &RecordWrite) -> Staged {
        match write {
            RecordWrite::SetFields { key, fields, answer } => {
                self.stage_fields(now_ms, key, fields, *answer)
            }
            RecordWrite::AddField { key, field, value } => {
                self.stage_new_field(now_ms, key, field, value)
            }
            RecordWrite::RemoveFields { key, fields } => {
                self.stage_remove_fields(now_ms, key, fields)
            }
            RecordWrite::IncrementField { key, field, by } => {
                self.stage_increment_field(now_ms, key, field, by)
            }
            RecordWrite::SetText(text) => self.stage_text(now_ms, text),
            RecordWrite::SetTexts { pairs, only_absent } => {
                self.stage_texts(now_ms, pairs, *only_absent)
            }
            RecordWrite::IncrementText { key, by } => self.stage_increment_text(now_ms, key, by),
            RecordWrite::Append { key, value } => self.stage_append(now_ms, key, value),
            RecordWrite::TakeText(key) => self.stage_take_text(now_ms, key),
            RecordWrite::TouchText { key, expiry } => self.stage_touch(now_ms, key, *expiry),
            RecordWrite::Remove(keys) => self.stage_remove(now_ms, keys),
            RecordWrite::Expire { key, time, conditions } => {
                self.stage_expire(now_ms, key, *time, *conditions)
            }
            RecordWrite::Persist(key) => self.stage_persist(now_ms, key),
            RecordWrite::Clear => {
                self.pending.push(put_clear);
                self.staged.records.note_clear();
                Ok(Outcome::Ok)
            }
        }
    }

    /// Removes records that expired a while ago, some of them, and commits that; how many. Nothing
    /// may be pending.
    ///
    /// # Errors
    /// As [`Engine::commit`].
    pub fn reclaim_records(&mut self, now_ms: i64) -> Result<usize, EngineError> {
        assert!(self.pending.is_empty(), "records are reclaimed between commits");
        let now_ms = self.advance_clock(now_ms);
        let grace = if self.is_memory_full() { 0 } else { RECORD_GRACE_MS };
        let until = now_ms.saturating_sub(grace);
        let keys = self.applied.records().expired(until, RECLAIM_RECORD_COUNT_MAX);
        if !keys.is_empty() {
            self.pending.push(|out| put_remove(out, keys.iter().map(|key| &**key)));
            self.commit()?;
        }
        Ok(keys.len())
    }

    /// The record under a key that a read right behind the pending batch would find.
    fn staged_record(&mut self, now_ms: i64, key: &[u8]) -> Option<Record> {
        let stored = self.staged.records.stored(self.applied.records(), &self.pending, key);
        stored.filter(|record| record.is_live(now_ms))
    }

    fn staged_hash(&mut self, now_ms: i64, key: &[u8]) -> Result<Option<Record>, EngineError> {
        of_kind(self.staged_record(now_ms, key), RecordKind::Hash)
    }

    fn staged_text(&mut self, now_ms: i64, key: &[u8]) -> Result<Option<Record>, EngineError> {
        of_kind(self.staged_record(now_ms, key), RecordKind::Text)
    }

    /// Appends the log record that changes these keys, and notes that.
    fn push_change<'a>(
        &mut self,
        keys: impl IntoIterator<Item = &'a Bytes>,
        put: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), EngineError> {
        let at = self.pending.len();
        put(self.pending.open());
        self.pending.close(RECORD_BYTES_MAX)?;
        for key in keys {
            self.staged.records.note(self.applied.records(), &self.pending, key, at);
        }
        Ok(())
    }

    fn stage_fields(
        &mut self,
        now_ms: i64,
        key: &Bytes,
        fields: &[(Bytes, Bytes)],
        answer: FieldsAnswer,
    ) -> Staged {
        check_key(key)?;
        let record = self.staged_hash(now_ms, key)?;
        let mut put = std::mem::take(&mut self.field_scratch);
        gather_fields(fields, &mut put);
        let is_new = |name: &[u8]| record.as_ref().is_none_or(|known| known.field(name).is_none());
        let new_count = packed::pairs(&put).filter(|(name, _)| is_new(name)).count();
        let base = base_of(record);
        let pushed = self.push_change([key], |out| put_fields(out, key, base, &put));
        self.field_scratch = put;
        pushed?;
        Ok(match answer {
            FieldsAnswer::Count => Outcome::Count(bytes_u64(new_count)),
            FieldsAnswer::Ok => Outcome::Ok,
        })
    }

    fn stage_new_field(&mut self, now_ms: i64, key: &Bytes, field: &[u8], value: &[u8]) -> Staged {
        check_key(key)?;
        let record = self.staged_hash(now_ms, key)?;
        if record.as_ref().is_some_and(|known| known.field(field).is_some()) {
            return Ok(Outcome::Count(0));
        }
        self.push_field(key, base_of(record), field, value)?;
        Ok(Outcome::Count(1))
    }

    fn push_field(
        &mut self,
        key: &Bytes,
        base: Option<i64>,
        field: &[u8],
        value: &[u8],
    ) -> Result<(), EngineError> {
        let mut put = Vec::new();
        packed::begin(&mut put);
        packed::push(&mut put, field, value);
        self.push_change([key], |out| put_fields(out, key, base, &put))
    }

    fn stage_remove_fields(&mut self, now_ms: i64, key: &Bytes, fields: &[Bytes]) -> Staged {
        let Some(record) = self.staged_hash(now_ms, key)? else {
            return Ok(Outcome::Count(0));
        };
        let mut gone = Vec::new();
        packed::begin(&mut gone);
        let mut seen = HashSet::new();
        for field in fields {
            if record.field(field).is_some() && seen.insert(&field[..]) {
                packed::push(&mut gone, field, b"");
            }
        }
        let is_last = seen.len() == record.field_count();
        drop(record);
        if is_last {
            self.push_removal(std::slice::from_ref(key))?;
        } else if !seen.is_empty() {
            self.push_change([key], |out| put_remove_fields(out, key, &gone))?;
        }
        Ok(Outcome::Count(bytes_u64(seen.len())))
    }

    fn stage_increment_field(
        &mut self,
        now_ms: i64,
        key: &Bytes,
        field: &[u8],
        by: &Increment,
    ) -> Staged {
        check_key(key)?;
        let record = self.staged_hash(now_ms, key)?;
        let old = record.as_ref().and_then(|known| known.field(field));
        let words = NumberWords {
            integer: "hash value is not an integer",
            decimal: "hash value is not a float",
        };
        let (text, outcome) = increment(old, by, &words)?;
        self.push_field(key, base_of(record), field, text.as_bytes())?;
        Ok(outcome)
    }

    fn stage_text(&mut self, now_ms: i64, text: &TextWrite) -> Staged {
        let TextWrite { key, value, presence, expiry, answer } = text;
        check_key(key)?;
        let is_plain = *presence == Presence::Any
            && *answer != TextAnswer::Previous
            && *expiry != TextExpiry::Keep;
        let record = if is_plain { None } else { self.staged_record(now_ms, key) };
        let previous = match answer {
            TextAnswer::Previous => of_kind(record.clone(), RecordKind::Text)?,
            TextAnswer::Ok | TextAnswer::Count => None,
        };
        let is_allowed = match presence {
            Presence::Any => true,
            Presence::Absent => record.is_none(),
            Presence::Present => record.is_some(),
        };
        if is_allowed {
            let kept = record.as_ref().map_or(NEVER, |known| known.expires_ms);
            let expires_ms = match expiry {
                TextExpiry::Never => NEVER,
                TextExpiry::Keep => kept,
                TextExpiry::At(time) => expiry_at(*time, now_ms)?,
            };
            self.push_text(key, expires_ms, value)?;
        }
        Ok(match answer {
            TextAnswer::Previous => text_outcome(previous.as_ref()),
            TextAnswer::Ok if is_allowed => Outcome::Ok,
            TextAnswer::Ok => Outcome::Nil,
            TextAnswer::Count => Outcome::Count(u64::from(is_allowed)),
        })
    }

    fn push_text(&mut self, key: &Bytes, expires_ms: i64, text: &[u8]) -> Result<(), EngineError> {
        let one = [(&key[..], expires_ms, text)];
        self.push_change([key], |out| put_texts(out, one.into_iter()))
    }

    fn stage_texts(&mut self, now_ms: i64, pairs: &[(Bytes, Bytes)], only_absent: bool) -> Staged {
        pairs.iter().try_for_each(|(key, _)| check_key(key))?;
        if only_absent && pairs.iter().any(|(key, _)| self.staged_record(now_ms, key).is_some()) {
            return Ok(Outcome::Count(0));
        }
        let texts = pairs.iter().map(|(key, text)| (&key[..], NEVER, &text[..]));
        self.push_change(pairs.iter().map(|(key, _)| key), |out| put_texts(out, texts))?;
        Ok(if only_absent { Outcome::Count(1) } else { Outcome::Ok })
    }

    fn stage_increment_text(&mut self, now_ms: i64, key: &Bytes, by: &Increment) -> Staged {
        check_key(key)?;
        let record = self.staged_text(now_ms, key)?;
        let old = record.as_ref().and_then(Record::text).map(|text| &text[..]);
        let words = NumberWords {
            integer: "value is not an integer or out of range",
            decimal: "value is not a valid float",
        };
        let (text, outcome) = increment(old, by, &words)?;
        let expires_ms = record.as_ref().map_or(NEVER, |known| known.expires_ms);
        self.push_text(key, expires_ms, text.as_bytes())?;
        Ok(outcome)
    }

    fn stage_append(&mut self, now_ms: i64, key: &Bytes, value: &[u8]) -> Staged {
        check_key(key)?;
        let record = self.staged_text(now_ms, key)?;
        let old = record.as_ref().and_then(Record::text).map_or(&[][..], |text| &text[..]);
        let text = [old, value].concat();
        let expires_ms = record.as_ref().map_or(NEVER, |known| known.expires_ms);
        self.push_text(key, expires_ms, &text)?;
        Ok(Outcome::Count(bytes_u64(text.len())))
    }

    fn stage_take_text(&mut self, now_ms: i64, key: &Bytes) -> Staged {
        let record = self.staged_text(now_ms, key)?;
        if record.is_some() {
            self.push_removal(std::slice::from_ref(key))?;
        }
        Ok(text_outcome(record.as_ref()))
    }

    fn stage_touch(&mut self, now_ms: i64, key: &Bytes, expiry: TextExpiry) -> Staged {
        let record = self.staged_text(now_ms, key)?;
        if let Some(known) = &record {
            match expiry {
                TextExpiry::Keep => {}
                TextExpiry::Never if known.expires_ms == NEVER => {}
                TextExpiry::Never => self.push_expiry(now_ms, key, NEVER)?,
                TextExpiry::At(time) => {
                    self.push_expiry(now_ms, key, expiry_at(time, now_ms)?)?;
                }
            }
        }
        Ok(text_outcome(record.as_ref()))
    }

    fn stage_remove(&mut self, now_ms: i64, keys: &[Bytes]) -> Staged {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        for key in keys {
            if self.staged_record(now_ms, key).is_some() && seen.insert(&key[..]) {
                found.push(key.clone());
            }
        }
        if !found.is_empty() {
            self.push_removal(&found)?;
        }
        Ok(Outcome::Count(bytes_u64(found.len())))
    }

    fn push_removal(&mut self, keys: &[Bytes]) -> Result<(), EngineError> {
        self.push_change(keys, |out| put_remove(out, keys.iter().map(|key| &key[..])))
    }

    fn stage_expire(
        &mut self,
        now_ms: i64,
        key: &Bytes,
        time: ExpiryTime,
        conditions: ExpiryConditions,
    ) -> Staged {
        let at = expiry_at(time, now_ms)?;
        let record = self.staged_record(now_ms, key);
        let is_allowed = record.is_some_and(|known| conditions.allow(known.expires_ms(), at));
        if is_allowed {
            self.push_expiry(now_ms, key, at)?;
        }
        Ok(Outcome::Count(u64::from(is_allowed)))
    }

    fn stage_persist(&mut self, now_ms: i64, key: &Bytes) -> Staged {
        let record = self.staged_record(now_ms, key);
        let expires = record.is_some_and(|known| known.expires_ms != NEVER);
        if expires {
            self.push_expiry(now_ms, key, NEVER)?;
        }
        Ok(Outcome::Count(u64::from(expires)))
    }

    /// A record that expires at once is removed.
    fn push_expiry(&mut self, now_ms: i64, key: &Bytes, at: i64) -> Result<(), EngineError> {
        if at <= now_ms {
            return self.push_removal(std::slice::from_ref(key));
        }
        self.push_change([key], |out| put_set_expiry(out, key, at))
    }
}

/// What a hash begins with where there is none. Takes the record, so that nobody holds a large one
/// when it is changed: it would be copied.
fn base_of(record: Option<Record>) -> Option<i64> {
    record.is_none().then_some(NEVER)
}

/// How refusals name a value that is no number.
struct NumberWords {
    integer: &'static str,
    decimal: &'static str,
}

/// The sum as text, and as it is answered.
fn increment(
    old: Option<&[u8]>,
    by: &Increment,
    words: &NumberWords,
) -> Result<(String, Outcome), EngineError> {
    match by {
        Increment::Integer(by) => {
            let old = old.map_or(Some(0), number::integer);
            let old = old.ok_or(EngineError::Refused(words.integer.to_owned()))?;
            let overflow = "increment or decrement would overflow";
            let sum = old.checked_add(*by);
            let sum = sum.ok_or_else(|| EngineError::Refused(overflow.to_owned()))?;
            Ok((sum.to_string(), Outcome::Integer(sum)))
        }
        Increment::Decimal(by) => {
            let old = old.unwrap_or(b"0");
            if !number::is_decimal(old) {
                return Err(EngineError::Refused(words.decimal.to_owned()));
            }
            let infinite = "increment would produce NaN or Infinity";
            let sum = number::add_decimals(old, by);
            let sum = sum.ok_or_else(|| EngineError::Refused(infinite.to_owned()))?;
            let outcome = Outcome::Text(Bytes::from(sum.clone()));
            Ok((sum, outcome))
        }
    }
}

/// Packs fields; of equal ones the last counts.
fn gather_fields(fields: &[(Bytes, Bytes)], out: &mut Vec<u8>) {
    packed::begin(out);
    if fields.len() <= COMPARED_FIELD_COUNT_MAX {
        for (name, value) in fields {
            packed::upsert(out, name, value);
        }
        return;
    }
    let mut last: HashMap<&[u8], usize> = HashMap::with_capacity(fields.len());
    for (at, (name, _)) in fields.iter().enumerate() {
        last.insert(name, at);
    }
    for (at, (name, value)) in fields.iter().enumerate() {
        if last.get(&name[..]) == Some(&at) {
            packed::push(out, name, value);
        }
    }
}

fn of_kind(record: Option<Record>, kind: RecordKind) -> Result<Option<Record>, EngineError> {
    match record {
        Some(known) if known.kind() != kind => Err(EngineError::WrongType),
        record => Ok(record),
    }
}

fn text_outcome(record: Option<&Record>) -> Outcome {
    let text = record.and_then(Record::text);
    text.map_or(Outcome::Nil, |text| Outcome::Text(Bytes::copy_from_slice(text)))
}

fn expiry_at(time: ExpiryTime, now_ms: i64) -> Result<i64, EngineError> {
    let refused = || format!("invalid expire time in '{}' command", time.command);
    time.at(now_ms).ok_or_else(|| EngineError::Refused(refused()))
}

fn check_key(key: &[u8]) -> Result<(), EngineError> {
    if key.len() <= RECORD_KEY_BYTES_MAX {
        return Ok(());
    }
    Err(EngineError::Limit(format!(
        "a key has at most {RECORD_KEY_BYTES_MAX} bytes, not {}",
        key.len()
    )))
}

/// Fields of one write up to which equal ones are found by comparing each with each.
const COMPARED_FIELD_COUNT_MAX: usize = 32;
