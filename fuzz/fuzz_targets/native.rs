//! Native frames: what decodes can be encoded, and then decodes to the same.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use tilekv_protocol::Limits;
use tilekv_protocol::native::{FrameParser, Request, Response, preamble};

fuzz_target!(|data: &[u8]| {
    let limits = Limits::authenticated();
    // The inputs of protocol/corpus/native are whole connections.
    let mut stream = BytesMut::from(data.strip_prefix(&preamble()).unwrap_or(data));
    while let Ok(Some(frame)) = FrameParser.parse(&mut stream, &limits) {
        if let Ok(request) = Request::decode(&frame, &limits) {
            if let Request::Put(put) = &request {
                let _ = put.read();
            }
            let mut again = BytesMut::new();
            request.encode(frame.request_id, &mut again).expect("what was decoded can be encoded");
            let back = FrameParser.parse(&mut again, &limits).expect("a frame").expect("whole");
            let back = Request::decode(&back, &limits).expect("what was encoded can be decoded");
            assert_eq!(format!("{back:?}"), format!("{request:?}"));
        }
        if let Ok(response) = Response::decode(&frame, &limits) {
            let mut again = BytesMut::new();
            response.encode(frame.request_id, &mut again).expect("what was decoded can be encoded");
            if let Response::Columns(columns) = &response
                && columns.rows() < 10_000
            {
                let _ = columns.to_answers();
            }
        }
    }
});
