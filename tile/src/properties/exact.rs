//! Exact arithmetic to compare with: numbers as big integers over a fixed power of two.

use num_bigint::BigInt;

/// Every finite double is an integer over 2^1074.
pub(super) const POINT: u32 = 1_074;

/// The double times 2^1074.
pub(super) fn fixed(value: f64) -> BigInt {
    assert!(value.is_finite(), "{value} is finite");
    let bits = value.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    let exponent = bits >> 52 & 0x7ff;
    let magnitude = match exponent {
        0 => BigInt::from(fraction),
        _ => BigInt::from(fraction | 1 << 52) << (exponent - 1),
    };
    if value < 0.0 { -magnitude } else { magnitude }
}

/// The integer times 2^1074.
pub(super) fn fixed_integer(value: i64) -> BigInt {
    BigInt::from(value) << POINT
}

pub(super) fn magnitude(value: &BigInt) -> BigInt {
    BigInt::from(value.magnitude().clone())
}

/// Whether `value` is the double nearest to `numerator / (denominator * 2^1074)`, ties to even.
pub(super) fn is_nearest(value: f64, numerator: &BigInt, denominator: u64) -> bool {
    // Where the value rounds to infinity, the next double would be 2^1024.
    let as_fixed = |value: f64| match value {
        f64::INFINITY => BigInt::from(1) << (1024 + POINT),
        f64::NEG_INFINITY => -(BigInt::from(1) << (1024 + POINT)),
        value => fixed(value),
    };
    let distance = |value: f64| magnitude(&(as_fixed(value) * denominator - numerator));
    let own = distance(value);
    [value.next_up(), value.next_down()].into_iter().all(|next| {
        let other = distance(next);
        own < other || (own == other && value.to_bits() & 1 == 0)
    })
}

/// `numerator / denominator` for magnitudes, to a few units in the last place.
pub(super) fn ratio(numerator: &BigInt, denominator: &BigInt) -> f64 {
    let (numerator, shift_up) = leading(numerator);
    let (denominator, shift_down) = leading(denominator);
    let exponent = i32::try_from(shift_up - shift_down).unwrap();
    numerator / denominator * 2.0_f64.powi(exponent / 2) * 2.0_f64.powi(exponent - exponent / 2)
}

/// The value's magnitude as a double of at most 64 bits times a power of two.
fn leading(value: &BigInt) -> (f64, i64) {
    let bits = i64::try_from(value.bits()).unwrap();
    let excess = (bits - 64).max(0);
    let leading = value.magnitude() >> u64::try_from(excess).unwrap();
    (leading.to_string().parse().unwrap(), excess)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_fixed_point_integers() {
        assert_eq!(fixed(5e-324), BigInt::from(1));
        assert_eq!(fixed(-1.0), -(BigInt::from(1) << POINT));
        assert_eq!(fixed(1.5), BigInt::from(3) << (POINT - 1));
    }

    #[test]
    fn the_nearest_double_is_told_from_its_neighbours() {
        let third = fixed_integer(1);
        assert!(is_nearest(1.0 / 3.0, &third, 3));
        assert!(!is_nearest((1.0_f64 / 3.0).next_up(), &third, 3));
        let tie = fixed_integer((1 << 53) + 1);
        assert!(is_nearest(9_007_199_254_740_992.0, &tie, 1));
        assert!(!is_nearest(9_007_199_254_740_994.0, &tie, 1));
    }

    #[test]
    fn ratios_are_nearly_right() {
        let of_thirds = ratio(&(BigInt::from(2) << 2_000), &(BigInt::from(3) << 1_990));
        assert!((of_thirds - 2_048.0 / 3.0).abs() < 1e-9, "{of_thirds}");
    }
}
