//! The native binary protocol: frames with request ids, prepared plans, columnar reads and writes.
//! docs/protocol.md draws every frame; sentence numbers such as [NAT-2] refer to it. Knows nothing
//! of what requests do.

mod body;
mod columns;
mod events;
mod frame;
mod job_put;
mod job_tiles;
mod lists;
mod payload;
mod plan;
mod preamble;
mod read;
mod request;
mod response;
mod session;
mod stamp;
mod tile_write;
mod tree;

pub use columns::{ColumnsReply, ReplyColumn, ReplyColumnKind, encode_answers};
pub use frame::{FLAG_BACKFILL, FLAG_CLOSING, FLAG_CREDENTIALS, FLAG_STATUS, FRAME_HEADER_BYTES};
pub use frame::{Frame, FrameKind, FrameParser};
pub(crate) use job_put::read_job_frame;
pub use job_put::{encode_job_rows, encode_job_tiles};
pub use job_tiles::JobTiles;
pub use lists::ReplyLists;
pub use plan::{PlanReply, PlanRequest, ServicePlanRequest};
pub use preamble::{PREAMBLE_BYTES, PREAMBLE_FIRST_BYTE, VERSION, parse_preamble, preamble};
pub use read::{Keys, ReadRequest, encode_read, encode_read_rows};
pub use request::{Request, RequestError};
pub use response::Response;
pub use session::{Applied, Credit, NativeHello, Welcome, WriteOutcome};
