//! Features over HTTP: the answers of WINDOW.MGET and SERVICE.GET as JSON, refusals, the password.

use serde_json::{Value, json};
use tilekv_tests::resp::{RespClient, RespReply};
use tilekv_tests::server_process::{ServerCommand, ServerProcess};

const WINDOWS: &str = "/v1/features/windows";
const BINARY: &[u8] = b"\xffu\x00";
const SELECTORS: [&str; 5] = ["n@7d", "s@3d", "m@lifetime", "names@7d", "big@lifetime"];

fn fill(client: &mut RespClient) {
    for line in [
        "VIEW.CREATE v TILE 1h KEYS 1 user COLUMNS 3 i:i64 x:f64 t:str FEATURES 5 n=count() \
         s=sum(x) m=mean(x) names=last_n(t,3) big=sum(i)",
        "VIEW.CREATE p TILE 1d SEAL required KEYS 2 user item COLUMNS 0 FEATURES 1 n=count()",
        "SERVICE.CREATE both SELECTORS 2 p.n@7d v.s@3d",
        "SEAL.ADD p 0 259200000",
    ] {
        assert_eq!(client.call(line).to_string(), "+OK", "{line}");
    }
    for number in 0..60_i64 {
        let (time, x) = ((number * 5_000_000).to_string(), format!("{number}.1"));
        let entity = [b"u:1", &b"u:2"[..], BINARY][usize::try_from(number % 3).unwrap()];
        let text = if number % 2 == 0 { "\u{e9}\"" } else { "plain" }.as_bytes();
        let words: [&[u8]; 10] = [
            b"TILE.ADD",
            b"v",
            entity,
            time.as_bytes(),
            b"i",
            b"9223372036854775807",
            b"x",
            x.as_bytes(),
            b"t",
            text,
        ];
        assert_eq!(client.call_arguments(&words).integer(), 1);
        let added = client.call(&format!("TILE.ADD p u:1\u{1f}i{} {time}", number % 2));
        assert_eq!(added.integer(), 1);
    }
}

fn post(server: &ServerProcess, path: &str, body: &Value) -> (u16, Value) {
    let (status, answer) = server.http_post(path, &[], body.to_string().as_bytes());
    let parsed = serde_json::from_str(&answer);
    (status, parsed.unwrap_or_else(|error| panic!("{error}: {answer:?}")))
}

/// Whether JSON says what a reply in RESP3 says.
fn is_same(json: &Value, reply: &RespReply) -> bool {
    match (json, reply) {
        (Value::Null, RespReply::Nil | RespReply::NilBulk) => true,
        (Value::Number(number), RespReply::Integer(value)) => {
            number.to_string() == value.to_string()
        }
        (Value::Number(number), RespReply::Double(text)) => {
            number.to_string().parse::<f64>().unwrap() == text.parse::<f64>().unwrap()
        }
        (Value::Number(number), RespReply::Big(text)) => number.to_string() == *text,
        (Value::String(text), RespReply::Bulk(bytes)) => text.as_bytes() == bytes,
        (Value::Object(object), RespReply::Array(parts)) => {
            let names = ["value", "status", "window_start", "window_end", "tiles_read"];
            object.len() == 5
                && names.iter().zip(parts).all(|(name, part)| is_same(&object[*name], part))
        }
        (Value::Array(items), RespReply::Array(replies)) => {
            items.len() == replies.len()
                && items.iter().zip(replies).all(|(item, reply)| is_same(item, reply))
        }
        _ => false,
    }
}

#[test]
fn json_has_the_answers_of_the_commands() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServerCommand::new(folder.path()).start();
    let mut client = RespClient::connect3(server.address());
    fill(&mut client);
    let words = format!("SELECTORS 5 {}", SELECTORS.join(" "));
    let entities = json!(["u:1", {"b64": "/3UA"}, "nobody"]);
    for (more, options) in [
        (json!({"at": 200_000_000}), "AT 200000000"),
        (
            json!({"at": 200_000_000, "edge": "live", "status": true}),
            "AT 200000000 EDGE live STATUS",
        ),
        (json!({"ats": [1, 99_000_000, 7], "known": true}), "ATS 3 1 99000000 7 KNOWN"),
        (json!({"at": null, "status": false, "known": false}), ""),
    ] {
        let mut asked = json!({"view": "v", "entities": entities, "selectors": SELECTORS});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut command = vec![&b"WINDOW.MGET"[..], b"v", b"ENTITIES", b"3", b"u:1", BINARY];
        command.push(b"nobody");
        command.extend(words.split(' ').map(str::as_bytes));
        command.extend(options.split_whitespace().map(str::as_bytes));
        let expected = client.call_arguments(&command);
        let (status, answer) = post(&server, WINDOWS, &asked);
        assert_eq!(status, 200, "{answer}");
        assert!(is_same(&answer["values"], &expected), "{answer}\n{expected}");
    }
    let body = json!({"keys": ["user", "item"], "rows": [["u:1", "i1"], ["u:2", ""]],
        "ats": [250_000_000, 260_000_000], "status": true});
    // Two spaces stand around an argument that is empty.
    let command = "SERVICE.GET both KEYS 2 user item ROWS 2 u:1 i1 u:2  ATS 2 250000000 260000000 \
        STATUS";
    let expected = client.call(command);
    let (status, answer) = post(&server, "/v1/features/services/both", &body);
    assert_eq!(status, 200, "{answer}");
    assert!(is_same(&answer["values"], &expected), "{answer}\n{expected}");
}

#[test]
fn refusals_have_a_status_a_code_and_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServerCommand::new(folder.path()).start();
    let mut client = RespClient::connect(server.address());
    fill(&mut client);
    let windows = |view: &str, selector: &str, entities: usize| {
        let entities = vec!["e"; entities];
        let body = json!({"view": view, "entities": entities, "selectors": [selector, selector]});
        post(&server, WINDOWS, &body)
    };
    let is = |(status, answer): (u16, Value), expected: u16, code: &str| {
        assert_eq!(status, expected, "{answer}");
        assert_eq!(answer["error"]["code"], code, "{answer}");
        assert!(10 < answer["error"]["message"].as_str().unwrap().len(), "{answer}");
    };
    assert_eq!(windows("v", "n@7d", 1).0, 200);
    is(windows("w", "n@7d", 1), 404, "NOVIEW");
    is(windows("v", "o@7d", 1), 404, "NOFEATURE");
    is(windows("v", "n@7m", 1), 400, "BADWINDOW");
    is(windows("v", "n@7d", (1 << 19) + 1), 413, "LIMIT");
    is(post(&server, WINDOWS, &json!(["v"])), 400, "ERR");
    let rows = json!({"keys": ["user"], "rows": [["u:1"]]});
    is(post(&server, "/v1/features/services/none", &rows), 404, "ERR");
    is(post(&server, "/v1/features/services/both", &rows), 400, "ERR");
    assert_eq!(server.http(WINDOWS).0, 405, "GET is not POST");
    assert_eq!(server.http("/readyz").0, 200);
}

#[test]
fn the_password_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let command = ServerCommand::new(folder.path()).variable("TILEKV_AUTH_PASSWORD", "secret");
    let server = command.start();
    let mut client = RespClient::connect(server.address());
    assert_eq!(client.call("AUTH secret").to_string(), "+OK");
    fill(&mut client);
    let body = json!({"view": "v", "entities": ["u:1"], "selectors": ["n@lifetime"]}).to_string();
    let ask = |headers: &[(&str, &str)]| server.http_post(WINDOWS, headers, body.as_bytes());
    for (header, code) in [(None, "NOAUTH"), (Some("Basic ZGVmYXVsdDp3cm9uZw=="), "WRONGPASS")] {
        let headers: Vec<_> = header.map(|value| ("Authorization", value)).into_iter().collect();
        let (status, answer) = ask(&headers);
        assert!(status == 401 && answer.contains(code), "{status} {answer}");
    }
    for header in ["Basic ZGVmYXVsdDpzZWNyZXQ=", "Bearer secret"] {
        let answer = ask(&[("Authorization", header)]);
        assert_eq!(answer, (200, "{\"values\":[[20]]}\n".to_owned()), "{header}");
    }
}
