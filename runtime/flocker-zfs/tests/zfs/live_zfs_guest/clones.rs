//! What ZFS keeps for clones, and that it is nobody's trouble.

use std::fs;

use flocker_model::{Role, VolumeOptions};
use flocker_ports::{Backend, BackendError};

use super::{
    ONE, SIZE, TWO, TestPool, World,
    encrypted::{options as encrypted, put_key},
    feed, op, points,
    pool::zfs,
    snap, stream, volume, write,
};

/// The names of all snapshots in a pool, without the pool's.
fn snapshots(pool: &TestPool) -> Vec<String> {
    let listed = zfs(&["list", "-Hro", "name", "-t", "snapshot", &pool.name]);
    let own = format!("{}/flocker/", pool.name);
    listed.lines().filter_map(|name| name.strip_prefix(&own).map(str::to_owned)).collect()
}

fn property(name: &str, dataset: &str) -> String {
    zfs(&["get", "-Hpo", "value", name, dataset]).trim().to_owned()
}

/// Given a snapshot that a clone stands on, its removal hides it, and the last clone takes it along.
#[tokio::test(flavor = "multi_thread")]
async fn what_clones_stand_on_goes_with_the_last_of_them() {
    let mut pool = TestPool::new().await;
    let (v, a, b) = (volume("v"), volume("a"), volume("b"));
    let on = pool.backend();
    on.create(&op(ONE), &v, &SIZE.into(), None).await.unwrap();
    write(on, &v, ONE, "a", b"a").await;
    let one = snap(on, &v, ONE, "one").await;
    on.clone_volume(&op(ONE), &v, &one, &a).await.unwrap();
    on.clone_volume(&op(ONE), &v, &one, &b).await.unwrap();

    on.destroy_snapshots(&op(ONE), &v, std::slice::from_ref(&one)).await.unwrap();
    let hidden = format!("@flocker.{}", one.guid);
    assert_eq!(snapshots(&pool), [format!("v{hidden}")]);
    on.destroy(&op(ONE), &v).await.unwrap();
    assert_eq!(snapshots(&pool), [format!("a{hidden}")], "given to one of the clones");
    assert_eq!(points(on, &a).await, []);
    pool.reopen().await;
    let on = pool.backend();
    on.destroy(&op(ONE), &a).await.unwrap();
    assert_eq!(snapshots(&pool), [""; 0], "nothing but the last clone needed it");
    let at = on.attach(&op(ONE), &b).await.unwrap();
    assert_eq!(fs::read(at.path.join("a")).unwrap(), b"a");
    assert_eq!(on.troubles(), [""; 0]);
}

/// Given each state that a crash leaves of a clone or of its source, the next open finishes it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_of_a_clone_is_finished_by_the_next_open() {
    let mut pool = TestPool::new().await;
    let (v, a, b) = (volume("v"), volume("a"), volume("b"));
    let on = pool.backend();
    on.create(&op(ONE), &v, &SIZE.into(), None).await.unwrap();
    let (one, two) = (snap(on, &v, ONE, "one").await, snap(on, &v, ONE, "two").await);
    on.clone_volume(&op(ONE), &v, &one, &a).await.unwrap();
    on.clone_volume(&op(ONE), &v, &two, &b).await.unwrap();
    // A clone that nobody was told of; a snapshot that was renamed and no more; a volume that was to be removed.
    zfs(&["set", "io.flocker:role=making", &pool.dataset("b")]);
    let source = pool.dataset("v");
    zfs(&["rename", &format!("{source}@flocker-one"), &format!("{source}@flocker.{}", one.guid)]);
    zfs(&["set", "io.flocker:role=gone", &source]);

    pool.reopen().await;

    let on = pool.backend();
    assert_eq!(on.troubles(), [""; 0]);
    let left: Vec<_> = on.volumes().await.unwrap().into_iter().map(|state| state.id).collect();
    assert_eq!(left, std::slice::from_ref(&a));
    on.destroy(&op(ONE), &a).await.unwrap();
    assert_eq!(zfs(&["list", "-Hro", "name", "-t", "all", &pool.name]).lines().count(), 2);
}

/// Given a clone that somebody made by hand, what it stands on is theirs: it is not removed, and said to be in use.
#[tokio::test(flavor = "multi_thread")]
async fn a_clone_of_somebody_elses_is_left_alone() {
    let pool = TestPool::new().await;
    let (on, v, a) = (pool.backend(), volume("v"), volume("a"));
    on.create(&op(ONE), &v, &SIZE.into(), None).await.unwrap();
    let one = snap(on, &v, ONE, "one").await;
    on.clone_volume(&op(ONE), &v, &one, &a).await.unwrap();
    let (origin, theirs) = (format!("{}@flocker-one", pool.dataset("v")), pool.dataset("theirs"));
    zfs(&["clone", "-o", "mountpoint=none", &origin, &theirs]);

    let only = std::slice::from_ref(&one);
    let refused = on.destroy_snapshots(&op(ONE), &v, only).await.unwrap_err();

    assert!(matches!(refused, BackendError::Busy { .. }), "{refused}");
    assert_eq!(points(on, &v).await, only);
    on.destroy(&op(ONE), &v).await.unwrap();
    assert_eq!(property("origin", &theirs), origin);
    let troubles = on.troubles();
    assert!(troubles.len() == 1 && troubles[0].contains("zfs destroy -r"), "{troubles:?}");
    on.destroy(&op(ONE), &a).await.unwrap();
}

/// Given an encrypted volume, its clone is opened with the same key, also after a restart and without its source, and leaves
/// the node only encrypted; it is kept as its source is.
#[tokio::test(flavor = "multi_thread")]
async fn a_clone_is_encrypted_and_kept_as_its_source() {
    let mut world = World::new().await;
    for pool in [&world.source, &world.target] {
        put_key(&pool.secrets(), &"5a".repeat(32));
    }
    let options = VolumeOptions {
        record_size: Some("16KiB".parse().unwrap()),
        compression: Some("zstd".parse().unwrap()),
        reserved: true,
        ..encrypted()
    };
    let (v, a) = (volume("v"), volume("a"));
    let on = world.source.backend();
    on.create(&op(ONE), &v, &options, None).await.unwrap();
    write(on, &v, ONE, "words", b"secret").await;
    let one = snap(on, &v, ONE, "one").await;
    // A restart, after which the clone is opened first.
    on.clone_volume(&op(ONE), &v, &one, &a).await.unwrap();
    on.seal(&op(ONE), &v).await.unwrap();
    on.retire(&op(TWO), &v, &one).await.unwrap();
    world.source.import_again().await;
    let on = world.source.backend();
    let dataset = world.source.dataset("a");
    let kept = ["recordsize", "compression", "refreservation", "refquota"];
    let size = SIZE.0.to_string();
    assert_eq!(kept.map(|name| property(name, &dataset)), ["16384", "zstd", &size, &size]);
    let at = on.attach(&op(ONE), &a).await.unwrap();
    assert_eq!(fs::read(at.path.join("words")).unwrap(), b"secret");

    on.destroy(&op(TWO), &v).await.unwrap();
    world.source.import_again().await;

    let (on, there) = (world.source.backend(), world.target.backend());
    assert_eq!(on.troubles(), [""; 0]);
    let at = on.attach(&op(ONE), &a).await.unwrap();
    assert_eq!(fs::read(at.path.join("words")).unwrap(), b"secret");
    let own = snap(on, &a, ONE, "own").await;
    let bytes = stream(on, &a, None, &own, None).await;
    let mut receiver = there.receive(&op(ONE), &a, None, &own, &options).await.unwrap();
    feed(receiver.as_mut(), &bytes).await.unwrap();
    receiver.finish().await.unwrap();
    there.promote(&op(TWO), &a, &own).await.unwrap();
    let at = there.attach(&op(TWO), &a).await.unwrap();
    assert_eq!(fs::read(at.path.join("words")).unwrap(), b"secret");
    assert_eq!(on.stat(&a).await.unwrap().unwrap().role, Role::Live);
}
