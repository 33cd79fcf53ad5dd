//! Native conversations over a store on a simulated disk.

use tilekv_protocol::native::preamble;
use tilekv_protocol::{ErrorCode, EventWrite, Limits, ReadTime, RequestShape, WriteLane, native};
use tilekv_tile::{After, Cells, Identifier, Name, ProducerStamp, Rows, Selector, TypedColumn};

use super::*;
use crate::testing::Rig;

/// A conversation that has opened, with a view.
fn open() -> Rig {
    let mut rig = Rig::new();
    rig.feed(preamble());
    let hello = talk(&mut rig, &[(1, Request::Hello(NativeHello::default()))]);
    let [(1, Response::Welcome(welcome))] = &hello[..] else { panic!("{hello:?}") };
    assert!(welcome.authenticated);
    let create = "VIEW.CREATE v TILE 1m COLUMNS 1 x:i64 FEATURES 2 n=count() s=sum(x)";
    let created = talk(&mut rig, &[(2, command(create))]);
    assert_eq!(created, [(2, Response::Value(Reply::OK))]);
    rig
}

fn talk(rig: &mut Rig, requests: &[(u64, Request)]) -> Vec<(u64, Response)> {
    let mut bytes = BytesMut::new();
    for (id, request) in requests {
        request.encode(*id, &mut bytes).unwrap();
    }
    rig.feed(&bytes);
    rig.settle();
    responses(rig)
}

fn responses(rig: &mut Rig) -> Vec<(u64, Response)> {
    let limits = Limits::authenticated();
    let mut bytes = rig.output_bytes();
    let mut responses = Vec::new();
    while let Some(frame) = FrameParser.parse(&mut bytes, &limits).unwrap() {
        responses.push((frame.request_id, Response::decode(&frame, &limits).unwrap()));
    }
    assert!(bytes.is_empty());
    responses
}

fn command(text: &str) -> Request {
    let words: Vec<&str> = text.split(' ').collect();
    Request::Command(Arguments::from_list(&words).unwrap())
}

fn name() -> Name {
    Name::parse(b"v").unwrap()
}

fn events(sequence: u64, values: Vec<i64>) -> Request {
    let rows = Rows {
        columns: vec![Identifier::parse(b"x").unwrap()],
        entities: vec![Bytes::from_static(b"e"); values.len()],
        timestamps: vec![1000; values.len()],
        cells: Cells::Typed(vec![TypedColumn::I64 { values, valid: None }]),
    };
    let stamp = Some(ProducerStamp { id: Bytes::from_static(b"p"), sequence, after: After::Any });
    let (shape, lane) = (RequestShape::Batch, WriteLane::Stream);
    Request::Events(Box::new(EventWrite { view: name(), rows, stamp, shape, lane }))
}

fn prepare(selector: &str) -> Request {
    let selectors = vec![Selector::parse(selector.as_bytes()).unwrap()];
    let groups = vec![(name(), selectors)];
    Request::Prepare(PlanRequest { groups, edge: None, known: false })
}

fn read(rig: &mut Rig, id: u64, plan: u32, keys: &[&str]) -> Vec<(u64, Response)> {
    let mut bytes = BytesMut::new();
    native::encode_read(id, plan, &ReadTime::Now, true, keys, &mut bytes).unwrap();
    rig.feed(&bytes);
    responses(rig)
}

#[test]
fn writes_are_applied_and_reads_come_in_columns() {
    let mut rig = open();
    let applied = talk(&mut rig, &[(3, events(1, vec![4, 5])), (4, events(1, vec![4, 5]))]);
    let outcome = |index: usize| match &applied[index] {
        (id, Response::Applied(applied)) => (*id, applied.outcome),
        other => panic!("{other:?}"),
    };
    assert_eq!(outcome(0), (3, WriteOutcome::Applied(2)));
    assert_eq!(outcome(1), (4, WriteOutcome::Duplicate));
    let prepared = talk(&mut rig, &[(5, prepare("s@lifetime"))]);
    assert_eq!(prepared, [(5, Response::Plan(PlanReply { plan: 0, columns: 1 }))]);
    let answered = read(&mut rig, 6, 0, &["e", "nobody"]);
    let [(6, Response::Columns(columns))] = &answered[..] else { panic!("{answered:?}") };
    assert_eq!((columns.rows(), columns.columns().len()), (2, 1));
    assert_eq!(columns.columns()[0].value(0), tilekv_tile::Value::Int(9));
    assert_eq!(columns.columns()[0].value(1), tilekv_tile::Value::Nil);
}

#[test]
fn a_service_answers_rows_of_key_values_in_columns() {
    let mut rig = open();
    for text in [
        "VIEW.CREATE pairs TILE 1m KEYS 2 entity item COLUMNS 0 FEATURES 1 n=count()",
        "TILE.ADD v e 1000 x 7",
        "TILE.ADD pairs e\x1Fi 1000",
        "SERVICE.CREATE both SELECTORS 3 v.s@lifetime pairs.n@lifetime v.n@lifetime",
    ] {
        let answers = talk(&mut rig, &[(3, command(text))]);
        assert!(matches!(&answers[..], [(3, Response::Value(_))]), "{text}: {answers:?}");
    }
    let keys = ["item", "entity"].map(|key| Identifier::parse(key.as_bytes()).unwrap()).to_vec();
    let service = Name::parse(b"both").unwrap();
    let request = ServicePlanRequest { service, keys, known: false };
    let prepared = talk(&mut rig, &[(4, Request::PrepareService(request))]);
    assert_eq!(prepared, [(4, Response::Plan(PlanReply { plan: 0, columns: 3 }))]);
    let mut ask = |width: usize, values: &[&str]| {
        let mut bytes = BytesMut::new();
        let (time, plan) = (ReadTime::Now, (0, width));
        native::encode_read_rows(5, plan, &time, true, values, &mut bytes).unwrap();
        rig.feed(&bytes);
        responses(&mut rig).pop().unwrap().1
    };
    let Response::Columns(columns) = ask(2, &["i", "e", "j", "e", "", ""]) else { panic!() };
    use tilekv_tile::Value::{Int, Nil};
    let row = |row: usize| [0, 1, 2].map(|column: usize| columns.columns()[column].value(row));
    assert_eq!(
        [row(0), row(1), row(2)],
        [[Int(7), Int(1), Int(1)], [Int(7), Int(0), Int(1)], [Nil, Int(0), Int(0)],]
    );
    assert_eq!(columns.columns()[1].status(1), Some(tilekv_tile::Status::Unseen));
    for (width, values, expected) in [
        (1, &["e"][..], "rows of 1 keys, expected 2 for plan 0"),
        (3, &["i", "e", "x"], "rows of 3 keys, expected 2 for plan 0"),
    ] {
        let Response::Error { error, closing: false } = ask(width, values) else { panic!() };
        assert!(error.to_string().contains(expected), "{error}");
    }
    let dropped = talk(&mut rig, &[(6, command("SERVICE.DROP both"))]);
    assert_eq!(dropped, [(6, Response::Value(Reply::OK))]);
    let refused = talk(&mut rig, &[(7, prepare("n@lifetime"))]);
    assert!(matches!(&refused[..], [(7, Response::Plan(_))]), "{refused:?}");
    let empty = read(&mut rig, 8, 1, &["e", ""]);
    let [(8, Response::Error { error, .. })] = &empty[..] else { panic!("{empty:?}") };
    assert!(error.to_string().contains("key 2: "), "an entity has a byte: {error}");
    let gone = read(&mut rig, 9, 0, &["e"]);
    let [(9, Response::Error { error, .. })] = &gone[..] else { panic!("{gone:?}") };
    assert!(error.to_string().contains("there is no service `both`"), "{error}");
}

fn put(job: &str, sequence: u64, values: Vec<i64>, timestamp: i64) -> BytesMut {
    let rows = Rows {
        columns: vec![Identifier::parse(b"x").unwrap()],
        entities: vec![Bytes::from_static(b"e"); values.len()],
        timestamps: vec![timestamp; values.len()],
        cells: Cells::Typed(vec![TypedColumn::I64 { values, valid: None }]),
    };
    let mut bytes = BytesMut::new();
    native::encode_job_rows(sequence, job.as_bytes(), Some(sequence), &rows, &mut bytes).unwrap();
    bytes
}

fn begin_job(rig: &mut Rig) -> String {
    let begun = talk(rig, &[(90, command("JOB.BEGIN v 0 60000"))]);
    let [(90, Response::Value(Reply::Bulk(job)))] = &begun[..] else { panic!("{begun:?}") };
    std::str::from_utf8(job).unwrap().to_owned()
}

#[test]
fn a_job_takes_columns_and_its_commands_are_done_in_order() {
    let mut rig = open();
    let job = begin_job(&mut rig);
    let mut bytes = put(&job, 1, vec![1, 2, 3], 1000);
    bytes.extend_from_slice(&put(&job, 2, vec![4], 90_000));
    let again = put(&job, 1, vec![1, 2, 3], 1000);
    bytes.extend_from_slice(&again);
    command(&format!("JOB.COMMIT {job} ROWS 3")).encode(4, &mut bytes).unwrap();
    rig.feed(&bytes);
    rig.settle();
    let answers = responses(&mut rig);
    let applied = |index: usize| match &answers[index] {
        (_, Response::Applied(applied)) => (applied.outcome, applied.credit.bytes),
        other => panic!("{other:?}"),
    };
    assert_eq!(applied(0).0, WriteOutcome::Applied(3));
    let (1, Response::Error { error, closing: false }) = (answers.len() / 4, &answers[1].1) else {
        panic!("{answers:?}")
    };
    assert_eq!(error.code(), ErrorCode::BadValue);
    assert_eq!(applied(2).0, WriteOutcome::Duplicate);
    let most = u64::try_from(rig.shared.job_queue.bytes_max()).unwrap();
    assert!((1..=most).contains(&applied(2).1), "a credit comes with each answer");
    assert_eq!(answers[3], (4, Response::Value(Reply::OK)));
}

#[test]
fn a_put_that_breaks_its_format_ends_the_conversation() {
    let mut rig = open();
    let job = begin_job(&mut rig);
    let mut bytes = put(&job, 1, vec![1], 1000);
    let last = bytes.len() - 4;
    bytes.truncate(last);
    let length = u32::try_from(last - native::FRAME_HEADER_BYTES).unwrap();
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    rig.feed(&bytes);
    rig.settle();
    let answers = responses(&mut rig);
    assert!(matches!(&answers[..], [(0, Response::Error { closing: true, .. })]), "{answers:?}");
    assert!(rig.exchange.session.closing);
    let mut rig = open();
    rig.feed(put("j-of-nobody", 1, vec![1], 1000));
    let refused = responses(&mut rig);
    let [(1, Response::Error { error, closing: false })] = &refused[..] else {
        panic!("{refused:?}")
    };
    assert_eq!(error.code(), ErrorCode::NoJob);
}

#[test]
fn a_plan_outlives_a_change_of_its_view() {
    let mut rig = open();
    talk(&mut rig, &[(3, events(1, vec![4])), (4, prepare("n@lifetime"))]);
    let alter = "VIEW.ALTER v ADD FEATURES 1 top=max(x)";
    assert_eq!(talk(&mut rig, &[(5, command(alter))]), [(5, Response::Value(Reply::OK))]);
    let answered = read(&mut rig, 6, 0, &["e"]);
    assert!(matches!(&answered[..], [(6, Response::Columns(_))]), "{answered:?}");
    talk(&mut rig, &[(7, command("VIEW.DROP v"))]);
    let refused = read(&mut rig, 8, 0, &["e"]);
    let [(8, Response::Error { error, closing: false })] = &refused[..] else {
        panic!("{refused:?}")
    };
    assert_eq!(error.code(), ErrorCode::NoView);
    let again = "VIEW.CREATE v TILE 1h COLUMNS 1 x:i64 FEATURES 2 s=sum(x) n=count()";
    talk(&mut rig, &[(9, command(again)), (10, events(1, vec![7, 8, 9]))]);
    let answered = read(&mut rig, 11, 0, &["e"]);
    let [(11, Response::Columns(columns))] = &answered[..] else { panic!("{answered:?}") };
    assert_eq!(columns.columns()[0].value(0), tilekv_tile::Value::Int(3));
}

#[test]
fn plans_are_released_and_numbers_used_again() {
    let mut rig = open();
    let plans = talk(&mut rig, &[(1, prepare("n@1h")), (2, prepare("n@2h"))]);
    assert_eq!(plans[1], (2, Response::Plan(PlanReply { plan: 1, columns: 1 })));
    assert_eq!(talk(&mut rig, &[(3, Request::Release(0))]), [(3, Response::Done)]);
    let again = talk(&mut rig, &[(4, Request::Release(0))]);
    assert!(matches!(&again[..], [(4, Response::Error { .. })]), "{again:?}");
    let reused = talk(&mut rig, &[(5, prepare("n@3h"))]);
    assert_eq!(reused, [(5, Response::Plan(PlanReply { plan: 0, columns: 1 }))]);
    assert!(matches!(&read(&mut rig, 6, 9, &["e"])[..], [(6, Response::Error { .. })]));
}

#[test]
fn commands_of_a_resp_stream_are_refused() {
    let mut rig = open();
    for text in ["MULTI", "RESET", "HELLO 3", "CLIENT REPLY OFF"] {
        let refused = talk(&mut rig, &[(9, command(text))]);
        let is_refused = matches!(&refused[..], [(9, Response::Error { closing: false, .. })]);
        assert!(is_refused, "{text}: {refused:?}");
    }
    let info = talk(&mut rig, &[(10, command("VIEW.INFO v"))]);
    assert!(matches!(&info[..], [(10, Response::Value(Reply::Map(_)))]), "{info:?}");
}

#[test]
fn a_malformed_frame_ends_the_conversation_and_a_wrong_preamble_as_well() {
    let mut rig = open();
    rig.feed([0, 0, 0, 0, 3, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let last = responses(&mut rig);
    assert!(matches!(&last[..], [(0, Response::Error { closing: true, .. })]), "{last:?}");
    assert!(rig.exchange.session.closing);
    let mut rig = Rig::new();
    rig.feed(b"\xf4TKX\x01\0\0\0");
    let last = responses(&mut rig);
    assert!(matches!(&last[..], [(0, Response::Error { closing: true, .. })]), "{last:?}");
}

#[test]
fn nothing_but_hello_and_auth_before_the_password() {
    let mut rig = Rig::with_password("secret");
    rig.feed(preamble());
    let password = |password: &'static [u8]| {
        let password = Bytes::from_static(password);
        Request::Auth(Credentials { user: None, password })
    };
    let answers = talk(
        &mut rig,
        &[
            (1, Request::Ping(Bytes::new())),
            (2, password(b"wrong")),
            (3, password(b"secret")),
            (4, Request::Ping(Bytes::from_static(b"x"))),
        ],
    );
    assert!(matches!(&answers[0], (1, Response::Error { .. })));
    assert!(matches!(&answers[1], (2, Response::Error { .. })));
    assert_eq!(answers[2], (3, Response::Done));
    assert_eq!(answers[3], (4, Response::Pong(Bytes::from_static(b"x"))));
}
