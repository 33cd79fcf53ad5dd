//! Owns anonymous memory that is filled once and then only read: mapped by itself, so that large
//! pieces neither round up to the allocator's sizes nor stay with it when they go.

use std::ops::Deref;

use memmap2::{Advice, Mmap, MmapMut};

use crate::error::EngineError;

/// Memory that is being filled.
#[derive(Debug)]
pub(crate) struct ArenaMut(MmapMut);

/// Memory that is full.
#[derive(Debug)]
pub(crate) struct Arena(Mmap);

impl ArenaMut {
    /// `bytes` of zeros.
    pub(crate) fn new(bytes: usize) -> Result<Self, EngineError> {
        // No mapping is empty.
        let map = MmapMut::map_anon(bytes.max(1)).map_err(|error| refused(bytes, &error))?;
        if HUGE_BYTES_MIN <= bytes {
            // Fewer misses of the address cache for reads all over the arena; a system without
            // huge pages serves it as well.
            let _ = map.advise(Advice::HugePage);
        }
        Ok(Self(map))
    }

    /// All of it, to be filled.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Ends the filling.
    pub(crate) fn freeze(self) -> Result<Arena, EngineError> {
        let bytes = self.0.len();
        self.0.make_read_only().map(Arena).map_err(|error| refused(bytes, &error))
    }
}

impl Deref for Arena {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

fn refused(bytes: usize, error: &std::io::Error) -> EngineError {
    EngineError::Limit(format!("the system has no {bytes} bytes of memory: {error}"))
}

const HUGE_BYTES_MIN: usize = 4 << 20;
