//! What must hold for any rows: each test compares with brute force in exact arithmetic.

mod algebra;
mod brute;
mod codec;
mod exact;
mod lanes;
mod numbers;
mod rows;
mod text;
