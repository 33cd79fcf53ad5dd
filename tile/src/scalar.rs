//! A single input value and its type: what is taken in, and how it is read from text.
//! It knows nothing of rows or of nulls.

use crate::error::{TileError, printable};

/// The type of an input column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// Signed 64-bit integers.
    I64,
    /// Finite doubles.
    F64,
    /// UTF-8 strings.
    Str,
}

/// One input value that is not null.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar<'a> {
    /// An integer.
    I64(i64),
    /// A double: finite, and never minus zero.
    F64(f64),
    /// A string in UTF-8.
    Str(&'a [u8]),
}

impl ColumnType {
    /// The word for it: "i64", "f64" or "str".
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::I64 => "i64",
            Self::F64 => "f64",
            Self::Str => "str",
        }
    }

    /// The type that [`ColumnType::as_str`] named.
    pub fn parse(text: &[u8]) -> Option<Self> {
        [Self::I64, Self::F64, Self::Str].into_iter().find(|kind| kind.as_str().as_bytes() == text)
    }

    /// Whether values of this type can be summed.
    pub const fn is_numeric(self) -> bool {
        !matches!(self, Self::Str)
    }
}

impl Scalar<'_> {
    /// The type of the value.
    pub const fn column_type(&self) -> ColumnType {
        match self {
            Self::I64(_) => ColumnType::I64,
            Self::F64(_) => ColumnType::F64,
            Self::Str(_) => ColumnType::Str,
        }
    }
}

/// Reads a value of the given type: an i64 as `-?[0-9]+` in range; an f64 as finite decimal or
/// exponent text, -0 becoming 0; a str as UTF-8.
pub fn parse_scalar(kind: ColumnType, text: &[u8]) -> Result<Scalar<'_>, TileError> {
    let scalar = match kind {
        ColumnType::I64 => parse_integer(text).map(Scalar::I64),
        ColumnType::F64 => parse_double(text).map(Scalar::F64),
        ColumnType::Str => std::str::from_utf8(text).ok().map(|_| Scalar::Str(text)),
    };
    scalar.ok_or_else(|| TileError::Scalar { text: printable(text), expected: expectation(kind) })
}

/// Checks a value that came typed: a double must be finite, and -0 becomes 0; a string must be
/// UTF-8.
pub fn check_scalar(scalar: Scalar<'_>) -> Result<Scalar<'_>, TileError> {
    match scalar {
        Scalar::I64(_) => Ok(scalar),
        Scalar::F64(value) => finite(value).map(Scalar::F64).ok_or_else(|| TileError::Scalar {
            text: value.to_string(),
            expected: expectation(ColumnType::F64),
        }),
        Scalar::Str(text) => parse_scalar(ColumnType::Str, text),
    }
}

/// Reads `-?[0-9]+` in the range of an i64.
pub(crate) fn parse_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Reads decimal or exponent text as the nearest double, if that is finite.
pub(crate) fn parse_double(text: &[u8]) -> Option<f64> {
    // The parser also takes the words "inf" and "nan", whose values are not finite.
    fast_float2::parse(text).ok().and_then(finite)
}

/// The value if it is finite, minus zero made zero.
pub(crate) fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value + 0.0)
}

fn expectation(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::I64 => "an integer from -9223372036854775808 to 9223372036854775807",
        ColumnType::F64 => "a finite decimal number such as 12, -0.5 or 1e-3",
        ColumnType::Str => "text in UTF-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: ColumnType, text: &str) -> Option<Scalar<'_>> {
        parse_scalar(kind, text.as_bytes()).ok()
    }

    #[test]
    fn integers_are_digits_in_range() {
        for (text, value) in [
            ("0", 0),
            ("-0", 0),
            ("007", 7),
            ("-12", -12),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse(ColumnType::I64, text), Some(Scalar::I64(value)));
        }
        for text in [
            "",
            "-",
            "+1",
            "1.0",
            "1e3",
            " 1",
            "0x1",
            "9223372036854775808",
            "-9223372036854775809",
            "--1",
        ] {
            assert_eq!(parse(ColumnType::I64, text), None, "{text:?} is no i64");
        }
    }

    #[test]
    fn doubles_are_finite_and_never_minus_zero() {
        for (text, value) in
            [("0.1", 0.1), ("1e3", 1000.0), ("-2.5E-3", -0.0025), ("5e-324", 5e-324)]
        {
            assert_eq!(parse(ColumnType::F64, text), Some(Scalar::F64(value)));
        }
        let Some(Scalar::F64(zero)) = parse(ColumnType::F64, "-0.0") else {
            panic!("-0.0 is a double");
        };
        assert_eq!(zero.to_bits(), 0, "minus zero is stored as zero");
        for text in [
            "", "nan", "NaN", "inf", "-inf", "infinity", "1e999", "-1e999", "1,5", "1 ", "abc",
            "0x10",
        ] {
            assert_eq!(parse(ColumnType::F64, text), None, "{text:?} is no f64");
        }
    }

    #[test]
    fn typed_values_are_checked_alike() {
        assert!(check_scalar(Scalar::F64(f64::NAN)).is_err());
        assert!(check_scalar(Scalar::F64(f64::INFINITY)).is_err());
        assert!(check_scalar(Scalar::Str(b"\xff")).is_err());
        assert_eq!(check_scalar(Scalar::Str(b"ok")), Ok(Scalar::Str(b"ok")));
        let Ok(Scalar::F64(zero)) = check_scalar(Scalar::F64(-0.0)) else {
            panic!("-0.0 is a double");
        };
        assert_eq!(zero.to_bits(), 0, "minus zero is stored as zero");
    }

    #[test]
    fn an_error_names_the_text_and_the_rule() {
        let error = parse_scalar(ColumnType::I64, b"12x").unwrap_err();
        assert_eq!(
            error.to_string(),
            "value \"12x\": expected an integer from -9223372036854775808 to 9223372036854775807"
        );
    }
}
