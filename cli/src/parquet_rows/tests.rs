//! Parquet files of every type that is taken, written here and read back.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Float32Array, Float64Array, Int32Array, Int64Array,
    StringArray, TimestampMicrosecondArray, UInt64Array,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tilekv_client::{Edge, Identifier, LateMode, Name, SealMode, Span, ViewDefinition};

use super::*;
use crate::arguments::{AsJob, Load};

fn view() -> ViewDefinition {
    ViewDefinition {
        name: Name::parse(b"v").unwrap(),
        tile: Span::parse(b"1h").unwrap(),
        retention: None,
        edge: Edge::Closed,
        seal: SealMode::Off,
        max_lag: None,
        late: LateMode::Add,
        min_rows: 0,
        levels: None,
        keys: ["who", "where_"].map(|key| Identifier::parse(key.as_bytes()).unwrap()).into(),
        columns: ["n:i64", "x:f64", "word:str"]
            .map(|column| tilekv_client::parse_column(column).unwrap())
            .into(),
        features: vec![tilekv_client::parse_feature("rows_seen=count()").unwrap()],
    }
}

fn load(change: impl FnOnce(&mut Load)) -> Load {
    let mut load = Load {
        file: "x".into(),
        view: "v".to_owned(),
        entity: vec!["who".to_owned(), "where".to_owned()],
        time: "t".to_owned(),
        time_form: TimeForm::Millis,
        map: Vec::new(),
        null: None,
        skip_missing: true,
        delimiter: ',',
        batch: 2,
        in_flight: 1,
        producer: None,
        as_job: AsJob::default(),
    };
    change(&mut load);
    load
}

fn columns() -> Vec<(&'static str, ArrayRef)> {
    let who: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("b"), Some("c")]));
    let times = vec![Some(5_999), Some(6_000), Some(-1), Some(8_000)];
    vec![
        ("who", who),
        ("where", Arc::new(Int32Array::from(vec![1, 2, 3, 4]))),
        ("unused", Arc::new(BooleanArray::from(vec![true, false, true, false]))),
        ("t", Arc::new(TimestampMicrosecondArray::from(times))),
        ("n", Arc::new(Int64Array::from(vec![Some(1), Some(2), None, Some(i64::MIN)]))),
        ("x", Arc::new(Float64Array::from(vec![Some(0.5), Some(1.5), None, Some(1e300)]))),
        ("word", Arc::new(StringArray::from(vec![Some(""), Some("hi"), None, Some("ok")]))),
    ]
}

/// The file with one column replaced.
fn with(name: &'static str, array: ArrayRef) -> Vec<(&'static str, ArrayRef)> {
    let mut columns = columns();
    columns.retain(|(known, _)| *known != name);
    columns.push((name, array));
    columns
}

fn rows(
    columns: Vec<(&'static str, ArrayRef)>,
    load: &Load,
    compression: Compression,
) -> Result<ParquetRows, String> {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap();
    let mut file = tempfile();
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let opened = open(file).unwrap();
    let layout = RowLayout::find(load, &view(), &header(&opened))?;
    ParquetRows::new(opened, layout, Progress::start("test", 1), 1)
}

/// A file without a name.
fn tempfile() -> File {
    tempfile::tempfile().unwrap()
}

#[test]
fn batches_are_cut_by_rows_taken_whatever_the_compression() {
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::ZSTD(ZstdLevel::default()),
        Compression::LZ4_RAW,
    ] {
        let mut source = rows(columns(), &load(|_| {}), compression).unwrap();
        let first = source.next_batch().unwrap().unwrap();
        assert_eq!(first.entities, [&b"a\x1F1"[..], b"b\x1F3"]);
        assert_eq!(first.timestamps, [5, -1], "microseconds are rounded towards minus infinity");
        assert_eq!(first.cell(0, 0, ColumnType::I64), Ok(Some(Scalar::I64(1))));
        assert_eq!(first.cell(1, 0, ColumnType::I64), Ok(None));
        assert_eq!(first.cell(0, 1, ColumnType::F64), Ok(Some(Scalar::F64(0.5))));
        assert_eq!(first.cell(0, 2, ColumnType::Str), Ok(Some(Scalar::Str(b""))));
        assert_eq!(first.cell(1, 2, ColumnType::Str), Ok(None));
        assert_eq!(source.next_batch().unwrap().unwrap().len(), 1);
        assert_eq!(source.next_batch().unwrap(), None);
        assert_eq!(source.passed_over(), 1);
    }
}

#[test]
fn times_have_many_types() {
    let days: ArrayRef = Arc::new(Date32Array::from(vec![0, 1, 2, 3]));
    let seconds: ArrayRef = Arc::new(UInt64Array::from(vec![0, 1, 86_400, 3]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["1970-01-01"; 4]));
    for (array, form, expected) in [
        (days, TimeForm::Millis, [0, 172_800_000]),
        (seconds, TimeForm::Seconds, [0, 86_400_000]),
        (texts, TimeForm::Iso, [0, 0]),
    ] {
        let load = load(|load| load.time_form = form);
        let mut source = rows(with("t", array), &load, Compression::SNAPPY).unwrap();
        assert_eq!(source.next_batch().unwrap().unwrap().timestamps, expected);
    }
}

#[test]
fn values_fit_the_view_or_are_refused_with_row_and_column() {
    let narrow: ArrayRef = Arc::new(Float32Array::from(vec![0.25; 4]));
    let mut source = rows(with("x", narrow), &load(|_| {}), Compression::SNAPPY).unwrap();
    let first = source.next_batch().unwrap().unwrap();
    assert_eq!(first.cell(0, 1, ColumnType::F64), Ok(Some(Scalar::F64(0.25))));
    let refused = |name: &'static str, array: ArrayRef| {
        let mut source = rows(with(name, array), &load(|_| {}), Compression::SNAPPY).unwrap();
        source.next_batch().unwrap_err()
    };
    let doubles = || Arc::new(Float64Array::from(vec![1.0; 4]));
    let error = refused("n", doubles());
    assert_eq!(error, "row 1: column \"n\": doubles in the file, i64 in the view");
    assert!(refused("who", doubles()).starts_with("row 1: an entity of doubles"));
    assert!(refused("t", doubles()).starts_with("row 1: a time of doubles"));
    let truths = || Arc::new(BooleanArray::from(vec![true; 4]));
    assert!(refused("word", truths()).starts_with("column \"word\": Boolean: expected"));
    let large = Arc::new(UInt64Array::from(vec![u64::MAX; 4]));
    assert!(refused("n", large).starts_with("column \"n\": 18446744073709551615"));
    let mut source =
        rows(columns(), &load(|load| load.skip_missing = false), Compression::SNAPPY).unwrap();
    let error = source.next_batch().unwrap_err();
    assert!(error.starts_with("row 2: no entity"), "{error}");
}
