//! Owns the reading face of a store: snapshots, plans, window reads, range reads and what else is
//! answered without the writer. Every call is made on the caller's thread and waits for nothing.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::RwLock;
use tilekv_tile::{AnswerColumn, Answers, Coverage, Identifier, KnownWalk, Name, SealMode};

use crate::catalog::View;
use crate::error::EngineError;
use crate::explain::{Explanation, explain};
use crate::frame::{Frame, FrameTime};
use crate::info::{LastJob, ViewInfo, view_info};
use crate::job_table::JobTable;
use crate::limits::RANGE_TILE_COUNT_MAX;
use crate::lookup::gather;
use crate::memory::{Memory, MemoryInfo};
use crate::pages::{PinnedPages, ReadOutcome};
use crate::plan::{Bench, Plan, ReadRequest, ServiceRequest, ViewPlan, selected_features};
use crate::producer::ProducerTable;
use crate::rollup::{Rollup, RowGroup, Workspace, clear_columns};
use crate::segment::GROUP_KEYS_MAX;
use crate::service::{RowKey, ServiceInfo};
use crate::version::Version;

/// What readers and the writer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) version: ArcSwap<Version>,
    /// Guards the last applied sequence of every producer.
    pub(crate) producers: RwLock<ProducerTable>,
    /// Guards the jobs that were committed and are remembered.
    pub(crate) jobs: RwLock<JobTable>,
    pub(crate) memory: Arc<Memory>,
}

/// The time that a read asks about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadTime {
    /// The clock's.
    Now,
    /// One time for all rows, in milliseconds.
    At(i64),
    /// A time per row, in milliseconds.
    Each(Vec<i64>),
}

/// The tiles of a range read: starts in milliseconds and a JSON partial per feature.
pub type TileRange = Vec<(i64, Vec<String>)>;

/// A handle for reading; clone one per thread.
#[derive(Debug, Clone)]
pub struct Reader {
    pub(crate) shared: Arc<Shared>,
}

impl Reader {
    /// The newest state of the store, to be kept for a request.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Version> {
        self.shared.version.load_full()
    }

    /// Resolves a request. Errors name the view, feature or window that is wrong.
    pub fn plan(&self, version: &Version, request: &ReadRequest) -> Result<Plan, EngineError> {
        Plan::new(&version.catalog, request)
    }

    /// Resolves a request for a service's vector. Errors name the service or key that is wrong.
    pub fn plan_service(
        &self,
        version: &Version,
        request: &ServiceRequest,
    ) -> Result<Plan, EngineError> {
        Plan::for_service(&version.catalog, request)
    }

    /// The names of all services, ascending.
    #[must_use]
    pub fn service_names(&self, version: &Version) -> Vec<Name> {
        version.catalog.services().map(|service| service.name.clone()).collect()
    }

    /// What there is to know of a service.
    pub fn service_info(&self, version: &Version, name: &Name) -> Result<ServiceInfo, EngineError> {
        Ok(version.catalog.service(name)?.info(&version.catalog))
    }

    /// Whether `plan` still fits the views of `version`.
    #[must_use]
    pub fn is_current(&self, version: &Version, plan: &Plan) -> bool {
        plan.is_current(&version.catalog)
    }

    /// As [`Reader::try_read`], reading on this thread what must come from disk.
    pub fn read(
        &self,
        version: &Version,
        plan: &Plan,
        now_ms: i64,
        time: &ReadTime,
        entities: &[&[u8]],
    ) -> Result<Answers, EngineError> {
        let mut answers = Answers::default();
        self.read_into(version, plan, now_ms, time, entities, &mut answers)?;
        Ok(answers)
    }

    /// As [`Reader::read`], in the memory of earlier answers. After an error they are of no use.
    pub fn read_into(
        &self,
        version: &Version,
        plan: &Plan,
        now_ms: i64,
        time: &ReadTime,
        entities: &[&[u8]],
        answers: &mut Answers,
    ) -> Result<(), EngineError> {
        PinnedPages::read_in_place(|pinned| {
            self.try_read_into(version, plan, (now_ms, time), entities, answers, pinned)
        })
    }

    /// Reads all windows of `plan` for all `entities`: a row each, a column per selector. A plan of
    /// a service takes [`Plan::values_per_row`] key values for each row in their place.
    /// `now_ms` is the clock, read once per request. The plan must be current. Never waits for
    /// the disk: `pinned` is empty at first, then what the request for pages came to.
    pub fn try_read(
        &self,
        version: &Version,
        plan: &Plan,
        now_ms: i64,
        time: &ReadTime,
        entities: &[&[u8]],
        pinned: PinnedPages,
    ) -> Result<ReadOutcome<Answers>, EngineError> {
        let mut answers = Answers::default();
        let clock = (now_ms, time);
        let outcome = self.try_read_into(version, plan, clock, entities, &mut answers, pinned)?;
        Ok(outcome.map(|()| answers))
    }

    /// As [`Reader::try_read`], in the memory of earlier answers. They are of use only where the
    /// outcome says so.
    pub fn try_read_into(
        &self,
        version: &Version,
        plan: &Plan,
        (now_ms, time): (i64, &ReadTime),
        entities: &[&[u8]],
        answers: &mut Answers,
        pinned: PinnedPages,
    ) -> Result<ReadOutcome<()>, EngineError> {
        let rows = row_count(plan, time, entities.len())?;
        let view_of = |group: &ViewPlan| {
            let view = version.catalog.view(group.id);
            view.ok_or_else(|| EngineError::NoView("of the plan, dropped since".to_owned()))
        };
        for group in plan.groups.iter().filter(|group| group.row_key == RowKey::Whole) {
            let view = view_of(group)?;
            for entity in entities {
                view.definition.entity_check(entity)?;
            }
        }
        answers.rows = rows;
        answers.columns.resize_with(plan.columns(), AnswerColumn::default);
        let mut columns = &mut answers.columns[..];
        for group in &plan.groups {
            let own;
            (own, columns) = columns.split_at_mut(group.selectors.len());
            let view = view_of(group)?;
            let known = plan.known;
            let request = Request { version, view, plan: group, known, now_ms, pinned: &pinned };
            if group.row_key == RowKey::Whole {
                request.read(time, entities, own);
                continue;
            }
            let (width, mut joined) = (plan.values_per_row(), Vec::new());
            let entities = group.row_key.entities(view, entities, width, &mut joined)?;
            request.read(time, &entities, own);
        }
        plan.arrange(&mut answers.columns);
        Ok(pinned.outcome(Some(())))
    }

    /// As [`Reader::try_range`], reading on this thread what must come from disk.
    pub fn range(
        &self,
        version: &Version,
        view: &Name,
        entity: &[u8],
        range: std::ops::Range<i64>,
        features: Option<&[Identifier]>,
        now_ms: i64,
    ) -> Result<TileRange, EngineError> {
        PinnedPages::read_in_place(|pinned| {
            self.try_range(version, view, (entity, range.clone()), features, now_ms, pinned)
        })
    }

    /// The entity's tiles with `from <= start < to`, ascending, printed per feature as JSON.
    /// Never waits for the disk, as [`Reader::try_read`].
    pub fn try_range(
        &self,
        version: &Version,
        view: &Name,
        (entity, range): (&[u8], std::ops::Range<i64>),
        features: Option<&[Identifier]>,
        now_ms: i64,
        pinned: PinnedPages,
    ) -> Result<ReadOutcome<TileRange>, EngineError> {
        let view = version.catalog.named(view)?;
        view.definition.entity_check(entity)?;
        let features = selected_features(view, features)?;
        let from = range.start.max(view.horizon(now_ms).unwrap_or(i64::MIN));
        let hash = version.hash(view.id, entity);
        let content = gather(version, view, (hash, entity), (from, range.end), &pinned);
        if pinned.is_missing_any() {
            return Ok(pinned.outcome(None));
        }
        if RANGE_TILE_COUNT_MAX < content.tiles.len() {
            return Err(EngineError::Limit(format!(
                "the range holds {} tiles, at most {RANGE_TILE_COUNT_MAX} are answered; split it",
                content.tiles.len()
            )));
        }
        let layout = view.layout();
        let print = |accumulator| {
            let partial =
                |&index: &usize| layout.print_partial(&view.features[index].binding, accumulator);
            features.iter().map(partial).collect()
        };
        let tiles = content.tiles.iter().map(|tile| (tile.start, print(&tile.accumulator)));
        Ok(ReadOutcome::Ready(tiles.collect()))
    }

    /// The names of all views, ascending.
    #[must_use]
    pub fn view_names(&self, version: &Version) -> Vec<Name> {
        version.catalog.views().map(|view| view.definition.name.clone()).collect()
    }

    /// The view with this name.
    pub fn view(&self, version: &Version, name: &Name) -> Result<Arc<View>, EngineError> {
        version.catalog.named(name).cloned()
    }

    /// Figures of a view. Counting entities and tiles reads all of the view's data: keep it off
    /// threads that must not wait.
    pub fn view_info(
        &self,
        version: &Version,
        name: &Name,
        now_ms: i64,
    ) -> Result<ViewInfo, EngineError> {
        let view = version.catalog.named(name)?;
        let jobs = self.shared.jobs.read();
        let of_view = jobs.iter(now_ms).filter(|job| job.view == view.id);
        let last = of_view.max_by_key(|job| (job.committed_at, job.id));
        let last = last.map(|job| LastJob { rows: job.rows, committed_at: job.committed_at });
        drop(jobs);
        view_info(version, view, now_ms, last)
    }

    /// The last sequence that the producer has applied to the view.
    pub fn producer(
        &self,
        version: &Version,
        view: &Name,
        id: &Bytes,
        now_ms: i64,
    ) -> Result<Option<u64>, EngineError> {
        let view = version.catalog.named(view)?;
        Ok(self.shared.producers.read().last(view.id, id, now_ms))
    }

    /// What is sealed in the view: (from, to, made at), in milliseconds, ascending.
    pub fn seals(
        &self,
        version: &Version,
        view: &Name,
    ) -> Result<Vec<(i64, i64, i64)>, EngineError> {
        Ok(version.catalog.named(view)?.seals.list())
    }

    /// As [`Reader::try_explain`], reading on this thread what must come from disk.
    pub fn explain(
        &self,
        version: &Version,
        request: &ReadRequest,
        entity: &[u8],
        at: Option<i64>,
        now_ms: i64,
    ) -> Result<Explanation, EngineError> {
        PinnedPages::read_in_place(|pinned| {
            self.try_explain(version, request, entity, at, now_ms, pinned)
        })
    }

    /// How one window of one entity is answered: bounds, tiles, seals, holes and the result.
    /// Never waits for the disk, as [`Reader::try_read`].
    pub fn try_explain(
        &self,
        version: &Version,
        request: &ReadRequest,
        entity: &[u8],
        at: Option<i64>,
        now_ms: i64,
        pinned: PinnedPages,
    ) -> Result<ReadOutcome<Explanation>, EngineError> {
        let plan = self.plan(version, request)?;
        let explanation = explain(version, &plan, entity, at, now_ms, &pinned)?;
        Ok(pinned.outcome(explanation))
    }

    /// What the store takes of its memory budget, and what reads from disk have done.
    #[must_use]
    pub fn memory(&self) -> MemoryInfo {
        self.shared.memory.info()
    }
}

/// How many rows `values` key values make, if each has its time.
fn row_count(plan: &Plan, time: &ReadTime, values: usize) -> Result<usize, EngineError> {
    let width = plan.values_per_row();
    let rows = values.checked_div(width).unwrap_or(0);
    if rows * width != values {
        return Err(EngineError::BadValue(format!(
            "{values} key values do not make rows of {width}; give one per key and row"
        )));
    }
    match time {
        ReadTime::Each(times) if times.len() != rows => Err(EngineError::BadValue(format!(
            "{} times for {rows} entities; give one time per entity",
            times.len(),
        ))),
        _ => Ok(rows),
    }
}

/// One view's part of a read.
pub(crate) struct Request<'a> {
    pub(crate) version: &'a Version,
    pub(crate) view: &'a Arc<View>,
    pub(crate) plan: &'a ViewPlan,
    pub(crate) known: bool,
    pub(crate) now_ms: i64,
    pub(crate) pinned: &'a PinnedPages,
}

/// What the rows of a read ask about.
#[derive(Clone, Copy)]
enum RowTimes<'a> {
    /// The same for all.
    Common(&'a Frame),
    /// A time each.
    Each(&'a [i64]),
}

impl Request<'_> {
    /// Fills the columns of this view's selectors.
    pub(crate) fn read(&self, time: &ReadTime, entities: &[&[u8]], columns: &mut [AnswerColumn]) {
        clear_columns(self.plan, columns, entities.len());
        let mut bench = self.plan.take_bench(self.view, self.now_ms);
        let Bench { frame: now, workspace, .. } = &mut *bench;
        match time {
            ReadTime::Now => self.read_rows(RowTimes::Common(now), entities, workspace, columns),
            ReadTime::At(at) => {
                let frame = self.frame(*at, &mut self.known_walk());
                self.read_rows(RowTimes::Common(&frame), entities, workspace, columns);
            }
            ReadTime::Each(times) => {
                self.read_rows(RowTimes::Each(times), entities, workspace, columns);
            }
        }
        self.plan.leave_bench(bench);
    }

    fn read_rows(
        &self,
        times: RowTimes<'_>,
        entities: &[&[u8]],
        workspace: &mut Workspace,
        columns: &mut [AnswerColumn],
    ) {
        let mut walk = match times {
            RowTimes::Each(_) => self.known_walk(),
            RowTimes::Common(_) => None,
        };
        let mut rollup = Rollup::new(self.version, self.view, self.plan, workspace, self.pinned);
        let mut group = RowGroup::default();
        for (at, entities) in entities.chunks(GROUP_KEYS_MAX).enumerate() {
            rollup.look_up(entities, &mut group);
            if self.pinned.is_missing_any() {
                // There is no answer now: the rest is only asked for the pages that it needs.
                continue;
            }
            for row in 0..entities.len() {
                let position = at * GROUP_KEYS_MAX + row;
                let own;
                let frame = match times {
                    RowTimes::Common(frame) => frame,
                    RowTimes::Each(times) => {
                        own = self.frame(times[position], &mut walk);
                        &own
                    }
                };
                rollup.push_row(frame, &group, row, columns);
                if position == 0 || matches!(times, RowTimes::Each(_)) {
                    for (column, selector) in columns.iter_mut().zip(&frame.selectors) {
                        column.bounds.push(selector.bounds);
                    }
                }
            }
        }
    }

    /// The frame of a read at `at`.
    pub(crate) fn frame(&self, at: i64, walk: &mut Option<KnownWalk>) -> Frame {
        let coverage: &Coverage = match walk {
            Some(walk) => walk.at(at),
            None => &self.view.coverage,
        };
        Frame::new(self.view, self.plan, FrameTime { at: Some(at), now: self.now_ms, coverage })
    }

    /// What answers which seals were known, where that is asked for and matters.
    pub(crate) fn known_walk(&self) -> Option<KnownWalk> {
        let matters = self.known && self.view.definition.seal == SealMode::Required;
        matters.then(|| self.view.seals.known_walk())
    }
}
