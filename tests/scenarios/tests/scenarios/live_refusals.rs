//! What cannot work is refused, says why and what can be done, and leaves nothing behind.

use std::{fs, net::TcpListener};

use anyhow::{Context as _, Result, ensure};
use scenarios::{Client, Cluster, Daemon, IMAGE, manifest, say, scenario, until};

#[test]
fn what_cannot_work_is_refused_and_leaves_nothing() -> Result<()> {
    scenario(2, |cluster| {
        unknown_image(cluster).context("an image that nobody has")?;
        busy_port(cluster).context("a port that another program has")?;
        second_daemon(cluster).context("a second daemon in the same place")?;
        small_pool(cluster).context("a pool that can hold nothing")?;
        bad_plugin(cluster).context("a plugin that is none")?;
        damaged_store(cluster).context("a store that is damaged")?;
        no_docker(cluster).context("a Docker that does not run")?;
        nobody_to_join(cluster).context("joining nobody")
    })
}

/// The deployment is undone: no record, no volume, no container.
fn unknown_image(cluster: &mut Cluster) -> Result<()> {
    let flocker = cluster.flocker();
    let said = flocker.try_deploy(&manifest("ghost", 7100, &["n2"], "no-such-image:1"))?;
    ensure!(said.status == Some(1), "it ended with {:?}: {}", said.status, said.stderr);
    ensure!(said.stderr.contains("no-such-image:1"), "the image is not named: {}", said.stderr);
    ensure!(said.stderr.contains("hint: "), "nothing can be done: {}", said.stderr);
    ensure!(flocker.names("app")?.is_empty(), "apps are left: {:?}", flocker.names("app")?);
    ensure!(
        flocker.names("volume")?.is_empty(),
        "volumes are left: {:?}",
        flocker.names("volume")?
    );
    ensure!(cluster.docker.all_containers()?.is_empty(), "containers are left");
    for folder in ["live", "meta", "snapshots"] {
        for left in fs::read_dir(cluster.node("n2")?.pool().join(folder))? {
            let name = left?.file_name();
            // The pool's own, against the day when it is full.
            ensure!(name == "reserve", "{name:?} is left in {folder}");
        }
    }
    Ok(())
}

/// The other nodes lead to the app, the operator is told, and the port is taken as soon as it is free.
fn busy_port(cluster: &mut Cluster) -> Result<()> {
    let door = cluster.door("n2", 7200)?;
    let holder = TcpListener::bind(door)?;
    cluster.deploy("shop", 7200, &["n2"])?;
    let flocker = cluster.flocker();
    let troubles = || Ok::<_, anyhow::Error>(flocker.ask(&["status"])?["troubles"].to_string());
    until("the operator to be told", || {
        let told = troubles()?;
        ensure!(told.contains(&door.to_string()) && told.contains("shop"), "told is only {told}");
        Ok(Some(()))
    })?;
    let client = Client::start(cluster.door("n1", 7200)?);
    client.check().context("through the other node")?;

    drop(holder);
    until("the trouble to be over", || {
        Ok((!troubles()?.contains(&door.to_string())).then_some(()))
    })?;
    client.use_door(door)?;
    client.check().context("through the port that is free now")?;
    let used = flocker.try_deploy(&manifest("other", 7200, &["n1"], IMAGE))?;
    ensure!(used.status == Some(1) && used.stderr.contains("7200"), "{}", used.stderr);
    ensure!(flocker.names("app")? == ["shop"], "a record is left: {:?}", flocker.names("app")?);
    drop(client);
    flocker.ask(&["app", "rm", "shop", "--volumes", "--yes"]).map(drop)
}

/// Ends a daemon that is not to start, and returns what it said.
fn refused(cluster: &Cluster, name: &str, extra: &[&str]) -> Result<String> {
    let mut daemon = cluster.new_daemon(name, 2)?.with(extra);
    let before = daemon.said().len();
    daemon.start()?;
    let status = daemon.ended()?;
    let said = daemon.said()[before..].to_owned();
    ensure!(!status.success(), "it ended well: {said}");
    Ok(said)
}

fn second_daemon(cluster: &mut Cluster) -> Result<()> {
    let state = cluster.node("n2")?.state().display().to_string();
    let said = refused(cluster, "n2", &[])?;
    ensure!(said.contains(&state) && said.contains("in use by another"), "{said}");
    ensure!(said.contains("hint: "), "nothing can be done: {said}");
    cluster.all_alive()
}

fn small_pool(cluster: &mut Cluster) -> Result<()> {
    let said = refused(cluster, "n4", &["--pool-size", "1KiB"])?;
    ensure!(said.contains("too small") && said.contains("hint: "), "{said}");
    Ok(())
}

fn bad_plugin(cluster: &mut Cluster) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let plugin = folder.path().join("broken.wasm");
    fs::write(&plugin, b"\0asm this is no component")?;
    let plugin = plugin.display().to_string();
    let said = refused(cluster, "n5", &["--plugin", &plugin])?;
    ensure!(said.contains(&plugin), "the file is not named: {said}");
    let said = refused(cluster, "n5", &["--plugin", "/nowhere/at/all.wasm"])?;
    ensure!(said.contains("/nowhere/at/all.wasm"), "the file is not named: {said}");
    Ok(())
}

/// The file is named and left as it is: it is all that the cluster knows.
fn damaged_store(cluster: &mut Cluster) -> Result<()> {
    let mut daemon = cluster.new_daemon("n6", 3)?.without("--join");
    let store = daemon.state().join("store.redb");
    fs::create_dir_all(daemon.state())?;
    fs::write(&store, "this was a store once, and then something else wrote here")?;
    let before = fs::read(&store)?;
    daemon.start()?;
    let status = daemon.ended()?;
    let said = daemon.said();
    ensure!(!status.success(), "it ended well: {said}");
    ensure!(said.contains(&store.display().to_string()), "the file is not named: {said}");
    ensure!(said.contains("hint: "), "nothing can be done: {said}");
    ensure!(fs::read(&store)? == before, "the file was changed");
    Ok(())
}

fn no_docker(cluster: &mut Cluster) -> Result<()> {
    let mut daemon =
        cluster.new_daemon("n7", 4)?.with(&["--docker", "unix:///nowhere/docker.sock"]);
    waits(&mut daemon, "waiting for the container engine", "/nowhere/docker.sock")
}

fn nobody_to_join(cluster: &mut Cluster) -> Result<()> {
    let nobody = cluster.door("n1", 4999)?.to_string();
    let mut daemon = cluster.new_daemon("n8", 5)?.with(&["--join", &nobody]);
    waits(&mut daemon, "looking for the cluster's store", &nobody)
}

/// It says what it waits for, and ends when asked.
fn waits(daemon: &mut Daemon, what: &str, whom: &str) -> Result<()> {
    daemon.start()?;
    until("it to say that it waits", || Ok(daemon.said().contains(what).then_some(())))?;
    let said = daemon.said();
    ensure!(said.contains(whom), "whom it waits for is not named: {said}");
    daemon.stop()
}

/// A move to a node whose pool is too small is undone, and the app goes on where it was.
#[test]
fn a_pool_that_is_full_ends_a_move_and_not_the_app() -> Result<()> {
    scenario(2, |cluster| {
        let size = ["--pool-size", "256MiB"];
        let small = cluster.new_daemon("n3", 2)?.with(&size);
        cluster.add(small)?;
        cluster.deploy("shop", 7300, &["n2"])?;
        let door = cluster.door("n1", 7300)?;
        cluster.fill(door, 280)?;
        let client = Client::start(door);
        client.flows(20)?;
        let before = cluster.only_container("shop")?;

        let operation = cluster.flocker().move_to("shop", "n3")?;

        ensure!(operation.state == "aborted", "it ended as {operation:?}");
        ensure!(operation.reason.contains("n3"), "the node is not named: {operation:?}");
        ensure!(cluster.only_container("shop")? == before, "the container was touched");
        client.check()?;
        say(&operation.reason);
        let incoming = cluster.node("n3")?.pool().join("incoming");
        let left = fs::read_dir(incoming)?.count();
        ensure!(left == 0, "{left} unfinished copies are left");
        let elsewhere = cluster.flocker().move_to("shop", "n1")?;
        ensure!(elsewhere.state == "done", "a move to a larger node ended as {elsewhere:?}");
        client.check()
    })
}
