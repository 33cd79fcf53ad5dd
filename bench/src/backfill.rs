//! Backfills: the same tiles loaded into fresh peers, from the first byte to the commit after
//! which they can be read. Frames are made before the clock starts. Knows nothing of other rows.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tilekv_client::wire::{
    FrameParser, Limits, NativeHello, Request, Response, encode_job_rows, preamble,
};
use tilekv_client::{ColumnsBuilder, Reply};

use crate::error::{BenchError, Doing};
use crate::machine::Cores;
use crate::peer::{Peer, PeerDurability, Places};
use crate::random::Random;
use crate::resp::{Item, put, put_argument, put_command, whole_reply};
use crate::workload::fill::ask;
use crate::workload::wrong_item;

/// How the tiles get in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A native job, rows sorted by entity.
    Grouped,
    /// A native job, rows in no order.
    Random,
    /// A job over RESP, rows sorted by entity.
    Resp,
    /// Redis: a hash for each entity, a field for each tile; not durable.
    Redis,
}

impl Form {
    /// All of them, in the order of the runs.
    pub const ALL: [Self; 4] = [Self::Grouped, Self::Random, Self::Resp, Self::Redis];

    /// What it is called in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Grouped => "native job, grouped by entity",
            Self::Random => "native job, random order",
            Self::Resp => "RESP job, grouped by entity",
            Self::Redis => "redis, HSET of 10 fields, not durable",
        }
    }
}

/// How backfills are measured.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Programs and folders.
    pub places: Places,
    /// Entities, each with ten tiles.
    pub entities: u32,
    /// How often each form runs, in turn with the others.
    pub runs: usize,
}

/// What one form came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The form.
    pub form: Form,
    /// Tiles per second of each run.
    pub per_second: Vec<f64>,
}

impl Outcome {
    /// The median of the runs.
    #[must_use]
    pub fn median(&self) -> f64 {
        let mut sorted = self.per_second.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }
}

/// Runs every form in turn. `progress` is told what is being done.
pub fn backfill(
    settings: &Settings,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<Outcome>, BenchError> {
    settings.places.check()?;
    let cores = Cores::find()?;
    cores.enter_client()?;
    let outcome = |form| Outcome { form, per_second: Vec::new() };
    let mut outcomes = Form::ALL.map(outcome).to_vec();
    for _ in 0..settings.runs {
        for outcome in &mut outcomes {
            let time = run(settings, cores, outcome.form)?;
            let per_second = f64::from(settings.entities * TILES) / time.as_secs_f64();
            progress(&format!("{}: {per_second:.0} tiles/s", outcome.form.name()));
            outcome.per_second.push(per_second);
        }
    }
    Ok(outcomes)
}

/// The outcomes as a table in Markdown.
#[must_use]
pub fn to_markdown(outcomes: &[Outcome]) -> String {
    let redis = outcomes.iter().find(|outcome| outcome.form == Form::Redis);
    let base = redis.map_or(f64::NAN, Outcome::median);
    let mut lines = vec!["| backfill | tiles/s, median | over redis | runs |".to_owned()];
    lines.push("|---|---|---|---|".to_owned());
    for outcome in outcomes {
        let runs: Vec<String> = outcome.per_second.iter().map(|run| format!("{run:.0}")).collect();
        let (median, ratio) = (outcome.median(), outcome.median() / base);
        let name = outcome.form.name();
        lines.push(format!("| {name} | {median:.0} | {ratio:.2} | {} |", runs.join(" ")));
    }
    lines.join("\n")
}

fn run(settings: &Settings, cores: Cores, form: Form) -> Result<Duration, BenchError> {
    let (places, entities) = (&settings.places, settings.entities);
    if form == Form::Redis {
        let peer = Peer::redis(places, cores, PeerDurability::None)?;
        let pieces = hashes(entities);
        let mut session = Session::open(&peer, Language::Resp)?;
        let started = Instant::now();
        session.exchange(&pieces)?;
        return Ok(started.elapsed());
    }
    let peer = Peer::tilekv(places, cores, PeerDurability::Always)?;
    let job = begin(&peer)?;
    let commit = [&b"JOB.COMMIT"[..], job.as_bytes()];
    let (language, mut pieces) = match form {
        Form::Grouped | Form::Random => (Language::Native, frames(entities, form, &job)?),
        Form::Resp | Form::Redis => (Language::Resp, commands(entities, &job)),
    };
    pieces.push(language.command(&commit)?);
    let mut session = Session::open(&peer, language)?;
    let started = Instant::now();
    session.exchange(&pieces)?;
    let time = started.elapsed();
    check(&peer, entities)?;
    Ok(time)
}

/// Creates the view and begins a job over all of its time.
fn begin(peer: &Peer) -> Result<String, BenchError> {
    let view = "VIEW.CREATE b TILE 1d COLUMNS 1 x:f64 FEATURES 2 total=sum(x) most=max(x)";
    let arguments: Vec<&[u8]> = view.split(' ').map(str::as_bytes).collect();
    ask(peer.address, &arguments, |_| ())?;
    let to = (i64::from(TILES) * DAY_MS).to_string();
    let begin = [&b"JOB.BEGIN"[..], b"b", b"0", to.as_bytes()];
    ask(peer.address, &begin, |item| match item {
        Item::Bulk(id) => Ok(String::from_utf8_lossy(id).into_owned()),
        other => Err(wrong_item("tilekv", "a job's id", other)),
    })?
}

/// Some entities have all of their tiles: deleting them tells how many there were.
fn check(peer: &Peer, entities: u32) -> Result<(), BenchError> {
    let to = (i64::from(TILES) * DAY_MS).to_string();
    for entity in [0, entities / 3, entities - 1] {
        let name = format!("u:{entity}");
        let words = [&b"TILE.DEL"[..], b"b", name.as_bytes(), b"0", to.as_bytes()];
        ask(peer.address, &words, |item| match item {
            Item::Integer(count) if count == i64::from(TILES) => Ok(()),
            other => Err(wrong_item("tilekv", &format!("{TILES} tiles of {name}"), other)),
        })??;
    }
    Ok(())
}

/// Frames of rows, encoded beforehand.
fn frames(entities: u32, form: Form, job: &str) -> Result<Vec<Bytes>, BenchError> {
    let mut cells: Vec<(u32, u32)> =
        (0..entities).flat_map(|entity| (0..TILES).map(move |tile| (entity, tile))).collect();
    if form == Form::Random {
        let mut random = Random::new(1);
        for last in (1..cells.len()).rev() {
            let bound = u32::try_from(last + 1).unwrap_or(u32::MAX);
            let other = usize::try_from(random.below(bound)).unwrap_or(last);
            cells.swap(last, other);
        }
    }
    let mut frames = Vec::new();
    for (number, rows) in (1..).zip(cells.chunks(ROWS_PER_FRAME)) {
        let names = rows.iter().map(|(entity, _)| Bytes::from(format!("u:{entity}")));
        let times = rows.iter().map(|(_, tile)| i64::from(*tile) * DAY_MS).collect();
        let values = rows.iter().map(|(entity, tile)| value(*entity, *tile)).collect();
        let rows = ColumnsBuilder::new(names, times).f64s("x", values);
        let rows = rows.and_then(ColumnsBuilder::finish).map_err(invalid)?;
        let mut frame = BytesMut::new();
        encode_job_rows(number, job.as_bytes(), Some(number), &rows, &mut frame)
            .map_err(invalid)?;
        frames.push(frame.freeze());
    }
    Ok(frames)
}

/// Commands of rows, encoded beforehand.
fn commands(entities: u32, job: &str) -> Vec<Bytes> {
    let count = usize::try_from(entities).unwrap_or(usize::MAX);
    let mut commands = Vec::new();
    for start in (0..count).step_by(ENTITIES_PER_COMMAND) {
        let end = (start + ENTITIES_PER_COMMAND).min(count);
        let rows = (end - start) * usize::try_from(TILES).unwrap_or(0);
        let mut out = BytesMut::new();
        put_command(&mut out, 7 + rows * 3);
        let row_count = rows.to_string();
        for word in ["JOB.PUT", job, "COLUMNS", "1", "x", "ROWS", &row_count] {
            put_argument(&mut out, word.as_bytes());
        }
        for entity in (start..end).filter_map(|entity| u32::try_from(entity).ok()) {
            let name = format!("u:{entity}");
            for tile in 0..TILES {
                put_argument(&mut out, name.as_bytes());
                put_argument(&mut out, (i64::from(tile) * DAY_MS).to_string().as_bytes());
                put_argument(&mut out, value(entity, tile).to_string().as_bytes());
            }
        }
        commands.push(out.freeze());
    }
    commands
}

/// One HSET for each entity, many of them in a piece.
fn hashes(entities: u32) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut out = BytesMut::new();
    for entity in 0..entities {
        put_command(&mut out, 22);
        put_argument(&mut out, b"HSET");
        put_argument(&mut out, format!("u:{entity}").as_bytes());
        for tile in 0..TILES {
            put_argument(&mut out, (i64::from(tile) * DAY_MS).to_string().as_bytes());
            put_argument(&mut out, value(entity, tile).to_string().as_bytes());
        }
        pieces.push(out.split().freeze());
    }
    pieces
}

fn value(entity: u32, tile: u32) -> f64 {
    f64::from((entity.wrapping_mul(31) + tile * 7) % 1_000) * 0.5
}

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Native,
    Resp,
}

impl Language {
    fn command(self, arguments: &[&[u8]]) -> Result<Bytes, BenchError> {
        let mut out = BytesMut::new();
        if self == Self::Resp {
            put(&mut out, arguments);
            return Ok(out.freeze());
        }
        let arguments = tilekv_client::wire::Arguments::from_list(arguments);
        let arguments = arguments.ok_or_else(|| invalid("a command of 4 GiB"))?;
        Request::Command(arguments).encode(u64::MAX, &mut out).map_err(invalid)?;
        Ok(out.freeze())
    }
}

/// A connection that sends pieces and waits for an answer to each.
struct Session {
    stream: TcpStream,
    language: Language,
    input: BytesMut,
}

impl Session {
    fn open(peer: &Peer, language: Language) -> Result<Self, BenchError> {
        let connecting = || format!("connect to {}", peer.address);
        let stream = TcpStream::connect(peer.address).doing(connecting())?;
        stream.set_nodelay(true).doing(connecting())?;
        let mut session = Self { stream, language, input: BytesMut::new() };
        if language == Language::Native {
            let mut out = BytesMut::from(&preamble()[..]);
            Request::Hello(NativeHello::default()).encode(1, &mut out).map_err(invalid)?;
            session.stream.write_all(&out).doing("greet")?;
            while !session.take_answer()? {
                session.receive()?;
            }
        }
        Ok(session)
    }

    /// Sends all pieces, with so many bytes under way at most.
    fn exchange(&mut self, pieces: &[Bytes]) -> Result<(), BenchError> {
        let mut under_way = VecDeque::new();
        let mut bytes = 0;
        for piece in pieces {
            while UNDER_WAY_BYTES_MAX < bytes {
                bytes -= self.settle(&mut under_way)?;
            }
            self.stream.write_all(piece).doing("send rows")?;
            under_way.push_back(piece.len());
            bytes += piece.len();
        }
        while !under_way.is_empty() {
            self.settle(&mut under_way)?;
        }
        Ok(())
    }

    /// Waits for answers; gives how many bytes are no longer under way.
    fn settle(&mut self, under_way: &mut VecDeque<usize>) -> Result<usize, BenchError> {
        let mut settled = 0;
        while self.take_answer()? {
            settled += under_way.pop_front().unwrap_or(0);
        }
        if settled == 0 {
            self.receive()?;
        }
        Ok(settled)
    }

    fn receive(&mut self) -> Result<(), BenchError> {
        let mut buffer = [0; 65_536];
        let count = self.stream.read(&mut buffer).doing("receive answers")?;
        if count == 0 {
            let closed = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
            return Err(closed).doing("receive answers");
        }
        self.input.extend_from_slice(&buffer[..count]);
        Ok(())
    }

    /// Takes one answer off the input, which must be no refusal; false if none is whole.
    fn take_answer(&mut self) -> Result<bool, BenchError> {
        if self.language == Language::Resp {
            let Some((items, taken)) = whole_reply(&self.input) else { return Ok(false) };
            match items[0] {
                Item::Integer(_) | Item::Status(_) => {}
                other => return Err(wrong_item("the peer", "rows taken", other)),
            }
            let _taken = self.input.split_to(taken);
            return Ok(true);
        }
        let limits = Limits::authenticated();
        let frame = FrameParser.parse(&mut self.input, &limits).map_err(invalid)?;
        let Some(frame) = frame else { return Ok(false) };
        match Response::decode(&frame, &limits).map_err(invalid)? {
            Response::Applied(_) | Response::Welcome(_) | Response::Value(Reply::Simple(_)) => {
                Ok(true)
            }
            other => Err(invalid(format!("expected rows taken, got {other:?}"))),
        }
    }
}

fn invalid(problem: impl std::fmt::Display) -> BenchError {
    let expected = "a backfill that is carried out".to_owned();
    BenchError::WrongAnswer { peer: "tilekv", expected, found: problem.to_string() }
}

/// Tiles of an entity.
const TILES: u32 = 10;
const DAY_MS: i64 = 86_400_000;

const ROWS_PER_FRAME: usize = 50_000;
const ENTITIES_PER_COMMAND: usize = 2_000;
const UNDER_WAY_BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_says_the_same_tiles() {
        let grouped = frames(100, Form::Grouped, "j").unwrap();
        let random = frames(100, Form::Random, "j").unwrap();
        assert_eq!((grouped.len(), random.len()), (1, 1));
        assert!(grouped[0].len() < random[0].len(), "sorted rows name an entity once");
        assert_eq!(hashes(100).len(), 100);
        assert_eq!(commands(2_001, "j").len(), 2);
    }

    #[test]
    fn the_median_is_told_beside_redis() {
        let outcome = |form, per_second: &[f64]| Outcome { form, per_second: per_second.to_vec() };
        let outcomes = [outcome(Form::Grouped, &[9.0, 1.0, 6.0]), outcome(Form::Redis, &[3.0])];
        let table = to_markdown(&outcomes);
        assert!(table.contains("| native job, grouped by entity | 6 | 2.00 | 9 1 6 |"), "{table}");
    }
}
