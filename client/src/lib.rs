//! The client library of TileKV: native protocol, pipelined, over tokio, with a blocking face.
//!
//! - [`Client`] connects, reconnects, and carries out every command with typed results.
//! - [`Plan`] is a read prepared once: it answers windows of hundreds of entities in one request,
//!   as columns ([`Batch`]).
//! - [`ServicePlan`] reads a feature service: one vector of several views for rows of key values.
//! - [`Producer`] writes events exactly once under the caller's sequences; [`Loader`] writes them
//!   in bulk at the rate that the server takes.
//! - [`Job`] loads rows and tiles that are published together.
//! - [`ClientError`] tells refusals of the server by code from failures on the way, and of those,
//!   whether the request may have taken effect.
//!
//! ```no_run
//! use tilekv_client::{Client, ClientOptions, PlanBuilder, ReadOptions};
//!
//! # async fn example() -> Result<(), tilekv_client::ClientError> {
//! let client = Client::connect(ClientOptions::new("127.0.0.1:8453")).await?;
//! let plan = client.prepare(PlanBuilder::new().view("shop.likes", ["likes@7d"])?).await?;
//! let batch = plan.read(&["u:42", "u:43"], &ReadOptions::NOW).await?;
//! for likes in batch.column(0).i64s().into_iter().flatten() {
//!     println!("{likes:?}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The crate speaks to the server only; it knows nothing of the engine and of files.

mod backoff;
pub mod blocking;
mod client;
mod connection;
#[cfg(test)]
mod connection_tests;
mod definition;
mod driver;
mod error;
#[cfg(test)]
mod fake_server;
mod job;
#[cfg(test)]
mod job_tests;
pub mod limits;
mod loader;
mod options;
mod pipeline;
mod plan;
mod pool;
mod producer;
mod reply;
mod rows;
mod service;
mod tiles;
mod views;
mod window;
#[cfg(test)]
mod write_tests;

pub use backoff::Backoff;
pub use client::Client;
pub use definition::{parse_column, parse_feature};
pub use error::{ClientError, Fate};
pub use job::{CommitOptions, Job, JobBuilder, JobInfo, JobMode};
pub use loader::{Loader, LoaderOptions};
pub use options::ClientOptions;
pub use pipeline::WriteTally;
pub use plan::{Batch, Column, Detail, Plan, PlanBuilder, ReadOptions};
pub use producer::{Handed, Producer};
pub use rows::{ColumnsBuilder, RowsBuilder};
pub use service::{SealsCounted, ServiceInfo, ServicePlan};
pub use tiles::{ExplainedTile, Explanation, StoredTile, TilePartials};
pub use views::{Seal, ViewInfo};

pub use tilekv_protocol::native::{Credit, JobTiles, ReplyColumnKind, ReplyLists};
pub use tilekv_protocol::{Credentials, ErrorCode, ReadTime, Reply, WriteLane};
pub use tilekv_tile::{
    After, Answers, Cells, ColumnDefinition, ColumnType, Edge, Expression, FeatureDefinition,
    Identifier, LateMode, ListKind, Name, ProducerStamp, Rows, Scalar, SealMode, Selector, Span,
    Status, TileError, Timestamp, TypedColumn, Value, ViewChange, ViewDefinition, ViewSelector,
    WindowBounds, WindowLength,
};

/// The native protocol's frames, for programs that drive sockets of their own, such as a load
/// generator that must cost less than the server it measures.
pub mod wire {
    pub use tilekv_protocol::native::{
        Applied, ColumnsReply, FRAME_HEADER_BYTES, Frame, FrameParser, NativeHello, PlanReply,
        PlanRequest, ReplyColumn, Request, Response, ServicePlanRequest, Welcome, WriteOutcome,
        encode_job_rows, encode_read, encode_read_rows, preamble,
    };
    pub use tilekv_protocol::{Arguments, EventWrite, Limits, ProtocolError, RequestShape};
}
