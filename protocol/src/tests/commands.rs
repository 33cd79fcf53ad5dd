//! The grammar of every command, and the words of its refusals.

use tilekv_tile::{After, Cells, ColumnType, Edge, Function, LateMode, SealMode};

use crate::*;

fn arguments(line: &str) -> Arguments {
    let words: Vec<&str> = line.split_whitespace().collect();
    Arguments::from_list(&words).unwrap()
}

fn parse(line: &str) -> Command {
    Command::from_arguments(&arguments(line)).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn refusal(line: &str) -> String {
    match Command::from_arguments(&arguments(line)) {
        Ok(command) => panic!("{line}: {command:?}"),
        Err(error) => error.reply.to_string(),
    }
}

fn window_read(line: &str) -> WindowRead {
    match parse(line) {
        Command::Window(WindowCommand::Read(read)) => *read,
        other => panic!("{line}: {other:?}"),
    }
}

fn events(line: &str) -> EventWrite {
    match parse(line) {
        Command::Tile(TileCommand::Events(write)) => *write,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn a_view_is_defined_with_options_in_any_order() {
    let line = "view.create shop features 2 spend=sum(amount) n=count() SEAL required tile 1h \
                COLUMNS 1 amount:F64 KEYS 2 user item LATE drop MAXLAG 2d EDGE live MINROWS 5 \
                LEVELS 1 1d RETENTION 30d";
    let Command::View(ViewCommand::Create(view)) = parse(line) else { panic!("{line}") };
    assert_eq!(view.name.as_str(), "shop");
    assert_eq!(view.tile.millis(), 3_600_000);
    assert_eq!(view.retention.unwrap().millis(), 30 * 86_400_000);
    assert_eq!((view.edge, view.seal, view.late), (Edge::Live, SealMode::Required, LateMode::Drop));
    assert_eq!((view.min_rows, view.levels.as_ref().unwrap().len()), (5, 1));
    assert_eq!(view.keys.len(), 2);
    assert_eq!(view.columns[0].kind, ColumnType::F64);
    assert_eq!(view.features[0].expression.function, Function::Sum);
    assert_eq!(view.features[1].expression.column, None);
}

#[test]
fn a_view_has_defaults() {
    let line = "VIEW.CREATE v TILE 1d COLUMNS 0 FEATURES 1 n=count()";
    let Command::View(ViewCommand::Create(view)) = parse(line) else { panic!("{line}") };
    assert_eq!(view.keys[0].as_str(), "entity");
    assert_eq!((view.retention, view.levels, view.max_lag), (None, None, None));
    assert_eq!((view.edge, view.seal, view.late), (Edge::Closed, SealMode::Off, LateMode::Add));
}

#[test]
fn a_view_is_altered() {
    let line = "VIEW.ALTER v ADD FEATURES 1 m=max(a) RETENTION none add columns 1 a:i64 SEAL off";
    let Command::View(ViewCommand::Alter { view, change }) = parse(line) else { panic!("{line}") };
    assert_eq!(view.as_str(), "v");
    assert_eq!((change.add_columns.len(), change.add_features.len()), (1, 1));
    assert_eq!((change.retention, change.seal), (Some(None), Some(SealMode::Off)));
    assert_eq!((change.edge, change.max_lag, change.min_rows), (None, None, None));
}

#[test]
fn one_event_has_pairs_and_a_stamp() {
    let write = events("tile.add v u:1 -5 amount 1.5 note AFTER AFTER 6 producer p 7");
    assert_eq!(write.shape, RequestShape::Single);
    assert_eq!(write.rows.timestamps, [-5]);
    assert_eq!(write.rows.columns.len(), 2);
    let Cells::Text { null, cells } = &write.rows.cells else { panic!("cells are text") };
    assert_eq!((null, &cells[1][..]), (&None, &b"AFTER"[..]));
    let stamp = write.stamp.unwrap();
    assert_eq!((&stamp.id[..], stamp.sequence), (&b"p"[..], 7));
    assert_eq!(stamp.after, After::Sequence(6));
    assert_eq!(events("TILE.ADD v u:1 5").rows.columns, []);
}

#[test]
fn many_events_are_rows_of_text() {
    let write =
        events("TILE.MADD v NULL - AFTER - PRODUCER p 0 COLUMNS 2 a b ROWS 2 x 1 3 - y 2 - 4");
    assert_eq!(write.shape, RequestShape::Batch);
    assert_eq!(write.stamp.unwrap().after, After::First);
    assert_eq!(write.rows.timestamps, [1, 2]);
    assert_eq!(write.rows.entities, ["x", "y"]);
    let Cells::Text { null, cells } = &write.rows.cells else { panic!("cells are text") };
    assert_eq!((null.as_deref(), cells.len()), (Some(&b"-"[..]), 4));
    assert_eq!(events("TILE.MADD v COLUMNS 0 ROWS 0").rows.len(), 0);
    assert_eq!(events("TILE.MADD v COLUMNS 0 ROWS 2 x 1 y 2").rows.len(), 2);
}

#[test]
fn cells_share_the_request() {
    let request = arguments("TILE.MADD v COLUMNS 1 a ROWS 1 x 1 somevalue");
    let Ok(Command::Tile(TileCommand::Events(write))) = Command::from_arguments(&request) else {
        panic!("an event write")
    };
    let Cells::Text { cells, .. } = &write.rows.cells else { panic!("cells are text") };
    let inside = request.get(9).unwrap().as_ptr();
    assert_eq!(cells[0].as_ptr(), inside);
}

#[test]
fn a_tile_is_set_and_merged() {
    for (line, wanted) in [
        ("TILE.SET v u:1 0 n 3 s 1.5 PRODUCER p 1", TileWriteMode::Set),
        ("tile.merge v u:1 0 n 3 s 1.5 PRODUCER p 1", TileWriteMode::Merge),
    ] {
        let Command::Tile(TileCommand::Write(write)) = parse(line) else { panic!("{line}") };
        assert_eq!((write.mode, write.partials.len()), (wanted, 2));
        assert_eq!(write.stamp.unwrap().sequence, 1);
    }
}

#[test]
fn tiles_are_read_and_deleted() {
    let line = "TILE.RANGE v u 0 10 FEATURES 1 f";
    let Command::Tile(TileCommand::Range { from, to, features, .. }) = parse(line) else {
        panic!("{line}")
    };
    assert_eq!((from, to, features.unwrap().len()), (0, 10, 1));
    assert!(matches!(
        parse("TILE.DEL v u 0 10"),
        Command::Tile(TileCommand::Delete { from: 0, to: 10, .. })
    ));
    let Command::Tile(TileCommand::DeleteEntity { views, .. }) = parse("ENTITY.DEL u VIEWS 2 a b")
    else {
        panic!("an entity is deleted")
    };
    assert_eq!(views.unwrap().len(), 2);
    let Command::Tile(TileCommand::Producer { id, .. }) = parse("PRODUCER.GET v p") else {
        panic!("a producer is asked for")
    };
    assert_eq!(id, "p");
}

#[test]
fn selectors_end_where_no_at_sign_is() {
    let read = window_read("WINDOW.GET v u@1 a@7d b@lifetime:1d STATUS EDGE live AT 50 KNOWN");
    assert_eq!(read.entities, ["u@1"]);
    assert_eq!(read.selectors.len(), 2);
    assert_eq!((read.time, read.known), (ReadTime::At(50), true));
    assert_eq!((read.edge, read.with_status), (Some(Edge::Live), true));
    assert_eq!(read.shape, RequestShape::Single);
}

#[test]
fn many_entities_may_each_have_a_time() {
    let read = window_read("window.mget v selectors 1 a@1h ats 2 1 2 known entities 2 x y");
    assert_eq!(read.time, ReadTime::Each(vec![1, 2]));
    assert!(read.known && !read.with_status);
    assert_eq!((read.entities.len(), read.shape), (2, RequestShape::Batch));
    assert_eq!(window_read("WINDOW.MGET v ENTITIES 0 SELECTORS 1 a@1h").entities.len(), 0);
    let line = "WINDOW.EXPLAIN v u a@1h EDGE closed AT 7";
    let Command::Window(WindowCommand::Explain(explain)) = parse(line) else { panic!("{line}") };
    assert_eq!((explain.edge, explain.time), (Some(Edge::Closed), ReadTime::At(7)));
}

#[test]
fn a_service_is_windows_of_views_parted_at_the_last_dot() {
    let Command::Service(ServiceCommand::Create { name, selectors }) =
        parse("service.create ranking.v1 SELECTORS 2 shop.likes.n@7d:1d v.n@lifetime")
    else {
        panic!("a service")
    };
    assert_eq!((name.as_str(), selectors.len()), ("ranking.v1", 2));
    assert_eq!(selectors[0].view.as_str(), "shop.likes");
    assert_eq!(selectors[0].selector.to_string(), "n@7d:1d");
}

#[test]
fn a_service_is_read_by_rows_of_key_values() {
    let Command::Service(ServiceCommand::Read(read)) =
        parse("SERVICE.GET s ATS 2 5 6 KNOWN KEYS 2 user item STATUS ROWS 2 u1 i1 u2 i2")
    else {
        panic!("a read")
    };
    assert_eq!(read.keys.len(), 2);
    assert_eq!(read.values, ["u1", "i1", "u2", "i2"]);
    assert_eq!(read.time, ReadTime::Each(vec![5, 6]));
    assert!(read.known && read.with_status);
    let words = ["SERVICE.GET", "s", "KEYS", "1", "k", "ROWS", "1", ""];
    let empty = Command::from_arguments(&Arguments::from_list(&words).unwrap());
    assert!(empty.is_ok(), "a key that the row does not have: {empty:?}");
}

#[test]
fn rows_of_key_values_have_bounds_on_both_sides() {
    let read = |keys: usize, value_bytes: usize| {
        let mut words = vec!["SERVICE.GET".to_owned(), "s".to_owned()];
        words.extend(["KEYS".to_owned(), keys.to_string()]);
        words.extend((0..keys).map(|key| format!("k{key}")));
        words.extend(["ROWS".to_owned(), "1".to_owned()]);
        words.extend((0..keys).map(|_| "x".repeat(value_bytes)));
        let parsed = Command::from_arguments(&Arguments::from_list(&words).unwrap());
        parsed.map(|_| ()).map_err(|error| error.reply.to_string())
    };
    assert_eq!(read(limits::SERVICE_KEYS_MAX, 1), Ok(()));
    let error = read(limits::SERVICE_KEYS_MAX + 1, 1).unwrap_err();
    assert!(error.starts_with("LIMIT 4097 keys in one read"), "{error}");
    assert_eq!(read(1, 65_535), Ok(()));
    let error = read(1, 65_536).unwrap_err();
    assert!(error.starts_with("BADVALUE row 1: a key value of 65536 bytes"), "{error}");
    let create = |count: usize| {
        let line = format!("SERVICE.CREATE s SELECTORS {count}{}", " v.n@1d".repeat(count));
        let parsed = Command::from_arguments(&arguments(&line));
        parsed.map(|_| ()).map_err(|error| error.reply.to_string())
    };
    assert_eq!(create(limits::COLUMNS_MAX), Ok(()));
    let error = create(limits::COLUMNS_MAX + 1).unwrap_err();
    assert!(error.starts_with("LIMIT 4097 selectors in one service"), "{error}");
}

#[test]
fn seals_have_ranges() {
    let Command::Seal(SealCommand::Add(range)) = parse("SEAL.ADD v -10 20") else {
        panic!("a seal is added")
    };
    assert_eq!((range.from, range.to), (-10, 20));
    assert!(matches!(parse("SEAL.DEL v 0 1"), Command::Seal(SealCommand::Delete(_))));
    assert!(matches!(parse("SEAL.LIST v"), Command::Seal(SealCommand::List(_))));
}

#[test]
fn connections_introduce_themselves() {
    let Command::Connection(ConnectionCommand::Hello(hello)) =
        parse("HELLO 3 AUTH me secret SETNAME app")
    else {
        panic!("a hello")
    };
    assert_eq!((hello.version, hello.client_name.as_deref()), (Some(3), Some(&b"app"[..])));
    assert_eq!(hello.credentials.unwrap().password, "secret");
    assert_eq!(
        parse("CLIENT REPLY skip"),
        Command::Connection(ConnectionCommand::Client(ClientCommand::Reply(ReplyMode::Skip)))
    );
    let Command::Connection(ConnectionCommand::Client(ClientCommand::Kill(filter))) =
        parse("CLIENT KILL ID 7 SKIPME no")
    else {
        panic!("a kill")
    };
    assert_eq!((filter.form, filter.id, filter.skip_me), (KillForm::Filters, Some(7), Some(false)));
    assert!(matches!(parse("PING"), Command::Connection(ConnectionCommand::Ping(None))));
    assert!(matches!(parse("SELECT 0"), Command::Connection(ConnectionCommand::Select)));
}

#[test]
fn the_server_is_asked() {
    let Command::Server(ServerCommand::Config(ConfigCommand::Set(pairs))) =
        parse("CONFIG SET a 1 b 2")
    else {
        panic!("a setting")
    };
    assert_eq!(pairs.len(), 2);
    assert_eq!(
        parse("COMMAND DOCS get set"),
        Command::Server(ServerCommand::Commands(CommandQuery::Docs(vec![
            "get".into(),
            "set".into()
        ])))
    );
    assert_eq!(
        parse("SHUTDOWN NOSAVE"),
        Command::Server(ServerCommand::Shutdown(ShutdownMode::Graceful))
    );
    assert_eq!(parse("INFO server"), Command::Server(ServerCommand::Info(vec!["server".into()])));
}

#[test]
fn refusals_say_what_is_wrong_and_what_is_right() {
    let cases = [
        ("foo a b", "ERR unknown command 'foo', with args beginning with: 'a' 'b' "),
        ("VIEW.DROP", "ERR wrong number of arguments for 'view.drop' command"),
        ("PING a b", "ERR wrong number of arguments for 'ping' command"),
        ("WATCH k", "ERR WATCH is not supported"),
        ("HELLO 4", "NOPROTO unsupported protocol version"),
        ("SELECT 1", "ERR DB index is out of range"),
        ("CLIENT MAINT_NOTIFICATIONS ON", "ERR unknown subcommand 'MAINT_NOTIFICATIONS'"),
        ("CLIENT ID x", "ERR wrong number of arguments for 'client|id' command"),
        ("CONFIG GET", "ERR wrong number of arguments for 'config|get' command"),
        ("VIEW.DROP 1x", "ERR view or service name \"1x\": expected"),
        ("VIEW.CREATE v COLUMNS 0 FEATURES 1 n=count() EDGE live", "ERR VIEW.CREATE: TILE"),
        ("VIEW.CREATE v TILE 1d TILE 1d COLUMNS 0 FEATURES 0", "ERR VIEW.CREATE: TILE is given"),
        ("VIEW.CREATE v TILE 1d COLUMNS 1 a FEATURES 0", "ERR column \"a\": expected name:type"),
        ("VIEW.CREATE v TILE 1d COLUMNS 9 a:i64 b:i64", "ERR VIEW.CREATE: COLUMNS announces 9"),
        ("VIEW.CREATE v TILE 1d EDGE open COLUMNS 0", "ERR VIEW.CREATE: EDGE must be closed or"),
        ("VIEW.ALTER v ADD VIEWS 1", "ERR VIEW.ALTER: found \"VIEWS\", expected COLUMNS or"),
        ("WINDOW.GET v u a", "ERR WINDOW.GET: found \"a\", expected feature@window"),
        ("WINDOW.GET v u a@1x", "BADWINDOW window \"1x\" in \"a@1x\""),
        ("WINDOW.GET v u a@1h AT x", "BADVALUE the timestamp after AT: timestamp \"x\""),
        ("WINDOW.GET v u a@1h AT 1 AT 2", "ERR WINDOW.GET: the time (AT or ATS) is given twice"),
        ("WINDOW.GET v u a@1h KNOWN", "ERR WINDOW.GET: found \"KNOWN\""),
        ("WINDOW.GET v u STATUS", "ERR WINDOW.GET: found the end, expected at least one"),
        ("WINDOW.MGET v ENTITIES 1 x SELECTORS 1 a@1h ATS 0", "ERR WINDOW.MGET: ATS has 0"),
        ("WINDOW.MGET v ENTITIES 9 x SELECTORS 1 a@1h", "ERR WINDOW.MGET: ENTITIES announces 9"),
        ("SERVICE.CREATE s SELECTORS 1 n@7d", "ERR selector \"n@7d\" in"),
        ("SERVICE.CREATE s SELECTORS 1 v.n", "ERR selector \"v.n\" in"),
        ("SERVICE.CREATE s SELECTORS 0", "ERR wrong number of arguments"),
        ("SERVICE.CREATE s SELECTORS 1 v.n@7d x", "ERR SERVICE.CREATE: found \"x\", expected the"),
        ("SERVICE.CREATE s WINDOWS 1 v.n@7d", "ERR SERVICE.CREATE: found \"WINDOWS\", expected"),
        ("SERVICE.GET s ROWS 1 a KEYS 1 k", "ERR SERVICE.GET: KEYS k key.. in front of ROWS is"),
        ("SERVICE.GET s KEYS 1 k STATUS AT 5", "ERR SERVICE.GET: ROWS n value.. is missing"),
        ("SERVICE.GET s KEYS 2 k l ROWS 2 a b c", "ERR SERVICE.GET: ROWS announces 2 items of 2"),
        ("SERVICE.GET s KEYS 1 k ROWS 1 a ATS 2 1 2", "ERR SERVICE.GET: ATS has 2 timestamps"),
        ("SERVICE.GET s KEYS 1 k ROWS 1 a EDGE live", "ERR SERVICE.GET: found \"EDGE\", expected"),
        ("SERVICE.GET s KEYS 0 ROWS 0 STATUS", "ERR rows of no keys"),
        ("TILE.ADD v u x", "BADVALUE timestamp: timestamp \"x\""),
        ("TILE.ADD v u 1 a", "ERR column \"a\" has no value"),
        ("TILE.ADD v u 1 a 1 AFTER 3", "ERR TILE.ADD: AFTER needs PRODUCER"),
        ("TILE.ADD v u 1 a 1 PRODUCER p -1", "ERR TILE.ADD: the sequence after the producer id"),
        ("TILE.ADD v u 1 a 1 PRODUCER p", "ERR TILE.ADD: the sequence after the producer id is"),
        ("TILE.MADD v COLUMNS 1 a ROWS 2 x 1 2", "ERR TILE.MADD: ROWS announces 2 items"),
        ("TILE.MADD v COLUMNS 1 a ROWS 1 x 1 2 3", "ERR TILE.MADD: ROWS announces 1 rows"),
        ("TILE.MADD v COLUMNS 1 a ROWS 1 x z 2", "BADVALUE row 1 (counted from 1), timestamp"),
        ("TILE.SET v u 0 PRODUCER p 1", "ERR TILE.SET: expected at least one feature"),
        ("TILE.DEL v u 0 1e3", "BADVALUE to: timestamp \"1e3\""),
    ];
    for (line, wanted) in cases {
        let found = refusal(line);
        assert!(found.starts_with(wanted), "{line}: {found}");
        assert!(found.len() <= limits::ERROR_BYTES_MAX);
    }
}

#[test]
fn a_refused_write_is_known_by_its_producer() {
    for line in [
        "TILE.ADD v u notatime a 1 PRODUCER p 7",
        "TILE.ADD v u x a 1 AFTER 6 PRODUCER p 7",
        "TILE.MADD v PRODUCER p 7 COLUMNS 1 a ROWS 1 x z 1",
        "TILE.MADD v PRODUCER p 7 COLUMNS 1 a ROWS 5 x 1 1",
        "TILE.SET v u 0 9bad 3 PRODUCER p 7",
    ] {
        let error = Command::from_arguments(&arguments(line)).unwrap_err();
        let Some(refused) = error.refused else {
            continue;
        };
        assert_eq!((refused.view.as_str(), refused.sequence), ("v", 7), "{line}");
        assert_eq!(refused.producer, "p");
    }
    for line in ["TILE.ADD v u x a 1", "TILE.ADD 9v u 1 a 1 PRODUCER p 7", "TILE.DEL v u 0 x"] {
        let error = Command::from_arguments(&arguments(line)).unwrap_err();
        assert_eq!(error.refused, None, "{line}");
    }
}

#[test]
fn a_read_has_a_bound_on_both_sides() {
    let most = limits::ANSWER_CELLS_MAX;
    assert_eq!(check_answer_size(most, 1), Ok(()));
    assert_eq!(check_answer_size(most + 1, 1).unwrap_err().code(), ErrorCode::Limit);
    assert_eq!(check_answer_size(1, limits::COLUMNS_MAX), Ok(()));
    assert_eq!(check_answer_size(0, limits::COLUMNS_MAX + 1).unwrap_err().code(), ErrorCode::Limit);
}

proptest::proptest! {
    #[test]
    fn no_arguments_make_it_panic(
        name in proptest::sample::select(
            commands().iter().map(|spec| spec.name).collect::<Vec<_>>()),
        rest in proptest::collection::vec(proptest::sample::select(vec![
            "v", "u:1", "0", "1", "2", "-1", "a", "a@1h", "a:i64", "n=count()", "1d", "COLUMNS",
            "ROWS", "ENTITIES", "SELECTORS", "PRODUCER", "AFTER", "NULL", "AT", "ATS", "KNOWN",
            "EDGE", "live", "STATUS", "ADD", "FEATURES", "TILE", "18446744073709551615", "", "-",
            "LIST", "KILL", "GET", "SET", "SETNAME", "TYPE", "ID",
        ]), 0..12),
    ) {
        let mut words = vec![name];
        words.extend(rest);
        let arguments = Arguments::from_list(&words).unwrap();
        if let Err(error) = Command::from_arguments(&arguments) {
            let line = error.reply.to_string();
            proptest::prop_assert!(line.len() <= limits::ERROR_BYTES_MAX);
        }
    }
}
