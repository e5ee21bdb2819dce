//! What storage backends need of the machine: its programs, run safely, and what is mounted where. Knows no filesystem.

pub mod command;
pub mod mounts;
