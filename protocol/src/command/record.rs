//! The Redis commands of records: hashes and strings under keys, with Redis's grammar and words of
//! refusal. Knows nothing of what is stored.

use bytes::Bytes;
use tilekv_tile::{
    ExpiryConditions, ExpiryTime, FieldsAnswer, Increment, Presence, RecordWrite, TextAnswer,
    TextExpiry, TextWrite,
};

use super::cursor::{Cursor, is_keyword, parse_unsigned};
use super::subcommand::{self, not_an_integer, syntax_error, unknown_subcommand};
use super::table::{CommandFlag, CommandSpec, KeyPositions, Parse, read};
use super::{Command, CommandError, wrong_arity};
use crate::arguments::Arguments;
use crate::error::ErrorReply;

/// Commands about records.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordCommand {
    /// Reads of named keys.
    Read(RecordRead),
    /// Changes.
    Write(RecordWrite),
    /// `SCAN`.
    Scan(RecordScan),
    /// `HSCAN`.
    ScanFields(FieldScan),
    /// `KEYS pattern`.
    Keys(Bytes),
    /// `RANDOMKEY`.
    RandomKey,
}

/// A read of named keys: its arguments stay where they were received.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordRead {
    /// What is read.
    pub operation: RecordOperation,
    /// The whole command: the name, the key, and what follows.
    pub arguments: Arguments,
}

/// What is read of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordOperation {
    /// `HGET key field`.
    Field,
    /// `HMGET key field..`.
    Fields,
    /// `HGETALL key`.
    AllFields,
    /// `HKEYS key`.
    FieldNames,
    /// `HVALS key`.
    FieldValues,
    /// `HLEN key`.
    FieldCount,
    /// `HEXISTS key field`.
    FieldExists,
    /// `HSTRLEN key field`.
    FieldLength,
    /// `GET key`.
    Text,
    /// `MGET key..`.
    Texts,
    /// `STRLEN key`.
    TextLength,
    /// `EXISTS key..`, `TOUCH key..`.
    Exists,
    /// `TYPE key`.
    Kind,
    /// `TTL`, `PTTL`, `EXPIRETIME`, `PEXPIRETIME`.
    Expiry(ExpiryForm),
    /// `OBJECT ENCODING key`.
    Encoding,
}

/// How an expiry is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpiryForm {
    /// In seconds, rounded; else in milliseconds.
    pub in_seconds: bool,
    /// From now on; else since the epoch.
    pub is_relative: bool,
}

/// One step of a walk over keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordScan {
    /// Where the walk stands; 0 at the beginning.
    pub cursor: u64,
    /// What is looked for.
    pub filter: ScanFilter,
    /// `TYPE`: the only kind of record that is wanted.
    pub kind: Option<Bytes>,
}

/// One step of a walk over the fields of a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldScan {
    /// The key.
    pub key: Bytes,
    /// Where the walk stands; 0 at the beginning.
    pub cursor: u64,
    /// What is looked for.
    pub filter: ScanFilter,
    /// `NOVALUES`: whether names alone are answered.
    pub names_only: bool,
}

/// What a walk looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanFilter {
    /// `MATCH`.
    pub pattern: Option<Bytes>,
    /// `COUNT`: about how many a step looks at; at least 1.
    pub count: u64,
}

/// What a step of a walk looks at, where its command says nothing.
const SCAN_COUNT: u64 = 10;

const READ: &[CommandFlag] = &[CommandFlag::ReadOnly];
const FAST_READ: &[CommandFlag] = &[CommandFlag::ReadOnly, CommandFlag::Fast];
const ADD: &[CommandFlag] = &[CommandFlag::Write, CommandFlag::DenyOom];
const FAST_ADD: &[CommandFlag] = &[CommandFlag::Write, CommandFlag::DenyOom, CommandFlag::Fast];
const TAKE: &[CommandFlag] = &[CommandFlag::Write];
const FAST_TAKE: &[CommandFlag] = &[CommandFlag::Write, CommandFlag::Fast];
const ALL: KeyPositions = KeyPositions { first: 1, last: -1, step: 1 };
const PAIRS: KeyPositions = KeyPositions { first: 1, last: -1, step: 2 };
const ONE: KeyPositions = KeyPositions::FIRST;
const NONE: KeyPositions = KeyPositions::NONE;

pub(super) const COMMANDS: [CommandSpec; 53] = [
    hash("hset", -4, ADD, hset, "Sets fields of a hash."),
    hash("hmset", -4, ADD, hmset, "Sets fields of a hash."),
    hash("hsetnx", 4, FAST_ADD, hsetnx, "Sets a field of a hash unless it exists."),
    hash("hget", 3, FAST_READ, hget, "A field of a hash."),
    hash("hmget", -3, FAST_READ, hmget, "Some fields of a hash."),
    hash("hgetall", 2, READ, hgetall, "All fields of a hash with their values."),
    hash("hkeys", 2, READ, hkeys, "The names of all fields of a hash."),
    hash("hvals", 2, READ, hvals, "The values of all fields of a hash."),
    hash("hlen", 2, FAST_READ, hlen, "How many fields a hash has."),
    hash("hexists", 3, FAST_READ, hexists, "Whether a hash has a field."),
    hash("hstrlen", 3, FAST_READ, hstrlen, "How long a field of a hash is."),
    hash("hdel", -3, FAST_TAKE, hdel, "Removes fields of a hash."),
    hash("hincrby", 4, FAST_ADD, hincrby, "Adds an integer to a field of a hash."),
    hash("hincrbyfloat", 4, FAST_ADD, hincrbyfloat, "Adds a decimal to a field of a hash."),
    hash("hscan", -3, READ, hscan, "A step of a walk over the fields of a hash."),
    text("get", 2, FAST_READ, ONE, get, "A string."),
    text("mget", -2, FAST_READ, ALL, mget, "Some strings."),
    text("strlen", 2, FAST_READ, ONE, strlen, "How long a string is."),
    text("set", -3, ADD, ONE, set, "Sets a string."),
    text("setnx", 3, FAST_ADD, ONE, setnx, "Sets a string unless the key exists."),
    text("setex", 4, ADD, ONE, setex, "Sets a string that expires, in seconds."),
    text("psetex", 4, ADD, ONE, psetex, "Sets a string that expires, in milliseconds."),
    text("getset", 3, FAST_ADD, ONE, getset, "Sets a string and answers the one before."),
    text("getdel", 2, FAST_TAKE, ONE, getdel, "Removes a string and answers it."),
    text("getex", -2, FAST_TAKE, ONE, getex, "Answers a string and changes when it expires."),
    text("mset", -3, ADD, PAIRS, mset, "Sets several strings at once."),
    text("msetnx", -3, ADD, PAIRS, msetnx, "Sets several strings unless one of them exists."),
    text("incr", 2, FAST_ADD, ONE, incr, "Adds 1 to an integer."),
    text("decr", 2, FAST_ADD, ONE, decr, "Takes 1 from an integer."),
    text("incrby", 3, FAST_ADD, ONE, incrby, "Adds to an integer."),
    text("decrby", 3, FAST_ADD, ONE, decrby, "Takes from an integer."),
    text("incrbyfloat", 3, FAST_ADD, ONE, incrbyfloat, "Adds to a decimal number."),
    text("append", 3, FAST_ADD, ONE, append, "Appends to a string."),
    key("del", -2, TAKE, ALL, remove, "Removes records."),
    key("unlink", -2, FAST_TAKE, ALL, remove, "Removes records."),
    key("exists", -2, FAST_READ, ALL, exists, "How many of the keys exist."),
    key("touch", -2, FAST_READ, ALL, exists, "How many of the keys exist."),
    key("type", 2, FAST_READ, ONE, kind, "What kind of record a key holds."),
    key("expire", -3, FAST_TAKE, ONE, expire, "Lets a record expire in some seconds."),
    key("pexpire", -3, FAST_TAKE, ONE, pexpire, "Lets a record expire in some milliseconds."),
    key("expireat", -3, FAST_TAKE, ONE, expireat, "Lets a record expire at a second."),
    key("pexpireat", -3, FAST_TAKE, ONE, pexpireat, "Lets a record expire at a millisecond."),
    key("persist", 2, FAST_TAKE, ONE, persist, "Makes a record stay."),
    key("ttl", 2, FAST_READ, ONE, ttl, "In how many seconds a record expires."),
    key("pttl", 2, FAST_READ, ONE, pttl, "In how many milliseconds a record expires."),
    key("expiretime", 2, FAST_READ, ONE, expiretime, "The second at which a record expires."),
    key("pexpiretime", 2, FAST_READ, ONE, pexpiretime, "The millisecond when a record expires."),
    key("object", -2, READ, KeyPositions::SECOND, object, "How a record is stored."),
    key("keys", 2, READ, NONE, keys, "The keys that match a pattern."),
    key("scan", -2, READ, NONE, scan, "A step of a walk over all keys."),
    key("randomkey", 1, READ, NONE, random_key, "A key drawn at random."),
    key("flushdb", -1, TAKE, NONE, flush, "Removes all records."),
    key("flushall", -1, TAKE, NONE, flush, "Removes all records."),
];

type Parsed = Result<Command, CommandError>;

const fn spec(
    name: &'static str,
    arity: i64,
    flags: &'static [CommandFlag],
    keys: KeyPositions,
    (group, summary): (&'static str, &'static str),
    parse: Parse,
) -> CommandSpec {
    CommandSpec { flags, group, summary, ..read(name, arity, keys, parse) }
}

const fn hash(
    name: &'static str,
    arity: i64,
    flags: &'static [CommandFlag],
    parse: Parse,
    summary: &'static str,
) -> CommandSpec {
    spec(name, arity, flags, ONE, ("hash", summary), parse)
}

const fn text(
    name: &'static str,
    arity: i64,
    flags: &'static [CommandFlag],
    keys: KeyPositions,
    parse: Parse,
    summary: &'static str,
) -> CommandSpec {
    spec(name, arity, flags, keys, ("string", summary), parse)
}

const fn key(
    name: &'static str,
    arity: i64,
    flags: &'static [CommandFlag],
    keys: KeyPositions,
    parse: Parse,
    summary: &'static str,
) -> CommandSpec {
    spec(name, arity, flags, keys, ("generic", summary), parse)
}

fn write(write: RecordWrite) -> Parsed {
    Ok(Command::Record(RecordCommand::Write(write)))
}

fn reading(cursor: &Cursor<'_>, operation: RecordOperation) -> Parsed {
    let arguments = cursor.arguments().clone();
    Ok(Command::Record(RecordCommand::Read(RecordRead { operation, arguments })))
}

fn hget(cursor: &mut Cursor<'_>) -> Parsed {
    reading(cursor, RecordOperation::Field)
}

fn hmget(cursor: &mut Cursor<'_>) -> Parsed {
    reading(cursor, RecordOperation::Fields)
}

fn hgetall(cursor: &mut Cursor<'_>) -> Parsed {
    reading(cursor, RecordOperation::AllFields)
}

fn hkeys(cursor: &mut Cursor<'_>) -> Parsed {
    reading(cursor, RecordOperation::FieldNames)
}

fn hvals(cursor: &mut Cursor<'_>) -> Parsed {
    reading(cursor, RecordOperation::FieldValues)
}

fn hlen(cursor: &mut Cursor<'_>) -> Parsed {
    reading(cursor, RecordOperation::FieldCount)
}

fn hexists(cursor: &mut Cursor<'_>) -> Parsed {
    reading(cursor, RecordOperation::FieldExists)
}

fn hstrlen(cursor: &mut Cursor<'_>) -> Parsed {
    reading(cursor, RecordOperation::FieldLength)
}

fn get(cursor: &mut Cursor<'_>) -> Parsed {
    reading(cursor, RecordOperation::Text)
}

fn mget(cursor: &mut Cursor<'_>) -> Parsed {
    reading(cursor, RecordOperation::Texts)
}

fn strlen(cursor: &mut Cursor<'_>) -> Parsed {
    reading(cursor, RecordOperation::TextLength)
}

fn exists(cursor: &mut Cursor<'_>) -> Parsed {
    reading(cursor, RecordOperation::Exists)
}

fn kind(cursor: &mut Cursor<'_>) -> Parsed {
    reading(cursor, RecordOperation::Kind)
}

fn ttl(cursor: &mut Cursor<'_>) -> Parsed {
    expiry(cursor, ExpiryForm { in_seconds: true, is_relative: true })
}

fn pttl(cursor: &mut Cursor<'_>) -> Parsed {
    expiry(cursor, ExpiryForm { in_seconds: false, is_relative: true })
}

fn expiretime(cursor: &mut Cursor<'_>) -> Parsed {
    expiry(cursor, ExpiryForm { in_seconds: true, is_relative: false })
}

fn pexpiretime(cursor: &mut Cursor<'_>) -> Parsed {
    expiry(cursor, ExpiryForm { in_seconds: false, is_relative: false })
}

fn expiry(cursor: &Cursor<'_>, form: ExpiryForm) -> Parsed {
    reading(cursor, RecordOperation::Expiry(form))
}

fn object(cursor: &mut Cursor<'_>) -> Parsed {
    let name = cursor.required("a subcommand")?;
    if is_keyword(name, "ENCODING") && cursor.remaining() == 1 {
        return reading(cursor, RecordOperation::Encoding);
    }
    Err(unknown_subcommand(cursor, name))
}

fn hset(cursor: &mut Cursor<'_>) -> Parsed {
    set_fields(cursor, FieldsAnswer::Count)
}

fn hmset(cursor: &mut Cursor<'_>) -> Parsed {
    set_fields(cursor, FieldsAnswer::Ok)
}

fn set_fields(cursor: &mut Cursor<'_>, answer: FieldsAnswer) -> Parsed {
    let key = cursor.required_bytes("a key")?;
    let fields = pairs(cursor)?;
    write(RecordWrite::SetFields { key, fields, answer })
}

fn pairs(cursor: &mut Cursor<'_>) -> Result<Vec<(Bytes, Bytes)>, CommandError> {
    if !cursor.remaining().is_multiple_of(2) {
        return Err(wrong_arity(cursor.spec().name));
    }
    let mut pairs = Vec::with_capacity(cursor.remaining() / 2);
    while 0 < cursor.remaining() {
        pairs.push((cursor.required_bytes("a field")?, cursor.required_bytes("a value")?));
    }
    Ok(pairs)
}

fn hsetnx(cursor: &mut Cursor<'_>) -> Parsed {
    let key = cursor.required_bytes("a key")?;
    let field = cursor.required_bytes("a field")?;
    write(RecordWrite::AddField { key, field, value: cursor.required_bytes("a value")? })
}

fn hdel(cursor: &mut Cursor<'_>) -> Parsed {
    let key = cursor.required_bytes("a key")?;
    write(RecordWrite::RemoveFields { key, fields: rest(cursor)? })
}

fn rest(cursor: &mut Cursor<'_>) -> Result<Vec<Bytes>, ErrorReply> {
    (0..cursor.remaining()).map(|_| cursor.required_bytes("a key")).collect()
}

fn hincrby(cursor: &mut Cursor<'_>) -> Parsed {
    let key = cursor.required_bytes("a key")?;
    let field = cursor.required_bytes("a field")?;
    write(RecordWrite::IncrementField { key, field, by: Increment::Integer(integer(cursor)?) })
}

fn hincrbyfloat(cursor: &mut Cursor<'_>) -> Parsed {
    let key = cursor.required_bytes("a key")?;
    let field = cursor.required_bytes("a field")?;
    let by = decimal(cursor)?;
    let is_finite = std::str::from_utf8(&by).ok().and_then(|text| text.parse::<f64>().ok());
    if !is_finite.is_some_and(f64::is_finite) {
        return Err(ErrorReply::usage("value is NaN or Infinity").into());
    }
    write(RecordWrite::IncrementField { key, field, by: Increment::Decimal(by) })
}

fn hscan(cursor: &mut Cursor<'_>) -> Parsed {
    let key = cursor.required_bytes("a key")?;
    let position = scan_cursor(cursor)?;
    let mut names_only = false;
    let filter = scan_filter(cursor, |cursor| {
        let found = cursor.take_keyword("NOVALUES");
        names_only |= found;
        Ok(found)
    })?;
    let scan = FieldScan { key, cursor: position, filter, names_only };
    Ok(Command::Record(RecordCommand::ScanFields(scan)))
}

fn scan(cursor: &mut Cursor<'_>) -> Parsed {
    let position = scan_cursor(cursor)?;
    let mut kind = None;
    let filter = scan_filter(cursor, |cursor| {
        if cursor.peek().is_some_and(|word| is_keyword(word, "NOVALUES")) {
            return Err(ErrorReply::usage("NOVALUES option can only be used in HSCAN"));
        }
        if cursor.remaining() < 2 || !cursor.take_keyword("TYPE") {
            return Ok(false);
        }
        kind = Some(cursor.required_bytes("a type")?);
        Ok(true)
    })?;
    Ok(Command::Record(RecordCommand::Scan(RecordScan { cursor: position, filter, kind })))
}

fn scan_cursor(cursor: &mut Cursor<'_>) -> Result<u64, ErrorReply> {
    let text = cursor.required("a cursor")?;
    parse_unsigned(text).ok_or_else(|| ErrorReply::usage("invalid cursor"))
}

/// `MATCH` and `COUNT`, and what `other` takes.
fn scan_filter<'a>(
    cursor: &mut Cursor<'a>,
    mut other: impl FnMut(&mut Cursor<'a>) -> Result<bool, ErrorReply>,
) -> Result<ScanFilter, ErrorReply> {
    let mut filter = ScanFilter { pattern: None, count: SCAN_COUNT };
    while 0 < cursor.remaining() {
        if other(cursor)? {
            continue;
        }
        if cursor.remaining() < 2 {
            return Err(syntax_error());
        }
        if cursor.take_keyword("MATCH") {
            filter.pattern = Some(cursor.required_bytes("a pattern")?);
        } else if cursor.take_keyword("COUNT") {
            let count = u64::try_from(integer(cursor)?).ok().filter(|count| 0 < *count);
            filter.count = count.ok_or_else(syntax_error)?;
        } else {
            return Err(syntax_error());
        }
    }
    Ok(filter)
}

fn keys(cursor: &mut Cursor<'_>) -> Parsed {
    Ok(Command::Record(RecordCommand::Keys(cursor.required_bytes("a pattern")?)))
}

fn random_key(_: &mut Cursor<'_>) -> Parsed {
    Ok(Command::Record(RecordCommand::RandomKey))
}

fn flush(cursor: &mut Cursor<'_>) -> Parsed {
    let is_known = match cursor.remaining() {
        0 => true,
        1 => cursor.take_keyword("ASYNC") || cursor.take_keyword("SYNC"),
        _ => false,
    };
    if is_known { write(RecordWrite::Clear) } else { Err(syntax_error().into()) }
}

fn remove(cursor: &mut Cursor<'_>) -> Parsed {
    write(RecordWrite::Remove(rest(cursor)?))
}

fn persist(cursor: &mut Cursor<'_>) -> Parsed {
    write(RecordWrite::Persist(cursor.required_bytes("a key")?))
}

fn expire(cursor: &mut Cursor<'_>) -> Parsed {
    expire_at(cursor, "expire", 1000, true)
}

fn pexpire(cursor: &mut Cursor<'_>) -> Parsed {
    expire_at(cursor, "pexpire", 1, true)
}

fn expireat(cursor: &mut Cursor<'_>) -> Parsed {
    expire_at(cursor, "expireat", 1000, false)
}

fn pexpireat(cursor: &mut Cursor<'_>) -> Parsed {
    expire_at(cursor, "pexpireat", 1, false)
}

fn expire_at(
    cursor: &mut Cursor<'_>,
    command: &'static str,
    unit_ms: i64,
    is_relative: bool,
) -> Parsed {
    let key = cursor.required_bytes("a key")?;
    let time_at = cursor.position();
    cursor.move_to(time_at + 1);
    let conditions = expiry_conditions(cursor)?;
    cursor.move_to(time_at);
    let millis = integer(cursor)?.checked_mul(unit_ms);
    let millis = millis.ok_or_else(|| invalid_expiry(command))?;
    let time = ExpiryTime { millis, is_relative, command };
    write(RecordWrite::Expire { key, time, conditions })
}

fn expiry_conditions(cursor: &mut Cursor<'_>) -> Result<ExpiryConditions, ErrorReply> {
    let mut conditions = ExpiryConditions::default();
    while let Some(word) = cursor.next() {
        match word.to_ascii_uppercase().as_slice() {
            b"NX" => conditions.if_none = true,
            b"XX" => conditions.if_some = true,
            b"GT" => conditions.if_later = true,
            b"LT" => conditions.if_earlier = true,
            _ => {
                let word = tilekv_tile::printable(word);
                return Err(ErrorReply::usage(format!("Unsupported option {word}")));
            }
        }
    }
    let ExpiryConditions { if_none, if_some, if_later, if_earlier } = conditions;
    if if_none && (if_some || if_later || if_earlier) {
        let sentence = "NX and XX, GT or LT options at the same time are not compatible";
        return Err(ErrorReply::usage(sentence));
    }
    if if_later && if_earlier {
        let sentence = "GT and LT options at the same time are not compatible";
        return Err(ErrorReply::usage(sentence));
    }
    Ok(conditions)
}

fn set(cursor: &mut Cursor<'_>) -> Parsed {
    let key = cursor.required_bytes("a key")?;
    let value = cursor.required_bytes("a value")?;
    let (mut presence, mut expiry) = (Presence::Any, None);
    let mut answer = TextAnswer::Ok;
    while 0 < cursor.remaining() {
        let is_free = presence == Presence::Any;
        if is_free && cursor.take_keyword("NX") {
            presence = Presence::Absent;
        } else if is_free && cursor.take_keyword("XX") {
            presence = Presence::Present;
        } else if cursor.take_keyword("GET") {
            answer = TextAnswer::Previous;
        } else if expiry.is_none() && cursor.take_keyword("KEEPTTL") {
            expiry = Some(TextExpiry::Keep);
        } else {
            let time = expiry_option(cursor, "set")?.filter(|_| expiry.is_none());
            expiry = Some(TextExpiry::At(time.ok_or_else(syntax_error)?));
        }
    }
    let expiry = expiry.unwrap_or(TextExpiry::Never);
    set_text(TextWrite { key, value, presence, expiry, answer })
}

fn set_text(text: TextWrite) -> Parsed {
    write(RecordWrite::SetText(Box::new(text)))
}

/// `EX`, `PX`, `EXAT` or `PXAT` and a time.
fn expiry_option(
    cursor: &mut Cursor<'_>,
    command: &'static str,
) -> Result<Option<ExpiryTime>, ErrorReply> {
    const OPTIONS: [(&str, i64, bool); 4] =
        [("EX", 1000, true), ("PX", 1, true), ("EXAT", 1000, false), ("PXAT", 1, false)];
    if cursor.remaining() < 2 {
        return Ok(None);
    }
    let found = OPTIONS.into_iter().find(|(word, ..)| cursor.take_keyword(word));
    let Some((_, unit_ms, is_relative)) = found else { return Ok(None) };
    positive_expiry(cursor, command, unit_ms, is_relative).map(Some)
}

fn positive_expiry(
    cursor: &mut Cursor<'_>,
    command: &'static str,
    unit_ms: i64,
    is_relative: bool,
) -> Result<ExpiryTime, ErrorReply> {
    let time = integer(cursor)?;
    let millis = time.checked_mul(unit_ms).filter(|millis| 0 < *millis);
    let millis = millis.ok_or_else(|| invalid_expiry(command))?;
    Ok(ExpiryTime { millis, is_relative, command })
}

fn setnx(cursor: &mut Cursor<'_>) -> Parsed {
    let key = cursor.required_bytes("a key")?;
    let value = cursor.required_bytes("a value")?;
    let (presence, expiry) = (Presence::Absent, TextExpiry::Never);
    set_text(TextWrite { key, value, presence, expiry, answer: TextAnswer::Count })
}

fn setex(cursor: &mut Cursor<'_>) -> Parsed {
    set_expiring(cursor, "setex", 1000)
}

fn psetex(cursor: &mut Cursor<'_>) -> Parsed {
    set_expiring(cursor, "psetex", 1)
}

fn set_expiring(cursor: &mut Cursor<'_>, command: &'static str, unit_ms: i64) -> Parsed {
    let key = cursor.required_bytes("a key")?;
    let expiry = TextExpiry::At(positive_expiry(cursor, command, unit_ms, true)?);
    let value = cursor.required_bytes("a value")?;
    set_text(TextWrite { key, value, presence: Presence::Any, expiry, answer: TextAnswer::Ok })
}

fn getset(cursor: &mut Cursor<'_>) -> Parsed {
    let key = cursor.required_bytes("a key")?;
    let value = cursor.required_bytes("a value")?;
    let (presence, expiry) = (Presence::Any, TextExpiry::Never);
    set_text(TextWrite { key, value, presence, expiry, answer: TextAnswer::Previous })
}

fn getdel(cursor: &mut Cursor<'_>) -> Parsed {
    write(RecordWrite::TakeText(cursor.required_bytes("a key")?))
}

fn getex(cursor: &mut Cursor<'_>) -> Parsed {
    let key = cursor.required_bytes("a key")?;
    let expiry = if cursor.remaining() == 0 {
        TextExpiry::Keep
    } else if cursor.remaining() == 1 && cursor.take_keyword("PERSIST") {
        TextExpiry::Never
    } else {
        TextExpiry::At(expiry_option(cursor, "getex")?.ok_or_else(syntax_error)?)
    };
    if 0 < cursor.remaining() {
        return Err(syntax_error().into());
    }
    write(RecordWrite::TouchText { key, expiry })
}

fn mset(cursor: &mut Cursor<'_>) -> Parsed {
    write(RecordWrite::SetTexts { pairs: pairs(cursor)?, only_absent: false })
}

fn msetnx(cursor: &mut Cursor<'_>) -> Parsed {
    write(RecordWrite::SetTexts { pairs: pairs(cursor)?, only_absent: true })
}

fn incr(cursor: &mut Cursor<'_>) -> Parsed {
    increment(cursor.required_bytes("a key")?, Increment::Integer(1))
}

fn decr(cursor: &mut Cursor<'_>) -> Parsed {
    increment(cursor.required_bytes("a key")?, Increment::Integer(-1))
}

fn incrby(cursor: &mut Cursor<'_>) -> Parsed {
    let key = cursor.required_bytes("a key")?;
    increment(key, Increment::Integer(integer(cursor)?))
}

fn decrby(cursor: &mut Cursor<'_>) -> Parsed {
    let key = cursor.required_bytes("a key")?;
    let by = integer(cursor)?.checked_neg();
    let by = by.ok_or_else(|| ErrorReply::usage("decrement would overflow"))?;
    increment(key, Increment::Integer(by))
}

fn incrbyfloat(cursor: &mut Cursor<'_>) -> Parsed {
    let key = cursor.required_bytes("a key")?;
    increment(key, Increment::Decimal(decimal(cursor)?))
}

fn increment(key: Bytes, by: Increment) -> Parsed {
    write(RecordWrite::IncrementText { key, by })
}

fn append(cursor: &mut Cursor<'_>) -> Parsed {
    let key = cursor.required_bytes("a key")?;
    write(RecordWrite::Append { key, value: cursor.required_bytes("a value")? })
}

fn integer(cursor: &mut Cursor<'_>) -> Result<i64, ErrorReply> {
    subcommand::integer(cursor.required("an integer")?).ok_or_else(not_an_integer)
}

fn decimal(cursor: &mut Cursor<'_>) -> Result<Bytes, ErrorReply> {
    let text = cursor.required_bytes("a number")?;
    let value = std::str::from_utf8(&text).ok().and_then(|text| text.parse::<f64>().ok());
    match value {
        Some(value) if !value.is_nan() => Ok(text),
        _ => Err(ErrorReply::usage("value is not a valid float")),
    }
}

fn invalid_expiry(command: &str) -> ErrorReply {
    ErrorReply::usage(format!("invalid expire time in '{command}' command"))
}
