//! What the comparison itself is worth: equals are equal, and a storage that lost something is found out.

use std::io;

use async_trait::async_trait;
use flocker_model::{ByteSize, VolumeId};
use flocker_ports::{Attachment, Backend, contract::backend::Content};

use super::{Extent, NODES, Real, attempt, check, draw::Draw, shorten};
use crate::SimBackend;

/// Another model in the place of the real one.
#[derive(Debug)]
struct Pretended {
    nodes: [SimBackend; NODES],
    /// Opened again, it has forgotten everything.
    forgets: bool,
}

impl Pretended {
    fn new(forgets: bool) -> Self {
        Self { nodes: ["r0", "r1"].map(|node| SimBackend::new(node, ByteSize::gib(64))), forgets }
    }
}

impl Content for SimBackend {
    fn write(&self, at: &Attachment, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.write_file(at, name, bytes)
    }

    fn read(&self, at: &Attachment, name: &str) -> io::Result<Vec<u8>> {
        Ok(self.read_file(at, name)?.into())
    }
}

#[async_trait]
impl Real for Pretended {
    fn backend(&self, node: usize) -> &dyn Backend {
        &self.nodes[node]
    }

    fn content(&self, node: usize) -> &dyn Content {
        &self.nodes[node]
    }

    async fn reopen(&mut self, node: usize) {
        if self.forgets {
            self.nodes[node] = SimBackend::new(["again-r0", "again-r1"][node], ByteSize::gib(64));
        }
    }

    fn meddle(&self, _node: usize, _volume: &VolumeId) {}

    fn make_up(&self, _node: usize, _volume: &VolumeId) {}
}

fn sequence(seed: u64, n_steps: usize) -> Vec<u64> {
    let mut draw = Draw::new(seed);
    (0..n_steps).map(|_| draw.number()).collect()
}

#[tokio::test]
async fn the_model_answers_as_itself_and_grants_enough() {
    let done = check(&mut Pretended::new(false), 0, Extent { n_sequences: 40, n_steps: 100 }).await;

    assert!(done.n_operations > 4000, "{done:?}");
    assert!(done.n_arrived > 150, "{done:?}");
    assert!(done.n_granted * 3 > done.n_operations, "most would be refusals: {done:?}");
}

#[tokio::test]
async fn a_storage_that_forgets_is_found_and_the_story_is_short() {
    let mut real = Pretended::new(true);
    let sequence = sequence(1, 200);

    assert!(attempt(&mut real, 1, &sequence).await.is_err());
    let story = shorten(&mut real, 1, sequence).await.unwrap();

    assert!(story.contains("opened again"), "{story}");
    assert!(story.lines().count() < 12, "{story}");
}
