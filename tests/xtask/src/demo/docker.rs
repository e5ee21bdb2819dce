//! The Docker that the demo runs on: the system's where it runs, else one of our own that lives in the work folder and
//! touches neither the firewall nor the routes of the machine.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use super::firewall;
use crate::{interrupt, machine, say, shell};

/// The control group of all containers of a Docker of ours: what is in there is ours, whoever started it.
pub(super) fn control_group(work: &Path) -> String {
    format!("flocker-{}", work.file_name().unwrap_or_default().display())
}

/// A Docker that answers.
#[derive(Debug)]
pub(super) struct Docker {
    socket: PathBuf,
    /// Kept so that its end is seen; it is ended by the sweep, as one from a killed run would be.
    own: Option<Child>,
}

impl Docker {
    /// The system's Docker.
    pub(super) fn of_the_system() -> Option<Self> {
        machine::docker_answers()
            .then(|| Self { socket: PathBuf::from(machine::DOCKER_SOCKET), own: None })
    }

    /// A Docker that answers: the system's, or else our own.
    pub(super) fn find_or_start(work: &Path) -> Result<Self> {
        match Self::of_the_system() {
            Some(docker) => {
                say::line(&format!("using the Docker at {}", docker.address()));
                Ok(docker)
            }
            None => Self::start(work),
        }
    }

    /// Starts one of our own.
    pub(super) fn start(work: &Path) -> Result<Self> {
        let socket = work.join("docker.sock");
        let log = work.join("dockerd.log");
        // containerd's sockets lie in the folder; a socket's path has at most 107 bytes.
        let longest = work.join("docker-exec/containerd/containerd.sock.ttrpc");
        if longest.as_os_str().len() > 107 {
            bail!(
                "the path of `{}` is too long for sockets\nhint: `--work /tmp/flocker-demo`",
                work.display()
            );
        }
        fs::write(work.join("dockerd.json"), "{}")
            .context("could not write dockerd's configuration")?;
        let file =
            File::create(&log).with_context(|| format!("could not create `{}`", log.display()))?;
        let mut dockerd = shell::command("dockerd");
        dockerd
            .args(["--config-file".as_ref(), work.join("dockerd.json").as_os_str()])
            .args(["--data-root".as_ref(), work.join("docker").as_os_str()])
            .args(["--exec-root".as_ref(), work.join("docker-exec").as_os_str()])
            .args(["--pidfile".as_ref(), work.join("dockerd.pid").as_os_str()])
            .arg(format!("--host=unix://{}", socket.display()))
            .args([
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
                "--ip-forward=false",
                "--ip-masq=false",
            ])
            .args(["--userland-proxy=false", "--exec-opt=native.cgroupdriver=cgroupfs"])
            // Without the `/` it would be below the group of whoever started the demo, where nobody looks for it.
            .arg(format!("--cgroup-parent=/{}", control_group(work)))
            // containerd writes its stacks there when it is slow to end.
            .env("TMPDIR", work)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("could not share dockerd's log")?)
            .stderr(file);
        // A Docker of the system looks after its own bridges; ours is told to leave the machine's rules alone.
        firewall::open()?;
        say::line(&format!("starting a Docker of our own, its log is {}", log.display()));
        let child = dockerd.spawn().context("could not start dockerd")?;
        let mut docker = Self { socket, own: Some(child) };
        interrupt::wait_for("dockerd's first answer", Duration::from_secs(60), || {
            docker.check().with_context(|| format!("dockerd ended; see {}", log.display()))?;
            Ok(shell::output(docker.command().args(["version", "--format", "."])).ok())
        })?;
        Ok(docker)
    }

    /// Its address, as Docker's programs take it.
    pub(super) fn address(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// The `docker` command, talking to it.
    pub(super) fn command(&self) -> Command {
        let mut docker = shell::command("docker");
        docker.args(["--host", &self.address()]);
        docker
    }

    /// Whether it has an image of this name.
    pub(super) fn has_image(&self, name: &str) -> bool {
        shell::output(self.command().args(["image", "inspect", "--format", ".", name])).is_ok()
    }

    /// An error if it was ours and ended.
    fn check(&mut self) -> Result<()> {
        match self.own.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => bail!("dockerd ended with {status}"),
            Some(Err(error)) => Err(error).context("could not look after dockerd"),
            None | Some(Ok(None)) => Ok(()),
        }
    }
}
