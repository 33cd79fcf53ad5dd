//! The commands on jobs. Knows nothing of files.

use tilekv_client::{CommitOptions, JobInfo, Span};

use crate::arguments::{Job, Server};
use crate::clock_time;
use crate::failure::CliError;
use crate::job_load::mode_of;
use crate::render::{self, grouped};
use crate::session::connect;
use crate::table::{Align, Table};
use crate::terminal::say;
use crate::views::name;

pub(crate) fn run(server: &Server, job: Job) -> Result<(), CliError> {
    let client = connect(server, 0)?;
    match job {
        Job::Begin { view, from, to, mode, abort_after, token } => {
            let (from, to) = (clock_time::parse(&from)?, clock_time::parse(&to)?);
            let mut job = client.job(&name(&view)?, from, to).mode(mode_of(mode));
            if let Some(timeout) = abort_after {
                job = job.timeout(Span::parse(timeout.as_bytes())?);
            }
            if let Some(token) = token {
                job = job.token(token);
            }
            say(client.begin_job(job)?.id())
        }
        Job::Commit { job, rows, allow_empty, no_seal } => {
            let (may_be_empty, seal) = (allow_empty, !no_seal);
            let options = CommitOptions { rows, may_be_empty, seal, ..CommitOptions::default() };
            client.resume_job(&job).commit(options)?;
            say(format_args!("committed job {job}"))
        }
        Job::Abort { job } => {
            client.resume_job(&job).abort()?;
            say(format_args!("aborted job {job}"))
        }
        Job::Info { job } => say(facts(&client.resume_job(&job).info()?)),
        Job::List => {
            let headings = ["job", "view", "from (UTC)", "to (UTC)", "mode", "state"];
            let mut columns: Vec<_> = headings.map(|heading| (heading, Align::Left)).to_vec();
            columns.push(("rows", Align::Right));
            let mut table = Table::new(&columns);
            client.jobs()?.iter().for_each(|job| table.row(cells(job)));
            say(table.render())
        }
    }
}

fn cells(job: &JobInfo) -> Vec<String> {
    vec![
        job.id.clone(),
        shown_view(job),
        clock_time::show(job.from),
        clock_time::show(job.to),
        job.mode.clone(),
        job.state.clone(),
        grouped(job.rows),
    ]
}

fn facts(job: &JobInfo) -> String {
    let time = |time: Option<i64>| time.map_or("none".to_owned(), clock_time::show);
    let token = job.token.as_ref().map_or("none".to_owned(), |token| render::text(token));
    let facts = [
        ("job", job.id.clone()),
        ("view", shown_view(job)),
        ("from", clock_time::show(job.from)),
        ("to", clock_time::show(job.to)),
        ("mode", job.mode.clone()),
        ("state", job.state.clone()),
        ("rows", grouped(job.rows)),
        ("bytes", grouped(job.bytes)),
        ("begun", time(job.begun_at)),
        ("expires", time(job.expires_at)),
        ("committed", time(job.committed_at)),
        ("token", token),
    ];
    facts.map(|(name, value)| format!("{name:<10} {value}")).join("\n")
}

fn shown_view(job: &JobInfo) -> String {
    job.view.as_ref().map_or("dropped".to_owned(), |view| view.as_str().to_owned())
}
