//! Connections are led to the owner, with every byte and both ends.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use flocker_model::Epoch;
use flocker_proxy::{Limits, Proxy, ProxyConfig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::support::{App, Client, Cluster, active, eventually, node, redis, soon};

#[tokio::test]
async fn every_node_leads_to_the_owner() {
    let mut cluster = Cluster::of(&["a", "b", "c"]).await;
    let _app = cluster.start_app("b", 1).await;
    cluster.route(active("b", 1)).await;

    let mut clients = Vec::new();
    for name in ["a", "b", "c"] {
        let mut client = Client::connect(cluster.address(name)).await;
        assert_eq!(client.ask("hello").await, "b hello", "through node {name}");
        assert_eq!(client.ask("again").await, "b again", "through node {name}");
        let stats = cluster.stats(name);
        assert_eq!((stats.connections, stats.active), (1, 1));
        assert_eq!((stats.bytes_in, stats.bytes_out), (12, 16), "two lines and their answers");
        clients.push(client);
    }
    assert_eq!(cluster.stats("b").carried, 2);
    assert_eq!(cluster.stats("b").carried_bytes, 56);
}

#[tokio::test]
async fn a_client_that_is_done_sending_still_gets_its_answer() {
    let mut cluster = Cluster::of(&["a", "b"]).await;
    let _app = cluster.start_app("b", 1).await;
    cluster.route(active("b", 1)).await;

    for name in ["a", "b"] {
        let mut stream = TcpStream::connect(cluster.address(name)).await.unwrap();
        stream.write_all(b"no line").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        soon("the whole answer", stream.read_to_string(&mut answer)).await.unwrap();

        // The app saw seven bytes, which it echoes for want of a line's end, and then the end of the stream.
        assert_eq!(answer, format!("b no line{}", "b 7 bytes\n"), "through node {name}");
        eventually("the connection ended on both nodes", || {
            cluster.stats("a").active == 0
                && cluster.stats("b").active == 0
                && cluster.stats("b").carried == 0
        })
        .await;
    }
}

/// Given an app that sends back what it gets, so that both directions are full at a time.
#[tokio::test]
async fn bulk_arrives_whole_in_both_directions() {
    const LENGTH: usize = 24 << 20;
    let mut cluster = Cluster::of(&["a", "b"]).await;
    let listener = TcpListener::bind((cluster.nodes["b"].ip, 0)).await.unwrap();
    cluster.proxy("b").serve(&redis(), Epoch(1), listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        tokio::io::copy(&mut reader, &mut writer).await.unwrap();
    });
    cluster.route(active("b", 1)).await;
    // A period that divides no power of two shows every misplaced buffer.
    let sent: Vec<u8> = (0..LENGTH).map(|i| (i % 251) as u8).collect();

    let (mut reader, mut writer) =
        TcpStream::connect(cluster.address("a")).await.unwrap().into_split();
    let bytes = sent.clone();
    let sending = tokio::spawn(async move {
        writer.write_all(&bytes).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    soon("everything back", reader.read_to_end(&mut received)).await.unwrap();
    sending.await.unwrap();

    assert!(received == sent, "{} of {LENGTH} bytes, or not the same", received.len());
    let stats = cluster.stats("a");
    assert_eq!((stats.bytes_in, stats.bytes_out), (LENGTH as u64, LENGTH as u64));
}

/// Given two nodes on one IPv6 address, of which only one listens for clients.
#[tokio::test]
async fn ipv6_clients_are_led_between_nodes_too() {
    let ip = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let bind = || TcpListener::bind((ip, 0));
    let Ok(free) = bind().await else {
        println!("skipped: this machine has no IPv6");
        return;
    };
    let port = free.local_addr().unwrap().port();
    drop(free);
    let (near, far) = (bind().await.unwrap(), bind().await.unwrap());
    let mut cluster = Cluster::of(&[]).await;
    cluster.table.mesh.insert(node("far"), far.local_addr().unwrap());
    let start = |name, listen, mesh| {
        Proxy::start(ProxyConfig { node: node(name), listen, mesh, limits: Limits::default() })
    };
    let (near, far) = (start("near", vec![ip], near), start("far", vec![], far));
    let app = App::start("far", (ip, 0).into()).await;
    far.serve(&redis(), Epoch(1), app.address);
    let mut table = cluster.next(active("far", 1));
    table.services.get_mut(&redis()).unwrap().port = port;
    near.publish(table.clone());
    far.publish(table.clone());
    soon("the table is applied", near.applied(table.revision)).await;

    let mut client = Client::connect(SocketAddr::new(ip, port)).await;

    assert_eq!(client.ask("hello").await, "far hello");
    assert_eq!(near.troubles(), [] as [String; 0]);
}

#[tokio::test]
async fn a_table_that_comes_late_changes_nothing() {
    let mut cluster = Cluster::of(&["a"]).await;
    let _app = cluster.start_app("a", 2).await;
    let old = cluster.next(active("a", 1));
    let new = cluster.next(active("a", 2));

    cluster.publish(&new).await;
    cluster.proxy("a").publish(old);

    assert_eq!(cluster.proxy("a").stats().revision, new.revision);
    assert_eq!(Client::connect(cluster.address("a")).await.ask("hello").await, "a hello");
}

#[tokio::test]
async fn an_epoch_that_is_over_is_not_served_again() {
    let mut cluster = Cluster::of(&["a"]).await;
    let app = cluster.start_app("a", 2).await;
    let _older = cluster.start_app("a", 1).await;
    cluster.route(active("a", 2)).await;

    assert_eq!(
        cluster.stats("a").served.map(|s| (s.epoch, s.address)),
        Some((Epoch(2), app.address))
    );
    assert_eq!(Client::connect(cluster.address("a")).await.ask("hello").await, "a hello");
}
