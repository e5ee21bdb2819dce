//! The `flocker` command: reads its arguments, asks a node, prints what it answers.
//!
//! It decides nothing and keeps nothing; everything that it knows comes over `flocker-api`'s client. Only the tools for
//! authors of plugins ask no node: they run a node's own plugin host on their files.

mod args;
mod commands;
mod drain;
mod follow;
mod progress;
mod show;
mod terminal;

use std::process::ExitCode;

use clap::Parser;
use flocker_api::{Code, Failure};

use crate::{args::Arguments, terminal::Answer};

fn main() -> ExitCode {
    if let Some(end) = flocker_plugins::compile_if_asked() {
        return end;
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return no_sense(&error),
    };
    let json = arguments.json;
    // One thread: it waits for one node, and for the terminal.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return fail(json, &Failure::new(Code::INTERNAL, format!("could not start: {error}")));
        }
    };
    match runtime.block_on(commands::run(arguments)) {
        Ok(answer) => finish(json, answer),
        Err(failure) => fail(json, &failure),
    }
}

/// A command line that makes no sense; or help, which is an answer.
fn no_sense(error: &clap::Error) -> ExitCode {
    // What was asked for is not known, but how it is to be answered can be seen.
    // Where nobody reads there is nobody to tell.
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if std::env::args_os().any(|argument| argument == "--json") {
        let _ = terminal::print_json(&show::failure(&show::usage(error)));
    }
    terminal::say(error.render().to_string().trim_end());
    ExitCode::from(2)
}

fn finish(json: bool, answer: Answer) -> ExitCode {
    match json {
        true if answer.json.is_null() => {}
        true => drop(terminal::print_json(&answer.json)),
        false => {
            terminal::print(&answer.text);
            if let Some(aside) = &answer.aside {
                terminal::say(aside);
            }
        }
    }
    match answer.failure {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            terminal::complain(&failure);
            status(&failure)
        }
    }
}

fn fail(json: bool, failure: &Failure) -> ExitCode {
    if json {
        let _ = terminal::print_json(&show::failure(failure));
    }
    terminal::complain(failure);
    status(failure)
}

fn status(failure: &Failure) -> ExitCode {
    if terminal::is_no_answer(failure) { ExitCode::from(3) } else { ExitCode::FAILURE }
}
