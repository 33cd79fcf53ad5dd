//! Logs that are read and copied while they grow, and logs that are searched for damage.

use tilekv_wal::{LogTail, Lsn, SimDisk, WalError, copy_log, read_log, survey_log};

use crate::layout::{Kind, frames};
use crate::support::{Record, append, log_files, open, sound_disk};

fn read(disk: &SimDisk, from: u64) -> Result<(LogTail, Vec<Record>), WalError> {
    let mut records = Vec::new();
    let tail = read_log(disk, Lsn::new(from), &mut |lsn, now_ms, bytes| {
        records.push(Record { lsn: lsn.number(), now_ms, bytes: bytes.to_vec() });
    })?;
    Ok((tail, records))
}

fn copy(disk: &SimDisk, from: u64) -> (SimDisk, LogTail) {
    let target = sound_disk();
    let tail = copy_log(disk, &target, Lsn::new(from), &mut |_, _, _| ()).unwrap();
    (target, tail)
}

/// Several files of batches, the last of them open; nothing after the last sync.
fn written(rounds: usize) -> (SimDisk, tilekv_wal::Log, Vec<Record>) {
    let disk = sound_disk();
    let (mut log, _, _) = open(&disk, 0).unwrap();
    let mut records = Vec::new();
    for round in 0..rounds {
        records.extend(append(&mut log, &[round * 97 % 3000, 0, 5]).unwrap());
        log.sync().unwrap();
    }
    (disk, log, records)
}

#[test]
fn a_copy_of_a_running_log_opens_with_every_record_written_so_far() {
    let (disk, mut log, mut records) = written(30);
    records.extend(append(&mut log, &[10]).unwrap());
    let files_before: Vec<_> = log_files(&disk).iter().map(|name| disk.contents(name)).collect();
    let (target, tail) = copy(&disk, 0);
    assert_eq!(tail.next_lsn, log.next_lsn());
    assert_eq!(tail.files, log_files(&disk));
    assert!(3 < tail.files.len() && tail.open_at.is_some());
    let files_after: Vec<_> = log_files(&disk).iter().map(|name| disk.contents(name)).collect();
    assert!(files_before == files_after, "copying changes nothing");
    let (_, report, replayed) = open(&target, 0).unwrap();
    assert_eq!((replayed, report.cut), (records, None));
}

#[test]
fn a_copy_from_an_lsn_has_the_files_from_there_on() {
    let (disk, _log, records) = written(30);
    let (target, tail) = copy(&disk, 60);
    assert!(tail.files.len() < log_files(&disk).len());
    let (_, _, replayed) = open(&target, 60).unwrap();
    assert_eq!(replayed, records[60..]);
}

/// What a copy is finished with makes every batch of it provable ([WAL-37]).
#[test]
fn damage_to_any_batch_of_a_copy_is_refused() {
    let (disk, mut log, _) = written(3);
    append(&mut log, &[10]).unwrap();
    let (target, _) = copy(&disk, 0);
    let name = &log_files(&target)[0];
    for frame in frames(&target.contents(name).unwrap()) {
        if frame.kind == Kind::Batch {
            let damaged = target.fork();
            damaged.flip_bit(name, u64::try_from(frame.offset + 70).unwrap(), 1).unwrap();
            assert!(matches!(open(&damaged, 0), Err(WalError::Corrupt { .. })));
        }
    }
}

#[test]
fn a_batch_that_is_half_written_is_left_out() {
    let (disk, mut log, records) = written(1);
    let name = log_files(&disk)[0].clone();
    append(&mut log, &[900]).unwrap();
    let last = frames(&disk.contents(&name).unwrap()).pop().unwrap();
    let mut bytes = disk.contents(&name).unwrap();
    bytes[last.offset + 500..last.end].fill(0);
    disk.put(&name, &bytes);
    let (tail, read) = read(&disk, 0).unwrap();
    assert_eq!(read, records);
    assert_eq!(tail.open_at.unwrap().next_multiple_of(4096), u64::try_from(last.offset).unwrap());
    assert!(0 < tail.torn_bytes);
    assert_eq!(survey_log(&disk, Lsn::ZERO).unwrap(), []);
}

/// [WAL-35]
#[test]
fn a_file_that_is_being_created_is_passed_over() {
    let (disk, _log, records) = written(3);
    disk.put("wal-00000000000000ff.log", &[0; 4096]);
    assert_eq!(read(&disk, 0).unwrap().1, records);
    let (_, tail) = copy(&disk, 0);
    assert_eq!(tail.files.len(), 1);
}

#[test]
fn released_files_are_missing_and_an_empty_folder_is_an_empty_log() {
    let (disk, mut log, _) = written(30);
    log.release(Lsn::new(60)).unwrap();
    assert!(matches!(read(&disk, 0), Err(WalError::Missing { .. })));
    assert_eq!(read(&disk, 60).unwrap().0.next_lsn, log.next_lsn());
    assert!(matches!(read(&disk, 1_000), Err(WalError::Corrupt { .. })));
    let empty = sound_disk();
    assert_eq!(read(&empty, 0).unwrap().0, LogTail::default());
    assert!(matches!(read(&empty, 1), Err(WalError::Missing { .. })));
}

/// Whatever recovery refuses, reading beside a writer refuses too, and the survey names its file;
/// where recovery opens, the survey finds nothing.
#[test]
fn reader_survey_and_recovery_agree_about_any_flipped_byte() {
    let (disk, mut log, _) = written(8);
    append(&mut log, &[10]).unwrap();
    let mut refused = 0;
    for name in log_files(&disk) {
        let bytes = disk.contents(&name).unwrap();
        for at in (0..bytes.len()).filter(|at| bytes[*at] != 0 || at % 64 == 0) {
            let damaged = disk.fork();
            damaged.flip_bit(&name, u64::try_from(at).unwrap(), 3).unwrap();
            let (read, survey) = (read(&damaged, 0), survey_log(&damaged, Lsn::ZERO));
            let faults = survey.as_ref().map_or(0, Vec::len);
            match (open(&damaged, 0), read) {
                (Ok((_, _, replayed)), Ok((_, read))) => {
                    assert_eq!(read, replayed, "{name} {at}");
                    assert_eq!(faults, 0, "{name} {at}: {survey:?}");
                }
                (Err(WalError::Corrupt { file, lsn, .. }), Err(WalError::Corrupt { .. })) => {
                    let faults = survey.unwrap();
                    let named = faults.iter().any(|fault| fault.file == file && fault.lsn == lsn);
                    assert!(named, "{name} {at}: {faults:?}, want {file} {lsn}");
                    refused += 1;
                }
                (Err(WalError::Version { .. }), Err(WalError::Version { .. })) => {}
                (Err(_), Err(WalError::Missing { .. })) => {
                    assert!(at < 64, "{name} {at}: only without its start is a file missing");
                }
                (opened, read) => {
                    let opened = opened.map(|(_, report, _)| report);
                    panic!("{name} {at}: recovery {opened:?}, reader {read:?}")
                }
            }
        }
    }
    assert!(500 < refused, "{refused} refusals");
}

#[test]
fn the_survey_goes_on_after_each_find() {
    let (disk, log, _) = written(30);
    drop(log);
    let names = log_files(&disk);
    let mut expected = Vec::new();
    for name in &names[..3] {
        let all = frames(&disk.contents(name).unwrap());
        let batches: Vec<_> = all.iter().filter(|frame| frame.kind == Kind::Batch).collect();
        for frame in [batches[0], batches[batches.len() - 1]] {
            let at = u64::try_from(frame.end - 1).unwrap();
            disk.flip_bit(name, at, 0).unwrap();
            disk.flip_bit(name, u64::try_from(frame.offset + 66).unwrap(), 0).unwrap();
            expected.push((name.clone(), u64::try_from(frame.offset).unwrap(), frame.first_lsn));
        }
    }
    let found: Vec<_> = survey_log(&disk, Lsn::ZERO)
        .unwrap()
        .into_iter()
        .map(|fault| (fault.file, fault.offset, fault.lsn.number()))
        .collect();
    assert_eq!(found, expected);
}
