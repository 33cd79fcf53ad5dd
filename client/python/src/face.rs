//! How a call waits: the thread that asks, with Python's lock released, or a future of asyncio.
//! Knows nothing of what is asked.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::failure::Failure;

/// How the calls of a client wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// The call returns when the outcome is there.
    Blocking,
    /// The call returns a future of the running event loop.
    Asyncio,
}

/// The threads that move a client's bytes, and how its calls wait for them. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Face {
    waiting: Waiting,
    threads: Arc<Threads>,
}

#[derive(Debug)]
struct Threads {
    handle: Handle,
    /// None once the threads were told to stop.
    runtime: Option<Runtime>,
    process: u32,
}

impl Face {
    pub(crate) fn new(waiting: Waiting) -> PyResult<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("tilekv-client")
            .enable_io()
            .enable_time()
            .build()?;
        let handle = runtime.handle().clone();
        let threads = Threads { handle, runtime: Some(runtime), process: std::process::id() };
        Ok(Self { waiting, threads: Arc::new(threads) })
    }

    /// Does the work and converts what it gives; the value, or a future of it.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        py: Python<'_>,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
        convert: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> PyResult<Py<PyAny>> {
        if self.threads.process != std::process::id() {
            let problem = "the client was made before this process was forked: make a new one";
            return Err(Failure::Closed(problem).into_exception(py));
        }
        match self.waiting {
            Waiting::Blocking => self.wait(py, work, convert),
            Waiting::Asyncio => self.spawn(py, work, convert),
        }
    }

    fn wait<T: Send>(
        &self,
        py: Python<'_>,
        work: impl Future<Output = Result<T, Failure>> + Send,
        convert: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let outcome = py.detach(|| self.threads.handle.block_on(interruptible(work)))?;
        let value = outcome.map_err(|failure| failure.into_exception(py))?;
        convert(py, value)
    }

    fn spawn<T: Send + 'static>(
        &self,
        py: Python<'_>,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
        convert: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> PyResult<Py<PyAny>> {
        static RUNNING_LOOP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let event_loop = RUNNING_LOOP.import(py, "asyncio", "get_running_loop")?.call0()?;
        let future = event_loop.call_method0("create_future")?;
        let waiter = Waiter { event_loop: event_loop.unbind(), future: future.clone().unbind() };
        let task = self.threads.handle.spawn(async move {
            let outcome = work.await;
            // None is an interpreter that ends: nobody waits any more.
            let _ = Python::try_attach(|py| {
                let converted = match outcome {
                    Ok(value) => convert(py, value),
                    Err(failure) => Err(failure.into_exception(py)),
                };
                waiter.deliver(py, converted);
            });
        });
        future.call_method1("add_done_callback", (Cancel { task: task.abort_handle() },))?;
        Ok(future.unbind())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        if self.process == std::process::id() {
            runtime.shutdown_background();
        } else {
            // A forked process has none of the threads: there is nothing to stop.
            std::mem::forget(runtime);
        }
    }
}

struct Waiter {
    event_loop: Py<PyAny>,
    future: Py<PyAny>,
}

impl Waiter {
    fn deliver(self, py: Python<'_>, outcome: PyResult<Py<PyAny>>) {
        let settled = wrap_pyfunction!(settle, py).and_then(|settle| {
            let (value, error) = match outcome {
                Ok(value) => (value, py.None()),
                Err(error) => (py.None(), error.into_value(py).into_any()),
            };
            let arguments = (settle, self.future, value, error);
            self.event_loop.call_method1(py, "call_soon_threadsafe", arguments)
        });
        // An error is a loop that was closed: nobody waits any more.
        drop(settled);
    }
}

/// Gives a future its outcome, on the thread of its loop, unless it was cancelled.
#[pyfunction]
fn settle(future: &Bound<'_, PyAny>, value: Py<PyAny>, error: &Bound<'_, PyAny>) -> PyResult<()> {
    if future.call_method0("done")?.is_truthy()? {
        return Ok(());
    }
    if error.is_none() {
        future.call_method1("set_result", (value,))?;
    } else {
        future.call_method1("set_exception", (error,))?;
    }
    Ok(())
}

/// Ends the work of a future that was cancelled.
#[pyclass(frozen)]
struct Cancel {
    task: AbortHandle,
}

#[pymethods]
impl Cancel {
    fn __call__(&self, future: &Bound<'_, PyAny>) -> PyResult<()> {
        if future.call_method0("cancelled")?.is_truthy()? {
            self.task.abort();
        }
        Ok(())
    }
}

/// The same work, left when Python's signal handlers raise, as they do at Ctrl-C.
async fn interruptible<T>(work: impl Future<Output = T>) -> PyResult<T> {
    let mut work = pin!(work);
    loop {
        match timeout(SIGNAL_INTERVAL, &mut work).await {
            Ok(outcome) => return Ok(outcome),
            Err(_) => Python::try_attach(|py| py.check_signals()).unwrap_or(Ok(()))?,
        }
    }
}

/// Two, so that one can wait for Python's lock while the other moves bytes.
const THREADS: usize = 2;
const SIGNAL_INTERVAL: Duration = Duration::from_millis(100);
