//! Every bound of the command line. Knows nothing of the server's limits.

use std::time::Duration;

/// Rows of a batch of `tilekv load`.
pub(crate) const BATCH_ROWS_MAX: usize = 1 << 20;

/// Columns of text that a drawing takes where the terminal does not say how wide it is.
pub(crate) const DRAWING_COLUMNS_DEFAULT: usize = 100;

/// The narrowest and the widest drawing, in columns of text.
pub(crate) const DRAWING_COLUMNS_MIN: usize = 40;
/// See [`DRAWING_COLUMNS_MIN`].
pub(crate) const DRAWING_COLUMNS_MAX: usize = 200;

/// The first wait before a lost server is tried again, and the longest.
pub(crate) const RETRY_DELAY_FIRST: Duration = Duration::from_millis(50);
/// See [`RETRY_DELAY_FIRST`].
pub(crate) const RETRY_DELAY_MAX: Duration = Duration::from_secs(1);
