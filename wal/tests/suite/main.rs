//! The log from outside: everything here goes through the crate's public face, and reads bytes
//! with a decoder of its own, written after docs/format/wal.md.

mod basics;
mod damage;
mod faults;
mod layout;
mod real_disk;
mod sim_disk;
mod simulation;
mod support;
