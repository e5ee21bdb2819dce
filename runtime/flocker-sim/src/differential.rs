//! Random sequences of the port's operations on the model and on a real backend, of two nodes each. Every answer must be
//! the same on both, and so must what the volumes are afterwards; snapshots' identities by correspondence.
//!
//! ```text
//! seed --> numbers, one a step --> what the model holds + the number --> one operation --> asked of both --> compared
//! ```
//!
//! What a step does is drawn from its number and from what the model holds then. So a part of a sequence is a sequence, and
//! one that fails is made shorter by leaving steps out.
//!
//! Not asked is what the port leaves to each backend: an increment on anything but the receiver's newest snapshot, which
//! ZFS cannot take; removing the newest snapshot of a copy that nobody may write to, or one that an unfinished receive
//! stands on; what a first receive is worth before its first bytes arrived, or after they turned out to be corrupt;
//! and what is kept of a few bytes.

mod answers;
mod draw;
mod run;
#[cfg(test)]
mod tests;
mod transfer;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use flocker_model::VolumeId;
use flocker_ports::{
    Backend,
    contract::backend::{Content, RealFiles},
};

use self::{draw::Draw, run::Run};

/// The nodes of a run. What one holds, the other may be sent.
const NODES: usize = 2;
/// How long a failing sequence may take to be made shorter.
const PATIENCE: Duration = Duration::from_secs(40);

/// Two nodes' real storage, and what else happens to it.
#[async_trait]
pub trait Real: Send + Sync {
    /// The storage of this node, 0 or 1.
    fn backend(&self, node: usize) -> &dyn Backend;

    /// What a container of this node does with an attached volume.
    fn content(&self, _node: usize) -> &dyn Content {
        &RealFiles
    }

    /// The program of this node ends and another one begins, on the same storage.
    async fn reopen(&mut self, node: usize);

    /// Somebody else takes a snapshot of the volume, by hand. Where nobody can, nothing happens.
    fn meddle(&self, node: usize, volume: &VolumeId);

    /// They remove all snapshots of the volume that they took.
    fn make_up(&self, node: usize, volume: &VolumeId);

    /// Whether it may take a copy for written to after the newest of its snapshots was removed. Then that is not asked.
    fn is_wary(&self) -> bool {
        false
    }
}

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Sequences, each with volumes of its own.
    pub n_sequences: u64,
    /// Steps of each; a step is one operation, or a few that belong together.
    pub n_steps: usize,
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    /// Operations that both were asked for.
    pub n_operations: u64,
    /// Those that were not refused.
    pub n_granted: u64,
    /// Streams that arrived whole.
    pub n_arrived: u64,
}

/// Runs the sequences from `first_seed` on, or the one that `FLOCKER_SEED` names; `FLOCKER_SEQUENCES` is how many instead.
///
/// # Panics
/// When the two differ: with the seed, and what was asked and answered, made as short as time allows.
pub async fn check(real: &mut dyn Real, first_seed: u64, extent: Extent) -> Done {
    let asked = |name| std::env::var(name).ok().and_then(|number| number.parse().ok());
    let n_sequences = asked("FLOCKER_SEQUENCES").unwrap_or(extent.n_sequences);
    let only = asked("FLOCKER_SEED");
    let seeds = only.map_or(first_seed..first_seed + n_sequences, |seed| seed..seed + 1);
    let mut done = Done::default();
    for seed in seeds {
        let mut draw = Draw::new(seed);
        let sequence: Vec<u64> = (0..extent.n_steps).map(|_| draw.number()).collect();
        match attempt(real, seed, &sequence).await {
            Ok(more) => {
                done.n_operations += more.n_operations;
                done.n_granted += more.n_granted;
                done.n_arrived += more.n_arrived;
            }
            Err((story, n_steps)) => {
                let failing = sequence[..n_steps].to_vec();
                let shorter = shorten(real, seed, failing).await.unwrap_or(story);
                panic!("`FLOCKER_SEED={seed}`: the model and the real backend differ\n{shorter}");
            }
        }
    }
    done
}

/// Carries a sequence out on volumes of its own. Answers the story of one that failed, and how many steps it took.
async fn attempt(
    real: &mut dyn Real,
    seed: u64,
    sequence: &[u64],
) -> Result<Done, (String, usize)> {
    let mut run = Run::new(real, seed);
    for (number, n_steps) in sequence.iter().zip(1..) {
        if let Err(difference) = run.step(*number).await {
            let story = run.story(&difference);
            run.clear().await;
            return Err((story, n_steps));
        }
    }
    let end = run.compare_everything().await;
    let (done, story) = (run.done, end.as_ref().err().map(|difference| run.story(difference)));
    run.clear().await;
    story.map_or(Ok(done), |story| Err((story, sequence.len())))
}

/// Leaves out what is not needed to fail. Answers the story of the shortest; `None` when it fails no more.
async fn shorten(real: &mut dyn Real, seed: u64, mut sequence: Vec<u64>) -> Option<String> {
    let began = Instant::now();
    let (mut story, mut size) = (None, sequence.len() / 2);
    while size > 0 && began.elapsed() < PATIENCE {
        let mut at = 0;
        while at < sequence.len() && began.elapsed() < PATIENCE {
            let mut fewer = sequence.clone();
            fewer.drain(at..(at + size).min(sequence.len()));
            match attempt(real, seed, &fewer).await {
                Err((shorter, n_steps)) => {
                    fewer.truncate(n_steps);
                    (sequence, story) = (fewer, Some(shorter));
                }
                Ok(_) => at += size,
            }
        }
        size /= 2;
    }
    story
}
