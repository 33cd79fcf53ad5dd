//! Seals: which time of a view is complete, since when, and what was withdrawn.
//! It knows nothing of what the time holds, nor where the bytes of a seal set are kept.

/// Time ranges that do not overlap or touch, ascending.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Coverage {
    ranges: Vec<(i64, i64)>,
}
