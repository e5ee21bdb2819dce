//! Storage backends that are plugins, in real daemons: an app's data outlives the daemon and goes with the app, and a
//! backend that fails takes nothing down.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use scenarios::{
    Client, Cluster, Daemon, IMAGE, NAMES, Operation, manifest, plugin, say, scenario_with, until,
};

use crate::forge::{DONE, Forge};

const APP: &str = "shop";
const PORT: u16 = 7000;

/// So much is in the volume before it moves.
const BALLAST_MIB: u64 = 8;

fn in_folders(daemon: Daemon) -> Result<Daemon> {
    daemon.with_backend(&plugin("dir_backend")?)
}

#[test]
fn data_in_folders_outlives_the_daemon_and_goes_with_its_app() -> Result<()> {
    scenario_with(3, in_folders, |cluster| {
        let home = cluster.deploy(APP, PORT, &["n2", "n3"])?;
        let away = if home == "n2" { "n3" } else { "n2" };
        let door = cluster.door("n1", PORT)?;
        cluster.fill(door, BALLAST_MIB)?;
        let client = Client::start(door);
        client.flows(50)?;
        listed(cluster)?;
        restarted(cluster, &client, &home, Daemon::kill, 1).context("killed")?;
        restarted(cluster, &client, &home, Daemon::stop, 0).context("asked to end")?;
        snapshot(cluster)?;
        let there = moved(cluster, &client, away).context("on the way there")?;
        ensure!(there.bytes > BALLAST_MIB << 20, "the data did not travel: {there:?}");
        moved(cluster, &client, &home).context("on the way back")?;
        refused_on_other_storage(cluster, &home)
    })
}

/// Started without its backend, the node would come up with a new pool and without its volumes.
fn refused_on_other_storage(cluster: &mut Cluster, home: &str) -> Result<()> {
    let at = NAMES.iter().position(|name| *name == home).context("no such node")?;
    let mut other = cluster.new_daemon(home, at)?;
    cluster.node(home)?.stop()?;
    other.start()?;
    let status = other.ended()?;
    let said = other.said();
    ensure!(!status.success(), "it ended well: {said}");
    let pool = other.backend_pool();
    let words = [
        &format!("node `{home}` keeps `shop.data` on `dir` at `{}`", pool.display()),
        "started with `btrfs` at `file:pool.btrfs`",
        "hint: start it with the storage that it had",
    ];
    for word in words {
        ensure!(said.contains(word), "`{word}` is not in: {said}");
    }
    ensure!(!other.pool().exists() && !other.socket().exists(), "something was made");
    cluster.node(home)?.start()?;
    cluster.all_alive()?;
    cluster.only_container(APP).map(drop)
}

/// The operator sees what keeps the volumes of each node, and how it does.
fn listed(cluster: &Cluster) -> Result<()> {
    let listed = cluster.flocker().ask(&["plugin", "ls"])?;
    let plugins = listed["plugins"].as_array().context("no plugins are listed")?;
    let nodes: Vec<_> = plugins.iter().map(|plugin| plugin["node"].as_str()).collect();
    ensure!(nodes == NAMES.map(Some), "{listed:#}");
    for dir in plugins {
        ensure!(dir["name"] == "dir" && dir["hooks"][0] == "storage-backend", "{listed:#}");
        ensure!(dir["state"] == "active" && dir["failures"] == 0, "{listed:#}");
        ensure!(dir["calls"].as_u64().is_some_and(|calls| calls > 0), "{listed:#}");
    }
    Ok(())
}

/// The daemon ends, leaves so many mounts, and comes back: the container went on running, and its data is there.
fn restarted(
    cluster: &mut Cluster,
    client: &Client,
    home: &str,
    end: impl Fn(&mut Daemon) -> Result<()>,
    n_mounts: usize,
) -> Result<()> {
    let before = cluster.only_container(APP)?;
    let id = volume_id(cluster)?;
    let node = cluster.node(home)?;
    end(node)?;
    let log = live_log(node, &id)?;
    ensure!(!log.is_empty(), "the volume is empty while the daemon is away");
    let left = fs::read_dir(node.state().join("backend/volumes"))?.count();
    ensure!(left == n_mounts, "{left} mounts are left");
    node.start()?;
    cluster.all_alive()?;
    let after = cluster.only_container(APP)?;
    ensure!(after.id == before.id, "it is another container");
    // Nobody was there to hold its connections.
    client.flows(20)?;
    client.forgive();
    client.check()
}

fn snapshot(cluster: &Cluster) -> Result<()> {
    let flocker = cluster.flocker();
    let taken = flocker.ask(&["volume", "snapshot", "shop.data", "--tag", "by-hand"])?;
    let kept = flocker.ask(&["volume", "snapshots", "shop.data"])?;
    ensure!(kept.to_string().contains("by-hand"), "{taken:#} is not among {kept:#}");
    Ok(())
}

/// Moves it, and looks for the proof in both pools.
fn moved(cluster: &mut Cluster, client: &Client, target: &str) -> Result<Operation> {
    client.flows(50)?;
    let source = cluster.only_container(APP)?.node;
    let operation = cluster.flocker().move_to(APP, target)?;
    ensure!(operation.state == "done", "the move ended as {operation:?}");
    client.check()?;
    let after = cluster.only_container(APP)?;
    ensure!(after.node == target, "it runs on {}", after.node);
    let id = volume_id(cluster)?;
    let newest = client.seen().acked.last().copied().context("nothing was promised")?;
    let log = live_log(cluster.node(target)?, &id)?;
    ensure!(log.lines().any(|line| line == newest.to_string()), "{newest} is not in its pool");
    let source = cluster.node(&source)?;
    until("the source to give its live volume up", || {
        Ok(live_folder(source, &id)?.is_none().then_some(()))
    })?;
    Ok(operation)
}

fn volume_id(cluster: &Cluster) -> Result<String> {
    let volume = cluster.flocker().ask(&["volume", "inspect", "shop.data"])?;
    Ok(volume["id"].as_str().context("the volume has no id")?.to_owned())
}

/// The folder that the app writes to, in the pool itself.
fn live_folder(daemon: &Daemon, id: &str) -> Result<Option<PathBuf>> {
    let volume = daemon.backend_pool().join("volumes").join(id);
    for entry in fs::read_dir(&volume).with_context(|| format!("{}", volume.display()))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("live-") {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

fn live_log(daemon: &Daemon, id: &str) -> Result<String> {
    let folder = live_folder(daemon, id)?.context("there is no live folder")?;
    Ok(fs::read_to_string(folder.join("log"))?)
}

#[test]
fn a_backend_that_traps_takes_nothing_down_and_is_named() -> Result<()> {
    hostile("(unreachable)", "unreachable")
}

#[test]
fn a_backend_that_never_ends_takes_nothing_down_and_is_named() -> Result<()> {
    hostile("(loop $l (br $l)) (unreachable)", "computed for longer")
}

/// Given a node whose backend does this when it is to make a volume, what is deployed there fails by the plugin's name,
/// and the node goes on: clients reach an app on another node through it.
fn hostile(create: &str, how: &str) -> Result<()> {
    let room = "(i64.store (i32.const 808) (i64.const 0x100000000))
        (i64.store (i32.const 816) (i64.const 0x100000000)) (i32.const 800)";
    let forge = Forge::new()
        .with("pool", room)
        .with("volumes", DONE)
        .with("destroy", DONE)
        .with("create", create);
    let folder = tempfile::tempdir()?;
    let forged = forge.write(folder.path());
    let prepare = |daemon: Daemon| match daemon.name.as_str() {
        "n2" => daemon.with_backend(&forged),
        _ => Ok(daemon),
    };
    scenario_with(2, prepare, |cluster| {
        refused(cluster, how)?;
        forge.clone().with("resize", DONE).write(folder.path());
        let node = cluster.node("n2")?;
        node.hang_up()?;
        until("the operator to be told that the file changed", || {
            Ok(node.said().contains("storage backend's file changed").then_some(()))
        })?;
        cluster.all_alive()?;
        cluster.deploy(APP, PORT, &["n1"])?;
        Client::start(cluster.door("n2", PORT)?).check().context("through that node")
    })
}

fn refused(cluster: &Cluster, how: &str) -> Result<()> {
    let node = "n2";
    let flocker = cluster.flocker();
    let said = flocker.try_deploy(&manifest("ghost", 7100, &[node], IMAGE))?;
    say(&said.stderr);
    ensure!(said.status == Some(1), "it ended with {:?}: {}", said.status, said.stderr);
    for word in ["plugin `forged`", "`create`", how] {
        ensure!(said.stderr.contains(word), "`{word}` is not in: {}", said.stderr);
    }
    let nodes = flocker.ask(&["node", "ls"])?;
    let nodes = nodes["nodes"].as_array().context("no nodes")?;
    let found = nodes.iter().find(|found| found["name"] == node).context("no such node")?;
    let troubles = found["troubles"].to_string();
    ensure!(found["alive"] == true, "{found:#}");
    ensure!(troubles.contains("plugin `forged` broke when `create`"), "{troubles}");
    Ok(())
}

/// Storage of two kinds cannot send to each other: the move is refused before anything is stopped or copied.
#[test]
fn a_move_to_storage_of_another_kind_is_refused_before_it_begins() -> Result<()> {
    let prepare =
        |daemon: Daemon| if daemon.name == "n2" { in_folders(daemon) } else { Ok(daemon) };
    scenario_with(3, prepare, |cluster| {
        let home = cluster.deploy(APP, PORT, &["n1", "n3"])?;
        let client = Client::start(cluster.door("n1", PORT)?);
        client.flows(20)?;
        let before = cluster.only_container(APP)?;

        let flocker = cluster.flocker();
        let said = flocker.try_ask(&["move", APP, "--to", "n2"])?;
        ensure!(said.status == Some(1), "it ended with {:?}: {}", said.status, said.stderr);
        for word in ["`btrfs`", "`folders`", "`n2`", "hint: "] {
            ensure!(said.stderr.contains(word), "`{word}` is not in: {}", said.stderr);
        }
        ensure!(cluster.only_container(APP)?.id == before.id, "it is another container");
        let pool = cluster.node("n2")?.backend_pool().join("volumes");
        let there = fs::read_dir(pool).map(Iterator::count).unwrap_or_default();
        ensure!(there == 0, "something of it is on the other node");

        let like = if home == "n1" { "n3" } else { "n1" };
        let operation = cluster.flocker().move_to(APP, like)?;
        ensure!(operation.state == "done", "the move ended as {operation:?}");
        client.check()
    })
}
