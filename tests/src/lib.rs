//! What the tests share: the repository's own files, the flights of 2013 as rows and questions,
//! and the oracle that answers by brute force. It knows nothing of the engine or the server.

pub mod flights;
pub mod flights_questions;
pub mod oracle;
pub mod oracle_answer;
pub mod repository;
pub mod seed;
pub mod source;
