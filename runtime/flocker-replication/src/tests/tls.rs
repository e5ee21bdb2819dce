//! Streams under TLS: what crosses cannot be read or changed, and only nodes of the cluster send and receive.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, LazyLock, Mutex, atomic::Ordering},
    time::Duration,
};

use flocker_model::{NodeName, StreamKey};
use flocker_ports::SendJob;
use rustls::{
    AlertDescription, ClientConfig,
    client::{AlwaysResolvesClientRawPublicKeys, danger::ServerCertVerifier},
    crypto::ring,
    pki_types::ServerName,
    sign::CertifiedKey,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::{
    fake::{Fake, Knobs},
    relay::{Harm, relay},
    streams::{Node, content, job, send, until},
};
use crate::{
    Announced, KeyPair, Receiving, ReceivingConfig, Sender, SenderConfig, StreamKeys, Transport,
    tls::Target,
};

/// What the nodes of a cluster announced.
#[derive(Debug, Default)]
struct Records(Mutex<BTreeMap<NodeName, Announced>>);

impl Records {
    fn of<const N: usize>(known: [(&str, Announced); N]) -> Arc<Self> {
        let known = known.map(|(name, announced)| (node(name), announced));
        Arc::new(Self(Mutex::new(known.into())))
    }

    /// Of all nodes that there are.
    fn all() -> Arc<Self> {
        Self::of(["n1", "n2", "n3"].map(|name| (name, Announced::Key(key(name).public()))))
    }
}

impl StreamKeys for Records {
    fn announced(&self, node: &NodeName) -> Announced {
        self.0.lock().unwrap().get(node).copied().unwrap_or(Announced::NoNode)
    }

    fn is_known(&self, key: &StreamKey) -> bool {
        self.0.lock().unwrap().values().any(|known| *known == Announced::Key(*key))
    }
}

fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

/// The key of a node, the same in all of a test.
fn key(name: &str) -> KeyPair {
    static KEYS: LazyLock<Mutex<BTreeMap<String, KeyPair>>> = LazyLock::new(Mutex::default);
    let mut keys = KEYS.lock().unwrap();
    keys.entry(name.to_owned()).or_insert_with(fresh_key).clone()
}

fn fresh_key() -> KeyPair {
    KeyPair::read(&KeyPair::draw().unwrap()).unwrap()
}

fn tls(own: &KeyPair, records: Arc<Records>) -> Transport {
    Transport::tls(own, records).unwrap()
}

/// That of a node in a cluster where all know each other.
pub(super) fn transport(name: &str) -> Transport {
    tls(&key(name), Records::all())
}

async fn receiver(transport: Transport) -> Node {
    receiver_with(transport, ReceivingConfig::new(node("n2"))).await
}

async fn receiver_with(transport: Transport, config: ReceivingConfig) -> Node {
    let backend = Arc::new(Fake::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
    let (receiving, stop) = (backend.clone(), shutdown.clone());
    let task = tokio::spawn(Receiving::serve(listener, receiving, transport, config, stop));
    Node { backend, address, shutdown, task }
}

fn sender(backend: &Arc<Fake>, transport: Transport) -> Sender {
    let config = SenderConfig { backoff: Duration::from_millis(1), ..SenderConfig::default() };
    Sender::new(backend.clone(), transport, config)
}

#[tokio::test]
async fn a_stream_and_its_increment_arrive_and_nobody_reads_them_on_the_way() {
    let word = b"what nobody else may read";
    let mut data = content(400_000);
    data.extend_from_slice(word);
    let plain = receiver(Transport::clear()).await;
    let target = receiver(transport("n2")).await;
    for (transport, target, is_read) in
        [(Transport::clear(), plain, true), (transport("n1"), target, false)]
    {
        let source = Arc::new(Fake::default());
        let (one, two) = (source.add("one", &data[..200_000]), source.add("two", &data));
        let (sender, relay) = (sender(&source, transport), relay(target.address, []).await);

        let full = send(&sender, &job(None, &one, relay.address)).await.unwrap();
        let increment = send(&sender, &job(Some(&one), &two, relay.address)).await.unwrap();

        assert_eq!([full.bytes.0, increment.bytes.0], [200_000, 200_000 + word.len() as u64]);
        assert_eq!(target.backend.content(&two).as_deref(), Some(data.as_slice()));
        assert_eq!(relay.overheard(word), is_read);
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_anywhere_goes_on_from_there() {
    let data = content(900_000);
    for after in [0, 3, 200, 400, 700, 1000, 16_000, 270_000, 600_000, 901_000] {
        let source = Arc::new(Fake::new(Knobs { piece: Some(50_000), ..Knobs::default() }));
        let target = receiver(transport("n2")).await;
        let harms = [Harm::Cut { after }, Harm::Cut { after: after / 2 }];
        let relay = relay(target.address, harms).await;
        let one = source.add("one", &data);

        let sender = sender(&source, transport("n1"));
        send(&sender, &job(None, &one, relay.address)).await.unwrap();

        assert_eq!(target.backend.content(&one).as_deref(), Some(data.as_slice()), "{after}");
        assert_eq!(target.backend.written.load(Ordering::SeqCst), data.len(), "{after}");
        assert!(relay.n_connections() >= 2, "{after}");
    }
}

/// Given one bit that is changed on the way, in the handshake or later, nothing of it is taken for the stream.
#[tokio::test]
async fn what_is_changed_on_the_way_is_refused_and_sent_again() {
    let data = content(300_000);
    // Behind the first message are six bytes that mean nothing, for the middleboxes of older versions.
    for at in [0, 1, 3, 6, 45, 120, 200, 300, 420, 600, 900, 5000, 16_500, 262_400, 300_000] {
        let (source, target) = (Arc::new(Fake::default()), receiver(transport("n2")).await);
        let relay = relay(target.address, [Harm::Flip { at }]).await;
        let one = source.add("one", &data);
        let config = SenderConfig {
            backoff: Duration::from_millis(1),
            // A length that grew leaves the receiver waiting for the rest.
            handshake: Duration::from_millis(500),
            ..SenderConfig::default()
        };
        let sender = Sender::new(source, transport("n1"), config);

        send(&sender, &job(None, &one, relay.address)).await.unwrap();

        assert_eq!(target.backend.content(&one).as_deref(), Some(data.as_slice()), "{at}");
        assert_eq!(target.backend.written.load(Ordering::SeqCst), data.len(), "{at}");
        assert!(relay.n_connections() >= 2, "{at}: the harm was not noticed");
    }
}

/// What a sender is told that runs with this transport, and sends as `n1` to a receiver `n2` with that one.
async fn refusal(ours: Transport, theirs: Transport) -> String {
    let (source, target) = (Arc::new(Fake::default()), receiver(theirs).await);
    let one = source.add("one", b"data");

    let sent = send(&sender(&source, ours), &job(None, &one, target.address)).await;

    let (volumes, error) = (target.backend.volumes.lock().unwrap(), sent.unwrap_err());
    assert!(volumes.is_empty(), "something of it arrived: {volumes:?}");
    error.to_string()
}

#[track_caller]
fn check(refusal: &str, why: &str) {
    assert!(refusal.contains(why), "`{why}` is not in: {refusal}");
}

#[tokio::test]
async fn nodes_that_do_not_know_each_other_are_told_why() {
    let announced = |name| Announced::Key(key(name).public());
    let other = Announced::Key(fresh_key().public());

    let records = Records::of([("n1", announced("n1")), ("n2", other)]);
    check(
        &refusal(tls(&key("n1"), records), transport("n2")).await,
        "it showed another key than it announced\nhint: ",
    );
    let records = Records::of([("n1", announced("n1")), ("n2", Announced::NoKey)]);
    check(
        &refusal(tls(&key("n1"), records), transport("n2")).await,
        "it announced no key\nhint: all nodes need the same `--streams`",
    );
    let records = Records::of([("n1", announced("n1"))]);
    check(
        &refusal(tls(&key("n1"), records), transport("n2")).await,
        "it does not belong to the cluster",
    );
    let unknown = "it does not know the key of this node\nhint: ";
    check(&refusal(tls(&fresh_key(), Records::all()), transport("n2")).await, unknown);
    let removed = Records::of([("n2", announced("n2")), ("n3", announced("n3"))]);
    check(&refusal(transport("n1"), tls(&key("n2"), removed)).await, unknown);
    check(
        &refusal(tls(&key("n3"), Records::all()), transport("n2")).await,
        "its key is not that of node `n1` in this cluster",
    );
}

#[tokio::test]
async fn tls_on_one_side_alone_is_told_from_either_side() {
    check(
        &refusal(transport("n1"), Transport::clear()).await,
        "it does not speak TLS\nhint: all nodes need the same `--streams`",
    );
    check(
        &refusal(Transport::clear(), transport("n2")).await,
        "this one came in the clear\nhint: all nodes need the same `--streams`",
    );
}

/// A node that knows the public key of another, which everybody may, and has a private one of its own.
fn impostor(of: &str) -> KeyPair {
    let (shown, held) = (key(of), fresh_key());
    let certified = CertifiedKey::new(shown.certified.cert.clone(), held.certified.key.clone());
    KeyPair { certified: Arc::new(certified), ..shown }
}

#[tokio::test]
async fn a_key_that_is_shown_and_not_held_proves_nothing() {
    let ours = tls(&impostor("n1"), Records::all());
    let theirs = tls(&impostor("n2"), Records::all());
    for (ours, theirs, why) in
        [(ours, transport("n2"), "DecryptError"), (transport("n1"), theirs, "BadSignature")]
    {
        let (source, target) = (Arc::new(Fake::default()), receiver(theirs).await);
        let one = source.add("one", b"data");

        let sent = send(&sender(&source, ours), &job(None, &one, target.address)).await;

        check(&sent.unwrap_err().to_string(), why);
        assert!(target.backend.volumes.lock().unwrap().is_empty());
    }
}

/// How the receiver answers a client that is none of ours.
async fn answer_to(
    address: SocketAddr,
    version: &'static rustls::SupportedProtocolVersion,
    own: Option<&KeyPair>,
) -> rustls::Error {
    let provider = Arc::new(ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let verifier: Arc<dyn ServerCertVerifier> =
        Arc::new(Target { key: Some(key("n2").public()), algorithms });
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match own {
        Some(own) => config.with_client_cert_resolver(Arc::new(
            AlwaysResolvesClientRawPublicKeys::new(own.certified.clone()),
        )),
        None => config.with_no_client_auth(),
    };
    let connection = TcpStream::connect(address).await.unwrap();
    let at = ServerName::from(address.ip());
    let error = match TlsConnector::from(Arc::new(config)).connect(at, connection).await {
        Ok(mut stream) => stream.read_u8().await.unwrap_err(),
        Err(error) => error,
    };
    error.into_inner().unwrap().downcast_ref::<rustls::Error>().unwrap().clone()
}

#[tokio::test]
async fn older_versions_and_those_without_a_key_get_no_further_than_the_handshake() {
    let (target, own) = (receiver(transport("n2")).await, key("n1"));

    let older = answer_to(target.address, &rustls::version::TLS12, Some(&own)).await;
    let nameless = answer_to(target.address, &rustls::version::TLS13, None).await;
    let stranger = answer_to(target.address, &rustls::version::TLS13, Some(&fresh_key())).await;

    assert_eq!(older, rustls::Error::AlertReceived(AlertDescription::ProtocolVersion));
    // It does not even offer to show one.
    assert_eq!(nameless, rustls::Error::AlertReceived(AlertDescription::HandshakeFailure));
    assert_eq!(stranger, rustls::Error::AlertReceived(AlertDescription::AccessDenied));
}

/// Given a stream that is under way when its node is removed, no more of it is taken.
#[tokio::test]
async fn a_node_that_is_removed_is_refused_from_then_on() {
    let records = Records::all();
    let target = receiver(tls(&key("n2"), records.clone())).await;
    let source = Arc::new(Fake::default());
    let one = source.add("one", &content(20_000_000));
    let sender = Arc::new(sender(&source, transport("n1")));
    // It would take 5 s.
    let job = SendJob { rates: "4m".parse().unwrap(), ..job(None, &one, target.address) };
    let (sending, under_way) = (sender.clone(), job.clone());
    let under_way = tokio::spawn(async move { send(&sending, &under_way).await });
    until("halfway", || target.backend.half() > Some(0)).await;

    records.0.lock().unwrap().remove(&node("n1"));
    let under_way = under_way.await.unwrap();
    let later = send(&sender, &job).await;

    check(&under_way.unwrap_err().to_string(), "its key is not that of node `n1` in this cluster");
    check(&later.unwrap_err().to_string(), "it does not know the key of this node");
    assert!(target.backend.half() < Some(10_000_000), "{:?}", target.backend.half());
}

/// Given as many connections as there may be, none of which comes to the end of a handshake.
#[tokio::test]
async fn those_who_do_not_finish_the_handshake_lose_their_place() {
    let config = ReceivingConfig {
        connections_max: 3,
        greeting: Duration::from_millis(100),
        ..ReceivingConfig::new(node("n2"))
    };
    let target = receiver_with(transport("n2"), config).await;
    let mut strangers = Vec::new();
    for begun in [b"".as_slice(), b"\x16\x03\x01\x02\x00\x01", &[0xff; 3000]] {
        let mut stranger = TcpStream::connect(target.address).await.unwrap();
        stranger.write_all(begun).await.unwrap();
        strangers.push(stranger);
    }
    let source = Arc::new(Fake::default());
    let one = source.add("one", &content(1000));

    let sender = sender(&source, transport("n1"));
    send(&sender, &job(None, &one, target.address)).await.unwrap();

    assert_eq!(target.backend.content(&one), Some(content(1000)));
}
