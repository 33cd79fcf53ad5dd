//! The flights put into a server as its users would: by exactly-once producers over both
//! protocols, with resends; and a view whose seals come and go. It asks nothing.

use bytes::Bytes;
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use tilekv_client::blocking::Client;
use tilekv_client::{ClientOptions, Handed, LoaderOptions};
use tilekv_tests::flights::{FIRST_DEPARTURE_MS, Flight, Grouping, LAST_DEPARTURE_MS, TILE_MS};
use tilekv_tests::oracle::{OracleView, SealOperation, SealVerb};
use tilekv_tests::patience::wait_until;
use tilekv_tests::resp::{RespClient, RespReply, push_command};
use tilekv_tests::seed;
use tilekv_tests::server_process::ServerProcess;
use tilekv_tile::{Name, Rows, Scalar, SealMode, Span, ViewDefinition};

/// A view by airline of one flight in so many, in which a window ends where the seals end.
pub(super) const SEALED_VIEW: &str = "sealed.carrier";
const SEALED_FLIGHT_EVERY: usize = 8;

/// What was done to the seals of [`SEALED_VIEW`].
#[derive(Debug, Clone)]
pub(super) struct Sealed {
    /// Every operation, in order.
    pub(super) operations: Vec<SealOperation>,
    /// Times of the server's clock between one operation and the next.
    pub(super) calm_times: Vec<i64>,
    /// The server's clock when everything was done.
    pub(super) now: i64,
}

/// Loads every view: two through the client's producer, the third half by the client's loader and
/// half in commands of RESP.
pub(super) fn load(server: &ServerProcess, flights: &[Flight], seed: u64) -> Sealed {
    let client = Client::connect(ClientOptions::new(server.address().to_string())).unwrap();
    let mut generator = seed::generator(seed);
    let mut flights = flights.to_vec();
    for definition in Grouping::ALL.map(Grouping::definition).into_iter().chain([sealed_view()]) {
        client.create_view(&definition).unwrap();
    }
    let sealed_flights = sealed_flights(&flights);
    flights.shuffle(&mut generator);
    let (loaded, told) = flights.split_at(flights.len() / 2);
    std::thread::scope(|scope| {
        for grouping in [Grouping::Carrier, Grouping::Plane] {
            let (client, flights) = (&client, &flights);
            scope.spawn(move || produce(client, &grouping.definition().name, grouping, flights));
        }
        scope.spawn(|| bulk_load(&client, Grouping::Route, loaded));
        tell(&mut RespClient::connect(server.address()), Grouping::Route, told);
    });
    produce(&client, &sealed_view().name, Grouping::Carrier, &sealed_flights);
    seal(&mut RespClient::connect(server.address()), &mut generator)
}

/// The views as the oracle needs them.
pub(super) fn oracle_views(flights: &[Flight], sealed: &Sealed) -> Vec<OracleView> {
    let view = |definition, rows, seals: &[SealOperation]| OracleView {
        definition,
        rows,
        seals: seals.to_vec(),
        incomplete: Default::default(),
    };
    let plain = Grouping::ALL.map(|each| view(each.definition(), each.rows(flights), &[]));
    let sealed_rows = Grouping::Carrier.rows(&sealed_flights(flights));
    plain.into_iter().chain([view(sealed_view(), sealed_rows, &sealed.operations)]).collect()
}

fn sealed_view() -> ViewDefinition {
    ViewDefinition {
        name: Name::parse(SEALED_VIEW.as_bytes()).unwrap(),
        seal: SealMode::Required,
        max_lag: Some(Span::parse(b"30d").unwrap()),
        ..Grouping::Carrier.definition()
    }
}

fn sealed_flights(flights: &[Flight]) -> Vec<Flight> {
    flights.iter().step_by(SEALED_FLIGHT_EVERY).cloned().collect()
}

/// Hands everything over in batches.
fn produce(client: &Client, view: &Name, grouping: Grouping, flights: &[Flight]) {
    let mut producer = client.producer(view, "flights").unwrap();
    let mut last = 0;
    for batch in batches(grouping, flights) {
        last += 1;
        assert_eq!(producer.send(last, batch).unwrap(), Handed::UnderWay);
    }
    producer.flush().unwrap();
    assert_eq!(producer.last(), Some(last));
    assert_eq!(client.producer_last(view, b"flights").unwrap(), Some(last));
}

/// Breaks the load off in the middle, and begins it anew with the same batches.
fn bulk_load(client: &Client, grouping: Grouping, flights: &[Flight]) {
    let view = grouping.definition().name;
    let batches: Vec<_> = batches(grouping, flights).collect();
    for count in [batches.len() / 2, batches.len()] {
        let options = LoaderOptions::exactly_once("bulk");
        let mut loader = client.loader(&view, options).unwrap();
        for batch in &batches[..count] {
            loader.send(batch.clone()).unwrap();
        }
        loader.flush().unwrap();
    }
}

/// `TILE.MADD` in pipelines, every fourth batch twice.
fn tell(client: &mut RespClient, grouping: Grouping, flights: &[Flight]) {
    let view = grouping.definition();
    let batches: Vec<_> = (1_u64..).zip(batches(grouping, flights)).collect();
    for pipeline in batches.chunks(PIPELINE_BATCHES) {
        let mut commands = Vec::new();
        let mut expected = Vec::new();
        for (sequence, batch) in pipeline {
            let words = madd(&view, *sequence, batch);
            push_command(&words, &mut commands);
            expected.push(i64::try_from(batch.len()).unwrap());
            if sequence % 4 == 0 {
                push_command(&words, &mut commands);
                expected.push(0);
            }
        }
        client.send(&commands);
        for count in expected {
            assert_eq!(client.receive(), RespReply::Integer(count));
        }
    }
}

fn madd(view: &ViewDefinition, sequence: u64, rows: &Rows) -> Vec<Bytes> {
    let text = |text: String| Bytes::from(text);
    let mut words: Vec<Bytes> = ["TILE.MADD", view.name.as_str(), "PRODUCER", "told"]
        .map(|word| text(word.to_owned()))
        .into();
    words.push(text(sequence.to_string()));
    words.extend(["NULL", "nil", "COLUMNS"].map(|word| text(word.to_owned())));
    words.push(text(rows.columns.len().to_string()));
    words.extend(rows.columns.iter().map(|name| text(name.to_string())));
    words.extend([text("ROWS".to_owned()), text(rows.len().to_string())]);
    for row in 0..rows.len() {
        words.extend([rows.entities[row].clone(), text(rows.timestamps[row].to_string())]);
        for (position, name) in rows.columns.iter().enumerate() {
            let column = view.columns.iter().find(|column| column.name == *name).unwrap();
            words.push(match rows.cell(row, position, column.kind).unwrap() {
                None => Bytes::from_static(b"nil"),
                Some(Scalar::I64(value)) => text(value.to_string()),
                Some(Scalar::F64(value)) => text(format!("{value:?}")),
                Some(Scalar::Str(value)) => Bytes::copy_from_slice(value),
            });
        }
    }
    words
}

/// Seals most of the year in pieces, and withdraws some of them, in random order.
fn seal(client: &mut RespClient, generator: &mut Xoshiro256PlusPlus) -> Sealed {
    let mut sealed = Sealed { operations: Vec::new(), calm_times: Vec::new(), now: 0 };
    let first = FIRST_DEPARTURE_MS / TILE_MS;
    let last = LAST_DEPARTURE_MS / TILE_MS + 1;
    for number in 0..SEAL_OPERATIONS {
        let from = generator.random_range(first..last);
        let to = generator.random_range(from + 1..=(from + SEAL_TILES_MAX).min(last));
        let (verb, word) = if number > 4 && generator.random_ratio(1, 4) {
            (SealVerb::Remove, "SEAL.DEL")
        } else {
            (SealVerb::Add, "SEAL.ADD")
        };
        let (from, to) = (from * TILE_MS, to * TILE_MS);
        let at = clock(client);
        let replied = client.call(&format!("{word} {SEALED_VIEW} {from} {to}"));
        assert_eq!(replied.to_string(), "+OK");
        let after = clock(client);
        wait_until("the clock has moved on", || after + 1 < clock(client));
        sealed.operations.push(SealOperation { verb, from, to, at });
        sealed.calm_times.push(after + 1);
    }
    sealed.now = clock(client);
    sealed
}

/// The server's clock in milliseconds since the epoch.
fn clock(client: &mut RespClient) -> i64 {
    let reply = client.call("TIME");
    let [seconds, microseconds] = reply.items() else { panic!("TIME: {reply}") };
    let number = |reply: &RespReply| reply.text().parse::<i64>().unwrap();
    number(seconds) * 1_000 + number(microseconds) / 1_000
}

fn batches(grouping: Grouping, flights: &[Flight]) -> impl Iterator<Item = Rows> {
    flights.chunks(BATCH_ROWS).map(move |flights| grouping.rows(flights))
}

const BATCH_ROWS: usize = 500;
const PIPELINE_BATCHES: usize = 16;
const SEAL_OPERATIONS: usize = 40;
const SEAL_TILES_MAX: i64 = 60 * 24;
