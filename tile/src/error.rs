//! The one error type of the crate, and how foreign text is shown in it.
//! It knows nothing of wire codes: [`TileError::kind`] says enough for a caller to choose one.

use crate::limits::ERROR_TEXT_BYTES_MAX;
use thiserror::Error;

/// What was wrong with a value given to this crate. The display is a lower-case phrase in
/// printable ASCII that names what was wrong and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TileError {
    /// Text that is no timestamp.
    #[error(
        "timestamp \"{text}\": expected milliseconds since 1970-01-01 UTC, \
         an integer from -9007199254740992 to 9007199254740992"
    )]
    Timestamp {
        /// The text as given, made printable.
        text: String,
    },
    /// Text that is no duration.
    #[error(
        "duration \"{text}\": expected an integer and a unit of ms, s, m, h, d or w, \
         such as 250ms, 30m or 7d, and at most 9007199254740992ms"
    )]
    Duration {
        /// The text as given, made printable.
        text: String,
    },
    /// Text that is no name.
    #[error("{what} \"{text}\": expected {expected}")]
    Name {
        /// The kind of name: "view or service name", "feature, column or key name".
        what: &'static str,
        /// The text as given, made printable.
        text: String,
        /// The rule that it breaks.
        expected: &'static str,
    },
    /// A part of a selector that cannot be read.
    #[error("{part} \"{text}\" in \"{selector}\": expected {expected}")]
    Selector {
        /// The whole selector as given, made printable.
        selector: String,
        /// The offending part: "feature", "window", "offset", "view" or "selector".
        part: &'static str,
        /// The text of that part, made printable.
        text: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A window or offset that does not fit the tile size of the view.
    #[error("{part} {span} of \"{selector}\" is not a multiple of the tile size {tile}")]
    Window {
        /// The whole selector.
        selector: String,
        /// "window" or "offset".
        part: &'static str,
        /// The offending duration.
        span: crate::Span,
        /// The tile size of the view.
        tile: crate::Span,
    },
    /// Two things of one kind with one name.
    #[error("{what} \"{name}\" is defined twice: expected distinct names")]
    Duplicate {
        /// "column", "feature" or "key".
        what: &'static str,
        /// The name.
        name: crate::Identifier,
    },
    /// A feature over a column that the view does not have.
    #[error("feature \"{feature}\" aggregates column \"{column}\": expected one of {known}")]
    UnknownColumn {
        /// The feature.
        feature: crate::Identifier,
        /// The column that it names.
        column: crate::Identifier,
        /// The columns that there are.
        known: String,
    },
    /// A feature whose expression does not fit its column.
    #[error("feature \"{feature}\": {source}")]
    Feature {
        /// The feature.
        feature: crate::Identifier,
        /// What is wrong with its expression.
        source: Box<TileError>,
    },
    /// A setting of a view with an impossible value.
    #[error("{option} {found}: expected {expected}")]
    Setting {
        /// The setting: "tile", "retention", "levels" ...
        option: &'static str,
        /// The value found.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// More of something than the crate's limits allow.
    #[error("{count} {what}: expected at most {limit}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many may be.
        limit: usize,
    },
    /// An entity that does not fit the view.
    #[error("entity \"{entity}\": expected {expected}")]
    Entity {
        /// The entity, made printable.
        entity: String,
        /// What would be right.
        expected: String,
    },
    /// A time range that is empty or not made of whole tiles.
    #[error(
        "range from {from} to {to}: expected from < to, both multiples of the tile size {tile}"
    )]
    TileRange {
        /// The first millisecond of the range.
        from: i64,
        /// The first millisecond after the range.
        to: i64,
        /// The tile size of the view.
        tile: crate::Span,
    },
    /// A tile start that is none.
    #[error(
        "tile start {start}: expected a multiple of the tile size {tile}; the tile that holds \
         this time starts at {floor}"
    )]
    TileStart {
        /// The start as given.
        start: i64,
        /// The start of the tile that it lies in.
        floor: i64,
        /// The tile size of the view.
        tile: crate::Span,
    },
    /// Rows whose parts do not fit together.
    #[error("rows: {found} {what}, expected {expected}")]
    RowsShape {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// A value in a row that cannot be taken.
    #[error("row {} (counted from 1), {place}: {source}", row + 1)]
    Row {
        /// The row's index, from 0.
        row: usize,
        /// Where in the row: `timestamp`, `entity`, `column "amount"`.
        place: String,
        /// What is wrong with it.
        source: Box<TileError>,
    },
    /// Text or a typed value that a column cannot take.
    #[error("value \"{text}\": expected {expected}")]
    Scalar {
        /// The value, made printable.
        text: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A feature expression that cannot be read.
    #[error("expression \"{text}\": expected {expected}")]
    Expression {
        /// The text as given, made printable.
        text: String,
        /// What would be right.
        expected: String,
    },
    /// A function over a column whose values it cannot compute with.
    #[error("{function} over a column of type {found}: expected a column of type i64 or f64")]
    FunctionType {
        /// The function's name.
        function: &'static str,
        /// The column's type.
        found: &'static str,
    },
    /// A partial that its feature cannot take.
    #[error("partial of feature \"{feature}\": {problem}")]
    Partial {
        /// The feature.
        feature: crate::Identifier,
        /// What was wrong and what would be right.
        problem: String,
    },
    /// A typed column given where the view has another type.
    #[error("a value of type {found}: expected {expected}")]
    ColumnType {
        /// The type given.
        found: &'static str,
        /// The type that the view has.
        expected: &'static str,
    },
    /// Stored bytes that break their format.
    #[error("{what}, byte {offset}: expected {expected}, found {found}")]
    Corrupt {
        /// The thing stored.
        what: &'static str,
        /// Where in its bytes.
        offset: usize,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
}

/// What sort of mistake an error is, for callers that must choose a code for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A malformed name, definition or argument.
    Usage,
    /// A selector whose window or offset cannot be served.
    Window,
    /// A value that the view cannot take.
    Value,
    /// A limit that was passed.
    Limit,
    /// Stored bytes that are broken.
    Corrupt,
}

impl TileError {
    /// The sort of mistake; a wrapped error counts as the one that it wraps.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Timestamp { .. }
            | Self::Duration { .. }
            | Self::Name { .. }
            | Self::Duplicate { .. }
            | Self::UnknownColumn { .. }
            | Self::Setting { .. }
            | Self::Expression { .. }
            | Self::FunctionType { .. }
            | Self::TileRange { .. }
            | Self::TileStart { .. }
            | Self::RowsShape { .. } => ErrorKind::Usage,
            Self::Selector { part, .. } => match *part {
                "window" | "offset" => ErrorKind::Window,
                _ => ErrorKind::Usage,
            },
            Self::Window { .. } => ErrorKind::Window,
            Self::Entity { .. }
            | Self::ColumnType { .. }
            | Self::Scalar { .. }
            | Self::Partial { .. }
            | Self::Row { .. } => ErrorKind::Value,
            Self::TooMany { .. } => ErrorKind::Limit,
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::Feature { .. } => ErrorKind::Usage,
        }
    }
}

/// Foreign bytes as printable ASCII, other bytes as `\xNN`, cut to a length fit for an error.
pub fn printable(text: &[u8]) -> String {
    let shown = text.get(..ERROR_TEXT_BYTES_MAX).unwrap_or(text);
    let mut printed = String::with_capacity(shown.len());
    for &byte in shown {
        match byte {
            b' '..=b'~' => printed.push(char::from(byte)),
            _ => printed.push_str(&format!("\\x{byte:02X}")),
        }
    }
    if shown.len() < text.len() {
        printed.push_str("...");
    }
    printed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_shown_in_printable_ascii() {
        assert_eq!(printable(b"likes@7d"), "likes@7d");
        assert_eq!(printable(b"a\x1f\xff\n"), "a\\x1F\\xFF\\x0A");
    }

    #[test]
    fn foreign_text_is_cut_at_its_limit() {
        let fits = vec![b'x'; ERROR_TEXT_BYTES_MAX];
        assert_eq!(printable(&fits).len(), ERROR_TEXT_BYTES_MAX);
        let longer = vec![b'x'; ERROR_TEXT_BYTES_MAX + 1];
        assert_eq!(printable(&longer), format!("{}...", "x".repeat(ERROR_TEXT_BYTES_MAX)));
    }
}
