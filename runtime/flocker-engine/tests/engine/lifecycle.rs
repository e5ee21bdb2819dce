//! Deployments, updates and removals, with somebody dying at each of their steps.

use std::time::Duration;

use flocker_model::{AppState, OperationState, Phase};
use flocker_ports::Backend as _;
use flocker_sim::{Trap, Victim, World};
use tokio::time::sleep;

use crate::pretend::*;

fn changed(manifest: &str) -> String {
    manifest.replace("restart: always", "restart: always\n    environment: { GREETING: hello }")
}

fn victim(who: &str) -> Victim {
    if who == "leader" { Victim::Leader } else { Victim::Node(node(who)) }
}

/// Waits until the trap has sprung, and starts again who fell into it.
async fn sprung(world: &World, trap: &Trap) {
    until(|| async { !world.trap_is_set() }).await;
    sleep(Duration::from_millis(700)).await;
    world.revive(&trap.victim).unwrap();
}

fn traps(steps: &'static [&'static str]) -> impl Iterator<Item = Trap> {
    let sides = |step| [(step, false), (step, true)];
    steps.iter().flat_map(sides).flat_map(|(step, after)| {
        ["leader", "n2"].map(|who| Trap { step: (*step).to_owned(), after, victim: victim(who) })
    })
}

#[tokio::test(start_paused = true)]
async fn a_deployment_killed_at_any_step_is_finished() {
    for trap in traps(&["fetch", "create-volumes", "prepare", "start", "await-routes"]) {
        println!("{trap:?}");
        let world = booted().await;
        world.set_trap(trap.clone());
        let _ = world.control().deploy(&shop_on("n2"), None).await;
        sprung(&world, &trap).await;

        assert_eq!(last(&world).await, OperationState::Done);
        until(|| async { world.write(&node("n1"), &redis(), "rec-0", b"x").is_ok() }).await;
        settled(&world, &[0]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_killed_at_any_step_is_finished_or_undone_and_loses_nothing() {
    for trap in traps(&["fetch", "await-routes", "stop", "prepare", "start"]) {
        println!("{trap:?}");
        let world = booted().await;
        let first = shop_on("n2");
        let id = deployed(&world, &first).await;
        assert_eq!(ended(&world, &id).await.state, OperationState::Done);
        let client = Client::start(world.clone(), node("n1"));
        sleep(Duration::from_millis(300)).await;
        world.set_trap(trap.clone());

        let id = deployed(&world, &changed(&first)).await;
        sprung(&world, &trap).await;
        let wanted = match ended(&world, &id).await.state {
            OperationState::Done => changed(&first),
            OperationState::Aborted { .. } => first,
            other => panic!("{other:?}"),
        };

        assert_eq!(world.state().await.unwrap().apps[&app()].value.manifest, wanted);
        sleep(Duration::from_secs(2)).await;
        let acknowledged = client.end().await;
        settled(&world, &acknowledged).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_removal_killed_at_any_step_is_finished_and_leaves_nothing() {
    for trap in traps(&["stop", "remove", "destroy-volumes"]) {
        println!("{trap:?}");
        let world = booted().await;
        let id = deployed(&world, &shop_on("n2")).await;
        assert_eq!(ended(&world, &id).await.state, OperationState::Done);
        world.set_trap(trap.clone());

        world.control().remove(&app(), true).await.unwrap();
        sprung(&world, &trap).await;

        assert_eq!(last(&world).await, OperationState::Done);
        let state = world.state().await.unwrap();
        assert!(state.apps.is_empty() && state.volumes.is_empty(), "{:?}", state.volumes);
        nothing_left_on(&world, &node("n2")).await;
        // The name is free again, and nothing of before stands in the way.
        let again = deployed(&world, &shop_on("n3")).await;
        assert_eq!(ended(&world, &again).await.state, OperationState::Done);
    }
}

#[tokio::test(start_paused = true)]
async fn an_app_that_comes_back_after_its_removal_finds_its_data() {
    let world = shop().await;
    let at = owner(&world).await;
    until(|| async { world.write(&node("n1"), &redis(), "rec-0", b"x").is_ok() }).await;
    let gone = world.control().remove(&app(), false).await.unwrap();
    assert_eq!(ended(&world, &gone).await.state, OperationState::Done);

    let again = deployed(&world, SHOP).await;

    assert_eq!(ended(&world, &again).await.state, OperationState::Done);
    assert_eq!(owner(&world).await, at);
    settled(&world, &[0]).await;
}

#[tokio::test(start_paused = true)]
async fn an_app_that_is_being_removed_is_not_said_to_be_deployed_already() {
    let world = shop().await;
    world.control().remove(&app(), false).await.unwrap();

    let refused = world.control().deploy(SHOP, None).await.unwrap_err();

    assert_eq!(refused.code, "app-busy");
}

#[tokio::test(start_paused = true)]
async fn two_apps_that_adopt_one_volume_never_both_write_to_it() {
    let world = booted().await;
    let volume = volume_on(&world, "common", "n2").await;
    let control = world.control();
    let (red, blue) = (adopting("red", "common"), adopting("blue", "common"));

    let (one, other) = tokio::join!(control.deploy(&red, None), control.deploy(&blue, None));

    drop((one, other));
    last(&world).await;
    let running = world.engine(&node("n2")).unwrap().running();
    assert_eq!(running.len(), 1, "{running:?}");
    let state = world.state().await.unwrap();
    assert_eq!(state.volumes[&volume].value.app.as_ref(), Some(&running[0].0.app));
    assert_eq!(state.apps.len(), 1, "{:?}", state.apps);
}

#[tokio::test(start_paused = true)]
async fn an_update_does_not_claim_a_volume_whose_data_is_on_another_node() {
    let world = booted().await;
    let volume = volume_on(&world, "far", "n3").await;
    let first = shop_on("n2");
    let id = deployed(&world, &first).await;
    ended(&world, &id).await;
    let adopts = first
        .replace("volumes: ['data:/data']", "volumes: ['data:/data', 'far:/far']")
        .replace("volumes:\n  data:", "volumes:\n  far: { external: true, name: far }\n  data:");

    let id = deployed(&world, &adopts).await;
    let operation = ended(&world, &id).await;

    assert!(matches!(operation.state, OperationState::Aborted { .. }), "{operation:?}");
    assert_eq!(operation.report.blackout, None, "the app was stopped for nothing");
    let known = world.state().await.unwrap().volumes[&volume].value.clone();
    assert_eq!((known.owner, known.app), (Some(node("n3")), None));
}

#[tokio::test(start_paused = true)]
async fn an_external_volume_stays_when_its_app_goes_however_it_is_named() {
    let world = booted().await;
    let volume = volume_on(&world, "red.data", "n2").await;
    let id = deployed(&world, &adopting("red", "red.data")).await;
    assert_eq!(ended(&world, &id).await.state, OperationState::Done);

    let red = "red".parse().unwrap();
    let id = world.control().remove(&red, true).await.unwrap();

    assert_eq!(ended(&world, &id).await.state, OperationState::Done);
    let known = world.state().await.unwrap().volumes[&volume].value.clone();
    assert_eq!((known.owner, known.app), (Some(node("n2")), None));
    assert_eq!(world.backend(&node("n2")).unwrap().volumes().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn two_apps_that_ask_for_one_port_at_once_do_not_both_get_it() {
    let world = booted().await;
    let control = world.control();
    let other = SHOP.replace("name: shop", "name: kiosk");

    let (one, two) = tokio::join!(control.deploy(SHOP, None), control.deploy(&other, None));

    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    let deployed = |a: &flocker_engine::cluster::Versioned<flocker_model::AppRecord>| {
        a.value.state == AppState::Deployed
    };
    assert_eq!(world.state().await.unwrap().apps.values().filter(|a| deployed(a)).count(), 1);
}

/// Given an app whose process ends at once, whoever deployed it hears so, and the app stays for a closer look.
#[tokio::test(start_paused = true)]
async fn an_app_that_ends_at_once_is_not_called_deployed() {
    let world = booted().await;
    let manifest = "name: shop\nservices: { redis: { image: redis } }\n";
    let id = deployed(&world, manifest).await;
    while world.state().await.unwrap().operations[&id].phase < Phase::Unpark {
        sleep(Duration::from_millis(1)).await;
    }
    let at = owner(&world).await;
    let engine = world.engine(&at).unwrap();
    let (container, _) = engine.running().into_iter().next().unwrap();
    engine.crash(&container.id, 3);

    let operation = ended(&world, &id).await;

    let OperationState::Failed { reason } = operation.state else {
        panic!("{:?}", operation.state)
    };
    assert!(reason.contains("`redis` ended with status 3"), "{reason}");
    assert!(world.state().await.unwrap().apps.contains_key(&app()));
}
