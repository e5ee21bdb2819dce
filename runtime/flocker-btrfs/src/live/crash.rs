//! What a crash between two steps leaves, and what a power cut leaves of what was answered.

use std::{fs, path::Path, process::Command};

use flocker_model::{Point, Role, VolumeId};
use flocker_ports::{Backend, BackendError};
use futures::StreamExt;

use super::{ONE, SIZE, TWO, TestPool, World, op, tag, volume};

/// Does something with a crash after its `n`th step, restarts, and does it again as a journal would.
macro_rules! crashing {
    ($world:ident, $n:expr, $what:expr) => {{
        $world.source.crash_after($n);
        $world.target.crash_after($n);
        let first = $what;
        $world.source.crash_after(0);
        $world.target.crash_after(0);
        match first {
            Ok(answer) => answer,
            Err(BackendError::Failed { action, .. }) if action == "crashed" => {
                $world.source.reopen().await;
                $world.target.reopen().await;
                assert_tidy(&$world.source);
                assert_tidy(&$world.target);
                $what.unwrap()
            }
            Err(error) => panic!("{error}"),
        }
    }};
}

fn assert_tidy(pool: &TestPool) {
    for folder in ["staging", "groups", "kept"] {
        assert_eq!(pool.names_in(folder), [""; 0], "in {folder}");
    }
    assert_eq!(pool.backend().troubles(), [""; 0]);
}

async fn write(pool: &TestPool, volume: &VolumeId, name: &str, bytes: &[u8]) {
    let at = pool.backend().attach(&op(ONE), volume).await.unwrap();
    fs::write(at.path.join(name), bytes).unwrap();
}

async fn copy(
    world: &World,
    volume: &VolumeId,
    base: Option<&Point>,
    to: &Point,
) -> Result<(), BackendError> {
    let (source, target) = (world.source.backend(), world.target.backend());
    let mut receiver = target.receive(&op(ONE), volume, base, to, &SIZE.into()).await?;
    let mut chunks = source.send(volume, base, to, receiver.resume_token().as_ref()).await?;
    while let Some(chunk) = chunks.next().await {
        receiver.write(chunk?).await?;
    }
    receiver.finish().await.map(drop)
}

/// Given a crash after each step of each verb, doing it again finishes it, and nothing half-made stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_survives_a_crash_after_every_step() {
    for n in 1..=5 {
        let mut world = World::new().await;
        let both = [volume("a"), volume("b")];
        for volume in &both {
            crashing!(
                world,
                n,
                world.source.backend().create(&op(ONE), volume, &SIZE.into(), None).await
            );
            write(&world.source, volume, "f", b"first").await;
        }
        let one = crashing!(
            world,
            n,
            world.source.backend().snapshot(&op(ONE), &both, &tag("one")).await
        );
        for (volume, snapshot) in both.iter().zip(&one) {
            crashing!(world, n, copy(&world, volume, None, &snapshot.point).await);
            write(&world.source, volume, "f", b"second").await;
        }
        let (a, clone) = (&both[0], volume("clone"));
        let first = &one[0].point;
        crashing!(world, n, world.source.backend().clone_volume(&op(ONE), a, first, &clone).await);
        crashing!(world, n, world.source.backend().seal(&op(ONE), a).await);
        crashing!(world, n, world.source.backend().unseal(&op(ONE), a).await);
        crashing!(world, n, world.source.backend().seal(&op(ONE), a).await);
        let only = &both[..1];
        let two =
            crashing!(world, n, world.source.backend().snapshot(&op(ONE), only, &tag("two")).await);
        let two = &two[0].point;
        crashing!(world, n, copy(&world, a, Some(&one[0].point), two).await);
        crashing!(world, n, world.target.backend().promote(&op(TWO), a, two).await);
        crashing!(world, n, world.source.backend().retire(&op(TWO), a, two).await);
        let old = [one[0].point.clone()];
        crashing!(world, n, world.source.backend().destroy_snapshots(&op(TWO), a, &old).await);
        crashing!(world, n, world.source.backend().destroy(&op(ONE), &both[1]).await);
        crashing!(world, n, world.target.backend().abort_receive(&op(ONE), &both[1]).await);

        let there = world.target.backend().attach(&op(TWO), a).await.unwrap();
        assert_eq!(fs::read(there.path.join("f")).unwrap(), b"second");
        let cloned = world.source.backend().attach(&op(ONE), &clone).await.unwrap();
        assert_eq!(fs::read(cloned.path.join("f")).unwrap(), b"first");
        assert_eq!(world.source.backend().stat(a).await.unwrap().unwrap().role, Role::Replica);
        assert_eq!(world.source.backend().snapshots(a).await.unwrap().len(), 1);
        assert_eq!(world.source.backend().stat(&both[1]).await.unwrap(), None);
        assert_tidy(&world.source);
        assert_tidy(&world.target);
    }
}

/// Given a crash after each step of a way back, asking again finishes it; and so does whatever else is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_survives_a_crash_after_every_step() {
    for n in 1..=9 {
        let mut world = World::new().await;
        let (v, kept) = (volume("v"), volume("kept"));
        let only = std::slice::from_ref(&v);
        world.source.backend().create(&op(ONE), &v, &SIZE.into(), None).await.unwrap();
        let mut points = Vec::new();
        for name in ["one", "two", "three"] {
            write(&world.source, &v, "f", name.as_bytes()).await;
            let taken = world.source.backend().snapshot(&op(ONE), only, &tag(name)).await.unwrap();
            points.push(taken[0].point.clone());
        }
        write(&world.source, &v, "f", b"now").await;

        crashing!(world, n, world.source.backend().rollback(&op(ONE), &v, &points[0], &kept).await);

        let on = world.source.backend();
        for (volume, content, held) in
            [(&v, &b"one"[..], &points[..1]), (&kept, b"now", &points[1..])]
        {
            let at = on.attach(&op(ONE), volume).await.unwrap();
            assert_eq!(fs::read(at.path.join("f")).unwrap(), content, "after step {n}");
            let listed = on.snapshots(volume).await.unwrap();
            assert_eq!(listed.into_iter().map(|s| s.point).collect::<Vec<_>>(), held);
        }
        assert_tidy(&world.source);
    }
}

/// Given a way back that stopped after each of its steps, and nobody who asks again, the next change finishes it first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_that_stopped_is_finished_by_the_next_change() {
    for n in 4..=7 {
        let pool = TestPool::new().await;
        let (on, v, kept) = (pool.backend(), volume("v"), volume("kept"));
        on.create(&op(ONE), &v, &SIZE.into(), None).await.unwrap();
        let only = std::slice::from_ref(&v);
        let one = on.snapshot(&op(ONE), only, &tag("one")).await.unwrap().remove(0).point;
        write(&pool, &v, "f", b"now").await;
        on.snapshot(&op(ONE), only, &tag("two")).await.unwrap();
        pool.crash_after(n);
        on.rollback(&op(ONE), &v, &one, &kept).await.unwrap_err();

        on.destroy(&op(ONE), &v).await.unwrap();

        let at = on.attach(&op(ONE), &kept).await.unwrap();
        assert_eq!(fs::read(at.path.join("f")).unwrap(), b"now");
        assert_eq!(on.snapshots(&kept).await.unwrap().len(), 1);
        assert_tidy(&pool);
    }
}

/// What the disk holds at this moment, without what only the memory holds: what a power cut would leave.
fn cut(pool: &TestPool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .args(["--sparse=always", "--reflink=never"])
        .arg(pool.image())
        .arg(folder.path().join("pool.img"))
        .status()
        .unwrap();
    assert!(copied.success());
    folder
}

/// Given copies of the disk made right after each answer, each of them holds what was answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_a_power_cut() {
    let world = World::new().await;
    let both = [volume("a"), volume("b")];
    let a = &both[0];
    let (source, target) = (world.source.backend(), world.target.backend());
    for volume in &both {
        source.create(&op(ONE), volume, &SIZE.into(), None).await.unwrap();
    }
    let created = cut(&world.source);
    write(&world.source, a, "f", &[7; 3 << 20]).await;
    let one = source.snapshot(&op(ONE), &both, &tag("one")).await.unwrap();
    let group = cut(&world.source);
    source.seal(&op(ONE), a).await.unwrap();
    let sealed = cut(&world.source);
    copy(&world, a, None, &one[0].point).await.unwrap();
    let received = cut(&world.target);
    target.promote(&op(TWO), a, &one[0].point).await.unwrap();
    let promoted = cut(&world.target);
    source.retire(&op(TWO), a, &one[0].point).await.unwrap();
    let retired = cut(&world.source);
    source.destroy(&op(ONE), &both[1]).await.unwrap();
    let destroyed = cut(&world.source);
    // The kernel does not mount two filesystems of the same identity side by side.
    drop(world);

    let pool = TestPool::at(created).await;
    assert_role(&pool, a, Role::Live).await;
    assert_role(&pool, &both[1], Role::Live).await;
    assert!(pool.backend().attach(&op(ONE), a).await.is_ok());
    drop(pool);
    let pool = TestPool::at(group).await;
    for (volume, snapshot) in both.iter().zip(&one) {
        let found = pool.backend().snapshots(volume).await.unwrap();
        assert_eq!(found.iter().map(|found| &found.point).collect::<Vec<_>>(), [&snapshot.point]);
    }
    assert_content(&pool.root().join("snapshots/a/one/snap"));
    drop(pool);
    assert_role(&TestPool::at(sealed).await, a, Role::Sealed).await;
    let pool = TestPool::at(received).await;
    assert_role(&pool, a, Role::Replica).await;
    assert_content(&pool.root().join("snapshots/a/one/snap"));
    assert_eq!(pool.names_in("incoming"), [""; 0]);
    drop(pool);
    let pool = TestPool::at(promoted).await;
    assert_role(&pool, a, Role::Live).await;
    assert_content(&pool.root().join("live/a"));
    drop(pool);
    assert_role(&TestPool::at(retired).await, a, Role::Replica).await;
    assert_eq!(TestPool::at(destroyed).await.backend().stat(&both[1]).await.unwrap(), None);
}

async fn assert_role(pool: &TestPool, volume: &VolumeId, role: Role) {
    assert_eq!(pool.backend().troubles(), [""; 0]);
    assert_eq!(pool.backend().stat(volume).await.unwrap().unwrap().role, role);
}

fn assert_content(subvolume: &Path) {
    assert!(
        fs::read(subvolume.join("data/f")).unwrap() == [7; 3 << 20],
        "the content is not what was written"
    );
}

/// The kernel asks for permission at `open` only, so a process that was not stopped writes past the seal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_past_the_seal_are_refused_until_a_snapshot_holds_them() {
    use std::io::Write;
    let pool = TestPool::new().await;
    let (backend, volume) = (pool.backend(), volume("a"));
    let only = std::slice::from_ref(&volume);
    backend.create(&op(ONE), &volume, &SIZE.into(), None).await.unwrap();
    let at = backend.attach(&op(ONE), &volume).await.unwrap();
    let mut open = fs::File::create(at.path.join("f")).unwrap();
    open.write_all(b"before").unwrap();
    backend.seal(&op(ONE), &volume).await.unwrap();
    let last = backend.snapshot(&op(ONE), only, &tag("last")).await.unwrap().remove(0).point;
    open.write_all(b" and after").unwrap();
    drop(open);

    let refused = backend.retire(&op(TWO), &volume, &last).await;
    assert!(matches!(refused, Err(BackendError::Diverged { .. })), "got {refused:?}");
    let refused = backend.promote(&op(TWO), &volume, &last).await;
    assert!(matches!(refused, Err(BackendError::Diverged { .. })), "got {refused:?}");
    let whole = backend.snapshot(&op(ONE), only, &tag("whole")).await.unwrap().remove(0).point;
    backend.promote(&op(TWO), &volume, &whole).await.unwrap();

    let at = backend.attach(&op(TWO), &volume).await.unwrap();
    assert_eq!(fs::read(at.path.join("f")).unwrap(), b"before and after");
    assert_tidy(&pool);
}

/// Given a promotion that failed after it had staged an older content, going back keeps what was there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failed_promotion_staged_is_never_put_in_place() {
    let pool = TestPool::new().await;
    let (backend, volume) = (pool.backend(), volume("a"));
    backend.create(&op(ONE), &volume, &SIZE.into(), None).await.unwrap();
    write(&pool, &volume, "f", b"content").await;
    let before = backend.attach(&op(ONE), &volume).await.unwrap();
    backend.seal(&op(ONE), &volume).await.unwrap();
    let only = std::slice::from_ref(&volume);
    let last = backend.snapshot(&op(ONE), only, &tag("last")).await.unwrap().remove(0).point;
    pool.crash_after(1);
    backend.promote(&op(TWO), &volume, &last).await.unwrap_err();
    assert_eq!(pool.names_in("staging"), ["a"]);

    backend.unseal(&op(ONE), &volume).await.unwrap();

    assert_eq!(backend.attach(&op(ONE), &volume).await.unwrap(), before);
    assert_tidy(&pool);
}

/// Given a change that was decided and not finished, nothing old is mounted in its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attaching_finishes_what_was_decided() {
    let pool = TestPool::new().await;
    let (backend, volume) = (pool.backend(), volume("a"));
    backend.create(&op(ONE), &volume, &SIZE.into(), None).await.unwrap();
    backend.seal(&op(ONE), &volume).await.unwrap();
    let only = std::slice::from_ref(&volume);
    let last = backend.snapshot(&op(ONE), only, &tag("last")).await.unwrap().remove(0).point;
    pool.crash_after(2);
    backend.promote(&op(TWO), &volume, &last).await.unwrap_err();

    let at = backend.attach(&op(TWO), &volume).await.unwrap();

    fs::write(at.path.join("f"), "it can be written").unwrap();
    backend.seal(&op(TWO), &volume).await.unwrap();
    pool.crash_after(1);
    backend.unseal(&op(TWO), &volume).await.unwrap_err();
    let at = backend.attach(&op(TWO), &volume).await.unwrap();
    fs::write(at.path.join("f"), "it can be written again").unwrap();
    assert_tidy(&pool);
}

/// Given a sealed copy whose live data somebody removed, its newest snapshot can still be promoted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_outlives_its_live_data() {
    let pool = TestPool::new().await;
    let (backend, volume) = (pool.backend(), volume("a"));
    backend.create(&op(ONE), &volume, &SIZE.into(), None).await.unwrap();
    write(&pool, &volume, "f", b"content").await;
    backend.seal(&op(ONE), &volume).await.unwrap();
    let only = std::slice::from_ref(&volume);
    let last = backend.snapshot(&op(ONE), only, &tag("last")).await.unwrap().remove(0).point;
    let live = pool.root().join("live/a");
    let removed = Command::new("btrfs").args(["-q", "subvolume", "delete"]).arg(live).status();
    assert!(removed.unwrap().success());

    backend.promote(&op(TWO), &volume, &last).await.unwrap();

    let at = backend.attach(&op(TWO), &volume).await.unwrap();
    assert_eq!(fs::read(at.path.join("f")).unwrap(), b"content");
}
