//! Loads the data set into a peer over RESP, in batches of pipelined commands, and checks every
//! answer. Knows nothing of measuring.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::BytesMut;

use super::redis_reads::Form;
use super::redis_writes::put_entity;
use super::tilekv_resp::put_tile;
use super::{EVENT_VIEW_NAME, Key, Model, VIEW_NAMES, ask_item, wrong_item};
use crate::dataset::VIEW_COUNT;
use crate::embedded::FEATURES;
use crate::error::{BenchError, Doing};
use crate::resp::{Item, put, whole_reply};

/// Loads every form of the data into Redis.
pub fn fill_redis(address: SocketAddr, model: &Model) -> Result<(), BenchError> {
    let mut pipeline = Pipeline::connect(address, "redis")?;
    for view in 0..VIEW_COUNT {
        for entity in 0..model.dataset.entities {
            for form in [Form::Hash, Form::Blob, Form::Rolled] {
                put_entity(model, form, (view, entity), usize::MAX, &mut pipeline.out);
                pipeline.written()?;
            }
        }
    }
    pipeline.finish()
}

/// Creates the views in TileKV and loads the data.
pub fn fill_tilekv(address: SocketAddr, model: &Model) -> Result<(), BenchError> {
    create_views(address)?;
    let mut pipeline = Pipeline::connect(address, "tilekv over RESP")?;
    for view in 0..VIEW_COUNT {
        for entity in 0..model.dataset.entities {
            for tile in model.dataset.tiles(view, entity) {
                put_tile(model, (view, entity), &tile, &mut pipeline.out);
                pipeline.written()?;
            }
        }
    }
    pipeline.finish()
}

/// Has TileKV move the data from memory to segments, where most data of a store lies: writes to a
/// view of its own until memory is full, and drops the view.
pub fn settle_tilekv(address: SocketAddr) -> Result<(), BenchError> {
    let mut pipeline = Pipeline::connect(address, "tilekv over RESP")?;
    pipeline.create_view(PADDING_VIEW_NAME, "1d")?;
    for entity in 0..PADDING_ROWS {
        let name = Key::new("pad:", entity);
        let view = PADDING_VIEW_NAME.as_bytes();
        put(&mut pipeline.out, &[b"TILE.ADD", view, name.bytes(), b"0", b"amount", b"1"]);
        pipeline.written()?;
    }
    put(&mut pipeline.out, &[b"VIEW.DROP", PADDING_VIEW_NAME.as_bytes()]);
    pipeline.written()?;
    pipeline.finish()
}

/// Creates the views in TileKV.
pub fn create_views(address: SocketAddr) -> Result<(), BenchError> {
    let mut pipeline = Pipeline::connect(address, "tilekv over RESP")?;
    for view in VIEW_NAMES.into_iter().chain([EVENT_VIEW_NAME]) {
        pipeline.create_view(view, "1d")?;
    }
    pipeline.finish()
}

/// Commands on their way, a batch at a time.
pub struct Pipeline {
    stream: TcpStream,
    peer: &'static str,
    out: BytesMut,
    input: Vec<u8>,
    commands: usize,
}

impl Pipeline {
    /// A connection to `peer`, to be named in errors.
    pub fn connect(address: SocketAddr, peer: &'static str) -> Result<Self, BenchError> {
        let connecting = || format!("connect to {address}");
        let stream = TcpStream::connect(address).doing(connecting())?;
        stream.set_nodelay(true).doing(connecting())?;
        Ok(Self { stream, peer, out: BytesMut::new(), input: Vec::new(), commands: 0 })
    }

    /// Sends a command, at once or with those that follow; it may be repeated.
    pub fn put(&mut self, arguments: &[&[u8]]) -> Result<(), BenchError> {
        put(&mut self.out, arguments);
        self.written()
    }

    /// Creates a view of `amount` with the features `total`, `payments` and `peak`.
    pub fn create_view(&mut self, view: &str, tile: &str) -> Result<(), BenchError> {
        let features = FEATURES.map(|(name, expression)| format!("{name}={expression}"));
        let mut arguments: Vec<&[u8]> =
            vec![b"VIEW.CREATE", view.as_bytes(), b"TILE", tile.as_bytes()];
        arguments.extend([&b"COLUMNS"[..], b"1"]);
        arguments.extend([&b"amount:f64"[..], b"FEATURES", b"3"]);
        arguments.extend(features.iter().map(|feature| feature.as_bytes()));
        self.put(&arguments)
    }

    /// Counts a command that was written to `out`, and sends the batch once it is full.
    fn written(&mut self) -> Result<(), BenchError> {
        self.commands += 1;
        if self.commands < BATCH_COMMANDS {
            return Ok(());
        }
        self.exchange()
    }

    /// Sends what is left and waits for all answers.
    pub fn finish(mut self) -> Result<(), BenchError> {
        self.exchange()
    }

    fn exchange(&mut self) -> Result<(), BenchError> {
        while self.send_batch()? == Batch::Busy {
            std::thread::sleep(BUSY_WAIT);
        }
        self.out.clear();
        self.commands = 0;
        Ok(())
    }

    /// Every command may be repeated, so that a batch in which one was refused is sent again.
    fn send_batch(&mut self) -> Result<Batch, BenchError> {
        self.stream.write_all(&self.out).doing("send commands")?;
        let mut buffer = [0; 65_536];
        let mut waiting = self.commands;
        let mut outcome = Batch::Taken;
        while 0 < waiting {
            let count = self.stream.read(&mut buffer).doing("receive answers")?;
            if count == 0 {
                let closed = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                return Err(closed).doing("receive answers");
            }
            self.input.extend_from_slice(&buffer[..count]);
            waiting -= self.take_answers(&mut outcome)?;
        }
        Ok(outcome)
    }

    fn take_answers(&mut self, outcome: &mut Batch) -> Result<usize, BenchError> {
        let (mut at, mut answers) = (0, 0);
        while let Some((items, taken)) = whole_reply(&self.input[at..]) {
            match items[0] {
                Item::Integer(_) | Item::Status(_) => {}
                Item::Error(text) if text.starts_with(b"BUSY ") => *outcome = Batch::Busy,
                other => return Err(wrong_item(self.peer, "OK", other)),
            }
            at += taken;
            answers += 1;
        }
        self.input.drain(..at);
        Ok(answers)
    }
}

/// Sends one command and gives the answer's first item to `check`.
pub fn ask<T>(
    address: SocketAddr,
    arguments: &[&[u8]],
    check: impl FnOnce(Item<'_>) -> T,
) -> Result<T, BenchError> {
    let mut stream = TcpStream::connect(address).doing(format!("connect to {address}"))?;
    let mut out = BytesMut::new();
    put(&mut out, arguments);
    ask_item(&mut stream, &out, check)
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Batch {
    /// Every command was carried out.
    Taken,
    /// At least one was refused for now.
    Busy,
}

const PADDING_VIEW_NAME: &str = "padding";

/// More rows of entities of their own than the 64 MiB of memory hold that are flushed at once.
const PADDING_ROWS: u32 = 1_000_000;

const BATCH_COMMANDS: usize = 1_000;
const BUSY_WAIT: Duration = Duration::from_millis(20);
