//! Names: of views and services, and of features, columns and keys.
//! It knows nothing of what a name stands for.

use crate::error::{TileError, printable};
use crate::limits::{IDENTIFIER_BYTES_MAX, NAME_BYTES_MAX};
use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The name of a view or service: `[A-Za-z_][A-Za-z0-9_.-]{0,127}`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// The name of a feature, column or key: `[A-Za-z_][A-Za-z0-9_]{0,127}`, and no keyword of the
/// command grammar in either case. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier(Arc<str>);

/// Every keyword of the command grammar, sorted, in upper case. An argument list in which names
/// and keywords follow each other is read in one way only because no name is one of these.
pub const KEYWORDS: [&str; 37] = [
    "ADD",
    "AFTER",
    "AT",
    "ATS",
    "CLOSED",
    "COLUMNS",
    "DROP",
    "EDGE",
    "EMPTY",
    "ENTITIES",
    "FEATURES",
    "ID",
    "KEYS",
    "KNOWN",
    "LATE",
    "LEVELS",
    "LIVE",
    "MAXLAG",
    "MERGE",
    "MINROWS",
    "MODE",
    "NOSEAL",
    "NULL",
    "OFF",
    "PRODUCER",
    "REPLACE",
    "REQUIRED",
    "RETENTION",
    "ROWS",
    "SEAL",
    "SELECTORS",
    "SEQ",
    "STATUS",
    "TILE",
    "TILES",
    "TIMEOUT",
    "VIEWS",
];

impl Name {
    /// Reads a view or service name.
    pub fn parse(text: &[u8]) -> Result<Self, TileError> {
        read(text, NAME_BYTES_MAX, b"_.-").map(Self).ok_or_else(|| TileError::Name {
            what: "view or service name",
            text: printable(text),
            expected: "a letter or _, then at most 127 letters, digits, _, . or -",
        })
    }
}

impl Identifier {
    /// Reads a feature, column or key name.
    pub fn parse(text: &[u8]) -> Result<Self, TileError> {
        let error = |expected| TileError::Name {
            what: "feature, column or key name",
            text: printable(text),
            expected,
        };
        let name = read(text, IDENTIFIER_BYTES_MAX, b"_")
            .ok_or_else(|| error("a letter or _, then at most 127 letters, digits or _"))?;
        if is_keyword(&name) {
            return Err(error("a name that is no keyword of the commands"));
        }
        Ok(Self(name))
    }
}

/// Whether the text is a keyword of the command grammar, in either case.
pub fn is_keyword(text: &str) -> bool {
    KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(text))
}

/// The text of a well-formed name: a letter or underscore, then letters, digits and `others`.
fn read(text: &[u8], bytes_max: usize, others: &[u8]) -> Option<Arc<str>> {
    let first = text.first()?;
    let well_formed = (first.is_ascii_alphabetic() || *first == b'_')
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || others.contains(byte))
        && text.len() <= bytes_max;
    if !well_formed {
        return None;
    }
    std::str::from_utf8(text).ok().map(Arc::from)
}

/// What both kinds of name offer alike.
macro_rules! impl_text {
    ($type:ty) => {
        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<[u8]> for $type {
            fn as_ref(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }
    };
}

impl_text!(Name);
impl_text!(Identifier);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_take_dots_and_dashes_and_keywords() {
        for text in ["v", "_", "shop.likes-v2", "A9", "rows"] {
            assert_eq!(Name::parse(text.as_bytes()).unwrap().as_str(), text);
        }
        for text in ["", ".a", "-a", "9a", "a b", "a\n", "caf\u{e9}", "a@b", "a:b"] {
            assert!(Name::parse(text.as_bytes()).is_err(), "{text:?} is no name");
        }
    }

    #[test]
    fn identifiers_take_neither_dots_nor_dashes() {
        for text in ["likes", "_9", "rows_7d", "entity", "A"] {
            assert_eq!(Identifier::parse(text.as_bytes()).unwrap().as_str(), text);
        }
        for text in ["", "a.b", "a-b", "9a", "a@7d", "\u{e9}"] {
            assert!(Identifier::parse(text.as_bytes()).is_err(), "{text:?} is no identifier");
        }
    }

    #[test]
    fn keywords_are_no_identifiers_in_either_case() {
        for keyword in KEYWORDS {
            for text in [keyword.to_owned(), keyword.to_lowercase()] {
                let error = Identifier::parse(text.as_bytes()).unwrap_err();
                assert!(error.to_string().contains(&text), "{error} names {text}");
                assert!(error.to_string().contains("keyword"), "{error} says why");
            }
        }
        assert!(Identifier::parse(b"Status").is_err(), "mixed case is a keyword too");
        assert!(KEYWORDS.is_sorted(), "the keywords are sorted");
    }

    #[test]
    fn names_end_at_128_bytes() {
        let fits = "n".repeat(128);
        assert_eq!(Name::parse(fits.as_bytes()).unwrap().as_str(), fits);
        assert_eq!(Identifier::parse(fits.as_bytes()).unwrap().as_str(), fits);
        let longer = "n".repeat(129);
        assert!(Name::parse(longer.as_bytes()).is_err(), "129 bytes are too many for a name");
        assert!(Identifier::parse(longer.as_bytes()).is_err(), "nor do they fit an identifier");
    }
}
