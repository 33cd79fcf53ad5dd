//! Starts the parts of the server in order, waits for the end, and stops them in order. Knows
//! nothing of what the parts do.

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;
use parking_lot::Mutex;
use sd_notify::NotifyState;
use tilekv_engine::disk::{Disk, RealDisk};
use tilekv_engine::{Engine, EngineOptions, Jobs, Reader};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::background::Background;
use crate::banner::{self, Started};
use crate::budget::Budget;
use crate::clients::Clients;
use crate::clock::Clock;
use crate::cold_reads::{self, ColdQueue, ColdRead};
use crate::committer::{Committer, Order, Orders};
use crate::config::Config;
use crate::cursors::Cursors;
use crate::delivery::{Mailbox, Parcel};
use crate::http::{self, Site};
use crate::job_queue::JobQueue;
use crate::job_worker;
use crate::latency_events::LatencyEvents;
use crate::lifecycle::Lifecycle;
use crate::limits::{DRAIN_MS_MAX, JOB_WORKER_COUNT_MAX};
use crate::listener::BoundSockets;
use crate::metrics::Metrics;
use crate::monitors::Monitors;
use crate::shared::Shared;
use crate::slow::{self, SlowQueue, SlowRequest};
use crate::slow_log::SlowLog;
use crate::tunables::Tunables;
use crate::write_queue::WriteQueue;
use crate::{durability, machine, memory, size, worker};

/// Why the server does not start. Each says what was tried.
pub(crate) type StartError = Box<dyn std::error::Error>;

/// The ends of queues that the started threads take.
pub(crate) struct Ends {
    /// One per network thread.
    pub(crate) mailboxes: Vec<UnboundedReceiver<Parcel>>,
    /// One per job worker.
    pub(crate) job_mailboxes: Vec<UnboundedReceiver<Parcel>>,
    /// For the threads of cold reads.
    pub(crate) cold_reads: Receiver<ColdRead>,
    /// For the slow worker.
    pub(crate) scans: Receiver<SlowRequest>,
    /// For the committer.
    pub(crate) orders: Receiver<Order>,
}

/// Runs a server until it is told to stop.
pub(crate) fn run(mut config: Config) -> Result<(), StartError> {
    limit_connections(&mut config);
    let lifecycle = Arc::new(Lifecycle::new());
    let sockets = BoundSockets::bind(config.address, config.thread_count, "--port")?;
    let http_listener = http::bind(config.http_address)
        .map_err(|error| format!("cannot listen on {} for HTTP: {error}", config.http_address))?;
    let http_address = http_listener.local_addr()?;
    let site = Site::new(Arc::clone(&lifecycle));
    http::start(http_listener, site.clone())?;
    memory::start_background_purge();

    let data_dir = prepare_folder(&config.data_dir)?;
    let clock = Clock::new();
    let options = options(&config);
    let (disk, engine) = open_store(options, &data_dir, &clock)?;
    let addresses = (sockets.address(), http_address);
    let faces = (engine.reader(), engine.jobs());
    let (shared, ends) = share(config, clock, Arc::clone(&lifecycle), faces, addresses, data_dir);
    let background = Background::start_workers(&disk)?;
    slow::start_worker(Arc::clone(&shared), ends.scans)?;
    cold_reads::start_workers(&shared, &ends.cold_reads)?;
    job_worker::start_workers(&shared, ends.job_mailboxes)?;
    let committer = Committer::new(engine, Arc::clone(&shared), background, ends.orders, &options);
    let committer = spawn("commit", move || committer.run())?;
    let workers = start_workers(&shared, sockets, ends.mailboxes)?;
    let _ = site.shared.set(Arc::clone(&shared));
    announce(&shared);

    let reason = lifecycle.wait_for_shutdown();
    stop(&shared, reason, workers, committer);
    Ok(())
}

/// A panic is a bug of ours: the state of the process is unknown, so it must not go on.
pub(crate) fn end_process_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed").to_owned();
        tracing::error!(thread = name, "bug, please report: {panic}");
        std::process::abort();
    }));
}

fn limit_connections(config: &mut Config) {
    let possible = machine::raise_descriptor_limit();
    if possible < config.connection_count_max {
        tracing::warn!(
            connections_max = config.connection_count_max,
            possible,
            "the limit of open files is too low for that many connections; raise it (ulimit -n)"
        );
        config.connection_count_max = possible.max(1);
    }
}

fn prepare_folder(path: &Path) -> Result<PathBuf, StartError> {
    std::fs::create_dir_all(path)
        .map_err(|error| format!("cannot create data folder {}: {error}", path.display()))?;
    std::fs::canonicalize(path)
        .map_err(|error| format!("cannot find data folder {}: {error}", path.display()).into())
}

fn open_store(
    options: EngineOptions,
    data_dir: &Path,
    clock: &Clock,
) -> Result<(Arc<dyn Disk>, Engine), StartError> {
    let started = Instant::now();
    let fail = |error: &dyn std::fmt::Display| {
        format!("cannot open the store in {}: {error}", data_dir.display())
    };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(data_dir).map_err(|error| fail(&error))?);
    let opened = Engine::open(Arc::clone(&disk), options, clock.now_ms());
    let (engine, report) = opened.map_err(|error| fail(&error))?;
    tracing::info!(
        data = %data_dir.display(),
        new = report.is_new,
        segments = report.segments,
        segment_bytes = report.segment_bytes,
        log_files = report.log.files_read.len(),
        log_records = report.log.records_replayed,
        ms = started.elapsed().as_millis(),
        "store opened"
    );
    if let Some(cut) = &report.log.cut {
        tracing::warn!(
            file = %cut.file,
            offset = cut.offset,
            lsn = ?cut.lsn,
            bytes = cut.bytes,
            records_whole = cut.records_whole,
            found = %cut.found,
            "cut the torn tail of the log"
        );
    }
    Ok((disk, engine))
}

/// Overlays take a sixteenth of the memory each at most, five of them at a time, and jobs an
/// eighth. All cores load the data at the start.
fn options(config: &Config) -> EngineOptions {
    let standard = EngineOptions::standard(config.durability, random_seed());
    let overlay_bytes_max = standard.overlay_bytes_max.min(config.memory_bytes_max / 16);
    let memory_bytes_max = u64::try_from(config.memory_bytes_max).unwrap_or(u64::MAX);
    let job_bytes_max = standard.job_bytes_max.min(config.memory_bytes_max / 8);
    let load_thread_count = machine::inspect().core_count;
    EngineOptions {
        overlay_bytes_max,
        memory_bytes_max,
        job_bytes_max,
        load_thread_count,
        ..standard
    }
}

/// What all threads share, and the ends of its queues.
pub(crate) fn share(
    config: Config,
    clock: Clock,
    lifecycle: Arc<Lifecycle>,
    (reader, jobs): (Reader, Arc<Jobs>),
    (address, http_address): (SocketAddr, SocketAddr),
    data_dir: PathBuf,
) -> (Arc<Shared>, Ends) {
    let mailbox_count = config.thread_count + job_worker_count(&config);
    let (mailboxes, mut receivers): (Vec<_>, Vec<_>) =
        (0..mailbox_count).map(|_| Mailbox::new()).unzip();
    let job_mailboxes = receivers.split_off(config.thread_count);
    let (slow_queue, scans) = SlowQueue::new();
    let (cold_queue, cold_reads) = ColdQueue::new();
    let (orders, order_receiver) = Orders::new();
    let shared = Shared {
        address,
        http_address,
        data_dir,
        run_id: format!("{:016x}{:016x}{:08x}", random_seed(), random_seed(), std::process::id()),
        slow_log: SlowLog::default(),
        latency_events: LatencyEvents::default(),
        monitors: Monitors::default(),
        tunables: Tunables::default(),
        baseline: Mutex::default(),
        saved_ms: AtomicI64::new(clock.now_ms()),
        clock,
        metrics: Metrics::new(config.thread_count),
        lifecycle,
        reader,
        jobs,
        job_queue: JobQueue::new(config.queue_bytes_max),
        write_queue: WriteQueue::new(config.queue_bytes_max),
        slow_queue,
        cold_queue,
        cursors: Cursors::default(),
        clients: Clients::new(config.connection_count_max, mailboxes),
        buffers: Budget::new(config.buffers_bytes_max),
        orders,
        config,
    };
    let ends =
        Ends { mailboxes: receivers, job_mailboxes, scans, cold_reads, orders: order_receiver };
    (Arc::new(shared), ends)
}

/// Half as many as there are network threads: jobs take what reads and writes leave.
fn job_worker_count(config: &Config) -> usize {
    (config.thread_count / 2).clamp(1, JOB_WORKER_COUNT_MAX)
}

fn start_workers(
    shared: &Arc<Shared>,
    sockets: BoundSockets,
    mailboxes: Vec<UnboundedReceiver<Parcel>>,
) -> Result<Vec<JoinHandle<()>>, StartError> {
    let listeners = sockets.listen()?;
    let mut workers = Vec::with_capacity(listeners.len());
    for (index, (listener, mailbox)) in listeners.into_iter().zip(mailboxes).enumerate() {
        let shared = Arc::clone(shared);
        workers.push(spawn(&format!("network-{index}"), move || {
            if let Err(error) = worker::run(shared, index, listener, mailbox) {
                tracing::error!(%error, "start network thread");
                std::process::exit(1);
            }
        })?);
    }
    Ok(workers)
}

fn announce(shared: &Shared) {
    shared.lifecycle.begin_serving();
    let config = &shared.config;
    let started = Started {
        address: shared.address,
        http_address: shared.http_address,
        data_dir: &shared.data_dir,
    };
    banner::print(config, &started);
    tracing::info!(
        address = %shared.address,
        http = %shared.http_address,
        durability = durability::name(config.durability),
        threads = config.thread_count,
        memory_max = size::print(u64::try_from(config.memory_bytes_max).unwrap_or(u64::MAX)),
        authentication = config.password.is_some(),
        "serving"
    );
    notify(NotifyState::Ready);
}

/// Clients first, then what they wrote, then the end.
fn stop(
    shared: &Shared,
    reason: &'static str,
    workers: Vec<JoinHandle<()>>,
    committer: JoinHandle<()>,
) {
    tracing::info!(reason, connections = shared.clients.count(), "shutting down");
    notify(NotifyState::Stopping);
    let deadline = Instant::now() + Duration::from_millis(DRAIN_MS_MAX);
    for worker in workers {
        if !join_until(&worker, deadline) {
            tracing::warn!(connections = shared.clients.count(), "clients did not read in time");
            break;
        }
    }
    while !shared.orders.give(Order::Stop) {
        std::thread::sleep(JOIN_POLL);
    }
    let ended = committer.join();
    assert!(ended.is_ok(), "a panic ends the process before this thread sees it");
    tracing::info!("stopped");
}

fn join_until(thread: &JoinHandle<()>, deadline: Instant) -> bool {
    while !thread.is_finished() {
        if deadline <= Instant::now() {
            return false;
        }
        std::thread::sleep(JOIN_POLL);
    }
    true
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}

/// Tells the service manager, if there is one.
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "notify the service manager");
    }
}

/// From the system's generator; from the clock where there is none.
fn random_seed() -> u64 {
    let mut bytes = [0; 8];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    match read {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => clock_nanoseconds(),
    }
}

fn clock_nanoseconds() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

const JOIN_POLL: Duration = Duration::from_millis(5);
