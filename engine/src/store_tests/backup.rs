//! Stories of backups.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tilekv_tile::{After, Status, Value};
use tilekv_wal::{Disk, DiskError, DiskFile, SimDisk, SimFaults, SimOperation};

use super::jobs::rows;
use super::{DAY, NOW, Store, events, name, ok, stamp};
use crate::{
    Backup, BackupOptions, Engine, EngineError, JobCommit, JobMode, JobRequest, JobState,
    PreviousBackup, Sealing, back_up, check_backup, restore,
};

const COMMIT: JobCommit = JobCommit { rows: None, allows_empty: false, seals: true };

pub(super) fn sound_disk() -> SimDisk {
    SimDisk::new(2, SimFaults::default())
}

/// Links between simulated disks do not exist.
fn no_link(_: &str) -> Result<bool, DiskError> {
    Ok(false)
}

const COPYING: BackupOptions<'_> =
    BackupOptions { made_at_ms: NOW, link: &no_link, previous: None };

pub(super) fn take(source: &dyn Disk, target: &SimDisk) -> Result<Backup, EngineError> {
    back_up(source, target, &COPYING, &mut |_, _| ())
}

impl Store {
    /// A view with flushed and unflushed events, and a job whose commit stands in the log only.
    pub(super) fn with_everything() -> Self {
        let mut store = Self::with_view(|_| {});
        for (entity, amount) in [("flushed", "1"), ("both", "2")] {
            store.add(entity, NOW - 2 * DAY, amount, "1");
        }
        store.flush();
        store.add("both", NOW - 2 * DAY, "4", "1");
        store.write(events("stamped", NOW - DAY, "5", "1", stamp(41, After::Any))).unwrap();
        let request = JobRequest {
            view: name("v"),
            from: NOW - 5 * DAY,
            to: NOW - 4 * DAY,
            mode: JobMode::Replace,
            timeout_ms: None,
            token: Some(Bytes::from_static(b"token")),
        };
        let now = store.now;
        let job = store.engine().jobs().begin(now, request).unwrap();
        let rows = rows("job", NOW - 5 * DAY, "8");
        store.engine().jobs().put_rows(now, job, None, rows).unwrap();
        match store.engine().jobs().seal(now, job, COMMIT).unwrap() {
            Sealing::Ready(sealed) => store.engine().prepare_job(now, sealed).unwrap(),
            Sealing::Committed => panic!("committed once"),
        }
        store.engine().commit().unwrap();
        store.add("late", NOW - 2 * DAY, "16", "1");
        store
    }

    fn check_everything(&mut self) {
        let spent = |value: f64| ok(Value::Double(value));
        for (entity, value) in
            [("flushed", 1.0), ("both", 6.0), ("stamped", 5.0), ("job", 8.0), ("late", 16.0)]
        {
            assert_eq!(self.value(entity, "spent@30d"), spent(value), "{entity}");
        }
        assert_eq!(self.value("none", "spent@30d").1, Status::Unseen);
        let (reader, now) = (self.engine().reader(), self.now);
        let id = Bytes::from_static(b"partition-0");
        let last = reader.producer(&reader.snapshot(), &name("v"), &id, now);
        assert_eq!(last.unwrap(), Some(41));
        assert_eq!(reader.seals(&reader.snapshot(), &name("v")).unwrap().len(), 1);
        let jobs = self.engine().jobs().list(now);
        assert_eq!(jobs.len(), 1);
        assert_eq!(jobs[0].state, JobState::Committed);
        assert_eq!(jobs[0].token.as_deref(), Some(&b"token"[..]));
    }

    /// A store on the files of a backup.
    fn on(disk: SimDisk, options: crate::EngineOptions) -> Self {
        let mut store = Self { disk, options, engine: None, now: NOW };
        store.reopen();
        store
    }
}

pub(super) fn restored(backup: &Backup, files: &SimDisk) -> SimDisk {
    let target = sound_disk();
    restore(backup, files, &target, None, &mut |_, _| ()).unwrap();
    target.crash();
    target
}

#[test]
fn a_backup_of_a_running_store_restores_all_of_it() {
    let mut store = Store::with_everything();
    let files = sound_disk();
    let before: Vec<_> = store.disk.list().unwrap();
    let backup = take(&store.disk, &files).unwrap();
    assert_eq!(store.disk.list().unwrap(), before, "taking it changes nothing");
    files.crash();
    assert_eq!(backup.files.len(), 4, "a manifest, two segments and a log: {:?}", backup.files);
    assert!(backup.flushed < backup.end && backup.now_ms == NOW && backup.made_at_ms == NOW);
    assert_eq!(check_backup(&backup, &files, &mut |_, _| ()).unwrap(), []);
    store.add("after", NOW - 2 * DAY, "32", "1");
    let options = store.options;
    let mut copy = Store::on(restored(&backup, &files), options);
    copy.check_everything();
    assert_eq!(copy.value("after", "spent@30d").1, Status::Unseen);
    copy.flush();
    copy.crash();
    copy.check_everything();
    store.check_everything();
}

/// [BACKUP-6]
#[test]
fn files_that_go_while_a_backup_is_taken_are_found_in_the_next_manifest() {
    let (source, rounds) = Watched::merging_away();
    let files = sound_disk();
    let backup = take(&source, &files).unwrap();
    assert_eq!(rounds.load(Ordering::Relaxed), 1);
    assert_eq!(check_backup(&backup, &files, &mut |_, _| ()).unwrap(), []);
    Store::on(restored(&backup, &files), Store::new().options).check_everything();
}

#[test]
fn a_file_that_is_lost_is_named() {
    let store = Store::with_everything();
    let lost = store.disk.list().unwrap().into_iter().find(|name| name.starts_with("segment-"));
    let lost = lost.unwrap();
    store.disk.remove(&lost).unwrap();
    match take(&store.disk, &sound_disk()) {
        Err(EngineError::Disk(DiskError::NotFound { name, .. })) => assert_eq!(name, lost),
        other => panic!("{other:?}"),
    }
    match take(&sound_disk(), &sound_disk()) {
        Err(EngineError::Corrupt { what, .. }) => {
            assert!(what.contains("holds no store"), "{what}")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_full_disk_is_said_and_a_second_attempt_succeeds() {
    let store = Store::with_everything();
    let files = SimDisk::new(2, SimFaults { capacity_bytes: Some(5_000), ..SimFaults::default() });
    assert!(matches!(take(&store.disk, &files), Err(EngineError::NoSpace(_))));
    files.set_faults(SimFaults::default());
    files.put("segment-00000000000000ff", b"left behind");
    let backup = take(&store.disk, &files).unwrap();
    assert_eq!(check_backup(&backup, &files, &mut |_, _| ()).unwrap(), []);
    Store::on(restored(&backup, &files), store.options).check_everything();
}

#[test]
fn sealed_files_of_an_earlier_backup_are_linked_unless_they_differ() {
    let store = Store::with_everything();
    let files = sound_disk();
    let mut earlier = take(&store.disk, &files).unwrap();
    let target = sound_disk();
    let linked = RefCell::new(Vec::new());
    let link = |name: &str| {
        linked.borrow_mut().push(name.to_owned());
        target.put(name, &files.contents(name).unwrap());
        Ok(true)
    };
    let segments: Vec<String> = earlier
        .files
        .iter()
        .map(|file| file.name.clone())
        .filter(|name| name.starts_with("segment-"))
        .collect();
    let again = |earlier: &Backup| {
        let previous = Some(PreviousBackup { backup: earlier, link: &link });
        let options = BackupOptions { previous, ..COPYING };
        back_up(&store.disk, &target, &options, &mut |_, _| ()).unwrap()
    };
    assert_eq!(again(&earlier).files, earlier.files);
    assert_eq!(*linked.borrow(), segments);
    linked.borrow_mut().clear();
    // A store that was restored and went another way has other bytes under the same name.
    for file in &mut earlier.files {
        if file.name == segments[0] {
            file.crc ^= 1;
        }
    }
    let taken = again(&earlier);
    assert_eq!(*linked.borrow(), segments[1..]);
    assert_eq!(check_backup(&taken, &target, &mut |_, _| ()).unwrap(), []);
}

#[test]
fn any_flipped_byte_of_a_backup_is_named_and_not_restored() {
    let store = Store::with_everything();
    let files = sound_disk();
    let backup = take(&store.disk, &files).unwrap();
    for file in &backup.files {
        for at in (0..file.bytes).step_by(if file.bytes < 2_000 { 1 } else { 61 }) {
            let damaged = files.fork();
            damaged.flip_bit(&file.name, at, u8::try_from(at % 8).unwrap()).unwrap();
            let findings = check_backup(&backup, &damaged, &mut |_, _| ()).unwrap();
            assert_eq!(findings.len(), 1);
            assert_eq!(findings[0].file, file.name);
            let target = sound_disk();
            let refused = restore(&backup, &damaged, &target, None, &mut |_, _| ());
            assert!(matches!(refused, Err(EngineError::Corrupt { .. })));
            assert!(!target.exists("manifest").unwrap(), "what was refused is no store");
        }
    }
    files.remove(&backup.files[1].name).unwrap();
    files.put("stranger", b"x");
    files.put(&backup.files[2].name, b"short");
    let findings = check_backup(&backup, &files, &mut |_, _| ()).unwrap();
    let named: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(named.len(), 3);
    assert!(named[0].ends_with("the file is missing"), "{named:?}");
    assert!(named[1].contains("it has 5 bytes"), "{named:?}");
    assert_eq!(named[2], "stranger: the backup does not list this file");
}

#[test]
fn a_restore_that_breaks_off_leaves_no_store_and_can_be_repeated() {
    let store = Store::with_everything();
    let files = sound_disk();
    let backup = take(&store.disk, &files).unwrap();
    let mut broken_off = 0;
    for operation in [SimOperation::Write, SimOperation::Sync, SimOperation::SyncFolder] {
        for nth in 1.. {
            let target = sound_disk();
            target.fail_nth(operation, nth);
            if restore(&backup, &files, &target, None, &mut |_, _| ()).is_ok() {
                break;
            }
            broken_off += 1;
            target.crash();
            let opened = Engine::open(Arc::new(target.fork()), store.options, NOW);
            let is_whole = target.exists("manifest").unwrap();
            match opened {
                Ok((_, report)) => assert!(is_whole || report.is_new),
                Err(EngineError::Corrupt { .. }) => assert!(!is_whole),
                Err(error) => panic!("{operation:?} {nth}: {error}"),
            }
            restore(&backup, &files, &target, None, &mut |_, _| ()).unwrap();
            Store::on(target, store.options).check_everything();
        }
    }
    assert!(10 <= broken_off, "{broken_off}");
}

/// A disk that calls before a file is opened.
pub(super) struct Watched {
    disk: SimDisk,
    before_open: Box<dyn Fn(&str) + Send + Sync>,
}

impl Watched {
    /// The disk of a store that merges its oldest segment away as soon as somebody opens it who
    /// has read the manifest; and how often that was.
    pub(super) fn merging_away() -> (Self, Arc<AtomicUsize>) {
        let store = Mutex::new(Store::with_everything());
        let disk = store.lock().disk.clone();
        let rounds = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&rounds);
        let before_open = move |name: &str| {
            if name.starts_with("segment-") && counted.load(Ordering::Relaxed) < 1 {
                counted.fetch_add(1, Ordering::Relaxed);
                let mut store = store.lock();
                // Larger than what is there, so that the oldest are merged first.
                for round in 0..6 {
                    for entity in 0..20 {
                        store.add(&format!("{name} {round} {entity}"), NOW - DAY, "1", "1");
                    }
                    store.flush();
                    store.run_due_tasks();
                }
                assert!(!store.disk.exists(name).unwrap(), "{name} is gone by now");
            }
        };
        (Self { disk, before_open: Box::new(before_open) }, rounds)
    }
}

impl Disk for Watched {
    fn create(&self, name: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        self.disk.create(name)
    }
    fn open(&self, name: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        (self.before_open)(name);
        self.disk.open(name)
    }
    fn exists(&self, name: &str) -> Result<bool, DiskError> {
        self.disk.exists(name)
    }
    fn list(&self) -> Result<Vec<String>, DiskError> {
        self.disk.list()
    }
    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> Result<(), DiskError> {
        self.disk.remove(name)
    }
    fn sync_folder(&self) -> Result<(), DiskError> {
        self.disk.sync_folder()
    }
    fn lock(&self) -> Result<Box<dyn Send>, DiskError> {
        self.disk.lock()
    }
    fn folder(&self) -> String {
        self.disk.folder()
    }
}
