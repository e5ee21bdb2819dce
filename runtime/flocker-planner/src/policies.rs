//! What the core asks policies, and what they may answer. An answer is advice: the core checks it before it acts.

use std::{collections::BTreeMap, fmt};

use flocker_model::{
    AppName, ByteSize, Capacity, CpuMillis, Epoch, NodeName, OperationId, Purpose, Revision,
    Timestamp, VolumeName,
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
    /// One-minute load average, in thousandths.
    pub load_millis: u32,
    /// How many apps it holds, arriving ones included.
    pub apps: u32,
    /// How many volumes it owns.
    pub volumes: u32,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
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
}

/// A read-only copy of a volume.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplicaRow {
    /// Row of the volume.
    pub volume: u32,
    /// Row of the node that holds it.
    pub node: u32,
}

/// "Where should this app be?"
#[derive(Debug, Clone, PartialEq)]
pub struct PlacementQuestion {
    /// Names the decision, for explain and replay. The operation that follows from it has the same id.
    pub decision: OperationId,
    /// All randomness that a policy has.
    pub seed: u64,
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

/// Asked for every decision of policy. The plugin host implements it with plugins; the built-in policy natively.
pub trait Policies: Send + Sync + fmt::Debug {
    /// Every policy's answer, in the order in which they were configured; empty when there is no policy at all.
    fn place(&self, view: &ClusterView, question: &PlacementQuestion) -> Vec<PolicyAnswer>;
}

/// What one policy made of a question.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyAnswer {
    /// Its name and version, as people know it: `spread 0.1.0`.
    pub policy: String,
    /// What tells two builds of it apart; empty for a built-in one.
    pub digest: String,
    /// How much its scores count.
    pub weight: u32,
    /// The answer, or why there is none.
    pub answer: Result<Answer, PolicyFailure>,
    /// What the answer rests on and what it cost; empty for a built-in one.
    pub evidence: Evidence,
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

/// One node in a decision, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The node.
    pub node: NodeName,
    /// 0 to 10000; `None` when somebody refused it.
    pub score: Option<u32>,
    /// Who said what about it.
    pub reasons: Vec<String>,
}
