//! Tools that nobody here wrote: redis-py, redis-cli, redis-benchmark and Apache DataSketches for
//! Python as they are.

use std::process::{Command, Stdio};
use tilekv_tests::repository;
use tilekv_tests::server_process::{ServerCommand, ServerProcess};

fn start(folder: &tempfile::TempDir) -> (ServerProcess, String) {
    let server = ServerCommand::new(folder.path()).start();
    let port = server.address().port().to_string();
    (server, port)
}

/// What a tool prints, which must end with success.
fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let errors = text(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{errors}", output.status);
    text(&output.stdout)
}

#[test]
fn redis_py_works_in_both_protocols() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, port) = start(&folder);
    let script = repository::root().join("tests/clients/redis_py.py");
    let said = output(Command::new("python3").arg(script).arg(port));
    assert!(said.starts_with("redis-py "), "{said}");
}

#[test]
fn sketches_are_exchanged_with_datasketches() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, port) = start(&folder);
    let script = repository::root().join("tests/clients/datasketches_py.py");
    let said = output(Command::new("python3").arg(script).arg(port));
    assert!(said.starts_with("datasketches, seed "), "{said}");
}

#[test]
fn redis_cli_shows_replies() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, port) = start(&folder);
    let cli = |version: &str, line: &str| {
        let mut command = Command::new("redis-cli");
        command.args([version, "-p", &port]).args(line.split(' '));
        output(&mut command).trim_end().to_owned()
    };
    assert_eq!(cli("-2", "PING"), "PONG");
    let create = "VIEW.CREATE shop TILE 1h COLUMNS 1 amount:f64 FEATURES 2 n=count() s=sum(amount)";
    assert_eq!(cli("-3", create), "OK");
    assert_eq!(cli("-2", "TILE.ADD shop u:1 1767225600000 amount 9.5"), "1");
    for version in ["-2", "-3"] {
        assert_eq!(cli(version, "WINDOW.GET shop u:1 n@1d s@1d AT 1767312000000"), "1\n9.5");
        assert!(cli(version, "INFO server").contains("redis_version:7.4.0"));
    }
    assert!(cli("-2", "WINDOW.GET shop u:1 n@90m").starts_with("BADWINDOW "));
    assert_eq!(cli("-2", "DBSIZE"), "0");
}

#[test]
fn redis_benchmark_pings() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, port) = start(&folder);
    for pipeline in ["1", "50"] {
        let tests = "ping_inline,ping_mbulk";
        let mut command = Command::new("redis-benchmark");
        command.args(["-p", &port, "-t", tests, "-n", "20000", "-P", pipeline, "-q"]);
        let said = output(&mut command);
        assert_eq!(said.matches("requests per second").count(), 2, "{said}");
        assert!(!said.contains("rror"), "{said}");
    }
}
