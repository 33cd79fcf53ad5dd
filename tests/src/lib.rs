//! What the tests share: the repository's own files, the flights of 2013 as rows and questions,
//! the oracle that answers by brute force, and the simulation of the engine. It knows nothing of
//! the server.

pub mod flights;
pub mod flights_questions;
pub mod oracle;
pub mod oracle_answer;
pub mod repository;
pub mod seed;
pub mod simulation;
pub mod source;
