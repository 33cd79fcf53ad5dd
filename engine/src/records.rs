//! Records: hashes and strings under keys, beside the tiles in the same log, manifest and memory
//! budget. Each part owns one noun; this file only names them.

mod effect;
mod file;
mod key;
mod merge;
mod number;
mod packed;
mod record;
mod shelf;
mod stage;
mod staged;
mod table;

pub(crate) use effect::RecordEffect;
pub(crate) use file::{RecordFile, is_record_file, load_files, record_file_name};
pub(crate) use merge::{merge_files, write_changes};
pub use record::{Record, RecordKind, Slices};
pub(crate) use shelf::{ChangedRecords, RecordWriter};
pub(crate) use staged::StagedRecords;
pub use table::{RecordFigures, RecordStep, RecordTable};
