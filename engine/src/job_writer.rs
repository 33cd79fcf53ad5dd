//! Owns the rows that one open job has taken: an overlay of its own, runs of segment files beside
//! the live ones where the overlay grew too large, and the sequences taken. Knows nothing of
//! commits, time-outs or other jobs.

use std::sync::Arc;

use tilekv_tile::{
    Rows, accumulator_from_partials, check_tile_start, decode_accumulator, encode_accumulator,
    floor_to,
};
use tilekv_wal::{Disk, Lsn};

use crate::catalog::{Catalog, View};
use crate::codec::bytes_u64;
use crate::error::EngineError;
use crate::job::{JobMode, JobTile};
use crate::limits::{JOB_SEQUENCE_GAP_COUNT_MAX, ROW_COUNT_MAX};
use crate::memory::Memory;
use crate::overlay::Overlay;
use crate::ranges::TimeRange;
use crate::record::{Effect, EventsWriter};
use crate::scan::Scan;
use crate::segment::{Segment, SegmentIds};
use crate::segment_writer::{SegmentTarget, SegmentWriter, remove_segment, write_scan};
use crate::version::{Layer, hash_entity};

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
    /// The view as it was when rows were last taken: the overlay has its layout.
    view: Arc<View>,
    overlay: Arc<Overlay>,
    /// Files of rows that left the overlay, newest first.
    runs: Vec<Arc<Segment>>,
    /// Whether the only run is the segment that a commit was given.
    is_sealed: bool,
    pub(crate) rows: u64,
    /// The least tile start of the rows.
    pub(crate) oldest: Option<i64>,
    /// The greatest timestamp of the rows.
    pub(crate) newest: Option<i64>,
    pub(crate) sequences: Sequences,
    /// Rows on their way from their checks to the overlay.
    checked: Vec<u8>,
}

impl JobWriter {
    /// A writer for rows of `view`.
    pub(crate) fn new(view: Arc<View>) -> Self {
        Self {
            view,
            overlay: Arc::new(Overlay::new(Lsn::ZERO)),
            runs: Vec::new(),
            is_sealed: false,
            rows: 0,
            oldest: None,
            newest: None,
            sequences: Sequences::default(),
            checked: Vec::new(),
        }
    }

    /// About how many bytes of memory the rows take.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.overlay.bytes()
    }

    /// Bytes of the job's files.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.file_bytes()).sum()
    }

    /// Makes room for rows under the layout of `view`: the overlay goes to a file where it takes
    /// `bytes_max` or has an older layout.
    pub(crate) fn make_room(
        &mut self,
        view: &Arc<View>,
        bytes_max: usize,
        files: &JobFiles<'_>,
    ) -> Result<(), EngineError> {
        let is_relaid = self.view.layout_id() != view.layout_id();
        if is_relaid || bytes_max <= self.overlay.bytes() {
            self.spill(files)?;
        }
        self.view = Arc::clone(view);
        Ok(())
    }

    /// Takes all of `rows`, or none where one is wrong or lies outside `range`.
    pub(crate) fn put_rows(
        &mut self,
        rows: &Rows,
        range: TimeRange,
        hash_seed: u64,
    ) -> Result<u64, EngineError> {
        self.checked.clear();
        self.check_rows(rows, range)?;
        let Ok(Effect::Events(events)) = Effect::decode(&self.checked) else {
            unreachable!("the record was written by check_rows");
        };
        let (view, overlay) = (&self.view, &self.overlay);
        let (mut oldest, mut newest) = (i64::MAX, i64::MIN);
        let read = events.for_each_row(&view.kinds, |timestamp, entity, cells| {
            let hash = hash_entity(hash_seed, view.id, entity);
            let start = floor_to(timestamp, view.span());
            overlay.add_row(hash, view, entity, start, timestamp, cells);
            oldest = oldest.min(start);
            newest = newest.max(timestamp);
        });
        assert!(read.is_ok(), "the record was written by check_rows");
        if !rows.is_empty() {
            self.took(oldest, newest);
        }
        self.rows += bytes_u64(rows.len());
        Ok(bytes_u64(rows.len()))
    }

    /// Takes all of `tiles`, or none where one is wrong or lies outside `range`. A tile that the
    /// job holds already is merged into.
    pub(crate) fn put_tiles(
        &mut self,
        tiles: &[JobTile],
        range: TimeRange,
        hash_seed: u64,
    ) -> Result<u64, EngineError> {
        check_count(tiles.len())?;
        let view = Arc::clone(&self.view);
        let layout = view.layout();
        self.checked.clear();
        for tile in tiles {
            self.check_tile(tile, range)?;
        }
        let mut states = &self.checked[..];
        for tile in tiles {
            let Ok((accumulator, len)) = decode_accumulator(layout, states) else {
                unreachable!("the state was written by check_tile");
            };
            states = &states[len..];
            let hash = hash_entity(hash_seed, view.id, &tile.entity);
            self.overlay.put_tile(hash, &view, &tile.entity, tile.start, false, &accumulator);
        }
        for tile in tiles {
            self.took(tile.start, tile.start);
        }
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
        if self.overlay.is_empty() && is_whole {
            return self.runs.first().map(resident).transpose();
        }
        let layers: Vec<Layer> = std::iter::once(Layer::Overlay(Arc::clone(&self.overlay)))
            .chain(self.runs.iter().cloned().map(Layer::Segment))
            .collect();
        let mut writer = files.writer();
        if mode == JobMode::Replace {
            writer.clear_view(self.view.id, self.view.layout_id(), range);
        }
        let segment = self.write(writer, &layers, files)?;
        let segment = segment.as_ref().map(resident).transpose()?;
        self.overlay = Arc::new(Overlay::new(Lsn::ZERO));
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

    fn spill(&mut self, files: &JobFiles<'_>) -> Result<(), EngineError> {
        if self.overlay.is_empty() {
            return Ok(());
        }
        let layers = [Layer::Overlay(Arc::clone(&self.overlay))];
        let writer = files.writer();
        let run = self.write(writer, &layers, files)?;
        self.runs.splice(0..0, run);
        self.overlay = Arc::new(Overlay::new(Lsn::ZERO));
        self.is_sealed = false;
        Ok(())
    }

    fn write(
        &self,
        writer: SegmentWriter<'_>,
        layers: &[Layer],
        files: &JobFiles<'_>,
    ) -> Result<Option<Arc<Segment>>, EngineError> {
        let id = writer.id();
        let target = SegmentTarget {
            disk: files.disk,
            memory: files.memory,
            catalog: files.catalog,
            hash_seed: files.hash_seed,
        };
        let written =
            Scan::new(layers).and_then(|scan| write_scan(target, writer, scan, |_, _| {}));
        match written {
            Ok(segment) => Ok(segment.map(Arc::new)),
            Err(error) => {
                remove_segment(files.disk, id)?;
                Err(error)
            }
        }
    }

    /// Writes the rows to `checked` as an events record.
    fn check_rows(&mut self, rows: &Rows, (from, to): TimeRange) -> Result<(), EngineError> {
        rows.validate()?;
        check_count(rows.len())?;
        let view = &self.view;
        let columns = rows
            .columns
            .iter()
            .map(|column| view.column(column))
            .collect::<Result<Vec<_>, EngineError>>()?;
        let indices: Vec<u16> = columns.iter().map(|(index, _)| *index).collect();
        let mut writer = EventsWriter::begin(&mut self.checked, view.id, None, &indices);
        for row in 0..rows.len() {
            view.definition.entity_check(&rows.entities[row])?;
            let timestamp = rows.timestamps[row];
            if timestamp < from || to <= timestamp {
                return Err(EngineError::BadValue(format!(
                    "row {} (counted from 1) has timestamp {timestamp}, outside the job's range \
                     [{from}, {to})",
                    row + 1
                )));
            }
            writer.begin_row(timestamp, &rows.entities[row]);
            for (position, (_, kind)) in columns.iter().enumerate() {
                writer.cell(rows.cell(row, position, *kind)?);
            }
        }
        writer.finish();
        Ok(())
    }

    /// Appends the tile's state to `checked`.
    fn check_tile(&mut self, tile: &JobTile, (from, to): TimeRange) -> Result<(), EngineError> {
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
        let bindings = view.bindings();
        let accumulator =
            accumulator_from_partials(view.layout(), &bindings, &given, (tile.start, end))?;
        encode_accumulator(view.layout(), &accumulator, &mut self.checked);
        Ok(())
    }

    fn took(&mut self, oldest: i64, newest: i64) {
        self.oldest = Some(self.oldest.map_or(oldest, |known| known.min(oldest)));
        self.newest = Some(self.newest.map_or(newest, |known| known.max(newest)));
    }
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
