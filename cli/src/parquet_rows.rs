//! Batches of rows out of a Parquet file, always the same for the same file and layout. Knows
//! nothing of servers.

use std::collections::BTreeSet;
use std::fs::File;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use bytes::Bytes;
use csv::ByteRecord;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use tilekv_client::{ColumnType, Rows, RowsBuilder, Scalar};
use tilekv_tile::parse_scalar;

use crate::arguments::TimeForm;
use crate::csv_rows::RowLayout;
use crate::progress::Progress;
use crate::render::joined_keys;

/// A file whose schema has been read.
pub(crate) type Opened = ParquetRecordBatchReaderBuilder<File>;

/// Reads batches.
pub(crate) struct ParquetRows {
    reader: ParquetRecordBatchReader,
    builder: RowsBuilder,
    window: Window,
    row: u64,
    rows: u64,
    passed_over: u64,
    progress: Progress,
    file_bytes: u64,
}

/// Some rows of the file, and where their parts stand.
struct Window {
    layout: RowLayout,
    /// The columns of the file that are read, ascending.
    places: Vec<usize>,
    names: Vec<String>,
    columns: Vec<Column>,
    /// The next row of the columns, and how many they have.
    next: usize,
    len: usize,
}

/// The values of a column of the file.
pub(crate) enum Column {
    Integers(Vec<Option<i64>>),
    Doubles(Vec<Option<f64>>),
    Texts(Vec<Option<Bytes>>),
    /// Milliseconds since the epoch.
    Times(Vec<Option<i64>>),
}

/// Reads the schema of a file.
pub(crate) fn open(file: File) -> Result<Opened, String> {
    // Without the hints of who wrote the file, strings come as strings and not as dictionaries.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
        .map_err(|error| error.to_string())
}

/// The names of the columns of a file.
pub(crate) fn header(opened: &Opened) -> ByteRecord {
    opened.schema().fields().iter().map(|field| field.name().as_bytes()).collect()
}

impl ParquetRows {
    /// Reads from the first row.
    pub(crate) fn new(
        opened: Opened,
        layout: RowLayout,
        progress: Progress,
        file_bytes: u64,
    ) -> Result<Self, String> {
        let columns: Vec<(&str, ColumnType)> =
            layout.columns().iter().map(|(name, kind, _)| (name.as_str(), *kind)).collect();
        let builder = RowsBuilder::new(&columns).map_err(|error| error.to_string())?;
        let filled = layout.columns().iter().map(|(_, _, place)| *place);
        let (time, _) = layout.time_place();
        let wanted = layout.entity_places().iter().copied().chain([time]).chain(filled);
        let places: Vec<usize> = wanted.collect::<BTreeSet<_>>().into_iter().collect();
        let fields = opened.schema().fields();
        let names = places.iter().map(|place| fields[*place].name().clone()).collect();
        let rows = u64::try_from(opened.metadata().file_metadata().num_rows()).unwrap_or(0);
        let mask = ProjectionMask::roots(opened.parquet_schema(), places.iter().copied());
        let reader = opened.with_projection(mask).with_batch_size(READ_ROWS).build();
        Ok(Self {
            reader: reader.map_err(|error| error.to_string())?,
            builder,
            window: Window { layout, places, names, columns: Vec::new(), next: 0, len: 0 },
            row: 0,
            rows,
            passed_over: 0,
            progress,
            file_bytes,
        })
    }

    /// How many rows were passed over because their entity or time is missing.
    pub(crate) fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// The next batch; none at the end. Errors name the row.
    pub(crate) fn next_batch(&mut self) -> Result<Option<Rows>, String> {
        let batch_rows = self.window.layout.batch_rows();
        while self.builder.len() < batch_rows && self.has_row()? {
            self.row += 1;
            let taken = self.window.take_row(&mut self.builder);
            let taken = taken.map_err(|problem| format!("row {}: {problem}", self.row))?;
            self.passed_over += u64::from(!taken);
            self.window.next += 1;
        }
        if self.builder.is_empty() {
            return Ok(None);
        }
        self.builder.take().map(Some).map_err(|error| error.to_string())
    }

    /// Whether there is a row, for which more columns may be read.
    fn has_row(&mut self) -> Result<bool, String> {
        while self.window.next == self.window.len {
            let Some(batch) = self.reader.next() else { return Ok(false) };
            let batch = batch.map_err(|error| error.to_string())?;
            self.window.read(&batch)?;
            let done = u128::from(self.row) * u128::from(self.file_bytes);
            let bytes = done / u128::from(self.rows.max(1));
            self.progress.reach(u64::try_from(bytes).unwrap_or(self.file_bytes));
        }
        Ok(true)
    }
}

impl Window {
    fn read(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let column = |(name, array): (&String, &ArrayRef)| {
            Column::read(array).map_err(|problem| format!("column \"{name}\": {problem}"))
        };
        let columns = self.names.iter().zip(batch.columns()).map(column);
        self.columns = columns.collect::<Result<_, _>>()?;
        (self.next, self.len) = (0, batch.num_rows());
        Ok(())
    }

    fn column(&self, place: usize) -> &Column {
        let Ok(index) = self.places.binary_search(&place) else {
            unreachable!("every column of the layout is read")
        };
        &self.columns[index]
    }

    /// Adds the next row to the builder; false where it is passed over.
    fn take_row(&self, builder: &mut RowsBuilder) -> Result<bool, String> {
        let (entity, time) = (self.entity()?, self.time()?);
        let (Some(entity), Some(time)) = (entity, time) else {
            if self.layout.skips_missing() {
                return Ok(false);
            }
            return Err("no entity or no time; --skip-missing passes over such rows".to_owned());
        };
        let mut cells = Vec::with_capacity(self.layout.columns().len());
        for (name, kind, place) in self.layout.columns() {
            let cell = self.cell(*kind, *place);
            cells.push(cell.map_err(|problem| format!("column \"{name}\": {problem}"))?);
        }
        builder.push(entity, time, &cells).map_err(|error| error.to_string())?;
        Ok(true)
    }

    fn entity(&self) -> Result<Option<Bytes>, String> {
        let mut keys = Vec::with_capacity(self.layout.entity_places().len());
        for place in self.layout.entity_places() {
            let key = match self.column(*place) {
                Column::Texts(values) => values[self.next].clone(),
                Column::Integers(values) | Column::Times(values) => {
                    values[self.next].map(|value| Bytes::from(value.to_string()))
                }
                Column::Doubles(_) => return Err("an entity of doubles: expected text".to_owned()),
            };
            match key.filter(|key| !self.layout.is_missing(key)) {
                Some(key) => keys.push(key),
                None => return Ok(None),
            }
        }
        Ok(Some(Bytes::from(joined_keys(keys.iter().map(AsRef::as_ref)))))
    }

    fn time(&self) -> Result<Option<i64>, String> {
        let (place, form) = self.layout.time_place();
        match (self.column(place), form) {
            (Column::Times(values), _) => Ok(values[self.next]),
            (Column::Integers(values), TimeForm::Millis) => Ok(values[self.next]),
            (Column::Integers(values), _) => {
                let text = values[self.next].map(|value| value.to_string());
                text.map(|text| self.layout.time(text.as_bytes())).transpose()
            }
            (Column::Texts(values), _) => {
                let text = values[self.next].as_ref().filter(|text| !self.layout.is_missing(text));
                text.map(|text| self.layout.time(text)).transpose()
            }
            (Column::Doubles(_), _) => Err("a time of doubles: expected integers".to_owned()),
        }
    }

    fn cell(&self, kind: ColumnType, place: usize) -> Result<Option<Scalar<'_>>, String> {
        let parsed = |text: &str| text.parse().map_err(|_| format!("\"{text}\" is no double"));
        match (self.column(place), kind) {
            (Column::Integers(values) | Column::Times(values), ColumnType::I64) => {
                Ok(values[self.next].map(Scalar::I64))
            }
            (Column::Integers(values), ColumnType::F64) => {
                let text = values[self.next].map(|value| value.to_string());
                Ok(text.map(|text| parsed(&text)).transpose()?.map(Scalar::F64))
            }
            (Column::Doubles(values), ColumnType::F64) => Ok(values[self.next].map(Scalar::F64)),
            (Column::Texts(values), kind) => {
                let text = values[self.next].as_deref();
                let text = text.filter(|text| !self.layout.is_null(text, kind));
                let scalar = text.map(|text| parse_scalar(kind, text)).transpose();
                scalar.map_err(|error| error.to_string())
            }
            (column, kind) => {
                Err(format!("{} in the file, {} in the view", column.name(), kind.as_str()))
            }
        }
    }
}

impl Column {
    /// The values of an array, of the types that a load takes.
    pub(crate) fn read(array: &dyn Array) -> Result<Self, String> {
        Ok(match array.data_type() {
            DataType::Int8 => Self::Integers(integers::<Int8Type>(array)?),
            DataType::Int16 => Self::Integers(integers::<Int16Type>(array)?),
            DataType::Int32 => Self::Integers(integers::<Int32Type>(array)?),
            DataType::Int64 => Self::Integers(integers::<Int64Type>(array)?),
            DataType::UInt8 => Self::Integers(integers::<UInt8Type>(array)?),
            DataType::UInt16 => Self::Integers(integers::<UInt16Type>(array)?),
            DataType::UInt32 => Self::Integers(integers::<UInt32Type>(array)?),
            DataType::UInt64 => Self::Integers(integers::<UInt64Type>(array)?),
            DataType::Float32 => Self::Doubles(doubles::<Float32Type>(array)),
            DataType::Float64 => Self::Doubles(doubles::<Float64Type>(array)),
            DataType::Utf8 => Self::Texts(texts(array.as_string::<i32>().iter())),
            DataType::LargeUtf8 => Self::Texts(texts(array.as_string::<i64>().iter())),
            DataType::Binary => Self::Texts(texts(array.as_binary::<i32>().iter())),
            DataType::Date32 => Self::Times(scaled(integers::<Date32Type>(array)?, DAY_MS)?),
            DataType::Timestamp(TimeUnit::Second, _) => {
                Self::Times(scaled(integers::<TimestampSecondType>(array)?, 1_000)?)
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                Self::Times(integers::<TimestampMillisecondType>(array)?)
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Self::Times(floored(integers::<TimestampMicrosecondType>(array)?, 1_000))
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                Self::Times(floored(integers::<TimestampNanosecondType>(array)?, 1_000_000))
            }
            other => {
                return Err(format!(
                    "{other}: expected integers, doubles, strings, dates or timestamps"
                ));
            }
        })
    }

    /// A value as text, times as milliseconds; none for null.
    pub(crate) fn text(&self, row: usize) -> Option<Bytes> {
        match self {
            Self::Integers(values) | Self::Times(values) => {
                values[row].map(|value| Bytes::from(value.to_string()))
            }
            Self::Doubles(values) => values[row].map(|value| Bytes::from(value.to_string())),
            Self::Texts(values) => values[row].clone(),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Integers(_) => "integers",
            Self::Doubles(_) => "doubles",
            Self::Texts(_) => "strings",
            Self::Times(_) => "times",
        }
    }
}

fn integers<T: ArrowPrimitiveType>(array: &dyn Array) -> Result<Vec<Option<i64>>, String>
where
    i64: TryFrom<T::Native>,
{
    let one = |value: T::Native| {
        i64::try_from(value).map_err(|_| format!("{value:?}: expected at most 2^63 - 1"))
    };
    array.as_primitive::<T>().iter().map(|value| value.map(one).transpose()).collect()
}

fn doubles<T: ArrowPrimitiveType>(array: &dyn Array) -> Vec<Option<f64>>
where
    f64: From<T::Native>,
{
    array.as_primitive::<T>().iter().map(|value| value.map(f64::from)).collect()
}

fn texts<T: AsRef<[u8]>>(values: impl Iterator<Item = Option<T>>) -> Vec<Option<Bytes>> {
    values.map(|value| value.map(|text| Bytes::copy_from_slice(text.as_ref()))).collect()
}

fn scaled(values: Vec<Option<i64>>, factor: i64) -> Result<Vec<Option<i64>>, String> {
    let one = |value: i64| {
        value.checked_mul(factor).ok_or_else(|| format!("{value}: expected a nearer time"))
    };
    values.into_iter().map(|value| value.map(one).transpose()).collect()
}

fn floored(values: Vec<Option<i64>>, divisor: i64) -> Vec<Option<i64>> {
    values.into_iter().map(|value| value.map(|value| value.div_euclid(divisor))).collect()
}

const DAY_MS: i64 = 86_400_000;

/// Rows that are read from the file at a time.
const READ_ROWS: usize = 8_192;

#[cfg(test)]
mod tests;
