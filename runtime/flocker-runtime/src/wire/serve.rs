//! This node's agent as a gRPC service.

use std::{pin::Pin, sync::Arc};

use flocker_api::{
    Code, Failure, agent_service,
    convert::{Malformed, parse, parse_option},
    v1::{self, agent_server},
};
use flocker_ports::{EngineError, LogChunk, Peer, PeerError, PeerErrorKind};
use futures::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use super::{observation, order};

/// Serves the agent to the leader.
pub(crate) fn agent_server(
    peer: Arc<dyn Peer>,
) -> agent_server::AgentServer<impl agent_server::Agent> {
    agent_service(Served(peer))
}

#[derive(Debug)]
struct Served(Arc<dyn Peer>);

type LogMessages = Pin<Box<dyn Stream<Item = Result<v1::LogChunk, Status>> + Send>>;

#[tonic::async_trait]
impl agent_server::Agent for Served {
    async fn perform(&self, request: Request<v1::Order>) -> Result<Response<v1::Reply>, Status> {
        let order = order::from_message(request.into_inner()).map_err(malformed)?;
        let reply = self.0.perform(order).await.map_err(refused)?;
        Ok(Response::new(order::reply_to_message(&reply)))
    }

    async fn observe(
        &self,
        _: Request<v1::ObserveRequest>,
    ) -> Result<Response<v1::Observation>, Status> {
        let observation = self.0.observe().await.map_err(refused)?;
        Ok(Response::new(observation::to_message(&observation)))
    }

    type LogsStream = LogMessages;

    async fn logs(
        &self,
        request: Request<v1::LogsRequest>,
    ) -> Result<Response<LogMessages>, Status> {
        let request = request.into_inner();
        let app = parse("app", &request.app).map_err(malformed)?;
        let container =
            parse_option("container", request.container.as_deref()).map_err(malformed)?;
        let logs = self
            .0
            .logs(&app, container.as_ref(), request.follow, request.tail)
            .await
            .map_err(refused)?;
        Ok(Response::new(Box::pin(logs.map(log_message))))
    }
}

fn log_message(chunk: Result<LogChunk, EngineError>) -> Result<v1::LogChunk, Status> {
    chunk.map(observation::chunk_to_message).map_err(|error| engine_failure(&error).into())
}

fn engine_failure(error: &EngineError) -> Failure {
    let code = match error {
        EngineError::Unreachable { .. } => Code::ENGINE_UNREACHABLE,
        EngineError::NoSuchContainer(_) => Code::CONTAINER_NOT_FOUND,
        EngineError::NoImage { .. }
        | EngineError::Conflict { .. }
        | EngineError::GateRefused { .. }
        | EngineError::Timeout { .. }
        | EngineError::Failed { .. } => Code::INTERNAL,
    };
    Failure::from_error(code, error)
}

fn malformed(error: Malformed) -> Status {
    Failure::from(error).into()
}

/// The other side knows which node it asked, so the message alone travels.
fn refused(error: PeerError) -> Status {
    let code = match error.kind {
        PeerErrorKind::Unreachable => Code::AGENT_UNREACHABLE,
        PeerErrorKind::Retry => Code::AGENT_RETRY,
        PeerErrorKind::Refused => Code::AGENT_REFUSED,
    };
    // A hint, where the message has one, is a part of it on this path: the leader shows it with the operation.
    Failure::new(code, error.message).into()
}
