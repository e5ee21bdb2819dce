//! What this machine can do: root, Docker, btrfs, a registry, OpenZFS. Looks only; changes nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{guest, shell};

/// The socket of a Docker that the system runs.
pub(crate) const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// Something that some tests need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ability {
    /// Mounts, devices, network interfaces.
    Root,
    /// A Docker that runs, or a `dockerd` that can be started.
    Docker,
    /// The file system in the kernel, and its tools.
    Btrfs,
    /// A registry that can be started, and what makes a certificate for it.
    Registry,
    /// OpenZFS: in a guest, or of this machine.
    Zfs,
    /// Guests with OpenZFS, several at once.
    Guests,
}

impl Ability {
    /// Why a test that needs it is skipped.
    pub(crate) fn lack(self) -> &'static str {
        match self {
            Self::Root => "needs root",
            Self::Docker => "needs Docker",
            Self::Btrfs => "needs btrfs",
            Self::Registry => "needs docker-registry and openssl",
            Self::Zfs => "needs OpenZFS, or root on x86-64 Debian 12 for guests that have it",
            Self::Guests => "needs root on x86-64 Debian 12, for guests with OpenZFS",
        }
    }

    /// Whether it is here.
    pub(crate) fn here(self) -> bool {
        match self {
            Self::Root => is_root(),
            Self::Docker => docker_answers() || shell::find("dockerd").is_some(),
            Self::Btrfs => shell::find("mkfs.btrfs").is_some() && kernel_has_btrfs(),
            Self::Registry => ["docker-registry", "openssl"]
                .into_iter()
                .all(|program| shell::find(program).is_some()),
            Self::Zfs => Self::Guests.here() || has_zfs(),
            // Whether one is built does not matter: on a machine that can have one, tests without it fail.
            Self::Guests => guest::possible().is_ok(),
        }
    }
}

/// Whether we may do anything.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether the system's Docker runs and talks to us.
pub(crate) fn docker_answers() -> bool {
    let mut ask = shell::command("docker");
    ask.args([
        "--host",
        &format!("unix://{DOCKER_SOCKET}"),
        "version",
        "--format",
        "{{.Server.Version}}",
    ]);
    Path::new(DOCKER_SOCKET).exists()
        && shell::output_within(&mut ask, Some(Duration::from_secs(5))).is_ok()
}

fn kernel_has_btrfs() -> bool {
    let listed = || {
        let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        known.lines().any(|line| line.trim() == "btrfs")
    };
    // A module that is not loaded yet is not listed; `mount` would load it.
    listed()
        || (is_root() && shell::output(Command::new("modprobe").arg("btrfs")).is_ok() && listed())
}

/// Whether the kernel has OpenZFS loaded, we may use it, and its commands are here.
fn has_zfs() -> bool {
    is_root() && Path::new("/dev/zfs").exists() && shell::find("zpool").is_some()
}

/// A Node.js that the SDK for JavaScript works with.
pub(crate) fn node() -> Option<PathBuf> {
    let said = |node: &PathBuf| shell::output(Command::new(node).arg("--version"));
    shell::find("node").filter(|node| said(node).is_ok_and(|version| major(&version) >= Some(20)))
}

/// `v20.20.2`
fn major(version: &str) -> Option<u32> {
    version.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// A Python that the SDK for Python works with, and that makes environments, which Debian packages separately.
pub(crate) fn python() -> Option<PathBuf> {
    let check = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))";
    shell::find("python3")
        .filter(|python| shell::output(Command::new(python).args(["-c", check])).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_node_are_compared_as_numbers() {
        assert_eq!(major("v20.20.2\n"), Some(20));
        assert!(major("v9.11.2") < Some(20));
        assert_eq!(major("20"), None);
    }
}
