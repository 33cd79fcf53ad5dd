//! Random jobs: begun, filled, published, given up and lost, beside the other operations of a
//! seed. It knows nothing of how a store keeps their rows.

use crate::simulation::driver::{Simulation, Stop};
use crate::simulation::judge::{Action, Meaning, number, takes_entity};
use crate::simulation::model::{Effect, Entry, JobEffect, Model, ModelView, Row, SealChange};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use tilekv_engine::{
    EngineError, JobCommit, JobId, JobMode, JobRequest, JobState, JobTile, Sealing, Write,
};
use tilekv_tile::{Name, floor_to};

/// A job that was begun and is not over.
#[derive(Debug, Clone)]
pub struct OpenJob {
    id: JobId,
    view: Name,
    /// Which of the views that had this name.
    serial: u64,
    from: i64,
    to: i64,
    mode: JobMode,
    token: Option<Bytes>,
    timeout_ms: i64,
    touched_at: i64,
    /// The view's features when it was begun.
    features: usize,
    /// The tiles that its rows lie in.
    tiles: Vec<(Bytes, i64)>,
    rows: Vec<(Bytes, i64, Entry)>,
    /// Rows and tiles taken.
    taken: u64,
    /// The timestamps and tile starts that were taken.
    times: BTreeSet<i64>,
    sequences: BTreeSet<u64>,
    /// Whether its commit is staged.
    is_staged: bool,
}

impl Simulation {
    /// One random step of a job.
    pub(crate) fn job(&mut self) -> Result<(), Stop> {
        if self.jobs.is_empty() || self.dice.one_in(20) {
            return self.begin_job();
        }
        let at = self.dice.count(0, self.jobs.len() - 1);
        if self.jobs[at].is_staged {
            return Ok(());
        }
        if self.is_silent(at) {
            return self.find_gone(at);
        }
        match self.dice.weighed(&[60, 25, 3, 4]) {
            0 => self.put_job(at),
            1 => self.commit_job(at),
            2 => self.abort_job(at),
            _ => self.expire_jobs(),
        }
    }

    /// What a restart leaves of jobs: nothing that was open.
    pub(crate) fn forget_jobs(&mut self) {
        self.totals.add_many("jobs lost in a restart", number(self.jobs.len()));
        self.jobs.clear();
    }

    /// The commits that were staged are over: done, or refused with everything pending.
    pub(crate) fn settle_jobs(&mut self, is_done: bool) {
        if is_done {
            self.jobs.retain(|job| !job.is_staged);
        }
        self.jobs.iter_mut().for_each(|job| job.is_staged = false);
    }

    /// Compares what the store knows of every job with the model.
    pub(crate) fn check_jobs(&mut self) -> Result<(), String> {
        let clock = self.clock;
        let jobs = self.engine().jobs();
        self.jobs.retain(|job| job.is_staged || clock < job.touched_at + job.timeout_ms);
        for id in &self.job_ids {
            let open = self.jobs.iter().find(|job| job.id == *id);
            let committed = self.book.committed.job_rows(*id, clock);
            let expected = match (committed, open) {
                (Some(rows), _) => Some((JobState::Committed, rows)),
                (None, Some(_)) => continue,
                (None, None) => None,
            };
            let found = jobs.info(clock, *id).ok().map(|info| (info.state, info.rows));
            self.totals.add("jobs looked up");
            if found != expected {
                return Err(format!("job {id}: found {found:?}, expected {expected:?}"));
            }
        }
        Ok(())
    }

    fn begin_job(&mut self) -> Result<(), Stop> {
        let views: Vec<&ModelView> = self.book.committed.views.values().collect();
        if views.is_empty() {
            return Ok(());
        }
        let view = *self.dice.pick(&views);
        let span = view.span();
        let around = floor_to(self.actions.timestamp(&mut self.dice, view, self.clock), span);
        let (from, to) = match self.dice.weighed(&[5, 3, 1]) {
            0 => (around - 20 * span, around + 20 * span),
            1 => (around, around + span * self.dice.within(1, 5)),
            _ => (around - 2_000 * span, around + 2_000 * span),
        };
        let far = floor_to(1 << 53, span);
        let mut job = OpenJob {
            id: "j0000000000000000".parse().map_err(Stop::Fatal)?,
            view: view.definition.name.clone(),
            serial: view.serial,
            from: from.clamp(-far, far - span),
            to: to.clamp(span - far, far),
            mode: if self.dice.one_in(3) { JobMode::Merge } else { JobMode::Replace },
            token: self.dice.one_in(4).then(|| Bytes::from_static(b"nightly")),
            timeout_ms: *self.dice.pick(&[600_000, 3 * 86_400_000]),
            touched_at: self.clock,
            features: view.definition.features.len(),
            tiles: Vec::new(),
            rows: Vec::new(),
            taken: 0,
            times: BTreeSet::new(),
            sequences: BTreeSet::new(),
            is_staged: false,
        };
        let is_named =
            |job: &&OpenJob| job.token.is_some() && job.view_in(&self.book.committed).is_some();
        let named: Vec<&OpenJob> = self.jobs.iter().filter(is_named).collect();
        if !named.is_empty() && self.dice.one_in(2) {
            // It may be a job of its own: the one that had the token may have timed out.
            job = self.dice.pick(&named).begun_again(&self.book.committed, self.clock);
        }
        let request = JobRequest {
            view: job.view.clone(),
            from: job.from,
            to: job.to,
            mode: job.mode,
            timeout_ms: Some(job.timeout_ms),
            token: job.token.clone(),
        };
        let clock = self.clock;
        self.tell(|| format!("begin {request:?}"));
        match self.engine().jobs().begin(clock, request) {
            Ok(id) => {
                self.totals.add("jobs begun");
                job.id = id;
                self.note_begun(job)
            }
            Err(EngineError::Limit(_)) if self.jobs.len() == self.options.job_count_max => {
                self.totals.add("jobs too many");
                self.expire_jobs()
            }
            // The token belongs to another range or mode.
            Err(EngineError::BadValue(_)) if job.token.is_some() => Ok(()),
            Err(error) => self.judge_error(error),
        }
    }

    /// A job that was begun with the token of another is that other one.
    fn note_begun(&mut self, job: OpenJob) -> Result<(), Stop> {
        if let Some(known) = self.jobs.iter_mut().find(|known| known.id == job.id) {
            known.touched_at = known.touched_at.max(job.touched_at);
            self.totals.add("jobs found by their token");
            return Ok(());
        }
        if self.book.committed.job_rows(job.id, self.clock).is_some() {
            self.totals.add("jobs found by their token");
            return Ok(());
        }
        if self.job_ids.contains(&job.id) {
            return Err(Stop::Differs(format!("the id of job {} is used again", job.id)));
        }
        self.job_ids.push(job.id);
        self.jobs.push(job);
        Ok(())
    }

    fn put_job(&mut self, at: usize) -> Result<(), Stop> {
        let Some(view) = self.view_of(at) else { return self.meet_dropped(at) };
        let view = view.clone();
        let sequence = self.dice.one_in(3).then(|| self.dice.word() % 6);
        let clock = self.clock;
        let around = self.dice.within(self.jobs[at].from, self.jobs[at].to - 1);
        let is_tile = self.dice.one_in(3);
        let model = Model::default();
        let action = if is_tile {
            self.actions.tile(&mut self.dice, &model, &view, around, false)
        } else {
            self.actions.events(&mut self.dice, &model, &view, around)
        };
        let job = self.jobs[at].id;
        let jobs = self.engine().jobs();
        let put = match &action.write {
            Write::Events { rows, .. } => jobs.put_rows(clock, job, sequence, rows.clone()),
            Write::MergeTile(tile) | Write::SetTile(tile) => {
                let tile = JobTile {
                    entity: tile.entity.clone(),
                    start: tile.start,
                    partials: tile.partials.clone(),
                };
                jobs.put_tiles(clock, job, sequence, std::slice::from_ref(&tile))
            }
            other => return Err(Stop::Differs(format!("no rows for a job: {other:?}"))),
        };
        self.tell(|| format!("put {sequence:?} {:?} to {job}: {put:?}", action.write));
        self.jobs[at].touched_at = self.jobs[at].touched_at.max(clock);
        let is_known = sequence.is_some_and(|sequence| self.jobs[at].sequences.contains(&sequence));
        let range = self.jobs[at].from..self.jobs[at].to;
        let offer = Offer::of(action, &view, &range);
        let is_refused = offer.is_flawed;
        match put {
            Ok(0) if is_known => self.totals.add("job rows sent again"),
            Ok(taken) if !is_known && !is_refused && taken == offer.count => {
                self.totals.add_many("job rows", taken);
                self.jobs[at].take(offer, sequence);
            }
            Err(EngineError::NoSpace(_)) if self.is_squeezed => {
                self.totals.add("job rows without space");
            }
            Err(error) if error.is_fatal() || matches!(error, EngineError::Damaged { .. }) => {
                return self.judge_error(error);
            }
            Err(_) if is_refused && !is_known => self.totals.add("job rows refused"),
            other => {
                let expected = if is_refused { "a refusal" } else { "its rows" };
                return Err(Stop::Differs(format!("a put: {other:?}, expected {expected}")));
            }
        }
        Ok(())
    }

    fn commit_job(&mut self, at: usize) -> Result<(), Stop> {
        let job = self.jobs[at].clone();
        let Some(view) = self.view_of(at) else { return self.meet_dropped(at) };
        let least = view.definition.min_rows.max(1);
        let commit = JobCommit {
            rows: self.dice.one_in(4).then_some(job.taken + u64::from(self.dice.one_in(6))),
            allows_empty: self.dice.one_in(3),
            seals: !self.dice.one_in(4),
        };
        let expected = match commit.rows {
            Some(rows) if rows != job.taken => Some("ROWCOUNT"),
            _ if job.taken < least && !commit.allows_empty => Some("EMPTYJOB"),
            _ => None,
        };
        let clock = self.clock;
        let sealed = self.engine().jobs().seal(clock, job.id, commit);
        self.tell(|| format!("seal {} {commit:?}: {sealed:?}", job.id));
        self.jobs[at].touched_at = job.touched_at.max(clock);
        match (sealed, expected) {
            (Ok(Sealing::Ready(sealed)), None) => self.publish(at, sealed, commit.seals),
            (Err(error), Some(code)) if error.code() == code => {
                self.totals.add("job commits refused");
                Ok(())
            }
            (Err(EngineError::NoSpace(_)), _) if self.is_squeezed => {
                self.totals.add("job commits without space");
                Ok(())
            }
            (Err(error), _) => self.judge_error(error),
            (found, expected) => {
                Err(Stop::Differs(format!("a seal: {found:?}, expected {expected:?}")))
            }
        }
    }

    fn publish(
        &mut self,
        at: usize,
        sealed: tilekv_engine::SealedJob,
        seals: bool,
    ) -> Result<(), Stop> {
        if self.dice.one_in(20) {
            self.totals.add("sealed jobs opened again");
            return Ok(());
        }
        let clock = self.clock;
        self.log_clock = self.log_clock.max(clock);
        match self.engine().prepare_job(clock, sealed) {
            Ok(()) => {}
            Err(EngineError::Busy { .. }) => {
                self.totals.add("writes busy");
                return self.drain();
            }
            Err(EngineError::NoView(_)) if self.is_dropped_soon(at) => return Ok(()),
            Err(error) => return self.judge_error(error),
        }
        if self.is_dropped_soon(at) {
            return Err(Stop::Differs("a job of a dropped view was published".to_owned()));
        }
        self.totals.add(match self.jobs[at].mode {
            JobMode::Replace => "replacing jobs committed",
            JobMode::Merge => "merging jobs committed",
        });
        self.jobs[at].is_staged = true;
        let effect = self.jobs[at].effect(self.log_clock, seals);
        self.book.stage(vec![effect], self.log_clock);
        Ok(())
    }

    fn abort_job(&mut self, at: usize) -> Result<(), Stop> {
        let (clock, id) = (self.clock, self.jobs[at].id);
        self.tell(|| format!("abort {id}"));
        match self.engine().jobs().abort(clock, id) {
            Ok(()) => {
                self.totals.add("jobs aborted");
                self.jobs.remove(at);
                Ok(())
            }
            Err(error) => self.judge_error(error),
        }
    }

    fn expire_jobs(&mut self) -> Result<(), Stop> {
        let clock = self.clock;
        self.tell(|| "expire jobs".to_owned());
        let result = self.engine().jobs().expire(clock);
        let committed = &self.book.committed;
        self.jobs.retain(|job| {
            let is_dropped = job.view_in(committed).is_none();
            job.is_staged || (clock < job.touched_at + job.timeout_ms && !is_dropped)
        });
        result.or_else(|error| self.judge_error(error))
    }

    /// A job that no call has named for too long is gone.
    fn find_gone(&mut self, at: usize) -> Result<(), Stop> {
        let (clock, job) = (self.clock, self.jobs.remove(at));
        let commit = JobCommit { rows: None, allows_empty: true, seals: true };
        let found = self.engine().jobs().seal(clock, job.id, commit);
        self.totals.add("jobs timed out");
        match found {
            Err(EngineError::NoJob(_)) => Ok(()),
            Err(error) if error.is_fatal() => Err(Stop::Fatal(error)),
            other => Err(Stop::Differs(format!("job {} timed out: {other:?}", job.id))),
        }
    }

    fn meet_dropped(&mut self, at: usize) -> Result<(), Stop> {
        let clock = self.clock;
        let commit = JobCommit { rows: None, allows_empty: true, seals: true };
        let id = self.jobs[at].id;
        let found = self.engine().jobs().seal(clock, id, commit);
        self.jobs[at].touched_at = self.jobs[at].touched_at.max(clock);
        self.totals.add("jobs of dropped views");
        match found {
            Err(EngineError::NoView(_)) => Ok(()),
            Err(EngineError::NoJob(_)) => {
                self.jobs.remove(at);
                Ok(())
            }
            other => Err(Stop::Differs(format!("job {id} of a dropped view: {other:?}"))),
        }
    }

    fn is_silent(&self, at: usize) -> bool {
        self.jobs[at].touched_at + self.jobs[at].timeout_ms <= self.clock
    }

    fn view_of(&self, at: usize) -> Option<&ModelView> {
        self.jobs[at].view_in(&self.book.committed)
    }

    fn is_dropped_soon(&self, at: usize) -> bool {
        self.jobs[at].view_in(&self.book.staged).is_none()
    }

    fn judge_error(&self, error: EngineError) -> Result<(), Stop> {
        if error.is_fatal() {
            return Err(Stop::Fatal(error));
        }
        // A file that cannot be read now refuses the call; the job stays as it was.
        let has_failed = self.io_errors() != self.errors_seen;
        if has_failed && matches!(error, EngineError::Damaged { .. }) {
            return Ok(());
        }
        Err(Stop::Differs(format!("a job was refused: {error}")))
    }
}

impl OpenJob {
    fn view_in<'a>(&self, model: &'a Model) -> Option<&'a ModelView> {
        model.views.get(&self.view).filter(|view| view.serial == self.serial)
    }

    /// The same job with nothing in it, begun at `clock`.
    fn begun_again(&self, model: &Model, clock: i64) -> Self {
        let features = self.view_in(model).map_or(0, |view| view.definition.features.len());
        Self {
            touched_at: clock,
            features,
            tiles: Vec::new(),
            rows: Vec::new(),
            taken: 0,
            times: BTreeSet::new(),
            sequences: BTreeSet::new(),
            is_staged: false,
            ..self.clone()
        }
    }

    fn take(&mut self, offer: Offer, sequence: Option<u64>) {
        self.sequences.extend(sequence);
        self.taken += offer.count;
        self.times.extend(offer.times);
        self.tiles.extend(offer.tiles);
        self.rows.extend(offer.rows);
    }

    fn effect(&self, now: i64, seals: bool) -> Effect {
        let seal = SealChange { from: self.from, to: self.to, at: now, is_made: true };
        Effect::Job(Arc::new(JobEffect {
            id: self.id,
            view: self.view.clone(),
            is_replacing: self.mode == JobMode::Replace,
            from: self.from,
            to: self.to,
            features: self.features,
            seal: seals.then_some(seal),
            tiles: self.tiles.clone(),
            rows: self.rows.clone(),
            taken: self.taken,
            times: self.times.iter().copied().collect(),
        }))
    }
}

/// What a call offers to a job.
struct Offer {
    /// The tiles that come to be, with their entities.
    tiles: Vec<(Bytes, i64)>,
    /// What joins them.
    rows: Vec<(Bytes, i64, Entry)>,
    /// The timestamps of rows, or the starts of tiles.
    times: Vec<i64>,
    count: u64,
    is_flawed: bool,
}

impl Offer {
    /// What the text of a write means for a job over `[from, to)`.
    fn of(action: Action, view: &ModelView, range: &Range<i64>) -> Self {
        let span = view.span();
        let mut offer = match (action.write, action.meaning) {
            (_, Meaning::Rows(rows, flaw)) => {
                let parts = view.parts();
                let place = |(entity, row): &(Bytes, Arc<Row>)| {
                    (entity.clone(), floor_to(row.timestamp, span))
                };
                let entry = |(entity, row): &(Bytes, Arc<Row>)| {
                    let entry = Entry { parts, row: Arc::clone(row) };
                    (entity.clone(), floor_to(row.timestamp, span), entry)
                };
                Self {
                    tiles: rows.iter().map(place).collect(),
                    times: rows.iter().map(|(_, row)| row.timestamp).collect(),
                    count: number(rows.len()),
                    is_flawed: flaw.is_some(),
                    rows: rows.iter().map(entry).collect(),
                }
            }
            (Write::MergeTile(tile) | Write::SetTile(tile), Meaning::Tile(entries, flaw)) => {
                let entry = |entry| (tile.entity.clone(), tile.start, entry);
                Self {
                    tiles: vec![(tile.entity.clone(), tile.start)],
                    rows: entries.into_iter().map(entry).collect(),
                    times: vec![tile.start],
                    count: 1,
                    is_flawed: flaw.is_some() || floor_to(tile.start, span) != tile.start,
                }
            }
            (write, _) => unreachable!("no rows for a job: {write:?}"),
        };
        offer.is_flawed |= offer.times.iter().any(|time| !range.contains(time));
        offer.is_flawed |= offer.tiles.iter().any(|(entity, _)| !takes_entity(view, entity));
        offer
    }
}
