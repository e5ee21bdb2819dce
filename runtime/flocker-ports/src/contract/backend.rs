//! What every [`Backend`] must do. Each test makes volumes of its own, so all of them may share two backends.
//!
//! [`backend_contract!`](crate::backend_contract) turns each of them into a test of the crate that implements the port.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clones;
mod epochs;
mod ladder;
mod rollbacks;
mod streams;
mod volumes;

pub use clones::*;
pub use epochs::*;
pub use ladder::*;
pub use rollbacks::*;
pub use streams::*;
pub use volumes::*;

use std::{
    fmt, fs, io,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use flocker_model::{
    ByteSize, Epoch, OperationId, Point, Role, Snapshot, SnapshotTag, VolumeId, VolumeState,
};
use futures::StreamExt;

use crate::{Attachment, Backend, BackendError, Op, Receiver, ResumeToken};

/// Two backends, as two nodes have them, and a way to a volume's files.
#[derive(Clone, Copy)]
pub struct Pair<'a> {
    /// Where volumes are made.
    pub source: &'a dyn Backend,
    /// Where they are sent to.
    pub target: &'a dyn Backend,
    /// How files in an attached volume are written and read.
    pub content: &'a dyn Content,
}

impl fmt::Debug for Pair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair")
            .field("source", &self.source)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// What a container does with an attached volume.
pub trait Content: Send + Sync {
    /// Makes, or replaces, a file.
    ///
    /// # Errors
    /// What the container would see: a read-only volume, no space.
    fn write(&self, at: &Attachment, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Reads a whole file.
    ///
    /// # Errors
    /// What the container would see.
    fn read(&self, at: &Attachment, name: &str) -> io::Result<Vec<u8>>;
}

/// The files of a backend whose attachments are real folders.
#[derive(Debug, Clone, Copy)]
pub struct RealFiles;

impl Content for RealFiles {
    fn write(&self, at: &Attachment, name: &str, bytes: &[u8]) -> io::Result<()> {
        fs::write(at.path.join(name), bytes)
    }

    fn read(&self, at: &Attachment, name: &str) -> io::Result<Vec<u8>> {
        fs::read(at.path.join(name))
    }
}

/// Calls `$with!` with the names of all tests; for those who want something else than one `#[tokio::test]` each.
#[macro_export]
macro_rules! each_backend_contract {
    ($with:ident ! { $($arguments:tt)* }) => {
        $with! { { $($arguments)* }
            create_makes_an_empty_live_volume_once
            an_unknown_volume_is_nowhere
            an_attachment_is_the_folder_it_names
            resize_is_remembered
            a_writer_hits_the_limit
            destroy_leaves_nothing
            several_volumes_are_snapshot_as_one
            a_group_with_an_unknown_volume_takes_nothing
            a_snapshot_does_not_change_any_more
            destroying_a_snapshot_checks_its_guid
            a_clone_begins_as_the_snapshot_and_goes_its_own_way
            a_clone_is_made_once_and_of_what_is_there
            what_a_clone_was_made_from_can_be_removed
            a_clone_of_a_clone_outlives_both
            a_rollback_keeps_what_it_rolls_over
            a_rollback_needs_a_live_volume_its_snapshot_and_a_free_name
            what_was_rolled_over_is_a_volume_like_any_other
            stale_epochs_are_refused_everywhere
            only_the_exact_epoch_attaches
            seal_stops_writers_and_unseal_lets_them_go_on
            retire_needs_a_seal_and_a_newer_epoch
            promote_needs_a_newer_epoch
            promote_needs_the_newest_snapshot
            a_sealed_copy_can_be_promoted_again
            a_volume_goes_there_and_back_with_its_content
            a_sent_snapshot_keeps_its_guid
            an_increment_is_smaller_than_the_whole
            a_receive_over_the_owners_copy_is_refused
            an_increment_needs_its_base
            a_snapshot_that_is_here_is_answered_again
            an_aborted_receive_leaves_nothing
            a_receive_goes_on_where_it_was_dropped
            a_resume_from_other_bytes_is_refused
            a_truncated_stream_never_counts
            a_corrupted_stream_never_counts
            the_announced_guid_must_come
            a_newer_receive_takes_over
        }
    };
}

/// One test for each rule of the port: `backend_contract!(World::new().await)`, where `World` is any type with a method
/// `pair(&self) -> Pair<'_>` that keeps both backends alive.
#[macro_export]
macro_rules! backend_contract {
    ($world:expr) => {
        $crate::each_backend_contract! { backend_contract_tests ! { $world } }
        use $crate::backend_contract_tests;
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! backend_contract_tests {
    ({ $world:expr } $($name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[allow(clippy::print_stderr, reason = "a test says what it did not test")]
            async fn $name() {
                let world = $world;
                let pair = world.pair();
                let rule = stringify!($name);
                match $crate::contract::backend::missing_feature(rule, pair.source) {
                    None => $crate::contract::backend::$name(pair).await,
                    Some(feature) => eprintln!("passed over: `{feature}` is not declared"),
                }
            }
        )*
    };
}

/// The epoch at which the tests make volumes.
const ONE: Epoch = Epoch(1);
const TWO: Epoch = Epoch(2);
const THREE: Epoch = Epoch(3);
/// Room enough for what the tests write.
const SIZE: ByteSize = ByteSize::mib(64);

/// Rules that are about a feature, by that feature.
const FEATURES: [(&str, &str); 8] = [
    ("a_writer_hits_the_limit", "quota"),
    ("a_clone_begins_as_the_snapshot_and_goes_its_own_way", "clone"),
    ("a_clone_is_made_once_and_of_what_is_there", "clone"),
    ("what_a_clone_was_made_from_can_be_removed", "clone"),
    ("a_clone_of_a_clone_outlives_both", "clone"),
    ("a_rollback_keeps_what_it_rolls_over", "keeping-rollback"),
    ("a_rollback_needs_a_live_volume_its_snapshot_and_a_free_name", "keeping-rollback"),
    ("what_was_rolled_over_is_a_volume_like_any_other", "keeping-rollback"),
];

/// The feature that a rule is about, where the backend does not declare it: then the rule is passed over.
#[must_use]
pub fn missing_feature(rule: &str, backend: &dyn Backend) -> Option<&'static str> {
    let (_, feature) = FEATURES.iter().find(|(name, _)| *name == rule)?;
    let declared = backend.describe().features;
    Some(*feature).filter(|feature| !declared.iter().any(|declared| declared == feature))
}

/// An operation of its own at this epoch.
fn op(epoch: Epoch) -> Op {
    Op { id: OperationId::new(unique("op")).unwrap(), epoch }
}

/// A volume that nobody used before, on any pool that outlives the test.
fn volume(name: &str) -> VolumeId {
    VolumeId::new(unique(name)).unwrap()
}

fn unique(name: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("{name}-{now:x}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn tag(name: &str) -> SnapshotTag {
    SnapshotTag::new(name).unwrap()
}

/// Bytes that no filesystem makes smaller, the same for the same seed.
fn noise(seed: u64, n: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(n + 8);
    while bytes.len() < n {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(n);
    bytes
}

/// Given a live volume at epoch 1.
async fn made(backend: &dyn Backend, name: &str) -> VolumeId {
    let volume = volume(name);
    backend.create(&op(ONE), &volume, &SIZE.into(), None).await.unwrap();
    volume
}

impl Pair<'_> {
    async fn put(
        &self,
        backend: &dyn Backend,
        volume: &VolumeId,
        epoch: Epoch,
        name: &str,
        bytes: &[u8],
    ) {
        let at = backend.attach(&op(epoch), volume).await.unwrap();
        self.content.write(&at, name, bytes).unwrap();
    }

    async fn get(
        &self,
        backend: &dyn Backend,
        volume: &VolumeId,
        epoch: Epoch,
        name: &str,
    ) -> Vec<u8> {
        let at = backend.attach(&op(epoch), volume).await.unwrap();
        self.content.read(&at, name).unwrap()
    }

    /// Given a volume with a file `a`, snapshot `one` of it on the source, and a replica of that on the target.
    async fn replicated(&self, name: &str) -> (VolumeId, Point) {
        let volume = made(self.source, name).await;
        self.put(self.source, &volume, ONE, "a", &noise(1, 1 << 20)).await;
        let one = snap(self.source, &volume, ONE, "one").await.point;
        copy(self.source, self.target, &volume, None, &one, ONE).await;
        (volume, one)
    }
}

async fn snap(backend: &dyn Backend, volume: &VolumeId, epoch: Epoch, name: &str) -> Snapshot {
    let mut taken =
        backend.snapshot(&op(epoch), std::slice::from_ref(volume), &tag(name)).await.unwrap();
    assert_eq!(taken.len(), 1);
    taken.remove(0)
}

async fn state(backend: &dyn Backend, volume: &VolumeId) -> VolumeState {
    backend.stat(volume).await.unwrap().unwrap()
}

async fn role(backend: &dyn Backend, volume: &VolumeId) -> (Role, Epoch) {
    let state = state(backend, volume).await;
    (state.role, state.epoch)
}

/// The identities of a volume's snapshots here; none where there is no such volume.
async fn points(backend: &dyn Backend, volume: &VolumeId) -> Vec<Point> {
    match backend.snapshots(volume).await {
        Ok(snapshots) => snapshots.into_iter().map(|snapshot| snapshot.point).collect(),
        Err(BackendError::NoSuchVolume(_)) => Vec::new(),
        Err(error) => panic!("{error}"),
    }
}

/// The whole stream, in memory.
async fn stream(
    backend: &dyn Backend,
    volume: &VolumeId,
    base: Option<&Point>,
    to: &Point,
    resume: Option<&ResumeToken>,
) -> Result<Vec<u8>, BackendError> {
    let mut chunks = backend.send(volume, base, to, resume).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(bytes)
}

/// Feeds a stream in pieces that no format expects.
async fn feed(receiver: &mut dyn Receiver, bytes: &[u8]) -> Result<(), BackendError> {
    for piece in bytes.chunks(70_001) {
        receiver.write(Bytes::copy_from_slice(piece)).await?;
    }
    Ok(())
}

/// Sends a snapshot from one backend to another. Answers the bytes that it took.
async fn copy(
    source: &dyn Backend,
    target: &dyn Backend,
    volume: &VolumeId,
    base: Option<&Point>,
    to: &Point,
    epoch: Epoch,
) -> usize {
    let bytes = stream(source, volume, base, to, None).await.unwrap();
    let mut receiver = target.receive(&op(epoch), volume, base, to, &SIZE.into()).await.unwrap();
    assert_eq!(receiver.resume_token(), None);
    feed(receiver.as_mut(), &bytes).await.unwrap();
    let got = receiver.finish().await.unwrap();
    assert_eq!(&got.point, to);
    bytes.len()
}
