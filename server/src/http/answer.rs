//! Answers and refusals as JSON. Knows nothing of how either came to be.

use std::fmt::Write as _;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tilekv_protocol::{ErrorCode, ErrorReply, WindowsReply};
use tilekv_tile::{Answers, Value, Values};

/// `{"values": [[..]..]}`.
pub(super) fn encode(windows: &WindowsReply) -> String {
    let WindowsReply { answers, with_status, .. } = windows;
    let mut out = String::from("{\"values\":");
    push_list(&mut out, answers.rows, |out, row| {
        push_list(out, answers.columns.len(), |out, column| {
            if *with_status {
                push_with_status(out, answers, (row, column));
            } else {
                push_cell(out, &answers.columns[column].values, row);
            }
        });
    });
    out.push_str("}\n");
    out
}

/// The answer to a question that was refused.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) error: ErrorReply,
}

impl From<ErrorReply> for Refusal {
    fn from(error: ErrorReply) -> Self {
        let status = match error.code() {
            ErrorCode::NoAuth | ErrorCode::WrongPass => StatusCode::UNAUTHORIZED,
            ErrorCode::NoPerm => StatusCode::FORBIDDEN,
            ErrorCode::NoView | ErrorCode::NoFeature => StatusCode::NOT_FOUND,
            ErrorCode::Limit => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::Busy | ErrorCode::Loading => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Damaged => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        Self { status, error }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (code, number) = (self.error.code(), self.error.number());
        let mut error = json!({"code": code.as_str(), "message": self.error.sentence()});
        if let (ErrorCode::Busy, Some(retry_ms)) = (code, number) {
            error["retry_ms"] = retry_ms.into();
        }
        let body = format!("{}\n", json!({ "error": error }));
        let kind = [(header::CONTENT_TYPE, "application/json")];
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                let seconds = number.unwrap_or(0).div_ceil(1000).max(1).to_string();
                (self.status, kind, [(header::RETRY_AFTER, seconds)], body).into_response()
            }
            StatusCode::UNAUTHORIZED => {
                let scheme = [(header::WWW_AUTHENTICATE, "Basic realm=\"tilekv\"")];
                (self.status, kind, scheme, body).into_response()
            }
            status => (status, kind, body).into_response(),
        }
    }
}

fn push_list(out: &mut String, count: usize, mut push_item: impl FnMut(&mut String, usize)) {
    out.push('[');
    for index in 0..count {
        if 0 < index {
            out.push(',');
        }
        push_item(out, index);
    }
    out.push(']');
}

fn push_with_status(out: &mut String, answers: &Answers, (row, column): (usize, usize)) {
    let column = &answers.columns[column];
    let bounds = column.bounds_of(row);
    out.push_str("{\"value\":");
    push_cell(out, &column.values, row);
    push_plain(out, format_args!(",\"status\":\"{}\"", column.statuses[row].as_str()));
    match bounds.start {
        Some(start) => push_plain(out, format_args!(",\"window_start\":{start}")),
        None => out.push_str(",\"window_start\":null"),
    }
    let (end, tiles) = (bounds.end, column.tiles_read[row]);
    push_plain(out, format_args!(",\"window_end\":{end},\"tiles_read\":{tiles}}}"));
}

fn push_cell(out: &mut String, values: &Values, row: usize) {
    match values {
        Values::Int { values, valid } if valid[row] => push_plain(out, values[row]),
        Values::Double { values, valid } if valid[row] => push_double(out, values[row]),
        Values::Int { .. } | Values::Double { .. } => out.push_str("null"),
        Values::Lists(_, values) | Values::Any(values) => push_value(out, &values[row]),
    }
}

fn push_value(out: &mut String, value: &Value) {
    match value {
        Value::Nil => out.push_str("null"),
        Value::Int(value) => push_plain(out, value),
        Value::Big(value) => push_plain(out, value),
        Value::Double(value) => push_double(out, *value),
        Value::Text(bytes) => push_text(out, bytes),
        Value::List(items) => {
            push_list(out, items.len(), |out, index| push_value(out, &items[index]));
        }
    }
}

/// JSON has no numbers that are not finite: these are the words of RESP.
fn push_double(out: &mut String, value: f64) {
    if value.is_nan() {
        out.push_str("\"nan\"");
    } else if value.is_infinite() {
        out.push_str(if value < 0.0 { "\"-inf\"" } else { "\"inf\"" });
    } else {
        push_plain(out, serde_json::Value::from(value));
    }
}

fn push_text(out: &mut String, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => push_plain(out, serde_json::Value::from(text)),
        Err(_) => push_plain(out, format_args!("{{\"b64\":\"{}\"}}", STANDARD.encode(bytes))),
    }
}

fn push_plain(out: &mut String, item: impl std::fmt::Display) {
    // Writing to a string does not fail.
    let _ = write!(out, "{item}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn pushed(value: Value) -> String {
        let mut out = String::new();
        push_value(&mut out, &value);
        out
    }

    #[test]
    fn values_keep_their_digits_and_bytes() {
        assert_eq!(pushed(Value::Int(i64::MIN)), "-9223372036854775808");
        let big = i128::from(i64::MAX) * 4;
        assert_eq!(pushed(Value::Big(big)), "36893488147419103228");
        for (double, text) in [(0.1, "0.1"), (3.0, "3.0"), (1e300, "1e+300"), (-0.0, "-0.0")] {
            assert_eq!(pushed(Value::Double(double)), text);
            assert_eq!(text.parse(), Ok(double));
        }
        assert_eq!(pushed(Value::Double(f64::NEG_INFINITY)), "\"-inf\"");
        assert_eq!(pushed(Value::Double(f64::NAN)), "\"nan\"");
        let text = |bytes: &'static [u8]| pushed(Value::Text(Bytes::from_static(bytes)));
        assert_eq!(text("\u{e9}\"\n\0".as_bytes()), "\"\u{e9}\\\"\\n\\u0000\"");
        assert_eq!(text(b"\xff\x00"), "{\"b64\":\"/wA=\"}");
        let list = Value::List(vec![Value::Nil, Value::Int(1), Value::List(Vec::new())]);
        assert_eq!(pushed(list), "[null,1,[]]");
    }

    #[test]
    fn each_refusal_has_its_status() {
        for (code, status) in [
            (ErrorCode::Err, 400),
            (ErrorCode::BadWindow, 400),
            (ErrorCode::BadValue, 400),
            (ErrorCode::NoAuth, 401),
            (ErrorCode::WrongPass, 401),
            (ErrorCode::NoView, 404),
            (ErrorCode::NoFeature, 404),
            (ErrorCode::Limit, 413),
            (ErrorCode::Damaged, 500),
            (ErrorCode::Loading, 503),
        ] {
            let response = Refusal::from(ErrorReply::new(code, "why")).into_response();
            let has = |name| response.headers().contains_key(name);
            assert_eq!(response.status().as_u16(), status, "{code:?}");
            assert_eq!(has(header::RETRY_AFTER), status == 503, "{code:?}");
            assert_eq!(has(header::WWW_AUTHENTICATE), status == 401, "{code:?}");
        }
        for (retry_ms, seconds) in [(20, "1"), (1_000, "1"), (1_001, "2")] {
            let response = Refusal::from(ErrorReply::busy(retry_ms, "why")).into_response();
            assert_eq!(response.headers()[header::RETRY_AFTER], seconds);
        }
    }
}
