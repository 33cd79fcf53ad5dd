//! Views and services as a file declares them: what `tilekv plan` shows, what `tilekv apply` does,
//! and the statuses by which scripts know.

use std::path::PathBuf;
use tempfile::TempDir;
use tilekv_tests::cli_process::run;
use tilekv_tests::resp::RespClient;
use tilekv_tests::server_process::{ServerCommand, ServerProcess};

const DECLARED: &str = r#"
[[view]]
name = "shop.likes"
tile = "1h"
retention = "90d"
keys = ["item"]
columns = ["amount:f64"]
features = ["likes=count()", "spent=sum(amount)"]

[[view]]
name = "users"
tile = "1d"
keys = ["user"]
features = ["visits=count()"]

[[service]]
name = "ranking"
selectors = ["shop.likes.likes@7d", "users.visits@30d"]
"#;

struct Store {
    folder: TempDir,
    server: ServerProcess,
    client: RespClient,
}

impl Store {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = ServerCommand::new(folder.path()).start();
        let client = RespClient::connect(server.address());
        Self { folder, server, client }
    }

    fn file(&self, text: &str) -> PathBuf {
        let path = self.folder.path().join("views.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Runs `tilekv WORDS.. views.toml --server ..` on a file of this text.
    fn run(&self, words: &[&str], text: &str) -> (i32, String) {
        let path = self.file(text);
        let address = self.server.address().to_string();
        let mut arguments: Vec<&str> = words.to_vec();
        arguments.extend([path.to_str().unwrap(), "--server", &address]);
        run(arguments)
    }

    fn say(&mut self, line: &str) -> String {
        self.client.call(line).to_string()
    }
}

#[test]
fn what_is_applied_is_what_was_shown_and_then_there_is_nothing_to_change() {
    let mut store = Store::start();
    let (status, shown) = store.run(&["plan"], DECLARED);
    assert_eq!(status, 0, "{shown}");
    assert!(shown.contains("+ view shop.likes\n    + tile 1h\n    + retention 90d"), "{shown}");
    assert!(shown.contains("3 to create, 0 to change, 0 to drop."), "{shown}");
    let (status, pending) = store.run(&["plan", "--detailed-exitcode"], DECLARED);
    assert_eq!((status, pending.starts_with(&shown)), (7, true), "{pending}");
    assert_eq!(store.say("VIEW.LIST"), "[]", "a plan changes nothing");

    let (status, asked) = store.run(&["apply"], DECLARED);
    assert_eq!(status, 2, "nobody can answer: {asked}");
    assert_eq!(store.say("VIEW.LIST"), "[]");
    let (status, applied) = store.run(&["apply", "--yes"], DECLARED);
    assert_eq!((status, applied.starts_with(&shown)), (0, true), "{applied}");
    assert_eq!(store.say("VIEW.LIST"), "[\"shop.likes\" \"users\"]");
    assert_eq!(
        store.say("SERVICE.GET ranking KEYS 2 user item ROWS 1 u i"),
        "[[:0 :0]]",
        "the service stands"
    );
    for words in [&["plan", "--detailed-exitcode"][..], &["apply"], &["plan", "--delete"]] {
        let (status, said) = store.run(words, DECLARED);
        assert_eq!((status, said.as_str()), (0, "Nothing to change.\n"), "{words:?}");
    }
}

#[test]
fn a_view_grows_and_keeps_what_it_holds() {
    let mut store = Store::start();
    assert_eq!(store.run(&["apply", "--yes"], DECLARED).0, 0);
    assert_eq!(store.say("TILE.ADD shop.likes i 3600000000000 amount 2"), ":1");
    let grown = DECLARED
        .replace("\"spent=sum(amount)\"", "\"spent=sum(amount)\", \"most=max(amount)\"")
        .replace("retention = \"90d\"\n", "")
        .replace("\"users.visits@30d\"", "\"shop.likes.spent@lifetime\"");
    let (status, shown) = store.run(&["apply", "--yes"], &grown);
    assert_eq!(status, 0, "{shown}");
    for line in [
        "~ view shop.likes",
        "    ~ retention 90d -> none",
        "    + feature most=max(amount)",
        "~ service ranking",
        "    - users.visits@30d",
        "    + shop.likes.spent@lifetime",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let read = "SERVICE.GET ranking KEYS 1 item ROWS 1 i AT 3700000000000";
    assert_eq!(store.say(read), "[[:0 \"2\"]]");
    assert_eq!(store.run(&["plan", "--detailed-exitcode"], &grown).0, 0);
}

#[test]
fn what_would_change_the_meaning_of_tiles_stops_all_of_it() {
    let mut store = Store::start();
    assert_eq!(store.run(&["apply", "--yes"], DECLARED).0, 0);
    let other = DECLARED
        .replace("tile = \"1d\"", "tile = \"1h\"")
        .replace("\"likes=count()\"", "\"likes=count()\", \"most=max(amount)\"");
    for words in [&["plan"][..], &["plan", "--detailed-exitcode"], &["apply", "--yes"]] {
        let (status, said) = store.run(words, &other);
        assert_eq!(status, 1, "{words:?}: {said}");
        let reason = "! view users: tile 1d -> 1h: stored tiles hold 1d each";
        assert!(said.contains(reason) && said.contains("nothing was applied"), "{said}");
    }
    assert!(!store.say("VIEW.INFO shop.likes").contains("most"), "nor is the rest applied");
    let (status, said) = store.run(&["apply", "--yes"], "[[views]]\nname = \"x\"\n");
    assert_eq!(status, 4, "{said}");
}

#[test]
fn nothing_is_dropped_unless_that_is_said() {
    let mut store = Store::start();
    assert_eq!(store.run(&["apply", "--yes"], DECLARED).0, 0);
    let users = DECLARED.split("[[view]]").nth(2).unwrap().split("[[service]]").next().unwrap();
    let only_users = format!("[[view]]{users}");
    let (status, said) = store.run(&["apply", "--yes"], &only_users);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("view shop.likes is not in the file and stays"), "{said}");
    assert_eq!(store.say("VIEW.LIST"), "[\"shop.likes\" \"users\"]");
    let (status, said) = store.run(&["apply", "--yes", "--delete"], &only_users);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("- service ranking\n- view shop.likes\n"), "{said}");
    assert_eq!(store.say("VIEW.LIST"), "[\"users\"]");
    assert_eq!(store.say("SERVICE.LIST"), "[]");
}
