//! What a log does on a sound disk.

use tilekv_wal::{DiskError, Log, LogOptions, Lsn, SimFaults, WalError, limits};

use crate::layout::{Kind, frames};
use crate::support::{SMALL, append, log_files, open, shared, sound_disk};

#[test]
fn records_come_back_in_order_with_their_times() {
    let disk = sound_disk();
    let (mut log, report, replayed) = open(&disk, 0).unwrap();
    assert_eq!((report.next_lsn, replayed.len()), (Lsn::ZERO, 0));
    let mut written = append(&mut log, &[10, 0, 3]).unwrap();
    written.extend(append(&mut log, &[5000]).unwrap());
    assert_eq!(log.durable_lsn(), Lsn::ZERO);
    assert_eq!(log.sync().unwrap(), Lsn::new(4));
    assert_eq!(log.durable_lsn(), Lsn::new(4));
    drop(log);
    let (log, report, replayed) = open(&disk, 0).unwrap();
    assert_eq!(replayed, written);
    assert_eq!((report.batches_read, report.records_replayed), (2, 4));
    assert_eq!((report.now_ms, report.cut), (Some(30), None));
    assert_eq!((log.next_lsn(), log.durable_lsn()), (Lsn::new(4), Lsn::new(4)));
}

#[test]
fn an_empty_batch_writes_nothing() {
    let (mut log, _, _) = open(&sound_disk(), 0).unwrap();
    let none: [&[u8]; 0] = [];
    assert_eq!(log.append(5, &none).unwrap(), Lsn::ZERO..Lsn::ZERO);
    assert_eq!((log.statistics().batches, log.file_count()), (0, 0));
}

#[test]
fn files_are_sealed_when_full_and_begun_at_the_next_record() {
    let disk = sound_disk();
    let (mut log, _, _) = open(&disk, 0).unwrap();
    for _ in 0..20 {
        append(&mut log, &[2000]).unwrap();
        log.sync().unwrap();
    }
    log.close().unwrap();
    let files = log_files(&disk);
    assert!(5 < files.len(), "{files:?}");
    let (mut next, mut crc) = (0, 0);
    for name in &files {
        let frames = frames(&disk.contents(name).unwrap());
        assert_eq!((frames[0].first_lsn, frames[0].previous_crc), (next, crc), "[WAL-7]");
        crc = frames[0].crc;
        for frame in &frames[1..] {
            assert_eq!(frame.salt, frames[0].salt, "[WAL-8]");
            assert_eq!((frame.first_lsn, frame.previous_crc), (next, crc), "[WAL-7]");
            assert_eq!(frame.durable_lsn, next, "each batch was synced before the next");
            if frame.kind == Kind::Batch {
                assert_eq!(frame.offset % 4096, 0, "[WAL-12]");
                (next, crc) = (next + 1, frame.crc);
            }
        }
        assert_eq!(frames.last().unwrap().kind, Kind::End);
    }
    assert_eq!(next, 20);
}

#[test]
fn batches_between_two_syncs_stand_side_by_side() {
    let disk = sound_disk();
    let (mut log, _, _) = open(&disk, 0).unwrap();
    append(&mut log, &[1]).unwrap();
    append(&mut log, &[2]).unwrap();
    log.sync().unwrap();
    append(&mut log, &[3]).unwrap();
    let frames = frames(&disk.contents(&log_files(&disk)[0]).unwrap());
    let offsets: Vec<usize> = frames.iter().map(|frame| frame.offset).collect();
    assert_eq!(offsets, [0, 4096, 4096 + 80, 8192], "[WAL-12]");
}

#[test]
fn opening_goes_on_in_a_new_file_with_a_new_salt() {
    let disk = sound_disk();
    for _ in 0..3 {
        let (mut log, _, _) = open(&disk, 0).unwrap();
        append(&mut log, &[9]).unwrap();
        log.sync().unwrap();
    }
    let names = log_files(&disk);
    assert_eq!(names.len(), 3, "[WAL-19]");
    let salt = |name: &String| frames(&disk.contents(name).unwrap())[0].salt;
    assert_ne!(salt(&names[0]), salt(&names[1]), "[WAL-8]");
}

#[test]
fn opening_without_writing_leaves_no_file_behind() {
    let disk = sound_disk();
    for _ in 0..3 {
        let (log, _, _) = open(&disk, 0).unwrap();
        log.close().unwrap();
    }
    assert_eq!(log_files(&disk), Vec::<String>::new());
}

#[test]
fn a_sync_on_another_thread_covers_what_was_written_before_it() {
    let disk = sound_disk();
    let (mut log, _, _) = open(&disk, 0).unwrap();
    append(&mut log, &[100]).unwrap();
    let task = log.sync_start().unwrap().expect("something to sync");
    let done = std::thread::spawn(move || task.run());
    append(&mut log, &[100, 100]).unwrap();
    assert_eq!(log.sync_finish(done.join().unwrap()).unwrap(), Lsn::new(1));
    assert_eq!(log.durable_lsn(), Lsn::new(1));
    let frames = frames(&disk.contents(&log_files(&disk)[0]).unwrap());
    assert_eq!((frames[2].offset, frames[2].durable_lsn), (8192, 0));
    assert_eq!(log.sync().unwrap(), Lsn::new(3));
    assert!(log.sync_start().unwrap().is_none(), "everything is durable");
}

#[test]
fn no_file_is_left_while_a_sync_of_it_runs() {
    let disk = sound_disk();
    let (mut log, _, _) = open(&disk, 0).unwrap();
    append(&mut log, &[12_000]).unwrap();
    let task = log.sync_start().unwrap().expect("something to sync");
    append(&mut log, &[12_000]).unwrap();
    assert_eq!(log.file_count(), 1, "the file grows past its size instead");
    log.sync_finish(task.run()).unwrap();
    append(&mut log, &[12_000]).unwrap();
    assert_eq!(log.file_count(), 2);
}

#[test]
fn a_log_at_rest_is_one_small_file_that_tells_where_to_go_on() {
    let disk = sound_disk();
    let (mut log, _, _) = open(&disk, 0).unwrap();
    append(&mut log, &[100]).unwrap();
    log.sync().unwrap();
    assert_eq!(log.release(Lsn::new(1)).unwrap(), 1);
    assert_eq!(log.release(Lsn::new(1)).unwrap(), 0, "a file without batches stays");
    append(&mut log, &[5_000]).unwrap();
    log.sync().unwrap();
    append(&mut log, &[10]).unwrap();
    assert_eq!(log.release(Lsn::new(2)).unwrap(), 0, "a record follows");
    log.sync().unwrap();
    assert_eq!(log.release(Lsn::new(2)).unwrap(), 0, "a record follows");
    assert_eq!(log.release(Lsn::new(3)).unwrap(), 1);
    let names = log_files(&disk);
    assert_eq!(names.len(), 1);
    assert!(disk.contents(&names[0]).unwrap().len() <= 8_192);
    log.close().unwrap();
    let (mut log, report, replayed) = open(&disk, 3).unwrap();
    assert_eq!((report.next_lsn, replayed.len()), (Lsn::new(3), 0));
    append(&mut log, &[10]).unwrap();
}

#[test]
fn release_removes_whole_files_below_and_never_the_newest() {
    let disk = sound_disk();
    let (mut log, _, _) = open(&disk, 0).unwrap();
    for _ in 0..12 {
        append(&mut log, &[2000]).unwrap();
        log.sync().unwrap();
    }
    let starts: Vec<u64> = log_files(&disk)
        .iter()
        .map(|name| frames(&disk.contents(name).unwrap())[0].first_lsn)
        .collect();
    assert_eq!(starts, [0, 3, 6, 9]);
    assert_eq!(log.release(Lsn::new(5)).unwrap(), 1);
    assert_eq!(log.release(Lsn::new(5)).unwrap(), 0);
    assert_eq!(log_files(&disk).len(), 3);
    assert_eq!(log.release(Lsn::new(11)).unwrap(), 2);
    log.close().unwrap();
    let (mut log, report, replayed) = open(&disk, 10).unwrap();
    assert_eq!((report.next_lsn, replayed.len()), (Lsn::new(12), 2), "records 10 and 11");
    assert_eq!(log.release(Lsn::new(12)).unwrap(), 0, "the newest file tells where to go on");
    append(&mut log, &[1]).unwrap();
    assert_eq!(log.release(Lsn::new(12)).unwrap(), 1);
}

#[test]
fn files_below_the_manifest_need_not_be_there() {
    let disk = sound_disk();
    let (mut log, _, _) = open(&disk, 0).unwrap();
    for _ in 0..12 {
        append(&mut log, &[2000]).unwrap();
        log.sync().unwrap();
    }
    log.close().unwrap();
    let names = log_files(&disk);
    tilekv_wal::Disk::remove(&disk, &names[1]).unwrap();
    let (_, report, replayed) = open(&disk.fork(), 7).unwrap();
    assert_eq!((report.next_lsn, replayed[0].lsn), (Lsn::new(12), 7));
    let Err(WalError::Missing { expected, found, .. }) = open(&disk, 2).map(|_| ()) else {
        panic!("records 3 to 5 are needed and gone")
    };
    assert_eq!(expected, Lsn::new(3));
    assert!(found.contains(&names[2]), "{found}");
}

#[test]
fn a_folder_that_lost_its_log_is_refused() {
    let disk = sound_disk();
    let Err(WalError::Missing { expected, .. }) = open(&disk, 5).map(|_| ()) else {
        panic!("the manifest speaks of 5 records")
    };
    assert_eq!(expected, Lsn::new(5));
    let mut log = Log::create(shared(&disk), SMALL, Lsn::new(5), 1).unwrap();
    append(&mut log, &[3]).unwrap();
    log.sync().unwrap();
    let (_, _, replayed) = open(&disk, 5).unwrap();
    assert_eq!(replayed[0].lsn, 5);
    assert!(Log::create(shared(&disk), SMALL, Lsn::new(5), 1).is_err(), "there is a log now");
}

#[test]
fn a_log_that_ends_below_the_manifest_is_refused() {
    let disk = sound_disk();
    let (mut log, _, _) = open(&disk, 0).unwrap();
    append(&mut log, &[3]).unwrap();
    log.close().unwrap();
    let found = open(&disk, 2).map(|_| ());
    assert!(matches!(found, Err(WalError::Missing { expected, .. }) if expected == Lsn::new(1)));
}

#[test]
fn a_full_disk_refuses_a_batch_and_nothing_else() {
    let disk = sound_disk();
    let (mut log, _, _) = open(&disk, 0).unwrap();
    let mut written = append(&mut log, &[1000]).unwrap();
    log.sync().unwrap();
    disk.set_faults(SimFaults { capacity_bytes: Some(40 << 10), ..SimFaults::default() });
    let refused = loop {
        match append(&mut log, &[3000]) {
            Ok(records) => written.extend(records),
            Err(error) => break error,
        }
        log.sync().unwrap();
    };
    let WalError::NoSpace { source } = refused else { panic!("{refused}") };
    assert!(matches!(source, DiskError::NoSpace { .. }));
    assert!(append(&mut log, &[3000]).is_err(), "still full");
    assert_eq!(log.sync().unwrap().number(), u64::try_from(written.len()).unwrap());
    assert!(0 < log.release(log.durable_lsn()).unwrap());
    written.extend(append(&mut log, &[3000]).unwrap());
    log.close().unwrap();
    let first = log_files(&disk);
    let start = frames(&disk.contents(&first[0]).unwrap())[0].first_lsn;
    let (_, _, replayed) = open(&disk, start).unwrap();
    assert_eq!(replayed, written[usize::try_from(start).unwrap()..]);
}

#[test]
fn a_file_that_cannot_grow_goes_on_once_it_can() {
    let disk = sound_disk();
    let (mut log, _, _) = open(&disk, 0).unwrap();
    append(&mut log, &[1000]).unwrap();
    disk.set_faults(SimFaults { capacity_bytes: Some(14_000), ..SimFaults::default() });
    assert!(matches!(append(&mut log, &[7000]), Err(WalError::NoSpace { .. })), "[WAL-14]");
    assert_eq!(log.sync().unwrap(), Lsn::new(1), "what was written before can be synced");
    disk.set_faults(SimFaults::default());
    append(&mut log, &[7000]).unwrap();
    assert_eq!((log.sync().unwrap(), log.file_count()), (Lsn::new(2), 1));
    assert_eq!(open(&disk, 0).unwrap().2.len(), 2);
}

#[test]
fn a_log_opens_on_a_full_disk() {
    let disk = sound_disk();
    let (mut log, _, _) = open(&disk, 0).unwrap();
    append(&mut log, &[8000]).unwrap();
    log.sync().unwrap();
    drop(log);
    disk.set_faults(SimFaults { capacity_bytes: Some(1), ..SimFaults::default() });
    let (mut log, report, replayed) = open(&disk, 0).unwrap();
    assert_eq!((report.next_lsn, replayed.len()), (Lsn::new(1), 1));
    assert!(matches!(append(&mut log, &[1]), Err(WalError::NoSpace { .. })));
    disk.set_faults(SimFaults::default());
    append(&mut log, &[1]).unwrap();
    log.sync().unwrap();
    assert_eq!(open(&disk, 0).unwrap().2.len(), 2);
}

#[test]
fn options_outside_their_bounds_are_refused() {
    let tried = |file_bytes_max, allocate_bytes| {
        let options = LogOptions { file_bytes_max, allocate_bytes };
        Log::open(shared(&sound_disk()), options, Lsn::ZERO, 0, &mut |_, _, _| ()).is_ok()
    };
    let (file_least, file_most) = (limits::FILE_BYTES_LEAST, limits::FILE_BYTES_MOST);
    let (step_least, step_most) = (limits::ALLOCATE_BYTES_LEAST, limits::ALLOCATE_BYTES_MOST);
    assert!(tried(file_least, step_least) && tried(file_most, step_most));
    assert!(!tried(file_least - 1, step_least) && !tried(file_most + 1, step_most));
    assert!(!tried(file_least, step_least - 1) && !tried(file_most, step_most + 1));
}

#[test]
fn a_batch_that_is_too_large_is_refused_and_the_log_goes_on() {
    let (mut log, _, _) = open(&sound_disk(), 0).unwrap();
    let longest = limits::BATCH_BYTES_MAX - limits::HEADER_BYTES - limits::TABLE_ENTRY_BYTES;
    let refused = log.append(0, &[vec![0; longest + 1]]);
    assert!(matches!(refused, Err(WalError::TooLarge { records: 1, .. })));
    log.append(0, &[vec![0; longest]]).unwrap();
    assert_eq!(log.sync().unwrap(), Lsn::new(1));
}
