//! A simulation of the shipped engine: random operations on a simulated disk that crashes, tears
//! and refuses, compared step by step with a naive model of the contract. The same seed gives the
//! same run. It knows nothing of servers or of wires.

pub mod actions;
pub mod aggregate;
pub mod book;
pub mod check;
pub mod definitions;
pub mod dice;
pub mod driver;
pub mod faults;
pub mod jobs;
pub mod judge;
pub mod model;
pub mod partials;
pub mod questions;
pub mod row_text;
pub mod run;
pub mod totals;
pub mod windows;
