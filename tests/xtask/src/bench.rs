//! `cargo xtask bench`: measures what must not become slow, beside its peers, in one run. Judges nothing by itself.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
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
const PEERS: [Need; 4] = [
    Need::new("socat", "socat", "the transport is compared with it"),
    Need::new("mbuffer", "mbuffer", "the transport is compared with it"),
    Need::new("openssl", "openssl", "the transport under TLS is compared with it, through socat"),
    Need::new("btrfs", "btrfs-progs", "streams of btrfs are compared with its own"),
];

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// What a placement decision costs, natively and by a plugin.
    Plugins,
    /// What a stream costs, in the clear and under TLS, beside `socat`, `mbuffer`, `btrfs send | btrfs receive` and, in a
    /// guest, `zfs send | zfs receive`, and a tick of many volumes beside `syncoid` and `bzfs`.
    /// Root.
    Replication,
}

/// syncoid and bzfs, as Debian and PyPI have them: unpacked beside what is built, for they are wanted in a guest alone, and
/// installing one would bring the kernel module of ZFS.
fn peers_of_ticks() -> Result<PathBuf> {
    const PACKAGES: [&str; 3] = ["sanoid", "libconfig-inifiles-perl", "libcapture-tiny-perl"];
    let folder = artifacts::target_folder().join("bench-peers");
    if folder.join("python/bzfs_main").is_dir() {
        return Ok(folder);
    }
    say::line("fetching syncoid and bzfs, with which a tick is compared");
    let downloads = folder.join("packages");
    fs::create_dir_all(&downloads).context("could not make a folder for the peers")?;
    let mut download = shell::command("apt-get");
    download.current_dir(&downloads).args(["download", "-q", "-o", "APT::Sandbox::User=root"]);
    shell::output(download.args(PACKAGES))?;
    for package in fs::read_dir(&downloads).context("could not list the packages")? {
        let package = package.context("could not list the packages")?.path();
        shell::output(shell::command("dpkg").arg("-x").args([&package, &folder]))?;
    }
    let mut pip = shell::command("python3");
    pip.args(["-m", "pip", "install", "-q", "--no-deps", "--target"]).arg(folder.join("python"));
    shell::output(pip.arg("bzfs"))?;
    Ok(folder)
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
                cargo.arg("--peers").arg(peers_of_ticks()?);
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
