//! Deployments that are not possible where a policy put them first.

use flocker_model::{OperationKind, OperationState};
use flocker_ports::Backend as _;
use flocker_sim::{Trap, Victim};

use crate::pretend::*;

/// Keeps a node from being the first choice.
async fn hog(world: &flocker_sim::World, at: &str) {
    let manifest = format!(
        "name: hog-{at}\nservices:\n  one: {{ image: one, mem_limit: 4g }}\nx-flocker: {{ placement: {{ nodes: [{at}] }} }}\n"
    );
    let id = deployed(world, &manifest).await;
    assert_eq!(ended(world, &id).await.state, OperationState::Done);
}

#[tokio::test(start_paused = true)]
async fn a_deployment_goes_elsewhere_when_the_chosen_node_dies() {
    for step in ["fetch", "create-volumes"] {
        println!("{step}");
        let world = booted().await;
        hog(&world, "n1").await;
        hog(&world, "n3").await;
        let victim = Victim::Node(node("n2"));
        world.set_trap(Trap { step: step.into(), after: true, victim: victim.clone() });

        let id = deployed(&world, SHOP).await;
        let operation = ended(&world, &id).await;

        assert_eq!(operation.state, OperationState::Done);
        let at = owner(&world).await;
        let kind = OperationKind::Deploy { target: at.clone(), tried: vec![node("n2")] };
        assert_eq!(operation.kind, kind);
        world.revive(&victim).unwrap();
        until(|| async { world.state().await.unwrap().leftovers.is_empty() }).await;
        nothing_left_on(&world, &node("n2")).await;
        // And it can still go there.
        let id = world.control().move_app(&app(), Some(&node("n2"))).await.unwrap().0;
        assert_eq!(ended(&world, &id).await.state, OperationState::Done);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_is_possible_nowhere_says_why_for_each_node() {
    let world = booted().await;
    let id = deployed(&world, &SHOP.replace("image: redis", "image: missing")).await;

    let operation = ended(&world, &id).await;

    let OperationState::Aborted { reason } = &operation.state else { panic!("{operation:?}") };
    for name in ["n1", "n2", "n3"] {
        assert!(reason.contains(&format!("node `{name}`")), "{name}: {reason}");
        assert_eq!(world.backend(&node(name)).unwrap().volumes().await.unwrap(), []);
    }
    let state = world.state().await.unwrap();
    assert!(state.apps.is_empty() && state.volumes.is_empty() && state.leftovers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_an_operator_ended_is_not_tried_elsewhere() {
    let world = booted().await;
    let victim = Victim::Node(node("n2"));
    hog(&world, "n1").await;
    hog(&world, "n3").await;
    world.set_trap(Trap { step: "prepare".into(), after: false, victim });
    let id = deployed(&world, SHOP).await;
    until(|| async { !world.trap_is_set() }).await;

    world.control().abort(&id).await.unwrap();

    let operation = ended(&world, &id).await;
    assert!(matches!(operation.state, OperationState::Aborted { .. }), "{operation:?}");
    assert!(!world.state().await.unwrap().apps.contains_key(&app()));
}

#[tokio::test(start_paused = true)]
async fn an_app_that_fits_nowhere_is_explained_node_by_node() {
    let world = booted().await;
    let nowhere = format!("{SHOP}x-flocker: {{ placement: {{ labels: {{ zone: moon }} }} }}\n");

    world.control().deploy(&nowhere, None).await.unwrap();

    until(|| async { world.control().explain("shop").await.is_ok() }).await;
    let told = world.control().explain("shop").await.unwrap();
    let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
    let text = told["text"].as_str().unwrap();
    assert!(text.contains("no node") && text.contains("decided at 2026-01-01T00:00:"), "{text}");
    for node in ["n1", "n2", "n3"] {
        assert!(text.contains(&format!("  {node} ")), "{text}");
    }
    assert!(text.contains("has no label `zone`"), "{text}");
    assert_eq!(told["excluded"].as_array().unwrap().len(), 3, "{told:#}");
}

#[tokio::test(start_paused = true)]
async fn why_an_app_is_where_it_is_can_be_told_without_reading_code() {
    let world = booted().await;
    let id = deployed(&world, SHOP).await;
    ended(&world, &id).await;

    let told = world.control().explain("shop").await.unwrap();

    let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
    let text = told["text"].as_str().unwrap();
    assert!(text.contains("decided at 2026-01-01T00:00:"), "{text}");
    assert!(told["at_ms"].as_u64().unwrap() > 0, "{told:#}");
    let best = &told["candidates"][0];
    let given = &best["opinions"][0];
    assert_eq!((&given["score"], &given["weight"]), (&best["score"], &1.into()), "{told:#}");
    // Three nodes that are alike.
    assert_eq!(told["tie"]["settled_by"], "lot", "{told:#}");
}
