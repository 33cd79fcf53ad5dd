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
    /// What a place that a range touches is filled with.
    pub(crate) mark: char,
    /// The ranges, in milliseconds since the epoch, half-open.
    pub(crate) ranges: Vec<(i64, i64)>,
}

const NOTHING: char = '·';

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
        let mut line = vec![NOTHING; places];
        for (from, to) in &lane.ranges {
            let (from, to) = ((*from).max(self.start), (*to).min(self.end));
            if to <= from {
                continue;
            }
            let first = self.place(from, places);
            // The place that holds the last millisecond: a short range still fills one.
            let last = self.place(to - 1, places);
            line[first..=last].fill(lane.mark);
        }
        let line: String = line.into_iter().collect();
        format!("{:<name_columns$}  |{line}|", lane.name)
    }

    /// The place of a time within the range: below `places`.
    fn place(&self, time: i64, places: usize) -> usize {
        let share = |millis: i64| u128::try_from(millis).unwrap_or(0);
        let width = u128::try_from(places).unwrap_or(1);
        let place = share(time - self.start) * width / share(self.end - self.start);
        usize::try_from(place).unwrap_or(places).min(places - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(ranges: &[(i64, i64)]) -> String {
        let mut timeline = Timeline::new(0, 1_000, 14);
        timeline.lane(Lane { name: "x".to_owned(), mark: '#', ranges: ranges.to_vec() });
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
}
