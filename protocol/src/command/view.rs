//! The VIEW family: definitions of views and changes to them. Knows nothing of which views exist.

use tilekv_tile::{
    ColumnDefinition, ColumnType, Edge, Expression, FeatureDefinition, Identifier, LateMode, Name,
    SealMode, Span, ViewChange, ViewDefinition,
};

use super::cursor::{Cursor, quoted};
use super::table::{CommandSpec, KeyPositions, admin_write, read};
use super::{Command, CommandError};
use crate::error::ErrorReply;

/// Commands on view definitions.
#[derive(Debug, Clone, PartialEq)]
pub enum ViewCommand {
    /// `VIEW.CREATE`; the definition is of its form but not validated.
    Create(Box<ViewDefinition>),
    /// `VIEW.ALTER`.
    Alter {
        /// The view to change.
        view: Name,
        /// What to change.
        change: Box<ViewChange>,
    },
    /// `VIEW.DROP`.
    Drop(Name),
    /// `VIEW.LIST`.
    List,
    /// `VIEW.INFO`.
    Info(Name),
}

pub(super) const COMMANDS: [CommandSpec; 5] = [
    CommandSpec {
        summary: "Creates a view: a tile size, input columns and features.",
        ..admin_write("view.create", -8, create)
    },
    CommandSpec {
        summary: "Adds columns and features to a view, or changes its options.",
        ..admin_write("view.alter", -4, alter)
    },
    CommandSpec {
        summary: "Drops a view with its tiles, seals and producers.",
        ..admin_write("view.drop", 2, drop_view)
    },
    CommandSpec {
        summary: "Names of all views.",
        ..read("view.list", 1, KeyPositions::NONE, list)
    },
    CommandSpec {
        summary: "A view's definition and how much it holds.",
        ..read("view.info", 2, KeyPositions::NONE, info)
    },
];

/// What CREATE and ALTER share.
#[derive(Default)]
struct Options {
    retention: Option<Option<Span>>,
    edge: Option<Edge>,
    seal: Option<SealMode>,
    max_lag: Option<Option<Span>>,
    late: Option<LateMode>,
    min_rows: Option<u64>,
}

impl Options {
    /// Reads the option at the cursor; false if there is none of these.
    fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<bool, ErrorReply> {
        if cursor.take_keyword("RETENTION") {
            let value = optional_span(cursor, "RETENTION")?;
            cursor.set_once(&mut self.retention, "RETENTION", value)?;
        } else if cursor.take_keyword("EDGE") {
            let value = take_edge(cursor)?;
            cursor.set_once(&mut self.edge, "EDGE", value)?;
        } else if cursor.take_keyword("SEAL") {
            let choices = [("off", SealMode::Off), ("required", SealMode::Required)];
            let value = cursor.choice("SEAL", &choices)?;
            cursor.set_once(&mut self.seal, "SEAL", value)?;
        } else if cursor.take_keyword("MAXLAG") {
            let value = optional_span(cursor, "MAXLAG")?;
            cursor.set_once(&mut self.max_lag, "MAXLAG", value)?;
        } else if cursor.take_keyword("LATE") {
            let value =
                cursor.choice("LATE", &[("add", LateMode::Add), ("drop", LateMode::Drop)])?;
            cursor.set_once(&mut self.late, "LATE", value)?;
        } else if cursor.take_keyword("MINROWS") {
            let value = cursor.unsigned("the number after MINROWS")?;
            cursor.set_once(&mut self.min_rows, "MINROWS", value)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

/// The parts that only CREATE has.
#[derive(Default)]
struct Parts {
    tile: Option<Span>,
    levels: Option<Vec<Span>>,
    keys: Option<Vec<Identifier>>,
    columns: Option<Vec<ColumnDefinition>>,
    features: Option<Vec<FeatureDefinition>>,
}

impl Parts {
    fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<bool, ErrorReply> {
        if cursor.take_keyword("TILE") {
            let value = span(cursor.required("the duration after TILE")?)?;
            cursor.set_once(&mut self.tile, "TILE", value)?;
        } else if cursor.take_keyword("LEVELS") {
            let value = cursor.list("LEVELS", span)?;
            cursor.set_once(&mut self.levels, "LEVELS", value)?;
        } else if cursor.take_keyword("KEYS") {
            let value = cursor.identifiers("KEYS")?;
            cursor.set_once(&mut self.keys, "KEYS", value)?;
        } else if cursor.take_keyword("COLUMNS") {
            let value = cursor.list("COLUMNS", column)?;
            cursor.set_once(&mut self.columns, "COLUMNS", value)?;
        } else if cursor.take_keyword("FEATURES") {
            let value = cursor.list("FEATURES", feature)?;
            cursor.set_once(&mut self.features, "FEATURES", value)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

fn create(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    const EXPECTED: &str = "TILE, RETENTION, EDGE, SEAL, MAXLAG, LATE, MINROWS, LEVELS, KEYS, \
                            COLUMNS or FEATURES";
    let name = cursor.name()?;
    let (mut options, mut parts) = (Options::default(), Parts::default());
    while cursor.remaining() > 0 {
        if !options.take(cursor)? && !parts.take(cursor)? {
            return Err(cursor.unexpected(EXPECTED).into());
        }
    }
    let missing = |what| ErrorReply::usage(format!("VIEW.CREATE: {what} is missing"));
    let definition = ViewDefinition {
        name,
        tile: parts.tile.ok_or_else(|| missing("TILE duration"))?,
        retention: options.retention.flatten(),
        edge: options.edge.unwrap_or_default(),
        seal: options.seal.unwrap_or_default(),
        max_lag: options.max_lag.flatten(),
        late: options.late.unwrap_or_default(),
        min_rows: options.min_rows.unwrap_or(0),
        levels: parts.levels,
        keys: parts.keys.map_or_else(default_keys, Ok)?,
        columns: parts.columns.ok_or_else(|| missing("COLUMNS n name:type.."))?,
        features: parts.features.ok_or_else(|| missing("FEATURES n name=expression.."))?,
    };
    Ok(Command::View(ViewCommand::Create(Box::new(definition))))
}

fn alter(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    const EXPECTED: &str = "ADD COLUMNS, ADD FEATURES, RETENTION, EDGE, SEAL, MAXLAG, LATE or \
                            MINROWS";
    let view = cursor.name()?;
    let (mut options, mut columns, mut features) = (Options::default(), None, None);
    while cursor.remaining() > 0 {
        if cursor.take_keyword("ADD") {
            take_addition(cursor, &mut columns, &mut features)?;
        } else if !options.take(cursor)? {
            return Err(cursor.unexpected(EXPECTED).into());
        }
    }
    let change = ViewChange {
        add_columns: columns.unwrap_or_default(),
        add_features: features.unwrap_or_default(),
        retention: options.retention,
        edge: options.edge,
        seal: options.seal,
        max_lag: options.max_lag,
        late: options.late,
        min_rows: options.min_rows,
    };
    Ok(Command::View(ViewCommand::Alter { view, change: Box::new(change) }))
}

fn take_addition(
    cursor: &mut Cursor<'_>,
    columns: &mut Option<Vec<ColumnDefinition>>,
    features: &mut Option<Vec<FeatureDefinition>>,
) -> Result<(), ErrorReply> {
    if cursor.take_keyword("COLUMNS") {
        let value = cursor.list("ADD COLUMNS", column)?;
        return cursor.set_once(columns, "ADD COLUMNS", value);
    }
    if cursor.take_keyword("FEATURES") {
        let value = cursor.list("ADD FEATURES", feature)?;
        return cursor.set_once(features, "ADD FEATURES", value);
    }
    Err(cursor.unexpected("COLUMNS or FEATURES after ADD"))
}

fn drop_view(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    Ok(Command::View(ViewCommand::Drop(cursor.name()?)))
}

fn list(_: &mut Cursor<'_>) -> Result<Command, CommandError> {
    Ok(Command::View(ViewCommand::List))
}

fn info(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    Ok(Command::View(ViewCommand::Info(cursor.name()?)))
}

/// `closed` or `live`.
pub(super) fn take_edge(cursor: &mut Cursor<'_>) -> Result<Edge, ErrorReply> {
    cursor.choice("EDGE", &[("closed", Edge::Closed), ("live", Edge::Live)])
}

/// A duration, or `none`.
fn optional_span(cursor: &mut Cursor<'_>, option: &str) -> Result<Option<Span>, ErrorReply> {
    let text = cursor.required(&format!("the duration after {option}"))?;
    if text.eq_ignore_ascii_case(b"none") { Ok(None) } else { span(text).map(Some) }
}

fn span(text: &[u8]) -> Result<Span, ErrorReply> {
    Ok(Span::parse(text)?)
}

fn default_keys() -> Result<Vec<Identifier>, ErrorReply> {
    Ok(vec![Identifier::parse(b"entity")?])
}

fn column(text: &[u8]) -> Result<ColumnDefinition, ErrorReply> {
    const EXPECTED: &str = "name:type with a type of i64, f64 or str, such as amount:f64";
    let parts = split_at(text, b':');
    let (name, kind) = parts.ok_or_else(|| malformed("column", text, EXPECTED))?;
    let kinds = [ColumnType::I64, ColumnType::F64, ColumnType::Str];
    let kind = kinds.into_iter().find(|known| kind.eq_ignore_ascii_case(known.as_str().as_bytes()));
    let kind = kind.ok_or_else(|| malformed("column", text, EXPECTED))?;
    Ok(ColumnDefinition { name: Identifier::parse(name)?, kind })
}

fn feature(text: &[u8]) -> Result<FeatureDefinition, ErrorReply> {
    const EXPECTED: &str = "name=expression, such as spend=sum(amount)";
    let parts = split_at(text, b'=');
    let (name, expression) = parts.ok_or_else(|| malformed("feature", text, EXPECTED))?;
    Ok(FeatureDefinition {
        name: Identifier::parse(name)?,
        expression: Expression::parse(expression)?,
    })
}

fn malformed(what: &str, text: &[u8], expected: &str) -> ErrorReply {
    ErrorReply::usage(format!("{what} {}: expected {expected}", quoted(text)))
}

fn split_at(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == separator)?;
    Some((&text[..at], &text[at + 1..]))
}
