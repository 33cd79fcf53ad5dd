//! The examples of docs/windows.md, as they stand there: each line behind `>` is sent, and the
//! lines below are what comes back, as redis-cli shows it.

use tilekv_tests::repository;
use tilekv_tests::resp::RespClient;
use tilekv_tests::server_process::ServerCommand;

#[test]
fn every_example_answers_as_the_page_says() {
    let page = std::fs::read_to_string(repository::root().join("docs/windows.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = ServerCommand::new(folder.path()).start();
    let mut client = RespClient::connect(server.address());
    let mut asked = 0;
    for (command, expected) in examples(&page) {
        let found = client.call(command).to_string();
        assert_eq!(found, expected, "{command}");
        asked += 1;
    }
    assert_eq!(asked, 18, "every example is found");
}

/// Every command of the page with the reply that it shows.
fn examples(page: &str) -> Vec<(&str, String)> {
    let mut examples: Vec<(&str, Vec<&str>)> = Vec::new();
    for block in page.split("```tilekv\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            match line.strip_prefix("> ") {
                Some(command) => examples.push((command, Vec::new())),
                None => examples.last_mut().unwrap().1.push(line),
            }
        }
    }
    examples.into_iter().map(|(command, lines)| (command, reply(&lines))).collect()
}

/// Lines such as `1) (integer) 2` in the words of [`RespClient`].
fn reply(lines: &[&str]) -> String {
    let one = |line: &str| match line.strip_prefix("(integer) ") {
        Some(digits) => format!(":{digits}"),
        None => format!("+{line}"),
    };
    match lines {
        [line] if !line.contains(") (") => one(line),
        lines => {
            let items: Vec<String> =
                lines.iter().map(|line| one(line.split_once(") ").unwrap().1)).collect();
            format!("[{}]", items.join(" "))
        }
    }
}
