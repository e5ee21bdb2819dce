//! An app's containers on this node: made, started up to their gates, let go, ended, in the order of their dependencies.

use std::{net::SocketAddr, time::Duration};

use flocker_model::{App, AppName, Condition, ContainerName, ContainerSpec, ServiceKey};
use flocker_ports::{Container, ContainerPlan, ContainerState, LogStream, Op, VerifiedMount};
use futures::StreamExt as _;

use super::{Agent, Assignment, StepError, health, steps};

/// A container that others wait for may take so long to become what they wait for. Compose itself waits for ever; a
/// leader that waits needs an end. A health check's own figures may allow more.
const DEPENDENCY_PATIENCE: Duration = Duration::from_secs(60);

/// How often a state that somebody waits for is looked at. Docker answers an inspect in about a millisecond.
pub(super) const GLANCE: Duration = Duration::from_millis(20);

impl Agent {
    pub(super) async fn fetch(&self, app: &App) -> Result<(), StepError> {
        for container in &app.containers {
            self.inner.parts.engine.ensure_image(&container.image).await?;
        }
        Ok(())
    }

    /// Every container exists as the manifest says, and stands at its gate or runs already; none other of the app does.
    pub(super) async fn make_ready(
        &self,
        app: &App,
        epoch: flocker_model::Epoch,
    ) -> Result<(), StepError> {
        let engine = &self.inner.parts.engine;
        for found in self.containers_of(&app.name).await? {
            match app.container(&found.name) {
                None => engine.remove(&found.id).await?,
                // Of an earlier life of the app: it was removed while this node was away, and was deployed anew.
                Some(spec)
                    if found.epoch < epoch
                        && matches!(found.state, ContainerState::Running { .. }) =>
                {
                    engine.stop(&found.id, spec.stop_grace_period).await?;
                }
                Some(_) => {}
            }
        }
        for spec in &app.containers {
            self.make_one_ready(app, spec, epoch).await?;
        }
        Ok(())
    }

    pub(super) async fn make_one_ready(
        &self,
        app: &App,
        spec: &ContainerSpec,
        epoch: flocker_model::Epoch,
    ) -> Result<(), StepError> {
        let engine = &self.inner.parts.engine;
        let plan = ContainerPlan {
            app: app.name.clone(),
            epoch,
            spec: spec.clone(),
            siblings: app.containers.iter().map(|c| c.name.clone()).collect(),
        };
        let container = engine.create(&plan).await?;
        match container.state {
            ContainerState::Created | ContainerState::Exited { .. } => {
                engine.start_gated(&container.id).await.map(drop)?;
            }
            ContainerState::Gated | ContainerState::Running { .. } => {}
        }
        Ok(())
    }

    /// Opens the gates, dependencies first, and waits until the app is ready.
    pub(super) async fn run(&self, app: &App, assignment: &Assignment) -> Result<(), StepError> {
        self.inner.healths.reset(&app.name);
        self.inner.pasts.reset(&app.name);
        for name in in_order(app) {
            let Some(spec) = app.container(&name) else { continue };
            for dependency in &spec.depends_on {
                self.wait_for(app, &dependency.on, dependency.condition).await?;
            }
            self.let_go(app, spec, assignment).await?;
        }
        self.serve_routes(app, assignment).await?;
        for spec in app.containers.iter().filter(|c| c.healthcheck.is_some()) {
            self.wait_for(app, &spec.name, Condition::Healthy).await?;
        }
        Ok(())
    }

    /// Mounts one container's volumes, proved, and opens its gate. No effect on one that runs.
    pub(super) async fn let_go(
        &self,
        app: &App,
        spec: &ContainerSpec,
        assignment: &Assignment,
    ) -> Result<(), StepError> {
        let container = self.container(&app.name, &spec.name).await?;
        if matches!(container.state, ContainerState::Running { .. }) {
            return Ok(());
        }
        if !matches!(container.state, ContainerState::Gated) {
            self.inner.parts.engine.start_gated(&container.id).await?;
        }
        let mut mounts = vec![];
        for mount in &spec.mounts {
            let Some(order) = assignment.volumes.iter().find(|v| v.key == mount.volume) else {
                let (key, name) = (&mount.volume, &app.name);
                return Err(StepError::Never(format!(
                    "the order to start app `{name}` does not name its volume `{key}`"
                )));
            };
            let op = Op { id: assignment.operation.clone(), epoch: order.volume.epoch };
            let at = self.inner.parts.backend.attach(&op, &order.volume.id).await?;
            mounts.push(VerifiedMount {
                source: at.path,
                device: at.device,
                inode: at.inode,
                path: mount.path.clone(),
                read_only: mount.read_only,
            });
        }
        Ok(self.inner.parts.engine.open_gate(&container.id, &mounts).await?)
    }

    /// Tells the proxy where the app's services are answered.
    pub(super) async fn serve_routes(
        &self,
        app: &App,
        assignment: &Assignment,
    ) -> Result<(), StepError> {
        for service in &app.services {
            let container = self.container(&app.name, &service.container).await?;
            let Some(address) = container.address else { continue };
            let key = ServiceKey { app: app.name.clone(), service: service.name.clone() };
            let address = SocketAddr::new(address, service.container_port);
            self.inner.parts.routes.serve(&key, assignment.epoch, address);
        }
        Ok(())
    }

    pub(super) fn withdraw_routes(&self, name: &AppName, app: Option<&App>) {
        for service in app.into_iter().flat_map(|a| &a.services) {
            let key = ServiceKey { app: name.clone(), service: service.name.clone() };
            self.inner.parts.routes.withdraw(&key);
        }
    }

    /// Ends the containers, those first that depend on others.
    pub(super) async fn stop_containers(
        &self,
        name: &AppName,
        app: Option<&App>,
    ) -> Result<(), StepError> {
        let mut containers = self.containers_of(name).await?;
        let order = app.map(in_order).unwrap_or_default();
        let rank = |c: &Container| order.iter().position(|n| *n == c.name).unwrap_or(usize::MAX);
        containers.sort_by_key(|c| std::cmp::Reverse(rank(c)));
        for container in containers {
            let spec = app.and_then(|a| a.container(&container.name));
            let grace = spec.map_or(Duration::from_secs(10), |s| s.stop_grace_period);
            self.inner.parts.engine.stop(&container.id, grace).await?;
        }
        Ok(())
    }

    pub(super) async fn remove_containers(&self, name: &AppName) -> Result<(), StepError> {
        for container in self.containers_of(name).await? {
            self.inner.parts.engine.remove(&container.id).await?;
        }
        self.inner.healths.reset(name);
        self.inner.pasts.reset(name);
        Ok(())
    }

    async fn wait_for(
        &self,
        app: &App,
        name: &ContainerName,
        condition: Condition,
    ) -> Result<(), StepError> {
        let spec = app.container(name);
        let check = spec.and_then(|s| s.healthcheck.as_ref());
        let patience =
            check.map_or(DEPENDENCY_PATIENCE, |c| DEPENDENCY_PATIENCE.max(health::patience(c)));
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let container = self.container(&app.name, name).await?;
            if self.has_reached(&container, check, condition).await? {
                return Ok(());
            }
            if tokio::time::Instant::now() >= deadline {
                let waited = patience.as_secs();
                return Err(StepError::Never(format!(
                    "container `{name}` of app `{}` is not {} after {waited}s\nhint: `flocker app logs {0} {name}` shows what it says",
                    app.name,
                    word(condition),
                )));
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    async fn has_reached(
        &self,
        container: &Container,
        check: Option<&flocker_model::Healthcheck>,
        condition: Condition,
    ) -> Result<bool, StepError> {
        let (app, name) = (&container.app, &container.name);
        match (&container.state, condition) {
            (ContainerState::Exited { status: 0, .. }, Condition::Completed) => Ok(true),
            (ContainerState::Exited { status, .. }, _) => Err(StepError::Never(format!(
                "container `{name}` of app `{app}` ended with status {status} instead of becoming {}\nhint: `flocker app logs {app} {name}` shows what it said",
                word(condition),
            ))),
            (ContainerState::Created | ContainerState::Gated, _) => Ok(false),
            (ContainerState::Running { .. }, Condition::Started) => Ok(true),
            (ContainerState::Running { .. }, Condition::Completed) => Ok(false),
            (ContainerState::Running { .. }, Condition::Healthy) => match check {
                None => Ok(true),
                Some(check) => Ok(self.probe(container, check).await),
            },
        }
    }

    pub(super) async fn containers_of(&self, app: &AppName) -> Result<Vec<Container>, StepError> {
        let all = self.inner.parts.engine.list().await?;
        Ok(all.into_iter().filter(|c| &c.app == app).collect())
    }

    async fn container(&self, app: &AppName, name: &ContainerName) -> Result<Container, StepError> {
        let found = self.containers_of(app).await?.into_iter().find(|c| &c.name == name);
        found.ok_or_else(|| {
            StepError::Later(format!("container `{name}` of app `{app}` disappeared"))
        })
    }

    pub(super) async fn read_logs(
        &self,
        app: &AppName,
        container: Option<&ContainerName>,
        follow: bool,
        tail: Option<u32>,
    ) -> Result<LogStream, StepError> {
        let wanted = |c: &Container| container.is_none_or(|name| *name == c.name);
        let containers: Vec<_> =
            self.containers_of(app).await?.into_iter().filter(wanted).collect();
        if containers.is_empty() {
            let what = container.map_or_else(String::new, |name| format!("container `{name}` of "));
            return Err(StepError::Never(format!(
                "{what}app `{app}` has nothing to show on this node"
            )));
        }
        let mut streams = vec![];
        for c in containers {
            streams.push(self.inner.parts.engine.logs(&c.id, &c.name, follow, tail).await?);
        }
        Ok(futures::stream::select_all(streams).boxed())
    }
}

fn word(condition: Condition) -> &'static str {
    match condition {
        Condition::Started => "started",
        Condition::Healthy => "healthy",
        Condition::Completed => "completed",
    }
}

/// The containers, each after those that it depends on. The file has no circles; that was checked when it was read.
fn in_order(app: &App) -> Vec<ContainerName> {
    let mut order: Vec<ContainerName> = vec![];
    while order.len() < app.containers.len() {
        let before = order.len();
        for spec in &app.containers {
            let free = spec
                .depends_on
                .iter()
                .all(|d| order.contains(&d.on) || app.container(&d.on).is_none());
            if free && !order.contains(&spec.name) {
                order.push(spec.name.clone());
            }
        }
        if order.len() == before {
            break;
        }
    }
    order
}

/// Reads the manifest that an assignment carries.
pub(super) fn app_of(name: &AppName, assignment: &Assignment) -> Result<App, StepError> {
    steps::read(&assignment.manifest, name)
}
