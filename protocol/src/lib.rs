//! How peers talk: one closed set of commands and replies, and two encodings of them, RESP and the
//! native binary protocol. Bytes in, values out and back: this crate knows nothing of sockets,
//! files, clocks or the engine.

mod arguments;
mod command;
mod error;
pub mod limits;
pub mod native;
mod reply;
pub mod resp;

#[cfg(test)]
mod tests;

pub use arguments::Arguments;
pub use command::*;
pub use error::{ErrorCode, ErrorReply, ProtocolError};
pub use limits::Limits;
pub use reply::{Reply, SlicesForm, SlicesReply, WindowsReply};
