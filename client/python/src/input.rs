//! Entities, times and columns of Python programs as rows. python/tilekv/_frames.py brings frames
//! of other libraries to the few forms that are read here. Knows nothing of connections.

use std::collections::HashMap;

use bytes::Bytes;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyList, PyString, PyTuple};
use tilekv_client::{Cells, ColumnType, Identifier, Rows, TypedColumn, ViewInfo};

use crate::failure::Failure;

/// The types of a view's columns, by name.
pub(crate) type ColumnTypes = HashMap<String, ColumnType>;

/// Rows that are not yet brought to the types of a view's columns.
#[derive(Debug)]
pub(crate) struct LooseRows {
    names: Vec<String>,
    entities: Vec<Bytes>,
    timestamps: Vec<i64>,
    columns: Vec<TypedColumn>,
}

pub(crate) fn column_types(info: &ViewInfo) -> ColumnTypes {
    let columns = info.definition.columns.iter();
    columns.map(|column| (column.name.to_string(), column.kind)).collect()
}

impl LooseRows {
    /// Reads `(entities, timestamps, [(name, column)..])`.
    pub(crate) fn read(
        entities: &Bound<'_, PyAny>,
        timestamps: &Bound<'_, PyAny>,
        columns: Vec<(String, Bound<'_, PyAny>)>,
    ) -> PyResult<Self> {
        let (mut names, mut typed) = (Vec::new(), Vec::new());
        for (name, column) in columns {
            typed.push(read_column(&name, &column)?);
            names.push(name);
        }
        Ok(Self {
            names,
            entities: read_entities(entities)?,
            timestamps: numbers(timestamps)?,
            columns: typed,
        })
    }

    /// Brings the columns to the types that the view has for them.
    pub(crate) fn fit(self, types: &ColumnTypes) -> Result<Rows, Failure> {
        let mut columns = Vec::with_capacity(self.columns.len());
        for (name, column) in self.names.iter().zip(self.columns) {
            columns.push(match types.get(name) {
                Some(wanted) => fit_column(name, column, *wanted)?,
                None => column,
            });
        }
        let names = self.names.iter().map(|name| Identifier::parse(name.as_bytes()));
        let rows = Rows {
            columns: names.collect::<Result<_, _>>()?,
            entities: self.entities,
            timestamps: self.timestamps,
            cells: Cells::Typed(columns),
        };
        rows.validate()?;
        Ok(rows)
    }
}

/// Entities given as a list, or as `("s", offsets, bytes)`.
pub(crate) fn read_entities(given: &Bound<'_, PyAny>) -> PyResult<Vec<Bytes>> {
    if let Ok(parts) = given.cast::<PyTuple>() {
        return slices(&parts.get_item(1)?, &parts.get_item(2)?);
    }
    let list = given.cast::<PyList>()?;
    let mut joined = Joined::default();
    for (row, item) in list.iter().enumerate() {
        push_entity(&mut joined.bytes, &item)
            .map_err(|error| PyTypeError::new_err(format!("entity {row}: {error}")))?;
        joined.end();
    }
    Ok(joined.slices())
}

/// Strings back to back and where each ends: one allocation for all.
#[derive(Default)]
struct Joined {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Joined {
    fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }

    fn slices(self) -> Vec<Bytes> {
        let bytes = Bytes::from(self.bytes);
        let mut start = 0;
        let slice = |end| {
            let slice = bytes.slice(start..end);
            start = end;
            slice
        };
        self.ends.into_iter().map(slice).collect()
    }
}

/// An entity: text, bytes, an integer, or a tuple of these for a view of several keys.
fn push_entity(out: &mut Vec<u8>, item: &Bound<'_, PyAny>) -> PyResult<()> {
    if let Ok(text) = item.cast::<PyString>() {
        out.extend_from_slice(text.to_str()?.as_bytes());
    } else if let Ok(bytes) = item.cast::<PyBytes>() {
        out.extend_from_slice(bytes.as_bytes());
    } else if item.cast::<PyInt>().is_ok() && item.cast::<PyBool>().is_err() {
        out.extend_from_slice(item.str()?.to_str()?.as_bytes());
    } else if let Ok(keys) = item.cast::<PyTuple>() {
        for (index, key) in keys.iter().enumerate() {
            if index != 0 {
                out.push(KEY_SEPARATOR);
            }
            push_entity(out, &key)?;
        }
    } else {
        let found = item.get_type().name()?;
        let expected = "expected str, bytes, int, or a tuple of these for several keys";
        return Err(PyTypeError::new_err(format!("{found}: {expected}")));
    }
    Ok(())
}

/// A column in one of these forms, `mask` being none or a byte for each row, 1 where it is null:
/// `("i", int64s, mask)`, `("f", doubles, mask)`, `("s", offsets, bytes, mask)`, `("o", list)`.
fn read_column(name: &str, given: &Bound<'_, PyAny>) -> PyResult<TypedColumn> {
    let parts = given.cast::<PyTuple>()?;
    let part = |index| parts.get_item(index);
    let form: String = part(0)?.extract()?;
    Ok(match form.as_str() {
        "i" => TypedColumn::I64 { values: numbers(&part(1)?)?, valid: validity(&part(2)?)? },
        "f" => TypedColumn::F64 { values: numbers(&part(1)?)?, valid: validity(&part(2)?)? },
        "s" => {
            TypedColumn::Str { values: slices(&part(1)?, &part(2)?)?, valid: validity(&part(3)?)? }
        }
        _ => read_list(part(1)?.cast::<PyList>()?)
            .map_err(|error| PyTypeError::new_err(format!("column {name:?}, {error}")))?,
    })
}

fn numbers<T: pyo3::buffer::Element>(given: &Bound<'_, PyAny>) -> PyResult<Vec<T>> {
    PyBuffer::<T>::get(given)?.to_vec(given.py())
}

fn validity(mask: &Bound<'_, PyAny>) -> PyResult<Option<Vec<bool>>> {
    if mask.is_none() {
        return Ok(None);
    }
    let mask: Vec<u8> = numbers(mask)?;
    Ok(Some(mask.into_iter().map(|is_null| is_null == 0).collect()))
}

fn slices(offsets: &Bound<'_, PyAny>, bytes: &Bound<'_, PyAny>) -> PyResult<Vec<Bytes>> {
    let offsets: Vec<i64> = numbers(offsets)?;
    let bytes = Bytes::from(numbers::<u8>(bytes)?);
    let slice = |pair: &[i64]| {
        let (start, end) = (usize::try_from(pair[0]).ok()?, usize::try_from(pair[1]).ok()?);
        (start <= end && end <= bytes.len()).then(|| bytes.slice(start..end))
    };
    let all: Option<Vec<Bytes>> = offsets.windows(2).map(slice).collect();
    all.ok_or_else(|| PyValueError::new_err("offsets of strings lie outside their bytes"))
}

/// A list of Python's own values; its type is that of the first that is not None, and integers
/// among doubles are doubles.
fn read_list(list: &Bound<'_, PyList>) -> PyResult<TypedColumn> {
    let first = list.iter().find(|item| !item.is_none());
    let is_text = first.as_ref().is_some_and(|first| is_text(first));
    if is_text {
        return read_texts(list);
    }
    if list.iter().any(|item| item.cast::<PyFloat>().is_ok()) {
        let (values, valid) = read_cells(list, |item| item.extract::<f64>())?;
        return Ok(TypedColumn::F64 { values, valid });
    }
    let (values, valid) = read_cells(list, |item| item.extract::<i64>())?;
    Ok(TypedColumn::I64 { values, valid })
}

type CellsOf<T> = (Vec<T>, Option<Vec<bool>>);

fn read_cells<'py, T: Default>(
    list: &Bound<'py, PyList>,
    read: impl Fn(&Bound<'py, PyAny>) -> PyResult<T>,
) -> PyResult<CellsOf<T>> {
    let (mut values, mut valid) = (Vec::with_capacity(list.len()), Vec::new());
    for (row, item) in list.iter().enumerate() {
        if item.is_none() {
            valid.resize(row, true);
            valid.push(false);
            values.push(T::default());
            continue;
        }
        let value = read(&item).map_err(|error| at_row(row, &item, &error))?;
        values.push(value);
    }
    let valid = (!valid.is_empty()).then(|| {
        valid.resize(list.len(), true);
        valid
    });
    Ok((values, valid))
}

fn read_texts(list: &Bound<'_, PyList>) -> PyResult<TypedColumn> {
    let mut joined = Joined::default();
    let mut valid = Vec::with_capacity(list.len());
    for (row, item) in list.iter().enumerate() {
        if let Ok(text) = item.cast::<PyString>() {
            joined.bytes.extend_from_slice(text.to_str()?.as_bytes());
        } else if let Ok(bytes) = item.cast::<PyBytes>() {
            joined.bytes.extend_from_slice(bytes.as_bytes());
        } else if !item.is_none() {
            return Err(at_row(row, &item, &PyTypeError::new_err("expected str or bytes")));
        }
        joined.end();
        valid.push(!item.is_none());
    }
    let valid = Some(valid).filter(|valid| valid.contains(&false));
    Ok(TypedColumn::Str { values: joined.slices(), valid })
}

fn is_text(item: &Bound<'_, PyAny>) -> bool {
    item.cast::<PyString>().is_ok() || item.cast::<PyBytes>().is_ok()
}

fn at_row(row: usize, item: &Bound<'_, PyAny>, error: &PyErr) -> PyErr {
    let found = item.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!("row {row}: {found}: {}", error.value(item.py())))
}

/// The column in the type that the view has for it, where that loses nothing.
fn fit_column(name: &str, column: TypedColumn, wanted: ColumnType) -> Result<TypedColumn, Failure> {
    match (column, wanted) {
        (TypedColumn::I64 { values, valid }, ColumnType::F64) => {
            let values = cast(name, &values, valid.as_deref(), double_of)?;
            Ok(TypedColumn::F64 { values, valid })
        }
        (TypedColumn::F64 { values, valid }, ColumnType::I64) => {
            let values = cast(name, &values, valid.as_deref(), integer_of)?;
            Ok(TypedColumn::I64 { values, valid })
        }
        (column, _) if is_all_null(&column) => Ok(nulls(column_len(&column), wanted)),
        // Where the types differ the server refuses the rows and names both.
        (column, _) => Ok(column),
    }
}

fn cast<A: Copy + std::fmt::Display, B: Default>(
    name: &str,
    values: &[A],
    valid: Option<&[bool]>,
    convert: impl Fn(A) -> Option<B>,
) -> Result<Vec<B>, Failure> {
    let is_valid = |row: usize| valid.is_none_or(|valid| valid.get(row) == Some(&true));
    let cell = |(row, value): (usize, &A)| {
        if !is_valid(row) {
            return Ok(B::default());
        }
        convert(*value).ok_or_else(|| {
            let problem = "loses digits in the type of the view's column";
            Failure::Input(format!("column \"{name}\", row {row}: {value} {problem}"))
        })
    };
    values.iter().enumerate().map(cell).collect()
}

#[expect(clippy::as_conversions, reason = "up to 2^53 every integer is a double")]
fn double_of(value: i64) -> Option<f64> {
    (value.unsigned_abs() <= EXACT_MAX).then_some(value as f64)
}

#[expect(clippy::as_conversions, reason = "integral and within 2^53, so it is an integer")]
fn integer_of(value: f64) -> Option<i64> {
    let is_exact = value.trunc() == value && value.abs() <= EXACT_MAX as f64;
    is_exact.then_some(value as i64)
}

fn column_len(column: &TypedColumn) -> usize {
    match column {
        TypedColumn::I64 { values, .. } => values.len(),
        TypedColumn::F64 { values, .. } => values.len(),
        TypedColumn::Str { values, .. } => values.len(),
    }
}

fn is_all_null(column: &TypedColumn) -> bool {
    column.valid().is_some_and(|valid| !valid.contains(&true))
}

fn nulls(rows: usize, kind: ColumnType) -> TypedColumn {
    let valid = Some(vec![false; rows]);
    match kind {
        ColumnType::I64 => TypedColumn::I64 { values: vec![0; rows], valid },
        ColumnType::F64 => TypedColumn::F64 { values: vec![0.0; rows], valid },
        ColumnType::Str => TypedColumn::Str { values: vec![Bytes::new(); rows], valid },
    }
}

/// Stands between the keys of an entity.
const KEY_SEPARATOR: u8 = 0x1F;
/// 2^53: up to here integers and doubles are the same.
const EXACT_MAX: u64 = 1 << 53;
