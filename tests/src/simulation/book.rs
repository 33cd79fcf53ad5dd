//! Keeps account of what was staged, committed and made durable, so that after a crash it can say
//! which states are allowed. It knows nothing of disks.

use crate::simulation::model::{Effect, Model};

/// What was committed together: all of it survives or none.
#[derive(Debug, Clone)]
pub struct Batch {
    /// What the writes amount to.
    pub effects: Vec<Effect>,
    /// The log's time of the commit.
    pub now: i64,
    /// The first LSN after the batch.
    pub end: u64,
}

/// The states of a store, as they should be.
#[derive(Debug, Default)]
pub struct Book {
    /// What readers see.
    pub committed: Model,
    /// What writes are judged against.
    pub staged: Model,
    /// What was staged since the last commit.
    pub pending: Vec<Effect>,
    /// Every commit, oldest first.
    pub batches: Vec<Batch>,
    /// A commit whose outcome is unknown.
    pub in_flight: Option<Batch>,
    /// The LSN below which everything survives a power cut.
    pub durable_end: u64,
    /// The LSN below which the disk itself shows what was durable.
    pub proven_end: u64,
}

impl Book {
    /// Notes what a write amounts to.
    pub fn stage(&mut self, effects: Vec<Effect>, now: i64) {
        for effect in &effects {
            self.staged.apply(effect, now);
        }
        self.pending.extend(effects);
    }

    /// Notes that a commit begins, which ends at an LSN if all goes well.
    pub fn begin(&mut self, now: i64, end: u64) {
        let effects = std::mem::take(&mut self.pending);
        self.in_flight = Some(Batch { effects, now, end });
    }

    /// Notes that the commit was acknowledged.
    pub fn acknowledge(&mut self) {
        let Some(batch) = self.in_flight.take() else {
            return;
        };
        for effect in &batch.effects {
            self.committed.apply(effect, batch.now);
        }
        self.staged.producers.clone_from(&self.committed.producers);
        self.batches.push(batch);
    }

    /// Notes that everything pending was refused or lost.
    pub fn discard(&mut self) {
        self.pending.clear();
        self.in_flight = None;
        self.staged.clone_from(&self.committed);
    }

    /// The first LSN after everything that was acknowledged.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.batches.last().map_or(0, |batch| batch.end)
    }

    /// The state after the batches below an LSN; none where a batch would be cut in two.
    #[must_use]
    pub fn state_at(&self, end: u64) -> Option<Model> {
        let count = self.batches.partition_point(|batch| batch.end <= end);
        let reached = count.checked_sub(1).map_or(0, |last| self.batches[last].end);
        (reached == end).then(|| {
            let mut model = Model::default();
            for batch in &self.batches[..count] {
                batch.effects.iter().for_each(|effect| model.apply(effect, batch.now));
            }
            model
        })
    }

    /// Goes back to what a restart has found, and says what is wrong with that.
    ///
    /// # Errors
    /// Batches below `least` are gone, a batch is there in part, or there is more than was written.
    pub fn restart(&mut self, found: u64, least: u64) -> Result<(), String> {
        self.pending.clear();
        if let Some(batch) = self.in_flight.take()
            && batch.end <= found
        {
            self.batches.push(batch);
        }
        let end = self.end();
        if found < least || end < found {
            return Err(format!("the store came back with LSN {found}, expected {least} to {end}"));
        }
        let Some(state) = self.state_at(found) else {
            return Err(format!("the store came back with LSN {found}, in the midst of a batch"));
        };
        self.batches.retain(|batch| batch.end <= found);
        self.staged.clone_from(&state);
        self.committed = state;
        self.durable_end = found;
        self.proven_end = found;
        Ok(())
    }
}
