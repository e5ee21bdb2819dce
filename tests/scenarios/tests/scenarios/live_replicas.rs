//! Replicas between real nodes: daemons are killed and hung while snapshots travel, and nothing is ever sent from the
//! beginning again.

use std::{env, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use scenarios::{Client, Cluster, say, scenario, until};

const APP: &str = "shop";
const PORT: u16 = 7000;

/// What is in the volume from the beginning, and does not travel twice.
const BALLAST_MIB: u64 = 24;

/// What is written in each round besides the client's records.
const DELTA_MIB: u64 = 2;

/// Rounds in which something is done to a node; `FLOCKER_ROUNDS=200` takes a quarter of an hour.
const ROUNDS: u64 = 9;

/// A replica, as the operator is told.
#[derive(Debug, Clone)]
struct Replica {
    state: String,
    behind_ms: Option<u64>,
    sent: u64,
}

fn replica(cluster: &Cluster, on: &str) -> Result<Option<Replica>> {
    let listed = cluster.flocker().ask(&["replica", "ls", APP])?;
    let all = listed["replicas"].as_array().context("no list of replicas")?;
    let Some(found) = all.iter().find(|replica| replica["node"] == on) else { return Ok(None) };
    Ok(Some(Replica {
        state: found["state"].as_str().unwrap_or_default().to_owned(),
        behind_ms: found["behind_ms"].as_u64(),
        sent: found["sent"].as_u64().unwrap_or(0),
    }))
}

/// Waits until the replica holds what was written before.
fn current(cluster: &Cluster, on: &str) -> Result<Replica> {
    let asked = std::time::Instant::now();
    until("the replica is up to date", || {
        let Some(replica) = replica(cluster, on)? else { return Ok(None) };
        let waited = u64::try_from(asked.elapsed().as_millis())?;
        let holds_all = replica.behind_ms.is_some_and(|behind| behind < waited);
        Ok((replica.state == "current" && holds_all).then_some(replica))
    })
}

#[test]
fn a_replica_follows_through_kills_and_hangs_and_is_moved_to_in_no_time() -> Result<()> {
    scenario(3, |cluster| {
        let home = cluster.deploy(APP, PORT, &["n2", "n3"])?;
        let other = if home == "n2" { "n3" } else { "n2" };
        let door = cluster.door("n1", PORT)?;
        cluster.fill(door, BALLAST_MIB)?;
        let client = Client::start(door);
        cluster.flocker().ask(&["replica", "add", APP, "--to", other, "--every", "1s"])?;
        let mut before = current(cluster, other)?.sent;
        ensure!(before >= BALLAST_MIB << 20, "only {before} bytes travelled");

        let rounds = env::var("FLOCKER_ROUNDS").ok().map(|n| n.parse()).transpose()?;
        for round in 0..rounds.unwrap_or(ROUNDS) {
            cluster.fill(door, DELTA_MIB)?;
            // Somewhere in the second in which the snapshot is taken and travels.
            thread::sleep(Duration::from_millis(round * 137 % 1000));
            harm(cluster, round, &home, other).with_context(|| format!("round {round}"))?;
            cluster.fill(door, 1)?;
            let now = current(cluster, other).with_context(|| format!("round {round}"))?.sent;
            // A daemon that was started anew counts from nothing.
            let sent = if now < before { now } else { now - before };
            ensure!(
                sent < BALLAST_MIB << 19,
                "round {round}: {sent} bytes were sent for {DELTA_MIB} MiB"
            );
            say(&format!("round {round}: {sent} bytes"));
            before = now;
        }

        let there = cluster.flocker().move_to(APP, other)?;
        ensure!(there.state == "done", "the move ended as {there:?}");
        ensure!(there.bytes < BALLAST_MIB << 19, "what was there travelled again: {there:?}");
        client.check()?;
        // The replica is where the app was, and follows from there.
        let back = current(cluster, &home)?;
        ensure!(back.sent < BALLAST_MIB << 19, "{back:?} after the move");

        let volume = cluster.flocker().ask(&["volume", "inspect", "shop.data"])?;
        let id = volume["id"].as_str().context("the volume has no id")?.to_owned();
        let pool = cluster.node(&home)?.pool();
        ensure!(!walk(&pool, &id)?.is_empty(), "the copy is not where it is looked for");
        cluster.flocker().ask(&["replica", "rm", APP, "--yes"])?;
        until("the copy is gone", || {
            let left = walk(&pool, &id)?;
            Ok(left.is_empty().then_some(()))
        })?;
        client.check()
    })
}

/// What is left of a volume in a pool.
fn walk(pool: &std::path::Path, id: &str) -> Result<Vec<String>> {
    let mut left = vec![];
    for folder in std::fs::read_dir(pool)? {
        let folder = folder?.path();
        if folder.is_dir() {
            for entry in std::fs::read_dir(&folder)? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                left.extend(name.starts_with(id).then_some(name));
            }
        }
    }
    Ok(left)
}

/// One of the things that happen to nodes.
fn harm(cluster: &mut Cluster, round: u64, source: &str, target: &str) -> Result<()> {
    match round % 4 {
        0 => {
            cluster.node(target)?.kill()?;
            thread::sleep(Duration::from_millis(300));
            cluster.node(target)?.start()?;
        }
        1 => {
            cluster.node(source)?.kill()?;
            cluster.node(source)?.start()?;
        }
        2 => {
            cluster.node(target)?.hold()?;
            thread::sleep(Duration::from_secs(2));
            cluster.node(target)?.release()?;
        }
        _ => {
            cluster.node(target)?.kill()?;
            cluster.node(source)?.kill()?;
            cluster.node(target)?.start()?;
            cluster.node(source)?.start()?;
        }
    }
    until("all nodes answer", || Ok((cluster.flocker().n_alive()? == 3).then_some(())))
}

/// Given a node that takes streams in the clear, in a cluster that does not: nothing is sent to it, and operators read why,
/// until it has a key. Then one whose key is lost has another one and is known by it.
#[test]
fn a_node_without_a_key_gets_no_stream_until_it_has_one() -> Result<()> {
    scenario(2, |cluster| {
        let home = cluster.deploy(APP, PORT, &["n1"])?;
        ensure!(home == "n1", "the app is on {home}");
        let restart = |cluster: &mut Cluster, how: &str| {
            let node = cluster.node("n2")?;
            node.kill()?;
            node.set(&["--streams", how]);
            node.start()?;
            cluster.all_alive()
        };
        restart(cluster, "clear")?;
        cluster.flocker().ask(&["replica", "add", APP, "--to", "n2", "--every", "1s"])?;
        until("the operator reads why", || {
            let listed = cluster.flocker().ask(&["replica", "ls", APP])?;
            let trouble = listed["replicas"][0]["trouble"].as_str().unwrap_or_default();
            Ok(trouble.contains("it announced no key").then_some(()))
        })?;

        restart(cluster, "tls")?;
        current(cluster, "n2")?;

        std::fs::remove_file(cluster.node("n2")?.state().join("stream-key"))?;
        restart(cluster, "tls")?;
        let door = cluster.door("n1", PORT)?;
        cluster.fill(door, DELTA_MIB)?;
        current(cluster, "n2").map(drop)
    })
}
