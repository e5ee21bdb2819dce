//! What the core asks policies, and what they may answer. An answer is advice: the core checks it before it acts.

use std::{collections::BTreeMap, fmt, sync::Arc};

use flocker_model::{
    AppName, ByteSize, Capacity, CpuMillis, Epoch, NodeName, OperationId, Purpose, Revision,
    Timestamp, VolumeName,
};

use crate::{
    Droppable, Incident, ProposedMove, PruneQuestion, RebalanceQuestion, Schedule,
    ScheduleQuestion, Verdict,
};

/// The cluster at one moment, as every policy sees it. Rows are referred to by their position.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClusterView {
    /// Which state of the cluster this is.
    pub generation: Revision,
    /// When the decision is made.
    pub now: Timestamp,
    /// The nodes, by name.
    pub nodes: Vec<NodeRow>,
    /// The apps, by name.
    pub apps: Vec<AppRow>,
    /// The volumes, by name.
    pub volumes: Vec<VolumeRow>,
    /// Read-only copies of volumes.
    pub replicas: Vec<ReplicaRow>,
}

/// A node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeRow {
    /// Its name.
    pub name: NodeName,
    /// Whether it answered lately.
    pub alive: bool,
    /// Whether an operator wants it empty.
    pub draining: bool,
    /// Its memory, and what of it no app was promised.
    pub memory: Capacity,
    /// Its CPUs.
    pub cpu: CpuMillis,
    /// CPU that apps were promised.
    pub cpu_promised: CpuMillis,
    /// Memory that apps were promised.
    pub memory_promised: ByteSize,
    /// Its pool.
    pub pool: Capacity,
    /// The streams that its storage sends and takes; empty where that is not known.
    pub streams: String,
    /// One-minute load average, in thousandths.
    pub load_millis: u32,
    /// How many apps it holds, arriving ones included.
    pub apps: u32,
    /// How many volumes it owns.
    pub volumes: u32,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl NodeRow {
    /// A node that answers, and of which nothing else is known yet.
    #[must_use]
    pub fn new(name: NodeName) -> Self {
        Self {
            name,
            alive: true,
            draining: false,
            memory: Capacity::default(),
            cpu: CpuMillis::default(),
            cpu_promised: CpuMillis::default(),
            memory_promised: ByteSize::default(),
            pool: Capacity::default(),
            streams: String::new(),
            load_millis: 0,
            apps: 0,
            volumes: 0,
            labels: BTreeMap::new(),
        }
    }
}

/// An app.
#[derive(Debug, Clone, PartialEq)]
pub struct AppRow {
    /// Its name.
    pub name: AppName,
    /// Row of its node.
    pub node: Option<u32>,
    /// Its epoch.
    pub epoch: Epoch,
    /// Memory that it may use.
    pub memory: ByteSize,
    /// CPU that it may use.
    pub cpu: CpuMillis,
    /// Space that it may use.
    pub size: ByteSize,
    /// When it came to its node.
    pub placed: Timestamp,
    /// Labels of its containers, merged.
    pub labels: BTreeMap<String, String>,
}

/// A volume.
#[derive(Debug, Clone, PartialEq)]
pub struct VolumeRow {
    /// Its name.
    pub name: VolumeName,
    /// Row of its app.
    pub app: Option<u32>,
    /// Row of its owner.
    pub node: Option<u32>,
    /// The most that may be written to it.
    pub size: ByteSize,
    /// What is written to it.
    pub used: ByteSize,
    /// When somebody was last seen to write to it; `None`: not known.
    pub written: Option<Timestamp>,
    /// When its newest snapshot by schedule was taken; `None`: there is none, or it is not known.
    pub snapshot: Option<Timestamp>,
}

/// A read-only copy of a volume.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplicaRow {
    /// Row of the volume.
    pub volume: u32,
    /// Row of the node that holds it.
    pub node: u32,
    /// When the snapshot that it holds was taken; `None`: not known.
    pub taken: Option<Timestamp>,
}

/// "Where should this app be?"
#[derive(Debug, Clone, PartialEq)]
pub struct PlacementQuestion {
    /// Names the decision, for explain and replay. The operation that follows from it has the same id.
    pub decision: OperationId,
    /// All randomness that a policy has.
    pub seed: u64,
    /// What is to be placed.
    pub what: Placed,
    /// Why it is asked.
    pub purpose: Purpose,
    /// The app.
    pub name: AppName,
    /// Row of the app, where it exists already.
    pub app: Option<u32>,
    /// Rows of its volumes, where they exist already.
    pub volumes: Vec<u32>,
    /// Row of the node where it is now.
    pub current: Option<u32>,
    /// What it needs.
    pub size: ByteSize,
    /// What it needs.
    pub memory: ByteSize,
    /// What it needs.
    pub cpu: CpuMillis,
    /// Rows of nodes that already hold its data.
    pub holders: Vec<u32>,
    /// Labels of its containers, merged.
    pub labels: BTreeMap<String, String>,
    /// Rows of the nodes that the core allows, in ascending order.
    pub candidates: Vec<u32>,
}

/// What a place is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Placed {
    /// An app, with its data.
    #[default]
    App,
    /// A read-only copy of an app's data, which needs space and nothing else. The app itself is elsewhere.
    Replica,
}

impl fmt::Display for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::App => "app",
            Self::Replica => "replica",
        })
    }
}

/// Asked for every decision of policy. The plugin host implements it with plugins; the built-in policy natively.
///
/// Every method answers for every policy that has an opinion on such questions, in the order in which they were
/// configured; nothing where nobody has one.
pub trait Policies: Send + Sync + fmt::Debug {
    /// Where an app should be.
    fn place(
        &self,
        view: &Arc<ClusterView>,
        question: &PlacementQuestion,
    ) -> Vec<PolicyAnswer<Answer>>;

    /// Which apps had better be elsewhere.
    fn rebalance(
        &self,
        _: &Arc<ClusterView>,
        _: &RebalanceQuestion,
    ) -> Vec<PolicyAnswer<Vec<ProposedMove>>> {
        Vec::new()
    }

    /// What becomes of the volumes of a silent node.
    fn fail_over(&self, _: &Arc<ClusterView>, _: &Incident) -> Vec<PolicyAnswer<Vec<Verdict>>> {
        Vec::new()
    }

    /// What is to be snapshotted or backed up, and when.
    fn schedule(&self, _: &Arc<ClusterView>, _: &ScheduleQuestion) -> Vec<PolicyAnswer<Schedule>> {
        Vec::new()
    }

    /// Which copies may go.
    fn prune(&self, _: &Arc<ClusterView>, _: &PruneQuestion) -> Vec<PolicyAnswer<Vec<Droppable>>> {
        Vec::new()
    }
}

/// What one policy made of a question.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyAnswer<A> {
    /// Its name and version, as people know it: `spread 0.1.0`.
    pub policy: String,
    /// What tells two builds of it apart; empty for a built-in one.
    pub digest: String,
    /// How much it counts.
    pub weight: u32,
    /// It is only compared: nobody acts on it.
    pub shadow: bool,
    /// The answer, or why there is none.
    pub answer: Result<A, PolicyFailure>,
    /// What the answer rests on and what it cost; empty for a built-in one.
    pub evidence: Evidence,
}

impl<A> PolicyAnswer<A> {
    /// The answer of the policy that is always there.
    pub(crate) fn built_in(answer: A) -> Self {
        Self {
            policy: format!("built-in {}", env!("CARGO_PKG_VERSION")),
            digest: String::new(),
            weight: 1,
            shadow: false,
            answer: Ok(answer),
            evidence: Evidence::default(),
        }
    }
}

/// What an answer rests on and what it cost, for explain and replay.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evidence {
    /// The columns that the policy read, as `table/column`, in alphabetical order.
    pub columns: Vec<String>,
    /// Instructions that it executed, more or less.
    pub fuel: u64,
}

/// A policy's verdict, as it gave it: not yet checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// Parallel to the candidates: -1 refuses, 0 to 10000 says how good.
    pub scores: Vec<i32>,
    /// Why, for single candidates.
    pub reasons: Vec<Reason>,
    /// It would rather be asked again after so many milliseconds.
    pub ask_again_ms: Option<u32>,
}

/// Why a policy likes or refuses a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Row of the node.
    pub candidate: u32,
    /// A registered number (wit/codes.md).
    pub code: u32,
    /// For people.
    pub text: String,
}

/// Why a policy gave no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFailure {
    /// "trap", "fuel", "timeout", "memory", "invalid-answer", "refused", "quarantined".
    pub class: String,
    /// For people.
    pub message: String,
}

impl PolicyFailure {
    /// An answer that was given in time and makes no sense.
    pub(crate) fn invalid(message: String) -> Self {
        Self { class: "invalid-answer".into(), message }
    }
}

/// The answers that pass a check and count, with who gave them and how much; of the others, why they are left out.
pub(crate) fn sift<A>(
    answers: Vec<PolicyAnswer<A>>,
    check: impl Fn(&A) -> Result<(), PolicyFailure>,
) -> (Vec<(String, u32, A)>, Consultation) {
    let (mut usable, mut consultation) = (Vec::new(), Consultation::default());
    for PolicyAnswer { policy, digest, weight, shadow, answer, evidence } in answers {
        let asked = Consulted { policy: policy.clone(), digest, weight, shadow, evidence };
        consultation.consulted.push(asked);
        match answer.and_then(|a| check(&a).map(|()| a)) {
            // What is only tried out changes nothing, for better or worse.
            _ if shadow => {}
            Ok(answer) => usable.push((policy, weight, answer)),
            Err(failure) => consultation.failures.push(Failed { policy, failure }),
        }
    }
    (usable, consultation)
}

/// Who was asked, and who failed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Consultation {
    /// Everybody who was asked.
    pub consulted: Vec<Consulted>,
    /// Those whose answers could not be used.
    pub failures: Vec<Failed>,
}

/// A policy that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consulted {
    /// Its name and version.
    pub policy: String,
    /// Which build of it.
    pub digest: String,
    /// How much it counts.
    pub weight: u32,
    /// Nobody acted on what it said.
    pub shadow: bool,
    /// What it read and what that cost.
    pub evidence: Evidence,
}

/// A policy whose answer could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Its name and version.
    pub policy: String,
    /// What happened.
    pub failure: PolicyFailure,
}

/// One node in a decision, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The node.
    pub node: NodeName,
    /// 0 to 10000; `None` when somebody refused it.
    pub score: Option<u32>,
    /// Who said what about it.
    pub reasons: Vec<String>,
    /// What the score is made of.
    pub opinions: Vec<Opinion>,
}

/// What one policy gave to one candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opinion {
    /// Its name and version.
    pub policy: String,
    /// Its share in the score: so many parts of all weights together.
    pub weight: u32,
    /// 0 to 10000; `None` when it refused.
    pub score: Option<u32>,
}

/// What the tests of several hooks need.
#[cfg(test)]
pub(crate) mod samples {
    use super::*;

    /// Nodes by name, and volumes with the row of their owner.
    pub(crate) fn view(nodes: &[&str], volumes: &[(&str, u32)]) -> ClusterView {
        let node = |name: &&str| NodeRow::new(NodeName::new(*name).unwrap());
        let volume = |(name, node): &(&str, u32)| VolumeRow {
            name: VolumeName::new(*name).unwrap(),
            app: None,
            node: Some(*node),
            size: ByteSize(0),
            used: ByteSize(0),
            written: None,
            snapshot: None,
        };
        ClusterView {
            nodes: nodes.iter().map(node).collect(),
            volumes: volumes.iter().map(volume).collect(),
            ..ClusterView::default()
        }
    }

    pub(crate) fn replica(volume: u32, node: u32) -> ReplicaRow {
        ReplicaRow { volume, node, taken: None }
    }

    pub(crate) fn answer<A>(policy: &str, answer: Result<A, PolicyFailure>) -> PolicyAnswer<A> {
        let evidence = Evidence::default();
        let (policy, digest) = (policy.to_owned(), String::new());
        PolicyAnswer { policy, digest, weight: 1, shadow: false, answer, evidence }
    }
}
