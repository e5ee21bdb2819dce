//! What every store must do. Each scenario is a function over a [`StoreHarness`]; [`store_contract!`](crate::store_contract)
//! makes one test of each.

mod changes;
mod records;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use flocker_model::Revision;
use futures::StreamExt;

pub use self::{changes::*, records::*};
use crate::{Check, RequestId, Store, StoreChange, StoreError, Transaction, WatchStream, Write};

/// An empty store of a test's own, which can be stopped and started.
#[async_trait]
pub trait StoreHarness: Send + Sync + fmt::Debug {
    /// The store. A restart may replace it.
    fn store(&self) -> Arc<dyn Store>;

    /// Stops the store and starts it again with what is durable.
    async fn restart(&mut self);

    /// The store surely has the last so many transactions in its history, and surely not one ten times as old. At
    /// least 64.
    fn history(&self) -> u64;
}

/// Makes one test of each scenario; `$harness` is the path of an async function that returns a fresh [`StoreHarness`],
/// and `$test` what the test attribute is to be given, as in `tokio::test(start_paused = true)`.
#[macro_export]
macro_rules! store_contract {
    ($test:meta, $harness:path) => {
        $crate::store_contract!(@each $test, $harness:
            a_record_that_was_never_written_is_absent,
            a_record_is_read_back_with_the_revision_of_its_last_change,
            each_transaction_makes_the_next_revision,
            a_list_has_every_record_under_the_prefix_and_no_other,
            a_transaction_with_a_failed_check_changes_nothing,
            a_check_for_absence_holds_only_while_there_is_no_record,
            a_request_sent_twice_is_made_once,
            a_request_is_remembered_after_a_restart,
            what_was_acknowledged_is_there_after_a_restart,
            no_increment_is_lost_between_writers,
            what_no_store_makes_is_refused_without_effect,
            a_random_history_ends_as_the_model_says,
            a_watch_shows_the_history_and_then_what_comes,
            a_watch_shows_its_prefix_only,
            changes_of_one_transaction_come_together_and_in_order,
            two_watchers_see_the_same,
            a_slow_watcher_blocks_nobody_and_misses_nothing,
            a_watch_from_before_the_history_is_refused,
            a_watch_from_the_future_is_refused,
            a_watcher_that_fell_behind_is_told,
        );
    };
    (@each $test:meta, $harness:path: $($scenario:ident),* $(,)?) => {
        $(
            #[$test]
            async fn $scenario() {
                $crate::contract::store::$scenario(&mut $harness().await).await;
            }
        )*
    };
}

/// How long anything here may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the future yields, unless it hangs.
#[track_caller]
pub(crate) fn within<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(value) => value,
            Err(_) => panic!("nothing happened for {PATIENCE:?} at {place}"),
        }
    }
}

/// A write of `value`.
fn put(key: &str, value: &str) -> Write {
    Write { key: key.to_owned(), value: Some(Bytes::copy_from_slice(value.as_bytes())) }
}

/// A removal.
fn remove(key: &str) -> Write {
    Write { key: key.to_owned(), value: None }
}

/// A transaction under this request id.
fn transaction(
    request: &str,
    checks: &[(&str, Option<Revision>)],
    writes: Vec<Write>,
) -> Transaction {
    let checks =
        checks.iter().map(|(key, revision)| Check { key: (*key).to_owned(), revision: *revision });
    Transaction { request: RequestId(request.to_owned()), checks: checks.collect(), writes }
}

/// Commits writes without a check.
#[track_caller]
fn write(store: &dyn Store, request: &str, writes: Vec<Write>) -> impl Future<Output = Revision> {
    let commit = within(store.commit(transaction(request, &[], writes)));
    let request = request.to_owned();
    async move { commit.await.unwrap_or_else(|error| panic!("`{request}` was refused: {error}")) }
}

/// The record's content as text.
async fn text(store: &dyn Store, key: &str) -> Option<String> {
    let entry = within(store.get(key))
        .await
        .unwrap_or_else(|error| panic!("could not read `{key}`: {error}"));
    entry.map(|entry| String::from_utf8_lossy(&entry.value).into_owned())
}

/// The revision of the whole store.
async fn revision(store: &dyn Store) -> Revision {
    match within(store.list("")).await {
        Ok(listing) => listing.revision,
        Err(error) => panic!("could not list: {error}"),
    }
}

/// Opens a watch that must open.
async fn watch(store: &dyn Store, prefix: &str, after: Revision) -> WatchStream {
    match within(store.watch(prefix, after)).await {
        Ok(stream) => stream,
        Err(error) => panic!("could not watch `{prefix}` after {after}: {error}"),
    }
}

/// The next change as `REVISION KEY=VALUE`, or `REVISION KEY gone`, and whether more of its transaction follows.
async fn next(stream: &mut WatchStream) -> String {
    match within(stream.next()).await {
        Some(Ok(change)) => shown(&change),
        Some(Err(error)) => panic!("the watch broke: {error}"),
        None => panic!("the watch ended"),
    }
}

/// The change as people read it; `…` where more of its transaction follows.
fn shown(change: &StoreChange) -> String {
    let more = if change.more { " …" } else { "" };
    match &change.value {
        Some(value) => {
            let value = String::from_utf8_lossy(value);
            format!("{} {}={value}{more}", change.revision, change.key)
        }
        None => format!("{} {} gone{more}", change.revision, change.key),
    }
}

/// What was refused, or a panic that says what was not.
#[track_caller]
fn refused<T>(what: &str, answer: Result<T, StoreError>) -> StoreError {
    match answer {
        Ok(_) => panic!("{what} was not refused"),
        Err(error) => error,
    }
}
