//! What can be asked of the writer of records: hashes and strings under keys, as Redis has them.
//! Shared by the protocol, which reads it from commands, and the engine, which carries it out.

use bytes::Bytes;

/// A command that changes records.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordWrite {
    /// Sets fields of a hash (`HSET`, `HMSET`).
    SetFields {
        /// The key.
        key: Bytes,
        /// Fields and values; of equal fields the last counts.
        fields: Vec<(Bytes, Bytes)>,
        /// What is answered.
        answer: FieldsAnswer,
    },
    /// Sets a field unless it exists (`HSETNX`): 1 or 0.
    AddField {
        /// The key.
        key: Bytes,
        /// The field.
        field: Bytes,
        /// Its value.
        value: Bytes,
    },
    /// Removes fields (`HDEL`): how many there were.
    RemoveFields {
        /// The key.
        key: Bytes,
        /// The fields.
        fields: Vec<Bytes>,
    },
    /// Adds to the number in a field (`HINCRBY`, `HINCRBYFLOAT`): the sum.
    IncrementField {
        /// The key.
        key: Bytes,
        /// The field.
        field: Bytes,
        /// What is added.
        by: Increment,
    },
    /// Sets a string (`SET`, `SETNX`, `SETEX`, `GETSET`).
    SetText(Box<TextWrite>),
    /// Sets several strings at once (`MSET`, `MSETNX`).
    SetTexts {
        /// Keys and values.
        pairs: Vec<(Bytes, Bytes)>,
        /// Whether nothing is set where one of the keys exists: then 0 is answered, else 1.
        only_absent: bool,
    },
    /// Adds to the number in a string (`INCRBY`, `INCRBYFLOAT`): the sum.
    IncrementText {
        /// The key.
        key: Bytes,
        /// What is added.
        by: Increment,
    },
    /// Appends to a string (`APPEND`): its new length.
    Append {
        /// The key.
        key: Bytes,
        /// What is appended.
        value: Bytes,
    },
    /// Removes a string and answers it (`GETDEL`).
    TakeText(Bytes),
    /// Answers a string and changes when it expires (`GETEX`).
    TouchText {
        /// The key.
        key: Bytes,
        /// When it expires.
        expiry: TextExpiry,
    },
    /// Removes records (`DEL`, `UNLINK`): how many there were.
    Remove(Vec<Bytes>),
    /// Says when a record expires (`EXPIRE` and the like): 1, or 0 where nothing was changed.
    Expire {
        /// The key.
        key: Bytes,
        /// When.
        time: ExpiryTime,
        /// On which conditions, all of which must hold.
        conditions: ExpiryConditions,
    },
    /// Makes a record stay (`PERSIST`): 1, or 0 where it does not expire.
    Persist(Bytes),
    /// Removes all records (`FLUSHDB`).
    Clear,
}

impl RecordWrite {
    /// Whether the write takes something away and adds nothing.
    #[must_use]
    pub fn is_removal(&self) -> bool {
        matches!(
            self,
            Self::RemoveFields { .. }
                | Self::TakeText(_)
                | Self::TouchText { .. }
                | Self::Remove(_)
                | Self::Expire { .. }
                | Self::Persist(_)
                | Self::Clear
        )
    }
}

/// What setting fields answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldsAnswer {
    /// How many fields are new.
    Count,
    /// `OK`.
    Ok,
}

/// What is added to a number.
#[derive(Debug, Clone, PartialEq)]
pub enum Increment {
    /// An integer.
    Integer(i64),
    /// A decimal number, as text that was checked.
    Decimal(Bytes),
}

/// A string to be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextWrite {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// Whether the key must exist, or must not.
    pub presence: Presence,
    /// When it expires.
    pub expiry: TextExpiry,
    /// What is answered.
    pub answer: TextAnswer,
}

/// Whether a key must exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It may.
    Any,
    /// It must not.
    Absent,
    /// It must.
    Present,
}

/// What becomes of the time when a string expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextExpiry {
    /// It does not expire.
    Never,
    /// As before.
    Keep,
    /// At this time.
    At(ExpiryTime),
}

/// What setting a string answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextAnswer {
    /// `OK`, or nil where a condition did not hold.
    Ok,
    /// The string that was there, or nil.
    Previous,
    /// 1, or 0 where a condition did not hold.
    Count,
}

/// When a record expires, as a command says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpiryTime {
    /// Milliseconds since the epoch, or from now.
    pub millis: i64,
    /// Whether they count from now.
    pub is_relative: bool,
    /// The command, as errors name it.
    pub command: &'static str,
}

impl ExpiryTime {
    /// The time in milliseconds since the epoch; none where that passes 64 bits.
    #[must_use]
    pub fn at(&self, now_ms: i64) -> Option<i64> {
        if self.is_relative { now_ms.checked_add(self.millis) } else { Some(self.millis) }
    }
}

/// On which conditions an expiry is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExpiryConditions {
    /// `NX`: only where there is none.
    pub if_none: bool,
    /// `XX`: only where there is one.
    pub if_some: bool,
    /// `GT`: only where it becomes later; no expiry is the latest.
    pub if_later: bool,
    /// `LT`: only where it becomes earlier.
    pub if_earlier: bool,
}

impl ExpiryConditions {
    /// Whether an expiry may go from `old` to `new`, in milliseconds.
    #[must_use]
    pub fn allow(&self, old: Option<i64>, new: i64) -> bool {
        !(self.if_none && old.is_some()
            || self.if_some && old.is_none()
            || self.if_later && old.is_none_or(|old| new <= old)
            || self.if_earlier && old.is_some_and(|old| old <= new))
    }
}
