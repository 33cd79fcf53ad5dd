//! Owns the judgement of writes: every rule is checked here, against the staged state, and what
//! passes becomes records of the pending batch. A refused write leaves no trace.

use std::sync::Arc;

use bytes::Bytes;
use tilekv_tile::{
    LateMode, Name, ProducerStamp, Rows, ViewChange, ViewDefinition, ViewSelector,
    accumulator_from_partials, check_tile_range, check_tile_start, encode_accumulator, floor_to,
};

use crate::catalog::{AlterGaps, View, ViewId};
use crate::codec::bytes_u64;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::limits::{
    LAYOUT_COUNT_MAX, PRODUCER_ID_BYTES_MAX, RECORD_BYTES_MAX, ROW_COUNT_MAX, SERVICE_COUNT_MAX,
    VIEW_COUNT_MAX,
};
use crate::lookup::gather;
use crate::open_job::SealedJob;
use crate::pages::{PinnedPages, ReadOutcome};
use crate::producer::{Admission, ProducerTable};
use crate::ranges::TimeRange;
use crate::record::{
    EventsWriter, StampRecord, TileRecord, put_add_seal, put_alter_view, put_clear, put_commit_job,
    put_create_service, put_create_view, put_drop_service, put_drop_view, put_remove_seal,
    put_tile,
};
use crate::service::Service;
use crate::write::{Lateness, Outcome, Prepared, TileWrite, Write};

/// The tiles that a deletion meets. Expired ones are not counted, and go all the same: a longer
/// retention must not bring them back.
struct StoredCount {
    readable: u64,
    is_any_stored: bool,
}

/// What a change leaves without complete data: features that it adds lack what was written before
/// the next tile starts, and all features lack what lay behind a horizon that moves back.
fn alter_gaps(now_ms: i64, view: &View, definition: &ViewDefinition) -> AlterGaps {
    let Some(oldest) = view.counters.oldest_tile() else {
        return AlterGaps::default();
    };
    let next_start = floor_to(now_ms, view.span()) + view.span();
    let is_longer = match (view.definition.retention, definition.retention) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(old), Some(new)) => old < new,
    };
    let horizon = view.horizon(now_ms).filter(|&horizon| is_longer && oldest < horizon);
    AlterGaps {
        new_features: Some((oldest, next_start)).filter(|(from, to)| from < to),
        all_features: horizon.map(|horizon| (oldest, horizon)),
    }
}

impl Engine {
    /// As [`Engine::try_prepare`], reading on this thread what must come from disk.
    ///
    /// # Errors
    /// As [`Engine::try_prepare`].
    pub fn prepare(&mut self, now_ms: i64, write: Write) -> Result<Prepared, EngineError> {
        let mut prepared = self.try_prepare(now_ms, write, PinnedPages::default())?;
        while let Prepared::Needs(write, request) = prepared {
            prepared = self.try_prepare(now_ms, write, request.load()?)?;
        }
        Ok(prepared)
    }

    /// Judges `write` at `now_ms` and stages its effects in the pending batch. An error means that
    /// it was refused and nothing was staged. Never waits for the disk: `pinned` is empty at
    /// first, then what the request for pages came to.
    ///
    /// # Errors
    /// Whatever the contract refuses: the variant names the rule.
    pub fn try_prepare(
        &mut self,
        now_ms: i64,
        write: Write,
        pinned: PinnedPages,
    ) -> Result<Prepared, EngineError> {
        let now_ms = self.advance_clock(now_ms);
        if self.must_commit_before(&write) {
            return Ok(Prepared::CommitFirst(write));
        }
        self.check_backlog()?;
        self.check_memory(&write)?;
        let mark = self.pending.mark();
        let outcome = self.stage(now_ms, &write, &pinned);
        if outcome.is_err() || pinned.is_missing_any() {
            self.pending.rewind(mark);
        }
        match pinned.outcome(Some(outcome?)) {
            ReadOutcome::Ready(outcome) => Ok(Prepared::Staged(outcome)),
            ReadOutcome::Needs(request) => Ok(Prepared::Needs(write, request)),
        }
    }

    /// Stages the publication of a sealed job at `now_ms`: its rows are visible once `commit` has
    /// returned. A refusal opens the job again.
    ///
    /// # Errors
    /// Its view is gone or has no room for a seal, or too much waits to be flushed.
    pub fn prepare_job(&mut self, now_ms: i64, job: SealedJob) -> Result<(), EngineError> {
        let now_ms = self.advance_clock(now_ms);
        self.check_backlog()?;
        let (id, name) = job.view();
        let record = job.record(now_ms);
        let Some(view) = self.staged.catalog.view(id) else {
            return Err(EngineError::NoView(name.to_string()));
        };
        if record.sealed_at.is_some() {
            view.seals.check_room()?;
        }
        self.pending.push(|out| put_commit_job(out, &record));
        let (from, to) = (record.from, record.to);
        if let Some(at) = record.sealed_at {
            self.staged.catalog.update(id, |view| view.add_seal(from, to, at));
        }
        if let Some(segment) = job.segment() {
            self.applied.stage_segment(Arc::clone(segment));
        }
        self.staged.jobs.push(job);
        Ok(())
    }

    /// Whether the write's judgement needs the effects that are pending to be applied first.
    fn must_commit_before(&self, write: &Write) -> bool {
        let reads_tiles = matches!(
            write,
            Write::DeleteTiles { .. } | Write::DeleteEntity { .. } | Write::AlterView { .. }
        );
        reads_tiles && !self.pending.is_empty()
    }

    fn stage(
        &mut self,
        now_ms: i64,
        write: &Write,
        pinned: &PinnedPages,
    ) -> Result<Outcome, EngineError> {
        match write {
            Write::CreateView(definition) => self.stage_create(definition.clone()),
            Write::AlterView { view, change } => self.stage_alter(now_ms, view, change),
            Write::DropView(view) => self.stage_drop(view),
            Write::Events { view, stamp, rows, lateness } => {
                self.stage_events(now_ms, view, stamp.as_ref(), rows, *lateness)
            }
            Write::SetTile(tile) => self.stage_tile(now_ms, tile, true),
            Write::MergeTile(tile) => self.stage_tile(now_ms, tile, false),
            Write::DeleteTiles { view, entity, from, to } => {
                self.stage_clear(now_ms, view, entity, (*from, *to), pinned)
            }
            Write::DeleteEntity { entity, views } => {
                self.stage_delete_entity(now_ms, entity, views.as_deref(), pinned)
            }
            Write::AddSeal { view, from, to } => self.stage_add_seal(now_ms, view, *from, *to),
            Write::RemoveSeal { view, from, to } => {
                self.stage_remove_seal(now_ms, view, *from, *to)
            }
            Write::CreateService { name, selectors } => self.stage_create_service(name, selectors),
            Write::DropService(name) => self.stage_drop_service(name),
            Write::Record(write) => self.stage_record(now_ms, write),
        }
    }

    fn stage_create(&mut self, definition: ViewDefinition) -> Result<Outcome, EngineError> {
        definition.validate()?;
        if self.staged.catalog.contains(&definition.name) {
            return Err(EngineError::ViewExists(definition.name));
        }
        if VIEW_COUNT_MAX <= self.staged.catalog.len() {
            return Err(EngineError::Limit(format!(
                "the store holds {VIEW_COUNT_MAX} views, its limit; drop one first"
            )));
        }
        let id = self.staged.catalog.next_view_id();
        let view = View::create(id, definition)?;
        self.pending.push(|out| put_create_view(out, id, &view.definition));
        self.staged.catalog.insert(view);
        Ok(Outcome::Ok)
    }

    fn stage_alter(
        &mut self,
        now_ms: i64,
        name: &Name,
        change: &ViewChange,
    ) -> Result<Outcome, EngineError> {
        let view = self.staged_view(name)?;
        let definition = change.apply(&view.definition)?;
        if LAYOUT_COUNT_MAX <= view.layouts.len() && !change.add_features.is_empty() {
            return Err(EngineError::Limit(format!(
                "view `{name}` was given features {LAYOUT_COUNT_MAX} times, its limit"
            )));
        }
        let gaps = alter_gaps(now_ms, &view, &definition);
        let id = view.id;
        let mut altered = View::clone(&view);
        altered.alter(definition, gaps)?;
        self.pending.push(|out| put_alter_view(out, id, gaps, &altered.definition));
        self.staged.catalog.insert(altered);
        Ok(Outcome::Ok)
    }

    fn stage_drop(&mut self, name: &Name) -> Result<Outcome, EngineError> {
        let id = self.staged_view(name)?.id;
        let readers = self.staged.catalog.services().filter(|service| service.reads(id));
        let services: Vec<String> = readers.map(|service| service.name.to_string()).collect();
        if !services.is_empty() {
            return Err(EngineError::ViewInUse { view: name.clone(), services });
        }
        self.pending.push(|out| put_drop_view(out, id));
        self.staged.catalog.remove(id);
        Ok(Outcome::Ok)
    }

    fn stage_create_service(
        &mut self,
        name: &Name,
        selectors: &[ViewSelector],
    ) -> Result<Outcome, EngineError> {
        let catalog = &mut self.staged.catalog;
        if catalog.service(name).is_ok() {
            return Err(EngineError::ServiceExists(name.clone()));
        }
        if SERVICE_COUNT_MAX <= catalog.services().len() {
            return Err(EngineError::Limit(format!(
                "the store holds {SERVICE_COUNT_MAX} services, its limit; drop one first"
            )));
        }
        let service = Service::create(catalog, name.clone(), selectors)?;
        self.pending.push(|out| put_create_service(out, &service));
        self.staged.catalog.insert_service(service);
        Ok(Outcome::Ok)
    }

    fn stage_drop_service(&mut self, name: &Name) -> Result<Outcome, EngineError> {
        self.staged.catalog.service(name)?;
        self.pending.push(|out| put_drop_service(out, name));
        self.staged.catalog.remove_service(name);
        Ok(Outcome::Ok)
    }

    fn stage_events(
        &mut self,
        now_ms: i64,
        name: &Name,
        stamp: Option<&ProducerStamp>,
        rows: &Rows,
        lateness: Lateness,
    ) -> Result<Outcome, EngineError> {
        let view = self.staged_view(name)?;
        if self.admit(now_ms, view.id, stamp)? == Admission::Duplicate {
            return Ok(Outcome::Duplicate);
        }
        rows.validate()?;
        if ROW_COUNT_MAX < rows.len() {
            return Err(EngineError::Limit(format!(
                "{} rows in one write, at most {ROW_COUNT_MAX} are taken; split it",
                rows.len()
            )));
        }
        let columns = view.columns_of(rows)?;
        let indices: Vec<u16> = columns.iter().map(|(index, _)| *index).collect();
        let horizon = view.horizon(now_ms).unwrap_or(i64::MIN);
        let drops_late = view.definition.late == LateMode::Drop;
        let record = self.pending.open();
        let mut writer =
            EventsWriter::begin(record, view.id, stamp.map(StampRecord::from), &indices);
        for row in 0..rows.len() {
            view.definition.entity_check(&rows.entities[row])?;
            let start = floor_to(rows.timestamps[row], view.span());
            let is_too_old = start < horizon;
            if is_too_old && lateness == Lateness::Refuse {
                return Err(EngineError::TooOld { view: name.clone(), start, horizon });
            }
            let is_late =
                drops_late && view.coverage.covers(start, start.saturating_add(view.span()));
            let is_applied = !is_too_old && !is_late;
            if is_applied {
                writer.begin_row(rows.timestamps[row], &rows.entities[row]);
            } else if is_too_old {
                writer.skip_too_old();
            } else {
                writer.skip_late();
            }
            for (position, (_, kind)) in columns.iter().enumerate() {
                let cell = rows.cell(row, position, *kind)?;
                if is_applied {
                    writer.cell(cell);
                }
            }
        }
        let applied = writer.finish();
        self.pending.close(RECORD_BYTES_MAX)?;
        self.note_stamp(now_ms, view.id, stamp);
        Ok(Outcome::Count(bytes_u64(applied)))
    }

    fn stage_tile(
        &mut self,
        now_ms: i64,
        tile: &TileWrite,
        base: bool,
    ) -> Result<Outcome, EngineError> {
        let view = self.staged_view(&tile.view)?;
        if self.admit(now_ms, view.id, tile.stamp.as_ref())? == Admission::Duplicate {
            return Ok(Outcome::Duplicate);
        }
        view.definition.entity_check(&tile.entity)?;
        let end = check_tile_start(tile.start, view.definition.tile)?;
        self.check_not_expired(now_ms, &view, tile.start)?;
        let given = view.given_partials(&tile.partials)?;
        let bindings = view.bindings();
        let accumulator =
            accumulator_from_partials(view.layout(), &bindings, &given, (tile.start, end))?;
        let mut state = Vec::new();
        encode_accumulator(view.layout(), &accumulator, &mut state);
        let record = TileRecord {
            view: view.id,
            stamp: tile.stamp.as_ref().map(StampRecord::from),
            layout: view.layout_id(),
            start: tile.start,
            base,
            entity: &tile.entity,
            state: &state,
        };
        put_tile(self.pending.open(), &record);
        self.pending.close(RECORD_BYTES_MAX)?;
        self.note_stamp(now_ms, view.id, tile.stamp.as_ref());
        Ok(Outcome::Ok)
    }

    fn stage_clear(
        &mut self,
        now_ms: i64,
        name: &Name,
        entity: &Bytes,
        (from, to): TimeRange,
        pinned: &PinnedPages,
    ) -> Result<Outcome, EngineError> {
        let view = self.staged_view(name)?;
        view.definition.entity_check(entity)?;
        let removed = self.count_tiles(now_ms, &view, entity, (from, to), pinned);
        if removed.is_any_stored {
            self.pending.push(|out| put_clear(out, view.id, from, to, entity));
        }
        Ok(Outcome::Count(removed.readable))
    }

    fn stage_delete_entity(
        &mut self,
        now_ms: i64,
        entity: &Bytes,
        names: Option<&[Name]>,
        pinned: &PinnedPages,
    ) -> Result<Outcome, EngineError> {
        tilekv_tile::check_entity(entity)?;
        let views = match names {
            Some(names) => names
                .iter()
                .map(|name| self.staged_view(name))
                .collect::<Result<Vec<_>, EngineError>>()?,
            None => self.staged.catalog.views().cloned().collect(),
        };
        let mut removed = 0;
        let mut cleared: Vec<ViewId> = Vec::new();
        for view in views {
            let count = self.count_tiles(now_ms, &view, entity, (i64::MIN, i64::MAX), pinned);
            if count.is_any_stored && !cleared.contains(&view.id) {
                cleared.push(view.id);
                removed += count.readable;
                self.pending.push(|out| put_clear(out, view.id, i64::MIN, i64::MAX, entity));
            }
        }
        Ok(Outcome::Count(removed))
    }

    fn stage_add_seal(
        &mut self,
        now_ms: i64,
        name: &Name,
        from: i64,
        to: i64,
    ) -> Result<Outcome, EngineError> {
        let view = self.sealable_view(name, from, to)?;
        self.pending.push(|out| put_add_seal(out, view.id, from, to, now_ms));
        self.staged.catalog.update(view.id, |view| view.add_seal(from, to, now_ms));
        Ok(Outcome::Ok)
    }

    fn stage_remove_seal(
        &mut self,
        now_ms: i64,
        name: &Name,
        from: i64,
        to: i64,
    ) -> Result<Outcome, EngineError> {
        let view = self.sealable_view(name, from, to)?;
        self.pending.push(|out| put_remove_seal(out, view.id, from, to, now_ms));
        self.staged.catalog.update(view.id, |view| view.remove_seal(from, to, now_ms));
        Ok(Outcome::Ok)
    }

    /// The view, if `[from, to)` is whole tiles and its seals have room for one more change.
    fn sealable_view(&self, name: &Name, from: i64, to: i64) -> Result<Arc<View>, EngineError> {
        let view = self.staged_view(name)?;
        check_tile_range(from, to, view.definition.tile)?;
        view.seals.check_room()?;
        Ok(view)
    }

    fn staged_view(&self, name: &Name) -> Result<Arc<View>, EngineError> {
        self.staged.catalog.named(name).cloned()
    }

    fn check_not_expired(&self, now_ms: i64, view: &View, start: i64) -> Result<(), EngineError> {
        match view.horizon(now_ms) {
            Some(horizon) if start < horizon => {
                Err(EngineError::TooOld { view: view.definition.name.clone(), start, horizon })
            }
            _ => Ok(()),
        }
    }

    fn count_tiles(
        &self,
        now_ms: i64,
        view: &View,
        entity: &[u8],
        range: TimeRange,
        pinned: &PinnedPages,
    ) -> StoredCount {
        let version = self.shared.version.load();
        let horizon = view.horizon(now_ms).unwrap_or(i64::MIN);
        let hash = version.hash(view.id, entity);
        let content = gather(&version, view, (hash, entity), range, pinned);
        let tiles = content.tiles;
        StoredCount {
            readable: bytes_u64(tiles.iter().filter(|tile| horizon <= tile.start).count()),
            is_any_stored: !tiles.is_empty(),
        }
    }

    /// Judges a producer's stamp against what is applied and what is pending.
    fn admit(
        &self,
        now_ms: i64,
        view: ViewId,
        stamp: Option<&ProducerStamp>,
    ) -> Result<Admission, EngineError> {
        let Some(stamp) = stamp else {
            return Ok(Admission::Apply);
        };
        if stamp.id.is_empty() || PRODUCER_ID_BYTES_MAX < stamp.id.len() {
            return Err(EngineError::Limit(format!(
                "a producer id has 1 to {PRODUCER_ID_BYTES_MAX} bytes, not {}",
                stamp.id.len()
            )));
        }
        let applied = self.shared.producers.read();
        let last = self
            .staged
            .producers
            .last(view, &stamp.id, now_ms)
            .or_else(|| applied.last(view, &stamp.id, now_ms));
        let count = applied.len() + self.staged.producers.len();
        if last.is_none() && self.options.producer_count_max <= count {
            return Err(EngineError::Limit(format!(
                "{count} producers are known, the limit; silent ones are forgotten after 30 days"
            )));
        }
        ProducerTable::admit(last, stamp)
    }

    fn note_stamp(&mut self, now_ms: i64, view: ViewId, stamp: Option<&ProducerStamp>) {
        if let Some(stamp) = stamp {
            self.staged.producers.record(view, stamp.id.clone(), stamp.sequence, now_ms);
        }
    }
}
