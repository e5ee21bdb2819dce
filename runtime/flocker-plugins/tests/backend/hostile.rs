//! What several calls of a backend do, or several backends of one host. What single calls do stands in `corpus.rs`.

use std::time::Duration;

use flocker_plugins::{BackendLimits, OpenBackendError, PluginBackend};
use flocker_ports::{Backend, BackendError};

use crate::{
    forge::{DONE, FAIL_ONCE, Forge, REMEMBER, SLEEP},
    world::{ONE, SIZE, World, op, volume},
};

/// Small enough that a test need not wait, and large enough for a busy machine.
fn limits() -> BackendLimits {
    BackendLimits {
        wall_change: Duration::from_secs(1),
        cpu: Duration::from_millis(200),
        attempts: 2,
        ..BackendLimits::default()
    }
}

async fn world(forge: &Forge) -> World {
    let folder = tempfile::tempdir().unwrap();
    World::new(&forge.write(folder.path()), limits()).await
}

#[track_caller]
fn says(error: Option<BackendError>, words: &[&str]) {
    let said = error.expect("it must fail").to_string();
    for word in words {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
}

async fn create(backend: &PluginBackend) -> Option<BackendError> {
    backend.create(&op(ONE), &volume("a"), &SIZE.into(), None).await.err()
}

/// Bad luck with one instance is not the operation's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_broke_an_instance_is_made_by_the_next_one() {
    let forge = Forge::new().with_volume("a").with("resize", FAIL_ONCE);
    let world = world(&forge).await;
    let resized = world.backend().resize(&op(ONE), &volume("a"), SIZE).await;
    assert_eq!(resized.unwrap(), flocker_ports::Change::Made);
    assert_eq!(world.backend().info().failures, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_loop_ends_and_others_are_served_meanwhile() {
    let world = world(&Forge::new().with("create", "(loop $l (br $l)) (unreachable)")).await;
    let backend = world.backend();
    let other = volume("b");
    let (looped, answered) = tokio::join!(create(backend), backend.stat(&other));
    says(looped, &["plugin `forged`", "`create` volume `a`", "computed for longer than 200ms"]);
    assert_eq!(answered.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sleeping_in_the_host_ends_and_blocks_one_volume_only() {
    let world = world(&Forge::new().with("create", SLEEP).with("destroy", DONE)).await;
    let backend = world.backend().clone();
    let mut asleep = tokio::spawn(async move { create(&backend).await });
    let others = async {
        for n in 0..100 {
            let name = volume(&format!("b{n}"));
            assert_eq!(world.backend().stat(&name).await.unwrap(), None);
            assert_eq!(
                world.backend().destroy(&op(ONE), &name).await.unwrap(),
                flocker_ports::Change::None
            );
        }
    };
    tokio::select! {
        () = others => {}
        slept = &mut asleep => panic!("nobody else was served: {slept:?}"),
    }
    says(asleep.await.unwrap(), &["plugin `forged`", "`create` volume `a`", "took longer than 1s"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_or_a_missing_grant_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let forged = Forge::new().write(folder.path());
    let world = World::new(&forged, limits()).await;
    let policy = crate::world::dir_backend().with_file_name("spread.wasm");
    let refused = world.open(&policy, limits()).await.unwrap_err();
    assert!(matches!(refused, OpenBackendError::Load(_)), "{refused}");

    let mut config = world.config(&forged, limits());
    config.grants = flocker_plugins::Grants::default();
    let said = PluginBackend::open(config).await.unwrap_err().to_string();
    assert!(said.contains("`pool`") && said.contains("--grant directory=pool:"), "{said}");

    let mut config = world.config(&forged, limits());
    let directory = format!("directory=pool:{}", world.pool().display()).parse().unwrap();
    config.grants = flocker_plugins::Grants::new([directory]).unwrap();
    let said = PluginBackend::open(config).await.unwrap_err().to_string();
    assert!(said.contains("a store of its own") && said.contains("--grant kv="), "{said}");
}

/// What a backend stored is there after the host was gone, and is the same for all its instances.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_its_own_outlives_instances_and_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let forged = Forge::new().with("create", REMEMBER).write(folder.path());
    let mut world = World::new(&forged, limits()).await;
    says(create(world.backend()).await, &["but then that it is not"]);
    says(create(world.backend()).await, &["unreachable"]);

    world.reopen(&forged).await;

    says(create(world.backend()).await, &["unreachable"]);
}

/// Links in the granted directory are of whoever filled it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_that_lead_out_of_the_grant_are_not_followed() {
    for path in ["/pool/link", "/pool/link/ssl"] {
        let world = world(&Forge::new().with_volume("a").with_access(path, 0)).await;
        std::os::unix::fs::symlink("/etc", world.pool().join("link")).unwrap();
        let attached = world.backend().attach(&op(ONE), &volume("a")).await;
        says(attached.err(), &["plugin `forged`", "`attach` volume `a`"]);
    }
}

/// Whoever observes the node waits a second, which is less than a call may take: the operator is told by name what it
/// was waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_nobody_waited_out_is_a_failure_of_it() {
    let limits = BackendLimits { wall_look: Duration::from_secs(60), ..limits() };
    let folder = tempfile::tempdir().unwrap();
    let forged = Forge::new().with("volumes", SLEEP).write(folder.path());
    let world = World::new(&forged, limits).await;
    let given_up = tokio::time::timeout(Duration::from_secs(1), world.backend().volumes()).await;
    assert!(given_up.is_err(), "{given_up:?}");
    let troubles = world.backend().troubles().join("\n");
    for word in ["plugin `forged`", "`volumes`", "did not answer within"] {
        assert!(troubles.contains(word), "`{word}` is not in: {troubles}");
    }
}
