//! The demo on ZFS: with pools in files, on this machine where it has ZFS, else in a guest that has.

use std::{env, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};

use super::{Options, images, images_folder, logs_folder, nodes::NAMES, set_up};
use crate::{guest, say, shell};

/// What a guest needs for three nodes, their Docker and their pools, all in memory; in MiB.
const MEMORY: &str = "4096";

/// Far above what the story takes there; in seconds.
const TIME: &str = "1500";

/// A guest has one CPU, which a client that never pauses would take from everything else.
pub(super) const CLIENT_PAUSE: Duration = Duration::from_millis(100);

/// To run a command in a container costs the CPU of a guest a second.
pub(super) fn calm() -> [(&'static str, String); 2] {
    [("HEALTH_INTERVAL", "30s".to_owned()), ("HEALTH_TIMEOUT", "15s".to_owned())]
}

/// Whether this machine has ZFS.
pub(super) fn is_here() -> bool {
    Path::new("/dev/zfs").exists() && shell::find("zpool").is_some()
}

/// Builds all that is needed, and runs the demo in a guest.
pub(super) fn in_guest(options: &Options) -> Result<bool> {
    say::part("setup");
    say::line("this machine has no ZFS; the demo runs in a guest that has");
    guest::ensure_built(options.yes)?;
    set_up(options)?;
    images::prepare(&images_folder(), None)?;
    say::part("guest");
    let logs = logs_folder(options)?;
    fs::create_dir_all(&logs).with_context(|| format!("could not create `{}`", logs.display()))?;
    let mut run = guest::script("guest.sh");
    run.args(["run", "-t", TIME, "-m", MEMORY, "-w"]).arg(&logs).args(["--", "env"]);
    // It asks rustc for which machine it builds, as here.
    run.arg(format!("PATH={}", env::var("PATH").unwrap_or_default()));
    run.arg(env::current_exe().context("could not find this program")?);
    run.args(["demo", "--zfs", "--inside", "--work", "/tmp/flocker-demo"]);
    run.args(options.json.then_some("--json")).args(options.release.then_some("--release"));
    if let Some(policy) = &options.plugin {
        run.arg("--plugin").arg(policy.canonicalize().context("could not find the policy")?);
    }
    say::line(&format!("$ {}", shell::shown(&run)));
    let status = run.status().context("could not run `tests/zfs-guest/guest.sh`")?;
    Ok(status.success())
}

/// A node's pool, in a file of its state folder.
pub(super) fn pool(state: &Path, node: &str) -> String {
    format!("zfs-file:{}", state.join(node).with_extension("zfs").display())
}

/// Destroys the pools of nodes whose files are in the work folder.
pub(super) fn destroy_pools(work: &Path, found: &mut Vec<String>) -> Result<()> {
    if !is_here() {
        return Ok(());
    }
    let inside = format!("{}/", work.display());
    for name in NAMES {
        let listed = shell::output(shell::command("zpool").args(["list", "-vHPL", name]));
        if listed.is_ok_and(|listed| listed.contains(&inside)) {
            shell::output(shell::command("zpool").args(["destroy", "-f", name]))?;
            found.push(format!("pool {name}"));
        }
    }
    Ok(())
}
