//! Nodes come and go: a start that fails takes back what it made, labels follow the configuration, and a node that was
//! removed stays away.

use std::{fs, net::TcpListener, process::Command};

use anyhow::{Context as _, Result, ensure};
use scenarios::{Cluster, Daemon, scenario, until};

#[test]
fn a_start_that_fails_leaves_neither_network_nor_mount() -> Result<()> {
    scenario(1, |cluster| {
        let mut broken = cluster.new_daemon("n2", 1)?;
        // Found out last of all, after the network and the pool were made.
        fs::create_dir_all(broken.state().join("journal"))?;
        let said = fails(cluster, &mut broken).context("a journal that cannot be read")?;
        ensure!(said.contains("journal"), "the journal is not named: {said}");

        let mut homeless = cluster.new_daemon("n3", 2)?.with(&["--pool", "btrfs:/proc"]);
        let said = fails(cluster, &mut homeless).context("a pool that is none")?;
        ensure!(said.contains("`/proc` is not on a btrfs"), "{said}");

        let mut stranger =
            cluster.new_daemon("n4", 3)?.without("--docker-subnet").at([203, 0, 113, 9]);
        let said = fails(cluster, &mut stranger).context("an address of somebody else")?;
        ensure!(said.contains("203.0.113.9") && said.contains("--address"), "{said}");

        let taken = TcpListener::bind("127.0.0.44:4522")?;
        let mut late = cluster
            .new_daemon("n5", 4)?
            .without("--docker-subnet")
            .without("--join")
            .at([127, 0, 0, 44]);
        let said = fails(cluster, &mut late).context("a port that another program has")?;
        ensure!(said.contains("127.0.0.44:4522") && said.contains("in use"), "{said}");
        drop(taken);

        let mut doppelganger = cluster.new_daemon("n1", 5)?.elsewhere("n1-again");
        let said = fails(cluster, &mut doppelganger).context("a name that is taken")?;
        ensure!(said.contains("belongs to another installation"), "{said}");

        let leader = cluster.door("n1", 4522)?.to_string();
        let mut lost = cluster.new_daemon("n6", 6)?.with(&["--join", &leader]);
        lost.start()?;
        until("it to ask whom it was told to join", || {
            Ok(lost.said().contains("is `--join` the node").then_some(()))
        })?;
        lost.stop()?;
        nothing_left(cluster, &lost)
    })
}

/// Starts a daemon that cannot start, and returns what it said. Nothing of it is left.
fn fails(cluster: &Cluster, daemon: &mut Daemon) -> Result<String> {
    daemon.start()?;
    let status = daemon.ended()?;
    let said = daemon.said();
    ensure!(!status.success(), "it ended well: {said}");
    ensure!(said.contains("hint: ") || said.contains("journal"), "nothing can be done: {said}");
    nothing_left(cluster, daemon)?;
    Ok(said)
}

fn nothing_left(cluster: &Cluster, daemon: &Daemon) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let pool = daemon.pool().display().to_string();
    ensure!(!mounts.contains(&pool), "the pool is mounted at {pool}");
    let mut list = Command::new("docker");
    list.args(["--host", &cluster.docker.address(), "network", "ls", "--format", "{{.Name}}"]);
    let networks = String::from_utf8(list.output().context("could not run docker")?.stdout)?;
    ensure!(networks.contains("flocker-n1"), "the networks could not be listed: {networks}");
    let ours = daemon.name != "n1" && networks.contains(&format!("flocker-{}", daemon.name));
    ensure!(!ours, "a network is left: {networks}");
    ensure!(!daemon.socket().exists(), "the socket is left");
    Ok(())
}

#[test]
fn a_node_is_removed_once_nothing_needs_it_and_stays_away() -> Result<()> {
    scenario(3, |cluster| {
        labels(cluster).context("labels")?;
        cluster.deploy("shop", 7000, &["n3"])?;
        let flocker = cluster.flocker();
        refused(cluster, "n3", "app `shop`")?;
        flocker.move_to("shop", "n2")?;
        refused(cluster, "n3", "alive")?;
        refused(cluster, "n1", "leads")?;
        flocker.ask(&["node", "drain", "n3", "--timeout", "60s"])?;

        flocker.ask(&["node", "rm", "n3", "--yes"])?;

        ensure!(flocker.names("node")? == ["n1", "n2"], "nodes: {:?}", flocker.names("node")?);
        // The replica that it held is nobody's any more.
        let volumes = flocker.ask(&["volume", "ls"])?.to_string();
        ensure!(!volumes.contains("n3"), "it is remembered: {volumes}");
        let node = cluster.node("n3")?;
        ensure!(!node.ended()?.success(), "it ended well");
        for _ in 0..2 {
            let said = node.said();
            ensure!(said.contains("node `n3` was removed from the cluster\nhint: "), "{said}");
            node.start()?;
            ensure!(!node.ended()?.success(), "it was let in again: {}", node.said());
        }
        cluster.only_container("shop").map(drop)
    })
}

/// What the configuration says comes and goes with it; what operators say stays.
fn labels(cluster: &mut Cluster) -> Result<()> {
    let flocker = cluster.flocker();
    let known =
        || Ok::<_, anyhow::Error>(flocker.ask(&["node", "ls"])?["nodes"][1]["labels"].to_string());
    let node = cluster.node("n2")?;
    node.stop()?;
    node.set(&["--label", "disk=ssd"]);
    node.start()?;
    until("the label to come", || Ok((known()? == r#"{"disk":"ssd"}"#).then_some(())))?;
    flocker.ask(&["node", "label", "n2", "rack=7"])?;
    node.stop()?;
    node.set(&["--label", "zone=east"]);
    node.start()?;
    until("the label to go", || Ok((known()? == r#"{"rack":"7","zone":"east"}"#).then_some(())))?;
    cluster.all_alive()
}

fn refused(cluster: &Cluster, node: &str, why: &str) -> Result<()> {
    let said = cluster.flocker().try_ask(&["node", "rm", node, "--yes"])?;
    ensure!(said.status == Some(1), "it was removed");
    ensure!(said.json["error"]["code"] == "node-in-use", "{}", said.json);
    ensure!(said.stderr.contains(why) && said.stderr.contains("hint: "), "{}", said.stderr);
    Ok(())
}
