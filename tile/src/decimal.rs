//! Exact decimal numbers: how double-doubles are written as text and read back without loss.
//! It knows nothing of what the numbers mean. It is slow, and used where doubles do not suffice.
//!
//! A number of at most 17 significant digits stands for the double nearest to it, which is how
//! doubles are printed everywhere. One of more digits stands for itself, to the precision of the
//! reader. So what is printed from a double-double has 18 digits at least.

use crate::double_double::DoubleDouble;
use crate::float_sum::{CARRY_BOUND, FloatSum};
use crate::limits::NUMBER_BYTES_MAX;
use crate::moments::{Moments, Scale};
use crate::number::power_of_two;
use crate::scalar::parse_double;
use num_bigint::BigInt;

/// `digits * 10^exponent`.
#[derive(Debug, Clone, PartialEq)]
struct Decimal {
    digits: BigInt,
    exponent: i64,
}

/// The sum as JSON text that [`read_sum`] reads back exactly.
pub(crate) fn print_sum(sum: FloatSum) -> String {
    if sum.carry == 0 && sum.lo == 0.0 {
        return print_double(sum.hi);
    }
    let carry = Decimal::of_integer(sum.carry).times_power_of_two(1023);
    let exact = Decimal::of_parts(sum.parts()).plus(&carry);
    exact.shortest(|text| read_sum(text) == Some(sum))
}

/// Reads a sum of doubles from the text of a JSON number.
pub(crate) fn read_sum(text: &str) -> Option<FloatSum> {
    if let Some(value) = nearest_if_short(text) {
        return Some(FloatSum::from_f64(value));
    }
    let exact = Decimal::parse(text)?;
    let parts = exact.parts()?;
    if parts.hi.abs() < CARRY_BOUND {
        return Some(FloatSum::from_parts(parts, 0));
    }
    let carry = exact.carries()?;
    let carried = Decimal::of_integer(carry).times_power_of_two(1023);
    Some(FloatSum::from_parts(exact.minus(&carried).parts()?, carry))
}

/// Mean and M2 as JSON texts that [`read_moments`] reads back exactly.
pub(crate) fn print_moments(moments: Moments) -> [String; 2] {
    let exponent = moments.scale.exponent();
    let print = |parts: DoubleDouble, exponent: i64| {
        if parts.lo == 0.0 && (exponent == 0 || parts.hi == 0.0) {
            return print_double(parts.hi);
        }
        let exact = Decimal::of_parts(parts).times_power_of_two(exponent);
        exact.shortest(|text| read_parts(text, exponent) == Some(parts))
    };
    [print(moments.mean, exponent), print(moments.m2, 2 * exponent)]
}

/// Reads moments from the texts of two JSON numbers, mean and M2.
pub(crate) fn read_moments(mean: &str, m2: &str) -> Option<Moments> {
    let scale = Scale::of_size(mean.parse().ok()?, m2.parse().ok()?);
    let moments = Moments {
        mean: read_parts(mean, scale.exponent())?,
        m2: read_parts(m2, 2 * scale.exponent())?,
        scale,
    };
    let is_zero = moments.mean.hi == 0.0 && moments.m2.hi == 0.0;
    Some(if is_zero { Moments::ZERO } else { moments })
}

/// The double as JSON text, in the fewest digits that read back.
pub(crate) fn print_double(value: f64) -> String {
    format!("{value:?}")
}

/// Whether the text is a number by JSON's grammar, of a length that is accepted.
pub(crate) fn is_json_number(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut rest = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(rest);
    if whole == 0 || (1 < whole && rest.starts_with(b"0")) || NUMBER_BYTES_MAX < text.len() {
        return false;
    }
    rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let places = digits(fraction);
        if places == 0 {
            return false;
        }
        rest = &fraction[places..];
    }
    let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) else {
        return rest.is_empty();
    };
    let sign = |text| <[u8]>::strip_prefix(text, b"+").or_else(|| text.strip_prefix(b"-"));
    let exponent = sign(exponent).unwrap_or(exponent);
    !exponent.is_empty() && digits(exponent) == exponent.len()
}

impl Decimal {
    /// Reads the text of a JSON number with a small exponent.
    fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse().ok()?),
            None => (text, 0_i64),
        };
        if !(-EXPONENT_MAX..=EXPONENT_MAX).contains(&exponent) {
            return None;
        }
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let places = i64::try_from(fraction.len()).ok()?;
        Some(Self {
            digits: format!("{whole}{fraction}").parse().ok()?,
            exponent: exponent - places,
        })
    }

    fn of_integer(value: i64) -> Self {
        Self { digits: BigInt::from(value), exponent: 0 }
    }

    /// The finite double, exactly.
    fn of_double(value: f64) -> Self {
        let bits = value.to_bits();
        let fraction = bits & ((1 << 52) - 1);
        let exponent = i64::try_from(bits >> 52 & 0x7ff).unwrap_or(0);
        let (mantissa, exponent) = match exponent {
            0 => (fraction, -1074),
            _ => (fraction | 1 << 52, exponent - 1075),
        };
        let digits = BigInt::from(mantissa);
        Self { digits: if value < 0.0 { -digits } else { digits }, exponent: 0 }
            .times_power_of_two(exponent)
    }

    fn of_parts(parts: DoubleDouble) -> Self {
        Self::of_double(parts.hi).plus(&Self::of_double(parts.lo))
    }

    fn plus(&self, other: &Self) -> Self {
        let exponent = self.exponent.min(other.exponent);
        Self { digits: self.digits_at(exponent) + other.digits_at(exponent), exponent }
    }

    fn minus(&self, other: &Self) -> Self {
        self.plus(&Self { digits: -&other.digits, exponent: other.exponent })
    }

    fn times_power_of_two(&self, power: i64) -> Self {
        let size = u32::try_from(power.unsigned_abs()).unwrap_or(u32::MAX);
        if 0 <= power {
            return Self { digits: &self.digits << size, exponent: self.exponent };
        }
        // One over 2^n is 5^n over 10^n.
        Self { digits: &self.digits * BigInt::from(5).pow(size), exponent: self.exponent + power }
    }

    /// The double nearest to it, ties to even; infinite where that rounding says so.
    fn nearest(&self) -> Option<f64> {
        let value: f64 = format!("{}e{}", self.digits, self.exponent).parse().ok()?;
        // What underflows is plain zero.
        Some(value + 0.0)
    }

    /// The double-double nearest to it, or an infinite `hi`.
    fn parts(&self) -> Option<DoubleDouble> {
        let hi = self.nearest()?;
        if hi.is_infinite() {
            return Some(DoubleDouble::from_f64(hi));
        }
        let lo = self.minus(&Self::of_double(hi)).nearest()?;
        Some(DoubleDouble { hi, lo })
    }

    /// How many times 2^1023 must be taken off to come nearest to zero, if few.
    fn carries(&self) -> Option<i64> {
        let unit = BigInt::from(1) << 1023_u32;
        let whole = if 0 <= self.exponent {
            self.digits_at(0)
        } else {
            &self.digits / power_of_ten(-self.exponent)
        };
        let half = if whole < BigInt::ZERO { -(&unit >> 1_u32) } else { &unit >> 1_u32 };
        i64::try_from((whole + half) / unit).ok()
    }

    /// The digits under an exponent that is not above its own.
    fn digits_at(&self, exponent: i64) -> BigInt {
        &self.digits * power_of_ten(self.exponent - exponent)
    }

    /// The shortest of a few texts that reads back, all of its digits if need be.
    fn shortest(&self, reads_back: impl Fn(&str) -> bool) -> String {
        PRECISIONS
            .into_iter()
            .map(|digits| self.rounded(digits).text())
            .find(|text| reads_back(text))
            .unwrap_or_else(|| self.text())
    }

    /// The number to this many significant digits.
    fn rounded(&self, significant: usize) -> Self {
        let length = self.digits.magnitude().to_string().len();
        let excess = i64::try_from(length.saturating_sub(significant)).unwrap_or(0);
        if excess == 0 {
            return self.clone();
        }
        let half = BigInt::from(5) * power_of_ten(excess - 1);
        let half = if self.digits < BigInt::ZERO { -half } else { half };
        Self {
            digits: (&self.digits + half) / power_of_ten(excess),
            exponent: self.exponent + excess,
        }
    }

    /// Its text in 18 digits or more, as JSON takes it.
    fn text(&self) -> String {
        let mut digits = self.digits.magnitude().to_string();
        let mut exponent = self.exponent;
        while digits.len() <= SHORT_DIGITS_MAX {
            digits.push('0');
            exponent -= 1;
        }
        let sign = if self.digits < BigInt::ZERO { "-" } else { "" };
        let magnitude = exponent + i64::try_from(digits.len()).unwrap_or(0) - 1;
        let point = usize::try_from(magnitude + 1).unwrap_or(usize::MAX);
        if 0 < point && point < digits.len() && point <= POSITIONAL_MAX {
            let (whole, fraction) = digits.split_at(point);
            return format!("{sign}{whole}.{fraction}");
        }
        let (first, rest) = digits.split_at(1);
        format!("{sign}{first}.{rest}e{magnitude}")
    }
}

/// Reads a double-double that is stored as its value over 2^exponent.
fn read_parts(text: &str, exponent: i64) -> Option<DoubleDouble> {
    let half = exponent / 2;
    match nearest_if_short(text) {
        Some(value) if exponent == 0 || f64::MIN_POSITIVE <= value.abs() => {
            let factor = power_of_two(-half);
            Some(DoubleDouble::from_f64(value * factor * factor))
        }
        _ => {
            let parts = Decimal::parse(text)?.times_power_of_two(-exponent).parts()?;
            parts.hi.is_finite().then_some(parts)
        }
    }
}

/// The double nearest to a number of few digits, if it is finite and not zero by underflow.
fn nearest_if_short(text: &str) -> Option<f64> {
    let digits = significant_digits(text);
    let value = parse_double(text.as_bytes())?;
    let is_underflow = value == 0.0 && digits != 0;
    (digits <= SHORT_DIGITS_MAX && !is_underflow).then_some(value)
}

/// How many digits the text has from its first that is not zero to its last before an exponent.
fn significant_digits(text: &str) -> usize {
    text.bytes()
        .take_while(|byte| !matches!(byte, b'e' | b'E'))
        .filter(u8::is_ascii_digit)
        .skip_while(|&byte| byte == b'0')
        .count()
}

fn power_of_ten(exponent: i64) -> BigInt {
    BigInt::from(10).pow(u32::try_from(exponent).unwrap_or(0))
}

/// The most significant digits that a text may have to stand for a double.
const SHORT_DIGITS_MAX: usize = 17;

/// The precisions that are tried for a double-double; most need 32 or 33 digits.
const PRECISIONS: [usize; 5] = [18, 25, 33, 36, 50];

/// The most digits before the point without an exponent.
const POSITIONAL_MAX: usize = 21;

/// The largest exponent that is taken: beyond it nothing can be stored.
const EXPONENT_MAX: i64 = 5_000;
