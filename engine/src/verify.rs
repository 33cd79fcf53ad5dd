//! Owns the check of a whole store: every checksum, page, block and record is read, and what is bad
//! is named. Changes nothing, and goes on after each find. Knows nothing of paths.

use std::collections::BTreeSet;
use std::sync::Arc;

use tilekv_wal::{Disk, DiskError, LogTail, Lsn, WalError, read_log, survey_log};

use crate::backup::{Progress, is_vanished};
use crate::catalog::Catalog;
use crate::codec::index;
use crate::error::EngineError;
use crate::finding::Finding;
use crate::inspect::Inspection;
use crate::limits::BACKUP_TRIES_MAX;
use crate::manifest::{MANIFEST, Manifest};
use crate::memory::Memory;
use crate::record::{Effect, JobRecord};
use crate::records::{RecordFile, is_record_file, record_file_name};
use crate::segment::SegmentId;
use crate::segment_file::SegmentFile;

/// What a check of a store came to.
#[derive(Debug, Clone, Default)]
pub struct Verification {
    /// What is not as it was written.
    pub findings: Vec<Finding>,
    /// Segments that were read.
    pub segments: usize,
    /// Bytes of their files.
    pub segment_bytes: u64,
    /// What the log holds, as far as it can be read.
    pub log: LogTail,
}

/// Reads everything that the store on `disk` needs: manifest, segments and the log from the
/// flushed LSN on. Another process may be serving the store.
///
/// # Errors
/// There is no store, and what the disk says when it cannot be read at all.
pub fn verify(disk: &Arc<dyn Disk>, progress: Progress<'_>) -> Result<Verification, EngineError> {
    for last in (0..BACKUP_TRIES_MAX).rev() {
        let Some(image) = Manifest::read(&**disk)? else {
            return Err(crate::backup::no_store(&**disk));
        };
        let mut check = Check::new(&**disk, progress);
        check.everything(disk, &image);
        // What went meanwhile is named by no newer manifest ([BACKUP-6]).
        let has_moved_on = Manifest::read(&**disk)?.as_ref() != Some(&image);
        if last == 0 || !(check.has_vanished && has_moved_on) {
            return Ok(check.found);
        }
    }
    unreachable!("the last attempt is taken as it is")
}

struct Check<'a, 'b> {
    disk: &'a dyn Disk,
    progress: &'a mut (dyn FnMut(u64, u64) + 'b),
    memory: Arc<Memory>,
    found: Verification,
    /// Whether a file was not there that should be.
    has_vanished: bool,
    done: u64,
    total: u64,
}

impl<'a, 'b> Check<'a, 'b> {
    fn new(disk: &'a dyn Disk, progress: &'a mut (dyn FnMut(u64, u64) + 'b)) -> Self {
        let memory = Arc::new(Memory::new(u64::MAX, 0));
        let found = Verification::default();
        Self { disk, progress, memory, found, has_vanished: false, done: 0, total: 0 }
    }

    fn everything(&mut self, disk: &Arc<dyn Disk>, image: &[u8]) {
        let (manifest, catalog) = match read_manifest(image) {
            Ok(read) => read,
            Err(error) => return self.without_manifest(error),
        };
        self.total = manifest.segments.iter().map(|id| self.file_bytes(*id)).sum();
        for id in &manifest.segments {
            self.segment(*id, &catalog);
        }
        for id in &manifest.records {
            self.record_file(*id);
        }
        self.survey(manifest.flushed);
        let mut others = self.read_log(manifest.flushed);
        if !self.found.findings.is_empty() {
            // A log that cannot be read does not tell which of the others belong to the store.
            others.extend(self.listed_segments());
        }
        for id in others.into_iter().filter(|id| !manifest.segments.contains(id)) {
            self.total += self.file_bytes(id);
            self.segment(id, &catalog);
        }
        if self.found.findings.is_empty() {
            // All is whole; whether it also fits together shows in the doing.
            match Inspection::open(disk) {
                Ok(inspection) => self.found.log = inspection.log,
                Err(error) => self.note(MANIFEST, error),
            }
        }
    }

    /// Nothing says what belongs to the store, so that every file is looked at by itself.
    fn without_manifest(&mut self, error: EngineError) {
        self.note(MANIFEST, error);
        for id in self.listed_segments() {
            self.segment(id, &Catalog::default());
        }
        let names = self.disk.list().unwrap_or_default();
        for id in names.iter().filter_map(|name| is_record_file(name)) {
            self.record_file(id);
        }
        self.survey(Lsn::ZERO);
    }

    fn listed_segments(&self) -> Vec<SegmentId> {
        let names = self.disk.list().unwrap_or_default();
        names.iter().filter_map(|name| SegmentId::from_file_name(name)).collect()
    }

    fn segment(&mut self, id: SegmentId, catalog: &Catalog) {
        let file = match SegmentFile::open(self.disk, &self.memory, id, catalog) {
            Ok(file) => file,
            Err(error) => return self.note(&id.file_name(), error),
        };
        self.found.segments += 1;
        self.found.segment_bytes += file.file_bytes();
        let mut first = 0;
        while first < file.page_count() {
            let run = file.run_of_pages(first..file.page_count());
            for page in run.clone() {
                if let Err(error) = check_page(&file, page) {
                    self.note(&id.file_name(), error);
                }
            }
            first = run.end;
            self.step(file.page_range(run.end - 1).end - file.page_range(run.start).start);
        }
        self.step(file.file_bytes().saturating_sub(file.data_bytes()));
    }

    fn record_file(&mut self, id: SegmentId) {
        let walked = RecordFile::open(self.disk, id).and_then(|file| {
            self.found.segments += 1;
            self.found.segment_bytes += file.bytes;
            let mut walk = file.walk();
            while walk.next_entry()?.is_some() {}
            Ok(())
        });
        if let Err(error) = walked {
            self.note(&record_file_name(id), error);
        }
    }

    fn survey(&mut self, flushed: Lsn) {
        match survey_log(self.disk, flushed) {
            Ok(faults) => self.found.findings.extend(faults.into_iter().map(|fault| Finding {
                file: fault.file,
                offset: Some(fault.offset),
                lsn: Some(fault.lsn),
                what: fault.what,
            })),
            Err(error) => self.note(LOG, error.into()),
        }
    }

    /// Decodes every record; gives the segments that jobs' commits name.
    fn read_log(&mut self, flushed: Lsn) -> BTreeSet<SegmentId> {
        let (mut jobs, mut bad) = (BTreeSet::new(), Vec::new());
        let read =
            read_log(self.disk, flushed, &mut |lsn, _, record| match Effect::decode(record) {
                Ok(Effect::CommitJob(JobRecord { segment: Some(id), .. })) => drop(jobs.insert(id)),
                Ok(_) => {}
                Err(error) => bad.push((lsn, error)),
            });
        for (lsn, error) in bad {
            let what = format!("a record that this version cannot read: {error}");
            let (file, lsn) = (LOG.to_owned(), Some(lsn));
            self.found.findings.push(Finding { file, offset: None, lsn, what });
        }
        match read {
            Ok(log) => self.found.log = log,
            Err(error) => self.note(LOG, error.into()),
        }
        jobs
    }

    /// Notes an error of reading `file`, or of the file that the error itself names, once.
    fn note(&mut self, file: &str, error: EngineError) {
        self.has_vanished |= is_vanished(&error);
        let finding = finding(file, error);
        let is_same = |known: &&Finding| {
            (&known.file, known.offset, known.lsn) == (&finding.file, finding.offset, finding.lsn)
        };
        if !self.found.findings.iter().any(|known| is_same(&known)) {
            self.found.findings.push(finding);
        }
    }

    fn file_bytes(&self, id: SegmentId) -> u64 {
        let opened = self.disk.open(&id.file_name());
        opened.and_then(|file| file.len()).unwrap_or(0)
    }

    fn step(&mut self, bytes: u64) {
        self.done += bytes;
        (self.progress)(self.done.min(self.total), self.total);
    }
}

fn read_manifest(image: &[u8]) -> Result<(Manifest, Catalog), EngineError> {
    let manifest = Manifest::decode(image)?;
    let catalog = manifest.control()?.catalog;
    Ok((manifest, catalog))
}

fn check_page(file: &SegmentFile, page: usize) -> Result<(), EngineError> {
    let range = file.page_range(page);
    let mut bytes = vec![0; index(range.end - range.start)];
    file.read(range.start, &mut bytes)?;
    file.check_page(&bytes, range.start)
}

/// An error as what it says of a file.
fn finding(file: &str, error: EngineError) -> Finding {
    let place = |file: String, offset: u64, lsn: Option<Lsn>, what: String| Finding {
        file,
        offset: Some(offset),
        lsn,
        what,
    };
    match error {
        EngineError::Corrupt { file, offset, what }
        | EngineError::Damaged { file, offset, what } => place(file, offset, None, what),
        EngineError::Wal(WalError::Corrupt { file, offset, lsn, found, proof }) => {
            place(file, offset, Some(lsn), format!("{found}, although {proof}"))
        }
        EngineError::Disk(DiskError::NotFound { name, .. }) => {
            Finding::of_file(&name, "the file is missing")
        }
        error => Finding::of_file(file, error),
    }
}

/// What findings about the log as a whole name in place of a file.
const LOG: &str = "the log";
