//! Questions about the flights put to a server in the words of each protocol, and its replies as
//! values. It knows nothing of what is expected but the type that RESP2 does not tell.

use std::net::SocketAddr;
use tilekv_client::blocking::Client;
use tilekv_client::{Batch, ClientOptions, PlanBuilder, ReadOptions};
use tilekv_tests::oracle::Question;
use tilekv_tests::oracle_answer::{Expected, ExpectedValue};
use tilekv_tests::resp::{RespClient, RespReply, push_command};
use tilekv_tile::{Edge, Status, Value, WindowBounds};

/// What is asked in one read: one question, or several that differ in entity and time alone.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Whether it is a read of many entities.
    pub(super) is_batch: bool,
    /// The questions.
    pub(super) questions: Vec<Question>,
}

/// The answer for one selector.
pub(super) type Answered = (Value, Status, WindowBounds);

impl Asked {
    /// A read of one entity.
    pub(super) fn single(question: Question) -> Self {
        Self { is_batch: false, questions: vec![question] }
    }
}

/// Asks over the native protocol, with a plan for each read.
pub(super) fn ask_native(
    address: SocketAddr,
    asked: &[Asked],
    _: &[Vec<Expected>],
) -> Vec<Answered> {
    let client = Client::connect(ClientOptions::new(address.to_string())).unwrap();
    let mut answered = Vec::new();
    for asked in asked {
        let first = &asked.questions[0];
        let selectors = first.selectors.iter().map(ToString::to_string);
        let mut plan = PlanBuilder::new().view(first.view.as_str(), selectors).unwrap();
        if let Some(edge) = first.edge {
            plan = plan.edge(edge);
        }
        if first.known {
            plan = plan.known_seals_only();
        }
        let times: Vec<_> = asked.questions.iter().map(|each| each.at.unwrap()).collect();
        let options =
            if asked.is_batch { ReadOptions::at_each(times) } else { ReadOptions::at(times[0]) };
        let entities: Vec<_> = asked.questions.iter().map(|each| each.entity.as_str()).collect();
        let batch = client.read_once(plan, &entities, &options.with_status()).unwrap();
        push_batch(&batch, &mut answered);
    }
    answered
}

fn push_batch(batch: &Batch, answered: &mut Vec<Answered>) {
    for row in 0..batch.rows() {
        answered.extend(batch.columns().map(|column| {
            (column.value(row), column.status(row).unwrap(), column.bounds(row).unwrap())
        }));
    }
}

/// Asks over RESP, in pipelines.
pub(super) fn ask_resp(
    client: &mut RespClient,
    asked: &[Asked],
    expected: &[Vec<Expected>],
) -> Vec<Answered> {
    let mut answered = Vec::new();
    let mut expected = expected.iter();
    for asked in asked.chunks(PIPELINE_READS) {
        let mut commands = Vec::new();
        for asked in asked {
            push_command(&read_command(asked), &mut commands);
        }
        client.send(&commands);
        for asked in asked {
            let reply = client.receive();
            let rows = if asked.is_batch { reply.items() } else { std::slice::from_ref(&reply) };
            assert_eq!(rows.len(), asked.questions.len(), "{asked:?}: {reply}");
            for (row, expected) in rows.iter().zip(expected.by_ref()) {
                assert_eq!(row.items().len(), expected.len(), "{asked:?}: {reply}");
                answered.extend(row.items().iter().zip(expected).map(answer));
            }
        }
    }
    answered
}

fn read_command(asked: &Asked) -> Vec<String> {
    let first = &asked.questions[0];
    let selectors = first.selectors.iter().map(ToString::to_string);
    let text = |text: &str| text.to_owned();
    let mut words = Vec::new();
    if asked.is_batch {
        let count = asked.questions.len().to_string();
        words.extend([text("WINDOW.MGET"), text(first.view.as_str()), text("ENTITIES"), count]);
        words.extend(asked.questions.iter().map(|each| each.entity.clone()));
        words.extend([text("SELECTORS"), first.selectors.len().to_string()]);
        words.extend(selectors);
        words.extend([text("ATS"), asked.questions.len().to_string()]);
        words.extend(asked.questions.iter().map(|each| each.at.unwrap().to_string()));
    } else {
        words.extend([text("WINDOW.GET"), text(first.view.as_str()), first.entity.clone()]);
        words.extend(selectors);
        words.extend([text("AT"), first.at.unwrap().to_string()]);
    }
    words.extend(first.known.then(|| text("KNOWN")));
    match first.edge {
        Some(Edge::Closed) => words.extend([text("EDGE"), text("closed")]),
        Some(Edge::Live) => words.extend([text("edge"), text("LIVE")]),
        None => {}
    }
    words.push(text("STATUS"));
    words
}

/// `[value, status, window_start, window_end, tiles_read]`.
fn answer((reply, expected): (&RespReply, &Expected)) -> Answered {
    let [value_reply, status, start, end, tiles] = reply.items() else {
        panic!("expected a value with its status, got {reply}")
    };
    let start = match start {
        RespReply::Nil | RespReply::NilBulk => None,
        start => Some(start.integer()),
    };
    let status = Status::parse(status.text().as_bytes()).unwrap();
    assert!(0 <= tiles.integer(), "{reply}");
    (value(value_reply, &expected.value), status, WindowBounds { start, end: end.integer() })
}

/// RESP2 has no doubles and no big numbers: they come as text, so the type is what is expected.
fn value(reply: &RespReply, expected: &ExpectedValue) -> Value {
    match expected {
        ExpectedValue::Exact(value) => value_like(reply, value),
        ExpectedValue::Top { list, .. } => value_like(reply, &Value::List(list.clone())),
        _ => value_like(reply, &Value::Double(0.0)),
    }
}

/// The value of a reply where one of the same type as `expected` should come.
fn value_like(reply: &RespReply, expected: &Value) -> Value {
    let double = |text: &str| Value::Double(text.parse().unwrap());
    match (reply, expected) {
        (RespReply::Nil | RespReply::NilBulk, _) => Value::Nil,
        (RespReply::Integer(value), _) => Value::Int(*value),
        (RespReply::Double(text), _) => double(text),
        (RespReply::Bulk(text), Value::Text(_)) => Value::Text(text.clone()),
        (RespReply::Bulk(_), _) => double(reply.text()),
        (RespReply::Array(items), Value::List(expected)) => {
            let expected = expected.iter().chain(std::iter::repeat(&Value::Nil));
            let pairs = items.iter().zip(expected);
            Value::List(pairs.map(|(item, expected)| value_like(item, expected)).collect())
        }
        _ => panic!("no value: {reply}"),
    }
}

const PIPELINE_READS: usize = 200;
