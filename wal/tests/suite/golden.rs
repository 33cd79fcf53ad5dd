//! The format as it is on disk: golden files that every later program must read and write
//! alike, and the worked example of docs/format/wal.md, decoded from the document itself.

use std::path::{Path, PathBuf};

use tilekv_wal::{Log, Lsn, SimDisk};

use crate::layout::{Kind, frames};
use crate::support::{SMALL, log_files, open, shared, sound_disk};

/// The log of the golden files: two runs of a process, the first one ended in order.
fn written() -> SimDisk {
    let disk = sound_disk();
    let begin = || Log::open(shared(&disk), SMALL, Lsn::ZERO, 2026, &mut |_, _, _| ()).unwrap().0;
    let mut log = begin();
    log.append(1_700_000_000_000, &[&b"first"[..], b""]).unwrap();
    log.sync().unwrap();
    log.append(1_700_000_000_250, &[b"third record"]).unwrap();
    log.close().unwrap();
    let mut log = begin();
    log.append(1_700_000_001_000, &[b"after the restart"]).unwrap();
    log.append(-1, &[b"before 1970"]).unwrap();
    log.sync().unwrap();
    disk
}

const RECORDS: [(i64, &[u8]); 5] = [
    (1_700_000_000_000, b"first"),
    (1_700_000_000_000, b""),
    (1_700_000_000_250, b"third record"),
    (1_700_000_001_000, b"after the restart"),
    (-1, b"before 1970"),
];

#[test]
fn golden_files_decode_and_are_written_again_byte_for_byte() {
    let disk = written();
    let names = log_files(&disk);
    assert_eq!(names, ["wal-0000000000000001.log", "wal-0000000000000002.log"]);
    let golden = sound_disk();
    for name in &names {
        let path = golden_folder().join(name);
        let contents = disk.contents(name).unwrap();
        // Run with TILEKV_WRITE_GOLDEN=1 to write the files of a new version.
        if std::env::var_os("TILEKV_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, &contents).unwrap();
        }
        let stored = std::fs::read(&path).unwrap();
        assert!(stored == contents, "{name} differs from the bytes that are written today");
        golden.put(name, &stored);
    }
    let (_, report, replayed) = open(&golden, 0).unwrap();
    let found: Vec<(i64, &[u8])> =
        replayed.iter().map(|record| (record.now_ms, record.bytes.as_slice())).collect();
    assert_eq!(found, RECORDS);
    assert_eq!((report.cut, report.files_read), (None, names));
}

#[test]
fn the_worked_example_of_the_document_is_the_first_golden_file() {
    let text = std::fs::read_to_string(root().join("docs/format/wal.md")).unwrap();
    let example = hex_of(&text);
    let stored = std::fs::read(golden_folder().join("wal-0000000000000001.log")).unwrap();
    assert!(example.len() <= stored.len() && example == stored[..example.len()]);
    assert!(stored[example.len()..].iter().all(|byte| *byte == 0), "all that is not zero is shown");
    let kinds: Vec<Kind> = frames(&stored).iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds, [Kind::Start, Kind::Batch, Kind::Batch, Kind::End]);
    let disk = sound_disk();
    disk.put("wal-0000000000000001.log", &example);
    let (_, report, replayed) = open(&disk, 0).unwrap();
    assert_eq!((report.next_lsn, report.cut), (Lsn::new(3), None));
    assert_eq!(replayed[2].bytes, RECORDS[2].1);
}

#[test]
fn each_sentence_that_is_cited_stands_in_the_document_once() {
    let text = std::fs::read_to_string(root().join("docs/format/wal.md")).unwrap();
    let sentences: Vec<u32> =
        text.lines().filter_map(|line| number_in(line.strip_prefix("- ")?)).collect();
    let expected: Vec<u32> = (1..).take(sentences.len()).collect();
    assert_eq!(sentences, expected, "numbered from 1 without holes");
    let mut cited = 0;
    for folder in ["wal/src", "wal/tests/suite"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let source = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            let mark = ["[WAL", "-"].concat();
            let places = source.match_indices(&mark);
            for number in places.filter_map(|(at, _)| number_in(&source[at..])) {
                assert!(sentences.contains(&number), "{folder} cites sentence {number}");
                cited += 1;
            }
        }
    }
    assert!(20 < cited, "{cited} citations");
}

/// The number of a text that begins with a sentence's mark.
fn number_in(text: &str) -> Option<u32> {
    text.strip_prefix("[WAL")?.strip_prefix('-')?.split_once(']')?.0.parse().ok()
}

/// The bytes of the document's hexadecimal lines: an offset, bytes, and words after a bar. What
/// is not shown is zero.
fn hex_of(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let block = text.split("```hex\n").nth(1).unwrap().split("```").next().unwrap();
    for line in block.lines().filter(|line| !line.trim().is_empty()) {
        let mut words = line.split('|').take(1).flat_map(str::split_whitespace);
        let offset = usize::from_str_radix(words.next().unwrap(), 16).unwrap();
        assert!(bytes.len() <= offset, "lines stand in order");
        bytes.resize(offset, 0);
        bytes.extend(words.map(|word| u8::from_str_radix(word, 16).unwrap()));
    }
    bytes
}

fn golden_folder() -> PathBuf {
    root().join("wal/golden/version-1")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
