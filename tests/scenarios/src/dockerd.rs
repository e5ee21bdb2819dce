//! The scenarios' Docker: one dockerd for all nodes, an image with the app, and a look at what really runs.

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use flocker_docker::testing::TestDocker;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::programs;

/// The image of the app.
pub const IMAGE: &str = "notebook:1";

/// A dockerd that every node of a cluster uses.
#[derive(Debug)]
pub struct Dockerd {
    docker: TestDocker,
    runtime: Runtime,
}

/// A container of ours, as Docker shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Docker's id of it.
    pub id: String,
    /// The node that made it.
    pub node: String,
    /// The app that it belongs to.
    pub app: String,
    /// Whether its first process runs; a gated one's does.
    pub running: bool,
    /// Its first process, where it runs.
    pub pid: i32,
    /// When it was started last.
    pub started: String,
    /// Its address on its node's bridge.
    pub address: String,
}

impl Container {
    /// Whether the app itself runs in it, and not the gate before it.
    #[must_use]
    pub fn open(&self) -> bool {
        let program = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let program = String::from_utf8_lossy(&program).into_owned();
        self.running && !program.is_empty() && !program.starts_with("/.flocker/gate")
    }
}

impl Dockerd {
    pub(crate) fn start() -> Result<Self> {
        let runtime = Runtime::new().context("could not start a runtime")?;
        let docker = runtime.block_on(TestDocker::start()).context("could not start a Docker")?;
        let this = Self { docker, runtime };
        this.import()?;
        Ok(this)
    }

    /// The app, a shell that ends it when asked to, and nothing else.
    fn import(&self) -> Result<()> {
        let root = self.docker.folder().join("notebook-image");
        for folder in ["bin", "data", "dev", "proc", "sys", "tmp"] {
            fs::create_dir_all(root.join(folder))?;
        }
        programs::notebook(&root.join("bin"))?;
        fs::copy("/bin/busybox", root.join("bin/busybox"))?;
        symlink("busybox", root.join("bin/sh"))?;
        let mut pack = Command::new("tar");
        pack.arg("-C").arg(&root).args(["-c", "."]).stdout(Stdio::piped());
        let mut tar = pack.spawn().context("could not run tar")?;
        let archive = tar.stdout.take().context("tar has no output")?;
        // The first process of a container ignores signals that it does not handle; a shell handles them for the app.
        let command = r#"CMD ["sh", "-c", "trap 'exit 0' TERM; notebook & wait"]"#;
        let mut import = self.command();
        import.args(["import", "--change", command, "-", IMAGE]).stdin(archive);
        let imported = output(&mut import);
        anyhow::ensure!(tar.wait()?.success(), "tar failed");
        imported.map(drop)
    }

    /// Its address, as daemons and commands want it.
    #[must_use]
    pub fn address(&self) -> String {
        format!("unix://{}", self.docker.socket().display())
    }

    /// The gateway of a node's bridge, which is the node's address, and the bridge's network.
    pub(crate) fn network(&self, node_idx: usize) -> Result<(Ipv4Addr, String)> {
        let subnet = self.docker.subnet(u8::try_from(node_idx)?);
        let std::net::IpAddr::V4(gateway) = subnet.gateway else { bail!("no IPv4 network") };
        Ok((gateway, subnet.cidr()))
    }

    /// The `docker` command, talking to it.
    fn command(&self) -> Command {
        let mut docker = Command::new("docker");
        docker.args(["--host", &self.address()]);
        docker
    }

    /// All containers of our nodes that belong to the app.
    ///
    /// # Errors
    /// When Docker does not answer.
    pub fn containers(&self, app: &str) -> Result<Vec<Container>> {
        Ok(self.all_containers()?.into_iter().filter(|container| container.app == app).collect())
    }

    /// All containers of our nodes.
    ///
    /// # Errors
    /// When Docker does not answer.
    pub fn all_containers(&self) -> Result<Vec<Container>> {
        let ids = self.ids()?;
        // One by one, for one of them may go away meanwhile.
        let inspect = |id: &str| output(self.command().args(["inspect", id]));
        let found = ids.lines().filter_map(|id| inspect(id).ok());
        found.map(|text| container(&serde_json::from_str::<Value>(&text)?[0])).collect()
    }

    fn ids(&self) -> Result<String> {
        let mut list = self.command();
        list.args(["ps", "--all", "--quiet", "--no-trunc", "--filter", "label=io.flocker.node"]);
        output(&mut list)
    }

    /// Takes all containers away that nodes left, when no node runs any more.
    ///
    /// # Errors
    /// When Docker does not answer.
    pub fn clear(&self) -> Result<()> {
        let ids = self.ids()?;
        if ids.trim().is_empty() {
            return Ok(());
        }
        output(self.command().args(["rm", "--force"]).args(ids.lines())).map(drop)
    }

    /// Kills it, and waits until it is gone; its containers do not end by that.
    ///
    /// # Errors
    /// When it does not end.
    pub fn kill(&mut self) -> Result<()> {
        Ok(self.runtime.block_on(self.docker.kill())?)
    }

    /// Starts it again; it ends the containers that it finds.
    ///
    /// # Errors
    /// When it does not start.
    pub fn launch(&mut self) -> Result<()> {
        Ok(self.runtime.block_on(self.docker.launch(false))?)
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.docker.folder().join("log")
    }
}

fn container(seen: &Value) -> Result<Container> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let labels = &seen["Config"]["Labels"];
    let networks = seen["NetworkSettings"]["Networks"].as_object();
    let address = networks.and_then(|all| all.values().next()).map(|one| text(&one["IPAddress"]));
    Ok(Container {
        id: text(&seen["Id"]),
        node: text(&labels["io.flocker.node"]),
        app: text(&labels["io.flocker.app"]),
        running: seen["State"]["Running"].as_bool().unwrap_or_default(),
        pid: i32::try_from(seen["State"]["Pid"].as_i64().unwrap_or_default())?,
        started: text(&seen["State"]["StartedAt"]),
        address: address.unwrap_or_default(),
    })
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("could not run {command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?} ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
