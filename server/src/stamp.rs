//! Finds the producer's stamp of a write.

use tilekv_engine::Write;

use crate::refusals::StampKey;

/// A write's producer and sequence.
#[derive(Debug)]
pub(crate) struct Stamped {
    /// The producer.
    pub(crate) key: StampKey,
    /// The number of the write.
    pub(crate) sequence: u64,
}

/// The stamp of a write, if it carries one.
pub(crate) fn of(write: &Write) -> Option<Stamped> {
    let (view, stamp) = match write {
        Write::Events { view, stamp, .. } => (view, stamp.as_ref()?),
        Write::SetTile(tile) | Write::MergeTile(tile) => (&tile.view, tile.stamp.as_ref()?),
        _ => return None,
    };
    Some(Stamped { key: (view.clone(), stamp.id.clone()), sequence: stamp.sequence })
}
