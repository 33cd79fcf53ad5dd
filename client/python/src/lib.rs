//! The extension module of the Python package `tilekv`: the Rust client as few, plain calls. What
//! users see, and what it is called, stands in python/tilekv/.

mod batch;
mod buffer;
mod convert;
mod core;
mod face;
mod failure;
mod input;
mod job;
mod producer;

use pyo3::prelude::*;

/// The Rust client behind the Python package.
#[pymodule]
mod _tilekv {
    #[pymodule_export]
    use super::batch::{RawBatch, RawColumn};
    #[pymodule_export]
    use super::buffer::Buffer;
    #[pymodule_export]
    use super::core::Core;
    #[pymodule_export]
    use super::job::RawJob;
    #[pymodule_export]
    use super::producer::RawProducer;
}
