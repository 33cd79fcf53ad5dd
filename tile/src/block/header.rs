//! The fixed part of a block: its flags, and where its lanes begin. It knows nothing of what the
//! lanes hold.

use super::TileRow;
use crate::lane::LaneKind;
use crate::number::index;

/// Where lanes begin: every one where there are few, every so many where there are more, so that
/// no memory is allocated for any.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaneMarks {
    /// The payload of every 2^shift-th lane, as an offset from the beginning of the block.
    offsets: [u32; MARK_COUNT],
    shift: u32,
}

impl LaneMarks {
    #[inline]
    pub(super) fn new(lane_count: usize) -> Self {
        let mut shift = 0;
        while MARK_COUNT << shift < lane_count {
            shift += 1;
        }
        Self { offsets: [0; MARK_COUNT], shift }
    }

    /// Notes where a lane begins.
    #[inline]
    pub(super) fn note(&mut self, lane: usize, at: usize) {
        if lane & ((1 << self.shift) - 1) == 0 {
            self.offsets[lane >> self.shift] = offset_of(at);
        }
    }

    /// The last lane up to this one whose beginning is known, and its beginning.
    #[inline]
    pub(super) fn at_or_before(&self, lane: usize) -> (usize, usize) {
        let mark = lane >> self.shift;
        (mark << self.shift, index(self.offsets[mark]))
    }
}

/// The byte of flags in a block's header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flags(pub(super) u8);

impl Flags {
    pub(super) const ALL_BASES: u8 = 1;
    pub(super) const BASE_BITS: u8 = 1 << 1;
    pub(super) const CLEARS: u8 = 1 << 2;
    pub(super) const DENSE: u8 = 1 << 3;

    pub(super) fn new(rows: &[TileRow<'_>], clears: &[(i64, i64)]) -> Self {
        let bases = rows.iter().filter(|row| row.base).count();
        let base_flag = match bases {
            0 => 0,
            _ if bases == rows.len() => Self::ALL_BASES,
            _ => Self::BASE_BITS,
        };
        Self(base_flag | if clears.is_empty() { 0 } else { Self::CLEARS })
    }

    pub(super) fn is_valid(self) -> bool {
        let bases = Self::ALL_BASES | Self::BASE_BITS;
        self.0 & !(bases | Self::CLEARS | Self::DENSE) == 0 && self.0 & bases != bases
    }

    pub(super) fn has_all_bases(self) -> bool {
        self.0 & Self::ALL_BASES != 0
    }

    pub(super) fn has_base_bits(self) -> bool {
        self.0 & Self::BASE_BITS != 0
    }

    pub(super) fn has_clears(self) -> bool {
        self.0 & Self::CLEARS != 0
    }

    pub(super) fn is_dense(self) -> bool {
        self.0 & Self::DENSE != 0
    }
}

/// An offset within a block below 4 GiB.
#[inline]
fn offset_of(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// The kind of lanes of integers whose empty word is 0.
pub(super) const INTEGERS: LaneKind = LaneKind { is_double: false, empty: 0 };

pub(super) const HEADER_BYTES: usize = 6;
pub(super) const COMPONENT_COUNT_AT: usize = 2;
pub(super) const FLAGS_AT: usize = 4;
pub(super) const STARTS_AT: usize = 5;
pub(super) const CLEAR_BYTES: usize = 16;
pub(super) const TEXT_LENGTH_BYTES: usize = 4;

/// Lanes whose beginnings are kept.
const MARK_COUNT: usize = 16;
