//! Stories of checking a store, and of its hashes.

use std::sync::Arc;

use tilekv_wal::{Disk, SimDisk};

use super::backup::{Watched, restored, sound_disk, take};
use super::{DAY, NOW, Store};
use crate::{Engine, Finding, Inspection, StateHash, Verification, verify};

fn check(disk: &SimDisk) -> Verification {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    verify(&disk, &mut |_, _| ()).unwrap()
}

fn hash(disk: &SimDisk) -> StateHash {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Inspection::open(&disk).unwrap().state_hash().unwrap()
}

/// A store whose log was finished in order, so that every batch of it is proved.
fn closed() -> (Store, SimDisk) {
    let mut store = Store::with_everything();
    store.engine.take().unwrap().close().unwrap();
    let disk = store.disk.clone();
    (store, disk)
}

#[test]
fn a_sound_store_is_found_sound_while_it_is_served() {
    let mut store = Store::with_everything();
    let before = store.disk.list().unwrap();
    let found = check(&store.disk);
    assert_eq!(found.findings, []);
    assert_eq!(found.segments, 2, "the flushed one and the job's");
    assert!(0 < found.log.records && 0 < found.segment_bytes);
    assert_eq!(store.disk.list().unwrap(), before, "checking changes nothing");
    let (reader, now) = (store.engine().reader(), store.now);
    let live = reader.snapshot().state_hash(now).unwrap();
    assert_eq!(hash(&store.disk), live, "the same writes, applied the same way");
    let files = sound_disk();
    let backup = take(&store.disk, &files).unwrap();
    assert_eq!(check(&files).findings, []);
    assert_eq!(hash(&files), live);
    assert_eq!(hash(&restored(&backup, &files)), live);
    store.add("more", NOW - DAY, "1", "1");
    assert_ne!(hash(&store.disk), live);
}

#[test]
fn the_hash_of_content_does_not_depend_on_what_was_merged_when() {
    let amounts = ["0.1", "1e17", "-0.3", "1e-9", "12345.678"];
    let features = [("spent", "sum(amount)"), ("spread", "var_pop(amount)"), ("top", "max(units)")];
    let fill = |flushes: bool, amounts: &[&str]| {
        let mut store = Store::with_features(&features);
        for (day, amount) in (1..).zip(amounts) {
            store.add("u", NOW - 9 * DAY, amount, "1");
            store.add("v", NOW - day * DAY, amount, "2");
            if flushes {
                store.flush();
                store.run_due_tasks();
            }
        }
        let (reader, now) = (store.engine().reader(), store.now);
        reader.snapshot().state_hash(now).unwrap()
    };
    let (together, apart) = (fill(false, &amounts), fill(true, &amounts));
    assert_eq!(together.content, apart.content);
    assert_ne!(fill(false, &amounts[1..]).content, together.content);
}

#[test]
fn any_flipped_byte_that_matters_is_named() {
    let (store, disk) = closed();
    let sound = hash(&disk);
    assert_eq!(check(&disk).findings, []);
    let (mut refused, mut harmless) = (0, 0);
    for name in disk.list().unwrap() {
        let bytes = disk.contents(&name).unwrap();
        for at in (0..bytes.len()).filter(|at| bytes[*at] != 0 || at % 997 == 0) {
            let damaged = disk.fork();
            let bit = u8::try_from(at % 8).unwrap();
            damaged.flip_bit(&name, u64::try_from(at).unwrap(), bit).unwrap();
            let found = check(&damaged).findings;
            let names_it = found.iter().any(|finding| is_about(finding, &name));
            let opened = Engine::open(Arc::new(damaged.fork()), store.options, NOW);
            if opened.is_err() || (found.is_empty() && hash(&damaged) != sound) {
                assert!(names_it, "{name} {at}: {:?}, {found:?}", opened.err());
                refused += 1;
            } else {
                assert!(names_it != found.is_empty(), "{name} {at}: {found:?}");
                harmless += 1;
            }
        }
    }
    assert!(500 < refused && 0 < harmless, "{refused} named, {harmless} harmless");
}

#[test]
fn a_file_that_is_cut_or_lost_is_named() {
    let (store, disk) = closed();
    for name in disk.list().unwrap() {
        let bytes = disk.contents(&name).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        for len in [0, 1, used / 4, used / 2, used - 70] {
            let cut = disk.fork();
            cut.put(&name, &bytes[..len]);
            let found = check(&cut).findings;
            // Nothing within a log that was cut at a whole batch tells that there was more.
            let may_be_torn = name.starts_with("wal-")
                && Engine::open(Arc::new(cut.fork()), store.options, NOW).is_ok();
            let is_named = found.iter().any(|finding| is_about(finding, &name));
            assert!(is_named || may_be_torn, "{name} cut to {len} of {used}: {found:?}");
        }
        let lost = disk.fork();
        lost.remove(&name).unwrap();
        let lost: Arc<dyn Disk> = Arc::new(lost);
        match verify(&lost, &mut |_, _| ()) {
            Ok(found) => {
                let is_named = found.findings.iter().any(|finding| is_about(finding, &name));
                assert!(is_named, "{name}: {:?}", found.findings);
            }
            Err(error) => assert!(name == "manifest" && error.to_string().contains("no store")),
        }
    }
}

#[test]
fn every_damaged_page_is_named_not_only_the_first() {
    let (_, disk) = closed();
    let names = disk.list().unwrap();
    let segments: Vec<&String> = names.iter().filter(|name| name.starts_with("segment")).collect();
    for name in &segments {
        disk.flip_bit(name, 60, 1).unwrap();
    }
    let log = names.iter().find(|name| name.starts_with("wal-")).unwrap();
    disk.flip_bit(log, 4096 + 66, 1).unwrap();
    let named: Vec<String> = check(&disk).findings.into_iter().map(|found| found.file).collect();
    for name in segments.into_iter().chain([log]) {
        assert!(named.contains(name), "{name}: {named:?}");
    }
}

#[test]
fn files_that_go_while_a_store_is_checked_are_no_damage() {
    let (source, rounds) = Watched::merging_away();
    let source: Arc<dyn Disk> = Arc::new(source);
    let found = verify(&source, &mut |_, _| ()).unwrap();
    assert_eq!(found.findings, []);
    assert_eq!(rounds.load(std::sync::atomic::Ordering::Relaxed), 1);
}

/// The log as a whole is named where files of it are missing.
fn is_about(finding: &Finding, name: &str) -> bool {
    finding.file == name || (name.starts_with("wal-") && finding.file == "the log")
}
