//! What is answered, in any encoding. Knows nothing of bytes on a wire.

use std::borrow::Cow;

use bytes::Bytes;
use tilekv_tile::{Answers, Value};

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
