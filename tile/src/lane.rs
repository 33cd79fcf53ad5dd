//! Lanes: one word of each of many tiles, encoded side by side ([BLOCK-16] to [BLOCK-20]). Writing
//! stands in `frame`. It knows nothing of what the words mean beyond whether they are doubles.

use crate::fixed_point::FixedPoint;
use crate::number::{count, nearest_double_signed, small_index};
use std::ops::Range;

/// Words that are decoded at a time.
pub(crate) const CHUNK: usize = 64;

/// What a lane's words are, as far as encoding cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaneKind {
    /// Whether the words are doubles; else they are integers.
    pub(crate) is_double: bool,
    /// The word of a tile that has no value. Where it is not zero, such tiles are marked as holes.
    pub(crate) empty: u64,
}

/// One lane of a block, its bounds checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lane<'a> {
    descriptor: Descriptor,
    scale: FixedPoint,
    base: i64,
    kind: LaneKind,
    holes: &'a [u8],
    /// One delta per tile, or nothing.
    deltas: &'a [u8],
}

/// The byte that says how a lane is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptor(pub(crate) u8);

/// Calls for one of five expressions by the width of the deltas: `$deltas` is an iterator over
/// those of the range, as u64, of a type of its own for each width, so that each loop is compiled
/// for itself.
macro_rules! for_deltas {
    ($lane:expr, $range:expr, $deltas:ident => $body:expr, constant => $constant:expr) => {{
        let lane: &Lane<'_> = $lane;
        let range: Range<usize> = $range;
        match lane.descriptor.delta_width() {
            0 => $constant,
            1 => {
                let $deltas = lane.deltas[range].iter().map(|&delta| u64::from(delta));
                $body
            }
            2 => {
                let $deltas = lane.deltas.as_chunks().0[range]
                    .iter()
                    .map(|&delta| u64::from(u16::from_le_bytes(delta)));
                $body
            }
            3 => {
                let $deltas =
                    lane.deltas.as_chunks().0[range].iter().map(|&[low, middle, high]| {
                        u64::from(u32::from_le_bytes([low, middle, high, 0]))
                    });
                $body
            }
            4 => {
                let $deltas = lane.deltas.as_chunks().0[range]
                    .iter()
                    .map(|&delta| u64::from(u32::from_le_bytes(delta)));
                $body
            }
            _ => {
                let $deltas =
                    lane.deltas.as_chunks().0[range].iter().map(|&delta| u64::from_le_bytes(delta));
                $body
            }
        }
    }};
}

impl Descriptor {
    /// The lane in which every tile has the word 0.
    pub(crate) const ZERO: Self = Self(0);

    /// The lane in which every tile has the empty word.
    pub(crate) const EMPTY: Self = Self(EMPTY_CODE << 3);

    pub(crate) const SCALED: u8 = 1 << 6;
    const HOLES: u8 = 1 << 7;

    /// The descriptor of these width codes.
    pub(crate) fn new(delta_code: u8, base_code: u8, is_scaled: bool, has_holes: bool) -> Self {
        let scaled = if is_scaled { Self::SCALED } else { 0 };
        let holes = if has_holes { Self::HOLES } else { 0 };
        Self(delta_code | base_code << 3 | scaled | holes)
    }

    /// Bytes of each delta: 0, 1, 2, 3, 4 or 8.
    #[inline]
    pub(crate) fn delta_width(self) -> usize {
        usize::from(WIDTHS[usize::from(self.0 & 7)])
    }

    /// Whether the words are integers over a scale.
    #[inline]
    pub(crate) fn is_scaled(self) -> bool {
        self.0 & Self::SCALED != 0
    }

    /// Whether a writer may have written the byte for a lane that need not be one of doubles.
    #[inline]
    pub(crate) fn is_plain(self) -> bool {
        self.is_valid() && self.0 & (Self::SCALED | Self::HOLES) == 0
    }

    /// Whether the byte is one that a writer may have written.
    #[inline]
    pub(crate) fn is_valid(self) -> bool {
        SIZES[usize::from(self.0)].is_valid
    }

    /// Bytes of the lane's payload for this many tiles.
    #[inline]
    pub(crate) fn payload_bytes(self, tile_count: usize) -> usize {
        let size = SIZES[usize::from(self.0)];
        let holes = usize::from(size.hole_maps) * tile_count.div_ceil(8);
        usize::from(size.fixed) + usize::from(size.delta) * tile_count + holes
    }

    /// Bytes of the base: 0, 1, 2, 4 or 8.
    #[inline]
    fn base_width(self) -> usize {
        usize::from(WIDTHS[usize::from(self.0 >> 3 & 7)])
    }

    #[inline]
    fn has_holes(self) -> bool {
        self.0 & Self::HOLES != 0
    }
}

impl<'a> Lane<'a> {
    /// The lane whose payload begins `bytes`, which holds at least
    /// [`Descriptor::payload_bytes`].
    #[inline]
    pub(crate) fn new(
        descriptor: Descriptor,
        kind: LaneKind,
        tile_count: usize,
        bytes: &'a [u8],
    ) -> Self {
        let base_at = usize::from(descriptor.is_scaled());
        let scale = if descriptor.is_scaled() { FixedPoint(bytes[0]) } else { FixedPoint(0) };
        let base = match descriptor {
            Descriptor::EMPTY => kind.empty.cast_signed(),
            _ => integer_at(bytes, base_at, descriptor.base_width()),
        };
        let holes_at = base_at + descriptor.base_width();
        let hole_bytes = if descriptor.has_holes() { tile_count.div_ceil(8) } else { 0 };
        let deltas_at = holes_at + hole_bytes;
        let end = deltas_at + descriptor.delta_width() * tile_count;
        Self {
            descriptor,
            scale,
            base,
            kind,
            holes: &bytes[holes_at..deltas_at],
            deltas: &bytes[deltas_at..end],
        }
    }

    /// Whether every word is zero.
    #[inline]
    pub(crate) fn is_zero(&self) -> bool {
        self.descriptor == Descriptor::ZERO
    }

    /// Whether the holes' bits after the last tile are zero ([BLOCK-19]).
    pub(crate) fn has_clean_holes(&self, tile_count: usize) -> bool {
        are_bits_clean(self.holes, tile_count)
    }

    /// Whether every tile has the same word.
    #[inline]
    pub(crate) fn is_constant(&self) -> bool {
        self.descriptor.delta_width() == 0 && !self.descriptor.has_holes()
    }

    /// Whether every tile has the empty word by the descriptor alone.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.descriptor == Descriptor::EMPTY
    }

    /// The word of one tile.
    #[inline]
    pub(crate) fn word(&self, at: usize) -> u64 {
        if self.is_hole(at) {
            return self.kind.empty;
        }
        self.word_of(self.delta(at))
    }

    /// Decodes the words of `range`, at most [`CHUNK`], into the beginning of `words`.
    pub(crate) fn decode(&self, range: Range<usize>, words: &mut [u64; CHUNK]) {
        let first = range.start;
        let words = &mut words[..range.len()];
        if self.descriptor.has_holes() {
            words.iter_mut().enumerate().for_each(|(at, word)| *word = self.word(first + at));
            return;
        }
        let mut words = words.iter_mut();
        self.fold_words(range, (), |(), word| {
            if let Some(next) = words.next() {
                *next = word;
            }
        });
    }

    /// The sum of the words of `range` as signed integers.
    #[inline]
    pub(crate) fn sum_signed(&self, range: Range<usize>) -> i128 {
        if self.is_narrow() {
            return self.narrow_sum(range);
        }
        self.fold_words(range, 0_i128, |sum, word| {
            sum.saturating_add(i128::from(word.cast_signed()))
        })
    }

    /// The sum of the words of `range` as unsigned integers, at most `u64::MAX`.
    #[inline]
    pub(crate) fn sum_unsigned(&self, range: Range<usize>) -> u64 {
        if self.is_narrow() && 0 <= self.base {
            return u64::try_from(self.narrow_sum(range)).unwrap_or(u64::MAX);
        }
        self.fold_words(range, 0_u64, u64::saturating_add)
    }

    /// The sum of the words of `range` as doubles, where it can be had exactly from integers.
    #[inline]
    pub(crate) fn exact_sum(&self, range: Range<usize>) -> Option<f64> {
        const EXACT_MAX: i64 = 1 << 53;
        let is_binary = self.descriptor.is_scaled() && self.scale.is_binary();
        if !is_binary || self.descriptor.has_holes() || 4 < self.descriptor.delta_width() {
            return None;
        }
        let sum = i64::try_from(self.narrow_sum(range)).ok()?;
        (-EXACT_MAX..=EXACT_MAX).contains(&sum).then(|| self.scale.value_of(sum))
    }

    /// What deltas of at most 4 bytes are added to, where the words are integers.
    #[inline]
    pub(crate) fn narrow_base(&self) -> Option<i64> {
        self.is_narrow().then_some(self.base)
    }

    /// What deltas of at most 4 bytes are added to, where the words are doubles that are integers
    /// over a power of two.
    #[inline]
    pub(crate) fn exact_base(&self) -> Option<i64> {
        let is_narrow = !self.descriptor.has_holes() && self.descriptor.delta_width() <= 4;
        let is_binary = self.descriptor.is_scaled() && self.scale.is_binary();
        (is_narrow && is_binary).then_some(self.base)
    }

    /// The double that an integer of a lane with an [`Lane::exact_base`] stands for.
    #[inline]
    pub(crate) fn exact_value(&self, integer: i64) -> f64 {
        self.scale.value_of(integer)
    }

    /// Fills `sums` with the running sums of the deltas of `range`, which is as long.
    #[inline]
    pub(crate) fn running_sums(&self, range: Range<usize>, sums: &mut [u64]) {
        for_deltas!(self, range, deltas => {
            let mut sum: u64 = 0;
            for (delta, running) in deltas.zip(sums) {
                sum = sum.wrapping_add(delta);
                *running = sum;
            }
        }, constant => sums.fill(0));
    }

    /// The least word of a `range` that is not empty, if words sort as their deltas do.
    #[inline]
    pub(crate) fn least(&self, range: Range<usize>) -> Option<u64> {
        self.sorts_by_delta().then(|| {
            let delta = for_deltas!(self, range, deltas => deltas.min(), constant => None);
            self.word_of(delta.unwrap_or(0))
        })
    }

    /// The greatest word of a `range` that is not empty, if words sort as their deltas do.
    #[inline]
    pub(crate) fn greatest(&self, range: Range<usize>) -> Option<u64> {
        self.sorts_by_delta().then(|| {
            let delta = for_deltas!(self, range, deltas => deltas.max(), constant => None);
            self.word_of(delta.unwrap_or(0))
        })
    }

    /// How many deltas are less than `bound`, if they ascend.
    #[inline]
    pub(crate) fn deltas_below(&self, bound: u64, tile_count: usize) -> usize {
        if self.descriptor.delta_width() != 1 || usize::from(u8::MAX) < tile_count {
            return partition_point(tile_count, |at| self.delta(at) < bound);
        }
        let Ok(bound) = u8::try_from(bound) else {
            return tile_count;
        };
        // Counting has no branches to mispredict, and the compiler makes it parallel.
        let below =
            self.deltas.iter().fold(0_u8, |sum, &delta| sum.wrapping_add(u8::from(delta < bound)));
        usize::from(below)
    }

    /// Whether the deltas are as wide as words. They then begin at no base, and those of negative
    /// words wrap, so that ascending words need not have ascending deltas.
    #[inline]
    pub(crate) fn is_widest(&self) -> bool {
        self.descriptor.delta_width() == 8
    }

    /// How many words are less than `bound` as signed integers, if they ascend.
    pub(crate) fn words_below(&self, bound: i64, tile_count: usize) -> usize {
        partition_point(tile_count, |at| self.word(at).cast_signed() < bound)
    }

    /// The delta of one tile.
    #[inline]
    pub(crate) fn delta(&self, at: usize) -> u64 {
        for_deltas!(self, at..at + 1, deltas => deltas.sum(), constant => 0)
    }

    /// What deltas are added to.
    #[inline]
    pub(crate) fn base(&self) -> i64 {
        self.base
    }

    /// Folds over the words of `range` one by one.
    #[inline]
    pub(crate) fn fold_words<T>(
        &self,
        range: Range<usize>,
        initial: T,
        mut step: impl FnMut(T, u64) -> T,
    ) -> T {
        if self.descriptor.is_scaled() || self.descriptor.has_holes() {
            return range.fold(initial, |folded, at| step(folded, self.word(at)));
        }
        let base = self.base.cast_unsigned();
        let length = range.len();
        for_deltas!(self, range, deltas => {
            deltas.fold(initial, |folded, delta| step(folded, base.wrapping_add(delta)))
        }, constant => (0..length).fold(initial, |folded, _| step(folded, base)))
    }

    /// Folds over the words of `range`, which are doubles, one by one.
    #[inline]
    pub(crate) fn fold_doubles<T>(
        &self,
        range: Range<usize>,
        initial: T,
        mut step: impl FnMut(T, f64) -> T,
    ) -> T {
        if !self.descriptor.is_scaled() || self.descriptor.has_holes() {
            return self
                .fold_words(range, initial, |folded, word| step(folded, f64::from_bits(word)));
        }
        let (factor, divisor) = (self.scale.factor(), self.scale.divisor());
        let integer = |delta: u64| nearest_double_signed(self.base.wrapping_add_unsigned(delta));
        let length = range.len();
        let constant = self.scale.value_of(self.base);
        match self.scale.is_binary() {
            true => for_deltas!(self, range, deltas => {
                deltas.fold(initial, |folded, delta| step(folded, integer(delta) * factor))
            }, constant => (0..length).fold(initial, |folded, _| step(folded, constant))),
            false => for_deltas!(self, range, deltas => {
                deltas.fold(initial, |folded, delta| step(folded, integer(delta) / divisor))
            }, constant => (0..length).fold(initial, |folded, _| step(folded, constant))),
        }
    }

    /// Whether the tile is marked as having no value.
    #[inline]
    fn is_hole(&self, at: usize) -> bool {
        self.holes.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
    }

    /// The word that stands for a delta.
    #[inline]
    fn word_of(&self, delta: u64) -> u64 {
        let word = self.base.cast_unsigned().wrapping_add(delta);
        match self.descriptor.is_scaled() {
            true => self.scale.value_of(word.cast_signed()).to_bits(),
            false => word,
        }
    }

    /// Whether words are integers of a base and deltas that cannot overflow a sum.
    #[inline]
    fn is_narrow(&self) -> bool {
        let flags = Descriptor::SCALED | Descriptor::HOLES;
        self.descriptor.0 & flags == 0 && self.descriptor.delta_width() <= 4
    }

    /// Whether the lane has no holes and its words, as signed integers or as doubles, sort as
    /// their deltas do as unsigned integers.
    #[inline]
    fn sorts_by_delta(&self) -> bool {
        // Doubles sort by their bits unless they are negative.
        let sorts_by_bits = !self.kind.is_double || 0 <= self.base;
        !self.descriptor.has_holes()
            && self.descriptor.delta_width() <= 4
            && (self.descriptor.is_scaled() || sorts_by_bits || self.is_constant())
    }

    /// The sum of base plus delta, for deltas of at most 4 bytes.
    #[inline]
    fn narrow_sum(&self, range: Range<usize>) -> i128 {
        let bases = i128::from(self.base) * i128::from(count(range.len()));
        let deltas: u64 = for_deltas!(self, range, deltas => deltas.sum(), constant => 0);
        bases + i128::from(deltas)
    }
}

/// The parts of a range that fit a buffer of [`CHUNK`] words.
pub(crate) fn chunks(range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let parts = range.len().div_ceil(CHUNK);
    (0..parts).map(move |part| {
        let from = range.start + part * CHUNK;
        from..range.end.min(from + CHUNK)
    })
}

/// Whether the bits after those of so many tiles are zero.
pub(crate) fn are_bits_clean(bits: &[u8], tile_count: usize) -> bool {
    let used = tile_count % 8;
    used == 0 || bits.last().is_none_or(|last| last >> used == 0)
}

/// What a descriptor says of the bytes of its lane.
#[derive(Clone, Copy)]
struct Size {
    /// Bytes before the holes: scale and base.
    fixed: u8,
    /// Bytes per tile.
    delta: u8,
    /// Bits per tile.
    hole_maps: u8,
    is_valid: bool,
}

impl Size {
    const fn of(descriptor: u8) -> Self {
        let (delta, base) = (descriptor & 7, descriptor >> 3 & 7);
        let has_widths = (delta < EMPTY_CODE || delta == THREE_CODE) && base < EMPTY_CODE;
        Self {
            fixed: WIDTHS[small_index(base)] + (descriptor >> 6 & 1),
            delta: WIDTHS[small_index(delta)],
            hole_maps: descriptor >> 7,
            is_valid: has_widths || descriptor == Descriptor::EMPTY.0,
        }
    }
}

/// An integer of 0, 1, 2, 4 or 8 bytes, little-endian, in two's complement.
#[inline]
fn integer_at(bytes: &[u8], at: usize, width: usize) -> i64 {
    if width == 0 {
        return 0;
    }
    let unused_bits = 64 - 8 * width;
    if let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        return (u64::from_le_bytes(*word) << unused_bits).cast_signed() >> unused_bits;
    }
    // Near the end of the block there are no 8 bytes to read at once.
    let mut word = [0; 8];
    word[..width].copy_from_slice(&bytes[at..at + width]);
    (u64::from_le_bytes(word) << unused_bits).cast_signed() >> unused_bits
}

/// The first of `length` positions for which the predicate is false.
pub(crate) fn partition_point(length: usize, is_before: impl Fn(usize) -> bool) -> usize {
    let (mut from, mut to) = (0, length);
    while from < to {
        let middle = from + (to - from) / 2;
        if is_before(middle) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    from
}

/// Bytes by width code ([BLOCK-16]).
const WIDTHS: [u8; 8] = [0, 1, 2, 4, 8, 0, 3, 0];

/// The width code of three bytes, for deltas alone.
pub(crate) const THREE_CODE: u8 = 6;

/// The width code that stands, as that of a base, for empty words.
const EMPTY_CODE: u8 = 5;

/// What each descriptor says.
static SIZES: [Size; 256] = {
    let mut sizes = [Size::of(0); 256];
    let mut descriptor = u8::MAX;
    while 0 < descriptor {
        sizes[small_index(descriptor)] = Size::of(descriptor);
        descriptor -= 1;
    }
    sizes
};
