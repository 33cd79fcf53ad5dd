//! Exactly once over one connection and several: duplicates, gaps, and refusals in the middle of a
//! pipeline, after which nothing of the producer counts until the refused write comes again.

use tilekv_tests::native::{AddCell, AddRow, NativeConnection, add_payload, frame, kind};
use tilekv_tests::resp::{RespClient, RespReply};
use tilekv_tests::server_process::{ServerCommand, ServerProcess};

const VIEW: &str = "VIEW.CREATE v TILE 1m COLUMNS 1 i:i64 FEATURES 2 n=count() s=sum(i)";
const READ: &str = "WINDOW.GET v e n@lifetime s@lifetime";
const REFUSED: i64 = 50;
const LAST: i64 = 100;

fn start(folder: &tempfile::TempDir) -> (ServerProcess, RespClient) {
    let server = ServerCommand::new(folder.path()).start();
    let mut client = RespClient::connect(server.address());
    assert_eq!(client.call(VIEW).to_string(), "+OK");
    (server, client)
}

fn add(sequence: i64, value: &str, rest: &str) -> String {
    format!("TILE.ADD v e 60000 i {value} PRODUCER p {sequence}{rest}")
}

#[test]
fn a_refusal_inside_a_pipeline_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (server, mut client) = start(&folder);
    let sequences = 1..=LAST;
    let value = |n: i64| if n == REFUSED { "fifty".to_owned() } else { n.to_string() };
    let replies = client.pipeline(sequences.clone().map(|n| add(n, &value(n), "")));
    for (sequence, reply) in sequences.zip(&replies) {
        let shown = reply.to_string();
        match sequence {
            ..REFUSED => assert_eq!(shown, ":1", "{sequence}"),
            REFUSED => assert_eq!(reply.code(), "BADVALUE", "{shown}"),
            _ => assert!(shown.starts_with("-OUTOFORDER 49 "), "{sequence}: {shown}"),
        }
    }
    assert_eq!(client.call(READ).to_string(), "[:49 :1225]");
    // Another connection knows nothing of that refusal, and the rule is about this one alone.
    let mut other = RespClient::connect(server.address());
    assert_eq!(other.call("TILE.ADD v e 60000 i 0 PRODUCER other 7").to_string(), ":1");
    let replies = client.pipeline((REFUSED..=LAST).map(|n| add(n, &n.to_string(), "")));
    assert!(replies.iter().all(|reply| *reply == RespReply::Integer(1)), "{replies:?}");
    assert_eq!(client.call(READ).to_string(), "[:101 :5050]");
    assert_eq!(client.call("PRODUCER.GET v p").to_string(), ":100");
}

#[test]
fn every_kind_of_refusal_holds_back_what_follows() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, mut client) = start(&folder);
    let madd = "COLUMNS 1 i ROWS 1 e 60000";
    let refusals = [
        "TILE.ADD v e noon i 1 PRODUCER p 2".to_owned(),
        "TILE.ADD v e 60000 nope 1 PRODUCER p 2".to_owned(),
        "TILE.ADD v e 60000 i 1 PRODUCER p 2 AFTER 7".to_owned(),
        "TILE.ADD v e 60000 i PRODUCER p 2".to_owned(),
        format!("TILE.MADD v PRODUCER p 2 {madd} x"),
        format!("TILE.MADD v PRODUCER p 2 {madd}"),
        format!("TILE.MADD v PRODUCER p 2 {madd} 1 2"),
        "TILE.SET v e 60000 nope 1 PRODUCER p 2".to_owned(),
        "TILE.SET v e 60000 n x PRODUCER p 2".to_owned(),
        "TILE.MERGE v e 60001 n 1 PRODUCER p 2".to_owned(),
    ];
    assert_eq!(client.call(&add(1, "1", "")).to_string(), ":1");
    for refused in &refusals {
        let replies = client.pipeline([refused, &add(3, "3", ""), &add(4, "4", "")]);
        assert!(matches!(replies[0], RespReply::Error(_)), "{refused}: {}", replies[0]);
        for reply in &replies[1..] {
            let is_held = reply.to_string().starts_with("-OUTOFORDER 1 ");
            assert!(is_held, "after {refused}: {reply}");
        }
    }
    assert_eq!(client.call(READ).to_string(), "[:1 :1]");
    let replies = client.pipeline([add(2, "2", ""), add(3, "3", ""), add(4, "4", "")]);
    assert_eq!(replies, vec![RespReply::Integer(1); 3]);
    assert_eq!(client.call(READ).to_string(), "[:4 :10]");
}

#[test]
fn after_names_what_must_have_been_applied_last() {
    let folder = tempfile::tempdir().unwrap();
    let (server, mut client) = start(&folder);
    let told = |client: &mut RespClient, line: &str| client.call(line).to_string();
    assert!(told(&mut client, &add(5, "1", " AFTER 4")).starts_with("-OUTOFORDER - "));
    assert_eq!(told(&mut client, &add(5, "1", " AFTER -")), ":1");
    assert_eq!(told(&mut client, &add(5, "1", " AFTER 3")), ":0", "duplicates come first");
    assert!(told(&mut client, &add(9, "1", " AFTER -")).starts_with("-OUTOFORDER 5 "));
    assert_eq!(told(&mut client, &add(9, "1", " AFTER 5")), ":1");
    let greatest = u64::MAX;
    let line = format!("TILE.ADD v e 60000 i 1 PRODUCER p {greatest} AFTER 9");
    assert_eq!(told(&mut client, &line), ":1");
    assert_eq!(told(&mut client, "PRODUCER.GET v p"), format!("\"{greatest}\""));
    assert_eq!(told(&mut client, &add(10, "1", "")), ":0");
    let mut client3 = RespClient::connect3(server.address());
    assert_eq!(told(&mut client3, "PRODUCER.GET v p"), format!("({greatest}"));
    assert_eq!(told(&mut client3, READ), "[:3 :3]");
}

#[test]
fn duplicates_are_known_after_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let (mut server, mut client) = start(&folder);
    let lines = [
        add(1, "1", ""),
        "TILE.MADD v PRODUCER p 2 COLUMNS 1 i ROWS 2 e 60000 2 e 120000 3".to_owned(),
        "TILE.MERGE v e 60000 n 1 s 4 PRODUCER p 3".to_owned(),
        "TILE.SET v e 180000 n 1 s 5 PRODUCER p 4".to_owned(),
    ];
    let replies: Vec<_> = client.pipeline(&lines).iter().map(ToString::to_string).collect();
    assert_eq!(replies, [":1", ":2", "+OK", "+OK"]);
    server.kill();
    let server = ServerCommand::new(folder.path()).start();
    let mut client = RespClient::connect(server.address());
    for reply in client.pipeline(&lines) {
        assert_eq!(reply, RespReply::Integer(0));
    }
    assert_eq!(client.call(READ).to_string(), "[:5 :15]");
}

/// The same over native frames, sent in one go.
#[test]
fn a_refusal_among_native_writes_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (server, mut client) = start(&folder);
    let mut native = NativeConnection::open(server.address());
    let row = |sequence: i64, column: &'static [u8]| {
        let stamp = Some((&b"p"[..], u64::try_from(sequence).unwrap()));
        let cell = AddCell::I64(sequence);
        add_payload(&AddRow { view: b"v", stamp, entity: b"e", timestamp: 60_000, column, cell })
    };
    let mut frames = Vec::new();
    for sequence in 1..=LAST {
        let column = if sequence == REFUSED { &b"nope"[..] } else { b"i" };
        let id = u64::try_from(sequence).unwrap();
        frames.extend(frame(kind::ADD, 0, id, &row(sequence, column)));
    }
    native.send(&frames);
    for _ in 1..=LAST {
        let answer = native.receive();
        match i64::try_from(answer.id).unwrap() {
            ..REFUSED => assert_eq!(answer.kind, kind::APPLIED, "{answer:?}"),
            REFUSED => assert_eq!(answer.error().code, 1, "{answer:?}"),
            _ => assert_eq!((answer.error().code, answer.error().number), (7, Some(49))),
        }
    }
    for sequence in REFUSED..=LAST {
        let answer = native.ask(kind::ADD, 0, &row(sequence, b"i"));
        assert_eq!(answer.kind, kind::APPLIED, "{answer:?}");
    }
    assert_eq!(client.call(READ).to_string(), "[:100 :5050]");
}
