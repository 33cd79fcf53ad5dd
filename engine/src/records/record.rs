//! Owns one record: a hash or a string and when it expires, and how a change alters it. Knows
//! nothing of keys, locks or logs.

use std::sync::Arc;

use smallvec::SmallVec;

use super::effect::Change;
use super::packed::{self, Packed, Range};
use crate::codec::{bytes_u64, count_u32, index};

/// A record as it stands at one moment.
#[derive(Debug, Clone)]
pub struct Record {
    pub(crate) value: Value,
    /// When it expires, in milliseconds; [`NEVER`] where it does not.
    pub(crate) expires_ms: i64,
}

/// What a record holds.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(Arc<[u8]>),
    Small(Packed),
    Large(Arc<Large>),
}

/// The fields of a large hash, spread over buckets by the high bits of their hashes, so that a
/// change copies one bucket. The number of buckets is a power of two.
#[derive(Debug, Clone)]
pub(crate) struct Large {
    buckets: Vec<Packed>,
    count: usize,
    bytes: usize,
}

/// What kind of record it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// A string.
    Text,
    /// A hash.
    Hash,
}

/// Byte strings as ranges of one piece of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slices {
    /// What the ranges lie in.
    pub body: Arc<[u8]>,
    /// Start and end of each string; [`Slices::NONE`] where there is none.
    pub ranges: SmallVec<[(u32, u32); 24]>,
}

impl Slices {
    /// The range of no string.
    pub const NONE: (u32, u32) = (u32::MAX, 0);
}

/// The expiry of what does not expire.
pub(crate) const NEVER: i64 = i64::MAX;

/// Bytes of packed fields up to which a hash lies in one piece.
const SMALL_BYTES_MAX: usize = 4096;
/// Fields of a bucket, on the average, at which the buckets are doubled.
const BUCKET_FIELD_COUNT: usize = 16;

impl Record {
    /// A hash without fields.
    pub(crate) fn empty() -> Self {
        Self { value: Value::Small(Packed::empty()), expires_ms: NEVER }
    }

    /// What kind of record it is.
    #[must_use]
    pub fn kind(&self) -> RecordKind {
        match self.value {
            Value::Text(_) => RecordKind::Text,
            Value::Small(_) | Value::Large(_) => RecordKind::Hash,
        }
    }

    /// When it expires, in milliseconds since the epoch.
    #[must_use]
    pub fn expires_ms(&self) -> Option<i64> {
        Some(self.expires_ms).filter(|expires| *expires != NEVER)
    }

    /// Whether it can be read at `now_ms`.
    pub(crate) fn is_live(&self, now_ms: i64) -> bool {
        now_ms < self.expires_ms
    }

    /// The string, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&Arc<[u8]>> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Small(_) | Value::Large(_) => None,
        }
    }

    /// How many fields the hash has; 0 for a string.
    #[must_use]
    pub fn field_count(&self) -> usize {
        match &self.value {
            Value::Text(_) => 0,
            Value::Small(packed) => packed.len(),
            Value::Large(large) => large.count,
        }
    }

    /// The value of a field.
    #[must_use]
    pub fn field(&self, name: &[u8]) -> Option<&[u8]> {
        match &self.value {
            Value::Text(_) => None,
            Value::Small(packed) => packed.get(name),
            Value::Large(large) => large.bucket(name).get(name),
        }
    }

    /// Whether the fields lie in one piece.
    #[must_use]
    pub fn is_compact(&self) -> bool {
        !matches!(self.value, Value::Large(_))
    }

    /// All fields: names and values in turn.
    #[must_use]
    pub fn fields(&self) -> Slices {
        let packed = self.packed();
        let both = packed.ranges().flat_map(|(field, value)| [stored(field), stored(value)]);
        Slices { ranges: both.collect(), body: Arc::clone(packed.bytes()) }
    }

    /// The names of all fields.
    #[must_use]
    pub fn field_names(&self) -> Slices {
        let packed = self.packed();
        let names = packed.ranges().map(|(field, _)| stored(field));
        Slices { ranges: names.collect(), body: Arc::clone(packed.bytes()) }
    }

    /// The values of all fields.
    #[must_use]
    pub fn field_values(&self) -> Slices {
        let packed = self.packed();
        let values = packed.ranges().map(|(_, value)| stored(value));
        Slices { ranges: values.collect(), body: Arc::clone(packed.bytes()) }
    }

    /// The values of the fields that are named.
    #[must_use]
    pub fn select<'a>(&self, names: impl Iterator<Item = &'a [u8]>) -> Slices {
        match &self.value {
            Value::Small(packed) => {
                let found = names.map(|name| packed.find(name).map_or(Slices::NONE, stored));
                Slices { ranges: found.collect(), body: Arc::clone(packed.bytes()) }
            }
            Value::Text(_) | Value::Large(_) => {
                let mut body = Vec::new();
                let ranges = names.map(|name| match self.field(name) {
                    None => Slices::NONE,
                    Some(value) => {
                        body.extend_from_slice(value);
                        stored((body.len() - value.len(), body.len()))
                    }
                });
                Slices { ranges: ranges.collect(), body: body.into() }
            }
        }
    }

    /// A step of a walk over the fields, about `count` of them from `cursor` on: names and values
    /// in turn, and the cursor that goes on; 0 at the end. A field that stays is met at least
    /// once, since a cursor stands for a place in the order of the fields' hashes.
    #[must_use]
    pub fn scan_fields(&self, cursor: u64, count: usize) -> (Slices, u64) {
        let Value::Large(large) = &self.value else {
            return (self.fields(), 0);
        };
        let bits = large.bits();
        let mut at = index(high_bits(cursor, bits));
        let mut body = Vec::new();
        packed::begin(&mut body);
        while at < large.buckets.len() && packed::count(&body) < count {
            large.buckets[at].iter().for_each(|(name, value)| packed::push(&mut body, name, value));
            at += 1;
        }
        let next = if at == large.buckets.len() { 0 } else { bytes_u64(at) << (64 - bits) };
        let step = Self { value: Value::Small(Packed::from_bytes(&body)), expires_ms: NEVER };
        (step.fields(), next)
    }

    /// All fields in one piece.
    pub(crate) fn packed(&self) -> Packed {
        match &self.value {
            Value::Text(_) => Packed::empty(),
            Value::Small(packed) => packed.clone(),
            Value::Large(large) => large.gather(),
        }
    }

    /// Bytes that the value takes beside the record itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        match &self.value {
            Value::Text(text) => ARC_BYTES + text.len(),
            Value::Small(packed) => ARC_BYTES + packed.bytes().len(),
            Value::Large(large) => {
                let each = size_of::<Packed>() + ARC_BYTES;
                large.bytes + large.buckets.len() * each
            }
        }
    }

    /// Alters the record. `scratch` is memory to work in.
    pub(crate) fn change(&mut self, change: &Change<'_>, scratch: &mut Vec<u8>) {
        match *change {
            Change::PutFields { is_base: true, expires_ms, fields } => {
                *self = Self { value: Value::of_fields(fields), expires_ms };
            }
            Change::PutFields { is_base: false, fields, .. } => {
                if self.kind() == RecordKind::Text {
                    self.value = Value::Small(Packed::empty());
                }
                self.value.upsert(fields, scratch);
            }
            Change::RemoveFields(fields) => self.value.remove(fields, scratch),
            Change::PutText { expires_ms, text } => {
                *self = Self { value: Value::Text(text.into()), expires_ms };
            }
            Change::SetExpiry(expires_ms) => self.expires_ms = expires_ms,
            Change::Remove => unreachable!("who keeps the record removes it"),
        }
    }
}

/// Counts of references in front of shared memory, and what its allocation rounds up.
const ARC_BYTES: usize = 24;

fn stored((start, end): Range) -> (u32, u32) {
    (count_u32(start), count_u32(end))
}

impl Value {
    /// A hash of packed fields.
    pub(crate) fn of_fields(fields: &[u8]) -> Self {
        if fields.len() <= SMALL_BYTES_MAX {
            return Self::Small(Packed::from_bytes(fields));
        }
        Self::Large(Arc::new(Large::of_fields(fields)))
    }

    fn upsert(&mut self, fields: &[u8], scratch: &mut Vec<u8>) {
        match self {
            Self::Large(large) => {
                let large = Arc::make_mut(large);
                for (name, value) in packed::pairs(fields) {
                    large.upsert(name, value, scratch);
                }
            }
            Self::Small(packed) if packed.bytes().len() + fields.len() <= SMALL_BYTES_MAX => {
                scratch.clear();
                scratch.extend_from_slice(packed.bytes());
                for (name, value) in packed::pairs(fields) {
                    packed::upsert(scratch, name, value);
                }
                *packed = Packed::from_bytes(scratch);
            }
            Self::Small(packed) => {
                let mut large = Large::of_fields(packed.bytes());
                for (name, value) in packed::pairs(fields) {
                    large.upsert(name, value, scratch);
                }
                *self = large.settled();
            }
            Self::Text(_) => unreachable!("a string is replaced before it gets fields"),
        }
    }

    fn remove(&mut self, fields: &[u8], scratch: &mut Vec<u8>) {
        match self {
            Self::Large(large) => {
                let large = Arc::make_mut(large);
                for (name, _) in packed::pairs(fields) {
                    large.remove(name, scratch);
                }
                if large.bytes <= SMALL_BYTES_MAX / 2 {
                    *self = Self::Small(large.gather());
                }
            }
            Self::Small(packed) => {
                scratch.clear();
                scratch.extend_from_slice(packed.bytes());
                for (name, _) in packed::pairs(fields) {
                    packed::remove(scratch, name);
                }
                *self = Self::of_fields(scratch);
            }
            Self::Text(_) => {}
        }
    }
}

impl Large {
    fn of_fields(fields: &[u8]) -> Self {
        let count = packed::count(fields);
        let buckets = (count / BUCKET_FIELD_COUNT).next_power_of_two().max(2);
        let mut large = Self::with_buckets(buckets);
        let mut parts: Vec<Vec<u8>> = vec![Vec::new(); buckets];
        parts.iter_mut().for_each(packed::begin);
        for (name, value) in packed::pairs(fields) {
            let bucket = large.position(name);
            packed::push(&mut parts[bucket], name, value);
        }
        large.buckets = parts.iter().map(|part| Packed::from_bytes(part)).collect();
        large.count = count;
        large.bytes = parts.iter().map(Vec::len).sum();
        large
    }

    fn with_buckets(count: usize) -> Self {
        Self { buckets: vec![Packed::empty(); count], count: 0, bytes: 0 }
    }

    fn bits(&self) -> u32 {
        self.buckets.len().trailing_zeros()
    }

    fn position(&self, name: &[u8]) -> usize {
        index(high_bits(xxhash_rust::xxh3::xxh3_64(name), self.bits()))
    }

    fn bucket(&self, name: &[u8]) -> &Packed {
        &self.buckets[self.position(name)]
    }

    fn upsert(&mut self, name: &[u8], value: &[u8], scratch: &mut Vec<u8>) {
        let is_new = self.alter(name, scratch, |bucket| packed::upsert(bucket, name, value));
        self.count += usize::from(is_new);
        if self.buckets.len() * BUCKET_FIELD_COUNT * 2 < self.count {
            self.double();
        }
    }

    fn remove(&mut self, name: &[u8], scratch: &mut Vec<u8>) {
        let was_there = self.alter(name, scratch, |bucket| packed::remove(bucket, name));
        self.count -= usize::from(was_there);
    }

    fn alter(
        &mut self,
        name: &[u8],
        scratch: &mut Vec<u8>,
        change: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> bool {
        let at = self.position(name);
        let bucket = &mut self.buckets[at];
        scratch.clear();
        scratch.extend_from_slice(bucket.bytes());
        let outcome = change(scratch);
        self.bytes = self.bytes + scratch.len() - bucket.bytes().len();
        *bucket = Packed::from_bytes(scratch);
        outcome
    }

    fn double(&mut self) {
        let mut doubled = Self::with_buckets(self.buckets.len() * 2);
        let (mut low, mut high) = (Vec::new(), Vec::new());
        for (at, bucket) in self.buckets.iter().enumerate() {
            packed::begin(&mut low);
            packed::begin(&mut high);
            for (name, value) in bucket.iter() {
                let is_high = doubled.position(name) == 2 * at + 1;
                packed::push(if is_high { &mut high } else { &mut low }, name, value);
            }
            doubled.buckets[2 * at] = Packed::from_bytes(&low);
            doubled.buckets[2 * at + 1] = Packed::from_bytes(&high);
        }
        doubled.count = self.count;
        doubled.bytes = doubled.buckets.iter().map(|bucket| bucket.bytes().len()).sum();
        *self = doubled;
    }

    /// As the value of a record: in one piece where that is small enough.
    fn settled(self) -> Value {
        if self.bytes <= SMALL_BYTES_MAX {
            return Value::Small(self.gather());
        }
        Value::Large(Arc::new(self))
    }

    fn gather(&self) -> Packed {
        let mut out = Vec::with_capacity(self.bytes);
        packed::begin(&mut out);
        for (name, value) in self.buckets.iter().flat_map(Packed::iter) {
            packed::push(&mut out, name, value);
        }
        Packed::from_bytes(&out)
    }
}

/// The highest `bits` bits, of 1 to 63.
fn high_bits(hash: u64, bits: u32) -> u64 {
    hash >> (64 - bits)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn fields(pairs: &[(String, String)]) -> Vec<u8> {
        let mut out = Vec::new();
        packed::begin(&mut out);
        for (name, value) in pairs {
            packed::push(&mut out, name.as_bytes(), value.as_bytes());
        }
        out
    }

    fn all(record: &Record) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let packed = record.packed();
        packed.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
    }

    #[test]
    fn a_hash_grows_large_and_small_again_and_keeps_its_fields() {
        let (mut record, mut scratch) = (Record::empty(), Vec::new());
        let mut model = BTreeMap::new();
        for number in 0..2_000 {
            let (name, value) = (format!("field-{number}"), format!("{number}"));
            let put = fields(&[(name.clone(), value.clone())]);
            let change = Change::PutFields { is_base: false, expires_ms: NEVER, fields: &put };
            record.change(&change, &mut scratch);
            model.insert(name.into_bytes(), value.into_bytes());
        }
        assert!(!record.is_compact());
        assert_eq!((all(&record), record.field_count()), (model.clone(), 2_000));
        assert_eq!(record.field(b"field-77"), Some(&b"77"[..]));
        let whole = Record { value: Value::of_fields(record.packed().bytes()), expires_ms: NEVER };
        assert_eq!(all(&whole), model);
        for number in 0..1_990 {
            let name = format!("field-{number}");
            let gone = fields(&[(name.clone(), String::new())]);
            record.change(&Change::RemoveFields(&gone), &mut scratch);
            model.remove(name.as_bytes());
        }
        assert!(record.is_compact());
        assert_eq!((all(&record), record.field_count()), (model, 10));
    }

    #[test]
    fn a_walk_meets_each_field_that_stays_while_the_hash_grows() {
        let names: Vec<_> = (0..500).map(|n| (format!("stays-{n}"), String::new())).collect();
        let value = Value::of_fields(&fields(&names));
        let (mut record, mut scratch) = (Record { value, expires_ms: NEVER }, Vec::new());
        let (mut cursor, mut met, mut steps) = (0, std::collections::BTreeSet::new(), 0);
        loop {
            let (slices, next) = record.scan_fields(cursor, 10);
            for range in slices.ranges.iter().step_by(2) {
                let (start, end) = (index(u64::from(range.0)), index(u64::from(range.1)));
                met.insert(slices.body[start..end].to_vec());
            }
            let put = fields(&[(format!("new-{steps}"), String::new())]);
            for _ in 0..1 {
                let change = Change::PutFields { is_base: false, expires_ms: NEVER, fields: &put };
                record.change(&change, &mut scratch);
            }
            steps += 1;
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        assert!(10 < steps && steps < 1_000, "{steps} steps");
        assert!(names.iter().all(|(name, _)| met.contains(name.as_bytes())));
    }
}
