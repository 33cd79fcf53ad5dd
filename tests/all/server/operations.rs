//! What an operator does with a server: starting, configuring, watching and stopping it, right and
//! wrong.

use std::collections::BTreeSet;
use std::net::TcpListener;
use tilekv_tests::patience::wait_until;
use tilekv_tests::repository;
use tilekv_tests::resp::RespClient;
use tilekv_tests::server_process::{Refusal, ServerCommand};

const VIEW: &str = "VIEW.CREATE v TILE 1m COLUMNS 1 i:i64 FEATURES 2 n=count() s=sum(i)";

#[test]
fn a_second_server_on_the_same_folder_refuses_and_the_first_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let command = ServerCommand::new(folder.path());
    let first = command.start();
    let refusal = refused(&command);
    assert!(refusal.log.contains("data") && refusal.log.contains("another"), "{}", refusal.log);
    assert_eq!(RespClient::connect(first.address()).call(VIEW).to_string(), "+OK");
    drop(first);
    let second = command.start();
    assert_eq!(RespClient::connect(second.address()).call("VIEW.LIST").to_string(), "[\"v\"]");
}

#[test]
fn a_port_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for flag in ["--port", "--http-port"] {
        let refusal = refused(&ServerCommand::new(folder.path()).flags(&format!("{flag} {port}")));
        assert!(refusal.log.contains(&port.to_string()), "{}", refusal.log);
    }
}

#[test]
fn a_wrong_configuration_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let plain = || ServerCommand::new(folder.path());
    let file = folder.path().join("tilekv.toml");
    std::fs::write(&file, "frame_bytes_maxx = 5\n").unwrap();
    let cases = [
        (plain().flags(&format!("--config {}", file.display())), "frame_bytes_maxx"),
        (plain().variable("TILEKV_DURABILTY", "always"), "durabilty"),
        (plain().flags("--nope 1"), "--nope"),
        (plain().flags("--durability sometimes"), "durability"),
        (plain().flags("--interval-ms 0"), "interval_ms"),
        (plain().flags("--memory-max 1KiB"), "memory_max"),
        (plain().flags("--bind 0.0.0.0"), "auth_password"),
        (plain().flags("--bind nowhere"), "bind"),
        (plain().flags("--config missing.toml"), "missing.toml"),
        (plain().flags("--auth-password-file missing"), "missing"),
    ];
    for (command, name) in cases {
        let refusal = refused(&command);
        let last = refusal.log.lines().last().unwrap_or_default();
        assert!(refusal.log.to_lowercase().contains(name), "{name}: {}", refusal.log);
        assert!(last.len() < 500, "{name}: {last}");
    }
    assert!(!plain().data_folder().exists(), "a refused configuration makes no folder");
}

#[test]
fn check_config_prints_what_would_be_in_force_and_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let plain = || ServerCommand::new(folder.path()).flags("--check-config");
    let valid = plain().flags("--durability interval").variable("TILEKV_INTERVAL_MS", "250");
    let checked = valid.try_start().unwrap_err();
    assert!(checked.status.success(), "{}", checked.log);
    for line in ["durability = \"interval\"", "interval_ms = 250"] {
        assert!(checked.output.contains(line), "{line}:\n{}", checked.output);
    }
    let checked = refused(&plain().flags("--interval-ms 0"));
    assert!(checked.log.contains("interval_ms"), "{}", checked.log);
    assert!(!plain().data_folder().exists());
}

#[test]
fn sigterm_answers_what_was_read_syncs_and_ends_with_0() {
    for durability in ["always", "interval", "none"] {
        let folder = tempfile::tempdir().unwrap();
        let command =
            ServerCommand::new(folder.path()).flags(&format!("--durability {durability}"));
        let mut server = command.start();
        let mut client = RespClient::connect(server.address());
        assert_eq!(client.call(VIEW).to_string(), "+OK");
        let add = b"TILE.ADD v e 60000 i 1\r\n";
        let mut sender = client.sender();
        let flood = std::thread::spawn(move || {
            // The server ends the connection at some point.
            while std::io::Write::write_all(&mut sender, &add.repeat(100)).is_ok() {}
        });
        for _ in 0..1_000 {
            assert_eq!(client.receive().to_string(), ":1");
        }
        let mut acknowledged = 1_000;
        let end = std::thread::spawn(move || server.terminate());
        while let Ok(reply) = client.try_receive() {
            assert_eq!(reply.to_string(), ":1");
            acknowledged += 1;
        }
        let status = end.join().unwrap();
        assert_eq!(status.code(), Some(0), "{}", command.log());
        flood.join().unwrap();
        let server = command.start();
        let mut client = RespClient::connect(server.address());
        let read = client.call("WINDOW.GET v e n@lifetime s@lifetime");
        assert_eq!(read.to_string(), format!("[:{acknowledged} :{acknowledged}]"), "{durability}");
    }
}

#[test]
fn the_command_shutdown_ends_the_server_without_a_reply() {
    let folder = tempfile::tempdir().unwrap();
    let command = ServerCommand::new(folder.path());
    for line in ["SHUTDOWN", "SHUTDOWN NOSAVE", "shutdown save now"] {
        let mut server = command.start();
        let mut client = RespClient::connect(server.address());
        assert_eq!(client.call("SHUTDOWN ABORT").code(), "ERR");
        client.send(format!("{line}\r\n").as_bytes());
        assert!(client.is_closed(), "{line}");
        assert_eq!(server.wait().code(), Some(0), "{line}");
    }
}

#[test]
fn health_and_readiness_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServerCommand::new(folder.path()).start();
    assert_eq!(server.http("/healthz").0, 200);
    assert_eq!(server.http("/readyz").0, 200);
    assert_eq!(server.http("/nope").0, 404);
}

#[test]
fn the_metrics_page_is_well_formed_and_holds_what_is_documented() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServerCommand::new(folder.path()).start();
    let mut client = RespClient::connect(server.address());
    assert_eq!(client.call(VIEW).to_string(), "+OK");
    for _ in 0..10 {
        client.call("TILE.ADD v e 60000 i 1");
        client.call("WINDOW.GET v e n@1m AT 120000");
    }
    client.call("WINDOW.GET v e nope@1m");
    client.call("SEAL.ADD v 0 60000");
    let job = client.call("JOB.BEGIN v 0 60000 MODE merge").text().to_owned();
    client.call(&format!("JOB.PUT {job} COLUMNS 1 i ROWS 1 e 0 1"));
    assert_eq!(client.call(&format!("JOB.COMMIT {job}")).to_string(), "+OK");
    assert_eq!(client.call("VIEW.ALTER v SEAL required MAXLAG 1h").to_string(), "+OK");
    let mut page = String::new();
    wait_until("the counts are on the page", || {
        page = server.http("/metrics").1;
        page.contains("tilekv_commands_total{family=\"window\",outcome=\"refused\"} 1")
    });
    let names: BTreeSet<_> = page.lines().filter_map(sample_name).collect();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let value = line.rsplit(' ').next().unwrap_or_default();
        assert!(sample_name(line).is_some() && value.parse::<f64>().is_ok(), "{line}");
    }
    assert!(page.ends_with("# EOF\n"), "OpenMetrics ends so");
    for sample in [
        "tilekv_commands_total{family=\"tile\",outcome=\"answered\"} 10",
        "tilekv_commands_total{family=\"window\",outcome=\"answered\"} 10",
        "tilekv_connections 1",
        "tilekv_views 1",
    ] {
        assert!(page.lines().any(|line| line == sample), "{sample} is not in\n{page}");
    }
    let documented = documented_metrics();
    assert!(30 < documented.len(), "{documented:?}");
    let missing: Vec<_> = documented.iter().filter(|name| !names.contains(*name)).collect();
    let unknown: Vec<_> = names.iter().filter(|name| !documented.contains(*name)).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing {missing:?}, unknown {unknown:?}");
}

/// The name of a line of the page without the endings of histograms; none for a comment.
fn sample_name(line: &str) -> Option<String> {
    let name = line.split(['{', ' ']).next().filter(|name| name.starts_with("tilekv_"))?;
    let endings = ["_bucket", "_sum", "_count"];
    let base = endings.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    Some(base.to_owned())
}

/// The names in the first column of the table of docs/operations.md.
fn documented_metrics() -> BTreeSet<String> {
    let path = repository::root().join("docs/operations.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `tilekv_"));
    let cells = rows.map(|row| format!("`tilekv_{}", row.split('|').next().unwrap_or_default()));
    cells.flat_map(|cell| names_of(&cell)).collect()
}

fn names_of(cell: &str) -> Vec<String> {
    let quoted = cell.split('`').filter(|part| part.starts_with("tilekv_"));
    quoted.map(str::to_owned).collect()
}

/// A server that must not come up, with exit status 1.
fn refused(command: &ServerCommand) -> Refusal {
    let Err(refusal) = command.try_start() else { panic!("{command:?} started") };
    assert_eq!(refusal.status.code(), Some(1), "{}", refusal.log);
    refusal
}
