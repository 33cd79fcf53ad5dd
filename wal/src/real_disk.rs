//! A folder of the operating system. Knows nothing of what the files hold.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Advice, FallocateFlags};
use rustix::io::Errno;

use crate::disk::{Disk, DiskError, DiskFile, check_name};

/// A folder on a real file system.
#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
    access: Access,
    /// Guards the open handles of the root (named "") and of each folder within it.
    folders: Mutex<BTreeMap<String, Arc<File>>>,
}

impl RealDisk {
    /// Opens a folder, creating it (and its parents) where it is missing. The new folder's own
    /// entry is made durable as well.
    ///
    /// # Errors
    /// [`DiskError::Io`] or [`DiskError::NoSpace`] when the folder cannot be made or opened.
    pub fn open(root: &Path) -> Result<Self, DiskError> {
        let name = root.display().to_string();
        let fail = |source| translate("open folder", &name, &name, source);
        create_folders(root).map_err(fail)?;
        let access = Access::Write;
        let disk = Self { root: root.to_path_buf(), access, folders: Mutex::default() };
        disk.keep_folder("", root).map_err(fail)?;
        for entry in fs::read_dir(root).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            if let (true, Ok(folder)) = (entry.path().is_dir(), entry.file_name().into_string()) {
                disk.keep_folder(&folder, &entry.path()).map_err(fail)?;
            }
        }
        Ok(disk)
    }

    /// Opens a folder that exists, for reading alone: what would change it is refused, and its
    /// lock is looked at and never made.
    ///
    /// # Errors
    /// [`DiskError::NotFound`] or [`DiskError::Io`] when the folder cannot be opened.
    pub fn open_read_only(root: &Path) -> Result<Self, DiskError> {
        let name = root.display().to_string();
        let fail = |source| translate("open folder", &name, &name, source);
        fs::read_dir(root).map_err(fail)?;
        Ok(Self { root: root.to_path_buf(), access: Access::Read, folders: Mutex::default() })
    }

    /// Gives a file of another folder a second name here, which costs no space; false where the
    /// file systems do not allow that, so that the file has to be copied.
    ///
    /// # Errors
    /// [`DiskError::NotFound`] when `source` has no such file, and what else went wrong.
    pub fn link_from(&self, source: &Self, name: &str) -> Result<bool, DiskError> {
        let target = self.path_for_writing(name)?;
        match fs::hard_link(source.root.join(name), target) {
            Ok(()) => Ok(true),
            Err(error) if is_no_link(error.kind()) => Ok(false),
            Err(error) => Err(self.error("link", name, error)),
        }
    }

    fn folders(&self) -> MutexGuard<'_, BTreeMap<String, Arc<File>>> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_folder(&self, name: &str, path: &Path) -> io::Result<()> {
        let handle = Arc::new(File::open(path)?);
        self.folders().entry(name.to_owned()).or_insert(handle);
        Ok(())
    }

    /// The path of a name; the folder that it names is created where it is missing.
    fn path_for_writing(&self, name: &str) -> Result<PathBuf, DiskError> {
        check_name(name)?;
        if self.access == Access::Read {
            let source = ErrorKind::ReadOnlyFilesystem.into();
            return Err(self.error("change", name, source));
        }
        if let Some((folder, _)) = name.split_once('/')
            && !self.folders().contains_key(folder)
        {
            let path = self.root.join(folder);
            create_folders(&path)
                .and_then(|()| self.keep_folder(folder, &path))
                .map_err(|source| self.error("create folder", folder, source))?;
        }
        Ok(self.root.join(name))
    }

    fn file(&self, name: &str, file: File) -> Box<dyn DiskFile> {
        Box::new(RealFile { file, name: name.to_owned(), folder: self.folder() })
    }

    fn error(&self, verb: &'static str, name: &str, source: io::Error) -> DiskError {
        translate(verb, name, &self.folder(), source)
    }

    fn list_folder(&self, folder: &str, names: &mut Vec<String>) -> io::Result<()> {
        for entry in fs::read_dir(self.root.join(folder))? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let is_folder = entry.file_type()?.is_dir();
            match (folder, is_folder) {
                ("", true) => self.list_folder(&name, names)?,
                (_, true) => {}
                ("", false) if name == LOCK_NAME => {}
                ("", false) => names.push(name),
                (_, false) => names.push(format!("{folder}/{name}")),
            }
        }
        Ok(())
    }
}

impl Disk for RealDisk {
    fn create(&self, name: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        let path = self.path_for_writing(name)?;
        let mut options = OpenOptions::new();
        let opened = options.read(true).write(true).create(true).truncate(true).open(path);
        let file = opened.map_err(|source| self.error("create", name, source))?;
        Ok(self.file(name, file))
    }

    fn open(&self, name: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        check_name(name)?;
        let is_written = self.access == Access::Write;
        let opened = OpenOptions::new().read(true).write(is_written).open(self.root.join(name));
        let file = opened.map_err(|source| self.error("open", name, source))?;
        Ok(self.file(name, file))
    }

    fn exists(&self, name: &str) -> Result<bool, DiskError> {
        check_name(name)?;
        let found = self.root.join(name).try_exists();
        found.map_err(|source| self.error("look for", name, source))
    }

    fn list(&self) -> Result<Vec<String>, DiskError> {
        let mut names = Vec::new();
        let listed = self.list_folder("", &mut names);
        listed.map_err(|source| self.error("list", &self.folder(), source))?;
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        check_name(from)?;
        let target = self.path_for_writing(to)?;
        let renamed = fs::rename(self.root.join(from), target);
        renamed.map_err(|source| self.error("rename", from, source))
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        let removed = fs::remove_file(self.path_for_writing(name)?);
        removed.map_err(|source| self.error("remove", name, source))
    }

    fn sync_folder(&self) -> Result<(), DiskError> {
        let handles: Vec<(String, Arc<File>)> =
            self.folders().iter().map(|(name, file)| (name.clone(), Arc::clone(file))).collect();
        // Every folder each time: keeping track of changed ones would let a caller return
        // while another caller's sync of its entry is still under way.
        for (name, handle) in handles {
            let path = self.root.join(name).display().to_string();
            handle.sync_all().map_err(|source| self.error("sync folder", &path, source))?;
        }
        Ok(())
    }

    fn lock(&self) -> Result<Box<dyn Send>, DiskError> {
        let mut options = OpenOptions::new();
        match self.access {
            Access::Write => options.write(true).create(true).truncate(false),
            Access::Read => options.read(true),
        };
        let file = match options.open(self.root.join(LOCK_NAME)) {
            Err(source) if self.access == Access::Read && source.kind() == ErrorKind::NotFound => {
                return Ok(Box::new(()));
            }
            opened => opened.map_err(|source| self.error("open", LOCK_NAME, source))?,
        };
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(DiskError::Locked { folder: self.folder() }),
            Err(TryLockError::Error(source)) => Err(self.error("lock", LOCK_NAME, source)),
        }
    }

    fn folder(&self) -> String {
        self.root.display().to_string()
    }
}

/// What a folder was opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// Whether two names for one file are what the system refuses.
fn is_no_link(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::CrossesDevices
            | ErrorKind::PermissionDenied
            | ErrorKind::TooManyLinks
            | ErrorKind::Unsupported
    )
}

struct RealFile {
    file: File,
    name: String,
    folder: String,
}

impl RealFile {
    fn error(&self, verb: &'static str, source: io::Error) -> DiskError {
        translate(verb, &self.name, &self.folder, source)
    }

    /// Reserves the blocks, so that a full disk says so now; file systems that cannot reserve
    /// are asked by the zeros that follow.
    fn reserve(&self, from: u64, bytes: u64) -> Result<(), DiskError> {
        loop {
            match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), from, bytes) {
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.error("allocate", errno.into())),
            }
        }
    }
}

impl DiskFile for RealFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.file.write_all_at(bytes, offset).map_err(|source| self.error("write", source))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        match self.file.read_exact_at(buffer, offset) {
            Err(source) if source.kind() == ErrorKind::UnexpectedEof => {
                let end = u64::try_from(buffer.len()).map_or(u64::MAX, |len| offset + len);
                Err(DiskError::ShortRead { name: self.name.clone(), end, len: self.len()? })
            }
            result => result.map_err(|source| self.error("read", source)),
        }
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.file.sync_data().map_err(|source| self.error("sync", source))
    }

    fn len(&self) -> Result<u64, DiskError> {
        let metadata = self.file.metadata();
        metadata.map(|metadata| metadata.len()).map_err(|source| self.error("measure", source))
    }

    fn allocate(&self, len: u64) -> Result<(), DiskError> {
        let mut offset = self.len()?;
        if len <= offset {
            return Ok(());
        }
        self.reserve(offset, len - offset)?;
        // Reserved blocks are "unwritten": the first write to each would change the file's
        // metadata at the next sync. Zeros written now make it an overwrite.
        let zeros = vec![0; ZERO_BYTES];
        while offset < len {
            let bytes = usize::try_from(len - offset).map_or(ZERO_BYTES, |n| n.min(ZERO_BYTES));
            let written = self.file.write_at(&zeros[..bytes], offset);
            match written {
                Err(source) if source.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(self.error("allocate", source)),
                Ok(0) => return Err(self.error("allocate", ErrorKind::WriteZero.into())),
                Ok(written) => offset += u64::try_from(written).unwrap_or(0),
            }
        }
        Ok(())
    }

    fn truncate(&self, len: u64) -> Result<(), DiskError> {
        self.file.set_len(len).map_err(|source| self.error("truncate", source))
    }

    fn forget(&self, offset: u64, len: u64) {
        // Advice that is not taken costs nothing but the cache.
        let len = std::num::NonZeroU64::new(len);
        let _ = rustix::fs::fadvise(&self.file, offset, len, Advice::DontNeed);
    }
}

/// Creates a folder and its missing parents, each made durable in its own parent.
fn create_folders(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Err(ErrorKind::NotFound.into()),
    };
    create_folders(parent)?;
    match fs::create_dir(path) {
        Err(source) if source.kind() == ErrorKind::AlreadyExists => {}
        result => result?,
    }
    File::open(parent)?.sync_all()
}

fn translate(verb: &'static str, name: &str, folder: &str, source: io::Error) -> DiskError {
    let (name, folder) = (name.to_owned(), folder.to_owned());
    match source.kind() {
        ErrorKind::NotFound => DiskError::NotFound { name, folder },
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            DiskError::NoSpace { verb, name, folder }
        }
        _ => DiskError::Io { verb, name, source },
    }
}

const LOCK_NAME: &str = "LOCK";

/// Zeros written by one call while a file is filled ahead.
const ZERO_BYTES: usize = 256 << 10;
