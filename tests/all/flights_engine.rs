//! The embedded engine answers 100,000 random questions about the flights as the oracle does, after
//! a load in random order that crashes, resends and restarts at random points, and again after
//! one more crash.

use bytes::Bytes;
use rand::RngExt;
use rand::seq::SliceRandom;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tilekv_engine::disk::{Durability, SimDisk, SimFaults};
use tilekv_engine::{
    Engine, EngineOptions, Lateness, Outcome, Prepared, ReadRequest, ReadTime, Write,
};
use tilekv_tests::flights::{Flight, Grouping, LAST_DEPARTURE_MS, read};
use tilekv_tests::flights_questions::FlightQuestions;
use tilekv_tests::oracle::{OracleView, Question, ask};
use tilekv_tests::oracle_answer::{Expected, compare};
use tilekv_tests::seed;
use tilekv_tile::{After, Name, ProducerStamp};

const QUESTIONS: usize = 100_000;
/// Rows of one write.
const CHUNK_ROWS: usize = 500;
/// One write in so many is followed by a crash.
const CRASH_EVERY: u32 = 60;
/// One write in so many is sent a second time.
const RESEND_EVERY: u32 = 4;

#[test]
fn the_embedded_engine_answers_as_the_oracle_does_across_crashes() {
    let seed = seed::draw("flights in the engine");
    let flights = read();
    let mut store = Store::open(seed);
    let asked_at = Instant::now();
    for grouping in Grouping::ALL {
        store.load(grouping, &flights);
    }
    let load = asked_at.elapsed();
    let questions: Vec<Question> =
        FlightQuestions::exact(seed, &flights, LAST_DEPARTURE_MS).take(QUESTIONS).collect();
    let expected = expected_answers(&flights, &questions);
    let first = store.compare_all(&questions, &expected);
    store.crash();
    let second = store.compare_all(&questions, &expected);
    assert_eq!(first, second);
    let Store { crashes, resends, flushes, compactions, .. } = store;
    println!(
        "{QUESTIONS} questions, {first} values compared before and {second} after a restart; \
         {crashes} crashes, {resends} resends, {flushes} flushes, {compactions} compactions; \
         loaded in {load:.1?}"
    );
    assert!(10 < crashes && 100 < resends, "the load must meet crashes and resends");
    assert!(10 < flushes && 10 < compactions, "the load must meet flushes and compactions");
    assert!(100_000 <= first, "each question asks for at least one value");
}

fn expected_answers(flights: &[Flight], questions: &[Question]) -> Vec<Vec<Expected>> {
    let views = Grouping::ALL.map(|grouping| OracleView {
        definition: grouping.exact_definition(),
        rows: grouping.rows(flights),
        seals: Vec::new(),
        incomplete: Default::default(),
    });
    let folder = tempfile::tempdir().unwrap();
    ask(folder.path(), &views, questions).unwrap()
}

struct Store {
    disk: SimDisk,
    engine: Option<Engine>,
    options: EngineOptions,
    generator: rand_xoshiro::Xoshiro256PlusPlus,
    crashes: u32,
    resends: u32,
    flushes: u64,
    compactions: u64,
}

impl Store {
    fn open(seed: u64) -> Self {
        let options = EngineOptions {
            overlay_bytes_max: 4 << 20,
            segment_count_max: 3,
            log_file_bytes_max: 4 << 20,
            ..EngineOptions::standard(Durability::Always, seed)
        };
        let disk = SimDisk::new(seed, SimFaults::default());
        let generator = seed::generator(seed);
        let mut store = Self {
            disk,
            engine: None,
            options,
            generator,
            crashes: 0,
            resends: 0,
            flushes: 0,
            compactions: 0,
        };
        store.reopen();
        store
    }

    fn reopen(&mut self) {
        self.engine = None;
        let disk = Arc::new(self.disk.clone());
        let opened = Engine::open(disk, self.options, LAST_DEPARTURE_MS);
        self.engine = Some(opened.unwrap_or_else(|error| panic!("reopen: {error}")).0);
    }

    fn crash(&mut self) {
        let counters = self.engine().counters();
        self.flushes += counters.flushes;
        self.compactions += counters.compactions;
        self.disk.crash();
        self.crashes += 1;
        self.reopen();
    }

    fn engine(&mut self) -> &mut Engine {
        self.engine.as_mut().unwrap()
    }

    /// Sends the rows in random order as one exactly-once producer, as a stream worker would.
    fn load(&mut self, grouping: Grouping, flights: &[Flight]) {
        let view = Name::parse(grouping.view_name().as_bytes()).unwrap();
        self.send(Write::CreateView(grouping.exact_definition()));
        let mut flights: Vec<Flight> = flights.to_vec();
        flights.shuffle(&mut self.generator);
        for (sequence, chunk) in (0_u64..).zip(flights.chunks(CHUNK_ROWS)) {
            let rows = grouping.rows(chunk);
            let write = || Write::Events {
                view: view.clone(),
                stamp: Some(ProducerStamp {
                    id: Bytes::from_static(b"flights"),
                    sequence,
                    after: sequence.checked_sub(1).map_or(After::First, After::Sequence),
                }),
                rows: rows.clone(),
                lateness: Lateness::Skip,
            };
            let applied = self.send(write());
            assert!(matches!(applied, Outcome::Count(_)), "sequence {sequence}: {applied:?}");
            if self.generator.random_ratio(1, CRASH_EVERY) {
                self.crash();
            }
            if self.generator.random_ratio(1, RESEND_EVERY) {
                self.resends += 1;
                assert_eq!(self.send(write()), Outcome::Duplicate, "sequence {sequence}");
            }
        }
    }

    fn send(&mut self, write: Write) -> Outcome {
        let disk = self.disk.clone();
        let engine = self.engine();
        let prepared = engine.prepare(LAST_DEPARTURE_MS, write).unwrap();
        let Prepared::Staged(outcome) = prepared else { panic!("nothing was pending") };
        engine.commit().unwrap();
        for task in engine.tasks(LAST_DEPARTURE_MS) {
            engine.finish(task.run(&disk)).unwrap();
        }
        outcome
    }

    fn compare_all(&mut self, questions: &[Question], expected: &[Vec<Expected>]) -> usize {
        let mut compared = 0;
        let mut reading = Duration::ZERO;
        for (question, expected) in questions.iter().zip(expected) {
            let started = Instant::now();
            let answers = self.answer(question);
            reading += started.elapsed();
            for (column, expected) in expected.iter().enumerate() {
                let answered = &answers.columns[column];
                let (value, status) = (answers.get(0, column), answered.statuses[0]);
                compare(expected, &value, status, answered.bounds[0]).unwrap_or_else(
                    |difference| panic!("{question:?}\nselector {column}: {difference}"),
                );
                compared += 1;
            }
        }
        println!("{compared} values read in {reading:.1?}");
        compared
    }

    fn answer(&mut self, question: &Question) -> tilekv_tile::Answers {
        let reader = self.engine().reader();
        let version = reader.snapshot();
        let groups = vec![(question.view.clone(), question.selectors.clone())];
        let request = ReadRequest { groups, edge: question.edge, known: question.known };
        let plan = reader.plan(&version, &request).unwrap();
        let time = question.at.map_or(ReadTime::Now, ReadTime::At);
        let entity = question.entity.as_bytes();
        reader.read(&version, &plan, question.now, &time, &[entity]).unwrap()
    }
}
