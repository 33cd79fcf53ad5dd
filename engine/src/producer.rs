//! Owns the table of producers: the last applied sequence of each (view, producer id), its bound
//! and its expiry. Knows nothing of logs.

use bytes::Bytes;
use hashbrown::HashMap;
use tilekv_tile::{After, ProducerStamp};

use crate::catalog::ViewId;
use crate::error::EngineError;
use crate::limits::PRODUCER_EXPIRY_MS;

/// What is known of one producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The last applied sequence.
    pub(crate) sequence: u64,
    /// When it was applied, in milliseconds by the log's clock.
    pub(crate) seen_at: i64,
}

/// Whether a stamped command is to be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// New: apply it.
    Apply,
    /// Applied before: acknowledge and ignore it.
    Duplicate,
}

/// The last applied sequence of every producer.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProducerTable {
    entries: HashMap<(ViewId, Bytes), Progress>,
}

impl ProducerTable {
    /// The last sequence that `id` has applied to `view`, unless it expired before `now`.
    pub(crate) fn last(&self, view: ViewId, id: &Bytes, now: i64) -> Option<u64> {
        let progress = self.entries.get(&(view, id.clone()))?;
        (now < progress.seen_at.saturating_add(PRODUCER_EXPIRY_MS)).then_some(progress.sequence)
    }

    /// Judges `stamp` against `last`, the producer's last applied sequence.
    pub(crate) fn admit(
        last: Option<u64>,
        stamp: &ProducerStamp,
    ) -> Result<Admission, EngineError> {
        if last.is_some_and(|last| stamp.sequence <= last) {
            return Ok(Admission::Duplicate);
        }
        let follows = match stamp.after {
            After::Any => true,
            After::First => last.is_none(),
            After::Sequence(previous) => last == Some(previous),
        };
        if follows { Ok(Admission::Apply) } else { Err(EngineError::OutOfOrder { last }) }
    }

    /// Notes that `sequence` of `id` was applied to `view` at `now`.
    pub(crate) fn record(&mut self, view: ViewId, id: Bytes, sequence: u64, now: i64) {
        self.entries.insert((view, id), Progress { sequence, seen_at: now });
    }

    /// Forgets producers that have been silent for longer than the expiry.
    pub(crate) fn expire(&mut self, now: i64) {
        self.entries
            .retain(|_, progress| now < progress.seen_at.saturating_add(PRODUCER_EXPIRY_MS));
    }

    /// Forgets the producers of a dropped view.
    pub(crate) fn forget_view(&mut self, view: ViewId) {
        self.entries.retain(|(owner, _), _| *owner != view);
    }

    /// How many producers are known.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Every producer, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ViewId, &Bytes, Progress)> {
        self.entries.iter().map(|((view, id), progress)| (*view, id, *progress))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(sequence: u64, after: After) -> ProducerStamp {
        ProducerStamp { id: Bytes::from_static(b"p"), sequence, after }
    }

    #[test]
    fn a_sequence_not_above_the_last_is_a_duplicate_whatever_after_says() {
        let judged = ProducerTable::admit(Some(5), &stamp(5, After::Sequence(99)));
        assert!(matches!(judged, Ok(Admission::Duplicate)));
    }

    #[test]
    fn after_must_name_the_last_applied_sequence() {
        assert!(matches!(
            ProducerTable::admit(Some(5), &stamp(9, After::Sequence(5))),
            Ok(Admission::Apply)
        ));
        let Err(EngineError::OutOfOrder { last }) =
            ProducerTable::admit(Some(5), &stamp(9, After::Sequence(7)))
        else {
            panic!("a gap must be refused");
        };
        assert_eq!(last, Some(5));
        let refused = ProducerTable::admit(Some(5), &stamp(9, After::First));
        assert!(matches!(refused, Err(EngineError::OutOfOrder { last: Some(5) })));
        assert!(matches!(
            ProducerTable::admit(None, &stamp(0, After::First)),
            Ok(Admission::Apply)
        ));
    }

    #[test]
    fn a_silent_producer_is_forgotten_after_the_expiry() {
        let mut table = ProducerTable::default();
        let (view, id) = (ViewId(1), Bytes::from_static(b"p"));
        table.record(view, id.clone(), 7, 1_000);
        assert_eq!(table.last(view, &id, 1_000 + PRODUCER_EXPIRY_MS - 1), Some(7));
        assert_eq!(table.last(view, &id, 1_000 + PRODUCER_EXPIRY_MS), None);
        table.expire(1_000 + PRODUCER_EXPIRY_MS);
        assert_eq!(table.len(), 0);
    }
}
