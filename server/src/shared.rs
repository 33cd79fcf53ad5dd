//! What all threads of the server share once recovery has ended.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;
use tilekv_engine::{Jobs, Reader};

use crate::budget::Budget;
use crate::clients::Clients;
use crate::clock::Clock;
use crate::cold_reads::ColdQueue;
use crate::committer::Orders;
use crate::config::Config;
use crate::cursors::Cursors;
use crate::job_queue::JobQueue;
use crate::latency_events::LatencyEvents;
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;
use crate::monitors::Monitors;
use crate::slow::SlowQueue;
use crate::slow_log::SlowLog;
use crate::statistics::Statistics;
use crate::tunables::Tunables;
use crate::write_queue::WriteQueue;

/// The server's state.
#[derive(Debug)]
pub(crate) struct Shared {
    /// What the operator decided.
    pub(crate) config: Config,
    /// Where it listens, with the port that was picked.
    pub(crate) address: SocketAddr,
    /// Where HTTP listens.
    pub(crate) http_address: SocketAddr,
    /// Absolute path of the data.
    pub(crate) data_dir: PathBuf,
    /// 40 hexadecimal digits that tell this run from any other.
    pub(crate) run_id: String,
    /// The clock.
    pub(crate) clock: Clock,
    /// Counters and latencies.
    pub(crate) metrics: Metrics,
    /// Where the process stands.
    pub(crate) lifecycle: Arc<Lifecycle>,
    /// Reads of the store.
    pub(crate) reader: Reader,
    /// Open jobs.
    pub(crate) jobs: Arc<Jobs>,
    /// Work on its way to the job workers.
    pub(crate) job_queue: JobQueue,
    /// Writes on their way to the committer.
    pub(crate) write_queue: WriteQueue,
    /// Scans on their way to the slow worker.
    pub(crate) slow_queue: SlowQueue,
    /// Reads on their way to the disk.
    pub(crate) cold_queue: ColdQueue,
    /// Where walks over keys stand.
    pub(crate) cursors: Cursors,
    /// Who is connected.
    pub(crate) clients: Clients,
    /// Incomplete commands and waiting replies of all connections.
    pub(crate) buffers: Budget,
    /// Orders to the committer.
    pub(crate) orders: Orders,
    /// Commands that took long.
    pub(crate) slow_log: SlowLog,
    /// Events that took long.
    pub(crate) latency_events: LatencyEvents,
    /// Who watches all commands.
    pub(crate) monitors: Monitors,
    /// Settings that change while the server runs.
    pub(crate) tunables: Tunables,
    /// Guards what INFO's counts stood at when CONFIG RESETSTAT was last said.
    pub(crate) baseline: Mutex<Statistics>,
    /// When everything written was last known to be durable.
    pub(crate) saved_ms: AtomicI64,
}

impl Shared {
    /// Notes that everything written so far is durable.
    pub(crate) fn note_saved(&self) {
        self.saved_ms.store(self.clock.now_ms(), Ordering::Relaxed);
    }
}
