//! Stories of writes that must count once, told against a server of the test's own.

use std::time::Duration;

use bytes::Bytes;
use tilekv_protocol::native::{Applied, Credit, Request, Response, WriteOutcome};
use tilekv_protocol::{ErrorReply, EventWrite, Reply};
use tilekv_tile::{After, Name, ProducerStamp, Rows};

use crate::fake_server::{FakePeer, FakeServer, words};
use crate::{
    Backoff, Client, ClientError, ColumnsBuilder, Handed, Loader, LoaderOptions, Producer,
};

fn view() -> Name {
    Name::parse(b"likes").unwrap()
}

/// Rows that can be told apart: all of one batch carry its number.
fn rows(batch: u64, count: usize) -> Rows {
    let number = i64::try_from(batch).unwrap();
    ColumnsBuilder::new(vec!["u:1"; count], vec![number; count])
        .i64s("pieces", vec![1; count])
        .unwrap()
        .finish()
        .unwrap()
}

/// What a server knows of one producer: the rule of sequences, to the letter.
#[derive(Default)]
struct Store {
    last: Option<u64>,
    refused: Option<u64>,
    applied: Vec<u64>,
}

impl Store {
    fn write(&mut self, stamp: &ProducerStamp, rows: u64) -> Response {
        if self.last.is_some_and(|last| stamp.sequence <= last) {
            self.refused = self.refused.filter(|refused| *refused < stamp.sequence);
            return applied(WriteOutcome::Duplicate);
        }
        if self.refused.is_some_and(|refused| refused < stamp.sequence) {
            return self.out_of_order();
        }
        let follows = match stamp.after {
            After::Any => true,
            After::First => self.last.is_none(),
            After::Sequence(after) => self.last == Some(after),
        };
        if !follows {
            self.refused = Some(stamp.sequence);
            return self.out_of_order();
        }
        self.refused = None;
        self.last = Some(stamp.sequence);
        self.applied.push(stamp.sequence);
        applied(WriteOutcome::Applied(rows))
    }

    fn out_of_order(&self) -> Response {
        Response::refusal(ErrorReply::out_of_order(self.last, "out of order"))
    }
}

fn applied(outcome: WriteOutcome) -> Response {
    Response::Applied(Applied { outcome, credit: Credit::UNBOUNDED })
}

/// What happens to a request of a server that has bad days.
#[derive(Clone, Copy)]
enum Mishap {
    None,
    Busy,
    LostBefore,
    LostAfter,
}

/// A small generator with a seed: xorshift64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> Mishap {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        match self.0 % 16 {
            0 => Mishap::LostBefore,
            1 => Mishap::LostAfter,
            2 | 3 => Mishap::Busy,
            _ => Mishap::None,
        }
    }
}

/// Spreads a small seed over all bits; the seed 0 would leave the generator at 0.
fn seed_bits(seed: u64) -> u64 {
    seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn last_reply(store: &Store) -> Response {
    Response::Value(store.last.map_or(Reply::Nil, Reply::unsigned))
}

/// Serves one connection until it is lost; tells whether the client closed it.
async fn serve_badly(peer: &mut FakePeer, store: &mut Store, dice: &mut Dice) -> bool {
    store.refused = None;
    while let Some((id, request)) = peer.next().await {
        let write = match request {
            Request::Events(write) => write,
            other => {
                assert_eq!(words(&other)[0], "PRODUCER.GET");
                peer.answer(id, &last_reply(store)).await;
                continue;
            }
        };
        let EventWrite { rows, stamp: Some(stamp), .. } = *write else {
            panic!("every write is stamped");
        };
        let count = u64::try_from(rows.len()).unwrap();
        match dice.roll() {
            Mishap::LostBefore => return false,
            Mishap::LostAfter => {
                store.write(&stamp, count);
                return false;
            }
            Mishap::Busy => {
                store.refused = Some(store.refused.unwrap_or(stamp.sequence).min(stamp.sequence));
                peer.answer(id, &Response::refusal(ErrorReply::busy(1, "later"))).await;
            }
            Mishap::None => {
                let response = store.write(&stamp, count);
                peer.answer(id, &response).await;
            }
        }
    }
    true
}

#[tokio::test]
async fn a_stamped_write_whose_answer_was_lost_is_sent_again() {
    let server = FakeServer::start().await;
    let client = Client::new(server.options()).unwrap();
    let stamp = ProducerStamp { id: Bytes::from_static(b"p"), sequence: 7, after: After::Any };
    let name = view();
    let write = client.add_rows_stamped(&name, rows(1, 3), stamp.clone());
    let serve = async {
        let mut peer = server.accept().await;
        drop(peer.next().await.unwrap());
        drop(peer);
        let mut peer = server.accept().await;
        let (id, Request::Events(event)) = peer.next().await.unwrap() else {
            panic!("the write comes again");
        };
        assert_eq!(event.stamp, Some(stamp));
        peer.answer(id, &applied(WriteOutcome::Duplicate)).await;
        peer
    };
    let (written, _peer) = tokio::join!(write, serve);
    assert_eq!(written.unwrap(), 0, "the first attempt had been applied");
}

#[tokio::test]
async fn writes_count_once_whatever_is_lost_on_the_way() {
    const BATCHES: u64 = 60;
    for seed in 1..=20 {
        let server = FakeServer::start().await;
        let delay = Duration::from_millis(1);
        let options = server.options().with_backoff(Backoff::exponential(delay, delay, 200));
        let (mut store, mut dice) = (Store::default(), Dice(seed_bits(seed)));
        let serve = async {
            while !serve_badly(&mut server.accept().await, &mut store, &mut dice).await {}
        };
        let write = async {
            let client = Client::connect(options).await.unwrap();
            let mut producer = Producer::open(&client, &view(), "p").await.unwrap();
            for batch in 1..=BATCHES {
                // Sequences have gaps, as the offsets of a topic do.
                producer.send(batch * 3, rows(batch, 2)).await.unwrap();
            }
            producer.flush().await.unwrap();
            assert_eq!(producer.last(), Some(BATCHES * 3), "seed {seed}");
            let tally = producer.tally();
            assert_eq!((tally.batches, tally.rows), (BATCHES, BATCHES * 2), "seed {seed}");
            tally
        };
        let (tally, ()) = tokio::join!(write, serve);
        let expected: Vec<u64> = (1..=BATCHES).map(|batch| batch * 3).collect();
        assert_eq!(store.applied, expected, "seed {seed}");
        assert!(tally.resent > 0, "seed {seed}: something was lost or refused");
    }
}

/// A write was kept although the call that handed it over had failed for want of a server; handing
/// it over again, as the error asks for, was refused as a sequence that does not grow.
#[tokio::test]
async fn a_write_handed_over_while_there_is_no_server_is_under_way() {
    let server = FakeServer::start().await;
    let options = server.options().with_backoff(Backoff::none());
    let address = options.address.clone();
    let open = async {
        let client = Client::connect(options).await.unwrap();
        Producer::open(&client, &view(), "p").await.unwrap()
    };
    let greet = async {
        let mut peer = server.accept().await;
        let (id, _) = peer.next().await.unwrap();
        peer.answer(id, &last_reply(&Store::default())).await;
    };
    let (mut producer, ()) = tokio::join!(open, greet);
    drop(server);
    for sequence in [1, 2] {
        assert_eq!(producer.send(sequence, rows(sequence, 1)).await.unwrap(), Handed::UnderWay);
    }
    let error = producer.flush().await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error}");
    let server = FakeServer::start_at(&address).await;
    let mut store = Store::default();
    let flush = async {
        producer.flush().await.unwrap();
        drop(producer);
    };
    let serve = async {
        let mut peer = server.accept().await;
        peer.serve(|request| {
            let Request::Events(write) = request else { panic!("events were sent") };
            Some(store.write(&write.stamp.unwrap(), 1))
        })
        .await;
    };
    tokio::join!(flush, serve);
    assert_eq!(store.applied, [1, 2]);
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_acknowledged_as_a_duplicate() {
    let server = FakeServer::start().await;
    let mut store = Store::default();
    let serve = async {
        let mut peer = server.accept().await;
        let (id, _) = peer.next().await.unwrap();
        peer.answer(id, &last_reply(&store)).await;
        let (_, Request::Events(write)) = peer.next().await.unwrap() else {
            panic!("events were sent");
        };
        assert_eq!(write.stamp.as_ref().map(|stamp| stamp.after), Some(After::First));
        store.write(&write.stamp.unwrap(), 1);
        drop(peer);
        let mut peer = server.accept().await;
        let (id, Request::Events(again)) = peer.next().await.unwrap() else {
            panic!("events were sent again");
        };
        assert_eq!(again.rows, rows(1, 1));
        peer.answer(id, &store.write(&again.stamp.unwrap(), 1)).await;
        peer
    };
    let write = async {
        let client = Client::connect(server.options()).await.unwrap();
        let mut producer = Producer::open(&client, &view(), "p").await.unwrap();
        assert_eq!(producer.send(1, rows(1, 1)).await.unwrap(), Handed::UnderWay);
        producer.flush().await.unwrap();
        producer
    };
    let (producer, _peer) = tokio::join!(write, serve);
    let tally = producer.tally();
    assert_eq!((tally.batches, tally.batches_duplicate, tally.rows_applied), (1, 1, 0));
    assert_eq!(producer.last(), Some(1));
}

#[tokio::test]
async fn a_refused_write_takes_those_behind_it_along() {
    let server = FakeServer::start().await;
    let serve = async {
        let mut peer = server.accept().await;
        let (id, _) = peer.next().await.unwrap();
        peer.answer(id, &Response::Value(Reply::Integer(4))).await;
        let mut store = Store { last: Some(4), ..Store::default() };
        while let Some((id, request)) = peer.next().await {
            let Request::Events(write) = request else { panic!("{request:?}") };
            let stamp = write.stamp.unwrap();
            if stamp.sequence == 6 && write.rows.len() == 1 {
                store.refused = Some(6);
                peer.answer(id, &Response::refusal(ErrorReply::bad_value("row 1"))).await;
            } else {
                peer.answer(id, &store.write(&stamp, 1)).await;
            }
        }
        store.applied
    };
    let write = async {
        let client = Client::connect(server.options()).await.unwrap();
        let mut producer = Producer::open(&client, &view(), "p").await.unwrap();
        assert_eq!(producer.send(4, rows(4, 1)).await.unwrap(), Handed::AlreadyApplied);
        for sequence in [5, 6, 7] {
            producer.send(sequence, rows(sequence, 1)).await.unwrap();
        }
        let error = producer.flush().await.unwrap_err();
        assert!(matches!(error, ClientError::BadValue { .. }), "{error}");
        assert_eq!(producer.last(), Some(5));
        for sequence in [6, 7] {
            producer.send(sequence, rows(sequence, 2)).await.unwrap();
        }
        let error = producer.send(7, rows(7, 1)).await.unwrap_err();
        assert!(matches!(error, ClientError::SequenceNotGrowing { .. }), "{error}");
        producer.flush().await.unwrap();
        assert_eq!(producer.last(), Some(7));
        drop((producer, client));
    };
    let (applied, ()) = tokio::join!(serve, write);
    assert_eq!(applied, [5, 6, 7]);
}

#[tokio::test]
async fn unstamped_batches_are_not_sent_twice() {
    let server = FakeServer::start().await;
    let serve = async {
        let mut peer = server.accept().await;
        let (id, Request::Events(first)) = peer.next().await.unwrap() else { panic!("events") };
        assert_eq!(first.stamp, None);
        peer.answer(id, &Response::refusal(ErrorReply::busy(1, "later"))).await;
        let (_, Request::Events(again)) = peer.next().await.unwrap() else { panic!("events") };
        assert_eq!(again.rows, rows(1, 1), "a batch that was refused is sent again");
        drop(peer);
        let mut peer = server.accept().await;
        let (id, Request::Events(next)) = peer.next().await.unwrap() else { panic!("events") };
        peer.answer(id, &applied(WriteOutcome::Applied(1))).await;
        next.rows
    };
    let write = async {
        let client = Client::connect(server.options()).await.unwrap();
        let mut loader = Loader::open(&client, &view(), LoaderOptions::unstamped()).await.unwrap();
        loader.send(rows(1, 1)).await.unwrap();
        let error = loader.flush().await.unwrap_err();
        assert!(error.may_have_been_applied(), "{error}");
        loader.send(rows(2, 1)).await.unwrap();
        loader.flush().await.unwrap();
        assert_eq!((loader.tally().batches, loader.tally().busy), (1, 1));
    };
    let (next, ()) = tokio::join!(serve, write);
    assert_eq!(next, rows(2, 1), "a batch that may have been applied is not");
}

#[tokio::test]
async fn a_load_goes_on_where_an_earlier_one_broke_off() {
    let server = FakeServer::start().await;
    let serve = async {
        let mut store = Store { last: Some(3), ..Store::default() };
        let mut peer = server.accept().await;
        while let Some((id, request)) = peer.next().await {
            let response = match request {
                Request::Events(write) => store.write(&write.stamp.unwrap(), 1),
                _ => last_reply(&store),
            };
            peer.answer(id, &response).await;
        }
        store.applied
    };
    let write = async {
        let client = Client::connect(server.options()).await.unwrap();
        let options = LoaderOptions::exactly_once("file");
        let mut loader = Loader::open(&client, &view(), options).await.unwrap();
        assert_eq!(loader.resumed_after(), 3);
        let mut skipped = 0;
        for batch in 1..=10 {
            let handed = loader.send(rows(batch, 1)).await.unwrap();
            skipped += u32::from(handed == Handed::AlreadyApplied);
        }
        loader.flush().await.unwrap();
        assert_eq!((skipped, loader.tally().batches), (3, 7));
        drop((loader, client));
    };
    let (applied, ()) = tokio::join!(serve, write);
    assert_eq!(applied, (4..=10).collect::<Vec<u64>>());
}

#[tokio::test]
async fn no_more_is_under_way_than_the_credit_allows() {
    let mut server = FakeServer::start().await;
    server.credit = Credit { bytes: u64::MAX, rows: 5 };
    let serve = async {
        let mut peer = server.accept().await;
        let mut most = 0;
        let mut open = Vec::new();
        // Two rows a batch: two batches fit, a third does not.
        for _ in 0..8 {
            while let Ok(Some((id, _))) =
                tokio::time::timeout(Duration::from_millis(15), peer.next()).await
            {
                open.push(id);
            }
            most = most.max(open.len());
            for id in open.drain(..) {
                let credit = Credit { bytes: u64::MAX, rows: 5 };
                let outcome = WriteOutcome::Applied(2);
                peer.answer(id, &Response::Applied(Applied { outcome, credit })).await;
            }
        }
        most
    };
    let write = async {
        let client = Client::connect(server.options()).await.unwrap();
        let options = LoaderOptions { batches_in_flight_max: 8, ..LoaderOptions::unstamped() };
        let mut loader = Loader::open(&client, &view(), options).await.unwrap();
        for batch in 1..=10 {
            loader.send(rows(batch, 2)).await.unwrap();
        }
        loader.flush().await.unwrap();
        loader.tally().rows_applied
    };
    let (most, rows_applied) = tokio::join!(serve, write);
    assert_eq!((most, rows_applied), (2, 20));
}

#[test]
fn the_blocking_face_loads_as_the_other_does() {
    let (address_sender, address) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = FakeServer::start().await;
            address_sender.send(server.options()).unwrap();
            let (mut store, mut dice) = (Store::default(), Dice(99));
            while !serve_badly(&mut server.accept().await, &mut store, &mut dice).await {}
            store.applied
        })
    });
    let delay = Duration::from_millis(1);
    let options = address.recv().unwrap().with_backoff(Backoff::exponential(delay, delay, 200));
    let client = crate::blocking::Client::connect(options).unwrap();
    let options = LoaderOptions::exactly_once(Bytes::from_static(b"file"));
    let mut loader = client.loader(&view(), options).unwrap();
    for batch in 1..=40 {
        loader.send(rows(batch, 3)).unwrap();
    }
    loader.flush().unwrap();
    assert_eq!(loader.tally().rows, 120);
    drop((loader, client));
    assert_eq!(server.join().unwrap(), (1..=40).collect::<Vec<u64>>());
}
