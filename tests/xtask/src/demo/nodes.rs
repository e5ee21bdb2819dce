//! The three nodes: three daemons on this machine, each with its own address, state folder and pool.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::{Built, client::Door, docker::Docker, flocker::Flocker, zfs};
use crate::{artifacts, say};

/// The nodes' names. The first holds the store, the others join it. Containers with the label of such a node are
/// removed, so no real node should have such a name.
pub(super) const NAMES: [&str; 3] = ["demo1", "demo2", "demo3"];

/// The nodes' addresses: each is the gateway of its node's bridge.
pub(super) const ADDRESSES: [Ipv4Addr; 3] =
    [Ipv4Addr::new(10, 213, 1, 1), Ipv4Addr::new(10, 213, 2, 1), Ipv4Addr::new(10, 213, 3, 1)];

/// Where redis is published, on every node.
const REDIS_PORT: u16 = 6379;

/// Where the web service is published, on every node.
pub(super) const WEB_PORT: u16 = 8080;

/// Where nodes answer each other.
const API_PORT: u16 = 4521;

/// Fails where a program of this machine listens on all addresses at a port of the app: the client would talk to that.
pub(super) fn ports_are_free() -> Result<()> {
    for port in [REDIS_PORT, WEB_PORT] {
        // An address that nobody listens on by itself.
        if TcpListener::bind((Ipv4Addr::new(127, 213, 0, 1), port)).is_err() {
            bail!(
                "port {port} is taken, and the demo's app needs it\nhint: `ss -ltnp sport = :{port}` says by whom"
            );
        }
    }
    Ok(())
}

/// Three running daemons.
#[derive(Debug)]
pub(super) struct Nodes {
    daemons: Vec<Daemon>,
}

#[derive(Debug)]
struct Daemon {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Nodes {
    /// Starts all of them; whether they found each other, the cluster's status tells.
    pub(super) fn start(work: &Path, docker: &Docker, built: &Built) -> Result<Self> {
        let daemons = (0..NAMES.len())
            .map(|idx| Daemon::start(idx, work, docker, built))
            .collect::<Result<_>>()?;
        Ok(Self { daemons })
    }

    /// An error, with the end of its log, once one of them ended.
    pub(super) fn check(&mut self) -> Result<()> {
        for daemon in &mut self.daemons {
            let ended = daemon
                .child
                .try_wait()
                .with_context(|| format!("could not look after {}", daemon.name))?;
            if let Some(status) = ended {
                bail!(
                    "node {} ended with {status}; the end of {}:\n{}",
                    daemon.name,
                    daemon.log.display(),
                    tail(&daemon.log)
                );
            }
        }
        Ok(())
    }

    /// The command, talking to the first node.
    pub(super) fn flocker(work: &Path, built: &Built) -> Flocker {
        Flocker::new(&built.programs.join("flocker"), &socket(work, NAMES[0]))
    }

    /// The doors of redis on nodes other than these.
    pub(super) fn door_apart_from(busy: &[&str]) -> Result<Door> {
        let free = (0..NAMES.len()).find(|idx| !busy.contains(&NAMES[*idx]));
        let idx = free.with_context(|| format!("no node but {}", busy.join(", ")))?;
        Ok(Door {
            node: NAMES[idx].to_owned(),
            address: SocketAddr::from((ADDRESSES[idx], REDIS_PORT)),
        })
    }
}

impl Daemon {
    fn start(idx: usize, work: &Path, docker: &Docker, built: &Built) -> Result<Self> {
        let (name, address) = (NAMES[idx], ADDRESSES[idx]);
        let state = work.join(name);
        fs::create_dir_all(&state)
            .with_context(|| format!("could not create `{}`", state.display()))?;
        let log = work.join(format!("{name}.log"));
        let file =
            File::create(&log).with_context(|| format!("could not create `{}`", log.display()))?;

        let [a, b, c, _] = address.octets();
        let mut daemon = Command::new(built.programs.join("flocker-runtime"));
        daemon
            .args(["--node", name, "--address", &address.to_string()])
            .args(["--state-dir".as_ref(), state.as_os_str()])
            .args(["--docker", &docker.address(), "--docker-subnet", &format!("{a}.{b}.{c}.0/24")])
            .args(["--pool-size", "2GiB"])
            .args(["--gate".as_ref(), artifacts::gate()?.as_os_str()])
            // Nobody watches a demo for five minutes to see the policy act.
            .args(["--rebalance-every", "2", "--rebalance-cooldown", "5"])
            .args(["--plugin".as_ref(), built.policy.as_os_str()]);
        if built.on_zfs {
            daemon.args(["--pool", &zfs::pool(&state, name)]);
            daemon.args(["--zfs-helper".as_ref(), artifacts::zfs_helper().as_os_str()]);
        }
        if idx > 0 {
            daemon.args(["--join", &format!("{}:{API_PORT}", ADDRESSES[0])]);
        }
        say::line(&format!("$ {} > {}", crate::shell::shown(&daemon), log.display()));
        daemon.process_group(0).stdin(Stdio::null());
        daemon.stdout(file.try_clone().context("could not share a node's log")?).stderr(file);
        let child = daemon.spawn().with_context(|| format!("could not start node {name}"))?;
        Ok(Self { name, child, log })
    }
}

/// Where a node answers the people of this machine.
fn socket(work: &Path, node: &str) -> PathBuf {
    work.join(node).join("flocker.sock")
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
