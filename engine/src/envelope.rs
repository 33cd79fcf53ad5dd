//! Owns the frame of small files that are written whole: magic, version, and a checksum over all.
//! Knows nothing of the fields inside.

use crate::codec::{FieldError, Fields, PutFields, bytes_u64};
use crate::error::EngineError;

/// The frame of one kind of file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Envelope {
    /// The file's name in the data folder.
    pub(crate) file: &'static str,
    /// What its magic is called in errors.
    pub(crate) name: &'static str,
    pub(crate) magic: &'static [u8; MAGIC_BYTES],
    /// The newest version that is known; the first is 1.
    pub(crate) newest: u32,
}

impl Envelope {
    /// The bytes of a file of that version around the fields that `put` appends.
    pub(crate) fn seal(&self, version: u32, put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(self.magic);
        out.put_u32(version);
        out.put_u32(0);
        put(&mut out);
        let crc = crc32fast::hash(&out);
        out.put_u32(crc);
        out
    }

    /// The version of a file, and its fields. Nothing is read before the checksum has been.
    pub(crate) fn open<'a>(&self, bytes: &'a [u8]) -> Result<(u32, Fields<'a>), EngineError> {
        if bytes.len() < HEAD_BYTES || !bytes.starts_with(self.magic) {
            return Err(self.corrupt(0, format!("no {} magic", self.name)));
        }
        let (body, stored) = bytes.split_at(bytes.len() - 4);
        if crc32fast::hash(body).to_le_bytes() != *stored {
            return Err(self.corrupt(0, "the checksum does not match"));
        }
        let mut fields = Fields::new(&body[MAGIC_BYTES..]);
        let version = fields.u32().map_err(|error| self.corrupt(MAGIC_BYTES, error))?;
        if !(1..=self.newest).contains(&version) {
            return Err(EngineError::NewerFormat {
                file: self.file.to_owned(),
                found: version,
                expected: self.newest,
            });
        }
        match fields.u32() {
            Ok(0) => Ok((version, fields)),
            _ => Err(self.corrupt(MAGIC_BYTES, FieldError::Value("reserved"))),
        }
    }

    /// The error of a file with something wrong at `offset`.
    pub(crate) fn corrupt(&self, offset: usize, what: impl ToString) -> EngineError {
        EngineError::Corrupt {
            file: self.file.to_owned(),
            offset: bytes_u64(offset),
            what: what.to_string(),
        }
    }
}

/// The bytes of a magic: errors of fields are told with this offset.
pub(crate) const MAGIC_BYTES: usize = 8;
/// No file is shorter, and control state begins no earlier.
pub(crate) const HEAD_BYTES: usize = 24;
