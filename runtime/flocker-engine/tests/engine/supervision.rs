//! What a node's agent keeps running, and what it must not run again.

use std::{sync::Arc, time::Duration};

use flocker_engine::control::Deployed;
use flocker_model::{NodeName, OperationState};
use flocker_ports::{Container, ContainerState};
use flocker_sim::{Victim, World};
use tokio::time::{Instant, sleep};

use crate::pretend::*;

/// Two that stay, one of which waits for the other, and one that has done its work.
const TRIO: &str = "
name: shop
services:
  web:
    image: web
    restart: always
    depends_on:
      redis: { condition: service_healthy }
      migrate: { condition: service_completed_successfully }
  redis:
    image: redis
    ports: ['6379:6379']
    volumes: ['data:/data']
    restart: always
    healthcheck: { test: [CMD, 'true'], interval: 2s, timeout: 30s, retries: 2 }
  migrate:
    image: migrate
volumes:
  data: {}
x-flocker: { placement: { nodes: [n2] } }
";

fn container(world: &World, at: &NodeName, name: &str) -> Option<Container> {
    let all = world.engine(at).unwrap().containers();
    all.into_iter().find(|c| c.name.as_str() == name)
}

fn runs(world: &World, at: &NodeName, name: &str) -> bool {
    container(world, at, name).is_some_and(|c| matches!(c.state, ContainerState::Running { .. }))
}

fn ended_well(world: &World, at: &NodeName, name: &str) -> bool {
    container(world, at, name)
        .is_some_and(|c| matches!(c.state, ContainerState::Exited { status: 0, .. }))
}

/// The trio, running; the one that has work to do has done it.
async fn trio() -> Arc<World> {
    let world = booted().await;
    let Deployed::Begun(id) = world.control().deploy(TRIO, None).await.unwrap().1 else { panic!() };
    until(|| async { runs(&world, &node("n2"), "migrate") }).await;
    assert!(!runs(&world, &node("n2"), "web"), "web does not wait for migrate");
    let done = container(&world, &node("n2"), "migrate").unwrap();
    world.engine(&node("n2")).unwrap().crash(&done.id, 0);
    assert_eq!(ended(&world, &id).await.state, OperationState::Done);
    assert!(runs(&world, &node("n2"), "web") && runs(&world, &node("n2"), "redis"));
    world
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_comes_back_starts_what_ended_meanwhile_and_nothing_else() {
    let world = trio().await;
    let (at, engine) = (node("n2"), world.engine(&node("n2")).unwrap());
    world.kill(&Victim::Node(at.clone()));
    for name in ["redis", "web"] {
        engine.crash(&container(&world, &at, name).unwrap().id, 137);
    }

    world.revive(&Victim::Node(at.clone())).unwrap();

    until(|| async { runs(&world, &at, "redis") && runs(&world, &at, "web") }).await;
    sleep(Duration::from_secs(5)).await;
    assert!(ended_well(&world, &at, "migrate"), "what was done was done again");
    until(|| async { world.write(&node("n1"), &redis(), "rec-0", b"x").is_ok() }).await;
}

#[tokio::test(start_paused = true)]
async fn a_container_that_was_lost_is_made_again_and_one_that_did_its_work_is_not_run_again() {
    let world = trio().await;
    let at = node("n2");
    let lost = container(&world, &at, "web").unwrap();
    let engine = world.engine(&at).unwrap();
    engine.lose(&lost.id);

    until(|| async { runs(&world, &at, "web") }).await;

    sleep(Duration::from_secs(5)).await;
    assert!(ended_well(&world, &at, "migrate"), "what was done was done again");
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_delays_neither_other_apps_nor_an_order_to_stop() {
    let world = trio().await;
    let (at, engine) = (node("n2"), world.engine(&node("n2")).unwrap());
    let other = "name: other\nservices:\n  one: { image: one, restart: always }\nx-flocker: { placement: { nodes: [n2] } }\n";
    let Deployed::Begun(id) = world.control().deploy(other, None).await.unwrap().1 else {
        panic!()
    };
    assert_eq!(ended(&world, &id).await.state, OperationState::Done);
    engine.set_hanging(true);
    sleep(Duration::from_secs(5)).await;

    let crashed = Instant::now();
    engine.crash(&container(&world, &at, "one").unwrap().id, 1);
    until(|| async { runs(&world, &at, "one") }).await;
    assert!(crashed.elapsed() < Duration::from_secs(2), "{:?}", crashed.elapsed());

    let asked = Instant::now();
    let id = world.control().remove(&app(), false).await.unwrap();
    assert_eq!(ended(&world, &id).await.state, OperationState::Done);
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}
