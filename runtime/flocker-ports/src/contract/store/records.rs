//! Records, transactions and their request ids.

use std::collections::BTreeMap;

use futures::future::join_all;

use super::{StoreHarness, put, refused, remove, revision, text, transaction, within, write};
use crate::{Store, StoreError, Transaction};
use bytes::Bytes;
use flocker_model::Revision;

/// Given an empty store, a record is absent and the revision is that of a store where nothing happened.
pub async fn a_record_that_was_never_written_is_absent(harness: &mut impl StoreHarness) {
    let store = harness.store();

    assert_eq!(text(&*store, "app/shop").await, None);
    assert_eq!(revision(&*store).await, Revision(0));
}

/// Given a record that was written twice, reading it shows the second content and revision.
pub async fn a_record_is_read_back_with_the_revision_of_its_last_change(
    harness: &mut impl StoreHarness,
) {
    let store = harness.store();
    write(&*store, "a", vec![put("app/shop", "one")]).await;
    let second = write(&*store, "b", vec![put("app/shop", "two")]).await;
    write(&*store, "c", vec![put("app/other", "three")]).await;

    let entry = within(store.get("app/shop")).await.ok().flatten();

    let seen = entry.map(|e| (e.key, e.value, e.revision));
    assert_eq!(seen, Some(("app/shop".to_owned(), Bytes::from_static(b"two"), second)));
}

/// Revisions count transactions, not changes, and a transaction that changes nothing counts too.
pub async fn each_transaction_makes_the_next_revision(harness: &mut impl StoreHarness) {
    let store = harness.store();

    assert_eq!(
        write(&*store, "a", vec![put("x", "1"), put("y", "1"), put("z", "1")]).await,
        Revision(1)
    );
    assert_eq!(write(&*store, "b", vec![]).await, Revision(2));
    assert_eq!(write(&*store, "c", vec![remove("never written")]).await, Revision(3));
    assert_eq!(revision(&*store).await, Revision(3));
}

/// A prefix is a prefix of bytes: it knows nothing of `/`.
pub async fn a_list_has_every_record_under_the_prefix_and_no_other(
    harness: &mut impl StoreHarness,
) {
    let store = harness.store();
    let keys =
        ["app/a", "app/a/x", "app/ab", "app/b", "ap", "b", "app/\u{10ffff}", "app/a\u{10ffff}z"];
    let last = write(&*store, "all", keys.iter().map(|key| put(key, key)).collect()).await;

    for prefix in ["", "a", "ap", "app/", "app/a", "app/a/", "app/\u{10ffff}", "zzz"] {
        let listing = within(store.list(prefix))
            .await
            .unwrap_or_else(|e| panic!("could not list `{prefix}`: {e}"));
        let seen: Vec<_> =
            listing.entries.iter().map(|e| (e.key.as_str(), e.value.clone(), e.revision)).collect();
        let mut want: Vec<_> = keys.iter().filter(|key| key.starts_with(prefix)).collect();
        want.sort();
        let want: Vec<_> =
            want.iter().map(|key| (**key, Bytes::copy_from_slice(key.as_bytes()), last)).collect();
        assert_eq!(seen, want, "prefix `{prefix}`");
        assert_eq!(listing.revision, last);
    }
}

/// Given a record that someone changed, a transaction that checks the older revision changes none of its records.
pub async fn a_transaction_with_a_failed_check_changes_nothing(harness: &mut impl StoreHarness) {
    let store = harness.store();
    let first = write(&*store, "a", vec![put("x", "1"), put("y", "1")]).await;
    let second = write(&*store, "b", vec![put("x", "2")]).await;

    let late = transaction(
        "c",
        &[("y", Some(first)), ("x", Some(first))],
        vec![put("x", "3"), put("y", "3")],
    );
    let error = refused("a stale check", within(store.commit(late)).await);

    assert!(matches!(&error, StoreError::Conflict { key } if key == "x"), "got {error:?}");
    assert_eq!(
        (text(&*store, "x").await, text(&*store, "y").await),
        (Some("2".into()), Some("1".into()))
    );
    assert_eq!(revision(&*store).await, second);
    let right = transaction(
        "d",
        &[("y", Some(first)), ("x", Some(second))],
        vec![put("x", "3"), remove("y")],
    );
    assert_eq!(within(store.commit(right)).await.ok(), Some(Revision(second.0 + 1)));
    assert_eq!((text(&*store, "x").await, text(&*store, "y").await), (Some("3".into()), None));
}

/// Absence can be checked, and presence of a revision fails where there is no record.
pub async fn a_check_for_absence_holds_only_while_there_is_no_record(
    harness: &mut impl StoreHarness,
) {
    let store = harness.store();
    let create = |request: &str| transaction(request, &[("x", None)], vec![put("x", "1")]);

    let made = within(store.commit(create("a"))).await;
    let again = refused("a second creation", within(store.commit(create("b"))).await);
    write(&*store, "c", vec![remove("x")]).await;
    let stale = transaction("d", &[("x", Some(Revision(1)))], vec![put("x", "2")]);
    let gone = refused("a change of a removed record", within(store.commit(stale)).await);
    let anew = within(store.commit(create("e"))).await;

    assert_eq!(made.ok(), Some(Revision(1)));
    assert!(matches!(again, StoreError::Conflict { .. }), "got {again:?}");
    assert!(matches!(gone, StoreError::Conflict { .. }), "got {gone:?}");
    assert_eq!(anew.ok(), Some(Revision(3)));
}

/// Given a transaction that was made, sending it again, one after the other or at once, gives the same answer, although
/// its check no longer holds. A refused one was not made, so it is tried anew.
pub async fn a_request_sent_twice_is_made_once(harness: &mut impl StoreHarness) {
    let store = harness.store();
    let create = transaction("create", &[("x", None)], vec![put("x", "1")]);
    let swap = |old| transaction("swap", &[("x", Some(old))], vec![put("x", "2")]);

    let at_once = join_all((0..8).map(|_| within(store.commit(create.clone())))).await;
    let refusal = refused("a wrong swap", within(store.commit(swap(Revision(77)))).await);
    let swapped = within(store.commit(swap(Revision(1)))).await;
    let late = within(store.commit(create)).await;

    assert!(at_once.iter().all(|answer| matches!(answer, Ok(Revision(1)))), "got {at_once:?}");
    assert!(matches!(refusal, StoreError::Conflict { .. }), "got {refusal:?}");
    assert_eq!(swapped.ok(), Some(Revision(2)));
    assert_eq!(late.ok(), Some(Revision(1)));
    assert_eq!(text(&*store, "x").await, Some("2".into()));
    assert_eq!(revision(&*store).await, Revision(2));
}

/// Given an answer that was lost in a restart, the same request gets the same answer.
pub async fn a_request_is_remembered_after_a_restart(harness: &mut impl StoreHarness) {
    let create = transaction("create", &[("x", None)], vec![put("x", "1")]);
    let before = within(harness.store().commit(create.clone())).await;

    harness.restart().await;
    let after = within(harness.store().commit(create)).await;

    assert_eq!((before.ok(), after.ok()), (Some(Revision(1)), Some(Revision(1))));
    assert_eq!(revision(&*harness.store()).await, Revision(1));
}

/// Given a few transactions and a restart, records, their revisions, the history and the count go on from there.
pub async fn what_was_acknowledged_is_there_after_a_restart(harness: &mut impl StoreHarness) {
    for i in 1..=20u64 {
        write(
            &*harness.store(),
            &format!("{i}"),
            vec![put(&format!("k{}", i % 7), &i.to_string())],
        )
        .await;
    }
    let before = within(harness.store().list("")).await.ok();

    harness.restart().await;

    let store = harness.store();
    assert_eq!(within(store.list("")).await.ok(), before);
    let mut watch = super::watch(&*store, "", Revision(18)).await;
    assert_eq!(super::next(&mut watch).await, "19 k5=19");
    assert_eq!(super::next(&mut watch).await, "20 k6=20");
    assert_eq!(write(&*store, "on", vec![put("on", "")]).await, Revision(21));
}

/// Adds one to the number in `key`, however many others do the same.
async fn increment(store: &dyn Store, request: &str, key: &str) {
    for attempt in 0.. {
        let entry =
            within(store.get(key)).await.unwrap_or_else(|e| panic!("could not read `{key}`: {e}"));
        let number: u64 =
            entry.as_ref().map_or(0, |e| String::from_utf8_lossy(&e.value).parse().unwrap_or(0));
        let check = [(key, entry.map(|e| e.revision))];
        let swap = transaction(
            &format!("{request}-{attempt}"),
            &check,
            vec![put(key, &(number + 1).to_string())],
        );
        match within(store.commit(swap)).await {
            Ok(_) => return,
            Err(StoreError::Conflict { .. }) => {}
            Err(other) => panic!("increment `{request}` failed: {other}"),
        }
    }
}

/// Given eight writers who each add one six times by compare-and-swap, the sum is 48.
pub async fn no_increment_is_lost_between_writers(harness: &mut impl StoreHarness) {
    let store = harness.store();

    join_all((0..8).map(|writer| {
        let store = store.clone();
        async move {
            for i in 0..6 {
                increment(&*store, &format!("{writer}/{i}"), "sum").await;
            }
        }
    }))
    .await;

    assert_eq!(text(&*store, "sum").await, Some("48".into()));
}

/// A key written twice, an empty or long key, an empty request id, too much at once.
pub async fn what_no_store_makes_is_refused_without_effect(harness: &mut impl StoreHarness) {
    let store = harness.store();
    let long = "k".repeat(Transaction::KEY_BYTES_MAX + 1);
    let big = "v".repeat(Transaction::BYTES_MAX);

    for (what, bad) in [
        ("a key written twice", transaction("a", &[], vec![put("x", "1"), put("x", "2")])),
        ("an empty key", transaction("b", &[], vec![put("y", "1"), put("", "1")])),
        ("an overlong key", transaction("c", &[], vec![put(&long, "1")])),
        ("an empty request id", transaction("", &[], vec![put("x", "1")])),
        ("too much at once", transaction("d", &[], vec![put("x", &big)])),
    ] {
        let error = refused(what, within(store.commit(bad)).await);
        assert!(matches!(error, StoreError::Failed { .. }), "{what}: got {error:?}");
    }

    assert_eq!(revision(&*store).await, Revision(0));
    let most = "v".repeat(Transaction::BYTES_MAX - 1);
    assert_eq!(write(&*store, "e", vec![put("x", &most)]).await, Revision(1));
    assert_eq!(text(&*store, "x").await, Some(most));
}

/// A plain map with revisions, which the store is compared with.
#[derive(Default)]
struct Model {
    records: BTreeMap<String, (u64, String)>,
    revision: u64,
}

impl Model {
    /// Whether the transaction was made.
    fn commit(&mut self, transaction: &Transaction) -> bool {
        let holds = |check: &crate::Check| {
            self.records.get(&check.key).map(|(revision, _)| Revision(*revision)) == check.revision
        };
        if !transaction.checks.iter().all(holds) {
            return false;
        }
        self.revision += 1;
        for write in &transaction.writes {
            match &write.value {
                Some(value) => {
                    let text = String::from_utf8_lossy(value).into_owned();
                    self.records.insert(write.key.clone(), (self.revision, text));
                }
                None => {
                    self.records.remove(&write.key);
                }
            }
        }
        true
    }
}

/// A generator that needs no crate: good enough to mix cases, the same on every run.
fn draw(state: &mut u64, below: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % below
}

/// Given a hundred random transactions, some with checks that fail, the store holds what the model holds.
pub async fn a_random_history_ends_as_the_model_says(harness: &mut impl StoreHarness) {
    let store = harness.store();
    let mut model = Model::default();
    let mut seed = 0x5eed_cafe_u64;
    for i in 0..100 {
        let mut checks = Vec::new();
        let mut writes = BTreeMap::new();
        for _ in 0..draw(&mut seed, 3) {
            let key = format!("k{}", draw(&mut seed, 6));
            let now = model.records.get(&key).map(|(revision, _)| Revision(*revision));
            let stale = draw(&mut seed, 4) == 0;
            checks.push((
                key,
                if stale { Some(Revision(draw(&mut seed, model.revision + 1))) } else { now },
            ));
        }
        for _ in 0..draw(&mut seed, 4) {
            let key = format!("k{}", draw(&mut seed, 6));
            let write =
                if draw(&mut seed, 4) == 0 { remove(&key) } else { put(&key, &i.to_string()) };
            writes.insert(key, write);
        }
        let checks: Vec<_> =
            checks.iter().map(|(key, revision)| (key.as_str(), *revision)).collect();
        let next = transaction(&format!("r{i}"), &checks, writes.into_values().collect());

        let want = model.commit(&next);
        let answer = within(store.commit(next)).await;

        assert_eq!(answer.is_ok(), want, "transaction {i}: {answer:?}");
    }
    let listing = within(store.list("")).await.unwrap_or_else(|e| panic!("could not list: {e}"));
    let seen: Vec<_> =
        listing.entries.iter().map(|e| (e.key.clone(), e.revision.0, e.value.clone())).collect();
    let want: Vec<_> =
        model.records.into_iter().map(|(key, (r, value))| (key, r, Bytes::from(value))).collect();
    assert_eq!((seen, listing.revision), (want, Revision(model.revision)));
}
