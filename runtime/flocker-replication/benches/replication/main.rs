//! What a stream costs beside what people would use instead: the transport alone against `socat` and `mbuffer`, streams
//! of btrfs against `btrfs send | btrfs receive`, and of ZFS against `zfs send | zfs receive`. Root.
//!
//! `cargo xtask bench replication` builds what this needs. With `--guest` and the script that boots guests it runs itself
//! in one, with `--zfs` for the streams of ZFS, with `--tls` for those under TLS 1.3, and with `--ticks` and the folder of
//! the peers for what is done again and again for many volumes.
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
mod ticks;
mod tls;
mod zfs;

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use flocker_model::{ByteSize, Epoch, NodeName, OperationId, Point, Rates, VolumeId};
use flocker_ports::{Backend, Progress, Replication as _, SendJob};
use flocker_replication::{Receiving, ReceivingConfig, Sender, SenderConfig, Transport};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    pools::{BtrfsPair, Pair},
    synthetic::Synthetic,
    zfs::ZfsPair,
};

/// So much is sent where nothing but the transport is measured.
const SYNTHETIC: u64 = 2 << 30;

/// Each contender takes so many turns.
const ROUNDS: usize = 7;

const BARE_BTRFS: &str = "btrfs send | btrfs receive";

/// One row of the table.
struct Row {
    name: &'static str,
    unit: &'static str,
    /// In a second, of each turn.
    ours: Vec<f64>,
    peer: &'static str,
    theirs: Vec<f64>,
    goal: f64,
}

impl Row {
    fn new(name: &'static str, peer: &'static str, goal: f64) -> Self {
        Self { name, unit: "bytes/s", ours: vec![], peer, theirs: vec![], goal }
    }

    fn json(&self) -> serde_json::Value {
        let (value, peer_value) = (median(&self.ours), median(&self.theirs));
        let ratio = value / peer_value;
        json!({
            "name": self.name, "value": tenth(value), "unit": self.unit, "peer": self.peer,
            "peer_value": tenth(peer_value), "ratio": (ratio * 1000.0).round() / 1000.0,
            "goal": self.goal, "holds": ratio >= self.goal,
        })
    }
}

fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
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

/// What carries the streams of a sender and of its receiver.
struct Ends {
    sender: Transport,
    receiver: Transport,
}

impl Ends {
    fn clear() -> Self {
        Self { sender: Transport::clear(), receiver: Transport::clear() }
    }
}

/// A node that receives into `backend`.
async fn receiving(
    backend: Arc<dyn Backend>,
    transport: Transport,
    stop: &CancellationToken,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = ReceivingConfig::new(node("n2"));
    tokio::spawn(Receiving::serve(listener, backend, transport, config, stop.clone()));
    address
}

/// Sends one snapshot of the volume, and returns how long that took and how many bytes crossed.
async fn send(
    sender: &Sender,
    address: SocketAddr,
    base: Option<Point>,
    to: Point,
) -> (Duration, u64) {
    send_of(sender, address, &volume(), base, to).await
}

async fn send_of(
    sender: &Sender,
    address: SocketAddr,
    volume: &VolumeId,
    base: Option<Point>,
    to: Point,
) -> (Duration, u64) {
    let job = SendJob {
        operation: OperationId::new("o-1").unwrap(),
        volume: volume.clone(),
        epoch: Epoch(1),
        base,
        to,
        options: ByteSize::gib(4).into(),
        source: node("n1"),
        target: node("n2"),
        address,
        rates: Rates::default(),
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
    let storage = || Arc::new(Synthetic::new(SYNTHETIC));
    let address = receiving(storage(), Transport::clear(), &stop).await;
    let sender = Sender::new(storage(), Transport::clear(), SenderConfig::default());
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

/// A full stream and an increment of it, ours and theirs in turns.
async fn streams<P: Pair>(ends: &Ends, mut full: Row, mut increment: Row) -> [Row; 2] {
    for round in 0..ROUNDS {
        // Pools of its own for each turn: one that holds more is slower.
        let pair = P::new().await;
        let stop = CancellationToken::new();
        let address = receiving(pair.target(), ends.receiver.clone(), &stop).await;
        let sender = Sender::new(pair.source(), ends.sender.clone(), SenderConfig::default());
        let mut base: Option<Point> = None;
        let sizes = [("full", P::FULL), ("increment", P::INCREMENT)];
        for ((name, size), row) in sizes.into_iter().zip([&mut full, &mut increment]) {
            pair.write(name, size).await;
            let to = pair.snapshot(name).await;
            // Whoever comes second finds the caches warm, and a pool that holds more.
            for turn in 0..2 {
                pair.rest();
                if (round + turn) % 2 == 0 {
                    let (took, _) = send(&sender, address, base.clone(), to.clone()).await;
                    row.ours.push(rate(size as u64, took));
                } else {
                    let base = base.as_ref().map(|base| base.tag.as_str());
                    row.theirs.push(rate(size as u64, pair.bare(base, name)));
                }
            }
            base = Some(to);
        }
        stop.cancel();
    }
    [full, increment]
}

/// The rows of ZFS, by this program in a guest that the script `guest` boots.
fn in_guest(guest: &str, peers: Option<&str>) -> Vec<serde_json::Value> {
    let ended = Command::new(guest)
        .args(["run", "-e", "-t", "3000", "-m", "2048", "-d", "4G", "-d", "4G", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--zfs", "--json"])
        .args(peers.iter().flat_map(|folder| ["--ticks", folder]))
        .env("ZFS_GUEST_DISKS", "/dev/vda /dev/vdb")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(ended.status.success(), "the guest ended with {}", ended.status);
    let said = String::from_utf8(ended.stdout).unwrap();
    let (table, json) = said.trim_end().rsplit_once('\n').unwrap();
    println!("{table}");
    let said: serde_json::Value = serde_json::from_str(json).unwrap();
    said["rows"].as_array().unwrap().clone()
}

fn show(rows: &[Row]) {
    for row in rows {
        let (value, peer) = (median(&row.ours), median(&row.theirs));
        let shown = |value: f64| match row.unit {
            "bytes/s" => format!("{:7.0} MiB/s", value / f64::from(1 << 20)),
            unit => format!("{value:7.1} {unit}"),
        };
        println!(
            "{:37} {}   {:27} {}   {:.2} (goal {:.2})",
            row.name,
            shown(value),
            row.peer,
            shown(peer),
            value / peer,
            row.goal
        );
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let place = |what: &str| arguments.iter().position(|argument| argument == what);
    let named = |what: &str| place(what).and_then(|at| arguments.get(at + 1)).map(String::as_str);
    let mut rows = vec![];
    if place("--zfs").is_some() {
        const PEER: &str = "zfs send | zfs receive";
        let full = Row::new("full stream of zfs", PEER, 0.97);
        let increment = Row::new("incremental stream of zfs", PEER, 0.97);
        rows.extend(streams::<ZfsPair>(&Ends::clear(), full, increment).await);
    }
    if let Some(folder) = named("--ticks") {
        rows.extend(ticks::ticks(folder).await);
    }
    if place("--tls").is_some() {
        tls::rows(&mut rows).await;
    }
    if rows.is_empty() {
        let full = Row::new("full stream of btrfs", BARE_BTRFS, 0.97);
        let increment = Row::new("incremental stream of btrfs", BARE_BTRFS, 0.97);
        transport(&mut rows).await;
        rows.extend(streams::<BtrfsPair>(&Ends::clear(), full, increment).await);
        tls::rows(&mut rows).await;
    }
    show(&rows);
    let mut all: Vec<_> = rows.iter().map(Row::json).collect();
    if let Some(guest) = named("--guest") {
        all.extend(in_guest(guest, named("--peers")));
    }
    if place("--json").is_some() {
        println!("{}", json!({"bench": "replication", "rounds": ROUNDS, "rows": all}));
    }
}
