//! Bytes of an answer, lent to Python as they are: NumPy and Arrow read them where they lie. This
//! is the one place of the crate that is unsafe.
#![expect(unsafe_code, reason = "Python's buffer protocol is an interface of C")]

use std::ffi::c_int;

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::{exceptions::PyBufferError, ffi};

/// Read-only bytes behind Python's buffer protocol.
#[pyclass(frozen, module = "tilekv._tilekv")]
pub(crate) struct Buffer {
    bytes: Bytes,
}

impl Buffer {
    pub(crate) fn new(bytes: &Bytes) -> Self {
        Self { bytes: bytes.clone() }
    }
}

#[pymethods]
impl Buffer {
    fn __len__(&self) -> usize {
        self.bytes.len()
    }

    /// Fills in Python's view of the bytes.
    ///
    /// # Safety
    /// `view` must be a `Py_buffer` that may be written, which is what Python passes.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let bytes = &slf.get().bytes;
        let Ok(length) = ffi::Py_ssize_t::try_from(bytes.len()) else {
            return Err(PyBufferError::new_err("too many bytes for a buffer"));
        };
        let start = bytes.as_ptr().cast_mut().cast();
        const READ_ONLY: c_int = 1;
        // SAFETY: the bytes never change or move, and the view keeps a reference to this object,
        // which owns them. A request for a view that may be written is refused by the call.
        let filled =
            unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, length, READ_ONLY, flags) };
        if filled == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}
