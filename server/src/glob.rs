//! Glob patterns as Redis understands them: `*`, `?`, `[a-z]`, `[^a]`, and `\` before a byte that
//! stands for itself.

/// Whether the whole text matches the pattern. Time is bounded by the product of the lengths:
/// only the last `*` is ever tried again.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut position) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while position < text.len() {
        if pattern.get(at) == Some(&b'*') {
            retry = Some((at + 1, position));
            at += 1;
            continue;
        }
        match one(&pattern[at.min(pattern.len())..], text[position]) {
            Some(length) => {
                at += length;
                position += 1;
            }
            None => match retry {
                Some((after_star, tried)) => {
                    retry = Some((after_star, tried + 1));
                    (at, position) = (after_star, tried + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at.min(pattern.len())..].iter().all(|byte| *byte == b'*')
}

/// The bytes that every text which matches the pattern begins with.
pub(crate) fn literal_prefix(pattern: &[u8]) -> Vec<u8> {
    let mut prefix = Vec::new();
    let mut rest = pattern;
    loop {
        rest = match rest {
            [] | [b'*' | b'?' | b'[', ..] | [b'\\'] => return prefix,
            [b'\\', literal, rest @ ..] | [literal, rest @ ..] => {
                prefix.push(*literal);
                rest
            }
        };
    }
}

/// Length of the pattern's first element if it matches the byte.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [b'[', rest @ ..] => class(rest, byte).map(|length| length + 1),
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

/// Length of a character class behind its `[`, if it holds the byte. An unclosed class ends with
/// the pattern.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let negated = pattern.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match &pattern[at.min(pattern.len())..] {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', literal, ..] => {
                found |= *literal == byte;
                at += 2;
            }
            [low, b'-', high, ..] if *high != b']' => {
                found |= (*low.min(high)..=*low.max(high)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= *literal == byte;
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        let cases: &[(&str, &str, bool)] = &[
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "abc", true),
            ("a*c", "abbbc", true),
            ("a*c", "abbb", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[c-a]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[ab", "b", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("*a*b*c*", "xxaxxbxxcxx", true),
            ("max*", "maxmemory-policy", true),
            ("save", "saved", false),
        ];
        for (pattern, text, expected) in cases {
            let matched = matches(pattern.as_bytes(), text.as_bytes());
            assert_eq!(matched, *expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_prefix_is_what_stands_before_the_first_special_byte() {
        let prefix = |pattern: &str| String::from_utf8(literal_prefix(pattern.as_bytes())).unwrap();
        let cases = ["", "abc", "abc*d", "a?", "[ab]", "a\\*b*", "a\\"].map(prefix);
        assert_eq!(cases, ["", "abc", "abc", "a", "", "a*b", "a"]);
    }

    #[test]
    fn many_stars_end_soon() {
        let pattern = "a*".repeat(50);
        assert!(!matches(pattern.as_bytes(), "a".repeat(49).as_bytes()));
        assert!(matches(pattern.as_bytes(), "a".repeat(5000).as_bytes()));
    }
}
