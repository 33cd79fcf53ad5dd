//! Lines and the integers in them. Knows nothing of what a line announces.

use crate::error::ProtocolError;

/// Looks for a line's LF from `scanned` on, so that no byte is looked at twice.
pub(super) enum LineEnd {
    /// LF stands at this index.
    At(usize),
    /// The line goes on past what has arrived; look from this index next time.
    Missing(usize),
    /// The line is longer than allowed, wherever it ends.
    TooLong,
}

/// Finds the LF that ends the line which begins at `start`; the line may have `line_bytes_max`
/// bytes before its CR.
pub(super) fn find_line_end(
    buffer: &[u8],
    start: usize,
    scanned: usize,
    line_bytes_max: usize,
) -> LineEnd {
    let allowed_end = start.saturating_add(line_bytes_max).saturating_add(2);
    let window_end = buffer.len().min(allowed_end);
    let from = scanned.clamp(start, window_end);
    match buffer[from..window_end].iter().position(|byte| *byte == b'\n') {
        Some(found) => LineEnd::At(from + found),
        None if window_end == allowed_end => LineEnd::TooLong,
        None => LineEnd::Missing(window_end),
    }
}

/// The line from `start` to the LF at `line_feed`, which must follow a CR.
pub(super) fn strict_line<'a>(
    buffer: &'a [u8],
    start: usize,
    line_feed: usize,
    after: &'static str,
) -> Result<&'a [u8], ProtocolError> {
    match buffer[start..line_feed].split_last() {
        Some((b'\r', line)) => Ok(line),
        _ => Err(ProtocolError::ExpectedLineEnd { after }),
    }
}

/// An integer in its one canonical form, as Redis reads lengths: no sign but `-`, no leading
/// zeros, no spaces.
pub(super) fn parse_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [] => false,
        [b'0'] => text.len() == 1,
        [first, rest @ ..] => (b'1'..=b'9').contains(first) && rest.iter().all(u8::is_ascii_digit),
    };
    if !canonical {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The count or length of at most five digits that nearly every line holds, with the bytes of its
/// line, in one pass. Whatever it does not take is for [`find_line_end`] and [`parse_integer`].
pub(super) fn short_count(line: &[u8]) -> Option<(i64, usize)> {
    let mut value: i64 = 0;
    for (index, byte) in line.iter().take(6).enumerate() {
        match byte {
            b'0'..=b'9' if index == 0 || value > 0 => value = value * 10 + i64::from(byte - b'0'),
            b'\r' if index > 0 && line.get(index + 1) == Some(&b'\n') => {
                return Some((value, index + 2));
            }
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_one_form() {
        for (text, value) in [("0", 0), ("7", 7), ("-12", -12), ("9223372036854775807", i64::MAX)] {
            assert_eq!(parse_integer(text.as_bytes()), Some(value));
        }
        for text in ["", "-", "-0", "+1", "01", " 1", "1 ", "1a", "9223372036854775808"] {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_short_way_agrees_with_the_long_one() {
        for text in ["0", "7", "12", "99999", "100000", "00", "01", "", "-1", "1x", "1048576"] {
            let line = format!("{text}\r\nmore");
            if let Some((value, line_bytes)) = short_count(line.as_bytes()) {
                assert_eq!(Some(value), parse_integer(text.as_bytes()), "{text}");
                assert_eq!(line_bytes, text.len() + 2);
            }
        }
        assert_eq!(short_count(b"12345\r\n"), Some((12_345, 7)));
        assert_eq!(short_count(b"00\r\n"), None);
        assert_eq!(short_count(b"5\r"), None);
    }
}
