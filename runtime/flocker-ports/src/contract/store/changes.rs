//! Watches: history first, then what comes, each change once and in order.

use flocker_model::Revision;
use futures::StreamExt;

use super::{StoreHarness, next, put, refused, remove, revision, watch, within, write};
use crate::StoreError;

/// Given three transactions, a watch after the first shows the others and then a fourth.
pub async fn a_watch_shows_the_history_and_then_what_comes(harness: &mut impl StoreHarness) {
    let store = harness.store();
    let first = write(&*store, "a", vec![put("x", "1")]).await;
    write(&*store, "b", vec![put("x", "2")]).await;
    write(&*store, "c", vec![remove("x")]).await;

    let mut stream = watch(&*store, "", first).await;
    assert_eq!(next(&mut stream).await, "2 x=2");
    assert_eq!(next(&mut stream).await, "3 x gone");
    write(&*store, "d", vec![put("x", "4")]).await;
    assert_eq!(next(&mut stream).await, "4 x=4");

    let mut all = watch(&*store, "", Revision(0)).await;
    assert_eq!(next(&mut all).await, "1 x=1");
}

/// Changes elsewhere are not shown, nor is the removal of what was not there.
pub async fn a_watch_shows_its_prefix_only(harness: &mut impl StoreHarness) {
    let store = harness.store();
    let mut stream = watch(&*store, "app/", Revision(0)).await;

    write(&*store, "a", vec![put("node/n", "1"), put("app", "1")]).await;
    write(&*store, "b", vec![remove("app/none")]).await;
    write(&*store, "c", vec![put("app/shop", "3"), put("appendix", "3")]).await;
    write(&*store, "d", vec![remove("app/shop")]).await;

    assert_eq!(next(&mut stream).await, "3 app/shop=3");
    assert_eq!(next(&mut stream).await, "4 app/shop gone");
}

/// Given transactions with several writes, the watch keeps them in the order in which they were written, and says of each
/// change but the last that more follow.
pub async fn changes_of_one_transaction_come_together_and_in_order(
    harness: &mut impl StoreHarness,
) {
    let store = harness.store();
    let mut live = watch(&*store, "", Revision(0)).await;
    write(&*store, "a", vec![put("b", "1"), put("a", "1"), put("c", "1")]).await;
    write(&*store, "b", vec![put("c", "2"), remove("a")]).await;
    let mut late = watch(&*store, "", Revision(0)).await;

    for stream in [&mut live, &mut late] {
        for want in ["1 b=1 …", "1 a=1 …", "1 c=1", "2 c=2 …", "2 a gone"] {
            assert_eq!(next(stream).await, want);
        }
    }
}

/// Given two watches, reading one takes nothing from the other, and dropping one ends nothing.
pub async fn two_watchers_see_the_same(harness: &mut impl StoreHarness) {
    let store = harness.store();
    let mut one = watch(&*store, "", Revision(0)).await;
    let mut two = watch(&*store, "", Revision(0)).await;
    for i in 1..=10u64 {
        write(&*store, &i.to_string(), vec![put("x", &i.to_string())]).await;
        assert_eq!(next(&mut one).await, format!("{i} x={i}"));
    }

    drop(one);

    for i in 1..=10u64 {
        assert_eq!(next(&mut two).await, format!("{i} x={i}"));
    }
    write(&*store, "last", vec![put("x", "last")]).await;
    assert_eq!(next(&mut two).await, "11 x=last");
}

/// Given watches that nobody reads, commits and reads go on, and the one that is read later misses nothing.
pub async fn a_slow_watcher_blocks_nobody_and_misses_nothing(harness: &mut impl StoreHarness) {
    let store = harness.store();
    let value = "v".repeat(20_000);
    let mut slow = watch(&*store, "", Revision(0)).await;
    // Polled once and then left alone: it has asked for changes that it does not take.
    let mut stuck = watch(&*store, "", Revision(0)).await;
    write(&*store, "1", vec![put("x", &format!("1{value}"))]).await;
    next(&mut stuck).await;

    for i in 2..=60u64 {
        write(&*store, &i.to_string(), vec![put("x", &format!("{i}{value}"))]).await;
    }
    assert_eq!(revision(&*store).await, Revision(60));

    for i in 1..=60u64 {
        assert_eq!(next(&mut slow).await, format!("{i} x={i}{value}"));
    }
}

/// Writes so much that revision 1 is no longer in the history.
async fn outgrow_history(harness: &impl StoreHarness) {
    let store = harness.store();
    // Several at once, so that a store which puts them into one sync is quick.
    let writes = (0..harness.history() * 10 + 10).map(|i| {
        let store = store.clone();
        async move { write(&*store, &format!("h{i}"), vec![put("x", &i.to_string())]).await }
    });
    futures::stream::iter(writes).buffer_unordered(64).collect::<Vec<_>>().await;
}

/// Given a store that wrote more than it keeps, a watch from the beginning is refused, and one from the oldest is not.
pub async fn a_watch_from_before_the_history_is_refused(harness: &mut impl StoreHarness) {
    outgrow_history(harness).await;
    let store = harness.store();
    let now = revision(&*store).await;

    let error = refused("a watch from revision 1", within(store.watch("", Revision(1))).await);

    let StoreError::Compacted { after, oldest } = error else { panic!("got {error:?}") };
    assert_eq!(after, Revision(1));
    assert!(
        oldest > Revision(2) && oldest <= Revision(now.0 - harness.history() + 1),
        "oldest is {oldest}"
    );
    let mut stream = watch(&*store, "", Revision(oldest.0 - 1)).await;
    assert!(next(&mut stream).await.starts_with(&format!("{oldest} x=")));
}

/// Given an `after` that was never reached (the store was restored from an older copy), the watch would skip changes
/// without a word; it is refused.
pub async fn a_watch_from_the_future_is_refused(harness: &mut impl StoreHarness) {
    let store = harness.store();
    write(&*store, "a", vec![put("x", "1")]).await;

    let error = refused("a watch from the future", within(store.watch("", Revision(2))).await);

    assert!(matches!(error, StoreError::Compacted { after: Revision(2), .. }), "got {error:?}");
    drop(watch(&*store, "", Revision(1)).await);
}

/// Given a watch that nobody reads while the history moves on, its reader gets changes in order and without a gap, and
/// then is told that the rest is gone.
pub async fn a_watcher_that_fell_behind_is_told(harness: &mut impl StoreHarness) {
    let store = harness.store();
    let mut slow = watch(&*store, "", Revision(0)).await;
    outgrow_history(harness).await;
    let now = revision(&*store).await;

    let mut last = 0;
    loop {
        match within(slow.next()).await {
            Some(Ok(change)) => {
                assert_eq!(change.revision, Revision(last + 1), "changes were skipped");
                last += 1;
                // One that buffers little by little may have all of it; it must then be all of it.
                if change.revision == now {
                    return;
                }
            }
            Some(Err(StoreError::Compacted { oldest, .. })) => {
                assert!(oldest > Revision(last + 1), "the change after {last} was still there");
                assert!(within(slow.next()).await.is_none(), "the stream goes on after an error");
                return;
            }
            Some(Err(other)) => panic!("got {other:?}"),
            None => panic!("the watch ended without a word"),
        }
    }
}
