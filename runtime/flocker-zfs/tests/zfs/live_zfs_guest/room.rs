//! Pools that are full, and pools that are gone.

use std::{io::Write, process::Command};

use flocker_model::ByteSize;
use flocker_ports::{Backend, BackendError, Change};

use super::{
    ONE, SIZE, TestPool, World, feed, noise, op, points,
    pool::{run, zfs},
    snap, stream, volume, write,
};

/// Given a full pool, writers are told so, and it can still be emptied.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_pool_can_still_be_sealed_and_emptied() {
    let pool = TestPool::of_size(80 << 20).await;
    let (on, v) = (pool.backend(), volume("v"));
    on.create(&op(ONE), &v, &ByteSize::mib(1024).into(), None).await.unwrap();
    let at = on.attach(&op(ONE), &v).await.unwrap();
    let mut file = std::fs::File::create(at.path.join("a")).unwrap();
    let chunk = noise(1 << 20);
    let full = loop {
        if let Err(error) = file.write_all(&chunk).and_then(|()| file.sync_all()) {
            break error;
        }
    };
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    drop(file);
    assert!(on.capacity().await.unwrap().free < ByteSize::mib(4));

    assert_eq!(on.seal(&op(ONE), &v).await.unwrap(), Change::Made);
    assert_eq!(on.unseal(&op(ONE), &v).await.unwrap(), Change::Made);
    std::fs::remove_file(at.path.join("a")).unwrap();
    assert_eq!(on.destroy(&op(ONE), &v).await.unwrap(), Change::Made);
}

/// Given a pool that is too small for a stream, the receiver says so, and goes on where it was once there is room.
#[tokio::test(flavor = "multi_thread")]
async fn a_receive_into_a_full_pool_goes_on_when_there_is_room() {
    let world = World { source: TestPool::new().await, target: TestPool::of_size(128 << 20).await };
    let (here, there, v) = (world.source.backend(), world.target.backend(), volume("v"));
    let ballast = format!("{}/ballast", world.target.name);
    let free = there.capacity().await.unwrap().free.0 - (16 << 20);
    zfs(&["create", "-o", &format!("reservation={free}"), &ballast]);
    here.create(&op(ONE), &v, &SIZE.into(), None).await.unwrap();
    write(here, &v, ONE, "a", &noise(32 << 20)).await;
    let one = snap(here, &v, ONE, "one").await;
    let whole = stream(here, &v, None, &one, None).await;

    let mut receiver = there.receive(&op(ONE), &v, None, &one, &SIZE.into()).await.unwrap();
    let full = match feed(receiver.as_mut(), &whole).await {
        Err(early) => early,
        Ok(()) => receiver.finish().await.unwrap_err(),
    };
    assert!(matches!(full, BackendError::PoolFull { .. }), "{full}");
    zfs(&["destroy", &ballast]);
    let mut receiver = there.receive(&op(ONE), &v, None, &one, &SIZE.into()).await.unwrap();
    let token = receiver.resume_token().unwrap();
    let rest = stream(here, &v, None, &one, Some(&token)).await;
    assert!(rest.len() < whole.len(), "{} of {}", rest.len(), whole.len());
    feed(receiver.as_mut(), &rest).await.unwrap();

    assert_eq!(receiver.finish().await.unwrap().point, one);
}

/// Given a pool that somebody exported, everything is unknown and nothing is absent; imported again, it is as it was.
#[tokio::test(flavor = "multi_thread")]
async fn an_exported_pool_is_unknown_and_not_empty() {
    let pool = TestPool::new().await;
    let (on, v) = (pool.backend(), volume("v"));
    on.create(&op(ONE), &v, &SIZE.into(), None).await.unwrap();
    write(on, &v, ONE, "a", b"a").await;
    let one = snap(on, &v, ONE, "one").await;

    run(Command::new("zpool").args(["export", "-f", &pool.name]));
    let failed = |result: Option<BackendError>| matches!(result, Some(BackendError::Failed { .. }));
    assert!(failed(on.stat(&v).await.err()));
    assert!(failed(on.volumes().await.err()));
    assert!(failed(on.capacity().await.err()));
    assert!(failed(on.snapshots(&v).await.err()));
    assert!(failed(on.create(&op(ONE), &volume("w"), &SIZE.into(), None).await.err()));
    assert!(failed(on.destroy(&op(ONE), &v).await.err()));
    assert!(failed(on.attach(&op(ONE), &v).await.err()));
    run(Command::new("zpool").arg("import").arg("-d").arg(pool.folder.path()).arg(&pool.name));

    assert_eq!(points(on, &v).await, [one]);
    let at = on.attach(&op(ONE), &v).await.unwrap();
    assert_eq!(std::fs::read(at.path.join("a")).unwrap(), b"a");
}
