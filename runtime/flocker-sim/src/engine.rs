//! A pretend container engine. It is a program of its own in reality, so it survives the death of the agent beside it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use flocker_model::{ContainerName, Timestamp};
use flocker_ports::{
    Container, ContainerEvent, ContainerId, ContainerPlan, ContainerState, Engine, EngineError,
    ExecResult, LogChunk, LogStream, VerifiedMount,
};
use futures::{Stream, StreamExt as _};
use tokio::sync::broadcast;

use crate::clock::SimClock;

/// How long a container takes to end: about as long as redis takes with its last fsync.
const STOPPING: Duration = Duration::from_millis(30);

/// A pretend container engine. A cheap handle.
#[derive(Debug, Clone)]
pub struct SimEngine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    events: broadcast::Sender<ContainerEvent>,
    clock: SimClock,
}

#[derive(Debug, Default)]
struct State {
    containers: BTreeMap<ContainerId, Held>,
    made: u32,
    dead: bool,
    hangs: bool,
    stubborn: bool,
}

#[derive(Debug, Clone)]
struct Held {
    container: Container,
    mounts: Vec<VerifiedMount>,
}

impl SimEngine {
    /// An engine without containers.
    #[must_use]
    pub fn new(clock: SimClock) -> Self {
        let inner = Inner { state: Mutex::default(), events: broadcast::channel(64).0, clock };
        Self { inner: Arc::new(inner) }
    }

    fn locked<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.inner.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn answered<T>(
        &self,
        work: impl FnOnce(&mut State) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.locked(|state| {
            if state.dead {
                let (address, reason) = ("sim".to_owned(), "it was stopped".to_owned());
                return Err(EngineError::Unreachable { address, reason });
            }
            work(state)
        })
    }

    /// Stops answering, or begins to again. Containers go on running.
    pub fn set_dead(&self, dead: bool) {
        self.locked(|state| state.dead = dead);
        if !dead {
            drop(self.inner.events.send(ContainerEvent::Resync));
        }
    }

    /// Lets every command inside a container run into its timeout, or no longer.
    pub fn set_hanging(&self, hangs: bool) {
        self.locked(|state| state.hangs = hangs);
    }

    /// Lets containers ignore being asked to end, so that they are killed once their grace is over, or no longer.
    pub fn set_stubborn(&self, stubborn: bool) {
        self.locked(|state| state.stubborn = stubborn);
    }

    /// Every container, running or not.
    #[must_use]
    pub fn containers(&self) -> Vec<Container> {
        self.locked(|state| state.containers.values().map(|h| h.container.clone()).collect())
    }

    /// Somebody removes a container behind our back.
    pub fn lose(&self, id: &ContainerId) {
        self.locked(|state| state.containers.remove(id));
    }

    /// Lets a container end by itself.
    pub fn crash(&self, id: &ContainerId, status: i64) {
        let at = self.inner.clock.timestamp();
        self.locked(|state| {
            if let Some(held) = state.containers.get_mut(id) {
                held.end(status, at);
            }
        });
        drop(self.inner.events.send(ContainerEvent::Ended(id.clone())));
    }

    /// The app's processes that run, with what they have mounted.
    #[must_use]
    pub fn running(&self) -> Vec<(Container, Vec<VerifiedMount>)> {
        let running = |held: &Held| {
            let runs = matches!(held.container.state, ContainerState::Running { .. });
            runs.then(|| (held.container.clone(), held.mounts.clone()))
        };
        self.locked(|state| state.containers.values().filter_map(running).collect())
    }
}

impl Held {
    fn end(&mut self, status: i64, at: Timestamp) {
        self.container.state = ContainerState::Exited { status, at, out_of_memory: false };
        self.container.address = None;
        self.mounts.clear();
    }

    fn starts(&self) -> bool {
        matches!(self.container.state, ContainerState::Gated | ContainerState::Running { .. })
    }
}

fn find<'a>(state: &'a mut State, id: &ContainerId) -> Result<&'a mut Held, EngineError> {
    state.containers.get_mut(id).ok_or_else(|| EngineError::NoSuchContainer(id.0.clone()))
}

fn conflict(container: &Container, reason: &str) -> EngineError {
    EngineError::Conflict { container: container.name.to_string(), reason: reason.to_owned() }
}

#[async_trait]
impl Engine for SimEngine {
    async fn ping(&self) -> Result<String, EngineError> {
        self.answered(|_| Ok("sim".to_owned()))
    }

    async fn list(&self) -> Result<Vec<Container>, EngineError> {
        self.answered(|state| Ok(state.containers.values().map(|h| h.container.clone()).collect()))
    }

    async fn ensure_image(&self, image: &str) -> Result<(), EngineError> {
        self.answered(|_| match image.starts_with("missing") {
            true => Err(EngineError::NoImage {
                image: image.to_owned(),
                reason: "it does not exist".to_owned(),
            }),
            false => Ok(()),
        })
    }

    async fn create(&self, plan: &ContainerPlan) -> Result<Container, EngineError> {
        let digest = format!("{:?}", (&plan.spec, &plan.siblings, plan.epoch));
        self.answered(|state| {
            let same = |held: &&Held| {
                held.container.app == plan.app && held.container.name == plan.spec.name
            };
            if let Some(held) = state.containers.values().find(same).cloned() {
                if held.container.digest == digest {
                    return Ok(held.container);
                }
                if matches!(held.container.state, ContainerState::Running { .. }) {
                    return Err(conflict(&held.container, "runs under another plan"));
                }
                state.containers.remove(&held.container.id);
            }
            state.made += 1;
            let container = Container {
                id: ContainerId(format!("c{}", state.made)),
                app: plan.app.clone(),
                name: plan.spec.name.clone(),
                epoch: plan.epoch,
                digest,
                state: ContainerState::Created,
                address: None,
            };
            let held = Held { container: container.clone(), mounts: vec![] };
            state.containers.insert(container.id.clone(), held);
            Ok(container)
        })
    }

    async fn start_gated(&self, id: &ContainerId) -> Result<Container, EngineError> {
        self.answered(|state| {
            let number = u8::try_from(state.made % 250).unwrap_or(1);
            let held = find(state, id)?;
            match held.container.state {
                ContainerState::Running { .. } => {
                    return Err(conflict(&held.container, "runs already"));
                }
                ContainerState::Gated => {}
                ContainerState::Created | ContainerState::Exited { .. } => {
                    held.container.state = ContainerState::Gated;
                    held.container.address = Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, number)));
                }
            }
            Ok(held.container.clone())
        })
    }

    async fn open_gate(
        &self,
        id: &ContainerId,
        mounts: &[VerifiedMount],
    ) -> Result<(), EngineError> {
        let since = self.inner.clock.timestamp();
        self.answered(|state| {
            let held = find(state, id)?;
            match held.container.state {
                ContainerState::Running { .. } => Ok(()),
                ContainerState::Gated => {
                    held.mounts = mounts.to_vec();
                    held.container.state = ContainerState::Running { since };
                    Ok(())
                }
                ContainerState::Created | ContainerState::Exited { .. } => {
                    Err(conflict(&held.container, "is not at its gate"))
                }
            }
        })
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), EngineError> {
        let runs = self.answered(|state| Ok(state.containers.get(id).is_some_and(Held::starts)))?;
        if !runs {
            return Ok(());
        }
        let stubborn = self.locked(|state| state.stubborn);
        tokio::time::sleep(if stubborn { grace } else { STOPPING }).await;
        let at = self.inner.clock.timestamp();
        self.answered(|state| {
            if let Some(held) = state.containers.get_mut(id).filter(|held| held.starts()) {
                held.end(0, at);
            }
            Ok(())
        })
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.answered(|state| {
            state.containers.remove(id);
            Ok(())
        })
    }

    async fn exec(
        &self,
        id: &ContainerId,
        command: &[String],
        limit: Duration,
    ) -> Result<ExecResult, EngineError> {
        if self.locked(|state| state.hangs) {
            tokio::time::sleep(limit).await;
            return Err(EngineError::Timeout { action: command.join(" "), limit });
        }
        self.answered(|state| {
            let held = find(state, id)?;
            if !matches!(held.container.state, ContainerState::Running { .. }) {
                return Err(conflict(&held.container, "does not run"));
            }
            let status = i64::from(command.iter().any(|word| word == "false"));
            Ok(ExecResult { status, output: command.join(" ") })
        })
    }

    async fn logs(
        &self,
        id: &ContainerId,
        name: &ContainerName,
        _follow: bool,
        _tail: Option<u32>,
    ) -> Result<LogStream, EngineError> {
        self.answered(|state| find(state, id).map(drop))?;
        let chunk = LogChunk {
            container: name.clone(),
            stderr: false,
            bytes: Bytes::from_static(b"ready\n"),
        };
        Ok(futures::stream::iter([Ok(chunk)]).boxed())
    }

    fn events(&self) -> Pin<Box<dyn Stream<Item = ContainerEvent> + Send>> {
        let receiver = self.inner.events.subscribe();
        let next = |mut receiver: broadcast::Receiver<ContainerEvent>| async move {
            match receiver.recv().await {
                Ok(event) => Some((event, receiver)),
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    Some((ContainerEvent::Resync, receiver))
                }
                Err(broadcast::error::RecvError::Closed) => None,
            }
        };
        let first = futures::stream::iter([ContainerEvent::Resync]);
        Box::pin(first.chain(futures::stream::unfold(receiver, next)))
    }
}
