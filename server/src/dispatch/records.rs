//! Redis's commands on records: reads are answered here, changes go to the committer, walks over
//! many keys to the slow worker.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use bytes::Bytes;
use tilekv_engine::{Record, RecordKind, RecordTable, Slices, Write};
use tilekv_protocol::{
    ErrorCode, ErrorReply, ExpiryForm, FieldScan, RecordCommand, RecordOperation, RecordRead,
    RecordScan, Reply, SlicesForm, SlicesReply,
};

use super::scan::Scan;
use super::{Action, Answer, Context};
use crate::glob;
use crate::limits::{INLINE_SCAN_COUNT_MAX, KEYS_STEP_COUNT, SCAN_COUNT_MAX};
use crate::shared::Shared;

pub(super) fn run(context: &Context<'_>, command: RecordCommand) -> Result<Action, ErrorReply> {
    let reply = match command {
        RecordCommand::Read(read) => answer(context, &read)?,
        RecordCommand::Write(write) => {
            return Ok(Action::Write(Box::new(Write::Record(write))));
        }
        RecordCommand::Scan(scan) if scan.filter.count <= INLINE_SCAN_COUNT_MAX => {
            scan_keys(context.shared, context.version.records(), context.now_ms, &scan)?
        }
        RecordCommand::Scan(scan) => return Ok(Action::Scan(Scan::Records(scan))),
        RecordCommand::Keys(pattern) => return Ok(Action::Scan(Scan::Keys(pattern))),
        RecordCommand::ScanFields(scan) => {
            let record = context.version.records().get(&scan.key, context.now_ms);
            scan_fields(of_kind(record, RecordKind::Hash)?.as_ref(), &scan)
        }
        RecordCommand::RandomKey => {
            let number = RandomState::new().hash_one(context.now_ms);
            let key = context.version.records().any_key(number, context.now_ms);
            key.map_or(Reply::Nil, |key| bulk(&key))
        }
    };
    Ok(Action::Reply(reply))
}

/// A step of SCAN.
pub(super) fn scan_keys(
    shared: &Shared,
    records: &RecordTable,
    now_ms: i64,
    scan: &RecordScan,
) -> Answer {
    let after = match scan.cursor {
        0 => None,
        cursor => Some(shared.cursors.place(cursor).ok_or_else(unknown_cursor)?),
    };
    let pattern = scan.filter.pattern.as_deref();
    let prefix = pattern.map(glob::literal_prefix).unwrap_or_default();
    let kind = scan.kind.as_deref().map(kind_of_name);
    let count = usize::try_from(scan.filter.count).unwrap_or(usize::MAX).min(SCAN_COUNT_MAX);
    let mut found = Vec::new();
    let step = records.walk((&prefix, after.as_deref()), count, now_ms, |key, record| {
        let is_wanted = kind.is_none_or(|kind| kind == Some(record.kind()))
            && pattern.is_none_or(|pattern| glob::matches(pattern, key));
        if is_wanted {
            found.push(bulk(key));
        }
    });
    let next = step.last.map_or(0, |last| shared.cursors.give(last));
    Ok(Reply::Array(vec![Reply::text(next.to_string()), Reply::Array(found)]))
}

/// KEYS: in steps, so that no lock is held for long.
pub(super) fn keys(records: &RecordTable, now_ms: i64, pattern: &[u8]) -> Reply {
    let prefix = glob::literal_prefix(pattern);
    let mut found = Vec::new();
    let mut after: Option<Arc<[u8]>> = None;
    loop {
        let from = (&prefix[..], after.as_deref());
        let step = records.walk(from, KEYS_STEP_COUNT, now_ms, |key, _| {
            if glob::matches(pattern, key) {
                found.push(bulk(key));
            }
        });
        match step.last {
            Some(last) => after = Some(last),
            None => return Reply::Array(found),
        }
    }
}

fn answer(context: &Context<'_>, read: &RecordRead) -> Answer {
    let (records, now_ms) = (context.version.records(), context.now_ms);
    let argument = |at: usize| read.arguments.get(at).unwrap_or_default();
    let get = |at: usize| records.get(argument(at), now_ms);
    let hash = || of_kind(get(1), RecordKind::Hash);
    let text = || of_kind(get(1), RecordKind::Text);
    Ok(match read.operation {
        RecordOperation::Field => field(hash()?.as_ref(), argument(2)),
        RecordOperation::Fields => fields(hash()?.as_ref(), read.arguments.iter().skip(2)),
        RecordOperation::AllFields => slices(hash()?.as_ref(), Record::fields, SlicesForm::Map),
        RecordOperation::FieldNames => {
            slices(hash()?.as_ref(), Record::field_names, SlicesForm::List)
        }
        RecordOperation::FieldValues => {
            slices(hash()?.as_ref(), Record::field_values, SlicesForm::List)
        }
        RecordOperation::FieldCount => {
            count(hash()?.as_ref().map_or(0, |record| record.field_count()))
        }
        RecordOperation::FieldExists => {
            count(usize::from(hash()?.is_some_and(|record| record.field(argument(2)).is_some())))
        }
        RecordOperation::FieldLength => {
            let record = hash()?;
            count(
                record.as_ref().and_then(|record| record.field(argument(2))).map_or(0, <[u8]>::len),
            )
        }
        RecordOperation::Text => text()?.as_ref().map_or(Reply::Nil, text_reply),
        RecordOperation::Texts => texts(records, now_ms, read.arguments.iter().skip(1)),
        RecordOperation::TextLength => {
            count(text()?.as_ref().and_then(|record| record.text()).map_or(0, |text| text.len()))
        }
        RecordOperation::Exists => existing(records, now_ms, read.arguments.iter().skip(1)),
        RecordOperation::Kind => Reply::Simple(kind_name(get(1).as_ref()).into()),
        RecordOperation::Expiry(form) => Reply::Integer(expiry(get(1).as_ref(), form, now_ms)),
        RecordOperation::Encoding => {
            get(2).map_or(Reply::Nil, |record| Reply::text(encoding(&record)))
        }
    })
}

fn of_kind(record: Option<Record>, kind: RecordKind) -> Result<Option<Record>, ErrorReply> {
    match record {
        Some(known) if known.kind() != kind => {
            let sentence = "Operation against a key holding the wrong kind of value";
            Err(ErrorReply::new(ErrorCode::WrongType, sentence))
        }
        record => Ok(record),
    }
}

fn field(record: Option<&Record>, name: &[u8]) -> Reply {
    record.and_then(|record| record.field(name)).map_or(Reply::Nil, bulk)
}

fn fields<'a>(record: Option<&Record>, names: impl ExactSizeIterator<Item = &'a [u8]>) -> Reply {
    match record {
        None => Reply::Array(vec![Reply::Nil; names.len()]),
        Some(record) => slices_reply(record.select(names), SlicesForm::List),
    }
}

fn slices(record: Option<&Record>, read: fn(&Record) -> Slices, form: SlicesForm) -> Reply {
    match (record, form) {
        (Some(record), form) => slices_reply(read(record), form),
        (None, SlicesForm::Map) => Reply::Map(Vec::new()),
        (None, SlicesForm::List) => Reply::Array(Vec::new()),
    }
}

fn slices_reply(slices: Slices, form: SlicesForm) -> Reply {
    const { assert!(SlicesReply::NIL.0 == Slices::NONE.0 && SlicesReply::NIL.1 == Slices::NONE.1) };
    Reply::Slices(Box::new(SlicesReply { body: slices.body, ranges: slices.ranges, form }))
}

fn texts<'a>(
    records: &RecordTable,
    now_ms: i64,
    keys: impl ExactSizeIterator<Item = &'a [u8]>,
) -> Reply {
    let mut found = Vec::with_capacity(keys.len());
    records.get_many(keys, now_ms, |record| {
        let text = record.as_ref().filter(|record| record.kind() == RecordKind::Text);
        found.push(text.map_or(Reply::Nil, text_reply));
    });
    Reply::Array(found)
}

fn existing<'a>(records: &RecordTable, now_ms: i64, keys: impl Iterator<Item = &'a [u8]>) -> Reply {
    let mut found = 0;
    records.get_many(keys, now_ms, |record| found += usize::from(record.is_some()));
    count(found)
}

fn text_reply(record: &Record) -> Reply {
    record.text().map_or(Reply::Nil, |text| bulk(text))
}

fn bulk(bytes: &[u8]) -> Reply {
    Reply::Bulk(Bytes::copy_from_slice(bytes))
}

fn count(count: usize) -> Reply {
    Reply::unsigned(u64::try_from(count).unwrap_or(u64::MAX))
}

/// A step of HSCAN.
fn scan_fields(record: Option<&Record>, scan: &FieldScan) -> Reply {
    let count = usize::try_from(scan.filter.count).unwrap_or(usize::MAX).min(SCAN_COUNT_MAX);
    let (next, found) = match record {
        None => (0, Reply::Array(Vec::new())),
        Some(record) => {
            let (mut slices, next) = record.scan_fields(scan.cursor, count);
            keep_matching(&mut slices, scan);
            (next, slices_reply(slices, SlicesForm::List))
        }
    };
    Reply::Array(vec![Reply::text(next.to_string()), found])
}

/// Keeps the pairs whose names match, or their names alone.
fn keep_matching(slices: &mut Slices, scan: &FieldScan) {
    let reply = SlicesReply {
        body: Arc::clone(&slices.body),
        ranges: std::mem::take(&mut slices.ranges),
        form: SlicesForm::List,
    };
    let is_wanted = |name: Option<&[u8]>| {
        let pattern = scan.filter.pattern.as_deref();
        pattern.is_none_or(|pattern| glob::matches(pattern, name.unwrap_or_default()))
    };
    let pairs = reply.ranges.chunks_exact(2).zip(reply.items().step_by(2));
    let kept = if scan.names_only { 1 } else { 2 };
    for (pair, _) in pairs.filter(|(_, name)| is_wanted(*name)) {
        slices.ranges.extend_from_slice(&pair[..kept]);
    }
}

fn kind_name(record: Option<&Record>) -> &'static str {
    match record.map(Record::kind) {
        None => "none",
        Some(RecordKind::Text) => "string",
        Some(RecordKind::Hash) => "hash",
    }
}

fn kind_of_name(name: &[u8]) -> Option<RecordKind> {
    if name.eq_ignore_ascii_case(b"string") {
        Some(RecordKind::Text)
    } else if name.eq_ignore_ascii_case(b"hash") {
        Some(RecordKind::Hash)
    } else {
        None
    }
}

/// Redis's answers: -2 where there is no record, -1 where it does not expire.
fn expiry(record: Option<&Record>, form: ExpiryForm, now_ms: i64) -> i64 {
    let Some(record) = record else { return -2 };
    let Some(expires_ms) = record.expires_ms() else { return -1 };
    let millis = if form.is_relative { expires_ms.saturating_sub(now_ms) } else { expires_ms };
    if form.in_seconds { millis.saturating_add(500) / 1000 } else { millis }
}

/// What Redis would call the form of such a record: programs and tests ask for it.
fn encoding(record: &Record) -> &'static str {
    const LISTED_COUNT_MAX: usize = 128;
    const LISTED_BYTES_MAX: u32 = 64;
    const EMBEDDED_BYTES_MAX: usize = 44;
    match record.text() {
        Some(text) if is_integer(text) => "int",
        Some(text) if text.len() <= EMBEDDED_BYTES_MAX => "embstr",
        Some(_) => "raw",
        None if record.field_count() <= LISTED_COUNT_MAX
            && record
                .fields()
                .ranges
                .iter()
                .all(|(start, end)| end - start <= LISTED_BYTES_MAX) =>
        {
            "listpack"
        }
        None => "hashtable",
    }
}

fn is_integer(text: &[u8]) -> bool {
    let value = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
    value.is_some_and(|value| value.to_string().as_bytes() == text)
}

fn unknown_cursor() -> ErrorReply {
    ErrorReply::usage("invalid cursor: it is not one of the last that SCAN gave; begin again at 0")
}

#[cfg(test)]
mod tests {
    use crate::testing::Rig;

    /// Lines of commands, and the lines that they are answered with.
    fn check(talks: &[(&str, &str)]) {
        let mut rig = Rig::new();
        for (input, expected) in talks {
            let replies = rig.talk(&format!("{input}\r\n"));
            assert_eq!(replies.trim_end().replace("\r\n", " "), *expected, "{input}");
        }
    }

    #[test]
    fn hashes_answer_as_in_redis() {
        check(&[
            ("HSET h a 1 b 2 a 3", ":2"),
            ("HGETALL h", "*4 $1 a $1 3 $1 b $1 2"),
            ("HMGET h b nothing a", "*3 $1 2 $-1 $1 3"),
            ("HMGET missing b a", "*2 $-1 $-1"),
            ("HKEYS h", "*2 $1 a $1 b"),
            ("HVALS h", "*2 $1 3 $1 2"),
            ("HLEN h", ":2"),
            ("HGET h a", "$1 3"),
            ("HGET h nothing", "$-1"),
            ("HEXISTS h a", ":1"),
            ("HSTRLEN h a", ":1"),
            ("HSETNX h a 9", ":0"),
            ("HINCRBY h a -5", ":-2"),
            ("HINCRBYFLOAT h a 0.1", "$4 -1.9"),
            ("HINCRBY h a 1", "-ERR hash value is not an integer"),
            ("HINCRBY h a 1.5", "-ERR value is not an integer or out of range"),
            ("HSET h a", "-ERR wrong number of arguments for 'hset' command"),
            ("HSCAN h 0 MATCH a*", "*2 $1 0 *2 $1 a $4 -1.9"),
            ("HSCAN h 0 NOVALUES", "*2 $1 0 *2 $1 a $1 b"),
            ("TYPE h", "+hash"),
            ("HDEL h a b nothing", ":2"),
            ("TYPE h", "+none"),
            ("HGETALL h", "*0"),
            ("HMSET h a 1", "+OK"),
        ]);
    }

    #[test]
    fn hashes_are_maps_in_resp3() {
        let mut rig = Rig::new();
        rig.talk("HELLO 3\r\nHSET h a 1\r\n");
        let talks =
            [("HGETALL h", "%1 $1 a $1 1"), ("HGETALL missing", "%0"), ("HGET h nothing", "_")];
        for (input, expected) in talks {
            let replies = rig.talk(&format!("{input}\r\n"));
            assert_eq!(replies.trim_end().replace("\r\n", " "), expected, "{input}");
        }
    }

    #[test]
    fn strings_and_expiries_answer_as_in_redis() {
        check(&[
            ("SET s 1 EX 100", "+OK"),
            ("TTL s", ":100"),
            ("SET s 2 KEEPTTL GET", "$1 1"),
            ("TTL s", ":100"),
            ("SET s 3 XX", "+OK"),
            ("TTL s", ":-1"),
            ("SET s 4 NX", "$-1"),
            ("SETNX s 4", ":0"),
            ("INCRBY s 4", ":7"),
            ("APPEND s x", ":2"),
            ("INCR s", "-ERR value is not an integer or out of range"),
            ("SET s 1 EX 0", "-ERR invalid expire time in 'set' command"),
            ("SET s 1 EX 1 PX 1", "-ERR syntax error"),
            ("MSET a 1 b 2", "+OK"),
            ("MSETNX c 1 a 2", ":0"),
            ("MGET a c b", "*3 $1 1 $-1 $1 2"),
            ("HSET h f 1", ":1"),
            ("MGET a h", "*2 $1 1 $-1"),
            ("GET h", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("HGET a f", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("HSET a f 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("EXPIRE h 100 XX", ":0"),
            ("EXPIRE h 100 NX", ":1"),
            ("EXPIRE h 50 GT", ":0"),
            ("EXPIRE h 50 LT", ":1"),
            ("EXPIRE h 50 AB", "-ERR Unsupported option AB"),
            ("EXPIRE h 9223372036854776", "-ERR invalid expire time in 'expire' command"),
            ("PERSIST h", ":1"),
            ("PERSIST h", ":0"),
            ("PTTL h", ":-1"),
            ("TTL missing", ":-2"),
            ("GETEX a PX 100000", "$1 1"),
            ("EXISTS a a missing", ":2"),
            ("PEXPIREAT a 1", ":1"),
            ("EXISTS a", ":0"),
            ("GETDEL b", "$1 2"),
            ("DEL b s h", ":2"),
            ("DBSIZE", ":0"),
            ("RANDOMKEY", "$-1"),
        ]);
    }

    #[test]
    fn a_walk_over_a_prefix_meets_its_keys_once() {
        let mut rig = Rig::new();
        let keys = |range: std::ops::Range<u32>| -> String {
            range.map(|key| format!("SET p:{key} 1\r\nHSET q:{key} f 1\r\n")).collect()
        };
        rig.talk(&keys(0..60));
        let (mut cursor, mut met, mut steps) = ("0".to_owned(), Vec::new(), 0);
        loop {
            let replies = rig.talk(&format!("SCAN {cursor} MATCH p:* COUNT 7\r\n"));
            let mut lines = replies.lines().filter(|line| !line.starts_with(['*', '$']));
            cursor = lines.next().unwrap().to_owned();
            met.extend(lines.map(str::to_owned));
            steps += 1;
            rig.talk(&format!("DEL p:{}\r\n", met[met.len() - 1]));
            if cursor == "0" {
                break;
            }
        }
        met.sort();
        met.dedup();
        assert_eq!((met.len(), steps), (60, 9), "60 keys in steps of 7");
        assert_eq!(rig.talk("SCAN 0 COUNT 2000 TYPE list\r\n"), "*2\r\n$1\r\n0\r\n*0\r\n");
        let hashes = rig.talk("SCAN 0 COUNT 200 TYPE hash MATCH *:5?\r\n");
        assert!(hashes.contains("\r\n*10\r\n$4\r\nq:50\r\n"), "{hashes}");
        assert!(rig.talk("SCAN 77\r\n").starts_with("-ERR invalid cursor"));
        assert_eq!(rig.talk("KEYS q:5[12]\r\n"), "*2\r\n$4\r\nq:51\r\n$4\r\nq:52\r\n");
        assert_eq!(rig.talk("FLUSHALL\r\nDBSIZE\r\n"), "+OK\r\n:0\r\n");
    }

    #[test]
    fn a_pipeline_of_changes_shares_a_commit_and_reads_see_it() {
        let mut rig = Rig::new();
        rig.talk("SET s 1\r\n");
        let before = rig.commit_count();
        let replies = rig.talk(
            "HSET k n 1\r\nHINCRBY k n 2\r\nEXPIRE k 100\r\nHINCRBY k n 3\r\nHGET k n\r\nTTL k\r\n",
        );
        assert_eq!(replies, ":1\r\n:3\r\n:1\r\n:6\r\n$1\r\n6\r\n:100\r\n");
        assert_eq!(rig.commit_count() - before, 1);
    }
}
