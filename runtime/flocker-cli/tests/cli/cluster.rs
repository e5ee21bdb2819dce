//! A node that answers everything from canned data, over a real socket.

use std::{
    pin::Pin,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use flocker_api::{
    Code, Failure, control_service, incoming_unix, server, unix_listener,
    v1::{self, control_server::Control},
};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use crate::data;

/// Runs until it is dropped.
pub(crate) struct Cluster {
    address: String,
    // Dropped in this order: the server, then its folder.
    _runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flocker.sock");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(async { unix_listener(&path).unwrap() });
        let served = server()
            .add_service(control_service(Fake::default()))
            .serve_with_incoming(incoming_unix(listener));
        runtime.spawn(served);
        Self { address: format!("unix://{}", path.display()), _runtime: runtime, _folder: folder }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

#[derive(Debug, Default)]
struct Fake {
    n_watches: AtomicU32,
    n_status: AtomicU32,
}

type Answer<T> = Result<Response<T>, Status>;
type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn ok<T>(message: T) -> Answer<T> {
    Ok(Response::new(message))
}

fn app_not_found(app: &str) -> Status {
    Failure::new(Code::APP_NOT_FOUND, format!("there is no app `{app}`"))
        .hint("`flocker app ls` lists them")
        .into()
}

fn started(operation: &str) -> Answer<v1::OperationStarted> {
    ok(v1::OperationStarted { operation: operation.to_owned(), warning: None })
}

#[tonic::async_trait]
impl Control for Fake {
    async fn status(&self, _: Request<v1::StatusRequest>) -> Answer<v1::StatusReply> {
        // A drain is seen to go on from one look to the next.
        ok(data::status(self.n_status.fetch_add(1, Ordering::Relaxed)))
    }

    async fn list_nodes(&self, _: Request<v1::ListNodesRequest>) -> Answer<v1::ListNodesReply> {
        ok(v1::ListNodesReply { nodes: data::nodes() })
    }

    async fn label_node(&self, request: Request<v1::LabelNodeRequest>) -> Answer<v1::Node> {
        let request = request.into_inner();
        let mut node = data::node("n1");
        node.labels.extend(request.set);
        node.labels.retain(|key, _| !request.remove.contains(key));
        ok(node)
    }

    async fn drain_node(&self, request: Request<v1::DrainNodeRequest>) -> Answer<v1::Node> {
        ok(v1::Node { draining: true, ..data::node(&request.into_inner().node) })
    }

    async fn undrain_node(&self, request: Request<v1::UndrainNodeRequest>) -> Answer<v1::Node> {
        ok(data::node(&request.into_inner().node))
    }

    async fn remove_node(
        &self,
        request: Request<v1::RemoveNodeRequest>,
    ) -> Answer<v1::RemoveNodeReply> {
        let node = request.into_inner().node;
        if node == "n3" {
            return ok(v1::RemoveNodeReply {});
        }
        let message = format!("node `{node}` is still needed: app `shop`, volume `shop.data`");
        Err(Failure::new(Code::NODE_IN_USE, message)
            .hint(format!("`flocker node drain {node}` moves its apps away"))
            .into())
    }

    async fn list_volumes(
        &self,
        _: Request<v1::ListVolumesRequest>,
    ) -> Answer<v1::ListVolumesReply> {
        ok(v1::ListVolumesReply { volumes: data::volumes() })
    }

    async fn create_volume(&self, request: Request<v1::CreateVolumeRequest>) -> Answer<v1::Volume> {
        let request = request.into_inner();
        ok(v1::Volume {
            id: "v-3".to_owned(),
            name: request.name,
            owner: request.node,
            epoch: 1,
            options: request.options,
            ownership: request.ownership,
            ..Default::default()
        })
    }

    async fn clone_volume(&self, request: Request<v1::CloneVolumeRequest>) -> Answer<v1::Volume> {
        let request = request.into_inner();
        if let Some(tag) = request.snapshot.filter(|tag| tag != "hourly-1") {
            let message = format!("volume `{}` has no snapshot `{tag}`", request.source);
            let failure = Failure::new(Code::SNAPSHOT_NOT_FOUND, message);
            return Err(failure
                .hint(format!("`flocker volume snapshots {}` lists them", request.source))
                .into());
        }
        ok(v1::Volume {
            id: "v-3".to_owned(),
            name: request.name,
            app: None,
            epoch: 1,
            replicas: Vec::new(),
            ..data::volumes().remove(0).volume.unwrap()
        })
    }

    async fn rollback_volume(
        &self,
        request: Request<v1::RollbackVolumeRequest>,
    ) -> Answer<v1::Volume> {
        let name = request.into_inner().name;
        if name.starts_with("shop.") {
            let message = format!("app `shop` uses volume `{name}`");
            return Err(Failure::new(Code::VOLUME_IN_USE, message)
                .hint("`flocker app rm shop` ends it and keeps its volumes; deploy it again afterwards")
                .into());
        }
        let name = format!("{name}-before-1795340111000");
        ok(v1::Volume { id: "v-4".to_owned(), name, ..data::volumes().remove(1).volume.unwrap() })
    }

    async fn remove_volume(
        &self,
        request: Request<v1::RemoveVolumeRequest>,
    ) -> Answer<v1::RemoveVolumeReply> {
        let name = request.into_inner().name;
        if name.starts_with("shop.") {
            let failure =
                Failure::new(Code::VOLUME_IN_USE, format!("volume `{name}` is used by app `shop`"));
            return Err(failure.hint("`flocker app rm shop --volumes` removes both").into());
        }
        let left_on = if name == "photos" { Vec::new() } else { vec!["n3".to_owned()] };
        ok(v1::RemoveVolumeReply { left_on })
    }

    async fn inspect_volume(
        &self,
        _: Request<v1::InspectVolumeRequest>,
    ) -> Answer<v1::InspectVolumeReply> {
        ok(data::volume_detail())
    }

    async fn snapshot_volume(
        &self,
        request: Request<v1::SnapshotVolumeRequest>,
    ) -> Answer<v1::Snapshot> {
        let tag = request.into_inner().tag.unwrap_or("manual-1".to_owned());
        ok(data::snapshot(&tag))
    }

    async fn list_snapshots(
        &self,
        _: Request<v1::ListSnapshotsRequest>,
    ) -> Answer<v1::ListSnapshotsReply> {
        ok(v1::ListSnapshotsReply {
            snapshots: vec![data::snapshot("hourly-1"), data::snapshot("move-o1-2")],
        })
    }

    async fn list_replicas(
        &self,
        _: Request<v1::ListReplicasRequest>,
    ) -> Answer<v1::ListReplicasReply> {
        ok(data::replicas())
    }

    async fn add_replicas(
        &self,
        request: Request<v1::AddReplicasRequest>,
    ) -> Answer<v1::ListReplicasReply> {
        let request = request.into_inner();
        assert_eq!(
            (request.copies, request.every_ms),
            (Some(1), None),
            "one, where nobody says more"
        );
        ok(v1::ListReplicasReply { replicas: vec![], ..data::replicas() })
    }

    async fn remove_replicas(
        &self,
        request: Request<v1::RemoveReplicasRequest>,
    ) -> Answer<v1::RemoveReplicasReply> {
        ok(v1::RemoveReplicasReply { nodes: request.into_inner().node.into_iter().collect() })
    }

    async fn deploy_app(
        &self,
        request: Request<v1::DeployAppRequest>,
    ) -> Answer<v1::DeployAppReply> {
        let request = request.into_inner();
        assert!(!request.manifest.contains('$'), "variables are replaced before anything is sent");
        let waiting = (request.name == "homeless").then(|| "`n1` is draining".to_owned());
        let begins = request.name != "same" && waiting.is_none();
        let operation = begins.then(|| "o-deploy".to_owned());
        ok(v1::DeployAppReply { app: request.name, operation, waiting })
    }

    async fn list_apps(&self, _: Request<v1::ListAppsRequest>) -> Answer<v1::ListAppsReply> {
        ok(v1::ListAppsReply { apps: data::apps() })
    }

    async fn inspect_app(&self, request: Request<v1::InspectAppRequest>) -> Answer<v1::AppView> {
        let app = request.into_inner().app;
        if app != "shop" {
            return Err(app_not_found(&app));
        }
        ok(data::apps().remove(0))
    }

    async fn remove_app(&self, _: Request<v1::RemoveAppRequest>) -> Answer<v1::OperationStarted> {
        started("o-remove")
    }

    type AppLogsStream = Streamed<v1::LogChunk>;

    async fn app_logs(&self, request: Request<v1::LogsRequest>) -> Answer<Self::AppLogsStream> {
        let request = request.into_inner();
        if request.follow {
            // As fast as it is read, for ever.
            let chunk = move || Ok(data::chunk("db", false, "tick\n"));
            return ok(Box::pin(tokio_stream::iter(std::iter::repeat_with(chunk))));
        }
        ok(Box::pin(tokio_stream::iter(
            data::logs(request.container.as_deref()).into_iter().map(Ok),
        )))
    }

    async fn move_app(&self, request: Request<v1::MoveAppRequest>) -> Answer<v1::OperationStarted> {
        let request = request.into_inner();
        match (request.app.as_str(), request.target.as_deref()) {
            ("shop", Some("n9")) => {
                Err(Failure::new(Code::NODE_NOT_FOUND, "there is no node `n9`").into())
            }
            ("shop", Some("n3")) => ok(v1::OperationStarted {
                operation: "o-move".to_owned(),
                warning: Some("node `n3` is no place for app `shop`: it is full".to_owned()),
            }),
            ("shop", _) => started("o-move"),
            ("old", _) => started("o-failed"),
            (app, _) => Err(app_not_found(app)),
        }
    }

    async fn list_operations(
        &self,
        request: Request<v1::ListOperationsRequest>,
    ) -> Answer<v1::ListOperationsReply> {
        let ended = request.into_inner().ended;
        let mut operations = vec![data::operation("o-endless")];
        if ended {
            operations.push(data::operation("o-move"));
            operations.push(data::operation("o-failed"));
        }
        ok(v1::ListOperationsReply { operations })
    }

    async fn get_operation(
        &self,
        request: Request<v1::GetOperationRequest>,
    ) -> Answer<v1::Operation> {
        ok(data::operation(&request.into_inner().id))
    }

    async fn abort_operation(
        &self,
        request: Request<v1::AbortOperationRequest>,
    ) -> Answer<v1::Operation> {
        let id = request.into_inner().id;
        if id == "o-move" {
            let failure =
                Failure::new(Code::POINT_OF_NO_RETURN, "operation `o-move` has passed its commit");
            return Err(failure
                .hint("it can only go forward; move the app back afterwards")
                .into());
        }
        ok(data::operation(&id))
    }

    type WatchOperationStream = Streamed<v1::OperationUpdate>;

    async fn watch_operation(
        &self,
        request: Request<v1::WatchOperationRequest>,
    ) -> Answer<Self::WatchOperationStream> {
        let id = request.into_inner().id;
        let mut updates: Vec<Result<v1::OperationUpdate, Status>> =
            data::updates(&id).into_iter().map(Ok).collect();
        if id == "o-cut" && self.n_watches.fetch_add(1, Ordering::Relaxed) == 0 {
            updates.truncate(2);
            updates.push(Err(Failure::new(Code::NO_LEADER, "the leader is gone").into()));
        }
        let updates = tokio_stream::iter(updates);
        if id == "o-endless" {
            return ok(Box::pin(updates.chain(tokio_stream::pending())));
        }
        ok(Box::pin(updates.throttle(Duration::from_millis(5))))
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Answer<v1::ExplainReply> {
        let subject = request.into_inner().subject;
        ok(v1::ExplainReply {
            text: format!("{subject} is on n2: spread 0.1.0 gave it 9000 of 10000, n1 7000"),
            json: format!(r#"{{"subject":"{subject}","chosen":"n2"}}"#),
        })
    }

    async fn list_plugins(
        &self,
        _: Request<v1::ListPluginsRequest>,
    ) -> Answer<v1::ListPluginsReply> {
        ok(v1::ListPluginsReply { plugins: data::plugins() })
    }
}
