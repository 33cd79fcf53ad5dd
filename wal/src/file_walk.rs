//! Reads the frames of one file in order, and looks for frames beyond the place where they
//! stop ([WAL-22], [WAL-26]). Knows nothing of other files and decides nothing.

use crate::batch::{Batch, padded_body_bytes};
use crate::disk::DiskError;
use crate::file_window::FileWindow;
use crate::frame::{FrameFault, FrameHeader, FrameKind, MAGIC};
use crate::limits::{FRAME_ALIGNMENT_BYTES, HEADER_BYTES, PAGE_BYTES};
use crate::log_file::page_after;
use crate::lsn::Lsn;
use crate::number::{u64_of, usize_of};

/// Where the next frame has to stand and what it has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) lsn: Lsn,
    /// The checksum of the frame before.
    pub(crate) crc: u32,
}

/// Where the frames of a file stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileEnd {
    /// One past the last byte of the last good batch.
    pub(crate) position: u64,
    pub(crate) stop: Stop,
    /// The bytes from here to `position` are not proved durable by anything in the file.
    pub(crate) unproven_from: u64,
}

/// What stands after the last good batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// An end frame.
    Sealed,
    /// No good frame; the offset is where one was looked for.
    Open { offset: u64, fault: FrameFault },
}

/// What lies beyond the place where a file's frames stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remains {
    /// One past the last byte that is not zero.
    pub(crate) nonzero_end: Option<u64>,
    pub(crate) batches_whole: u64,
    pub(crate) records_whole: u64,
    /// The offset of the first frame whose header is good.
    pub(crate) first_frame: Option<u64>,
    /// The offset and header of the first frame that proves the missing LSN durable.
    pub(crate) proof: Option<(u64, FrameHeader)>,
}

/// Reads a file whose start frame is good; hands each batch to `take` and moves `place` on.
pub(crate) fn walk(
    window: &mut FileWindow,
    start: &FrameHeader,
    place: &mut Place,
    take: &mut dyn FnMut(&FrameHeader, &Batch<'_>),
) -> Result<FileEnd, DiskError> {
    let mut proven = start.first_lsn;
    let mut batches: Vec<(Lsn, u64)> = Vec::new();
    let (position, stop) = walk_on(window, start.salt, PAGE_BYTES, place, &mut |at, batch| {
        batches.push((at.header.first_lsn, at.offset));
        proven = at.header.durable_lsn;
        take(at.header, batch);
    })?;
    let first_unproven = batches.partition_point(|(lsn, _)| *lsn < proven);
    let unproven_from = match batches.get(first_unproven) {
        _ if stop == Stop::Sealed => position,
        Some((_, offset)) => *offset,
        None => 0,
    };
    Ok(FileEnd { position, stop, unproven_from })
}

/// Reads the frames from `position` on, where `place` says what is due; gives where the last good
/// batch ends and what stands after it.
pub(crate) fn walk_on(
    window: &mut FileWindow,
    salt: u64,
    mut position: u64,
    place: &mut Place,
    take: &mut dyn FnMut(&Found<'_>, &Batch<'_>),
) -> Result<(u64, Stop), DiskError> {
    loop {
        match next(window, salt, *place, position, take)? {
            Next::Batch { end, header } => {
                place.lsn = Lsn::new(header.first_lsn.number() + u64::from(header.record_count));
                place.crc = header.crc;
                position = end;
            }
            Next::Stop(stop) => return Ok((position, stop)),
        }
    }
}

/// A batch's header and where it stands.
pub(crate) struct Found<'a> {
    pub(crate) offset: u64,
    pub(crate) header: &'a FrameHeader,
}

/// Looks through everything from an offset on. A frame counts when its header is good and
/// bears the salt (any salt when none is given).
pub(crate) fn scan(
    window: &mut FileWindow,
    from: u64,
    salt: Option<u64>,
    missing: Lsn,
) -> Result<Remains, DiskError> {
    let nonzero_end = nonzero_end(window, from)?;
    let mut remains = Remains { nonzero_end, ..Remains::default() };
    let mut offset = from.next_multiple_of(u64_of(FRAME_ALIGNMENT_BYTES));
    while offset < nonzero_end.unwrap_or(0) {
        let bytes = window.ahead(offset, HEADER_BYTES)?;
        offset = match find_magic(bytes) {
            Some(at) => examine(window, offset + u64_of(at), salt, missing, &mut remains)?,
            None => {
                let whole = bytes.len() / FRAME_ALIGNMENT_BYTES * FRAME_ALIGNMENT_BYTES;
                offset + u64_of(whole.max(FRAME_ALIGNMENT_BYTES))
            }
        };
    }
    Ok(remains)
}

/// Which frame shows that one before it is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beyond {
    /// Any later one.
    Frame,
    /// One that was written when the missing LSN was durable.
    Proof,
}

/// The first frame from an offset on whose header is good, bears the salt, and is later than the
/// one that `missing` is due in.
pub(crate) fn next_frame(
    window: &mut FileWindow,
    from: u64,
    salt: u64,
    missing: Lsn,
    wanted: Beyond,
) -> Result<Option<(u64, FrameHeader)>, DiskError> {
    let is_wanted = |header: &FrameHeader| match wanted {
        Beyond::Frame => missing < header.first_lsn,
        Beyond::Proof => missing < header.durable_lsn,
    };
    let mut offset = from.next_multiple_of(u64_of(FRAME_ALIGNMENT_BYTES));
    while offset < window.len() {
        let bytes = window.ahead(offset, HEADER_BYTES)?;
        let Some(at) = find_magic(bytes) else {
            let whole = bytes.len() / FRAME_ALIGNMENT_BYTES * FRAME_ALIGNMENT_BYTES;
            offset += u64_of(whole.max(FRAME_ALIGNMENT_BYTES));
            continue;
        };
        offset += u64_of(at);
        if let Ok(header) = header_at(window, offset)?
            && header.salt == salt
            && is_wanted(&header)
        {
            return Ok(Some((offset, header)));
        }
        offset += u64_of(FRAME_ALIGNMENT_BYTES);
    }
    Ok(None)
}

/// One past the last byte from an offset on that is not zero.
fn nonzero_end(window: &mut FileWindow, from: u64) -> Result<Option<u64>, DiskError> {
    let (mut offset, mut end) = (from, None);
    while offset < window.len() {
        let bytes = window.ahead(offset, 1)?;
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            end = Some(offset + u64_of(last) + 1);
        }
        offset += u64_of(bytes.len().max(1));
    }
    Ok(end)
}

enum Next {
    Batch { end: u64, header: FrameHeader },
    Stop(Stop),
}

/// The frame at `position`, or, when a sync came between, at the page boundary after it.
fn next(
    window: &mut FileWindow,
    salt: u64,
    place: Place,
    position: u64,
    take: &mut dyn FnMut(&Found<'_>, &Batch<'_>),
) -> Result<Next, DiskError> {
    let page = page_after(position);
    let mut found = (position, FrameFault::Zeros);
    for offset in [position, page] {
        match frame_at(window, salt, place, offset, take)? {
            Ok(header) if header.kind == FrameKind::End => {
                return Ok(Next::Stop(Stop::Sealed));
            }
            Ok(header) => {
                let body = padded_body_bytes(&header).unwrap_or(0);
                let end = offset + u64_of(HEADER_BYTES + body);
                return Ok(Next::Batch { end, header });
            }
            Err(fault) if found.1 == FrameFault::Zeros => found = (offset, fault),
            Err(_) => {}
        }
        if page == position {
            break;
        }
    }
    let (offset, fault) = if found.1 == FrameFault::Zeros { (position, found.1) } else { found };
    Ok(Next::Stop(Stop::Open { offset, fault }))
}

fn frame_at(
    window: &mut FileWindow,
    salt: u64,
    place: Place,
    offset: u64,
    take: &mut dyn FnMut(&Found<'_>, &Batch<'_>),
) -> Result<Result<FrameHeader, FrameFault>, DiskError> {
    let header = match header_at(window, offset)? {
        Ok(header) => header,
        Err(fault) => return Ok(Err(fault)),
    };
    if let Err(fault) = check_place(&header, salt, place) {
        return Ok(Err(fault));
    }
    if header.kind == FrameKind::End {
        return Ok(Ok(header));
    }
    let found = Found { offset, header: &header };
    let checked = with_body(window, offset, &header, |batch| take(&found, batch))?;
    Ok(checked.map(|()| header))
}

fn header_at(
    window: &mut FileWindow,
    offset: u64,
) -> Result<Result<FrameHeader, FrameFault>, DiskError> {
    let len = window.len();
    if len <= offset {
        return Ok(Err(FrameFault::Zeros));
    }
    let Some(bytes) = window.bytes(offset, HEADER_BYTES)? else {
        return Ok(Err(FrameFault::FileEnd { bytes: len - offset }));
    };
    let mut header = [0; HEADER_BYTES];
    header.copy_from_slice(bytes);
    Ok(FrameHeader::decode(&header))
}

fn check_place(header: &FrameHeader, salt: u64, place: Place) -> Result<(), FrameFault> {
    if header.kind == FrameKind::Start {
        return Err(FrameFault::Kind { found: header.kind.number() });
    }
    if header.salt != salt {
        return Err(FrameFault::Salt { expected: salt, found: header.salt });
    }
    if header.first_lsn != place.lsn {
        return Err(FrameFault::FirstLsn { expected: place.lsn, found: header.first_lsn });
    }
    if header.previous_crc != place.crc {
        return Err(FrameFault::Chain { expected: place.crc, found: header.previous_crc });
    }
    Ok(())
}

fn with_body(
    window: &mut FileWindow,
    offset: u64,
    header: &FrameHeader,
    take: impl FnOnce(&Batch<'_>),
) -> Result<Result<(), FrameFault>, DiskError> {
    let bytes = match padded_body_bytes(header) {
        Ok(bytes) => bytes,
        Err(fault) => return Ok(Err(fault)),
    };
    let left = window.len() - offset;
    let Some(body) = window.bytes(offset + u64_of(HEADER_BYTES), bytes)? else {
        return Ok(Err(FrameFault::FileEnd { bytes: left }));
    };
    Ok(Batch::decode(header, body).map(|batch| take(&batch)))
}

/// Looks at what may be a frame; returns where to go on.
fn examine(
    window: &mut FileWindow,
    offset: u64,
    salt: Option<u64>,
    missing: Lsn,
    remains: &mut Remains,
) -> Result<u64, DiskError> {
    let step = offset + u64_of(FRAME_ALIGNMENT_BYTES);
    let Ok(header) = header_at(window, offset)? else {
        return Ok(step);
    };
    if salt.is_some_and(|salt| salt != header.salt) {
        return Ok(step);
    }
    remains.first_frame.get_or_insert(offset);
    if missing < header.durable_lsn && remains.proof.is_none() {
        remains.proof = Some((offset, header.clone()));
    }
    if header.kind != FrameKind::Batch || with_body(window, offset, &header, |_| ())?.is_err() {
        return Ok(step);
    }
    remains.batches_whole += 1;
    remains.records_whole += u64::from(header.record_count);
    // The records of a good batch are not searched: a client may have stored a copy of a log.
    Ok(offset + u64_of(HEADER_BYTES + padded_body_bytes(&header).unwrap_or(0)))
}

fn find_magic(bytes: &[u8]) -> Option<usize> {
    let magic = MAGIC.to_le_bytes();
    let place = bytes.chunks(FRAME_ALIGNMENT_BYTES).position(|chunk| chunk.starts_with(&magic))?;
    Some(usize_of(place * FRAME_ALIGNMENT_BYTES))
}
