//! Tests that look at the crate from its public side.

mod commands;
mod corpus;
mod document;
mod jobs;
mod native;
