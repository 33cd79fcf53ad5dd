//! The JOB family: what begins and shows jobs is answered at once, work on one goes to its worker.

use bytes::Bytes;
use tilekv_engine::{JobId, JobInfo, JobMode, JobRequest};
use tilekv_protocol::{ErrorCode, ErrorReply, JobBegin, JobCommand, Reply};
use tilekv_tile::Span;

use super::{Action, Answer, Context};
use crate::job_queue::JobWork;
use crate::refuse;

pub(super) fn run(context: &Context<'_>, command: JobCommand) -> Result<Action, ErrorReply> {
    let (work, job) = match command {
        JobCommand::Begin(begin) => return self::begin(context, *begin).map(Action::Reply),
        JobCommand::Info(job) => return info(context, &job).map(Action::Reply),
        JobCommand::List => {
            let jobs = context.shared.jobs.list(context.now_ms);
            return Ok(Action::Reply(Reply::Array(jobs.iter().map(map).collect())));
        }
        JobCommand::Put(put) => {
            let job = put.job.clone();
            (JobWork::Put(put), job)
        }
        JobCommand::Commit(commit) => {
            let job = commit.job.clone();
            (JobWork::Commit(commit), job)
        }
        JobCommand::Abort(job) => (JobWork::Abort, job),
    };
    Ok(Action::Job(id(&job)?, work))
}

/// The job that a client means.
pub(crate) fn id(text: &Bytes) -> Result<JobId, ErrorReply> {
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| {
        let shown = tilekv_tile::printable(text);
        ErrorReply::new(
            ErrorCode::NoJob,
            format!("there is no job `{shown}`; JOB.LIST names those that exist"),
        )
    })
}

fn begin(context: &Context<'_>, begin: JobBegin) -> Answer {
    let JobBegin { view, from, to, mode, timeout, token } = begin;
    let mode = match mode {
        tilekv_protocol::JobMode::Replace => JobMode::Replace,
        tilekv_protocol::JobMode::Merge => JobMode::Merge,
    };
    // What is kept for the life of the job must not keep the bytes that it arrived in.
    let token = token.map(|token| Bytes::copy_from_slice(&token));
    let timeout_ms = timeout.map(Span::millis);
    let request = JobRequest { view, from, to, mode, timeout_ms, token };
    let begun = context.shared.jobs.begin(context.now_ms, request);
    let id = begun.map_err(|error| refuse::engine_error(&error))?;
    Ok(Reply::text(id.to_string()))
}

fn info(context: &Context<'_>, job: &Bytes) -> Answer {
    let info = context.shared.jobs.info(context.now_ms, id(job)?);
    info.map(|info| map(&info)).map_err(|error| refuse::engine_error(&error))
}

fn map(job: &JobInfo) -> Reply {
    let time = |time: Option<i64>| time.map_or(Reply::Nil, Reply::Integer);
    let pairs = [
        ("id", Reply::text(job.id.to_string())),
        ("view", job.view.as_ref().map_or(Reply::Nil, |view| Reply::text(view.as_str()))),
        ("from", Reply::Integer(job.from)),
        ("to", Reply::Integer(job.to)),
        ("mode", Reply::text(job.mode.as_str())),
        ("state", Reply::text(job.state.as_str())),
        ("rows", Reply::unsigned(job.rows)),
        ("bytes", Reply::unsigned(job.bytes)),
        ("begun_at", time(job.begun_at)),
        ("expires_at", time(job.expires_at)),
        ("committed_at", time(job.committed_at)),
        ("token", job.token.clone().map_or(Reply::Nil, Reply::Bulk)),
    ];
    Reply::Map(pairs.into_iter().map(|(name, value)| (Reply::text(name), value)).collect())
}

#[cfg(test)]
mod tests;
