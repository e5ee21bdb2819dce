//! What a stream costs beside what people would use instead: the transport alone against `socat` and `mbuffer`, streams
//! of btrfs against `btrfs send | btrfs receive`. `cargo xtask bench replication` builds what this needs; root.
//!
//! All contenders take turns within one run, and medians are shown: these numbers are ratios, not promises.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark"
)]

mod pools;
mod synthetic;

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use flocker_model::{ByteSize, Epoch, NodeName, OperationId, Point, VolumeId};
use flocker_ports::{Backend, Progress, Replication as _, SendJob};
use flocker_replication::{Receiving, ReceivingConfig, Sender, SenderConfig};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{pools::Pair, synthetic::Synthetic};

/// So much is sent where nothing but the transport is measured.
const SYNTHETIC: u64 = 2 << 30;

/// Each contender takes so many turns.
const ROUNDS: usize = 7;

/// One row of the table.
struct Row {
    name: &'static str,
    /// Bytes in a second, of each turn.
    ours: Vec<f64>,
    peer: &'static str,
    theirs: Vec<f64>,
    goal: f64,
}

impl Row {
    fn new(name: &'static str, peer: &'static str, goal: f64) -> Self {
        Self { name, ours: vec![], peer, theirs: vec![], goal }
    }

    fn json(&self) -> serde_json::Value {
        let (value, peer_value) = (median(&self.ours), median(&self.theirs));
        let ratio = value / peer_value;
        json!({
            "name": self.name, "value": value.round(), "unit": "bytes/s", "peer": self.peer,
            "peer_value": peer_value.round(), "ratio": (ratio * 1000.0).round() / 1000.0,
            "goal": self.goal, "holds": ratio >= self.goal,
        })
    }
}

fn median(of: &[f64]) -> f64 {
    let mut of = of.to_vec();
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or_default()
}

fn rate(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / took.as_secs_f64()
}

fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

fn volume() -> VolumeId {
    VolumeId::new("v-1").unwrap()
}

/// A node that receives into `backend`.
async fn receiving(backend: Arc<dyn Backend>, stop: &CancellationToken) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = ReceivingConfig::new(node("n2"));
    tokio::spawn(Receiving::serve(listener, backend, config, stop.clone()));
    address
}

/// Sends one snapshot, and returns how long that took and how many bytes crossed.
async fn send(
    sender: &Sender,
    address: SocketAddr,
    base: Option<Point>,
    to: Point,
) -> (Duration, u64) {
    let job = SendJob {
        operation: OperationId::new("o-1").unwrap(),
        volume: volume(),
        epoch: Epoch(1),
        base,
        to,
        options: ByteSize::gib(4).into(),
        source: node("n1"),
        target: node("n2"),
        address,
        rate: None,
    };
    let began = Instant::now();
    let sent = sender.send(&job, &Progress::default()).await.unwrap();
    (began.elapsed(), sent.bytes.0)
}

/// A program that sends what it is given to a port, and one that throws away what it gets there.
fn peer(line: &str) -> Duration {
    let began = Instant::now();
    let ended = Command::new("bash")
        .args(["-c", line])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(ended.success(), "{line}");
    began.elapsed()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn transport(rows: &mut Vec<Row>) {
    let stop = CancellationToken::new();
    let address = receiving(Arc::new(Synthetic::new(SYNTHETIC)), &stop).await;
    let sender = Sender::new(Arc::new(Synthetic::new(SYNTHETIC)), SenderConfig::default());
    let mut socat = Row::new("transport alone", "socat", 1.0);
    let mut mbuffer = Row::new("transport alone", "mbuffer", 1.0);
    let source = format!("head -c {SYNTHETIC} /dev/zero");
    for round in 0..ROUNDS {
        let (took, bytes) = send(&sender, address, None, Synthetic::point(round)).await;
        assert_eq!(bytes, SYNTHETIC);
        socat.ours.push(rate(bytes, took));
        mbuffer.ours.push(rate(bytes, took));
        let port = free_port();
        socat.theirs.push(rate(
            SYNTHETIC,
            peer(&format!(
                "socat -u -b262144 TCP-LISTEN:{port},reuseaddr OPEN:/dev/null & \
             {source} | socat -u -b262144 - TCP:127.0.0.1:{port},retry=50,interval=0.01 && wait"
            )),
        ));
        let port = free_port();
        mbuffer.theirs.push(rate(
            SYNTHETIC,
            peer(&format!(
                "mbuffer -q -s 256k -m 16M -I 127.0.0.1:{port} -o /dev/null & \
             until ss -ltnH 'sport = :{port}' | grep -q .; do :; done; \
             {source} | mbuffer -q -s 256k -m 16M -O 127.0.0.1:{port} && wait"
            )),
        ));
    }
    stop.cancel();
    rows.extend([socat, mbuffer]);
}

async fn streams_of_btrfs(rows: &mut Vec<Row>) {
    const PEER: &str = "btrfs send | btrfs receive";
    let mut full = Row::new("full stream of btrfs", PEER, 0.97);
    let mut increment = Row::new("incremental stream of btrfs", PEER, 0.97);
    for _ in 0..ROUNDS {
        // Pools of its own for each turn: one that holds more is slower.
        let pair = Pair::new().await;
        let stop = CancellationToken::new();
        let address = receiving(pair.target.backend(), &stop).await;
        let sender = Sender::new(pair.source.backend(), SenderConfig::default());
        pair.write("full", pools::FULL);
        let one = pair.snapshot("one").await;
        let (took, bytes) = send(&sender, address, None, one.clone()).await;
        full.ours.push(rate(bytes, took));
        full.theirs.push(rate(bytes, pair.bare(None, "one")));
        pair.write("increment", pools::INCREMENT);
        let two = pair.snapshot("two").await;
        let (took, bytes) = send(&sender, address, Some(one), two).await;
        increment.ours.push(rate(bytes, took));
        increment.theirs.push(rate(bytes, pair.bare(Some("one"), "two")));
        stop.cancel();
    }
    rows.extend([full, increment]);
}

#[tokio::main]
async fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    let mut rows = vec![];
    transport(&mut rows).await;
    streams_of_btrfs(&mut rows).await;
    for row in &rows {
        let (value, peer) = (median(&row.ours), median(&row.theirs));
        println!(
            "{:28} {:7.0} MiB/s   {:27} {:7.0} MiB/s   {:.2} (goal {:.2})",
            row.name,
            value / f64::from(1 << 20),
            row.peer,
            peer / f64::from(1 << 20),
            value / peer,
            row.goal
        );
    }
    if json {
        let rows: Vec<_> = rows.iter().map(Row::json).collect();
        println!("{}", json!({"bench": "replication", "rounds": ROUNDS, "rows": rows}));
    }
}
