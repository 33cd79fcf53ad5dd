//! Owns record files: the records that changed between two flushes, sorted by key
//! (docs/format/recordfile.md). Knows nothing of what is kept in memory, nor of the log.

use std::sync::Arc;

use tilekv_wal::{Disk, DiskFile};

use super::packed;
use super::record::{NEVER, Record, Value};
use super::shelf::RecordWriter;
use super::table::RecordTable;
use crate::codec::{FieldError, Fields, PutFields, bytes_u64, count_u32, index};
use crate::error::EngineError;
use crate::segment::SegmentId;

const MAGIC: &[u8; 8] = b"TKVRECRD";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 32;
const FOOTER_BYTES: usize = 32;
const PAGE_HEAD_BYTES: usize = 8;
/// Bytes after which a page is closed.
const PAGE_BYTES: usize = 256 << 10;
const SYNC_BYTES: u64 = 32 << 20;

const CLEARS: u32 = 1;

const REMOVED: u8 = 0;
const TEXT: u8 = 1;
const HASH: u8 = 2;
const EXPIRES: u8 = 4;

/// The name of the record file with this id.
pub(crate) fn record_file_name(id: SegmentId) -> String {
    format!("records-{:016x}", id.0)
}

/// The id of the record file with this name, if it is one.
pub(crate) fn is_record_file(name: &str) -> Option<SegmentId> {
    let digits = name.strip_prefix("records-").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().map(SegmentId)
}

/// Reads record files, oldest first, into an empty table.
pub(crate) fn load_files(
    disk: &dyn Disk,
    ids: &[SegmentId],
    table: &RecordTable,
) -> Result<(), EngineError> {
    let mut writer = RecordWriter::loading();
    for id in ids {
        load_file(disk, *id, table, &mut writer).map_err(EngineError::at_start)?;
        writer.forget_changes();
    }
    table.make_order();
    Ok(())
}

fn load_file(
    disk: &dyn Disk,
    id: SegmentId,
    table: &RecordTable,
    writer: &mut RecordWriter,
) -> Result<(), EngineError> {
    let file = RecordFile::open(disk, id)?;
    if file.clears {
        table.clear();
    }
    let mut walk = file.walk();
    while let Some((key, record)) = walk.next_entry()? {
        table.restore(writer, &key, record);
    }
    Ok(())
}

/// A sealed record file.
pub(crate) struct RecordFile {
    pub(crate) id: SegmentId,
    file: Box<dyn DiskFile>,
    /// Whether it hides all that older files hold ([RECORDFILE-4]).
    pub(crate) clears: bool,
    pub(crate) bytes: u64,
    data_end: u64,
}

/// A walk over the entries of a file, in the order of their keys.
pub(crate) struct RecordWalk {
    file: RecordFile,
    page: Vec<u8>,
    /// Where the walk stands in the page.
    at: usize,
    /// Where the next page starts in the file.
    next_page: u64,
}

/// A key and its record; none where it was removed.
pub(crate) type FileEntry = (Vec<u8>, Option<Record>);

impl RecordFile {
    /// Opens a file and checks its header and footer.
    pub(crate) fn open(disk: &dyn Disk, id: SegmentId) -> Result<Self, EngineError> {
        let name = record_file_name(id);
        let file = disk.open(&name)?;
        let bytes = file.len()?;
        if bytes < bytes_u64(HEADER_BYTES + FOOTER_BYTES) {
            return Err(damaged(id, 0, "no header and footer"));
        }
        let mut header = [0; HEADER_BYTES];
        file.read_at(0, &mut header)?;
        let clears = check_header(id, &header)?;
        let footer_at = bytes - bytes_u64(FOOTER_BYTES);
        let mut footer = [0; FOOTER_BYTES];
        file.read_at(footer_at, &mut footer)?;
        check_footer(id, &footer, footer_at)?;
        Ok(Self { id, file, clears, bytes, data_end: footer_at })
    }

    /// The entries from the first on.
    pub(crate) fn walk(self) -> RecordWalk {
        RecordWalk { file: self, page: Vec::new(), at: 0, next_page: bytes_u64(HEADER_BYTES) }
    }
}

impl RecordWalk {
    /// The next key and its record.
    pub(crate) fn next_entry(&mut self) -> Result<Option<FileEntry>, EngineError> {
        if self.at == self.page.len() && !self.read_page()? {
            return Ok(None);
        }
        let mut fields = Fields::new(&self.page[self.at..]);
        let entry = decode_entry(&mut fields);
        let entry = entry.map_err(|error| damaged(self.file.id, self.next_page, error))?;
        self.at = self.page.len() - fields.rest().len();
        Ok(Some(entry))
    }

    /// Reads and checks the next page; false behind the last ([RECORDFILE-3]).
    fn read_page(&mut self) -> Result<bool, EngineError> {
        let RecordFile { id, file, data_end, .. } = &self.file;
        if self.next_page == *data_end {
            return Ok(false);
        }
        let start = self.next_page;
        let mut head = [0; PAGE_HEAD_BYTES];
        let body_at = start + bytes_u64(PAGE_HEAD_BYTES);
        if *data_end < body_at {
            return Err(damaged(*id, start, "a page without its head"));
        }
        file.read_at(start, &mut head)?;
        let mut fields = Fields::new(&head);
        let (len, crc) = (fields.u32().unwrap_or(0), fields.u32().unwrap_or(0));
        let end = body_at + u64::from(len);
        if len == 0 || *data_end < end {
            return Err(damaged(*id, start, "a page reaches beyond the file's pages"));
        }
        self.page.resize(index(u64::from(len)), 0);
        file.read_at(body_at, &mut self.page)?;
        if crc32fast::hash(&self.page) != crc {
            return Err(damaged(*id, start, "a page's checksum does not match"));
        }
        file.forget(start, end - start);
        (self.at, self.next_page) = (0, end);
        Ok(true)
    }
}

/// Writes one record file, entry by entry in the order of their keys.
pub(crate) struct RecordFileWriter<'a> {
    disk: &'a dyn Disk,
    id: SegmentId,
    file: Option<Box<dyn DiskFile>>,
    page: Vec<u8>,
    clears: bool,
    entries: u64,
    written: u64,
    synced: u64,
}

impl<'a> RecordFileWriter<'a> {
    /// Begins a file; it appears with its first entry, or at the end where it clears.
    pub(crate) fn new(disk: &'a dyn Disk, id: SegmentId, clears: bool) -> Self {
        let page = vec![0; PAGE_HEAD_BYTES];
        Self { disk, id, file: None, page, clears, entries: 0, written: 0, synced: 0 }
    }

    /// Adds a record, or that there is none ([RECORDFILE-5]).
    pub(crate) fn add(&mut self, key: &[u8], record: Option<&Record>) -> Result<(), EngineError> {
        encode_entry(key, record, &mut self.page);
        self.entries += 1;
        if PAGE_BYTES <= self.page.len() { self.close_page() } else { Ok(()) }
    }

    /// Ends the file, durably under its name ([RECORDFILE-7]); false, and no file, where there was
    /// nothing to write.
    pub(crate) fn finish(mut self) -> Result<bool, EngineError> {
        if self.entries == 0 && !self.clears {
            return Ok(false);
        }
        self.close_page()?;
        let mut footer = Vec::with_capacity(FOOTER_BYTES);
        footer.put_u64(self.entries);
        footer.put_u64(self.written);
        footer.extend_from_slice(MAGIC);
        footer.put_u32(0);
        footer.put_u32(crc32fast::hash(&footer));
        self.write(&footer)?;
        let name = record_file_name(self.id);
        if let Some(file) = &self.file {
            file.sync()?;
        }
        self.disk.rename(&format!("{name}.tmp"), &name)?;
        self.disk.sync_folder()?;
        Ok(true)
    }

    fn close_page(&mut self) -> Result<(), EngineError> {
        self.begin()?;
        let len = self.page.len() - PAGE_HEAD_BYTES;
        if len == 0 {
            return Ok(());
        }
        let crc = crc32fast::hash(&self.page[PAGE_HEAD_BYTES..]);
        self.page[..4].copy_from_slice(&count_u32(len).to_le_bytes());
        self.page[4..8].copy_from_slice(&crc.to_le_bytes());
        let page = std::mem::take(&mut self.page);
        let written = self.write(&page);
        self.page = page;
        self.page.truncate(PAGE_HEAD_BYTES);
        self.page.shrink_to(4 * PAGE_BYTES);
        written
    }

    /// Creates the file, with its header.
    fn begin(&mut self) -> Result<(), EngineError> {
        if self.file.is_some() {
            return Ok(());
        }
        self.file = Some(self.disk.create(&format!("{}.tmp", record_file_name(self.id)))?);
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.put_u32(VERSION);
        header.put_u32(if self.clears { CLEARS } else { 0 });
        header.put_u64(self.id.0);
        header.put_u32(0);
        header.put_u32(crc32fast::hash(&header));
        self.write(&header)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        let Some(file) = &self.file else { unreachable!("the file begins with its header") };
        file.write_at(self.written, bytes)?;
        self.written += bytes_u64(bytes.len());
        if SYNC_BYTES <= self.written - self.synced {
            file.sync()?;
            self.synced = self.written;
        }
        Ok(())
    }
}

fn encode_entry(key: &[u8], record: Option<&Record>, out: &mut Vec<u8>) {
    let Some(record) = record else {
        out.put_u8(REMOVED);
        return out.put_short(key);
    };
    let kind = if record.text().is_some() { TEXT } else { HASH };
    let expires = record.expires_ms != NEVER;
    out.put_u8(kind + if expires { EXPIRES } else { 0 });
    out.put_short(key);
    if expires {
        out.put_i64(record.expires_ms);
    }
    match &record.value {
        Value::Text(text) => out.put_long(text),
        Value::Small(_) | Value::Large(_) => out.put_long(record.packed().bytes()),
    }
}

fn decode_entry(fields: &mut Fields<'_>) -> Result<FileEntry, FieldError> {
    let flags = fields.u8()?;
    let key = fields.short()?.to_vec();
    if flags == REMOVED {
        return Ok((key, None));
    }
    let expires_ms = if flags & EXPIRES == 0 { NEVER } else { fields.i64()? };
    let body = fields.long()?;
    let value = match flags & !EXPIRES {
        TEXT => Value::Text(Arc::from(body)),
        HASH if packed::check(body) => Value::of_fields(body),
        HASH => return Err(FieldError::Value("fields")),
        _ => return Err(FieldError::Value("entry kind")),
    };
    Ok((key, Some(Record { value, expires_ms })))
}

/// [RECORDFILE-1], [RECORDFILE-2]
fn check_header(id: SegmentId, header: &[u8; HEADER_BYTES]) -> Result<bool, EngineError> {
    let mut fields = Fields::new(header);
    if fields.take(8) != Ok(MAGIC) {
        return Err(damaged(id, 0, "no record file magic"));
    }
    let crc = Fields::new(&header[HEADER_BYTES - 4..]).u32();
    if crc != Ok(crc32fast::hash(&header[..HEADER_BYTES - 4])) {
        return Err(damaged(id, 0, "the header's checksum does not match"));
    }
    let mut read =
        || -> Result<_, FieldError> { Ok((fields.u32()?, fields.u32()?, fields.u64()?)) };
    let (version, flags, named) = read().map_err(|error| damaged(id, 0, error))?;
    if version != VERSION {
        let (file, expected) = (record_file_name(id), VERSION);
        return Err(EngineError::NewerFormat { file, found: version, expected });
    }
    if named != id.0 || CLEARS < flags {
        return Err(damaged(id, 0, "the header names another file"));
    }
    Ok(flags == CLEARS)
}

fn check_footer(
    id: SegmentId,
    footer: &[u8; FOOTER_BYTES],
    footer_at: u64,
) -> Result<(), EngineError> {
    let crc = Fields::new(&footer[FOOTER_BYTES - 4..]).u32();
    if crc != Ok(crc32fast::hash(&footer[..FOOTER_BYTES - 4])) {
        return Err(damaged(id, footer_at, "the footer's checksum does not match"));
    }
    let data_end = Fields::new(&footer[8..]).u64();
    if data_end != Ok(footer_at) || footer[16..24] != *MAGIC {
        return Err(damaged(id, footer_at, "the footer does not fit the file"));
    }
    Ok(())
}

fn damaged(id: SegmentId, offset: u64, what: impl ToString) -> EngineError {
    EngineError::Damaged { file: record_file_name(id), offset, what: what.to_string() }
}

#[cfg(test)]
mod tests {
    use tilekv_wal::{SimDisk, SimFaults};

    use super::*;
    use crate::records::effect::Change;

    fn text(text: &[u8], expires_ms: i64) -> Record {
        Record { value: Value::Text(text.into()), expires_ms }
    }

    fn write(disk: &SimDisk) -> Vec<u8> {
        let mut hash = Record::empty();
        let mut fields = Vec::new();
        packed::begin(&mut fields);
        packed::push(&mut fields, b"f", b"1");
        let put = Change::PutFields { is_base: true, expires_ms: NEVER, fields: &fields };
        hash.change(&put, &mut Vec::new());
        let mut writer = RecordFileWriter::new(disk, SegmentId(3), true);
        writer.add(b"a", Some(&text(b"xy", 7))).unwrap();
        writer.add(b"b", None).unwrap();
        writer.add(b"c", Some(&hash)).unwrap();
        assert!(writer.finish().unwrap());
        let file = disk.open(&record_file_name(SegmentId(3))).unwrap();
        let mut bytes = vec![0; index(file.len().unwrap())];
        file.read_at(0, &mut bytes).unwrap();
        bytes
    }

    fn read(disk: &SimDisk) -> Result<usize, EngineError> {
        let mut walk = RecordFile::open(disk, SegmentId(3))?.walk();
        let mut count = 0;
        while walk.next_entry()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    /// The example of docs/format/recordfile.md ([RECORDFILE-5]), and every bit of it flipped.
    #[test]
    fn golden_bytes_read_back_and_no_flipped_bit_passes() {
        let disk = SimDisk::new(1, SimFaults::default());
        let bytes = write(&disk);
        let page = &bytes[HEADER_BYTES + PAGE_HEAD_BYTES..bytes.len() - FOOTER_BYTES];
        let expected = [
            &[5, 1, 0, b'a', 7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, b'x', b'y'][..],
            &[0, 1, 0, b'b'],
            &[2, 1, 0, b'c', 8, 0, 0, 0, 1, 0, 0, 0, 1, b'f', 1, b'1'],
        ];
        assert_eq!(page, expected.concat());
        assert_eq!(read(&disk).unwrap(), 3);
        assert!(RecordFile::open(&disk, SegmentId(3)).unwrap().clears);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            let file = disk.create(&record_file_name(SegmentId(3))).unwrap();
            file.write_at(0, &damaged).unwrap();
            let error = read(&disk).unwrap_err().to_string();
            assert!(error.starts_with("records-0000000000000003"), "byte {at}: {error}");
        }
    }
}
