//! Conversions between number formats that the language offers as `as` alone, each by a name that
//! says what becomes of values that do not fit. It knows nothing of what the numbers mean.

/// The double nearest to the integer, ties to even.
#[expect(clippy::as_conversions, reason = "the only conversion from u64 to f64 there is")]
pub(crate) const fn nearest_double(value: u64) -> f64 {
    value as f64
}

/// The double nearest to the integer, ties to even.
#[expect(clippy::as_conversions, reason = "the only conversion from i64 to f64 there is")]
pub(crate) const fn nearest_double_signed(value: i64) -> f64 {
    value as f64
}

/// The integer part of the double; values out of range become the nearest bound, NaN becomes 0.
#[expect(clippy::as_conversions, reason = "the only conversion from f64 to i64 there is")]
pub(crate) const fn integer_part(value: f64) -> i64 {
    value as i64
}

/// An index or count of 32 bits as one of this machine.
#[expect(clippy::as_conversions, reason = "usize has at least 32 bits wherever this runs")]
pub(crate) const fn index(value: u32) -> usize {
    const { assert!(u32::BITS <= usize::BITS) };
    value as usize
}

/// An index of 8 bits as one of this machine, where `usize::from` cannot be called.
#[expect(clippy::as_conversions, reason = "From is not yet callable in constants")]
pub(crate) const fn small_index(value: u8) -> usize {
    value as usize
}

/// A count of this machine as a number of 64 bits.
#[expect(clippy::as_conversions, reason = "usize has at most 64 bits wherever this runs")]
pub(crate) const fn count(value: usize) -> u64 {
    const { assert!(usize::BITS <= u64::BITS) };
    value as u64
}

/// The low 64 bits.
#[expect(clippy::as_conversions, reason = "dropping the high bits is the purpose")]
pub(crate) const fn low_word(value: u128) -> u64 {
    value as u64
}

/// Two to the power of the exponent, which must be that of a normal double.
pub(crate) const fn power_of_two(exponent: i64) -> f64 {
    assert!(-1022 <= exponent && exponent <= 1023, "the power is a normal double");
    f64::from_bits((exponent + 1023).cast_unsigned() << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_round_to_even_and_keep_bits() {
        assert_eq!(nearest_double((1 << 53) + 1), 9_007_199_254_740_992.0);
        assert_eq!(nearest_double((1 << 53) + 3), 9_007_199_254_740_996.0);
        assert_eq!(nearest_double_signed(i64::MIN), -(2.0_f64.powi(63)));
        assert_eq!(integer_part(-1.5), -1);
        assert_eq!(low_word(u128::MAX - 1), u64::MAX - 1);
    }

    #[test]
    fn powers_of_two_are_exact() {
        for exponent in [-1022, -600, -1, 0, 1, 52, 1023] {
            let expected = 2.0_f64.powi(i32::try_from(exponent).unwrap());
            assert_eq!(power_of_two(exponent), expected);
        }
    }
}
