//! A dockerd, an engine for node `n1` on it, and plans to try.

use std::{
    collections::BTreeMap,
    future::Future,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use flocker_docker::{
    DockerEngine,
    testing::{IMAGE, TestDocker},
};
use flocker_model::{ContainerSpec, Epoch, Mount, Restart};
use flocker_ports::{Container, ContainerId, ContainerPlan, ContainerState, Engine, VerifiedMount};
use tokio::time::{Instant, sleep};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Ends when asked to, as a well-behaved service does.
pub(crate) const POLITE: &str = "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done";

pub(crate) struct Bench {
    pub(crate) engine: DockerEngine,
    pub(crate) docker: TestDocker,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let docker = TestDocker::start().await.unwrap();
        let engine = docker.engine(&"n1".parse().unwrap()).unwrap();
        Self { engine, docker }
    }

    /// A folder that stands for a volume, at `path` in a container.
    pub(crate) fn volume(&self, name: &str, path: &str) -> VerifiedMount {
        let source = self.docker.folder().join("volumes").join(name);
        std::fs::create_dir_all(&source).unwrap();
        std::fs::set_permissions(&source, std::os::unix::fs::PermissionsExt::from_mode(0o777))
            .unwrap();
        verified(&source, path)
    }

    pub(crate) async fn gated(&self, plan: &ContainerPlan) -> Container {
        let made = self.engine.create(plan).await.unwrap();
        self.engine.start_gated(&made.id).await.unwrap()
    }

    pub(crate) async fn running(
        &self,
        plan: &ContainerPlan,
        volumes: &[VerifiedMount],
    ) -> Container {
        let gated = self.gated(plan).await;
        self.engine.open_gate(&gated.id, volumes).await.unwrap();
        if plan.spec.command.iter().flatten().any(|word| word.contains("trap ")) {
            self.handles_term(&gated.id).await;
        }
        gated
    }

    /// The kernel ignores a SIGTERM that comes before the app's handler does.
    async fn handles_term(&self, id: &ContainerId) {
        until(async || {
            let status = self.ask(id, "cat /proc/1/status").await;
            let masks = ["SigCgt:", "SigIgn:"].map(|name| {
                let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                u64::from_str_radix(line.trim(), 16).unwrap()
            });
            masks.iter().any(|mask| mask & (1 << (15 - 1)) != 0)
        })
        .await;
    }

    pub(crate) async fn state(&self, id: &ContainerId) -> ContainerState {
        let all = self.engine.list().await.unwrap();
        all.into_iter()
            .find(|container| &container.id == id)
            .expect("the container is listed")
            .state
    }

    pub(crate) async fn exited(&self, id: &ContainerId) -> i64 {
        let mut status = None;
        until(async || match self.state(id).await {
            ContainerState::Exited { status: with, .. } => {
                status = Some(with);
                true
            }
            ContainerState::Created | ContainerState::Gated | ContainerState::Running { .. } => {
                false
            }
        })
        .await;
        status.unwrap()
    }

    /// The mounts of this machine that have to do with this test.
    pub(crate) fn host_mounts(&self) -> Vec<String> {
        let folder = self.docker.folder().display().to_string();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        mounts.lines().filter(|line| line.contains(&folder)).map(str::to_owned).collect()
    }

    /// What a command inside prints; it must end with status 0.
    pub(crate) async fn ask(&self, id: &ContainerId, command: &str) -> String {
        let (status, output) = self.try_ask(id, command).await;
        assert_eq!(status, 0, "`{command}`: {output}");
        output
    }

    pub(crate) async fn try_ask(&self, id: &ContainerId, command: &str) -> (i64, String) {
        let line = ["sh", "-c", command].map(str::to_owned);
        let result = self.engine.exec(id, &line, PATIENCE).await.unwrap();
        (result.status, result.output.trim().to_owned())
    }
}

pub(crate) fn verified(source: &Path, path: &str) -> VerifiedMount {
    let seen = source.metadata().unwrap();
    VerifiedMount {
        source: source.into(),
        device: seen.dev(),
        inode: seen.ino(),
        path: path.into(),
        read_only: false,
    }
}

/// A container of app `shop` that runs `script`, with volumes at `paths`.
pub(crate) fn plan(name: &str, script: &str, paths: &[&str]) -> ContainerPlan {
    let mount = |path: &&str| Mount {
        volume: "data".to_owned(),
        path: PathBuf::from(path),
        read_only: false,
    };
    ContainerPlan {
        app: "shop".parse().unwrap(),
        epoch: Epoch(1),
        siblings: vec![name.parse().unwrap()],
        spec: ContainerSpec {
            name: name.parse().unwrap(),
            image: IMAGE.to_owned(),
            entrypoint: None,
            command: Some(["sh", "-c", script].map(str::to_owned).to_vec()),
            environment: BTreeMap::new(),
            user: None,
            working_dir: None,
            mounts: paths.iter().map(mount).collect(),
            depends_on: Vec::new(),
            healthcheck: None,
            restart: Restart::No,
            stop_grace_period: PATIENCE,
            memory: None,
            cpu: None,
            labels: BTreeMap::new(),
            links: Vec::new(),
        },
    }
}

/// Waits for a state.
#[track_caller]
pub(crate) fn until(mut done: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + PATIENCE;
        while !done().await {
            assert!(Instant::now() < deadline, "did not come about in {PATIENCE:?}: {caller}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}
