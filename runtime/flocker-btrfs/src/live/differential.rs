//! Random sequences of operations, on the model and on btrfs: both answer the same. `FLOCKER_SEED` replays one,
//! `FLOCKER_SEQUENCES` asks for more of them.

use std::time::Instant;

use flocker_model::VolumeId;
use flocker_ports::Backend;
use flocker_sim::differential::{Extent, Real, check};

use super::World;

const EXTENT: Extent = Extent { n_sequences: 3, n_steps: 120 };

#[async_trait::async_trait]
impl Real for World {
    fn backend(&self, node: usize) -> &dyn Backend {
        if node == 0 { self.source.backend() } else { self.target.backend() }
    }

    async fn reopen(&mut self, node: usize) {
        if node == 0 { self.source.reopen().await } else { self.target.reopen().await }
    }

    /// A snapshot of a subvolume is no part of it: there is nothing of a volume that others could change.
    fn meddle(&self, _node: usize, _volume: &VolumeId) {}

    fn make_up(&self, _node: usize, _volume: &VolumeId) {}

    /// A snapshot moves the generation of what it is taken of, which says whether anything was written since the one before.
    fn is_wary(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_and_btrfs_answer_the_same() {
    let began = Instant::now();

    let done = check(&mut World::new().await, 0, EXTENT).await;

    eprintln!("{done:?} in {:?}", began.elapsed());
}
