//! Owns what an engine is told when it is opened.

use tilekv_wal::Durability;

use crate::codec::bytes_u64;

/// How a store is to be run. Every field is explicit: the server and embedding programs choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// When a commit counts as durable.
    pub durability: Durability,
    /// Bytes of writes that one overlay takes before it is frozen and flushed.
    pub overlay_bytes_max: usize,
    /// How long writes stay in an overlay before it is frozen and flushed, in milliseconds of the
    /// clock that the engine is given: tiles are read from segments several times faster, and a
    /// restart has less of the log to replay.
    pub overlay_age_ms_max: i64,
    /// Bytes that indexes, overlays, segment data and cached pages may take in memory together.
    /// Data beyond it stays on disk until it is read.
    pub memory_bytes_max: u64,
    /// Threads that load the data of segments when a store is opened.
    pub load_thread_count: usize,
    /// Frozen overlays that may wait; with more, writes are refused with `Busy`.
    pub frozen_count_max: usize,
    /// Tiles of an entity that one block of a segment holds at most; an entity with more has a
    /// directory and levels.
    pub block_tiles_max: usize,
    /// Segments above which the store compacts.
    pub segment_count_max: usize,
    /// Bytes of a log file before the next one is begun.
    pub log_file_bytes_max: u64,
    /// Producers that are remembered; new ones beyond it are refused.
    pub producer_count_max: usize,
    /// Bytes that the rows of all open jobs may take in memory before they go to files.
    pub job_bytes_max: usize,
    /// Jobs that may be open at once.
    pub job_count_max: usize,
    /// The secret of the store's hashes, used when the store is created; random in production,
    /// fixed in simulations.
    pub hash_seed: u64,
    /// Distinguishes this run's log files from earlier ones; random or a clock reading.
    pub salt_seed: u64,
}

impl EngineOptions {
    /// What overlays may come to: the active one, and those that wait to be flushed.
    pub(crate) fn overlay_share(&self) -> u64 {
        let count = bytes_u64(self.frozen_count_max).saturating_add(1);
        bytes_u64(self.overlay_bytes_max).saturating_mul(count)
    }

    /// What suits a server of 8 GiB: overlays of 64 MiB or 10 s, at most 4 of them frozen, blocks
    /// of at most 1,024 tiles, 4 segments, log files of 64 MiB, a million producers, 64 jobs with
    /// 256 MiB of rows.
    #[must_use]
    pub fn standard(durability: Durability, seed: u64) -> Self {
        Self {
            durability,
            overlay_bytes_max: 64 << 20,
            overlay_age_ms_max: 10_000,
            memory_bytes_max: 8 << 30,
            load_thread_count: 2,
            frozen_count_max: 4,
            block_tiles_max: 1_024,
            segment_count_max: 4,
            log_file_bytes_max: 64 << 20,
            producer_count_max: 1_000_000,
            job_bytes_max: 256 << 20,
            job_count_max: 64,
            hash_seed: seed,
            salt_seed: seed.rotate_left(32),
        }
    }
}
