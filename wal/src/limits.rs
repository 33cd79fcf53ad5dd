//! Every limit of the log and of the disks.

/// Bytes of a frame header.
pub const HEADER_BYTES: usize = 64;

/// The unit in which a disk may tear a write that touches acknowledged bytes: what follows a
/// sync begins at the next multiple of it.
pub const PAGE_BYTES: u64 = 4096;

/// The unit that a simulated disk writes as a whole.
pub const SECTOR_BYTES: usize = 512;

/// Frames begin at multiples of this within a file.
pub const FRAME_ALIGNMENT_BYTES: usize = 8;

/// Bytes of one entry of a batch's table: a record's length and its checksum.
pub const TABLE_ENTRY_BYTES: usize = 8;

/// Most bytes of one batch, header and padding included.
pub const BATCH_BYTES_MAX: usize = 64 << 20;

/// Most records of one batch.
pub const BATCH_RECORDS_MAX: usize = 1 << 20;

/// Least and most bytes at which a log may be told to begin a new file.
pub const FILE_BYTES_LEAST: u64 = 16 << 10;
/// See [`FILE_BYTES_LEAST`].
pub const FILE_BYTES_MOST: u64 = 4 << 30;

/// The file size a log is usually run with.
pub const FILE_BYTES_USUAL: u64 = 64 << 20;

/// How far ahead of the last batch a file is usually filled with zeros.
pub const ALLOCATE_BYTES_USUAL: u64 = 1 << 20;

/// Least and most bytes by which a file may be told to grow ahead.
pub const ALLOCATE_BYTES_LEAST: u64 = 4 << 10;
/// See [`ALLOCATE_BYTES_LEAST`].
pub const ALLOCATE_BYTES_MOST: u64 = 256 << 20;

/// Most bytes of the append buffer that are kept between two batches.
pub const BUFFER_BYTES_KEPT: usize = 4 << 20;

/// Bytes that recovery reads at once.
pub const READ_BYTES: usize = 1 << 20;

/// Longest name of a file, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// How often a reader of a log that grows meanwhile goes on to what was appended.
pub const CATCH_UP_ROUNDS_MAX: usize = 8;
