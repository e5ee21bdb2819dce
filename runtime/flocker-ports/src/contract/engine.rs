//! What every container engine must do, as plain functions over the engine and a [`Workbench`]. Each leaves nothing behind.

#![expect(clippy::expect_used, reason = "a suite fails by panicking, as its caller does")]

use std::time::Duration;

use flocker_model::{AppName, ContainerSpec, Epoch, Mount, Restart};
use futures::StreamExt;
use tokio::time::timeout;

use crate::{
    Container, ContainerEvent, ContainerId, ContainerPlan, ContainerState, Engine, EngineError,
    VerifiedMount,
};

/// How long an engine may take for what it does in the background.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longer than any scenario runs; a stop that waits so long fails.
const GRACE: Duration = Duration::from_secs(60);

/// For a process that has just begun: it may not know yet how to end when asked.
const GRACE_SHORT: Duration = Duration::from_secs(2);

/// What the scenarios work with. Two scenarios at a time need two apps.
#[derive(Debug, Clone)]
pub struct Workbench {
    /// The app that the containers belong to; there is none of it when a scenario begins.
    pub app: AppName,
    /// An image whose default command runs until it is asked to end, and ends at once when asked.
    pub image: String,
    /// A volume that can be mounted.
    pub volume: VerifiedMount,
}

impl Workbench {
    /// A container with one volume.
    fn plan(&self) -> ContainerPlan {
        let name = "main".parse().expect("it is a valid name");
        let mount = Mount {
            volume: "data".to_owned(),
            path: self.volume.path.clone(),
            read_only: self.volume.read_only,
        };
        ContainerPlan {
            app: self.app.clone(),
            epoch: Epoch(3),
            siblings: vec![name],
            spec: ContainerSpec {
                name: "main".parse().expect("it is a valid name"),
                image: self.image.clone(),
                entrypoint: None,
                command: None,
                environment: [("MODE".to_owned(), "first".to_owned())].into(),
                user: None,
                working_dir: None,
                mounts: vec![mount],
                depends_on: Vec::new(),
                healthcheck: None,
                restart: Restart::No,
                stop_grace_period: GRACE,
                memory: None,
                cpu: None,
                labels: [("note".to_owned(), "by the author".to_owned())].into(),
                links: Vec::new(),
            },
        }
    }

    fn another_plan(&self) -> ContainerPlan {
        let mut plan = self.plan();
        plan.spec.environment.insert("MODE".to_owned(), "second".to_owned());
        plan
    }

    async fn listed(&self, engine: &dyn Engine) -> Vec<Container> {
        let all = engine.list().await.expect("an engine that answers lists");
        all.into_iter().filter(|container| container.app == self.app).collect()
    }

    async fn state(&self, engine: &dyn Engine, id: &ContainerId) -> ContainerState {
        let listed = self.listed(engine).await;
        let found = listed.into_iter().find(|container| &container.id == id);
        found.expect("the container is listed").state
    }

    async fn gated(&self, engine: &dyn Engine) -> Container {
        let made = engine.create(&self.plan()).await.expect("a container can be made");
        engine.start_gated(&made.id).await.expect("a container that was made can be started")
    }

    async fn running(&self, engine: &dyn Engine) -> Container {
        let gated = self.gated(engine).await;
        engine
            .open_gate(&gated.id, std::slice::from_ref(&self.volume))
            .await
            .expect("the gate opens");
        gated
    }
}

fn is_running(state: &ContainerState) -> bool {
    matches!(state, ContainerState::Running { .. })
}

fn is_exited(state: &ContainerState) -> bool {
    matches!(state, ContainerState::Exited { .. })
}

/// Every scenario, one after the other.
pub async fn all(engine: &dyn Engine, bench: &Workbench) {
    create_finds_the_container_of_the_same_plan(engine, bench).await;
    create_replaces_the_container_of_another_plan(engine, bench).await;
    create_leaves_a_running_container_of_another_plan_alone(engine, bench).await;
    create_needs_the_image(engine, bench).await;
    a_start_ends_at_the_gate(engine, bench).await;
    the_gate_opens_once(engine, bench).await;
    the_gate_stays_shut_without_its_volume(engine, bench).await;
    the_gate_stays_shut_on_another_volume(engine, bench).await;
    a_gated_container_stops_at_once(engine, bench).await;
    a_stopped_container_starts_at_its_gate_again(engine, bench).await;
    a_container_that_is_gone_can_be_stopped_and_removed(engine, bench).await;
    the_end_of_a_container_is_told(engine, bench).await;
}

/// Given a container, making it again from the same plan answers the same one.
pub async fn create_finds_the_container_of_the_same_plan(engine: &dyn Engine, bench: &Workbench) {
    let plan = bench.plan();

    let first = engine.create(&plan).await.expect("the first time");
    let second = engine.create(&plan).await.expect("the second time");

    assert_eq!(first, second);
    assert_eq!((&first.app, &first.name, first.epoch), (&plan.app, &plan.spec.name, plan.epoch));
    assert_eq!(first.state, ContainerState::Created);
    assert_eq!(bench.listed(engine).await, std::slice::from_ref(&first));
    engine.remove(&first.id).await.expect("it can be removed");
}

/// Given a container that does not run, one from another plan, or for another epoch, takes its place.
pub async fn create_replaces_the_container_of_another_plan(engine: &dyn Engine, bench: &Workbench) {
    let first = bench.gated(engine).await;
    let mut newer = bench.another_plan();
    newer.epoch = newer.epoch.next();

    let second = engine.create(&bench.another_plan()).await.expect("another specification");
    let third = engine.create(&newer).await.expect("another epoch");

    assert_ne!(first.digest, second.digest);
    assert_eq!(second.digest, third.digest);
    assert_eq!(third.epoch, newer.epoch);
    assert_eq!(bench.listed(engine).await, std::slice::from_ref(&third));
    engine.remove(&third.id).await.expect("it can be removed");
}

/// Given a container whose own process runs, nothing takes its place.
pub async fn create_leaves_a_running_container_of_another_plan_alone(
    engine: &dyn Engine,
    bench: &Workbench,
) {
    let running = bench.running(engine).await;

    let refused = engine.create(&bench.another_plan()).await;
    let found = engine.create(&bench.plan()).await.expect("the same plan finds it");

    assert!(matches!(refused, Err(EngineError::Conflict { .. })), "got {refused:?}");
    assert_eq!(found.id, running.id);
    assert!(is_running(&found.state), "got {:?}", found.state);
    engine.remove(&running.id).await.expect("it can be removed");
}

/// Given no such image, no container is made.
pub async fn create_needs_the_image(engine: &dyn Engine, bench: &Workbench) {
    let mut plan = bench.plan();
    plan.spec.image = "flocker.invalid/no-such-image:1".to_owned();

    let refused = engine.create(&plan).await;

    assert!(matches!(refused, Err(EngineError::NoImage { .. })), "got {refused:?}");
    assert_eq!(bench.listed(engine).await, []);
}

/// Given a started container, its own process does not run, and starting it again changes nothing.
pub async fn a_start_ends_at_the_gate(engine: &dyn Engine, bench: &Workbench) {
    let gated = bench.gated(engine).await;

    let again = engine.start_gated(&gated.id).await.expect("the second time");

    assert_eq!(gated.state, ContainerState::Gated);
    assert_eq!(gated, again);
    assert!(gated.address.is_some(), "it is on the node's network already");
    let refused = engine.exec(&gated.id, &["true".to_owned()], PATIENCE).await;
    assert!(matches!(refused, Err(EngineError::Conflict { .. })), "got {refused:?}");
    engine.remove(&gated.id).await.expect("it can be removed");
}

/// Given an open gate, opening it again changes nothing, and there is no way back to the gate but through a stop.
pub async fn the_gate_opens_once(engine: &dyn Engine, bench: &Workbench) {
    let running = bench.running(engine).await;
    let before = bench.state(engine, &running.id).await;

    engine
        .open_gate(&running.id, std::slice::from_ref(&bench.volume))
        .await
        .expect("the second time");

    assert!(is_running(&before), "got {before:?}");
    assert_eq!(bench.state(engine, &running.id).await, before);
    let refused = engine.start_gated(&running.id).await;
    assert!(matches!(refused, Err(EngineError::Conflict { .. })), "got {refused:?}");
    engine.remove(&running.id).await.expect("it can be removed");
}

/// Given a container that was made with a volume, its process never runs without.
pub async fn the_gate_stays_shut_without_its_volume(engine: &dyn Engine, bench: &Workbench) {
    let gated = bench.gated(engine).await;

    let refused = engine.open_gate(&gated.id, &[]).await;

    assert!(matches!(refused, Err(EngineError::GateRefused { .. })), "got {refused:?}");
    let state = bench.state(engine, &gated.id).await;
    assert!(!is_running(&state), "got {state:?}");
    engine.remove(&gated.id).await.expect("it can be removed");
}

/// Given a folder that is not the announced volume, the process never runs on it.
pub async fn the_gate_stays_shut_on_another_volume(engine: &dyn Engine, bench: &Workbench) {
    let gated = bench.gated(engine).await;
    let mut other = bench.volume.clone();
    other.inode += 1;

    let refused = engine.open_gate(&gated.id, &[other]).await;

    assert!(matches!(refused, Err(EngineError::GateRefused { .. })), "got {refused:?}");
    let state = bench.state(engine, &gated.id).await;
    assert!(!is_running(&state), "got {state:?}");
    engine.remove(&gated.id).await.expect("it can be removed");
}

/// Given a gated container, a stop does not wait for a process that is not there, and a second one has no effect.
pub async fn a_gated_container_stops_at_once(engine: &dyn Engine, bench: &Workbench) {
    let gated = bench.gated(engine).await;

    let stopped = timeout(GRACE / 2, engine.stop(&gated.id, GRACE)).await;

    stopped.expect("it did not wait").expect("it can be stopped");
    engine.stop(&gated.id, GRACE).await.expect("the second time");
    let state = bench.state(engine, &gated.id).await;
    assert!(is_exited(&state), "got {state:?}");
    let refused = engine.open_gate(&gated.id, std::slice::from_ref(&bench.volume)).await;
    assert!(matches!(refused, Err(EngineError::Conflict { .. })), "got {refused:?}");
    engine.remove(&gated.id).await.expect("it can be removed");
}

/// Given a container that ran and was stopped, its next start is gated like the first.
pub async fn a_stopped_container_starts_at_its_gate_again(engine: &dyn Engine, bench: &Workbench) {
    let running = bench.running(engine).await;

    engine.stop(&running.id, GRACE_SHORT).await.expect("it can be stopped");
    engine.stop(&running.id, GRACE_SHORT).await.expect("the second time");
    let ended = bench.state(engine, &running.id).await;
    let gated = engine.start_gated(&running.id).await.expect("it can be started again");
    engine
        .open_gate(&running.id, std::slice::from_ref(&bench.volume))
        .await
        .expect("the gate opens again");

    assert!(is_exited(&ended), "got {ended:?}");
    assert_eq!(gated.state, ContainerState::Gated);
    let state = bench.state(engine, &running.id).await;
    assert!(is_running(&state), "got {state:?}");
    engine.remove(&running.id).await.expect("it can be removed");
}

/// Given a container that was removed, what should not be there is not, and the rest says so.
pub async fn a_container_that_is_gone_can_be_stopped_and_removed(
    engine: &dyn Engine,
    bench: &Workbench,
) {
    let id = bench.running(engine).await.id;

    engine.remove(&id).await.expect("also while it runs");
    engine.remove(&id).await.expect("the second time");
    engine.stop(&id, GRACE).await.expect("it does not run");

    assert_eq!(bench.listed(engine).await, []);
    for refused in [
        engine.start_gated(&id).await.map(|_| ()),
        engine.open_gate(&id, std::slice::from_ref(&bench.volume)).await,
        engine.exec(&id, &["true".to_owned()], PATIENCE).await.map(|_| ()),
    ] {
        assert!(matches!(refused, Err(EngineError::NoSuchContainer(_))), "got {refused:?}");
    }
}

/// Given someone listens, the end of a container is heard.
pub async fn the_end_of_a_container_is_told(engine: &dyn Engine, bench: &Workbench) {
    let running = bench.running(engine).await;
    let mut events = engine.events();
    let first = timeout(PATIENCE, events.next()).await.expect("in time");
    assert_eq!(first, Some(ContainerEvent::Resync), "whoever begins to listen knows nothing yet");

    engine.stop(&running.id, GRACE_SHORT).await.expect("it can be stopped");

    let heard = async {
        while let Some(event) = events.next().await {
            if event == ContainerEvent::Ended(running.id.clone()) {
                return true;
            }
        }
        false
    };
    assert!(timeout(PATIENCE, heard).await.expect("in time"), "the stream ended");
    engine.remove(&running.id).await.expect("it can be removed");
}
