//! RESP2 and RESP3, the encodings of Redis: requests in, replies out, and replies in for clients
//! and tools. Knows nothing of what a command means.

mod encode;
mod inline;
mod line;
mod reply_parser;
mod request_parser;

pub use encode::{RespVersion, encode_arguments, encode_reply};
pub use reply_parser::ReplyParser;
pub use request_parser::RequestParser;
