//! Owns what a request reads from: one consistent list of layers, and the definitions.

use std::sync::Arc;

use crate::catalog::{Catalog, ViewId};
use crate::overlay::Overlay;
use crate::records::RecordTable;
use crate::segment::{Segment, SegmentId};

/// One state of the store. A request takes one and keeps it: nothing doubles or vanishes while
/// the store flushes and compacts behind it.
#[derive(Debug, Clone)]
pub struct Version {
    pub(crate) catalog: Arc<Catalog>,
    /// Newest first. The first is the overlay that takes writes; whatever the manifest lists
    /// comes last.
    pub(crate) layers: Vec<Layer>,
    /// All records, as they are now: they have no versions.
    pub(crate) records: Arc<RecordTable>,
    pub(crate) hash_seed: u64,
}

/// One source of tiles. What it holds is newer than all that the layers behind it hold.
#[derive(Debug, Clone)]
pub(crate) enum Layer {
    /// Writes that no segment holds yet.
    Overlay(Arc<Overlay>),
    /// Writes that were flushed, or a job's rows.
    Segment(Arc<Segment>),
}

impl Layer {
    /// Whether this is the segment with this id.
    pub(crate) fn is_segment(&self, id: SegmentId) -> bool {
        matches!(self, Self::Segment(segment) if segment.id == id)
    }

    /// Whether both are the same source.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Overlay(one), Self::Overlay(other)) => Arc::ptr_eq(one, other),
            (Self::Segment(one), Self::Segment(other)) => one.id == other.id,
            _ => false,
        }
    }
}

impl Version {
    /// The records, as they are whenever they are asked.
    #[must_use]
    pub fn records(&self) -> &RecordTable {
        &self.records
    }

    /// The overlays, newest first.
    pub(crate) fn overlays(&self) -> impl Iterator<Item = &Arc<Overlay>> {
        self.layers.iter().filter_map(|layer| match layer {
            Layer::Overlay(overlay) => Some(overlay),
            Layer::Segment(_) => None,
        })
    }

    /// The segments, newest first.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.layers.iter().filter_map(|layer| match layer {
            Layer::Overlay(_) => None,
            Layer::Segment(segment) => Some(segment),
        })
    }

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
