//! Owns how record files come to be: a flush of what has changed, and the merge of neighbours.
//! Knows nothing of manifests or of when either is due.

use tilekv_wal::Disk;

use super::file::{FileEntry, RecordFile, RecordFileWriter, RecordWalk};
use super::shelf::ChangedRecords;
use super::table::RecordTable;
use crate::error::EngineError;
use crate::segment::SegmentId;

/// Writes the records under the changed keys, as they are now, to a file of their own; none where
/// nothing was to be written ([RECORDFILE-6]).
pub(crate) fn write_changes(
    disk: &dyn Disk,
    id: SegmentId,
    table: &RecordTable,
    changed: &ChangedRecords,
    is_oldest: bool,
) -> Result<Option<SegmentId>, EngineError> {
    changed.drop_garbage();
    let mut keys = changed.keys.clone();
    keys.sort_unstable();
    keys.dedup();
    let mut writer = RecordFileWriter::new(disk, id, changed.is_cleared && !is_oldest);
    for key in keys {
        let record = table.stored(&key);
        if record.is_some() || !is_oldest {
            writer.add(&key, record.as_ref())?;
        }
    }
    Ok(writer.finish()?.then_some(id))
}

/// Merges a file and the next newer one. What was removed is named only where still older files
/// may hold it.
pub(crate) fn merge_files(
    disk: &dyn Disk,
    id: SegmentId,
    (older, newer): (SegmentId, SegmentId),
    is_oldest: bool,
) -> Result<Option<SegmentId>, EngineError> {
    let (older, newer) = (RecordFile::open(disk, older)?, RecordFile::open(disk, newer)?);
    let clears = older.clears || newer.clears;
    let mut writer = RecordFileWriter::new(disk, id, clears && !is_oldest);
    let mut older = if newer.clears { None } else { Some(Peeked::new(older.walk())?) };
    let mut newer = Peeked::new(newer.walk())?;
    let mut add = |(key, record): FileEntry| {
        if record.is_none() && is_oldest { Ok(()) } else { writer.add(&key, record.as_ref()) }
    };
    while let Some((key, _)) = &newer.next {
        if let Some(older) = &mut older {
            while older.next.as_ref().is_some_and(|(known, _)| known < key) {
                older.take()?.map_or(Ok(()), &mut add)?;
            }
            if older.next.as_ref().is_some_and(|(known, _)| known == key) {
                older.take()?;
            }
        }
        newer.take()?.map_or(Ok(()), &mut add)?;
    }
    while let Some(entry) = older.as_mut().map(Peeked::take).transpose()?.flatten() {
        add(entry)?;
    }
    Ok(writer.finish()?.then_some(id))
}

/// A walk whose next entry can be looked at.
struct Peeked {
    walk: RecordWalk,
    next: Option<FileEntry>,
}

impl Peeked {
    fn new(mut walk: RecordWalk) -> Result<Self, EngineError> {
        Ok(Self { next: walk.next_entry()?, walk })
    }

    fn take(&mut self) -> Result<Option<FileEntry>, EngineError> {
        let next = self.walk.next_entry()?;
        Ok(std::mem::replace(&mut self.next, next))
    }
}
