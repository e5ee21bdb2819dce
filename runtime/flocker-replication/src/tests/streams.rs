//! Streams over real connections, between backends in memory.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use flocker_model::{ByteSize, Epoch, NodeName, OperationId, Point, Rates, Transfer};
use flocker_ports::{Progress, Replication, ReplicationError, SendJob};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    fake::{Fake, Knobs, Volume, guid, volume},
    relay::{Harm, relay},
};
use crate::{Receiving, ReceivingConfig, Sender, SenderConfig, Transport};

/// Longer than any test takes, shorter than a person waits.
const DEADLINE: Duration = Duration::from_secs(20);

pub(super) struct Node {
    pub(super) backend: Arc<Fake>,
    pub(super) address: SocketAddr,
    pub(super) shutdown: CancellationToken,
    pub(super) task: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.task.abort();
    }
}

async fn receiver(knobs: Knobs) -> Node {
    let config = ReceivingConfig::new(NodeName::new("n2").unwrap());
    receiver_with(knobs, config).await
}

async fn receiver_with(knobs: Knobs, config: ReceivingConfig) -> Node {
    let backend = Arc::new(Fake::new(knobs));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
    let task = tokio::spawn(Receiving::serve(
        listener,
        backend.clone(),
        Transport::clear(),
        config,
        shutdown.clone(),
    ));
    Node { backend, address, shutdown, task }
}

fn sender(backend: &Arc<Fake>) -> Sender {
    let config = SenderConfig { backoff: Duration::from_millis(5), ..SenderConfig::default() };
    Sender::new(backend.clone(), Transport::clear(), config)
}

pub(super) fn job(base: Option<&Point>, to: &Point, address: SocketAddr) -> SendJob {
    SendJob {
        operation: OperationId::new("op-1").unwrap(),
        volume: volume(),
        epoch: Epoch(3),
        base: base.cloned(),
        to: to.clone(),
        options: ByteSize::gib(1).into(),
        source: NodeName::new("n1").unwrap(),
        target: NodeName::new("n2").unwrap(),
        address,
        rates: Rates::default(),
    }
}

pub(super) async fn send(sender: &Sender, job: &SendJob) -> Result<Transfer, ReplicationError> {
    timeout(DEADLINE, sender.send(job, &Progress::default())).await.expect("it takes too long")
}

pub(super) async fn until(what: &str, reached: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !reached() {
        assert!(Instant::now() < deadline, "never {what}");
        tokio::task::yield_now().await;
    }
}

/// Bytes that do not repeat.
pub(super) fn content(length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut out);
    out
}

#[tokio::test]
async fn a_full_stream_then_an_increment_then_nothing_to_do() {
    let (source, target) = (Arc::new(Fake::default()), receiver(Knobs::default()).await);
    let data = content(1_000_000);
    let one = source.add("one", &data[..700_000]);
    let two = source.add("two", &data);
    let (sender, progress) = (sender(&source), Progress::default());

    let full = sender.send(&job(None, &one, target.address), &progress).await.unwrap();
    let increment = sender.send(&job(Some(&one), &two, target.address), &progress).await.unwrap();
    let again = sender.send(&job(Some(&one), &two, target.address), &progress).await.unwrap();

    assert_eq!([full.bytes.0, increment.bytes.0, again.bytes.0], [700_000, 300_000, 0]);
    assert_eq!(progress.bytes(), ByteSize(1_000_000));
    assert_eq!(target.backend.content(&two), Some(data));
    assert_eq!(target.backend.half(), None);
}

#[tokio::test]
async fn a_limit_is_kept() {
    let (source, target) = (Arc::new(Fake::default()), receiver(Knobs::default()).await);
    let data = content(1 << 20);
    let one = source.add("one", &data);
    let job = SendJob { rates: "4m".parse().unwrap(), ..job(None, &one, target.address) };

    let sent = send(&sender(&source), &job).await.unwrap();

    // The last chunk of four is sent when the three before had their time.
    assert!(sent.took >= Duration::from_millis(180), "{sent:?}");
    assert_eq!(target.backend.content(&one), Some(data));
}

#[tokio::test]
async fn what_compresses_is_compressed_where_the_line_is_slow() {
    let (source, target) = (Arc::new(Fake::default()), receiver(Knobs::default()).await);
    let data = b"the same line again and again, as logs have it\n".repeat(100_000);
    let one = source.add("one", &data);
    let job = SendJob { rates: "8m".parse().unwrap(), ..job(None, &one, target.address) };

    let sent = send(&sender(&source), &job).await.unwrap();

    assert!(sent.bytes.0 * 10 < data.len() as u64, "{sent:?} of {}", data.len());
    assert_eq!(target.backend.content(&one), Some(data));
}

#[tokio::test]
async fn pieces_of_any_size_arrive_whole() {
    let data = content(700_001);
    for piece in [1000, 4096, 131_072, 262_144, 262_145, 1 << 20] {
        let source = Arc::new(Fake::new(Knobs { piece: Some(piece), ..Knobs::default() }));
        let target = receiver(Knobs::default()).await;
        let one = source.add("one", &data);

        send(&sender(&source), &job(None, &one, target.address)).await.unwrap();

        assert_eq!(target.backend.content(&one).as_deref(), Some(data.as_slice()), "{piece}");
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_anywhere_goes_on_from_there() {
    let data = content(900_000);
    for after in [0, 3, 9, 40, 150, 250, 1000, 262_000, 270_000, 600_000, 900_000, 900_400] {
        let source = Arc::new(Fake::new(Knobs { piece: Some(50_000), ..Knobs::default() }));
        let target = receiver(Knobs::default()).await;
        let relay =
            relay(target.address, [Harm::Cut { after }, Harm::Cut { after: after / 2 }]).await;
        let one = source.add("one", &data);

        let sent = send(&sender(&source), &job(None, &one, relay.address)).await.unwrap();

        assert_eq!(target.backend.content(&one).as_deref(), Some(data.as_slice()), "{after}");
        assert_eq!(
            target.backend.written.load(Ordering::SeqCst),
            data.len(),
            "{after}: a byte was received twice"
        );
        assert!(sent.bytes.0 + sent.resumed.0 >= data.len() as u64, "{after}: {sent:?}");
        assert!(relay.n_connections() >= 2, "{after}");
    }
}

#[tokio::test]
async fn a_bit_that_flips_anywhere_is_noticed_and_repaired() {
    let data = content(300_000);
    for at in [0, 9, 11, 20, 100, 130, 200, 250, 300, 5000, 262_400, 262_450, 300_100, 300_300] {
        let (source, target) = (Arc::new(Fake::default()), receiver(Knobs::default()).await);
        let relay = relay(target.address, [Harm::Flip { at }]).await;
        let one = source.add("one", &data);

        let sent = send(&sender(&source), &job(None, &one, relay.address)).await;

        // A version that nobody speaks is the one damage that looks like a peer who will not understand any better later.
        match sent {
            Ok(_) => {
                assert_eq!(target.backend.content(&one).as_deref(), Some(data.as_slice()), "{at}")
            }
            Err(e) => assert!(at == 9 && target.backend.content(&one).is_none(), "{at}: {e}"),
        }
    }
}

/// Given a line that damages every stream, the caller is told so, and a later call goes on from what had arrived.
#[tokio::test]
async fn what_arrived_before_the_line_failed_for_good_is_not_sent_again() {
    let (source, target) = (Arc::new(Fake::default()), receiver(Knobs::default()).await);
    let data = content(3_000_000);
    let one = source.add("one", &data);
    let harms = [Harm::Cut { after: 300_000 }; 5];
    let relay = relay(target.address, harms).await;
    let sender = sender(&source);

    let failed = send(&sender, &job(None, &one, relay.address)).await;
    // The sender notices the cut before the receiver has worked off what came before it.
    until("held in part", || target.backend.half() >= Some(262_144)).await;
    let held = target.backend.half().unwrap();
    let sent = send(&sender, &job(None, &one, target.address)).await.unwrap();

    assert!(matches!(failed, Err(ReplicationError::Unreachable { .. })), "{failed:?}");
    assert!(sent.resumed.0 >= held as u64, "{sent:?}");
    assert_eq!(sent.resumed.0 + sent.bytes.0, data.len() as u64);
    assert_eq!(
        target.backend.written.load(Ordering::SeqCst),
        data.len(),
        "a byte was received twice"
    );
}

#[tokio::test]
async fn a_stream_that_cannot_be_resumed_begins_again() {
    let source = Arc::new(Fake::new(Knobs { no_resume: true, ..Knobs::default() }));
    let target = receiver(Knobs::default()).await;
    let data = content(900_000);
    let one = source.add("one", &data);
    let relay = relay(target.address, [Harm::Cut { after: 600_000 }]).await;

    let sent = send(&sender(&source), &job(None, &one, relay.address)).await.unwrap();

    assert_eq!(target.backend.content(&one), Some(data));
    assert_eq!(sent.resumed.0, 0);
}

#[tokio::test]
async fn a_half_of_another_snapshot_is_thrown_away() {
    let (source, target) = (Arc::new(Fake::default()), receiver(Knobs::default()).await);
    let one = source.add("one", &content(500_000));
    let volume_there =
        Volume { half: Some((guid(b"other"), b"oth".to_vec())), ..Volume::default() };
    target.backend.volumes.lock().unwrap().insert(volume(), volume_there);

    send(&sender(&source), &job(None, &one, target.address)).await.unwrap();

    assert!(target.backend.content(&one).is_some());
}

/// Given a half whose bytes rotted on the receiver's disk, it becomes no snapshot, and the stream begins again.
#[tokio::test]
async fn a_half_that_rotted_is_thrown_away_and_never_counts() {
    let (source, target) = (Arc::new(Fake::default()), receiver(Knobs::default()).await);
    let one = source.add("one", &content(500_000));
    let volume_there =
        Volume { half: Some((one.guid.clone(), vec![0; 1000])), ..Volume::default() };
    target.backend.volumes.lock().unwrap().insert(volume(), volume_there);

    let sent = send(&sender(&source), &job(None, &one, target.address)).await.unwrap();

    assert_eq!(target.backend.content(&one), Some(content(500_000)));
    assert_eq!((sent.bytes.0, sent.resumed.0), (499_000 + 500_000, 0));
}

#[track_caller]
fn refused(sent: Result<Transfer, ReplicationError>, why: &str) {
    match sent {
        Err(ReplicationError::Refused { reason, .. }) => assert!(reason.contains(why), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn streams_that_do_not_belong_here_are_refused() {
    let (source, target) = (Arc::new(Fake::default()), receiver(Knobs::default()).await);
    let (one, two) = (source.add("one", b"a"), source.add("two", b"ab"));
    let sender = sender(&source);
    let good = job(None, &one, target.address);

    let elsewhere = SendJob { target: NodeName::new("n3").unwrap(), ..good.clone() };
    refused(send(&sender, &elsewhere).await, "this is node `n2`, the stream is for node `n3`");
    refused(send(&sender, &job(Some(&one), &two, target.address)).await, "no snapshot `one`");
    send(&sender, &good).await.unwrap();
    let older =
        SendJob { epoch: Epoch(2), base: Some(one.clone()), to: two.clone(), ..good.clone() };
    refused(send(&sender, &older).await, "epoch 3 here, the request came under epoch 2");

    assert_eq!(target.backend.content(&two), None);
}

#[tokio::test]
async fn a_full_pool_says_so_at_once_while_the_sender_is_still_sending() {
    let source = Arc::new(Fake::default());
    let target = receiver(Knobs { room: Some(1_000_000), ..Knobs::default() }).await;
    let one = source.add("one", &content(20_000_000));

    refused(
        send(&sender(&source), &job(None, &one, target.address)).await,
        "pool `memory` is full",
    );

    assert!(target.backend.content(&one).is_none());
}

#[tokio::test]
async fn a_source_that_cannot_be_read_is_not_blamed_on_the_target() {
    let source = Arc::new(Fake::new(Knobs {
        piece: Some(1000),
        fails_after: Some(5000),
        ..Knobs::default()
    }));
    let target = receiver(Knobs::default()).await;
    let one = source.add("one", &content(20_000));

    let sent = send(&sender(&source), &job(None, &one, target.address)).await;

    assert!(
        matches!(&sent, Err(ReplicationError::Source(e)) if e.to_string().contains("bad sector")),
        "{sent:?}"
    );
    assert!(target.backend.content(&one).is_none());
}

#[tokio::test]
async fn slow_storage_is_not_taken_for_a_dead_peer() {
    let slow = Knobs { delay: Duration::from_millis(700), ..Knobs::default() };
    let idle = Duration::from_millis(200);
    let source = Arc::new(Fake::new(slow.clone()));
    let target = receiver_with(
        slow,
        ReceivingConfig { idle, ..ReceivingConfig::new(NodeName::new("n2").unwrap()) },
    )
    .await;
    let one = source.add("one", &content(1000));
    let relay = relay(target.address, []).await;
    let sender =
        Sender::new(source, Transport::clear(), SenderConfig { idle, ..SenderConfig::default() });

    send(&sender, &job(None, &one, relay.address)).await.unwrap();

    assert_eq!(relay.n_connections(), 1);
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_given_up_on_both_sides() {
    let idle = Duration::from_millis(100);
    let source = Arc::new(Fake::default());
    let target = receiver_with(
        Knobs::default(),
        ReceivingConfig { idle, ..ReceivingConfig::new(NodeName::new("n2").unwrap()) },
    )
    .await;
    let one = source.add("one", &content(5_000_000));
    let relay =
        relay(target.address, [Harm::Silence { after: 500_000 }, Harm::Silence { after: 5 }]).await;
    let config = SenderConfig {
        idle,
        attempts: 2,
        backoff: Duration::from_millis(1),
        ..SenderConfig::default()
    };

    let sent =
        send(&Sender::new(source, Transport::clear(), config), &job(None, &one, relay.address))
            .await;

    assert!(matches!(sent, Err(ReplicationError::Unreachable { .. })), "{sent:?}");
    assert!(target.backend.half().unwrap() > 0);
}

/// Given a stream whose connection hangs half-open, the next one takes the volume over long before it counts as silent.
#[tokio::test]
async fn a_newer_stream_takes_over_from_one_that_hangs() {
    let target = receiver(Knobs::default()).await;
    let hanging = Arc::new(Fake::new(Knobs {
        piece: Some(1000),
        hangs_after: Some(5000),
        ..Knobs::default()
    }));
    let source = Arc::new(Fake::default());
    let one = source.add("one", &content(20_000));
    hanging.add("one", &content(20_000));
    let first = sender(&hanging);
    let first_job = job(None, &one, target.address);
    let progress = Progress::default();
    let mut first_send = std::pin::pin!(first.send(&first_job, &progress));
    let halfway = until("halfway", || target.backend.half() == Some(5000));
    tokio::select! {
        sent = &mut first_send => panic!("{sent:?}"),
        () = halfway => {}
    }

    let sent = send(&sender(&source), &job(None, &one, target.address)).await.unwrap();

    assert_eq!((sent.resumed.0, sent.bytes.0), (5000, 15_000));
    assert_eq!(target.backend.content(&one), Some(content(20_000)));
}

#[tokio::test]
async fn dropping_the_call_ends_the_stream_on_both_sides() {
    let target = receiver_with(
        Knobs::default(),
        ReceivingConfig { streams_max: 1, ..ReceivingConfig::new(NodeName::new("n2").unwrap()) },
    )
    .await;
    let source = Arc::new(Fake::new(Knobs {
        piece: Some(1000),
        hangs_after: Some(5000),
        ..Knobs::default()
    }));
    let one = source.add("one", &content(20_000));
    let sending = {
        let (sender, job) = (sender(&source), job(None, &one, target.address));
        tokio::spawn(async move { sender.send(&job, &Progress::default()).await })
    };
    until("halfway", || target.backend.half() == Some(5000)).await;

    sending.abort();

    until("closed at the source", || source.open.load(Ordering::SeqCst) == 0).await;
    let whole = Arc::new(Fake::default());
    whole.add("one", &content(20_000));
    send(&sender(&whole), &job(None, &one, target.address)).await.unwrap();
}

/// Given a large stream that takes for ever, another one waits when it turns out to be large, and a small one does not.
#[tokio::test]
async fn small_streams_do_not_wait_for_large_ones() {
    const HANGS: usize = 6 << 20;
    let knobs = Knobs { piece: Some(128 << 10), hangs_after: Some(HANGS), ..Knobs::default() };
    let source = Arc::new(Fake::new(knobs));
    let (large, small) = (source.add("large", &content(HANGS * 2)), source.add("small", b"s"));
    let config = SenderConfig { large_max: 1, ..SenderConfig::default() };
    let sender = Arc::new(Sender::new(source.clone(), Transport::clear(), config));
    let mut targets = vec![];
    for _ in 0..3 {
        targets.push(receiver(Knobs::default()).await);
    }
    let begin = |target: &Node| {
        let (sender, job) = (sender.clone(), job(None, &large, target.address));
        tokio::spawn(async move { sender.send(&job, &Progress::default()).await })
    };
    let first = begin(&targets[0]);
    until("large", || targets[0].backend.half() == Some(HANGS)).await;
    let second = begin(&targets[1]);
    until("as large", || targets[1].backend.half() > Some(4 << 20)).await;

    send(&sender, &job(None, &small, targets[2].address)).await.unwrap();

    assert!(targets[1].backend.half() < Some(5 << 20), "{:?}", targets[1].backend.half());
    first.abort();
    until("its turn", || targets[1].backend.half() == Some(HANGS)).await;
    second.abort();
}

#[tokio::test]
async fn garbage_ends_its_own_connection_only() {
    let (source, target) = (Arc::new(Fake::default()), receiver(Knobs::default()).await);
    let one = source.add("one", b"data");
    for garbage in [
        b"GET / HTTP/1.1\r\n\r\n".as_slice(),
        &[0; 5000],
        b"flockers\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let mut connection = TcpStream::connect(target.address).await.unwrap();
        connection.write_all(garbage).await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(DEADLINE, connection.read_to_end(&mut answer))
            .await
            .expect("it was not closed");
    }

    send(&sender(&source), &job(None, &one, target.address)).await.unwrap();
}

/// Given as many connections as there may be, which speak our language and never finish a sentence.
#[tokio::test]
async fn those_who_do_not_say_what_they_want_lose_their_place() {
    let node = NodeName::new("n2").unwrap();
    let config = ReceivingConfig {
        connections_max: 2,
        greeting: Duration::from_millis(100),
        ..ReceivingConfig::new(node)
    };
    let target = receiver_with(Knobs::default(), config).await;
    let mut strangers = Vec::new();
    for _ in 0..2 {
        let mut stranger = TcpStream::connect(target.address).await.unwrap();
        stranger.write_all(b"flock").await.unwrap();
        strangers.push(stranger);
    }
    let source = Arc::new(Fake::default());
    let one = source.add("one", &content(1000));

    send(&sender(&source), &job(None, &one, target.address)).await.unwrap();
}

#[tokio::test]
async fn a_service_that_is_none_of_ours_is_recognised() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let _ = connection.write_all(b"-ERR unknown command\r\n").await;
        }
    });
    let source = Arc::new(Fake::default());
    let one = source.add("one", b"data");

    let sent = send(&sender(&source), &job(None, &one, address)).await;

    assert!(
        sent.as_ref().is_err_and(|e| e.to_string().contains("not a replication stream")),
        "{sent:?}"
    );
    service.abort();
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let source = Arc::new(Fake::default());
    let one = source.add("one", b"data");

    let sent = send(&sender(&source), &job(None, &one, address)).await;

    assert!(matches!(sent, Err(ReplicationError::Unreachable { .. })), "{sent:?}");
}

#[tokio::test]
async fn a_shutdown_ends_streams_and_keeps_their_halves() {
    let target = receiver(Knobs::default()).await;
    let source = Arc::new(Fake::new(Knobs {
        piece: Some(1000),
        hangs_after: Some(5000),
        ..Knobs::default()
    }));
    let one = source.add("one", &content(20_000));
    let sending = {
        let (sender, job) = (sender(&source), job(None, &one, target.address));
        tokio::spawn(async move { sender.send(&job, &Progress::default()).await })
    };
    until("halfway", || target.backend.half() == Some(5000)).await;

    target.shutdown.cancel();

    until("stopped", || target.task.is_finished()).await;
    assert!(matches!(sending.await.unwrap(), Err(ReplicationError::Unreachable { .. })));
    assert_eq!(target.backend.half(), Some(5000));
}
