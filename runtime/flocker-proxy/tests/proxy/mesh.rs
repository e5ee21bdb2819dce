//! The hop between nodes, with the test as one of the two.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use flocker_model::Epoch;
use flocker_proxy::{
    Limits,
    wire::{ANSWER_LENGTH, Answer, Header},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::support::{Client, Cluster, active, eventually, node, parked, redis, service, soon};

fn header(epoch: u64) -> Header {
    Header {
        client: "192.0.2.1:5000".parse().unwrap(),
        listener: "192.0.2.9:6379".parse().unwrap(),
        service: redis(),
        epoch: Epoch(epoch),
    }
}

/// Sends bytes to a mesh port; what comes back until the end, if the end is orderly.
async fn send(mesh: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(mesh).await.unwrap();
    // The other side may have closed after the first of these bytes.
    let _ = stream.write_all(bytes).await;
    let mut back = Vec::new();
    let _ = soon("the connection ends", stream.read_to_end(&mut back)).await;
    back
}

async fn read_header(stream: &mut TcpStream) -> Header {
    let mut bytes = Vec::new();
    loop {
        assert_ne!(soon("a header", stream.read_buf(&mut bytes)).await.unwrap(), 0);
        if let Some((header, length)) = Header::decode(&bytes).unwrap() {
            assert_eq!(length, bytes.len(), "bytes of the client's before we took it over");
            return header;
        }
    }
}

#[tokio::test]
async fn an_epoch_that_is_not_served_is_sent_away() {
    let mut cluster = Cluster::of(&["a"]).await;
    let _app = cluster.start_app("a", 2).await;
    cluster.route(active("a", 2)).await;
    let mesh = cluster.nodes["a"].mesh;

    assert_eq!(send(mesh, &header(1).encode()).await, Answer::Moved.encode(), "older");
    assert_eq!(send(mesh, &header(3).encode()).await, Answer::Unavailable.encode(), "newer");
    let unknown = Header { service: service("unheard-of"), ..header(2) };
    assert_eq!(send(mesh, &unknown.encode()).await, Answer::Moved.encode(), "unknown");
    let stats = cluster.proxy("a").stats();
    assert_eq!((stats.mesh.sent_away, stats.mesh.accepted), (3, 0));
    assert_eq!(stats.services.len(), 1, "a stranger's words were remembered");
}

#[tokio::test]
async fn what_is_not_our_protocol_is_closed_without_an_answer() {
    let mut cluster = Cluster::of(&["a"]).await;
    let _app = cluster.start_app("a", 1).await;
    cluster.route(active("a", 1)).await;
    let mesh = cluster.nodes["a"].mesh;
    let mut impatient = header(1).encode();
    impatient.extend(b"a byte too early");
    let mut without_tlvs = header(1).encode();
    without_tlvs.truncate(28);
    without_tlvs[15] = 12;

    for (name, bytes) in [
        ("http", b"GET / HTTP/1.1\r\n\r\n".as_slice()),
        ("version 1", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
        ("zeros", &[0; 4096]),
        ("without our TLVs", &without_tlvs),
        ("bytes before the answer", &impatient),
    ] {
        assert_eq!(send(mesh, bytes).await, b"", "{name}");
    }
    assert_eq!(cluster.proxy("a").stats().mesh.rejected, 5);
    assert_eq!(
        Client::connect(cluster.address("a")).await.ask("hello").await,
        "a hello",
        "it goes on as before"
    );
}

#[tokio::test]
async fn who_says_nothing_is_not_waited_for() {
    let limits = Limits { header_max: Duration::from_millis(50), ..Limits::default() };
    let cluster = Cluster::with_limits(&["a"], limits).await;

    assert_eq!(send(cluster.nodes["a"].mesh, &header(1).encode()[..20]).await, b"");

    assert_eq!(cluster.proxy("a").stats().mesh.rejected, 1);
}

#[tokio::test]
async fn only_so_many_may_say_nothing_at_a_time() {
    let limits =
        Limits { half_open: 2, header_max: Duration::from_secs(3600), ..Limits::default() };
    let mut cluster = Cluster::with_limits(&["a"], limits).await;
    let _app = cluster.start_app("a", 1).await;
    cluster.route(active("a", 1)).await;
    let mesh = cluster.nodes["a"].mesh;
    let mut silent =
        [TcpStream::connect(mesh).await.unwrap(), TcpStream::connect(mesh).await.unwrap()];

    // The first two were accepted first, as the kernel's queue is one.
    assert_eq!(send(mesh, b"").await, b"");
    let [first, _] = &mut silent;
    first.write_all(&header(1).encode()).await.unwrap();
    let mut answer = [0; ANSWER_LENGTH];
    soon("an answer", first.read_exact(&mut answer)).await.unwrap();

    assert_eq!(Answer::decode(answer), Ok(Answer::Ok));
    assert_eq!(cluster.proxy("a").stats().mesh.rejected, 1);
}

/// Given the test is the owner, and takes its time.
#[tokio::test]
async fn the_owner_learns_the_clients_address_and_no_byte_before_it_said_ok() {
    let mut cluster = Cluster::of(&["a"]).await;
    let owner = TcpListener::bind("127.0.0.1:0").await.unwrap();
    cluster.table.mesh.insert(node("owner"), owner.local_addr().unwrap());
    cluster.route(active("owner", 7)).await;
    let mut client = Client::connect(cluster.address("a")).await;
    client.say("hello").await;

    for answer in [Some(Answer::Unavailable), Some(Answer::Moved), None] {
        let (mut stream, _) = soon("an attempt", owner.accept()).await.unwrap();
        read_header(&mut stream).await;
        if let Some(answer) = answer {
            stream.write_all(&answer.encode()).await.unwrap();
        }
    }
    let (mut stream, _) = soon("one more attempt", owner.accept()).await.unwrap();
    let header = read_header(&mut stream).await;
    stream.write_all(&Answer::Ok.encode()).await.unwrap();
    let mut bytes = [0; 6];
    soon("the client's bytes", stream.read_exact(&mut bytes)).await.unwrap();
    stream.write_all(b"welcome\n").await.unwrap();

    assert_eq!(header.client, client.0.get_ref().local_addr().unwrap());
    assert_eq!(header.listener, cluster.address("a"));
    assert_eq!((header.service, header.epoch), (redis(), Epoch(7)));
    assert_eq!(&bytes, b"hello\n");
    assert_eq!(client.hear().await, "welcome");
    let stats = cluster.stats("a");
    assert_eq!((stats.retries, stats.moved, stats.refused), (3, 1, 0));
}

/// Given the test is the owner, and answers only when no more attempts come.
#[tokio::test]
async fn held_connections_come_in_batches() {
    const BATCH: usize = 2;
    const CLIENTS: usize = 9;
    let limits = Limits { release_batch: BATCH, ..Limits::default() };
    let mut cluster = Cluster::with_limits(&["a"], limits).await;
    let owner = TcpListener::bind("127.0.0.1:0").await.unwrap();
    cluster.table.mesh.insert(node("owner"), owner.local_addr().unwrap());
    cluster.route(parked()).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Client::connect(cluster.address("a")).await);
    }
    eventually("all are held", || cluster.stats("a").held == CLIENTS).await;

    cluster.route(active("owner", 1)).await;

    let (mut waiting, mut taken) = (VecDeque::new(), Vec::new());
    while taken.len() < CLIENTS {
        while let Ok(Ok((stream, _))) = timeout(Duration::from_millis(10), owner.accept()).await {
            waiting.push_back(stream);
            assert!(waiting.len() <= BATCH, "more than a batch at a time");
        }
        if let Some(mut stream) = waiting.pop_front() {
            read_header(&mut stream).await;
            stream.write_all(&Answer::Ok.encode()).await.unwrap();
            taken.push(stream);
        }
    }
    eventually("all are let through", || cluster.stats("a").active == CLIENTS).await;
}

/// Given an owner that takes connections and says nothing.
#[tokio::test]
async fn an_owner_that_does_not_answer_is_tried_again() {
    let limits = Limits { answer_max: Duration::from_millis(20), ..Limits::default() };
    let mut cluster = Cluster::with_limits(&["a", "b"], limits).await;
    let _app = cluster.start_app("b", 2).await;
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
    cluster.table.mesh.insert(node("dead"), dead.local_addr().unwrap());
    cluster.route(active("dead", 1)).await;

    let mut client = Client::connect(cluster.address("a")).await;
    client.say("hello").await;
    eventually("it was tried more than once", || cluster.stats("a").retries > 1).await;
    cluster.route(active("b", 2)).await;

    assert_eq!(client.hear().await, "b hello");
}
