//! What is left when something ends in the middle, and how the next one goes on.

use std::{fs, io::Write, os::unix::fs::PermissionsExt, path::PathBuf};

use flocker_model::{ByteSize, Role};
use flocker_ports::{Backend, BackendError, Change};

use super::{
    ONE, SIZE, TWO, TestPool, World, copy, feed, noise, op, points,
    pool::{run, zfs},
    snap, stream, volume, write,
};

/// A stand-in for the `zfs` command that can be broken.
fn breakable(pool: &TestPool) -> PathBuf {
    let program = pool.folder.path().join("zfs");
    repair(&program);
    program
}

fn repair(program: &PathBuf) {
    fs::write(program, "#!/bin/sh\nexec /usr/sbin/zfs \"$@\"\n").unwrap();
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
}

fn break_it(program: &PathBuf) {
    fs::write(program, "#!/bin/sh\necho broken as asked >&2\nexit 1\n").unwrap();
}

fn property(dataset: &str, name: &str) -> String {
    zfs(&["get", "-Hpo", "value", name, dataset]).trim().to_owned()
}

/// Given no `zfs` command that works, data is made, snapshot, sent, received and removed all the same; and what only the
/// command can do is decided, refused to everybody else, and finished once it works.
#[tokio::test(flavor = "multi_thread")]
async fn a_seal_that_could_not_be_finished_is_finished_by_the_next() {
    let mut world = World::new().await;
    let program = breakable(&world.source);
    let config = flocker_zfs::ZfsConfig { zfs: Some(program.clone()), ..world.source.config() };
    world.source.backend = Some(flocker_zfs::ZfsBackend::open(config).await.unwrap());
    let (here, there, v) = (world.source.backend(), world.target.backend(), volume("v"));
    let dataset = world.source.dataset("v");

    break_it(&program);
    here.create(&op(ONE), &v, &SIZE.into(), None).await.unwrap();
    write(here, &v, ONE, "a", b"a").await;
    let one = snap(here, &v, ONE, "one").await;
    let two = snap(here, &v, ONE, "two").await;
    copy(&world, &v, None, &one, ONE).await.unwrap();
    assert_eq!(points(there, &v).await, std::slice::from_ref(&one));
    here.destroy_snapshots(&op(ONE), &v, &[two]).await.unwrap();
    assert!(here.capacity().await.unwrap().free > ByteSize(0));
    let unknown = here.volumes().await.unwrap_err();
    assert!(unknown.to_string().contains("broken as asked"), "{unknown}");
    let failed = here.seal(&op(ONE), &v).await.unwrap_err();
    assert!(failed.to_string().contains("broken as asked"), "{failed}");
    let attached = here.attach(&op(ONE), &v).await.unwrap_err();
    assert!(matches!(attached, BackendError::WrongRole { .. }), "{attached}");
    assert_eq!(property(&dataset, "readonly"), "off");

    repair(&program);
    assert_eq!(here.seal(&op(ONE), &v).await.unwrap(), Change::None);

    assert_eq!(property(&dataset, "readonly"), "on");
    assert_eq!(here.stat(&v).await.unwrap().unwrap().role, Role::Sealed);
}

/// Given a file that a process has open, a seal stops that process too.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_open_at_the_seal_is_not_written_to_any_more() {
    let pool = TestPool::new().await;
    let (on, v) = (pool.backend(), volume("v"));
    on.create(&op(ONE), &v, &SIZE.into(), None).await.unwrap();
    let at = on.attach(&op(ONE), &v).await.unwrap();
    let mut open = fs::File::create(at.path.join("a")).unwrap();
    open.write_all(b"before").unwrap();

    on.seal(&op(ONE), &v).await.unwrap();

    assert!(open.write_all(b"after").is_err());
    drop(open);
    let last = snap(on, &v, ONE, "last").await;
    on.promote(&op(TWO), &v, &last).await.unwrap();
    let at = on.attach(&op(TWO), &v).await.unwrap();
    assert_eq!(fs::read(at.path.join("a")).unwrap(), b"before");
}

/// Given each state that a crash between two steps leaves, the next open, or the same verb again, finishes it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_is_finished_by_the_next_open() {
    let mut pool = TestPool::new().await;
    let names = ["made", "sealed", "promoted", "gone"];
    for name in names {
        pool.backend().create(&op(ONE), &volume(name), &SIZE.into(), None).await.unwrap();
        snap(pool.backend(), &volume(name), ONE, "one").await;
    }
    let dataset = |name: &str| pool.dataset(name);
    // Made, and nobody was told of it. It has no snapshots then.
    zfs(&["destroy", &format!("{}@flocker-one", dataset("made"))]);
    zfs(&["set", "io.flocker:role=making", &dataset("made")]);
    zfs(&["set", "io.flocker:role=sealed", &dataset("sealed")]);
    zfs(&["set", "readonly=on", "refquota=none", &dataset("promoted")]);
    zfs(&["set", "io.flocker:role=gone", &dataset("gone")]);

    pool.reopen().await;

    assert_eq!(pool.backend().troubles(), [""; 0]);
    let mut left: Vec<_> = pool.backend().volumes().await.unwrap();
    left.sort_by(|a, b| a.id.cmp(&b.id));
    let roles: Vec<_> = left.iter().map(|state| (state.id.as_str(), state.role)).collect();
    assert_eq!(roles, [("promoted", Role::Live), ("sealed", Role::Sealed)]);
    assert_eq!(property(&pool.dataset("sealed"), "readonly"), "on");
    assert_eq!(property(&pool.dataset("promoted"), "readonly"), "off");
    assert_eq!(property(&pool.dataset("promoted"), "refquota"), SIZE.0.to_string());
    let listed = zfs(&["list", "-Hro", "name", &format!("{}/flocker", pool.name)]);
    assert!(!listed.contains("/gone") && !listed.contains("/made"), "{listed}");
    write(pool.backend(), &volume("promoted"), ONE, "a", b"a").await;
}

/// Given a helper that is killed in the middle of a receive, only what had not arrived is sent again.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_helper_costs_only_what_had_not_arrived() {
    let world = World::new().await;
    let (here, there, v) = (world.source.backend(), world.target.backend(), volume("v"));
    here.create(&op(ONE), &v, &SIZE.into(), None).await.unwrap();
    write(here, &v, ONE, "a", &noise(16 << 20)).await;
    let one = snap(here, &v, ONE, "one").await;
    let whole = stream(here, &v, None, &one, None).await;
    let mut receiver = there.receive(&op(ONE), &v, None, &one, &SIZE.into()).await.unwrap();
    feed(receiver.as_mut(), &whole[..whole.len() * 3 / 4]).await.unwrap();

    let pid = there.helper_pid().await.unwrap();
    run(std::process::Command::new("kill").args(["-9", &pid.to_string()]));
    let error = loop {
        // The pipe takes a little more before it breaks.
        if let Err(error) = receiver.write(whole[..100_000].to_vec().into()).await {
            break error;
        }
    };
    assert!(matches!(error, BackendError::Failed { .. }), "{error}");
    drop(receiver);

    let mut receiver = there.receive(&op(ONE), &v, None, &one, &SIZE.into()).await.unwrap();
    let token = receiver.resume_token().unwrap();
    assert!(receiver.held() > ByteSize::mib(4), "{:?}", receiver.held());
    let rest = stream(here, &v, None, &one, Some(&token)).await;
    assert!(rest.len() < whole.len() * 2 / 3, "{} of {} bytes", rest.len(), whole.len());
    feed(receiver.as_mut(), &rest).await.unwrap();
    assert_eq!(receiver.finish().await.unwrap().point, one);
    assert_ne!(there.helper_pid().await.unwrap(), pid);
    there.promote(&op(TWO), &v, &one).await.unwrap();
    let at = there.attach(&op(TWO), &v).await.unwrap();
    assert!(fs::read(at.path.join("a")).unwrap() == noise(16 << 20));
}

/// Given a daemon that ends in the middle of a first receive, the next one goes on with it, or throws it away.
#[tokio::test(flavor = "multi_thread")]
async fn a_receive_outlives_the_daemon() {
    let mut world = World::new().await;
    let v = volume("v");
    world.source.backend().create(&op(ONE), &v, &SIZE.into(), None).await.unwrap();
    write(world.source.backend(), &v, ONE, "a", &noise(4 << 20)).await;
    let one = snap(world.source.backend(), &v, ONE, "one").await;
    let whole = stream(world.source.backend(), &v, None, &one, None).await;
    for goes_on in [false, true] {
        let there = world.target.backend();
        let mut receiver = there.receive(&op(ONE), &v, None, &one, &SIZE.into()).await.unwrap();
        feed(receiver.as_mut(), &whole[..whole.len() * 3 / 4]).await.unwrap();
        drop(receiver);
        // Waits until the kernel has put away what came.
        drop(there.receive(&op(ONE), &v, None, &one, &SIZE.into()).await.unwrap());

        world.target.reopen().await;
        let there = world.target.backend();

        let state = there.stat(&v).await.unwrap().unwrap();
        assert_eq!((state.role, state.epoch, state.size), (Role::Replica, ONE, SIZE));
        assert_eq!(points(there, &v).await, []);
        if goes_on {
            let mut receiver = there.receive(&op(ONE), &v, None, &one, &SIZE.into()).await.unwrap();
            let token = receiver.resume_token().unwrap();
            let rest = stream(world.source.backend(), &v, None, &one, Some(&token)).await;
            feed(receiver.as_mut(), &rest).await.unwrap();
            assert_eq!(receiver.finish().await.unwrap().point, one);
        } else {
            assert_eq!(there.abort_receive(&op(ONE), &v).await.unwrap(), Change::Made);
            assert!(there.stat(&v).await.unwrap().is_none());
        }
    }
}

/// Given a part of the same stream in a dataset that a power cut left unmarked, the receive begins anew; given a part of
/// another one, the dataset is somebody else's.
#[tokio::test(flavor = "multi_thread")]
async fn a_receive_that_was_not_marked_yet_begins_anew() {
    let world = World::new().await;
    let (here, there, v) = (world.source.backend(), world.target.backend(), volume("v"));
    here.create(&op(ONE), &v, &SIZE.into(), None).await.unwrap();
    write(here, &v, ONE, "a", &noise(4 << 20)).await;
    let (one, two) = (snap(here, &v, ONE, "one").await, snap(here, &v, ONE, "two").await);
    let whole = stream(here, &v, None, &one, None).await;
    let part = world.target.folder.path().join("part");
    fs::write(&part, &whole[..whole.len() / 2]).unwrap();
    let receive = format!("zfs receive -s -u {} < {}", world.target.dataset("v"), part.display());
    let cut = std::process::Command::new("sh").args(["-c", &receive]).output().unwrap();
    assert!(!cut.status.success());

    assert!(there.stat(&v).await.unwrap().is_none());
    let other = there.receive(&op(ONE), &v, None, &two, &SIZE.into()).await.unwrap_err();
    assert!(other.to_string().contains("not made by flocker"), "{other}");
    copy(&world, &v, None, &one, ONE).await.unwrap();

    assert_eq!(points(there, &v).await, [one]);
}
