//! The same client for programs without a runtime: a thread of its own moves the bytes, and each
//! call waits for its outcome. Knows nothing that the asynchronous client does not.
//!
//! It must not be used within a tokio runtime, where waiting blocks other tasks: the calls panic
//! there.
//!
//! ```no_run
//! use tilekv_client::{ClientOptions, PlanBuilder, ReadOptions, blocking::Client};
//!
//! # fn main() -> Result<(), tilekv_client::ClientError> {
//! let client = Client::connect(ClientOptions::new("127.0.0.1:8453"))?;
//! let plan = client.prepare(PlanBuilder::new().view("shop.likes", ["likes@7d"])?)?;
//! let batch = plan.read(&["u:42", "u:43"], &ReadOptions::NOW)?;
//! println!("{:?}", batch.value(0, 0));
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use tilekv_protocol::Reply;
use tilekv_tile::{
    Edge, Identifier, Name, Rows, Selector, ViewChange, ViewDefinition, ViewSelector,
};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::{
    Batch, ClientError, ClientOptions, CommitOptions, Explanation, Handed, JobInfo, JobTiles,
    LoaderOptions, PlanBuilder, ReadOptions, Seal, SealsCounted, ServiceInfo, StoredTile,
    TilePartials, ViewInfo, WriteTally,
};

/// See [`crate::Client`]. Clones share the thread and the connections.
#[derive(Debug, Clone)]
pub struct Client {
    // Dropped before the runtime that its connections live on.
    inner: crate::Client,
    runtime: Arc<Runtime>,
}

/// See [`crate::Plan`].
#[derive(Debug, Clone)]
pub struct Plan {
    inner: crate::Plan,
    runtime: Arc<Runtime>,
}

/// See [`crate::ServicePlan`].
#[derive(Debug, Clone)]
pub struct ServicePlan {
    inner: crate::ServicePlan,
    runtime: Arc<Runtime>,
}

/// See [`crate::Producer`].
#[derive(Debug)]
pub struct Producer {
    inner: crate::Producer,
    runtime: Arc<Runtime>,
}

/// See [`crate::Loader`].
#[derive(Debug)]
pub struct Loader {
    inner: crate::Loader,
    runtime: Arc<Runtime>,
}

/// See [`crate::Job`].
#[derive(Debug)]
pub struct Job {
    inner: crate::Job,
    runtime: Arc<Runtime>,
}

/// A thread that drives sockets and timers until the last user is gone.
#[derive(Debug)]
struct Runtime {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Runtime {
    fn start() -> Result<Self, ClientError> {
        let failed = |error: std::io::Error| ClientError::Options {
            problem: format!("start the client's thread: {error}"),
        };
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_io().enable_time().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let drive = move || {
            // An error is a sender that was dropped, which says the same.
            let _ = runtime.block_on(stopped);
        };
        let thread = std::thread::Builder::new().name("tilekv-client".to_owned());
        let thread = thread.spawn(drive).map_err(failed)?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.handle.block_on(future)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Client {
    /// See [`crate::Client::connect`].
    pub fn connect(options: ClientOptions) -> Result<Self, ClientError> {
        let runtime = Arc::new(Runtime::start()?);
        let inner = runtime.wait(crate::Client::connect(options))?;
        Ok(Self { inner, runtime })
    }

    /// See [`crate::Client::server`].
    pub fn server(&self) -> Result<String, ClientError> {
        self.runtime.wait(self.inner.server())
    }

    /// See [`crate::Client::ping`].
    pub fn ping(&self) -> Result<Duration, ClientError> {
        self.runtime.wait(self.inner.ping())
    }

    /// See [`crate::Client::command`].
    pub fn command<A: AsRef<[u8]>>(&self, arguments: &[A]) -> Result<Reply, ClientError> {
        self.runtime.wait(self.inner.command(arguments))
    }

    /// See [`crate::Client::prepare`].
    pub fn prepare(&self, wanted: PlanBuilder) -> Result<Plan, ClientError> {
        let inner = self.runtime.wait(self.inner.prepare(wanted))?;
        Ok(Plan { inner, runtime: Arc::clone(&self.runtime) })
    }

    /// See [`crate::Client::create_service`].
    pub fn create_service(
        &self,
        service: &Name,
        selectors: &[ViewSelector],
    ) -> Result<(), ClientError> {
        self.runtime.wait(self.inner.create_service(service, selectors))
    }

    /// See [`crate::Client::drop_service`].
    pub fn drop_service(&self, service: &Name) -> Result<(), ClientError> {
        self.runtime.wait(self.inner.drop_service(service))
    }

    /// See [`crate::Client::service_names`].
    pub fn service_names(&self) -> Result<Vec<Name>, ClientError> {
        self.runtime.wait(self.inner.service_names())
    }

    /// See [`crate::Client::service_info`].
    pub fn service_info(&self, service: &Name) -> Result<ServiceInfo, ClientError> {
        self.runtime.wait(self.inner.service_info(service))
    }

    /// See [`crate::Client::prepare_service`].
    pub fn prepare_service(
        &self,
        service: &Name,
        keys: &[Identifier],
        seals: SealsCounted,
    ) -> Result<ServicePlan, ClientError> {
        let inner = self.runtime.wait(self.inner.prepare_service(service, keys, seals))?;
        Ok(ServicePlan { inner, runtime: Arc::clone(&self.runtime) })
    }

    /// See [`crate::Client::read_once`].
    pub fn read_once<K: AsRef<[u8]>>(
        &self,
        wanted: PlanBuilder,
        entities: &[K],
        options: &ReadOptions,
    ) -> Result<Batch, ClientError> {
        self.runtime.wait(self.inner.read_once(wanted, entities, options))
    }

    /// See [`crate::Client::create_view`].
    pub fn create_view(&self, definition: &ViewDefinition) -> Result<(), ClientError> {
        self.runtime.wait(self.inner.create_view(definition))
    }

    /// See [`crate::Client::alter_view`].
    pub fn alter_view(&self, view: &Name, change: &ViewChange) -> Result<(), ClientError> {
        self.runtime.wait(self.inner.alter_view(view, change))
    }

    /// See [`crate::Client::drop_view`].
    pub fn drop_view(&self, view: &Name) -> Result<(), ClientError> {
        self.runtime.wait(self.inner.drop_view(view))
    }

    /// See [`crate::Client::view_names`].
    pub fn view_names(&self) -> Result<Vec<Name>, ClientError> {
        self.runtime.wait(self.inner.view_names())
    }

    /// See [`crate::Client::view_info`].
    pub fn view_info(&self, view: &Name) -> Result<ViewInfo, ClientError> {
        self.runtime.wait(self.inner.view_info(view))
    }

    /// See [`crate::Client::add_seal`].
    pub fn add_seal(&self, view: &Name, from_ms: i64, to_ms: i64) -> Result<(), ClientError> {
        self.runtime.wait(self.inner.add_seal(view, from_ms, to_ms))
    }

    /// See [`crate::Client::delete_seal`].
    pub fn delete_seal(&self, view: &Name, from_ms: i64, to_ms: i64) -> Result<(), ClientError> {
        self.runtime.wait(self.inner.delete_seal(view, from_ms, to_ms))
    }

    /// See [`crate::Client::seals`].
    pub fn seals(&self, view: &Name) -> Result<Vec<Seal>, ClientError> {
        self.runtime.wait(self.inner.seals(view))
    }

    /// See [`crate::Client::add_rows`].
    pub fn add_rows(&self, view: &Name, rows: Rows) -> Result<u64, ClientError> {
        self.runtime.wait(self.inner.add_rows(view, rows))
    }

    /// See [`crate::Client::set_tile`].
    pub fn set_tile(&self, view: &Name, tile: TilePartials) -> Result<(), ClientError> {
        self.runtime.wait(self.inner.set_tile(view, tile))
    }

    /// See [`crate::Client::merge_tile`].
    pub fn merge_tile(&self, view: &Name, tile: TilePartials) -> Result<(), ClientError> {
        self.runtime.wait(self.inner.merge_tile(view, tile))
    }

    /// See [`crate::Client::tiles`].
    pub fn tiles(
        &self,
        view: &Name,
        entity: &[u8],
        from_ms: i64,
        to_ms: i64,
        features: Option<&[Identifier]>,
    ) -> Result<Vec<StoredTile>, ClientError> {
        self.runtime.wait(self.inner.tiles(view, entity, from_ms, to_ms, features))
    }

    /// See [`crate::Client::delete_tiles`].
    pub fn delete_tiles(
        &self,
        view: &Name,
        entity: &[u8],
        from_ms: i64,
        to_ms: i64,
    ) -> Result<u64, ClientError> {
        self.runtime.wait(self.inner.delete_tiles(view, entity, from_ms, to_ms))
    }

    /// See [`crate::Client::delete_entity`].
    pub fn delete_entity(&self, entity: &[u8], views: Option<&[Name]>) -> Result<u64, ClientError> {
        self.runtime.wait(self.inner.delete_entity(entity, views))
    }

    /// See [`crate::Client::producer_last`].
    pub fn producer_last(&self, view: &Name, producer: &[u8]) -> Result<Option<u64>, ClientError> {
        self.runtime.wait(self.inner.producer_last(view, producer))
    }

    /// See [`crate::Client::explain`].
    pub fn explain(
        &self,
        view: &Name,
        entity: &[u8],
        selector: &Selector,
        (at_ms, seals): (Option<i64>, SealsCounted),
        edge: Option<Edge>,
    ) -> Result<Explanation, ClientError> {
        self.runtime.wait(self.inner.explain(view, entity, selector, (at_ms, seals), edge))
    }

    /// See [`crate::Producer::open`].
    pub fn producer(&self, view: &Name, id: impl Into<Bytes>) -> Result<Producer, ClientError> {
        let inner = self.runtime.wait(crate::Producer::open(&self.inner, view, id))?;
        Ok(Producer { inner, runtime: Arc::clone(&self.runtime) })
    }

    /// See [`crate::JobBuilder::begin`].
    pub fn begin_job(&self, job: crate::JobBuilder) -> Result<Job, ClientError> {
        let inner = self.runtime.wait(job.begin())?;
        Ok(Job { inner, runtime: Arc::clone(&self.runtime) })
    }

    /// See [`crate::Client::job`]; [`Client::begin_job`] begins it.
    pub fn job(&self, view: &Name, from_ms: i64, to_ms: i64) -> crate::JobBuilder {
        self.inner.job(view, from_ms, to_ms)
    }

    /// See [`crate::Client::resume_job`].
    pub fn resume_job(&self, id: impl Into<String>) -> Job {
        let inner = self.inner.resume_job(id);
        Job { inner, runtime: Arc::clone(&self.runtime) }
    }

    /// See [`crate::Client::jobs`].
    pub fn jobs(&self) -> Result<Vec<JobInfo>, ClientError> {
        self.runtime.wait(self.inner.jobs())
    }

    /// See [`crate::Loader::open`].
    pub fn loader(&self, view: &Name, options: LoaderOptions) -> Result<Loader, ClientError> {
        let inner = self.runtime.wait(crate::Loader::open(&self.inner, view, options))?;
        Ok(Loader { inner, runtime: Arc::clone(&self.runtime) })
    }
}

impl ServicePlan {
    /// See [`crate::ServicePlan::read`].
    pub fn read<R, K>(&self, rows: &[R], options: &ReadOptions) -> Result<Batch, ClientError>
    where
        R: AsRef<[K]>,
        K: AsRef<[u8]>,
    {
        self.runtime.wait(self.inner.read(rows, options))
    }

    /// See [`crate::ServicePlan::keys`].
    pub fn keys(&self) -> &[Identifier] {
        self.inner.keys()
    }

    /// See [`crate::ServicePlan::columns`].
    pub fn columns(&self) -> impl Iterator<Item = (&Name, &Selector)> {
        self.inner.columns()
    }
}

impl Plan {
    /// See [`crate::Plan::read`].
    pub fn read<K: AsRef<[u8]>>(
        &self,
        entities: &[K],
        options: &ReadOptions,
    ) -> Result<Batch, ClientError> {
        self.runtime.wait(self.inner.read(entities, options))
    }

    /// See [`crate::Plan::columns`].
    pub fn columns(&self) -> impl Iterator<Item = (&Name, &Selector)> {
        self.inner.columns()
    }
}

impl Producer {
    /// See [`crate::Producer::last`].
    pub fn last(&self) -> Option<u64> {
        self.inner.last()
    }

    /// See [`crate::Producer::tally`].
    pub fn tally(&self) -> WriteTally {
        self.inner.tally()
    }

    /// See [`crate::Producer::send`].
    pub fn send(&mut self, sequence: u64, rows: Rows) -> Result<Handed, ClientError> {
        self.runtime.wait(self.inner.send(sequence, rows))
    }

    /// See [`crate::Producer::set_tile`].
    pub fn set_tile(&mut self, sequence: u64, tile: TilePartials) -> Result<Handed, ClientError> {
        self.runtime.wait(self.inner.set_tile(sequence, tile))
    }

    /// See [`crate::Producer::merge_tile`].
    pub fn merge_tile(&mut self, sequence: u64, tile: TilePartials) -> Result<Handed, ClientError> {
        self.runtime.wait(self.inner.merge_tile(sequence, tile))
    }

    /// See [`crate::Producer::flush`].
    pub fn flush(&mut self) -> Result<(), ClientError> {
        self.runtime.wait(self.inner.flush())
    }
}

impl Job {
    /// See [`crate::Job::id`].
    pub fn id(&self) -> &str {
        self.inner.id()
    }

    /// See [`crate::Job::rows`].
    pub fn rows(&self) -> u64 {
        self.inner.rows()
    }

    /// See [`crate::Job::tally`].
    pub fn tally(&self) -> WriteTally {
        self.inner.tally()
    }

    /// See [`crate::Job::put`].
    pub fn put(&mut self, rows: &Rows) -> Result<(), ClientError> {
        self.runtime.wait(self.inner.put(rows))
    }

    /// See [`crate::Job::put_tiles`].
    pub fn put_tiles(&mut self, tiles: &[TilePartials]) -> Result<(), ClientError> {
        self.runtime.wait(self.inner.put_tiles(tiles))
    }

    /// See [`crate::Job::put_columns`].
    pub fn put_columns(&mut self, tiles: &JobTiles) -> Result<(), ClientError> {
        self.runtime.wait(self.inner.put_columns(tiles))
    }

    /// See [`crate::Job::flush`].
    pub fn flush(&mut self) -> Result<(), ClientError> {
        self.runtime.wait(self.inner.flush())
    }

    /// See [`crate::Job::commit`].
    pub fn commit(&mut self, options: CommitOptions) -> Result<(), ClientError> {
        self.runtime.wait(self.inner.commit(options))
    }

    /// See [`crate::Job::abort`].
    pub fn abort(self) -> Result<(), ClientError> {
        self.runtime.wait(self.inner.abort())
    }

    /// See [`crate::Job::info`].
    pub fn info(&self) -> Result<JobInfo, ClientError> {
        self.runtime.wait(self.inner.info())
    }
}

impl Loader {
    /// See [`crate::Loader::resumed_after`].
    pub fn resumed_after(&self) -> u64 {
        self.inner.resumed_after()
    }

    /// See [`crate::Loader::is_next_applied`].
    pub fn is_next_applied(&self) -> bool {
        self.inner.is_next_applied()
    }

    /// See [`crate::Loader::skip`].
    pub fn skip(&mut self) {
        self.inner.skip();
    }

    /// See [`crate::Loader::send`].
    pub fn send(&mut self, rows: Rows) -> Result<Handed, ClientError> {
        self.runtime.wait(self.inner.send(rows))
    }

    /// See [`crate::Loader::flush`].
    pub fn flush(&mut self) -> Result<(), ClientError> {
        self.runtime.wait(self.inner.flush())
    }

    /// See [`crate::Loader::window`].
    pub fn window(&self) -> usize {
        self.inner.window()
    }

    /// See [`crate::Loader::tally`].
    pub fn tally(&self) -> WriteTally {
        self.inner.tally()
    }
}
