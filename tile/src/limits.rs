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

/// Bytes of a number in a partial.
pub const NUMBER_BYTES_MAX: usize = 4_096;

/// Bytes of foreign text that an error repeats.
pub const ERROR_TEXT_BYTES_MAX: usize = 80;
