//! Real servers and connections: forwarding, errors across the wire, sizes.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use flocker_api::{
    Address, Client, Code, Failure, Forward, Target, agent_service, incoming_tcp, limits, server,
    v1::{self, agent_client::AgentClient, agent_server::Agent},
};
use tokio::net::TcpListener;
use tokio_stream::StreamExt;
use tonic::{Request, Response, Status};

/// An agent that says its name, in every way in which an agent can answer.
#[derive(Debug, Clone)]
struct Named(&'static str);

#[tonic::async_trait]
impl Agent for Named {
    async fn perform(&self, request: Request<v1::Order>) -> Result<Response<v1::Reply>, Status> {
        let asked = request.into_inner().operation;
        Err(Failure::new(Code::AGENT_REFUSED, format!("`{}` refuses `{asked}`", self.0))
            .hint("ask „nicely“\nor not")
            .into())
    }

    async fn observe(
        &self,
        _: Request<v1::ObserveRequest>,
    ) -> Result<Response<v1::Observation>, Status> {
        Ok(Response::new(v1::Observation {
            troubles: vec![self.0.to_owned()],
            ..Default::default()
        }))
    }

    type LogsStream = tokio_stream::Iter<std::vec::IntoIter<Result<v1::LogChunk, Status>>>;

    async fn logs(
        &self,
        _: Request<v1::LogsRequest>,
    ) -> Result<Response<Self::LogsStream>, Status> {
        let chunk = v1::LogChunk { container: self.0.to_owned(), ..Default::default() };
        let failure = Failure::new(Code::ENGINE_UNREACHABLE, "the engine died");
        Ok(Response::new(tokio_stream::iter(vec![Ok(chunk), Err(failure.into())])))
    }
}

/// A node whose calls go where `target` says.
async fn node(name: &'static str, target: Arc<Mutex<Target>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = Forward::new(agent_service(Named(name)), move || target.lock().unwrap().clone());
    tokio::spawn(server().add_service(service).serve_with_incoming(incoming_tcp(listener)));
    address
}

async fn agent(address: SocketAddr) -> AgentClient<tonic::transport::Channel> {
    AgentClient::new(Address::Tcp(address).connect().await.unwrap())
        .max_encoding_message_size(usize::MAX)
}

fn target(target: Target) -> Arc<Mutex<Target>> {
    Arc::new(Mutex::new(target))
}

async fn who(agent: &mut AgentClient<tonic::transport::Channel>) -> Result<String, Failure> {
    let observation = agent.observe(v1::ObserveRequest {}).await?.into_inner();
    Ok(observation.troubles.concat())
}

#[tokio::test]
async fn a_call_goes_to_whoever_leads_at_that_moment() {
    let leader = node("leader", target(Target::Here)).await;
    let choice = target(Target::Here);
    let mut follower = agent(node("follower", choice.clone()).await).await;
    assert_eq!(who(&mut follower).await.unwrap(), "follower");

    *choice.lock().unwrap() = Target::There(Address::Tcp(leader).connect_lazy().unwrap());

    assert_eq!(who(&mut follower).await.unwrap(), "leader");

    *choice.lock().unwrap() =
        Target::Nowhere(Failure::new(Code::NO_LEADER, "no node leads").hint("wait"));

    assert_eq!(
        who(&mut follower).await,
        Err(Failure::new(Code::NO_LEADER, "no node leads").hint("wait"))
    );
}

#[tokio::test]
async fn errors_and_streams_pass_through_a_forwarder_unchanged() {
    let leader = node("leader", target(Target::Here)).await;
    let there = target(Target::There(Address::Tcp(leader).connect_lazy().unwrap()));
    let mut follower = agent(node("follower", there).await).await;

    let order = v1::Order { operation: "o1".to_owned(), ..Default::default() };
    let refused = Failure::from(follower.perform(order).await.unwrap_err());
    let logs = follower.logs(v1::LogsRequest::default()).await.unwrap().into_inner();
    let logs: Vec<_> =
        logs.map(|chunk| chunk.map(|c| c.container).map_err(Failure::from)).collect().await;

    assert_eq!(
        refused,
        Failure::new(Code::AGENT_REFUSED, "`leader` refuses `o1`").hint("ask „nicely“\nor not")
    );
    assert_eq!(
        logs,
        [Ok("leader".to_owned()), Err(Failure::new(Code::ENGINE_UNREACHABLE, "the engine died"))]
    );
}

#[tokio::test]
async fn two_nodes_that_each_take_the_other_for_the_leader_do_not_pass_a_call_on_forever() {
    let (to_b, to_a) = (target(Target::Here), target(Target::Here));
    let a = node("a", to_b.clone()).await;
    let b = node("b", to_a.clone()).await;
    *to_b.lock().unwrap() = Target::There(Address::Tcp(b).connect_lazy().unwrap());
    *to_a.lock().unwrap() = Target::There(Address::Tcp(a).connect_lazy().unwrap());

    let refused = who(&mut agent(a).await).await.unwrap_err();

    assert_eq!(refused.code, Code::NO_LEADER);
}

#[tokio::test]
async fn a_leader_that_is_gone_is_an_error_that_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = listener.local_addr().unwrap();
    drop(listener);
    let there = target(Target::There(Address::Tcp(gone).connect_lazy().unwrap()));
    let mut follower = agent(node("follower", there).await).await;

    let refused = who(&mut follower).await.unwrap_err();

    assert_eq!(refused.code, Code::NO_LEADER);
    assert!(refused.message.contains("the leading node does not answer"), "{refused}");
    assert!(refused.message.contains("Connection refused"), "{refused}");
}

#[tokio::test]
async fn a_message_larger_than_allowed_is_refused_by_name() {
    let mut agent = agent(node("n1", target(Target::Here)).await).await;
    let order = v1::Order { operation: "x".repeat(limits::MESSAGE_MAX + 1), ..Default::default() };

    let refused = Failure::from(agent.perform(order).await.unwrap_err());

    assert_eq!(refused.code, Code::TOO_LARGE);
}

#[tokio::test]
async fn the_longest_error_arrives_whatever_it_is_made_of() {
    #[derive(Debug)]
    struct Chatty;
    #[tonic::async_trait]
    impl Agent for Chatty {
        async fn perform(&self, _: Request<v1::Order>) -> Result<Response<v1::Reply>, Status> {
            Err(Failure::new(Code::INTERNAL, "ü\n".repeat(99_999)).hint("€".repeat(9_999)).into())
        }
        async fn observe(
            &self,
            _: Request<v1::ObserveRequest>,
        ) -> Result<Response<v1::Observation>, Status> {
            Ok(Response::new(v1::Observation::default()))
        }
        type LogsStream = tokio_stream::Empty<Result<v1::LogChunk, Status>>;
        async fn logs(
            &self,
            _: Request<v1::LogsRequest>,
        ) -> Result<Response<Self::LogsStream>, Status> {
            Ok(Response::new(tokio_stream::empty()))
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(
        server().add_service(agent_service(Chatty)).serve_with_incoming(incoming_tcp(listener)),
    );

    let refused =
        Failure::from(agent(address).await.perform(v1::Order::default()).await.unwrap_err());

    assert_eq!(refused.code, Code::INTERNAL);
    assert!(refused.message.starts_with("ü\nü\n"));
    assert!(refused.hint.unwrap().starts_with("€€"));
}

#[tokio::test]
async fn a_node_that_does_not_know_a_call_is_of_another_version() {
    let address = node("n1", target(Target::Here)).await;
    let mut client = Client::connect(&Address::Tcp(address)).await.unwrap();

    let refused = client.status(v1::StatusRequest {}).await.unwrap_err();

    assert_eq!(refused.code, Code::UNSUPPORTED);
}
