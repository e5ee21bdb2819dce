//! What operators can ask for. Each request is checked against the records as they are, and is one change of them;
//! what takes time becomes an operation.

mod clones;
mod explain;
mod nodes;
mod replicas;
mod volumes;

pub use replicas::{Reason, ReplicaView, Wish};
pub use volumes::Copy;

use std::{sync::Arc, time::Duration};

use flocker_model::{
    App, AppName, AppRecord, AppState, ContainerName, Epoch, NodeName, Operation, OperationId,
    OperationKind, OperationState, Purpose, Timestamp, Volume, VolumeId, VolumeSource,
};
use flocker_planner::{Decision, phases, plan::Note, plan::elsewhere, routes::port_conflicts};
use flocker_ports::{LogStream, PeerError, StoreError};

use crate::{
    cluster::{Changes, ClusterError, State, Versioned},
    follower::Followed,
    leader::{Leader, Seen, draw},
};

/// How long a request waits for what it asked for to begin, before it answers that it has not.
const BEGIN_WITHIN: Duration = Duration::from_secs(3);

/// A change that lost against another one is thought over again so often.
const ATTEMPTS: usize = 8;

/// A request that was not carried out.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind it is: a word that programs can rely on.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What can be done.
    pub hint: Option<String>,
}

impl Refusal {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// An error in its own words; the hint among them is set apart.
    fn worded(code: &'static str, error: &dyn std::error::Error) -> Self {
        let text = error.to_string();
        match text.split_once("\nhint: ") {
            Some((message, hint)) => Self::new(code, message).hint(hint),
            None => Self::new(code, text),
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<ClusterError> for Refusal {
    fn from(error: ClusterError) -> Self {
        let code = match &error {
            ClusterError::Store(StoreError::Conflict { .. }) => "conflict",
            ClusterError::Store(StoreError::Unreachable { .. }) => "store-unreachable",
            ClusterError::Store(
                StoreError::Compacted { .. }
                | StoreError::Corrupt { .. }
                | StoreError::Failed { .. },
            )
            | ClusterError::Record(_) => "internal",
        };
        Self::worded(code, &error)
    }
}

impl From<PeerError> for Refusal {
    fn from(error: PeerError) -> Self {
        let code = match error.kind {
            flocker_ports::PeerErrorKind::Unreachable => "node-unreachable",
            flocker_ports::PeerErrorKind::Retry => "agent-retry",
            flocker_ports::PeerErrorKind::Refused => "agent-refused",
        };
        Self::worded(code, &error)
    }
}

/// What became of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deployed {
    /// This operation makes it so.
    Begun(OperationId),
    /// It is so already.
    Unchanged,
    /// It is written down, and waits for a place for this reason.
    Waiting(String),
}

/// What operators can ask for. Lives beside the leader.
#[derive(Debug, Clone)]
pub struct Control {
    leader: Leader,
}

impl Control {
    /// Requests to this leader.
    #[must_use]
    pub fn new(leader: Leader) -> Self {
        Self { leader }
    }

    /// The records as they are now.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn state(&self) -> Result<State, Refusal> {
        Ok(self.leader.inner.parts.cluster.read().await?)
    }

    /// The records as they change. They may be older than what [`Control::state`] answered before.
    #[must_use]
    pub fn followed(&self) -> Followed {
        self.leader.inner.parts.followed.clone()
    }

    /// What a node said last.
    #[must_use]
    pub fn seen(&self, node: &NodeName) -> Option<Seen> {
        self.leader.inner.nodes.of(node)
    }

    /// What the planner could not do, and why.
    #[must_use]
    pub fn notes(&self) -> Vec<Note> {
        self.leader.notes()
    }

    /// Deploys an app, or changes it to this manifest.
    ///
    /// # Errors
    /// A manifest that cannot be used, a port or volume that another app has, an app that is being worked on.
    pub async fn deploy(
        &self,
        manifest: &str,
        name: Option<&AppName>,
    ) -> Result<(AppName, Deployed), Refusal> {
        let app = flocker_compose::parse(manifest, name).map_err(|problems| {
            let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            Refusal::new("invalid-manifest", lines.join("\n"))
        })?;
        let asked = self.leader.inner.parts.clock.now();
        let mut begun = None;
        let unchanged = self
            .attempt(|state: &State| {
                check_ports(state, &app)?;
                match state.apps.get(&app.name) {
                    None => Ok(Some(self.new_app(state, &app, manifest)?)),
                    Some(known) if known.value.manifest == manifest && !changing(state, known) => {
                        Ok(None)
                    }
                    Some(known) => {
                        let (id, changes) = self.update(state, &app, known, manifest)?;
                        begun = id;
                        Ok(Some(changes))
                    }
                }
            })
            .await?
            .is_none();
        self.leader.wake();
        let deployed = match (unchanged, begun) {
            (true, _) => Deployed::Unchanged,
            (false, Some(id)) => Deployed::Begun(id),
            (false, None) => self.wait_for_place(&app.name, asked).await?,
        };
        Ok((app.name, deployed))
    }

    /// The planner finds a place; it answers within a round, if it knows all nodes.
    async fn wait_for_place(&self, app: &AppName, asked: Timestamp) -> Result<Deployed, Refusal> {
        let deadline = tokio::time::Instant::now() + BEGIN_WITHIN;
        loop {
            // It may have ended by now: the newest operation is the one.
            let state = self.state().await?;
            let mut of_app =
                state.operations.values().rev().filter(|o| o.app == *app && o.started >= asked);
            if let Some(operation) = of_app.next() {
                return Ok(Deployed::Begun(operation.id.clone()));
            }
            let note = self.leader.notes().into_iter().find(|n| n.app == *app);
            match note {
                Some(note) => return Ok(Deployed::Waiting(note.text)),
                None if tokio::time::Instant::now() > deadline => {
                    return Ok(Deployed::Waiting("the leader has not looked at it yet".to_owned()));
                }
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    fn new_app(&self, state: &State, app: &App, manifest: &str) -> Result<Changes, Refusal> {
        let record = AppRecord {
            name: app.name.clone(),
            manifest: manifest.to_owned(),
            owner: None,
            // Each change of owner takes a revision, so no earlier app of this name ever had an epoch this new.
            epoch: Epoch(state.revision.0 + 1),
            state: AppState::Deployed,
            operation: None,
            placed: self.leader.inner.parts.clock.now(),
        };
        let changes = self.leader.inner.parts.cluster.change().create(&record);
        new_volumes(state, app, changes)
    }

    fn update(
        &self,
        state: &State,
        app: &App,
        known: &Versioned<AppRecord>,
        manifest: &str,
    ) -> Result<(Option<OperationId>, Changes), Refusal> {
        free(known)?;
        let mut record = known.value.clone();
        let changes = new_volumes(state, app, self.leader.inner.parts.cluster.change())?;
        let Some(node) = record.owner.clone() else {
            manifest.clone_into(&mut record.manifest);
            return Ok((None, changes.replace(known.revision, &record)));
        };
        let (id, _) = draw();
        record.operation = Some(id.clone());
        let kind = OperationKind::Update { node, manifest: manifest.to_owned() };
        let operation = self.leader.new_operation(&id, &app.name, kind, Purpose::Operator);
        Ok((Some(id), changes.replace(known.revision, &record).create(&operation)))
    }

    /// Moves an app to a node, or to the best other one. Beside the operation, what the operator should know of it.
    ///
    /// # Errors
    /// No such app or node, an app that is being worked on or is there already, no node that may hold it.
    pub async fn move_app(
        &self,
        app: &AppName,
        target: Option<&NodeName>,
    ) -> Result<(OperationId, Option<String>), Refusal> {
        let state = self.state().await?;
        let known = state.apps.get(app).ok_or_else(|| no_app(app))?;
        free(known)?;
        let manifest = state.manifests.get(app).ok_or_else(|| unreadable(&state, app))?;
        let Some(source) = known.value.owner.clone() else {
            return Err(Refusal::new("no-candidate", format!("app `{app}` has no node yet")));
        };
        if let Some(target) = target {
            self.check_target(&state, target, &source, manifest)?;
        }
        let (id, seed) = draw();
        let (world, policies) =
            (self.leader.world(&state), self.leader.inner.parts.policies.clone());
        let (record, manifest) = (known.value.clone(), Arc::clone(manifest));
        let pinned = manifest.placement.pinned;
        let (asked, named) = (id.clone(), target.cloned());
        let decided = tokio::task::spawn_blocking(move || {
            elsewhere(&world, &record, &manifest, named, &*policies, asked, seed)
        })
        .await;
        let decision = decided.map_err(|e| Refusal::new("internal", e.to_string()))?;
        let Some(target) = decision.chosen.clone() else {
            let why = decision.to_string();
            return Err(Refusal::new("no-candidate", format!("no other node may hold app `{app}`:\n{why}"))
                .hint("`flocker node ls` shows the nodes; `--to NODE` overrules policies, not their health"));
        };
        let warning = (!pinned).then(|| objection(&decision, &target)).flatten();
        let kind = OperationKind::Move { source, target, epoch: known.value.epoch };
        self.leader
            .begin(&state, id.clone(), app, kind, Purpose::Operator, Some(&decision))
            .await?;
        Ok((id, warning))
    }

    /// Refuses a node that takes nothing new.
    fn check_open(&self, state: &State, target: &NodeName) -> Result<(), Refusal> {
        let node = state.nodes.get(target).ok_or_else(|| no_node(target, state))?;
        if node.value.draining {
            return Err(Refusal::new("node-draining", format!("node `{target}` is being drained"))
                .hint(format!("`flocker node undrain {target}` ends that")));
        }
        if !self.leader.inner.nodes.alive(target) {
            return Err(Refusal::new(
                "node-unreachable",
                format!("node `{target}` does not answer"),
            ));
        }
        Ok(())
    }

    /// Removes an app, and its own volumes where asked to.
    ///
    /// # Errors
    /// No such app, or one that is being worked on by an operation that can still be aborted, or gets on.
    pub async fn remove(&self, app: &AppName, volumes: bool) -> Result<OperationId, Refusal> {
        let mut state = self.state().await?;
        if self.leader.give_up(&state, app).await? {
            state = self.state().await?;
        }
        let known = state.apps.get(app).ok_or_else(|| no_app(app))?;
        free(known)?;
        let (id, _) = draw();
        let kind = OperationKind::Remove { node: known.value.owner.clone(), volumes };
        self.leader.begin(&state, id.clone(), app, kind, Purpose::Operator, None).await?;
        Ok(id)
    }

    /// Asks an operation to go back.
    ///
    /// # Errors
    /// No such operation, or one that has ended or is past its point of no return.
    pub async fn abort(&self, id: &OperationId) -> Result<(), Refusal> {
        for _ in 0..ATTEMPTS {
            let found = self.leader.inner.parts.cluster.get::<Operation>(id.as_str()).await?;
            let Versioned { mut value, revision } = found.ok_or_else(|| no_operation(id))?;
            if value.undoing.is_some() {
                return Ok(());
            }
            if value.state.is_final() {
                return Err(Refusal::new("operation-ended", format!("operation `{id}` has ended"))
                    .hint(format!("`flocker operation show {id}` shows how")));
            }
            if !phases::can_abort(&value) {
                return Err(Refusal::new(
                    "point-of-no-return",
                    format!(
                        "operation `{id}` is past the point where it could go back (phase {})",
                        value.phase
                    ),
                )
                .hint(format!(
                    "it ends by itself; `flocker operation watch {id}` shows how far it is"
                )));
            }
            value.undoing = Some(phases::ASKED_TO_ABORT.to_owned());
            value.state = OperationState::Running;
            let changes = self.leader.inner.parts.cluster.change().replace(revision, &value);
            match self.leader.inner.parts.cluster.commit(changes).await {
                Err(error) if error.is_conflict() => {}
                done => return Ok(done.map(drop)?),
            }
        }
        Err(Refusal::new("conflict", format!("operation `{id}` is changing too fast; try again")))
    }

    /// An operation as it is now.
    ///
    /// # Errors
    /// When there is no such operation.
    pub async fn operation(&self, id: &OperationId) -> Result<Operation, Refusal> {
        let found = self.leader.inner.parts.cluster.get::<Operation>(id.as_str()).await?;
        found.map(|o| o.value).ok_or_else(|| no_operation(id))
    }

    /// The output of an app's containers.
    ///
    /// # Errors
    /// No such app or container, or its node does not answer.
    pub async fn logs(
        &self,
        app: &AppName,
        container: Option<&ContainerName>,
        follow: bool,
        tail: Option<u32>,
    ) -> Result<LogStream, Refusal> {
        let state = self.state().await?;
        let known = state.apps.get(app).ok_or_else(|| no_app(app))?;
        if let (Some(container), Some(manifest)) = (container, state.manifests.get(app)) {
            has_container(manifest, container)?;
        }
        let owner = known.value.owner.as_ref().and_then(|n| state.nodes.get(n));
        let node = owner
            .ok_or_else(|| Refusal::new("no-candidate", format!("app `{app}` has no node yet")))?;
        Ok(self
            .leader
            .inner
            .parts
            .peers
            .peer(&node.value)
            .logs(app, container, follow, tail)
            .await?)
    }

    /// Thinks a change over again for as long as others are faster. `None`: there was nothing to change.
    async fn attempt(
        &self,
        mut think: impl FnMut(&State) -> Result<Option<Changes>, Refusal>,
    ) -> Result<Option<()>, Refusal> {
        // Two requests that each fit with the records may not fit with each other: no two apps share a port.
        let _alone = self.leader.inner.asked.lock().await;
        for _ in 0..ATTEMPTS {
            let state = self.state().await?;
            let Some(changes) = think(&state)? else { return Ok(None) };
            match self.leader.inner.parts.cluster.commit(changes).await {
                Err(error) if error.is_conflict() => {}
                done => return Ok(Some(done.map(drop)?)),
            }
        }
        Err(Refusal::new("conflict", "the cluster's records are changing too fast; try again"))
    }
}

/// What speaks against the node that an operator named, where that will move the app away again.
fn objection(decision: &Decision, target: &NodeName) -> Option<String> {
    let refused = decision.candidates.iter().find(|c| c.node == *target && c.score.is_none());
    let refused = refused.map(|c| c.reasons.join(", "));
    let excluded = decision.excluded.iter().find(|e| e.node == *target);
    let why = refused.or_else(|| excluded.map(|e| e.reason.to_string()))?;
    Some(format!(
        "node `{target}` is no place for app `{}`: {why}; it is moved away again when policies are asked next, unless it is pinned (`x-flocker: {{ placement: {{ pinned: true }} }}`)",
        decision.app
    ))
}

/// Records for the app's volumes that do not exist yet; those that do must be free, or its own.
fn new_volumes(state: &State, app: &App, mut changes: Changes) -> Result<Changes, Refusal> {
    for spec in &app.volumes {
        let name = spec.name();
        match (state.volumes.get(name), &spec.source) {
            (Some(known), _) => {
                if let Some(other) = known.value.app.as_ref().filter(|other| **other != app.name) {
                    return Err(Refusal::new(
                        "volume-in-use",
                        format!("volume `{name}` belongs to app `{other}`"),
                    ));
                }
            }
            (None, VolumeSource::External(_)) => {
                return Err(Refusal::new(
                    "volume-not-found",
                    format!("external volume `{name}` does not exist"),
                )
                .hint(format!("`flocker volume create {name} --size SIZE` makes it")));
            }
            (None, VolumeSource::Own(_)) => {
                changes = changes.create(&Volume {
                    id: volume_id(),
                    name: name.clone(),
                    app: Some(app.name.clone()),
                    owner: None,
                    epoch: Epoch::FIRST,
                    options: spec.options.clone(),
                    ownership: spec.owner,
                    replicas: vec![],
                    replication: None,
                });
            }
        }
    }
    Ok(changes)
}

pub(crate) fn volume_id() -> VolumeId {
    #[expect(
        clippy::expect_used,
        reason = "a UUID consists of digits, letters from a to f and dashes"
    )]
    VolumeId::new(uuid::Uuid::now_v7().to_string()).expect("a UUID is a valid volume id")
}

fn check_ports(state: &State, app: &App) -> Result<(), Refusal> {
    for node in state.nodes.values().map(|n| &n.value) {
        let ours = [node.api, node.mesh, node.replication].map(|address| address.port());
        if let Some(service) = app.services.iter().find(|s| ours.contains(&s.port)) {
            return Err(Refusal::new(
                "port-in-use",
                format!("port {} is what nodes reach each other by", service.port),
            )
            .hint("publish another one, such as `\"8080:8080\"`"));
        }
    }
    let others = state.manifests.values().map(|a| &**a);
    let mut taken = port_conflicts(app, others);
    // What an app is being changed to counts as well.
    for operation in state.operations.values().filter(|o| !o.state.is_final()) {
        if let OperationKind::Update { manifest, .. } = &operation.kind
            && let Ok(coming) = flocker_compose::parse(manifest, Some(&operation.app))
        {
            taken.extend(port_conflicts(app, [&coming]));
        }
    }
    match taken.first() {
        None => Ok(()),
        Some((port, other)) => Err(Refusal::new(
            "port-in-use",
            format!("port {port} is published by app `{other}` already"),
        )
        .hint("every node answers every published port, so each port belongs to one app")),
    }
}

/// Whether the app is on its way to being something else than its record's manifest.
fn changing(state: &State, known: &Versioned<AppRecord>) -> bool {
    let held = known.value.operation.as_ref().and_then(|id| state.operations.get(id));
    match held.map(|o| &o.kind) {
        Some(OperationKind::Update { .. } | OperationKind::Remove { .. }) => true,
        Some(OperationKind::Deploy { .. } | OperationKind::Move { .. }) | None => false,
    }
}

/// Refuses an app that an operation holds.
fn free(known: &Versioned<AppRecord>) -> Result<(), Refusal> {
    let app = &known.value.name;
    match &known.value.operation {
        None => Ok(()),
        Some(id) => Err(Refusal::new(
            "app-busy",
            format!("operation `{id}` is working on app `{app}`"),
        )
        .hint(format!(
            "`flocker operation watch {id}` shows it; `flocker operation abort {id}` ends it"
        ))),
    }
}

fn no_app(app: &AppName) -> Refusal {
    Refusal::new("app-not-found", format!("there is no app `{app}`"))
        .hint("`flocker app ls` lists the apps")
}

fn has_container(app: &App, name: &ContainerName) -> Result<(), Refusal> {
    if app.container(name).is_some() {
        return Ok(());
    }
    let names: Vec<_> = app.containers.iter().map(|c| c.name.to_string()).collect();
    let message = format!("app `{}` has no container `{name}`", app.name);
    Err(Refusal::new("container-not-found", message)
        .hint(format!("its containers are: {}", names.join(", "))))
}

fn no_operation(id: &OperationId) -> Refusal {
    Refusal::new("operation-not-found", format!("there is no operation `{id}`"))
        .hint("`flocker operation ls` lists the operations")
}

fn unreadable(state: &State, app: &AppName) -> Refusal {
    let why = state.troubles.get(&format!("app/{app}")).cloned().unwrap_or_default();
    Refusal::new("invalid-manifest", format!("the manifest of app `{app}` cannot be read: {why}"))
}

fn no_node(name: &NodeName, state: &State) -> Refusal {
    let known: Vec<_> = state.nodes.keys().map(ToString::to_string).collect();
    Refusal::new("node-not-found", format!("there is no node `{name}`"))
        .hint(format!("the nodes are: {}", known.join(", ")))
}
