//! Every command of docs/protocol.md, said over RESP2 and RESP3, with the reply that must come and
//! the types that it must have: tests/conversations/commands.txt, read and held.

use std::collections::BTreeSet;
use tilekv_tests::repository;
use tilekv_tests::resp::RespClient;
use tilekv_tests::server_process::ServerCommand;

/// A command, its reply in RESP2, and its reply in RESP3.
#[derive(Debug, PartialEq)]
struct Step {
    command: String,
    replies: [String; 2],
}

#[test]
fn every_command_replies_as_documented_in_resp2_and_resp3() {
    let folder = tempfile::tempdir().unwrap();
    let steps = steps(&text("tests/conversations/commands.txt"));
    for (index, hello) in ["HELLO 2", "HELLO 3"].into_iter().enumerate() {
        let folder = folder.path().join(index.to_string());
        std::fs::create_dir(&folder).unwrap();
        let server = ServerCommand::new(&folder).start();
        let mut client = RespClient::connect(server.address());
        client.call(hello);
        let mut job = String::new();
        for Step { command, replies } in &steps {
            let (command, expected) = (named(command, &job), named(&replies[index], &job));
            let reply = client.call(&command);
            if command.starts_with("JOB.BEGIN") && reply.code().is_empty() {
                reply.text().clone_into(&mut job);
            }
            let (replied, expected) = (reply.to_string(), &expected);
            let shown = format!("{hello}: {command}\nreplied  {replied}\nexpected {expected}");
            assert!(is_like(&replied, expected), "{shown}");
        }
        assert!(client.is_closed(), "after QUIT");
    }
}

#[test]
fn no_documented_command_is_left_out() {
    let said: BTreeSet<_> = steps(&text("tests/conversations/commands.txt"))
        .iter()
        .map(|step| step.command.split(' ').next().unwrap_or_default().to_ascii_uppercase())
        .collect();
    let document = text("docs/protocol.md");
    let commands = document.split("\n## Commands").nth(1).unwrap().split("\n## ").next().unwrap();
    let documented: Vec<_> =
        commands.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert!(30 < documented.len(), "{documented:?}");
    let missing: Vec<_> = documented.into_iter().filter(|name| !said.contains(*name)).collect();
    // SHUTDOWN ends the server: the module on operations says it.
    assert_eq!(missing, ["SHUTDOWN"]);
}

#[test]
fn conversations_are_read_as_they_are_written() {
    let read = steps("# x\n> A b\n    c\n= +OK\n\n> D\n2 $-1\n3 [_\n    _]\n");
    let step = |command: &str, resp2: &str, resp3: &str| Step {
        command: command.to_owned(),
        replies: [resp2.to_owned(), resp3.to_owned()],
    };
    assert_eq!(read, [step("A b c", "+OK", "+OK"), step("D", "$-1", "[_ _]")]);
}

#[test]
fn patterns_match_what_they_show() {
    assert!(is_like("[:1 :2 :3]", "[:1 * :3]") && is_like("abc", "abc") && is_like("abc", "*"));
    assert!(is_like("{a=:1 b=:2}", "{*b=:2*") && is_like("abab", "*ab"));
    assert!(!is_like("[:1 :2 :4]", "[:1 * :3]") && !is_like("abc", "ab") && !is_like("a", "*a*a"));
}

/// A text in which `{job}` stands for the id of the newest job, which no file can know.
fn named(text: &str, job: &str) -> String {
    text.replace("{job}", job)
}

/// Reads a conversation; its form is told at its beginning.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let text = text.replace("\n    ", " ");
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        if kind == ">" {
            steps.push(Step { command: rest.to_owned(), replies: Default::default() });
            continue;
        }
        let step = steps.last_mut().unwrap_or_else(|| panic!("a reply to nothing: {line}"));
        let versions = match kind {
            "=" => 0..2,
            "2" => 0..1,
            "3" => 1..2,
            _ => panic!("no line of a conversation: {line}"),
        };
        step.replies[versions].fill(rest.to_owned());
    }
    let is_whole = |step: &Step| step.replies.iter().all(|reply| !reply.is_empty());
    assert!(steps.iter().all(is_whole), "every command has its replies");
    steps
}

fn text(path: &str) -> String {
    let path = repository::root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {path:?}: {error}"))
}

/// Whether a text is the pattern, in which `*` stands for any text.
fn is_like(text: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => text == pattern,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            let mut ends = text.char_indices().map(|(index, _)| index).chain([text.len()]);
            ends.any(|from| is_like(&text[from..], rest))
        }),
    }
}
