//! Keeps running what the node was told to run: Compose's `restart`, after a crash of a container, of the container
//! engine, of this daemon or of the machine.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use flocker_model::{App, AppName, Condition, ContainerName, ContainerSpec};
use flocker_planner::restart::{GOOD_RUN, restart_after};
use flocker_ports::{Container, ContainerEvent, ContainerState};
use futures::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Agent, Assignment, Mode, StepError, containers};

/// Everything is looked at this often, also when nobody says that something happened.
const ROUND: Duration = Duration::from_secs(1);

/// The pause before an app is looked at again when more is known to be due.
const AGAIN: Duration = Duration::from_millis(100);

/// What the supervisor remembers of a container.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Past {
    /// Restarts in a row, after short runs.
    short_runs: u32,
    /// Restarts altogether, since this daemon was started.
    pub(super) restarts: u32,
    /// When it is to be started again.
    pub(super) due: Option<Instant>,
}

/// What the supervisor remembers of all containers, for itself and for whoever asks.
#[derive(Debug, Default)]
pub(super) struct Pasts(Mutex<BTreeMap<(AppName, ContainerName), Past>>);

impl Pasts {
    pub(super) fn of(&self, app: &AppName, name: &ContainerName) -> Past {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&(app.clone(), name.clone())).copied().unwrap_or_default()
    }

    /// Forgets what was remembered of an app's containers: they start anew.
    pub(super) fn reset(&self, app: &AppName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(a, _), _| a != app);
    }

    fn set(&self, app: &AppName, name: &ContainerName, past: Past) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((app.clone(), name.clone()), past);
    }
}

impl Agent {
    /// Runs until cancelled. Containers are left as they are at the end: they do not need us.
    ///
    /// Each app is looked after on its own: a command that hangs in one container delays no other app.
    pub async fn supervise(&self, stop: CancellationToken) {
        let mut events = self.inner.parts.engine.events();
        let mut looking = FuturesUnordered::new();
        // Apps that are being looked after, and whether something happened meanwhile.
        let mut busy: BTreeMap<AppName, bool> = BTreeMap::new();
        let mut next = Instant::now();
        loop {
            if next <= Instant::now() {
                next = Instant::now() + ROUND;
                for (name, assignment, mine) in self.to_look_after(&mut busy).await {
                    looking.push(self.look_after(name, assignment, mine));
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(next) => {}
                () = self.inner.supervisor.notified() => next = Instant::now(),
                Some((name, soon)) = looking.next() => {
                    let again = busy.remove(&name).unwrap_or(false);
                    next = next.min(Instant::now() + if again { AGAIN } else { soon });
                }
                event = events.next() => {
                    match event {
                        Some(ContainerEvent::Ended(_) | ContainerEvent::Resync) => {
                            while let Some(Some(_)) = events.next().now_or_never() {}
                        }
                        None => events = self.inner.parts.engine.events(),
                    }
                    busy.values_mut().for_each(|again| *again = true);
                    next = Instant::now();
                }
            }
        }
    }

    /// The apps that nobody looks after at the moment, with their containers.
    async fn to_look_after(
        &self,
        busy: &mut BTreeMap<AppName, bool>,
    ) -> Vec<(AppName, Assignment, Vec<Container>)> {
        let Ok(all) = self.inner.parts.engine.list().await else { return vec![] };
        let mut found = vec![];
        for (name, assignment) in self.assignments().iter() {
            if busy.contains_key(name) || matches!(assignment.mode, Mode::Prepared | Mode::Gone) {
                continue;
            }
            busy.insert(name.clone(), false);
            let mine = all.iter().filter(|c| c.app == *name).cloned().collect();
            found.push((name.clone(), assignment.clone(), mine));
        }
        found
    }

    /// Looks at one app once; returns after what time to look again.
    async fn look_after(
        &self,
        name: AppName,
        assignment: Assignment,
        containers: Vec<Container>,
    ) -> (AppName, Duration) {
        let soon = self.look_after_now(&name, &assignment, &containers).await;
        let soon = soon.unwrap_or_else(|error| {
            tracing::warn!(app = %name, %error, "an app could not be looked after; trying again");
            ROUND
        });
        (name, soon)
    }

    async fn look_after_now(
        &self,
        name: &AppName,
        assignment: &Assignment,
        containers: &[Container],
    ) -> Result<Duration, StepError> {
        let app = containers::app_of(name, assignment)?;
        let mut soon = {
            // An app that is worked on by an operation is looked at when that is done.
            let lock = self.lock_of(name);
            let Ok(_alone) = lock.try_lock() else { return Ok(ROUND) };
            // It may have been told something else since.
            if self.assignment(name).as_ref() != Some(assignment) {
                return Ok(ROUND);
            }
            match assignment.mode {
                Mode::Prepared | Mode::Gone => return Ok(ROUND),
                Mode::Stopped => {
                    let runs = |c: &Container| matches!(c.state, ContainerState::Running { .. });
                    if containers.iter().any(runs) {
                        self.stop_containers(name, Some(&app)).await?;
                    }
                    return Ok(ROUND);
                }
                Mode::Running => self.keep_running(&app, assignment, containers).await?,
            }
        };
        // Without the lock: an order to stop must not wait for a command that hangs.
        let checked = app.containers.iter().filter_map(|spec| {
            let check = spec.healthcheck.as_ref()?;
            let container = containers.iter().find(|c| c.name == spec.name)?;
            matches!(container.state, ContainerState::Running { .. }).then_some((container, check))
        });
        let probes = checked.map(|(container, check)| async {
            self.probe_when_due(container, check, assignment).await;
            check.interval
        });
        for interval in futures::future::join_all(probes).await {
            soon = soon.min(interval);
        }
        Ok(soon)
    }

    async fn keep_running(
        &self,
        app: &App,
        assignment: &Assignment,
        containers: &[Container],
    ) -> Result<Duration, StepError> {
        let mut wake = ROUND;
        for spec in &app.containers {
            match containers.iter().find(|c| c.name == spec.name) {
                Some(container) => {
                    let others = |name: &ContainerName| containers.iter().find(|c| c.name == *name);
                    wake = wake
                        .min(self.keep_container(app, spec, assignment, container, &others).await?);
                }
                None => {
                    tracing::warn!(app = %app.name, container = %spec.name, "a container is missing; making it again");
                    self.make_one_ready(app, spec, assignment.epoch).await?;
                    wake = AGAIN;
                }
            }
        }
        self.serve_routes(app, assignment).await?;
        Ok(wake)
    }

    /// Whether what the container waits for has come, as far as is known.
    fn may_begin<'a>(
        &self,
        app: &App,
        spec: &ContainerSpec,
        others: &impl Fn(&ContainerName) -> Option<&'a Container>,
    ) -> bool {
        spec.depends_on.iter().all(|dependency| {
            let Some(other) = others(&dependency.on) else { return false };
            match (&other.state, dependency.condition) {
                (ContainerState::Exited { status, .. }, Condition::Completed) => *status == 0,
                (ContainerState::Running { .. }, Condition::Started) => true,
                (ContainerState::Running { .. }, Condition::Healthy) => {
                    let checked =
                        app.container(&dependency.on).is_some_and(|c| c.healthcheck.is_some());
                    !checked || self.inner.healths.of(other).is_some_and(|h| h.healthy)
                }
                (
                    ContainerState::Created
                    | ContainerState::Gated
                    | ContainerState::Running { .. }
                    | ContainerState::Exited { .. },
                    _,
                ) => false,
            }
        })
    }

    async fn keep_container<'a>(
        &self,
        app: &App,
        spec: &ContainerSpec,
        assignment: &Assignment,
        container: &Container,
        others: &impl Fn(&ContainerName) -> Option<&'a Container>,
    ) -> Result<Duration, StepError> {
        let mut past = self.inner.pasts.of(&app.name, &spec.name);
        let mut wake = ROUND;
        match container.state {
            ContainerState::Running { since } => {
                past.due = None;
                if self.inner.parts.clock.now().since(since) > GOOD_RUN {
                    past.short_runs = 0;
                }
            }
            // Started, but never let go: this daemon was stopped in between.
            ContainerState::Gated | ContainerState::Created => {
                if !self.may_begin(app, spec, others) {
                    return Ok(AGAIN);
                }
                self.let_go(app, spec, assignment).await?;
            }
            ContainerState::Exited { status, .. } => {
                let Some(pause) = restart_after(spec.restart, status, past.short_runs) else {
                    return Ok(ROUND);
                };
                let now = Instant::now();
                let due = *past.due.get_or_insert(now + pause);
                if due > now {
                    wake = due - now;
                } else {
                    past = Past {
                        short_runs: past.short_runs + 1,
                        restarts: past.restarts + 1,
                        due: None,
                    };
                    let restarts = past.restarts;
                    tracing::info!(app = %app.name, container = %spec.name, status, restarts, "starting a container again");
                    self.inner.healths.reset_one(&app.name, &spec.name);
                    self.let_go(app, spec, assignment).await?;
                }
            }
        }
        self.inner.pasts.set(&app.name, &spec.name, past);
        Ok(wake)
    }
}
