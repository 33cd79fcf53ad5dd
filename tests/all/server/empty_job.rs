//! The job that found nothing (docs/stories/empty-job.md), and the alert rules that tell of it
//! (docs/alerts/tilekv.yml).

use std::collections::BTreeSet;
use tilekv_tests::repository;
use tilekv_tests::resp::RespClient;
use tilekv_tests::server_process::{ServerCommand, ServerProcess};

const DAY: i64 = 86_400_000;

struct Market {
    server: ServerProcess,
    client: RespClient,
    /// The start of the current day.
    today: i64,
    _folder: tempfile::TempDir,
}

impl Market {
    /// A sealed view and one without seals.
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = ServerCommand::new(folder.path()).start();
        let mut client = RespClient::connect(server.address());
        let time = client.call("TIME").to_string();
        let seconds: i64 = time.split('"').nth(1).unwrap().parse().unwrap();
        let today = (seconds * 1_000).div_euclid(DAY) * DAY;
        let mut market = Self { server, client, today, _folder: folder };
        market.ok("VIEW.CREATE likes TILE 1d SEAL required MAXLAG 12h KEYS 1 seller COLUMNS 0 \
             FEATURES 1 likes=count()");
        market.ok("VIEW.CREATE blobs TILE 1d KEYS 1 seller COLUMNS 0 FEATURES 1 likes=count()");
        market
    }

    fn say(&mut self, line: &str) -> String {
        self.client.call(line).to_string()
    }

    fn ok(&mut self, line: &str) {
        assert_eq!(self.say(line), "+OK", "{line}");
    }

    /// The job of the day that ended so many days before today, with so many likes.
    fn job(&mut self, days_ago: i64, likes: i64) -> String {
        let from = self.today - (days_ago + 1) * DAY;
        let begun = self.client.call(&format!("JOB.BEGIN likes {from} {}", from + DAY));
        let job = begun.text().to_owned();
        if 0 < likes {
            let rows: String = (0..likes).map(|like| format!(" s {}", from + like)).collect();
            let put = self.say(&format!("JOB.PUT {job} COLUMNS 0 ROWS {likes}{rows}"));
            assert_eq!(put, format!(":{likes}"));
            self.say(&format!("TILE.MADD blobs COLUMNS 0 ROWS {likes}{rows}"));
        }
        job
    }

    /// Value and status of seven days, as of the start of today.
    fn read(&mut self, view: &str) -> String {
        let today = self.today;
        let reply = self.say(&format!("WINDOW.GET {view} s likes@7d AT {today} STATUS"));
        let mut words = reply.trim_start_matches('[').split(' ');
        let value = words.next().unwrap().trim_start_matches(':').to_owned();
        format!("{value} {}", words.next().unwrap().trim_matches('"'))
    }

    /// The value of a sample on the page of metrics.
    fn metric(&self, sample: &str) -> Option<f64> {
        let page = self.server.http("/metrics").1;
        let line = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.map(|value| value.parse().unwrap())
    }
}

#[test]
fn an_empty_job_is_refused_and_the_window_stays_where_it_was_complete() {
    let mut market = Market::open();
    for days_ago in (1..=7).rev() {
        let job = market.job(days_ago, 1);
        market.ok(&format!("JOB.COMMIT {job}"));
    }
    // The window of a day ago: both views agree while nothing is missing.
    market.today -= DAY;
    assert_eq!(market.read("likes"), "7 ok");
    assert_eq!(market.read("blobs"), "7 ok");
    market.today += DAY;

    let job = market.job(0, 0);
    let refused = market.say(&format!("JOB.COMMIT {job}"));
    assert!(refused.starts_with("-EMPTYJOB "), "{refused}");
    assert_eq!(market.read("likes"), "7 stale", "the last seven days that are complete");
    assert_eq!(market.read("blobs"), "6 ok", "a day that was never written looks like a quiet one");
    assert_eq!(market.metric("tilekv_view_stale{view=\"likes\"}"), Some(1.0));
    assert_eq!(market.metric("tilekv_view_stale{view=\"blobs\"}"), None, "it says nothing of it");
    assert_eq!(market.metric("tilekv_job_events_total{event=\"refused\"}"), Some(1.0));
    let known = market.say("VIEW.INFO likes");
    assert!(known.contains("\"last_job_rows\" :1"), "{known}");

    let job = market.job(0, 3);
    market.ok(&format!("JOB.COMMIT {job} ROWS 3"));
    assert_eq!(market.read("likes"), "9 ok");
    assert_eq!(market.read("blobs"), "9 ok");
    assert_eq!(market.metric("tilekv_view_stale{view=\"likes\"}"), Some(0.0));
    assert_eq!(market.metric("tilekv_view_last_job_rows{view=\"likes\"}"), Some(3.0));
    assert!(market.say("VIEW.INFO likes").contains("\"last_job_rows\" :3"));
}

#[test]
fn a_day_without_events_is_sealed_by_somebody_who_says_so() {
    let mut market = Market::open();
    for days_ago in (1..=7).rev() {
        let job = market.job(days_ago, 1);
        market.ok(&format!("JOB.COMMIT {job}"));
    }
    let job = market.job(0, 0);
    assert!(market.say(&format!("JOB.COMMIT {job}")).starts_with("-EMPTYJOB "));
    market.ok(&format!("JOB.COMMIT {job} EMPTY"));
    assert_eq!(market.read("likes"), "6 ok");
}

#[test]
fn the_alert_rules_read_what_the_server_tells() {
    let path = repository::root().join("docs/alerts/tilekv.yml");
    let rules = std::fs::read_to_string(path).unwrap();
    let manual = repository::root().join("docs/operations.md");
    let manual = std::fs::read_to_string(manual).unwrap();
    let (mut alerts, mut names) = (BTreeSet::new(), BTreeSet::new());
    let mut pending: Option<String> = None;
    for line in rules.lines() {
        let text = line.trim_start_matches([' ', '-']);
        if let Some(alert) = text.strip_prefix("alert: ") {
            assert_eq!(pending, None, "an alert without an expression");
            assert!(alerts.insert(alert.to_owned()), "{alert} stands twice");
            pending = Some(alert.to_owned());
        }
        if let Some(expression) = text.strip_prefix("expr: ") {
            assert!(pending.take().is_some(), "an expression without an alert: {line}");
            let is_name = |character: char| character.is_ascii_lowercase() || character == '_';
            let words = expression.split(|character| !is_name(character));
            let used: Vec<&str> = words.filter(|word| word.starts_with("tilekv_")).collect();
            assert!(!used.is_empty(), "{line}");
            names.extend(used.into_iter().map(str::to_owned));
            let opened = expression.matches('(').count();
            assert_eq!(opened, expression.matches(')').count(), "{line}");
        }
        assert!(line.len().saturating_sub(line.trim_start().len()) % 2 == 0, "{line}");
    }
    assert!(6 <= alerts.len() && 6 <= names.len(), "{alerts:?} {names:?}");
    for name in &names {
        assert!(manual.contains(&format!("`{name}`")), "{name} is no metric of the manual");
    }
    for expected in ["tilekv_view_stale == 1", "tilekv_job_events_total{event=\"refused\"}"] {
        assert!(rules.contains(expected), "{expected}");
    }
}
