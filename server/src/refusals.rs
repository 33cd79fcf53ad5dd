//! The producer rule of a connection: once a producer's command is refused, its later commands on
//! that connection are refused as well, until one comes whose sequence is not above the refused
//! one. So a refusal inside a pipeline loses nothing. Knows nothing of the engine.

use bytes::Bytes;
use hashbrown::HashMap;
use tilekv_tile::Name;

use crate::limits::REFUSED_PRODUCER_COUNT_MAX;

/// A producer: its view and its id.
pub(crate) type StampKey = (Name, Bytes);

/// The producers of one connection that are in the refused state, with the refused sequence.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    refused: HashMap<StampKey, u64>,
}

impl Refusals {
    /// Whether a producer's command may be tried. A sequence not above the refused one ends
    /// the refused state.
    pub(crate) fn admits(&mut self, key: &StampKey, sequence: u64) -> bool {
        match self.refused.get(key) {
            Some(refused) if *refused < sequence => false,
            Some(_) => {
                self.refused.remove(key);
                true
            }
            None => true,
        }
    }

    /// Notes that a producer's command was refused; the first refusal counts. False if there
    /// are too many to remember, in which case the connection must be closed.
    pub(crate) fn note(&mut self, key: StampKey, sequence: u64) -> bool {
        if self.refused.len() >= REFUSED_PRODUCER_COUNT_MAX && !self.refused.contains_key(&key) {
            return false;
        }
        let refused = self.refused.entry(key).or_insert(sequence);
        *refused = sequence.min(*refused);
        true
    }

    /// Whether no producer is refused.
    pub(crate) fn is_empty(&self) -> bool {
        self.refused.is_empty()
    }

    /// Takes all entries out.
    pub(crate) fn take(&mut self) -> Vec<(StampKey, u64)> {
        self.refused.drain().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> Name {
        Name::parse(b"clicks").unwrap()
    }

    fn key() -> StampKey {
        (view(), Bytes::from_static(b"p0"))
    }

    #[test]
    fn what_follows_a_refusal_is_refused_until_the_producer_comes_back() {
        let mut refusals = Refusals::default();
        assert!(refusals.admits(&key(), 4));
        assert!(refusals.note(key(), 5));
        assert!(!refusals.admits(&key(), 6));
        assert!(!refusals.admits(&key(), 7));
        assert!(refusals.admits(&key(), 5));
        assert!(refusals.admits(&key(), 6));
        assert!(refusals.is_empty());
    }

    #[test]
    fn the_first_refused_sequence_counts() {
        let mut refusals = Refusals::default();
        assert!(refusals.note(key(), 5));
        assert!(refusals.note(key(), 6));
        assert!(!refusals.admits(&key(), 6));
        assert_eq!(refusals.take(), [(key(), 5)]);
    }

    #[test]
    fn other_producers_go_on() {
        let mut refusals = Refusals::default();
        assert!(refusals.note(key(), 5));
        assert!(refusals.admits(&(view(), Bytes::from_static(b"p1")), 9));
        assert!(refusals.admits(&(Name::parse(b"other").unwrap(), key().1), 9));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut refusals = Refusals::default();
        for number in 0..REFUSED_PRODUCER_COUNT_MAX {
            assert!(refusals.note((view(), Bytes::from(number.to_string())), 1));
        }
        assert!(!refusals.note(key(), 1));
        assert!(refusals.note((view(), Bytes::from("0")), 1));
    }
}
