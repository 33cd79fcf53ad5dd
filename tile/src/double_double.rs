//! Double-double arithmetic: a number as the unevaluated sum of two doubles, about 106 bits.
//! It knows nothing of sums or moments.
//!
//! Sources: T. J. Dekker, "A floating-point technique for extending the available precision"
//! (1971); D. E. Knuth, TAOCP vol. 2, 4.2.2; Y. Hida, X. S. Li, D. H. Bailey, "Library for
//! double-double and quad-double arithmetic" (2007). Products are split by Dekker's method and
//! not by a fused multiply-add, which is slow where the processor's instruction may not be
//! assumed; so factors must stay below 2^996 in magnitude.

use crate::number::{nearest_double, power_of_two};

/// `hi + lo`, where `hi` is the double nearest to the sum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct DoubleDouble {
    pub(crate) hi: f64,
    pub(crate) lo: f64,
}

/// The sum of two doubles as (nearest double, exact error).
#[inline]
pub(crate) fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

/// As [`two_sum`], for |a| >= |b| or a = 0.
#[inline]
pub(crate) fn two_sum_ordered(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    (sum, b - (sum - a))
}

/// The product of two doubles as (nearest double, exact error), barring overflow and underflow.
#[inline]
fn two_product(a: f64, b: f64) -> (f64, f64) {
    let product = a * b;
    let (a_hi, a_lo) = split(a);
    let (b_hi, b_lo) = split(b);
    let error = ((a_hi * b_hi - product) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo;
    (product, error)
}

/// The double as a sum of two with at most 26 bits each.
#[inline]
fn split(a: f64) -> (f64, f64) {
    const SPLITTER: f64 = 134_217_729.0; // 2^27 + 1
    let scaled = SPLITTER * a;
    let hi = scaled - (scaled - a);
    (hi, a - hi)
}

impl DoubleDouble {
    pub(crate) const ZERO: Self = Self { hi: 0.0, lo: 0.0 };

    /// The sum of two parts of any size.
    #[inline]
    pub(crate) fn new(a: f64, b: f64) -> Self {
        let (hi, lo) = two_sum(a, b);
        Self { hi, lo }
    }

    /// The double itself.
    #[inline]
    pub(crate) const fn from_f64(value: f64) -> Self {
        Self { hi: value, lo: 0.0 }
    }

    #[inline]
    pub(crate) const fn from_words([hi, lo]: [u64; 2]) -> Self {
        Self { hi: f64::from_bits(hi), lo: f64::from_bits(lo) }
    }

    #[inline]
    pub(crate) const fn words(self) -> [u64; 2] {
        [self.hi.to_bits(), self.lo.to_bits()]
    }

    /// The integer, exactly.
    #[inline]
    pub(crate) fn from_i64(value: i64) -> Self {
        if value.unsigned_abs() <= 1 << 53 {
            return Self::from_f64(crate::number::nearest_double_signed(value));
        }
        let magnitude = Self::from_u64(value.unsigned_abs());
        if value < 0 { magnitude.negated() } else { magnitude }
    }

    /// The integer, exactly.
    #[inline]
    pub(crate) fn from_u64(value: u64) -> Self {
        const LOW_HALF: u64 = (1 << 32) - 1;
        if value <= 1 << 53 {
            return Self::from_f64(nearest_double(value));
        }
        Self::new(nearest_double(value & !LOW_HALF), nearest_double(value & LOW_HALF))
    }

    /// The number times -1; zeros stay plain zeros, so that equal numbers have equal bits.
    #[inline]
    pub(crate) fn negated(self) -> Self {
        Self { hi: 0.0 - self.hi, lo: 0.0 - self.lo }
    }

    /// The sum; relative error at most 2^-104 of it.
    #[inline]
    pub(crate) fn plus(self, other: Self) -> Self {
        let (hi, hi_error) = two_sum(self.hi, other.hi);
        let (lo, lo_error) = two_sum(self.lo, other.lo);
        let (hi, lo) = two_sum_ordered(hi, hi_error + lo);
        let (hi, lo) = two_sum_ordered(hi, lo + lo_error);
        Self { hi, lo }
    }

    /// The sum with a double; error at most 2^-105 of it.
    #[inline]
    pub(crate) fn plus_f64(self, other: f64) -> Self {
        let (hi, error) = two_sum(self.hi, other);
        let (hi, lo) = two_sum_ordered(hi, error + self.lo);
        Self { hi, lo }
    }

    #[inline]
    pub(crate) fn minus(self, other: Self) -> Self {
        self.plus(other.negated())
    }

    /// The product; relative error at most 2^-102.
    #[inline]
    pub(crate) fn times(self, other: Self) -> Self {
        let (hi, error) = two_product(self.hi, other.hi);
        let cross = self.hi * other.lo + self.lo * other.hi;
        let (hi, lo) = two_sum_ordered(hi, error + cross);
        Self { hi, lo }
    }

    /// The product with a double; relative error at most 2^-103.
    #[inline]
    pub(crate) fn times_f64(self, other: f64) -> Self {
        let (hi, error) = two_product(self.hi, other);
        let (hi, lo) = two_sum_ordered(hi, error + self.lo * other);
        Self { hi, lo }
    }

    /// The quotient; relative error at most 2^-100. The divisor is not zero.
    #[inline]
    pub(crate) fn divided_by(self, divisor: Self) -> Self {
        if divisor.lo == 0.0 {
            return self.divided_by_f64(divisor.hi);
        }
        let first = self.hi / divisor.hi;
        let rest = self.minus(divisor.times_f64(first));
        let second = rest.hi / divisor.hi;
        let rest = rest.minus(divisor.times_f64(second));
        let third = rest.hi / divisor.hi;
        let (hi, lo) = two_sum_ordered(first, second);
        Self { hi, lo }.plus_f64(third)
    }

    /// The quotient; relative error at most 2^-102. The divisor is not zero.
    #[inline]
    fn divided_by_f64(self, divisor: f64) -> Self {
        let first = self.hi / divisor;
        let (product, error) = two_product(first, divisor);
        // The first difference is exact, since the quotient is nearest.
        let rest = ((self.hi - product) - error) + self.lo;
        let (hi, lo) = two_sum_ordered(first, rest / divisor);
        Self { hi, lo }
    }

    /// The number times 2^exponent: exact unless it leaves the range of doubles.
    #[inline]
    pub(crate) fn scaled(self, exponent: i64) -> Self {
        let factor = power_of_two(exponent);
        Self { hi: self.hi * factor, lo: self.lo * factor }
    }
}

/// The double nearest to `a + b + c`, ties to even, where |a| is at least about 2^40 |c|, and `b`
/// and `c` lie below the last bit of `a` or are zero. By way of rounding to odd: S. Boldo and
/// G. Melquiond, "Emulation of a FMA and correctly rounded sums" (2008).
pub(crate) fn nearest_of_three(a: f64, b: f64, c: f64) -> f64 {
    let (a, b) = two_sum(a, b);
    let (b, c) = two_sum(b, c);
    let (a, b) = two_sum(a, b);
    a + rounded_to_odd(b, c)
}

/// The value of `b + c` as a double whose last bit says whether anything was cut off.
fn rounded_to_odd(b: f64, c: f64) -> f64 {
    let (sum, error) = two_sum(b, c);
    if error == 0.0 || sum.to_bits() & 1 == 1 {
        return sum;
    }
    let away_from_zero = (error > 0.0) == (sum > 0.0);
    f64::from_bits(if away_from_zero { sum.to_bits() + 1 } else { sum.to_bits() - 1 })
}
