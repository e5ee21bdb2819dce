//! What this machine can do: root, Docker, btrfs, a registry. Looks only; changes nothing.

use std::{fs, path::Path, process::Command, time::Duration};

use crate::shell;

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
}

impl Ability {
    /// Why a test that needs it is skipped.
    pub(crate) fn lack(self) -> &'static str {
        match self {
            Self::Root => "needs root",
            Self::Docker => "needs Docker",
            Self::Btrfs => "needs btrfs",
            Self::Registry => "needs docker-registry and openssl",
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
