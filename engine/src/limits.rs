//! Owns the engine's limits: every bound that a write, a read or a file of the store must keep.

/// Views in one store.
pub const VIEW_COUNT_MAX: usize = 4_096;
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
/// Groups of (view, selectors) in one read.
pub const GROUP_COUNT_MAX: usize = 256;
/// Selectors in one read, over all groups.
pub const SELECTOR_COUNT_MAX: usize = 4_096;
/// Tiles in one answer of a range read.
pub const RANGE_TILE_COUNT_MAX: usize = 1_000_000;
/// Bytes of an encoded block that a segment aims to stay below.
pub(crate) const BLOCK_BYTES_MAX: usize = 16 << 10;
/// Tiles that one block holds at most.
pub(crate) const BLOCK_TILE_COUNT_MAX: usize = 1_024;
/// Bytes after which a page of blocks is closed.
pub(crate) const PAGE_BYTES_MIN: usize = 4 << 10;
