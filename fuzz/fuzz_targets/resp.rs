//! RESP requests and replies: the first byte of the input says into what pieces the rest comes.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use tilekv_protocol::resp::{ReplyParser, RequestParser};
use tilekv_protocol::{Command, Limits};

/// What a stream came to, as text, so that whole and split can be compared.
fn replay<T: std::fmt::Debug>(
    pieces: &[&[u8]],
    mut parse: impl FnMut(&mut BytesMut) -> Result<Option<T>, tilekv_protocol::ProtocolError>,
) -> Vec<String> {
    let (mut buffer, mut seen) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match parse(&mut buffer) {
                Ok(None) => break,
                Ok(Some(item)) => seen.push(format!("{item:?}")),
                Err(error) => {
                    seen.push(error.to_string());
                    return seen;
                }
            }
        }
    }
    seen
}

fn requests(pieces: &[&[u8]]) -> Vec<String> {
    let mut parser = RequestParser::default();
    replay(pieces, |buffer| {
        let request = parser.parse(buffer, &Limits::authenticated())?;
        Ok(request.map(|arguments| {
            let command = Command::from_arguments(&arguments);
            (arguments, command)
        }))
    })
}

fn replies(pieces: &[&[u8]]) -> Vec<String> {
    let mut parser = ReplyParser::default();
    replay(pieces, |buffer| parser.parse(buffer, &Limits::authenticated()))
}

fuzz_target!(|data: &[u8]| {
    let Some((first, stream)) = data.split_first() else { return };
    let pieces: Vec<&[u8]> = stream.chunks(usize::from(*first).max(1)).collect();
    assert_eq!(requests(&pieces), requests(&[stream]));
    assert_eq!(replies(&pieces), replies(&[stream]));
});
