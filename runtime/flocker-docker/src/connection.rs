//! The way to Docker's API: made when it is needed, made again when it broke. Translates every error of it.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use bollard::{API_DEFAULT_VERSION, Docker, errors::Error};
use flocker_ports::EngineError;

/// How long Docker may take to begin an answer. It may have to unpack a container's layers on a busy disk first.
const TIMEOUT_SECONDS: u64 = 60;

/// A client whose API version was agreed with the Docker that answers at the moment.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: PathBuf,
    // Dropped after each failure to reach Docker: another release may answer next.
    docker: Mutex<Option<Docker>>,
}

impl Connection {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket, docker: Mutex::new(None) }
    }

    /// The client. Costs a round trip after a failure, and nothing otherwise.
    pub(crate) async fn docker(&self) -> Result<Docker, EngineError> {
        let known = self.docker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(docker) = known {
            return Ok(docker);
        }
        let socket = self.socket.to_string_lossy();
        let docker = Docker::connect_with_unix(&socket, TIMEOUT_SECONDS, API_DEFAULT_VERSION)
            .map_err(|error| self.error("connect to Docker", error))?;
        let docker = docker
            .negotiate_version()
            .await
            .map_err(|error| self.error("connect to Docker", error))?;
        *self.docker.lock().unwrap_or_else(PoisonError::into_inner) = Some(docker.clone());
        Ok(docker)
    }

    /// What an error of Docker's means to the caller. `action` says what could not be done: "start container `x`".
    pub(crate) fn error(&self, action: impl Into<String>, error: Error) -> EngineError {
        let action = format!("could not {}", action.into());
        self.error_or(error, |reason| EngineError::Failed { action, reason })
    }

    /// The same, where an answer of Docker's has a meaning of its own.
    pub(crate) fn error_or(
        &self,
        error: Error,
        meaning: impl FnOnce(String) -> EngineError,
    ) -> EngineError {
        if is_unreachable(&error) {
            *self.docker.lock().unwrap_or_else(PoisonError::into_inner) = None;
            let address = self.socket.display().to_string();
            return EngineError::Unreachable { address, reason: reason(&error) };
        }
        meaning(reason(&error))
    }
}

fn is_unreachable(error: &Error) -> bool {
    matches!(
        error,
        Error::SocketNotFoundError(_)
            | Error::IOError { .. }
            | Error::HyperResponseError { .. }
            | Error::HyperLegacyError { .. }
            | Error::RequestTimeoutError
    )
}

/// Whether Docker answered with this HTTP status.
pub(crate) fn is_status(error: &Error, status: u16) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code, .. } if *status_code == status)
}

/// Docker's own words, without the client's around them; for other errors, the innermost cause says most.
pub(crate) fn reason(error: &Error) -> String {
    if let Error::DockerResponseServerError { message: said, .. }
    | Error::DockerStreamError { error: said } = error
    {
        return said.trim().to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use flocker_ports::{ContainerId, Engine};
    use futures::TryStreamExt;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{UnixListener, UnixStream},
    };

    use super::*;
    use crate::{DockerConfig, DockerEngine};

    #[tokio::test]
    async fn a_docker_that_is_not_there_is_unreachable() {
        let connection = Connection::new("/nowhere/docker.sock".into());

        let refused = connection.docker().await;

        assert!(matches!(refused, Err(EngineError::Unreachable { .. })), "got {refused:?}");
    }

    /// Answers the question for the version, and ends in the middle of every other answer.
    async fn die_while_answering(mut stream: UnixStream, until: &str) {
        let mut question = Vec::new();
        while !question.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut question).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let version = br#"{"ApiVersion":"1.41"}"#;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", version.len());
        let whole = [head.as_bytes(), version].concat();
        let answer = if question.starts_with(b"GET /version ") { &whole } else { until.as_bytes() };
        let _ = stream.write_all(answer).await;
    }

    /// Given a Docker that ends before, in or after the head of an answer, each verb says that it does not answer.
    #[tokio::test]
    async fn a_docker_that_dies_while_it_answers_is_unreachable() {
        let folder = tempfile::tempdir().unwrap();
        for until in ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n[{"] {
            let socket = folder.path().join(format!("{}.sock", until.len()));
            let listener = UnixListener::bind(&socket).unwrap();
            let dying = tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    die_while_answering(stream, until).await;
                }
            });
            let engine = DockerEngine::connect(DockerConfig {
                socket,
                node: "n1".parse().unwrap(),
                state_dir: folder.path().into(),
                gate: folder.path().join("gate"),
                subnet: None,
            });
            let (id, name) = (ContainerId("c".to_owned()), "c".parse().unwrap());
            let logs = async {
                let chunks = engine.logs(&id, &name, false, None).await?;
                chunks.try_collect::<Vec<_>>().await.map(drop)
            };
            for (verb, answer) in [
                ("list", engine.list().await.map(drop)),
                ("ensure_image", engine.ensure_image("i").await),
                ("ensure_network", engine.ensure_network().await.map(drop)),
                ("start_gated", engine.start_gated(&id).await.map(drop)),
                ("open_gate", engine.open_gate(&id, &[]).await),
                ("stop", engine.stop(&id, std::time::Duration::ZERO).await),
                ("remove", engine.remove(&id).await),
                ("logs", logs.await),
            ] {
                assert!(
                    matches!(answer, Err(EngineError::Unreachable { .. })),
                    "{verb} after {until:?}: {answer:?}"
                );
            }
            dying.abort();
        }
    }
}
