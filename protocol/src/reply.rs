//! What is answered, in any encoding. Knows nothing of bytes on a wire.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use tilekv_tile::{Answers, Value};

use crate::arguments::position;
use crate::command::RequestShape;
use crate::error::ErrorReply;

/// A typed reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// A short text of one line, such as `OK`.
    Simple(Cow<'static, str>),
    /// A refusal.
    Error(ErrorReply),
    /// An integer.
    Integer(i64),
    /// An integer past 64 bits.
    Big(i128),
    /// A double.
    Double(f64),
    /// A truth value.
    Bool(bool),
    /// Any bytes.
    Bulk(Bytes),
    /// Nothing.
    Nil,
    /// A list.
    Array(Vec<Reply>),
    /// Pairs, in the order given.
    Map(Vec<(Reply, Reply)>),
    /// The answers of a window read.
    Windows(Box<WindowsReply>),
    /// Byte strings that lie in one piece of memory.
    Slices(Box<SlicesReply>),
}

/// Answers and the form in which they are wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowsReply {
    /// The answers. A single reply has one row.
    pub answers: Answers,
    /// Whether each value becomes `[value, status, window_start, window_end, tiles_read]`.
    pub with_status: bool,
    /// `[value..]` for a single row, or `[[value..]..]`.
    pub shape: RequestShape,
}

/// Byte strings as ranges of the memory that they are stored in: nothing is copied before they are
/// encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlicesReply {
    /// What the ranges lie in.
    pub body: Arc<[u8]>,
    /// Start and end of each string; [`SlicesReply::NIL`] stands for nil.
    pub ranges: SmallVec<[(u32, u32); 24]>,
    /// A list, or pairs in turn.
    pub form: SlicesForm,
}

/// What slices are answered as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlicesForm {
    /// A list.
    List,
    /// A map: keys and values in turn.
    Map,
}

impl SlicesReply {
    /// The range of no string.
    pub const NIL: (u32, u32) = (u32::MAX, 0);

    /// The strings in order.
    pub fn items(&self) -> impl ExactSizeIterator<Item = Option<&[u8]>> {
        self.ranges.iter().map(|&range| {
            let (start, end) = (position(range.0), position(range.1));
            (range != Self::NIL).then(|| &self.body[start..end])
        })
    }
}

impl Reply {
    /// `OK`.
    pub const OK: Self = Self::Simple(Cow::Borrowed("OK"));

    /// A text as a bulk string.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Bulk(Bytes::from(text.into()))
    }

    /// An unsigned count, past 63 bits as a big number.
    pub fn unsigned(count: u64) -> Self {
        i64::try_from(count).map_or_else(|_| Self::Big(i128::from(count)), Self::Integer)
    }
}

impl From<ErrorReply> for Reply {
    fn from(error: ErrorReply) -> Self {
        Self::Error(error)
    }
}

impl From<Value> for Reply {
    fn from(value: Value) -> Self {
        match value {
            Value::Nil => Self::Nil,
            Value::Int(value) => Self::Integer(value),
            Value::Big(value) => Self::Big(value),
            Value::Double(value) => Self::Double(value),
            Value::Text(text) => Self::Bulk(text),
            Value::List(items) => Self::Array(items.into_iter().map(Self::from).collect()),
        }
    }
}
