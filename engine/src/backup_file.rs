//! Owns the descriptor of a backup: which files it has, their checksums, and which state of the
//! store they hold (docs/format/backup.md). Knows nothing of how they came to be there.

use tilekv_wal::{Disk, DiskError, Lsn};

use crate::codec::{FieldError, Fields, PutFields, count_u32, index};
use crate::envelope::{Envelope, MAGIC_BYTES};
use crate::error::EngineError;

/// The state that a backup holds, and its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// The secret of the store's hashes: stores with different ones have different pasts.
    pub hash_seed: u64,
    /// The segments hold every record below this LSN.
    pub flushed: Lsn,
    /// The backup holds every record below this LSN and none from it on ([BACKUP-8]).
    pub end: Lsn,
    /// The log's time at the last record, in milliseconds; the least i64 where there is none.
    pub now_ms: i64,
    /// The clock when the backup was begun, in milliseconds.
    pub made_at_ms: i64,
    /// The files, ascending by name.
    pub files: Vec<BackupFile>,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupFile {
    /// Its name, in the store's folder and in the backup's.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// CRC-32 (IEEE) of its bytes.
    pub crc: u32,
}

impl Backup {
    /// The name of the descriptor in the backup's folder.
    pub const FILE_NAME: &str = "backup";
    /// The folder of the store's files within the backup's folder ([BACKUP-1]).
    pub const STORE_FOLDER: &str = "store";

    /// Reads the descriptor in a backup's folder; none where there is none.
    ///
    /// # Errors
    /// [`EngineError::Corrupt`], [`EngineError::NewerFormat`] and [`EngineError::Disk`].
    pub fn load(disk: &dyn Disk) -> Result<Option<Self>, EngineError> {
        let file = match disk.open(Self::FILE_NAME) {
            Err(DiskError::NotFound { .. }) => return Ok(None),
            opened => opened?,
        };
        let mut bytes = vec![0; index(file.len()?)];
        file.read_at(0, &mut bytes)?;
        Self::decode(&bytes).map(Some)
    }

    /// Writes the descriptor, durably. All that it names must be durable by then ([BACKUP-2]).
    ///
    /// # Errors
    /// [`EngineError::Disk`] and [`EngineError::NoSpace`].
    pub fn store(&self, disk: &dyn Disk) -> Result<(), EngineError> {
        let file = disk.create(Self::FILE_NAME)?;
        file.write_at(0, &self.encode())?;
        file.sync()?;
        disk.sync_folder()?;
        Ok(())
    }

    /// The file with this name.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&BackupFile> {
        let at = self.files.binary_search_by(|file| file.name.as_str().cmp(name)).ok()?;
        self.files.get(at)
    }

    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    fn encode(&self) -> Vec<u8> {
        ENVELOPE.seal(VERSION, |out| {
            out.put_u64(self.hash_seed);
            out.put_u64(self.flushed.number());
            out.put_u64(self.end.number());
            out.put_i64(self.now_ms);
            out.put_i64(self.made_at_ms);
            out.put_u32(count_u32(self.files.len()));
            for file in &self.files {
                out.put_short(file.name.as_bytes());
                out.put_u64(file.bytes);
                out.put_u32(file.crc);
            }
        })
    }

    fn decode(bytes: &[u8]) -> Result<Self, EngineError> {
        let (_, fields) = ENVELOPE.open(bytes)?;
        Self::decode_fields(fields).map_err(|error| ENVELOPE.corrupt(MAGIC_BYTES, error))
    }

    fn decode_fields(mut fields: Fields<'_>) -> Result<Self, FieldError> {
        let hash_seed = fields.u64()?;
        let (flushed, end) = (Lsn::new(fields.u64()?), Lsn::new(fields.u64()?));
        let (now_ms, made_at_ms) = (fields.i64()?, fields.i64()?);
        let files = (0..fields.u32()?)
            .map(|_| decode_file(&mut fields))
            .collect::<Result<Vec<BackupFile>, FieldError>>()?;
        fields.end()?;
        // [BACKUP-3]
        if !files.is_sorted_by(|one, next| one.name < next.name) {
            return Err(FieldError::Value("file names"));
        }
        Ok(Self { hash_seed, flushed, end, now_ms, made_at_ms, files })
    }
}

fn decode_file(fields: &mut Fields<'_>) -> Result<BackupFile, FieldError> {
    let name = std::str::from_utf8(fields.short()?).map_err(|_| FieldError::Value("file name"))?;
    Ok(BackupFile { name: name.to_owned(), bytes: fields.u64()?, crc: fields.u32()? })
}

const VERSION: u32 = 1;
/// [BACKUP-4], [BACKUP-5]
const ENVELOPE: Envelope =
    Envelope { file: Backup::FILE_NAME, name: "backup", magic: b"TKVBACKP", newest: VERSION };

#[cfg(test)]
mod tests {
    use super::*;

    fn backup() -> Backup {
        let file = |name: &str, bytes, crc| BackupFile { name: name.to_owned(), bytes, crc };
        Backup {
            hash_seed: 0x0123_4567_89ab_cdef,
            flushed: Lsn::new(3),
            end: Lsn::new(7),
            now_ms: -5,
            made_at_ms: 1_700_000_000_000,
            files: vec![file("manifest", 100, 0xdead_beef), file("wal-1.log", 4096, 1)],
        }
    }

    /// The example of docs/format/backup.md.
    const GOLDEN: &str = "544b564241434b500100000000000000efcdab89674523010300000000000000\
        0700000000000000fbffffffffffffff0068e5cf8b0100000200000008006d61\
        6e69666573746400000000000000efbeadde090077616c2d312e6c6f67001000\
        000000000001000000";

    #[test]
    fn the_descriptor_has_the_bytes_of_its_document_and_reads_back() {
        let encoded = backup().encode();
        let (body, crc) = encoded.split_at(encoded.len() - 4);
        let hex: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
        assert_eq!(crc, crc32fast::hash(body).to_le_bytes());
        assert_eq!(Backup::decode(&encoded).unwrap(), backup());
        assert_eq!(backup().bytes(), 4196);
        assert_eq!(backup().file("wal-1.log").unwrap().crc, 1);
        assert_eq!(backup().file("wal-2.log"), None);
    }

    #[test]
    fn any_flipped_bit_and_any_cut_are_refused() {
        let encoded = backup().encode();
        for bit in 0..encoded.len() * 8 {
            let mut flipped = encoded.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = Backup::decode(&flipped).unwrap_err();
            assert!(matches!(error, EngineError::Corrupt { .. }), "bit {bit}: {error}");
        }
        for len in 0..encoded.len() {
            assert!(Backup::decode(&encoded[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn a_later_version_and_names_out_of_order_are_refused() {
        let resealed = |mut bytes: Vec<u8>| {
            bytes.truncate(bytes.len() - 4);
            let crc = crc32fast::hash(&bytes);
            bytes.put_u32(crc);
            Backup::decode(&bytes).unwrap_err()
        };
        let mut bytes = backup().encode();
        bytes[8] = 2;
        assert!(matches!(resealed(bytes), EngineError::NewerFormat { found: 2, .. }));
        let mut swapped = backup();
        swapped.files.reverse();
        assert!(matches!(resealed(swapped.encode()), EngineError::Corrupt { .. }));
    }
}
