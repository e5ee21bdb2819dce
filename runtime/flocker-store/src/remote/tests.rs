//! The contract over a loopback connection, and servers that come and go.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use flocker_model::Revision;
use flocker_ports::{
    Check, RequestId, Store, StoreChange, StoreError, Transaction, Write,
    contract::store::StoreHarness, store_contract,
};
use futures::StreamExt;
use tokio::{net::TcpListener, runtime::Runtime, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use super::RemoteStore;
use crate::{
    History,
    embedded::tests::{Harness, put},
    serve,
};

/// A server with threads of its own, so that it can stop as a killed process stops: in the middle of whatever it does.
#[derive(Debug)]
struct Served {
    address: SocketAddr,
    threads: Runtime,
}

impl Served {
    /// Serves at `address`; port 0 chooses one.
    async fn start(store: Arc<dyn Store>, address: SocketAddr) -> Self {
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let bound =
            threads.spawn(async move { TcpListener::bind(address).await.unwrap() }).await.unwrap();
        let address = bound.local_addr().unwrap();
        threads.spawn(
            Server::builder()
                .add_service(serve(store))
                .serve_with_incoming(TcpListenerStream::new(bound)),
        );
        Self { address, threads }
    }

    async fn kill(self) {
        let wait = Duration::from_secs(30);
        tokio::task::spawn_blocking(move || self.threads.shutdown_timeout(wait)).await.unwrap();
    }
}

/// An embedded store behind a server of its own.
#[derive(Debug)]
struct Remote {
    embedded: Harness,
    served: Option<Served>,
    client: Arc<RemoteStore>,
}

impl Remote {
    async fn fresh() -> Self {
        Self::around(Harness::fresh().await).await
    }

    async fn around(embedded: Harness) -> Self {
        let served = Served::start(embedded.store(), ([127, 0, 0, 1], 0).into()).await;
        let client = Arc::new(RemoteStore::connect_lazy(&served.address.to_string()).unwrap());
        Self { embedded, served: Some(served), client }
    }
}

#[async_trait]
impl StoreHarness for Remote {
    fn store(&self) -> Arc<dyn Store> {
        self.client.clone()
    }

    async fn restart(&mut self) {
        let served = self.served.take().unwrap();
        let address = served.address;
        served.kill().await;
        self.embedded.restart().await;
        self.served = Some(Served::start(self.embedded.store(), address).await);
    }

    fn history(&self) -> u64 {
        self.embedded.history()
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // A runtime must not be waited for in an async function.
        if let Some(served) = self.served.take() {
            served.threads.shutdown_background();
        }
    }
}

store_contract!(tokio::test, Remote::fresh);

/// Adds one to the number under `key`. A conflict is tried anew; any other error is one that retries should have hidden.
async fn increment(store: &dyn Store, request: &str, key: &str) -> u64 {
    for attempt in 0.. {
        let entry = store.get(key).await.unwrap();
        let number: u64 =
            entry.as_ref().map_or(0, |e| std::str::from_utf8(&e.value).unwrap().parse().unwrap());
        let transaction = Transaction {
            request: RequestId(format!("{request}-{attempt}")),
            checks: vec![Check { key: key.into(), revision: entry.map(|e| e.revision) }],
            writes: vec![
                Write { key: key.into(), value: Some((number + 1).to_string().into()) },
                Write { key: format!("log/{request}"), value: Some("made".into()) },
            ],
        };
        match store.commit(transaction).await {
            Ok(_) => return number + 1,
            Err(StoreError::Conflict { .. }) => {}
            Err(other) => panic!("`{request}`: {other}"),
        }
    }
    unreachable!()
}

/// Given writers and a watcher, and a server that is killed and started again and again in the middle of it, each
/// increment is made once, and the watcher sees each change once.
#[tokio::test]
async fn nothing_is_made_twice_or_skipped_when_the_server_is_killed() {
    const WRITERS: u64 = 6;
    const KILLS: usize = 8;
    let mut remote = Remote::around(Harness::with(History::default()).await).await;
    let mut watch = remote.store().watch("", Revision(0)).await.unwrap();
    let seen = tokio::spawn(async move {
        let mut seen: Vec<StoreChange> = Vec::new();
        while seen.last().is_none_or(|change| change.key != "end") {
            seen.push(watch.next().await.unwrap().unwrap());
        }
        seen
    });
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let (progress, mut progressed) = tokio::sync::mpsc::channel(1);
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (store, stopped, progress) = (remote.store(), stopped.clone(), progress.clone());
        writers.spawn(async move {
            let mut n_made = 0u64;
            while !*stopped.borrow() {
                increment(&*store, &format!("{writer}-{n_made}"), "sum").await;
                n_made += 1;
                // Whoever waits for progress has enough of it when this is full.
                let _ = progress.try_send(());
            }
            n_made
        });
    }

    drop(progress);
    for _ in 0..KILLS {
        for _ in 0..5 {
            progressed.recv().await.unwrap();
        }
        remote.restart().await;
    }
    stop.send(true).unwrap();
    let n_made: u64 = writers.join_all().await.into_iter().sum();

    let store = remote.store();
    let last = store.commit(put("end", "")).await.unwrap();
    let sum = store.get("sum").await.unwrap().unwrap();
    assert_eq!(sum.value, n_made.to_string(), "each increment once");
    assert_eq!(store.list("log/").await.unwrap().entries.len() as u64, n_made);
    assert_eq!(last, Revision(n_made + 1), "each transaction once");
    let seen: Vec<_> = seen.await.unwrap().into_iter().map(|change| change.revision.0).collect();
    let want: Vec<_> =
        (1..=n_made).flat_map(|revision| [revision, revision]).chain([last.0]).collect();
    assert_eq!(seen, want, "each change once, in order");
}

/// Given a node that does not answer, the error names it, and comes in a bounded time.
#[tokio::test]
async fn a_store_that_is_away_is_named() {
    // Bound and dropped: nobody listens there.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let store =
        RemoteStore::connect_lazy(&address).unwrap().with_patience(Duration::from_millis(300));

    let error = store.get("x").await.unwrap_err();

    assert!(
        matches!(&error, StoreError::Unreachable { address: at, .. } if *at == address),
        "got {error:?}"
    );
    assert!(error.to_string().contains("refused"), "the cause is missing: {error}");
}

/// Something that answers, but not with a store.
#[tokio::test]
async fn a_server_without_a_store_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let empty = Server::builder().add_routes(tonic::service::Routes::default());
    let server = tokio::spawn(empty.serve_with_incoming(TcpListenerStream::new(listener)));

    let error = RemoteStore::connect_lazy(&address).unwrap().get("x").await.unwrap_err();
    server.abort();

    assert!(matches!(error, StoreError::Failed { .. }), "got {error:?}");
    assert!(error.to_string().contains(&address), "got {error}");
}

#[test]
fn an_address_that_is_none_is_refused() {
    let error = RemoteStore::connect_lazy("not an address").unwrap_err();

    assert!(error.to_string().contains("HOST:PORT"), "got {error}");
}
