//! Backups of a server at work, with kills of both, and what a restored server answers.
//!
//! The writers of the kills write sequences 1, 2, ..; beside them, jobs 1, 2, .. each add one row
//! with the job's number to the entity `jobs` and seal an hour of their own. So a state is whole
//! where every count n goes with the sum n (n + 1) / 2, and new enough where no count is below
//! what was acknowledged when its backup began.

use super::kill_writers::{VIEW, VIEW_COMMAND, merge, send, write_until};
use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::park_timeout;
use std::time::Duration;
use tilekv_tests::cli_process::{self, run, said};
use tilekv_tests::patience::{pause, wait_until};
use tilekv_tests::resp::{RespClient, RespReply, command};
use tilekv_tests::seed;
use tilekv_tests::server_process::{ServerCommand, ServerProcess, kill};

/// The environment variable that says how many rounds of backup and kill there are.
const ROUNDS_VARIABLE: &str = "TILEKV_BACKUP_ROUNDS";
const ROUNDS: u32 = 10;
const PRODUCERS: [&str; 2] = ["events", "merges"];
const HOUR_MS: u64 = 3_600_000;
const FIRST_HOUR: u64 = 440_000;
/// Sequences and jobs that must be acknowledged between two backups.
const PROGRESS: u64 = 40;

/// What was acknowledged: to each producer, and jobs.
#[derive(Debug, Default)]
struct Book {
    acknowledged: [AtomicU64; 3],
    is_over: AtomicBool,
}

impl Book {
    fn lasts(&self) -> [u64; 3] {
        self.acknowledged.each_ref().map(|count| count.load(Ordering::Acquire))
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

/// Sets the flag also when a thread fails, so that the others end and the failure shows.
struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn backups_of_a_server_at_work_are_whole_whoever_is_killed() {
    let mut generator = seed::generator(seed::draw("backups"));
    let folder = tempfile::tempdir().unwrap();
    let flags = "--bind 127.0.1.3 --memory-max 32MiB";
    let command = ServerCommand::new(&folder.path().join("served")).flags(flags);
    std::fs::create_dir(folder.path().join("served")).unwrap();
    let mut server = command.start();
    let address = server.address();
    let command = command.flags(&format!("--port {}", address.port()));
    assert_eq!(RespClient::connect(address).call(VIEW_COMMAND).to_string(), "+OK");
    let book = Book::default();
    let mut backups = Vec::new();
    std::thread::scope(|scope| {
        let end = EndOnDrop(&book.is_over);
        let Book { acknowledged: [events, merges, jobs], is_over } = &book;
        scope.spawn(move || {
            let _end = EndOnDrop(is_over);
            write_until(is_over, address, PRODUCERS[0], events, send);
        });
        scope.spawn(move || {
            let _end = EndOnDrop(is_over);
            write_until(is_over, address, PRODUCERS[1], merges, merge);
        });
        scope.spawn(|| {
            let _end = EndOnDrop(&book.is_over);
            run_jobs(address, &book.is_over, jobs);
        });
        for round in 0..rounds() {
            let before = book.lasts();
            let is_enough = || (0..3).all(|at| before[at] + PROGRESS <= book.lasts()[at]);
            wait_until("writes and jobs go on", || is_enough() || book.is_over());
            let to = folder.path().join(format!("backup-{round}"));
            let data = command.data_folder();
            let least = book.lasts();
            let previous = backups.last().map(|(path, _): &(std::path::PathBuf, _)| path.as_path());
            disturb(round, &mut generator, (&data, &to, previous), &command, &mut server);
            backups.push((to, least));
        }
        drop(end);
    });
    server.kill();
    for (path, least) in &backups {
        let (status, text) = run(["verify".as_ref(), path.as_os_str()]);
        assert_eq!(status, 0, "{text}");
        check_restored(folder.path(), path, *least);
    }
}

/// Takes a backup while it is killed, or the server is, or neither; it must be there in the end.
fn disturb(
    round: u32,
    generator: &mut Xoshiro256PlusPlus,
    (data, to, previous): (&Path, &Path, Option<&Path>),
    command: &ServerCommand,
    server: &mut ServerProcess,
) {
    let mut taking = start_backup(data, to, previous.filter(|_| round % 2 == 1));
    let delay = Duration::from_micros(generator.random_range(0..40_000));
    match round % 3 {
        0 => {
            park_timeout(delay);
            kill(&mut taking);
            if to.exists() {
                return;
            }
            let partial = to.with_extension("partial");
            let (status, text) = run(["verify".as_ref(), partial.as_os_str()]);
            let is_whole = partial.join("backup").exists();
            assert_eq!(status == 0, is_whole, "what was broken off is no backup: {text}");
            taking = start_backup(data, to, previous);
        }
        1 => {
            park_timeout(delay);
            server.kill();
            *server = command.start();
        }
        _ => {}
    }
    let (status, text) = said(taking.wait_with_output().unwrap());
    assert_eq!(status, 0, "{text}");
    let (status, text) = said(start_backup(data, to, None).wait_with_output().unwrap());
    assert_eq!((status, text.contains("exists")), (2, true), "{text}");
}

fn start_backup(data: &Path, to: &Path, previous: Option<&Path>) -> Child {
    let mut command = cli_process::command(["backup".as_ref(), data.as_os_str(), to.as_os_str()]);
    if let Some(previous) = previous {
        command.arg("--previous").arg(previous);
    }
    command.spawn().unwrap()
}

/// Restores a backup, starts a server on it, and asks for everything.
fn check_restored(folder: &Path, backup: &Path, least: [u64; 3]) {
    let restored = tempfile::tempdir_in(folder).unwrap();
    let command = ServerCommand::new(restored.path());
    let data = command.data_folder();
    let words = ["restore".as_ref(), backup.as_os_str(), data.as_os_str()];
    let (status, text) = run(words);
    assert_eq!(status, 0, "{text}");
    assert_eq!(state_hash(&data), state_hash(backup), "{backup:?}");
    let (status, text) = run(words);
    assert_eq!((status, text.contains("not empty")), (2, true), "{text}");
    let mut server = command.start();
    let mut client = RespClient::connect(server.address());
    for (entity, least) in PRODUCERS.into_iter().chain(["jobs"]).zip(least) {
        let read = client.call(&format!("WINDOW.GET {VIEW} {entity} n@lifetime s@lifetime"));
        let [count, sum] = read.items() else { panic!("{read}") };
        let (count, sum) = (count.integer(), sum.integer());
        assert!(i64::try_from(least).unwrap() <= count, "{entity}: {count}, acknowledged {least}");
        assert_eq!(sum, count * (count + 1) / 2, "{entity}: each of {count} once");
        if entity == "jobs" {
            check_jobs(&mut client, count);
        } else {
            let last = client.call(&format!("PRODUCER.GET {VIEW} {entity}"));
            assert_eq!(last, RespReply::Integer(count), "{entity}");
        }
    }
    server.terminate();
    let (status, text) = run(["verify".as_ref(), data.as_os_str()]);
    assert_eq!(status, 0, "{text}");
}

/// Every published job has its seal and is known by its token.
fn check_jobs(client: &mut RespClient, count: i64) {
    let seals = client.call(&format!("SEAL.LIST {VIEW}"));
    let hours: i64 = seals
        .items()
        .iter()
        .map(|seal| (seal.items()[1].integer() - seal.items()[0].integer()) / 3_600_000)
        .sum();
    assert_eq!(hours, count, "{seals}");
    let listed = client.call("JOB.LIST");
    assert_eq!(i64::try_from(listed.items().len()).unwrap(), count);
    for number in [1, count] {
        let job = client.call(&begin_job(u64::try_from(number).unwrap()));
        let again = client.call(&format!("JOB.COMMIT {}", job.text()));
        assert_eq!(again.to_string(), "+OK", "job {number} is known as committed");
    }
}

fn begin_job(number: u64) -> String {
    let from = (FIRST_HOUR + number) * HOUR_MS;
    format!("JOB.BEGIN {VIEW} {from} {} MODE merge ID job-{number}", from + HOUR_MS)
}

/// Runs one job after the other, each again until its commit is acknowledged.
fn run_jobs(address: SocketAddr, is_over: &AtomicBool, committed: &AtomicU64) {
    for number in 1.. {
        while run_job(address, number).is_none() {
            if is_over.load(Ordering::Acquire) {
                return;
            }
            pause();
        }
        committed.store(number, Ordering::Release);
        if is_over.load(Ordering::Acquire) {
            return;
        }
    }
}

fn run_job(address: SocketAddr, number: u64) -> Option<()> {
    let mut client = RespClient::try_connect(address).ok()?;
    let mut ask = |line: String| -> Option<RespReply> {
        let words: Vec<&str> = line.split(' ').collect();
        client.try_send(&command(&words)).ok()?;
        client.try_receive().ok()
    };
    let job = ask(begin_job(number))?;
    let job = job.text();
    let timestamp = (FIRST_HOUR + number) * HOUR_MS;
    let rows = format!("COLUMNS 1 amount ROWS 1 jobs {timestamp} {number}");
    let put = ask(format!("JOB.PUT {job} SEQ 1 {rows}"))?;
    if put.code() == "NOJOB" {
        return None;
    }
    let done = ask(format!("JOB.COMMIT {job}"))?;
    if done.code() == "NOJOB" {
        return None;
    }
    assert_eq!(done.to_string(), "+OK", "job {number}: put {put}");
    Some(())
}

/// The line of `verify --hash` that tells the state.
fn state_hash(folder: &Path) -> String {
    let (status, text) = run(["verify".as_ref(), folder.as_os_str(), "--hash".as_ref()]);
    assert_eq!(status, 0, "{text}");
    let line = text.lines().find(|line| line.starts_with("state up to LSN"));
    line.unwrap_or_else(|| panic!("no hash in {text}")).to_owned()
}

/// A folder with a store in which something was written and flushed.
fn small_store(folder: &Path) -> std::path::PathBuf {
    let command = ServerCommand::new(folder);
    let mut server = command.start();
    let mut client = RespClient::connect(server.address());
    assert_eq!(client.call(VIEW_COMMAND).to_string(), "+OK");
    for number in 0..50 {
        let reply = client.call(&format!("TILE.ADD {VIEW} e{number} 1700000000000 amount 7"));
        assert_eq!(reply, RespReply::Integer(1));
    }
    server.terminate();
    command.data_folder()
}

#[test]
fn verify_names_the_file_of_a_flipped_byte_and_ends_with_a_status_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let data = small_store(folder.path());
    let backup = folder.path().join("backup");
    let (status, text) = run(["backup".as_ref(), data.as_os_str(), backup.as_os_str()]);
    assert_eq!(status, 0, "{text}");
    let (status, text) = run(["verify".as_ref(), data.as_os_str()]);
    assert!(status == 0 && text.starts_with("sound: "), "{text}");
    for (root, store) in [(data.clone(), data), (backup.clone(), backup.join("store"))] {
        let entries = std::fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().path());
        for path in entries.filter(|path| !path.ends_with("LOCK")) {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            // A second name of the file elsewhere keeps its bytes.
            let bytes = std::fs::read(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
            for at in used.iter().step_by(used.len() / 5 + 1) {
                let mut flipped = bytes.clone();
                flipped[*at] ^= 16;
                std::fs::write(&path, flipped).unwrap();
                let (status, text) = run(["verify".as_ref(), root.as_os_str()]);
                assert_eq!((status, text.contains(&name)), (6, true), "{name} {at}: {text}");
            }
            std::fs::write(&path, bytes).unwrap();
        }
        let (status, text) = run(["verify".as_ref(), root.as_os_str()]);
        assert_eq!(status, 0, "{text}");
    }
}

#[test]
fn a_backup_that_cannot_be_written_or_read_says_so_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = small_store(folder.path());
    let locked = folder.path().join("locked");
    std::fs::create_dir(&locked).unwrap();
    set_mode(folder.path(), 0o755);
    set_mode(&locked, 0o555);
    let to = locked.join("backup");
    let mut command = cli_process::command(["backup".as_ref(), data.as_os_str(), to.as_os_str()]);
    if rustix::process::geteuid().is_root() {
        // Permissions hold back everybody but root.
        command.uid(65_534).gid(65_534);
    }
    if let Ok(output) = command.output() {
        let (status, text) = said(output);
        assert_eq!((status, text.contains("locked")), (4, true), "{text}");
    }
    set_mode(&locked, 0o755);
    assert_eq!(std::fs::read_dir(&locked).unwrap().count(), 0);
    let none = folder.path().join("none");
    let (status, text) = run(["backup".as_ref(), none.as_os_str(), to.as_os_str()]);
    assert_eq!((status, text.contains("none")), (4, true), "{text}");
    let (status, text) = run(["backup".as_ref(), locked.as_os_str(), to.as_os_str()]);
    assert_eq!((status, text.contains("no store")), (4, true), "{text}");
    assert_eq!(std::fs::read_dir(&locked).unwrap().count(), 0, "nothing is left behind");
    let (status, text) = run(["restore".as_ref(), data.as_os_str(), to.as_os_str()]);
    assert_eq!((status, text.contains("no backup")), (4, true), "{text}");
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn rounds() -> u32 {
    let told = std::env::var(ROUNDS_VARIABLE).ok();
    told.map_or(ROUNDS, |text| text.parse().unwrap())
}
