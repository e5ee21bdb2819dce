//! The operator's side of the `Control` service: one method per call, errors as [`Failure`].

use flocker_model::{Operation, Snapshot, Volume};
use tonic::{Request, Response, Status, Streaming, transport::Channel};

use crate::{
    Address, Code, Failure,
    convert::Malformed,
    limits,
    v1::{self, control_client::ControlClient},
};

/// A connection to a node, for operators.
#[derive(Debug, Clone)]
pub struct Client {
    control: ControlClient<Channel>,
}

impl Client {
    /// Connects to the node at `address`.
    ///
    /// # Errors
    /// [`Code::UNREACHABLE`], with a hint where the daemon may be found.
    pub async fn connect(address: &Address) -> Result<Self, Failure> {
        Ok(Self::new(address.connect().await?))
    }

    /// Uses a connection that exists.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        let control = ControlClient::new(channel)
            .max_decoding_message_size(limits::MESSAGE_MAX)
            .max_encoding_message_size(limits::MESSAGE_MAX);
        Self { control }
    }
}

/// A call with a short answer. A node that accepts it and then hangs must not hang its caller.
fn brief<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limits::CALL);
    request
}

fn answer<T>(reply: Result<Response<T>, Status>) -> Result<T, Failure> {
    Ok(reply?.into_inner())
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($request:ident) -> $reply:ty;)*) => {
        impl Client {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// What the node answered, or that it did not.
                pub async fn $name(&mut self, request: v1::$request) -> Result<$reply, Failure> {
                    Ok(answer(self.control.$name(brief(request)).await)?.try_into()?)
                }
            )*
        }
    };
}

calls! {
    /// The cluster at a glance.
    status(StatusRequest) -> v1::StatusReply;
    /// Every node.
    list_nodes(ListNodesRequest) -> v1::ListNodesReply;
    /// Sets and removes labels of a node.
    label_node(LabelNodeRequest) -> v1::Node;
    /// Begins to move every app away from a node.
    drain_node(DrainNodeRequest) -> v1::Node;
    /// Lets a node take apps again.
    undrain_node(UndrainNodeRequest) -> v1::Node;
    /// Removes a node for good.
    remove_node(RemoveNodeRequest) -> v1::RemoveNodeReply;
    /// Every volume.
    list_volumes(ListVolumesRequest) -> v1::ListVolumesReply;
    /// Makes a volume that belongs to no app.
    create_volume(CreateVolumeRequest) -> Volume;
    /// Makes a volume with the content of a snapshot of another one.
    clone_volume(CloneVolumeRequest) -> Volume;
    /// Puts a volume back to a snapshot; answers what it was until then.
    rollback_volume(RollbackVolumeRequest) -> Volume;
    /// Removes a volume for good.
    remove_volume(RemoveVolumeRequest) -> v1::RemoveVolumeReply;
    /// A volume and its copies.
    inspect_volume(InspectVolumeRequest) -> v1::InspectVolumeReply;
    /// Takes a snapshot of a volume.
    snapshot_volume(SnapshotVolumeRequest) -> Snapshot;
    /// The snapshots of a volume.
    list_snapshots(ListSnapshotsRequest) -> v1::ListSnapshotsReply;
    /// Replicas, and how they stand.
    list_replicas(ListReplicasRequest) -> v1::ListReplicasReply;
    /// Lets replicas be kept.
    add_replicas(AddReplicasRequest) -> v1::ListReplicasReply;
    /// Lets replicas go.
    remove_replicas(RemoveReplicasRequest) -> v1::RemoveReplicasReply;
    /// Deploys an app, or gives it a new manifest.
    deploy_app(DeployAppRequest) -> v1::DeployAppReply;
    /// Every app.
    list_apps(ListAppsRequest) -> v1::ListAppsReply;
    /// One app.
    inspect_app(InspectAppRequest) -> v1::AppView;
    /// Begins to remove an app.
    remove_app(RemoveAppRequest) -> v1::OperationStarted;
    /// Begins to move an app.
    move_app(MoveAppRequest) -> v1::OperationStarted;
    /// Operations, the newest first.
    list_operations(ListOperationsRequest) -> v1::ListOperationsReply;
    /// One operation.
    get_operation(GetOperationRequest) -> Operation;
    /// Asks an operation to go back.
    abort_operation(AbortOperationRequest) -> Operation;
    /// Why something was decided.
    explain(ExplainRequest) -> v1::ExplainReply;
    /// The plugins that are asked.
    list_plugins(ListPluginsRequest) -> v1::ListPluginsReply;
}

impl Client {
    /// The output of an app's containers.
    ///
    /// # Errors
    /// What the node answered, or that it did not.
    pub async fn app_logs(&mut self, request: v1::LogsRequest) -> Result<LogChunks, Failure> {
        Ok(LogChunks(answer(self.control.app_logs(request).await)?))
    }

    /// An operation as it is now, and each change until its end.
    ///
    /// # Errors
    /// What the node answered, or that it did not.
    pub async fn watch_operation(
        &mut self,
        request: v1::WatchOperationRequest,
    ) -> Result<Operations, Failure> {
        Ok(Operations(answer(self.control.watch_operation(request).await)?))
    }
}

/// The output of an app's containers.
#[derive(Debug)]
pub struct LogChunks(Streaming<v1::LogChunk>);

impl LogChunks {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// What the stream ended with.
    pub async fn next(&mut self) -> Result<Option<v1::LogChunk>, Failure> {
        Ok(self.0.message().await?)
    }
}

/// An operation as it changes.
#[derive(Debug)]
pub struct Operations(Streaming<v1::OperationUpdate>);

impl Operations {
    /// The next state; `None` after the last.
    ///
    /// # Errors
    /// What the stream ended with.
    pub async fn next(&mut self) -> Result<Option<(Operation, v1::OperationUpdate)>, Failure> {
        let Some(mut update) = self.0.message().await? else { return Ok(None) };
        let operation = update.operation.take().ok_or(Malformed::missing("operation"))?;
        Ok(Some((operation.try_into()?, update)))
    }
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Failure::new(Code::MALFORMED, malformed.to_string())
            .hint("the node runs another version than this program; `flocker status` shows which")
    }
}

impl From<std::convert::Infallible> for Failure {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}
