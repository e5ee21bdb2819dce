//! What operators ask, as a gRPC service: reads the request, asks the engine, writes the reply. Decides nothing.

use std::{collections::BTreeMap, pin::Pin, sync::Arc};

use flocker_api::{
    Code, Failure, control_service,
    convert::{Malformed, messages, parse, parse_option},
    v1::{self, control_server},
};
use flocker_engine::{
    cluster::State,
    control::{Control, Deployed, Refusal},
};
use flocker_model::{App, AppRecord, Node, NodeName, Operation, OperationId};
use flocker_plugins::{Health, Hook, Loaded, Mode, PluginHost, PluginInfo, TrialInfo};
use flocker_ports::{Clock as _, ObservedContainer, StoragePlugin, SystemClock};
use futures::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use super::{failing, observation, volumes, watch};

/// Serves operators.
pub(crate) fn control_server(
    control: Control,
    node: NodeName,
    policies: Arc<PluginHost>,
) -> control_server::ControlServer<impl control_server::Control> {
    control_service(Served { control, node, policies })
}

#[derive(Debug)]
struct Served {
    control: Control,
    node: NodeName,
    policies: Arc<PluginHost>,
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

pub(super) fn refused(refusal: Refusal) -> Status {
    let failure = Failure::new(Code::from_text(refusal.code), refusal.message);
    match refusal.hint {
        Some(hint) => failure.hint(hint).into(),
        None => failure.into(),
    }
}

pub(super) fn invalid(malformed: Malformed) -> Status {
    Failure::from_error(Code::INVALID_ARGUMENT, &malformed).into()
}

#[tonic::async_trait]
impl control_server::Control for Served {
    async fn status(
        &self,
        _: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusReply>, Status> {
        let state = self.state().await?;
        let running = state.operations.values().rev().filter(|o| !o.state.is_final());
        let now = SystemClock.now();
        let records =
            state.troubles.iter().map(|(key, reason)| format!("record `{key}`: {reason}"));
        let troubles = records
            .chain(failing::troubles(&self.policies.list(), &self.policies.pending(), now))
            .collect();
        Ok(Response::new(v1::StatusReply {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.node.to_string(),
            nodes: self.nodes(&state),
            apps: self.apps(&state),
            operations: messages(running),
            troubles,
            now_ms: now.0,
        }))
    }

    async fn list_nodes(
        &self,
        _: Request<v1::ListNodesRequest>,
    ) -> Result<Response<v1::ListNodesReply>, Status> {
        let state = self.state().await?;
        Ok(Response::new(v1::ListNodesReply { nodes: self.nodes(&state) }))
    }

    async fn label_node(
        &self,
        request: Request<v1::LabelNodeRequest>,
    ) -> Result<Response<v1::Node>, Status> {
        let request = request.into_inner();
        let name = parse("node", &request.node).map_err(invalid)?;
        let mut labels: BTreeMap<_, _> =
            request.set.into_iter().map(|(key, value)| (key, Some(value))).collect();
        labels.extend(request.remove.into_iter().map(|key| (key, None)));
        self.control.label(&name, &labels).await.map_err(refused)?;
        self.node(&name).await
    }

    async fn drain_node(
        &self,
        request: Request<v1::DrainNodeRequest>,
    ) -> Result<Response<v1::Node>, Status> {
        let name = parse("node", &request.into_inner().node).map_err(invalid)?;
        self.control.set_draining(&name, true).await.map_err(refused)?;
        self.node(&name).await
    }

    async fn undrain_node(
        &self,
        request: Request<v1::UndrainNodeRequest>,
    ) -> Result<Response<v1::Node>, Status> {
        let name = parse("node", &request.into_inner().node).map_err(invalid)?;
        self.control.set_draining(&name, false).await.map_err(refused)?;
        self.node(&name).await
    }

    async fn remove_node(
        &self,
        request: Request<v1::RemoveNodeRequest>,
    ) -> Result<Response<v1::RemoveNodeReply>, Status> {
        let name = parse("node", &request.into_inner().node).map_err(invalid)?;
        self.control.remove_node(&name, &self.node).await.map_err(refused)?;
        Ok(Response::new(v1::RemoveNodeReply {}))
    }

    async fn list_volumes(
        &self,
        _: Request<v1::ListVolumesRequest>,
    ) -> Result<Response<v1::ListVolumesReply>, Status> {
        let state = self.state().await?;
        let view = |volume: &flocker_model::Volume| {
            let owner = volume.owner.as_ref();
            let copy = owner.and_then(|node| self.copy_on(node, volume));
            v1::VolumeView {
                volume: Some(volume.into()),
                used: copy.map(|c| c.used.0),
                trouble: self.control.volume_trouble(volume),
            }
        };
        Ok(Response::new(v1::ListVolumesReply {
            volumes: state.volumes.values().map(|v| view(&v.value)).collect(),
        }))
    }

    async fn create_volume(
        &self,
        request: Request<v1::CreateVolumeRequest>,
    ) -> Result<Response<v1::Volume>, Status> {
        let made = volumes::create(&self.control, request.into_inner()).await?;
        Ok(Response::new((&made).into()))
    }

    async fn clone_volume(
        &self,
        request: Request<v1::CloneVolumeRequest>,
    ) -> Result<Response<v1::Volume>, Status> {
        let made = volumes::clone(&self.control, request.into_inner()).await?;
        Ok(Response::new((&made).into()))
    }

    async fn rollback_volume(
        &self,
        request: Request<v1::RollbackVolumeRequest>,
    ) -> Result<Response<v1::Volume>, Status> {
        let kept = volumes::rollback(&self.control, request.into_inner()).await?;
        Ok(Response::new((&kept).into()))
    }

    async fn remove_volume(
        &self,
        request: Request<v1::RemoveVolumeRequest>,
    ) -> Result<Response<v1::RemoveVolumeReply>, Status> {
        let name = parse("name", &request.into_inner().name).map_err(invalid)?;
        let left_on = self.control.remove_volume(&name).await.map_err(refused)?;
        let left_on = left_on.iter().map(ToString::to_string).collect();
        Ok(Response::new(v1::RemoveVolumeReply { left_on }))
    }

    async fn inspect_volume(
        &self,
        request: Request<v1::InspectVolumeRequest>,
    ) -> Result<Response<v1::InspectVolumeReply>, Status> {
        let name = parse("name", &request.into_inner().name).map_err(invalid)?;
        let (volume, copies) = self.control.copies(&name).await.map_err(refused)?;
        Ok(Response::new(volumes::inspected(&volume, &copies)))
    }

    async fn list_replicas(
        &self,
        request: Request<v1::ListReplicasRequest>,
    ) -> Result<Response<v1::ListReplicasReply>, Status> {
        self.replicas(request.into_inner().name.as_deref()).await
    }

    async fn add_replicas(
        &self,
        request: Request<v1::AddReplicasRequest>,
    ) -> Result<Response<v1::ListReplicasReply>, Status> {
        let request = request.into_inner();
        let wish = super::replicas::wish(&request).map_err(invalid)?;
        self.control.add_replicas(&request.name, &wish).await.map_err(refused)?;
        self.replicas(Some(&request.name)).await
    }

    async fn remove_replicas(
        &self,
        request: Request<v1::RemoveReplicasRequest>,
    ) -> Result<Response<v1::RemoveReplicasReply>, Status> {
        let request = request.into_inner();
        let node = parse_option("node", request.node.as_deref()).map_err(invalid)?;
        let gone = self.control.remove_replicas(&request.name, node.as_ref()).await;
        let nodes = gone.map_err(refused)?.iter().map(ToString::to_string).collect();
        Ok(Response::new(v1::RemoveReplicasReply { nodes }))
    }

    async fn snapshot_volume(
        &self,
        request: Request<v1::SnapshotVolumeRequest>,
    ) -> Result<Response<v1::Snapshot>, Status> {
        let request = request.into_inner();
        let name = parse("name", &request.name).map_err(invalid)?;
        let tag = parse_option("tag", request.tag.as_deref()).map_err(invalid)?;
        let taken = self.control.snapshot(&name, tag).await.map_err(refused)?;
        Ok(Response::new((&taken).into()))
    }

    async fn list_snapshots(
        &self,
        request: Request<v1::ListSnapshotsRequest>,
    ) -> Result<Response<v1::ListSnapshotsReply>, Status> {
        let name = parse("name", &request.into_inner().name).map_err(invalid)?;
        let snapshots = self.control.snapshots(&name).await.map_err(refused)?;
        Ok(Response::new(v1::ListSnapshotsReply { snapshots: messages(&snapshots) }))
    }

    async fn deploy_app(
        &self,
        request: Request<v1::DeployAppRequest>,
    ) -> Result<Response<v1::DeployAppReply>, Status> {
        let request = request.into_inner();
        let name = Some(request.name.as_str()).filter(|name| !name.is_empty());
        let name = parse_option("name", name).map_err(invalid)?;
        let (app, deployed) =
            self.control.deploy(&request.manifest, name.as_ref()).await.map_err(refused)?;
        let (operation, waiting) = match deployed {
            Deployed::Begun(id) => (Some(id.to_string()), None),
            Deployed::Unchanged => (None, None),
            Deployed::Waiting(reason) => (None, Some(reason)),
        };
        Ok(Response::new(v1::DeployAppReply { app: app.to_string(), operation, waiting }))
    }

    async fn list_apps(
        &self,
        _: Request<v1::ListAppsRequest>,
    ) -> Result<Response<v1::ListAppsReply>, Status> {
        let state = self.state().await?;
        Ok(Response::new(v1::ListAppsReply { apps: self.apps(&state) }))
    }

    async fn inspect_app(
        &self,
        request: Request<v1::InspectAppRequest>,
    ) -> Result<Response<v1::AppView>, Status> {
        let name: flocker_model::AppName =
            parse("app", &request.into_inner().app).map_err(invalid)?;
        let state = self.state().await?;
        let found = self
            .apps(&state)
            .into_iter()
            .find(|a| a.app.as_ref().is_some_and(|a| a.name == name.as_str()));
        let missing = || {
            Failure::new(Code::APP_NOT_FOUND, format!("there is no app `{name}`"))
                .hint("`flocker app ls` lists the apps")
        };
        Ok(Response::new(found.ok_or_else(missing)?))
    }

    async fn remove_app(
        &self,
        request: Request<v1::RemoveAppRequest>,
    ) -> Result<Response<v1::OperationStarted>, Status> {
        let request = request.into_inner();
        let app = parse("app", &request.app).map_err(invalid)?;
        let id = self.control.remove(&app, request.volumes).await.map_err(refused)?;
        Ok(Response::new(v1::OperationStarted { operation: id.to_string(), warning: None }))
    }

    type AppLogsStream = Streamed<v1::LogChunk>;

    async fn app_logs(
        &self,
        request: Request<v1::LogsRequest>,
    ) -> Result<Response<Self::AppLogsStream>, Status> {
        let request = request.into_inner();
        let app = parse("app", &request.app).map_err(invalid)?;
        let container = parse_option("container", request.container.as_deref()).map_err(invalid)?;
        let logs = self
            .control
            .logs(&app, container.as_ref(), request.follow, request.tail)
            .await
            .map_err(refused)?;
        let chunk = |chunk: Result<_, flocker_ports::EngineError>| match chunk {
            Ok(chunk) => Ok(observation::chunk_to_message(chunk)),
            Err(error) => Err(Failure::from_error(Code::ENGINE_UNREACHABLE, &error).into()),
        };
        Ok(Response::new(logs.map(chunk).boxed()))
    }

    async fn move_app(
        &self,
        request: Request<v1::MoveAppRequest>,
    ) -> Result<Response<v1::OperationStarted>, Status> {
        let request = request.into_inner();
        let app = parse("app", &request.app).map_err(invalid)?;
        let target = parse_option("target", request.target.as_deref()).map_err(invalid)?;
        let (id, warning) = self.control.move_app(&app, target.as_ref()).await.map_err(refused)?;
        Ok(Response::new(v1::OperationStarted { operation: id.to_string(), warning }))
    }

    async fn list_operations(
        &self,
        request: Request<v1::ListOperationsRequest>,
    ) -> Result<Response<v1::ListOperationsReply>, Status> {
        let request = request.into_inner();
        let app: Option<flocker_model::AppName> =
            parse_option("app", request.app.as_deref()).map_err(invalid)?;
        let state = self.state().await?;
        let wanted = |o: &&Operation| {
            app.as_ref().is_none_or(|app| *app == o.app) && (request.ended || !o.state.is_final())
        };
        let most = if request.n_max == 0 { usize::MAX } else { request.n_max as usize };
        Ok(Response::new(v1::ListOperationsReply {
            operations: messages(state.operations.values().rev().filter(wanted).take(most)),
        }))
    }

    async fn get_operation(
        &self,
        request: Request<v1::GetOperationRequest>,
    ) -> Result<Response<v1::Operation>, Status> {
        let id = parse("id", &request.into_inner().id).map_err(invalid)?;
        Ok(Response::new((&self.operation(&id).await?).into()))
    }

    async fn abort_operation(
        &self,
        request: Request<v1::AbortOperationRequest>,
    ) -> Result<Response<v1::Operation>, Status> {
        let id = parse("id", &request.into_inner().id).map_err(invalid)?;
        self.control.abort(&id).await.map_err(refused)?;
        Ok(Response::new((&self.operation(&id).await?).into()))
    }

    type WatchOperationStream = Streamed<v1::OperationUpdate>;

    async fn watch_operation(
        &self,
        request: Request<v1::WatchOperationRequest>,
    ) -> Result<Response<Self::WatchOperationStream>, Status> {
        let id: OperationId = parse("id", &request.into_inner().id).map_err(invalid)?;
        let mut state = self.state().await?;
        let operation = match state.operations.remove(&id) {
            Some(operation) => operation,
            // Says why not.
            None => self.operation(&id).await?,
        };
        let updates = watch::updates(self.control.clone(), operation, state.revision);
        Ok(Response::new(updates.boxed()))
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainReply>, Status> {
        let subject = request.into_inner().subject;
        let document = self.control.explain(&subject).await.map_err(refused)?;
        let json = String::from_utf8_lossy(&document).into_owned();
        let parsed: serde_json::Value = serde_json::from_str(&json).unwrap_or_default();
        let text = parsed.get("text").and_then(|t| t.as_str()).unwrap_or_default().to_owned();
        Ok(Response::new(v1::ExplainReply { text, json }))
    }

    async fn list_plugins(
        &self,
        _: Request<v1::ListPluginsRequest>,
    ) -> Result<Response<v1::ListPluginsReply>, Status> {
        let state = self.state().await?;
        let storage = state.nodes.keys().filter_map(|node| self.storage_on(node));
        let policies = self.policies.list();
        let policies = policies.iter().map(|info| policy_plugin(info, &self.node));
        let pending = self.policies.pending();
        let pending = pending.iter().map(|info| failing::awaited_plugin(info, &self.node));
        let plugins = storage.chain(policies).chain(pending).collect();
        Ok(Response::new(v1::ListPluginsReply { plugins }))
    }
}

impl Served {
    async fn replicas(
        &self,
        name: Option<&str>,
    ) -> Result<Response<v1::ListReplicasReply>, Status> {
        let views = self.control.replicas(name).await.map_err(refused)?;
        let replicas = views.iter().map(super::replicas::to_message).collect();
        Ok(Response::new(v1::ListReplicasReply { replicas, now_ms: SystemClock.now().0 }))
    }

    async fn state(&self) -> Result<State, Status> {
        self.control.state().await.map_err(refused)
    }

    async fn node(&self, name: &NodeName) -> Result<Response<v1::Node>, Status> {
        let state = self.state().await?;
        let gone = || Failure::new(Code::NODE_NOT_FOUND, format!("there is no node `{name}`"));
        Ok(Response::new((&state.nodes.get(name).ok_or_else(gone)?.value).into()))
    }

    async fn operation(&self, id: &OperationId) -> Result<Operation, Status> {
        self.control.operation(id).await.map_err(refused)
    }

    fn copy_on(
        &self,
        node: &NodeName,
        volume: &flocker_model::Volume,
    ) -> Option<flocker_model::VolumeState> {
        self.control.seen(node)?.observation.volumes?.into_iter().find(|v| v.id == volume.id)
    }

    /// The storage backend of a node, as that said last.
    fn storage_on(&self, node: &NodeName) -> Option<v1::Plugin> {
        let seen = self.control.seen(node)?;
        let alive = seen.alive();
        let storage = storage_plugin(seen.observation.storage?, node);
        Some(match alive {
            true => storage,
            false => v1::Plugin {
                state: "unknown".to_owned(),
                trouble: Some(format!("node `{node}` does not answer")),
                ..storage
            },
        })
    }

    fn nodes(&self, state: &State) -> Vec<v1::NodeView> {
        let view = |node: &Node| {
            let seen = self.control.seen(&node.name);
            let alive = seen.as_ref().is_some_and(flocker_engine::leader::Seen::alive);
            let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let here = |owner: &Option<NodeName>| owner.as_ref() == Some(&node.name);
            let mut troubles =
                seen.as_ref().map(|s| s.observation.troubles.clone()).unwrap_or_default();
            let left = state.leftovers.values().filter(|left| left.node == node.name);
            troubles.extend(left.map(|left| format!("{} is to be removed from it", left.what)));
            let promised = state.apps.values().filter(|a| here(&a.value.owner));
            let promised = promised.filter_map(|a| state.manifests.get(&a.value.name));
            v1::NodeView {
                node: Some(node.into()),
                alive,
                stats: seen.as_ref().map(|s| (&s.observation.stats).into()),
                apps: count(state.apps.values().filter(|a| here(&a.value.owner)).count()),
                volumes: count(state.volumes.values().filter(|v| here(&v.value.owner)).count()),
                troubles,
                leader: node.name == self.node,
                memory_promised: promised
                    .fold(0, |sum: u64, app| sum.saturating_add(app.memory().0)),
            }
        };
        state.nodes.values().map(|n| view(&n.value)).collect()
    }

    fn apps(&self, state: &State) -> Vec<v1::AppView> {
        let notes = self.control.notes();
        let view = |record: &AppRecord| {
            let manifest = state.manifests.get(&record.name);
            let note = notes.iter().find(|n| n.app == record.name).map(|n| n.text.clone());
            let unreadable = state.troubles.get(&format!("app/{}", record.name)).cloned();
            v1::AppView {
                app: Some(record.into()),
                containers: manifest.map(|app| self.containers(record, app)).unwrap_or_default(),
                services: manifest.map(|app| services(app)).unwrap_or_default(),
                volumes: manifest
                    .iter()
                    .flat_map(|a| &a.volumes)
                    .map(|v| v.name().to_string())
                    .collect(),
                trouble: unreadable.or(note).or_else(|| self.silence(state, record)),
            }
        };
        state.apps.values().map(|a| view(&a.value)).collect()
    }

    fn silence(&self, state: &State, record: &AppRecord) -> Option<String> {
        let owner = record.owner.as_ref()?;
        if self.control.seen(owner).is_some_and(|seen| seen.alive()) {
            return None;
        }
        let app = &record.name;
        let asked = state.silences.get(owner).is_some_and(|silence| silence.concerns(app));
        let hint = match asked {
            true => format!("; `flocker explain {app}` says what policies make of that"),
            false => String::new(),
        };
        Some(format!("its node `{owner}` does not answer{hint}"))
    }

    fn containers(&self, record: &AppRecord, app: &App) -> Vec<v1::ContainerView> {
        let seen = record.owner.as_ref().and_then(|node| self.control.seen(node));
        let apps = seen.and_then(|s| s.observation.apps).unwrap_or_default();
        let here = apps.into_iter().find(|a| a.app == record.name);
        let observed: Vec<ObservedContainer> = here.map(|a| a.containers).unwrap_or_default();
        let view = |spec: &flocker_model::ContainerSpec| v1::ContainerView {
            observed: observed
                .iter()
                .find(|o| o.name == spec.name)
                .map(observation::container_to_message),
            name: spec.name.to_string(),
            image: spec.image.clone(),
        };
        app.containers.iter().map(view).collect()
    }
}

fn services(app: &App) -> Vec<v1::ServiceView> {
    let view = |s: &flocker_model::Service| v1::ServiceView {
        name: s.name.to_string(),
        container: s.container.to_string(),
        host_ip: s.host_ip.map(|ip| ip.to_string()),
        port: s.port.into(),
        container_port: s.container_port.into(),
    };
    app.services.iter().map(view).collect()
}

fn policy_plugin(info: &PluginInfo, node: &NodeName) -> v1::Plugin {
    let failure = info.last_failure.as_ref().map(|(_, f)| format!("{}: {}", f.class, f.message));
    let refused = info.refused.as_ref().map(|why| format!("its file as it is now: {why}"));
    v1::Plugin {
        weight: info.weight,
        state: standing(&info.health, info.mode.as_str()).to_owned(),
        trouble: refused.or(failure),
        n_calls: info.calls,
        n_failures: info.failures,
        n_disagreements: info.disagreements,
        next: info.trial.as_ref().map(next_build),
        limits: info.limits.to_string(),
        node: node.to_string(),
        ..plugin(&info.loaded)
    }
}

/// A build that is tried out, or was.
fn next_build(trial: &TrialInfo) -> v1::NextBuild {
    v1::NextBuild {
        version: trial.version.clone(),
        digest: trial.digest.clone(),
        n_decisions: trial.decisions,
        n_wanted: trial.wanted,
        until_ms: trial.until.0,
        n_disagreements: trial.disagreements,
        trouble: trial.failed.as_ref().map(|f| format!("{}: {}", f.class, f.message)),
    }
}

/// A node has one backend, which is obeyed alone: it has no weight.
fn storage_plugin(storage: StoragePlugin, node: &NodeName) -> v1::Plugin {
    let health = if storage.failing { Health::Failing } else { Health::Good };
    v1::Plugin {
        name: storage.name,
        version: storage.version,
        digest: storage.digest,
        hooks: vec![Hook::StorageBackend.as_str().to_owned()],
        state: standing(&health, Mode::Active.as_str()).to_owned(),
        trouble: storage.trouble,
        n_calls: storage.calls,
        n_failures: storage.failures,
        node: node.to_string(),
        ..v1::Plugin::default()
    }
}

fn standing(health: &Health, mode: &'static str) -> &'static str {
    match health {
        Health::Good => mode,
        Health::Failing => "failing",
        Health::Quarantined { .. } => "quarantined",
    }
}

fn plugin(loaded: &Loaded) -> v1::Plugin {
    v1::Plugin {
        name: loaded.name.clone(),
        version: loaded.version.clone(),
        digest: loaded.digest.clone(),
        hooks: loaded.hooks.iter().map(|hook| hook.as_str().to_owned()).collect(),
        ..v1::Plugin::default()
    }
}
