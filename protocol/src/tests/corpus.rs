//! Replays the corpus: every input under every split, with the outcome that its name states.
//! `ok-` inputs are understood to their end, `cut-` inputs wait for more, `bad-` inputs end in an
//! error or a refusal. In the native folder, `-reply-` inputs are what a server sends.

use std::fs;
use std::path::Path;

use bytes::BytesMut;

use crate::native::*;
use crate::resp::RequestParser;
use crate::*;

/// What a stream came to: everything that was understood, and how it ended.
#[derive(Debug, PartialEq)]
struct Replay {
    understood: Vec<String>,
    outcome: &'static str,
}

fn inputs(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(folder);
    let mut inputs: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    inputs.sort();
    inputs
}

/// Appends pieces to a buffer and calls `step` until it wants more. A step gives what it
/// understood, and whether the stream ends there.
fn replay(
    pieces: &[&[u8]],
    mut step: impl FnMut(&mut BytesMut) -> Option<(String, bool)>,
) -> Replay {
    let (mut buffer, mut understood, mut refused) = (BytesMut::new(), Vec::new(), false);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while let Some((text, is_bad)) = step(&mut buffer) {
            refused |= is_bad;
            let is_fatal = text.starts_with("fatal");
            understood.push(text);
            if is_fatal {
                return Replay { understood, outcome: "bad" };
            }
        }
    }
    let outcome = match (refused, buffer.is_empty()) {
        (true, _) => "bad",
        (false, true) => "ok",
        (false, false) => "cut",
    };
    Replay { understood, outcome }
}

fn fatal(error: impl std::fmt::Display) -> Option<(String, bool)> {
    Some((format!("fatal {error}"), true))
}

fn resp(pieces: &[&[u8]]) -> Replay {
    let mut parser = RequestParser::default();
    replay(pieces, |buffer| match parser.parse(buffer, &Limits::authenticated()) {
        Ok(None) => None,
        Ok(Some(arguments)) => {
            Some((format!("{arguments:?} {:?}", Command::from_arguments(&arguments)), false))
        }
        Err(error) => fatal(error),
    })
}

fn native(pieces: &[&[u8]], is_reply: bool) -> Replay {
    let limits = Limits::authenticated();
    let mut greeted = is_reply;
    replay(pieces, |buffer| {
        if !greeted {
            match parse_preamble(buffer) {
                Ok(false) => return None,
                Ok(true) => drop(buffer.split_to(PREAMBLE_BYTES)),
                Err(error) => return fatal(error),
            }
            greeted = true;
        }
        let frame = match FrameParser.parse(buffer, &limits) {
            Ok(None) => return None,
            Ok(Some(frame)) => frame,
            Err(error) => return fatal(error),
        };
        if is_reply {
            return match Response::decode(&frame, &limits) {
                Ok(response) => Some((format!("{response:?}"), false)),
                Err(error) => fatal(error),
            };
        }
        match Request::decode(&frame, &limits) {
            Ok(Request::Put(put)) => match put.read() {
                Ok(content) => Some((format!("{content:?}"), false)),
                Err(RequestError::Malformed(error)) => fatal(error),
                Err(RequestError::Refused(error)) => Some((error.to_string(), true)),
            },
            Ok(request) => Some((format!("{request:?}"), false)),
            Err(RequestError::Malformed(error)) => fatal(error),
            Err(RequestError::Refused(error)) => Some((error.to_string(), true)),
        }
    })
}

fn check(name: &str, input: &[u8], run: impl Fn(&[&[u8]]) -> Replay) {
    let whole = run(&[input]);
    let stated = name.split('-').next().unwrap_or_default();
    assert_eq!(whole.outcome, stated, "{name}: {whole:?}");
    for split in 1..input.len() {
        let (left, right) = input.split_at(split);
        assert_eq!(run(&[left, right]), whole, "{name} split at {split}");
    }
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(run(&bytes), whole, "{name} byte by byte");
}

#[test]
fn resp_inputs_replay_under_every_split() {
    let inputs = inputs("resp");
    assert!(inputs.len() >= 30, "{} inputs", inputs.len());
    for (name, input) in &inputs {
        check(name, input, resp);
    }
}

#[test]
fn native_inputs_replay_under_every_split() {
    let inputs = inputs("native");
    assert!(inputs.len() >= 30, "{} inputs", inputs.len());
    for (name, input) in &inputs {
        check(name, input, |pieces| native(pieces, name.contains("-reply-")));
    }
}
