//! A node that stays silent, and what policies would do about the volumes that it owns: asked, told, and never done. What
//! a silent node may still write is lost by whoever promotes another copy, and nothing here can make certain that it
//! writes no more.

use std::time::Duration;

use flocker_model::{AppName, NodeName, OperationId, Timestamp, VolumeName};

use super::{Draw, World};
use crate::{
    Course, Incident, Policies,
    failover::{self, Ruling},
    policies::Failed,
    view::View,
};

/// Fencing is what would make certain that the node does not write. There is none yet.
const FENCED: bool = false;

/// The leader alone says that the node is silent.
const VOTES: u32 = 1;

/// Policies are asked again after this time at the latest: what they would do changes with the other nodes, and with the
/// policies themselves.
const ASK_AGAIN_MAX: Duration = Duration::from_mins(1);

/// Policies are asked this often at the most, whatever they wish.
const ASK_AGAIN_MIN: Duration = Duration::from_secs(1);

/// What was decided about the volumes of a silent node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// The node.
    pub node: NodeName,
    /// When it was heard last.
    pub since: Timestamp,
    /// Names the decision, in the records of what policies were asked.
    pub decision: OperationId,
    /// When it was made.
    pub decided: Timestamp,
    /// How many nodes said that it is silent.
    pub votes: u32,
    /// How many would have to.
    pub quorum: u32,
    /// The volumes that it owns, by name.
    pub fates: Vec<Fate>,
    /// Policies whose answers could not be used.
    pub failures: Vec<Failed>,
}

/// What was decided about one volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// The volume.
    pub volume: VolumeName,
    /// The app that uses it.
    pub app: Option<AppName>,
    /// What is done.
    pub course: Course<NodeName>,
    /// Why that is less than the policies want, where it is.
    pub held_back: Option<String>,
    /// Who said what, the most careful first; last those in shadow, to whom nobody listens.
    pub opinions: Vec<Opinion>,
}

/// What one policy said about one volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opinion {
    /// Its name and version.
    pub policy: String,
    /// Nobody acted on it.
    pub shadow: bool,
    /// What it would do.
    pub course: Course<NodeName>,
    /// For people.
    pub reason: String,
}

/// What is decided of one volume, without words and moments.
type Gist<'a> = (&'a VolumeName, Option<&'a AppName>, Course<&'a NodeName>, bool, Vec<Said<'a>>);
/// What one policy says, without words and moments.
type Said<'a> = (&'a str, bool, Course<&'a NodeName>);

impl Silence {
    /// Whether it is about volumes of the app.
    #[must_use]
    pub fn concerns(&self, app: &AppName) -> bool {
        self.fates.iter().any(|fate| fate.app.as_ref() == Some(app))
    }

    /// Whether it says the same as another one, but for words and moments: policies like to count seconds aloud.
    #[must_use]
    pub fn rules_like(&self, other: &Self) -> bool {
        let failures = |silence: &Self| -> Vec<(String, String)> {
            let class = |f: &Failed| (f.policy.clone(), f.failure.class.clone());
            silence.failures.iter().map(class).collect()
        };
        let gists = self.fates.iter().map(Fate::gist).eq(other.fates.iter().map(Fate::gist));
        gists && failures(self) == failures(other)
    }
}

impl Fate {
    fn gist(&self) -> Gist<'_> {
        let said = self.opinions.iter().map(|o| (o.policy.as_str(), o.shadow, kind(&o.course)));
        let held_back = self.held_back.is_some();
        (&self.volume, self.app.as_ref(), kind(&self.course), held_back, said.collect())
    }
}

/// A course without how long.
fn kind(course: &Course<NodeName>) -> Course<&NodeName> {
    match course {
        Course::Promote { replica } => Course::Promote { replica },
        Course::Wait { .. } => Course::Wait { again: Duration::ZERO },
        Course::Freeze => Course::Freeze,
    }
}

/// Asks what is to be done about the volumes of a node that is silent since a moment, and when to ask again; `None` when
/// it owns none.
#[must_use]
pub fn ask(
    world: &World,
    node: &NodeName,
    since: Timestamp,
    policies: &dyn Policies,
    draw: Draw<'_>,
) -> Option<(Silence, Duration)> {
    let view = View::of(world);
    let row = u32::try_from(world.nodes.keys().position(|name| name == node)?).ok()?;
    let owned = (0..).zip(&view.cluster.volumes).filter(|(_, volume)| volume.node == Some(row));
    let volumes: Vec<u32> = owned.map(|(row, _)| row).collect();
    if volumes.is_empty() {
        return None;
    }
    let (decision, seed) = draw();
    let silent = world.now.since(since);
    let quorum = u32::try_from(world.nodes.len() / 2 + 1).unwrap_or(u32::MAX);
    let (fenced, votes) = (FENCED, VOTES);
    let incident = Incident { decision, seed, node: row, silent, fenced, votes, quorum, volumes };
    let answers = policies.fail_over(&view.cluster, &incident);
    let decided = failover::decide(&view.cluster, &incident, answers);
    let again = ask_again(&decided.rulings);
    let fates = decided.rulings.into_iter().filter_map(|ruling| fate(world, &view, ruling));
    let silence = Silence {
        node: node.clone(),
        since,
        decision: incident.decision,
        decided: world.now,
        votes,
        quorum,
        fates: fates.collect(),
        failures: decided.consultation.failures,
    };
    Some((silence, again))
}

/// What is held back is no wait of a policy's: it would not be asked anything new.
fn ask_again(rulings: &[Ruling]) -> Duration {
    let waits = rulings.iter().filter(|ruling| ruling.held_back.is_none());
    let waits = waits.filter_map(|ruling| match ruling.course {
        Course::Wait { again } => Some(again),
        Course::Promote { .. } | Course::Freeze => None,
    });
    waits.min().unwrap_or(ASK_AGAIN_MAX).clamp(ASK_AGAIN_MIN, ASK_AGAIN_MAX)
}

/// A ruling, by name.
fn fate(world: &World, view: &View, ruling: Ruling) -> Option<Fate> {
    let volume = world.volumes.get(ruling.volume as usize)?;
    let opinion = |said: failover::Said| {
        let course = named(view, said.verdict.course)?;
        let (policy, shadow, reason) = (said.policy, said.shadow, said.verdict.reason);
        Some(Opinion { policy, shadow, course, reason })
    };
    Some(Fate {
        volume: volume.name.clone(),
        app: volume.app.clone(),
        course: named(view, ruling.course)?,
        held_back: ruling.held_back,
        opinions: ruling.said.into_iter().filter_map(opinion).collect(),
    })
}

/// A course whose replica is called by its node. Rows were checked, so there is one.
fn named(view: &View, course: Course) -> Option<Course<NodeName>> {
    Some(match course {
        Course::Promote { replica } => {
            let holder = view.cluster.replicas.get(replica as usize)?.node;
            Course::Promote { replica: view.cluster.nodes.get(holder as usize)?.name.clone() }
        }
        Course::Wait { again } => Course::Wait { again },
        Course::Freeze => Course::Freeze,
    })
}
