//! What the store asks of a disk: one folder of named files. Knows nothing of what they hold.
//!
//! Two kinds exist: [`crate::RealDisk`] on the operating system, and [`crate::SimDisk`], which
//! loses, tears and refuses on command.

use std::io;

use crate::limits::NAME_BYTES_MAX;

/// A folder of files. Names are relative to it, with at most one `/`.
///
/// An entry operation (create, rename, remove) is visible at once and durable after the next
/// [`Disk::sync_folder`]; the bytes of a file are durable after its own [`DiskFile::sync`].
pub trait Disk: Send + Sync {
    /// Creates an empty file, or empties the one that bears the name.
    fn create(&self, name: &str) -> Result<Box<dyn DiskFile>, DiskError>;
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> Result<Box<dyn DiskFile>, DiskError>;
    /// Whether a file bears the name.
    fn exists(&self, name: &str) -> Result<bool, DiskError>;
    /// The names of all files in ascending order; the lock file is not among them.
    fn list(&self) -> Result<Vec<String>, DiskError>;
    /// Gives a file another name, taking the place of the file that had it. Atomic.
    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError>;
    /// Removes a file's name. Open handles stay usable.
    fn remove(&self, name: &str) -> Result<(), DiskError>;
    /// Makes every entry operation done so far durable. An error is final: what it covered may
    /// or may not survive, and asking again proves nothing.
    fn sync_folder(&self) -> Result<(), DiskError>;
    /// Takes the folder for this process until the returned guard is dropped, or answers
    /// [`DiskError::Locked`].
    fn lock(&self) -> Result<Box<dyn Send>, DiskError>;
    /// The folder's path, for messages.
    fn folder(&self) -> String;
}

/// An open file. Methods take `&self`, so that a reader and a syncing thread can share it.
pub trait DiskFile: Send + Sync {
    /// Writes all bytes at an offset, growing the file as needed. After an error any part of
    /// them may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;
    /// Fills the buffer from an offset; bytes past the end are [`DiskError::ShortRead`].
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError>;
    /// Makes the file's bytes and its length durable (fdatasync). An error is final: the
    /// kernel may have dropped what it could not write, and the next call would answer Ok.
    fn sync(&self) -> Result<(), DiskError>;
    /// Bytes in the file.
    fn len(&self) -> Result<u64, DiskError>;
    /// Whether the file has no byte.
    fn is_empty(&self) -> Result<bool, DiskError> {
        self.len().map(|bytes| bytes == 0)
    }
    /// Grows the file to `len` bytes of real zeros, so that later writes below `len` need no
    /// space and no change of the file's metadata. A file already as long is left alone. After
    /// [`DiskError::NoSpace`] the file may have grown by some zeros.
    fn allocate(&self, len: u64) -> Result<(), DiskError>;
    /// Sets the length, dropping bytes or adding zeros.
    fn truncate(&self, len: u64) -> Result<(), DiskError>;
    /// Says that `len` bytes from `offset` on will not be wanted soon, so that the operating
    /// system keeps other files in its cache instead. Changes nothing else.
    fn forget(&self, _offset: u64, _len: u64) {}
}

/// Why a disk did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// No file bears the name.
    #[error("no file {name} in {folder}")]
    NotFound {
        /// The name asked for.
        name: String,
        /// The disk's folder.
        folder: String,
    },
    /// The file system, or the quota, is full.
    #[error("no space left to {verb} {name}: free some space on the disk that holds {folder}")]
    NoSpace {
        /// What was being done.
        verb: &'static str,
        /// The file it was done to.
        name: String,
        /// The disk's folder.
        folder: String,
    },
    /// Another process holds the folder.
    #[error("the folder {folder} is in use by another process: stop it, or take another folder")]
    Locked {
        /// The folder.
        folder: String,
    },
    /// A file ends before the bytes asked for.
    #[error("{name} ends before byte {end}: it has {len} bytes")]
    ShortRead {
        /// The file.
        name: String,
        /// One past the last byte asked for.
        end: u64,
        /// The bytes there are.
        len: u64,
    },
    /// A name that no disk takes.
    #[error(
        "{name:?} is not a file name: want 1 to 255 of A-Z a-z 0-9 . _ - with at most one / inside"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// The simulated machine crashed after this handle was opened.
    #[error("{name} was opened before the crash: open it again")]
    Crashed {
        /// The file.
        name: String,
    },
    /// The operating system refused.
    #[error("cannot {verb} {name}: {source}")]
    Io {
        /// What was being done.
        verb: &'static str,
        /// The file it was done to.
        name: String,
        /// What the operating system said.
        source: io::Error,
    },
}

impl DiskError {
    /// Whether freeing space would help.
    #[must_use]
    pub const fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }
}

/// Refuses names that could leave the folder or hide in it.
pub(crate) fn check_name(name: &str) -> Result<(), DiskError> {
    let sound = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    let parts = name.split('/').count();
    if name.len() <= NAME_BYTES_MAX && parts <= 2 && name.split('/').all(sound) {
        return Ok(());
    }
    Err(DiskError::Name { name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside_the_folder() {
        let long = "n".repeat(NAME_BYTES_MAX);
        for name in ["a", "wal-00.log", "segments/7.tkv", long.as_str()] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let longer = "n".repeat(NAME_BYTES_MAX + 1);
        for name in ["", "/a", "a/", "..", "a/../b", "a/b/c", ".hidden", "a b", &longer] {
            assert!(matches!(check_name(name), Err(DiskError::Name { .. })), "{name}");
        }
    }
}
