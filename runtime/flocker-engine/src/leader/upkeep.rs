//! Orders that no operation waits for: what the planner finds between what nodes have and what the records say.

use std::{sync::PoisonError, time::Duration};

use flocker_model::{AppName, Epoch, Left, Leftover, NodeName, Revision};
use flocker_planner::plan::Action;
use flocker_ports::{PeerErrorKind, Step, VolumeEpoch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Leader, draw};
use crate::{
    cluster::{State, Versioned},
    records::Record as _,
};

/// Such an order is not repeated sooner than this: the node was asked again by then, and if it refused, it may refuse again.
const PAUSE: Duration = Duration::from_secs(5);

/// An order, and what is forgotten once it was obeyed.
struct Chore {
    node: NodeName,
    app: AppName,
    epoch: Epoch,
    step: Step,
    leftover: Option<Leftover>,
}

/// How a node is told to remove something for good.
pub(crate) fn removal(what: &Left) -> (AppName, Epoch, Step) {
    match what {
        Left::App { name, epoch } => (name.clone(), *epoch, Step::Remove),
        Left::Volume { id, epoch, .. } => {
            let volumes = vec![VolumeEpoch { id: id.clone(), epoch: *epoch }];
            (lock_of(id), Epoch(u64::MAX), Step::DestroyVolumes { volumes })
        }
        Left::Replica { id, epoch, .. } => {
            let volumes = vec![VolumeEpoch { id: id.clone(), epoch: *epoch }];
            (lock_of(id), Epoch(u64::MAX), Step::DestroyReplicas { volumes })
        }
    }
}

/// Steps about volumes alone are no app's business: the lock that they take on the node is the volume's own.
pub(crate) fn lock_of(volume: &flocker_model::VolumeId) -> AppName {
    // As long as the name of an app may be, and unique long before that.
    let name = volume.as_str().get(..40).unwrap_or(volume.as_str());
    #[expect(clippy::expect_used, reason = "an id consists of what names of apps consist of")]
    AppName::new(name).expect("the beginning of a volume's id is a valid name of an app")
}

impl Leader {
    /// Carries out an action that begins no operation.
    pub(super) async fn look_after(
        &self,
        state: &State,
        action: Action,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) {
        let (revision, leftover) = (state.revision, None);
        let chore = match action {
            Action::Begin { .. } => return,
            Action::Discard { node, app, epoch } => {
                Chore { node, app, epoch, step: Step::Discard, leftover }
            }
            Action::Retire { node, app, epoch, volumes } => {
                let retired = |(id, epoch, point)| (VolumeEpoch { id, epoch }, point);
                let volumes = volumes.into_iter().map(retired).collect();
                Chore { node, app, epoch, step: Step::Retire { volumes }, leftover }
            }
            Action::Start { node, app } => {
                let Some((epoch, step)) = start_of(state, &app) else { return };
                Chore { node, app, epoch, step, leftover }
            }
            Action::Clear { leftover } => {
                let (app, epoch, step) = removal(&leftover.what);
                Chore { node: leftover.node.clone(), app, epoch, step, leftover: Some(leftover) }
            }
            Action::Forget { leftover } => return self.forget(&leftover).await,
        };
        self.give(chore, revision, stop, tasks);
    }

    /// Gives an order, one at a time to a node about an app.
    fn give(
        &self,
        chore: Chore,
        revision: Revision,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) {
        let Some(busy) = self.occupy(&chore.node, &chore.app) else { return };
        let (leader, stop) = (self.clone(), stop.clone());
        // A node that hangs must not delay what is planned for others.
        tasks.spawn(async move {
            let work = async {
                leader.obey(chore, revision).await;
                // What the node says next is older than what it just did, for as long as it takes to ask it again.
                tokio::time::sleep(PAUSE).await;
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = work => {}
            }
            drop(busy);
        });
    }

    async fn obey(&self, chore: Chore, revision: Revision) {
        let Chore { node, app, epoch, step, leftover } = chore;
        tracing::info!(%node, %app, ?step, "putting a node in order with the records");
        let order = Self::order(&draw().0, &app, epoch, revision, step);
        let gone = match (self.tell(&node, order).await, &leftover) {
            (Ok(_), _) => true,
            // The app lives anew under a newer epoch, whose start ends what was there before.
            (Err(e), Some(Leftover { what: Left::App { .. }, .. })) => {
                e.kind == PeerErrorKind::Refused
            }
            (Err(error), _) => {
                tracing::warn!(%error, "a node stays as it is for now");
                false
            }
        };
        if let Some(leftover) = leftover.filter(|_| gone) {
            self.forget(&leftover).await;
        }
    }

    async fn forget(&self, leftover: &Leftover) {
        let cluster = &self.inner.parts.cluster;
        if let Err(error) = cluster.commit(cluster.change().forget(leftover.key())).await {
            tracing::warn!(%error, "the record of a leftover stays for now");
        }
    }

    /// Keeps others from giving a node orders about an app beside an operation, until dropped; `None`: someone does.
    pub(crate) fn occupy(&self, node: &NodeName, app: &AppName) -> Option<Occupied> {
        let key = (node.clone(), app.clone());
        let mut occupied = self.inner.occupied.lock().unwrap_or_else(PoisonError::into_inner);
        occupied.insert(key.clone()).then(|| Occupied { leader: self.clone(), key })
    }
}

/// A node is given an order about an app.
#[derive(Debug)]
pub(crate) struct Occupied {
    leader: Leader,
    key: (NodeName, AppName),
}

impl Drop for Occupied {
    fn drop(&mut self) {
        let occupied = &self.leader.inner.occupied;
        occupied.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// The order to run an app as the records have it.
fn start_of(state: &State, app: &AppName) -> Option<(Epoch, Step)> {
    let Versioned { value: record, .. } = state.apps.get(app)?;
    let volumes = super::commit::attach_orders(&state.volumes_of(state.manifests.get(app)?));
    Some((record.epoch, Step::Start { manifest: record.manifest.clone(), volumes }))
}
