//! The stored form of a seal set (docs/format/seals.md). It knows nothing of where the bytes are
//! kept, and leaves their checksum to whoever keeps them.

use super::{Seal, SealSet, WithdrawnSeal};
use crate::error::TileError;
use crate::limits::SEAL_PIECE_COUNT_STORED_MAX;

/// The format's version [SEALS-2].
const FORMAT_VERSION: u32 = 1;
/// Bytes before the first piece [SEALS-1].
const HEADER_BYTES: usize = 16;
/// Bytes of a live piece [SEALS-5].
const LIVE_BYTES: usize = 24;
/// Bytes of a withdrawn piece [SEALS-6].
const WITHDRAWN_BYTES: usize = 32;

impl SealSet {
    /// Appends the stored form (docs/format/seals.md). Equal sets have equal bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (live, withdrawn) = (self.live.len(), self.withdrawn.len());
        out.reserve(HEADER_BYTES + live * LIVE_BYTES + withdrawn * WITHDRAWN_BYTES);
        for word in [FORMAT_VERSION, stored_count(live), stored_count(withdrawn), 0] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        for seal in &self.live {
            put_times(out, &[seal.from, seal.to, seal.made_at]);
        }
        for WithdrawnSeal { seal, withdrawn_at } in &self.withdrawn {
            put_times(out, &[seal.from, seal.to, seal.made_at, *withdrawn_at]);
        }
    }

    /// Reads the stored form back. Every rule of the format is checked; an error names the byte.
    pub fn decode(bytes: &[u8]) -> Result<Self, TileError> {
        let (live_count, withdrawn_count) = decode_header(bytes)?;
        let live_end = HEADER_BYTES + live_count * LIVE_BYTES;
        let mut set = Self::default();
        for offset in (HEADER_BYTES..live_end).step_by(LIVE_BYTES) {
            set.decode_live(bytes, offset)?;
        }
        for index in 0..withdrawn_count {
            set.decode_withdrawn(bytes, live_end + index * WITHDRAWN_BYTES)?;
        }
        Ok(set)
    }

    fn decode_live(&mut self, bytes: &[u8], offset: usize) -> Result<(), TileError> {
        let seal = decode_seal(bytes, offset)?;
        let follows = self.live.last().is_none_or(|last| {
            last.to < seal.from || (last.to == seal.from && last.made_at != seal.made_at)
        });
        if !follows {
            let found = format!("one from {}", seal.from);
            return Err(corrupt(offset, "a piece apart from the last [SEALS-5]", found));
        }
        self.live.push(seal);
        Ok(())
    }

    fn decode_withdrawn(&mut self, bytes: &[u8], offset: usize) -> Result<(), TileError> {
        let seal = decode_seal(bytes, offset)?;
        let piece = WithdrawnSeal { seal, withdrawn_at: time_at(bytes, offset + LIVE_BYTES) };
        if piece.withdrawn_at <= seal.made_at {
            let found = format!("{}, made at {}", piece.withdrawn_at, seal.made_at);
            return Err(corrupt(offset, "a withdrawal after the seal [SEALS-6]", found));
        }
        let follows = self
            .withdrawn
            .last()
            .is_none_or(|last| last.order() <= piece.order() && !last.joins(&piece));
        if !follows {
            let found = format!("one from {}", seal.from);
            return Err(corrupt(
                offset,
                "a piece in order, not joined to the last [SEALS-6]",
                found,
            ));
        }
        self.withdrawn.push(piece);
        Ok(())
    }
}

/// The counts of live and withdrawn pieces, once the header and the length are right.
fn decode_header(bytes: &[u8]) -> Result<(usize, usize), TileError> {
    if bytes.len() < HEADER_BYTES {
        let found = format!("{} bytes", bytes.len());
        return Err(corrupt(0, "a header of 16 bytes [SEALS-1]", found));
    }
    if word_at(bytes, 0) != FORMAT_VERSION {
        return Err(corrupt(0, "format version 1 [SEALS-2]", word_at(bytes, 0).to_string()));
    }
    if word_at(bytes, 12) != 0 {
        let found = word_at(bytes, 12).to_string();
        return Err(corrupt(12, "zero in the reserved word [SEALS-4]", found));
    }
    let live_count = decode_count(bytes, 4)?;
    let withdrawn_count = decode_count(bytes, 8)?;
    let expected = HEADER_BYTES + live_count * LIVE_BYTES + withdrawn_count * WITHDRAWN_BYTES;
    if bytes.len() != expected {
        let found = format!("{} bytes", bytes.len());
        return Err(corrupt(0, &format!("{expected} bytes in all [SEALS-3]"), found));
    }
    Ok((live_count, withdrawn_count))
}

fn decode_count(bytes: &[u8], offset: usize) -> Result<usize, TileError> {
    let word = word_at(bytes, offset);
    usize::try_from(word).ok().filter(|count| *count <= SEAL_PIECE_COUNT_STORED_MAX).ok_or_else(
        || {
            let expected = format!("at most {SEAL_PIECE_COUNT_STORED_MAX} pieces [SEALS-3]");
            corrupt(offset, &expected, word.to_string())
        },
    )
}

fn decode_seal(bytes: &[u8], offset: usize) -> Result<Seal, TileError> {
    let [from, to, made_at] = [0, 8, 16].map(|field| time_at(bytes, offset + field));
    if from < to {
        return Ok(Seal { from, to, made_at });
    }
    Err(corrupt(offset, "a piece with from < to [SEALS-5]", format!("{from} to {to}")))
}

fn stored_count(count: usize) -> u32 {
    assert!(count <= SEAL_PIECE_COUNT_STORED_MAX, "the history of seals stays in its limit");
    let Ok(count) = u32::try_from(count) else { unreachable!("the limit fits 32 bits") };
    count
}

fn put_times(out: &mut Vec<u8>, times: &[i64]) {
    times.iter().for_each(|time| out.extend_from_slice(&time.to_le_bytes()));
}

/// The word at `offset`, which the caller knows to be there.
fn word_at(bytes: &[u8], offset: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(word)
}

/// The time at `offset`, which the caller knows to be there.
fn time_at(bytes: &[u8], offset: usize) -> i64 {
    let mut time = [0; 8];
    time.copy_from_slice(&bytes[offset..offset + 8]);
    i64::from_le_bytes(time)
}

fn corrupt(offset: usize, expected: &str, found: String) -> TileError {
    TileError::Corrupt { what: "seal set", offset, expected: expected.to_owned(), found }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The worked example of docs/format/seals.md.
    fn example() -> (SealSet, Vec<u8>) {
        let mut set = SealSet::default();
        set.add(0, 3_600_000, 7_200_000);
        set.remove(1_800_000, 3_600_000, 7_200_001);
        let words = [[1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]];
        let times: [[u8; 8]; 7] = [
            [0, 0, 0, 0, 0, 0, 0, 0],
            [0x40, 0x77, 0x1B, 0, 0, 0, 0, 0],
            [0x00, 0xDD, 0x6D, 0, 0, 0, 0, 0],
            [0x40, 0x77, 0x1B, 0, 0, 0, 0, 0],
            [0x80, 0xEE, 0x36, 0, 0, 0, 0, 0],
            [0x00, 0xDD, 0x6D, 0, 0, 0, 0, 0],
            [0x01, 0xDD, 0x6D, 0, 0, 0, 0, 0],
        ];
        (set, [words.concat(), times.concat()].concat())
    }

    fn encoded(set: &SealSet) -> Vec<u8> {
        let mut bytes = Vec::new();
        set.encode(&mut bytes);
        bytes
    }

    #[test]
    fn the_worked_example_reads_and_writes_as_documented() {
        let (set, bytes) = example();
        assert_eq!(encoded(&set), bytes);
        assert_eq!(SealSet::decode(&bytes), Ok(set));
    }

    #[test]
    fn a_changed_byte_is_an_error_or_another_sound_set() {
        let (set, bytes) = example();
        for offset in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[offset] ^= 1 << bit;
                match SealSet::decode(&flipped) {
                    Ok(other) => assert!(other != set && encoded(&other) == flipped),
                    Err(error) => assert!(matches!(error, TileError::Corrupt { .. }), "{error}"),
                }
            }
        }
    }

    #[test]
    fn every_rule_of_the_format_is_checked() {
        /// Breaks a rule in the example's bytes.
        type Break = fn(&mut Vec<u8>);
        let breaks: [(&str, Break); 8] = [
            ("[SEALS-1]", |bytes| bytes.truncate(15)),
            ("[SEALS-2]", |bytes| bytes[0] = 2),
            ("[SEALS-3]", |bytes| bytes[4] = 2),
            ("[SEALS-3]", |bytes| bytes[7] = 0xFF),
            ("[SEALS-3]", |bytes| bytes.push(0)),
            ("[SEALS-4]", |bytes| bytes[12] = 1),
            ("[SEALS-5]", |bytes| bytes[24..32].fill(0)),
            ("[SEALS-6]", |bytes| bytes[64] = 0),
        ];
        for (rule, change) in breaks {
            let (_, mut bytes) = example();
            change(&mut bytes);
            let error = SealSet::decode(&bytes).unwrap_err().to_string();
            assert!(error.contains(rule), "{error} cites {rule}");
        }
    }

    #[test]
    fn pieces_are_stored_in_order_and_joined() {
        for (first, second) in [((0, 20), (10, 30)), ((0, 10), (10, 20)), ((10, 20), (0, 5))] {
            let piece = |(from, to)| Seal { from, to, made_at: 7 };
            let live = SealSet { live: vec![piece(first), piece(second)], withdrawn: Vec::new() };
            let error = SealSet::decode(&encoded(&live)).unwrap_err().to_string();
            assert!(error.contains("[SEALS-5]"), "{error}");
        }
        for (first, second) in [((0, 10), (10, 20)), ((10, 20), (0, 5))] {
            let piece =
                |(from, to)| WithdrawnSeal { seal: Seal { from, to, made_at: 7 }, withdrawn_at: 9 };
            let withdrawn = vec![piece(first), piece(second)];
            let error = SealSet::decode(&encoded(&SealSet { live: Vec::new(), withdrawn }));
            assert!(error.unwrap_err().to_string().contains("[SEALS-6]"), "{first:?} {second:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(0..4u8, 0..120)) {
            if let Ok(set) = SealSet::decode(&bytes) {
                prop_assert_eq!(encoded(&set), bytes);
            }
        }
    }
}
