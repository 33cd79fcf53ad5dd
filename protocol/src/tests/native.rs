//! Every native frame: encode and decode are inverse, any split parses the same, and no bytes
//! make a decoder panic.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use tilekv_tile::{
    After, AnswerColumn, Answers, Cells, ColumnType, Edge, Identifier, ListKind, Name,
    ProducerStamp, Rows, Selector, Status, TypedColumn, Value, Values, WindowBounds,
};

use crate::native::*;
use crate::*;

fn bytes(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..max).prop_map(Bytes::from)
}

fn some_bytes(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 1..max).prop_map(Bytes::from)
}

fn name() -> impl Strategy<Value = Name> {
    "[A-Za-z_][A-Za-z0-9_.-]{0,20}".prop_map(|text| Name::parse(text.as_bytes()).unwrap())
}

fn identifier() -> impl Strategy<Value = Identifier> {
    "c[a-z0-9_]{0,9}z".prop_map(|text| Identifier::parse(text.as_bytes()).unwrap())
}

fn time() -> impl Strategy<Value = i64> {
    -(1i64 << 53)..=1 << 53
}

fn stamp() -> impl Strategy<Value = Option<ProducerStamp>> {
    let after =
        prop_oneof![Just(After::Any), Just(After::First), any::<u64>().prop_map(After::Sequence),];
    let stamp = (some_bytes(9), any::<u64>(), after);
    proptest::option::of(stamp.prop_map(|(id, sequence, after)| ProducerStamp {
        id,
        sequence,
        after,
    }))
}

fn lane() -> impl Strategy<Value = WriteLane> {
    prop_oneof![Just(WriteLane::Stream), Just(WriteLane::Backfill)]
}

fn typed_column(rows: usize) -> impl Strategy<Value = TypedColumn> {
    let valid = || proptest::option::of(vec(any::<bool>(), rows));
    prop_oneof![
        (vec(any::<i64>(), rows), valid())
            .prop_map(|(values, valid)| TypedColumn::I64 { values, valid }),
        (vec(-1e9f64..1e9, rows), valid())
            .prop_map(|(values, valid)| TypedColumn::F64 { values, valid }),
        (vec(bytes(9), rows), valid())
            .prop_map(|(values, valid)| TypedColumn::Str { values, valid }),
    ]
}

fn events() -> impl Strategy<Value = Request> {
    let parts = (0usize..20, 0usize..4).prop_flat_map(|(rows, columns)| {
        (
            vec(identifier(), columns),
            vec(typed_column(rows), columns),
            vec(some_bytes(9), rows),
            vec(time(), rows),
            (name(), stamp(), lane()),
        )
    });
    parts.prop_map(|(columns, cells, entities, timestamps, (view, stamp, lane))| {
        let rows = Rows { columns, entities, timestamps, cells: Cells::Typed(cells) };
        let shape = RequestShape::Batch;
        Request::Events(Box::new(EventWrite { view, rows, stamp, shape, lane }))
    })
}

fn tile_write() -> impl Strategy<Value = Request> {
    let mode = prop_oneof![Just(TileWriteMode::Set), Just(TileWriteMode::Merge)];
    let partials = vec((identifier(), bytes(20)), 1..5);
    (mode, name(), some_bytes(9), time(), partials, stamp(), lane()).prop_map(
        |(mode, view, entity, tile_start, partials, stamp, lane)| {
            let write = TileWrite { mode, view, entity, tile_start, partials, stamp, lane };
            Request::Tile(Box::new(write))
        },
    )
}

fn plan_request() -> impl Strategy<Value = PlanRequest> {
    let selector = proptest::sample::select(vec!["a@7d", "b@lifetime", "c@1h:2d"])
        .prop_map(|text| Selector::parse(text.as_bytes()).unwrap());
    let groups = vec((name(), vec(selector, 1..4)), 1..4);
    let edge = prop_oneof![Just(None), Just(Some(Edge::Closed)), Just(Some(Edge::Live))];
    (groups, edge, any::<bool>()).prop_map(|(groups, edge, known)| PlanRequest {
        groups,
        edge,
        known,
    })
}

fn service_plan_request() -> impl Strategy<Value = ServicePlanRequest> {
    (name(), vec(identifier(), 1..5), any::<bool>())
        .prop_map(|(service, keys, known)| ServicePlanRequest { service, keys, known })
}

fn credentials() -> impl Strategy<Value = Credentials> {
    (proptest::option::of(some_bytes(9)), bytes(9))
        .prop_map(|(user, password)| Credentials { user, password })
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        (proptest::option::of(credentials()), bytes(9)).prop_map(|(credentials, client_name)| {
            Request::Hello(NativeHello { credentials, client_name })
        }),
        credentials().prop_map(Request::Auth),
        bytes(20).prop_map(Request::Ping),
        plan_request().prop_map(Request::Prepare),
        service_plan_request().prop_map(Request::PrepareService),
        any::<u32>().prop_map(Request::Release),
        read(),
        events(),
        tile_write(),
        vec(bytes(9), 0..6).prop_map(|list| Request::Command(Arguments::from_list(&list).unwrap())),
    ]
}

/// A READ frame can only be had by decoding one.
fn read() -> impl Strategy<Value = Request> {
    let keys = vec(bytes(9), 0..20);
    (any::<u32>(), (0..3, 1usize..4), any::<bool>(), keys, vec(time(), 20)).prop_map(
        |(plan, (mode, width), with_status, mut keys, times)| {
            keys.truncate(keys.len() / width * width);
            let time = match mode {
                0 => ReadTime::Now,
                1 => ReadTime::At(times[0]),
                _ => ReadTime::Each(times[..keys.len() / width].to_vec()),
            };
            let mut stream = BytesMut::new();
            let planned = (plan, width);
            encode_read_rows(1, planned, &time, with_status, &keys, &mut stream).unwrap();
            let frame = frame_of(&mut stream);
            let request = Request::decode(&frame, &limits()).unwrap();
            let Request::Read(read) = &request else { panic!("a read: {request:?}") };
            assert!(read.keys.iter().eq(keys.iter()));
            assert_eq!((read.plan, &read.time, read.with_status), (plan, &time, with_status));
            assert_eq!(read.keys_per_row, width);
            let has_empty = keys.iter().any(|key| key.is_empty());
            assert_eq!(read.check_entities().is_err(), has_empty, "an entity has a byte");
            request
        },
    )
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<i64>().prop_map(Value::Int),
        any::<i128>().prop_map(Value::Big),
        (-1e9f64..1e9).prop_map(Value::Double),
        bytes(9).prop_map(Value::Text),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| vec(inner, 0..4).prop_map(Value::List))
}

fn values(rows: usize) -> impl Strategy<Value = Values> {
    let valid = || vec(any::<bool>(), rows);
    prop_oneof![
        (vec(any::<i64>(), rows), valid())
            .prop_map(|(values, valid)| Values::Int { values, valid }),
        (vec(-1e9f64..1e9, rows), valid())
            .prop_map(|(values, valid)| Values::Double { values, valid }),
        vec(value(), rows).prop_map(Values::Any),
        lists(rows),
    ]
}

/// Columns of lists of every kind, some rows of which are nil.
fn lists(rows: usize) -> impl Strategy<Value = Values> {
    let items = prop_oneof![Just(ColumnType::I64), Just(ColumnType::F64), Just(ColumnType::Str)];
    (items, any::<bool>()).prop_flat_map(move |(items, counted)| {
        let item = match items {
            ColumnType::I64 => any::<i64>().prop_map(Value::Int).boxed(),
            ColumnType::F64 => (-1e9f64..1e9).prop_map(Value::Double).boxed(),
            ColumnType::Str => bytes(9).prop_map(Value::Text).boxed(),
        };
        let pair = |(item, count): (Value, i64)| Value::List(vec![item, Value::Int(count)]);
        let item = if counted { (item, any::<i64>()).prop_map(pair).boxed() } else { item };
        let list = prop_oneof![Just(Value::Nil), vec(item, 0..5).prop_map(Value::List)];
        vec(list, rows).prop_map(move |lists| Values::Lists(ListKind { items, counted }, lists))
    })
}

fn window_bounds() -> impl Strategy<Value = WindowBounds> {
    (proptest::option::of(time()), time()).prop_map(|(start, end)| WindowBounds { start, end })
}

fn answer_column(rows: usize) -> impl Strategy<Value = AnswerColumn> {
    let status = proptest::sample::select(&Status::ALL[..]);
    let bounds_count = prop_oneof![Just(1), Just(rows)];
    let bounds = bounds_count.prop_flat_map(|count| vec(window_bounds(), count));
    (values(rows), vec(status, rows), bounds, vec(any::<u32>(), rows)).prop_map(
        |(values, statuses, bounds, tiles_read)| AnswerColumn {
            values,
            statuses,
            bounds,
            tiles_read,
        },
    )
}

fn answers() -> impl Strategy<Value = Answers> {
    (0usize..20, 0usize..4).prop_flat_map(|(rows, columns)| {
        vec(answer_column(rows), columns).prop_map(move |columns| Answers { rows, columns })
    })
}

fn credit() -> impl Strategy<Value = Credit> {
    (any::<u64>(), any::<u64>()).prop_map(|(bytes, rows)| Credit { bytes, rows })
}

fn error_reply() -> impl Strategy<Value = ErrorReply> {
    let code = proptest::sample::select(ErrorCode::all().collect::<Vec<_>>());
    (code, proptest::option::of(any::<u64>()), "[ -~]{0,40}")
        .prop_map(|(code, number, sentence)| ErrorReply::from_parts(code, number, sentence))
}

fn reply() -> impl Strategy<Value = Reply> {
    let leaf = prop_oneof![
        value().prop_map(Reply::from),
        any::<bool>().prop_map(Reply::Bool),
        "[ -~]{0,9}".prop_map(|text| Reply::Simple(text.into())),
        error_reply().prop_map(Reply::Error),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Reply::Array),
            vec((inner.clone(), inner), 0..3).prop_map(Reply::Map),
        ]
    })
}

fn response() -> impl Strategy<Value = Response> {
    let applied =
        prop_oneof![any::<u64>().prop_map(WriteOutcome::Applied), Just(WriteOutcome::Duplicate),];
    prop_oneof![
        (any::<bool>(), any::<u64>(), any::<u64>(), credit(), bytes(20)).prop_map(
            |(authenticated, connection_id, frame_bytes_max, credit, server)| {
                Response::Welcome(Welcome {
                    authenticated,
                    connection_id,
                    frame_bytes_max,
                    credit,
                    server,
                })
            }
        ),
        Just(Response::Done),
        bytes(20).prop_map(Response::Pong),
        (any::<u32>(), any::<u32>())
            .prop_map(|(plan, columns)| Response::Plan(PlanReply { plan, columns })),
        (applied, credit())
            .prop_map(|(outcome, credit)| Response::Applied(Applied { outcome, credit })),
        reply().prop_map(Response::Value),
        credit().prop_map(Response::Credit),
        (error_reply(), any::<bool>())
            .prop_map(|(error, closing)| Response::Error { error, closing }),
        (answers(), any::<bool>()).prop_map(|(answers, with_status)| {
            let mut stream = BytesMut::new();
            encode_answers(1, &answers, with_status, &mut stream).unwrap();
            Response::decode(&frame_of(&mut stream), &limits()).unwrap()
        }),
    ]
}

fn limits() -> Limits {
    Limits::authenticated()
}

fn frame_of(stream: &mut BytesMut) -> Frame {
    let frame = FrameParser.parse(stream, &limits()).unwrap().unwrap();
    assert!(stream.is_empty());
    frame
}

/// Frames of a stream that arrives in pieces.
fn frames_of(stream: &[u8], piece_bytes: usize) -> Vec<Frame> {
    let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
    for piece in stream.chunks(piece_bytes) {
        buffer.extend_from_slice(piece);
        while let Some(frame) = FrameParser.parse(&mut buffer, &limits()).unwrap() {
            frames.push(frame);
        }
    }
    assert!(buffer.is_empty());
    frames
}

/// Whatever the bytes are, the decoders answer without a panic.
fn decode_anything(mut stream: BytesMut) {
    while let Ok(Some(frame)) = FrameParser.parse(&mut stream, &limits()) {
        let _ = Request::decode(&frame, &limits());
        if let Ok(Response::Columns(columns)) = Response::decode(&frame, &limits())
            && columns.rows() < 1000
        {
            let _ = columns.to_answers();
        }
    }
}

proptest! {
    #[test]
    fn requests_come_back(
        requests in vec(request(), 1..4),
        piece_bytes in 1usize..64,
    ) {
        let mut stream = BytesMut::new();
        for (id, request) in (1..).zip(&requests) {
            request.encode(id, &mut stream).unwrap();
        }
        for (frame, wanted) in frames_of(&stream, piece_bytes).iter().zip(&requests) {
            prop_assert_eq!(&Request::decode(frame, &limits()).unwrap(), wanted);
        }
    }

    #[test]
    fn responses_come_back(
        responses in vec(response(), 1..4),
        piece_bytes in 1usize..64,
    ) {
        let mut stream = BytesMut::new();
        for (id, response) in (1..).zip(&responses) {
            response.encode(id, &mut stream).unwrap();
        }
        let frames = frames_of(&stream, piece_bytes);
        prop_assert_eq!(frames.len(), responses.len());
        for (frame, wanted) in frames.iter().zip(&responses) {
            prop_assert_eq!(&Response::decode(frame, &limits()).unwrap(), wanted);
        }
    }

    #[test]
    fn answers_come_back(answers in answers()) {
        let mut stream = BytesMut::new();
        encode_answers(9, &answers, true, &mut stream).unwrap();
        let Ok(Response::Columns(columns)) = Response::decode(&frame_of(&mut stream), &limits())
        else {
            panic!("columns")
        };
        let back = columns.to_answers();
        prop_assert_eq!(back.rows, answers.rows);
        for (row, column) in (0..answers.rows)
            .flat_map(|row| (0..answers.columns.len()).map(move |column| (row, column)))
        {
            prop_assert_eq!(back.get(row, column), answers.get(row, column));
            prop_assert_eq!(columns.columns()[column].value(row), answers.get(row, column));
            let wanted = &answers.columns[column];
            let found = &columns.columns()[column];
            prop_assert_eq!(found.status(row), Some(wanted.statuses[row]));
            prop_assert_eq!(found.bounds(row), Some(wanted.bounds_of(row)));
            prop_assert_eq!(found.tiles_read(row), Some(wanted.tiles_read[row]));
        }
    }

    #[test]
    fn words_stand_at_multiples_of_eight(answers in answers(), with_status in any::<bool>()) {
        let mut stream = BytesMut::new();
        encode_answers(9, &answers, with_status, &mut stream).unwrap();
        let frame_start = stream.as_ptr();
        let frame = frame_of(&mut stream);
        let Ok(Response::Columns(columns)) = Response::decode(&frame, &limits()) else {
            panic!("columns")
        };
        for words in columns.columns().iter().filter_map(|column| column.words()) {
            if !words.is_empty() {
                let offset = words.as_ptr().addr() - frame_start.addr();
                prop_assert_eq!(offset % 8, 0);
            }
        }
    }

    #[test]
    fn a_cut_or_changed_request_is_an_error_or_another_request(
        request in request(),
        flip in any::<proptest::sample::Index>(),
        bit in 0u32..8,
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut stream = BytesMut::new();
        request.encode(1, &mut stream).unwrap();
        let mut flipped = stream.clone();
        flipped[flip.index(stream.len())] ^= 1u8 << bit;
        decode_anything(flipped);
        let frame = frame_of(&mut stream);
        if !frame.payload.is_empty() && !matches!(request, Request::Ping(_)) {
            let short = frame.payload.slice(..cut.index(frame.payload.len()));
            let short = Frame { payload: short, ..frame };
            prop_assert!(Request::decode(&short, &limits()).is_err());
        }
    }

    #[test]
    fn a_cut_or_changed_response_is_an_error_or_another_response(
        response in response(),
        flip in any::<proptest::sample::Index>(),
        bit in 0u32..8,
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut stream = BytesMut::new();
        response.encode(1, &mut stream).unwrap();
        let mut flipped = stream.clone();
        flipped[flip.index(stream.len())] ^= 1u8 << bit;
        decode_anything(flipped);
        let frame = frame_of(&mut stream);
        if !frame.payload.is_empty() && !matches!(response, Response::Pong(_)) {
            let short = frame.payload.slice(..cut.index(frame.payload.len()));
            let short = Frame { payload: short, ..frame };
            prop_assert!(Response::decode(&short, &limits()).is_err());
        }
    }

    #[test]
    fn garbage_never_panics(
        kind in proptest::sample::select(FrameKind::all().collect::<Vec<_>>()),
        flags in 0u8..2,
        payload in vec(prop_oneof![Just(0u8), 0u8..12, any::<u8>()], 0..120),
    ) {
        let payload = Bytes::from(payload);
        let frame = Frame { kind: kind.number(), flags, request_id: 1, payload };
        let _ = Request::decode(&frame, &limits());
        if let Ok(Response::Columns(columns)) = Response::decode(&frame, &limits())
            && columns.rows() < 1000
        {
            let _ = columns.to_answers();
        }
    }
}

#[test]
fn text_cells_are_no_native_rows() {
    let rows = Rows {
        columns: vec![],
        entities: vec![],
        timestamps: vec![],
        cells: Cells::Text { null: None, cells: vec![] },
    };
    let write = EventWrite {
        view: Name::parse(b"v").unwrap(),
        rows,
        stamp: None,
        shape: RequestShape::Batch,
        lane: WriteLane::Stream,
    };
    let mut stream = BytesMut::from(&b"before"[..]);
    let error = Request::Events(Box::new(write)).encode(1, &mut stream).unwrap_err();
    assert!(error.to_string().contains("typed columns"), "{error}");
    assert_eq!(stream, "before");
}

#[test]
fn what_is_too_long_for_its_field_leaves_the_buffer_as_it_was() {
    let hello = NativeHello { credentials: None, client_name: Bytes::from(vec![b'x'; 65_536]) };
    let mut stream = BytesMut::from(&b"before"[..]);
    let error = Request::Hello(hello).encode(1, &mut stream).unwrap_err();
    assert_eq!(error.to_string(), "client name: too long for its length field");
    assert_eq!(stream, "before");
}

#[test]
fn a_refused_frame_names_its_producer() {
    let write = TileWrite {
        mode: TileWriteMode::Set,
        view: Name::parse(b"v").unwrap(),
        entity: Bytes::from_static(b"e"),
        tile_start: i64::MAX,
        partials: vec![(Identifier::parse(b"f").unwrap(), Bytes::from_static(b"1"))],
        stamp: Some(ProducerStamp { id: "p".into(), sequence: 5, after: After::Any }),
        lane: WriteLane::Stream,
    };
    let mut stream = BytesMut::new();
    Request::Tile(Box::new(write)).encode(1, &mut stream).unwrap();
    let Err(RequestError::Refused(error)) = Request::decode(&frame_of(&mut stream), &limits())
    else {
        panic!("a tile start out of range is refused")
    };
    assert_eq!(error.reply.code(), ErrorCode::BadValue);
    assert_eq!(error.refused.unwrap().sequence, 5);
}

#[test]
fn an_unknown_kind_is_refused_and_the_stream_goes_on() {
    let frame = Frame { kind: 0x7F, flags: 0, request_id: 1, payload: Bytes::new() };
    assert!(matches!(Request::decode(&frame, &limits()), Err(RequestError::Refused(_))));
    let flagged = Frame { kind: FrameKind::Ping.number(), flags: 2, ..frame };
    assert!(matches!(Request::decode(&flagged, &limits()), Err(RequestError::Malformed(_))));
}

/// A READ of one key at no particular time, with a byte of its payload changed.
fn read_with(offset: usize, value: u8) -> Result<Request, RequestError> {
    let mut stream = BytesMut::new();
    encode_read(1, 1, &ReadTime::Now, false, &["abc"], &mut stream).unwrap();
    stream[FRAME_HEADER_BYTES + offset] = value;
    Request::decode(&frame_of(&mut stream), &limits())
}

#[test]
fn reserved_bytes_and_padding_must_be_zero() {
    assert!(read_with(5, 0).is_ok());
    for offset in [5, 20, 23] {
        let error = read_with(offset, 1).unwrap_err();
        let wanted = RequestError::Malformed(ProtocolError::ReservedNotZero { place: "READ" });
        assert_eq!(error, wanted, "offset {offset}");
    }
}

#[test]
fn ends_of_keys_must_ascend() {
    let mut stream = BytesMut::new();
    encode_read(1, 1, &ReadTime::Now, false, &["a", "b"], &mut stream).unwrap();
    stream[FRAME_HEADER_BYTES + 16] = 3;
    let error = Request::decode(&frame_of(&mut stream), &limits()).unwrap_err();
    assert_eq!(error.to_string(), "READ: the ends of its items do not ascend");
}
