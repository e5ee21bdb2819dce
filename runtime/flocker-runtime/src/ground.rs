//! What a node needs on its machine before it can work: Docker's network and the pool. A start that fails takes back
//! what it made itself, and leaves what an earlier one made: containers may use it.

use std::{net::IpAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use flocker_btrfs::BtrfsBackend;
use flocker_docker::DockerEngine;
use flocker_ports::{Backend, EngineError};
use tokio_util::sync::CancellationToken;

use crate::{daemon::AskedToEnd, storage::Storage};

/// Docker may start after us at boot; it is asked again after this pause.
const DOCKER_PAUSE: Duration = Duration::from_secs(2);

/// The network and the pool, and which of them this start made.
#[derive(Debug)]
pub(crate) struct Ground {
    engine: Arc<DockerEngine>,
    made_network: bool,
    backend: Option<Arc<BtrfsBackend>>,
}

impl Ground {
    pub(crate) fn new(engine: Arc<DockerEngine>) -> Self {
        Self { engine, made_network: false, backend: None }
    }

    /// The node's own address on its network, which is made where it is missing. Waits for Docker.
    pub(crate) async fn network(&mut self, stop: &CancellationToken) -> anyhow::Result<IpAddr> {
        loop {
            match self.try_network().await {
                Ok(gateway) => return Ok(gateway),
                Err(error @ EngineError::Unreachable { .. }) => {
                    tracing::warn!(%error, "waiting for the container engine; is `--docker` its socket?");
                }
                Err(error) => return Err(error).context("could not make this node's network"),
            }
            tokio::select! {
                () = stop.cancelled() => return Err(AskedToEnd("the container engine").into()),
                () = tokio::time::sleep(DOCKER_PAUSE) => {}
            }
        }
    }

    async fn try_network(&mut self) -> Result<IpAddr, EngineError> {
        if let Some(gateway) = self.engine.find_network().await? {
            return Ok(gateway);
        }
        // Before it is known to be made: where the answer is lost it may be there.
        self.made_network = true;
        self.engine.ensure_network().await
    }

    /// The open storage; a pool is made and mounted where it is missing.
    pub(crate) async fn storage(&mut self, storage: Storage) -> anyhow::Result<Arc<dyn Backend>> {
        let pool = match storage {
            Storage::Pool(pool) => pool,
            Storage::Plugin(backend) => return Ok(backend),
            Storage::Zfs(backend) => return Ok(backend),
        };
        let backend = Arc::new(BtrfsBackend::open(pool).await.context("could not open the pool")?);
        self.backend = Some(backend.clone());
        Ok(backend)
    }

    /// Takes back what this start made. What cannot be taken back is said, and found again by the next start.
    pub(crate) async fn undo(self) {
        if let Some(backend) = self.backend {
            backend.undo_open().await;
        }
        if self.made_network
            && let Err(error) = self.engine.remove_network().await
        {
            tracing::warn!(%error, "the node's network stays");
        }
    }
}
