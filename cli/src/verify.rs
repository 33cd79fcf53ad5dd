//! `tilekv verify`: checks a store's folder or a backup, and says what is bad. Knows nothing of
//! how it is looked for.

use std::sync::Arc;

use tilekv_engine::disk::{Disk, DiskError, RealDisk};
use tilekv_engine::{Backup, Inspection, Verification, check_backup, verify};

use crate::arguments::Verify;
use crate::backup::{Taken, described};
use crate::failure::CliError;
use crate::folder::open_to_read;
use crate::progress::Progress;
use crate::render::grouped;
use crate::terminal::say;

/// `tilekv verify`.
pub(crate) fn run(request: &Verify) -> Result<(), CliError> {
    match Taken::find(&request.folder)? {
        Some(Taken { backup, store }) => {
            let bar = Progress::start("checking files", backup.bytes());
            let findings = check_backup(&backup, &store, &mut |at, of| bar.reach_of(at, of));
            bar.finish();
            let findings = findings?;
            for finding in &findings {
                say(format_args!("{}/{finding}", Backup::STORE_FOLDER))?;
            }
            let disk: Arc<dyn Disk> = Arc::new(store);
            let verified = look(&disk, &format!("{}/", Backup::STORE_FOLDER))?;
            finish(findings.len() + verified.findings.len())?;
            say(format_args!("a sound backup: {}", described(&backup)))?;
            tell_hash(request, &disk)
        }
        None => {
            let disk = open_to_read(&request.folder)?;
            let is_served = matches!(disk.lock().map(drop), Err(DiskError::Locked { .. }));
            let disk: Arc<dyn Disk> = Arc::<RealDisk>::new(disk);
            let verified = look(&disk, "")?;
            finish(verified.findings.len())?;
            say(sound(&verified))?;
            if 0 < verified.log.torn_bytes && !is_served {
                say(format_args!(
                    "the log ends with {} bytes that were never whole; the server cuts them when \
                     it starts",
                    grouped(verified.log.torn_bytes)
                ))?;
            }
            tell_hash(request, &disk)
        }
    }
}

/// Checks a store and prints what is bad, with `prefix` before the file.
fn look(disk: &Arc<dyn Disk>, prefix: &str) -> Result<Verification, CliError> {
    let bar = Progress::start("verifying", 0);
    let verified = verify(disk, &mut |at, of| bar.reach_of(at, of));
    bar.finish();
    let verified = verified?;
    for finding in &verified.findings {
        say(format_args!("{prefix}{finding}"))?;
    }
    Ok(verified)
}

fn finish(count: usize) -> Result<(), CliError> {
    if count == 0 { Ok(()) } else { Err(CliError::Damaged { count }) }
}

fn sound(verified: &Verification) -> String {
    format!(
        "sound: {} segments of {} bytes, {} records in {} log files, up to LSN {}",
        verified.segments,
        grouped(verified.segment_bytes),
        grouped(verified.log.records),
        verified.log.files.len(),
        verified.log.next_lsn
    )
}

fn tell_hash(request: &Verify, disk: &Arc<dyn Disk>) -> Result<(), CliError> {
    if !request.hash {
        return Ok(());
    }
    let inspection = Inspection::open(disk)?;
    let hash = inspection.state_hash()?;
    say(format_args!("state up to LSN {}: {hash}", inspection.log.next_lsn))
}
