//! What is deleted stays deleted: at once, after `kill -9`, and after a clean restart, when it lies
//! in segments with what it deletes.

use tilekv_tests::resp::RespClient;
use tilekv_tests::server_process::{ServerCommand, ServerProcess};

const VIEW: &str = "VIEW.CREATE v TILE 1m COLUMNS 1 i:i64 FEATURES 2 n=count() s=sum(i)";
const TILES: i64 = 10;

/// Ten tiles of each of two entities, in segments; then the test's commands.
fn with_tiles(commands: &[(&str, &str)]) -> (tempfile::TempDir, ServerCommand, ServerProcess) {
    let folder = tempfile::tempdir().unwrap();
    let command = ServerCommand::new(folder.path());
    let mut server = command.start();
    let mut client = RespClient::connect(server.address());
    assert_eq!(client.call(VIEW).to_string(), "+OK");
    for tile in 0..TILES {
        for entity in ["a", "b"] {
            let start = tile * 60_000;
            client.call(&format!("TILE.ADD v {entity} {start} i {tile}"));
        }
    }
    assert_eq!(server.terminate().code(), Some(0));
    let server = command.start();
    let mut client = RespClient::connect(server.address());
    for (line, reply) in commands {
        assert_eq!(client.call(line).to_string(), *reply, "{line}");
    }
    (folder, command, server)
}

/// Holds the reads against a server as it is, after `kill -9` and after a clean restart.
fn hold(command: &ServerCommand, mut server: ServerProcess, reads: &[(&str, &str)]) {
    for end in ["none", "kill -9", "SIGTERM"] {
        match end {
            "kill -9" => server.kill(),
            "SIGTERM" => assert_eq!(server.terminate().code(), Some(0)),
            _ => {}
        }
        if end != "none" {
            server = command.start();
        }
        let mut client = RespClient::connect(server.address());
        for (line, reply) in reads {
            assert_eq!(client.call(line).to_string(), *reply, "after {end}: {line}");
        }
    }
}

#[test]
fn tiles_that_start_in_the_range_go_and_no_others() {
    let (_folder, command, server) = with_tiles(&[
        ("TILE.DEL v a 120000 180000", ":1"),
        ("TILE.DEL v a 180001 300000", ":1"),
        ("TILE.DEL v a 360000 360001", ":1"),
        ("TILE.DEL v a 360000 360001", ":0"),
        ("TILE.ADD v a 360000 i 9", ":1"),
        ("TILE.DEL v nobody 0 600000", ":0"),
    ]);
    hold(
        &command,
        server,
        &[
            ("WINDOW.GET v a n@lifetime s@lifetime", "[:8 :42]"),
            ("WINDOW.GET v b n@lifetime s@lifetime", "[:10 :45]"),
            (
                "TILE.RANGE v a 60000 360000",
                r#"[[:60000 ["1" "1"]] [:180000 ["1" "3"]] [:300000 ["1" "5"]]]"#,
            ),
            ("TILE.RANGE v a 360000 420000", r#"[[:360000 ["1" "9"]]]"#),
        ],
    );
}

#[test]
fn ranges_of_nothing_delete_and_read_nothing() {
    let (_folder, command, server) = with_tiles(&[]);
    let mut client = RespClient::connect(server.address());
    for range in ["60000 60000", "120000 60000", "9007199254740992 -9007199254740992"] {
        for verb in ["TILE.DEL", "TILE.RANGE"] {
            let reply = client.call(&format!("{verb} v a {range}")).to_string();
            let is_nothing = [":0", "[]"].contains(&&reply[..]) || reply.starts_with("-ERR ");
            assert!(is_nothing, "{verb} {range}: {reply}");
        }
    }
    hold(&command, server, &[("WINDOW.GET v a n@lifetime s@lifetime", "[:10 :45]")]);
}

#[test]
fn the_whole_of_time_is_a_range() {
    let (_folder, command, server) =
        with_tiles(&[("TILE.DEL v a -9007199254740992 9007199254740992", ":10")]);
    hold(
        &command,
        server,
        &[
            ("WINDOW.GET v a n@lifetime AT 600000 STATUS", r#"[[:0 "unseen" $-1 :600000 :0]]"#),
            ("WINDOW.GET v b n@lifetime", "[:10]"),
        ],
    );
}

#[test]
fn entities_go_from_all_views_or_some() {
    let (_folder, command, server) = with_tiles(&[
        ("VIEW.CREATE w TILE 1m COLUMNS 1 i:i64 FEATURES 1 n=count()", "+OK"),
        ("TILE.ADD w a 60000", ":1"),
        ("TILE.ADD w b 60000", ":1"),
        ("ENTITY.DEL a VIEWS 1 v", ":10"),
        ("ENTITY.DEL b", ":11"),
        ("TILE.ADD v b 60000 i 7", ":1"),
    ]);
    hold(
        &command,
        server,
        &[
            ("WINDOW.GET v a n@lifetime", "[:0]"),
            ("WINDOW.GET w a n@lifetime", "[:1]"),
            ("WINDOW.GET v b n@lifetime s@lifetime", "[:1 :7]"),
            ("WINDOW.GET w b n@lifetime", "[:0]"),
        ],
    );
}

#[test]
fn a_view_made_again_under_its_name_is_empty() {
    let (_folder, command, server) = with_tiles(&[
        ("TILE.ADD v a 60000 i 1 PRODUCER p 5", ":1"),
        ("SEAL.ADD v 0 60000", "+OK"),
        ("VIEW.DROP v", "+OK"),
        (VIEW, "+OK"),
        ("PRODUCER.GET v p", "$-1"),
        ("TILE.ADD v a 120000 i 1 PRODUCER p 1", ":1"),
    ]);
    hold(
        &command,
        server,
        &[
            ("WINDOW.GET v a n@lifetime s@lifetime", "[:1 :1]"),
            ("WINDOW.GET v b n@lifetime", "[:0]"),
            ("SEAL.LIST v", "[]"),
            ("PRODUCER.GET v p", ":1"),
        ],
    );
}
