//! Records through the ends of a server: hashes, strings, sums, expiries and deletions are after
//! `kill -9` and after a clean restart what was acknowledged before.

use std::collections::BTreeSet;

use tilekv_tests::resp::RespClient;
use tilekv_tests::server_process::{ServerCommand, ServerProcess};

const ROUNDS: usize = 4;
const KEYS: usize = 200;

/// Calls lines and holds their replies against what is expected.
fn check(server: &ServerProcess, talks: &[(&str, &str)]) {
    let mut client = RespClient::connect(server.address());
    for (line, reply) in talks {
        assert_eq!(client.call(line).to_string(), *reply, "{line}");
    }
}

#[test]
fn what_was_acknowledged_is_there_after_each_end() {
    let folder = tempfile::tempdir().unwrap();
    let command = ServerCommand::new(folder.path());
    let mut server = command.start();
    for round in 1..=ROUNDS {
        let mut client = RespClient::connect(server.address());
        let mut lines = Vec::new();
        for key in 0..KEYS {
            lines.push(format!("HINCRBY sum:{key} n {key}"));
            lines.push(format!("HSET hash:{key} round {round} f{round} {key}"));
            lines.push(format!("SET text:{key} {round}.{key} PX 90000000"));
            lines.push(format!("SET gone:{round}:{key} x"));
            lines.push(format!("DEL gone:{round}:{key} gone:{}:{key}", round - 1));
        }
        let replies = client.pipeline(&lines);
        assert_eq!(replies.len(), lines.len());
        for (key, reply) in replies.iter().step_by(5).enumerate() {
            assert_eq!(reply.to_string(), format!(":{}", key * round), "round {round}");
        }
        if round % 2 == 0 {
            assert_eq!(server.terminate().code(), Some(0));
        } else {
            server.kill();
        }
        server = command.start();
        let mut client = RespClient::connect(server.address());
        assert_eq!(client.call("DBSIZE").integer(), i64::try_from(3 * KEYS).unwrap());
        for key in [0, 7, KEYS - 1] {
            let sum = client.call(&format!("HGET sum:{key} n"));
            assert_eq!(sum.text(), (key * round).to_string());
            let hash = client.call(&format!("HLEN hash:{key}"));
            assert_eq!(hash.integer(), i64::try_from(round + 1).unwrap());
            let text = client.call(&format!("GET text:{key}"));
            assert_eq!(text.text(), format!("{round}.{key}"));
            let expiry = client.call(&format!("PTTL text:{key}")).integer();
            assert!((80_000_000..=90_000_000).contains(&expiry), "{expiry} ms are left");
        }
    }
    assert!(
        command
            .data_folder()
            .read_dir()
            .unwrap()
            .any(|entry| { entry.unwrap().file_name().to_string_lossy().starts_with("records-") })
    );
}

#[test]
fn records_and_tiles_are_two_name_spaces() {
    let folder = tempfile::tempdir().unwrap();
    let command = ServerCommand::new(folder.path());
    let mut server = command.start();
    let view = "VIEW.CREATE v TILE 1m COLUMNS 1 i:i64 FEATURES 1 n=count()";
    check(
        &server,
        &[
            (view, "+OK"),
            ("TILE.ADD v e 1000 i 1", ":1"),
            ("HSET e f 1", ":1"),
            ("ENTITY.DEL e", ":1"),
            ("HGET e f", "\"1\""),
            ("TILE.ADD v e 1000 i 1", ":1"),
            ("FLUSHALL", "+OK"),
            ("DBSIZE", ":0"),
            ("WINDOW.GET v e n@lifetime", "[:1]"),
            ("SET v 1", "+OK"),
            ("VIEW.DROP v", "+OK"),
        ],
    );
    server.kill();
    server = command.start();
    check(&server, &[("GET v", "\"1\""), ("DBSIZE", ":1"), ("VIEW.LIST", "[]")]);
}

/// As Feast's stock store does: keys are bytes of any kind, deleted by what SCAN finds.
#[test]
fn binary_keys_are_found_by_their_prefix_and_suffix() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServerCommand::new(folder.path()).start();
    let mut client = RespClient::connect(server.address());
    let key = |number: u8, project: &str| -> Vec<u8> {
        [&[2, 0, 0, 0][..], b"driver", &[number, 0, 255, b'*', b'\n'], project.as_bytes()].concat()
    };
    for number in 0..=255 {
        for project in ["one", "two"] {
            let hash = [b"HSET", &key(number, project)[..], b"\x00\x01f", b"\xFF", b"_ts:v", b""];
            assert_eq!(client.call_arguments(&hash).integer(), 2);
        }
    }
    let pattern = [&[2, 0, 0, 0][..], b"driver*one"].concat();
    let (mut cursor, mut found) = ("0".to_owned(), BTreeSet::new());
    loop {
        let scan = [b"SCAN", cursor.as_bytes(), b"MATCH", &pattern, b"COUNT", b"30"];
        let reply = client.call_arguments(&scan);
        let [next, keys] = reply.items() else { panic!("{reply}") };
        found.extend(keys.items().iter().map(ToString::to_string));
        cursor = next.text().to_owned();
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(found.len(), 256);
    let first = key(0, "one");
    assert_eq!(client.call_arguments(&[b"UNLINK", &first[..]]).integer(), 1);
    assert_eq!(client.call("DBSIZE").integer(), 511);
}
