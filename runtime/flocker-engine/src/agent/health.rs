//! Health checks, run by the agent inside the containers: Docker's own would count while a container is gated.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use flocker_model::{AppName, ContainerName, Healthcheck};
use flocker_ports::{Container, EngineError, ExecResult};
use tokio::time::Instant;

use super::{Agent, Assignment};

/// While somebody waits for the first success, checks follow each other this quickly instead of at their interval:
/// the time until an app is known to be ready is time in which its clients wait.
const EAGER: Duration = Duration::from_millis(25);

/// What is known of one container's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Health {
    /// What the checks said; a check that never passed yet, and may still fail, says no.
    pub(super) healthy: bool,
    /// Failures in a row.
    failures: u32,
    /// When the next check is due.
    due: Instant,
    /// When the container was let go.
    since: Instant,
}

/// The health of all containers.
#[derive(Debug, Default)]
pub(super) struct Healths(Mutex<BTreeMap<(AppName, ContainerName), Health>>);

impl Healths {
    /// Forgets what was known of an app's containers: they start anew.
    pub(super) fn reset(&self, app: &AppName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(a, _), _| a != app);
    }

    /// Forgets what was known of one container.
    pub(super) fn reset_one(&self, app: &AppName, name: &ContainerName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(app.clone(), name.clone()));
    }

    /// What is known.
    pub(super) fn of(&self, container: &Container) -> Option<Health> {
        let key = (container.app.clone(), container.name.clone());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied()
    }

    fn note(&self, container: &Container, check: &Healthcheck, passed: bool) -> bool {
        let key = (container.app.clone(), container.name.clone());
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let health =
            all.entry(key).or_insert(Health { healthy: false, failures: 0, due: now, since: now });
        if passed {
            *health = Health {
                healthy: true,
                failures: 0,
                due: now + check.interval,
                since: health.since,
            };
        } else {
            let starting = !health.healthy && now - health.since < check.start_period;
            health.failures += u32::from(!starting);
            health.healthy &= health.failures < check.retries;
            health.due =
                now + if health.healthy { check.interval } else { check.interval.min(EAGER * 8) };
        }
        health.healthy
    }
}

/// How long a container may take to pass its first check.
pub(super) fn patience(check: &Healthcheck) -> Duration {
    check.start_period + (check.interval + check.timeout) * check.retries
}

impl Agent {
    /// Runs the check once, now.
    pub(super) async fn probe(&self, container: &Container, check: &Healthcheck) -> bool {
        let result = self.inner.parts.engine.exec(&container.id, &check.test, check.timeout).await;
        self.note_check(container, check, result)
    }

    /// Runs the check if it is due. What it says does not count if the app was told something else meanwhile: then the
    /// container may have been ended under it.
    pub(super) async fn probe_when_due(
        &self,
        container: &Container,
        check: &Healthcheck,
        assignment: &Assignment,
    ) {
        if self.inner.healths.of(container).is_some_and(|h| h.due > Instant::now()) {
            return;
        }
        let result = self.inner.parts.engine.exec(&container.id, &check.test, check.timeout).await;
        if self.assignment(&container.app).as_ref() == Some(assignment) {
            self.note_check(container, check, result);
        }
    }

    fn note_check(
        &self,
        container: &Container,
        check: &Healthcheck,
        result: Result<ExecResult, EngineError>,
    ) -> bool {
        let passed = matches!(&result, Ok(done) if done.status == 0);
        let before = self.inner.healths.of(container).is_some_and(|h| h.healthy);
        let healthy = self.inner.healths.note(container, check, passed);
        if before && !healthy {
            let said = result.map_or_else(|e| e.to_string(), |done| done.output);
            tracing::warn!(app = %container.app, container = %container.name, said, "a container became unhealthy");
        }
        passed
    }
}
