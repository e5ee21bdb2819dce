//! A cluster of real daemons on this machine, and what must hold for its apps.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use flocker_api::{Address, v1::GetOperationRequest};
use flocker_model::Phase;

use crate::{
    client, daemon::Daemon, dockerd::Container, dockerd::Dockerd, dockerd::IMAGE, flocker::Flocker,
    flocker::Operation, home::Home, say::say, wait::until, wait::within,
};

/// The nodes' names. The first holds the store and leads; the others join it.
pub const NAMES: [&str; 3] = ["n1", "n2", "n3"];

/// Where nodes answer each other.
const API_PORT: u16 = 4521;

/// An operation ends within this time: a node that is needed is waited for a minute.
const OPERATION: Duration = Duration::from_secs(90);

/// Daemons, their Docker, and their files. Fields are dropped in this order: who uses goes before what is used.
#[derive(Debug)]
pub struct Cluster {
    daemons: Vec<Daemon>,
    /// The Docker that all nodes share.
    pub docker: Dockerd,
    home: Home,
    gate: PathBuf,
    told: bool,
}

/// Starts a cluster, tells the story on it, and takes it away. Where the story fails, the logs are printed.
///
/// # Errors
/// Those of the story.
pub fn scenario(n_nodes: usize, story: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
    scenario_with(n_nodes, Ok, story)
}

/// The same on daemons that are prepared before they start, one after the other.
///
/// # Errors
/// Those of the story, and of the preparation.
pub fn scenario_with(
    n_nodes: usize,
    prepare: impl FnMut(Daemon) -> Result<Daemon>,
    story: impl FnOnce(&mut Cluster) -> Result<()>,
) -> Result<()> {
    let mut cluster = Cluster::start(n_nodes, prepare)?;
    story(&mut cluster)?;
    cluster.told = true;
    Ok(())
}

impl Cluster {
    /// Starts so many nodes, at most three, each as it was prepared, and waits until they know each other.
    ///
    /// # Errors
    /// When a program is missing, or they do not find each other.
    pub fn start(
        n_nodes: usize,
        mut prepare: impl FnMut(Daemon) -> Result<Daemon>,
    ) -> Result<Self> {
        // What may be missing comes first: it may have to be built, which takes its time.
        let gate = crate::flocker_gate()?;
        let (docker, home) = (Dockerd::start()?, Home::new()?);
        let mut this = Self { daemons: Vec::new(), docker, home, gate, told: false };
        for (idx, name) in NAMES.iter().enumerate().take(n_nodes) {
            let daemon = prepare(this.new_daemon(name, idx)?)?;
            this.daemons.push(daemon);
        }
        this.daemons.iter_mut().try_for_each(Daemon::start)?;
        this.all_alive()?;
        Ok(this)
    }

    /// A daemon that does not run yet, on the network of this number; all but the first join.
    ///
    /// # Errors
    /// When the gate is missing.
    pub fn new_daemon(&self, name: &str, network_idx: usize) -> Result<Daemon> {
        let (address, subnet) = self.docker.network(network_idx)?;
        let gate = self.gate.display().to_string();
        let docker = self.docker.address();
        let mut arguments: Vec<String> = [
            ["--docker", &docker],
            ["--docker-subnet", &subnet],
            ["--pool-size", "1GiB"],
            ["--gate", &gate],
            ["--log", "info,flocker_engine=debug"],
            // Apps move when a scenario says so, and not otherwise.
            ["--rebalance-every", "3600"],
        ]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect();
        if network_idx > 0 {
            let (leader, _) = self.docker.network(0)?;
            arguments.extend(["--join".to_owned(), format!("{leader}:{API_PORT}")]);
        }
        Ok(Daemon::new(name, address, self.home.path(), arguments))
    }

    /// Whether the container has an address on the node's own bridge.
    ///
    /// # Errors
    /// When there is no such node, or no address.
    pub fn on_bridge(&mut self, container: &Container, node: &str) -> Result<bool> {
        let address: Ipv4Addr =
            container.address.parse().context("the container has no address")?;
        // A test's bridges are `/28`.
        let bridge = |address: Ipv4Addr| address.to_bits() >> 4;
        Ok(bridge(address) == bridge(self.node(node)?.address))
    }

    /// Starts one more node, and waits until the others know it.
    ///
    /// # Errors
    /// When they do not find each other.
    pub fn add(&mut self, mut daemon: Daemon) -> Result<()> {
        daemon.start()?;
        self.daemons.push(daemon);
        self.all_alive()
    }

    /// Every daemon, to be killed and started together.
    pub fn daemons(&mut self) -> &mut [Daemon] {
        &mut self.daemons
    }

    /// A node's daemon.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn node(&mut self, name: &str) -> Result<&mut Daemon> {
        let found = self.daemons.iter_mut().find(|daemon| daemon.name == name);
        found.with_context(|| format!("no node {name}"))
    }

    /// The command, talking to the first node.
    #[must_use]
    pub fn flocker(&self) -> Flocker {
        Flocker::at(&self.daemons[0].socket())
    }

    /// The command, talking to this node.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn flocker_at(&mut self, name: &str) -> Result<Flocker> {
        Ok(Flocker::at(&self.node(name)?.socket()))
    }

    /// A port on a node.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn door(&mut self, name: &str, port: u16) -> Result<SocketAddr> {
        Ok(SocketAddr::from((self.node(name)?.address, port)))
    }

    /// Waits until every node answers the leader.
    ///
    /// # Errors
    /// When one does not.
    pub fn all_alive(&self) -> Result<()> {
        let (flocker, n) = (self.flocker(), self.daemons.len());
        until("every node to be alive", || Ok((flocker.n_alive()? == n).then_some(())))
    }

    /// Deploys the app under test on one of these nodes, published on this port of every node; the one that it is on.
    ///
    /// # Errors
    /// When it does not run in time.
    pub fn deploy(&self, app: &str, port: u16, nodes: &[&str]) -> Result<String> {
        self.flocker().deploy(&manifest(app, port, nodes, IMAGE))?;
        Ok(self.only_container(app)?.node)
    }

    /// Has the app at this door write so many MiB of random bytes to its volume.
    ///
    /// # Errors
    /// When it does not.
    pub fn fill(&self, door: SocketAddr, mib: u64) -> Result<()> {
        client::fill(door, mib)
    }

    /// Waits until the app itself runs in exactly one container, on the node that owns it; that container. One that waits
    /// behind its gate does not count.
    ///
    /// # Errors
    /// When it runs in none or in several in the end, or on the wrong node.
    pub fn only_container(&self, app: &str) -> Result<Container> {
        let flocker = self.flocker();
        let what = format!("exactly one container of {app}, on its owner");
        until(&what, || {
            let owner = flocker.owner(app)?;
            let all = self.docker.containers(app)?;
            let open: Vec<_> = all.iter().filter(|one| one.open()).collect();
            match open.as_slice() {
                [one] if Some(&one.node) == owner.as_ref() => Ok(Some(Container::clone(one))),
                [] | [_, ..] => anyhow::bail!("owner {owner:?}, containers {all:#?}"),
            }
        })
    }

    /// Waits until the app has no container but the one that runs: nothing half-made, nothing left over.
    ///
    /// # Errors
    /// When others stay.
    pub fn nothing_left_over(&self, app: &str) -> Result<()> {
        until(&format!("leftovers of {app} to go"), || {
            let all = self.docker.containers(app)?;
            ensure!(all.len() == 1 && all[0].open(), "containers: {all:#?}");
            Ok(Some(()))
        })
    }

    /// Waits until an operation has reached this phase or one after it, and returns at that very moment, with the phase
    /// that it is in.
    ///
    /// # Errors
    /// When it ended before, or does not get there.
    pub fn sight(&mut self, at: &str, id: &str, phase: Phase) -> Result<Phase> {
        let address = Address::Unix(self.node(at)?.socket());
        self.docker.runtime().block_on(async {
            let mut client = flocker_api::Client::connect(&address).await?;
            let deadline = tokio::time::Instant::now() + OPERATION;
            while tokio::time::Instant::now() < deadline {
                let seen = client.get_operation(GetOperationRequest { id: id.to_owned() }).await?;
                ensure!(!seen.state.is_final(), "the move ended before its {phase}: {seen:?}");
                if seen.phase >= phase {
                    return Ok(seen.phase);
                }
            }
            anyhow::bail!("the move does not reach its {phase}")
        })
    }

    /// Waits for the end of an operation, whichever that is.
    ///
    /// # Errors
    /// When it does not end.
    pub fn ended(&self, id: &str) -> Result<Operation> {
        let flocker = self.flocker();
        let what = format!("the end of operation {id}");
        within(OPERATION, &what, || {
            let operation = flocker.operation(id)?;
            ensure!(operation.is_final(), "it is {operation:?}");
            Ok(Some(operation))
        })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.told {
            self.complain();
        }
    }
}

impl Cluster {
    fn complain(&self) {
        let docker = std::fs::read_to_string(self.docker.log()).unwrap_or_default();
        let daemons = self.daemons.iter().map(|daemon| (daemon.name.as_str(), daemon.said(), 80));
        for (name, said, n_lines) in daemons.chain([("dockerd", docker, 15)]) {
            let lines: Vec<&str> = said.lines().collect();
            let tail = &lines[lines.len().saturating_sub(n_lines)..];
            say(&format!("----- the end of the log of {name}:\n{}", tail.join("\n")));
        }
    }
}

/// The Compose file of the app under test: it may be on these nodes.
#[must_use]
pub fn manifest(app: &str, port: u16, nodes: &[&str], image: &str) -> String {
    let nodes = nodes.join(", ");
    format!(
        "name: {app}
services:
  book:
    image: {image}
    volumes: [\"data:/data\"]
    ports: [\"{port}:7000\"]
    restart: always
    stop_grace_period: 5s
volumes:
  data:
    x-flocker: {{size: 300MiB}}
x-flocker:
  placement: {{nodes: [{nodes}]}}
"
    )
}
