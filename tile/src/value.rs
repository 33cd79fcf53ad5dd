//! A finished value of a feature.

use bytes::Bytes;

/// What a feature's window amounts to.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value.
    Nil,
    /// An integer.
    Int(i64),
    /// An integer beyond 64 bits.
    Big(i128),
    /// A double.
    Double(f64),
    /// A string.
    Text(Bytes),
    /// Several values.
    List(Vec<Value>),
}
