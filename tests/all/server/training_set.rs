//! Training sets: what `tilekv training-set` adds to each row is what the store answers at that
//! row's time.

use std::path::PathBuf;
use tempfile::TempDir;
use tilekv_tests::cli_process::run;
use tilekv_tests::resp::RespClient;
use tilekv_tests::server_process::{ServerCommand, ServerProcess};

const DAY: i64 = 86_400_000;
/// 2023-11-14: a day starts here.
const START: i64 = 19_675 * DAY;
const ROWS: i64 = 500;

struct Store {
    folder: TempDir,
    server: ServerProcess,
    client: RespClient,
}

impl Store {
    /// Two views joined by other keys, one of them sealed late, and a service of both.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = ServerCommand::new(folder.path()).start();
        let client = RespClient::connect(server.address());
        let mut store = Self { folder, server, client };
        for line in [
            "VIEW.CREATE users TILE 1h KEYS 1 user COLUMNS 1 x:f64 FEATURES 2 n=count() s=sum(x)",
            "VIEW.CREATE pairs TILE 1d SEAL required KEYS 2 user item COLUMNS 1 t:str \
             FEATURES 2 n=count() last=last_n(t,2)",
            "SERVICE.CREATE both SELECTORS 4 users.s@3d pairs.last@30d users.n@1h:2h pairs.n@7d",
        ] {
            assert_eq!(store.say(line), "+OK", "{line}");
        }
        for number in 0..400 {
            let (user, item, time) = (number % 7, number % 3, START + number * DAY / 40);
            store.say(&format!("TILE.ADD users u{user} {time} x {}.25", number % 11));
            let added =
                store.say(&format!("TILE.ADD pairs u{user}\u{1f}i{item} {time} t t{number}"));
            assert_eq!(added, ":1");
        }
        assert_eq!(store.say(&format!("SEAL.ADD pairs {START} {}", START + 6 * DAY)), "+OK");
        store
    }

    fn say(&mut self, line: &str) -> String {
        self.client.call(line).to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `tilekv training-set WORDS..`.
    fn run(&self, words: &[&str]) -> (i32, String) {
        let address = self.server.address().to_string();
        let mut arguments = vec!["training-set"];
        arguments.extend(words);
        arguments.extend(["--server", &address]);
        run(arguments)
    }
}

/// User, item, time and label of each row.
fn rows() -> Vec<(String, String, i64, i64)> {
    (0..ROWS)
        .map(|row| {
            let time = START + (row * 7_919 % 1_000) * DAY / 100;
            (format!("u{}", row % 9), format!("i{}", row % 4), time, row % 2)
        })
        .collect()
}

fn csv() -> String {
    let lines = rows()
        .into_iter()
        .map(|(user, item, time, label)| format!("{label},{user},{time},\"a, {item}\",{item}\n"));
    "label,user_id,at,note,item\n".to_owned() + &lines.collect::<String>()
}

#[test]
fn every_row_holds_what_the_store_answers_at_its_time() {
    let mut store = Store::start();
    let (input, out) = (store.path("clicks.csv"), store.path("train.csv"));
    std::fs::write(&input, csv()).unwrap();
    let (input, out) = (input.to_str().unwrap(), out.to_str().unwrap());
    let words = [
        input,
        out,
        "--service",
        "both",
        "--time",
        "at",
        "--map",
        "user=user_id",
        "--status",
        "--batch",
        "64",
    ];
    let (status, said) = store.run(&words);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("wrote 500 rows"), "{said}");
    let text = std::fs::read_to_string(out).unwrap();
    let mut lines = text.lines();
    assert_eq!(
        lines.next().unwrap(),
        "label,user_id,at,note,item,users.s@3d,users.s@3d.status,pairs.last@30d,\
         pairs.last@30d.status,users.n@1h:2h,users.n@1h:2h.status,pairs.n@7d,pairs.n@7d.status"
    );
    let mut distinct = std::collections::BTreeSet::new();
    for ((user, item, time, label), line) in rows().into_iter().zip(lines.by_ref()) {
        let kept = format!("{label},{user},{time},\"a, {item}\",{item},");
        let answers = line.strip_prefix(&kept).unwrap_or_else(|| panic!("{line}"));
        let read =
            format!("SERVICE.GET both KEYS 2 item user ROWS 1 {item} {user} AT {time} STATUS");
        let expected = as_cells(&store.say(&read));
        assert_eq!(answers.replace('"', ""), expected, "{user} {item} {time}");
        distinct.insert(expected);
    }
    assert_eq!(lines.next(), None);
    assert!(30 < distinct.len(), "the answers differ: {}", distinct.len());
}

/// The reply of a row with statuses as the cells of a line, without quotes.
fn as_cells(reply: &str) -> String {
    let inner = reply.strip_prefix("[[").and_then(|rest| rest.strip_suffix("]]")).unwrap();
    let answers = inner.split("] [").map(|answer| {
        let answer = answer.trim_start_matches('[').trim_end_matches(']');
        let words = ["expired", "incomplete", "stale", "unseen", "empty", "ok"];
        let places = words.iter().filter_map(|status| answer.find(&format!("\"{status}\"")));
        let (value, rest) = answer.split_at(places.min().unwrap_or_else(|| panic!("{reply}")));
        let status = rest.split('"').nth(1).unwrap();
        let value = value.trim().replace(['"', ':'], "").replace("$-1", "");
        let value = if value.contains('t') || value.ends_with(']') {
            format!("[{}]", value.trim_end_matches(']').replace(' ', ","))
        } else {
            value
        };
        format!("{value},{status}")
    });
    answers.collect::<Vec<_>>().join(",")
}

#[test]
fn parquet_keeps_its_columns_and_answers_the_same_as_csv() {
    let store = Store::start();
    let paths = ["clicks.csv", "one.parquet", "two.csv", "direct.csv"].map(|name| store.path(name));
    std::fs::write(&paths[0], csv()).unwrap();
    let [input, parquet, again, direct] =
        [0, 1, 2, 3].map(|index: usize| paths[index].to_str().unwrap());
    let service = ["--service", "both", "--time", "at", "--map", "user=user_id"];
    let view = ["--view", "users", "--select", "s@1d,n@2d", "--time", "at", "--map"];
    let ask = |input: &str, out: &str, rest: &[&str]| {
        let (status, said) = store.run(&[&[input, out], rest].concat());
        assert_eq!(status, 0, "{said}");
    };
    ask(input, parquet, &service);
    ask(parquet, again, &[&view[..], &["user=user_id"]].concat());
    let first = store.path("first.csv");
    ask(input, first.to_str().unwrap(), &service);
    ask(first.to_str().unwrap(), direct, &[&view[..], &["user=user_id"]].concat());
    let text = |path: &str| std::fs::read_to_string(path).unwrap();
    assert_eq!(text(again), text(direct), "by way of Parquet and of CSV");
    assert_eq!(text(again).lines().count(), 501);
}

#[test]
fn mistakes_are_named_with_row_and_column_and_leave_no_file() {
    let store = Store::start();
    let (input, out) = (store.path("in.csv"), store.path("out.csv"));
    let ask = |text: &str, words: &[&str]| {
        std::fs::write(&input, text).unwrap();
        let all = [&[input.to_str().unwrap(), out.to_str().unwrap()], words].concat();
        let answer = store.run(&all);
        assert!(!out.exists(), "{answer:?}");
        assert!(!store.path("out.csv.partial").exists(), "{answer:?}");
        answer
    };
    let both = ["--service", "both", "--time", "at"];
    let users = ["--view", "users", "--select", "n@1d", "--time", "at"];
    for (text, words, status, expected) in [
        (
            "user,item,at\nu,i,5\nu,i,noon\n",
            &both[..],
            4,
            "row 2, column \"at\": timestamp \"noon\"",
        ),
        ("user,item,at\nu,i,\n", &both, 4, "row 1, column \"at\": no time"),
        ("user,at\nu,5\n", &both, 2, "no column \"item\": the file has user, at"),
        ("user,at\nu,5\n,6\n", &users, 1, "row 2, key \"user\": no value"),
        ("user,at\nu,5,6\n", &users, 4, "line: 2"),
        ("user,at,n@1d\nu,5,1\n", &users, 2, "two columns \"n@1d\""),
        ("user,at\nu,5\n", &["--service", "nope", "--time", "at"], 1, "there is no service `nope`"),
        ("user,at\nu,5\n", &["--view", "users", "--select", "x@1d", "--time", "at"], 1, "`x`"),
    ] {
        let (found, said) = ask(text, words);
        assert_eq!(found, status, "{said}");
        assert!(said.contains(expected), "{expected}: {said}");
    }
    std::fs::write(&out, "mine").unwrap();
    let words = [input.to_str().unwrap(), out.to_str().unwrap()];
    let (status, said) = store.run(&[&words[..], &users].concat());
    assert_eq!(status, 4, "{said}");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "mine", "an existing file stays");
}

#[test]
fn known_counts_the_seals_of_that_time_only() {
    let store = Store::start();
    let (input, out) = (store.path("in.csv"), store.path("out.csv"));
    std::fs::write(&input, format!("user,item,at\nu1,i1,{}\n", START + 6 * DAY)).unwrap();
    let words =
        [input.to_str().unwrap(), out.to_str().unwrap(), "--service", "both", "--time", "at"];
    let ask = |more: &[&str]| {
        let (status, said) = store.run(&[&words[..], more].concat());
        assert_eq!(status, 0, "{said}");
        let text = std::fs::read_to_string(&out).unwrap();
        std::fs::remove_file(&out).unwrap();
        text.lines().nth(1).unwrap().rsplit(',').next().unwrap().to_owned()
    };
    assert_eq!(ask(&["--status"]), "incomplete", "sealed now, from the sixth day back");
    let counted = ask(&[]);
    assert_ne!(counted, "0");
    assert_eq!(ask(&["--known", "--status"]), "incomplete", "the seal was made later");
}
