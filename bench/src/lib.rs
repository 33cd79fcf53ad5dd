//! Workloads and their measurement: stores inside this process, load over TCP, peers side by side.
//! docs/benchmarks.md says what is measured and how. Knows nothing of the server's insides.

pub mod arguments;
pub mod backfill;
pub mod compaction;
pub mod compare;
pub mod dataset;
pub mod embedded;
pub mod embedded_load;
pub mod error;
pub mod footprint;
pub mod load;
pub mod machine;
pub mod peer;
pub mod random;
pub mod report;
pub mod resp;
pub mod restart;
pub mod rows;
pub mod workload;
