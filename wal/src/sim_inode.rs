//! One simulated file: what readers see, what the platter holds, and what stands between.
//! Knows nothing of names.

use std::collections::BTreeSet;

use crate::limits::SECTOR_BYTES;
use crate::number::{u64_of, usize_of};
use crate::sim_disk::SimCounters;
use crate::sim_random::SimRandom;

/// A file's bytes, twice: in the page cache and on the platter.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimInode {
    /// What a reader sees.
    pub(crate) cached: Vec<u8>,
    /// What a power cut leaves, but for `pending`.
    pub(crate) durable: Vec<u8>,
    /// What happened since the last sync, oldest first.
    pending: Vec<Pending>,
    /// Open handles; a file without a name lives as long as one is open.
    pub(crate) open_handles: u32,
}

/// A change of the cache that has not reached the platter.
#[derive(Clone, Debug)]
enum Pending {
    /// Whole sectors, as they stood in the cache after a write (the last one may be shorter).
    Write { first_sector: usize, bytes: Vec<u8> },
    /// The length was set.
    Resize { len: usize },
}

impl SimInode {
    pub(crate) fn holding(contents: &[u8]) -> Self {
        let (cached, durable) = (contents.to_vec(), contents.to_vec());
        Self { cached, durable, pending: Vec::new(), open_handles: 0 }
    }

    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        if self.cached.len() < end {
            self.cached.resize(end, 0);
        }
        self.cached[offset..end].copy_from_slice(bytes);
        let first_sector = offset / SECTOR_BYTES;
        let last = end.next_multiple_of(SECTOR_BYTES).min(self.cached.len());
        let bytes = self.cached[first_sector * SECTOR_BYTES..last].to_vec();
        self.pending.push(Pending::Write { first_sector, bytes });
    }

    pub(crate) fn resize(&mut self, len: usize) {
        if len != self.cached.len() {
            self.cached.resize(len, 0);
            self.pending.push(Pending::Resize { len });
        }
    }

    /// A sync that works. A misdirected write leaves its own place as it was.
    pub(crate) fn sync(&mut self, mut misdirected: impl FnMut() -> Option<u64>) {
        for change in std::mem::take(&mut self.pending) {
            match (&change, misdirected()) {
                (Pending::Write { bytes, .. }, Some(dice)) => self.write_elsewhere(bytes, dice),
                _ => self.apply(&change),
            }
        }
        self.durable.resize(self.cached.len(), 0);
    }

    /// A sync that fails as Linux does: each change reached the platter or did not, and none
    /// is tried again, though readers go on seeing all of them.
    pub(crate) fn sync_failed(&mut self, random: &mut SimRandom) {
        for change in std::mem::take(&mut self.pending) {
            if random.one_in(2) {
                self.apply(&change);
            }
        }
    }

    /// Cuts the power: some of the pending sectors survive, and the cache is gone.
    pub(crate) fn crash(&mut self, random: &mut SimRandom, counters: &mut SimCounters) {
        let style = Style::draw(random, self.pending.len());
        let cached_len = self.cached.len();
        let mut keeper = Keeper::new(style);
        for (index, change) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            match change {
                Pending::Resize { len } => {
                    if keeper.keeps_resize(index, random) {
                        self.durable.resize(len, 0);
                    }
                }
                Pending::Write { first_sector, bytes } => {
                    self.keep_some(index, first_sector, &bytes, &mut keeper, random, counters);
                }
            }
        }
        if self.durable.len() < cached_len && random.one_in(2) {
            let grown = random.below(u64_of(cached_len - self.durable.len()) + 1);
            self.durable.resize(self.durable.len() + usize_of(grown), 0);
        }
        self.cached.clone_from(&self.durable);
        self.open_handles = 0;
    }

    /// Flips a bit wherever the byte exists; false when it exists nowhere.
    pub(crate) fn flip_bit(&mut self, offset: usize, bit: u8) -> bool {
        let mut found = false;
        for bytes in [&mut self.cached, &mut self.durable] {
            if let Some(byte) = bytes.get_mut(offset) {
                *byte ^= 1 << bit;
                found = true;
            }
        }
        found
    }

    fn keep_some(
        &mut self,
        index: usize,
        first_sector: usize,
        bytes: &[u8],
        keeper: &mut Keeper,
        random: &mut SimRandom,
        counters: &mut SimCounters,
    ) {
        let (mut kept, mut lost) = (0_u64, 0_u64);
        let whole = keeper.throw_for_write(random);
        for (place, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
            let number = first_sector + place;
            if keeper.keeps_sector(index, number, whole, random) {
                self.apply_sectors(number, sector);
                kept += 1;
            } else {
                lost += 1;
            }
        }
        counters.sectors_lost += lost;
        counters.writes_torn += u64::from(kept != 0 && lost != 0);
        counters.writes_reordered += u64::from(kept != 0 && keeper.lost_before);
        keeper.lost_before |= lost != 0;
    }

    fn apply(&mut self, change: &Pending) {
        match change {
            Pending::Write { first_sector, bytes } => self.apply_sectors(*first_sector, bytes),
            Pending::Resize { len } => self.durable.resize(*len, 0),
        }
    }

    fn apply_sectors(&mut self, first_sector: usize, bytes: &[u8]) {
        let start = first_sector * SECTOR_BYTES;
        let end = start + bytes.len();
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.durable[start..end].copy_from_slice(bytes);
    }

    fn write_elsewhere(&mut self, bytes: &[u8], dice: u64) {
        let sectors = self.durable.len().saturating_sub(bytes.len()) / SECTOR_BYTES;
        let sector = usize_of(dice % (u64_of(sectors) + 1));
        self.apply_sectors(sector, bytes);
    }
}

/// How a crash chooses among the pending sectors. Several ways, since coins alone would
/// almost never leave a long write whole or take exactly the last one.
#[derive(Clone, Copy, Debug)]
enum Style {
    LoseAll,
    KeepAll,
    /// Each sector on its own; lost once in so many.
    Sectors {
        lost_one_in: u64,
    },
    /// Each write as a whole.
    Writes,
    /// All writes before this one, a part of this one, none after it.
    Until {
        index: usize,
    },
}

impl Style {
    fn draw(random: &mut SimRandom, pending: usize) -> Self {
        match random.below(6) {
            0 => Self::LoseAll,
            1 => Self::KeepAll,
            2 => Self::Sectors { lost_one_in: 2 },
            3 => Self::Sectors { lost_one_in: 16 },
            4 => Self::Writes,
            _ => Self::Until { index: usize_of(random.below(u64_of(pending))) },
        }
    }
}

struct Keeper {
    style: Style,
    /// Sectors that lost a version: the cache holds one version at a time, so that an older
    /// one may survive a newer one, never the other way round.
    stuck: BTreeSet<usize>,
    resize_lost: bool,
    lost_before: bool,
}

impl Keeper {
    fn new(style: Style) -> Self {
        Self { style, stuck: BTreeSet::new(), resize_lost: false, lost_before: false }
    }

    fn throw_for_write(&self, random: &mut SimRandom) -> bool {
        matches!(self.style, Style::Writes) && random.one_in(2)
    }

    fn keeps_sector(
        &mut self,
        index: usize,
        number: usize,
        whole: bool,
        random: &mut SimRandom,
    ) -> bool {
        let kept = match self.style {
            Style::LoseAll => false,
            Style::KeepAll => true,
            Style::Sectors { lost_one_in } => !random.one_in(lost_one_in),
            Style::Writes => whole,
            Style::Until { index: last } if index == last => random.one_in(2),
            Style::Until { index: last } => index < last,
        };
        if !kept {
            self.stuck.insert(number);
        }
        kept && !self.stuck.contains(&number)
    }

    /// Lengths go through the journal, so that they survive in order.
    fn keeps_resize(&mut self, index: usize, random: &mut SimRandom) -> bool {
        let kept = match self.style {
            Style::LoseAll => false,
            Style::KeepAll => true,
            Style::Sectors { .. } | Style::Writes => random.one_in(2),
            Style::Until { index: last } => index < last,
        };
        self.resize_lost |= !kept;
        !self.resize_lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_keeps_what_was_written_and_a_crash_takes_the_rest() {
        let mut counters = SimCounters::default();
        for seed in 0..200 {
            let mut random = SimRandom::new(seed);
            let mut inode = SimInode::default();
            inode.write(0, &[1; 2000]);
            inode.sync(|| None);
            inode.write(2048, &[2; 2000]);
            inode.crash(&mut random, &mut counters);
            assert_eq!(inode.cached[..2000], [1; 2000], "seed {seed}");
            assert!(inode.cached[2000..].iter().all(|byte| *byte == 0 || *byte == 2));
        }
        assert!(counters.sectors_lost > 100, "{counters:?}");
        assert!(counters.writes_torn > 10, "{counters:?}");
    }

    #[test]
    fn an_older_version_of_a_sector_never_replaces_a_newer_one() {
        let mut seen = BTreeSet::new();
        for seed in 0..200 {
            let mut inode = SimInode::holding(&[0; 512]);
            for version in 1..4 {
                inode.write(0, &[version; 512]);
            }
            inode.crash(&mut SimRandom::new(seed), &mut SimCounters::default());
            let version = inode.cached[0];
            assert_eq!(inode.cached, vec![version; 512], "torn inside a sector");
            seen.insert(version);
        }
        assert_eq!(seen, BTreeSet::from([0, 1, 2, 3]));
    }

    #[test]
    fn after_a_failed_sync_the_next_one_saves_nothing_of_it() {
        let mut lost = 0;
        for seed in 0..100 {
            let mut inode = SimInode::holding(&[0; 512]);
            inode.write(0, &[7; 512]);
            inode.sync_failed(&mut SimRandom::new(seed));
            assert_eq!(inode.cached, vec![7; 512], "readers still see the write");
            inode.sync(|| None);
            inode.crash(&mut SimRandom::new(seed), &mut SimCounters::default());
            lost += usize::from(inode.cached == vec![0; 512]);
        }
        assert!((20..80).contains(&lost), "{lost} of 100 lost");
    }
}
