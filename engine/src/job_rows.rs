//! Owns the rows and tiles that a job has taken and not written yet: columns as they came, and
//! which of their rows belong together. They are sorted once, when they go to a file. Knows nothing
//! of files, nor of which rows a job may take.

use bytes::{Bytes, BytesMut};
use tilekv_tile::{Accumulator, Layout, Scalar, TypedColumn, floor_to};

use crate::catalog::View;
use crate::codec::{count_u32, small_index};
use crate::content::{Content, StoredTile};
use crate::error::EngineError;
use crate::segment_writer::{SegmentWriter, WriterView};
use crate::version::hash_entity;

/// Rows and tiles of one view, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct JobRows {
    /// The bytes of the runs' entities, back to back.
    entities: Vec<u8>,
    runs: Vec<Run>,
    chunks: Vec<Chunk>,
    chunk_bytes: usize,
}

/// Neighbouring rows of a chunk that belong to one entity.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// The entity's first 8 bytes, as a number that sorts as they do.
    prefix: u64,
    entity_at: usize,
    entity_len: u32,
    chunk: u32,
    first: u32,
    count: u32,
}

#[derive(Debug)]
enum Chunk {
    /// Rows: their times, and their cells by the index of the column.
    Rows { timestamps: Vec<i64>, columns: Vec<(u16, TypedColumn)> },
    /// Whole tiles: their starts and states.
    Tiles { starts: Vec<i64>, states: Vec<Accumulator> },
}

/// A row of one entity, on its way into its tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    start: i64,
    chunk: u32,
    row: u32,
}

impl JobRows {
    /// Whether nothing was taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// About how many bytes of memory the rows take.
    pub(crate) fn bytes(&self) -> usize {
        self.entities.capacity() + self.runs.capacity() * size_of::<Run>() + self.chunk_bytes
    }

    /// Takes rows whose columns were checked; each has the index of its column in the view.
    pub(crate) fn put_rows(
        &mut self,
        entities: &[Bytes],
        timestamps: Vec<i64>,
        columns: Vec<(u16, TypedColumn)>,
    ) {
        let columns: Vec<_> =
            columns.into_iter().map(|(at, column)| (at, compact(column))).collect();
        let cells: usize = columns.iter().map(|(_, column)| column_bytes(column)).sum();
        self.put(entities, Chunk::Rows { timestamps, columns }, cells);
    }

    /// Takes tiles with their states.
    pub(crate) fn put_tiles(
        &mut self,
        entities: &[Bytes],
        starts: Vec<i64>,
        states: Vec<Accumulator>,
    ) {
        let heap: usize = states.iter().map(Accumulator::heap_bytes).sum();
        let bytes = heap + size_of_val(&states[..]);
        self.put(entities, Chunk::Tiles { starts, states }, bytes);
    }

    fn put(&mut self, entities: &[Bytes], chunk: Chunk, bytes: usize) {
        let number = count_u32(self.chunks.len());
        let mut from = 0;
        while let Some(entity) = entities.get(from) {
            let same = entities[from..].iter().take_while(|other| *other == entity);
            let count = same.count();
            self.runs.push(Run {
                prefix: prefix_of(entity),
                entity_at: self.entities.len(),
                entity_len: count_u32(entity.len()),
                chunk: number,
                first: count_u32(from),
                count: count_u32(count),
            });
            self.entities.extend_from_slice(entity);
            from += count;
        }
        self.chunk_bytes += bytes + entities.len() * size_of::<i64>();
        self.chunks.push(chunk);
    }

    /// Adds everything to `writer`, ascending by entity, under the layout of `view`. The rows stay.
    pub(crate) fn write(
        &mut self,
        view: &View,
        hash_seed: u64,
        writer: &mut SegmentWriter<'_>,
    ) -> Result<(), EngineError> {
        self.sort();
        let written = WriterView {
            id: view.id,
            layout_id: view.layout_id(),
            layout: view.layout(),
            span: view.span(),
            levels: &view.levels,
        };
        let mut content = Content::default();
        let mut places = Vec::new();
        let mut cells = vec![None; view.kinds.len()];
        for runs in self.runs.chunk_by(|one, other| self.entity(one) == self.entity(other)) {
            let entity = self.entity(&runs[0]);
            places.clear();
            runs.iter().for_each(|run| self.place(run, view.span(), &mut places));
            if !places.is_sorted() {
                places.sort_unstable();
            }
            content.tiles.clear();
            self.fold(view.layout(), &places, &mut cells, &mut content.tiles);
            let hash = hash_entity(hash_seed, view.id, entity);
            writer.add(written, hash, entity, &content)?;
        }
        Ok(())
    }

    fn sort(&mut self) {
        let entities = &self.entities;
        self.runs.sort_unstable_by(|one, other| {
            one.prefix
                .cmp(&other.prefix)
                .then_with(|| entity_of(entities, one).cmp(entity_of(entities, other)))
                .then_with(|| (one.chunk, one.first).cmp(&(other.chunk, other.first)))
        });
    }

    fn entity(&self, run: &Run) -> &[u8] {
        entity_of(&self.entities, run)
    }

    /// Appends the places of the rows of a run.
    fn place(&self, run: &Run, span: i64, places: &mut Vec<Place>) {
        let chunk = &self.chunks[small_index(run.chunk)];
        for row in run.first..run.first + run.count {
            let start = match chunk {
                Chunk::Rows { timestamps, .. } => floor_to(timestamps[small_index(row)], span),
                Chunk::Tiles { starts, .. } => starts[small_index(row)],
            };
            places.push(Place { start, chunk: run.chunk, row });
        }
    }

    /// Appends the tiles that the rows at `places`, ascending, make. `cells` has room for a row.
    fn fold<'a>(
        &'a self,
        layout: &Layout,
        places: &[Place],
        cells: &mut [Option<Scalar<'a>>],
        tiles: &mut Vec<StoredTile>,
    ) {
        let mut filled = None;
        for place in places {
            if tiles.last().is_none_or(|last| last.start != place.start) {
                let accumulator = layout.empty();
                tiles.push(StoredTile { start: place.start, base: false, accumulator });
            }
            let Some(tile) = tiles.last_mut() else { unreachable!("a tile was pushed") };
            let row = small_index(place.row);
            match &self.chunks[small_index(place.chunk)] {
                Chunk::Rows { timestamps, columns } => {
                    if filled.replace(place.chunk) != Some(place.chunk) {
                        cells.fill(None);
                    }
                    for (at, column) in columns {
                        cells[usize::from(*at)] = column.get(row);
                    }
                    layout.add_row(&mut tile.accumulator, timestamps[row], cells);
                }
                Chunk::Tiles { states, .. } => layout.merge(&mut tile.accumulator, &states[row]),
            }
        }
    }
}

fn entity_of<'a>(entities: &'a [u8], run: &Run) -> &'a [u8] {
    &entities[run.entity_at..run.entity_at + small_index(run.entity_len)]
}

/// Shorter entities sort before longer ones that begin with them: the rest is zero, and a tie is
/// decided by the entities themselves.
fn prefix_of(entity: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let len = entity.len().min(8);
    bytes[..len].copy_from_slice(&entity[..len]);
    u64::from_be_bytes(bytes)
}

/// The column with its strings in memory of their own: they came in a buffer with much else.
fn compact(column: TypedColumn) -> TypedColumn {
    let TypedColumn::Str { values, valid } = column else { return column };
    let mut joined = BytesMut::with_capacity(values.iter().map(Bytes::len).sum());
    values.iter().for_each(|value| joined.extend_from_slice(value));
    let mut joined = joined.freeze();
    let values = values.iter().map(|value| joined.split_to(value.len())).collect();
    TypedColumn::Str { values, valid }
}

fn column_bytes(column: &TypedColumn) -> usize {
    let values = match column {
        TypedColumn::I64 { values, .. } => size_of_val(&values[..]),
        TypedColumn::F64 { values, .. } => size_of_val(&values[..]),
        TypedColumn::Str { values, .. } => {
            size_of_val(&values[..]) + values.iter().map(Bytes::len).sum::<usize>()
        }
    };
    values + column.valid().map_or(0, <[bool]>::len)
}
