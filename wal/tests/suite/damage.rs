//! Damaged logs: each flipped byte, each truncation, random files. Whatever was proved durable
//! is refused when it is damaged; the rest is cut; no wrong record is ever replayed.

use proptest::prelude::*;
use tilekv_wal::{Disk, Log, LogOptions, Lsn, SimDisk, SimFaults, WalError};

use crate::layout::{Frame, Kind, frames};
use crate::support::{Record, SMALL, append, log_files, open, shared, sound_disk};

/// Three files of synced batches of many sizes, some synced together; the last is not sealed.
fn written_log() -> (SimDisk, Vec<Record>) {
    let disk = sound_disk();
    let (mut log, _, _) = open(&disk, 0).unwrap();
    let mut records = Vec::new();
    for round in 0..14_usize {
        records.extend(append(&mut log, &[round * 97 % 300, 0, 5]).unwrap());
        if round % 3 == 0 {
            records.extend(append(&mut log, &[round * 131]).unwrap());
        }
        log.sync().unwrap();
    }
    (disk, records)
}

fn all_frames(disk: &SimDisk) -> Vec<(String, Frame)> {
    let of = |name: String| {
        let frames = frames(&disk.contents(&name).unwrap());
        frames.into_iter().map(move |frame| (name.clone(), frame))
    };
    log_files(disk).into_iter().flat_map(of).collect()
}

/// The batch that cannot be read when byte `at` of a file is damaged, if any.
fn damaged<'a>(frames: &'a [(String, Frame)], file: &str, at: usize) -> Option<&'a Frame> {
    let hit =
        |(name, frame): &&(String, Frame)| name == file && (frame.offset..frame.end).contains(&at);
    frames.iter().find(hit).map(|(_, frame)| frame)
}

/// Whether a frame after this one, or the next file, proves it durable ([WAL-26]).
fn proved(all: &[(String, Frame)], file: &str, frame: &Frame) -> bool {
    all.iter().any(|(name, other)| {
        frame.first_lsn < other.durable_lsn && (name == file || other.kind == Kind::Start)
    })
}

#[test]
fn any_flipped_byte_is_refused_or_cut_or_harmless() {
    let (disk, records) = written_log();
    let all = all_frames(&disk);
    let (mut refused, mut cut, mut harmless) = (0, 0, 0);
    for name in log_files(&disk) {
        for at in 0..disk.contents(&name).unwrap().len() {
            let disk = disk.fork();
            disk.flip_bit(&name, u64::try_from(at).unwrap(), u8::try_from(at % 8).unwrap())
                .unwrap();
            let before: Vec<_> = log_files(&disk).iter().map(|name| disk.contents(name)).collect();
            let hit = damaged(&all, &name, at).filter(|frame| frame.kind != Kind::End);
            match (open(&disk, 0), hit) {
                (Ok((_, report, replayed)), None) => {
                    assert_eq!(replayed, records, "{name} {at}");
                    assert_eq!(report.next_lsn.number(), u64::try_from(records.len()).unwrap());
                    harmless += 1;
                }
                (Ok((_, report, replayed)), Some(frame)) => {
                    assert!(!proved(&all, &name, frame), "{name} {at}: silently cut");
                    let kept = usize::try_from(frame.first_lsn).unwrap();
                    assert_eq!(replayed, records[..kept], "{name} {at}");
                    let found = report.cut.expect("a cut is reported");
                    assert_eq!((found.file, found.lsn.number()), (name.clone(), frame.first_lsn));
                    cut += 1;
                }
                (Err(WalError::Corrupt { file, offset, lsn, .. }), Some(frame)) => {
                    let expected = (frame.offset, frame.first_lsn);
                    assert_eq!((usize::try_from(offset).unwrap(), lsn.number()), expected);
                    assert_eq!(file, name);
                    let after: Vec<_> =
                        log_files(&disk).iter().map(|name| disk.contents(name)).collect();
                    assert!(before == after, "{name} {at}: a refusal changes nothing");
                    refused += 1;
                }
                (Err(error), _) => panic!("{name} {at}: {error}"),
            }
        }
    }
    assert!(2000 < refused && 100 < cut && 10_000 < harmless, "{refused} {cut} {harmless}");
}

#[test]
fn after_a_clean_shutdown_any_flip_in_any_batch_is_refused() {
    let (disk, _) = written_log();
    let (log, _, _) = open(&disk, 0).unwrap();
    log.close().unwrap();
    for (name, frame) in all_frames(&disk).iter().filter(|(_, frame)| frame.kind == Kind::Batch) {
        for at in frame.offset..frame.end {
            let disk = disk.fork();
            disk.flip_bit(name, u64::try_from(at).unwrap(), 3).unwrap();
            let error = open(&disk, 0).map(|_| ()).unwrap_err();
            let WalError::Corrupt { file, offset, .. } = &error else {
                panic!("{name} {at}: {error}")
            };
            assert_eq!((file, *offset), (name, u64::try_from(frame.offset).unwrap()));
        }
    }
}

#[test]
fn truncated_anywhere_the_last_file_gives_exactly_the_batches_that_are_left() {
    let (disk, records) = written_log();
    let all = all_frames(&disk);
    let last = log_files(&disk).pop().unwrap();
    let contents = disk.contents(&last).unwrap();
    for len in 0..contents.len() {
        let disk = disk.fork();
        disk.put(&last, &contents[..len]);
        let whole = |(name, frame): &&(String, Frame)| *name != last || frame.end <= len;
        let left: usize = all.iter().filter(whole).map(|(_, frame)| frame.records.len()).sum();
        let (mut log, report, replayed) = open(&disk, 0).unwrap();
        assert_eq!(replayed, records[..left], "cut at {len}");
        assert_eq!(report.next_lsn, log.next_lsn());
        append(&mut log, &[1]).unwrap();
        log.sync().unwrap();
        assert_eq!(open(&disk, 0).unwrap().2.len(), left + 1, "cut at {len}, and written on");
    }
}

#[test]
fn truncated_anywhere_an_earlier_file_is_refused_unless_all_its_batches_are_left() {
    let (disk, records) = written_log();
    let first = log_files(&disk).remove(0);
    let contents = disk.contents(&first).unwrap();
    let last_batch = frames(&contents).iter().rfind(|frame| frame.kind == Kind::Batch).unwrap().end;
    for len in 0..contents.len() {
        let disk = disk.fork();
        disk.put(&first, &contents[..len]);
        match open(&disk, 0) {
            Ok((_, _, replayed)) => {
                assert!(last_batch <= len, "cut at {len}");
                assert_eq!(replayed, records, "cut at {len}");
            }
            Err(WalError::Corrupt { file, .. }) => {
                assert!(len < last_batch && file == first, "cut at {len}");
            }
            Err(WalError::Missing { .. }) => assert!(len < 64, "cut at {len}"),
            Err(error) => panic!("cut at {len}: {error}"),
        }
    }
}

#[test]
fn a_torn_tail_stays_cut_and_its_stale_batches_never_return() {
    let disk = sound_disk();
    let (mut log, _, _) = open(&disk, 0).unwrap();
    let mut records = append(&mut log, &[100]).unwrap();
    log.sync().unwrap();
    for _ in 0..3 {
        append(&mut log, &[100]).unwrap();
    }
    drop(log);
    // The middle one of three batches that no sync covered is lost; the last one is whole.
    let name = log_files(&disk).remove(0);
    let torn = frames(&disk.contents(&name).unwrap())[3].clone();
    disk.flip_bit(&name, u64::try_from(torn.offset + 80).unwrap(), 0).unwrap();
    let (mut log, report, replayed) = open(&disk, 0).unwrap();
    records.extend(append_expected(&replayed, 1));
    let cut = report.cut.expect("a torn tail");
    assert_eq!((cut.lsn, cut.batches_whole, cut.records_whole), (Lsn::new(2), 1, 1));
    assert_eq!(cut.offset, u64::try_from(torn.offset).unwrap());
    assert_eq!(replayed, records);
    records.extend(append(&mut log, &[7]).unwrap());
    log.sync().unwrap();
    for _ in 0..3 {
        let (_, report, replayed) = open(&disk, 0).unwrap();
        assert_eq!((replayed, report.cut), (records.clone(), None));
    }
}

fn append_expected(replayed: &[Record], from: usize) -> Vec<Record> {
    replayed[from..].to_vec()
}

#[test]
fn a_proof_is_found_however_far_it_stands() {
    let disk = sound_disk();
    let options = LogOptions { file_bytes_max: 16 << 20, allocate_bytes: 1 << 20 };
    let (mut log, _) = Log::open(shared(&disk), options, Lsn::ZERO, 1, &mut |_, _, _| ()).unwrap();
    for size in [10, 5 << 20] {
        log.append(0, &[vec![3; size]]).unwrap();
    }
    log.sync().unwrap();
    log.append(0, &[b"the proof"]).unwrap();
    drop(log);
    // Both synced batches are damaged, so that the long one has to be searched.
    let name = log_files(&disk).remove(0);
    for at in [4096 + 70, 3 << 20] {
        disk.flip_bit(&name, at, 0).unwrap();
    }
    let error = open(&disk, 0).map(|_| ()).unwrap_err();
    let WalError::Corrupt { offset, lsn, .. } = error else { panic!("{error}") };
    assert_eq!((offset, lsn), (4096, Lsn::ZERO));
}

#[test]
fn frames_of_another_file_prove_nothing() {
    let (donor, _) = written_log();
    let name = log_files(&donor).remove(0);
    let stale = donor.contents(&name).unwrap();
    let disk = SimDisk::new(1, SimFaults::default());
    let (mut log, _) = Log::open(shared(&disk), SMALL, Lsn::ZERO, 99, &mut |_, _, _| ()).unwrap();
    append(&mut log, &[9]).unwrap();
    log.sync().unwrap();
    drop(log);
    // The disk gives the new file blocks of an older one, whose frames have high LSNs.
    let mut contents = disk.contents(&name).unwrap();
    contents.truncate(8192);
    contents.extend_from_slice(&stale[8192..]);
    disk.put(&name, &contents);
    let (_, report, replayed) = open(&disk, 0).unwrap();
    let cut = report.cut.expect("what does not belong there is cut");
    assert_eq!((replayed.len(), cut.lsn, cut.batches_whole), (1, Lsn::new(1), 0), "[WAL-8]");
}

#[test]
fn a_sound_frame_in_the_wrong_place_is_refused() {
    // Each with a good checksum of its own: what is wrong is where it stands ([WAL-22]).
    let (disk, _) = written_log();
    let all = all_frames(&disk);
    let (name, frame) = &all[4];
    for (at, what) in [(8, "salt"), (16, "LSN"), (48, "follows checksum")] {
        let mut contents = disk.contents(name).unwrap();
        contents[frame.offset + at] ^= 0x40;
        let crc = crc32fast::hash(&contents[frame.offset..frame.offset + 60]);
        contents[frame.offset + 60..frame.offset + 64].copy_from_slice(&crc.to_le_bytes());
        let disk = disk.fork();
        disk.put(name, &contents);
        let error = open(&disk, 0).map(|_| ()).unwrap_err();
        let WalError::Corrupt { lsn, found, .. } = &error else { panic!("{what}: {error}") };
        assert_eq!(lsn.number(), frame.first_lsn, "{what}");
        assert!(found.contains(what), "{what}: {found}");
    }
}

#[test]
fn a_file_of_another_version_is_refused_and_left_as_it_is() {
    let (disk, _) = written_log();
    let name = log_files(&disk).pop().unwrap();
    let mut contents = disk.contents(&name).unwrap();
    contents[4] = 2;
    let crc = crc32fast::hash(&contents[..60]);
    contents[60..64].copy_from_slice(&crc.to_le_bytes());
    disk.put(&name, &contents);
    let error = open(&disk, 0).map(|_| ()).unwrap_err();
    let WalError::Version { file, found, expected } = error else { panic!("{error}") };
    assert_eq!((file, found, expected), (name.clone(), 2, 1));
    assert_eq!(disk.contents(&name).unwrap(), contents);
}

#[test]
fn a_read_error_is_no_torn_tail() {
    let (disk, _) = written_log();
    let reads = {
        let disk = disk.fork();
        let before = disk.operations(tilekv_wal::SimOperation::Read);
        open(&disk, 0).unwrap();
        disk.operations(tilekv_wal::SimOperation::Read) - before
    };
    assert!(6 < reads);
    for nth in 1..=reads {
        let disk = disk.fork();
        disk.fail_nth(tilekv_wal::SimOperation::Read, nth);
        let refused = open(&disk, 0).map(|_| ());
        assert!(matches!(refused, Err(WalError::Disk { .. })), "read {nth}: {refused:?}");
        open(&disk, 0).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..9000),
        keep_start in any::<bool>(),
        manifest in 0_u64..3,
    ) {
        let disk = sound_disk();
        let (mut log, _, _) = open(&disk, 0).unwrap();
        append(&mut log, &[30]).unwrap();
        log.sync().unwrap();
        let name = log_files(&disk).remove(0);
        let start = disk.contents(&name).unwrap()[..4096].to_vec();
        let contents = if keep_start { [start, bytes].concat() } else { bytes };
        disk.put(&name, &contents);
        let mut replayed = 0;
        let _any = Log::inspect(&disk, Lsn::new(manifest), &mut |_, _, _| replayed += 1);
        let _any = open(&disk, manifest).map(|_| ());
        prop_assert_eq!(replayed, 0, "random bytes passed for a record");
    }

    #[test]
    fn scrambled_regions_never_give_a_wrong_record(
        seed in any::<u64>(),
        from in 0_usize..60_000,
        len in 1_usize..3000,
        copy_from in proptest::option::of(0_usize..60_000),
    ) {
        let (disk, records) = written_log();
        let names = log_files(&disk);
        let name = &names[usize::try_from(seed).unwrap_or(0) % names.len()];
        let mut contents = disk.contents(name).unwrap();
        let from = from % contents.len();
        let end = (from + len).min(contents.len());
        match copy_from.map(|at| at % contents.len()) {
            // A misdirected write: sound bytes of the log in the wrong place.
            Some(at) => {
                let at = at.min(contents.len() - (end - from));
                contents.copy_within(at..at + (end - from), from);
            }
            None => contents[from..end].fill(u8::try_from(seed % 256).unwrap()),
        }
        disk.put(name, &contents);
        if let Ok((_, _, replayed)) = open(&disk, 0) {
            prop_assert_eq!(&replayed[..], &records[..replayed.len()]);
        }
        prop_assert_eq!(disk.list().unwrap().is_empty(), false);
    }
}
