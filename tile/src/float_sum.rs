//! The sum of doubles, to about 106 bits and without overflow on the way.
//! It knows nothing of tiles or of how many values were summed.

use crate::double_double::{DoubleDouble, nearest_of_three, two_sum};
use crate::number::{integer_part, nearest_double_signed, power_of_two};

/// `carry * 2^1023 + hi + lo`, where -2^1022 <= hi < 2^1022: one value has one form ([STATE-3]).
/// Each addition errs by at most 2^-104 of the sum of magnitudes so far, so that a billion of them
/// stay far within 2^-70 of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct FloatSum {
    pub(crate) hi: f64,
    pub(crate) lo: f64,
    pub(crate) carry: i64,
}

/// What one carry is worth: 2^1023.
pub(crate) const CARRY_UNIT: f64 = power_of_two(1023);

/// Where a carry is taken: 2^1022.
pub(crate) const CARRY_BOUND: f64 = power_of_two(1022);

impl FloatSum {
    pub(crate) const ZERO: Self = Self { hi: 0.0, lo: 0.0, carry: 0 };

    /// The sum of one finite value.
    pub(crate) fn from_f64(value: f64) -> Self {
        Self::from_parts(DoubleDouble::from_f64(value), 0)
    }

    /// Adds a finite value.
    #[inline]
    pub(crate) fn add(self, value: f64) -> Self {
        if CARRY_BOUND <= value.abs() {
            return self.merge(Self::from_f64(value));
        }
        Self::from_parts(self.parts().plus_f64(value), self.carry)
    }

    /// The sum of both.
    #[inline]
    pub(crate) fn merge(self, other: Self) -> Self {
        let carry = self.carry.saturating_add(other.carry);
        Self::from_parts(self.parts().plus(other.parts()), carry)
    }

    /// The sum of the parts, whose magnitude is below 2^1023 + 2^1022.
    #[inline]
    pub(crate) fn from_parts(parts: DoubleDouble, carry: i64) -> Self {
        Self { hi: parts.hi, lo: parts.lo, carry }.normalised()
    }

    /// The sum without its carry.
    #[inline]
    pub(crate) fn parts(self) -> DoubleDouble {
        DoubleDouble { hi: self.hi, lo: self.lo }
    }

    /// The sum from its words: hi, lo, carry.
    #[inline]
    pub(crate) fn from_words([hi, lo, carry]: [u64; 3]) -> Self {
        Self { hi: f64::from_bits(hi), lo: f64::from_bits(lo), carry: carry.cast_signed() }
    }

    /// Its words: hi, lo, carry.
    #[inline]
    pub(crate) fn words(self) -> [u64; 3] {
        [self.hi.to_bits(), self.lo.to_bits(), self.carry.cast_unsigned()]
    }

    /// The double nearest to the sum, ties to even; infinite where that rounding says so.
    pub(crate) fn nearest(self) -> f64 {
        if self.carry == 0 {
            return self.hi;
        }
        self.halved_nearest() * 2.0
    }

    /// The sum divided by a count that is not zero.
    pub(crate) fn mean(self, count: u64) -> f64 {
        let divisor = DoubleDouble::from_u64(count);
        if self.carry == 0 && self.hi.abs() < MEAN_BOUND {
            if self.lo == 0.0 && divisor.lo == 0.0 {
                return self.hi / divisor.hi;
            }
            return self.parts().divided_by(divisor).hi;
        }
        // The dividend is brought down by 2^600, which costs bits only below 2^-474.
        let carried = DoubleDouble::from_i64(self.carry).scaled(1023 - 600);
        let dividend = self.parts().scaled(-600).plus(carried);
        dividend.divided_by(divisor).hi * power_of_two(600)
    }

    /// Takes carries until `hi` lies within its bounds: at most two.
    #[inline]
    fn normalised(mut self) -> Self {
        while !(-CARRY_BOUND..CARRY_BOUND).contains(&self.hi) && self.hi.is_finite() {
            let step = if self.hi < 0.0 { -1.0 } else { 1.0 };
            (self.hi, self.lo) = two_sum(self.hi - step * CARRY_UNIT, self.lo);
            self.carry = self.carry.saturating_add(integer_part(step));
        }
        self
    }

    /// The double nearest to half the sum, where the carry is not zero.
    fn halved_nearest(self) -> f64 {
        // From three carries on, less at most 2^1022, nothing is finite; so three will do.
        let carry = nearest_double_signed(self.carry.clamp(-3, 3));
        nearest_of_three(carry * CARRY_BOUND, self.hi * 0.5, halved_or_sticky(self.lo))
    }
}

/// Half of `lo`; where that is no double, something not zero with the same sign. Beside a carry
/// its size does not matter then, only that it breaks a tie.
fn halved_or_sticky(lo: f64) -> f64 {
    let half = lo * 0.5;
    if half == 0.0 && lo != 0.0 { lo } else { half }
}

/// Below this a dividend needs no scaling.
const MEAN_BOUND: f64 = power_of_two(960);
