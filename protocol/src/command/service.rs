//! The SERVICE family: windows of several views under one name, for rows of key values. Knows
//! nothing of which services, views or features exist.

use bytes::Bytes;
use tilekv_tile::limits::ENTITY_BYTES_MAX;
use tilekv_tile::{Identifier, Name, ViewSelector};

use super::cursor::Cursor;
use super::table::{CommandFlag, CommandSpec, KeyPositions, admin_write, read};
use super::window::{Allowed, Options, ReadTime};
use super::{Command, CommandError};
use crate::error::ErrorReply;
use crate::limits::{ANSWER_CELLS_MAX, COLUMNS_MAX, SERVICE_KEYS_MAX};

/// Commands on feature services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceCommand {
    /// `SERVICE.CREATE`.
    Create {
        /// Its name.
        name: Name,
        /// Its windows in the order of its vector, at least one.
        selectors: Vec<ViewSelector>,
    },
    /// `SERVICE.GET`.
    Read(Box<ServiceRead>),
    /// `SERVICE.LIST`.
    List,
    /// `SERVICE.INFO`.
    Info(Name),
    /// `SERVICE.DROP`.
    Drop(Name),
}

/// Vectors of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRead {
    /// The service.
    pub service: Name,
    /// What the key values of a row are called, at least one.
    pub keys: Vec<Identifier>,
    /// The key values of all rows, as many for each row as there are keys.
    pub values: Vec<Bytes>,
    /// The time; `Each` has as many as there are rows.
    pub time: ReadTime,
    /// Whether only the seals known at that time count.
    pub known: bool,
    /// Whether each value comes with its status and window.
    pub with_status: bool,
}

pub(super) const COMMANDS: [CommandSpec; 5] = [
    CommandSpec {
        summary: "Names windows of several views as one vector.",
        ..admin_write("service.create", -5, create)
    },
    CommandSpec { summary: "Drops a service.", ..admin_write("service.drop", 2, drop_service) },
    CommandSpec {
        summary: "The vectors of a service for rows of key values.",
        flags: &[CommandFlag::ReadOnly, CommandFlag::MovableKeys],
        ..read("service.get", -7, KeyPositions::NONE, get)
    },
    CommandSpec {
        summary: "The names of all services.",
        ..read("service.list", 1, KeyPositions::NONE, list)
    },
    CommandSpec {
        summary: "A service's selectors, keys and views.",
        ..read("service.info", 2, KeyPositions::NONE, info)
    },
];

fn create(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    let name = service_name(cursor)?;
    if !cursor.take_keyword("SELECTORS") {
        return Err(cursor.unexpected("SELECTORS n view.feature@window..").into());
    }
    let selectors = cursor.list("SELECTORS", |text| Ok(ViewSelector::parse(text)?))?;
    cursor.end()?;
    if selectors.is_empty() {
        return Err(cursor.unexpected("at least one selector, such as shop.likes@7d").into());
    }
    if COLUMNS_MAX < selectors.len() {
        return Err(ErrorReply::limit(format!(
            "{} selectors in one service, expected at most {COLUMNS_MAX}",
            selectors.len()
        ))
        .into());
    }
    Ok(Command::Service(ServiceCommand::Create { name, selectors }))
}

fn get(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    let service = service_name(cursor)?;
    let (mut keys, mut values) = (None, None);
    let mut options = Options::default();
    while cursor.remaining() > 0 {
        if cursor.take_keyword("KEYS") {
            let names = cursor.identifiers("KEYS")?;
            check_key_count(names.len())?;
            cursor.set_once(&mut keys, "KEYS", names)?;
        } else if cursor.take_keyword("ROWS") {
            let Some(width) = keys.as_ref().map(Vec::len) else {
                return Err(missing("KEYS k key.. in front of ROWS").into());
            };
            let rows = take_rows(cursor, width)?;
            cursor.set_once(&mut values, "ROWS", rows)?;
        } else if !options.take(cursor, &Allowed { times: true, edge: false, status: true })? {
            return Err(cursor.unexpected("KEYS, ROWS, AT, ATS or STATUS").into());
        }
    }
    let keys = keys.ok_or_else(|| missing("KEYS k key.."))?;
    let values: Vec<Bytes> = values.ok_or_else(|| missing("ROWS n value.."))?;
    let rows = values.len() / keys.len();
    if let Some(ReadTime::Each(times)) = &options.time
        && times.len() != rows
    {
        return Err(ErrorReply::usage(format!(
            "SERVICE.GET: ATS has {} timestamps, expected one for each of {rows} rows",
            times.len()
        ))
        .into());
    }
    let read = ServiceRead {
        service,
        keys,
        values,
        time: options.time.unwrap_or(ReadTime::Now),
        known: options.known,
        with_status: options.status.is_some(),
    };
    Ok(Command::Service(ServiceCommand::Read(Box::new(read))))
}

/// The key values of `n` rows. A value may be empty: the row does not have that key.
fn take_rows(cursor: &mut Cursor<'_>, width: usize) -> Result<Vec<Bytes>, ErrorReply> {
    let rows = cursor.list_count("ROWS", width)?;
    if ANSWER_CELLS_MAX < rows {
        return Err(ErrorReply::limit(format!(
            "{rows} rows in one read, expected at most {ANSWER_CELLS_MAX}"
        )));
    }
    let mut values = Vec::with_capacity(rows * width);
    for index in 0..rows * width {
        let value = cursor.required_bytes("the value of a key")?;
        if ENTITY_BYTES_MAX < value.len() {
            return Err(ErrorReply::bad_value(format!(
                "row {}: a key value of {} bytes, expected at most {ENTITY_BYTES_MAX}",
                index / width + 1,
                value.len()
            )));
        }
        values.push(value);
    }
    Ok(values)
}

/// Refuses rows of no key values, or of more than [`SERVICE_KEYS_MAX`].
pub(crate) fn check_key_count(count: usize) -> Result<(), ErrorReply> {
    match count {
        0 => Err(ErrorReply::usage("rows of no keys, expected KEYS k key.. with at least one")),
        1..=SERVICE_KEYS_MAX => Ok(()),
        _ => Err(ErrorReply::limit(format!(
            "{count} keys in one read, expected at most {SERVICE_KEYS_MAX}"
        ))),
    }
}

fn list(_: &mut Cursor<'_>) -> Result<Command, CommandError> {
    Ok(Command::Service(ServiceCommand::List))
}

fn info(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    Ok(Command::Service(ServiceCommand::Info(service_name(cursor)?)))
}

fn drop_service(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    Ok(Command::Service(ServiceCommand::Drop(service_name(cursor)?)))
}

fn service_name(cursor: &mut Cursor<'_>) -> Result<Name, ErrorReply> {
    Ok(Name::parse(cursor.required("the name of a service")?)?)
}

fn missing(what: &str) -> ErrorReply {
    ErrorReply::usage(format!("SERVICE.GET: {what} is missing"))
}
