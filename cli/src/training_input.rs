//! The rows of a file as Arrow batches with all their columns: CSV as text, Parquet as it is.
//! Knows nothing of what the columns mean.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use csv::StringRecord;
use flate2::read::MultiGzDecoder;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use crate::failure::CliError;
use crate::parquet_rows;
use crate::progress::Progress;
use crate::source::{GZIP_MAGIC, PARQUET_MAGIC, open, shown, starts_with};

/// A file, read front to back.
pub(crate) struct Input {
    schema: SchemaRef,
    rows: Rows,
    batch_rows: usize,
}

enum Rows {
    Csv(Box<csv::Reader<Box<dyn Read>>>),
    Parquet { reader: ParquetRecordBatchReader, read: u64, rows: u64, bytes: u64, bar: Progress },
}

impl Input {
    /// Opens a file; its batches have at most `batch_rows` rows.
    pub(crate) fn open(
        path: &Path,
        delimiter: u8,
        batch_rows: usize,
        progress: &Progress,
    ) -> Result<Self, CliError> {
        let content = |problem| CliError::Content { path: shown(path), problem };
        let (file, bytes) = open(path)?;
        if starts_with(&file, path, PARQUET_MAGIC)? {
            let opened = parquet_rows::open(file).map_err(content)?;
            let schema = Arc::clone(opened.schema());
            let rows = u64::try_from(opened.metadata().file_metadata().num_rows()).unwrap_or(0);
            let reader = opened.with_batch_size(batch_rows).build();
            let reader = reader.map_err(|error| content(error.to_string()))?;
            let bar = progress.clone();
            return Ok(Self {
                schema,
                rows: Rows::Parquet { reader, read: 0, rows, bytes, bar },
                batch_rows,
            });
        }
        let is_packed = starts_with(&file, path, GZIP_MAGIC)?;
        let file = progress.watch(file);
        let text: Box<dyn Read> =
            if is_packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        Self::csv(text, delimiter, batch_rows).map_err(content)
    }

    /// CSV text with a header line.
    fn csv(text: Box<dyn Read>, delimiter: u8, batch_rows: usize) -> Result<Self, String> {
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(text);
        let header = reader.headers().map_err(|error| error.to_string())?;
        let fields: Vec<Field> =
            header.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect();
        let schema = Arc::new(Schema::new(fields));
        Ok(Self { schema, rows: Rows::Csv(Box::new(reader)), batch_rows })
    }

    /// The columns of the file.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next rows; none at the end. Errors name the line.
    pub(crate) fn next_batch(&mut self) -> Result<Option<RecordBatch>, String> {
        match &mut self.rows {
            Rows::Csv(reader) => csv_batch(reader, &self.schema, self.batch_rows),
            Rows::Parquet { reader, read, rows, bytes, bar } => {
                let Some(batch) = reader.next() else { return Ok(None) };
                let batch = batch.map_err(|error| error.to_string())?;
                *read += u64::try_from(batch.num_rows()).unwrap_or(0);
                let done = u128::from(*read) * u128::from(*bytes) / u128::from((*rows).max(1));
                bar.reach(u64::try_from(done).unwrap_or(*bytes));
                Ok(Some(batch))
            }
        }
    }
}

fn csv_batch(
    reader: &mut csv::Reader<Box<dyn Read>>,
    schema: &SchemaRef,
    batch_rows: usize,
) -> Result<Option<RecordBatch>, String> {
    let mut columns: Vec<StringBuilder> =
        schema.fields().iter().map(|_| StringBuilder::new()).collect();
    let (mut record, mut rows) = (StringRecord::new(), 0);
    while rows < batch_rows && reader.read_record(&mut record).map_err(|error| error.to_string())? {
        for (column, cell) in columns.iter_mut().zip(&record) {
            column.append_value(cell);
        }
        rows += 1;
    }
    if rows == 0 {
        return Ok(None);
    }
    let array = |column: &mut StringBuilder| -> ArrayRef { Arc::new(column.finish()) };
    let arrays: Vec<ArrayRef> = columns.iter_mut().map(array).collect();
    RecordBatch::try_new(Arc::clone(schema), arrays).map(Some).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_comes_in_batches_of_text() {
        let text: Box<dyn Read> = Box::new(&b"user;at\nu:1;5\nu:2;\nu:3;7\n"[..]);
        let mut input = Input::csv(text, b';', 2).unwrap();
        let sizes: Vec<usize> = std::iter::from_fn(|| input.next_batch().unwrap())
            .map(|batch| batch.num_rows())
            .collect();
        assert_eq!(sizes, [2, 1]);
        let text: Box<dyn Read> = Box::new(&b"user;at\nu:1;5;6\n"[..]);
        let error = Input::csv(text, b';', 2).unwrap().next_batch().unwrap_err();
        assert!(error.contains("line: 2"), "{error}");
    }
}
