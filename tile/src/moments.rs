//! Mean and sum of squared distances from it (M2), which give variance and standard deviation.
//! It knows nothing of tiles; the number of values is kept beside it and passed in.
//!
//! Sources: B. P. Welford, "Note on a method for calculating corrected sums of squares and
//! products" (1962); T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise
//! algorithm for computing sample variances" (1979); here in double-double arithmetic.

use crate::double_double::DoubleDouble;
use crate::number::{nearest_double, power_of_two};

/// The mean is `mean * 2^scale` and M2 is `m2 * 2^(2 scale)`. The scale keeps squares of very
/// large and very small values within the range of doubles; it follows from the two numbers alone
/// ([STATE-4]).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Moments {
    pub(crate) mean: DoubleDouble,
    pub(crate) m2: DoubleDouble,
    pub(crate) scale: Scale,
}

/// By which power of two moments are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scale {
    /// The stored numbers are 2^600 times (M2: 2^1200 times) the true ones.
    Tiny,
    /// The stored numbers are the true ones.
    Plain,
    /// The stored numbers are 2^-600 times (M2: 2^-1200 times) the true ones.
    Huge,
}

impl Scale {
    /// The exponent of the power of two that stored values are to be multiplied by.
    pub(crate) const fn exponent(self) -> i64 {
        match self {
            Self::Tiny => -SCALE_STEP,
            Self::Plain => 0,
            Self::Huge => SCALE_STEP,
        }
    }

    /// The scale with this exponent; any other number is taken for [`Scale::Plain`].
    #[inline]
    pub(crate) const fn of_exponent(exponent: i64) -> Self {
        match exponent {
            0 => Self::Plain,
            SCALE_STEP => Self::Huge,
            exponent if exponent == -SCALE_STEP => Self::Tiny,
            _ => Self::Plain,
        }
    }

    /// The scale for numbers of this mean and M2, which may be infinite or rounded to zero.
    pub(crate) fn of_size(mean: f64, m2: f64) -> Self {
        if LARGE <= mean.abs() || LARGE * LARGE <= m2 {
            Self::Huge
        } else if SMALL <= mean.abs() || SMALL * SMALL <= m2 {
            Self::Plain
        } else {
            Self::Tiny
        }
    }
}

impl Moments {
    /// The moments of no values, and those of zeros.
    pub(crate) const ZERO: Self =
        Self { mean: DoubleDouble::ZERO, m2: DoubleDouble::ZERO, scale: Scale::Plain };

    /// The moments from their words: mean hi and lo, M2 hi and lo, exponent of the scale.
    #[inline]
    pub(crate) fn from_words([mean_hi, mean_lo, m2_hi, m2_lo, exponent]: [u64; 5]) -> Self {
        Self {
            mean: DoubleDouble::from_words([mean_hi, mean_lo]),
            m2: DoubleDouble::from_words([m2_hi, m2_lo]),
            scale: Scale::of_exponent(exponent.cast_signed()),
        }
    }

    /// Their words: mean hi and lo, M2 hi and lo, exponent of the scale.
    #[inline]
    pub(crate) fn words(self) -> [u64; 5] {
        let [mean_hi, mean_lo] = self.mean.words();
        let [m2_hi, m2_lo] = self.m2.words();
        [mean_hi, mean_lo, m2_hi, m2_lo, self.scale.exponent().cast_unsigned()]
    }

    /// The moments of one value.
    pub(crate) fn of_one(value: DoubleDouble) -> Self {
        let plain = Self { mean: value, ..Self::ZERO };
        plain.rescaled(plain.natural_scale()).settled()
    }

    /// The moments after `count` values and one more.
    #[inline]
    pub(crate) fn add(self, count: u64, value: DoubleDouble) -> Self {
        if count == 0 {
            return Self::of_one(value);
        }
        let size = value.hi.abs();
        let fits = size < LARGE && (SMALL <= size || SMALL <= self.mean.hi.abs());
        if self.scale == Scale::Plain && fits {
            return self.add_plain(count, value).settled();
        }
        self.merge(count, Self::of_one(value), 1)
    }

    /// The moments of both, of `count` and `other_count` values.
    pub(crate) fn merge(self, count: u64, other: Self, other_count: u64) -> Self {
        if other_count == 0 {
            return self;
        }
        if count == 0 {
            return other;
        }
        if self.scale == Scale::Plain && other.scale == Scale::Plain {
            let needs_care = self.mean.hi == 0.0 || other.mean.hi == 0.0;
            if !needs_care {
                return self.merge_plain(count, other, other_count).settled();
            }
        }
        let scale = self.natural_scale().max(other.natural_scale());
        let (mine, theirs) = (self.rescaled(scale), other.rescaled(scale));
        mine.merge_plain(count, theirs, other_count).settled()
    }

    /// The variance over `divisor`: M2 / divisor as the nearest double.
    pub(crate) fn variance(self, divisor: u64) -> f64 {
        let quotient = self.m2.divided_by(DoubleDouble::from_u64(divisor)).hi;
        match self.scale {
            Scale::Plain => quotient,
            // In two steps, since 2^1200 is no double.
            Scale::Tiny | Scale::Huge => {
                let factor = power_of_two(self.scale.exponent());
                quotient * factor * factor
            }
        }
    }

    /// The root of the variance over `divisor`.
    pub(crate) fn deviation(self, divisor: u64) -> f64 {
        let quotient = self.m2.divided_by(DoubleDouble::from_u64(divisor)).hi;
        quotient.sqrt() * power_of_two(self.scale.exponent())
    }

    /// Whether a mean of the same values, computed elsewhere in doubles, may be this one: whether
    /// it lies within a millionth of their quadratic mean, which bounds what rounding does.
    pub(crate) fn agrees_with_mean(self, count: u64, mean: f64) -> bool {
        let factor = power_of_two(-self.scale.exponent());
        let mean = mean * factor;
        let own = self.mean.hi;
        let size = (self.m2.hi / nearest_double(count) + own * own).sqrt();
        let least_double = f64::from_bits(1) * factor;
        (own - mean).abs() <= 1e-6 * size + least_double
    }

    /// Welford's step for numbers of one scale.
    #[inline]
    fn add_plain(self, count: u64, value: DoubleDouble) -> Self {
        let delta = value.minus(self.mean);
        let step = delta.divided_by(DoubleDouble::from_u64(count.saturating_add(1)));
        let grown = delta.times(step).times(DoubleDouble::from_u64(count));
        Self { mean: self.mean.plus(step), m2: self.m2.plus(grown), scale: self.scale }
    }

    /// Chan's merge for numbers of one scale.
    #[inline]
    fn merge_plain(self, count: u64, other: Self, other_count: u64) -> Self {
        let total = DoubleDouble::from_u64(count.saturating_add(other_count));
        let delta = other.mean.minus(self.mean);
        let share = DoubleDouble::from_u64(other_count).divided_by(total);
        let step = delta.times(share);
        let grown = delta.times(step).times(DoubleDouble::from_u64(count));
        Self {
            mean: self.mean.plus(step),
            m2: self.m2.plus(other.m2).plus(grown),
            scale: self.scale,
        }
    }

    /// The same numbers under the scale that is theirs.
    #[inline]
    fn settled(self) -> Self {
        let settled = self.scale == Scale::Plain
            && self.mean.hi.abs() < LARGE
            && self.m2.hi < LARGE * LARGE
            && (SMALL <= self.mean.hi.abs() || SMALL * SMALL <= self.m2.hi);
        if settled {
            return self;
        }
        if self.is_zero() {
            return Self::ZERO;
        }
        self.rescaled(self.natural_scale())
    }

    /// Whether the numbers are plain and none is so small that its square might lose bits.
    fn is_tame(self) -> bool {
        self.scale == Scale::Plain && (self.mean.hi == 0.0 || SMALL <= self.mean.hi.abs())
    }

    fn is_zero(self) -> bool {
        self.mean.hi == 0.0 && self.m2.hi == 0.0
    }

    /// The scale that fits the numbers; zeros fit every scale, and have the least.
    fn natural_scale(self) -> Scale {
        let factor = power_of_two(self.scale.exponent());
        Scale::of_size(self.mean.hi * factor, self.m2.hi * factor * factor)
    }

    /// The same numbers under another scale; a scale too large for them costs bits.
    fn rescaled(self, scale: Scale) -> Self {
        let exponent = self.scale.exponent() - scale.exponent();
        if exponent == 0 {
            return self;
        }
        let half = exponent / 2;
        let by = |number: DoubleDouble| number.scaled(half).scaled(half);
        Self { mean: by(self.mean), m2: by(by(self.m2)), scale }
    }
}

/// The moments of many parts, merged at once. Distances are taken from the mean of the first part
/// rather than from that of all, which takes no division per part; the sum of squares so found is
/// too large by the square of the whole mean's distance, which is taken off at the end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pool {
    count: u64,
    /// What was merged one by one: the first part, and all once a part is not plain.
    apart: Option<Moments>,
    origin: DoubleDouble,
    /// The sum of distances from the origin.
    distances: DoubleDouble,
    /// The sum of their squares and of the parts' M2.
    squares: DoubleDouble,
}

impl Pool {
    /// No parts.
    pub(crate) const EMPTY: Self = Self {
        count: 0,
        apart: None,
        origin: DoubleDouble::ZERO,
        distances: DoubleDouble::ZERO,
        squares: DoubleDouble::ZERO,
    };

    /// Adds the moments of `count` values.
    #[inline]
    pub(crate) fn add(&mut self, count: u64, part: Moments) {
        if count == 0 {
            return;
        }
        if self.apart.is_some() || !part.is_tame() || EXACT_COUNT_MAX < count {
            return self.add_apart(count, part);
        }
        if self.count == 0 {
            self.origin = part.mean;
        }
        let distance = part.mean.minus(self.origin);
        let weighted = distance.times_f64(nearest_double(count));
        self.distances = self.distances.plus(weighted);
        self.squares = self.squares.plus(weighted.times(distance)).plus(part.m2);
        self.count = self.count.saturating_add(count);
    }

    /// The number of values and their moments.
    pub(crate) fn merged(self) -> (u64, Moments) {
        if let Some(moments) = self.apart {
            return (self.count, moments);
        }
        if self.count == 0 {
            return (0, Moments::ZERO);
        }
        let offset = self.distances.divided_by(DoubleDouble::from_u64(self.count));
        let m2 = self.squares.minus(offset.times(self.distances));
        let moments = Moments {
            mean: self.origin.plus(offset),
            m2: if m2.hi < 0.0 { DoubleDouble::ZERO } else { m2 },
            scale: Scale::Plain,
        };
        (self.count, moments.settled())
    }

    fn add_apart(&mut self, count: u64, part: Moments) {
        let (before, moments) = self.merged();
        self.apart = Some(moments.merge(before, part, count));
        self.count = before.saturating_add(count);
    }
}

/// The exponent between one scale and the next.
const SCALE_STEP: i64 = 600;

/// From this magnitude on, squares of values are too large to be summed as they are.
const LARGE: f64 = power_of_two(460);

/// The greatest count that is taken for a double: every integer up to it is one.
const EXACT_COUNT_MAX: u64 = 1 << 53;

/// Below this magnitude, squares of values are too small for a double-double.
const SMALL: f64 = power_of_two(-300);
