//! `tilekv load`: a file into a view, exactly once. Knows nothing of how rows are read and
//! how batches are sent again.

use std::io::Read;
use std::time::{Duration, Instant};

use tilekv_client::blocking::{Client, Loader};
use tilekv_client::{LoaderOptions, WriteTally};
use xxhash_rust::xxh3::Xxh3;

use crate::arguments::{Load, Server};
use crate::failure::CliError;
use crate::job_load;
use crate::progress::Progress;
use crate::render::grouped;
use crate::session::connect;
use crate::source::{RowSource, open, shown};
use crate::terminal::say;
use crate::views::name;

/// What a load came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoadReport {
    pub(crate) tally: WriteTally,
    /// Batches and rows that an earlier run had loaded.
    pub(crate) batches_skipped: u64,
    pub(crate) rows_skipped: u64,
    /// Rows without entity or time.
    pub(crate) rows_missing: u64,
    pub(crate) time: Duration,
}

/// Seconds that a load goes on trying to reach a server that is gone, unless said otherwise.
const RETRY_SECONDS: u64 = 60;

pub(crate) fn run(server: &Server, load: Box<Load>) -> Result<(), CliError> {
    let client = connect(server, RETRY_SECONDS)?;
    if load.as_job.job {
        return job_load::run(&client, &load);
    }
    let report = load_file(&client, &load)?;
    say(report.text(&load.view))
}

/// Loads a file into a view that exists.
pub(crate) fn load_file(client: &Client, load: &Load) -> Result<LoadReport, CliError> {
    let view = name(&load.view)?;
    let definition = client.view_info(&view)?.definition;
    let producer = match &load.producer {
        Some(id) => id.clone(),
        None => producer_id(load)?,
    };
    let started = Instant::now();
    let progress = Progress::start(&load.view, open(&load.file)?.1);
    let content = |problem: String| CliError::Content { path: shown(&load.file), problem };
    let mut rows = RowSource::open(load, &definition, &progress)?;
    let mut options = LoaderOptions::exactly_once(producer);
    options.batches_in_flight_max = load.in_flight;
    let mut loader = client.loader(&view, options)?;
    let (batches_skipped, rows_skipped) = skip_applied(&mut loader, &mut rows).map_err(content)?;
    while let Some(batch) = rows.next_batch().map_err(content)? {
        loader.send(batch)?;
        progress.say(rate(loader.tally().rows, started.elapsed()));
    }
    loader.flush()?;
    progress.finish();
    let (tally, time) = (loader.tally(), started.elapsed());
    Ok(LoadReport { tally, batches_skipped, rows_skipped, rows_missing: rows.passed_over(), time })
}

/// Passes over what an earlier run has loaded.
fn skip_applied(loader: &mut Loader, rows: &mut RowSource) -> Result<(u64, u64), String> {
    let (mut batches, mut skipped) = (0, 0);
    while loader.is_next_applied() {
        match rows.skip_batch()? {
            0 => {
                let applied = loader.resumed_after();
                return Err(format!(
                    "the server has {applied} batches under this producer's id, the file has \
                     {batches}: give the load another --producer"
                ));
            }
            count => skipped += u64::try_from(count).unwrap_or(u64::MAX),
        }
        loader.skip();
        batches += 1;
    }
    Ok((batches, skipped))
}

/// The id under which this file with these options is loaded: the same wherever the file lies,
/// another for anything that changes which rows are in which batch.
pub(crate) fn producer_id(load: &Load) -> Result<String, CliError> {
    let mut hash = Xxh3::new();
    let (mut file, _) = open(&load.file)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let failed = |source| CliError::File { verb: "read", path: shown(&load.file), source };
        match file.read(&mut buffer).map_err(failed)? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    let options = (&load.entity, &load.time, load.time_form, &load.map, &load.null);
    let cuts = (load.skip_missing, load.delimiter, load.batch);
    hash.update(format!("{options:?} {cuts:?}").as_bytes());
    Ok(format!("load:{:032x}", hash.digest128()))
}

impl LoadReport {
    /// Rows a second, of those that this run sent.
    pub(crate) fn text(&self, view: &str) -> String {
        let tally = &self.tally;
        let mut lines = vec![format!(
            "{view}: {} rows in {} batches, {:.2} s, {}",
            grouped(tally.rows),
            grouped(tally.batches),
            self.time.as_secs_f64(),
            rate(tally.rows, self.time)
        )];
        if self.batches_skipped > 0 {
            let (batches, rows) = (grouped(self.batches_skipped), grouped(self.rows_skipped));
            lines.push(format!("  {rows} rows in {batches} batches had been loaded before"));
        }
        if tally.batches_duplicate > 0 {
            let count = grouped(tally.batches_duplicate);
            lines.push(format!("  {count} batches were acknowledged a second time, counted once"));
        }
        let unapplied = tally.rows - tally.rows_applied;
        if unapplied > 0 && tally.batches_duplicate == 0 {
            let count = grouped(unapplied);
            lines.push(format!("  {count} rows are older than the view's retention, or late"));
        }
        if self.rows_missing > 0 {
            let count = grouped(self.rows_missing);
            lines.push(format!("  {count} rows without entity or time were passed over"));
        }
        if tally.busy > 0 || tally.resent > 0 {
            let (busy, resent) = (grouped(tally.busy), grouped(tally.resent));
            lines.push(format!("  busy {busy} times, sent again {resent} times"));
        }
        lines.join("\n")
    }
}

/// Rows a second, for people.
pub(crate) fn rate(rows: u64, time: Duration) -> String {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
    let per_second = u128::from(rows) * 1_000_000 / u128::from(micros);
    format!("{} rows/s", grouped(u64::try_from(per_second).unwrap_or(u64::MAX)))
}
