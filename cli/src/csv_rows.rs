//! Where the parts of rows stand in a file's columns, and batches of rows out of CSV text, the same
//! for the same text and layout. Knows nothing of files and servers.

use std::io::Read;

use bytes::Bytes;
use csv::ByteRecord;
use tilekv_client::{ColumnType, Rows, RowsBuilder, Scalar, TileError, ViewDefinition};
use tilekv_tile::{Timestamp, parse_scalar};

use crate::arguments::{Load, TimeForm};
use crate::clock_time;
use crate::render::joined_keys;
use crate::tiles::pairs;

/// Where the parts of a row stand in the columns of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowLayout {
    entity: Vec<usize>,
    time: usize,
    time_form: TimeForm,
    /// Name, type and CSV column of each column of the view that is filled.
    columns: Vec<(String, ColumnType, usize)>,
    null: Option<String>,
    skip_missing: bool,
    batch_rows: usize,
}

/// Reads batches.
pub(crate) struct CsvRows<R> {
    reader: csv::Reader<R>,
    layout: RowLayout,
    builder: RowsBuilder,
    record: ByteRecord,
    passed_over: u64,
}

/// What a row of the file is to the load.
enum Row {
    Taken,
    PassedOver,
}

impl RowLayout {
    /// Finds the columns that the command line names in the header of the file.
    pub(crate) fn find(
        load: &Load,
        view: &ViewDefinition,
        header: &ByteRecord,
    ) -> Result<Self, String> {
        if load.entity.len() != view.keys.len() {
            let keys: Vec<&str> = view.keys.iter().map(|key| key.as_str()).collect();
            let (found, expected) = (load.entity.len(), keys.join(", "));
            return Err(format!(
                "--entity names {found} columns: expected one each for {expected}"
            ));
        }
        let entity =
            load.entity.iter().map(|name| place(header, name)).collect::<Result<_, _>>()?;
        Ok(Self {
            entity,
            time: place(header, &load.time)?,
            time_form: load.time_form,
            columns: columns(load, view, header)?,
            null: load.null.clone(),
            skip_missing: load.skip_missing,
            batch_rows: load.batch,
        })
    }

    /// Rows of one batch.
    pub(crate) fn batch_rows(&self) -> usize {
        self.batch_rows
    }

    /// Whether rows without entity or time are passed over.
    pub(crate) fn skips_missing(&self) -> bool {
        self.skip_missing
    }

    /// The columns of the file that make the entity.
    pub(crate) fn entity_places(&self) -> &[usize] {
        &self.entity
    }

    /// The column of the file with the time, and how it is written.
    pub(crate) fn time_place(&self) -> (usize, TimeForm) {
        (self.time, self.time_form)
    }

    /// Name, type and column of the file of each column of the view that is filled.
    pub(crate) fn columns(&self) -> &[(String, ColumnType, usize)] {
        &self.columns
    }

    /// Whether the cell is null where it stands, whatever its column.
    pub(crate) fn is_missing(&self, cell: &[u8]) -> bool {
        cell.is_empty() || self.null.as_ref().is_some_and(|null| cell == null.as_bytes())
    }

    fn entity(&self, record: &ByteRecord) -> Option<Bytes> {
        let keys = self.entity.iter().map(|place| &record[*place]);
        if keys.clone().any(|key| self.is_missing(key)) {
            return None;
        }
        Some(Bytes::from(joined_keys(keys)))
    }

    /// Whether a text is null in a column of that type.
    pub(crate) fn is_null(&self, text: &[u8], kind: ColumnType) -> bool {
        match &self.null {
            Some(null) => text == null.as_bytes(),
            None => text.is_empty() && kind != ColumnType::Str,
        }
    }

    fn cells<'r>(&self, record: &'r ByteRecord) -> Result<Vec<Option<Scalar<'r>>>, String> {
        let cell = |(name, kind, place): &(String, ColumnType, usize)| {
            let text = &record[*place];
            if self.is_null(text, *kind) {
                return Ok(None);
            }
            let scalar = parse_scalar(*kind, text);
            scalar.map(Some).map_err(|error| format!("column \"{name}\": {error}"))
        };
        self.columns.iter().map(cell).collect()
    }

    /// A time as the command line says that it is written.
    pub(crate) fn time(&self, text: &[u8]) -> Result<i64, String> {
        time_of(self.time_form, text)
    }
}

/// The milliseconds of a time that is written so.
pub(crate) fn time_of(form: TimeForm, text: &[u8]) -> Result<i64, String> {
    let shown = || String::from_utf8_lossy(text).into_owned();
    let whole = |text: &[u8]| Timestamp::parse(text).map_err(|error| error.to_string());
    match form {
        TimeForm::Millis => whole(text).map(Timestamp::millis),
        TimeForm::Seconds => {
            let seconds = whole(text)?.millis();
            seconds.checked_mul(1_000).ok_or_else(|| format!("time {seconds} s: too far away"))
        }
        TimeForm::Iso => clock_time::parse(&shown()).map_err(|error| error.to_string()),
    }
}

impl<R: Read> CsvRows<R> {
    /// Reads from behind the header.
    pub(crate) fn new(reader: csv::Reader<R>, layout: RowLayout) -> Result<Self, TileError> {
        let columns: Vec<(&str, ColumnType)> =
            layout.columns.iter().map(|(name, kind, _)| (name.as_str(), *kind)).collect();
        let builder = RowsBuilder::new(&columns)?;
        Ok(Self { reader, layout, builder, record: ByteRecord::new(), passed_over: 0 })
    }

    /// How many rows were passed over because their entity or time is missing.
    pub(crate) fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// The next batch; none at the end. Errors name the line.
    pub(crate) fn next_batch(&mut self) -> Result<Option<Rows>, String> {
        while self.builder.len() < self.layout.batch_rows && self.read_record()? {
            let at_line = |problem: String| format!("line {}: {problem}", line(&self.record));
            match take_row(&self.layout, &self.record, &mut self.builder).map_err(at_line)? {
                Row::Taken => {}
                Row::PassedOver => self.passed_over += 1,
            }
        }
        if self.builder.is_empty() {
            return Ok(None);
        }
        self.builder.take().map(Some).map_err(|error| error.to_string())
    }

    /// Passes over a batch without reading its values; tells how many rows it had.
    pub(crate) fn skip_batch(&mut self) -> Result<usize, String> {
        let mut rows = 0;
        while rows < self.layout.batch_rows && self.read_record()? {
            let is_whole = self.layout.entity(&self.record).is_some()
                && !self.layout.is_missing(&self.record[self.layout.time]);
            if is_whole {
                rows += 1;
            } else {
                self.passed_over += 1;
            }
        }
        Ok(rows)
    }

    fn read_record(&mut self) -> Result<bool, String> {
        self.reader.read_byte_record(&mut self.record).map_err(|error| error.to_string())
    }
}

fn take_row(
    layout: &RowLayout,
    record: &ByteRecord,
    builder: &mut RowsBuilder,
) -> Result<Row, String> {
    let time = &record[layout.time];
    let Some(entity) = layout.entity(record).filter(|_| !layout.is_missing(time)) else {
        if layout.skip_missing {
            return Ok(Row::PassedOver);
        }
        return Err("no entity or no time; --skip-missing passes over such rows".to_owned());
    };
    let (time, cells) = (layout.time(time)?, layout.cells(record)?);
    builder.push(entity, time, &cells).map_err(|error| error.to_string())?;
    Ok(Row::Taken)
}

/// What the command line maps, then the columns of the view that the file has under their name.
fn columns(
    load: &Load,
    view: &ViewDefinition,
    header: &ByteRecord,
) -> Result<Vec<(String, ColumnType, usize)>, String> {
    let mapped = pairs(&load.map, "VIEW_COLUMN=CSV_COLUMN").map_err(|error| error.to_string())?;
    if let Some((unknown, _)) = mapped
        .iter()
        .find(|(name, _)| view.columns.iter().all(|known| known.name.as_str() != *name))
    {
        let known: Vec<&str> = view.columns.iter().map(|column| column.name.as_str()).collect();
        return Err(format!(
            "--map \"{unknown}\": expected a column of view {}: {}",
            view.name,
            known.join(", ")
        ));
    }
    let mut columns = Vec::new();
    for column in &view.columns {
        let name = column.name.as_str();
        let csv_name = mapped.iter().find(|(mapped, _)| *mapped == name).map(|(_, csv)| *csv);
        let place = match csv_name {
            Some(csv_name) => Some(place(header, csv_name)?),
            None => place(header, name).ok(),
        };
        columns.extend(place.map(|place| (name.to_owned(), column.kind, place)));
    }
    Ok(columns)
}

fn place(header: &ByteRecord, name: &str) -> Result<usize, String> {
    header.iter().position(|heading| heading == name.as_bytes()).ok_or_else(|| {
        let known: Vec<_> = header.iter().map(String::from_utf8_lossy).collect();
        format!("no column \"{name}\" in the header: expected one of {}", known.join(", "))
    })
}

fn line(record: &ByteRecord) -> u64 {
    record.position().map_or(0, csv::Position::line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tilekv_client::{Edge, Identifier, LateMode, Name, SealMode, Span};

    const TEXT: &str = "t,who,where,n,word\n5,a,x,1,\n6,,x,2,hi\n7,b,y,,NA\n8,c,z,4,ok\n";

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
            columns: ["n:i64", "text:str"]
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
            map: vec!["text=word".to_owned()],
            null: None,
            skip_missing: true,
            delimiter: ',',
            batch: 2,
            in_flight: 1,
            producer: None,
            as_job: crate::arguments::AsJob::default(),
        };
        change(&mut load);
        load
    }

    fn rows(load: &Load) -> Result<CsvRows<&'static [u8]>, String> {
        let mut reader = csv::Reader::from_reader(TEXT.as_bytes());
        let header = reader.byte_headers().unwrap().clone();
        let layout = RowLayout::find(load, &view(), &header)?;
        CsvRows::new(reader, layout).map_err(|error| error.to_string())
    }

    #[test]
    fn batches_are_cut_by_rows_taken() {
        let mut source = rows(&load(|_| {})).unwrap();
        let first = source.next_batch().unwrap().unwrap();
        assert_eq!(first.entities, [&b"a\x1Fx"[..], b"b\x1Fy"]);
        assert_eq!(first.timestamps, [5, 7]);
        assert_eq!(first.cell(1, 0, ColumnType::I64), Ok(None), "empty is null for numbers");
        assert_eq!(first.cell(0, 1, ColumnType::Str), Ok(Some(Scalar::Str(b""))));
        assert_eq!(source.next_batch().unwrap().unwrap().len(), 1);
        assert_eq!(source.next_batch().unwrap(), None);
        assert_eq!(source.passed_over(), 1);
    }

    #[test]
    fn a_skipped_batch_ends_where_a_read_one_does() {
        let mut source = rows(&load(|_| {})).unwrap();
        assert_eq!(source.skip_batch().unwrap(), 2);
        assert_eq!(source.next_batch().unwrap().unwrap().timestamps, [8]);
        assert_eq!(source.skip_batch().unwrap(), 0);
    }

    #[test]
    fn a_token_is_null_everywhere() {
        let mut source = rows(&load(|load| {
            load.null = Some("NA".to_owned());
            load.map.clear();
            load.map.push("text=word".to_owned());
            load.map.push("n=t".to_owned());
        }))
        .unwrap();
        let first = source.next_batch().unwrap().unwrap();
        assert_eq!(first.cell(1, 1, ColumnType::Str), Ok(None));
        assert_eq!(first.cell(1, 0, ColumnType::I64), Ok(Some(Scalar::I64(7))));
    }

    #[test]
    fn mistakes_name_line_and_column() {
        let error = rows(&load(|load| load.skip_missing = false)).unwrap().next_batch();
        let error = error.unwrap_err();
        assert!(error.starts_with("line 3: no entity"), "{error}");
        let mut source = rows(&load(|load| load.map = vec!["n=word".to_owned()])).unwrap();
        source.next_batch().unwrap_err();
        let error = rows(&load(|load| load.time = "when".to_owned())).err().unwrap();
        assert!(error.contains("\"when\"") && error.contains("who"), "{error}");
        let error = rows(&load(|load| load.entity = vec!["who".to_owned()])).err().unwrap();
        assert!(error.contains("who, where_"), "{error}");
        let error = rows(&load(|load| load.map = vec!["m=word".to_owned()])).err().unwrap();
        assert!(error.contains("\"m\"") && error.contains("n, text"), "{error}");
    }

    #[test]
    fn times_have_forms() {
        let layout = |form| {
            let load = load(|load| load.time_form = form);
            rows(&load).unwrap().layout
        };
        assert_eq!(layout(TimeForm::Seconds).time(b"7"), Ok(7_000));
        assert_eq!(layout(TimeForm::Iso).time(b"1970-01-02"), Ok(86_400_000));
        assert!(layout(TimeForm::Seconds).time(b"9007199254740992").is_ok_and(|ms| ms > 0));
        assert!(layout(TimeForm::Millis).time(b"7.5").is_err());
    }
}
