//! Owns which segments of a running store are resident: judged anew whenever the segments change,
//! by [`Memory::judge`]. Data leaves memory at once and comes back by a task.
//!
//! [`Memory::judge`]: crate::memory::Memory::judge

use std::sync::Arc;

use crate::engine::Engine;
use crate::error::EngineError;
use crate::memory::SegmentBytes;
use crate::segment::{Segment, SegmentId};
use crate::version::{Layer, Version};

impl Engine {
    /// Leaves the data of those segments on disk that should not take memory.
    pub(crate) fn settle_residency(&self, version: &mut Version) {
        let wanted = self.judge(version);
        let segments = version.layers.iter_mut().filter_map(|layer| match layer {
            Layer::Overlay(_) => None,
            Layer::Segment(segment) => Some(segment),
        });
        for (segment, is_wanted) in segments.zip(wanted) {
            if segment.is_resident() && !is_wanted {
                *segment = Arc::new(segment.to_cold());
            }
        }
    }

    /// The newest cold segment that should be resident, once there is room for it. A merge may
    /// still hold what leaves with its end.
    pub(crate) fn due_load(&self) -> Option<Arc<Segment>> {
        if self.running.load || self.running.compaction {
            return None;
        }
        let version = self.shared.version.load();
        let wanted = self.judge(&version);
        let mut cold = version
            .segments()
            .zip(wanted)
            .filter(|(segment, is_wanted)| *is_wanted && !segment.is_resident());
        let segment = cold.find(|(segment, _)| !self.damaged.contains(&segment.id))?.0;
        self.shared.memory.has_room(segment.data_bytes()).then(|| Arc::clone(segment))
    }

    /// Puts a loaded segment in the place of its cold form, if that is still there.
    pub(crate) fn install_load(&mut self, loaded: Option<Segment>) {
        let Some(loaded) = loaded else {
            return;
        };
        self.publish(|version| {
            if let Some(place) = version.layers.iter_mut().find(|layer| layer.is_segment(loaded.id))
            {
                *place = Layer::Segment(Arc::new(loaded));
            }
        });
    }

    /// Remembers segments of which a page could not be read back.
    pub(crate) fn note_damage<T>(
        &mut self,
        result: &Result<T, EngineError>,
        segments: impl IntoIterator<Item = SegmentId>,
    ) {
        if matches!(result, Err(EngineError::Damaged { .. })) {
            self.damaged.extend(segments);
        }
    }

    /// Whether a page of any of the segments could not be read back.
    pub(crate) fn is_damaged(&self, segments: &[&Arc<Segment>]) -> bool {
        segments.iter().any(|segment| self.damaged.contains(&segment.id))
    }

    fn judge(&self, version: &Version) -> Vec<bool> {
        let bytes: Vec<SegmentBytes> =
            version.segments().map(|segment| segment.memory_bytes()).collect();
        self.shared.memory.judge(&bytes)
    }
}
