//! Walking over the parts of a block, checking that each is there and may stand there. It knows
//! nothing of what they are read for.

use super::header::{
    CLEAR_BYTES, Flags, HEADER_BYTES, INTEGERS, LaneMarks, STARTS_AT, TEXT_LENGTH_BYTES,
};
use super::stored_length;
use crate::error::TileError;
use crate::fixed_point::FixedPoint;
use crate::lane::{Descriptor, Lane, LaneKind};
use crate::layout::LaneShape;
use crate::number::{count, index};
use crate::side::SideRule;

/// What is wrong with a block, in few words: results of parsing stay small.
#[derive(Debug, Clone, Copy)]
pub(super) struct Problem {
    pub(super) at: usize,
    pub(super) expected: &'static str,
    pub(super) found: usize,
}

impl Problem {
    #[cold]
    pub(super) fn into_error(self) -> TileError {
        TileError::Corrupt {
            what: "tile block",
            offset: self.at,
            expected: self.expected.to_owned(),
            found: self.found.to_string(),
        }
    }
}

/// Whether bytes are known to be a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// They may be anything.
    Foreign,
    /// They were parsed before.
    Parsed,
}

/// Walks the parts of a block, checking that each is there.
pub(super) struct Cursor<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    pub(super) tile_count: usize,
    pub(super) trust: Trust,
}

impl<'a> Cursor<'a> {
    #[inline]
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Problem> {
        let Some(taken) = self.bytes.get(self.at..).and_then(|rest| rest.get(..length)) else {
            return Err(corrupt(self.at, "more bytes", self.bytes.len()));
        };
        self.at += length;
        Ok(taken)
    }

    pub(super) fn clears(&mut self, flags: Flags) -> Result<&'a [[u8; CLEAR_BYTES]], Problem> {
        if !flags.has_clears() {
            return Ok(&[]);
        }
        let mut clear_count = [0; 2];
        clear_count.copy_from_slice(self.take(2)?);
        let clear_count = usize::from(u16::from_le_bytes(clear_count));
        Ok(self.take(clear_count * CLEAR_BYTES)?.as_chunks().0)
    }

    /// Passes over the starts; gives where they begin.
    #[inline]
    pub(super) fn starts(
        &mut self,
        flags: Flags,
        descriptor: Descriptor,
    ) -> Result<usize, Problem> {
        // A scale or holes would break the order of starts.
        let fits = descriptor.is_plain() && descriptor != Descriptor::EMPTY;
        if !fits || (flags.is_dense() && descriptor.delta_width() != 0) {
            return Err(corrupt(STARTS_AT, "a descriptor of starts", usize::from(descriptor.0)));
        }
        let at = self.at;
        self.take(descriptor.payload_bytes(self.tile_count))?;
        Ok(at)
    }

    /// Finds the payload of each lane.
    #[inline]
    pub(super) fn lanes(
        &mut self,
        lanes: &[LaneShape],
        descriptors: &[u8],
        marks: &mut LaneMarks,
    ) -> Result<(), Problem> {
        if u32::try_from(self.bytes.len()).is_err() {
            return Err(corrupt(0, "a block below 4 GiB", self.bytes.len()));
        }
        for (lane, (shape, &descriptor)) in lanes.iter().zip(descriptors).enumerate() {
            let descriptor = Descriptor(descriptor);
            let at = self.at;
            // Where the sum of all is the length of the block, no lane begins beyond it.
            marks.note(lane, at);
            self.at += descriptor.payload_bytes(self.tile_count);
            let payload = || self.bytes.get(at..).unwrap_or_default();
            if !descriptor.is_plain() && self.trust == Trust::Foreign {
                self.check_lane(lane, shape.kind, descriptor, payload())?;
            }
            if shape.is_text {
                self.texts(at, descriptor, shape.rule)?;
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn check_lane(
        &self,
        lane: usize,
        kind: LaneKind,
        descriptor: Descriptor,
        payload: &[u8],
    ) -> Result<(), Problem> {
        let has_scale = match descriptor.is_scaled() {
            true => kind.is_double && payload.first().is_some_and(|&at| FixedPoint(at).is_valid()),
            false => true,
        };
        if !descriptor.is_valid() || !has_scale {
            let expected = "a descriptor and scale of the lane's kind";
            return Err(corrupt(HEADER_BYTES + lane, expected, usize::from(descriptor.0)));
        }
        if payload.len() < descriptor.payload_bytes(self.tile_count) {
            return Err(corrupt(self.bytes.len(), "more bytes", self.bytes.len()));
        }
        if !Lane::new(descriptor, kind, self.tile_count, payload).has_clean_holes(self.tile_count) {
            return Err(corrupt(self.at, "zero bits after the holes of the tiles", 1));
        }
        Ok(())
    }

    /// Passes over the texts whose lengths plus one are given by the lane at `offset`, which may
    /// not have been checked.
    #[inline(never)]
    fn texts(
        &mut self,
        offset: usize,
        descriptor: Descriptor,
        rule: Option<SideRule>,
    ) -> Result<(), Problem> {
        let payload = self.bytes.get(offset..self.at).filter(|_| descriptor.is_plain());
        let Some(payload) = payload else {
            return Err(corrupt(offset, "a plain lane of lengths", usize::from(descriptor.0)));
        };
        let lengths = Lane::new(descriptor, INTEGERS, self.tile_count, payload);
        let mut total = [0; TEXT_LENGTH_BYTES];
        total.copy_from_slice(self.take(TEXT_LENGTH_BYTES)?);
        let total = index(u32::from_le_bytes(total));
        if self.trust == Trust::Parsed {
            return self.take(total).map(|_| ());
        }
        let sum = (0..self.tile_count)
            .fold(0_u64, |sum, at| sum.saturating_add(lengths.word(at).saturating_sub(1)));
        if sum != count(total) {
            return Err(corrupt(self.at, "texts as long as their lengths say", total));
        }
        let mut texts = self.take(total)?;
        let Some(rule) = rule else {
            return Ok(());
        };
        for length in (0..self.tile_count).filter_map(|at| stored_length(lengths.word(at))) {
            let (text, rest) = texts.split_at(length);
            if rule.decode(text).is_err() {
                return Err(corrupt(self.at - texts.len(), "a list or sketch", length));
            }
            texts = rest;
        }
        Ok(())
    }
}

#[cold]
pub(super) fn corrupt(at: usize, expected: &'static str, found: usize) -> Problem {
    Problem { at, expected, found }
}
