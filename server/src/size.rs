//! Byte sizes as people write them: `4GiB`, `512MiB`, `1GB`, `65536`.

/// Parses a whole number with an optional unit: B, KiB, MiB, GiB, TiB (powers of 1024) or KB, MB,
/// GB, TB (powers of 1000), in any case. None if it is anything else or leaves `usize`.
pub(crate) fn parse(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: usize = number.parse().ok()?;
    let factor = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// A size for people: `1.5 GiB`, `812 B`.
pub(crate) fn print(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut scaled = bytes;
    let mut rest = 0;
    let mut unit = 0;
    while scaled >= 1024 && unit + 1 < UNITS.len() {
        (scaled, rest) = (scaled / 1024, scaled % 1024);
        unit += 1;
    }
    match rest * 10 / 1024 {
        0 => format!("{scaled} {}", UNITS[unit]),
        tenth => format!("{scaled}.{tenth} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_parse() {
        assert_eq!(parse("0"), Some(0));
        assert_eq!(parse("65536"), Some(65_536));
        assert_eq!(parse("4GiB"), Some(4 << 30));
        assert_eq!(parse("4 gib"), Some(4 << 30));
        assert_eq!(parse("1MB"), Some(1_000_000));
        for bad in ["", "GiB", "-1", "1.5GiB", "4G", "1 2", "99999999999999TiB"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_print() {
        assert_eq!(print(0), "0 B");
        assert_eq!(print(1023), "1023 B");
        assert_eq!(print(1536), "1.5 KiB");
        assert_eq!(print(4 << 30), "4 GiB");
    }
}
