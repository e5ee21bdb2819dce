//! What storage backends need of the machine: its programs, run safely, what is mounted where, and files with secrets.
//! Knows no filesystem.

pub mod command;
pub mod mounts;
pub mod secrets;
