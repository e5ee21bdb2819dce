//! What the agent sees on its node.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::PoisonError,
    time::Duration,
};

use flocker_model::{ByteSize, Capacity, OperationId, Role, Timestamp, VolumeId, VolumeState};
use flocker_ports::{Container, Observation, ObservedApp, ObservedContainer, ReplicaSeen};

use super::{Agent, Assignment, Mode};

/// What does not answer within this time is unknown. Less than the leader's own patience: a hung container engine must
/// not look like a dead node.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// A replica that is further behind than this takes space for a reason that an operator should know, where there is little.
const LONG_BEHIND: Duration = Duration::from_hours(1);

/// What is said of a pool that is getting full while snapshots are kept for replicas that are far behind. They are never let
/// go by themselves: the replica would have to be sent from the beginning, and whether that is better is not ours to say.
fn crowded(pool: Capacity, replicas: &[ReplicaSeen]) -> Option<String> {
    let little = pool.total.0 > 0 && pool.free.0 < pool.total.0 / 10;
    let far = |replica: &&ReplicaSeen| match replica.behind {
        Some(behind) => behind >= LONG_BEHIND,
        None => replica.trouble.is_some(),
    };
    let nodes: BTreeSet<&str> =
        replicas.iter().filter(far).map(|replica| replica.node.as_str()).collect();
    if !little || nodes.is_empty() {
        return None;
    }
    let nodes: Vec<_> = nodes.into_iter().map(|node| format!("`{node}`")).collect();
    let (nodes, free) = (nodes.join(", "), pool.free);
    Some(format!(
        "{free} of the pool are free, and snapshots are kept for replicas on {nodes}, which are far behind; what was deleted since takes space until they are up to date again, or `flocker replica rm` lets them go"
    ))
}

async fn within<T, E: std::fmt::Display>(
    what: &str,
    asked: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match tokio::time::timeout(ANSWER_WITHIN, asked).await {
        Ok(answer) => answer.map_err(|e| e.to_string()),
        Err(_) => Err(format!("{what} did not answer within {}s", ANSWER_WITHIN.as_secs())),
    }
}

impl Agent {
    pub(super) async fn look(&self) -> Observation {
        let parts = &self.inner.parts;
        let mut troubles = parts.routes.troubles();
        troubles.extend(parts.backend.troubles());
        let mut stats = parts.machine.stats();
        stats.at = parts.clock.now();
        stats.streams = parts.backend.describe().streams;
        let mut heard = |result: Result<(), String>| troubles.extend(result.err());
        let (capacity, volumes, containers) = tokio::join!(
            within("the pool", parts.backend.capacity()),
            within("the pool", parts.backend.volumes()),
            within("the container engine", parts.engine.list()),
        );
        heard(capacity.as_ref().map(drop).map_err(Clone::clone));
        stats.pool = capacity.unwrap_or_default();
        heard(volumes.as_ref().map(drop).map_err(Clone::clone));
        let written = match &volumes {
            Ok(volumes) => self.written(volumes).await,
            Err(_) => Ok(BTreeMap::new()),
        };
        heard(written.as_ref().map(drop).map_err(Clone::clone));
        heard(containers.as_ref().map(drop).map_err(Clone::clone));
        let apps = containers.ok().map(|containers| self.apps_seen(&containers));
        let (volumes, written) = (volumes.ok(), written.unwrap_or_default());
        let storage = parts.backend.plugin();
        let (sending, mut replicas) = (self.sending(), self.replicas_seen());
        heard(self.measure(&mut replicas).await);
        troubles.extend(crowded(stats.pool, &replicas));
        Observation { stats, volumes, written, apps, sending, replicas, troubles, storage }
    }

    /// When somebody last wrote to those that are live.
    async fn written(
        &self,
        volumes: &[VolumeState],
    ) -> Result<BTreeMap<VolumeId, Timestamp>, String> {
        let live = volumes.iter().filter(|volume| volume.role == Role::Live);
        let live: Vec<VolumeId> = live.map(|volume| volume.id.clone()).collect();
        within("the pool", self.inner.parts.backend.written(&live)).await
    }

    /// Notes what each replica lacks.
    async fn measure(&self, replicas: &mut [ReplicaSeen]) -> Result<(), String> {
        let known = |replica: &ReplicaSeen| {
            Some((replica.volume.clone(), replica.at.as_ref()?.tag.clone()))
        };
        let asked: Vec<_> = replicas.iter().filter_map(known).collect();
        if asked.is_empty() {
            return Ok(());
        }
        let sizes = within("the pool", self.inner.parts.backend.written_since(&asked)).await?;
        let known = replicas.iter_mut().filter(|replica| replica.at.is_some());
        known.zip(sizes).for_each(|(replica, size)| replica.lacks = size);
        Ok(())
    }

    fn apps_seen(&self, containers: &[Container]) -> Vec<ObservedApp> {
        let assignments = self.assignments();
        let mut names: Vec<_> =
            assignments.keys().chain(containers.iter().map(|c| &c.app)).cloned().collect();
        names.sort_unstable();
        names.dedup();
        let held = |name: &flocker_model::AppName| {
            let mine: Vec<_> = containers.iter().filter(|c| &c.app == name).collect();
            let assignment = assignments.get(name);
            // Nothing is left of it but the memory of its epoch.
            if mine.is_empty() && assignment.is_none_or(|a: &Assignment| a.mode == Mode::Gone) {
                return None;
            }
            let made = mine.iter().map(|c| c.epoch).max();
            let epoch = assignment.map(|a| a.epoch).or(made)?;
            let containers = mine.iter().map(|c| self.container_seen(c)).collect();
            let kept = assignment.is_some_and(|a| a.mode == Mode::Running);
            Some(ObservedApp { app: name.clone(), epoch, kept, containers })
        };
        names.iter().filter_map(held).collect()
    }

    fn container_seen(&self, container: &Container) -> ObservedContainer {
        let past = self.inner.pasts.of(&container.app, &container.name);
        let now = tokio::time::Instant::now();
        ObservedContainer {
            name: container.name.clone(),
            state: container.state.clone(),
            healthy: self.inner.healths.of(container).map(|h| h.healthy),
            restarts: past.restarts,
            restart_at: past
                .due
                .map(|due| self.inner.parts.clock.now() + due.saturating_duration_since(now)),
        }
    }

    fn sending(&self) -> Vec<(OperationId, ByteSize)> {
        let sending = self.inner.sending.lock().unwrap_or_else(PoisonError::into_inner);
        sending.iter().map(|(operation, progress)| (operation.clone(), progress.bytes())).collect()
    }
}

#[cfg(test)]
mod tests {
    use flocker_model::NodeName;
    use flocker_ports::Sent;

    use super::*;

    #[test]
    fn a_pool_that_fills_for_replicas_that_are_away_is_named_with_them() {
        let replica = |node: &str, behind: Option<u64>, trouble: Option<&str>| ReplicaSeen {
            lacks: None,
            volume: VolumeId::new("v").unwrap(),
            node: NodeName::new(node).unwrap(),
            at: None,
            behind: behind.map(Duration::from_secs),
            sending: None,
            sent: Sent::default(),
            trouble: trouble.map(str::to_owned),
        };
        let all = [
            replica("n2", Some(12), None),
            replica("n3", Some(90_000), Some("away")),
            replica("n4", None, Some("refused")),
            replica("n5", None, None),
        ];
        let pool = |free| Capacity { total: ByteSize::gib(100), free: ByteSize::gib(free) };

        let said = crowded(pool(9), &all).unwrap();

        assert!(said.contains("9.0 GiB") && said.contains("`n3`, `n4`"), "{said}");
        assert_eq!(crowded(pool(11), &all), None);
        assert_eq!(crowded(pool(9), &all[..1]), None);
        assert_eq!(crowded(Capacity::default(), &all), None, "nothing is known of the pool");
    }
}
