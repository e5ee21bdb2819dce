//! What other people have in the same pool, and do to what is ours.

use flocker_model::{Epoch, Role};
use flocker_ports::{Backend, BackendError, Change};

use super::{
    ONE, SIZE, TWO, World, copy, op, points,
    pool::{TestPool, run, zfs},
    snap, tag, volume, write,
};

const THREE: Epoch = Epoch(3);

/// The names of all snapshots and holds that are not ours, below a pool's parent.
fn foreign(pool: &TestPool) -> Vec<String> {
    let parent = format!("{}/flocker", pool.name);
    let listed = zfs(&["list", "-Hr", "-t", "snapshot", "-o", "name,userrefs", &parent]);
    let theirs = |line: &&str| !line.contains("@flocker-");
    listed.lines().filter(theirs).map(str::to_owned).collect()
}

/// Given snapshots, holds, properties and datasets of somebody else between ours, every verb leaves them as they are.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ours_outlives_every_verb() {
    let world = World::new().await;
    let (here, there) = (world.source.backend(), world.target.backend());
    let v = volume("v");
    let (mine, copied) = (world.source.dataset("v"), world.target.dataset("v"));
    let theirs = world.source.dataset("theirs");
    zfs(&["create", &theirs]);
    here.create(&op(ONE), &v, &SIZE.into(), None).await.unwrap();
    zfs(&["set", "com.example:x=1", &mine]);
    zfs(&["snapshot", &format!("{mine}@daily"), &format!("{theirs}@daily")]);
    zfs(&["hold", "keep", &format!("{mine}@daily")]);

    write(here, &v, ONE, "a", b"one").await;
    let one = snap(here, &v, ONE, "one").await;
    zfs(&["snapshot", &format!("{mine}@between")]);
    copy(&world, &v, None, &one, ONE).await.unwrap();
    zfs(&["snapshot", &format!("{copied}@hourly")]);
    here.resize(&op(ONE), &v, SIZE).await.unwrap();
    write(here, &v, ONE, "a", b"two").await;
    here.seal(&op(ONE), &v).await.unwrap();
    here.unseal(&op(ONE), &v).await.unwrap();
    here.seal(&op(ONE), &v).await.unwrap();
    let two = snap(here, &v, ONE, "two").await;
    zfs(&["snapshot", &format!("{mine}@last")]);
    copy(&world, &v, Some(&one), &two, ONE).await.unwrap();
    assert_eq!(points(there, &v).await, [one.clone(), two.clone()]);
    there.promote(&op(TWO), &v, &two).await.unwrap();
    here.retire(&op(TWO), &v, &two).await.unwrap();
    here.destroy_snapshots(&op(TWO), &v, &[one]).await.unwrap();
    here.promote(&op(THREE), &v, &two).await.unwrap();

    assert_eq!(points(here, &v).await, [two]);
    assert_eq!(here.volumes().await.unwrap().len(), 1, "their dataset is no volume");
    assert!(here.stat(&volume("theirs")).await.unwrap().is_none());
    let create = here.create(&op(ONE), &volume("theirs"), &SIZE.into(), None).await.unwrap_err();
    assert!(create.to_string().contains("not made by flocker"), "{create}");
    let kept = ["between\t0", "daily\t1", "last\t0"].map(|name| format!("{mine}@{name}"));
    let (mut found, mut expected) = (foreign(&world.source), kept.to_vec());
    expected.push(format!("{theirs}@daily\t0"));
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(zfs(&["get", "-Ho", "value", "com.example:x", &mine]).trim(), "1");
    assert_eq!(foreign(&world.target), [format!("{copied}@hourly\t0")]);

    assert_eq!(here.destroy(&op(THREE), &v).await.unwrap(), Change::Made);
    assert_eq!(here.destroy(&op(THREE), &v).await.unwrap(), Change::None);
    assert!(here.stat(&v).await.unwrap().is_none() && here.volumes().await.unwrap().is_empty());
    let mut found = foreign(&world.source);
    found.sort();
    assert_eq!(found, expected, "a volume is removed, but not what is other people's");
    let troubles = here.troubles();
    assert!(troubles.len() == 1 && troubles[0].contains("zfs destroy -r"), "{troubles:?}");
    let again = here.create(&op(ONE), &v, &SIZE.into(), None).await.unwrap_err();
    assert!(matches!(again, BackendError::Busy { .. }), "{again}");
}

/// Given a hold of somebody else's on one of two, both stay, and both go once it is released.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_somebody_holds_is_not_removed() {
    let pool = TestPool::new().await;
    let (on, v) = (pool.backend(), volume("v"));
    on.create(&op(ONE), &v, &SIZE.into(), None).await.unwrap();
    let both = [snap(on, &v, ONE, "one").await, snap(on, &v, ONE, "two").await];
    let held = format!("{}@flocker-two", pool.dataset("v"));
    zfs(&["hold", "keep", &held]);

    let refused = on.destroy_snapshots(&op(ONE), &v, &both).await.unwrap_err();

    assert!(matches!(refused, BackendError::Busy { .. }), "{refused}");
    assert!(refused.to_string().contains("flocker-two"), "{refused}");
    assert_eq!(points(on, &v).await, both);
    zfs(&["release", "keep", &held]);
    assert_eq!(on.destroy_snapshots(&op(ONE), &v, &both).await.unwrap(), Change::Made);
    assert_eq!(points(on, &v).await, []);
}

/// Given two nodes that believe that a replica is theirs, the pool itself gives it to one of them.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_promote_at_once_one_is_refused_by_the_pool() {
    let mut world = World::new().await;
    let other = flocker_zfs::ZfsConfig {
        mounts: world.target.folder.path().join("other"),
        ..world.target.config()
    };
    for round in 0..6 {
        let v = volume(&format!("v{round}"));
        world.source.backend().create(&op(ONE), &v, &SIZE.into(), None).await.unwrap();
        let one = snap(world.source.backend(), &v, ONE, "one").await;
        copy(&world, &v, None, &one, ONE).await.unwrap();
        let other = flocker_zfs::ZfsBackend::open(other.clone()).await.unwrap();
        let on = world.target.backend();

        let (two, three) = (op(TWO), op(THREE));
        let (first, second) =
            tokio::join!(on.promote(&two, &v, &one), other.promote(&three, &v, &one));

        let state = on.stat(&v).await.unwrap().unwrap();
        assert_eq!(state.role, Role::Live);
        match (first, second) {
            (Ok(Change::Made), Err(BackendError::WrongRole { .. })) => assert_eq!(state.epoch, TWO),
            (Err(BackendError::StaleEpoch { .. }), Ok(Change::Made)) => {
                assert_eq!(state.epoch, THREE);
            }
            both => panic!("{both:?}"),
        }
    }
    world.target.reopen().await;
    assert_eq!(world.target.backend().volumes().await.unwrap().len(), 6);
}

/// Given a replica that somebody wrote to by hand, it neither takes an increment nor becomes the owner's.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_somebody_wrote_to_is_refused() {
    let world = World::new().await;
    let (here, there, v) = (world.source.backend(), world.target.backend(), volume("v"));
    here.create(&op(ONE), &v, &SIZE.into(), None).await.unwrap();
    let one = snap(here, &v, ONE, "one").await;
    copy(&world, &v, None, &one, ONE).await.unwrap();
    write(here, &v, ONE, "a", b"a").await;
    let two = snap(here, &v, ONE, "two").await;
    let (dataset, folder) = (world.target.dataset("v"), world.target.folder.path().join("by-hand"));
    zfs(&["set", "readonly=off", &dataset]);
    std::fs::create_dir(&folder).unwrap();
    run(std::process::Command::new("mount").args(["-t", "zfs", &dataset]).arg(&folder));
    std::fs::write(folder.join("data/b"), b"b").unwrap();
    run(std::process::Command::new("umount").arg(&folder));

    let increment = copy(&world, &v, Some(&one), &two, ONE).await.unwrap_err();
    let promoted = there.promote(&op(TWO), &v, &one).await.unwrap_err();

    assert!(matches!(increment, BackendError::Diverged { .. }), "{increment}");
    assert!(matches!(promoted, BackendError::Diverged { .. }), "{promoted}");
    assert_eq!(points(there, &v).await, [one]);
    assert_eq!(there.stat(&v).await.unwrap().unwrap().role, Role::Replica);
    assert!(there.snapshots(&v).await.unwrap().iter().all(|found| found.point.tag == tag("one")));
}
