//! What the `flocker` command prints, against a cluster that is made up.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail like tests")]

mod author;
mod backends;
mod clones;
mod cluster;
mod corpus;
mod data;
mod endless;
mod errors;
mod follow;
mod live_registry;
mod names;
mod output;
mod registry;

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use cluster::Cluster;
use expect_test::Expect;

/// A run of the command: its status and both streams, as one text.
fn run(address: &str, arguments: &[&str]) -> String {
    shown(&command(address, arguments).output().unwrap())
}

fn run_with_stdin(address: &str, arguments: &[&str], stdin: &str) -> String {
    let mut child = command(address, arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    shown(&child.wait_with_output().unwrap())
}

fn command(address: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flocker"));
    command
        .args(arguments)
        .env("FLOCKER_ADDRESS", address)
        .env("TAG", "7.2")
        .env("COLUMNS", "100")
        .stdin(Stdio::null());
    command
}

fn shown(output: &Output) -> String {
    let mut text = String::from_utf8(output.stdout.clone()).unwrap();
    for line in String::from_utf8(output.stderr.clone()).unwrap().lines() {
        text += &format!("stderr: {line}\n");
    }
    if !output.status.success() {
        text += &format!("{}\n", output.status);
    }
    text
}

/// The only function here that knows how a golden test is made.
#[track_caller]
fn check(arguments: &[&str], want: &Expect) {
    let cluster = Cluster::start();
    want.assert_eq(&run(cluster.address(), arguments));
}
