//! `cargo xtask`: the project's chores. It compiles before everything else, so it depends on next to nothing.

mod artifacts;
mod bench;
mod bindings;
mod demo;
mod go;
mod guest;
mod interrupt;
mod leftovers;
mod machine;
mod say;
mod setup;
mod shell;
mod test;
mod wasm_target;
mod wit;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The project's chores.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Installs what is missing on this machine, saying each thing before it does it.
    Setup {
        /// Does not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Builds what a node needs, optimised, into `target/dist`: the daemon, the command, the gate, the plugins.
    Build,
    /// Sets up what is missing and runs every check and test that can run here.
    Test(test::Options),
    /// Measures what must not become slow, beside its peers.
    Bench(bench::Options),
    /// Freezes the contract with plugins.
    #[command(subcommand)]
    Wit(wit::Command),
    /// Makes, builds and asks policies in each language whose tools are here. `test` does it too.
    Sdks {
        /// Only these languages.
        languages: Vec<String>,
    },
    /// Makes anew what the SDKs keep of the contract, after `wit/` was changed.
    Bindings,
    /// Machines with OpenZFS: builds them, boots them, runs commands and tests in them.
    #[command(subcommand)]
    Guest(guest::Command),
    /// Runs the main job end to end: three nodes, an app that moves between them, and a client that keeps writing.
    Demo(demo::Options),
}

/// The checkout that this program was built from.
fn root() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).map_or_else(|| own.clone(), PathBuf::from)
}

fn build() -> Result<bool> {
    if !setup::guests()?.is_empty() {
        return Ok(false);
    }
    let folder = artifacts::distribution()?;
    say::line(&format!("everything is in {}", folder.display()));
    Ok(true)
}

fn main() -> ExitCode {
    if let Err(error) = interrupt::install() {
        say::line(&format!("error: {error:#}"));
        return ExitCode::FAILURE;
    }
    let outcome = match Cli::parse().chore {
        Chore::Setup { yes } => setup::everything(yes).map(|missing| missing.is_empty()),
        Chore::Build => build(),
        Chore::Test(options) => test::run(&options),
        Chore::Bench(options) => bench::run(&options),
        Chore::Wit(command) => wit::run(&command),
        Chore::Sdks { languages } => test::sdks(&languages),
        Chore::Bindings => bindings::make(),
        Chore::Guest(command) => guest::run(&command),
        Chore::Demo(options) => demo::run(&options),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say::line(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
