//! The same with volumes on ZFS: in a guest, as machines rarely have it.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use scenarios::{Client, Cluster, scenario_with, until};

const APP: &str = "shop";
const PORT: u16 = 7000;

/// What is in the volume from the beginning, and does not travel twice.
const BALLAST_MIB: u64 = 12;

/// A pool for each node.
fn pool(name: &str, disk: &std::path::Path) -> Result<()> {
    let made = Command::new("zpool")
        .args(["create", "-f", "-O", "mountpoint=none", name])
        .arg(disk)
        .output()?;
    ensure!(made.status.success(), "no pool: {}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}

fn current(cluster: &Cluster) -> Result<()> {
    until("the replica is up to date", || {
        let listed = cluster.flocker().ask(&["replica", "ls", APP])?;
        Ok((listed["replicas"][0]["state"] == "current").then_some(()))
    })
}

#[test]
fn live_zfs_guest_an_app_is_replicated_and_moved() -> Result<()> {
    zfs_guest::make_room_for_docker()?;
    let helper =
        std::env::var("FLOCKER_ZFS_HELPER").context("FLOCKER_ZFS_HELPER names no program")?;
    for (name, disk) in ["tank1", "tank2"].iter().zip(&zfs_guest::disks()?) {
        pool(name, disk)?;
    }
    let on_zfs = |daemon: scenarios::Daemon| {
        // The node that leads has no volumes, and shares a pool: a parent of its own keeps them apart.
        let parent = match daemon.name.as_str() {
            "n2" => "zfs:tank2/flocker".to_owned(),
            name => format!("zfs:tank1/{name}"),
        };
        Ok(daemon.without("--pool-size").with(&["--pool", &parent, "--zfs-helper", &helper]))
    };
    scenario_with(3, on_zfs, |cluster| {
        let home = cluster.deploy(APP, PORT, &["n2", "n3"])?;
        let other = if home == "n2" { "n3" } else { "n2" };
        let door = cluster.door("n1", PORT)?;
        cluster.fill(door, BALLAST_MIB)?;
        let client = Client::start(door);

        cluster.flocker().ask(&["replica", "add", APP, "--to", other, "--every", "2s"])?;
        current(cluster)?;
        client.flows(50)?;
        cluster.node(&home)?.kill()?;
        cluster.node(&home)?.start()?;
        client.flows(50)?;
        current(cluster)?;

        let there = cluster.flocker().move_to(APP, other)?;
        ensure!(there.state == "done", "the move ended as {there:?}");
        ensure!(there.bytes < BALLAST_MIB << 19, "what was there travelled again: {there:?}");
        client.check()?;
        let back = cluster.flocker().move_to(APP, &home)?;
        ensure!(back.state == "done", "the move back ended as {back:?}");
        ensure!(back.bytes < BALLAST_MIB << 19, "what was there travelled again: {back:?}");
        client.check()?;
        let datasets = Command::new("zfs").args(["list", "-H", "-o", "name"]).output()?;
        let datasets = String::from_utf8(datasets.stdout).context("names of datasets")?;
        ensure!(datasets.contains("tank2/flocker/"), "nothing is on ZFS: {datasets}");
        Ok(())
    })
}
