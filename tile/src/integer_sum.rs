//! The exact sum of integers, and their mean rounded correctly.
//! It knows nothing of tiles. A sum of fewer than 2^64 integers of 64 bits fits 128 bits.

use crate::number::{low_word, nearest_double, power_of_two};

/// The sum from its words, the low one first.
#[inline]
pub(crate) fn sum_of_words([low, high]: [u64; 2]) -> i128 {
    ((u128::from(high) << 64) | u128::from(low)).cast_signed()
}

/// The words of a sum, the low one first.
#[inline]
pub(crate) fn words_of_sum(sum: i128) -> [u64; 2] {
    let bits = sum.cast_unsigned();
    [low_word(bits), low_word(bits >> 64)]
}

/// The double nearest to `sum / count`, ties to even. The count is not zero.
pub(crate) fn mean_of_integers(sum: i128, count: u64) -> f64 {
    let magnitude = magnitude_of_mean(sum.unsigned_abs(), count);
    if sum < 0 { -magnitude } else { magnitude }
}

fn magnitude_of_mean(sum: u128, count: u64) -> f64 {
    const EXACT_MAX: u64 = 1 << 53;
    if let Ok(sum) = u64::try_from(sum)
        && sum <= EXACT_MAX
        && count <= EXACT_MAX
    {
        // Both are exact doubles, and division of doubles rounds correctly.
        return nearest_double(sum) / nearest_double(count);
    }
    if sum == 0 {
        return 0.0;
    }
    // With the highest bit of the dividend set, the quotient has at least 64 bits.
    let shift = sum.leading_zeros();
    let dividend = sum << shift;
    let quotient = dividend / u128::from(count);
    let rest = dividend % u128::from(count);
    // The 64 leading bits of the quotient round to 53 as the whole does, once the last of them
    // says whether anything that is not zero was cut off.
    let excess = 64 - quotient.leading_zeros();
    let leading = low_word(quotient >> excess);
    let is_cut = rest != 0 || (quotient & ((1 << excess) - 1)) != 0;
    let rounded = nearest_double(leading | u64::from(is_cut));
    rounded * power_of_two(i64::from(excess) - i64::from(shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_of_nothing_over_any_count_is_zero() {
        for count in [1, 1 << 53, (1 << 53) + 1, u64::MAX] {
            assert_eq!(mean_of_integers(0, count), 0.0);
        }
    }
}
