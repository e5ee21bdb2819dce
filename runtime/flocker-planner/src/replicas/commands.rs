//! What the keeper of replicas says and is told.

use std::sync::Arc;

use flocker_model::{NodeName, Point, SnapshotTag, Timestamp, Volume, VolumeId, VolumeName};

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// For which group; to be repeated in the event.
    pub group: GroupId,
    /// What.
    pub what: What,
}

/// A group, from when its volumes became this node's until they change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupId {
    pub(super) name: VolumeName,
    pub(super) generation: u64,
}

/// What is to be done about a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// List a volume's snapshots here: [`News::Listed`].
    List { volume: Arc<Volume> },
    /// Take a snapshot of all of these volumes, unless nothing that was written since the last one reached the disk:
    /// [`News::Taken`].
    Take { volumes: Vec<Arc<Volume>>, tag: SnapshotTag, unless_idle_since: Option<Last> },
    /// List a volume's snapshots on the receiver: [`News::Held`].
    Ask { volume: Arc<Volume>, receiver: NodeName },
    /// Send a snapshot: [`News::Sent`].
    Send { volume: Arc<Volume>, receiver: NodeName, base: Option<Point>, to: Point },
    /// Remove snapshots, here or on a receiver: [`News::Removed`].
    Remove { volume: Arc<Volume>, on: Option<NodeName>, which: Vec<Point> },
}

/// The last snapshot that was taken of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    /// Its name.
    pub tag: SnapshotTag,
    /// When it was taken, by this node's clock.
    pub at: Timestamp,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The group of the command.
    pub group: GroupId,
    /// What happened.
    pub news: News,
}

/// What happened to a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A volume's snapshots here, oldest first, behind those that increments can be sent from although they are gone.
    Listed { volume: VolumeId, points: Result<Vec<Point>, String> },
    /// The snapshots, one of each volume; `None`: nothing was written since the last, and none was taken.
    Taken { points: Result<Option<Vec<(VolumeId, Point)>>, String> },
    /// A volume's snapshots on a receiver, oldest first.
    Held { volume: VolumeId, receiver: NodeName, points: Result<Vec<Point>, Failure> },
    /// It arrived, or not.
    Sent { volume: VolumeId, receiver: NodeName, to: Point, result: Result<(), Failure> },
    /// They are gone, or not.
    Removed {
        volume: VolumeId,
        on: Option<NodeName>,
        which: Vec<Point>,
        result: Result<(), Failure>,
    },
}

/// Why something did not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The receiver does not answer, or the answer was lost.
    Away(String),
    /// The receiver said no.
    Refused(String),
    /// It failed on this side.
    Here(String),
}

/// How a copy on a receiver stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The volume.
    pub volume: VolumeId,
    /// The receiver.
    pub receiver: NodeName,
    /// The newest snapshot that it is known to hold.
    pub at: Option<Point>,
    /// Up to when it holds everything that was written, by this node's clock.
    pub until: Option<Timestamp>,
    /// What keeps it from being up to date.
    pub trouble: Option<String>,
}

impl What {
    /// What is to be said of it where it is not known whether it had an effect: no answer came, or nobody waited for one.
    #[must_use]
    pub fn unanswered(&self, reason: &str) -> News {
        let (reason, away) = (reason.to_owned(), Failure::Away(reason.to_owned()));
        match self {
            Self::List { volume } => {
                News::Listed { volume: volume.id.clone(), points: Err(reason) }
            }
            Self::Take { .. } => News::Taken { points: Err(reason) },
            Self::Ask { volume, receiver } => {
                let (volume, receiver) = (volume.id.clone(), receiver.clone());
                News::Held { volume, receiver, points: Err(away) }
            }
            Self::Send { volume, receiver, to, .. } => {
                let (volume, receiver) = (volume.id.clone(), receiver.clone());
                News::Sent { volume, receiver, to: to.clone(), result: Err(away) }
            }
            Self::Remove { volume, on, which } => {
                let (volume, on) = (volume.id.clone(), on.clone());
                News::Removed { volume, on, which: which.clone(), result: Err(away) }
            }
        }
    }
}
