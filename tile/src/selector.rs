//! Selectors: which feature over which window. It knows nothing of where windows lie in time.

use crate::error::{TileError, printable};
use crate::name::{Identifier, Name};
use crate::time::Span;
use std::fmt;

/// How far back a window reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WindowLength {
    /// A fixed length, above zero.
    Span(Span),
    /// All the way to the retention horizon, or without bound.
    Lifetime,
}

/// A feature over a window: `feature@window[:offset]`, such as `likes@7d:1d`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Selector {
    /// The feature.
    pub feature: Identifier,
    /// The length of the window.
    pub window: WindowLength,
    /// How much earlier than the right edge the window ends.
    pub offset: Span,
}

/// A selector in a named view: `view.feature@window[:offset]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ViewSelector {
    /// The view.
    pub view: Name,
    /// The selector.
    pub selector: Selector,
}

/// What a selector's text should look like.
const SELECTOR_FORM: &str = "feature@window or feature@window:offset, such as likes@7d:1d";

/// What a view selector's text should look like.
const VIEW_SELECTOR_FORM: &str = "view.feature@window, such as shop.likes@7d";

impl Selector {
    /// Reads `feature@window[:offset]`. An error names the part that is wrong.
    pub fn parse(text: &[u8]) -> Result<Self, TileError> {
        let (feature, rest) = split_at_byte(text, b'@')
            .ok_or_else(|| error(text, "selector", text, SELECTOR_FORM))?;
        let (window, offset) = match split_at_byte(rest, b':') {
            Some((window, offset)) => (window, Some(offset)),
            None => (rest, None),
        };
        Ok(Self {
            feature: parse_feature(text, feature)?,
            window: parse_window(text, window)?,
            offset: offset.map_or(Ok(Span::ZERO), |offset| parse_offset(text, offset))?,
        })
    }

    /// Checks that window and offset are whole numbers of tiles. The error names both the
    /// offending duration and the tile size.
    pub fn check(&self, tile: Span) -> Result<(), TileError> {
        if let WindowLength::Span(window) = self.window {
            self.check_part("window", window, tile)?;
        }
        self.check_part("offset", self.offset, tile)
    }

    fn check_part(&self, part: &'static str, span: Span, tile: Span) -> Result<(), TileError> {
        if span.is_multiple_of(tile) {
            return Ok(());
        }
        Err(TileError::Window { selector: self.to_string(), part, span, tile })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}", self.feature, self.window)?;
        if self.offset == Span::ZERO { Ok(()) } else { write!(formatter, ":{}", self.offset) }
    }
}

impl fmt::Display for WindowLength {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Span(span) => write!(formatter, "{span}"),
            Self::Lifetime => formatter.write_str("lifetime"),
        }
    }
}

impl ViewSelector {
    /// Reads `view.feature@window[:offset]`; view and feature part at the last dot before the `@`.
    pub fn parse(text: &[u8]) -> Result<Self, TileError> {
        let malformed = || error(text, "selector", text, VIEW_SELECTOR_FORM);
        let at = text.iter().position(|byte| *byte == b'@').ok_or_else(malformed)?;
        let dot = text[..at].iter().rposition(|byte| *byte == b'.').ok_or_else(malformed)?;
        let (view, selector) = (&text[..dot], &text[dot + 1..]);
        let view = Name::parse(view)
            .map_err(|_| error(text, "view", view, "the name of a view, such as shop"))?;
        Ok(Self { view, selector: Selector::parse(selector)? })
    }
}

impl fmt::Display for ViewSelector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.view, self.selector)
    }
}

fn parse_feature(text: &[u8], feature: &[u8]) -> Result<Identifier, TileError> {
    let expected = "the name of a feature: a letter or _, then letters, digits or _, no keyword";
    Identifier::parse(feature).map_err(|_| error(text, "feature", feature, expected))
}

fn parse_window(text: &[u8], window: &[u8]) -> Result<WindowLength, TileError> {
    if window.eq_ignore_ascii_case(b"lifetime") {
        return Ok(WindowLength::Lifetime);
    }
    let expected = "a duration such as 30m, 7d, or \"lifetime\"";
    let span = Span::parse(window).map_err(|_| error(text, "window", window, expected))?;
    if span == Span::ZERO {
        return Err(error(text, "window", window, "a duration above zero, such as 30m or 7d"));
    }
    Ok(WindowLength::Span(span))
}

fn parse_offset(text: &[u8], offset: &[u8]) -> Result<Span, TileError> {
    let expected = "a duration such as 30m or 7d";
    Span::parse(offset).map_err(|_| error(text, "offset", offset, expected))
}

fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|other| *other == byte)?;
    Some((&text[..at], &text[at + 1..]))
}

fn error(selector: &[u8], part: &'static str, text: &[u8], expected: &'static str) -> TileError {
    TileError::Selector { selector: printable(selector), part, text: printable(text), expected }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use proptest::prelude::*;

    fn selector(text: &str) -> Selector {
        Selector::parse(text.as_bytes()).unwrap()
    }

    fn span(text: &str) -> Span {
        Span::parse(text.as_bytes()).unwrap()
    }

    fn refused(text: &str) -> String {
        Selector::parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_selector_names_feature_window_and_offset() {
        let week = selector("likes@7d:1d");
        assert_eq!(week.feature.as_str(), "likes");
        assert_eq!((week.window, week.offset), (WindowLength::Span(span("7d")), span("1d")));
        let ever = selector("likes@lifetime");
        assert_eq!((ever.window, ever.offset), (WindowLength::Lifetime, Span::ZERO));
        assert_eq!(selector("likes@LIFETIME:1h").to_string(), "likes@lifetime:1h");
        assert_eq!(selector("likes@7d:0d"), selector("likes@7d"));
    }

    #[test]
    fn an_error_points_at_the_offending_part() {
        for (text, expected) in [
            (
                "likes@7x",
                "window \"7x\" in \"likes@7x\": expected a duration such as 30m, 7d, \
                 or \"lifetime\"",
            ),
            (
                "likes@0d",
                "window \"0d\" in \"likes@0d\": expected a duration above zero, \
                 such as 30m or 7d",
            ),
            ("likes@7d:1", "offset \"1\" in \"likes@7d:1\": expected a duration such as 30m or 7d"),
            ("likes@7d:", "offset \"\" in \"likes@7d:\": expected a duration such as 30m or 7d"),
            (
                "a-b@7d",
                "feature \"a-b\" in \"a-b@7d\": expected the name of a feature: \
                 a letter or _, then letters, digits or _, no keyword",
            ),
            (
                "likes",
                "selector \"likes\" in \"likes\": expected feature@window or \
                 feature@window:offset, such as likes@7d:1d",
            ),
        ] {
            assert_eq!(refused(text), expected);
        }
        for text in ["@7d", "likes@", "likes@7d:1d:1d", "likes@7d@1d", "rows@7d", "likes@-7d"] {
            assert!(Selector::parse(text.as_bytes()).is_err(), "{text} is no selector");
        }
    }

    #[test]
    fn windows_that_cannot_be_read_count_as_bad_windows() {
        let kind = |text: &str| Selector::parse(text.as_bytes()).unwrap_err().kind();
        assert_eq!(kind("likes@7x"), ErrorKind::Window);
        assert_eq!(kind("likes@7d:x"), ErrorKind::Window);
        assert_eq!(kind("likes"), ErrorKind::Usage);
    }

    #[test]
    fn windows_and_offsets_are_whole_tiles() {
        assert_eq!(selector("likes@7d:1d").check(span("1d")), Ok(()));
        assert_eq!(selector("likes@lifetime").check(span("1d")), Ok(()));
        let error = selector("likes@90m").check(span("1h")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "window 90m of \"likes@90m\" is not a multiple of the tile size 1h"
        );
        assert_eq!(error.kind(), ErrorKind::Window);
        let error = selector("likes@lifetime:90m").check(span("1h")).unwrap_err();
        assert!(error.to_string().starts_with("offset 90m of"), "{error}");
    }

    #[test]
    fn a_view_selector_parts_at_the_last_dot() {
        let read = ViewSelector::parse(b"eu.shop.likes@7d:1d").unwrap();
        assert_eq!(read.view.as_str(), "eu.shop");
        assert_eq!(read.selector, selector("likes@7d:1d"));
        assert_eq!(read.to_string(), "eu.shop.likes@7d:1d");
        for text in ["likes@7d", ".likes@7d", "shop.@7d", "shop.likes", "shop.likes@7x"] {
            assert!(ViewSelector::parse(text.as_bytes()).is_err(), "{text} is no view selector");
        }
    }

    proptest! {
        #[test]
        fn selectors_read_back_as_printed(
            feature in "[a-z_][a-z0-9_]{4,12}_",
            window in proptest::option::of(1..=crate::limits::TIME_MILLIS_MAX),
            offset in 0..=crate::limits::TIME_MILLIS_MAX,
        ) {
            let span = |millis| Span::from_millis(millis).unwrap();
            let printed = Selector {
                feature: Identifier::parse(feature.as_bytes()).unwrap(),
                window: window.map_or(WindowLength::Lifetime, |millis| {
                    WindowLength::Span(span(millis))
                }),
                offset: span(offset),
            };
            prop_assert_eq!(selector(&printed.to_string()), printed);
        }

        #[test]
        fn no_text_panics(text in "[a-z@:.0-9dhms]{0,16}") {
            if let Ok(read) = Selector::parse(text.as_bytes()) {
                prop_assert_eq!(selector(&read.to_string()), read);
            }
            if let Ok(read) = ViewSelector::parse(text.as_bytes()) {
                prop_assert_eq!(ViewSelector::parse(read.to_string().as_bytes()), Ok(read));
            }
        }
    }
}
