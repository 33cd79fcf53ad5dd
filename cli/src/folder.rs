//! Folders that commands read and make: opened for reading alone, or made under another name and
//! given their own once they are whole. Knows nothing of what lies in them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use tilekv_engine::disk::{Disk, DiskError, RealDisk};

use crate::failure::CliError;

/// Opens a folder for reading alone.
pub(crate) fn open_to_read(path: &Path) -> Result<RealDisk, CliError> {
    match RealDisk::open_read_only(path) {
        Err(DiskError::NotFound { .. }) => {
            let path = path.display().to_string();
            Err(CliError::File { verb: "open folder", path, source: ErrorKind::NotFound.into() })
        }
        opened => Ok(opened?),
    }
}

/// A folder that is being made. It has its name with `.partial` added until it is published.
pub(crate) struct Partial {
    target: PathBuf,
    path: PathBuf,
    /// Keeps others from making the same folder.
    _lock: Box<dyn Send>,
}

impl Partial {
    /// Begins a folder that must not exist, in place of what an earlier run left of it.
    pub(crate) fn begin(target: &Path) -> Result<Self, CliError> {
        refuse_existing(target)?;
        let mut name = target.file_name().map_or_else(OsString::new, OsString::from);
        if name.is_empty() {
            let path = target.display();
            return Err(CliError::Usage(format!("{path} is no name for a new folder")));
        }
        name.push(".partial");
        let path = target.with_file_name(name);
        let disk = RealDisk::open(&path)?;
        let lock = disk.lock()?;
        for left in disk.list()? {
            disk.remove(&left)?;
        }
        Ok(Self { target: target.to_path_buf(), path, _lock: lock })
    }

    /// Where the folder is now.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the folder its name, durably. All within it must be durable.
    pub(crate) fn publish(self) -> Result<(), CliError> {
        let lock = self.path.join(LOCK_NAME);
        fs::remove_file(&lock).map_err(|source| failure("remove", &lock, source))?;
        sync_folder(&self.path)?;
        let renamed = match rustix::fs::renameat_with(CWD, &self.path, CWD, &self.target, EXCLUSIVE)
        {
            // File systems that cannot say "unless it exists".
            Err(Errno::INVAL | Errno::NOSYS) => {
                refuse_existing(&self.target)?;
                fs::rename(&self.path, &self.target)
            }
            renamed => renamed.map_err(Into::into),
        };
        renamed.map_err(|source| failure("rename", &self.path, source))?;
        sync_folder(parent(&self.target))
    }

    /// Removes what there is of the folder, to give its space back. What cannot be removed stays,
    /// and goes with the next run.
    pub(crate) fn discard(self) {
        drop(fs::remove_dir_all(&self.path));
    }
}

/// Refuses a folder, or anything else, that exists.
fn refuse_existing(path: &Path) -> Result<(), CliError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failure("look for", path, error)),
        Ok(_) => {
            Err(CliError::Usage(format!("{} exists; name a folder that does not", path.display())))
        }
    }
}

fn sync_folder(path: &Path) -> Result<(), CliError> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(|source| failure("sync folder", path, source))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn failure(verb: &'static str, path: &Path, source: std::io::Error) -> CliError {
    CliError::File { verb, path: path.display().to_string(), source }
}

const EXCLUSIVE: RenameFlags = RenameFlags::NOREPLACE;

/// What a folder is locked by.
const LOCK_NAME: &str = "LOCK";
