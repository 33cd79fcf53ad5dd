//! Commands that cannot be carried out: each is refused with its code, in a sentence of printable
//! ASCII, changes nothing and leaves the connection as it was. Over RESP and, in COMMAND frames,
//! over the native protocol.

use super::bad_input_cases::{CASES, VIEWS};
use tilekv_tests::native::{NativeConnection, command_payload, kind};
use tilekv_tests::resp::{RespClient, RespReply};
use tilekv_tests::server_process::{ServerCommand, ServerProcess};

#[test]
fn what_cannot_be_carried_out_is_refused_with_its_code_over_resp() {
    let folder = tempfile::tempdir().unwrap();
    let server = prepared_server(&ServerCommand::new(folder.path()));
    let mut client = RespClient::connect3(server.address());
    let before = everything(&mut client);
    let mut wrong = Vec::new();
    for (line, code) in CASES {
        let reply = client.call_arguments(&words(line));
        let RespReply::Error(text) = &reply else {
            wrong.push(format!("{line}\n    replied {reply}, expected -{code}"));
            continue;
        };
        assert!(text.len() <= 512 && text.bytes().all(|byte| (32..127).contains(&byte)), "{text}");
        if reply.code() != *code {
            wrong.push(format!("{line}\n    replied {reply}, expected -{code}"));
        }
        assert_eq!(client.call("PING").to_string(), "+PONG", "after {line}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(everything(&mut client), before, "refused commands change nothing");
    assert!(client.call("CLIENT ID").integer() == 2, "all of it happened over one connection");
}

#[test]
fn what_cannot_be_carried_out_is_refused_with_its_code_over_native_frames() {
    let folder = tempfile::tempdir().unwrap();
    let server = prepared_server(&ServerCommand::new(folder.path()));
    let mut client = RespClient::connect3(server.address());
    let before = everything(&mut client);
    let mut native = NativeConnection::open(server.address());
    let mut wrong = Vec::new();
    for (line, code) in CASES {
        let answer = native.ask(kind::COMMAND, 0, &command_payload(&words(line)));
        if answer.kind != kind::ERROR {
            wrong.push(format!("{line}\n    answered by kind {}, expected -{code}", answer.kind));
            continue;
        }
        let error = answer.error();
        if CODES.get(usize::from(error.code)) != Some(code) || error.is_closing {
            wrong.push(format!("{line}\n    answered {error:?}, expected -{code}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(native.ask(kind::PING, 0, b"still here").payload, b"still here");
    assert_eq!(everything(&mut client), before, "refused commands change nothing");
}

#[test]
fn entities_have_1_to_65535_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let server = prepared_server(&ServerCommand::new(folder.path()));
    let mut client = RespClient::connect(server.address());
    let entity = |length| vec![0xFE; length];
    for (length, code) in [(0, "BADVALUE"), (1, ""), (65_535, ""), (65_536, "BADVALUE")] {
        let entity = entity(length);
        let add: [&[u8]; 6] = [b"TILE.ADD", b"v", &entity, b"60000", b"i", b"1"];
        assert_eq!(client.call_arguments(&add).code(), code, "ADD, {length} bytes");
        let head = b"TILE.MADD v COLUMNS 1 i ROWS 1".split(|byte| *byte == b' ');
        let madd: Vec<&[u8]> = head.chain([&entity[..], b"60000", b"1"]).collect();
        assert_eq!(client.call_arguments(&madd).code(), code, "MADD, {length} bytes");
        let get: [&[u8]; 6] = [b"WINDOW.GET", b"v", &entity, b"n@1m", b"AT", b"120000"];
        let read = client.call_arguments(&get);
        assert_eq!(read.code(), code, "GET, {length} bytes");
        if code.is_empty() {
            assert_eq!(read.to_string(), "[:2]", "{length} bytes");
        }
    }
}

#[test]
fn a_batch_with_one_bad_row_names_it_and_applies_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = prepared_server(&ServerCommand::new(folder.path()));
    let mut client = RespClient::connect(server.address());
    let bad_rows =
        [("e", "60000", "x"), ("e", "noon", "1"), ("e", "9007199254740993", "1"), ("", "0", "1")];
    for (entity, timestamp, cell) in bad_rows {
        for bad in [0, 1, 49, 99] {
            let mut line = "TILE.MADD v PRODUCER p 1 COLUMNS 1 i ROWS 100".to_owned();
            for row in 0..100 {
                let (entity, timestamp, cell) =
                    if row == bad { (entity, timestamp, cell) } else { ("e", "60000", "1") };
                line += &format!(" {entity} {timestamp} {cell}");
            }
            let reply = client.call(&line);
            assert_eq!(reply.code(), "BADVALUE", "{reply}");
            let named = format!("row {} (counted from 1)", bad + 1);
            assert!(reply.to_string().contains(&named), "{named}: {reply}");
        }
    }
    assert_eq!(client.call("WINDOW.GET v e n@lifetime").to_string(), "[:0]");
    assert_eq!(client.call("PRODUCER.GET v p").to_string(), "$-1", "no sequence was used up");
}

#[test]
fn a_window_that_does_not_fit_is_named_with_the_tile() {
    let folder = tempfile::tempdir().unwrap();
    let server = prepared_server(&ServerCommand::new(folder.path()));
    let mut client = RespClient::connect(server.address());
    for (selector, part) in [("n@90s", "90s"), ("n@1m:30s", "30s")] {
        let reply = client.call(&format!("WINDOW.GET v e {selector}")).to_string();
        assert!(reply.contains(part) && reply.contains("1m"), "{reply}");
    }
}

#[test]
fn events_before_the_horizon_are_refused_alone_and_skipped_in_batches() {
    let folder = tempfile::tempdir().unwrap();
    let server = prepared_server(&ServerCommand::new(folder.path()));
    let mut client = RespClient::connect(server.address());
    let now = client.call("TIME").items()[0].text().parse::<i64>().unwrap() * 1_000;
    assert_eq!(client.call("TILE.ADD short e 60000 i 1").code(), "TOOOLD");
    let rows = format!("e 60000 1 e {now} 2 e 0 3");
    let batch = client.call(&format!("TILE.MADD short COLUMNS 1 i ROWS 3 {rows}"));
    assert_eq!(batch, RespReply::Integer(1));
    assert_eq!(client.call("TILE.SET short e 60000 n 1").code(), "TOOOLD");
    assert_eq!(client.call("WINDOW.GET short e s@lifetime EDGE live").to_string(), "[:2]");
    let info = client.call("VIEW.INFO short").to_string();
    assert!(info.contains("\"too_old\" :"), "{info}");
    assert!(!info.contains("\"too_old\" :0"), "rows that were skipped are counted: {info}");
}

fn prepared_server(command: &ServerCommand) -> ServerProcess {
    let server = command.start();
    let mut client = RespClient::connect(server.address());
    for view in VIEWS {
        assert_eq!(client.call(view).to_string(), "+OK", "{view}");
    }
    server
}

/// All that the refused commands could have changed.
fn everything(client: &mut RespClient) -> Vec<String> {
    let mut state = vec![client.call("VIEW.LIST").to_string()];
    for view in ["v", "two", "short"] {
        state.push(client.call(&format!("VIEW.INFO {view}")).to_string());
        state.push(client.call(&format!("PRODUCER.GET {view} p")).to_string());
    }
    state
}

/// The arguments between spaces, in which `\xNN` stands for a byte.
fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(unescaped).collect()
}

fn unescaped(word: &str) -> Vec<u8> {
    let mut pieces = word.split("\\x");
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at(2);
        bytes.push(u8::from_str_radix(digits, 16).unwrap());
        bytes.extend(rest.as_bytes());
    }
    bytes
}

/// The words of the codes by their numbers, as in docs/protocol.md.
const CODES: [&str; 22] = [
    "",
    "ERR",
    "NOVIEW",
    "NOFEATURE",
    "BADWINDOW",
    "BADVALUE",
    "TOOOLD",
    "OUTOFORDER",
    "EMPTYJOB",
    "ROWCOUNT",
    "NOJOB",
    "BUSY",
    "LOADING",
    "NOAUTH",
    "NOPERM",
    "READONLY",
    "LIMIT",
    "WRONGTYPE",
    "WRONGPASS",
    "NOPROTO",
    "EXECABORT",
    "DAMAGED",
];
