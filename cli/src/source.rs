//! The rows of a file, whatever its format. Knows nothing of where they go.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use tilekv_client::{Rows, ViewDefinition};

use crate::arguments::Load;
use crate::csv_rows::{CsvRows, RowLayout};
use crate::failure::CliError;
use crate::parquet_rows::{self, ParquetRows};
use crate::progress::Progress;

/// Batches of rows, always the same for the same file and options.
pub(crate) enum RowSource {
    Csv(Box<CsvRows<Box<dyn Read>>>),
    Parquet(Box<ParquetRows>),
}

impl RowSource {
    /// Opens a file for a view.
    pub(crate) fn open(
        load: &Load,
        view: &ViewDefinition,
        progress: &Progress,
    ) -> Result<Self, CliError> {
        let content = |problem| CliError::Content { path: shown(&load.file), problem };
        let (file, bytes) = open(&load.file)?;
        if starts_with(&file, &load.file, PARQUET_MAGIC)? {
            let opened = parquet_rows::open(file).map_err(content)?;
            let layout = layout(load, view, &parquet_rows::header(&opened))?;
            let rows = ParquetRows::new(opened, layout, progress.clone(), bytes);
            return rows.map(Box::new).map(Self::Parquet).map_err(content);
        }
        let mut reader = csv_reader(load, progress)?;
        let header = reader.byte_headers().map_err(|error| content(error.to_string()))?.clone();
        let layout = layout(load, view, &header)?;
        Ok(Self::Csv(Box::new(CsvRows::new(reader, layout)?)))
    }

    /// The next batch; none at the end. Errors name the line or row.
    pub(crate) fn next_batch(&mut self) -> Result<Option<Rows>, String> {
        match self {
            Self::Csv(rows) => rows.next_batch(),
            Self::Parquet(rows) => rows.next_batch(),
        }
    }

    /// Passes over a batch; tells how many rows it had.
    pub(crate) fn skip_batch(&mut self) -> Result<usize, String> {
        match self {
            Self::Csv(rows) => rows.skip_batch(),
            Self::Parquet(rows) => Ok(rows.next_batch()?.map_or(0, |rows| rows.len())),
        }
    }

    /// How many rows were passed over because their entity or time is missing.
    pub(crate) fn passed_over(&self) -> u64 {
        match self {
            Self::Csv(rows) => rows.passed_over(),
            Self::Parquet(rows) => rows.passed_over(),
        }
    }
}

/// Finds the columns that the command line names, of which some must fill the view's.
fn layout(
    load: &Load,
    view: &ViewDefinition,
    header: &csv::ByteRecord,
) -> Result<RowLayout, CliError> {
    let layout = RowLayout::find(load, view, header).map_err(CliError::Usage)?;
    if layout.columns().is_empty() && !view.columns.is_empty() {
        let known: Vec<&str> = view.columns.iter().map(|column| column.name.as_str()).collect();
        return Err(CliError::Usage(format!(
            "no column of the file fills a column of view {}, which has {}: name some with \
             --map VIEW_COLUMN=FILE_COLUMN",
            view.name,
            known.join(", ")
        )));
    }
    Ok(layout)
}

fn csv_reader(load: &Load, progress: &Progress) -> Result<csv::Reader<Box<dyn Read>>, CliError> {
    let (file, _) = open(&load.file)?;
    let is_packed = starts_with(&file, &load.file, GZIP_MAGIC)?;
    let file = progress.watch(file);
    let text: Box<dyn Read> =
        if is_packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let delimiter = u8::try_from(load.delimiter).map_err(|_| {
        CliError::Usage(format!("--delimiter '{}': expected an ASCII character", load.delimiter))
    })?;
    Ok(csv::ReaderBuilder::new().delimiter(delimiter).from_reader(text))
}

/// Whether a file begins so; it is read from the start afterwards.
pub(crate) fn starts_with(mut file: &File, path: &Path, magic: &[u8]) -> Result<bool, CliError> {
    let failed = |source| CliError::File { verb: "read", path: shown(path), source };
    let mut start = Vec::new();
    let limit = u64::try_from(magic.len()).unwrap_or(u64::MAX);
    file.take(limit).read_to_end(&mut start).map_err(failed)?;
    file.rewind().map_err(failed)?;
    Ok(start == magic)
}

/// Opens a file and tells how large it is.
pub(crate) fn open(path: &Path) -> Result<(File, u64), CliError> {
    let failed = |source| CliError::File { verb: "open", path: shown(path), source };
    let file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    Ok((file, bytes))
}

/// A path for people.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// How a file of gzip begins.
pub(crate) const GZIP_MAGIC: &[u8] = b"\x1F\x8B";
/// How a file of Parquet begins.
pub(crate) const PARQUET_MAGIC: &[u8] = b"PAR1";
