//! `tilekv load --job`: a file whose rows are published at once. Knows nothing of how rows are
//! read and how puts are sent again.

use std::time::{Duration, Instant};

use tilekv_client::blocking::{Client, Job};
use tilekv_client::{ClientError, CommitOptions, JobMode, ViewDefinition};
use tilekv_tile::floor_to;

use crate::arguments::{Load, ModeWord};
use crate::clock_time;
use crate::failure::CliError;
use crate::load::{producer_id, rate};
use crate::progress::Progress;
use crate::render::grouped;
use crate::source::{RowSource, open, shown};
use crate::terminal::say;
use crate::views::name;

/// What a run of a job came to.
struct JobReport {
    id: String,
    rows: u64,
    rows_known: u64,
    rows_missing: u64,
    time: Duration,
    busy: u64,
    resent: u64,
}

pub(crate) fn run(client: &Client, load: &Load) -> Result<(), CliError> {
    let view = name(&load.view)?;
    let definition = client.view_info(&view)?.definition;
    let (from, to) = range(load, &definition)?;
    let token = match &load.as_job.token {
        Some(token) => token.clone(),
        None => format!("{}:{from}:{to}:{:?}", producer_id(load)?, mode(load)),
    };
    let mut attempt = 1;
    loop {
        let builder = client.job(&view, from, to).mode(mode(load)).token(token.clone());
        let mut job = client.begin_job(builder.puts_in_flight_max(load.in_flight))?;
        if job.info()?.state == "committed" {
            return say(format_args!("{view}: job {} was committed before", job.id()));
        }
        match load_job(&mut job, load, &definition) {
            Ok(report) => return say(report.text(&load.view, from, to)),
            // The server forgets open jobs when it restarts; the token begins a new one.
            Err(CliError::Client(ClientError::NoJob { .. })) if attempt < ATTEMPTS_MAX => {
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

pub(crate) fn mode_of(word: ModeWord) -> JobMode {
    match word {
        ModeWord::Replace => JobMode::Replace,
        ModeWord::Merge => JobMode::Merge,
    }
}

fn mode(load: &Load) -> JobMode {
    load.as_job.mode.map_or(JobMode::Replace, mode_of)
}

fn load_job(
    job: &mut Job,
    load: &Load,
    definition: &ViewDefinition,
) -> Result<JobReport, CliError> {
    let content = |problem: String| CliError::Content { path: shown(&load.file), problem };
    let started = Instant::now();
    let progress = Progress::start(&load.view, open(&load.file)?.1);
    let mut rows = RowSource::open(load, definition, &progress)?;
    while let Some(batch) = rows.next_batch().map_err(content)? {
        job.put(&batch)?;
        progress.say(rate(job.rows(), started.elapsed()));
    }
    job.flush()?;
    let expected = load.as_job.rows.unwrap_or(job.rows());
    let options = CommitOptions {
        may_be_empty: load.as_job.allow_empty,
        seal: !load.as_job.no_seal,
        ..CommitOptions::default()
    };
    job.commit(options.with_rows(expected))?;
    progress.finish();
    let tally = job.tally();
    Ok(JobReport {
        id: job.id().to_owned(),
        rows: job.rows(),
        rows_known: job.rows() - tally.rows_applied,
        rows_missing: rows.passed_over(),
        time: started.elapsed(),
        busy: tally.busy,
        resent: tally.resent,
    })
}

/// The job's range: as the command line says, or the tiles from the first row to the last.
fn range(load: &Load, definition: &ViewDefinition) -> Result<(i64, i64), CliError> {
    let said = |time: &Option<String>| time.as_deref().map(clock_time::parse).transpose();
    let (from, to) = (said(&load.as_job.from)?, said(&load.as_job.to)?);
    if let (Some(from), Some(to)) = (from, to) {
        return Ok((from, to));
    }
    let found = times(load, definition)?;
    let (Some((first, last)), tile) = (found, definition.tile.millis()) else {
        return Err(CliError::Usage(format!(
            "{} has no row, so it does not tell the job's range: say --from and --to",
            shown(&load.file)
        )));
    };
    let derived = (floor_to(first, tile), floor_to(last, tile) + tile);
    let (from, to) = (from.unwrap_or(derived.0), to.unwrap_or(derived.1));
    say(format_args!(
        "the job's range, by the rows of the file: {} to {}",
        clock_time::show(from),
        clock_time::show(to)
    ))?;
    Ok((from, to))
}

/// The times of the first and the last row of a file.
fn times(load: &Load, definition: &ViewDefinition) -> Result<Option<(i64, i64)>, CliError> {
    let content = |problem: String| CliError::Content { path: shown(&load.file), problem };
    let progress = Progress::start("looking for the range", open(&load.file)?.1);
    let mut rows = RowSource::open(load, definition, &progress)?;
    let mut found: Option<(i64, i64)> = None;
    while let Some(batch) = rows.next_batch().map_err(content)? {
        for time in batch.timestamps {
            let (first, last) = found.unwrap_or((time, time));
            found = Some((first.min(time), last.max(time)));
        }
    }
    progress.finish();
    Ok(found)
}

impl JobReport {
    fn text(&self, view: &str, from: i64, to: i64) -> String {
        let mut lines = vec![format!(
            "{view}: job {} published {} rows for {} to {}, {:.2} s, {}",
            self.id,
            grouped(self.rows),
            clock_time::show(from),
            clock_time::show(to),
            self.time.as_secs_f64(),
            rate(self.rows, self.time)
        )];
        if self.rows_known > 0 {
            let count = grouped(self.rows_known);
            lines.push(format!("  {count} rows had been taken by an earlier run"));
        }
        if self.rows_missing > 0 {
            let count = grouped(self.rows_missing);
            lines.push(format!("  {count} rows without entity or time were passed over"));
        }
        if self.busy > 0 || self.resent > 0 {
            let (busy, resent) = (grouped(self.busy), grouped(self.resent));
            lines.push(format!("  busy {busy} times, sent again {resent} times"));
        }
        lines.join("\n")
    }
}

/// How often a job is begun anew because the server forgot it.
const ATTEMPTS_MAX: u32 = 5;
