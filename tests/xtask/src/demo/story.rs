//! What happens in the demo, in order: the policy places the app; a neighbour makes it move the app; a person moves it;
//! its node is drained. All the while a client writes through a node that does not hold the app.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{
    Built,
    client::Client,
    docker::Docker,
    flocker::{Flocker, LOOK, Operation},
    nodes::{NAMES, Nodes, WEB_PORT},
    report::{Move, Report},
    zfs,
};
use crate::{interrupt, say};

const SHOP: &str = "shop";

/// Nodes find each other, and containers of a new app start, within this time even on a slow machine.
const READY_MAX: Duration = Duration::from_secs(120);

/// So many records are acknowledged before and after each move, so that a gap in them is a gap.
const RECORDS_BETWEEN: usize = 300;

/// The share of the free memory that the neighbour may take. More, and the core refuses it where others are greedy too.
const NEIGHBOUR_PERCENT: u64 = 40;

/// Everything that the parts of the story need.
struct Stage {
    nodes: Nodes,
    flocker: Flocker,
    client: Client,
    owner: String,
    told: usize,
    moves: Vec<Move>,
}

/// Starts the nodes and tells the story.
pub(super) fn tell(work: &Path, docker: &Docker, built: &Built) -> Result<Report> {
    say::part("three nodes");
    let mut nodes = Nodes::start(work, docker, built)?;
    let mut flocker = Nodes::flocker(work, built);
    interrupt::wait_for("three nodes finding each other", READY_MAX, || {
        nodes.check()?;
        interrupt::pause(LOOK)?;
        // Until the socket is there, asking fails.
        Ok(flocker.nodes_alive().ok().filter(|alive| *alive == NAMES.len()))
    })?;
    say::line(&format!("{} nodes are alive", NAMES.len()));

    say::part("the policy places the app");
    let manifest = crate::root().join("tests/demo/shop.yaml");
    if built.is_inside {
        flocker.set_variables(&zfs::calm());
    }
    flocker.order(&["app", "deploy", &manifest.to_string_lossy()])?;
    let owner = interrupt::wait_for("a place for the shop", READY_MAX, || {
        nodes.check()?;
        interrupt::pause(LOOK)?;
        let done = flocker.operations(SHOP)?.iter().all(Operation::is_final);
        Ok(flocker.owner(SHOP)?.filter(|_| done))
    })?;
    say::line(&format!("{SHOP} runs on {owner}"));
    explain(&flocker)?;

    let door = Nodes::door_apart_from(&[&owner])?;
    say::line(&format!(
        "the client writes through {} ({}), the app is on {owner}",
        door.node, door.address
    ));
    let pause = if built.is_inside { zfs::CLIENT_PAUSE } else { Duration::ZERO };
    let client = Client::start(door, &work.join("acknowledged"), pause)?;
    let mut stage = Stage { nodes, flocker, client, owner, told: 0, moves: Vec::new() };
    stage.records_flow()?;
    stage.ask_web()?;
    let neighbour_node = stage.rebalance()?;
    stage.by_hand(&neighbour_node)?;
    stage.drain(&neighbour_node)?;
    stage.end(work)
}

impl Stage {
    /// The change that the policy cares about: a big neighbour, pinned to the app's node.
    fn rebalance(&mut self) -> Result<String> {
        say::part("a neighbour takes the node's memory, and the policy moves the app");
        let node = self.owner.clone();
        let memory = self.flocker.memory_free(&node)? / 100 * NEIGHBOUR_PERCENT;
        let manifest = crate::root().join("tests/demo/neighbour.yaml");
        // Compose files take variables from the environment of the one who deploys them.
        self.flocker.set_variables(&[("NODE", node.clone()), ("MEMORY", memory.to_string())]);
        self.moved("rebalance by the policy", &node, |flocker| {
            flocker.order(&["app", "deploy", &manifest.to_string_lossy()])
        })?;
        self.flocker.set_variables(&[]);
        explain(&self.flocker)?;
        Ok(node)
    }

    /// A person moves it to the node that nothing runs on, while the client writes through the neighbour's node.
    fn by_hand(&mut self, neighbour: &str) -> Result<()> {
        let owner = self.owner.clone();
        let free = NAMES
            .iter()
            .find(|name| **name != owner && **name != neighbour)
            .context("no free node")?;
        say::part("a person moves the app");
        self.through(&[&owner, free])?;
        self.moved("`flocker move`", &owner, |flocker| flocker.order(&["move", SHOP, "--to", free]))
    }

    /// Its node is drained: the policy says where to.
    fn drain(&mut self, neighbour: &str) -> Result<()> {
        let owner = self.owner.clone();
        say::part("the app's node is drained");
        let other = NAMES
            .iter()
            .find(|name| **name != owner && **name != neighbour)
            .context("no other node")?;
        self.through(&[&owner, other])?;
        self.moved("`flocker node drain`", &owner, |flocker| {
            flocker.order(&["node", "drain", &owner])
        })
    }

    /// Does what makes the app leave `from`, waits for it, and remembers what the client saw meanwhile.
    fn moved(
        &mut self,
        why: &str,
        from: &str,
        cause: impl FnOnce(&Flocker) -> Result<()>,
    ) -> Result<()> {
        let start = Instant::now();
        let door = self.client.door().node;
        cause(&self.flocker)?;
        self.owner = self.flocker.wait_for_move(SHOP, from, READY_MAX)?;
        // The gap ends with the first acknowledgement after the move, and that has to be seen.
        self.records_flow()?;
        let end = Instant::now();

        let all = self.flocker.operations(SHOP)?;
        let new: Vec<_> =
            all.iter().skip(self.told).filter(|one| one.kind == "move").cloned().collect();
        self.told = all.len();
        if let Some(bad) = new.iter().find(|one| one.state != "done") {
            bail!("move {} of {SHOP} is {}", bad.id, bad.state);
        }
        if new.is_empty() {
            bail!("{SHOP} left {from}, but no operation says so");
        }
        let blackout = self.client.seen().blackout(start, end);
        say::line(&format!(
            "{SHOP} runs on {}; the client waited {} ms",
            self.owner,
            blackout.as_millis()
        ));
        self.moves.extend(new.into_iter().map(|operation| Move {
            why: why.into(),
            door: door.clone(),
            operation,
            blackout,
        }));
        // A policy may have chosen the client's own node.
        self.through(&[&self.owner.clone()])?;
        self.ask_web()
    }

    /// Has the client write through a node that is none of these.
    fn through(&mut self, busy: &[&str]) -> Result<()> {
        let now = self.client.door();
        if !busy.contains(&now.node.as_str()) {
            return Ok(());
        }
        let door = Nodes::door_apart_from(busy)?;
        say::line(&format!(
            "the client goes on through {} ({}), the app is on {}",
            door.node, door.address, self.owner
        ));
        self.client.use_door(door);
        self.records_flow()
    }

    /// Waits until the client wrote some more.
    fn records_flow(&mut self) -> Result<()> {
        let wanted = self.client.acked() + RECORDS_BETWEEN;
        let (client, nodes) = (&mut self.client, &mut self.nodes);
        interrupt::wait_for("the client writing", READY_MAX, || {
            nodes.check()?;
            client.check()?;
            Ok((client.acked() >= wanted).then_some(()))
        })
    }

    /// The web service answers through the client's door as well: it links to redis, wherever both are.
    fn ask_web(&self) -> Result<()> {
        let door = self.client.door();
        let address = SocketAddr::new(door.address.ip(), WEB_PORT);
        let answer =
            get(address).with_context(|| format!("the web service did not answer at {address}"))?;
        say::line(&format!("$ curl http://{address}/  (on {})", door.node));
        say::line(&answer);
        anyhow::ensure!(answer.ends_with("records"), "the web service did not count the records");
        Ok(())
    }

    fn end(self, work: &Path) -> Result<Report> {
        say::part("what was acknowledged must be there");
        let policy_decisions = self.flocker.policy_decisions()?;
        let shown = self.flocker.shown();
        let (seen, verdict) = self.client.finish()?;
        Ok(Report {
            moves: self.moves,
            seen,
            verdict,
            policy_decisions,
            flocker: shown,
            work: work.to_owned(),
        })
    }
}

fn explain(flocker: &Flocker) -> Result<()> {
    say::line(&format!("$ flocker explain {SHOP}"));
    say::line(flocker.explain(SHOP)?.trim_end());
    Ok(())
}

/// The body of the answer to `GET /`.
fn get(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(40)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (_, body) = text.split_once("\r\n\r\n").with_context(|| format!("no body in `{text}`"))?;
    Ok(body.trim_end().to_owned())
}
