//! The disk of the operating system, in a temporary folder.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tilekv_wal::{Disk, DiskError, Log, LogOptions, Lsn, RealDisk, copy_log};

use crate::support::{SMALL, append};

#[test]
fn files_can_be_made_read_renamed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(&folder.path().join("new/store")).unwrap();
    let file = disk.create("segments/one").unwrap();
    file.allocate(10_000).unwrap();
    assert_eq!(file.len().unwrap(), 10_000);
    file.write_at(9_998, b"abcd").unwrap();
    file.sync().unwrap();
    let mut buffer = [9; 6];
    file.read_at(9_996, &mut buffer).unwrap();
    assert_eq!(&buffer, b"\0\0abcd");
    let past = file.read_at(9_999, &mut buffer);
    assert!(matches!(past, Err(DiskError::ShortRead { end: 10_005, len: 10_002, .. })));
    file.truncate(3).unwrap();
    file.allocate(2).unwrap();
    assert_eq!(file.len().unwrap(), 3, "allocating never shortens");
    disk.rename("segments/one", "two").unwrap();
    disk.sync_folder().unwrap();
    assert_eq!(disk.list().unwrap(), ["two"]);
    assert!(disk.exists("two").unwrap() && !disk.exists("segments/one").unwrap());
    disk.remove("two").unwrap();
    assert!(matches!(disk.open("two").map(|_| ()), Err(DiskError::NotFound { .. })));
    assert!(matches!(disk.create("../two").map(|_| ()), Err(DiskError::Name { .. })));
}

#[test]
fn a_folder_is_locked_once() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) =
        (RealDisk::open(folder.path()).unwrap(), RealDisk::open(folder.path()).unwrap());
    let lock = one.lock().unwrap();
    let Err(DiskError::Locked { folder: named }) = two.lock().map(|_| ()) else {
        panic!("the folder is in use")
    };
    assert_eq!(named, folder.path().display().to_string());
    assert_eq!(two.list().unwrap(), Vec::<String>::new(), "the lock file is no file of the store");
    drop(lock);
    two.lock().unwrap();
}

#[test]
fn a_log_on_a_real_disk_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut written = Vec::new();
    for _ in 0..3 {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(folder.path()).unwrap());
        let mut read = Vec::new();
        let (mut log, _) = Log::open(disk, SMALL, Lsn::ZERO, 3, &mut |lsn, _, bytes| {
            read.push((lsn.number(), bytes.to_vec()));
        })
        .unwrap();
        assert_eq!(read, written);
        for _ in 0..10 {
            let records = append(&mut log, &[3000, 0]).unwrap();
            written.extend(records.into_iter().map(|record| (record.lsn, record.bytes)));
            log.sync().unwrap();
        }
    }
    assert_eq!(written.len(), 60);
}

#[test]
fn a_log_is_copied_while_it_grows() {
    let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = LogOptions { file_bytes_max: 256 << 10, allocate_bytes: 64 << 10 };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(source.path()).unwrap());
    let (mut log, _) = Log::open(disk, options, Lsn::ZERO, 1, &mut |_, _, _| ()).unwrap();
    let (appended, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..600 {
                let first = log.next_lsn().number();
                let records: Vec<Vec<u8>> =
                    (first..first + 1 + first % 7).map(|lsn| vec![7; record_len(lsn)]).collect();
                let lsns = log.append(1, &records).unwrap();
                appended.store(lsns.end.number(), Ordering::Release);
                if first % 3 == 0 {
                    log.sync().unwrap();
                }
            }
            is_over.store(true, Ordering::Release);
        });
        for round in 0.. {
            if is_over.load(Ordering::Acquire) && 5 < round {
                break;
            }
            let path = target.path().join(round.to_string());
            let copy = RealDisk::open(&path).unwrap();
            let read_only = RealDisk::open_read_only(source.path()).unwrap();
            let least = appended.load(Ordering::Acquire);
            let tail = copy_log(&read_only, &copy, Lsn::ZERO, &mut |_, _, _| ()).unwrap();
            assert!(least <= tail.next_lsn.number(), "what was appended before is in the copy");
            let mut next = 0;
            let report = Log::inspect(&copy, Lsn::ZERO, &mut |lsn, _, record| {
                assert_eq!((lsn.number(), record.len()), (next, record_len(next)));
                next += 1;
            });
            assert_eq!((report.unwrap().cut, next), (None, tail.next_lsn.number()));
        }
    });
}

fn record_len(lsn: u64) -> usize {
    usize::try_from(lsn * 7919 % 3_000).unwrap_or(0)
}

#[test]
fn a_folder_that_is_only_read_is_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let missing = RealDisk::open_read_only(&folder.path().join("none"));
    assert!(matches!(missing, Err(DiskError::NotFound { .. })));
    std::fs::write(folder.path().join("file"), b"abc").unwrap();
    let disk = RealDisk::open_read_only(folder.path()).unwrap();
    let file = disk.open("file").unwrap();
    assert_eq!(file.len().unwrap(), 3);
    assert!(file.write_at(0, b"x").is_err());
    assert!(disk.create("other").is_err());
    assert!(disk.remove("file").is_err());
    assert!(disk.rename("file", "other").is_err());
    drop(disk.lock().unwrap());
    assert_eq!(disk.list().unwrap(), ["file"]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no lock was made");
    let holder = RealDisk::open(folder.path()).unwrap().lock().unwrap();
    assert!(matches!(disk.lock(), Err(DiskError::Locked { .. })));
    drop(holder);
}

#[test]
fn a_link_shares_the_bytes_and_survives_the_name() {
    let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) =
        (RealDisk::open(source.path()).unwrap(), RealDisk::open(target.path()).unwrap());
    from.create("file").unwrap().write_at(0, b"abc").unwrap();
    assert!(to.link_from(&from, "file").unwrap());
    from.remove("file").unwrap();
    let mut bytes = [0; 3];
    to.open("file").unwrap().read_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"abc");
    assert!(matches!(to.link_from(&from, "file"), Err(DiskError::NotFound { .. })));
}
