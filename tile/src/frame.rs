//! Writing a lane: the frame of reference that takes the fewest bytes ([BLOCK-21]).
//! Reading stands in `lane`. It knows nothing of what the words mean.

use crate::fixed_point::FixedPoint;
use crate::lane::{Descriptor, LaneKind, THREE_CODE};

/// Appends the smallest encoding of the words, of which there is at least one unless the lane is
/// of no tiles, to `out`; gives its descriptor.
pub(crate) fn encode_lane(kind: LaneKind, words: &[u64], out: &mut Vec<u8>) -> Descriptor {
    if words.iter().all(|&word| word == kind.empty) {
        return if kind.empty == 0 { Descriptor::ZERO } else { Descriptor::EMPTY };
    }
    let is_hole = |word: u64| kind.empty != 0 && word == kind.empty;
    let values = || words.iter().copied().filter(|&word| !is_hole(word));
    let mut best = Frame::of(None, values().map(u64::cast_signed));
    let mut consider = |scale: Option<FixedPoint>| {
        let Some(scale) = scale else { return };
        let integers = values().map(|word| scale.integer_of(f64::from_bits(word)));
        let frame = Frame::of(Some(scale), integers);
        if frame.bytes(words.len()) < best.bytes(words.len()) {
            best = frame;
        }
    };
    if kind.is_double {
        let binary = FixedPoint::binary_for(values());
        consider(binary);
        // What is an integer over a power of two is a larger one over a power of ten.
        if binary.is_none_or(FixedPoint::is_fine) {
            consider(FixedPoint::decimal_for(values()));
        }
    }
    best.write(words, is_hole, out)
}

/// A way to write a lane.
struct Frame {
    scale: Option<FixedPoint>,
    base: i64,
    base_width: usize,
    delta_width: usize,
}

impl Frame {
    /// The narrowest frame for these integers, of which there is at least one.
    fn of(scale: Option<FixedPoint>, values: impl Iterator<Item = i64>) -> Self {
        let ends = (i64::MAX, i64::MIN);
        let (least, greatest) =
            values.fold(ends, |(least, greatest), value| (least.min(value), greatest.max(value)));
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
        out.extend(self.scale.map(|scale| scale.0));
        out.extend_from_slice(&self.base.to_le_bytes()[..self.base_width]);
        if has_holes {
            out.extend(words.chunks(8).map(|chunk| bits_of(chunk, &is_hole)));
        }
        let deltas = words.iter().map(|&word| if is_hole(word) { 0 } else { self.delta(word) });
        match self.delta_width {
            0 => {}
            1 => write_deltas::<1>(deltas, out),
            2 => write_deltas::<2>(deltas, out),
            3 => write_deltas::<3>(deltas, out),
            4 => write_deltas::<4>(deltas, out),
            _ => write_deltas::<8>(deltas, out),
        }
        Descriptor::new(
            code_of(self.delta_width),
            code_of(self.base_width),
            self.scale.is_some(),
            has_holes,
        )
    }

    #[inline]
    fn delta(&self, word: u64) -> u64 {
        let value = match self.scale {
            Some(scale) => scale.integer_of(f64::from_bits(word)),
            None => word.cast_signed(),
        };
        value.wrapping_sub(self.base).cast_unsigned()
    }
}

/// Appends the low bytes of the deltas.
#[inline]
fn write_deltas<const WIDTH: usize>(deltas: impl ExactSizeIterator<Item = u64>, out: &mut Vec<u8>) {
    let at = out.len();
    out.resize(at + deltas.len() * WIDTH, 0);
    for (bytes, delta) in out[at..].as_chunks_mut::<WIDTH>().0.iter_mut().zip(deltas) {
        bytes.copy_from_slice(&delta.to_le_bytes()[..WIDTH]);
    }
}

/// One bit for each of at most 8 words, least significant first.
fn bits_of(words: &[u64], is_set: impl Fn(u64) -> bool) -> u8 {
    words.iter().rev().fold(0, |bits, &word| bits << 1 | u8::from(is_set(word)))
}

fn unsigned_width(value: u64) -> usize {
    match value {
        0 => 0,
        1..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xff_ffff => 3,
        0x100_0000..=0xffff_ffff => 4,
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
        3 => THREE_CODE,
        4 => 3,
        8 => 4,
        _ => unreachable!("widths are 0, 1, 2, 3, 4 or 8"),
    }
}
