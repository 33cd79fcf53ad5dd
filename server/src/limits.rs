//! Every fixed limit of the server. Limits that an operator may want to move are settings
//! (`settings.rs`); what stands here is not worth a setting.
//!
//! Knows nothing of the code that enforces them.

/// Keys that a step of SCAN looks at on the network thread; steps of more go to the slow worker.
pub(crate) const INLINE_SCAN_COUNT_MAX: u64 = 1_000;

/// Keys, or fields, that one step of SCAN or HSCAN looks at, whatever its COUNT.
pub(crate) const SCAN_COUNT_MAX: usize = 100_000;

/// Keys that KEYS looks at under one lock.
pub(crate) const KEYS_STEP_COUNT: usize = 1_000;

/// Places of SCAN's cursors that are remembered.
pub(crate) const CURSOR_COUNT_MAX: usize = 65_536;

/// Bytes of the keys at these places.
pub(crate) const CURSOR_BYTES_MAX: usize = 16 << 20;

/// Bytes that one read system call asks for at most.
pub(crate) const READ_CHUNK_BYTES: usize = 64 * 1024;

/// Free space that a read buffer must have to be read into; with less, it is replaced.
pub(crate) const READ_SPACE_BYTES_MIN: usize = 16 * 1024;

/// Bytes that a connection may hold even when all connections together hold too much.
pub(crate) const FREE_BUFFER_BYTES: usize = 64 * 1024;

/// Capacity of the buffer into which a thread's connections encode replies.
pub(crate) const OUTPUT_BUFFER_BYTES: usize = 64 * 1024;

/// How often each thread looks for connections whose time is up, and wakes those that wait for
/// memory.
pub(crate) const SWEEP_INTERVAL_MS: u64 = 250;

/// An output chunk that has grown past this many bytes is closed, and the next reply starts a
/// new one, so that a written chunk is freed while later ones still wait.
pub(crate) const OUTPUT_CHUNK_BYTES: usize = 256 * 1024;

/// Bytes that one turn of a connection writes at most before other connections get theirs.
pub(crate) const WRITE_TURN_BYTES_MAX: usize = 1024 * 1024;

/// Commands that wait on one connection behind an unapplied write; beyond, reading pauses until
/// the write is applied, which needs nothing from the client.
pub(crate) const HELD_COMMAND_COUNT_MAX: usize = 4096;

/// Commands between `MULTI` and `EXEC`.
pub(crate) const TRANSACTION_COMMAND_COUNT_MAX: usize = 1 << 20;

/// Producers of one connection that may be in the refused state at the same time.
pub(crate) const REFUSED_PRODUCER_COUNT_MAX: usize = 65_536;

/// Time that a connection may spend on commands before the next connection gets its turn.
pub(crate) const TURN_TIME_US_MAX: u64 = 50;

/// Reads of one socket before the next connection gets its turn.
pub(crate) const READ_COUNT_PER_TURN_MAX: u32 = 2;

/// Commands between two looks at the clock.
pub(crate) const TURN_COMMAND_COUNT_CHECKED: u32 = 8;

/// Bytes of writes that go into one commit at most, unless a single write is larger.
pub(crate) const COMMIT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Writes that go into one commit at most.
pub(crate) const COMMIT_WRITE_COUNT_MAX: usize = 16_384;

/// Slow requests (scans for VIEW.INFO and the like) that wait for the slow worker at most.
pub(crate) const SLOW_QUEUE_COUNT_MAX: usize = 1024;

/// Reads that wait for pages from disk at most.
pub(crate) const COLD_QUEUE_COUNT_MAX: usize = 4096;

/// Bytes of pages that waiting reads may come to.
pub(crate) const COLD_QUEUE_BYTES_MAX: usize = 64 << 20;

/// What a page that is waited for is counted as.
pub(crate) const COLD_PAGE_BYTES: usize = 8 << 10;

/// How often the committer looks for background work when nobody writes.
pub(crate) const TASK_INTERVAL_MS: u64 = 100;

/// How often the job workers look for jobs that no command has named for their time-out.
pub(crate) const JOB_EXPIRY_INTERVAL_MS: u64 = 1_000;

/// Job workers: jobs that may be worked on at the same time.
pub(crate) const JOB_WORKER_COUNT_MAX: usize = 4;

/// Half-open connections are gone after idle + interval * count = 30 + 3 * 15 = 75 seconds.
pub(crate) const KEEPALIVE_IDLE_S: u64 = 30;
/// See [`KEEPALIVE_IDLE_S`].
pub(crate) const KEEPALIVE_INTERVAL_S: u64 = 15;
/// See [`KEEPALIVE_IDLE_S`].
pub(crate) const KEEPALIVE_COUNT: u32 = 3;

/// Length of the accept queue of each listener.
pub(crate) const LISTEN_BACKLOG: i32 = 1024;

/// File descriptors kept for files, listeners and the HTTP port when connections are counted
/// against the process's limit.
pub(crate) const RESERVED_DESCRIPTOR_COUNT: u64 = 128;

/// Bytes of a question's body over HTTP; those of one frame, where that is less.
pub(crate) const HTTP_BODY_BYTES_MAX: usize = 16 << 20;

/// Questions over HTTP that run at the same time; more wait.
pub(crate) const HTTP_READ_THREAD_COUNT_MAX: usize = 4;

/// Bytes of the password file.
pub(crate) const PASSWORD_BYTES_MAX: usize = 1024;

/// Time that a shutdown waits for replies in flight before it closes connections.
pub(crate) const DRAIN_MS_MAX: u64 = 5_000;

/// Time that a client which sent something unacceptable gets to read the error before its
/// connection is closed.
pub(crate) const LINGER_MS_MAX: u64 = 1_000;

/// The background worker's niceness: it takes what others leave.
pub(crate) const BACKGROUND_NICENESS: i32 = 10;

/// Plans of reads that one network thread keeps.
pub(crate) const PLAN_COUNT_MAX: usize = 1024;

/// Values of an answer whose memory a network thread keeps for the next one.
pub(crate) const ANSWER_VALUE_COUNT_KEPT_MAX: usize = 65_536;

/// Tiles that a TILE.RANGE may span to be answered on the network thread.
pub(crate) const INLINE_RANGE_TILE_COUNT_MAX: i64 = 1024;

/// Arguments of a command that the slow log keeps.
pub(crate) const SLOW_LOG_ARGUMENT_COUNT_MAX: usize = 32;

/// Bytes of an argument that the slow log keeps.
pub(crate) const SLOW_LOG_ARGUMENT_BYTES_MAX: usize = 128;

/// Entries that `slowlog-max-len` may ask for.
pub(crate) const SLOW_LOG_ENTRY_COUNT_MAX: usize = 65_536;

/// Samples of one latency event.
pub(crate) const LATENCY_SAMPLE_COUNT_MAX: usize = 160;

/// Plans that one native connection may have prepared.
pub(crate) const PREPARED_PLAN_COUNT_MAX: usize = 4096;
