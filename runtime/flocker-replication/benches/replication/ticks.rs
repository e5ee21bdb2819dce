//! A tick in a guest: of many small volumes that were all written to, a snapshot is taken and sent to another pool, and the
//! one before it goes. Beside `syncoid` and `bzfs`, which are given as many datasets of the same content.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use flocker_model::{ByteSize, Point, SnapshotTag, VolumeId};
use flocker_ports::VolumeEpoch;
use flocker_replication::{Sender, SenderConfig, Transport};
use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::{
    Row,
    pools::{Pair as _, noise, op, run},
    receiving, send_of,
    zfs::ZfsPair,
};

/// So many volumes for all, and so many for us alone: the others would take the rest of the day.
const VOLUMES: usize = 25;
const MANY: usize = 500;

/// What is written to each between two ticks.
const WRITTEN: usize = 16 << 10;

const ROUNDS: usize = 3;

/// Our volumes on both pools.
struct Volumes {
    pair: ZfsPair,
    sender: Sender,
    address: std::net::SocketAddr,
    stop: CancellationToken,
    last: BTreeMap<VolumeId, Point>,
}

impl Volumes {
    async fn new(count: usize) -> Self {
        let pair = ZfsPair::new().await;
        let stop = CancellationToken::new();
        let address = receiving(pair.target(), Transport::clear(), &stop).await;
        let sender = Sender::new(pair.source(), Transport::clear(), SenderConfig::default());
        let mut ids = vec![];
        for number in 0..count {
            let id = VolumeId::new(format!("small-{number}")).unwrap();
            pair.source().create(&op(), &id, &ByteSize::mib(64).into(), None).await.unwrap();
            ids.push(id);
        }
        let mut volumes = Self { pair, sender, address, stop, last: BTreeMap::new() };
        volumes.tick(&ids, "begin").await;
        volumes
    }

    async fn write(&self, round: usize) {
        for id in self.last.keys() {
            let at = self.pair.source().attach(&op(), id).await.unwrap();
            fs::write(at.path.join("f"), noise(&format!("{id}-{round}"), WRITTEN)).unwrap();
        }
    }

    async fn tick(&mut self, ids: &[VolumeId], name: &str) -> Duration {
        let (source, target) = (self.pair.source(), self.pair.target());
        let tag = SnapshotTag::new(name).unwrap();
        let before = transactions(self.pair.names());
        let began = Instant::now();
        let taken = source.snapshot(&op(), ids, &tag).await.unwrap();
        let each = ids.iter().zip(taken).map(|(id, taken)| {
            let (base, to) = (self.last.get(id).cloned(), taken.point);
            let (sender, address) = (&self.sender, self.address);
            async move {
                send_of(sender, address, id, base, to.clone()).await;
                (id.clone(), to)
            }
        });
        let sent = join_all(each).await.into_iter().collect();
        let gone: Vec<_> = std::mem::replace(&mut self.last, sent)
            .into_iter()
            .map(|(id, point)| (VolumeEpoch { id, epoch: op().epoch }, vec![point]))
            .collect();
        let id = op().id;
        let (here, there) = tokio::join!(
            source.destroy_snapshots_together(&id, &gone),
            target.destroy_snapshots_together(&id, &gone),
        );
        assert!(here.is_some() && there.is_some(), "they are removed together");
        let took = began.elapsed();
        let after = transactions(self.pair.names());
        println!(
            "tick of {} volumes: {took:.1?}, {} transaction groups on the source, {} on the target",
            ids.len(),
            after[0] - before[0],
            after[1] - before[1]
        );
        took
    }
}

impl Drop for Volumes {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Datasets of a peer's, below one of its own on both pools.
struct Peer {
    name: &'static str,
    command: String,
}

impl Peer {
    fn new(name: &'static str, command: String, pools: (&str, &str)) -> Self {
        run(&format!("zfs create -o mountpoint=/tmp/{name} {}/{name}", pools.0));
        for number in 0..VOLUMES {
            run(&format!("zfs create {}/{name}/v{number}", pools.0));
        }
        Self { name, command }
    }

    fn write(&self, round: usize) {
        for number in 0..VOLUMES {
            let bytes = noise(&format!("{}-{number}-{round}", self.name), WRITTEN);
            fs::write(format!("/tmp/{}/v{number}/f", self.name), bytes).unwrap();
        }
    }

    fn tick(&self, pools: (&str, &str), round: usize) -> Duration {
        let (from, into) =
            (format!("{}/{}", pools.0, self.name), format!("{}/{}", pools.1, self.name));
        let line = self.command.replace("FROM", &from).replace("INTO", &into);
        let began = Instant::now();
        run(&line.replace("ROUND", &round.to_string()));
        let took = began.elapsed();
        println!("tick of {VOLUMES} volumes by {}: {took:.1?}", self.name);
        took
    }
}

/// The newest transaction group of each pool, as the kernel lists them.
fn transactions(pools: (&str, &str)) -> [u64; 2] {
    [pools.0, pools.1].map(|pool| {
        let listed = fs::read_to_string(format!("/proc/spl/kstat/zfs/{pool}/txgs")).unwrap();
        let newest = listed.lines().last().and_then(|line| line.split_whitespace().next());
        newest.and_then(|number| number.parse().ok()).unwrap_or_default()
    })
}

fn rate(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// Volumes in a second; `folder` has the peers' programs.
pub(crate) async fn ticks(folder: &str) -> Vec<Row> {
    let mut volumes = Volumes::new(VOLUMES).await;
    let pools = volumes.pair.names();
    let syncoid = format!(
        "perl -I {folder}/usr/share/perl5 {folder}/usr/sbin/syncoid -r --compress=none --no-privilege-elevation FROM INTO"
    );
    let bzfs = format!(
        "zfs snapshot -r FROM@t-ROUND && PYTHONPATH={folder}/python python3 -m bzfs_main.bzfs FROM INTO --recursive"
    );
    let peers = [("syncoid", syncoid), ("bzfs", bzfs)];
    let peers = peers.map(|(name, command)| Peer::new(name, command, pools));
    for peer in &peers {
        peer.write(0);
        peer.tick(pools, 0);
    }
    let row = |name, peer, goal| Row { unit: "volumes/s", ..Row::new(name, peer, goal) };
    let mut rows = peers.each_ref().map(|peer| row("tick of 25 volumes", peer.name, 5.0));
    let ids: Vec<VolumeId> = volumes.last.keys().cloned().collect();
    for round in 1..=ROUNDS {
        volumes.write(round).await;
        peers.iter().for_each(|peer| peer.write(round));
        volumes.pair.rest();
        let ours = rate(VOLUMES, volumes.tick(&ids, &format!("t-{round}")).await);
        for (row, peer) in rows.iter_mut().zip(&peers) {
            volumes.pair.rest();
            row.ours.push(ours);
            row.theirs.push(rate(VOLUMES, peer.tick(pools, round)));
        }
    }
    drop(volumes);
    let mut volumes = Volumes::new(MANY).await;
    let ids: Vec<VolumeId> = volumes.last.keys().cloned().collect();
    let mut many = row("tick of 500 volumes", "ours of 25 volumes", 1.0);
    for round in 1..=ROUNDS {
        volumes.write(round).await;
        volumes.pair.rest();
        many.ours.push(rate(MANY, volumes.tick(&ids, &format!("t-{round}")).await));
    }
    many.theirs.clone_from(&rows[0].ours);
    rows.into_iter().chain([many]).collect()
}
