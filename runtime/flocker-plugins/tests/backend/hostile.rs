//! Whatever a backend does, the error names it and the call, it was asked as often as it may be, and others go on.

use std::time::Duration;

use flocker_model::{Guid, Point};
use flocker_plugins::{BackendLimits, OpenBackendError, PluginBackend};
use flocker_ports::{Backend, BackendError};

use crate::{
    forge::{DONE, FAIL_ONCE, Forge, REMEMBER, SLEEP},
    world::{ONE, SIZE, TWO, World, op, tag, volume},
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
    backend.create(&op(ONE), &volume("a"), SIZE, None).await.err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_in_any_function_is_named_after_it_was_tried_again() {
    let world = world(&Forge::new().with("stat", "(unreachable)")).await;
    let backend = world.backend();
    says(backend.stat(&volume("a")).await.err(), &["plugin `forged`", "`stat` volume `a`", "trap"]);
    says(backend.capacity().await.err(), &["plugin `forged`", "`pool`", "unreachable"]);
    says(backend.volumes().await.err(), &["plugin `forged`", "`volumes`"]);
    assert_eq!(backend.info().failures, 6);
    assert!(backend.info().last_failure.is_some_and(|said| said.contains("unreachable")));

    let world = self::world(&Forge::new()).await;
    says(create(world.backend()).await, &["plugin `forged`", "`create` volume `a`", "unreachable"]);
    let point = Point { tag: tag("one"), guid: Guid("1".to_owned()) };
    let received = world.backend().receive(&op(ONE), &volume("a"), None, &point, SIZE).await;
    says(received.err(), &["`plan-receive` volume `a`"]);

    let world = self::world(&Forge::new().with_volume("a")).await;
    let (backend, a) = (world.backend(), volume("a"));
    let only = std::slice::from_ref(&a);
    says(backend.resize(&op(ONE), &a, SIZE).await.err(), &["`resize` volume `a`"]);
    says(backend.destroy(&op(ONE), &a).await.err(), &["`destroy` volume `a`"]);
    says(backend.snapshot(&op(ONE), only, &tag("one")).await.err(), &["`snapshot` volume `a`"]);
    says(backend.snapshots(&a).await.err(), &["`snapshots` volume `a`"]);
    says(backend.attach(&op(ONE), &a).await.err(), &["`attach` volume `a`"]);
    says(backend.seal(&op(ONE), &a).await.err(), &["`seal` volume `a`"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_while_it_starts_refuses_the_plugin() {
    for function in ["describe", "configure", "describe-backend"] {
        let folder = tempfile::tempdir().unwrap();
        let forge = Forge::new().with(function, "(unreachable)");
        let world = World::new(&Forge::new().write(folder.path()), limits()).await;
        let said = world.open(&forge.write(folder.path()), limits()).await.unwrap_err().to_string();
        assert!(said.contains("forged") && said.contains("unreachable"), "{function}: {said}");
    }
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
async fn memory_beyond_the_limit_is_not_given() {
    let grow = "(drop (memory.grow (i32.const 2000))) (i32.const 640)";
    let world = world(&Forge::new().with("create", grow)).await;
    says(create(world.backend()).await, &["`create`", "bytes of memory, the limit is 67108864"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_larger_than_its_memory_or_its_budget_is_refused() {
    for entries in [0x7fff_ffff, 100] {
        // Entries of 48 bytes from 65,000 on: beyond the memory, or within it and all of the same name.
        let list = format!(
            "(i32.store (i32.const 604) (i32.const 65000)) (i32.store (i32.const 608) (i32.const {entries})) (i32.const 600)"
        );
        let world = world(&Forge::new().with("volumes", &list)).await;
        says(world.backend().volumes().await.err(), &["plugin `forged`", "`volumes`"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_about_another_volume_is_no_answer() {
    let world = world(&Forge::new().with_volume("other")).await;
    says(create(world.backend()).await, &["`stat` volume `a`", "it answered about `other`"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_says_it_did_is_looked_at() {
    let world = world(&Forge::new().with("create", DONE)).await;
    says(create(world.backend()).await, &["`create` volume `a`", "but then that it is not"]);

    let lies = Forge::new().with_volume("a").with("seal", DONE).with("destroy", DONE);
    let world = self::world(&lies).await;
    let sealed = world.backend().seal(&op(ONE), &volume("a")).await.err();
    says(sealed, &["`seal` volume `a`", "but then that it is live at epoch 1"]);
    let gone = world.backend().destroy(&op(TWO), &volume("a")).await.err();
    says(gone, &["`destroy` volume `a`", "but it is there"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_that_lead_out_of_the_grant_are_refused() {
    for path in ["/etc", "/pool/../../etc", "pool", "/pool/link", "/pool/link/ssl", "/proc/self"] {
        let world = world(&Forge::new().with_volume("a").with_access(path, 0)).await;
        std::os::unix::fs::symlink("/etc", world.pool().join("link")).unwrap();
        let attached = world.backend().attach(&op(ONE), &volume("a")).await;
        says(attached.err(), &["plugin `forged`", "`attach` volume `a`"]);
    }
    let world = world(&Forge::new().with_volume("a").with_access("/dev/sda", 1)).await;
    let attached = world.backend().attach(&op(ONE), &volume("a")).await;
    says(attached.err(), &["device `/dev/sda` was not granted"]);
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
