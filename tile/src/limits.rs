//! Every limit of the crate, in one place. Each is the largest value that is accepted.

/// Largest absolute timestamp and longest duration, in milliseconds: every integer up to it is
/// exact in a double, so that clients in any language can carry it.
pub const TIME_MILLIS_MAX: i64 = 1 << 53;

/// Bytes of a view or service name.
pub const NAME_BYTES_MAX: usize = 128;

/// Bytes of a feature, column or key name.
pub const IDENTIFIER_BYTES_MAX: usize = 128;

/// Bytes of an entity.
pub const ENTITY_BYTES_MAX: usize = 65_535;

/// Join keys of a view.
pub const KEY_COUNT_MAX: usize = 16;

/// Input columns of a view.
pub const COLUMN_COUNT_MAX: usize = 1_024;

/// Features of a view.
pub const FEATURE_COUNT_MAX: usize = 1_024;

/// Declared levels of a view.
pub const LEVEL_COUNT_MAX: usize = 8;

/// Pieces of seal history above which a view takes no further seal. One change can at most double
/// the number of pieces and add one, which [`SEAL_PIECE_COUNT_STORED_MAX`] allows for.
pub const SEAL_PIECE_COUNT_MAX: usize = 262_144;

/// Pieces of seal history that an encoded seal set may hold.
pub const SEAL_PIECE_COUNT_STORED_MAX: usize = 2 * SEAL_PIECE_COUNT_MAX + 1;

/// Values of a list: n of `first_n`, `last_n`, `first_distinct_n`, `last_distinct_n` and `top_n`.
pub const LIST_LEN_MAX: u16 = 1_024;

/// Least precision of `approx_count_distinct`: the base-2 logarithm of its registers.
pub const PRECISION_MIN: u8 = 4;

/// Greatest precision of `approx_count_distinct`.
pub const PRECISION_MAX: u8 = 16;

/// Precision of `approx_count_distinct` where none is given.
pub const PRECISION_DEFAULT: u8 = 12;

/// Least k of `approx_percentile`.
pub const PERCENTILE_K_MIN: u16 = 8;

/// Greatest k of `approx_percentile`.
pub const PERCENTILE_K_MAX: u16 = 16_384;

/// k of `approx_percentile` where none is given: a rank error of 1.33% at 99%, by the formula of
/// Apache DataSketches, 2.296 / k^0.9723.
pub const PERCENTILE_K_DEFAULT: u16 = 200;

/// Digits after the point of a quantile.
pub const QUANTILE_DECIMALS_MAX: u8 = 18;

/// Rows that a percentile or a list of most frequent values is of; further ones are left out.
pub const SKETCH_ROWS_MAX: u64 = 1 << 60;

/// Bytes of a number in a partial.
pub const NUMBER_BYTES_MAX: usize = 4_096;

/// Bytes of foreign text that an error repeats.
pub const ERROR_TEXT_BYTES_MAX: usize = 80;
