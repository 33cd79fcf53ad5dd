//! A walk over the arguments of one command, with the errors that every command shares. Knows
//! nothing of any particular command.

use bytes::Bytes;
use tilekv_tile::{Identifier, Name, Timestamp};

use super::table::CommandSpec;
use crate::arguments::Arguments;
use crate::error::ErrorReply;

/// Where in a command's arguments the parser stands.
pub(crate) struct Cursor<'a> {
    arguments: &'a Arguments,
    spec: &'static CommandSpec,
    next: usize,
}

impl<'a> Cursor<'a> {
    /// Stands behind the name of the command.
    pub(super) fn new(arguments: &'a Arguments, spec: &'static CommandSpec) -> Self {
        Self { arguments, spec, next: 1 }
    }

    /// The command's name as users write it.
    pub(super) fn command(&self) -> String {
        self.spec.name.to_ascii_uppercase()
    }

    pub(super) fn spec(&self) -> &'static CommandSpec {
        self.spec
    }

    pub(super) fn arguments(&self) -> &'a Arguments {
        self.arguments
    }

    /// The index of the next argument.
    pub(super) fn position(&self) -> usize {
        self.next
    }

    /// Moves on, or back, to an index.
    pub(super) fn move_to(&mut self, index: usize) {
        self.next = index;
    }

    pub(super) fn remaining(&self) -> usize {
        self.arguments.len().saturating_sub(self.next)
    }

    pub(super) fn peek(&self) -> Option<&'a [u8]> {
        self.arguments.get(self.next)
    }

    pub(super) fn next(&mut self) -> Option<&'a [u8]> {
        let argument = self.arguments.get(self.next)?;
        self.next += 1;
        Some(argument)
    }

    /// Takes the next argument if it is this keyword.
    pub(super) fn take_keyword(&mut self, keyword: &str) -> bool {
        let found = self.peek().is_some_and(|argument| is_keyword(argument, keyword));
        if found {
            self.next += 1;
        }
        found
    }

    /// The next argument, or an error that says what is missing.
    pub(super) fn required(&mut self, what: &str) -> Result<&'a [u8], ErrorReply> {
        self.next().ok_or_else(|| self.missing(what))
    }

    /// The next argument as bytes that share the request's body.
    pub(super) fn required_bytes(&mut self, what: &str) -> Result<Bytes, ErrorReply> {
        let bytes = self.arguments.bytes(self.next).ok_or_else(|| self.missing(what))?;
        self.next += 1;
        Ok(bytes)
    }

    fn missing(&self, what: &str) -> ErrorReply {
        ErrorReply::usage(format!("{}: {what} is missing at the end", self.command()))
    }

    pub(super) fn name(&mut self) -> Result<Name, ErrorReply> {
        Ok(Name::parse(self.required("the name of a view")?)?)
    }

    /// The next argument as milliseconds since the epoch.
    pub(super) fn timestamp(&mut self, what: &str) -> Result<i64, ErrorReply> {
        let text = self.required(what)?;
        match Timestamp::parse(text) {
            Ok(timestamp) => Ok(timestamp.millis()),
            Err(error) => Err(ErrorReply::bad_value(format!("{what}: {error}"))),
        }
    }

    /// The next argument as a count of 64 bits.
    pub(super) fn unsigned(&mut self, what: &str) -> Result<u64, ErrorReply> {
        let text = self.required(what)?;
        parse_unsigned(text).ok_or_else(|| {
            let found = quoted(text);
            let command = self.command();
            ErrorReply::usage(format!(
                "{command}: {what} must be an integer from 0 to 2^64 - 1, not {found}"
            ))
        })
    }

    /// The next argument as the count of a list of which each item takes `width` arguments. The
    /// items must be there, so what is allocated for them is bounded by what was sent.
    pub(super) fn list_count(&mut self, keyword: &str, width: usize) -> Result<usize, ErrorReply> {
        let announced = self.unsigned(&format!("the count after {keyword}"))?;
        let available = self.remaining().checked_div(width).unwrap_or(usize::MAX);
        match usize::try_from(announced) {
            Ok(count) if count <= available => Ok(count),
            _ => Err(ErrorReply::usage(format!(
                "{}: {keyword} announces {announced} items of {width} arguments each, \
                 but {} arguments follow",
                self.command(),
                self.remaining()
            ))),
        }
    }

    /// `n name..` after a keyword.
    pub(super) fn identifiers(&mut self, keyword: &str) -> Result<Vec<Identifier>, ErrorReply> {
        self.list(keyword, |text| Ok(Identifier::parse(text)?))
    }

    /// `n item..` after a keyword.
    pub(super) fn list<T>(
        &mut self,
        keyword: &str,
        mut read: impl FnMut(&'a [u8]) -> Result<T, ErrorReply>,
    ) -> Result<Vec<T>, ErrorReply> {
        let count = self.list_count(keyword, 1)?;
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(read(self.required("an item of a list")?)?);
        }
        Ok(items)
    }

    /// One of several words, in either case.
    pub(super) fn choice<T: Copy>(
        &mut self,
        option: &str,
        choices: &[(&str, T)],
    ) -> Result<T, ErrorReply> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let expected = words.join(" or ");
        let text = self.required(&format!("{option} {expected}"))?;
        let found = choices.iter().find(|(word, _)| is_keyword(text, word));
        found.map(|(_, value)| *value).ok_or_else(|| {
            let command = self.command();
            ErrorReply::usage(format!(
                "{command}: {option} must be {expected}, not {}",
                quoted(text)
            ))
        })
    }

    /// Stores the value of an option that may be given once.
    pub(super) fn set_once<T>(
        &self,
        slot: &mut Option<T>,
        option: &str,
        value: T,
    ) -> Result<(), ErrorReply> {
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => {
                let command = self.command();
                Err(ErrorReply::usage(format!("{command}: {option} is given twice, expected once")))
            }
        }
    }

    /// The next argument is none of the options that may stand here.
    pub(super) fn unexpected(&self, expected: &str) -> ErrorReply {
        let found = self.peek().map_or_else(|| "the end".to_owned(), quoted);
        ErrorReply::usage(format!("{}: found {found}, expected {expected}", self.command()))
    }

    /// Nothing may follow.
    pub(super) fn end(&self) -> Result<(), ErrorReply> {
        if self.remaining() == 0 { Ok(()) } else { Err(self.unexpected("the end of the command")) }
    }
}

/// Whether an argument is a keyword, in either case.
pub(super) fn is_keyword(argument: &[u8], keyword: &str) -> bool {
    argument.eq_ignore_ascii_case(keyword.as_bytes())
}

/// A u64 as plain digits.
pub(super) fn parse_unsigned(text: &[u8]) -> Option<u64> {
    let all_digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| all_digits)?.parse().ok()
}

/// Foreign text for a sentence.
pub(super) fn quoted(text: &[u8]) -> String {
    format!("\"{}\"", tilekv_tile::printable(text))
}
