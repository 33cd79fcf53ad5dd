//! Looks through a whole log for everything that is damaged, and goes on after each find. Decides
//! nothing about what to do, and changes nothing.

use crate::batch::Batch;
use crate::disk::{Disk, DiskError};
use crate::error::WalError;
use crate::file_walk::{Beyond, Found, Place, Stop, next_frame, scan, walk_on};
use crate::file_window::FileWindow;
use crate::frame::{FrameFault, FrameHeader};
use crate::limits::PAGE_BYTES;
use crate::log_file::{LogFile, find_files};
use crate::lsn::Lsn;

/// A place in the log that cannot be read although it was once whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFault {
    /// The file.
    pub file: String,
    /// Where the frame that cannot be read begins.
    pub offset: u64,
    /// Its first record.
    pub lsn: Lsn,
    /// What stands there.
    pub what: String,
}

/// Finds every damaged place in the files of the log that hold records from `manifest_durable` on.
/// What may be a torn tail is none ([WAL-27]). Another process may be appending meanwhile.
///
/// # Errors
/// [`WalError::Disk`] and [`WalError::Version`].
pub fn survey_log(disk: &dyn Disk, manifest_durable: Lsn) -> Result<Vec<LogFault>, WalError> {
    let files = find_files(disk)?;
    let begins_below =
        |file: &LogFile| file.first_lsn().is_some_and(|first| first <= manifest_durable);
    let first = files.iter().rposition(begins_below).unwrap_or(0);
    let mut survey = Survey { disk, due: None, faults: Vec::new() };
    for (index, file) in files.iter().enumerate().skip(first) {
        let is_last = index + 1 == files.len();
        let read = match &file.start {
            Ok(start) => survey.file(file, start, is_last),
            Err(fault) => survey.nameless(file, fault, is_last),
        };
        read.map_err(|source| WalError::Disk { verb: "be read", source })?;
    }
    Ok(survey.faults)
}

fn ignore(_: &Found<'_>, _: &Batch<'_>) {}

struct Survey<'a> {
    disk: &'a dyn Disk,
    /// What the next file has to begin with, and where the one before stopped.
    due: Option<(Place, String, u64)>,
    faults: Vec<LogFault>,
}

impl Survey<'_> {
    fn file(
        &mut self,
        file: &LogFile,
        start: &FrameHeader,
        is_last: bool,
    ) -> Result<(), DiskError> {
        self.follow(file, start);
        let mut place = Place { lsn: start.first_lsn, crc: start.crc };
        let mut position = PAGE_BYTES;
        let mut window = FileWindow::open(self.disk, &file.name)?;
        loop {
            let (end, stop) = walk_on(&mut window, start.salt, position, &mut place, &mut ignore)?;
            self.due = Some((place, file.name.clone(), end));
            let Stop::Open { offset, fault } = stop else { return Ok(()) };
            // An owner may have gone on since.
            window.refresh()?;
            let wanted = if is_last { Beyond::Proof } else { Beyond::Frame };
            let found = next_frame(&mut window, end, start.salt, place.lsn, wanted)?;
            let Some((at, header)) = found else { return Ok(()) };
            window.refresh()?;
            let before = place;
            let (again, _) = walk_on(&mut window, start.salt, end, &mut place, &mut ignore)?;
            if before != place {
                position = again;
                continue;
            }
            self.fault(&file.name, offset, place.lsn, &fault);
            place = Place { lsn: header.first_lsn, crc: header.previous_crc };
            position = at;
        }
    }

    /// A file without a good start frame is unused unless frames stand in it ([WAL-25]).
    fn nameless(
        &mut self,
        file: &LogFile,
        fault: &FrameFault,
        is_last: bool,
    ) -> Result<(), DiskError> {
        let mut window = FileWindow::open(self.disk, &file.name)?;
        let remains = scan(&mut window, 0, None, Lsn::ZERO)?;
        if remains.first_frame.is_none() {
            return Ok(());
        }
        let reread = find_files(self.disk).ok().and_then(|files| {
            files.into_iter().find(|other| other.name == file.name && other.start.is_ok())
        });
        if let Some(LogFile { start: Ok(start), .. }) = &reread {
            return self.file(file, start, is_last);
        }
        let lsn = self.due.as_ref().map_or(Lsn::ZERO, |(place, _, _)| place.lsn);
        self.fault(&file.name, 0, lsn, fault);
        self.due = None;
        Ok(())
    }

    /// Checks that the file begins where the one before stopped.
    fn follow(&mut self, file: &LogFile, start: &FrameHeader) {
        let begins = Place { lsn: start.first_lsn, crc: start.previous_crc };
        let Some((due, before, stopped_at)) = self.due.take().filter(|(due, _, _)| *due != begins)
        else {
            return;
        };
        let fault = if due.lsn < begins.lsn {
            let what = format!("the records up to LSN {} are not there", begins.lsn);
            LogFault { file: before, offset: stopped_at, lsn: due.lsn, what }
        } else {
            let what = format!(
                "it begins at LSN {} after checksum {:#010x}, want LSN {} after {:#010x}",
                begins.lsn, begins.crc, due.lsn, due.crc
            );
            LogFault { file: file.name.clone(), offset: 0, lsn: begins.lsn, what }
        };
        self.faults.push(fault);
    }

    fn fault(&mut self, file: &str, offset: u64, lsn: Lsn, fault: &FrameFault) {
        let (file, what) = (file.to_owned(), fault.to_string());
        self.faults.push(LogFault { file, offset, lsn, what });
    }
}
