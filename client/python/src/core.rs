//! The client as the Python code of the package uses it: few calls that take plain values, each
//! answering at once or as a future. Knows nothing of frames of other libraries.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{try_join, try_join_all};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyList;
use tilekv_client::{
    After, Backoff, Batch, Client, ClientError, ClientOptions, Credentials, Edge, JobMode, Name,
    Plan, PlanBuilder, ProducerStamp, ReadOptions, ReadTime, Span,
};

use crate::batch::RawBatch;
use crate::convert::{reply, through};
use crate::face::{Face, Waiting};
use crate::failure::Failure;
use crate::input::{ColumnTypes, LooseRows, column_types, read_entities};
use crate::job::RawJob;
use crate::producer::RawProducer;

/// A client of one server.
#[pyclass(frozen, module = "tilekv._tilekv")]
pub(crate) struct Core {
    /// None once it was closed.
    open: Mutex<Option<Open>>,
    face: Face,
}

/// What the calls of a client share.
#[derive(Debug, Clone)]
pub(crate) struct Open {
    pub(crate) client: Client,
    plans: Arc<Mutex<HashMap<PlanKey, Plan>>>,
    types: Arc<Mutex<HashMap<Name, Arc<ColumnTypes>>>>,
}

/// What a plan reads: views with selectors, the edge, whether only known seals count.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct PlanKey {
    groups: Vec<(String, Vec<String>)>,
    is_live: Option<bool>,
    known: bool,
}

/// A read as Python gives it: views with their selectors, entities, a time or one for each
/// entity, whether only known seals count, the edge, whether statuses come with the values.
type ReadGiven<'py> = (
    Vec<(String, Vec<String>)>,
    Bound<'py, PyAny>,
    Option<i64>,
    Option<Vec<i64>>,
    bool,
    Option<bool>,
    bool,
);

/// The same, taken over from Python.
struct AskedRead {
    key: PlanKey,
    entities: Vec<Bytes>,
    options: ReadOptions,
}

impl AskedRead {
    fn new(given: ReadGiven<'_>) -> PyResult<Self> {
        let (groups, entities, at, ats, known, is_live, status) = given;
        let time = match (at, ats) {
            (_, Some(ats)) => ReadTime::Each(ats),
            (Some(at), None) => ReadTime::At(at),
            (None, None) => ReadTime::Now,
        };
        let options = ReadOptions { time, ..ReadOptions::NOW };
        let options = if status { options.with_status() } else { options };
        let key = PlanKey { groups, is_live, known };
        Ok(Self { key, entities: read_entities(&entities)?, options })
    }
}

#[pymethods]
impl Core {
    #[new]
    #[expect(clippy::too_many_arguments, reason = "they are the options of the client, by name")]
    #[pyo3(signature = (*, address, asynchronous, username, password, client_name, connections,
        connect_timeout_s, request_timeout_s, retry_delays_s))]
    fn new(
        py: Python<'_>,
        address: String,
        asynchronous: bool,
        username: Option<String>,
        password: Option<String>,
        client_name: String,
        connections: usize,
        connect_timeout_s: f64,
        request_timeout_s: f64,
        retry_delays_s: Vec<f64>,
    ) -> PyResult<Self> {
        let mut options = ClientOptions::new(address).with_connections(connections);
        options.credentials = password.map(|password| Credentials {
            user: username.map(Bytes::from),
            password: Bytes::from(password),
        });
        options.client_name = Bytes::from(client_name);
        options.connect_timeout = seconds(py, connect_timeout_s)?;
        options.request_timeout = seconds(py, request_timeout_s)?;
        let delays = retry_delays_s.into_iter().map(|delay| seconds(py, delay));
        options.backoff = Backoff::from_delays(delays.collect::<PyResult<Vec<_>>>()?);
        let client = Client::new(options);
        let client = client.map_err(|error| Failure::from(error).into_exception(py))?;
        let waiting = if asynchronous { Waiting::Asyncio } else { Waiting::Blocking };
        let open = Open { client, plans: Arc::default(), types: Arc::default() };
        Ok(Self { open: Mutex::new(Some(open)), face: Face::new(waiting)? })
    }

    /// Closes the connections; later calls are refused.
    fn close(&self) {
        locked(&self.open).take();
    }

    /// Opens the first connection; gives the server's name and version.
    fn server(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let open = self.open(py)?;
        let work = async move { Ok(open.client.server().await?) };
        self.face.run(py, work, |py, server| text(py, &server))
    }

    /// The time of an echo, in seconds.
    fn ping(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let open = self.open(py)?;
        let work = async move { Ok(open.client.ping().await?) };
        self.face
            .run(py, work, |py, time| Ok(time.as_secs_f64().into_pyobject(py)?.into_any().unbind()))
    }

    /// Reads and commands, all under way at once: the lists of their answers. A read is `(groups,
    /// entities, at, ats, known, live, status)` as `read` has them, a command the list of its
    /// arguments. `again` says that the commands may be sent again after they may have been
    /// carried out.
    #[pyo3(signature = (reads, commands, again, convert))]
    fn gather(
        &self,
        py: Python<'_>,
        reads: Vec<ReadGiven<'_>>,
        commands: &Bound<'_, PyList>,
        again: bool,
        convert: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let open = self.open(py)?;
        let reads = reads.into_iter().map(AskedRead::new).collect::<PyResult<Vec<_>>>()?;
        let commands = commands.iter().map(|command| read_entities(&command));
        let commands = commands.collect::<PyResult<Vec<_>>>()?;
        let work = async move {
            let reads = try_join_all(reads.into_iter().map(|read| open.read(read)));
            let replies = commands.iter().map(|command| run_command(&open.client, command, again));
            try_join(reads, try_join_all(replies)).await
        };
        self.face.run(py, work, move |py, (batches, replies)| {
            let batches = batches.into_iter().map(|batch| Py::new(py, RawBatch::new(batch)));
            let batches = PyList::new(py, batches.collect::<PyResult<Vec<_>>>()?)?;
            let replies = replies.into_iter().map(|item| reply(py, item));
            let replies = PyList::new(py, replies.collect::<PyResult<Vec<_>>>()?)?;
            through(py, convert, (batches, replies).into_py_any(py)?)
        })
    }

    /// Reads windows of one view or several: `groups` are views with their selectors.
    fn read(&self, py: Python<'_>, read: ReadGiven<'_>, convert: Py<PyAny>) -> PyResult<Py<PyAny>> {
        let open = self.open(py)?;
        let read = AskedRead::new(read)?;
        let work = async move { open.read(read).await };
        self.face.run(py, work, move |py, batch| {
            let batch = Py::new(py, RawBatch::new(batch))?.into_any();
            through(py, Some(convert), batch)
        })
    }

    /// Adds events; how many were applied. With a producer: its id, the sequence, whether it says
    /// what comes before, and that sequence or none.
    #[pyo3(signature = (view, entities, timestamps, columns, producer))]
    fn add(
        &self,
        py: Python<'_>,
        view: &str,
        entities: &Bound<'_, PyAny>,
        timestamps: &Bound<'_, PyAny>,
        columns: Vec<(String, Bound<'_, PyAny>)>,
        producer: Option<(Vec<u8>, u64, bool, Option<u64>)>,
    ) -> PyResult<Py<PyAny>> {
        let open = self.open(py)?;
        let view = name(py, view)?;
        let rows = LooseRows::read(entities, timestamps, columns)?;
        let stamp = producer.map(|(id, sequence, says_after, last)| {
            let after =
                if says_after { last.map_or(After::First, After::Sequence) } else { After::Any };
            ProducerStamp { id: Bytes::from(id), sequence, after }
        });
        let work = async move { open.add(&view, rows, stamp).await };
        self.face.run(py, work, integer)
    }

    /// Begins a job.
    #[expect(clippy::too_many_arguments, reason = "they are the options of the command, by name")]
    #[pyo3(signature = (view, from_ms, to_ms, merge, timeout, token, convert))]
    fn job(
        &self,
        py: Python<'_>,
        view: &str,
        from_ms: i64,
        to_ms: i64,
        merge: bool,
        timeout: Option<String>,
        token: Option<String>,
        convert: Py<PyAny>,
    ) -> PyResult<Py<PyAny>> {
        let (open, face) = (self.open(py)?, self.face.clone());
        let view = name(py, view)?;
        let mut job = open.client.job(&view, from_ms, to_ms);
        if merge {
            job = job.mode(JobMode::Merge);
        }
        if let Some(timeout) = timeout {
            let timeout = Span::parse(timeout.as_bytes());
            job = job.timeout(timeout.map_err(|error| Failure::from(error).into_exception(py))?);
        }
        if let Some(token) = token {
            job = job.token(token);
        }
        let work = async move {
            let types = open.types(&view).await?;
            Ok((job.begin().await?, types))
        };
        self.face.run(py, work, move |py, (job, types)| {
            let raw = Py::new(py, RawJob::new(face, job, types))?.into_any();
            through(py, Some(convert), raw)
        })
    }

    /// Opens a producer.
    fn producer(
        &self,
        py: Python<'_>,
        view: &str,
        id: Vec<u8>,
        convert: Py<PyAny>,
    ) -> PyResult<Py<PyAny>> {
        let (open, face) = (self.open(py)?, self.face.clone());
        let view = name(py, view)?;
        let work = async move {
            let types = open.types(&view).await?;
            let producer = tilekv_client::Producer::open(&open.client, &view, id).await?;
            Ok((producer, types))
        };
        self.face.run(py, work, move |py, (producer, types)| {
            let raw = Py::new(py, RawProducer::new(face, producer, types))?.into_any();
            through(py, Some(convert), raw)
        })
    }
}

impl Core {
    fn open(&self, py: Python<'_>) -> PyResult<Open> {
        let open = locked(&self.open).clone();
        open.ok_or_else(|| Failure::Closed("the client was closed").into_exception(py))
    }
}

impl Open {
    /// The types of a view's columns, asked for once.
    async fn types(&self, view: &Name) -> Result<Arc<ColumnTypes>, Failure> {
        if let Some(types) = locked(&self.types).get(view) {
            return Ok(Arc::clone(types));
        }
        let info = patiently(&self.client, || self.client.view_info(view)).await?;
        let types = Arc::new(column_types(&info));
        let mut known = locked(&self.types);
        if KEPT_MAX <= known.len() {
            known.clear();
        }
        known.insert(view.clone(), Arc::clone(&types));
        Ok(types)
    }

    async fn add(
        &self,
        view: &Name,
        rows: LooseRows,
        stamp: Option<ProducerStamp>,
    ) -> Result<u64, Failure> {
        let rows = rows.fit(&*self.types(view).await?)?;
        let outcome = match stamp {
            None => self.client.add_rows(view, rows).await,
            Some(stamp) => {
                let add = || self.client.add_rows_stamped(view, rows.clone(), stamp.clone());
                patiently(&self.client, add).await
            }
        };
        if outcome.is_err() {
            // The view may have been altered, or made anew with other columns.
            locked(&self.types).remove(view);
        }
        Ok(outcome?)
    }

    async fn read(&self, read: AskedRead) -> Result<Batch, Failure> {
        let AskedRead { key, entities, options } = read;
        let plan = self.plan(key).await?;
        Ok(patiently(&self.client, || plan.read(&entities, &options)).await?)
    }

    /// The plan of a read, prepared when it is first asked for.
    async fn plan(&self, key: PlanKey) -> Result<Plan, Failure> {
        if let Some(plan) = locked(&self.plans).get(&key) {
            return Ok(plan.clone());
        }
        let mut wanted = PlanBuilder::new();
        for (view, selectors) in &key.groups {
            wanted = wanted.view(view, selectors)?;
        }
        if let Some(is_live) = key.is_live {
            wanted = wanted.edge(if is_live { Edge::Live } else { Edge::Closed });
        }
        if key.known {
            wanted = wanted.known_seals_only();
        }
        let plan = patiently(&self.client, || self.client.prepare(wanted.clone())).await?;
        let mut plans = locked(&self.plans);
        if KEPT_MAX <= plans.len() {
            plans.clear();
        }
        plans.insert(key, plan.clone());
        Ok(plan)
    }
}

async fn run_command(
    client: &Client,
    command: &[Bytes],
    again: bool,
) -> Result<tilekv_client::Reply, Failure> {
    if again {
        return Ok(patiently(client, || client.query(command)).await?);
    }
    Ok(client.command(command).await?)
}

/// What may be asked again is asked again while the server is busy, by the client's schedule and
/// not before the server's own advice.
async fn patiently<T, F: Future<Output = Result<T, ClientError>>>(
    client: &Client,
    ask: impl Fn() -> F,
) -> Result<T, ClientError> {
    let mut failures = 0;
    loop {
        let error = match ask().await {
            Err(error @ ClientError::Busy { .. }) => error,
            outcome => return outcome,
        };
        failures += 1;
        let ClientError::Busy { retry_ms, .. } = &error else { return Err(error) };
        match client.options().backoff.delay_after(failures) {
            Some(delay) => tokio::time::sleep(delay.max(advised(*retry_ms))).await,
            None => return Err(error),
        }
    }
}

fn advised(retry_ms: u64) -> Duration {
    Duration::from_millis(retry_ms).min(tilekv_client::limits::RETRY_WAIT_MAX)
}

fn name(py: Python<'_>, text: &str) -> PyResult<Name> {
    Name::parse(text.as_bytes()).map_err(|error| Failure::from(error).into_exception(py))
}

fn seconds(py: Python<'_>, given: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(given)
        .map_err(|error| Failure::Input(format!("{given} seconds: {error}")).into_exception(py))
}

fn text(py: Python<'_>, text: &str) -> PyResult<Py<PyAny>> {
    Ok(text.into_pyobject(py)?.into_any().unbind())
}

pub(crate) fn integer(py: Python<'_>, value: u64) -> PyResult<Py<PyAny>> {
    Ok(value.into_pyobject(py)?.into_any().unbind())
}

/// The lock guards whole values that are replaced at once, so that a panic leaves them sound.
fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Plans, and views whose types are known, that a client keeps; past that it begins anew.
const KEPT_MAX: usize = 256;
