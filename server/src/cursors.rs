//! The places where walks over keys stand: SCAN's cursor is a number, a place among sorted keys is
//! a key. Bounded: the places that were longest of no use are forgotten.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::limits::{CURSOR_BYTES_MAX, CURSOR_COUNT_MAX};

/// The places that cursors stand for.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    /// Differs from run to run, so that a cursor of an earlier one is not taken for another place.
    state: RandomState,
    /// Guards the places.
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    keys: HashMap<u64, Place>,
    /// Numbers of cursors by the turn in which they were given out; turns that passed since are
    /// passed over.
    turns: VecDeque<(u64, u64)>,
    turn: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Place {
    key: Arc<[u8]>,
    turn: u64,
}

impl Cursors {
    /// The cursor of the place behind `key`: at least 1, and below 2^53, which every client's
    /// numbers can hold.
    pub(crate) fn give(&self, key: Arc<[u8]>) -> u64 {
        let first = self.state.hash_one(&key) >> CURSOR_SHIFT;
        let mut places = self.places.lock();
        let mut cursor = first.max(1);
        while places.keys.get(&cursor).is_some_and(|place| place.key != key) {
            cursor = (cursor + 1) % (1 << (64 - CURSOR_SHIFT));
            cursor = cursor.max(1);
        }
        places.put(cursor, key);
        cursor
    }

    /// The key of a cursor's place; none where it is unknown or was forgotten.
    pub(crate) fn place(&self, cursor: u64) -> Option<Arc<[u8]>> {
        self.places.lock().keys.get(&cursor).map(|place| Arc::clone(&place.key))
    }
}

impl Places {
    fn put(&mut self, cursor: u64, key: Arc<[u8]>) {
        self.turn += 1;
        let (turn, bytes) = (self.turn, key.len());
        self.turns.push_back((cursor, turn));
        match self.keys.insert(cursor, Place { key, turn }) {
            Some(_) => {}
            None => self.bytes += bytes,
        }
        while CURSOR_COUNT_MAX < self.turns.len() || CURSOR_BYTES_MAX < self.bytes {
            let Some((oldest, turn)) = self.turns.pop_front() else { return };
            if self.keys.get(&oldest).is_some_and(|place| place.turn == turn)
                && let Some(place) = self.keys.remove(&oldest)
            {
                self.bytes -= place.key.len();
            }
        }
    }
}

const CURSOR_SHIFT: u32 = 11;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Arc<[u8]> {
        number.to_string().into_bytes().into()
    }

    #[test]
    fn a_place_is_known_until_too_many_others_were_given_out() {
        let cursors = Cursors::default();
        let first = cursors.give(key(0));
        assert_eq!((cursors.give(key(0)), cursors.place(first)), (first, Some(key(0))));
        for number in 1..CURSOR_COUNT_MAX {
            assert!((1..1 << 53).contains(&cursors.give(key(number))));
        }
        assert_eq!(cursors.place(first), Some(key(0)));
        cursors.give(key(CURSOR_COUNT_MAX));
        assert_eq!(cursors.place(first), None);
        assert_eq!(cursors.places.lock().keys.len(), CURSOR_COUNT_MAX);
    }

    #[test]
    fn long_keys_push_others_out_early() {
        let cursors = Cursors::default();
        let first = cursors.give(key(1));
        let long: Arc<[u8]> = vec![7; CURSOR_BYTES_MAX].into();
        let second = cursors.give(Arc::clone(&long));
        assert_eq!((cursors.place(first), cursors.place(second)), (None, Some(long)));
    }
}
