//! The log from outside: everything here goes through the crate's public face, and reads bytes
//! with a decoder of its own, written after docs/format/wal.md.

mod basics;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod layout;
#[cfg(test)]
mod live;
mod real_disk;
mod sim_disk;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod support;
