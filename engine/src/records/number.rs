//! Owns arithmetic on numbers that are stored as text, as Redis does it: integers of 64 bits, and
//! decimals that are added exactly where 17 digits behind the point do. Knows nothing of records.

/// The integer that a text is, read as Redis does: no sign but `-`, no leading zeros, no spaces.
pub(crate) fn integer(text: &[u8]) -> Option<i64> {
    let value = std::str::from_utf8(text).ok()?.parse::<i64>().ok()?;
    (value.to_string().as_bytes() == text).then_some(value)
}

/// The sum of two decimals, printed with at most 17 digits behind the point and none in vain.
/// None where it is no finite number.
pub(crate) fn add_decimals(left: &[u8], right: &[u8]) -> Option<String> {
    if let (Some(left), Some(right)) = (Decimal::parse(left), Decimal::parse(right)) {
        return Some(left.plus(right).print());
    }
    let sum = double(left)? + double(right)?;
    sum.is_finite().then(|| trimmed(format!("{sum:.17}")))
}

/// Whether a text is a decimal number.
pub(crate) fn is_decimal(text: &[u8]) -> bool {
    double(text).is_some_and(|value| !value.is_nan())
}

/// `digits * 10^-SCALE`.
struct Decimal(i128);

/// Digits behind the point that Redis prints.
const SCALE: usize = 17;
/// Digits that a decimal has at most: sums of two stay far below the end of an i128.
const DIGITS_MAX: usize = 36;

impl Decimal {
    /// Plain decimals that fit; not those with exponents.
    fn parse(text: &[u8]) -> Option<Self> {
        let (is_negative, digits) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            digits => (false, digits),
        };
        let text = std::str::from_utf8(digits).ok()?;
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let is_plain = whole.len() + fraction.len() > 0
            && whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
        if !is_plain || SCALE < fraction.len() || DIGITS_MAX < whole.len() + SCALE {
            return None;
        }
        let all = format!("{whole}{fraction:0<SCALE$}");
        let value: i128 = all.parse().ok()?;
        Some(Self(if is_negative { -value } else { value }))
    }

    fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    fn print(&self) -> String {
        let digits = format!("{:0>width$}", self.0.unsigned_abs(), width = SCALE + 1);
        let (whole, fraction) = digits.split_at(digits.len() - SCALE);
        let sign = if self.0 < 0 { "-" } else { "" };
        trimmed(format!("{sign}{whole}.{fraction}"))
    }
}

fn double(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Without zeros at the end of the fraction, and without the point where nothing follows it.
fn trimmed(text: String) -> String {
    let trimmed = text.trim_end_matches('0').trim_end_matches('.');
    if trimmed == "-0" { "0".to_owned() } else { trimmed.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_redis_reads_them() {
        assert_eq!(integer(b"-9223372036854775808"), Some(i64::MIN));
        for wrong in ["", "+1", "01", " 1", "1 ", "1.0", "-0", "9223372036854775808"] {
            assert_eq!(integer(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn decimals_add_up_as_in_redis() {
        let cases = [
            ("0.1", "0.2", "0.3"),
            ("2.46", "1.23", "3.69"),
            ("3", "-1.5", "1.5"),
            ("17179869184", "1.5", "17179869185.5"),
            ("1", "-1", "0"),
            ("-0.25", "0.2", "-0.05"),
            ("5.0e3", "200", "5200"),
            ("100", "0.00000000000000001", "100.00000000000000001"),
        ];
        for (left, right, sum) in cases {
            let added = add_decimals(left.as_bytes(), right.as_bytes());
            assert_eq!(added.as_deref(), Some(sum), "{left} + {right}");
        }
        assert_eq!(add_decimals(b"1e308", b"1e308"), None);
        assert!(is_decimal(b"1e3") && !is_decimal(b" 1") && !is_decimal(b"1x"));
    }
}
