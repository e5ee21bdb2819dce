//! Streams into pools that have little room.

use std::{fs, os::unix::fs::FileExt};

use flocker_model::{ByteSize, Point, Snapshot, VolumeId};
use flocker_ports::{Backend, BackendError, Receiver};
use futures::StreamExt;

use super::{ONE, TestPool, World, create_soon, op, tag, volume};

/// A snapshot of a volume with a file of `mib`.
async fn filled(pool: &TestPool, name: &str, mib: usize) -> (VolumeId, Point) {
    let (backend, volume) = (pool.backend(), volume(name));
    backend.create(&op(ONE), &volume, &ByteSize::mib(400).into(), None).await.unwrap();
    let at = backend.attach(&op(ONE), &volume).await.unwrap();
    fs::write(at.path.join("f"), vec![7; mib << 20]).unwrap();
    let only = std::slice::from_ref(&volume);
    let taken = backend.snapshot(&op(ONE), only, &tag("one")).await.unwrap().remove(0);
    (volume, taken.point)
}

/// What the source sends from where the receiver is; answers how much that was.
async fn feed(
    source: &TestPool,
    receiver: &mut dyn Receiver,
    volume: &VolumeId,
    to: &Point,
) -> Result<usize, BackendError> {
    let token = receiver.resume_token();
    let mut chunks = source.backend().send(volume, None, to, token.as_ref()).await?;
    let mut sent = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        sent += chunk.len();
        receiver.write(chunk).await?;
    }
    Ok(sent)
}

async fn copy(world: &World, volume: &VolumeId, to: &Point) -> Result<Snapshot, BackendError> {
    let size = ByteSize::mib(400);
    let mut receiver =
        world.target.backend().receive(&op(ONE), volume, None, to, &size.into()).await?;
    feed(&world.source, &mut *receiver, volume, to).await?;
    receiver.finish().await
}

/// Given a stream that is larger than half of the target's pool, what is kept for a resume does not stop it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_fits_once_is_received() {
    let world = World::new().await;
    let (volume, to) = filled(&world.source, "large", 320).await;

    copy(&world, &volume, &to).await.unwrap();

    let received = world.target.root().join("snapshots/large/one/snap/data/f");
    assert_eq!(fs::metadata(received).unwrap().len(), 320 << 20);
    assert_eq!(world.target.names_in("incoming"), [""; 0]);
}

/// Receives three quarters of a stream, and then all of it. Answers how much was here the second time.
async fn cut_and_resumed(
    world: &World,
    volume: &VolumeId,
    to: &Point,
    size: ByteSize,
    meanwhile: impl AsyncFnOnce(),
) -> (usize, usize) {
    let (source, target) = (world.source.backend(), world.target.backend());
    let chunks = source.send(volume, None, to, None).await.unwrap();
    let whole: Vec<_> = chunks.map(Result::unwrap).collect().await;
    let length: usize = whole.iter().map(|chunk| chunk.len()).sum();
    let mut first = target.receive(&op(ONE), volume, None, to, &size.into()).await.unwrap();
    let mut fed = 0;
    for chunk in whole {
        if fed < length * 3 / 4 {
            fed += chunk.len();
            first.write(chunk).await.unwrap();
        }
    }
    drop(first);
    meanwhile().await;

    let mut second = target.receive(&op(ONE), volume, None, to, &size.into()).await.unwrap();
    let held = usize::try_from(second.held().0).unwrap();
    let rest = feed(&world.source, &mut *second, volume, to).await.unwrap();
    second.finish().await.unwrap();

    assert_eq!(held + rest, length);
    assert_eq!(world.target.names_in("incoming"), [""; 0]);
    (held, fed)
}

/// Given a stream that was cut before its end, nothing of it is sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_received_is_not_sent_again() {
    let world = World::new().await;
    let (volume, to) = filled(&world.source, "large", 64).await;

    let (held, fed) = cut_and_resumed(&world, &volume, &to, ByteSize::mib(200), async || ()).await;

    // Less than one command.
    assert!((fed - (64 << 10)..=fed).contains(&held), "held {held} of {fed}");
    let received = world.target.root().join("snapshots/large/one/snap/data/f");
    assert!(fs::read(received).unwrap() == vec![7; 64 << 20]);
}

/// Given an attempt of which the disk lost a part, what comes after it is sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_lost_since_is_sent_again() {
    let world = World::new().await;
    let (volume, to) = filled(&world.source, "large", 64).await;
    let lose = async || {
        let entry = world.target.backend().node().entry(&volume);
        drop(entry.slot.quiet().await);
        let incoming = world.target.root().join("incoming/large");
        let mut landings = fs::read_dir(incoming).unwrap().map(|entry| entry.unwrap().path());
        let landing = landings.find(|path| path.is_dir()).unwrap();
        let file = fs::File::options().write(true).open(landing.join("snap/data/f")).unwrap();
        file.write_all_at(&[0; 4096], 40 << 20).unwrap();
    };

    let (held, _) = cut_and_resumed(&world, &volume, &to, ByteSize::mib(200), lose).await;

    assert!((39 << 20..41 << 20).contains(&held), "held {held}");
    let received = world.target.root().join("snapshots/large/one/snap/data/f");
    assert!(fs::read(received).unwrap() == vec![7; 64 << 20]);
}

/// Given a pool without room for a second copy, the attempt that was cut makes room for the next, which begins again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_stream_that_fits_once_is_received_again() {
    let world = World::new().await;
    let (volume, to) = filled(&world.source, "large", 320).await;

    let (held, _) = cut_and_resumed(&world, &volume, &to, ByteSize::mib(400), async || ()).await;

    assert_eq!(held, 0);
}

/// Given a stream that is larger than the target's pool, the error says so, and what came of it is gone again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_fills_the_pool_is_refused_and_removed() {
    let world = World::new().await;
    let target = world.target.backend();
    filled(&world.target, "other", 200).await;
    let (volume, to) = filled(&world.source, "large", 320).await;

    let refused = copy(&world, &volume, &to).await;

    assert!(matches!(refused, Err(BackendError::PoolFull { .. })), "got {refused:?}");
    assert_eq!(world.target.names_in("incoming"), [""; 0]);
    assert_eq!(target.snapshots(&volume).await.unwrap(), []);
    create_soon(target, "small").await;
}
