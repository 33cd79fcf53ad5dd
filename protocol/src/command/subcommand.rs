//! What commands with subcommands share: Redis's words for what is wrong with them, and HELP.

use super::cursor::Cursor;
use super::server::ServerCommand;
use super::{Command, CommandError, wrong_arity};
use crate::error::ErrorReply;

/// Redis's words for a subcommand that does not exist.
pub(super) fn unknown_subcommand(cursor: &Cursor<'_>, name: &[u8]) -> CommandError {
    let shown = tilekv_tile::printable(&name[..name.len().min(SHOWN_BYTES_MAX)]);
    let command = cursor.command();
    let sentence = format!("unknown subcommand '{shown}'. Try {command} HELP.");
    CommandError::of_name(ErrorReply::usage(sentence))
}

/// Redis's words for arguments of a subcommand that are too few or too many.
pub(super) fn wrong_count(cursor: &Cursor<'_>, subcommand: &str) -> CommandError {
    wrong_arity(&format!("{}|{subcommand}", cursor.spec().name))
}

/// The subcommand takes so many arguments more.
pub(super) fn exactly(
    cursor: &Cursor<'_>,
    count: usize,
    subcommand: &str,
) -> Result<(), CommandError> {
    if cursor.remaining() == count { Ok(()) } else { Err(wrong_count(cursor, subcommand)) }
}

/// Redis's words for options that do not fit together.
pub(super) fn syntax_error() -> ErrorReply {
    ErrorReply::usage("syntax error")
}

/// Redis's words for a number that is none or leaves 64 bits.
pub(super) fn not_an_integer() -> ErrorReply {
    ErrorReply::usage("value is not an integer or out of range")
}

/// A signed integer of 64 bits, spelled as Redis spells them.
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let has_zeros = digits.len() > 1 && digits[0] == b'0' || text == b"-0";
    if !is_plain || has_zeros {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// HELP: lines of text.
pub(super) fn help(cursor: &Cursor<'_>, lines: &'static [&'static str]) -> Command {
    let name = cursor.command();
    Command::Server(ServerCommand::Help { name, lines })
}

const SHOWN_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_plain() {
        let cases: [(&[u8], Option<i64>); 10] = [
            (b"0", Some(0)),
            (b"-1", Some(-1)),
            (b"9223372036854775807", Some(i64::MAX)),
            (b"-9223372036854775808", Some(i64::MIN)),
            (b"9223372036854775808", None),
            (b"-0", None),
            (b"01", None),
            (b"+1", None),
            (b"", None),
            (b"1 ", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(integer(text), wanted, "{}", text.escape_ascii());
        }
    }
}
