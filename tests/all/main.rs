//! Every test that sees the project from outside, in one binary, and the repository checking
//! itself. Each module owns one subject.
#![cfg(test)]

mod citations;
mod documents;
mod flights;
mod flights_engine;
mod golden_store;
mod layering;
mod numbers;
mod oracle;
mod server;
mod simulation;
mod source;
mod tidy;
mod tiles;
