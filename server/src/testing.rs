//! A server without sockets for unit tests: a store on a simulated disk, a committer, and one
//! conversation that the test feeds by hand.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::BytesMut;
use tilekv_engine::disk::{Disk, Durability, SimDisk, SimFaults};
use tilekv_engine::{Engine, EngineOptions};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::background::Background;
use crate::clock::Clock;
use crate::cold_reads;
use crate::committer::{Committer, Order};
use crate::config::{Config, Machine};
use crate::delivery::{Delivery, Parcel};
use crate::dispatch::Context;
use crate::exchange::{Exchange, Turn};
use crate::face::Face;
use crate::job_worker;
use crate::layers::{self, Request};
use crate::lifecycle::Lifecycle;
use crate::plans::Plans;
use crate::server::{self, Ends};
use crate::session::Session;
use crate::shared::Shared;
use crate::slow;

/// One conversation with a server of its own.
pub(crate) struct Rig {
    pub(crate) shared: Arc<Shared>,
    pub(crate) exchange: Exchange,
    face: Face,
    input: BytesMut,
    plans: Plans,
    mailbox: UnboundedReceiver<Parcel>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with_config(config(&[]))
    }

    pub(crate) fn with_password(password: &str) -> Self {
        Self::with_config(config(&[("TILEKV_AUTH_PASSWORD", password)]))
    }

    /// A server whose data goes to disk at once and stays there.
    pub(crate) fn without_memory() -> (Self, SimDisk) {
        let disk = SimDisk::new(1, SimFaults::default());
        let options = EngineOptions {
            overlay_bytes_max: 1,
            // Less than any segment's data, and room for the indexes of two.
            memory_bytes_max: 100,
            ..EngineOptions::standard(Durability::Always, 1)
        };
        (Self::on(disk.clone(), options, config(&[])), disk)
    }

    fn with_config(config: Config) -> Self {
        let disk = SimDisk::new(1, SimFaults::default());
        Self::on(disk, EngineOptions::standard(Durability::Always, 1), config)
    }

    fn on(disk: SimDisk, options: EngineOptions, config: Config) -> Self {
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let (engine, _) = Engine::open(Arc::clone(&disk), options, 0).unwrap();
        let addresses = (config.address, config.http_address);
        let lifecycle = Arc::new(Lifecycle::new());
        let faces = (engine.reader(), engine.jobs());
        let (shared, ends) =
            server::share(config, Clock::new(), lifecycle, faces, addresses, PathBuf::new());
        let Ends { mut mailboxes, job_mailboxes, scans, cold_reads, orders } = ends;
        job_worker::start_workers(&shared, job_mailboxes).unwrap();
        slow::start_worker(Arc::clone(&shared), scans).unwrap();
        cold_reads::start_workers(&shared, &cold_reads).unwrap();
        let background = Background::start_workers(&disk).unwrap();
        let committer = Committer::new(engine, Arc::clone(&shared), background, orders, &options);
        std::thread::spawn(move || committer.run());
        let address = shared.address;
        let client = shared.clients.enter(address, address, 0, 0).unwrap();
        Self {
            exchange: Exchange::new(Session::new(client, &shared)),
            face: Face::Unknown,
            input: BytesMut::new(),
            plans: Plans::default(),
            mailbox: mailboxes.remove(0),
            shared,
        }
    }

    /// Sends text and returns all replies to it, once nothing is under way.
    pub(crate) fn talk(&mut self, input: &str) -> String {
        self.feed(input);
        self.settle();
        self.output()
    }

    /// Sends text, runs what may run now, and returns how many commands were taken.
    pub(crate) fn feed(&mut self, input: impl AsRef<[u8]>) -> usize {
        self.input.extend_from_slice(input.as_ref());
        let context = context(&self.shared, &self.plans);
        let turn = Turn::new(context, &self.shared.metrics.threads[0], 0);
        let mut taken = 0;
        while !self.exchange.session.closing && self.face.has_room(usize::MAX) {
            match self.face.step(&mut self.exchange, &turn, &mut self.input) {
                Ok(true) => taken += 1,
                Ok(false) => break,
                Err(error) => {
                    self.face.fail(&mut self.exchange, &error);
                    break;
                }
            }
        }
        while !self.face.advance(&mut self.exchange, &turn) {}
        self.exchange.send_writes(&turn);
        taken
    }

    /// Waits for everything that is under way.
    pub(crate) fn settle(&mut self) {
        while !self.face.is_idle() {
            let parcel = self.mailbox.blocking_recv().unwrap();
            let context = context(&self.shared, &self.plans);
            let turn = Turn::new(context, &self.shared.metrics.threads[0], 0);
            for (_, delivery) in parcel {
                match delivery {
                    Delivery::Writes(outcomes) => {
                        self.face.deliver_writes(&mut self.exchange, &turn, outcomes);
                    }
                    Delivery::Slow(outcome) => {
                        self.face.deliver_scan(&mut self.exchange, &turn, outcome);
                    }
                    Delivery::Job(outcome) => {
                        self.face.deliver_job(&mut self.exchange, &turn, outcome);
                    }
                    Delivery::Line(_) => panic!("nobody watches"),
                    Delivery::Kill => panic!("the committer wants the connection closed"),
                }
            }
            while !self.face.advance(&mut self.exchange, &turn) {}
            self.exchange.send_writes(&turn);
        }
    }

    /// Takes the replies that wait, as text.
    pub(crate) fn output(&mut self) -> String {
        String::from_utf8(self.output_bytes().to_vec()).unwrap()
    }

    /// Takes the replies that wait.
    pub(crate) fn output_bytes(&mut self) -> BytesMut {
        let mut bytes = BytesMut::new();
        while !self.exchange.output.is_empty() {
            let count = self.exchange.output.front().len();
            bytes.extend_from_slice(self.exchange.output.front());
            self.exchange.output.advance(count);
        }
        bytes
    }

    /// Commits so far.
    pub(crate) fn commit_count(&self) -> u64 {
        self.shared.metrics.commits.count.get()
    }

    /// Takes all room in the write queue and returns how much that was.
    pub(crate) fn fill_write_queue(&self) -> usize {
        let queue = &self.shared.write_queue;
        let bytes = queue.bytes_max() - queue.bytes();
        assert!(queue.reserve(bytes), "the queue has {bytes} bytes of room");
        bytes
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.shared.orders.give(Order::Stop);
    }
}

fn context<'a>(shared: &'a Shared, plans: &'a Plans) -> Context<'a> {
    let (version, now_ms) = (shared.reader.snapshot(), shared.clock.now_ms());
    Context { shared, version, now_ms, plans }
}

fn config(environment: &[(&str, &str)]) -> Config {
    let environment: Vec<(String, String)> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let arguments = ["tilekv-server".into(), "--threads".into(), "1".into()];
    let Ok(Request::Run(raw)) = layers::read(arguments, &environment) else {
        panic!("the defaults are a request to run")
    };
    Config::from_raw(&raw, Machine { core_count: 1, memory_bytes: 1 << 30 }).unwrap()
}
