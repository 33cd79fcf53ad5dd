//! Fixed-point scales: doubles as integers over a power of two or of ten, where that loses nothing
//! ([BLOCK-18]). It knows nothing of lanes.

use crate::number::{integer_part, nearest_double_signed, power_of_two};

/// By what integers are divided to give doubles, as the byte that stands for it: up to 63, two to
/// that power; from 128, ten to the power of what it is above 128.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FixedPoint(pub(crate) u8);

impl FixedPoint {
    /// Whether the byte is one that a writer may have written.
    #[inline]
    pub(crate) fn is_valid(self) -> bool {
        self.is_binary() || self.0.wrapping_sub(DECIMAL) <= DECIMAL_PLACES_MAX
    }

    /// Whether integers are divided by a power of two, which never rounds.
    #[inline]
    pub(crate) fn is_binary(self) -> bool {
        self.0 <= BINARY_PLACES_MAX
    }

    /// What integers are multiplied by, if they are divided by a power of two; else 1.
    #[inline]
    pub(crate) fn factor(self) -> f64 {
        if self.is_binary() { power_of_two(-i64::from(self.0)) } else { 1.0 }
    }

    /// What integers are divided by, if it is a power of ten; else 1.
    #[inline]
    pub(crate) fn divisor(self) -> f64 {
        let places = usize::from(self.0.wrapping_sub(DECIMAL));
        POWERS_OF_TEN.get(places).copied().unwrap_or(1.0)
    }

    /// The double that an integer stands for.
    #[inline]
    pub(crate) fn value_of(self, integer: i64) -> f64 {
        let integer = nearest_double_signed(integer);
        if self.is_binary() { integer * self.factor() } else { integer / self.divisor() }
    }

    /// The integer that stands for a double which has one.
    #[inline]
    pub(crate) fn integer_of(self, value: f64) -> i64 {
        if self.is_binary() {
            return integer_part(value / self.factor());
        }
        // Adding and taking off 1.5 * 2^52 rounds to the nearest integer, ties to even.
        const ROUNDER: f64 = 1.5 * power_of_two(52);
        integer_part((value * self.divisor() + ROUNDER) - ROUNDER)
    }

    /// Whether the scale has so many places that integers over it are likely to be large.
    pub(crate) fn is_fine(self) -> bool {
        BINARY_PLACES_COARSE < self.0
    }

    /// The least binary scale under which every double, given by its bits, has an integer.
    pub(crate) fn binary_for(words: impl Iterator<Item = u64>) -> Option<Self> {
        let mut places = 0_u8;
        let mut greatest = 0.0_f64;
        for word in words {
            let value = f64::from_bits(word);
            places = places.max(binary_places(value)?);
            greatest = greatest.max(value.abs());
        }
        (greatest * power_of_two(i64::from(places)) <= INTEGER_MAX).then_some(Self(places))
    }

    /// The least decimal scale under which every double, given by its bits, has an integer.
    pub(crate) fn decimal_for(words: impl Iterator<Item = u64> + Clone) -> Option<Self> {
        let mut places = 1;
        for word in words.clone() {
            places = (places..=DECIMAL_PLACES_MAX).find(|&places| fits_decimal(places, word))?;
        }
        // More places than a value needs can break it, so that all are tried with the most.
        let mut words = words;
        words.all(|word| fits_decimal(places, word)).then_some(Self(DECIMAL + places))
    }
}

/// How many bits the value has behind its binary point, if few.
fn binary_places(value: f64) -> Option<u8> {
    if value == 0.0 {
        return (value.to_bits() == 0).then_some(0);
    }
    let exponent = i64::from(u16::try_from(value.to_bits() >> 52 & 0x7ff).ok()?);
    if exponent == 0 || exponent == 0x7ff {
        return None;
    }
    let mantissa = value.to_bits() & ((1 << 52) - 1) | 1 << 52;
    let last_bit = exponent - 1023 - 52 + i64::from(mantissa.trailing_zeros());
    let places = u8::try_from((-last_bit).max(0)).ok()?;
    (places <= BINARY_PLACES_MAX).then_some(places)
}

fn fits_decimal(places: u8, word: u64) -> bool {
    let scale = FixedPoint(DECIMAL + places);
    let integer = scale.integer_of(f64::from_bits(word));
    integer.unsigned_abs() <= DECIMAL_INTEGER_MAX && scale.value_of(integer).to_bits() == word
}

/// Most places behind a binary point.
const BINARY_PLACES_MAX: u8 = 63;

/// Binary places from which on decimal ones are tried too.
const BINARY_PLACES_COARSE: u8 = 30;

/// The decimal scale of no places.
const DECIMAL: u8 = 128;

/// Most places behind a decimal point.
const DECIMAL_PLACES_MAX: u8 = 15;

/// Greatest magnitude up to which every integer is a double: 2^53.
const INTEGER_MAX: f64 = power_of_two(53);

/// The greatest magnitude of an integer over a decimal scale: 2^51, so that rounding is exact.
const DECIMAL_INTEGER_MAX: u64 = 1 << 51;

const POWERS_OF_TEN: [f64; 16] =
    [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
