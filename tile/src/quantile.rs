//! A quantile: a decimal fraction from 0 to 1, held as its digits, so that ranks come out exactly.
//! It knows nothing of sketches.

use crate::limits::QUANTILE_DECIMALS_MAX;
use std::fmt;

/// A decimal fraction from 0 to 1, such as 0.99.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quantile {
    /// The fraction times ten to the power of `decimals`.
    digits: u64,
    /// Digits after the point, the last of them not zero.
    decimals: u8,
}

impl Quantile {
    /// Reads digits with at most one point, such as `0.5`, `.5`, `1` or `0.990`. None for other
    /// text, fractions above 1 and more than 18 digits after the point.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let point = text.iter().position(|&byte| byte == b'.').unwrap_or(text.len());
        let (whole, rest) = text.split_at(point);
        let fraction = rest.get(1..).unwrap_or_default();
        let digits = [whole, fraction].concat();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let decimals = u8::try_from(fraction.len()).ok()?;
        if QUANTILE_DECIMALS_MAX < decimals {
            return None;
        }
        let digits: u64 = std::str::from_utf8(&digits).ok()?.parse().ok()?;
        let mut quantile = Self { digits, decimals };
        while 0 < quantile.decimals && quantile.digits.is_multiple_of(10) {
            quantile = Self { digits: quantile.digits / 10, decimals: quantile.decimals - 1 };
        }
        (u128::from(quantile.digits) <= quantile.scale()).then_some(quantile)
    }

    /// The nearest rank of the quantile among so many values, counted from 1:
    /// max(1, ceil(q n)).
    pub fn nearest_rank(self, count: u64) -> u64 {
        let rank = (u128::from(self.digits) * u128::from(count)).div_ceil(self.scale());
        u64::try_from(rank).unwrap_or(u64::MAX).max(1)
    }

    fn scale(self) -> u128 {
        10_u128.pow(u32::from(self.decimals))
    }
}

impl fmt::Display for Quantile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = self.scale();
        write!(formatter, "{}", u128::from(self.digits) / scale)?;
        match usize::from(self.decimals) {
            0 => Ok(()),
            width => write!(formatter, ".{:0width$}", u128::from(self.digits) % scale),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_print_and_read_back() {
        for (text, printed) in [
            ("0", "0"),
            ("1", "1"),
            ("1.000", "1"),
            ("0.5", "0.5"),
            (".5", "0.5"),
            ("0.990", "0.99"),
            ("00.05", "0.05"),
            ("0.000000000000000001", "0.000000000000000001"),
        ] {
            let quantile = Quantile::parse(text.as_bytes()).unwrap();
            assert_eq!(quantile.to_string(), printed);
            assert_eq!(Quantile::parse(printed.as_bytes()), Some(quantile));
        }
    }

    #[test]
    fn other_text_is_no_quantile() {
        for text in
            ["", ".", "-0.1", "1.01", "2", "0.5.5", "1e-1", "0,5", " 0.5", "0.0000000000000000001"]
        {
            assert_eq!(Quantile::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn ranks_are_exact_where_products_of_doubles_are_not() {
        // 0.07 * 100 is 7.000000000000001 in doubles.
        for (text, count, rank) in [
            ("0.07", 100, 7),
            ("0", 10, 1),
            ("0.5", 1, 1),
            ("0.5", 2, 1),
            ("0.5", 3, 2),
            ("0.99", 200, 198),
            ("1", u64::MAX, u64::MAX),
            ("0.9", 10, 9),
        ] {
            assert_eq!(Quantile::parse(text.as_bytes()).unwrap().nearest_rank(count), rank);
        }
    }
}
