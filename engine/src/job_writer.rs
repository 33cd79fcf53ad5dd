//! Owns the rows that one open job has taken: in memory, in runs of segment files beside the live
//! ones where they grew too many, and the sequences taken. Knows nothing of
//! commits, time-outs or other jobs.

use std::sync::Arc;

use bytes::Bytes;
use tilekv_tile::{
    Accumulator, ColumnType, FeatureBinding, Rows, accumulator_from_partials, check_tile_start,
    floor_to,
};
use tilekv_wal::Disk;

use crate::catalog::{Catalog, View};
use crate::codec::bytes_u64;
use crate::error::EngineError;
use crate::job::{JobMode, JobTile};
use crate::job_rows::JobRows;
use crate::ledger::{MemoryUse, Reservation};
use crate::limits::{JOB_SEQUENCE_GAP_COUNT_MAX, ROW_COUNT_MAX};
use crate::memory::Memory;
use crate::ranges::TimeRange;
use crate::scan::Scan;
use crate::segment::{Segment, SegmentId, SegmentIds};
use crate::segment_writer::{SegmentTarget, SegmentWriter, remove_segment, write_scan};
use crate::version::Layer;

/// Where a job's files go.
pub(crate) struct JobFiles<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) memory: &'a Arc<Memory>,
    pub(crate) segment_ids: &'a SegmentIds,
    pub(crate) catalog: &'a Catalog,
    pub(crate) hash_seed: u64,
    pub(crate) block_tiles_max: usize,
}

impl<'a> JobFiles<'a> {
    fn writer(&self) -> SegmentWriter<'a> {
        SegmentWriter::new(self.disk, self.segment_ids.next(), self.block_tiles_max)
    }
}

/// What one open job holds.
#[derive(Debug)]
pub(crate) struct JobWriter {
    /// The view as it was when rows were last taken: those in memory have its layout.
    view: Arc<View>,
    /// The rows in memory, and what the ledger was told of them.
    kept: JobRows,
    reservation: Option<Reservation>,
    /// Files of rows that left memory, newest first.
    runs: Vec<Arc<Segment>>,
    /// Whether the only run is the segment that a commit was given.
    is_sealed: bool,
    pub(crate) rows: u64,
    /// The least tile start of the rows.
    pub(crate) oldest: Option<i64>,
    /// The greatest timestamp of the rows.
    pub(crate) newest: Option<i64>,
    pub(crate) sequences: Sequences,
}

impl JobWriter {
    /// A writer for rows of `view`.
    pub(crate) fn new(view: Arc<View>) -> Self {
        Self {
            view,
            kept: JobRows::default(),
            reservation: None,
            runs: Vec::new(),
            is_sealed: false,
            rows: 0,
            oldest: None,
            newest: None,
            sequences: Sequences::default(),
        }
    }

    /// About how many bytes of memory the rows take.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.kept.bytes()
    }

    /// Tells the ledger how much memory the rows take.
    pub(crate) fn reserve(&mut self, memory: &Memory) {
        let bytes = bytes_u64(self.kept.bytes());
        self.reservation = Some(memory.take(MemoryUse::Buffers, bytes));
    }

    /// Bytes of the job's files.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.file_bytes()).sum()
    }

    /// Makes room for rows under the layout of `view`: what is in memory goes to a file where
    /// it takes `bytes_max` or has an older layout.
    pub(crate) fn make_room(
        &mut self,
        view: &Arc<View>,
        bytes_max: usize,
        files: &JobFiles<'_>,
    ) -> Result<(), EngineError> {
        let is_relaid = self.view.layout_id() != view.layout_id();
        if is_relaid || bytes_max <= self.kept.bytes() {
            self.spill(files)?;
        }
        self.view = Arc::clone(view);
        Ok(())
    }

    /// Takes all of `rows`, or none where one is wrong or lies outside `range`.
    pub(crate) fn put_rows(&mut self, rows: Rows, range: TimeRange) -> Result<u64, EngineError> {
        rows.validate()?;
        check_count(rows.len())?;
        let columns = self.view.columns_of(&rows)?;
        let (indices, kinds): (Vec<u16>, Vec<ColumnType>) = columns.into_iter().unzip();
        self.check_places(&rows, range)?;
        let (entities, timestamps) = (rows.entities.clone(), rows.timestamps.clone());
        let columns = rows.into_columns(&kinds)?;
        if let (Some(oldest), Some(newest)) = (timestamps.iter().min(), timestamps.iter().max()) {
            self.took(floor_to(*oldest, self.view.span()), *newest);
        }
        let count = bytes_u64(entities.len());
        self.kept.put_rows(&entities, timestamps, indices.into_iter().zip(columns).collect());
        self.rows += count;
        Ok(count)
    }

    /// Takes all of `tiles`, or none where one is wrong or lies outside `range`. A tile that the
    /// job holds already is merged into.
    pub(crate) fn put_tiles(
        &mut self,
        tiles: &[JobTile],
        range: TimeRange,
    ) -> Result<u64, EngineError> {
        check_count(tiles.len())?;
        let bindings = self.view.bindings();
        let states: Vec<Accumulator> = tiles
            .iter()
            .map(|tile| self.check_tile(&bindings, tile, range))
            .collect::<Result<_, EngineError>>()?;
        for tile in tiles {
            self.took(tile.start, tile.start);
        }
        let entities: Vec<Bytes> = tiles.iter().map(|tile| tile.entity.clone()).collect();
        let starts = tiles.iter().map(|tile| tile.start).collect();
        self.kept.put_tiles(&entities, starts, states);
        self.rows += bytes_u64(tiles.len());
        Ok(bytes_u64(tiles.len()))
    }

    /// Puts everything into one durable segment; a replacing job's segment hides `range` of the
    /// whole view in older ones. None where there is nothing to add or to hide.
    pub(crate) fn seal(
        &mut self,
        mode: JobMode,
        range: TimeRange,
        files: &JobFiles<'_>,
    ) -> Result<Option<Arc<Segment>>, EngineError> {
        let is_whole = self.is_sealed || (mode == JobMode::Merge && self.runs.len() <= 1);
        if self.kept.is_empty() && is_whole {
            return self.runs.first().map(resident).transpose();
        }
        if !self.runs.is_empty() {
            self.spill(files)?;
        }
        let mut writer = files.writer();
        if mode == JobMode::Replace {
            writer.clear_view(self.view.id, self.view.layout_id(), range);
        }
        let segment = if self.runs.is_empty() {
            self.write_kept(writer, files)?
        } else {
            self.merge_runs(writer, files)?
        };
        let segment = segment.as_ref().map(resident).transpose()?;
        self.forget_kept();
        let merged = std::mem::replace(&mut self.runs, segment.iter().cloned().collect());
        self.is_sealed = true;
        for run in merged {
            remove_segment(files.disk, run.id)?;
        }
        Ok(segment)
    }

    /// Removes the job's files.
    pub(crate) fn discard(self, disk: &dyn Disk) -> Result<(), EngineError> {
        self.runs.iter().try_for_each(|run| remove_segment(disk, run.id))
    }

    /// Puts the rows in memory into a file of their own.
    fn spill(&mut self, files: &JobFiles<'_>) -> Result<(), EngineError> {
        if self.kept.is_empty() {
            return Ok(());
        }
        let run = self.write_kept(files.writer(), files)?;
        self.runs.splice(0..0, run);
        self.forget_kept();
        self.is_sealed = false;
        Ok(())
    }

    fn forget_kept(&mut self) {
        self.kept = JobRows::default();
        self.reservation = None;
    }

    fn write_kept(
        &mut self,
        mut writer: SegmentWriter<'_>,
        files: &JobFiles<'_>,
    ) -> Result<Option<Arc<Segment>>, EngineError> {
        let id = writer.id();
        let write = || {
            self.kept.write(&self.view, files.hash_seed, &mut writer)?;
            match writer.finish()? {
                true => Segment::open(files.disk, files.memory, id, files.catalog).map(Some),
                false => Ok(None),
            }
        };
        whole_or_none(write(), id, files)
    }

    fn merge_runs(
        &self,
        writer: SegmentWriter<'_>,
        files: &JobFiles<'_>,
    ) -> Result<Option<Arc<Segment>>, EngineError> {
        let id = writer.id();
        let layers: Vec<Layer> = self.runs.iter().cloned().map(Layer::Segment).collect();
        let target = SegmentTarget {
            disk: files.disk,
            memory: files.memory,
            catalog: files.catalog,
            hash_seed: files.hash_seed,
        };
        let written =
            Scan::new(&layers).and_then(|scan| write_scan(target, writer, scan, |_, _| {}));
        whole_or_none(written, id, files)
    }

    /// Judges the entities and times of rows.
    fn check_places(&self, rows: &Rows, (from, to): TimeRange) -> Result<(), EngineError> {
        let mut known: Option<&Bytes> = None;
        for (row, (entity, &timestamp)) in rows.entities.iter().zip(&rows.timestamps).enumerate() {
            if known != Some(entity) {
                self.view.definition.entity_check(entity)?;
                known = Some(entity);
            }
            if timestamp < from || to <= timestamp {
                return Err(EngineError::BadValue(format!(
                    "row {} (counted from 1) has timestamp {timestamp}, outside the job's range \
                     [{from}, {to})",
                    row + 1
                )));
            }
        }
        Ok(())
    }

    /// The state of a tile, if the job may take it.
    fn check_tile(
        &self,
        bindings: &[FeatureBinding],
        tile: &JobTile,
        (from, to): TimeRange,
    ) -> Result<Accumulator, EngineError> {
        let view = &self.view;
        view.definition.entity_check(&tile.entity)?;
        let end = check_tile_start(tile.start, view.definition.tile)?;
        if tile.start < from || to <= tile.start {
            return Err(EngineError::BadValue(format!(
                "tile start {} lies outside the job's range [{from}, {to})",
                tile.start
            )));
        }
        let given = view.given_partials(&tile.partials)?;
        Ok(accumulator_from_partials(view.layout(), bindings, &given, (tile.start, end))?)
    }

    fn took(&mut self, oldest: i64, newest: i64) {
        self.oldest = Some(self.oldest.map_or(oldest, |known| known.min(oldest)));
        self.newest = Some(self.newest.map_or(newest, |known| known.max(newest)));
    }
}

/// The segment that was written; what there is of its file goes where there was an error.
fn whole_or_none(
    written: Result<Option<Segment>, EngineError>,
    id: SegmentId,
    files: &JobFiles<'_>,
) -> Result<Option<Arc<Segment>>, EngineError> {
    if written.is_err() {
        remove_segment(files.disk, id)?;
    }
    written.map(|segment| segment.map(Arc::new))
}

/// A segment as it is published: in memory where the budget has room.
fn resident(segment: &Arc<Segment>) -> Result<Arc<Segment>, EngineError> {
    Segment::clone(segment).into_resident(1).map(Arc::new)
}

fn check_count(rows: usize) -> Result<(), EngineError> {
    if rows <= ROW_COUNT_MAX {
        return Ok(());
    }
    Err(EngineError::Limit(format!(
        "{rows} rows in one JOB.PUT, at most {ROW_COUNT_MAX} are taken; split it"
    )))
}

/// The sequences that a job has taken, each once: inclusive ranges, ascending, with gaps between.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    ranges: Vec<(u64, u64)>,
}

impl Sequences {
    /// Whether the sequence was taken before.
    pub(crate) fn contains(&self, sequence: u64) -> bool {
        let at = self.ranges.partition_point(|range| range.1 < sequence);
        self.ranges.get(at).is_some_and(|range| range.0 <= sequence)
    }

    /// Refuses to go on where too many gaps would have to be remembered.
    pub(crate) fn check_room(&self) -> Result<(), EngineError> {
        if self.ranges.len() < JOB_SEQUENCE_GAP_COUNT_MAX {
            return Ok(());
        }
        Err(EngineError::Limit(format!(
            "the job's sequences have {JOB_SEQUENCE_GAP_COUNT_MAX} gaps, the limit; send the \
             sequences between them first, or number them without gaps"
        )))
    }

    /// Notes that the sequence was taken.
    pub(crate) fn insert(&mut self, sequence: u64) {
        let at = self.ranges.partition_point(|range| range.1 < sequence);
        let joins_next =
            self.ranges.get(at).is_some_and(|next| next.0 <= sequence.saturating_add(1));
        let joins_last = at
            .checked_sub(1)
            .is_some_and(|last| self.ranges[last].1.checked_add(1) == Some(sequence));
        match (joins_last, joins_next) {
            (true, true) => {
                let next = self.ranges.remove(at);
                self.ranges[at - 1].1 = next.1;
            }
            (true, false) => self.ranges[at - 1].1 = sequence,
            (false, true) => self.ranges[at].0 = self.ranges[at].0.min(sequence),
            (false, false) => self.ranges.insert(at, (sequence, sequence)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sequences_are_the_set_of_what_was_taken(
            taken in proptest::collection::vec(
                prop_oneof![0_u64..40, (u64::MAX - 5)..=u64::MAX], 0..60),
        ) {
            let mut sequences = Sequences::default();
            let mut naive = BTreeSet::new();
            for sequence in taken {
                prop_assert_eq!(sequences.contains(sequence), !naive.insert(sequence));
                sequences.insert(sequence);
                prop_assert!(sequences.contains(sequence));
            }
            let total = sequences.ranges.iter().map(|(from, to)| to - from + 1).sum::<u64>();
            prop_assert_eq!(total, u64::try_from(naive.len()).unwrap());
            let has_gaps = sequences.ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0);
            prop_assert!(has_gaps, "{:?}", sequences.ranges);
        }
    }
}
