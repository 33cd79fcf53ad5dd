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
        Err(TileError::Window {
            selector: self.to_string(),
            part,
            span,
            tile,
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}", self.feature, self.window)?;
        if self.offset == Span::ZERO {
            Ok(())
        } else {
            write!(formatter, ":{}", self.offset)
        }
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
        let at = text
            .iter()
            .position(|byte| *byte == b'@')
            .ok_or_else(malformed)?;
        let dot = text[..at]
            .iter()
            .rposition(|byte| *byte == b'.')
            .ok_or_else(malformed)?;
        let (view, selector) = (&text[..dot], &text[dot + 1..]);
        let view = Name::parse(view)
            .map_err(|_| error(text, "view", view, "the name of a view, such as shop"))?;
        Ok(Self {
            view,
            selector: Selector::parse(selector)?,
        })
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
        return Err(error(
            text,
            "window",
            window,
            "a duration above zero, such as 30m or 7d",
        ));
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
    TileError::Selector {
        selector: printable(selector),
        part,
        text: printable(text),
        expected,
    }
}
