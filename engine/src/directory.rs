//! Owns the directory of an entity that a segment holds in several entries: which block holds
//! which time at which level ([SEGMENT-13]), and which of them answer a range with few merges.
//! Knows nothing of where blocks are kept.

use std::ops::Range;

use crate::codec::{Fields, PutFields};

/// A row of a directory: one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DirectoryRow {
    /// The start of the block's first tile.
    pub(crate) from: i64,
    /// The end of its last tile.
    pub(crate) to: i64,
    /// Where its entry starts in the file.
    pub(crate) offset: u64,
    /// 0 for the view's own tiles, else the level of the tiles.
    pub(crate) level: u8,
    /// Whether it holds the entity's cleared ranges.
    pub(crate) has_clears: bool,
    /// Whether it holds tiles that hide older ones.
    pub(crate) has_bases: bool,
}

/// The rows of a directory, ascending by level and then by time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Directory<'a> {
    bytes: &'a [u8],
    levels: &'a [i64],
}

/// A part of a range that one block answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cover {
    /// The row of the block.
    pub(crate) row: usize,
    /// The first tile start that counts.
    pub(crate) from: i64,
    /// The first that does not.
    pub(crate) to: i64,
}

impl<'a> Directory<'a> {
    /// The directory in an entry that was checked when it was loaded; `levels` are the lengths of
    /// the view's level tiles.
    pub(crate) fn new(bytes: &'a [u8], levels: &'a [i64]) -> Self {
        Self { bytes, levels }
    }

    /// Checks the bytes of a directory whose entry starts at `offset`.
    pub(crate) fn check(bytes: &'a [u8], levels: &'a [i64], offset: u64) -> Option<&'static str> {
        let directory = Self { bytes, levels };
        if bytes.is_empty() || !bytes.len().is_multiple_of(ROW_BYTES) {
            return Some("a directory of no whole rows");
        }
        // [SEGMENT-13]
        let mut before: Option<DirectoryRow> = None;
        for at in 0..directory.len() {
            let Some(row) = directory.read(at) else { return Some("a directory row") };
            let ascends = before.is_none_or(|before| {
                before.level < row.level || (before.level == row.level && before.to <= row.from)
            });
            let is_known = usize::from(row.level) <= levels.len() && row.offset < offset;
            if !ascends || !is_known || row.to < row.from {
                return Some("a directory row out of order");
            }
            before = Some(row);
        }
        None
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() / ROW_BYTES
    }

    /// A row.
    pub(crate) fn row(&self, at: usize) -> DirectoryRow {
        match self.read(at) {
            Some(row) => row,
            None => unreachable!("a directory was checked when it was loaded"),
        }
    }

    /// The rows of the view's own tiles.
    pub(crate) fn base_rows(&self) -> Range<usize> {
        0..self.end_of_level(0)
    }

    /// The length of the tiles of a level above the view's own.
    pub(crate) fn span_of(&self, level: u8) -> Option<i64> {
        self.levels.get(usize::from(level).checked_sub(1)?).copied()
    }

    /// Calls `visit` with the parts of blocks that together hold exactly the tiles with
    /// `from <= start < to`: coarse ones where they fit, finer ones at the edges.
    pub(crate) fn cover(&self, from: i64, to: i64, visit: &mut impl FnMut(Cover)) {
        let base = self.base_rows();
        let (first, last) = (self.row(base.start), self.row(base.end - 1));
        if to <= first.from || last.to <= from {
            return;
        }
        // Beyond its first and last tile the entity holds nothing, so that whole tiles of the
        // coarsest level may stand for the edges of a wide range.
        let widest = self.levels.last().copied().unwrap_or(1);
        let from = if from <= first.from { floor(first.from, widest) } else { from };
        let to = if last.to <= to { ceiling(last.to, widest) } else { to };
        let Ok(top) = u8::try_from(self.levels.len()) else {
            unreachable!("limits bound the levels of a view");
        };
        self.cover_from(top, from, to, visit);
    }

    fn cover_from(&self, level: u8, from: i64, to: i64, visit: &mut impl FnMut(Cover)) {
        if to <= from {
            return;
        }
        let rows = self.end_of_level_before(level)..self.end_of_level(level);
        let Some(span) = self.span_of(level) else {
            return self.visit_rows(rows, from, to, visit);
        };
        let (inner_from, inner_to) = (ceiling(from, span), floor(to, span));
        if rows.is_empty() || inner_to <= inner_from {
            return self.cover_from(level - 1, from, to, visit);
        }
        self.cover_from(level - 1, from, inner_from, visit);
        self.visit_rows(rows, inner_from, inner_to, visit);
        self.cover_from(level - 1, inner_to, to, visit);
    }

    fn visit_rows(&self, rows: Range<usize>, from: i64, to: i64, visit: &mut impl FnMut(Cover)) {
        let first = self.partition(rows.clone(), |row| row.to <= from);
        for row in first..rows.end {
            if to <= self.row(row).from {
                return;
            }
            visit(Cover { row, from, to });
        }
    }

    fn end_of_level(&self, level: u8) -> usize {
        self.partition(0..self.len(), |row| row.level <= level)
    }

    fn end_of_level_before(&self, level: u8) -> usize {
        level.checked_sub(1).map_or(0, |before| self.end_of_level(before))
    }

    /// The first of `rows` for which `is_before` does not hold.
    fn partition(&self, rows: Range<usize>, is_before: impl Fn(&DirectoryRow) -> bool) -> usize {
        let (mut low, mut high) = (rows.start, rows.end);
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(&self.row(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn read(&self, at: usize) -> Option<DirectoryRow> {
        let mut fields = Fields::new(self.bytes.get(at * ROW_BYTES..)?);
        Some(DirectoryRow {
            from: fields.i64().ok()?,
            to: fields.i64().ok()?,
            offset: fields.u64().ok()?,
            level: fields.u8().ok()?,
            has_clears: fields.flag("clears").ok()?,
            has_bases: fields.flag("bases").ok()?,
        })
    }
}

/// Appends a row.
pub(crate) fn put_row(out: &mut Vec<u8>, row: &DirectoryRow) {
    out.put_i64(row.from);
    out.put_i64(row.to);
    out.put_u64(row.offset);
    out.put_u8(row.level);
    out.put_u8(u8::from(row.has_clears));
    out.put_u8(u8::from(row.has_bases));
    out.extend_from_slice(&[0; 5]);
}

const ROW_BYTES: usize = 32;

fn floor(instant: i64, span: i64) -> i64 {
    instant.div_euclid(span).saturating_mul(span)
}

fn ceiling(instant: i64, span: i64) -> i64 {
    floor(instant, span).saturating_add(if instant.rem_euclid(span) == 0 { 0 } else { span })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEVELS: [i64; 2] = [6, 24];

    /// Tiles of length 1 at `starts`, four to a block, with both levels above them.
    fn directory_of(starts: &[i64]) -> (Vec<u8>, Vec<Vec<i64>>) {
        let (mut bytes, mut blocks) = (Vec::new(), Vec::new());
        for (level, span) in [(0, 1), (1, LEVELS[0]), (2, LEVELS[1])] {
            let mut level_starts: Vec<i64> =
                starts.iter().map(|start| floor(*start, span)).collect();
            level_starts.dedup();
            for block in level_starts.chunks(4) {
                put_row(
                    &mut bytes,
                    &DirectoryRow {
                        from: block[0],
                        to: block[block.len() - 1] + span,
                        offset: 0,
                        level,
                        has_clears: false,
                        has_bases: false,
                    },
                );
                blocks.push(block.to_vec());
            }
        }
        (bytes, blocks)
    }

    proptest! {
        #[test]
        fn a_cover_holds_each_tile_of_its_range_once(
            starts in proptest::collection::btree_set(-200_i64..200, 1..150),
            from in prop_oneof![-250_i64..250, Just(i64::MIN)],
            to in prop_oneof![-250_i64..250, Just(i64::MAX)],
        ) {
            let starts: Vec<i64> = starts.into_iter().collect();
            let (bytes, blocks) = directory_of(&starts);
            let directory = Directory::new(&bytes, &LEVELS);
            prop_assert_eq!(Directory::check(&bytes, &LEVELS, 1), None);
            let mut covered: Vec<i64> = Vec::new();
            let mut merges = 0;
            directory.cover(from, to, &mut |cover| {
                let row = directory.row(cover.row);
                let span = directory.span_of(row.level).unwrap_or(1);
                for start in &blocks[cover.row] {
                    if cover.from <= *start && *start < cover.to {
                        merges += 1;
                        covered.extend(starts.iter().filter(|tile| floor(**tile, span) == *start));
                    }
                }
            });
            let expected: Vec<i64> =
                starts.iter().copied().filter(|start| from <= *start && *start < to).collect();
            covered.sort_unstable();
            prop_assert_eq!(covered, expected);
            prop_assert!(merges <= 5 + 3 + 16 + 3 + 5, "{} merges", merges);
        }
    }

    #[test]
    fn a_directory_out_of_order_is_refused() {
        let (bytes, _) = directory_of(&[0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(Directory::check(&bytes, &LEVELS, 1), None);
        let (first, rest) = bytes.split_at(ROW_BYTES);
        let swapped = [&rest[..ROW_BYTES], first, &rest[ROW_BYTES..]].concat();
        assert!(Directory::check(&swapped, &LEVELS, 1).is_some());
        assert!(Directory::check(&bytes, &LEVELS[..1], 1).is_some(), "an unknown level");
        assert!(Directory::check(&bytes, &LEVELS, 0).is_some(), "an entry behind the directory");
        assert!(Directory::check(&bytes[1..], &LEVELS, 1).is_some());
        assert!(Directory::check(&[], &LEVELS, 1).is_some());
    }
}
