//! Moves by hand: what an operator does, while a client writes through a node that does not hold the app.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use flocker_model::Phase;
use scenarios::{Client, Cluster, Operation, scenario};

const APP: &str = "shop";
const PORT: u16 = 7000;

/// So much is in the volume before it moves, and does not travel again on the way back.
const BALLAST_MIB: u64 = 16;

/// More than this and a person would call it an outage; the goal is far below, and is measured elsewhere.
const GAP_MAX: Duration = Duration::from_secs(8);

#[test]
fn an_app_moves_there_and_back_and_no_client_notices() -> Result<()> {
    scenario(3, |cluster| {
        let home = cluster.deploy(APP, PORT, &["n2", "n3"])?;
        let away = if home == "n2" { "n3" } else { "n2" };
        let door = cluster.door("n1", PORT)?;
        cluster.fill(door, BALLAST_MIB)?;
        let client = Client::start(door);

        let there = moved(cluster, &client, away).context("on the way there")?;
        ensure!(there.bytes > BALLAST_MIB << 20, "the data did not travel: {there:?}");
        let back = moved(cluster, &client, &home).context("on the way back")?;
        ensure!(back.bytes < BALLAST_MIB << 19, "what was there already travelled again: {back:?}");
        aborted(cluster, &client, away).context("on the way that was given up")
    })
}

/// Moves it, and looks for the proof in the pools and in Docker.
fn moved(cluster: &mut Cluster, client: &Client, target: &str) -> Result<Operation> {
    client.flows(50)?;
    client.mark();
    let before = cluster.only_container(APP)?;

    let operation = cluster.flocker().move_to(APP, target)?;
    ensure!(operation.state == "done", "the move ended as {operation:?}");
    client.check()?;

    let after = cluster.only_container(APP)?;
    ensure!(after.node == target, "it runs on {}", after.node);
    ensure!(after.id != before.id, "the same container runs");
    ensure!(cluster.on_bridge(&after, target)?, "its address is {}", after.address);
    ensure!(!cluster.on_bridge(&after, &before.node)?, "its address is {}", after.address);
    let gone = cluster.docker.containers(APP)?;
    ensure!(gone.len() == 1, "containers are left: {gone:#?}");

    let id = volume_id(cluster)?;
    let newest = client.seen().acked.last().copied().context("nothing was promised")?;
    let log =
        |pool: std::path::PathBuf| fs::read_to_string(pool.join("live").join(&id).join("data/log"));
    let there =
        log(cluster.node(target)?.pool()).context("the data is not in the target's pool")?;
    ensure!(
        there.lines().any(|line| line == newest.to_string()),
        "{newest} is not in the target's pool"
    );
    ensure!(log(cluster.node(&before.node)?.pool()).is_err(), "the source still has a live volume");
    let gap = client.seen().gap;
    ensure!(gap < GAP_MAX, "the client waited {gap:?}: {operation:?}");
    Ok(operation)
}

fn volume_id(cluster: &Cluster) -> Result<String> {
    let volume = cluster.flocker().ask(&["volume", "inspect", "shop.data"])?;
    Ok(volume["id"].as_str().context("the volume has no id")?.to_owned())
}

/// The target hangs in the middle of the copy, and the operator changes their mind: everything is as before.
fn aborted(cluster: &mut Cluster, client: &Client, target: &str) -> Result<()> {
    let before = cluster.only_container(APP)?;
    let door = cluster.door("n1", PORT)?;
    cluster.fill(door, 64)?;
    let id = cluster.flocker().begin_move(APP, target)?;
    cluster.sight("n1", &id, Phase::Seed)?;
    cluster.node(target)?.hold()?;
    let asked = cluster.flocker().try_ask(&["operation", "abort", &id, "--detach"]);
    cluster.node(target)?.release()?;
    let asked = asked?;
    ensure!(asked.status == Some(0), "the move could not be given up: {}", asked.stderr);

    let operation = cluster.ended(&id)?;
    ensure!(operation.state == "aborted", "the move ended as {operation:?}");
    ensure!(cluster.only_container(APP)? == before, "the container was touched");
    client.check()?;
    let again = cluster.flocker().move_to(APP, target)?;
    ensure!(again.state == "done", "a move after one that was given up ended as {again:?}");
    client.check()
}
