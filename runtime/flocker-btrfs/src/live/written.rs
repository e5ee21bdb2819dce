//! When somebody wrote to a volume: what counts as that, and what does not.

use std::{
    fs::{self, File},
    io::Write as _,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use flocker_model::{Timestamp, VolumeId};
use flocker_ports::Backend;

use super::{ONE, SIZE, TestPool, op, tag, volume};

fn now() -> Timestamp {
    Timestamp(0) + SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

async fn written(pool: &TestPool, id: &VolumeId) -> Timestamp {
    pool.backend().written(std::slice::from_ref(id)).await.unwrap()[id]
}

/// The kernel's clock for files goes in steps; what comes next is later than what was before.
fn a_moment_later() {
    let before = now();
    let deadline = Instant::now() + Duration::from_secs(5);
    while now().since(before) < Duration::from_millis(20) {
        assert!(Instant::now() < deadline, "the clock stands still");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_write_is_told_to_the_moment_and_looking_or_a_snapshot_is_none() {
    let (pool, id) = (TestPool::new().await, volume("v"));
    pool.backend().create(&op(ONE), &id, &SIZE.into(), None).await.unwrap();
    let path = pool.backend().attach(&op(ONE), &id).await.unwrap().path.join("file");
    let mut file = File::create(&path).unwrap();
    a_moment_later();

    let before = now();
    file.write_all(b"first").unwrap();
    file.sync_data().unwrap();
    let first = written(&pool, &id).await;
    assert!(before.0 <= first.0 + 10 && first <= now(), "{before:?} {first:?} {:?}", now());

    a_moment_later();
    pool.backend().snapshot(&op(ONE), std::slice::from_ref(&id), &tag("t")).await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"first");
    assert_eq!(written(&pool, &id).await, first);

    file.write_all(b"second").unwrap();
    file.sync_data().unwrap();
    assert!(written(&pool, &id).await > first);
}

#[tokio::test]
async fn what_was_written_before_a_restart_is_known_after_it_and_what_is_gone_is_left_out() {
    let (mut pool, id) = (TestPool::new().await, volume("v"));
    pool.backend().create(&op(ONE), &id, &SIZE.into(), None).await.unwrap();
    let before = written(&pool, &id).await;
    a_moment_later();

    pool.reopen().await;

    assert_eq!(written(&pool, &id).await, before);
    assert_eq!(pool.backend().written(&[volume("other")]).await.unwrap().len(), 0);
}
