//! Rows on their way into a view: entities, times and cells, as text or typed, and the producer
//! that vouches for their order. It knows nothing of views or of how rows become tiles.

use crate::error::{TileError, printable};
use crate::limits::{COLUMN_COUNT_MAX, ENTITY_BYTES_MAX};
use crate::name::Identifier;
use crate::scalar::{ColumnType, Scalar, check_scalar, parse_scalar};
use crate::time::Timestamp;
use bytes::Bytes;
use std::ops::Range;

/// A batch of rows over named columns. A column of the view that is not named is null.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// The columns that the cells belong to, in the order of the cells.
    pub columns: Vec<Identifier>,
    /// The entity of each row.
    pub entities: Vec<Bytes>,
    /// The event time of each row, in milliseconds since the epoch.
    pub timestamps: Vec<i64>,
    /// The values.
    pub cells: Cells,
}

/// The values of a batch of rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Cells {
    /// Values as text, row by row.
    Text {
        /// The text that stands for null in any column. Without it the empty text is null for
        /// numbers, and the empty string for strings.
        null: Option<Bytes>,
        /// The cells, row-major: all of the first row, then all of the second.
        cells: Vec<Bytes>,
    },
    /// Values by column, of one type each.
    Typed(Vec<TypedColumn>),
}

/// The values of one column of one type. Without `valid` every value counts; with it, a value
/// whose entry is false is null.
#[derive(Debug, Clone, PartialEq)]
pub enum TypedColumn {
    /// Integers.
    I64 {
        /// One value per row.
        values: Vec<i64>,
        /// One entry per row: false is null.
        valid: Option<Vec<bool>>,
    },
    /// Doubles.
    F64 {
        /// One value per row.
        values: Vec<f64>,
        /// One entry per row: false is null.
        valid: Option<Vec<bool>>,
    },
    /// Strings.
    Str {
        /// One value per row.
        values: Vec<Bytes>,
        /// One entry per row: false is null.
        valid: Option<Vec<bool>>,
    },
}

/// Who wrote something, and which of its writes this is: what makes a write count exactly once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerStamp {
    /// The producer, known by this id within the view.
    pub id: Bytes,
    /// The number of the write; a producer's numbers grow.
    pub sequence: u64,
    /// What must have been applied last for this write to be taken.
    pub after: After,
}

/// The sequence that a producer expects to have been applied last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It does not say.
    Any,
    /// None at all: this is the producer's first write.
    First,
    /// Exactly this one.
    Sequence(u64),
}

impl Rows {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.entities.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.entities.is_empty()
    }

    /// A copy of the rows of a range; strings and entities share their bytes.
    ///
    /// # Panics
    /// Where the rows have no such range, or [`Rows::validate`] would refuse their shape.
    pub fn slice(&self, range: Range<usize>) -> Self {
        let width = self.columns.len();
        let cells = match &self.cells {
            Cells::Text { null, cells } => Cells::Text {
                null: null.clone(),
                cells: cells[range.start * width..range.end * width].to_vec(),
            },
            Cells::Typed(columns) => {
                Cells::Typed(columns.iter().map(|column| column.slice(range.clone())).collect())
            }
        };
        Self {
            columns: self.columns.clone(),
            entities: self.entities[range.clone()].to_vec(),
            timestamps: self.timestamps[range].to_vec(),
            cells,
        }
    }

    /// Checks what needs no view: that every part has an entry per row, that no column is named
    /// twice, and that entities and timestamps are within their bounds. Errors name the row.
    pub fn validate(&self) -> Result<(), TileError> {
        self.check_shape()?;
        let count = self.columns.len();
        if COLUMN_COUNT_MAX < count {
            return Err(TileError::TooMany { what: "columns", count, limit: COLUMN_COUNT_MAX });
        }
        for (index, name) in self.columns.iter().enumerate() {
            if self.columns[..index].contains(name) {
                return Err(TileError::Duplicate { what: "column", name: name.clone() });
            }
        }
        for (row, entity) in self.entities.iter().enumerate() {
            check_entity(entity).map_err(|error| wrap(row, "entity".to_owned(), error))?;
        }
        for (row, millis) in self.timestamps.iter().enumerate() {
            Timestamp::from_millis(*millis)
                .map_err(|error| wrap(row, "timestamp".to_owned(), error))?;
        }
        Ok(())
    }

    fn check_shape(&self) -> Result<(), TileError> {
        check_count("timestamps", self.timestamps.len(), self.len())?;
        match &self.cells {
            Cells::Text { cells, .. } => {
                let expected = self.len().saturating_mul(self.columns.len());
                check_count("cells", cells.len(), expected)
            }
            Cells::Typed(columns) => {
                check_count("typed columns", columns.len(), self.columns.len())?;
                columns.iter().try_for_each(|column| column.check_shape(self.len()))
            }
        }
    }

    /// The value of a cell as a column of type `kind` takes it; none is null. Errors name the row
    /// and the column.
    ///
    /// # Panics
    /// Where the rows have no such row or column, or [`Rows::validate`] would refuse their shape.
    pub fn cell(
        &self,
        row: usize,
        column: usize,
        kind: ColumnType,
    ) -> Result<Option<Scalar<'_>>, TileError> {
        let value = match &self.cells {
            Cells::Text { null, cells } => {
                text_cell(&cells[row * self.columns.len() + column], null.as_deref(), kind)
            }
            Cells::Typed(columns) => columns[column].cell(row, kind),
        };
        value.map_err(|error| wrap(row, format!("column \"{}\"", self.columns[column]), error))
    }

    /// The cells by column, each column as one of its type in `kinds` takes it: text is read, and
    /// -0 is 0. Errors name the row and the column.
    ///
    /// # Panics
    /// As [`Rows::cell`], and where there is not a type for each column.
    pub fn into_columns(self, kinds: &[ColumnType]) -> Result<Vec<TypedColumn>, TileError> {
        assert!(self.columns.len() == kinds.len(), "each column has a type");
        for row in 0..self.len() {
            for (column, kind) in kinds.iter().enumerate() {
                self.cell(row, column, *kind)?;
            }
        }
        Ok(match self.cells {
            Cells::Text { null, cells } => {
                let width = kinds.len();
                let column = |(at, kind): (usize, &ColumnType)| {
                    let texts = cells.iter().skip(at).step_by(width);
                    read_column(texts, null.as_deref(), *kind)
                };
                kinds.iter().enumerate().map(column).collect::<Result<_, TileError>>()?
            }
            Cells::Typed(mut columns) => {
                columns.iter_mut().for_each(TypedColumn::clear_negative_zeros);
                columns
            }
        })
    }
}

impl TypedColumn {
    /// The type of the values.
    pub fn kind(&self) -> ColumnType {
        match self {
            Self::I64 { .. } => ColumnType::I64,
            Self::F64 { .. } => ColumnType::F64,
            Self::Str { .. } => ColumnType::Str,
        }
    }

    /// How many values there are, nulls included.
    pub fn len(&self) -> usize {
        match self {
            Self::I64 { values, .. } => values.len(),
            Self::F64 { values, .. } => values.len(),
            Self::Str { values, .. } => values.len(),
        }
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy of the values of a range; strings share their bytes.
    ///
    /// # Panics
    /// Where the column has no such range.
    pub fn slice(&self, range: Range<usize>) -> Self {
        let part = |valid: &Option<Vec<bool>>| valid.as_ref().map(|v| v[range.clone()].to_vec());
        match self {
            Self::I64 { values, valid } => {
                Self::I64 { values: values[range.clone()].to_vec(), valid: part(valid) }
            }
            Self::F64 { values, valid } => {
                Self::F64 { values: values[range.clone()].to_vec(), valid: part(valid) }
            }
            Self::Str { values, valid } => {
                Self::Str { values: values[range.clone()].to_vec(), valid: part(valid) }
            }
        }
    }

    /// Which values count, if any does not.
    pub fn valid(&self) -> Option<&[bool]> {
        match self {
            Self::I64 { valid, .. } | Self::F64 { valid, .. } | Self::Str { valid, .. } => {
                valid.as_deref()
            }
        }
    }

    /// The value of a row as it stands; none is null.
    ///
    /// # Panics
    /// Where the column has no such row.
    #[inline]
    pub fn get(&self, row: usize) -> Option<Scalar<'_>> {
        if self.valid().is_some_and(|valid| !valid[row]) {
            return None;
        }
        Some(match self {
            Self::I64 { values, .. } => Scalar::I64(values[row]),
            Self::F64 { values, .. } => Scalar::F64(values[row]),
            Self::Str { values, .. } => Scalar::Str(&values[row]),
        })
    }

    fn clear_negative_zeros(&mut self) {
        if let Self::F64 { values, .. } = self {
            values.iter_mut().for_each(|value| *value += 0.0);
        }
    }

    fn check_shape(&self, row_count: usize) -> Result<(), TileError> {
        check_count("values in a typed column", self.len(), row_count)?;
        let valid_count = self.valid().map_or(row_count, <[bool]>::len);
        check_count("validity entries in a typed column", valid_count, row_count)
    }

    fn cell(&self, row: usize, kind: ColumnType) -> Result<Option<Scalar<'_>>, TileError> {
        if self.kind() != kind {
            let (found, expected) = (self.kind().as_str(), kind.as_str());
            return Err(TileError::ColumnType { found, expected });
        }
        self.get(row).map(check_scalar).transpose()
    }
}

/// Checks that an entity is 1 to 65,535 bytes long.
pub fn check_entity(entity: &[u8]) -> Result<(), TileError> {
    if !entity.is_empty() && entity.len() <= ENTITY_BYTES_MAX {
        return Ok(());
    }
    let expected = format!("1 to {ENTITY_BYTES_MAX} bytes, not {}", entity.len());
    Err(TileError::Entity { entity: printable(entity), expected })
}

fn text_cell<'a>(
    text: &'a [u8],
    null: Option<&[u8]>,
    kind: ColumnType,
) -> Result<Option<Scalar<'a>>, TileError> {
    let is_null = match null {
        Some(token) => text == token,
        None => text.is_empty() && kind != ColumnType::Str,
    };
    if is_null { Ok(None) } else { parse_scalar(kind, text).map(Some) }
}

/// A column of texts that were read without an error before.
fn read_column<'a>(
    texts: impl Iterator<Item = &'a Bytes>,
    null: Option<&[u8]>,
    kind: ColumnType,
) -> Result<TypedColumn, TileError> {
    let mut column = match kind {
        ColumnType::I64 => TypedColumn::I64 { values: Vec::new(), valid: Some(Vec::new()) },
        ColumnType::F64 => TypedColumn::F64 { values: Vec::new(), valid: Some(Vec::new()) },
        ColumnType::Str => TypedColumn::Str { values: Vec::new(), valid: Some(Vec::new()) },
    };
    for text in texts {
        let scalar = text_cell(text, null, kind)?;
        match (&mut column, scalar) {
            (TypedColumn::I64 { values, .. }, Some(Scalar::I64(value))) => values.push(value),
            (TypedColumn::I64 { values, .. }, _) => values.push(0),
            (TypedColumn::F64 { values, .. }, Some(Scalar::F64(value))) => values.push(value),
            (TypedColumn::F64 { values, .. }, _) => values.push(0.0),
            (TypedColumn::Str { values, .. }, _) => values.push(text.clone()),
        }
        let (TypedColumn::I64 { valid, .. }
        | TypedColumn::F64 { valid, .. }
        | TypedColumn::Str { valid, .. }) = &mut column;
        valid.get_or_insert_default().push(scalar.is_some());
    }
    Ok(column)
}

fn check_count(what: &'static str, found: usize, expected: usize) -> Result<(), TileError> {
    if found == expected { Ok(()) } else { Err(TileError::RowsShape { what, found, expected }) }
}

fn wrap(row: usize, place: String, error: TileError) -> TileError {
    TileError::Row { row, place, source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identifier(text: &str) -> Identifier {
        Identifier::parse(text.as_bytes()).unwrap()
    }

    fn text_rows(null: Option<&'static str>, cells: &[&'static str]) -> Rows {
        let row_count = cells.len() / 2;
        Rows {
            columns: vec![identifier("amount"), identifier("item")],
            entities: vec![Bytes::from_static(b"u:42"); row_count],
            timestamps: vec![1_000; row_count],
            cells: Cells::Text {
                null: null.map(|token| Bytes::from_static(token.as_bytes())),
                cells: cells.iter().map(|cell| Bytes::from_static(cell.as_bytes())).collect(),
            },
        }
    }

    fn typed_rows(columns: Vec<TypedColumn>) -> Rows {
        let cells = Cells::Typed(columns);
        Rows { cells, ..text_rows(None, &["1", "a", "2", "b"]) }
    }

    fn amounts(valid: Option<Vec<bool>>) -> TypedColumn {
        TypedColumn::F64 { values: vec![0.5, -0.0], valid }
    }

    fn items(text: &'static [u8]) -> TypedColumn {
        let values = vec![Bytes::from_static(text), Bytes::from_static(b"b")];
        TypedColumn::Str { values, valid: None }
    }

    #[test]
    fn without_a_token_empty_text_is_null_for_numbers_alone() {
        let rows = text_rows(None, &["1", "a", "", ""]);
        assert_eq!(rows.validate(), Ok(()));
        assert_eq!(rows.cell(0, 0, ColumnType::I64), Ok(Some(Scalar::I64(1))));
        assert_eq!(rows.cell(0, 1, ColumnType::Str), Ok(Some(Scalar::Str(b"a"))));
        assert_eq!(rows.cell(1, 0, ColumnType::I64), Ok(None));
        assert_eq!(rows.cell(1, 0, ColumnType::F64), Ok(None));
        assert_eq!(rows.cell(1, 1, ColumnType::Str), Ok(Some(Scalar::Str(b""))));
    }

    #[test]
    fn a_token_is_null_in_any_column() {
        let rows = text_rows(Some("NA"), &["NA", "NA", "", ""]);
        assert_eq!(rows.cell(0, 0, ColumnType::F64), Ok(None));
        assert_eq!(rows.cell(0, 1, ColumnType::Str), Ok(None));
        assert!(rows.cell(1, 0, ColumnType::F64).is_err(), "empty text is no number");
        assert_eq!(rows.cell(1, 1, ColumnType::Str), Ok(Some(Scalar::Str(b""))));
    }

    #[test]
    fn a_bad_cell_is_named_by_row_and_column() {
        let rows = text_rows(None, &["1", "a", "x", "b"]);
        let error = rows.cell(1, 0, ColumnType::I64).unwrap_err().to_string();
        assert!(error.starts_with("row 2 (counted from 1), column \"amount\": "), "{error}");
        assert!(error.contains("\"x\""), "{error}");
    }

    #[test]
    fn typed_cells_are_checked_like_text() {
        let rows = typed_rows(vec![amounts(Some(vec![false, true])), items(b"a")]);
        assert_eq!(rows.validate(), Ok(()));
        assert_eq!(rows.cell(0, 0, ColumnType::F64), Ok(None));
        let Ok(Some(Scalar::F64(zero))) = rows.cell(1, 0, ColumnType::F64) else {
            panic!("the second amount is a double");
        };
        assert_eq!(zero.to_bits(), 0, "minus zero is stored as zero");
        let rows = typed_rows(vec![amounts(None), items(b"\xFF")]);
        assert!(rows.cell(0, 1, ColumnType::Str).is_err(), "a string is UTF-8");
    }

    #[test]
    fn a_typed_column_has_the_type_of_the_view() {
        let rows = typed_rows(vec![amounts(None), items(b"a")]);
        let error = rows.cell(0, 0, ColumnType::I64).unwrap_err().to_string();
        assert!(error.ends_with("a value of type f64: expected i64"), "{error}");
    }

    #[test]
    fn columns_hold_what_the_cells_hold() {
        let kinds = [ColumnType::F64, ColumnType::Str];
        let typed = typed_rows(vec![amounts(Some(vec![false, true])), items(b"a")]);
        for rows in [typed, text_rows(Some("NA"), &["-0", "NA", "NA", ""])] {
            let columns = rows.clone().into_columns(&kinds).unwrap();
            for (row, column) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let cell = rows.cell(row, column, kinds[column]).unwrap();
                assert_eq!(columns[column].get(row), cell);
                let is_negative =
                    |cell| matches!(cell, Some(Scalar::F64(zero)) if f64::is_sign_negative(zero));
                assert!(!is_negative(columns[column].get(row)));
            }
        }
        let error = text_rows(None, &["1", "a", "x", "b"]).into_columns(&kinds).unwrap_err();
        assert!(error.to_string().starts_with("row 2 (counted from 1), column \"amount\": "));
    }

    #[test]
    fn rows_of_uneven_parts_are_refused() {
        let is_refused = |change: &dyn Fn(&mut Rows)| {
            let mut rows = text_rows(None, &["1", "a", "2", "b"]);
            assert_eq!(rows.validate(), Ok(()));
            change(&mut rows);
            rows.validate().unwrap_err()
        };
        let shape = |what, found, expected| TileError::RowsShape { what, found, expected };
        let lost_time = is_refused(&|rows| rows.timestamps.truncate(1));
        assert_eq!(lost_time, shape("timestamps", 1, 2));
        let lost_column = is_refused(&|rows| rows.columns.truncate(1));
        assert_eq!(lost_column, shape("cells", 4, 2));
        let typed = |columns: Vec<TypedColumn>| typed_rows(columns).validate().unwrap_err();
        assert_eq!(typed(vec![amounts(None)]), shape("typed columns", 1, 2));
        let short = TypedColumn::I64 { values: vec![1], valid: None };
        assert_eq!(typed(vec![short, items(b"a")]), shape("values in a typed column", 1, 2));
        let short = amounts(Some(vec![true]));
        let expected = shape("validity entries in a typed column", 1, 2);
        assert_eq!(typed(vec![short, items(b"a")]), expected);
    }

    #[test]
    fn a_slice_has_the_rows_of_its_range() {
        let rows = text_rows(Some("NA"), &["1", "a", "2", "NA", "3", "c"]);
        let slice = rows.slice(1..2);
        assert_eq!((slice.len(), slice.validate()), (1, Ok(())));
        assert_eq!(slice.cell(0, 0, ColumnType::I64), Ok(Some(Scalar::I64(2))));
        assert_eq!(slice.cell(0, 1, ColumnType::Str), Ok(None));
        let rows = typed_rows(vec![amounts(Some(vec![false, true])), items(b"a")]);
        let slice = rows.slice(1..2);
        assert_eq!(slice.validate(), Ok(()));
        assert_eq!(slice.cell(0, 0, ColumnType::F64), Ok(Some(Scalar::F64(0.0))));
        assert_eq!(slice.cell(0, 1, ColumnType::Str), Ok(Some(Scalar::Str(b"b"))));
        assert!(rows.slice(2..2).is_empty());
    }

    #[test]
    fn bounds_are_checked_row_by_row() {
        let mut rows = text_rows(None, &["1", "a", "2", "b"]);
        rows.timestamps[1] = i64::MAX;
        let error = rows.validate().unwrap_err().to_string();
        assert!(error.starts_with("row 2 (counted from 1), timestamp: "), "{error}");
        rows.timestamps[1] = 0;
        rows.entities[0] = Bytes::new();
        let error = rows.validate().unwrap_err().to_string();
        assert!(error.starts_with("row 1 (counted from 1), entity: "), "{error}");
        rows.entities[0] = Bytes::from(vec![b'x'; ENTITY_BYTES_MAX]);
        assert_eq!(rows.validate(), Ok(()));
        rows.columns[1] = identifier("amount");
        let error = rows.validate().unwrap_err();
        assert_eq!(error, TileError::Duplicate { what: "column", name: identifier("amount") });
    }

    #[test]
    fn rows_name_as_many_columns_as_a_view_may_have() {
        let mut rows = text_rows(None, &[]);
        rows.columns =
            (0..COLUMN_COUNT_MAX).map(|index| identifier(&format!("c{index}"))).collect();
        assert_eq!(rows.validate(), Ok(()));
        rows.columns.push(identifier("one_more"));
        let error = rows.validate().unwrap_err().to_string();
        assert_eq!(error, "1025 columns: expected at most 1024");
    }
}
