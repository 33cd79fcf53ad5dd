//! The disk of the operating system, in a temporary folder.

use std::sync::Arc;

use tilekv_wal::{Disk, DiskError, Log, Lsn, RealDisk};

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
