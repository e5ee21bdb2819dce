//! Streams that are not what they should be, and what is left of them.

use flocker_ports::{Backend, Change};

use super::{ONE, SIZE, World, copy, feed, op, points, snap, stream, volume};

/// Given a receive of which nothing reached the pool yet, an abort throws it away, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_receive_that_has_hardly_begun_is_aborted_once() {
    let world = World::new().await;
    let (here, there, v) = (world.source.backend(), world.target.backend(), volume("v"));
    here.create(&op(ONE), &v, SIZE, None).await.unwrap();
    let one = snap(here, &v, ONE, "one").await;
    let two = snap(here, &v, ONE, "two").await;
    copy(&world, &v, None, &one, ONE).await.unwrap();
    let whole = stream(here, &v, Some(&one), &two, None).await;
    let mut receiver = there.receive(&op(ONE), &v, Some(&one), &two, SIZE).await.unwrap();
    feed(receiver.as_mut(), &whole[..100]).await.unwrap();
    drop(receiver);

    assert_eq!(there.abort_receive(&op(ONE), &v).await.unwrap(), Change::Made);
    assert_eq!(there.abort_receive(&op(ONE), &v).await.unwrap(), Change::None);

    assert_eq!(points(there, &v).await, std::slice::from_ref(&one));
    copy(&world, &v, Some(&one), &two, ONE).await.unwrap();
}
