//! The server as its users meet it: a process, its ports and its folder. Each module owns one
//! subject.

mod authentication;
mod backup;
mod bad_input;
mod bad_input_cases;
mod cold;
mod conversation;
mod deletions;
mod flights;
mod flights_load;
mod flights_read;
mod framing;
mod job_kills;
mod jobs;
mod kill_writers;
mod kills;
mod loads;
mod operations;
mod producers;
mod records;
mod redis_tools;
