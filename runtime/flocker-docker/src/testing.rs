//! A dockerd of one's own, with an image and a gate, for tests: everything under one temporary folder, and gone with it.
//! Needs root, `dockerd`, `ip`, `tar` and a static `/bin/busybox` (Debian: docker.io, iproute2, tar, busybox-static).

mod leftovers;

use std::{
    fs::{self, File},
    io,
    net::{IpAddr, Ipv4Addr},
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::symlink,
            net::{SocketAddr, UnixListener},
            process::CommandExt,
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use bollard::{API_DEFAULT_VERSION, Docker, query_parameters::CreateImageOptions};
use bytes::Bytes;
use flocker_model::NodeName;
use futures::TryStreamExt;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::{DockerConfig, DockerEngine, Subnet};

/// The image that every test daemon can be given: busybox, with its usual names, and `/etc/passwd` with `app` (1000).
pub const IMAGE: &str = "flocker-test:1";

/// How long a daemon may take to come or go on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// So many test daemons have networks of their own.
const NUMBERS: u32 = 512;

/// A dockerd, its containers and networks, until it is dropped.
#[derive(Debug)]
pub struct TestDocker {
    folder: TempDir,
    /// Names the cgroup and chooses the addresses, so that several may run side by side.
    number: u32,
    /// A name that only one process has at a time, and that goes with it.
    _claim: UnixListener,
    daemon: Option<Child>,
}

/// A number that no other test daemon of this machine has.
fn claim() -> io::Result<(u32, UnixListener)> {
    for offset in 0..NUMBERS {
        let number = (std::process::id() + offset) % NUMBERS;
        let name = SocketAddr::from_abstract_name(format!("flocker-test-docker-{number}"))?;
        match UnixListener::bind_addr(&name) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            claimed => return Ok((number, claimed?)),
        }
    }
    Err(io::Error::other("too many test daemons run"))
}

impl TestDocker {
    /// Starts one that ends its containers when it ends, and imports [`IMAGE`].
    ///
    /// # Errors
    /// When something that it needs is missing, or it does not start in time; the daemon's last words are in it.
    pub async fn start() -> io::Result<Self> {
        for program in ["/bin/busybox", "/usr/sbin/dockerd"] {
            if !Path::new(program).exists() {
                let missing = format!(
                    "`{program}` is missing\nhint: `apt-get install docker.io busybox-static`"
                );
                return Err(io::Error::new(io::ErrorKind::NotFound, missing));
            }
        }
        let folder = tempfile::Builder::new().prefix("flocker-docker-").tempdir()?;
        let (number, claim) = claim()?;
        let mut docker = Self { folder, number, _claim: claim, daemon: None };
        docker.launch(false).await?;
        docker.import().await?;
        Ok(docker)
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// A folder for the test's own files, which goes away with the daemon.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// One of sixteen networks that no other test daemon uses.
    #[must_use]
    pub fn subnet(&self, index: u8) -> Subnet {
        let [a, b, c, _] = self.pool();
        Subnet { gateway: IpAddr::V4(Ipv4Addr::new(a, b, c, (index % 16) * 16 + 1)), prefix: 28 }
    }

    /// An engine for one node on it, whose state is kept in [`Self::folder`].
    ///
    /// # Errors
    /// When the gate cannot be built.
    pub fn engine(&self, node: &NodeName) -> io::Result<DockerEngine> {
        Ok(DockerEngine::connect(DockerConfig {
            socket: self.socket(),
            node: node.clone(),
            state_dir: self.folder.path().join("state").join(node.as_str()),
            gate: gate()?,
            subnet: None,
        }))
    }

    /// A plain client, for looking behind the engine's back.
    ///
    /// # Errors
    /// Where the daemon does not run.
    pub async fn client(&self) -> Result<Docker, bollard::errors::Error> {
        let socket = self.socket();
        Docker::connect_with_unix(&socket.to_string_lossy(), 60, API_DEFAULT_VERSION)?
            .negotiate_version()
            .await
    }

    /// Starts the daemon again after [`Self::stop`] or [`Self::kill`]; with `live_restore` it leaves its containers alone
    /// when it ends.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub async fn launch(&mut self, live_restore: bool) -> io::Result<()> {
        let folder = self.folder.path();
        let log = File::options().create(true).append(true).open(folder.join("log"))?;
        // The machine's own settings must not leak in.
        fs::write(folder.join("daemon.json"), "{}")?;
        let path = |name: &str| folder.join(name).display().to_string();
        let [a, b, c, _] = self.pool();
        let name = self.name();
        let mut command = Command::new("/usr/sbin/dockerd");
        command.args(["--config-file", &path("daemon.json"), "--data-root", &path("data")]);
        command.args(["--exec-root", &path("exec"), "--pidfile", &path("pid")]);
        command.args([
            "--host",
            &format!("unix://{}", path("docker.sock")),
            "--cgroup-parent",
            &format!("/{name}"),
        ]);
        command.args([
            "--containerd-namespace",
            &name,
            "--containerd-plugins-namespace",
            &format!("{name}-plugins"),
        ]);
        // Nothing of the machine's network changes but the bridges that tests ask for.
        command.args([
            "--bridge=none",
            "--iptables=false",
            "--ip-forward=false",
            "--ip-masq=false",
        ]);
        command.args(["--default-address-pool", &format!("base={a}.{b}.{c}.0/24,size=28")]);
        command.arg(format!("--live-restore={live_restore}"));
        let daemon = command
            // containerd writes its stacks there when it is slow to end.
            .env("TMPDIR", folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()?;
        self.daemon = Some(daemon);
        self.ready().await
    }

    async fn ready(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.client().await.is_ok() {
                return Ok(());
            }
            let ended = match &mut self.daemon {
                Some(daemon) => daemon.try_wait()?,
                None => None,
            };
            if ended.is_some() || Instant::now() >= deadline {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(5).collect();
                return Err(io::Error::other(format!("dockerd did not start: {tail:#?}")));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends the daemon as `systemctl stop` would.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn stop(&mut self) -> io::Result<()> {
        self.end(rustix::process::Signal::TERM).await
    }

    /// Kills the daemon; what it started goes on.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn kill(&mut self) -> io::Result<()> {
        self.end(rustix::process::Signal::KILL).await?;
        // Its containerd dies with it. A new dockerd would wait for it in vain as long as its number is in the file, for
        // it may stay a zombie where the first process of the machine is slow to reap.
        let file = self.folder.path().join("exec/containerd/containerd.pid");
        let Ok(number) = fs::read_to_string(&file) else { return Ok(()) };
        let deadline = Instant::now() + PATIENCE;
        while fs::read(format!("/proc/{number}/cmdline")).is_ok_and(|line| !line.is_empty()) {
            if Instant::now() >= deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "containerd did not end"));
            }
            sleep(Duration::from_millis(20)).await;
        }
        fs::remove_file(file)
    }

    async fn end(&mut self, signal: rustix::process::Signal) -> io::Result<()> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        rustix::process::kill_process(rustix::process::Pid::from_child(&daemon), signal)?;
        let deadline = Instant::now() + PATIENCE;
        while daemon.try_wait()?.is_none() {
            if Instant::now() >= deadline {
                self.daemon = Some(daemon);
                return Err(io::Error::new(io::ErrorKind::TimedOut, "dockerd did not end"));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn name(&self) -> String {
        format!("flocker-test-{}", self.number)
    }

    /// The first of its addresses, a `/24` out of those that are set aside for tests of networks: nobody else has them.
    fn pool(&self) -> [u8; 4] {
        let [_, _, high, low] = self.number.to_be_bytes();
        [198, 18 + high, low, 0]
    }

    async fn import(&self) -> io::Result<()> {
        let root = self.folder.path().join("image");
        for folder in ["bin", "etc", "tmp", "proc", "sys", "dev"] {
            fs::create_dir_all(root.join(folder))?;
        }
        fs::copy("/bin/busybox", root.join("bin/busybox"))?;
        for applet in "sh sleep cat ls echo kill mkdir touch nc httpd id env true false nslookup pwd stat wget".split(' ') {
            symlink("busybox", root.join("bin").join(applet))?;
        }
        fs::write(
            root.join("etc/passwd"),
            "root:x:0:0:root:/:/bin/sh\napp:x:1000:1000:app:/tmp:/bin/sh\n",
        )?;
        let archive = Command::new("tar").arg("-C").arg(&root).args(["-c", "."]).output()?;
        let options = CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: IMAGE.split(':').next().map(str::to_owned),
            tag: IMAGE.split(':').nth(1).map(str::to_owned),
            changes: vec!["CMD [\"sleep\", \"1000\"]".to_owned()],
            ..CreateImageOptions::default()
        };
        let client = self.client().await.map_err(io::Error::other)?;
        let body = bollard::body_full(Bytes::from(archive.stdout));
        let steps =
            client.create_image(Some(options), Some(body), None).try_collect::<Vec<_>>().await;
        steps.map(|_| ()).map_err(io::Error::other)
    }
}

impl Drop for TestDocker {
    fn drop(&mut self) {
        leftovers::remove(
            self.daemon.take(),
            &self.socket(),
            self.folder.path(),
            &self.name(),
            self.pool(),
        );
    }
}

/// The gate as it is shipped: static. Taken from `FLOCKER_GATE` where that is set, and built otherwise.
///
/// # Errors
/// When it cannot be built; cargo's words are on stderr.
pub fn gate() -> io::Result<PathBuf> {
    if let Some(path) = std::env::var_os("FLOCKER_GATE") {
        return Ok(path.into());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([
            "rustc",
            "--quiet",
            "--package",
            "flocker-gate",
            "--bin",
            "flocker-gate",
            "--release",
        ])
        .args(["--target", "host-tuple", "--message-format", "json"])
        .args(["--", "-C", "target-feature=+crt-static"])
        .stderr(Stdio::inherit())
        .output()?;
    let messages = String::from_utf8_lossy(&built.stdout).into_owned();
    let mut programs = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message.get("executable")?.as_str()?))
    });
    programs.next_back().ok_or_else(|| io::Error::other("cargo did not build the gate"))
}
