//! A second decoder of the log's bytes, written after docs/format/wal.md alone, so that the
//! tests know where each frame stands without asking the code that they test.

/// What a frame is, by the number in the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Start,
    Batch,
    End,
}

/// A frame and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) offset: usize,
    pub(crate) end: usize,
    pub(crate) salt: u64,
    pub(crate) first_lsn: u64,
    pub(crate) durable_lsn: u64,
    pub(crate) now_ms: i64,
    pub(crate) previous_crc: u32,
    pub(crate) crc: u32,
    pub(crate) records: Vec<Vec<u8>>,
}

/// All frames of a sound file, in order.
pub(crate) fn frames(file: &[u8]) -> Vec<Frame> {
    let mut frames = vec![frame(file, 0).expect("a start frame")];
    let mut at = 4096;
    loop {
        let found = frame(file, at).or_else(|| frame(file, at.next_multiple_of(4096)));
        let Some(next) = found else { return frames };
        at = next.end;
        let last = next.kind == Kind::End;
        frames.push(next);
        if last {
            return frames;
        }
    }
}

fn frame(file: &[u8], offset: usize) -> Option<Frame> {
    let header = file.get(offset..offset + 64)?;
    if &header[0..4] != b"TKVW" {
        return None;
    }
    assert_eq!(u16_at(header, 4), 1, "version");
    let kind = match u16_at(header, 6) {
        1 => Kind::Start,
        2 => Kind::Batch,
        3 => Kind::End,
        other => panic!("kind {other}"),
    };
    let (count, body_bytes) = (size_at(header, 40), size_at(header, 44));
    assert_eq!(u32_at(header, 56), 0, "reserved");
    assert_eq!(u32_at(header, 60), crc32fast::hash(&header[..60]), "header checksum");
    let body = &file[offset + 64..offset + 64 + body_bytes];
    let (table, mut rest) = body.split_at(8 * count);
    assert!(kind != Kind::Batch || u32_at(header, 52) == crc32fast::hash(table), "table checksum");
    let mut records = Vec::new();
    for entry in table.chunks(8) {
        let (record, after) = rest.split_at(size_at(entry, 0));
        assert_eq!(u32_at(entry, 4), crc32fast::hash(record), "record checksum");
        records.push(record.to_vec());
        rest = after;
    }
    assert!(rest.is_empty());
    Some(Frame {
        kind,
        offset,
        end: (offset + 64 + body_bytes).next_multiple_of(8),
        salt: u64_at(header, 8),
        first_lsn: u64_at(header, 16),
        durable_lsn: u64_at(header, 24),
        now_ms: u64_at(header, 32).cast_signed(),
        previous_crc: u32_at(header, 48),
        crc: u32_at(header, 60),
        records,
    })
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn size_at(bytes: &[u8], at: usize) -> usize {
    usize::try_from(u32_at(bytes, at)).unwrap()
}
