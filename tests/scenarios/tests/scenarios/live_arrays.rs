//! Storage arrays that a plugin drives over HTTP, in real daemons: their disks are mounted into containers, and what is
//! written to them outlives the daemon and goes with the app.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use scenarios::{Client, Cluster, Daemon, plugin, scenario_with};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};

const APP: &str = "shop";
const PORT: u16 = 7000;
const TOKEN: &str = "t0ken";

/// An array that runs until it is dropped, and leaves no devices then.
struct Array {
    folder: TempDir,
    url: String,
    _server: Runtime,
}

impl Array {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = server.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
        let url = format!("http://{}", listener.local_addr()?);
        let shelf = array::Shelf::open(folder.path())?;
        server.spawn(array::serve(listener, shelf, TOKEN.to_owned()));
        Ok(Self { folder, url, _server: server })
    }

    /// The daemon with its volumes on this array.
    fn drives(&self, daemon: Daemon) -> Result<Daemon> {
        let (token, config) = (self.file("token"), self.file("node.toml"));
        fs::write(&token, TOKEN)?;
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600))?;
        let (component, url) = (plugin("http_backend")?, &self.url);
        let told = format!(
            "[[plugin]]\npath = \"{}\"\nsettings = {{ url = \"{url}\" }}\n\
             grants = [\"http={url}\", \"device=/dev/loop*\", \"secret=token:{}\"]\n",
            component.display(),
            token.display()
        );
        fs::write(&config, told)?;
        let config = config.display().to_string();
        Ok(daemon.without("--pool-size").with(&["--config", &config]))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Array {
    fn drop(&mut self) {
        if let Err(error) = array::Shelf::detach_all(self.folder.path()) {
            scenarios::say(&format!("devices of an array stay: {error:#}"));
        }
    }
}

#[test]
fn disks_of_an_array_outlive_the_daemon_and_their_data_goes_with_its_app() -> Result<()> {
    // Dropped last: mounts go before devices.
    let arrays = [Array::start()?, Array::start()?, Array::start()?];
    let mut unused = arrays.iter();
    let prepare = |daemon: Daemon| unused.next().context("an array for each")?.drives(daemon);
    scenario_with(3, prepare, |cluster| {
        let home = cluster.deploy(APP, PORT, &["n2", "n3"])?;
        let away = if home == "n2" { "n3" } else { "n2" };
        let client = Client::start(cluster.door("n1", PORT)?);
        client.flows(50)?;
        on_a_disk(cluster, &client, &home)?;
        restarted(cluster, &client, &home, Daemon::kill).context("killed")?;
        on_a_disk(cluster, &client, &home)?;
        restarted(cluster, &client, &home, Daemon::stop).context("asked to end")?;
        let operation = cluster.flocker().move_to(APP, away)?;
        ensure!(operation.state == "done", "the move ended as {operation:?}");
        client.check()?;
        on_a_disk(cluster, &client, away)
    })
}

/// The daemon ends and comes back: the container went on running, and its data is there.
fn restarted(
    cluster: &mut Cluster,
    client: &Client,
    home: &str,
    end: impl Fn(&mut Daemon) -> Result<()>,
) -> Result<()> {
    let before = cluster.only_container(APP)?;
    let node = cluster.node(home)?;
    end(node)?;
    node.start()?;
    cluster.all_alive()?;
    let after = cluster.only_container(APP)?;
    ensure!(after.id == before.id, "it is another container");
    // Nobody was there to hold its connections.
    client.flows(20)?;
    client.forgive();
    client.check()
}

/// What was promised last is on a mounted device of the array.
fn on_a_disk(cluster: &mut Cluster, client: &Client, node: &str) -> Result<()> {
    let newest = client.seen().acked.last().copied().context("nothing was promised")?;
    let volume = cluster.flocker().ask(&["volume", "inspect", "shop.data"])?;
    let id = volume["id"].as_str().context("the volume has no id")?;
    let shown = cluster.node(node)?.state().join("backend/volumes").join(id);
    let mounts = fs::read_to_string("/proc/mounts")?;
    let is_disk = |line: &&str| {
        line.starts_with("/dev/loop") && line.contains(&format!(" {} ext4 ", shown.display()))
    };
    ensure!(mounts.lines().any(|line| is_disk(&line)), "no disk is mounted at {}", shown.display());
    let log = fs::read_to_string(shown.join("log"))?;
    ensure!(log.lines().any(|line| line == newest.to_string()), "{newest} is not on the disk");
    Ok(())
}
