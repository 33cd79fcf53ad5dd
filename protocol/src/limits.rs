//! Every bound of this crate. What is announced by a peer is checked against these before anything
//! is stored for it. Knows nothing of who is connected: the caller picks the `Limits` that apply.

/// Bytes of an error line, code and sentence together, without the leading `-` and the CRLF.
pub const ERROR_BYTES_MAX: usize = 512;

/// Bytes that the code, the number and their spaces can take of an error line: the longest code
/// (`OUTOFORDER`, `EXECABORT` is shorter) is 10, a u64 is 20, and there are two spaces.
pub(crate) const ERROR_PREFIX_BYTES_MAX: usize = 32;

/// Bytes of the sentence of an error.
pub const ERROR_SENTENCE_BYTES_MAX: usize = ERROR_BYTES_MAX - ERROR_PREFIX_BYTES_MAX;

/// Bytes of a `*<count>` or `$<length>` line without its CRLF. The longest useful one has eleven.
pub const HEADER_LINE_BYTES_MAX: usize = 32;

/// Answers (rows x columns) that one read may ask for, in any encoding.
pub const ANSWER_CELLS_MAX: usize = 1 << 20;

/// Rows of one batch write.
pub const WRITE_ROWS_MAX: usize = 1 << 20;

/// Columns of one batch write or of one columnar reply.
pub const COLUMNS_MAX: usize = 4096;

/// Groups (views) of one prepared plan.
pub const PLAN_GROUPS_MAX: usize = 256;

/// Key values of one row of a service: its views are joined by at most so many keys.
pub const SERVICE_KEYS_MAX: usize = 4096;

/// Bytes of a producer id.
pub const PRODUCER_ID_BYTES_MAX: usize = 1024;

/// Bytes of the ID token of a job.
pub const JOB_TOKEN_BYTES_MAX: usize = 255;

/// What one connection may announce. A field per limit; the server uses
/// [`Limits::before_authentication`] until the peer has proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one request or frame, headers included.
    pub frame_bytes_max: usize,
    /// Bytes of one argument, string or name.
    pub bulk_bytes_max: usize,
    /// Arguments of one request, elements of one array.
    pub argument_count_max: usize,
    /// Levels of arrays and maps inside each other.
    pub nesting_depth_max: usize,
    /// Bytes of one inline request without its line end.
    pub inline_bytes_max: usize,
}

impl Limits {
    /// The limits of a peer that may use the store.
    pub const fn authenticated() -> Self {
        Self {
            frame_bytes_max: 64 << 20,
            bulk_bytes_max: 32 << 20,
            argument_count_max: 1 << 20,
            nesting_depth_max: 16,
            inline_bytes_max: 64 << 10,
        }
    }

    /// No limits, for bytes that were checked before.
    pub(crate) const fn trusting() -> Self {
        Self {
            frame_bytes_max: usize::MAX,
            bulk_bytes_max: usize::MAX,
            argument_count_max: usize::MAX,
            nesting_depth_max: usize::MAX,
            inline_bytes_max: usize::MAX,
        }
    }

    /// The limits of a peer that has not authenticated yet, where authentication is required.
    pub const fn before_authentication() -> Self {
        Self {
            frame_bytes_max: 64 << 10,
            bulk_bytes_max: 16 << 10,
            argument_count_max: 16,
            nesting_depth_max: 4,
            inline_bytes_max: 16 << 10,
        }
    }
}
