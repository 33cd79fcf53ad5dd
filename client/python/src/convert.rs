//! Replies and values as Python objects. Knows nothing of how they came.

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use tilekv_client::{Reply, Value};

/// A reply: texts as `str`, strings as `bytes`, maps as `dict`.
pub(crate) fn reply(py: Python<'_>, found: Reply) -> PyResult<Py<PyAny>> {
    match found {
        Reply::Simple(text) => text.as_ref().into_py_any(py),
        Reply::Error(error) => Err(PyValueError::new_err(error.sentence().to_owned())),
        Reply::Integer(value) => value.into_py_any(py),
        Reply::Big(value) => value.into_py_any(py),
        Reply::Double(value) => value.into_py_any(py),
        Reply::Bool(value) => value.into_py_any(py),
        Reply::Bulk(bytes) => Ok(PyBytes::new(py, &bytes).into_any().unbind()),
        Reply::Nil => Ok(py.None()),
        Reply::Array(items) => {
            let items: Vec<_> =
                items.into_iter().map(|item| reply(py, item)).collect::<PyResult<_>>()?;
            Ok(PyList::new(py, items)?.into_any().unbind())
        }
        Reply::Map(pairs) => {
            let map = PyDict::new(py);
            for (key, item) in pairs {
                map.set_item(map_key(py, key)?, reply(py, item)?)?;
            }
            Ok(map.into_any().unbind())
        }
        // A server's own form of lists of strings: frames carry them as arrays and maps.
        Reply::Slices(slices) => {
            let item = |bytes: Option<&[u8]>| bytes.map(|bytes| PyBytes::new(py, bytes));
            let items: Vec<_> = slices.items().map(item).collect();
            Ok(PyList::new(py, items)?.into_any().unbind())
        }
        Reply::Windows(windows) => {
            let columns = windows.answers.columns.len();
            let row = |row: usize| {
                let values = (0..columns).map(|column| windows.answers.get(row, column));
                let values = values.map(|item| value(py, item)).collect::<PyResult<Vec<_>>>()?;
                PyList::new(py, values)
            };
            let rows = (0..windows.answers.rows).map(row).collect::<PyResult<Vec<_>>>()?;
            Ok(PyList::new(py, rows)?.into_any().unbind())
        }
    }
}

/// The value of a window: strings, which are UTF-8, as `str`.
pub(crate) fn value(py: Python<'_>, found: Value) -> PyResult<Py<PyAny>> {
    match found {
        Value::Nil => Ok(py.None()),
        Value::Int(value) => value.into_py_any(py),
        Value::Big(value) => value.into_py_any(py),
        Value::Double(value) => value.into_py_any(py),
        Value::Text(text) => Ok(text_or_bytes(py, &text)),
        Value::List(items) => {
            let items: Vec<_> =
                items.into_iter().map(|item| value(py, item)).collect::<PyResult<_>>()?;
            Ok(PyList::new(py, items)?.into_any().unbind())
        }
    }
}

/// Names and other short texts in keys are `str`.
fn map_key(py: Python<'_>, key: Reply) -> PyResult<Py<PyAny>> {
    match key {
        Reply::Bulk(bytes) => Ok(text_or_bytes(py, &bytes)),
        other => reply(py, other),
    }
}

fn text_or_bytes(py: Python<'_>, bytes: &[u8]) -> Py<PyAny> {
    match std::str::from_utf8(bytes) {
        Ok(text) => PyString::new(py, text).into_any().unbind(),
        Err(_) => PyBytes::new(py, bytes).into_any().unbind(),
    }
}

/// What Python makes of a value, or the value where there is nothing to be made of it.
pub(crate) fn through(
    py: Python<'_>,
    convert: Option<Py<PyAny>>,
    value: Py<PyAny>,
) -> PyResult<Py<PyAny>> {
    match convert {
        Some(convert) => convert.call1(py, PyTuple::new(py, [value])?),
        None => Ok(value),
    }
}
