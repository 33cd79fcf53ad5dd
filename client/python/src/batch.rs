//! The answers of a read as Python sees them: the parts of each column where they lie in the
//! frame. What is made of them stands in python/tilekv/_result.py.

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::PyList;
use tilekv_client::{Batch, Column, ColumnType, ReplyColumnKind};

use crate::buffer::Buffer;
use crate::convert::value;

/// The answers of a read.
#[pyclass(frozen, module = "tilekv._tilekv")]
pub(crate) struct RawBatch {
    batch: Batch,
}

/// One column: its kind and the parts that this kind has. Buffers hold little-endian numbers.
#[pyclass(frozen, get_all, module = "tilekv._tilekv")]
pub(crate) struct RawColumn {
    view: String,
    selector: String,
    /// `i64`, `f64`, `any`, or of lists `i64s`, `f64s`, `strs`.
    kind: &'static str,
    /// A bitmap, least significant bit first.
    validity: Py<Buffer>,
    /// Numbers of eight bytes; of lists of strings, their offsets of four.
    words: Option<Py<Buffer>>,
    /// Of values of any kind, the values.
    items: Option<Py<PyList>>,
    /// Of lists, where the items of each row end, after a zero; four bytes each.
    offsets: Option<Py<Buffer>>,
    /// Of lists of strings, the strings.
    texts: Option<Py<Buffer>>,
    /// Of lists that count their items, the counts.
    counts: Option<Py<Buffer>>,
    /// A byte for each row, if asked for.
    statuses: Option<Py<Buffer>>,
    /// Four bytes for each row, if statuses were asked for.
    tiles_read: Option<Py<Buffer>>,
    /// Start and end of the window: 16 bytes for each row or for all, if statuses were asked for.
    bounds: Option<Py<Buffer>>,
}

impl RawBatch {
    pub(crate) fn new(batch: Batch) -> Self {
        Self { batch }
    }
}

#[pymethods]
impl RawBatch {
    /// How many rows each column has.
    #[getter]
    fn rows(&self) -> usize {
        self.batch.rows()
    }

    /// All columns, in the order of the selectors.
    fn columns(&self, py: Python<'_>) -> PyResult<Vec<RawColumn>> {
        self.batch.columns().map(|column| raw_column(py, &column)).collect()
    }
}

fn raw_column(py: Python<'_>, column: &Column<'_>) -> PyResult<RawColumn> {
    let kind = column.kind();
    let items = match kind {
        ReplyColumnKind::Any => Some(items(py, column)?),
        _ => None,
    };
    let lists = column.lists();
    let counts = lists.map(|lists| lists.counts()).filter(|_| is_counted(kind));
    Ok(RawColumn {
        view: column.view().to_string(),
        selector: column.selector().to_string(),
        kind: kind_word(kind),
        validity: lend(py, column.validity())?,
        words: lend_some(py, column.words().or(lists.map(|lists| lists.words())))?,
        items,
        offsets: lend_some(py, lists.map(|lists| lists.offsets()))?,
        texts: lend_some(py, lists.map(|lists| lists.texts()).filter(|_| is_texts(kind)))?,
        counts: lend_some(py, counts)?,
        statuses: lend_some(py, column.status_bytes())?,
        tiles_read: lend_some(py, column.tiles_read_words())?,
        bounds: lend_some(py, column.bounds_words())?,
    })
}

fn items(py: Python<'_>, column: &Column<'_>) -> PyResult<Py<PyList>> {
    let items: Vec<_> = column.values().map(|item| value(py, item)).collect::<PyResult<_>>()?;
    Ok(PyList::new(py, items)?.unbind())
}

fn lend(py: Python<'_>, bytes: &Bytes) -> PyResult<Py<Buffer>> {
    Py::new(py, Buffer::new(bytes))
}

fn lend_some(py: Python<'_>, bytes: Option<&Bytes>) -> PyResult<Option<Py<Buffer>>> {
    bytes.map(|bytes| lend(py, bytes)).transpose()
}

fn kind_word(kind: ReplyColumnKind) -> &'static str {
    match kind {
        ReplyColumnKind::I64 => "i64",
        ReplyColumnKind::F64 => "f64",
        ReplyColumnKind::Any => "any",
        ReplyColumnKind::List(list) => match list.items {
            ColumnType::I64 => "i64s",
            ColumnType::F64 => "f64s",
            ColumnType::Str => "strs",
        },
    }
}

fn is_texts(kind: ReplyColumnKind) -> bool {
    kind_word(kind) == "strs"
}

fn is_counted(kind: ReplyColumnKind) -> bool {
    matches!(kind, ReplyColumnKind::List(list) if list.counted)
}
