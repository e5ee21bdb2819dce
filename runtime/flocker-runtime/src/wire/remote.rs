//! Another node's agent.

use std::time::Duration;

use async_trait::async_trait;
use flocker_api::{
    Address, Code, Failure,
    convert::Malformed,
    limits,
    v1::{self, agent_client::AgentClient},
};
use flocker_model::{AppName, ContainerName, NodeName};
use flocker_ports::{
    EngineError, LogChunk, LogStream, Observation, Order, Peer, PeerError, PeerErrorKind, Reply,
};
use futures::StreamExt;
use tonic::{Request, Status, transport::Channel};

use super::{observation, order};

/// Until a node has said what it sees. The leader asks all nodes at once and plans with those that answered.
const OBSERVE: Duration = Duration::from_secs(2);

/// Until a node has begun to answer with logs: its engine has to find the container.
const LOGS: Duration = Duration::from_secs(10);

/// Another node's agent. Connects when it is first needed, and again after each loss.
#[derive(Debug)]
pub(crate) struct RemotePeer {
    node: NodeName,
    agent: AgentClient<Channel>,
}

impl RemotePeer {
    /// The agent of `node`, which answers at `address`.
    ///
    /// # Errors
    /// When the address cannot be used at all.
    pub(crate) fn new(node: NodeName, address: &Address) -> Result<Self, Failure> {
        let agent = AgentClient::new(address.connect_lazy()?)
            .max_decoding_message_size(limits::MESSAGE_MAX)
            .max_encoding_message_size(limits::MESSAGE_MAX);
        Ok(Self { node, agent })
    }

    fn error(&self, kind: PeerErrorKind, message: String) -> PeerError {
        PeerError { node: self.node.clone(), kind, message }
    }

    /// What the leader should make of a status. Whatever leaves open whether the step was done is *unreachable*.
    fn failed(&self, status: Status) -> PeerError {
        let failure = Failure::from(status);
        let kind = if failure.code == Code::AGENT_RETRY {
            PeerErrorKind::Retry
        } else if [
            Code::AGENT_REFUSED,
            Code::MALFORMED,
            Code::UNSUPPORTED,
            Code::TOO_LARGE,
            Code::INVALID_ARGUMENT,
        ]
        .contains(&failure.code)
        {
            PeerErrorKind::Refused
        } else {
            PeerErrorKind::Unreachable
        };
        self.error(kind, failure.to_string())
    }

    /// It answered, but in words that this program does not know; asking again changes nothing.
    fn malformed(&self, malformed: Malformed) -> PeerError {
        self.error(PeerErrorKind::Refused, Failure::from(malformed).to_string())
    }
}

#[async_trait]
impl Peer for RemotePeer {
    async fn perform(&self, order: Order) -> Result<Reply, PeerError> {
        // No deadline: a first copy may take hours. A peer that dies meanwhile is found by the connection's pings.
        let reply = self
            .agent
            .clone()
            .perform(order::to_message(&order))
            .await
            .map_err(|status| self.failed(status))?;
        order::reply_from_message(reply.into_inner()).map_err(|error| self.malformed(error))
    }

    async fn observe(&self) -> Result<Observation, PeerError> {
        let mut request = Request::new(v1::ObserveRequest {});
        request.set_timeout(OBSERVE);
        let reply =
            self.agent.clone().observe(request).await.map_err(|status| self.failed(status))?;
        observation::from_message(reply.into_inner()).map_err(|error| self.malformed(error))
    }

    async fn logs(
        &self,
        app: &AppName,
        container: Option<&ContainerName>,
        follow: bool,
        tail: Option<u32>,
    ) -> Result<LogStream, PeerError> {
        let request = v1::LogsRequest {
            app: app.to_string(),
            container: container.map(ToString::to_string),
            follow,
            tail,
        };
        let mut agent = self.agent.clone();
        // Not the request's own timeout, which would end the stream itself.
        let stream = tokio::time::timeout(LOGS, agent.logs(request))
            .await
            .map_err(|_| {
                self.error(
                    PeerErrorKind::Unreachable,
                    "it did not begin to send logs in time".to_owned(),
                )
            })?
            .map_err(|status| self.failed(status))?
            .into_inner();
        let node = self.node.clone();
        Ok(Box::pin(stream.map(move |chunk| read_chunk(&node, chunk))))
    }
}

fn read_chunk(
    node: &NodeName,
    chunk: Result<v1::LogChunk, Status>,
) -> Result<LogChunk, EngineError> {
    let failed = |failure: Failure| EngineError::Failed {
        action: format!("could not read logs of node `{node}`"),
        reason: failure.to_string(),
    };
    let chunk = chunk.map_err(|status| failed(status.into()))?;
    observation::chunk_from_message(chunk).map_err(|malformed| failed(malformed.into()))
}
