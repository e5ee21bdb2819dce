//! Sending and receiving, with everything that goes wrong in between.

use flocker_model::{Guid, Point, Role};

use super::{ONE, Pair, SIZE, TWO, copy, feed, made, noise, op, points, role, snap, stream, tag};
use crate::{BackendError, Change, ResumeToken};

/// The identity of a snapshot is the same on both sides, and so is what it holds.
pub async fn a_sent_snapshot_keeps_its_guid(pair: Pair<'_>) {
    let (volume, one) = pair.replicated("guid").await;

    assert_eq!(points(pair.target, &volume).await, std::slice::from_ref(&one));
    assert_eq!(role(pair.target, &volume).await, (Role::Replica, ONE));
    let attached = pair.target.attach(&op(ONE), &volume).await;
    assert!(matches!(attached, Err(BackendError::WrongRole { .. })), "got {attached:?}");
    pair.target.promote(&op(TWO), &volume, &one).await.unwrap();
    assert_eq!(pair.get(pair.target, &volume, TWO, "a").await, noise(1, 1 << 20));
}

/// Only what changed crosses.
pub async fn an_increment_is_smaller_than_the_whole(pair: Pair<'_>) {
    let (volume, one) = pair.replicated("increment").await;
    pair.put(pair.source, &volume, ONE, "b", &noise(2, 10_000)).await;
    let two = snap(pair.source, &volume, ONE, "two").await.point;

    let sent = copy(pair.source, pair.target, &volume, Some(&one), &two, ONE).await;

    assert!(sent < 200_000, "{sent} bytes for 10000");
    pair.target.promote(&op(TWO), &volume, &two).await.unwrap();
    assert_eq!(pair.get(pair.target, &volume, TWO, "b").await, noise(2, 10_000));
}

/// A stream never replaces what a node owns, nor what it has sealed.
pub async fn a_receive_over_the_owners_copy_is_refused(pair: Pair<'_>) {
    let volume = made(pair.source, "owner").await;
    let one = snap(pair.source, &volume, ONE, "one").await.point;

    let live = pair.source.receive(&op(TWO), &volume, None, &one, &SIZE.into()).await.err();
    pair.source.seal(&op(ONE), &volume).await.unwrap();
    let sealed = pair.source.receive(&op(TWO), &volume, None, &one, &SIZE.into()).await.err();

    assert!(matches!(live, Some(BackendError::WrongRole { .. })), "got {live:?}");
    assert!(matches!(sealed, Some(BackendError::WrongRole { .. })), "got {sealed:?}");
    assert_eq!(role(pair.source, &volume).await, (Role::Sealed, ONE));
}

/// An increment to something that is not here is refused before the first byte, and leaves nothing.
pub async fn an_increment_needs_its_base(pair: Pair<'_>) {
    let volume = made(pair.source, "base").await;
    let one = snap(pair.source, &volume, ONE, "one").await.point;
    let two = snap(pair.source, &volume, ONE, "two").await.point;

    let refused =
        pair.target.receive(&op(ONE), &volume, Some(&one), &two, &SIZE.into()).await.err();

    assert!(matches!(refused, Some(BackendError::NoSuchSnapshot { .. })), "got {refused:?}");
    assert_eq!(pair.target.stat(&volume).await.unwrap(), None);
    let gone = Point { tag: tag("gone"), guid: Guid("gone".to_owned()) };
    let unsent = pair.source.send(&volume, Some(&gone), &two, None).await.err();
    assert!(matches!(unsent, Some(BackendError::NoSuchSnapshot { .. })), "got {unsent:?}");
}

/// The answer to the last chunk was lost, and everything is sent again.
pub async fn a_snapshot_that_is_here_is_answered_again(pair: Pair<'_>) {
    let (volume, one) = pair.replicated("again").await;

    copy(pair.source, pair.target, &volume, None, &one, ONE).await;

    assert_eq!(points(pair.target, &volume).await, [one]);
}

/// Aborting twice removes once. A replica that never held anything goes with it; one that did stays as it was.
pub async fn an_aborted_receive_leaves_nothing(pair: Pair<'_>) {
    let (volume, one) = pair.replicated("abort").await;
    pair.put(pair.source, &volume, ONE, "b", &noise(2, 1 << 20)).await;
    let two = snap(pair.source, &volume, ONE, "two").await.point;
    let whole = stream(pair.source, &volume, Some(&one), &two, None).await.unwrap();
    let mut receiver =
        pair.target.receive(&op(ONE), &volume, Some(&one), &two, &SIZE.into()).await.unwrap();
    feed(receiver.as_mut(), &whole[..whole.len() / 2]).await.unwrap();
    drop(receiver);

    assert_eq!(pair.target.abort_receive(&op(ONE), &volume).await.unwrap(), Change::Made);
    assert_eq!(pair.target.abort_receive(&op(ONE), &volume).await.unwrap(), Change::None);

    assert_eq!(points(pair.target, &volume).await, std::slice::from_ref(&one));
    copy(pair.source, pair.target, &volume, Some(&one), &two, ONE).await;

    let fresh = made(pair.source, "abort-first").await;
    let first = snap(pair.source, &fresh, ONE, "first").await.point;
    let receiver = pair.target.receive(&op(ONE), &fresh, None, &first, &SIZE.into()).await.unwrap();
    drop(receiver);
    assert_eq!(pair.target.abort_receive(&op(ONE), &fresh).await.unwrap(), Change::Made);
    assert_eq!(pair.target.stat(&fresh).await.unwrap(), None);
}

/// A cut in the middle costs only what had not arrived.
pub async fn a_receive_goes_on_where_it_was_dropped(pair: Pair<'_>) {
    let volume = made(pair.source, "resume").await;
    pair.put(pair.source, &volume, ONE, "a", &noise(1, 4 << 20)).await;
    let one = snap(pair.source, &volume, ONE, "one").await.point;
    let whole = stream(pair.source, &volume, None, &one, None).await.unwrap();

    let mut receiver =
        pair.target.receive(&op(ONE), &volume, None, &one, &SIZE.into()).await.unwrap();
    feed(receiver.as_mut(), &whole[..whole.len() * 3 / 4]).await.unwrap();
    drop(receiver);
    assert_eq!(points(pair.target, &volume).await, [], "half a stream counts as nothing");
    let mut receiver =
        pair.target.receive(&op(ONE), &volume, None, &one, &SIZE.into()).await.unwrap();
    let token = receiver.resume_token().unwrap();
    let rest = stream(pair.source, &volume, None, &one, Some(&token)).await.unwrap();
    feed(receiver.as_mut(), &rest).await.unwrap();
    let got = receiver.finish().await.unwrap();

    assert_eq!(got.point, one);
    assert!(
        rest.len() < whole.len() / 2,
        "{} of {} bytes were sent again",
        rest.len(),
        whole.len()
    );
    pair.target.promote(&op(TWO), &volume, &one).await.unwrap();
    assert_eq!(pair.get(pair.target, &volume, TWO, "a").await, noise(1, 4 << 20));
}

/// A receiver that holds other bytes than the sender would send is told to start again.
pub async fn a_resume_from_other_bytes_is_refused(pair: Pair<'_>) {
    let (volume, one) = pair.replicated("other-bytes").await;
    pair.put(pair.source, &volume, ONE, "b", &noise(2, 1 << 20)).await;
    let two = snap(pair.source, &volume, ONE, "two").await.point;
    let increment = stream(pair.source, &volume, Some(&one), &two, None).await.unwrap();
    let mut receiver =
        pair.target.receive(&op(ONE), &volume, Some(&one), &two, &SIZE.into()).await.unwrap();
    feed(receiver.as_mut(), &increment[..increment.len() / 2]).await.unwrap();
    drop(receiver);
    let receiver =
        pair.target.receive(&op(ONE), &volume, Some(&one), &two, &SIZE.into()).await.unwrap();
    let token = receiver.resume_token().unwrap();

    // The token belongs to the increment, not to the whole.
    for wrong in [token, ResumeToken("nonsense".to_owned())] {
        let refused = stream(pair.source, &volume, None, &one, Some(&wrong)).await;
        assert!(
            matches!(refused, Err(BackendError::CannotResume { .. })),
            "got {:?}",
            refused.map(|b| b.len())
        );
    }
}

/// The end of a stream is a part of it.
pub async fn a_truncated_stream_never_counts(pair: Pair<'_>) {
    let (volume, one) = pair.replicated("truncated").await;
    pair.put(pair.source, &volume, ONE, "b", &noise(2, 100_000)).await;
    let two = snap(pair.source, &volume, ONE, "two").await.point;
    let whole = stream(pair.source, &volume, Some(&one), &two, None).await.unwrap();

    for length in [0, 1, 20, whole.len() / 2, whole.len() - 10, whole.len() - 1] {
        let mut receiver =
            pair.target.receive(&op(ONE), &volume, Some(&one), &two, &SIZE.into()).await.unwrap();
        feed(receiver.as_mut(), &whole[..length]).await.unwrap();
        let refused = receiver.finish().await;
        assert!(
            matches!(refused, Err(BackendError::CorruptStream { .. })),
            "{length} bytes: {refused:?}"
        );
        assert_eq!(points(pair.target, &volume).await, std::slice::from_ref(&one));
        pair.target.abort_receive(&op(ONE), &volume).await.unwrap();
    }

    copy(pair.source, pair.target, &volume, Some(&one), &two, ONE).await;
}

/// A flipped bit anywhere spoils the whole stream, and what was here stays.
pub async fn a_corrupted_stream_never_counts(pair: Pair<'_>) {
    let (volume, one) = pair.replicated("corrupted").await;
    pair.put(pair.source, &volume, ONE, "b", &noise(2, 100_000)).await;
    let two = snap(pair.source, &volume, ONE, "two").await.point;
    let whole = stream(pair.source, &volume, Some(&one), &two, None).await.unwrap();

    for place in [0, whole.len() / 3, whole.len() / 2, whole.len() - 3] {
        let mut bad = whole.clone();
        bad[place] ^= 0x10;
        let mut receiver =
            pair.target.receive(&op(ONE), &volume, Some(&one), &two, &SIZE.into()).await.unwrap();
        let refused = match feed(receiver.as_mut(), &bad).await {
            Ok(()) => receiver.finish().await.err(),
            Err(early) => Some(early),
        };
        assert!(
            matches!(refused, Some(BackendError::CorruptStream { .. })),
            "byte {place}: {refused:?}"
        );
        assert_eq!(points(pair.target, &volume).await, std::slice::from_ref(&one));
        pair.target.abort_receive(&op(ONE), &volume).await.unwrap();
    }

    copy(pair.source, pair.target, &volume, Some(&one), &two, ONE).await;
}

/// A good stream of another snapshot is not what was announced.
pub async fn the_announced_guid_must_come(pair: Pair<'_>) {
    let (volume, one) = pair.replicated("announced").await;
    let two = snap(pair.source, &volume, ONE, "two").await.point;
    let bytes = stream(pair.source, &volume, Some(&one), &two, None).await.unwrap();
    let announced =
        Point { tag: tag("two"), guid: Guid("6e9d4c1a-0000-4000-8000-000000000000".to_owned()) };

    let mut receiver =
        pair.target.receive(&op(ONE), &volume, Some(&one), &announced, &SIZE.into()).await.unwrap();
    let refused = match feed(receiver.as_mut(), &bytes).await {
        Ok(()) => receiver.finish().await.err(),
        Err(early) => Some(early),
    };

    assert!(matches!(refused, Some(BackendError::CorruptStream { .. })), "got {refused:?}");
    assert_eq!(points(pair.target, &volume).await, [one]);
}

/// A connection that died unnoticed does not block the next one, and cannot do harm any more.
pub async fn a_newer_receive_takes_over(pair: Pair<'_>) {
    let volume = made(pair.source, "takeover").await;
    pair.put(pair.source, &volume, ONE, "a", &noise(1, 1 << 20)).await;
    let one = snap(pair.source, &volume, ONE, "one").await.point;
    let whole = stream(pair.source, &volume, None, &one, None).await.unwrap();
    let mut first = pair.target.receive(&op(ONE), &volume, None, &one, &SIZE.into()).await.unwrap();
    feed(first.as_mut(), &whole[..whole.len() / 2]).await.unwrap();

    let mut second =
        pair.target.receive(&op(ONE), &volume, None, &one, &SIZE.into()).await.unwrap();
    let rest =
        stream(pair.source, &volume, None, &one, second.resume_token().as_ref()).await.unwrap();
    assert!(feed(first.as_mut(), &whole[whole.len() / 2..]).await.is_err());
    feed(second.as_mut(), &rest).await.unwrap();
    drop(first);

    assert_eq!(second.finish().await.unwrap().point, one);
    assert_eq!(points(pair.target, &volume).await, [one]);
}
