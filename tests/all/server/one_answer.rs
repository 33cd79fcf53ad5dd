//! One question, every way to ask it: WINDOW.GET, WINDOW.MGET and SERVICE.GET in RESP2 and RESP3,
//! plans of views and of services in the native protocol, and WINDOW.EXPLAIN give one answer, over
//! random events and through compactions and kills.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use tilekv_client::blocking::Client;
use tilekv_client::{
    Batch, ClientOptions, Identifier, Name, PlanBuilder, ReadOptions, ReadTime, SealsCounted,
};
use tilekv_tests::resp::{RespClient, RespReply};
use tilekv_tests::seed;
use tilekv_tests::server_process::{ServerCommand, ServerProcess};
use tilekv_tile::Value;

const HOUR: i64 = 3_600_000;
const ROUNDS: usize = 6;
const ROWS_PER_ROUND: usize = 4_000;
const ASKED_ROWS: usize = 200;
const ENTITIES: usize = 60;

const SELECTORS: [&str; 14] = [
    "n@1h",
    "n@3d",
    "n@lifetime",
    "s@2d:5h",
    "s@lifetime",
    "f@1d",
    "m@7d",
    "dev@7d",
    "low@3d",
    "top@5d",
    "last@30d",
    "recent@3d",
    "kinds@10d:1d",
    "half@20d",
];
const FEATURES: &str = "FEATURES 10 n=count() s=sum(i) f=sum(x) m=mean(x) dev=stddev_samp(x) \
    low=min(i) top=max(t) last=last_n(t,3) recent=first_distinct_n(i,4) \
    kinds=approx_count_distinct(t)";

/// A server with two views, one whose windows end by seals, and a service of each.
fn start(server: &ServerProcess) -> RespClient {
    let mut client = RespClient::connect3(server.address());
    let columns = "COLUMNS 3 i:i64 x:f64 t:str";
    for (view, options) in [("open", "EDGE closed"), ("sealed", "SEAL required MAXLAG 1d")] {
        let create = format!("VIEW.CREATE {view} TILE 1h {options} {columns} {FEATURES}");
        assert_eq!(client.call(&create).to_string(), "+OK");
        let half = format!("VIEW.ALTER {view} ADD FEATURES 1 half=approx_percentile(x,0.5)");
        assert_eq!(client.call(&half).to_string(), "+OK");
        let selectors = SELECTORS.map(|selector| format!("{view}.{selector}")).join(" ");
        let service = format!("SERVICE.CREATE of_{view} SELECTORS {} {selectors}", SELECTORS.len());
        assert_eq!(client.call(&service).to_string(), "+OK");
    }
    client
}

/// Entities of plain text, of other scripts, and of bytes that are no text.
fn entity(number: usize) -> Vec<u8> {
    match number % 4 {
        0 => format!("u:{number}").into_bytes(),
        1 => format!("\u{3b4}\u{1f600} {number}").into_bytes(),
        2 => [&[0, 0xFF, b'\r', b'\n', 0x1F][..], number.to_string().as_bytes()].concat(),
        _ => format!("{}{number}", "k".repeat(200)).into_bytes(),
    }
}

fn time(generator: &mut Xoshiro256PlusPlus) -> i64 {
    match generator.random_range(0..10) {
        0 => generator.random_range(-40 * 24..40 * 24) * HOUR,
        1 => 5 * HOUR + 7,
        _ => generator.random_range(-40 * 24 * HOUR..40 * 24 * HOUR),
    }
}

fn add_events(client: &mut RespClient, view: &str, generator: &mut Xoshiro256PlusPlus) {
    let mut words: Vec<Vec<u8>> = ["TILE.MADD", view, "NULL", "~", "COLUMNS", "3", "i", "x", "t"]
        .iter()
        .map(|word| word.as_bytes().to_vec())
        .collect();
    words.extend([b"ROWS".to_vec(), ROWS_PER_ROUND.to_string().into_bytes()]);
    for _ in 0..ROWS_PER_ROUND {
        let integer: i64 = generator.random_range(-1_000..1_000);
        let text = ["a", "\u{e9}", "", "z\u{1F}", "~"].choose(generator).unwrap();
        words.push(entity(generator.random_range(0..ENTITIES)));
        words.push(time(generator).to_string().into_bytes());
        words.push(if integer == 0 { b"~".to_vec() } else { integer.to_string().into_bytes() });
        words.push(format!("{}.{:03}", integer / 3, integer.unsigned_abs() % 1_000).into_bytes());
        words.push(text.as_bytes().to_vec());
    }
    let added = client.call_arguments(&words);
    assert_eq!(added.integer(), i64::try_from(ROWS_PER_ROUND).unwrap());
}

#[test]
fn every_way_to_ask_gives_one_answer() {
    let seed = seed::draw("one answer");
    let generator = &mut seed::generator(seed);
    let folder = tempfile::tempdir().unwrap();
    let command = ServerCommand::new(folder.path());
    let mut server = command.start();
    drop(start(&server));
    let mut compared = 0;
    for round in 0..ROUNDS {
        let mut client = RespClient::connect3(server.address());
        for view in ["open", "sealed"] {
            add_events(&mut client, view, generator);
        }
        let from = i64::try_from(round).unwrap() * 10 - 40;
        let seal = format!("SEAL.ADD sealed {} {}", from * 24 * HOUR, (from + 9) * 24 * HOUR);
        assert_eq!(client.call(&seal).to_string(), "+OK");
        if round % 2 == 1 {
            server.kill();
            server = command.start();
        }
        for view in ["open", "sealed"] {
            let asked: Vec<(Vec<u8>, i64)> = (0..ASKED_ROWS)
                .map(|_| (entity(generator.random_range(0..ENTITIES + 3)), time(generator)))
                .collect();
            compared += compare_all(&server, view, &asked, generator.random());
        }
    }
    println!("{compared} values compared between ways to ask");
    assert!(100_000 < compared, "{compared}");
}

/// Asks in every way; gives how many values were compared.
fn compare_all(server: &ServerProcess, view: &str, asked: &[(Vec<u8>, i64)], known: bool) -> usize {
    let mut three = RespClient::connect3(server.address());
    let mut two = RespClient::connect(server.address());
    let expected = three.call_arguments(&mget(view, asked, known));
    let rows = expected.items();
    assert_eq!(rows.len(), asked.len());
    let service = service_get(view, asked, known);
    assert_eq!(three.call_arguments(&service), expected, "SERVICE.GET");
    let in_two = two.call_arguments(&mget(view, asked, known));
    assert_eq!(two.call_arguments(&service), in_two, "SERVICE.GET in RESP2");
    let mut compared = 0;
    for (row, row_in_two) in rows.iter().zip(in_two.items()) {
        for (answer, in_two) in row.items().iter().zip(row_in_two.items()) {
            assert!(is_same_in_two(in_two, answer), "{in_two} {answer}");
            compared += 3;
        }
    }
    for (index, ((entity, at), row)) in asked.iter().zip(rows).enumerate().step_by(5) {
        let mut words = vec![b"WINDOW.GET".to_vec(), view.into(), entity.clone()];
        words.extend(SELECTORS.iter().map(|selector| selector.as_bytes().to_vec()));
        words.extend(moment(*at, known));
        assert_eq!(three.call_arguments(&words), *row, "WINDOW.GET of {entity:?} at {at}");
        compared += SELECTORS.len();
        let place = index % SELECTORS.len();
        let explained = explain(&mut three, view, (entity, *at), SELECTORS[place], known);
        assert_eq!(explained, row.items()[place].items()[..4], "EXPLAIN {}", SELECTORS[place]);
        compared += 1;
    }
    for batch in native(server, view, asked, known) {
        for (row, expected) in rows.iter().enumerate() {
            for (column, answer) in batch.columns().zip(expected.items()) {
                let [value, status, start, end, tiles] = answer.items() else { panic!("{answer}") };
                let bounds = column.bounds(row).unwrap();
                let found = column.value(row);
                assert!(is_same(&found, value), "{found:?} {value}");
                assert_eq!(column.status(row).unwrap().as_str(), status.text());
                assert_eq!(bounds.end, end.integer());
                let is_unbounded = matches!(start, RespReply::Nil | RespReply::NilBulk);
                assert_eq!(bounds.start, (!is_unbounded).then(|| start.integer()));
                assert_eq!(i64::from(column.tiles_read(row).unwrap()), tiles.integer());
                compared += 1;
            }
        }
    }
    compared
}

fn moment(at: i64, known: bool) -> Vec<Vec<u8>> {
    let mut words = vec![b"AT".to_vec(), at.to_string().into_bytes()];
    words.extend(known.then(|| b"KNOWN".to_vec()));
    words.push(b"STATUS".to_vec());
    words
}

fn times(asked: &[(Vec<u8>, i64)], known: bool) -> Vec<Vec<u8>> {
    let mut words = vec![b"ATS".to_vec(), asked.len().to_string().into_bytes()];
    words.extend(asked.iter().map(|(_, at)| at.to_string().into_bytes()));
    words.extend(known.then(|| b"KNOWN".to_vec()));
    words.push(b"STATUS".to_vec());
    words
}

fn mget(view: &str, asked: &[(Vec<u8>, i64)], known: bool) -> Vec<Vec<u8>> {
    let mut words = vec![b"WINDOW.MGET".to_vec(), view.into(), b"ENTITIES".to_vec()];
    words.push(asked.len().to_string().into_bytes());
    words.extend(asked.iter().map(|(entity, _)| entity.clone()));
    words.extend([b"SELECTORS".to_vec(), SELECTORS.len().to_string().into_bytes()]);
    words.extend(SELECTORS.iter().map(|selector| selector.as_bytes().to_vec()));
    words.extend(times(asked, known));
    words
}

fn service_get(view: &str, asked: &[(Vec<u8>, i64)], known: bool) -> Vec<Vec<u8>> {
    let mut words = vec![b"SERVICE.GET".to_vec(), format!("of_{view}").into_bytes()];
    words.extend(["KEYS", "1", "entity", "ROWS"].map(|word| word.as_bytes().to_vec()));
    words.push(asked.len().to_string().into_bytes());
    words.extend(asked.iter().map(|(entity, _)| entity.clone()));
    words.extend(times(asked, known));
    words
}

/// Result, status and window of an explanation.
fn explain(
    client: &mut RespClient,
    view: &str,
    (entity, at): (&[u8], i64),
    selector: &str,
    known: bool,
) -> Vec<RespReply> {
    let mut words = vec![b"WINDOW.EXPLAIN".to_vec(), view.into(), entity.to_vec()];
    words.push(selector.as_bytes().to_vec());
    words.extend(moment(at, known));
    words.pop();
    let RespReply::Map(pairs) = client.call_arguments(&words) else { panic!("a map") };
    let field = |name: &str| {
        let found = pairs.iter().find(|(key, _)| key.text() == name);
        found.unwrap_or_else(|| panic!("no {name}")).1.clone()
    };
    let window = field("window");
    let mut parts = vec![field("result"), field("status")];
    parts.extend(window.items().to_vec());
    parts
}

/// Through a plan of the view, and through one of the service.
fn native(server: &ServerProcess, view: &str, asked: &[(Vec<u8>, i64)], known: bool) -> [Batch; 2] {
    let client = Client::connect(ClientOptions::new(server.address().to_string())).unwrap();
    let at = asked.iter().map(|(_, at)| *at).collect();
    let options = ReadOptions { time: ReadTime::Each(at), ..ReadOptions::NOW }.with_status();
    let entities: Vec<&[u8]> = asked.iter().map(|(entity, _)| &entity[..]).collect();
    let mut wanted = PlanBuilder::new().view(view, SELECTORS).unwrap();
    if known {
        wanted = wanted.known_seals_only();
    }
    let of_view = client.read_once(wanted, &entities, &options).unwrap();
    let service = Name::parse(format!("of_{view}").as_bytes()).unwrap();
    let seals = if known { SealsCounted::KnownThen } else { SealsCounted::Current };
    let keys = [Identifier::parse(b"entity").unwrap()];
    let plan = client.prepare_service(&service, &keys, seals).unwrap();
    let rows: Vec<[&[u8]; 1]> = entities.iter().map(|entity| [*entity]).collect();
    [of_view, plan.read(&rows, &options).unwrap()]
}

/// Whether a value of the native protocol is that of a reply in RESP3.
fn is_same(value: &Value, reply: &RespReply) -> bool {
    match (value, reply) {
        (Value::Nil, RespReply::Nil | RespReply::NilBulk) => true,
        (Value::Int(value), RespReply::Integer(reply)) => value == reply,
        (Value::Double(value), RespReply::Double(text)) => text.parse::<f64>() == Ok(*value),
        (Value::Text(value), RespReply::Bulk(reply)) => value == reply,
        (Value::List(items), RespReply::Array(replies)) => {
            items.len() == replies.len()
                && items.iter().zip(replies).all(|(item, reply)| is_same(item, reply))
        }
        _ => false,
    }
}

/// Whether a reply in RESP2, where a double is text, is that of RESP3.
fn is_same_in_two(two: &RespReply, three: &RespReply) -> bool {
    match (two, three) {
        (RespReply::NilBulk | RespReply::Nil, RespReply::Nil | RespReply::NilBulk) => true,
        (RespReply::Bulk(text), RespReply::Double(number)) => *text == number.as_bytes(),
        (RespReply::Array(two), RespReply::Array(three)) => {
            two.len() == three.len()
                && two.iter().zip(three).all(|(two, three)| is_same_in_two(two, three))
        }
        (two, three) => two == three,
    }
}
