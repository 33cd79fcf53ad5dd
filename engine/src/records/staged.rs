//! Owns what the pending batch does to records: a later write of the same batch is judged as if
//! the earlier ones were applied. Knows nothing of what the writes mean.

use bytes::Bytes;
use hashbrown::HashMap;

use super::effect::{Change, RecordEffect};
use super::record::Record;
use super::table::RecordTable;
use crate::pending::Pending;
use crate::record::Effect;

/// Records that the pending batch changes.
#[derive(Debug, Default)]
pub(crate) struct StagedRecords {
    is_cleared: bool,
    keys: HashMap<Bytes, Staged>,
    scratch: Vec<u8>,
}

/// How a key stands behind the pending batch.
#[derive(Debug)]
enum Staged {
    /// As the pending log record at this index leaves it; what that comes to is worked out when
    /// it is asked for, and mostly it is not.
    Changed(usize),
    /// So.
    Known(Option<Record>),
}

impl StagedRecords {
    /// Forgets everything: the batch was applied or discarded.
    pub(crate) fn reset(&mut self) {
        self.is_cleared = false;
        if KEPT_KEY_COUNT_MAX < self.keys.capacity() {
            self.keys = HashMap::new();
        } else {
            self.keys.clear();
        }
    }

    /// The record under a key behind the pending batch, expired or not.
    pub(crate) fn stored(
        &mut self,
        table: &RecordTable,
        pending: &Pending,
        key: &[u8],
    ) -> Option<Record> {
        let applied = |is_cleared: bool| if is_cleared { None } else { table.stored(key) };
        if self.keys.is_empty() {
            return applied(self.is_cleared);
        }
        match self.keys.get_mut(key) {
            None => applied(self.is_cleared),
            Some(Staged::Known(record)) => record.clone(),
            Some(staged @ Staged::Changed(_)) => {
                let Staged::Changed(at) = *staged else { unreachable!("matched above") };
                let mut record = applied(self.is_cleared);
                alter(&mut record, pending.record(at), key, &mut self.scratch);
                *staged = Staged::Known(record.clone());
                record
            }
        }
    }

    /// Notes that the pending log record at `at` changes the record under a key.
    pub(crate) fn note(&mut self, table: &RecordTable, pending: &Pending, key: &Bytes, at: usize) {
        match self.keys.get_mut(&**key) {
            None => {
                self.keys.insert(key.clone(), Staged::Changed(at));
            }
            Some(Staged::Known(record)) => {
                alter(record, pending.record(at), key, &mut self.scratch);
            }
            Some(Staged::Changed(_)) => {
                self.stored(table, pending, key);
                self.note(table, pending, key, at);
            }
        }
    }

    /// Notes that the pending batch removes all records.
    pub(crate) fn note_clear(&mut self) {
        self.keys.clear();
        self.is_cleared = true;
    }
}

/// Applies what a log record says of `key`.
fn alter(record: &mut Option<Record>, log_record: &[u8], key: &[u8], scratch: &mut Vec<u8>) {
    let Ok(Effect::Record(effect)) = Effect::decode(log_record) else {
        unreachable!("the pending batch holds what this version writes");
    };
    let effect: RecordEffect<'_> = effect;
    effect.for_each(|changed, change| {
        if changed != key {
            return;
        }
        match change {
            Change::Remove => *record = None,
            Change::SetExpiry(_) if record.is_none() => {}
            change => record.get_or_insert_with(Record::empty).change(&change, scratch),
        }
    });
}

const KEPT_KEY_COUNT_MAX: usize = 1 << 16;
