//! Ranges of time drawn as text: a lane for each kind, all to one scale. Knows nothing of what
//! the ranges mean.

use crate::clock_time;

/// A drawing of a range of time.
#[derive(Debug)]
pub(crate) struct Timeline {
    start: i64,
    end: i64,
    columns: usize,
    lanes: Vec<Lane>,
}

/// One line of the drawing.
#[derive(Debug)]
pub(crate) struct Lane {
    /// What stands before it.
    pub(crate) name: String,
    /// How its ranges are drawn.
    pub(crate) mark: Mark,
    /// The ranges, in milliseconds since the epoch, half-open.
    pub(crate) ranges: Vec<(i64, i64)>,
}

/// How ranges are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A character in each place that a range touches.
    Touched(char),
    /// A shade in each place by the share of it that ranges cover.
    Share,
}

const NOTHING: char = '·';

/// Shades by the share of a place that is covered: up to each third, and all of it.
const SHADES: [char; 4] = ['░', '▒', '▓', '█'];

impl Timeline {
    /// A drawing of `[start, end)` in so many columns of text, names included.
    ///
    /// # Panics
    /// Where the range is empty.
    pub(crate) fn new(start: i64, end: i64, columns: usize) -> Self {
        assert!(start < end, "a timeline has a length");
        Self { start, end, columns, lanes: Vec::new() }
    }

    /// Adds a lane below.
    pub(crate) fn lane(&mut self, lane: Lane) {
        self.lanes.push(lane);
    }

    /// The lines: each lane, then the times at both ends.
    pub(crate) fn render(&self) -> Vec<String> {
        let name_columns =
            self.lanes.iter().map(|lane| lane.name.chars().count()).max().unwrap_or(0);
        let places = self.columns.saturating_sub(name_columns + 3).max(1);
        let mut lines: Vec<String> =
            self.lanes.iter().map(|lane| self.draw(lane, name_columns, places)).collect();
        let (from, to) = (clock_time::show(self.start), clock_time::show(self.end));
        let between = places.saturating_sub(from.len()).max(1);
        lines.push(format!("{:name_columns$}   {from}{to:>between$}", ""));
        lines
    }

    fn draw(&self, lane: &Lane, name_columns: usize, places: usize) -> String {
        let mut covered = vec![0; places];
        for (from, to) in &lane.ranges {
            let (from, to) = ((*from).max(self.start), (*to).min(self.end));
            if to <= from {
                continue;
            }
            // The place that holds the last millisecond: a short range still touches one.
            let (first, last) = (self.place(from, places), self.place(to - 1, places));
            for (place, covered) in (first..).zip(&mut covered[first..=last]) {
                let (left, right) = (self.edge(place, places), self.edge(place + 1, places));
                *covered += (to.min(right) - from.max(left)).max(1);
            }
        }
        let shown = covered.iter().enumerate().map(|(place, millis)| match (lane.mark, millis) {
            (_, 0) => NOTHING,
            (Mark::Touched(mark), _) => mark,
            (Mark::Share, millis) => {
                let width = self.edge(place + 1, places) - self.edge(place, places);
                shade(*millis, width)
            }
        });
        let line: String = shown.collect();
        format!("{:<name_columns$}  |{line}|", lane.name)
    }

    /// The time at which a place begins: the least that [`Timeline::place`] puts there.
    fn edge(&self, place: usize, places: usize) -> i64 {
        let wide = |count: usize| i128::try_from(count).unwrap_or(i128::MAX);
        let length = i128::from(self.end) - i128::from(self.start);
        let offset = (length * wide(place) + wide(places) - 1) / wide(places);
        self.start + i64::try_from(offset).unwrap_or(i64::MAX)
    }

    /// The place of a time within the range: below `places`.
    fn place(&self, time: i64, places: usize) -> usize {
        let share = |millis: i64| u128::try_from(millis).unwrap_or(0);
        let width = u128::try_from(places).unwrap_or(1);
        let place = share(time - self.start) * width / share(self.end - self.start);
        usize::try_from(place).unwrap_or(places).min(places - 1)
    }
}

fn shade(covered: i64, width: i64) -> char {
    let full = i64::try_from(SHADES.len()).unwrap_or(1) - 1;
    let thirds = covered.saturating_mul(full) / width.max(1);
    let index = usize::try_from(thirds).unwrap_or(0);
    SHADES[index.min(SHADES.len() - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(ranges: &[(i64, i64)]) -> String {
        let mut timeline = Timeline::new(0, 1_000, 14);
        timeline.lane(Lane {
            name: "x".to_owned(),
            mark: Mark::Touched('#'),
            ranges: ranges.to_vec(),
        });
        timeline.render()[0].clone()
    }

    #[test]
    fn ranges_fill_what_they_touch() {
        assert_eq!(draw(&[]), "x  |··········|");
        assert_eq!(draw(&[(0, 1_000)]), "x  |##########|");
        assert_eq!(draw(&[(100, 300)]), "x  |·##·······|");
        assert_eq!(draw(&[(0, 1), (999, 1_000)]), "x  |#········#|");
    }

    #[test]
    fn what_lies_outside_is_cut() {
        assert_eq!(draw(&[(-500, 100), (900, 5_000)]), "x  |#········#|");
        assert_eq!(draw(&[(-500, 0), (1_000, 5_000)]), "x  |··········|");
    }

    #[test]
    fn shares_are_shaded() {
        let mut timeline = Timeline::new(0, 1_000, 14);
        let ranges = vec![(0, 100), (110, 120), (200, 240), (310, 380), (400, 450), (450, 500)];
        timeline.lane(Lane { name: "x".to_owned(), mark: Mark::Share, ranges });
        assert_eq!(timeline.render()[0], "x  |█░▒▓█·····|");
    }

    #[test]
    fn every_time_lies_in_its_place() {
        let timeline = Timeline::new(-7, 96, 14);
        for time in -7..96 {
            let place = timeline.place(time, 10);
            let bounds = timeline.edge(place, 10)..timeline.edge(place + 1, 10);
            assert!(bounds.contains(&time), "{time} in {bounds:?}");
        }
    }
}
