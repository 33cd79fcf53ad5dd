//! Rows made ready for a write: one by one, or column by column. Knows nothing of views.

use bytes::Bytes;
use tilekv_tile::{Cells, ColumnType, Identifier, Rows, Scalar, TileError, TypedColumn};

/// Collects rows one by one into typed columns: nothing is kept per value but the value itself.
///
/// ```
/// use tilekv_client::{ColumnType, RowsBuilder, Scalar};
///
/// # fn main() -> Result<(), tilekv_client::TileError> {
/// let mut rows = RowsBuilder::new(&[("amount", ColumnType::F64), ("item", ColumnType::Str)])?;
/// rows.push("u:42", 1_700_000_000_000, &[Some(Scalar::F64(9.5)), Some(Scalar::Str(b"tea"))])?;
/// rows.push("u:43", 1_700_000_000_500, &[None, Some(Scalar::Str(b"milk"))])?;
/// assert_eq!(rows.len(), 2);
/// let rows = rows.take()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RowsBuilder {
    names: Vec<Identifier>,
    kinds: Vec<ColumnType>,
    rows: Rows,
}

impl RowsBuilder {
    /// A builder for these columns of the view; columns that are left out are null.
    ///
    /// # Errors
    /// A name that is no column name.
    pub fn new<N: AsRef<[u8]>>(columns: &[(N, ColumnType)]) -> Result<Self, TileError> {
        let names = columns.iter().map(|(name, _)| Identifier::parse(name.as_ref()));
        let names: Vec<Identifier> = names.collect::<Result<_, _>>()?;
        let kinds: Vec<ColumnType> = columns.iter().map(|(_, kind)| *kind).collect();
        let rows = empty(&names, &kinds);
        Ok(Self { names, kinds, rows })
    }

    /// Adds a row at a time in milliseconds since the epoch; a cell that is none is null.
    ///
    /// # Errors
    /// Another number of cells than columns, or a cell of another type. The row is not added.
    pub fn push(
        &mut self,
        entity: impl Into<Bytes>,
        timestamp_ms: i64,
        cells: &[Option<Scalar<'_>>],
    ) -> Result<(), TileError> {
        self.check(cells)?;
        self.rows.entities.push(entity.into());
        self.rows.timestamps.push(timestamp_ms);
        let Cells::Typed(columns) = &mut self.rows.cells else {
            unreachable!("the builder makes typed columns");
        };
        for (column, cell) in columns.iter_mut().zip(cells) {
            push_cell(column, *cell);
        }
        Ok(())
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows so far, checked; the builder begins anew with the same columns.
    ///
    /// # Errors
    /// A row whose entity or timestamp is out of its bounds; the error names the row.
    pub fn take(&mut self) -> Result<Rows, TileError> {
        let fresh = empty(&self.names, &self.kinds);
        let mut rows = std::mem::replace(&mut self.rows, fresh);
        let Cells::Typed(columns) = &mut rows.cells else {
            unreachable!("the builder makes typed columns");
        };
        columns.iter_mut().for_each(drop_full_validity);
        rows.validate()?;
        Ok(rows)
    }

    fn check(&self, cells: &[Option<Scalar<'_>>]) -> Result<(), TileError> {
        if cells.len() != self.kinds.len() {
            let (found, expected) = (cells.len(), self.kinds.len());
            let what = "cells in a row";
            return Err(TileError::RowsShape { what, found, expected });
        }
        for (index, (cell, kind)) in cells.iter().zip(&self.kinds).enumerate() {
            let found = cell.map_or(*kind, |cell| cell.column_type());
            if found != *kind {
                let (found, expected) = (found.as_str(), kind.as_str());
                return Err(TileError::Row {
                    row: self.len(),
                    place: format!("column \"{}\"", self.names[index]),
                    source: Box::new(TileError::ColumnType { found, expected }),
                });
            }
        }
        Ok(())
    }
}

/// Puts whole columns together into rows, without a copy of the numbers.
///
/// ```
/// use tilekv_client::ColumnsBuilder;
///
/// # fn main() -> Result<(), tilekv_client::TileError> {
/// let rows = ColumnsBuilder::new(["u:1", "u:2"], vec![1_000, 2_000])
///     .f64s("amount", vec![0.5, 1.5])?
///     .nullable_i64s("pieces", [Some(3), None])?
///     .finish()?;
/// assert_eq!(rows.len(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ColumnsBuilder {
    names: Vec<Identifier>,
    columns: Vec<TypedColumn>,
    entities: Vec<Bytes>,
    timestamps: Vec<i64>,
}

impl ColumnsBuilder {
    /// Begins with the entity and the time, in milliseconds since the epoch, of each row.
    pub fn new<E: Into<Bytes>>(
        entities: impl IntoIterator<Item = E>,
        timestamps_ms: Vec<i64>,
    ) -> Self {
        Self {
            names: Vec::new(),
            columns: Vec::new(),
            entities: entities.into_iter().map(Into::into).collect(),
            timestamps: timestamps_ms,
        }
    }

    /// Adds a column of integers without nulls.
    ///
    /// # Errors
    /// A name that is no column name, here and in the methods below.
    pub fn i64s(self, name: &str, values: Vec<i64>) -> Result<Self, TileError> {
        let valid = None;
        self.column(name, TypedColumn::I64 { values, valid })
    }

    /// Adds a column of doubles without nulls.
    pub fn f64s(self, name: &str, values: Vec<f64>) -> Result<Self, TileError> {
        let valid = None;
        self.column(name, TypedColumn::F64 { values, valid })
    }

    /// Adds a column of strings without nulls.
    pub fn texts<T: Into<Bytes>>(
        self,
        name: &str,
        values: impl IntoIterator<Item = T>,
    ) -> Result<Self, TileError> {
        let values = values.into_iter().map(Into::into).collect();
        self.column(name, TypedColumn::Str { values, valid: None })
    }

    /// Adds a column of integers and nulls.
    pub fn nullable_i64s(
        self,
        name: &str,
        values: impl IntoIterator<Item = Option<i64>>,
    ) -> Result<Self, TileError> {
        let (values, valid) = split(values);
        self.column(name, TypedColumn::I64 { values, valid })
    }

    /// Adds a column of doubles and nulls.
    pub fn nullable_f64s(
        self,
        name: &str,
        values: impl IntoIterator<Item = Option<f64>>,
    ) -> Result<Self, TileError> {
        let (values, valid) = split(values);
        self.column(name, TypedColumn::F64 { values, valid })
    }

    /// Adds a column of any type as it is.
    pub fn column(mut self, name: &str, column: TypedColumn) -> Result<Self, TileError> {
        self.names.push(Identifier::parse(name.as_bytes())?);
        self.columns.push(column);
        Ok(self)
    }

    /// The rows, checked.
    ///
    /// # Errors
    /// Columns of different lengths, a column named twice, an entity or time out of its bounds.
    pub fn finish(self) -> Result<Rows, TileError> {
        let rows = Rows {
            columns: self.names,
            entities: self.entities,
            timestamps: self.timestamps,
            cells: Cells::Typed(self.columns),
        };
        rows.validate()?;
        Ok(rows)
    }
}

fn split<T: Default>(values: impl IntoIterator<Item = Option<T>>) -> (Vec<T>, Option<Vec<bool>>) {
    let pair = |value: Option<T>| {
        let is_valid = value.is_some();
        (value.unwrap_or_default(), is_valid)
    };
    let (values, valid) = values.into_iter().map(pair).unzip();
    (values, Some(valid))
}

fn empty(names: &[Identifier], kinds: &[ColumnType]) -> Rows {
    let column = |kind: &ColumnType| match kind {
        ColumnType::I64 => TypedColumn::I64 { values: Vec::new(), valid: Some(Vec::new()) },
        ColumnType::F64 => TypedColumn::F64 { values: Vec::new(), valid: Some(Vec::new()) },
        ColumnType::Str => TypedColumn::Str { values: Vec::new(), valid: Some(Vec::new()) },
    };
    Rows {
        columns: names.to_vec(),
        entities: Vec::new(),
        timestamps: Vec::new(),
        cells: Cells::Typed(kinds.iter().map(column).collect()),
    }
}

fn push_cell(column: &mut TypedColumn, cell: Option<Scalar<'_>>) {
    let valid = match (column, cell) {
        (TypedColumn::I64 { values, valid }, cell) => {
            values.push(if let Some(Scalar::I64(value)) = cell { value } else { 0 });
            valid
        }
        (TypedColumn::F64 { values, valid }, cell) => {
            values.push(if let Some(Scalar::F64(value)) = cell { value } else { 0.0 });
            valid
        }
        (TypedColumn::Str { values, valid }, Some(Scalar::Str(text))) => {
            values.push(Bytes::copy_from_slice(text));
            valid
        }
        (TypedColumn::Str { values, valid }, _) => {
            values.push(Bytes::new());
            valid
        }
    };
    if let Some(valid) = valid {
        valid.push(cell.is_some());
    }
}

/// A column in which every value counts says so by leaving the validity out.
fn drop_full_validity(column: &mut TypedColumn) {
    let (TypedColumn::I64 { valid, .. }
    | TypedColumn::F64 { valid, .. }
    | TypedColumn::Str { valid, .. }) = column;
    if valid.as_ref().is_some_and(|valid| valid.iter().all(|is_valid| *is_valid)) {
        *valid = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> RowsBuilder {
        RowsBuilder::new(&[("amount", ColumnType::F64), ("item", ColumnType::Str)]).unwrap()
    }

    #[test]
    fn rows_become_columns() {
        let mut rows = builder();
        let tea = Some(Scalar::Str(b"tea"));
        rows.push("u:1", 10, &[Some(Scalar::F64(0.5)), tea]).unwrap();
        rows.push("u:2", 20, &[None, tea]).unwrap();
        let taken = rows.take().unwrap();
        assert_eq!(taken.timestamps, [10, 20]);
        assert_eq!(taken.cell(0, 0, ColumnType::F64), Ok(Some(Scalar::F64(0.5))));
        assert_eq!(taken.cell(1, 0, ColumnType::F64), Ok(None));
        assert_eq!(taken.cell(1, 1, ColumnType::Str), Ok(tea));
        let Cells::Typed(columns) = &taken.cells else {
            panic!("cells are typed");
        };
        assert_eq!(columns[0].valid(), Some(&[true, false][..]));
        assert_eq!(columns[1].valid(), None, "a column without nulls says so");
        assert!(rows.is_empty(), "the builder begins anew");
        rows.push("u:3", 30, &[None, None]).unwrap();
        assert_eq!(rows.take().unwrap().len(), 1);
    }

    #[test]
    fn a_row_that_does_not_fit_is_not_added() {
        let mut rows = builder();
        let wide = rows.push("u:1", 10, &[None]).unwrap_err();
        assert_eq!(wide.to_string(), "rows: 1 cells in a row, expected 2");
        let cells = [Some(Scalar::I64(1)), None];
        let error = rows.push("u:1", 10, &cells).unwrap_err().to_string();
        assert!(error.contains("\"amount\"") && error.contains("f64"), "{error}");
        assert_eq!(rows.take().unwrap().len(), 0);
        rows.push("", 10, &[None, None]).unwrap();
        assert!(rows.take().is_err(), "an entity is not empty");
    }

    #[test]
    fn columns_become_rows() {
        let rows = ColumnsBuilder::new(["u:1", "u:2"], vec![10, 20])
            .nullable_f64s("amount", [None, Some(1.5)])
            .unwrap()
            .texts("item", ["tea", "milk"])
            .unwrap()
            .finish()
            .unwrap();
        assert_eq!(rows.cell(0, 0, ColumnType::F64), Ok(None));
        assert_eq!(rows.cell(1, 1, ColumnType::Str), Ok(Some(Scalar::Str(b"milk"))));
        let uneven = ColumnsBuilder::new(["u:1"], vec![10]).i64s("n", vec![1, 2]).unwrap();
        assert!(uneven.finish().is_err(), "a column has a value for each row");
    }
}
