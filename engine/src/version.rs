//! Owns what a request reads from: one consistent set of overlays, segments and definitions.

use std::sync::Arc;

use crate::catalog::{Catalog, ViewId};
use crate::overlay::Overlay;
use crate::segment::Segment;

/// One state of the store. A request takes one and keeps it: nothing doubles or vanishes while
/// the store flushes and compacts behind it.
#[derive(Debug, Clone)]
pub struct Version {
    pub(crate) catalog: Arc<Catalog>,
    /// Newest first; the first one takes writes, the others are frozen.
    pub(crate) overlays: Vec<Arc<Overlay>>,
    /// Newest first.
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) hash_seed: u64,
}

impl Version {
    /// The keyed hash of an entity in a view: where shards and segments look it up.
    pub(crate) fn hash(&self, view: ViewId, entity: &[u8]) -> u64 {
        hash_entity(self.hash_seed, view, entity)
    }
}

/// XXH3 of the entity, keyed by the store's seed and the view ([SEGMENT-9]).
pub(crate) fn hash_entity(seed: u64, view: ViewId, entity: &[u8]) -> u64 {
    let seed = seed ^ u64::from(view.0).wrapping_mul(VIEW_SPREAD);
    xxhash_rust::xxh3::xxh3_64_with_seed(entity, seed)
}

/// 2^64 / golden ratio: spreads small view ids over all bits.
const VIEW_SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
