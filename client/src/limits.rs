//! Every bound of the crate. Knows nothing of the server's limits, which it tells when a
//! connection opens.

use std::time::Duration;

/// Connections of one client.
pub const CONNECTION_COUNT_MAX: usize = 1_024;

/// Requests on one connection that are not answered yet; further ones wait for their turn.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 4_096;

/// Writes of one producer or loader that are not answered yet.
pub const WRITE_WINDOW_MAX: usize = 256;

/// How often a producer or loader sends its open writes anew, while none of them is applied,
/// before it gives up: the delays of the back-off, counted in rounds.
pub const RESEND_ROUNDS_MAX: usize = 10_000;

/// Rows of one put of a job; more are cut into several.
pub const PUT_ROWS_MAX: usize = 65_536;

/// Bytes of one put of a job, unless a single row has more.
pub const PUT_BYTES_MAX: usize = 4 << 20;

/// The longest that a server's advice to wait is followed at once.
pub const RETRY_WAIT_MAX: Duration = Duration::from_secs(10);

/// Bytes for which the input of a connection has room at least.
pub(crate) const INPUT_BYTES_MIN: usize = 64 << 10;
