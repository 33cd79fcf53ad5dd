//! `tilekv backup` and `tilekv restore`: which folders are read and made, and what is said of it.
//! Knows nothing of what a backup holds.

use std::path::Path;

use tilekv_engine::disk::{Disk, DiskError, RealDisk};
use tilekv_engine::{
    Backup, BackupOptions, EngineError, PreviousBackup, back_up, check_backup, restore,
};

use crate::arguments;
use crate::clock_time;
use crate::failure::CliError;
use crate::folder::{Partial, open_to_read};
use crate::progress::Progress;
use crate::render::grouped;
use crate::terminal::{note, say};

/// `tilekv backup`.
pub(crate) fn run(backup: &arguments::Backup) -> Result<(), CliError> {
    let source = open_to_read(&backup.data)?;
    let previous = backup.previous.as_deref().map(Taken::open).transpose()?;
    let partial = Partial::begin(&backup.to)?;
    match take(&source, previous.as_ref(), partial.path()) {
        Ok(taken) => {
            partial.publish()?;
            say(format_args!("backed up {} to {}", described(&taken), backup.to.display()))
        }
        Err(error) => {
            partial.discard();
            Err(error)
        }
    }
}

/// `tilekv restore`.
pub(crate) fn put_back(request: &arguments::Restore) -> Result<(), CliError> {
    let taken = Taken::open(&request.backup)?;
    refuse_used(&taken.backup, &request.data)?;
    let bar = Progress::start("checking", taken.backup.bytes());
    let findings = check_backup(&taken.backup, &taken.store, &mut |at, of| bar.reach_of(at, of));
    bar.finish();
    let findings = findings?;
    if !findings.is_empty() {
        findings.iter().for_each(|finding| note(format_args!("store/{finding}")));
        return Err(CliError::Damaged { count: findings.len() });
    }
    let target = RealDisk::open(&request.data)?;
    let _lock = target.lock()?;
    let link = |name: &str| target.link_from(&taken.store, name);
    let link: Option<tilekv_engine::Link<'_>> = if request.link { Some(&link) } else { None };
    let bar = Progress::start("restoring", taken.backup.bytes());
    let restored =
        restore(&taken.backup, &taken.store, &target, link, &mut |at, of| bar.reach_of(at, of));
    bar.finish();
    restored?;
    let (what, data) = (described(&taken.backup), request.data.display());
    say(format_args!("restored {what} to {data}"))
}

/// A backup that was taken before.
pub(crate) struct Taken {
    pub(crate) backup: Backup,
    /// The store's files in it.
    pub(crate) store: RealDisk,
}

impl Taken {
    /// Opens the backup in a folder.
    pub(crate) fn open(path: &Path) -> Result<Self, CliError> {
        match Self::find(path)? {
            Some(taken) => Ok(taken),
            None => Err(CliError::Content {
                path: path.display().to_string(),
                problem: format!("no backup: it has no file `{}`", Backup::FILE_NAME),
            }),
        }
    }

    /// Opens the backup in a folder; none where the folder is something else.
    pub(crate) fn find(path: &Path) -> Result<Option<Self>, CliError> {
        let Some(backup) = Backup::load(&open_to_read(path)?)? else {
            return Ok(None);
        };
        let store = open_to_read(&path.join(Backup::STORE_FOLDER))?;
        Ok(Some(Self { backup, store }))
    }
}

fn take(source: &RealDisk, previous: Option<&Taken>, path: &Path) -> Result<Backup, CliError> {
    let target = RealDisk::open(&path.join(Backup::STORE_FOLDER))?;
    let link = |name: &str| target.link_from(source, name);
    let link_previous = |name: &str| match previous {
        Some(taken) => target.link_from(&taken.store, name),
        None => Ok(false),
    };
    let options = BackupOptions {
        made_at_ms: clock_time::now_ms(),
        link: &link,
        previous: previous
            .map(|taken| PreviousBackup { backup: &taken.backup, link: &link_previous }),
    };
    let bar = Progress::start("backing up", 0);
    let taken = back_up(source, &target, &options, &mut |at, of| bar.reach_of(at, of));
    bar.finish();
    let taken = taken?;
    taken.store(&RealDisk::open(path)?)?;
    Ok(taken)
}

/// Refuses a data folder that holds anything but what a restore of this backup may have left.
fn refuse_used(backup: &Backup, data: &Path) -> Result<(), CliError> {
    let disk = match RealDisk::open_read_only(data) {
        Err(DiskError::NotFound { .. }) => return Ok(()),
        opened => opened?,
    };
    let names = disk.list()?;
    let is_store = names.iter().any(|name| name == "manifest");
    let is_left = |name: &String| backup.file(name).is_some() || name == "manifest.tmp";
    match names.iter().find(|name| is_store || !is_left(name)) {
        None => Ok(()),
        Some(name) => Err(CliError::Usage(format!(
            "{} is not empty: it holds `{name}`; restore into an empty or a new folder",
            data.display()
        ))),
    }
}

/// What a backup holds, for people.
pub(crate) fn described(backup: &Backup) -> String {
    format!(
        "the state up to LSN {} of {}: {} files, {} bytes",
        backup.end,
        clock_time::show(backup.made_at_ms),
        backup.files.len(),
        grouped(backup.bytes())
    )
}

impl From<EngineError> for CliError {
    fn from(error: EngineError) -> Self {
        Self::Store(error.to_string())
    }
}

impl From<DiskError> for CliError {
    fn from(error: DiskError) -> Self {
        Self::Store(error.to_string())
    }
}
