//! `tilekv explain` on a window that waits for its seal: what it tells and draws.

use tilekv_tests::cli_process::run;
use tilekv_tests::resp::RespClient;
use tilekv_tests::server_process::ServerCommand;

const HOUR: i64 = 3_600_000;

#[test]
fn a_window_that_waits_for_a_seal_is_told_drawn_and_listed() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServerCommand::new(folder.path()).start();
    let mut client = RespClient::connect(server.address());
    for line in [
        "VIEW.CREATE v TILE 1h SEAL required COLUMNS 1 x:i64 FEATURES 1 s=sum(x)".to_owned(),
        format!("SEAL.ADD v 0 {}", HOUR),
        format!("SEAL.ADD v {} {}", 2 * HOUR, 4 * HOUR),
    ] {
        assert_eq!(client.call(&line).to_string(), "+OK", "{line}");
    }
    for hour in [0, 1, 3, 5] {
        let add = format!("TILE.ADD v e {} x {}", hour * HOUR + 5, hour + 1);
        assert_eq!(client.call(&add).to_string(), ":1");
    }
    let address = server.address().to_string();
    let at = (6 * HOUR).to_string();
    let explain = |more: &[&str]| {
        let words = ["explain", "v", "e", "s@4h", "--at", &at, "--server", &address];
        let (status, said) = run([&words[..], more].concat());
        assert_eq!(status, 0, "{said}");
        said
    };
    let said = explain(&["--tiles"]);
    for line in [
        "value        7",
        "status       incomplete",
        "window       1970-01-01 00:00 to 1970-01-01 04:00 UTC",
        "complete to  1970-01-01 04:00",
        "incomplete   1970-01-01 01:00 to 1970-01-01 02:00 UTC",
    ] {
        assert!(said.lines().any(|found| found == line), "{line}:\n{said}");
    }
    // Where a tile was found depends on whether it was flushed meanwhile.
    let listed = said.lines().filter(|line| line.contains("  1h    ") && line.ends_with("yes"));
    assert_eq!(listed.count(), 3, "{said}");
    let lane = |name: &str| {
        let lines = || said.lines().filter(|line| line.contains('|'));
        let found = lines().find(|line| line.starts_with(name));
        found.unwrap_or_else(|| panic!("no lane {name}:\n{said}")).split('|').nth(1).unwrap()
    };
    let share = |name: &str| {
        let drawn = lane(name).chars().filter(|mark| *mark != '\u{b7}').count();
        drawn * 6 / lane(name).chars().count()
    };
    let shares = ["window", "1h tiles", "sealed", "incomplete", "unsealed"].map(share);
    assert_eq!(shares, [4, 3, 3, 1, 2], "sixths of the drawing:\n{said}");
    let known = explain(&["--known"]);
    assert!(known.contains("complete to  1970-01-01 06:00"), "no seal was known then:\n{known}");
}
