//! Jobs as the Python code of the package uses them. Knows nothing of frames of other libraries.

use std::sync::Arc;

use bytes::Bytes;
use pyo3::prelude::*;
use tilekv_client::{CommitOptions, Identifier, Job, TilePartials};
use tokio::sync::{Mutex, MutexGuard};

use crate::core::integer;
use crate::face::Face;
use crate::failure::Failure;
use crate::input::{ColumnTypes, LooseRows};

/// An open job.
#[pyclass(frozen, module = "tilekv._tilekv")]
pub(crate) struct RawJob {
    face: Face,
    id: String,
    /// None once it was aborted. One call at a time uses it.
    job: Arc<Mutex<Option<Job>>>,
    types: Arc<ColumnTypes>,
}

impl RawJob {
    pub(crate) fn new(face: Face, job: Job, types: Arc<ColumnTypes>) -> Self {
        let id = job.id().to_owned();
        Self { face, id, job: Arc::new(Mutex::new(Some(job))), types }
    }
}

#[pymethods]
impl RawJob {
    #[getter]
    fn id(&self) -> &str {
        &self.id
    }

    /// Hands over rows; how many were handed over so far.
    fn put(
        &self,
        py: Python<'_>,
        entities: &Bound<'_, PyAny>,
        timestamps: &Bound<'_, PyAny>,
        columns: Vec<(String, Bound<'_, PyAny>)>,
    ) -> PyResult<Py<PyAny>> {
        let rows = LooseRows::read(entities, timestamps, columns)?;
        let (job, types) = (Arc::clone(&self.job), Arc::clone(&self.types));
        let work = async move {
            let rows = rows.fit(&types)?;
            let mut slot = job.lock().await;
            let job = open(&mut slot)?;
            job.put(&rows).await?;
            Ok(job.rows())
        };
        self.face.run(py, work, integer)
    }

    /// Hands over whole tiles, `(entity, tile_start, [(feature, partial in JSON)..])` each.
    fn put_tiles(&self, py: Python<'_>, tiles: Vec<TileGiven>) -> PyResult<Py<PyAny>> {
        let job = Arc::clone(&self.job);
        let work = async move {
            let tiles = tiles.into_iter().map(tile).collect::<Result<Vec<_>, _>>()?;
            let mut slot = job.lock().await;
            let job = open(&mut slot)?;
            job.put_tiles(&tiles).await?;
            Ok(job.rows())
        };
        self.face.run(py, work, integer)
    }

    /// Publishes the job; how many rows and tiles it was given.
    fn commit(
        &self,
        py: Python<'_>,
        rows: Option<u64>,
        may_be_empty: bool,
        seal: bool,
    ) -> PyResult<Py<PyAny>> {
        let job = Arc::clone(&self.job);
        let work = async move {
            let mut slot = job.lock().await;
            let job = open(&mut slot)?;
            let rows = Some(rows.unwrap_or(job.rows()));
            let options = CommitOptions { rows, may_be_empty, seal, ..CommitOptions::default() };
            job.commit(options).await?;
            Ok(job.rows())
        };
        self.face.run(py, work, integer)
    }

    /// Gives the job up.
    fn abort(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let job = Arc::clone(&self.job);
        let work = async move {
            let Some(job) = job.lock().await.take() else { return Ok(()) };
            Ok(job.abort().await?)
        };
        self.face.run(py, work, |py, ()| Ok(py.None()))
    }
}

/// Entity, start, and features with their partials in JSON.
type TileGiven = (Vec<u8>, i64, Vec<(String, String)>);

fn open<'a>(slot: &'a mut MutexGuard<'_, Option<Job>>) -> Result<&'a mut Job, Failure> {
    slot.as_mut().ok_or(Failure::Closed("the job was aborted"))
}

fn tile(given: TileGiven) -> Result<TilePartials, Failure> {
    let (entity, tile_start, partials) = given;
    let partial = |(feature, partial): (String, String)| {
        Ok((Identifier::parse(feature.as_bytes())?, Bytes::from(partial)))
    };
    let partials = partials.into_iter().map(partial).collect::<Result<_, Failure>>()?;
    Ok(TilePartials { entity: Bytes::from(entity), tile_start, partials })
}
