//! The simulated disk: what it keeps, what it takes, and that it is the same for the same seed.

use std::collections::BTreeSet;

use tilekv_wal::{Disk, DiskError, SimDisk, SimFaults, SimOperation};

use crate::support::sound_disk;

#[test]
fn an_entry_is_volatile_until_its_folder_is_synced() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..100 {
        let disk = SimDisk::new(seed, SimFaults::default());
        disk.put("old", b"old");
        disk.create("new").unwrap().sync().unwrap();
        disk.rename("old", "renamed").unwrap();
        disk.remove("renamed").unwrap();
        let synced = disk.fork();
        disk.crash();
        outcomes.insert(disk.list().unwrap());
        synced.sync_folder().unwrap();
        synced.crash();
        assert_eq!(synced.list().unwrap(), ["new"]);
    }
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    for list in [&["new"][..], &["old"], &["new", "old"], &["new", "renamed"], &["renamed"], &[]] {
        assert!(outcomes.contains(&names(list)), "never {list:?}");
    }
    assert_eq!(outcomes.len(), 6, "{outcomes:?}");
}

#[test]
fn handles_and_locks_die_with_the_machine() {
    let disk = sound_disk();
    let file = disk.create("file").unwrap();
    let lock = disk.lock().unwrap();
    assert!(matches!(disk.lock().map(|_| ()), Err(DiskError::Locked { .. })));
    disk.crash();
    assert!(matches!(file.write_at(0, b"x"), Err(DiskError::Crashed { .. })));
    assert!(matches!(file.sync(), Err(DiskError::Crashed { .. })));
    let again = disk.lock().unwrap();
    drop(lock);
    assert!(disk.lock().is_err(), "the dead machine's lock does not free the new one");
    drop(again);
    disk.lock().unwrap();
}

#[test]
fn the_same_seed_takes_the_same_course() {
    let course = |seed| {
        let faults = SimFaults { write_errors_per_million: 100_000, ..SimFaults::default() };
        let disk = SimDisk::new(seed, faults);
        let mut outcome = Vec::new();
        for round in 0..20_u64 {
            let written = disk
                .create("file")
                .and_then(|file| file.write_at(round * 700, &[7; 3000]).and_then(|()| file.sync()));
            outcome.push(written.is_ok());
            disk.sync_folder().unwrap();
            disk.crash();
        }
        (outcome, disk.contents("file"), disk.counters())
    };
    assert_eq!(course(5), course(5));
    assert_ne!(course(5), course(6));
}

#[test]
fn scripted_failures_hit_the_operation_that_was_named() {
    let disk = sound_disk();
    disk.put("file", b"12345678");
    let file = disk.open("file").unwrap();
    disk.fail_nth(SimOperation::Read, 2);
    let mut buffer = [0; 8];
    file.read_at(0, &mut buffer).unwrap();
    assert!(matches!(file.read_at(0, &mut buffer), Err(DiskError::Io { verb: "read", .. })));
    file.read_at(0, &mut buffer).unwrap();
    assert_eq!((disk.operations(SimOperation::Read), disk.counters().read_errors), (3, 1));
}

#[test]
fn a_full_disk_takes_what_fits_and_says_so() {
    let disk = SimDisk::new(0, SimFaults { capacity_bytes: Some(1000), ..SimFaults::default() });
    let file = disk.create("file").unwrap();
    assert!(matches!(file.allocate(1001), Err(DiskError::NoSpace { .. })));
    assert_eq!(file.len().unwrap(), 1000);
    file.write_at(500, &[1; 500]).unwrap();
    assert!(matches!(file.write_at(999, &[1; 2]), Err(DiskError::NoSpace { .. })));
    file.truncate(10).unwrap();
    file.write_at(10, &[1; 990]).unwrap();
    assert_eq!(disk.counters().no_space, 2);
    disk.remove("file").unwrap();
    disk.create("other").unwrap().allocate(1000).unwrap();
}

#[test]
fn a_misdirected_write_is_seen_only_after_the_cache_is_gone() {
    let faults = SimFaults { misdirected_per_million: 1_000_000, ..SimFaults::default() };
    let disk = SimDisk::new(9, SimFaults::default());
    disk.put("file", &[0; 512 * 64]);
    disk.set_faults(faults);
    let file = disk.open("file").unwrap();
    file.write_at(0, &[5; 512]).unwrap();
    file.sync().unwrap();
    assert_eq!(disk.contents("file").unwrap()[..512], [5; 512]);
    disk.crash();
    let left = disk.contents("file").unwrap();
    assert_eq!(left[..512], [0; 512], "this seed's stray is not the place itself");
    assert_eq!(left.iter().filter(|byte| **byte == 5).count(), 512);
    assert_eq!(disk.counters().misdirected, 1);
}

#[test]
fn a_flipped_bit_is_there_before_and_after_a_crash() {
    let disk = sound_disk();
    disk.put("file", &[0; 10]);
    disk.flip_bit("file", 9, 7).unwrap();
    assert_eq!(disk.contents("file").unwrap()[9], 128);
    disk.crash();
    assert_eq!(disk.contents("file").unwrap()[9], 128);
    assert!(matches!(disk.flip_bit("file", 10, 0), Err(DiskError::ShortRead { .. })));
    assert!(matches!(disk.flip_bit("none", 0, 0), Err(DiskError::NotFound { .. })));
}
