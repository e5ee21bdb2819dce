//! `cargo xtask bench`: measures what must not become slow, beside its peers, in one run. Judges nothing by itself.

use anyhow::Result;
use clap::ValueEnum;

use crate::{artifacts, setup, shell};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Which benchmark.
    what: What,
    /// Prints one JSON document on the last line of stdout.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// What a placement decision costs, natively and by a plugin.
    Plugins,
}

/// Builds what the benchmark needs, and runs it.
pub(crate) fn run(options: &Options) -> Result<bool> {
    if !setup::guests()?.is_empty() {
        return Ok(false);
    }
    artifacts::plugins()?;
    let (package, bench) = match options.what {
        What::Plugins => ("flocker-plugins", "plugins"),
    };
    let mut cargo = shell::cargo(&crate::root());
    cargo.args(["bench", "--package", package, "--bench", bench, "--"]);
    if options.json {
        cargo.arg("--json");
    }
    shell::run(&mut cargo)?;
    Ok(true)
}
