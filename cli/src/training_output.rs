//! A file of Arrow batches, as Parquet or as CSV, that is whole or not there. Knows nothing of what
//! the columns mean.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::failure::CliError;
use crate::parquet_rows::Column;
use crate::source::shown;

/// A file that is being written under another name.
pub(crate) struct Output {
    path: PathBuf,
    partial: PathBuf,
    writer: Option<Writer>,
}

enum Writer {
    Csv(Box<csv::Writer<BufWriter<File>>>),
    Parquet(Box<ArrowWriter<File>>),
}

/// Rows that are kept in memory for one row group of Parquet.
const ROW_GROUP_ROWS: usize = 1 << 16;

impl Output {
    /// A new file with these columns: Parquet where the name ends so, else CSV.
    pub(crate) fn create(path: &Path, schema: &SchemaRef, delimiter: u8) -> Result<Self, CliError> {
        if path.exists() {
            return Err(failed(path, "create", io::ErrorKind::AlreadyExists.into()));
        }
        let mut name = path.as_os_str().to_owned();
        name.push(".partial");
        let partial = PathBuf::from(name);
        let file = File::create(&partial).map_err(|error| failed(&partial, "create", error))?;
        let is_parquet = path.extension().is_some_and(|extension| extension == "parquet");
        let writer = if is_parquet {
            parquet_writer(file, schema).map_err(|error| failed(path, "write", error))?
        } else {
            csv_writer(file, schema, delimiter).map_err(|error| failed(path, "write", error))?
        };
        Ok(Self { path: path.to_owned(), partial, writer: Some(writer) })
    }

    /// Appends rows. Errors name the column that cannot be written.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), CliError> {
        let written = match &mut self.writer {
            Some(Writer::Csv(writer)) => write_csv(writer, batch),
            Some(Writer::Parquet(writer)) => writer.write(batch).map_err(io::Error::other),
            None => unreachable!("a file that is finished takes no rows"),
        };
        written.map_err(|error| failed(&self.path, "write", error))
    }

    /// Ends the file and gives it its name.
    pub(crate) fn finish(mut self) -> Result<(), CliError> {
        let done = match self.writer.take() {
            Some(Writer::Csv(mut writer)) => writer.flush(),
            Some(Writer::Parquet(writer)) => writer.close().map(|_| ()).map_err(io::Error::other),
            None => unreachable!("a file is finished once"),
        };
        let named = done.and_then(|()| fs::rename(&self.partial, &self.path));
        named.map_err(|error| failed(&self.path, "write", error))
    }
}

impl Drop for Output {
    /// What is not whole goes.
    fn drop(&mut self) {
        drop(self.writer.take());
        drop(fs::remove_file(&self.partial));
    }
}

fn parquet_writer(file: File, schema: &SchemaRef) -> io::Result<Writer> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build();
    let schema = std::sync::Arc::clone(schema);
    let writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(io::Error::other)?;
    Ok(Writer::Parquet(Box::new(writer)))
}

fn csv_writer(file: File, schema: &SchemaRef, delimiter: u8) -> io::Result<Writer> {
    let mut writer =
        csv::WriterBuilder::new().delimiter(delimiter).from_writer(BufWriter::new(file));
    writer.write_record(schema.fields().iter().map(|field| field.name().as_bytes()))?;
    Ok(Writer::Csv(Box::new(writer)))
}

/// Null is empty text; times are milliseconds.
fn write_csv<W: Write>(writer: &mut csv::Writer<W>, batch: &RecordBatch) -> io::Result<()> {
    let schema = batch.schema();
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, array) in schema.fields().iter().zip(batch.columns()) {
        let column = Column::read(array).map_err(|problem| {
            io::Error::other(format!("column \"{}\" as CSV: {problem}", field.name()))
        })?;
        columns.push(column);
    }
    for row in 0..batch.num_rows() {
        for column in &columns {
            writer.write_field(column.text(row).unwrap_or_default())?;
        }
        writer.write_record(None::<&[u8]>)?;
    }
    Ok(())
}

fn failed(path: &Path, verb: &'static str, source: io::Error) -> CliError {
    CliError::File { verb, path: shown(path), source }
}
