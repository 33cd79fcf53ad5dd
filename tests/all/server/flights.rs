//! A server process answers thousands of questions about the flights as the oracle does: over the
//! native protocol, RESP2 and RESP3, one by one and in batches; at first, after `kill -9`, and
//! after a clean restart, when everything lies in segments.

use super::flights_load::{SEALED_VIEW, Sealed, load, oracle_views};
use super::flights_read::{Asked, ask_native, ask_resp};
use rand::RngExt;
use rand::seq::IndexedRandom;
use std::time::Instant;
use tilekv_tests::flights::{self, FIRST_DEPARTURE_MS, Flight, Grouping, LAST_DEPARTURE_MS};
use tilekv_tests::flights_questions::FlightQuestions;
use tilekv_tests::oracle::{Question, ask};
use tilekv_tests::oracle_answer::{Expected, compare};
use tilekv_tests::resp::RespClient;
use tilekv_tests::seed;
use tilekv_tests::server_process::{ServerCommand, ServerProcess};
use tilekv_tile::{Edge, Name};

/// Reads of one entity.
const SINGLE_COUNT: usize = 8_000;
/// Reads of many entities, each at its own time.
const BATCH_COUNT: usize = 250;
/// Entities of such a read.
const BATCH_ROWS: usize = 16;

#[test]
fn a_server_answers_as_the_oracle_does_over_every_protocol_and_after_restarts() {
    let seed = seed::draw("flights in the server");
    let folder = tempfile::tempdir().unwrap();
    let command = ServerCommand::new(folder.path());
    let flights = flights::read();
    let mut server = command.start();
    let began = Instant::now();
    let sealed = load(&server, &flights, seed);
    let loaded = began.elapsed();
    let asked = draw_questions(seed, &flights, &sealed);
    let expected = expected_answers(&flights, &sealed, &asked);
    let before = compare_all(&server, &asked, &expected);
    server.kill();
    let mut server = command.start();
    let killed = compare_all(&server, &asked, &expected);
    assert_eq!(server.terminate().code(), Some(0));
    let server = command.start();
    let stopped = compare_all(&server, &asked, &expected);
    assert_eq!((before, before), (killed, stopped));
    let count: usize = asked.iter().map(|asked| asked.questions.len()).sum();
    println!(
        "{count} questions, {before} values compared over each of three protocols, before and \
         after kill -9 and after a clean restart; loaded in {loaded:.1?}, all in {:.1?}",
        began.elapsed()
    );
    assert!(10_000 <= count && count <= before);
}

/// A question in four of those about airlines goes to the view that requires seals.
fn draw_questions(seed: u64, flights: &[Flight], sealed: &Sealed) -> Vec<Asked> {
    let generator = &mut seed::generator(seed);
    let mut questions = FlightQuestions::new(seed, flights, sealed.now).map(|mut question| {
        if question.view.as_str() == Grouping::Carrier.view_name() && generator.random_ratio(1, 2) {
            to_sealed_view(&mut question, generator, sealed);
        }
        question
    });
    let mut asked: Vec<Asked> = questions.by_ref().take(SINGLE_COUNT).map(Asked::single).collect();
    asked.extend(questions.take(BATCH_COUNT).map(|first| batch(first, seed, flights)));
    asked
}

/// Half the questions are about a time at which the first few seals had been made, some of which
/// were withdrawn later; the edge is then the closed one, so that the hour in which the test runs
/// does not matter.
fn to_sealed_view(
    question: &mut Question,
    generator: &mut rand_xoshiro::Xoshiro256PlusPlus,
    sealed: &Sealed,
) {
    question.view = Name::parse(SEALED_VIEW.as_bytes()).unwrap();
    question.known = generator.random();
    if generator.random() {
        question.at = sealed.calm_times.choose(generator).copied();
        question.edge = Some(Edge::Closed);
    }
}

/// The first question, asked of more entities of its view and at other times.
fn batch(first: Question, seed: u64, flights: &[Flight]) -> Asked {
    let time = u64::try_from(first.at.unwrap_or_default()).unwrap_or_default();
    let mut generator = seed::generator(seed ^ time);
    let grouping = Grouping::ALL.into_iter().find(|each| each.view_name() == first.view.as_str());
    let grouping = grouping.unwrap_or(Grouping::Carrier);
    let rows = (1..BATCH_ROWS).map(|_| {
        let flight = flights.choose(&mut generator).unwrap();
        let at = if first.view.as_str() == SEALED_VIEW {
            first.at
        } else {
            Some(generator.random_range(FIRST_DEPARTURE_MS..=LAST_DEPARTURE_MS))
        };
        let entity = grouping.entity(flight).unwrap_or_else(|| "nobody".to_owned());
        Question { entity, at, ..first.clone() }
    });
    Asked { is_batch: true, questions: [first.clone()].into_iter().chain(rows).collect() }
}

fn expected_answers(flights: &[Flight], sealed: &Sealed, asked: &[Asked]) -> Vec<Vec<Expected>> {
    let questions: Vec<_> = asked.iter().flat_map(|asked| asked.questions.clone()).collect();
    let folder = tempfile::tempdir().unwrap();
    ask(folder.path(), &oracle_views(flights, sealed), &questions).unwrap()
}

/// Compares over every protocol; gives how many values there were over each.
fn compare_all(server: &ServerProcess, asked: &[Asked], expected: &[Vec<Expected>]) -> usize {
    let native = compare_protocol("native", asked, expected, |asked, expected| {
        ask_native(server.address(), asked, expected)
    });
    let resp2 = compare_protocol("RESP2", asked, expected, |asked, expected| {
        ask_resp(&mut RespClient::connect(server.address()), asked, expected)
    });
    let resp3 = compare_protocol("RESP3", asked, expected, |asked, expected| {
        ask_resp(&mut RespClient::connect3(server.address()), asked, expected)
    });
    assert_eq!((native, native), (resp2, resp3));
    native
}

/// `answer` gives the answers to all questions in their order.
fn compare_protocol(
    protocol: &str,
    asked: &[Asked],
    expected: &[Vec<Expected>],
    answer: impl Fn(&[Asked], &[Vec<Expected>]) -> Vec<super::flights_read::Answered>,
) -> usize {
    let began = Instant::now();
    let answered = answer(asked, expected);
    let time = began.elapsed();
    let questions = asked.iter().flat_map(|asked| &asked.questions);
    let wanted = questions.zip(expected).flat_map(|(question, expected)| {
        expected.iter().enumerate().map(move |(column, expected)| (question, column, expected))
    });
    let mut count = 0;
    for ((question, column, expected), answered) in wanted.zip(&answered) {
        let (value, status, bounds) = answered;
        compare(expected, value, *status, *bounds).unwrap_or_else(|difference| {
            panic!("{protocol}: {question:?}\nselector {column}: {difference}")
        });
        count += 1;
    }
    assert_eq!(count, answered.len());
    println!("{protocol}: {count} values in {time:.1?}");
    count
}
