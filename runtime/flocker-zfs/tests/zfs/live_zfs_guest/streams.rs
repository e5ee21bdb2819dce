//! Streams that are not what they should be, and what is left of them.

use flocker_ports::{Backend, BackendError, Change};

use super::{ONE, SIZE, TWO, World, copy, feed, noise, op, points, snap, stream, volume, write};

/// Given a receive of which nothing reached the pool yet, an abort throws it away, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_receive_that_has_hardly_begun_is_aborted_once() {
    let world = World::new().await;
    let (here, there, v) = (world.source.backend(), world.target.backend(), volume("v"));
    here.create(&op(ONE), &v, &SIZE.into(), None).await.unwrap();
    let one = snap(here, &v, ONE, "one").await;
    let two = snap(here, &v, ONE, "two").await;
    copy(&world, &v, None, &one, ONE).await.unwrap();
    let whole = stream(here, &v, Some(&one), &two, None).await;
    let mut receiver = there.receive(&op(ONE), &v, Some(&one), &two, &SIZE.into()).await.unwrap();
    feed(receiver.as_mut(), &whole[..100]).await.unwrap();
    drop(receiver);

    assert_eq!(there.abort_receive(&op(ONE), &v).await.unwrap(), Change::Made);
    assert_eq!(there.abort_receive(&op(ONE), &v).await.unwrap(), Change::None);

    assert_eq!(points(there, &v).await, std::slice::from_ref(&one));
    copy(&world, &v, Some(&one), &two, ONE).await.unwrap();
}

/// Given half of a stream, a newer owner goes on with it, and the copy remembers the newer epoch.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_owner_goes_on_with_a_stream_and_an_older_one_does_not() {
    let world = World::new().await;
    let (here, there, v) = (world.source.backend(), world.target.backend(), volume("v"));
    here.create(&op(ONE), &v, &SIZE.into(), None).await.unwrap();
    write(here, &v, ONE, "a", &noise(1 << 20)).await;
    let one = snap(here, &v, ONE, "one").await;
    let whole = stream(here, &v, None, &one, None).await;
    let mut receiver = there.receive(&op(ONE), &v, None, &one, &SIZE.into()).await.unwrap();
    feed(receiver.as_mut(), &whole[..whole.len() / 2]).await.unwrap();

    let mut newer = there.receive(&op(TWO), &v, None, &one, &SIZE.into()).await.unwrap();
    let older = there.receive(&op(ONE), &v, None, &one, &SIZE.into()).await.unwrap_err();
    let replaced = feed(receiver.as_mut(), &whole[whole.len() / 2..]).await.unwrap_err();
    let rest = stream(here, &v, None, &one, newer.resume_token().as_ref()).await;
    feed(newer.as_mut(), &rest).await.unwrap();

    assert!(matches!(older, BackendError::StaleEpoch { current: TWO, .. }), "{older}");
    assert!(matches!(replaced, BackendError::Busy { .. }), "{replaced}");
    assert_eq!(newer.finish().await.unwrap().point, one);
    assert_eq!(there.stat(&v).await.unwrap().unwrap().epoch, TWO);
}

/// Given a stream of another volume, and one that was spliced of two, nothing of either counts, and what was here stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_another_volume_and_a_spliced_one_never_count() {
    let world = World::new().await;
    let (here, there) = (world.source.backend(), world.target.backend());
    let (v, w) = (volume("v"), volume("w"));
    for volume in [&v, &w] {
        here.create(&op(ONE), volume, &SIZE.into(), None).await.unwrap();
    }
    let (one, other) = (snap(here, &v, ONE, "one").await, snap(here, &w, ONE, "one").await);
    copy(&world, &v, None, &one, ONE).await.unwrap();
    write(here, &v, ONE, "a", &noise(300_000)).await;
    write(here, &w, ONE, "a", &noise(300_000)).await;
    let (two, others) = (snap(here, &v, ONE, "two").await, snap(here, &w, ONE, "two").await);
    let right = stream(here, &v, Some(&one), &two, None).await;
    let wrong = stream(here, &w, Some(&other), &others, None).await;
    let half = right.len().min(wrong.len()) / 2;
    let spliced = [&right[..half], &wrong[half..]].concat();

    for (bytes, names) in [(&wrong, Some(&others)), (&spliced, None)] {
        let mut receiver =
            there.receive(&op(ONE), &v, Some(&one), &two, &SIZE.into()).await.unwrap();
        let refused = match feed(receiver.as_mut(), bytes).await {
            Ok(()) => receiver.finish().await.unwrap_err(),
            Err(early) => early,
        };
        assert!(matches!(refused, BackendError::CorruptStream { .. }), "{refused}");
        let said = refused.to_string();
        assert!(names.is_none_or(|other| said.contains(&other.guid.0)), "{said}");
        assert_eq!(points(there, &v).await, std::slice::from_ref(&one));
    }

    copy(&world, &v, Some(&one), &two, ONE).await.unwrap();
    assert_eq!(points(there, &v).await, [one, two]);
}

/// Given streams that were here before, sending them again changes nothing, and they pass for nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_stream_changes_nothing() {
    let world = World::new().await;
    let (here, there, v) = (world.source.backend(), world.target.backend(), volume("v"));
    here.create(&op(ONE), &v, &SIZE.into(), None).await.unwrap();
    let one = snap(here, &v, ONE, "one").await;
    write(here, &v, ONE, "a", &noise(300_000)).await;
    let two = snap(here, &v, ONE, "two").await;
    let three = snap(here, &v, ONE, "three").await;
    copy(&world, &v, None, &one, ONE).await.unwrap();
    copy(&world, &v, Some(&one), &two, ONE).await.unwrap();
    let replay = stream(here, &v, Some(&one), &two, None).await;

    copy(&world, &v, None, &one, ONE).await.unwrap();
    copy(&world, &v, Some(&one), &two, ONE).await.unwrap();
    let mut receiver = there.receive(&op(ONE), &v, Some(&two), &three, &SIZE.into()).await.unwrap();
    let refused = match feed(receiver.as_mut(), &replay).await {
        Ok(()) => receiver.finish().await.unwrap_err(),
        Err(early) => early,
    };

    assert!(matches!(refused, BackendError::CorruptStream { .. }), "{refused}");
    assert_eq!(points(there, &v).await, [one, two.clone()]);
    copy(&world, &v, Some(&two), &three, ONE).await.unwrap();
}
