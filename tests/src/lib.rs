//! What the tests share: the repository's own files, the flights of 2013 as rows and questions,
//! the oracle that answers by brute force, the simulation of the engine, and server processes with
//! a client of their own.

pub mod cli_process;
pub mod control_group;
pub mod flights;
pub mod flights_questions;
pub mod native;
pub mod oracle;
pub mod oracle_answer;
pub mod patience;
pub mod repository;
pub mod resp;
pub mod seed;
pub mod server_process;
pub mod simulation;
pub mod source;
