//! Lanes: one word of each of many tiles, encoded side by side ([BLOCK-20] to [BLOCK-29]).
//! It knows nothing of what the words mean beyond whether they are doubles.

use crate::number::{count, integer_part, nearest_double, nearest_double_signed, power_of_two};

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
    scale: u8,
    base: i64,
    kind: LaneKind,
    holes: &'a [u8],
    /// One delta per tile, or nothing.
    deltas: &'a [u8],
}

/// The byte that says how a lane is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptor(pub(crate) u8);

/// Calls for one of four expressions by the width of the deltas: `$deltas` is an iterator over
/// them as u64, of a type of its own for each width, so that each loop is compiled for itself.
macro_rules! for_deltas {
    ($lane:expr, $range:expr, $deltas:ident => $body:expr, constant => $constant:expr) => {{
        let lane: &Lane<'_> = $lane;
        let range: std::ops::Range<usize> = $range;
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
    /// The lane in which every tile has the empty word.
    pub(crate) const EMPTY: Self = Self(5 << 3);

    /// The lane in which every tile has the word 0.
    const ZERO: Self = Self(0);

    const SCALED: u8 = 1 << 6;
    const HOLES: u8 = 1 << 7;

    fn new(delta_width: usize, base_width: usize, is_scaled: bool, has_holes: bool) -> Self {
        let scaled = if is_scaled { Self::SCALED } else { 0 };
        let holes = if has_holes { Self::HOLES } else { 0 };
        Self(code_of(delta_width) | code_of(base_width) << 3 | scaled | holes)
    }

    /// Bytes of each delta: 0, 1, 2, 4 or 8.
    #[inline]
    pub(crate) fn delta_width(self) -> usize {
        usize::from(WIDTHS[usize::from(self.0 & 7)])
    }

    /// Bytes of the base: 0, 1, 2, 4 or 8.
    #[inline]
    fn base_width(self) -> usize {
        usize::from(WIDTHS[usize::from(self.0 >> 3 & 7)])
    }

    #[inline]
    pub(crate) fn is_scaled(self) -> bool {
        self.0 & Self::SCALED != 0
    }

    #[inline]
    fn has_holes(self) -> bool {
        self.0 & Self::HOLES != 0
    }

    /// Whether the byte is one that a writer may have written.
    #[inline]
    pub(crate) fn is_valid(self) -> bool {
        self == Self::EMPTY || (self.0 & 7 <= 4 && self.0 >> 3 & 7 <= 4)
    }

    /// Bytes of the lane's payload for this many tiles.
    #[inline]
    pub(crate) fn payload_bytes(self, tile_count: usize) -> usize {
        let holes = if self.has_holes() { tile_count.div_ceil(8) } else { 0 };
        usize::from(self.is_scaled()) + self.base_width() + holes + self.delta_width() * tile_count
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
        let (scale, bytes) = match descriptor.is_scaled() {
            true => (bytes[0], &bytes[1..]),
            false => (0, bytes),
        };
        let (base, bytes) = bytes.split_at(descriptor.base_width());
        let hole_bytes = if descriptor.has_holes() { tile_count.div_ceil(8) } else { 0 };
        let (holes, bytes) = bytes.split_at(hole_bytes);
        let base = match descriptor == Descriptor::EMPTY {
            true => kind.empty.cast_signed(),
            false => sign_extended(base),
        };
        Self {
            descriptor,
            scale,
            base,
            kind,
            holes,
            deltas: &bytes[..descriptor.delta_width() * tile_count],
        }
    }

    /// Whether every word is zero.
    #[inline]
    pub(crate) fn is_zero(&self) -> bool {
        self.descriptor == Descriptor::ZERO
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

    /// Whether the tile is marked as having no value.
    #[inline]
    fn is_hole(&self, at: usize) -> bool {
        self.holes.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
    }

    /// Decodes the words of `range`, at most [`CHUNK`], into the beginning of `words`.
    pub(crate) fn decode(&self, range: std::ops::Range<usize>, words: &mut [u64; CHUNK]) {
        let first = range.start;
        let words = &mut words[..range.len()];
        for_deltas!(self, range, deltas => {
            for (word, delta) in words.iter_mut().zip(deltas) {
                *word = self.base.cast_unsigned().wrapping_add(delta);
            }
        }, constant => words.fill(self.base.cast_unsigned()));
        if self.descriptor.is_scaled() {
            self.scale_words(words);
        }
        if self.descriptor.has_holes() {
            for (at, word) in words.iter_mut().enumerate() {
                if self.is_hole(first + at) {
                    *word = self.kind.empty;
                }
            }
        }
    }

    /// The sum of the words of `range` as signed integers.
    #[inline]
    pub(crate) fn sum_signed(&self, range: std::ops::Range<usize>) -> i128 {
        if self.is_narrow() {
            return self.narrow_sum(range);
        }
        self.fold_words(range, 0_i128, |sum, word| {
            sum.saturating_add(i128::from(word.cast_signed()))
        })
    }

    /// The sum of the words of `range` as unsigned integers, at most `u64::MAX`.
    #[inline]
    pub(crate) fn sum_unsigned(&self, range: std::ops::Range<usize>) -> u64 {
        if self.is_narrow() && 0 <= self.base {
            return u64::try_from(self.narrow_sum(range)).unwrap_or(u64::MAX);
        }
        self.fold_words(range, 0_u64, u64::saturating_add)
    }

    /// The sum of the words of `range` as doubles, where it can be had exactly from integers.
    #[inline]
    pub(crate) fn exact_sum(&self, range: std::ops::Range<usize>) -> Option<f64> {
        const EXACT_MAX: i64 = 1 << 53;
        if self.is_zero() {
            return Some(0.0);
        }
        let is_binary = self.descriptor.is_scaled() && self.scale <= BINARY_SCALE_MAX;
        if !is_binary || self.descriptor.has_holes() || 4 < self.descriptor.delta_width() {
            return None;
        }
        let sum = i64::try_from(self.narrow_sum(range)).ok()?;
        (-EXACT_MAX..=EXACT_MAX).contains(&sum).then(|| scaled_value(self.scale, sum))
    }

    /// The least word of a `range` that is not empty, if words sort as their deltas do.
    #[inline]
    pub(crate) fn least(&self, range: std::ops::Range<usize>) -> Option<u64> {
        self.sorts_by_delta().then(|| {
            let delta = for_deltas!(self, range, deltas => deltas.min(), constant => None);
            self.word_of(delta.unwrap_or(0))
        })
    }

    /// The greatest word of a `range` that is not empty, if words sort as their deltas do.
    #[inline]
    pub(crate) fn greatest(&self, range: std::ops::Range<usize>) -> Option<u64> {
        self.sorts_by_delta().then(|| {
            let delta = for_deltas!(self, range, deltas => deltas.max(), constant => None);
            self.word_of(delta.unwrap_or(0))
        })
    }

    /// How many deltas at the beginning of the lane are less than `bound`, if they ascend.
    #[inline]
    pub(crate) fn deltas_below(&self, bound: u64, tile_count: usize) -> usize {
        const COUNTED_MAX: usize = 128;
        if COUNTED_MAX < tile_count {
            return partition_point(tile_count, |at| self.delta(at) < bound);
        }
        // Counting has no branches to mispredict, and the compiler makes it parallel.
        for_deltas!(self, 0..tile_count, deltas => {
            deltas.map(|delta| usize::from(delta < bound)).sum()
        }, constant => if 0 < bound { tile_count } else { 0 })
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

    /// The word that stands for a delta.
    #[inline]
    fn word_of(&self, delta: u64) -> u64 {
        let word = self.base.cast_unsigned().wrapping_add(delta);
        match self.descriptor.is_scaled() {
            true => scaled_value(self.scale, word.cast_signed()).to_bits(),
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
    fn narrow_sum(&self, range: std::ops::Range<usize>) -> i128 {
        let bases = i128::from(self.base) * i128::from(count(range.len()));
        let deltas: u64 = for_deltas!(self, range, deltas => deltas.sum(), constant => 0);
        bases + i128::from(deltas)
    }

    /// Folds over the words of `range` one by one.
    fn fold_words<T>(
        &self,
        range: std::ops::Range<usize>,
        initial: T,
        mut step: impl FnMut(T, u64) -> T,
    ) -> T {
        let mut words = [0; CHUNK];
        let mut folded = initial;
        for chunk in chunks(range) {
            let length = chunk.len();
            self.decode(chunk, &mut words);
            for &word in &words[..length] {
                folded = step(folded, word);
            }
        }
        folded
    }

    /// Turns scaled integers into the doubles that they stand for.
    fn scale_words(&self, words: &mut [u64]) {
        let (factor, divisor) = scale_parts(self.scale);
        if divisor == 1.0 {
            for word in words {
                *word = (nearest_double_signed(word.cast_signed()) * factor).to_bits();
            }
        } else {
            for word in words {
                *word = (nearest_double_signed(word.cast_signed()) / divisor).to_bits();
            }
        }
    }
}

/// The parts of a range that fit a buffer of [`CHUNK`] words.
pub(crate) fn chunks(
    range: std::ops::Range<usize>,
) -> impl DoubleEndedIterator<Item = std::ops::Range<usize>> {
    let parts = range.len().div_ceil(CHUNK);
    (0..parts).map(move |part| {
        let from = range.start + part * CHUNK;
        from..range.end.min(from + CHUNK)
    })
}

/// Whether the byte is a scale: see [`scaled_value`].
#[inline]
pub(crate) fn is_scale(scale: u8) -> bool {
    scale <= BINARY_SCALE_MAX || scale.wrapping_sub(DECIMAL_SCALE) <= DECIMAL_PLACES_MAX
}

/// The smallest encoding of the words found: its descriptor, and the payload appended to `out`.
pub(crate) fn encode_lane(kind: LaneKind, words: &[u64], out: &mut Vec<u8>) -> Descriptor {
    let is_hole = |word: u64| kind.empty != 0 && word == kind.empty;
    if words.iter().all(|&word| word == kind.empty) {
        return if kind.empty == 0 { Descriptor::ZERO } else { Descriptor::EMPTY };
    }
    let values = || words.iter().copied().filter(|&word| !is_hole(word));
    let mut best = Frame::of(None, values().map(u64::cast_signed));
    if kind.is_double {
        for scale in [binary_scale(values()), decimal_scale(values())].into_iter().flatten() {
            let unscaled = values().map(|word| unscaled_value(scale, f64::from_bits(word)));
            let frame = Frame::of(Some(scale), unscaled);
            if frame.bytes(words.len()) < best.bytes(words.len()) {
                best = frame;
            }
        }
    }
    best.write(words, is_hole, out)
}

/// A way to write a lane.
struct Frame {
    scale: Option<u8>,
    base: i64,
    base_width: usize,
    delta_width: usize,
}

impl Frame {
    /// The narrowest frame for these integers, of which there is at least one.
    fn of(scale: Option<u8>, values: impl Iterator<Item = i64> + Clone) -> Self {
        let least = values.clone().min().unwrap_or(0);
        let greatest = values.max().unwrap_or(0);
        let spread = greatest.cast_unsigned().wrapping_sub(least.cast_unsigned());
        let delta_width = unsigned_width(spread);
        let needs_no_base = 0 <= least
            && least != greatest
            && unsigned_width(greatest.cast_unsigned()) == delta_width;
        let base = if needs_no_base || delta_width == 8 { 0 } else { least };
        Self { scale, base, base_width: signed_width(base), delta_width }
    }

    fn bytes(&self, tile_count: usize) -> usize {
        usize::from(self.scale.is_some()) + self.base_width + self.delta_width * tile_count
    }

    fn write(&self, words: &[u64], is_hole: impl Fn(u64) -> bool, out: &mut Vec<u8>) -> Descriptor {
        let has_holes = words.iter().any(|&word| is_hole(word));
        out.extend(self.scale);
        out.extend_from_slice(&self.base.to_le_bytes()[..self.base_width]);
        if has_holes {
            out.extend(words.chunks(8).map(|chunk| bits_of(chunk, &is_hole)));
        }
        for &word in words {
            let delta = if is_hole(word) { 0 } else { self.delta(word) };
            out.extend_from_slice(&delta.to_le_bytes()[..self.delta_width]);
        }
        Descriptor::new(self.delta_width, self.base_width, self.scale.is_some(), has_holes)
    }

    fn delta(&self, word: u64) -> u64 {
        let value = match self.scale {
            Some(scale) => unscaled_value(scale, f64::from_bits(word)),
            None => word.cast_signed(),
        };
        value.wrapping_sub(self.base).cast_unsigned()
    }
}

/// One bit for each of at most 8 words, least significant first.
fn bits_of(words: &[u64], is_set: impl Fn(u64) -> bool) -> u8 {
    words.iter().rev().fold(0, |bits, &word| bits << 1 | u8::from(is_set(word)))
}

/// The least binary scale under which every value is an integer that a double holds exactly.
fn binary_scale(words: impl Iterator<Item = u64>) -> Option<u8> {
    let mut scale = 0_u8;
    let mut greatest = 0.0_f64;
    for word in words {
        let value = f64::from_bits(word);
        scale = scale.max(fraction_bits(value)?);
        greatest = greatest.max(value.abs());
    }
    (greatest * power_of_two(i64::from(scale)) <= INTEGER_MAX).then_some(scale)
}

/// How many bits the value has behind its binary point, if few.
fn fraction_bits(value: f64) -> Option<u8> {
    if value == 0.0 {
        return (value.to_bits() == 0).then_some(0);
    }
    let exponent = i64::from(u16::try_from(value.to_bits() >> 52 & 0x7ff).ok()?);
    if exponent == 0 || exponent == 0x7ff {
        return None;
    }
    let mantissa = value.to_bits() & ((1 << 52) - 1) | 1 << 52;
    let last_bit = exponent - 1023 - 52 + i64::from(mantissa.trailing_zeros());
    let bits = u8::try_from((-last_bit).max(0)).ok()?;
    (bits <= BINARY_SCALE_MAX).then_some(bits)
}

/// The least decimal scale under which every value reads back exactly.
fn decimal_scale(words: impl Iterator<Item = u64> + Clone) -> Option<u8> {
    let mut places = 1;
    for word in words.clone() {
        places = (places..=DECIMAL_PLACES_MAX).find(|&places| fits_decimal(places, word))?;
    }
    // More places than a value needs can break it, so that all are tried again with the most.
    words.into_iter().all(|word| fits_decimal(places, word)).then_some(DECIMAL_SCALE + places)
}

fn fits_decimal(places: u8, word: u64) -> bool {
    let scale = DECIMAL_SCALE + places;
    let value = f64::from_bits(word);
    let integer = unscaled_value(scale, value);
    nearest_double(integer.unsigned_abs()) <= INTEGER_MAX
        && scaled_value(scale, integer).to_bits() == word
}

/// The double that an integer stands for under a scale: over 2^scale for a binary one, over
/// 10^(scale - 128) for a decimal one.
#[inline]
fn scaled_value(scale: u8, integer: i64) -> f64 {
    let (factor, divisor) = scale_parts(scale);
    nearest_double_signed(integer) * factor / divisor
}

/// The integer that stands for a double under a scale that fits it.
fn unscaled_value(scale: u8, value: f64) -> i64 {
    let (factor, divisor) = scale_parts(scale);
    integer_part((value / factor * divisor).round())
}

/// What integers are multiplied and divided by; one of the two is 1.
#[inline]
fn scale_parts(scale: u8) -> (f64, f64) {
    if scale <= BINARY_SCALE_MAX {
        return (power_of_two(-i64::from(scale)), 1.0);
    }
    let places = usize::from(scale.wrapping_sub(DECIMAL_SCALE));
    (1.0, POWERS_OF_TEN.get(places).copied().unwrap_or(1.0))
}

/// An integer of 0, 1, 2, 4 or 8 bytes, little-endian, in two's complement.
#[inline]
fn sign_extended(bytes: &[u8]) -> i64 {
    match *bytes {
        [] => 0,
        [byte] => i64::from(byte.cast_signed()),
        [a, b] => i64::from(i16::from_le_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => unreachable!("widths are 0, 1, 2, 4 or 8"),
    }
}

fn unsigned_width(value: u64) -> usize {
    match value {
        0 => 0,
        1..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8,
    }
}

fn signed_width(value: i64) -> usize {
    match value {
        0 => 0,
        -0x80..=0x7f => 1,
        -0x8000..=0x7fff => 2,
        -0x8000_0000..=0x7fff_ffff => 4,
        _ => 8,
    }
}

fn code_of(width: usize) -> u8 {
    match width {
        0 => 0,
        1 => 1,
        2 => 2,
        4 => 3,
        8 => 4,
        _ => unreachable!("widths are 0, 1, 2, 4 or 8"),
    }
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

/// Bytes by width code; codes above 4 are no widths.
const WIDTHS: [u8; 8] = [0, 1, 2, 4, 8, 0, 0, 0];

/// Greatest binary scale.
const BINARY_SCALE_MAX: u8 = 63;

/// The decimal scale of no places.
const DECIMAL_SCALE: u8 = 128;

/// Most decimal places of a decimal scale.
const DECIMAL_PLACES_MAX: u8 = 15;

/// Greatest magnitude up to which every integer is a double: 2^53.
const INTEGER_MAX: f64 = power_of_two(53);

const POWERS_OF_TEN: [f64; 16] =
    [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
