//! Ports open with their services, stay open for as long as these exist, and say when they cannot.

use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use flocker_model::{Epoch, Revision, Route, ServiceRoute};
use flocker_proxy::Limits;
use tokio::net::{TcpListener, TcpStream};

use crate::support::{
    App, Client, Cluster, PORT, active, eventually, new_ip, parked, redis, service, soon,
};

#[tokio::test]
async fn a_removed_service_closes_its_port_and_a_new_one_may_have_it() {
    let mut cluster = Cluster::of(&["a"]).await;
    let app = cluster.start_app("a", 1).await;
    cluster.route(active("a", 1)).await;
    assert_eq!(Client::connect(cluster.address("a")).await.ask("hello").await, "a hello");

    let mut table = cluster.next(active("a", 1));
    table.services.clear();
    cluster.publish(&table).await;
    let refused = TcpStream::connect(cluster.address("a")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    table.revision = Revision(table.revision.0 + 1);
    table
        .services
        .insert(service("web"), ServiceRoute { host_ip: None, port: PORT, route: active("a", 1) });
    cluster.proxy("a").serve(&service("web"), Epoch(1), app.address);
    cluster.publish(&table).await;
    assert_eq!(Client::connect(cluster.address("a")).await.ask("hello").await, "a hello");
}

#[tokio::test]
async fn a_port_in_use_is_reported_with_a_hint_and_taken_when_it_is_free() {
    let limits = Limits { relisten: Duration::from_millis(10), ..Limits::default() };
    let mut cluster = Cluster::with_limits(&["a"], limits).await;
    let _app = cluster.start_app("a", 1).await;
    let squatter = TcpListener::bind(cluster.address("a")).await.unwrap();

    cluster.route(active("a", 1)).await;
    let troubles = cluster.proxy("a").troubles();
    assert_eq!(troubles.len(), 1, "{troubles:?}");
    let expected = format!("service `shop/redis` does not listen on {}", cluster.address("a"));
    assert!(troubles[0].starts_with(&expected), "{troubles:?}");
    assert!(troubles[0].contains("\nhint: `ss -ltnp 'sport = :7379'`"), "{troubles:?}");
    drop(squatter);

    eventually("the trouble is over", || cluster.proxy("a").troubles().is_empty()).await;
    assert_eq!(Client::connect(cluster.address("a")).await.ask("hello").await, "a hello");
}

#[tokio::test]
async fn a_service_that_has_a_port_keeps_it_from_a_newer_one() {
    let mut cluster = Cluster::of(&["a"]).await;
    let _app = cluster.start_app("a", 1).await;
    cluster.route(active("a", 1)).await;

    // Its name sorts before that of the running one.
    let down = Route::Down { reason: "never placed".to_owned() };
    cluster
        .table
        .services
        .insert(service("aaa"), ServiceRoute { host_ip: None, port: PORT, route: down });
    cluster.route(active("a", 1)).await;

    assert_eq!(Client::connect(cluster.address("a")).await.ask("hello").await, "a hello");
    let troubles = cluster.proxy("a").troubles();
    assert!(
        troubles[0].contains("`shop/aaa` has no port")
            && troubles[0].contains("`shop/redis` has it"),
        "{troubles:?}"
    );
}

#[tokio::test]
async fn a_port_that_changes_hands_is_open_at_once() {
    let mut cluster = Cluster::of(&["a"]).await;
    let app = cluster.start_app("a", 1).await;
    cluster.route(active("a", 1)).await;

    let mut table = cluster.next(active("a", 1));
    table.services = [(service("web"), table.services[&redis()].clone())].into();
    cluster.proxy("a").serve(&service("web"), Epoch(1), app.address);
    cluster.publish(&table).await;

    assert_eq!(cluster.proxy("a").troubles(), [] as [String; 0]);
    assert_eq!(Client::connect(cluster.address("a")).await.ask("hello").await, "a hello");
    assert_eq!(cluster.proxy("a").stats().services[&service("web")].connections, 1);
}

#[tokio::test]
async fn an_address_of_another_machine_is_reported() {
    let mut cluster = Cluster::of(&["a"]).await;
    let mut table = cluster.next(active("a", 1));
    // Reserved for documentation, so no machine has it.
    table.services.get_mut(&redis()).unwrap().host_ip = Some("192.0.2.77".parse().unwrap());

    cluster.publish(&table).await;

    let troubles = cluster.proxy("a").troubles();
    assert!(troubles[0].contains("hint: this node has no address 192.0.2.77"), "{troubles:?}");
}

#[tokio::test]
async fn a_service_listens_on_its_own_address_or_on_all_of_the_nodes() {
    let mut cluster = Cluster::of(&["a"]).await;
    let _app = cluster.start_app("a", 1).await;
    let (gateway, own) = (new_ip(), new_ip());
    cluster.route(active("a", 1)).await;
    cluster.proxy("a").listen_on(gateway);
    cluster.proxy("a").listen_on(gateway);
    cluster.route(active("a", 1)).await;
    assert_eq!(Client::connect(cluster.address("a")).await.ask("hello").await, "a hello");
    let mut client = Client::connect(SocketAddr::new(gateway, PORT)).await;
    assert_eq!(client.ask("hello").await, "a hello");

    let mut table = cluster.next(active("a", 1));
    table.services.get_mut(&redis()).unwrap().host_ip = Some(own);
    cluster.publish(&table).await;

    assert_eq!(Client::connect(SocketAddr::new(own, PORT)).await.ask("hello").await, "a hello");
    assert!(TcpStream::connect(cluster.address("a")).await.is_err());
    assert_eq!(
        client.ask("still there?").await,
        "a still there?",
        "a closed port closes no connection"
    );
}

#[tokio::test]
async fn the_port_stays_open_through_every_change_of_the_route() {
    let mut cluster = Cluster::of(&["a"]).await;
    let mut clients = Vec::new();
    for route in [parked(), active("a", 1), parked(), active("b", 2), parked(), active("a", 3)] {
        cluster.route(route).await;
        clients.push(Client::connect(cluster.address("a")).await);
    }
    let app = App::start("a", (new_ip(), 0).into()).await;

    cluster.proxy("a").serve(&redis(), Epoch(3), app.address);

    for client in &mut clients {
        assert_eq!(client.ask("hello").await, "a hello");
    }
    assert_eq!(cluster.stats("a").refused, 0);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_until_one_ends() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let mut cluster = Cluster::with_limits(&["a"], limits).await;
    let _app = cluster.start_app("a", 1).await;
    cluster.route(active("a", 1)).await;
    let mut first = Client::connect(cluster.address("a")).await;
    let mut second = Client::connect(cluster.address("a")).await;
    assert_eq!((first.ask("1").await.as_str(), second.ask("2").await.as_str()), ("a 1", "a 2"));

    let mut third = Client::connect(cluster.address("a")).await;
    third.say("3").await;
    eventually("it is reported", || !cluster.proxy("a").troubles().is_empty()).await;
    let troubles = cluster.proxy("a").troubles();
    assert!(
        troubles[0].contains("all 2 connections") && troubles[0].contains("\nhint: raise"),
        "{troubles:?}"
    );
    drop(first);

    assert_eq!(third.hear().await, "a 3");
    eventually("the trouble is over", || cluster.proxy("a").troubles().is_empty()).await;
    soon("it stops", cluster.proxy("a").stop()).await;
}
