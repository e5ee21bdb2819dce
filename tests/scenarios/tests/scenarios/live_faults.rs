//! What happens around apps that nobody moves: the daemon, Docker or the container itself ends.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use scenarios::{Client, Cluster, say, scenario};

const APP: &str = "shop";
const PORT: u16 = 7000;

#[test]
fn an_app_outlives_its_daemon_its_docker_and_its_own_process() -> Result<()> {
    scenario(2, |cluster| {
        cluster.deploy(APP, PORT, &["n2"])?;
        let client = Client::start(cluster.door("n1", PORT)?);
        client.flows(50)?;
        daemon_restarts(cluster, &client).context("the daemon was restarted")?;
        container_dies(cluster, &client).context("the container was killed")?;
        docker_dies(cluster, &client).context("dockerd was killed")
    })
}

/// The container is not touched, and clients get through again.
fn daemon_restarts(cluster: &mut Cluster, client: &Client) -> Result<()> {
    let before = cluster.only_container(APP)?;
    cluster.node("n2")?.stop()?;
    ensure!(
        cluster.docker.containers(APP)? == [before.clone()],
        "the container ended with its daemon"
    );
    cluster.node("n2")?.start()?;
    cluster.all_alive()?;
    client.check()?;
    ensure!(cluster.docker.containers(APP)? == [before], "the new daemon touched the container");
    Ok(())
}

/// It runs again within moments, and the clients only wait.
fn container_dies(cluster: &mut Cluster, client: &Client) -> Result<()> {
    let before = cluster.only_container(APP)?;
    client.mark();
    let killed = Instant::now();
    let pid = Pid::from_raw(before.pid).context("the container has no process")?;
    kill_process(pid, Signal::KILL)?;
    client.flows(50)?;
    let took = killed.elapsed();
    client.check()?;
    let after = cluster.only_container(APP)?;
    ensure!(after.started != before.started, "the container was not started again");
    ensure!(took < Duration::from_secs(5), "clients waited {took:?}");
    say(&format!("a killed container ran again after {} ms", client.seen().gap.as_millis()));
    Ok(())
}

/// Containers of a killed dockerd end when it starts again; apps come back by themselves.
fn docker_dies(cluster: &mut Cluster, client: &Client) -> Result<()> {
    let before = cluster.only_container(APP)?;
    client.mark();
    cluster.docker.kill()?;
    cluster.docker.launch()?;
    client.check()?;
    let after = cluster.only_container(APP)?;
    ensure!(after.started != before.started, "dockerd left the container running");
    say(&format!("clients waited {} ms for dockerd", client.seen().gap.as_millis()));

    client.use_door(cluster.door("n2", PORT)?)?;
    let operation = cluster.flocker().move_to(APP, "n1")?;
    ensure!(operation.state == "done", "the move afterwards ended as {operation:?}");
    ensure!(cluster.only_container(APP)?.node == "n1", "it does not run on n1");
    client.check()
}
