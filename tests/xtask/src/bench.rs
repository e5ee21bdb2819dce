//! `cargo xtask bench`: measures what must not become slow, beside its peers, in one run. Judges nothing by itself.

use anyhow::{Result, ensure};
use clap::ValueEnum;

use crate::{
    artifacts, guest, say,
    setup::{self, Need},
    shell,
};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Which benchmark.
    what: What,
    /// Prints one JSON document on the last line of stdout.
    #[arg(long)]
    json: bool,
    /// Does not ask before it installs something.
    #[arg(long)]
    yes: bool,
}

/// What people would use instead.
const PEERS: [Need; 3] = [
    Need::new("socat", "socat", "the transport is compared with it"),
    Need::new("mbuffer", "mbuffer", "the transport is compared with it"),
    Need::new("btrfs", "btrfs-progs", "streams of btrfs are compared with its own"),
];

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// What a placement decision costs, natively and by a plugin.
    Plugins,
    /// What a stream costs beside `socat`, `mbuffer`, `btrfs send | btrfs receive` and, in a guest, `zfs send | zfs receive`.
    /// Root.
    Replication,
}

/// Builds what the benchmark needs, and runs it.
pub(crate) fn run(options: &Options) -> Result<bool> {
    if !setup::guests()?.is_empty() {
        return Ok(false);
    }
    let (package, bench) = match options.what {
        What::Plugins => {
            artifacts::plugins()?;
            ("flocker-plugins", "plugins")
        }
        What::Replication => {
            let missing = setup::packages(PEERS.iter().collect(), options.yes)?;
            ensure!(missing.is_empty(), "there is nothing to compare with: {}", missing.join(", "));
            ("flocker-replication", "replication")
        }
    };
    let mut cargo = shell::cargo(&crate::root());
    cargo.args(["bench", "--package", package, "--bench", bench, "--"]);
    if let What::Replication = options.what {
        match guest::possible() {
            Ok(()) => {
                guest::ensure_built(options.yes)?;
                cargo.env("FLOCKER_ZFS_HELPER", artifacts::release_zfs_helper()?);
                cargo.arg("--guest").arg(guest::script("guest.sh").get_program());
            }
            Err(reason) => say::line(&format!("there will be no rows of ZFS: {reason}")),
        }
    }
    if options.json {
        cargo.arg("--json");
    }
    shell::run(&mut cargo)?;
    Ok(true)
}
