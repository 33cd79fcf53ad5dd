//! The JOB family: its grammar, and the PUT frame, which is read in two steps.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use tilekv_tile::{Cells, Identifier, Rows, TypedColumn};

use crate::native::*;
use crate::*;

fn command(line: &str) -> Result<Command, ErrorReply> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let arguments = Arguments::from_list(&words).unwrap();
    Command::from_arguments(&arguments).map_err(|error| error.reply)
}

fn job(line: &str) -> JobCommand {
    match command(line) {
        Ok(Command::Job(job)) => job,
        other => panic!("{line}: {other:?}"),
    }
}

fn content(line: &str) -> Result<JobContent, String> {
    let JobCommand::Put(put) = job(line) else { panic!("{line}") };
    put.read().map_err(|error| match error {
        RequestError::Refused(error) => error.reply.to_string(),
        RequestError::Malformed(error) => panic!("{line}: {error}"),
    })
}

#[test]
fn a_job_begins_with_options_in_any_order() {
    let JobCommand::Begin(begin) = job("JOB.BEGIN v -10 20") else { panic!("a job") };
    assert_eq!((begin.from, begin.to, begin.mode), (-10, 20, JobMode::Replace));
    assert_eq!((begin.timeout, begin.token), (None, None));
    let line = "job.begin v 0 1 ID run-7 timeout 5m MODE merge";
    let JobCommand::Begin(begin) = job(line) else { panic!("a job") };
    assert_eq!((begin.mode, begin.timeout.unwrap().millis()), (JobMode::Merge, 300_000));
    assert_eq!(begin.token.unwrap(), "run-7");
}

#[test]
fn a_job_is_named_by_its_commands() {
    let JobCommand::Commit(commit) = job("JOB.COMMIT j NOSEAL ROWS 7 EMPTY") else { panic!() };
    assert_eq!((commit.rows, commit.may_be_empty, commit.seal), (Some(7), true, false));
    let JobCommand::Commit(commit) = job("JOB.COMMIT j") else { panic!("a commit") };
    assert_eq!((commit.rows, commit.may_be_empty, commit.seal), (None, false, true));
    for line in ["JOB.COMMIT j", "JOB.ABORT j", "JOB.INFO j", "JOB.PUT j TILES 0"] {
        assert_eq!(job(line).job().unwrap(), "j", "{line}");
    }
    assert_eq!((job("JOB.LIST").job(), job("JOB.BEGIN v 0 1").job()), (None, None));
}

#[test]
fn rows_are_read_late() {
    let line = "JOB.PUT j NULL - SEQ 18446744073709551615 COLUMNS 1 a ROWS 2 x 1 3 y 2 -";
    let JobCommand::Put(put) = job(line) else { panic!("a put") };
    assert_eq!((&put.job[..], put.sequence), (&b"j"[..], Some(u64::MAX)));
    let Ok(JobContent::Rows(rows)) = put.read() else { panic!("rows") };
    assert_eq!((rows.entities.len(), &rows.timestamps[..]), (2, &[1, 2][..]));
    let Cells::Text { null, cells } = &rows.cells else { panic!("cells are text") };
    assert_eq!((null.as_deref(), cells.len()), (Some(&b"-"[..]), 2));
    assert!(matches!(content("JOB.PUT j COLUMNS 0 ROWS 0"), Ok(JobContent::Rows(_))));
}

#[test]
fn tiles_are_read_late() {
    let line = "JOB.PUT j SEQ 1 TILES 2 x 0 2 n 3 s 1.5 y -60000 0";
    let Ok(JobContent::Tiles(tiles)) = content(line) else { panic!("tiles") };
    assert_eq!((tiles[0].entity.as_ref(), tiles[0].start), (&b"x"[..], 0));
    assert_eq!(tiles[0].partials.len(), 2);
    assert_eq!((tiles[1].start, tiles[1].partials.len()), (-60_000, 0));
}

#[test]
fn refusals_say_what_is_wrong_and_what_is_right() {
    for (line, wanted) in [
        ("JOB.BEGIN v 0", "ERR wrong number of arguments for 'job.begin' command"),
        ("JOB.BEGIN v 0 x", "BADVALUE to: timestamp \"x\""),
        ("JOB.BEGIN v 0 1 MODE add", "ERR JOB.BEGIN: MODE must be replace or merge"),
        ("JOB.BEGIN v 0 1 TIMEOUT 0s", "ERR TIMEOUT \"0s\": expected a duration above zero"),
        ("JOB.BEGIN v 0 1 ID a ID b", "ERR JOB.BEGIN: ID is given twice"),
        ("JOB.BEGIN v 0 1 EMPTY", "ERR JOB.BEGIN: found \"EMPTY\", expected MODE"),
        ("JOB.COMMIT j ROWS -1", "ERR JOB.COMMIT: the number after ROWS must be"),
        ("JOB.COMMIT j EMPTY EMPTY", "ERR JOB.COMMIT: EMPTY is given twice"),
        ("JOB.PUT j SEQ x TILES 0", "ERR JOB.PUT: the number after SEQ"),
    ] {
        let found = command(line).unwrap_err().to_string();
        assert!(found.starts_with(wanted), "{line}: {found}");
    }
    for (line, wanted) in [
        ("JOB.PUT j ROWS 1", "ERR JOB.PUT: found \"ROWS\", expected SEQ, NULL, COLUMNS or TILES"),
        ("JOB.PUT j NULL - TILES 0", "ERR JOB.PUT: found \"TILES\", expected COLUMNS"),
        ("JOB.PUT j COLUMNS 1 a ROWS 1 x 1", "ERR JOB.PUT: ROWS announces 1"),
        ("JOB.PUT j TILES 1 x 0 1 n", "ERR tile 1 (counted from 1): JOB.PUT: a tile announces 1"),
        ("JOB.PUT j TILES 2 x 0 0 y z 0", "BADVALUE tile 2 (counted from 1): tile_start"),
        ("JOB.PUT j TILES 1 x 0 0 y", "ERR JOB.PUT: found \"y\", expected the end"),
        ("JOB.PUT j TILES 9 x 0 0", "ERR JOB.PUT: TILES announces 9"),
    ] {
        let found = content(line).unwrap_err();
        assert!(found.starts_with(wanted), "{line}: {found}");
    }
}

#[test]
fn a_token_has_a_bound_on_both_sides() {
    let begin = |bytes: usize| {
        let token = "t".repeat(bytes);
        let words = ["JOB.BEGIN", "v", "0", "1", "ID", &token];
        Command::from_arguments(&Arguments::from_list(&words).unwrap()).is_ok()
    };
    assert!(begin(1) && begin(limits::JOB_TOKEN_BYTES_MAX));
    assert!(!begin(0) && !begin(limits::JOB_TOKEN_BYTES_MAX + 1));
}

fn rows(entities: &[&'static str], values: Vec<i64>) -> Rows {
    Rows {
        columns: vec![Identifier::parse(b"a").unwrap()],
        entities: entities.iter().map(|text| Bytes::from_static(text.as_bytes())).collect(),
        timestamps: (0..).take(entities.len()).collect(),
        cells: Cells::Typed(vec![TypedColumn::I64 { values, valid: None }]),
    }
}

fn framed(rows: &Rows) -> BytesMut {
    let mut bytes = BytesMut::new();
    encode_job_rows(9, b"job-1", Some(3), rows, &mut bytes).unwrap();
    bytes
}

fn read_back(mut bytes: BytesMut) -> Result<JobContent, RequestError> {
    let limits = Limits::authenticated();
    let frame = FrameParser.parse(&mut bytes, &limits).unwrap().unwrap();
    match Request::decode(&frame, &limits)? {
        Request::Put(put) => put.read(),
        other => panic!("{other:?}"),
    }
}

/// [NAT-44] [NAT-45]
#[test]
fn rows_of_one_entity_that_stand_together_name_it_once() {
    let long = "an entity with a name of many bytes";
    let apart = framed(&rows(&[long, "b", long, "b"], vec![1, 2, 3, 4]));
    let together = framed(&rows(&[long, long, "b", "b"], vec![1, 2, 3, 4]));
    assert!(together.len() < apart.len(), "{} {}", together.len(), apart.len());
    for entities in [&[long, "b", long, "b"], &[long, long, "b", "b"]] {
        let wanted = rows(entities, vec![1, 2, 3, 4]);
        assert_eq!(read_back(framed(&wanted)).unwrap(), JobContent::Rows(wanted));
    }
}

/// [NAT-46]
#[test]
fn tiles_come_back() {
    let tiles = JobTiles {
        entities: vec![Bytes::from_static(b"x"), Bytes::from_static(b"y")],
        starts: vec![0, 60_000],
        columns: vec![("n".to_owned(), TypedColumn::I64 { values: vec![3, 4], valid: None })],
    };
    let mut bytes = BytesMut::new();
    encode_job_tiles(1, b"j", None, &tiles, &mut bytes).unwrap();
    let Ok(JobContent::Tiles(read)) = read_back(bytes) else { panic!("tiles") };
    let partials: Vec<&[u8]> = read.iter().map(|tile| &tile.partials[0].1[..]).collect();
    assert_eq!(partials, [&b"3"[..], b"4"]);
    assert_eq!((read[1].entity.as_ref(), read[1].start), (&b"y"[..], 60_000));
}

#[test]
fn frames_that_contradict_themselves_are_refused() {
    let whole = framed(&rows(&["x", "x", "y", "y"], vec![1, 2, 3, 4]));
    let broken = |offset: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[FRAME_HEADER_BYTES + offset] = byte;
        match read_back(bytes) {
            Err(RequestError::Malformed(error)) => error.to_string(),
            other => panic!("offset {offset}: {other:?}"),
        }
    };
    assert!(broken(0, 3).contains("unknown content"));
    assert!(broken(1, 0).contains("not announced"));
    assert!(broken(26, 0).contains("do not belong to the rows"));
    assert!(broken(27, 1).contains("reserved"));
    // The second run ends at row 4; the last entity at byte 2.
    let runs_at = 32 + 8 + 4 * 8 + 8 + 8;
    assert_eq!(whole[FRAME_HEADER_BYTES + runs_at], 2);
    assert!(broken(runs_at + 4, 3).contains("the last run does not end with the rows"));
    assert!(broken(20, 3).contains("the last entity"));
}

#[test]
fn a_frame_has_a_bound_of_rows_on_both_sides() {
    let of = |count: usize| Rows {
        columns: Vec::new(),
        entities: vec![Bytes::from_static(b"x"); count],
        timestamps: vec![0; count],
        cells: Cells::Typed(Vec::new()),
    };
    assert!(read_back(framed(&of(limits::WRITE_ROWS_MAX))).is_ok());
    let refused = read_back(framed(&of(limits::WRITE_ROWS_MAX + 1))).unwrap_err();
    assert!(refused.to_string().starts_with("LIMIT "), "{refused}");
}

fn cells(row_count: usize) -> impl Strategy<Value = TypedColumn> {
    let valid = || proptest::option::of(vec(any::<bool>(), row_count));
    let text = vec(any::<u8>(), 0..9).prop_map(Bytes::from);
    prop_oneof![
        (vec(any::<i64>(), row_count), valid())
            .prop_map(|(values, valid)| TypedColumn::I64 { values, valid }),
        (vec(-1e9f64..1e9, row_count), valid())
            .prop_map(|(values, valid)| TypedColumn::F64 { values, valid }),
        (vec(text, row_count), valid())
            .prop_map(|(values, valid)| TypedColumn::Str { values, valid }),
    ]
}

fn any_rows() -> impl Strategy<Value = Rows> {
    let entity = proptest::sample::select(vec!["x", "y", "z", "a longer one"]);
    let parts = (0usize..20, 0usize..4).prop_flat_map(move |(row_count, columns)| {
        let entities = vec(entity.clone(), row_count);
        let times = vec(-(1i64 << 53)..=1 << 53, row_count);
        (entities, times, vec(cells(row_count), columns))
    });
    parts.prop_map(|(entities, timestamps, columns)| Rows {
        columns: (0..columns.len())
            .map(|index| Identifier::parse(format!("c{index}").as_bytes()).unwrap())
            .collect(),
        entities: entities.into_iter().map(|text| Bytes::from_static(text.as_bytes())).collect(),
        timestamps,
        cells: Cells::Typed(columns),
    })
}

proptest! {
    #[test]
    fn any_rows_come_back(wanted in any_rows()) {
        prop_assert_eq!(read_back(framed(&wanted)).unwrap(), JobContent::Rows(wanted));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(wanted in any_rows(), at in 0usize..4096, byte: u8) {
        let mut bytes = framed(&wanted);
        let at = FRAME_HEADER_BYTES + at % (bytes.len() - FRAME_HEADER_BYTES);
        bytes[at] = byte;
        if let Ok(JobContent::Rows(rows)) = read_back(bytes) {
            let _ = rows.validate();
        }
    }

    #[test]
    fn no_arguments_make_the_reader_panic(
        words in vec(proptest::sample::select(vec![
            "SEQ", "NULL", "COLUMNS", "ROWS", "TILES", "0", "1", "2", "-1", "a", "x", "", "-",
        ]), 0..14),
    ) {
        let line: Vec<&str> = ["JOB.PUT", "j"].into_iter().chain(words).collect();
        let arguments = Arguments::from_list(&line).unwrap();
        if let Ok(Command::Job(JobCommand::Put(put))) = Command::from_arguments(&arguments) {
            let _ = put.read();
        }
    }
}
