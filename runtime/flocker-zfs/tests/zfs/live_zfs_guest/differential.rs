//! Random sequences of operations, on the model and on ZFS: both answer the same. `FLOCKER_SEED` replays one,
//! `FLOCKER_SEQUENCES` asks for more of them.

use std::time::Instant;

use flocker_model::VolumeId;
use flocker_ports::Backend;
use flocker_sim::differential::{Extent, Real, check};

use super::{
    World,
    pool::{TestPool, zfs},
};

/// What a guest does in about a minute.
const EXTENT: Extent = Extent { n_sequences: 3, n_steps: 120 };

impl World {
    fn pool(&self, node: usize) -> &TestPool {
        if node == 0 { &self.source } else { &self.target }
    }
}

#[async_trait::async_trait]
impl Real for World {
    fn backend(&self, node: usize) -> &dyn Backend {
        self.pool(node).backend()
    }

    async fn reopen(&mut self, node: usize) {
        if node == 0 { self.source.reopen().await } else { self.target.reopen().await }
    }

    fn meddle(&self, node: usize, volume: &VolumeId) {
        let dataset = self.pool(node).dataset(volume.as_str());
        let n = theirs(&dataset).len();
        zfs(&["snapshot", &format!("{dataset}@daily-{n}")]);
    }

    fn make_up(&self, node: usize, volume: &VolumeId) {
        for name in theirs(&self.pool(node).dataset(volume.as_str())) {
            zfs(&["destroy", &name]);
        }
    }
}

/// Other people's snapshots of a dataset; none where there is no dataset.
fn theirs(dataset: &str) -> Vec<String> {
    let list = ["list", "-Ho", "name", "-t", "snapshot", dataset];
    let output = std::process::Command::new("zfs").args(list).output().unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    listed.lines().filter(|name| name.contains("@daily-")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_and_zfs_answer_the_same() {
    let began = Instant::now();

    let done = check(&mut World::new().await, 0, EXTENT).await;

    eprintln!("{done:?} in {:?}", began.elapsed());
}
