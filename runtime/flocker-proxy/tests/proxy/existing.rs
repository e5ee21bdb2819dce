//! Connections that exist when something changes: quiesced, cut, or none the wiser.

use std::time::Duration;

use flocker_model::{Epoch, Revision, Route};
use flocker_proxy::Limits;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

use crate::support::{App, Client, Cluster, Ended, active, eventually, parked, redis, soon};

/// A client that has talked to an app on `b` through node `a`.
async fn acquainted(cluster: &mut Cluster) -> (App, Client) {
    let app = cluster.start_app("b", 1).await;
    cluster.route(active("b", 1)).await;
    let mut client = Client::connect(cluster.address("a")).await;
    assert_eq!(client.ask("hello").await, "b hello");
    (app, client)
}

#[tokio::test]
async fn a_park_ends_idle_connections_in_order_and_tells_when_they_are_gone() {
    let mut cluster = Cluster::of(&["a", "b"]).await;
    let (_app, mut client) = acquainted(&mut cluster).await;

    cluster.route(parked()).await;

    assert_eq!(client.end().await, Ended::Orderly);
    assert_eq!(cluster.stats("a").quiesced, 1);
    let relayed = (cluster.stats("a").active, cluster.stats("b").carried);
    assert_eq!(relayed, (0, 0), "`applied` returned too early");
}

/// Given times so long that only what is waited for can end the connection.
#[tokio::test]
async fn an_answer_on_its_way_still_arrives() {
    let limits = Limits {
        quiesce_silence: Duration::from_secs(2),
        quiesce_max: Duration::from_secs(30),
        ..Limits::default()
    };
    let mut cluster = Cluster::with_limits(&["a", "b"], limits).await;
    let (app, mut client) = acquainted(&mut cluster).await;
    client.say("wait").await;
    eventually("the app was asked", || app.lines() == 2).await;

    let park = cluster.next(parked());
    for name in ["a", "b"] {
        cluster.proxy(name).publish(park.clone());
    }
    app.permit();

    assert_eq!(client.hear().await, "b wait");
    assert_eq!(client.end().await, Ended::Orderly);
}

#[tokio::test]
async fn an_app_that_goes_on_talking_is_not_waited_for_any_longer_than_allowed() {
    let limits = Limits { quiesce_silence: Duration::from_secs(3600), ..Limits::default() };
    let mut cluster = Cluster::with_limits(&["a", "b"], limits).await;
    let (_app, mut client) = acquainted(&mut cluster).await;

    cluster.route(parked()).await;

    let relayed = (cluster.stats("a").active, cluster.stats("b").carried);
    assert_eq!(relayed, (0, 0), "`applied` returned too early");
    assert_eq!(client.end().await, Ended::Orderly);
}

/// Given a client that never stops sending.
#[tokio::test]
async fn a_client_that_still_sends_sees_an_orderly_end_and_its_bytes_go_nowhere() {
    let mut cluster = Cluster::of(&["a"]).await;
    let app = cluster.start_app("a", 1).await;
    cluster.route(active("a", 1)).await;
    let mut client = Client::connect(cluster.address("a")).await;
    assert_eq!(client.ask("hello").await, "a hello");
    let lines = app.lines();

    cluster.route(parked()).await;
    client.0.write_all(&[b'\n'; 100_000]).await.unwrap();

    assert_eq!(client.end().await, Ended::Orderly);
    assert_eq!(app.lines(), lines, "bytes reached an app that is about to be stopped");
}

/// Given a client that is slow to read a long answer, and sends on.
#[tokio::test]
async fn the_tail_of_a_long_answer_is_not_lost_to_a_reset() {
    const LENGTH: usize = 512 << 10;
    let limits = Limits { linger_max: Duration::from_secs(60), ..Limits::default() };
    let mut cluster = Cluster::with_limits(&["a"], limits).await;
    let listener = TcpListener::bind((cluster.nodes["a"].ip, 0)).await.unwrap();
    cluster.proxy("a").serve(&redis(), Epoch(1), listener.local_addr().unwrap());
    cluster.route(active("a", 1)).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 << 10).unwrap();
    let mut client = socket.connect(cluster.address("a")).await.unwrap();
    client.write_all(b"tell me").await.unwrap();
    let (mut app, _) = listener.accept().await.unwrap();
    app.read_exact(&mut [0; 7]).await.unwrap();
    soon("the answer is written", app.write_all(&vec![b'x'; LENGTH])).await.unwrap();
    eventually("the answer is relayed", || cluster.stats("a").bytes_out == LENGTH as u64).await;

    cluster.route(parked()).await;
    client.write_all(b"and now something else").await.unwrap();

    let mut answer = Vec::new();
    soon("the whole answer", client.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer.len(), LENGTH);
}

/// Given a client that has sent all, waits for an app that says nothing, and dies.
#[tokio::test]
async fn a_client_that_dies_after_its_last_word_is_let_go() {
    let (cluster, listener) = with_own_app().await;
    let mut client = TcpStream::connect(cluster.address("a")).await.unwrap();
    client.write_all(b"a question").await.unwrap();
    client.shutdown().await.unwrap();
    let (mut app, _) = listener.accept().await.unwrap();
    soon("the question", app.read_to_end(&mut Vec::new())).await.unwrap();

    client.set_zero_linger().unwrap();
    drop(client);

    eventually("nothing is left of it", || cluster.stats("a").active == 0).await;
    let end = soon("the app hears of it", app.read(&mut [0; 1])).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

/// Given an app that closed a connection of which the client knows nothing yet, and that reads slowly.
#[tokio::test]
async fn an_app_that_dies_after_its_last_word_is_let_go_and_its_answer_arrives() {
    const LENGTH: usize = 512 << 10;
    let (cluster, listener) = with_own_app().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 << 10).unwrap();
    let mut client = socket.connect(cluster.address("a")).await.unwrap();
    let (mut app, _) = listener.accept().await.unwrap();
    soon("the answer is written", app.write_all(&vec![b'x'; LENGTH])).await.unwrap();
    app.shutdown().await.unwrap();
    eventually("the answer is relayed", || cluster.stats("a").bytes_out == LENGTH as u64).await;

    app.set_zero_linger().unwrap();
    drop(app);

    eventually("nothing is left of it", || cluster.stats("a").active == 0).await;
    let mut answer = Vec::new();
    soon("the whole answer", client.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer.len(), LENGTH);
}

/// A node whose app is the test itself.
async fn with_own_app() -> (Cluster, TcpListener) {
    let mut cluster = Cluster::of(&["a"]).await;
    let listener = TcpListener::bind((cluster.nodes["a"].ip, 0)).await.unwrap();
    cluster.proxy("a").serve(&redis(), Epoch(1), listener.local_addr().unwrap());
    cluster.route(active("a", 1)).await;
    (cluster, listener)
}

/// Given a connection on which neither side has said anything.
#[tokio::test]
async fn a_silent_connection_outlives_a_move_unnoticed() {
    for name in ["a", "b"] {
        let mut cluster = Cluster::of(&["a", "b"]).await;
        let app = cluster.start_app("a", 1).await;
        cluster.route(active("a", 1)).await;
        let mut client = Client::connect(cluster.address(name)).await;
        eventually("it is relayed", || cluster.stats(name).active == 1).await;

        // The client's node hears of it first, as the other's end would be an end that the client must be told.
        let park = cluster.next(parked());
        cluster.proxy(name).publish(park.clone());
        soon("it is held again", cluster.proxy(name).applied(park.revision)).await;
        cluster.publish(&park).await;
        cluster.proxy("a").withdraw(&redis());
        drop(app);
        let _app = cluster.start_app("b", 2).await;
        cluster.route(active("b", 2)).await;

        assert_eq!(client.ask("hello").await, "b hello", "through node {name}");
    }
}

#[tokio::test]
async fn a_change_of_owner_without_a_park_cuts() {
    let mut cluster = Cluster::of(&["a", "b"]).await;
    let (_app, mut client) = acquainted(&mut cluster).await;

    cluster.route(active("a", 2)).await;

    assert_eq!(client.end().await, Ended::Reset);
    assert_eq!(cluster.stats("a").cut, 1);
    eventually("the old owner let go as well", || cluster.stats("b").carried == 0).await;
}

#[tokio::test]
async fn what_the_owner_withdraws_is_cut_for_other_nodes_too() {
    let mut cluster = Cluster::of(&["a", "b"]).await;
    let (_app, mut far) = acquainted(&mut cluster).await;
    let mut near = Client::connect(cluster.address("b")).await;
    assert_eq!(near.ask("hello").await, "b hello");

    cluster.proxy("b").withdraw(&redis());

    assert_eq!(near.end().await, Ended::Reset);
    assert_eq!(far.end().await, Ended::Reset);
}

#[tokio::test]
async fn a_service_that_goes_down_cuts_before_the_table_counts_as_applied() {
    let mut cluster = Cluster::of(&["a", "b"]).await;
    let (_app, mut client) = acquainted(&mut cluster).await;

    cluster.route(Route::Down { reason: "failover".to_owned() }).await;

    assert_eq!((cluster.stats("a").active, cluster.stats("b").carried), (0, 0));
    assert_eq!(client.end().await, Ended::Reset);
}

#[tokio::test]
async fn other_services_changes_disturb_nobody() {
    let mut cluster = Cluster::of(&["a", "b"]).await;
    let (_app, mut client) = acquainted(&mut cluster).await;

    cluster.table.revision = Revision(50);
    cluster.table.mesh.insert(crate::support::node("z"), cluster.nodes["a"].mesh);
    cluster.route(active("b", 1)).await;

    assert_eq!(client.ask("still there?").await, "b still there?");
}

#[tokio::test]
async fn a_proxy_that_is_stopped_ends_its_connections_in_order() {
    let mut cluster = Cluster::of(&["a", "b"]).await;
    let (_app, mut client) = acquainted(&mut cluster).await;

    soon("the proxy has stopped", cluster.proxy("a").stop()).await;
    soon("twice is as good as once", cluster.proxy("a").stop()).await;

    assert_eq!(client.end().await, Ended::Orderly);
    let refused = tokio::net::TcpStream::connect(cluster.address("a")).await;
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
}
