//! Passes calls on: a node that does not lead hands the calls of one service to the node that does.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderValue, Request, Response};
use tonic::{Status, body::Body, server::NamedService, transport::Channel};
use tower::{Service, ServiceExt};

use crate::{Code, Failure};

/// Marks a call that was passed on once. Two nodes that each take the other for the leader would pass it on forever.
const FORWARDED: &str = "flocker-forwarded";

/// Who answers a call.
#[derive(Debug, Clone)]
pub enum Target {
    /// This node.
    Here,
    /// The node at the other end.
    There(Channel),
    /// Nobody at the moment.
    Nowhere(Failure),
}

/// Decides for each call who answers it.
pub trait Forwarding: Send + Sync + 'static {
    /// Who answers the next call.
    fn target(&self) -> Target;
}

impl<F: Fn() -> Target + Send + Sync + 'static> Forwarding for F {
    fn target(&self) -> Target {
        self()
    }
}

/// The service `S`, answered by this node or by another, whoever it is at the moment of the call. Calls are passed on
/// as they are, streams and errors included: no message is decoded.
#[derive(Clone)]
pub struct Forward<S> {
    local: S,
    forwarding: Arc<dyn Forwarding>,
}

impl<S> Forward<S> {
    /// `local` answers where `forwarding` says so.
    pub fn new(local: S, forwarding: impl Forwarding) -> Self {
        Self { local, forwarding: Arc::new(forwarding) }
    }
}

impl<S: NamedService> fmt::Debug for Forward<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forward").field("service", &S::NAME).finish_non_exhaustive()
    }
}

impl<S: NamedService> NamedService for Forward<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Forward<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Each call waits for the service that it goes to, which is not known before the call.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        match self.forwarding.target() {
            Target::Here => Box::pin(self.local.clone().oneshot(request)),
            Target::Nowhere(failure) => Box::pin(async { Ok(Status::from(failure).into_http()) }),
            Target::There(_) if request.headers().contains_key(FORWARDED) => Box::pin(async {
                let failure = Failure::new(
                    Code::NO_LEADER,
                    "the nodes do not agree at the moment who leads them",
                )
                .hint("try again in a moment");
                Ok(Status::from(failure).into_http())
            }),
            Target::There(channel) => {
                request.headers_mut().insert(FORWARDED, HeaderValue::from_static("1"));
                Box::pin(async {
                    Ok(channel.oneshot(request).await.unwrap_or_else(|error| lost(&error)))
                })
            }
        }
    }
}

/// The leader did not answer. Whether it did what was asked is not known.
fn lost(error: &tonic::transport::Error) -> Response<Body> {
    let failure = Failure::from_error(Code::NO_LEADER, error);
    let failure = Failure::new(
        failure.code,
        format!("the leading node does not answer: {}", failure.message),
    )
    .hint("try again in a moment; apps go on running meanwhile");
    Status::from(failure).into_http()
}
