//! Owns how a backup is taken from a store, also from one that another process is serving, and how
//! it is checked and restored (docs/format/backup.md). Knows nothing of paths.

use std::collections::{BTreeMap, BTreeSet};

use tilekv_wal::{Disk, DiskError, DiskFile, LogTail, WalError, copy_log};

use crate::backup_file::{Backup, BackupFile};
use crate::codec::{bytes_u64, index};
use crate::error::EngineError;
use crate::finding::Finding;
use crate::limits::{BACKUP_TRIES_MAX, COPY_BYTES};
use crate::manifest::{MANIFEST, MANIFEST_TEMPORARY, Manifest};
use crate::record::{Effect, JobRecord};
use crate::records::{is_record_file, record_file_name};
use crate::segment::SegmentId;

/// Gives a sealed file of another folder a second name in the target's; false where it has to be
/// copied.
pub type Link<'a> = &'a dyn Fn(&str) -> Result<bool, DiskError>;

/// What a backup is told of how far it is: bytes done, and bytes in all as far as that is known.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// How a backup is taken.
pub struct BackupOptions<'a> {
    /// The clock, in milliseconds.
    pub made_at_ms: i64,
    /// Links from the store to the target.
    pub link: Link<'a>,
    /// An earlier backup whose sealed files need not be copied again.
    pub previous: Option<PreviousBackup<'a>>,
}

/// An earlier backup.
pub struct PreviousBackup<'a> {
    /// Its descriptor.
    pub backup: &'a Backup,
    /// Links from it to the target.
    pub link: Link<'a>,
}

/// Backs up the store on `source` into `target`, an empty folder or one that an earlier attempt
/// left. The store may be served meanwhile: every write that was acknowledged before the call is
/// in the backup, which ends with a whole batch of the log. All files and their names are durable
/// when this returns; the caller then stores the descriptor.
///
/// # Errors
/// [`EngineError::Corrupt`] and [`EngineError::Wal`] where the store is damaged,
/// [`EngineError::Limit`] where it replaced its files again and again meanwhile, and what the disks
/// say.
pub fn back_up(
    source: &dyn Disk,
    target: &dyn Disk,
    options: &BackupOptions<'_>,
    progress: Progress<'_>,
) -> Result<Backup, EngineError> {
    let mut taker = Taker { source, target, options, progress, kept: BTreeMap::new() };
    for _ in 0..BACKUP_TRIES_MAX {
        let Some(image) = Manifest::read(source)? else {
            return Err(no_store(source));
        };
        match taker.attempt(&image) {
            Err(error) if is_vanished(&error) => {
                // A file goes only after a manifest that does without it ([BACKUP-6]).
                if Manifest::read(source)?.as_ref() == Some(&image) {
                    return Err(error);
                }
            }
            taken => return taken,
        }
    }
    Err(EngineError::Limit(format!(
        "the store replaced its files {BACKUP_TRIES_MAX} times while they were being backed up; \
         try again when it flushes and compacts less"
    )))
}

/// Compares the files of a backup with its descriptor: names what is missing, longer, shorter,
/// damaged or not listed.
///
/// # Errors
/// What the disk says when the folder cannot be read.
pub fn check_backup(
    backup: &Backup,
    store: &dyn Disk,
    progress: Progress<'_>,
) -> Result<Vec<Finding>, EngineError> {
    let mut findings = Vec::new();
    let (mut done, total) = (0, backup.bytes());
    for listed in &backup.files {
        let mut step = |bytes| {
            done += bytes;
            progress(done, total);
        };
        let what = match store.open(&listed.name) {
            Err(DiskError::NotFound { .. }) => Some("the file is missing".to_owned()),
            Err(error) => Some(error.to_string()),
            Ok(file) => difference(listed, &*file, &mut step),
        };
        findings.extend(what.map(|what| Finding::of_file(&listed.name, what)));
    }
    for name in store.list()?.iter().filter(|name| backup.file(name).is_none()) {
        findings.push(Finding::of_file(name, "the backup does not list this file"));
    }
    Ok(findings)
}

/// Puts the files of a backup into `target`, checking each on the way; the manifest comes last, so
/// that a folder in which this broke off is no store. All is durable when this returns. `link`,
/// where given, gives sealed files a second name in place of a copy.
///
/// # Errors
/// [`EngineError::Corrupt`] where a file is not what the descriptor says, and what the disks say.
pub fn restore(
    backup: &Backup,
    store: &dyn Disk,
    target: &dyn Disk,
    link: Option<Link<'_>>,
    progress: Progress<'_>,
) -> Result<(), EngineError> {
    let (mut done, total) = (0, backup.bytes());
    let mut step = |bytes| {
        done += bytes;
        progress(done, total);
    };
    let (manifest, others): (Vec<&BackupFile>, Vec<&BackupFile>) =
        backup.files.iter().partition(|file| file.name == MANIFEST);
    for listed in others {
        let is_sealed = SegmentId::from_file_name(&listed.name)
            .or_else(|| is_record_file(&listed.name))
            .is_some();
        let is_linked = match link.filter(|_| is_sealed) {
            Some(link) => link_anew(target, &listed.name, link)?,
            None => false,
        };
        let copy = if is_linked { None } else { Some(target.create(&listed.name)?) };
        put_back(listed, store, copy.as_deref(), &mut step)?;
    }
    target.sync_folder()?;
    for listed in manifest {
        put_back(listed, store, Some(&*target.create(MANIFEST_TEMPORARY)?), &mut step)?;
        target.rename(MANIFEST_TEMPORARY, MANIFEST)?;
    }
    target.sync_folder()?;
    Ok(())
}

fn put_back(
    listed: &BackupFile,
    store: &dyn Disk,
    copy: Option<&dyn DiskFile>,
    step: &mut dyn FnMut(u64),
) -> Result<(), EngineError> {
    let found = transfer(&*store.open(&listed.name)?, copy, step)?;
    if found == (listed.bytes, listed.crc) {
        return Ok(());
    }
    let (file, what) = (listed.name.clone(), mismatch(listed, found));
    Err(EngineError::Corrupt { file, offset: 0, what })
}

/// The error of a folder that holds no store.
pub(crate) fn no_store(disk: &dyn Disk) -> EngineError {
    EngineError::Corrupt {
        file: MANIFEST.to_owned(),
        offset: 0,
        what: format!("{} holds no store: it has no manifest", disk.folder()),
    }
}

/// Whether a file was not there that a manifest or the log names.
pub(crate) fn is_vanished(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::Disk(DiskError::NotFound { .. })
            | EngineError::Wal(
                WalError::Missing { .. }
                    | WalError::Disk { source: DiskError::NotFound { .. }, .. }
            )
    )
}

struct Taker<'a> {
    source: &'a dyn Disk,
    target: &'a dyn Disk,
    options: &'a BackupOptions<'a>,
    progress: Progress<'a>,
    /// Sealed files that are in the target already; they never change.
    kept: BTreeMap<String, BackupFile>,
}

/// A sealed file that stays readable when its name goes.
struct Pinned {
    name: String,
    file: Box<dyn DiskFile>,
}

impl Taker<'_> {
    fn attempt(&mut self, image: &[u8]) -> Result<Backup, EngineError> {
        let manifest = Manifest::decode(image)?;
        manifest.control()?;
        let segments = manifest.segments.iter().map(|id| id.file_name());
        let mut pinned = self.pin(segments)?;
        pinned.extend(self.pin(manifest.records.iter().map(|id| record_file_name(*id)))?);
        let (tail, jobs) = self.copy_log(&manifest)?;
        pinned.extend(self.pin(jobs.iter().map(|id| id.file_name()))?);
        let mut files = vec![self.copy_manifest(image)?];
        for name in &tail.files {
            files.push(self.listed(name)?);
        }
        files.extend(self.keep(pinned)?);
        files.sort_by(|one, other| one.name.cmp(&other.name));
        let backup = Backup {
            hash_seed: manifest.hash_seed,
            flushed: manifest.flushed,
            end: tail.next_lsn.max(manifest.flushed),
            now_ms: tail.now_ms.unwrap_or(i64::MIN).max(manifest.now_ms),
            made_at_ms: self.options.made_at_ms,
            files,
        };
        for name in self.target.list()? {
            if backup.file(&name).is_none() {
                self.target.remove(&name)?;
            }
        }
        self.target.sync_folder()?;
        Ok(backup)
    }

    fn pin(&self, names: impl IntoIterator<Item = String>) -> Result<Vec<Pinned>, EngineError> {
        let open = |name: String| Ok(Pinned { file: self.source.open(&name)?, name });
        names.into_iter().map(open).collect()
    }

    /// Copies the log from the manifest's LSN on; gives the segments that its jobs name.
    fn copy_log(&self, manifest: &Manifest) -> Result<(LogTail, BTreeSet<SegmentId>), EngineError> {
        let (mut jobs, mut failure) = (BTreeSet::new(), None);
        let take = &mut |lsn: tilekv_wal::Lsn, _: i64, record: &[u8]| match Effect::decode(record) {
            Ok(Effect::CommitJob(JobRecord { segment: Some(id), .. })) => drop(jobs.insert(id)),
            Ok(_) => {}
            Err(error) => {
                failure.get_or_insert(EngineError::Corrupt {
                    file: "the log".to_owned(),
                    offset: lsn.number(),
                    what: error.to_string(),
                });
            }
        };
        let tail = copy_log(self.source, self.target, manifest.flushed, take)?;
        match failure {
            Some(error) => Err(error),
            None => Ok((tail, jobs)),
        }
    }

    fn copy_manifest(&self, image: &[u8]) -> Result<BackupFile, EngineError> {
        let file = self.target.create(MANIFEST)?;
        file.write_at(0, image)?;
        file.sync()?;
        self.listed(MANIFEST)
    }

    /// A file of the target as the descriptor will list it.
    fn listed(&self, name: &str) -> Result<BackupFile, EngineError> {
        let file = self.target.open(name)?;
        let (bytes, crc) = transfer(&*file, None, &mut |_| ())?;
        Ok(BackupFile { name: name.to_owned(), bytes, crc })
    }

    /// Puts sealed files into the target.
    fn keep(&mut self, pinned: Vec<Pinned>) -> Result<Vec<BackupFile>, EngineError> {
        let mut total = 0;
        for pin in &pinned {
            total += pin.file.len()?;
        }
        let mut done = 0;
        for pin in &pinned {
            if !self.kept.contains_key(&pin.name) {
                let mut at = done;
                let progress = &mut self.progress;
                let kept = keep_one(self.target, self.options, pin, &mut |bytes| {
                    at += bytes;
                    progress(at.min(total), total);
                })?;
                self.kept.insert(pin.name.clone(), kept);
            }
            done += self.kept[&pin.name].bytes;
            (self.progress)(done, total);
        }
        Ok(pinned.iter().map(|pin| self.kept[&pin.name].clone()).collect())
    }
}

/// Links a sealed file into the target or, where that cannot be, copies it; reads it whole either
/// way ([BACKUP-7]).
fn keep_one(
    target: &dyn Disk,
    options: &BackupOptions<'_>,
    pin: &Pinned,
    step: &mut dyn FnMut(u64),
) -> Result<BackupFile, EngineError> {
    let name = pin.name.clone();
    let previous = options.previous.as_ref();
    if let Some((previous, listed)) =
        previous.and_then(|previous| Some((previous, previous.backup.file(&name)?)))
    {
        let found = transfer(&*pin.file, None, step)?;
        // A store that was restored may have gone another way since, under the same names.
        if found == (listed.bytes, listed.crc) && link_anew(target, &name, previous.link)? {
            return Ok(listed.clone());
        }
    }
    let is_linked = match link_anew(target, &name, options.link) {
        Err(EngineError::Disk(DiskError::NotFound { .. })) => false,
        linked => linked?,
    };
    let copy = if is_linked { None } else { Some(target.create(&name)?) };
    let (bytes, crc) = transfer(&*pin.file, copy.as_deref(), step)?;
    Ok(BackupFile { name, bytes, crc })
}

/// Links a file, in place of one that an earlier attempt left.
fn link_anew(target: &dyn Disk, name: &str, link: Link<'_>) -> Result<bool, EngineError> {
    if target.exists(name)? {
        target.remove(name)?;
    }
    Ok(link(name)?)
}

/// Reads a file whole, and writes and syncs the copy, if there is to be one; gives its length and
/// checksum.
fn transfer(
    file: &dyn DiskFile,
    copy: Option<&dyn DiskFile>,
    step: &mut dyn FnMut(u64),
) -> Result<(u64, u32), EngineError> {
    let len = file.len()?;
    let mut buffer = vec![0; index(len).min(COPY_BYTES)];
    let mut hasher = crc32fast::Hasher::new();
    let mut offset = 0;
    while offset < len {
        let count = index(len - offset).min(COPY_BYTES);
        let piece = &mut buffer[..count];
        file.read_at(offset, piece)?;
        hasher.update(piece);
        if let Some(copy) = copy {
            copy.write_at(offset, piece)?;
        }
        offset += bytes_u64(count);
        step(bytes_u64(count));
    }
    if let Some(copy) = copy {
        copy.sync()?;
    }
    Ok((len, hasher.finalize()))
}

fn difference(
    listed: &BackupFile,
    file: &dyn DiskFile,
    step: &mut dyn FnMut(u64),
) -> Option<String> {
    match transfer(file, None, step) {
        Ok(found) if found == (listed.bytes, listed.crc) => None,
        Ok(found) => Some(mismatch(listed, found)),
        Err(error) => Some(error.to_string()),
    }
}

fn mismatch(listed: &BackupFile, (bytes, crc): (u64, u32)) -> String {
    if bytes == listed.bytes {
        format!("its checksum is {crc:#010x}, the backup lists {:#010x}", listed.crc)
    } else {
        format!("it has {bytes} bytes, the backup lists {}", listed.bytes)
    }
}
