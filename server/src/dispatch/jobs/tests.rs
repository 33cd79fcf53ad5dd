//! Jobs in conversations over a store on a simulated disk.

use crate::testing::Rig;

const VIEW: &str = "VIEW.CREATE v TILE 1m COLUMNS 1 x:i64 FEATURES 2 n=count() s=sum(x)\r\n";
const READ: &str = "WINDOW.GET v e n@lifetime s@lifetime\r\n";

/// A conversation with a view, and a job that was begun with these words behind the view.
fn begun(rest: &str) -> (Rig, String) {
    let mut rig = Rig::new();
    rig.talk(VIEW);
    let job = begin(&mut rig, rest);
    (rig, job)
}

fn begin(rig: &mut Rig, rest: &str) -> String {
    let reply = rig.talk(&format!("JOB.BEGIN v {rest}\r\n"));
    reply.lines().nth(1).unwrap_or_else(|| panic!("{reply}")).to_owned()
}

fn put(job: &str, sequence: u64, value: i64) -> String {
    format!("JOB.PUT {job} SEQ {sequence} COLUMNS 1 x ROWS 1 e 1000 {value}\r\n")
}

#[test]
fn a_job_is_seen_when_it_is_committed() {
    let (mut rig, job) = begun("0 60000");
    let input = [
        put(&job, 1, 5),
        put(&job, 2, 6),
        put(&job, 1, 5),
        READ.to_owned(),
        format!("JOB.COMMIT {job} ROWS 2\r\n"),
        READ.to_owned(),
        format!("JOB.COMMIT {job}\r\n"),
        put(&job, 3, 7),
        "SEAL.LIST v\r\n".to_owned(),
    ];
    let replies = rig.talk(&input.concat());
    let expected = ":1\r\n:1\r\n:0\r\n*2\r\n:0\r\n$-1\r\n+OK\r\n*2\r\n:2\r\n:11\r\n+OK\r\n:0\r\n";
    let seals = replies.strip_prefix(expected).unwrap_or_else(|| panic!("{replies}"));
    assert!(seals.starts_with("*1\r\n*3\r\n:0\r\n:60000\r\n:"), "{seals}");
}

#[test]
fn replies_of_different_jobs_keep_their_order() {
    let (mut rig, first) = begun("0 60000");
    let second = begin(&mut rig, "60000 120000");
    let input: String = (1..=20)
        .map(|number| {
            let outside = "JOB.PUT {second} COLUMNS 0 ROWS 1 e 0\r\n".replace("{second}", &second);
            put(&first, number, 1) + &outside + "JOB.PUT nojob COLUMNS 0 ROWS 0\r\n"
        })
        .collect();
    let replies = rig.talk(&(input + "PING\r\n"));
    let lines: Vec<&str> = replies.lines().collect();
    for three in lines[..60].chunks(3) {
        assert_eq!(three[0], ":1");
        assert!(three[1].starts_with("-BADVALUE "), "{three:?}");
        assert!(three[2].starts_with("-NOJOB "), "{three:?}");
    }
    assert_eq!(lines[60..], ["+PONG"]);
}

#[test]
fn work_on_a_job_waits_for_writes_and_writes_for_it() {
    let (mut rig, job) = begun("0 60000");
    let add = "TILE.ADD v e 2000 x 100\r\n";
    let commit = format!("JOB.COMMIT {job}\r\n");
    let input = [add, &put(&job, 1, 5), &commit, add, READ].concat();
    assert_eq!(rig.talk(&input), ":1\r\n:1\r\n+OK\r\n:1\r\n*2\r\n:2\r\n:105\r\n");
}

#[test]
fn refused_commits_leave_the_job_open() {
    let (mut rig, job) = begun("0 60000");
    let commit = format!("JOB.COMMIT {job}\r\n");
    let replies =
        rig.talk(&[&commit, &put(&job, 1, 5), &commit[..commit.len() - 2], " ROWS 2\r\n"].concat());
    let lines: Vec<&str> = replies.lines().collect();
    assert!(lines[0].starts_with("-EMPTYJOB "), "{replies}");
    assert!(lines[2].starts_with("-ROWCOUNT "), "{replies}");
    assert_eq!(rig.talk("SEAL.LIST v\r\n"), "*0\r\n");
    assert_eq!(rig.talk(&format!("JOB.ABORT {job}\r\n")), "+OK\r\n");
    let gone = rig.talk(&[commit, format!("JOB.INFO {job}\r\n"), "JOB.LIST\r\n".into()].concat());
    let lines: Vec<&str> = gone.lines().collect();
    assert!(lines[0].starts_with("-NOJOB ") && lines[1].starts_with("-NOJOB "), "{gone}");
    assert_eq!(lines[2], "*0");
}

#[test]
fn a_full_queue_is_said() {
    let (mut rig, job) = begun("0 60000");
    let queue = &rig.shared.job_queue;
    let taken = queue.bytes_max() - queue.bytes();
    assert!(queue.reserve(taken));
    let busy = rig.talk(&put(&job, 1, 5));
    assert!(busy.starts_with("-BUSY "), "{busy}");
    let elsewhere = "j0000000000000000".parse().unwrap();
    rig.shared.job_queue.finish(elsewhere, taken, std::time::Duration::from_millis(1));
    assert_eq!(rig.talk(&put(&job, 1, 5)), ":1\r\n");
    assert_eq!((rig.shared.job_queue.bytes(), rig.exchange.in_flight_bytes), (0, 0));
}

#[test]
fn a_transaction_may_hold_a_job() {
    let (mut rig, job) = begun("0 60000");
    let commit = format!("JOB.COMMIT {job}\r\n");
    let input = ["MULTI\r\n", &put(&job, 1, 5), &put(&job, 2, 6), &commit, READ, "EXEC\r\n"];
    let replies = rig.talk(&input.concat());
    let expected = "*4\r\n:1\r\n:1\r\n+OK\r\n*2\r\n:2\r\n:11\r\n";
    assert!(replies.ends_with(expected), "{replies}");
}
