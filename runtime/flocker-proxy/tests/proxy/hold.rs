//! Connections are held, and not one is lost: while the service is parked, while its owner cannot be reached.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use flocker_model::{Epoch, OperationId, Route, Timestamp};
use flocker_proxy::Limits;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    task::JoinSet,
};

use crate::support::{App, Client, Cluster, Ended, active, eventually, new_ip, now, parked, redis};

/// What writers saw.
#[derive(Default)]
struct Log {
    stop: AtomicBool,
    from_a: AtomicUsize,
    from_b: AtomicUsize,
    ended_before_an_answer: AtomicUsize,
    errors: AtomicUsize,
}

/// Connects, asks once, and begins again.
async fn keep_connecting(address: std::net::SocketAddr, log: Arc<Log>) {
    while !log.stop.load(Ordering::SeqCst) {
        let ask = async {
            let mut stream = BufReader::new(TcpStream::connect(address).await?);
            stream.write_all(b"hello\n").await?;
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            std::io::Result::Ok(line)
        };
        let counter = match ask.await.as_deref() {
            Ok("a hello\n") => &log.from_a,
            Ok("b hello\n") => &log.from_b,
            Ok("") => &log.ended_before_an_answer,
            Ok(other) => panic!("a mangled answer: {other:?}"),
            Err(_) => &log.errors,
        };
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

/// Given writers that never stop connecting, through a node that owns the app at no time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_refuses_no_connection_and_loses_none() {
    const WRITERS: usize = 16;
    let mut cluster = Cluster::of(&["a", "b", "c"]).await;
    let app = cluster.start_app("a", 1).await;
    cluster.route(active("a", 1)).await;
    let log = Arc::new(Log::default());
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        writers.spawn(keep_connecting(cluster.address("c"), Arc::clone(&log)));
    }
    eventually("a answers", || log.from_a.load(Ordering::SeqCst) > 100).await;

    cluster.route(parked()).await;
    // What was in the app's own queue when its connections ended, it reads still.
    eventually("the app has no connection", || app.open() == 0).await;
    let lines = app.lines();
    eventually("every writer is held", || cluster.stats("c").held == WRITERS).await;
    cluster.proxy("a").withdraw(&redis());
    assert_eq!(app.lines(), lines, "the old owner was asked while parked");
    drop(app);
    let _app = cluster.start_app("b", 2).await;
    cluster.route(active("b", 2)).await;
    eventually("b answers", || log.from_b.load(Ordering::SeqCst) > 100).await;
    log.stop.store(true, Ordering::SeqCst);
    writers.join_all().await;

    assert_eq!(log.errors.load(Ordering::SeqCst), 0, "refused or reset");
    let interrupted = log.ended_before_an_answer.load(Ordering::SeqCst);
    assert!(
        interrupted <= WRITERS,
        "{interrupted} ended, but only {WRITERS} existed when the park began"
    );
    assert_eq!(cluster.stats("c").refused, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_held_connections_are_all_let_through() {
    let mut cluster = Cluster::of(&["a", "b"]).await;
    let _app = cluster.start_app("b", 1).await;
    cluster.route(parked()).await;
    let mut clients = JoinSet::new();
    for n in 0..1000 {
        let address = cluster.address("a");
        clients.spawn(async move { Client::connect(address).await.ask(&n.to_string()).await });
    }
    eventually("all are held", || cluster.stats("a").held == 1000).await;
    assert_eq!(cluster.stats("a").bytes_in, 0, "nothing is read while parked");

    cluster.route(active("b", 1)).await;

    let mut answers = clients.join_all().await;
    answers.sort();
    let mut expected: Vec<_> = (0..1000).map(|n| format!("b {n}")).collect();
    expected.sort();
    assert_eq!(answers, expected);
    eventually("no place is taken any more", || cluster.stats("a").held == 0).await;
    assert_eq!(cluster.stats("a").refused, 0);
}

/// Given a node that has not heard yet that the app moved.
#[tokio::test]
async fn the_old_owner_says_moved_and_the_connection_waits_for_the_news() {
    let mut cluster = Cluster::of(&["a", "b", "c"]).await;
    let _old = cluster.start_app("a", 1).await;
    cluster.route(active("a", 1)).await;
    let new = cluster.next(active("b", 2));
    let _new = cluster.start_app("b", 2).await;
    for name in ["a", "b"] {
        cluster.proxy(name).publish(new.clone());
    }

    let mut client = Client::connect(cluster.address("c")).await;
    client.say("hello").await;
    eventually("it hears `moved` and holds", || {
        cluster.stats("c").moved > 0 && cluster.stats("c").held == 1
    })
    .await;
    cluster.proxy("c").publish(new);

    assert_eq!(client.hear().await, "b hello");
    assert_eq!(cluster.stats("c").refused, 0);
}

/// Given the owner knows of a park of which the client's node has not heard.
#[tokio::test]
async fn a_proxy_that_missed_the_park_is_stopped_by_the_owner() {
    let mut cluster = Cluster::of(&["a", "c"]).await;
    let app = cluster.start_app("a", 1).await;
    cluster.route(active("a", 1)).await;
    let park = cluster.next(parked());
    cluster.proxy("a").publish(park);

    let mut client = Client::connect(cluster.address("c")).await;
    client.say("hello").await;
    eventually("it is held", || cluster.stats("c").held == 1 && cluster.stats("c").retries > 2)
        .await;
    assert_eq!(app.lines(), 0);
    cluster.route(active("a", 1)).await;

    assert_eq!(client.hear().await, "a hello");
}

#[tokio::test]
async fn a_container_that_starts_again_is_waited_for() {
    let mut cluster = Cluster::of(&["a", "b"]).await;
    let address = (new_ip(), 7200).into();
    cluster.proxy("a").serve(&redis(), Epoch(1), address);
    cluster.route(active("a", 1)).await;

    let mut near = Client::connect(cluster.address("a")).await;
    let mut far = Client::connect(cluster.address("b")).await;
    near.say("hello").await;
    far.say("hello").await;
    eventually("both are held", || {
        ["a", "b"]
            .iter()
            .all(|name| cluster.stats(name).held == 1 && cluster.stats(name).retries > 3)
    })
    .await;
    let _app = App::start("a", address).await;

    assert_eq!(near.hear().await, "a hello");
    assert_eq!(far.hear().await, "a hello");
}

#[tokio::test]
async fn an_app_that_is_not_started_yet_is_waited_for() {
    let mut cluster = Cluster::of(&["a"]).await;
    cluster.route(active("a", 1)).await;
    let mut client = Client::connect(cluster.address("a")).await;
    client.say("hello").await;
    eventually("it is held", || cluster.stats("a").held == 1).await;

    let _app = cluster.start_app("a", 1).await;

    assert_eq!(client.hear().await, "a hello");
}

#[tokio::test]
async fn the_newest_is_refused_when_too_many_are_held() {
    for limits in [
        Limits { held_per_service: 2, ..Limits::default() },
        Limits { held_total: 2, ..Limits::default() },
    ] {
        let mut cluster = Cluster::with_limits(&["a"], limits).await;
        let _app = cluster.start_app("a", 1).await;
        cluster.route(parked()).await;
        let mut first = Client::connect(cluster.address("a")).await;
        let mut second = Client::connect(cluster.address("a")).await;
        eventually("two are held", || cluster.stats("a").held == 2).await;

        let mut third = Client::connect(cluster.address("a")).await;

        assert_eq!(third.end().await, Ended::Reset);
        assert_eq!((cluster.stats("a").refused, cluster.stats("a").held), (1, 2));
        cluster.route(active("a", 1)).await;
        assert_eq!(first.ask("1").await, "a 1");
        assert_eq!(second.ask("2").await, "a 2");
    }
}

#[tokio::test]
async fn a_connection_is_not_held_for_ever() {
    let limits =
        Limits { hold_max: Duration::from_millis(50), release_batch: 1, ..Limits::default() };
    let mut cluster = Cluster::with_limits(&["a"], limits).await;
    cluster.route(parked()).await;

    let mut with_a_turn = Client::connect(cluster.address("a")).await;
    let mut without = Client::connect(cluster.address("a")).await;

    assert_eq!(with_a_turn.end().await, Ended::Reset);
    assert_eq!(without.end().await, Ended::Reset);
    assert_eq!(cluster.stats("a").refused, 2);
}

#[tokio::test]
async fn who_is_down_or_parked_for_too_long_refuses() {
    let down = Route::Down { reason: "it was never placed".to_owned() };
    let overdue =
        Route::Parked { operation: OperationId::new("op-1").unwrap(), deadline: Timestamp(1) };
    for route in [down, overdue] {
        let mut cluster = Cluster::of(&["a"]).await;
        let _app = cluster.start_app("a", 1).await;
        cluster.route(route).await;

        let mut client = Client::connect(cluster.address("a")).await;

        assert_eq!(client.end().await, Ended::Reset);
        assert_eq!(cluster.stats("a").refused, 1);
    }
}

#[tokio::test]
async fn all_who_are_held_are_refused_when_the_service_goes_down() {
    let mut cluster =
        Cluster::with_limits(&["a"], Limits { release_batch: 1, ..Limits::default() }).await;
    cluster.route(parked()).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(Client::connect(cluster.address("a")).await);
    }
    eventually("all are held", || cluster.stats("a").held == 3).await;

    cluster.route(Route::Down { reason: "the move failed".to_owned() }).await;

    for client in &mut clients {
        assert_eq!(client.end().await, Ended::Reset);
    }
    assert_eq!(cluster.stats("a").refused, 3);
}

#[tokio::test]
async fn a_park_whose_deadline_passes_lets_go_of_whom_it_held() {
    let limits = Limits { clock_skew_max: Duration::ZERO, ..Limits::default() };
    let mut cluster = Cluster::with_limits(&["a"], limits).await;
    let deadline = now() + Duration::from_millis(300);
    cluster.route(Route::Parked { operation: OperationId::new("op-1").unwrap(), deadline }).await;
    let mut client = Client::connect(cluster.address("a")).await;
    eventually("it is held", || cluster.stats("a").held == 1).await;

    assert_eq!(client.end().await, Ended::Reset);

    assert!(now() >= deadline);
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_place_to_the_next() {
    let mut cluster = Cluster::of(&["a"]).await;
    cluster.route(parked()).await;
    let client = Client::connect(cluster.address("a")).await;
    eventually("it is held", || cluster.stats("a").held == 1).await;

    client.0.get_ref().set_zero_linger().unwrap();
    drop(client);

    eventually("its place is free", || cluster.stats("a").held == 0).await;
    assert_eq!((cluster.stats("a").left, cluster.stats("a").refused), (1, 0));
}
