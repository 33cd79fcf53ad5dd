//! A finished value of a feature. It knows nothing of how it came about or how it is sent.

use bytes::Bytes;

/// What a feature's window amounts to.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value: the empty window of every aggregate but the counts and the lists.
    Nil,
    /// An integer.
    Int(i64),
    /// An integer beyond 64 bits: never one that [`Value::Int`] could hold.
    Big(i128),
    /// A double; infinite where the exact value rounds to infinity, never NaN.
    Double(f64),
    /// A string.
    Text(Bytes),
    /// Several values, in the order that the function defines.
    List(Vec<Value>),
}

impl Value {
    /// The integer, in the narrowest kind that holds it.
    pub fn integer(value: i128) -> Self {
        i64::try_from(value).map_or(Self::Big(value), Self::Int)
    }
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::integer(i128::from(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_big_only_beyond_64_bits() {
        assert_eq!(Value::integer(i128::from(i64::MAX)), Value::Int(i64::MAX));
        assert_eq!(Value::integer(i128::from(i64::MIN)), Value::Int(i64::MIN));
        assert_eq!(Value::from(u64::MAX), Value::Big(i128::from(u64::MAX)));
    }
}
