//! What the tests share: small options, record contents, and a log read back.

use std::sync::Arc;

use tilekv_wal::{Disk, Log, LogOptions, Lsn, RecoveryReport, SimDisk, SimFaults, WalError};

/// Files of 16 KiB that grow by a page: many files from few bytes.
pub(crate) const SMALL: LogOptions = LogOptions { file_bytes_max: 16 << 10, allocate_bytes: 4096 };

/// A record as it was written or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) lsn: u64,
    pub(crate) now_ms: i64,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn sound_disk() -> SimDisk {
    SimDisk::new(1, SimFaults::default())
}

pub(crate) fn shared(disk: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

/// Bytes that tell one record from another.
pub(crate) fn content(lsn: u64, size: usize) -> Vec<u8> {
    (0..size)
        .map(|at| u8::try_from((lsn * 31 + u64::try_from(at).unwrap() * 7) % 251).unwrap())
        .collect()
}

/// Opens the log and collects what it replays.
pub(crate) fn open(
    disk: &SimDisk,
    manifest: u64,
) -> Result<(Log, RecoveryReport, Vec<Record>), WalError> {
    let mut records = Vec::new();
    let (log, report) =
        Log::open(shared(disk), SMALL, Lsn::new(manifest), 7, &mut |lsn, now_ms, bytes| {
            records.push(Record { lsn: lsn.number(), now_ms, bytes: bytes.to_vec() });
        })?;
    Ok((log, report, records))
}

/// Appends one batch of records of the given sizes, at time `first LSN * 10`.
pub(crate) fn append(log: &mut Log, sizes: &[usize]) -> Result<Vec<Record>, WalError> {
    let first = log.next_lsn().number();
    let now_ms = i64::try_from(first * 10).unwrap();
    let record = |(lsn, size): (u64, &usize)| Record { lsn, now_ms, bytes: content(lsn, *size) };
    let records: Vec<Record> = (first..).zip(sizes).map(record).collect();
    let bytes: Vec<&[u8]> = records.iter().map(|record| record.bytes.as_slice()).collect();
    let range = log.append(now_ms, &bytes)?;
    assert_eq!(range.start.number(), first);
    assert_eq!(range.end, log.next_lsn());
    Ok(records)
}

/// Names of the log's files on the disk, oldest first.
pub(crate) fn log_files(disk: &SimDisk) -> Vec<String> {
    disk.list().unwrap().into_iter().filter(|name| name.starts_with("wal-")).collect()
}
