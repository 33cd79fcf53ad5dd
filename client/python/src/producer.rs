//! Producers as the Python code of the package uses them. Knows nothing of frames of other
//! libraries.

use std::sync::Arc;

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use tilekv_client::{Handed, Producer};
use tokio::sync::Mutex;

use crate::face::Face;
use crate::input::{ColumnTypes, LooseRows};

/// An ordered writer of one view.
#[pyclass(frozen, module = "tilekv._tilekv")]
pub(crate) struct RawProducer {
    face: Face,
    /// One call at a time uses it.
    producer: Arc<Mutex<Producer>>,
    types: Arc<ColumnTypes>,
}

impl RawProducer {
    pub(crate) fn new(face: Face, producer: Producer, types: Arc<ColumnTypes>) -> Self {
        Self { face, producer: Arc::new(Mutex::new(producer)), types }
    }
}

#[pymethods]
impl RawProducer {
    /// Hands over rows under a sequence; false where it had been applied before.
    fn send(
        &self,
        py: Python<'_>,
        sequence: u64,
        entities: &Bound<'_, PyAny>,
        timestamps: &Bound<'_, PyAny>,
        columns: Vec<(String, Bound<'_, PyAny>)>,
    ) -> PyResult<Py<PyAny>> {
        let rows = LooseRows::read(entities, timestamps, columns)?;
        let (producer, types) = (Arc::clone(&self.producer), Arc::clone(&self.types));
        let work = async move {
            let rows = rows.fit(&types)?;
            Ok(producer.lock().await.send(sequence, rows).await? == Handed::UnderWay)
        };
        self.face.run(py, work, |py, is_new| is_new.into_py_any(py))
    }

    /// Waits until everything is acknowledged; the last sequence that is applied.
    fn flush(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let producer = Arc::clone(&self.producer);
        let work = async move {
            let mut producer = producer.lock().await;
            producer.flush().await?;
            Ok(producer.last())
        };
        self.face.run(py, work, |py, last| last.into_py_any(py))
    }

    /// The last sequence known to be applied.
    fn last(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let producer = Arc::clone(&self.producer);
        let work = async move { Ok(producer.lock().await.last()) };
        self.face.run(py, work, |py, last| last.into_py_any(py))
    }
}
