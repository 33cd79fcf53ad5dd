//! The tile block: many tiles of one entity and view side by side, column by column
//! (docs/format/block.md, [BLOCK-1] to [BLOCK-22]). It knows nothing of entities, files or
//! checksums: whoever stores blocks says which layout and tile size they have, and proves that
//! their bytes are whole.

mod cursor;
mod header;

use self::cursor::{Cursor, Problem, Trust, corrupt};
use self::header::{
    CLEAR_BYTES, COMPONENT_COUNT_AT, FLAGS_AT, Flags, HEADER_BYTES, INTEGERS, LaneMarks,
    TEXT_LENGTH_BYTES,
};
use crate::accumulator::Accumulator;
use crate::component::ComponentKind;
use crate::error::TileError;
use crate::frame::encode_lane;
use crate::lane::{Descriptor, Lane, are_bits_clean};
use crate::layout::{Layout, Slot};
use crate::number::{count, index};
use crate::side::Side;
use std::ops::Range;

/// A tile to be encoded.
#[derive(Debug, Clone, Copy)]
pub struct TileRow<'a> {
    /// The tile's start in milliseconds, a multiple of the tile size.
    pub start: i64,
    /// Whether the tile hides everything older; else it adds to it.
    pub base: bool,
    /// The tile's state, under the layout of the block.
    pub accumulator: &'a Accumulator,
}

/// The start of a tile over the tile size: what blocks store, worked out once for many blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TileNumber(i64);

impl TileNumber {
    /// The first tile of `span` milliseconds that does not start before `timestamp`.
    #[inline]
    pub fn first_from(timestamp: i64, span: i64) -> Self {
        let tile = timestamp / span;
        Self(tile + i64::from(tile * span < timestamp))
    }
}

/// An encoded block, checked so far that no access goes out of bounds.
#[derive(Debug, Clone)]
pub struct Block<'a> {
    pub(crate) layout: &'a Layout,
    bytes: &'a [u8],
    tile_span: i64,
    tile_count: usize,
    component_count: usize,
    flags: Flags,
    clears: &'a [[u8; CLEAR_BYTES]],
    base_bits: &'a [u8],
    starts: Lane<'a>,
    marks: LaneMarks,
}

/// Appends the block of these tiles, ascending by start, to `out`. `clears` are half-open ranges
/// of time in which everything older than the block is hidden. Panics where tiles do not ascend,
/// are no multiples of `tile_span`, or number more than 65,535: the caller's bugs.
pub fn encode_block(
    layout: &Layout,
    tile_span: i64,
    clears: &[(i64, i64)],
    rows: &[TileRow<'_>],
    out: &mut Vec<u8>,
) {
    assert_rows(layout, tile_span, rows);
    let indexes: Vec<u64> =
        rows.iter().map(|row| (row.start / tile_span).cast_unsigned()).collect();
    let mut flags = Flags::new(rows, clears);
    let mut payload = Vec::new();
    let starts = encode_starts(&indexes, &mut flags, &mut payload);

    out.extend_from_slice(&short(rows.len()).to_le_bytes());
    out.extend_from_slice(&short(layout.components().len()).to_le_bytes());
    out.push(flags.0);
    out.push(starts.0);
    let descriptors_at = out.len();
    out.resize(descriptors_at + layout.lanes().len(), 0);
    encode_clears(clears, out);
    if flags.has_base_bits() {
        out.extend(rows.chunks(8).map(base_bits_of));
    }
    out.extend_from_slice(&payload);
    let mut lane = descriptors_at;
    let mut words = Vec::with_capacity(rows.len());
    for slot in layout.slots() {
        for at in 0..slot.word_count() {
            words.clear();
            words.extend(rows.iter().map(|row| lane_word(slot, at, row)));
            out[lane] = encode_lane(layout.lanes()[lane - descriptors_at].kind, &words, out).0;
            lane += 1;
        }
        if slot.has_side() {
            out[lane] = encode_sides(slot, rows, out).0;
            lane += 1;
        }
    }
}

impl<'a> Block<'a> {
    /// Checks the bytes of a block that was encoded under `layout`, or under an older layout of
    /// which it is an extension. Any bytes that pass can be read in full without a panic; whether
    /// they are those that were written is for a checksum to say.
    pub fn parse(bytes: &'a [u8], layout: &'a Layout, tile_span: i64) -> Result<Self, TileError> {
        Self::parse_as(bytes, layout, tile_span, Trust::Foreign).map_err(Problem::into_error)
    }

    /// Reads bytes that [`Block::parse`] has accepted before, under the same layout and tile size:
    /// what takes time in the number of tiles is not checked again.
    #[inline]
    pub fn parse_again(
        bytes: &'a [u8],
        layout: &'a Layout,
        tile_span: i64,
    ) -> Result<Self, TileError> {
        Self::parse_as(bytes, layout, tile_span, Trust::Parsed).map_err(Problem::into_error)
    }

    #[inline]
    fn parse_as(
        bytes: &'a [u8],
        layout: &'a Layout,
        tile_span: i64,
        trust: Trust,
    ) -> Result<Self, Problem> {
        assert!(0 < tile_span, "a tile size is positive");
        let Some((header, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(corrupt(0, "a header of 6 bytes", bytes.len()));
        };
        let [count_low, count_high, components_low, components_high, flags, starts] = *header;
        let flags = Flags(flags);
        if !flags.is_valid() {
            return Err(corrupt(FLAGS_AT, "known flags, the rest zero", usize::from(flags.0)));
        }
        let component_count = usize::from(u16::from_le_bytes([components_low, components_high]));
        if layout.components().len() < component_count {
            let expected = "no more components than the layout has";
            return Err(corrupt(COMPONENT_COUNT_AT, expected, component_count));
        }
        let tile_count = usize::from(u16::from_le_bytes([count_low, count_high]));
        let mut cursor = Cursor { bytes, at: HEADER_BYTES, tile_count, trust };
        let lanes = &layout.lanes()[..layout.lane_count(component_count)];
        let descriptors = cursor.take(lanes.len())?;
        let clears = cursor.clears(flags)?;
        let base_bits =
            cursor.take(if flags.has_base_bits() { tile_count.div_ceil(8) } else { 0 })?;
        if !are_bits_clean(base_bits, tile_count) {
            return Err(corrupt(cursor.at - 1, "zero bits after those of the tiles", 1));
        }
        let starts = Descriptor(starts);
        let starts_at = cursor.starts(flags, starts)?;
        let mut marks = LaneMarks::new(lanes.len());
        cursor.lanes(lanes, descriptors, &mut marks)?;
        if cursor.at != bytes.len() {
            return Err(corrupt(cursor.at, "the end of the block", bytes.len()));
        }
        Ok(Self {
            layout,
            bytes,
            tile_span,
            tile_count,
            component_count,
            flags,
            clears,
            base_bits,
            starts: Lane::new(starts, INTEGERS, tile_count, &bytes[starts_at..]),
            marks,
        })
    }

    /// How many tiles the block holds.
    #[inline]
    pub fn len(&self) -> usize {
        self.tile_count
    }

    /// Whether it holds no tiles; it may still hold clears.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.tile_count == 0
    }

    /// The start of a tile, in milliseconds.
    #[inline]
    pub fn start(&self, at: usize) -> i64 {
        assert!(at < self.tile_count, "the tile is in the block");
        let offset = match self.flags.is_dense() {
            true => count(at),
            false => self.starts.delta(at),
        };
        let tile = self.starts.base().wrapping_add(offset.cast_signed());
        tile.saturating_mul(self.tile_span)
    }

    /// How many tiles start before `timestamp`, in milliseconds.
    #[inline]
    pub fn lower_bound(&self, timestamp: i64) -> usize {
        self.lower_bound_of(TileNumber::first_from(timestamp, self.tile_span))
    }

    /// How many tiles come before the tile with this number.
    #[inline]
    pub fn lower_bound_of(&self, TileNumber(ceiling): TileNumber) -> usize {
        if self.starts.is_widest() {
            return self.starts.words_below(ceiling, self.tile_count);
        }
        if ceiling <= self.starts.base() {
            return 0;
        }
        let bound = ceiling.wrapping_sub(self.starts.base()).cast_unsigned();
        match self.flags.is_dense() {
            true => usize::try_from(bound).map_or(self.tile_count, |at| at.min(self.tile_count)),
            false => self.starts.deltas_below(bound, self.tile_count),
        }
    }

    /// Whether any tile hides what is older.
    #[inline]
    pub fn has_base(&self) -> bool {
        self.flags.has_all_bases() || self.flags.has_base_bits()
    }

    /// Whether the tile hides what is older.
    #[inline]
    pub fn is_base(&self, at: usize) -> bool {
        assert!(at < self.tile_count, "the tile is in the block");
        if self.flags.has_base_bits() {
            return self.base_bits[at / 8] >> (at % 8) & 1 == 1;
        }
        self.flags.has_all_bases()
    }

    /// The half-open ranges of time, in milliseconds, in which everything older is hidden.
    pub fn clears(&self) -> impl Iterator<Item = (i64, i64)> + use<'a> {
        self.clears.iter().map(|clear| {
            let [a, b, c, d, e, f, g, h, rest @ ..] = *clear;
            (i64::from_le_bytes([a, b, c, d, e, f, g, h]), i64::from_le_bytes(rest))
        })
    }

    /// The state of one tile under the layout that the block was parsed with.
    pub fn accumulator(&self, at: usize) -> Accumulator {
        let Some(accumulator) = self.accumulators(at..at + 1).pop() else {
            unreachable!("a range of one tile gives one state");
        };
        accumulator
    }

    /// The states of the tiles at the positions of `range`, decoded lane by lane. Panics where the
    /// range leaves the block.
    pub fn accumulators(&self, range: Range<usize>) -> Vec<Accumulator> {
        assert!(range.end <= self.tile_count, "the tiles are in the block");
        let mut accumulators = vec![self.layout.empty(); range.len()];
        for slot in &self.layout.slots()[..self.component_count] {
            let first = index(slot.word);
            for word in 0..slot.word_count() {
                let lane = self.lane(slot, word);
                for (at, accumulator) in range.clone().zip(&mut accumulators) {
                    accumulator.words[first + word] = lane.word(at);
                }
            }
            for (at, accumulator) in range.clone().zip(&mut accumulators) {
                restore_words(slot, self.start(at), &mut accumulator.words);
            }
            if slot.has_side() {
                self.decode_texts(slot, range.clone(), &mut accumulators);
            }
        }
        accumulators
    }

    fn decode_texts(&self, slot: &Slot, range: Range<usize>, accumulators: &mut [Accumulator]) {
        let (lengths, texts) = self.texts(slot);
        let length = |at| stored_length(lengths.word(at));
        let mut offset: usize = (0..range.start).filter_map(length).sum();
        for (at, accumulator) in range.zip(accumulators) {
            if let Some(length) = length(at) {
                let text = &texts[offset..offset + length];
                let Ok(side) = Side::decode(slot.kind, text) else {
                    unreachable!("sides are checked when a block is parsed");
                };
                accumulator.sides[slot.side_index()] = Some(side);
                offset += length;
            }
        }
    }

    /// The slot of the component with the same id as the one at `position` of `into_layout`, if
    /// the block has it.
    #[inline]
    pub(crate) fn source_slot(&self, into_layout: &Layout, position: usize) -> Option<&'a Slot> {
        let id = into_layout.components()[position].0;
        let guess = into_layout.slots()[position].source;
        let at = self.layout.position_of(id, guess)?;
        (at < self.component_count).then(|| &self.layout.slots()[at])
    }

    /// A lane of a component: its word, or after its words the lengths of its texts plus one.
    #[inline]
    pub(crate) fn lane(&self, slot: &Slot, word: usize) -> Lane<'a> {
        self.lane_at(index(slot.lane) + word)
    }

    /// The lane of the count that goes with moments.
    #[inline]
    pub(crate) fn count_lane(&self, slot: &Slot) -> Lane<'a> {
        self.lane_at(index(slot.count_lane))
    }

    /// The text of a component in one tile.
    pub(crate) fn text(&self, slot: &Slot, at: usize) -> Option<&'a [u8]> {
        let lengths = self.lane(slot, slot.word_count());
        let length = stored_length(lengths.word(at))?;
        let before: usize =
            (0..at).filter_map(|earlier| stored_length(lengths.word(earlier))).sum();
        let (_, texts) = self.texts(slot);
        Some(&texts[before..before + length])
    }

    /// The lengths of a component's texts plus one, and the texts back to back.
    pub(crate) fn texts(&self, slot: &Slot) -> (Lane<'a>, &'a [u8]) {
        let at = index(slot.lane) + slot.word_count();
        let payload = self.descriptor(at).payload_bytes(self.tile_count);
        let from = self.lane_offset(at) + payload + TEXT_LENGTH_BYTES;
        (self.lane_at(at), &self.bytes[from..])
    }

    #[inline]
    fn lane_at(&self, at: usize) -> Lane<'a> {
        let payload = &self.bytes[self.lane_offset(at)..];
        Lane::new(self.descriptor(at), self.layout.lanes()[at].kind, self.tile_count, payload)
    }

    /// Where a lane's payload begins.
    #[inline]
    fn lane_offset(&self, lane: usize) -> usize {
        let (mut before, mut at) = self.marks.at_or_before(lane);
        while before < lane {
            at += self.descriptor(before).payload_bytes(self.tile_count);
            if self.layout.lanes()[before].is_text {
                let mut total = [0; TEXT_LENGTH_BYTES];
                total.copy_from_slice(&self.bytes[at..at + TEXT_LENGTH_BYTES]);
                at += TEXT_LENGTH_BYTES + index(u32::from_le_bytes(total));
            }
            before += 1;
        }
        at
    }

    /// Whether the lanes of a component after its first are all zero.
    #[inline]
    pub(crate) fn is_first_lane_alone<const COUNT: usize>(&self, slot: &Slot) -> bool {
        let at = HEADER_BYTES + index(slot.lane) + 1;
        let rest = self.bytes.get(at..).and_then(|rest| rest.first_chunk::<COUNT>());
        rest == Some(&[Descriptor::ZERO.0; COUNT])
    }

    #[inline]
    fn descriptor(&self, lane: usize) -> Descriptor {
        Descriptor(self.bytes[HEADER_BYTES + lane])
    }
}

/// The word of a tile as it stands in a lane ([BLOCK-12], [BLOCK-13]).
fn lane_word(slot: &Slot, at: usize, row: &TileRow<'_>) -> u64 {
    let words = &row.accumulator.words[index(slot.word)..];
    match slot.kind {
        ComponentKind::SumI64 if at == 1 => words[1].wrapping_sub(sign_word(words[0])),
        ComponentKind::First(_) | ComponentKind::Last(_)
            if at == 0 && !crate::finish::is_absent(words[0]) =>
        {
            words[0].wrapping_sub(row.start.cast_unsigned())
        }
        _ => words[at],
    }
}

/// Turns the words of a component as they stand in lanes back into those of a state.
pub(crate) fn restore_words(slot: &Slot, start: i64, words: &mut [u64]) {
    let first = index(slot.word);
    match slot.kind {
        ComponentKind::SumI64 => {
            words[first + 1] = words[first + 1].wrapping_add(sign_word(words[first]));
        }
        ComponentKind::First(_) | ComponentKind::Last(_)
            if !crate::finish::is_absent(words[first]) =>
        {
            words[first] = words[first].wrapping_add(start.cast_unsigned());
        }
        _ => {}
    }
}

/// The high word of an integer of 128 bits whose value is that of the low word alone.
#[inline]
pub(crate) fn sign_word(low: u64) -> u64 {
    (low.cast_signed() >> 63).cast_unsigned()
}

/// The length that stands in a lane plus one, if there is a text.
#[inline]
pub(crate) fn stored_length(word: u64) -> Option<usize> {
    usize::try_from(word.checked_sub(1)?).ok()
}

fn encode_starts(indexes: &[u64], flags: &mut Flags, payload: &mut Vec<u8>) -> Descriptor {
    let is_dense = indexes.is_sorted_by(|one, next| one.wrapping_add(1) == *next);
    if is_dense && 1 < indexes.len() {
        flags.0 |= Flags::DENSE;
        return encode_lane(INTEGERS, &indexes[..1], payload);
    }
    encode_lane(INTEGERS, indexes, payload)
}

fn encode_clears(clears: &[(i64, i64)], out: &mut Vec<u8>) {
    if clears.is_empty() {
        return;
    }
    out.extend_from_slice(&short(clears.len()).to_le_bytes());
    for (from, to) in clears {
        out.extend_from_slice(&from.to_le_bytes());
        out.extend_from_slice(&to.to_le_bytes());
    }
}

/// Appends the lane of a component's lengths, their sum and its texts; gives the descriptor.
fn encode_sides(slot: &Slot, rows: &[TileRow<'_>], out: &mut Vec<u8>) -> Descriptor {
    let sides = rows.iter().map(|row| row.accumulator.sides[slot.side_index()].as_ref());
    let texts: Vec<_> = sides.map(|side| Some(side?.bytes(slot.kind))).collect();
    let texts = || texts.iter().map(Option::as_deref);
    let lengths: Vec<u64> =
        texts().map(|text| text.map_or(0, |text| count(text.len()) + 1)).collect();
    let descriptor = encode_lane(INTEGERS, &lengths, out);
    let total: usize = texts().flatten().map(<[u8]>::len).sum();
    let Ok(total) = u32::try_from(total) else {
        panic!("the texts of a block take less than 4 GiB, not {total} bytes");
    };
    out.extend_from_slice(&total.to_le_bytes());
    texts().flatten().for_each(|text| out.extend_from_slice(text));
    descriptor
}

/// One bit for each of at most 8 tiles, least significant first: whether it is a base.
fn base_bits_of(rows: &[TileRow<'_>]) -> u8 {
    rows.iter().rev().fold(0, |bits, row| bits << 1 | u8::from(row.base))
}

fn assert_rows(layout: &Layout, tile_span: i64, rows: &[TileRow<'_>]) {
    assert!(0 < tile_span, "a tile size is positive");
    assert!(
        rows.is_sorted_by(|one, next| one.start < next.start),
        "tiles come in ascending order of their starts"
    );
    for row in rows {
        assert!(row.start % tile_span == 0, "a tile starts at a multiple of the tile size");
        assert!(
            row.accumulator.words.len() == layout.words(),
            "a tile's state belongs to the layout"
        );
    }
}

fn short(length: usize) -> u16 {
    let Ok(short) = u16::try_from(length) else {
        panic!("a block counts at most 65,535 of anything, not {length}");
    };
    short
}
