//! Keeps a copy of the cluster's records up to date: what the leader plans from, and what every node's routes follow.

use std::{sync::Arc, time::Duration};

use flocker_ports::StoreError;
use futures::StreamExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, ClusterError, State};

/// The pause before the store is asked again after it failed, growing to the second figure.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// The records as they are, and as they change. `None` until they were read once.
pub type Followed = watch::Receiver<Option<Arc<State>>>;

/// Follows the records until cancelled. The last known state stays readable while the store is away.
#[must_use]
pub fn follow(cluster: Cluster, stop: CancellationToken) -> Followed {
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        let mut pause = PAUSE.0;
        loop {
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = read_and_watch(&cluster, &sender, &mut pause) => ended,
            };
            if let Err(error) = ended {
                tracing::warn!(%error, "the cluster's records cannot be followed at the moment");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE.1),
            }
        }
    });
    receiver
}

async fn read_and_watch(
    cluster: &Cluster,
    sender: &watch::Sender<Option<Arc<State>>>,
    pause: &mut Duration,
) -> Result<(), ClusterError> {
    let mut state = cluster.read().await?;
    let mut changes = cluster.store().watch("", state.revision).await?;
    for (key, reason) in &state.troubles {
        tracing::error!(key, reason, "a record of the cluster cannot be used");
    }
    sender.send_replace(Some(Arc::new(state.clone())));
    *pause = PAUSE.0;
    while let Some(change) = changes.next().await {
        let change = match change {
            Ok(change) => change,
            // It was away for too long; reading everything again is no trouble.
            Err(StoreError::Compacted { .. }) => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        state.apply(&change.key, change.value.as_ref(), change.revision);
        // Half a transaction may say of an app that it moved, and of its volumes that they did not.
        if !change.more {
            sender.send_replace(Some(Arc::new(state.clone())));
        }
    }
    Ok(())
}
