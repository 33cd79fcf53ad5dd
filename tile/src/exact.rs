//! The part of a state that does not depend on the order in which it was merged: what hashes of
//! content stand on. It knows nothing of hashes.

use crate::accumulator::Accumulator;
use crate::component::ComponentKind;
use crate::layout::Layout;
use crate::number::{count, index};

/// Appends the components of a state whose value follows from the rows alone, whatever they were
/// merged by: all but sums of doubles, moments, and sketches of quantiles and of frequent values,
/// which are rounded on the way. Equal rows give equal bytes under one layout.
pub fn encode_exact(layout: &Layout, accumulator: &Accumulator, out: &mut Vec<u8>) {
    for slot in layout.slots().iter().filter(|slot| is_exact(slot.kind)) {
        let first = index(slot.word);
        for word in &accumulator.words[first..first + slot.word_count()] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        if slot.has_side() {
            let side = accumulator.sides[slot.side_index()].as_ref();
            let bytes = side.map(|side| side.bytes(slot.kind)).unwrap_or_default();
            out.push(u8::from(side.is_some()));
            out.extend_from_slice(&count(bytes.len()).to_le_bytes());
            out.extend_from_slice(&bytes);
        }
    }
}

fn is_exact(kind: ComponentKind) -> bool {
    match kind {
        ComponentKind::Rows
        | ComponentKind::Count
        | ComponentKind::SumI64
        | ComponentKind::Min(_)
        | ComponentKind::Max(_)
        | ComponentKind::First(_)
        | ComponentKind::Last(_)
        | ComponentKind::FirstN(..)
        | ComponentKind::LastN(..)
        | ComponentKind::FirstDistinctN(..)
        | ComponentKind::LastDistinctN(..)
        | ComponentKind::Distinct(_) => true,
        ComponentKind::SumF64
        | ComponentKind::Moments
        | ComponentKind::Quantiles(..)
        | ComponentKind::Top(..) => false,
    }
}
