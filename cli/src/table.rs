//! Tables of text: columns as wide as their widest cell. Knows nothing of what the cells mean.

/// A table that grows row by row.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    alignments: Vec<Align>,
}

/// On which side the cells of a column stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new(columns: &[(&str, Align)]) -> Self {
        Self {
            rows: vec![columns.iter().map(|(heading, _)| (*heading).to_owned()).collect()],
            alignments: columns.iter().map(|(_, align)| *align).collect(),
        }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// Where it has not a cell for each column.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        assert!(cells.len() == self.alignments.len(), "a row has a cell for each column");
        self.rows.push(cells);
    }

    /// The text: two spaces between columns, a rule below the headings.
    pub(crate) fn render(&self) -> String {
        let width = |column: usize| {
            self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.alignments.len()).map(width).collect();
        let mut lines: Vec<String> = self.rows.iter().map(|row| self.line(row, &widths)).collect();
        let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        lines.insert(1, rules.join("  "));
        lines.join("\n")
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let cells = row.iter().zip(widths).zip(&self.alignments);
        let cells: Vec<String> = cells
            .map(|((cell, width), align)| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            })
            .collect();
        cells.join("  ").trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&[("entity", Align::Left), ("n", Align::Right)]);
        table.row(vec!["u:1".to_owned(), "12".to_owned()]);
        table.row(vec!["u:1000000".to_owned(), "3".to_owned()]);
        let expected = "entity      n\n---------  --\nu:1        12\nu:1000000   3";
        assert_eq!(table.render(), expected);
    }
}
