//! A set of time ranges and the questions that windows ask of it. It knows nothing of why a range
//! is in the set.

/// Time ranges `[from, to)` in milliseconds that neither overlap nor touch, ascending.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Coverage {
    ranges: Vec<(i64, i64)>,
}

impl Coverage {
    /// The ranges, ascending; they neither overlap nor touch.
    pub fn ranges(&self) -> &[(i64, i64)] {
        &self.ranges
    }

    /// Whether nothing is covered.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether all of `[from, to)` is covered; an empty range always is. O(log n).
    pub fn covers(&self, from: i64, to: i64) -> bool {
        to <= from || self.newest_before(from, true).is_some_and(|(_, end)| to <= end)
    }

    /// Where the oldest range starts.
    pub fn oldest(&self) -> Option<i64> {
        self.ranges.first().map(|(from, _)| *from)
    }

    /// The end of the newest range that starts before `time`. O(log n).
    pub fn newest_start_before(&self, time: i64) -> Option<i64> {
        self.newest_before(time, false).map(|(_, end)| end)
    }

    /// The parts of `[from, to)` that are not covered, ascending. O(log n + gaps).
    pub fn gaps(&self, from: i64, to: i64) -> Vec<(i64, i64)> {
        let first = self.ranges.partition_point(|(_, end)| *end <= from);
        let mut gaps = Vec::new();
        let mut open_from = from;
        for &(start, end) in &self.ranges[first..] {
            if to <= start {
                break;
            }
            if open_from < start {
                gaps.push((open_from, start));
            }
            open_from = end;
        }
        if open_from < to {
            gaps.push((open_from, to));
        }
        gaps
    }

    /// Adds `[from, to)`, joining what overlaps or touches it.
    pub fn insert(&mut self, from: i64, to: i64) {
        if to <= from {
            return;
        }
        let touching = self.ranges.partition_point(|(_, end)| *end < from)
            ..self.ranges.partition_point(|(start, _)| *start <= to);
        let joined = &self.ranges[touching.clone()];
        let from = joined.first().map_or(from, |(start, _)| from.min(*start));
        let to = joined.last().map_or(to, |(_, end)| to.max(*end));
        self.ranges.splice(touching, [(from, to)]);
    }

    /// Takes `[from, to)` out.
    pub fn remove(&mut self, from: i64, to: i64) {
        if to <= from {
            return;
        }
        let overlapping = self.ranges.partition_point(|(_, end)| *end <= from)
            ..self.ranges.partition_point(|(start, _)| *start < to);
        let removed = &self.ranges[overlapping.clone()];
        let before = removed.first().map(|(start, _)| (*start, from));
        let after = removed.last().map(|(_, end)| (to, *end));
        let kept: Vec<_> =
            before.into_iter().chain(after).filter(|(start, end)| start < end).collect();
        self.ranges.splice(overlapping, kept);
    }

    /// The newest range that starts before `time`, or at it where `inclusive`.
    fn newest_before(&self, time: i64, inclusive: bool) -> Option<(i64, i64)> {
        let is_before = |&(start, _): &(i64, i64)| start < time || (inclusive && start == time);
        let index = self.ranges.partition_point(is_before).checked_sub(1)?;
        Some(self.ranges[index])
    }
}

impl FromIterator<(i64, i64)> for Coverage {
    /// Covers every given range `[from, to)`, in whatever order they come.
    fn from_iter<I: IntoIterator<Item = (i64, i64)>>(ranges: I) -> Self {
        let mut sorted: Vec<_> = ranges.into_iter().filter(|(from, to)| from < to).collect();
        sorted.sort_unstable();
        let mut joined: Vec<(i64, i64)> = Vec::with_capacity(sorted.len());
        for (from, to) in sorted {
            match joined.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => joined.push((from, to)),
            }
        }
        Self { ranges: joined }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// The tiles 0 to 39 as a set: what a coverage is compared with.
    #[derive(Debug, Clone, Default)]
    struct Tiles(BTreeSet<i64>);

    impl Tiles {
        fn ranges(&self) -> Vec<(i64, i64)> {
            let starts = self.0.iter().filter(|tile| !self.0.contains(&(*tile - 1)));
            let ends = self.0.iter().filter(|tile| !self.0.contains(&(*tile + 1)));
            starts.zip(ends).map(|(start, end)| (*start, end + 1)).collect()
        }

        fn covers(&self, from: i64, to: i64) -> bool {
            (from..to).all(|tile| self.0.contains(&tile))
        }
    }

    #[test]
    fn an_empty_coverage_covers_empty_ranges_alone() {
        let coverage = Coverage::default();
        assert!(coverage.covers(5, 5), "nothing is asked for");
        assert!(!coverage.covers(5, 6), "nothing is covered");
        assert_eq!(coverage.oldest(), None);
        assert_eq!(coverage.newest_start_before(i64::MAX), None);
        assert_eq!(coverage.gaps(1, 3), [(1, 3)]);
    }

    #[test]
    fn a_range_that_starts_at_a_time_does_not_start_before_it() {
        let coverage: Coverage = [(-10, -5), (0, 4)].into_iter().collect();
        assert_eq!(coverage.newest_start_before(0), Some(-5));
        assert_eq!(coverage.newest_start_before(1), Some(4));
        assert_eq!(coverage.newest_start_before(-10), None);
    }

    proptest! {
        #[test]
        fn a_coverage_agrees_with_a_set_of_tiles(
            steps in proptest::collection::vec((any::<bool>(), 0..40i64, 0..12i64), 0..24),
            (from, length) in (-2..42i64, 0..12i64),
        ) {
            let mut coverage = Coverage::default();
            let mut tiles = Tiles::default();
            for (adds, start, length) in steps {
                let range = start..start + length;
                if adds {
                    coverage.insert(range.start, range.end);
                    tiles.0.extend(range);
                } else {
                    coverage.remove(range.start, range.end);
                    tiles.0.retain(|tile| !range.contains(tile));
                }
            }
            prop_assert_eq!(coverage.ranges(), tiles.ranges());
            let shuffled: Coverage = tiles.0.iter().rev().map(|tile| (*tile, tile + 1)).collect();
            prop_assert_eq!(&shuffled, &coverage);
            let to = from + length;
            prop_assert_eq!(coverage.covers(from, to), tiles.covers(from, to));
            prop_assert_eq!(coverage.oldest(), tiles.0.first().copied());
            let newest = tiles.ranges().into_iter().rfind(|(start, _)| *start < from);
            prop_assert_eq!(coverage.newest_start_before(from), newest.map(|(_, end)| end));
            let open = Tiles((from..to).filter(|tile| !tiles.0.contains(tile)).collect());
            prop_assert_eq!(coverage.gaps(from, to), open.ranges());
        }
    }
}
