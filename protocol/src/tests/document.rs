//! docs/protocol.md must say what the code does: its example, tables and headings.

use std::fs;
use std::path::Path;

use bytes::BytesMut;
use tilekv_tile::{Cells, Status, TypedColumn, Value};

use crate::native::*;
use crate::*;

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md");
    fs::read_to_string(path).unwrap()
}

/// The bytes of the block that opens with a line.
fn hex_block(opening: &str) -> BytesMut {
    let document = document();
    let (_, rest) = document.split_once(opening).unwrap();
    let (block, _) = rest.split_once("```").unwrap();
    let digits = block.lines().map(|line| line.split('#').next().unwrap_or_default());
    digits
        .flat_map(str::split_whitespace)
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

fn frames(mut stream: BytesMut) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(frame) = FrameParser.parse(&mut stream, &Limits::authenticated()).unwrap() {
        frames.push(frame);
    }
    assert!(stream.is_empty(), "the example ends with a frame");
    frames
}

#[test]
fn the_example_of_a_client_is_what_we_read_and_write() {
    let mut stream = hex_block("```hex client");
    let written = stream.clone();
    assert_eq!(parse_preamble(&stream), Ok(true));
    let _ = stream.split_to(PREAMBLE_BYTES);
    let mut again = BytesMut::from(&preamble()[..]);
    let mut requests = Vec::new();
    for frame in frames(stream) {
        let request = Request::decode(&frame, &Limits::authenticated()).unwrap();
        request.encode(frame.request_id, &mut again).unwrap();
        requests.push(request);
    }
    assert_eq!(again, written);
    let [Request::Hello(hello), Request::Prepare(plan), Request::Events(add), Request::Read(read)] =
        &requests[..]
    else {
        panic!("{requests:?}")
    };
    assert_eq!(hello.client_name, "demo");
    let (view, selectors) = &plan.groups[0];
    let texts: Vec<String> = selectors.iter().map(ToString::to_string).collect();
    assert_eq!((view.as_str(), texts.join(" ")), ("shop", "orders@7d spend@7d".to_owned()));
    assert_eq!(add.stamp.as_ref().unwrap().sequence, 41);
    assert_eq!(add.rows.entities, ["u:1", "u:2"]);
    assert_eq!(add.rows.timestamps, [1_767_225_600_000, 1_767_225_601_500]);
    let values = vec![9.5, 0.0];
    let column = TypedColumn::F64 { values, valid: Some(vec![true, false]) };
    assert_eq!(add.rows.cells, Cells::Typed(vec![column]));
    assert_eq!(read.time, ReadTime::At(1_767_312_000_000));
    assert!(read.with_status && read.keys.iter().eq([&b"u:1"[..], b"u:9"]));
}

#[test]
fn the_example_of_a_server_is_what_we_read_and_write() {
    let stream = hex_block("```hex server");
    let (written, mut again) = (stream.clone(), BytesMut::new());
    let mut responses = Vec::new();
    for frame in frames(stream) {
        let response = Response::decode(&frame, &Limits::authenticated()).unwrap();
        match &response {
            Response::Columns(columns) => {
                let (answers, with_status) = (columns.to_answers(), columns.with_status());
                encode_answers(frame.request_id, &answers, with_status, &mut again).unwrap();
            }
            other => other.encode(frame.request_id, &mut again).unwrap(),
        }
        responses.push(response);
    }
    assert_eq!(again, written);
    let [
        Response::Welcome(welcome),
        Response::Plan(plan),
        Response::Columns(columns),
        Response::Applied(applied),
        Response::Error { error, closing: false },
    ] = &responses[..]
    else {
        panic!("{responses:?}")
    };
    assert_eq!((welcome.connection_id, plan.columns), (17, 2));
    assert_eq!(applied.outcome, WriteOutcome::Applied(2));
    assert_eq!((error.code(), error.number()), (ErrorCode::Busy, Some(250)));
    let [orders, spend] = columns.columns() else { panic!("two columns") };
    assert_eq!(orders.i64s(), Some(vec![1, 0]));
    assert_eq!((spend.value(0), spend.value(1)), (Value::Double(9.5), Value::Nil));
    assert_eq!((spend.status(0), spend.status(1)), (Some(Status::Ok), Some(Status::Unseen)));
    assert_eq!(spend.bounds(1).unwrap().start, Some(1_766_707_200_000));
}

/// [NAT-44] [NAT-45]
#[test]
fn the_example_of_a_job_is_what_we_read_and_write() {
    let stream = hex_block("```hex job");
    let [frame] = &frames(stream.clone())[..] else { panic!("one frame") };
    let Ok(Request::Put(put)) = Request::decode(frame, &Limits::authenticated()) else {
        panic!("a put")
    };
    let Ok(JobContent::Rows(rows)) = put.read() else { panic!("rows") };
    assert_eq!(rows.entities, ["u:1", "u:1", "u:2", "u:2"]);
    let hours = [0, 1, 0, 2].map(|hour| 1_767_225_600_000 + hour * 3_600_000);
    assert_eq!(rows.timestamps, hours);
    let column = TypedColumn::I64 { values: vec![1, 2, 3, 4], valid: None };
    assert_eq!(rows.cells, Cells::Typed(vec![column]));
    let (mut again, id) = (BytesMut::new(), frame.request_id);
    encode_job_rows(id, &put.job, put.sequence, &rows, &mut again).unwrap();
    assert_eq!((again, put.sequence), (stream, Some(7)));
}

#[test]
fn every_command_code_and_kind_is_documented() {
    let document = document();
    for spec in commands() {
        let heading = format!("\n### {}\n", spec.name.to_ascii_uppercase());
        assert!(document.contains(&heading), "a section on {}", spec.name);
    }
    for code in ErrorCode::all() {
        let row = format!("| {} | `{}`", code.number(), code.as_str());
        assert!(document.contains(&row), "{row}");
    }
    for kind in FrameKind::all() {
        let name = format!("{kind:?}").to_ascii_uppercase();
        let row = format!("| 0x{:02X} | {name} |", kind.number());
        assert!(document.contains(&row), "{row}");
    }
}

#[test]
fn limits_are_documented() {
    let document = document();
    let (all, early) = (Limits::authenticated(), Limits::before_authentication());
    let pairs = [
        (all.frame_bytes_max, early.frame_bytes_max),
        (all.bulk_bytes_max, early.bulk_bytes_max),
        (all.argument_count_max, early.argument_count_max),
        (all.inline_bytes_max, early.inline_bytes_max),
        (all.nesting_depth_max, early.nesting_depth_max),
    ];
    for (all, early) in pairs {
        let row = format!("| {} | {} |", grouped(all), grouped(early));
        assert!(document.contains(&row), "{row}");
    }
    for limit in [
        limits::HEADER_LINE_BYTES_MAX,
        limits::ANSWER_CELLS_MAX,
        limits::WRITE_ROWS_MAX,
        limits::COLUMNS_MAX,
        limits::PLAN_GROUPS_MAX,
        limits::PRODUCER_ID_BYTES_MAX,
        limits::JOB_TOKEN_BYTES_MAX,
        limits::ERROR_BYTES_MAX,
    ] {
        let row = format!("| {} |\n", grouped(limit));
        assert!(document.contains(&row), "{row}");
    }
}

/// Digits in groups of three.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
