//! Owns the engine's limits: every bound that a write, a read or a file of the store must keep.

/// Bytes of the key of a record.
pub const RECORD_KEY_BYTES_MAX: usize = 65_535;
/// How long an expired record is kept before its memory is reclaimed, in milliseconds, while there
/// is room: a clock that is set ahead and back within a minute takes nothing.
pub const RECORD_GRACE_MS: i64 = 60_000;
/// Expired records that are reclaimed at once.
pub const RECLAIM_RECORD_COUNT_MAX: usize = 1_000;
/// Views in one store.
pub const VIEW_COUNT_MAX: usize = 4_096;
/// Feature services in one store.
pub const SERVICE_COUNT_MAX: usize = 4_096;
/// Layouts that one view may go through by `VIEW.ALTER`.
pub const LAYOUT_COUNT_MAX: usize = 1_024;
/// Bytes of a producer id.
pub const PRODUCER_ID_BYTES_MAX: usize = 255;
/// How long a silent producer is remembered, in milliseconds: 30 days.
pub const PRODUCER_EXPIRY_MS: i64 = 30 * 24 * 3_600_000;
/// How long expired tiles stay on disk before compaction reclaims them, in milliseconds: 1 day.
pub const RECLAIM_GRACE_MS: i64 = 24 * 3_600_000;
/// Rows in one write of events.
pub const ROW_COUNT_MAX: usize = 1_000_000;
/// Bytes of one log record, and so of one write.
pub const RECORD_BYTES_MAX: usize = 64 << 20;
/// How long a committed job is remembered, in milliseconds: 7 days.
pub const JOB_EXPIRY_MS: i64 = 7 * 24 * 3_600_000;
/// Committed jobs that are remembered; beyond it the oldest are forgotten.
pub const COMMITTED_JOB_COUNT_MAX: usize = 10_000;
/// Bytes of the token that a job may be begun with.
pub const JOB_TOKEN_BYTES_MAX: usize = 255;
/// How long a job stays open without a command that names it, in milliseconds, where its driver
/// says nothing: 1 hour.
pub const JOB_TIMEOUT_MS: i64 = 3_600_000;
/// The longest time that a driver may ask for instead: 7 days.
pub const JOB_TIMEOUT_MS_MAX: i64 = 7 * 24 * 3_600_000;
/// Gaps between the sequences that one job has taken.
pub const JOB_SEQUENCE_GAP_COUNT_MAX: usize = 1_000_000;
/// Groups of (view, selectors) in one read.
pub const GROUP_COUNT_MAX: usize = 256;
/// Selectors in one read, over all groups.
pub const SELECTOR_COUNT_MAX: usize = 4_096;
/// Tiles in one answer of a range read.
pub const RANGE_TILE_COUNT_MAX: usize = 1_000_000;
/// Bytes of an encoded block that a segment aims to stay below.
pub(crate) const BLOCK_BYTES_MAX: usize = 16 << 10;
/// Bytes after which a page of blocks is closed.
pub(crate) const PAGE_BYTES_MIN: usize = 4 << 10;
/// How often a backup begins anew because files went while it was being taken.
pub const BACKUP_TRIES_MAX: usize = 20;
/// Bytes that a copy of a file reads at once.
pub(crate) const COPY_BYTES: usize = 1 << 20;
