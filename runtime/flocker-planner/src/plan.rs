//! What the leader should start now, given everything it knows: the apps' wishes against what nodes say.
//!
//! Planning again right after a plan was carried out plans nothing. Whatever is not done is said, with the reason.

mod balance;
pub mod replicas;
pub mod silence;
pub mod snapshots;
mod upkeep;

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use flocker_model::{
    App, AppName, AppRecord, AppState, Epoch, Leftover, MoveReport, Node, NodeName, NodeStats,
    Operation, OperationId, OperationKind, OperationState, Phase, Point, Purpose, Revision,
    Timestamp, Volume, VolumeId, VolumeState,
};

use self::snapshots::Taken;
use crate::{BuiltIn, DecidedBy, Decision, Policies, place, view::View, worth_moving};

/// Everything that is known at one moment.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// When.
    pub now: Timestamp,
    /// The revision of the cluster's records.
    pub revision: Revision,
    /// The nodes, and what they said.
    pub nodes: BTreeMap<NodeName, NodeSeen>,
    /// The apps, with their manifests read.
    pub apps: BTreeMap<AppName, (AppRecord, App)>,
    /// When each app's record last changed, also of those whose manifest cannot be read: what a node said before that
    /// says nothing about it.
    pub changed: BTreeMap<AppName, Revision>,
    /// The volumes.
    pub volumes: Vec<Volume>,
    /// The snapshots by schedule of volumes that have any, as far as it is known.
    pub snapshots: BTreeMap<VolumeId, Taken>,
    /// What nodes may still have that no record names any more.
    pub leftovers: Vec<Leftover>,
    /// The operations that have not ended.
    pub operations: BTreeMap<OperationId, Operation>,
    /// The apps whose last move was undone: when, and why.
    pub setbacks: BTreeMap<AppName, (Timestamp, String)>,
}

/// A node, and what it said last.
#[derive(Debug, Clone)]
pub struct NodeSeen {
    /// Its record.
    pub node: Node,
    /// Whether it answered lately.
    pub alive: bool,
    /// The revision of the records when it was asked.
    pub asked: Revision,
    /// What it said of itself.
    pub stats: NodeStats,
    /// Its volumes; `None`: unknown.
    pub volumes: Option<Vec<VolumeState>>,
    /// When somebody last wrote to its live volumes, by the leader's clock, as far as the node can tell.
    pub written: BTreeMap<VolumeId, Timestamp>,
    /// The apps of which it holds containers or an order; `None`: unknown.
    pub apps: Option<Vec<AppSeen>>,
}

/// An app on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppSeen {
    /// The app.
    pub name: AppName,
    /// The epoch under which the node holds it.
    pub epoch: Epoch,
    /// Whether the node keeps it running.
    pub kept: bool,
}

/// A move that was undone is not begun again by itself before this time: what stood in its way is rarely gone sooner, and
/// each attempt costs.
const SETBACK_PAUSE: Duration = Duration::from_secs(60);

/// Limits on what is started.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Moves at a time in the whole cluster, of those that nobody asked for by name. Each takes disk and network from
    /// the apps that run.
    pub moves_max: usize,
    /// A policy may move an app again after this time at the earliest.
    pub cooldown: Duration,
    /// How many points of 10000 another node must be better.
    pub threshold: u32,
    /// Snapshots by schedule that a volume may have; at so many, none is taken until policies let some go. Storage grows
    /// slow with thousands, and a schedule that keeps everything would fill the disk that the volumes are on. A day of
    /// quarters of an hour, a month of days and a decade of months are 247.
    pub snapshots_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            moves_max: 2,
            cooldown: Duration::from_secs(300),
            threshold: 2000,
            snapshots_max: 500,
        }
    }
}

/// What is to be done, and what is not, and why.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// To be started.
    pub actions: Vec<Action>,
    /// What an operator would wonder about.
    pub notes: Vec<Note>,
}

/// Something to be started.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Begin an operation.
    Begin {
        id: OperationId,
        app: AppName,
        kind: OperationKind,
        purpose: Purpose,
        decision: Box<Decision>,
    },
    /// Tell a node to remove containers of an app that is elsewhere, or nowhere. Never touches volumes.
    Discard { node: NodeName, app: AppName, epoch: Epoch },
    /// Tell a node that an app moved away from while it was silent: its sealed copies become replicas at these points.
    Retire { node: NodeName, app: AppName, epoch: Epoch, volumes: Vec<(VolumeId, Epoch, Point)> },
    /// Tell a node to run an app that the records place there and that it knows nothing of: it lost its journal.
    Start { node: NodeName, app: AppName },
    /// Tell a node to remove what no record names any more.
    Clear { leftover: Leftover },
    /// Forget what was left on a node that is no longer one of the cluster: nobody will ever reach it.
    Forget { leftover: Leftover },
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    /// The app.
    pub app: AppName,
    /// For people.
    pub text: String,
    /// What was decided, where somebody was asked.
    pub decision: Option<Box<Decision>>,
}

/// Draws ids and seeds for decisions; the only randomness there is.
pub type Draw<'a> = &'a mut dyn FnMut() -> (OperationId, u64);

/// What is to be done. `rebalance` says whether policies are to be asked about apps that are well where they are.
#[must_use]
pub fn plan(
    world: &World,
    settings: &Settings,
    rebalance: bool,
    policies: &dyn Policies,
    draw: Draw<'_>,
) -> Plan {
    let mut plan = Plan::default();
    // What is begun here counts for what is decided next.
    let mut expected = Cow::Borrowed(world);
    let mut view = View::of(world);
    let mut moves = world
        .operations
        .values()
        .filter(|o| busy(o) && matches!(o.kind, OperationKind::Move { .. }))
        .count();
    let mut movable = Vec::new();
    for (record, app) in world.apps.values() {
        let (id, seed) = draw();
        let begun = plan.actions.len();
        let context = Context { world: &expected, settings, view: &view, policies, record, app };
        match context.situation(rebalance) {
            Situation::Settled | Situation::Busy => {}
            Situation::SetBack(reason) => {
                let text =
                    format!("its last move was undone and is tried again in a while: {reason}");
                plan.notes.push(context.note(text));
            }
            Situation::Homeless => context.settle(id, seed, &mut plan),
            Situation::Leaving(_) if moves >= settings.moves_max => {}
            Situation::Leaving(current) => {
                moves += context.relocate(id, seed, current, Purpose::Drain, &mut plan)
            }
            Situation::MayMove => movable.push(&record.name),
        }
        if let Some(action) = plan.actions.get(begun) {
            expect(expected.to_mut(), action);
            view = View::of(&expected);
        }
    }
    // Only when all is quiet: the next answer should see what the operations of now have changed.
    if !expected.operations.values().any(busy) {
        balance::improve(&expected, settings, &view, &movable, policies, draw, &mut plan);
    }
    upkeep::check(world, &mut plan);
    plan
}

/// Whether it takes disk and network now. One that waits for a node that is gone must not keep all others waiting.
fn busy(operation: &Operation) -> bool {
    match operation.state {
        OperationState::Running => true,
        OperationState::Waiting { .. }
        | OperationState::Done
        | OperationState::Aborted { .. }
        | OperationState::Failed { .. } => false,
    }
}

/// The world as it will be known once the action has begun.
fn expect(world: &mut World, action: &Action) {
    let Action::Begin { id, app, kind, purpose, .. } = action else { return };
    let operation = Operation {
        id: id.clone(),
        app: app.clone(),
        kind: kind.clone(),
        purpose: *purpose,
        state: OperationState::Running,
        phase: Phase::Planned,
        undoing: None,
        trouble: None,
        started: world.now,
        finished: None,
        parked: None,
        report: MoveReport::default(),
    };
    world.operations.insert(id.clone(), operation);
    if let Some((record, _)) = world.apps.get_mut(app) {
        record.operation = Some(id.clone());
    }
}

/// How an app stands, as far as placement goes.
enum Situation<'a> {
    /// Nothing is to be done.
    Settled,
    /// An operation holds it.
    Busy,
    /// It has no node yet.
    Homeless,
    /// Its node is to be emptied, and moving it has just failed.
    SetBack(&'a str),
    /// Its node is to be emptied.
    Leaving(&'a NodeName),
    /// A policy may find a better place.
    MayMove,
}

struct Context<'a> {
    world: &'a World,
    settings: &'a Settings,
    view: &'a View,
    policies: &'a dyn Policies,
    record: &'a AppRecord,
    app: &'a App,
}

impl<'a> Context<'a> {
    fn situation(&self, rebalance: bool) -> Situation<'a> {
        // Also by one whose record did not come through yet, or cannot be read: its end would have cleared the name.
        let held = self.record.operation.is_some();
        match (self.record.state, &self.record.owner) {
            (AppState::Removing, _) => Situation::Busy,
            (AppState::Deployed, _) if held => Situation::Busy,
            (AppState::Deployed, None) => Situation::Homeless,
            (AppState::Deployed, Some(owner)) => {
                let Some(seen) = self.world.nodes.get(owner) else { return Situation::Settled };
                let rested = self.world.now.since(self.record.placed) >= self.settings.cooldown;
                if !seen.alive {
                    // Moving needs its data; bringing it back without is a failover, which only an operator may ask for.
                    Situation::Settled
                } else if let Some(reason) = self.setback() {
                    if seen.node.draining { Situation::SetBack(reason) } else { Situation::Settled }
                } else if seen.node.draining {
                    Situation::Leaving(owner)
                } else if rebalance && rested && !self.app.placement.pinned {
                    Situation::MayMove
                } else {
                    Situation::Settled
                }
            }
        }
    }

    /// Why its last move was undone, while that is too fresh to try again.
    fn setback(&self) -> Option<&'a str> {
        let (at, reason) = self.world.setbacks.get(&self.record.name)?;
        (self.world.now.since(*at) < SETBACK_PAUSE).then_some(reason.as_str())
    }

    fn decide(&self, id: OperationId, seed: u64, purpose: Purpose) -> Decision {
        let question = self.view.question(self.world, self.record, self.app, purpose, id, seed);
        let mut rules = self.app.placement.clone();
        // An app that adopts volumes with data starts where the data is; it can be moved from there.
        if purpose == Purpose::Create
            && let Some(owner) = self.data_owners().first()
        {
            rules.nodes = vec![(*owner).clone()];
        }
        place(&self.view.cluster, &rules, question, self.policies, &BuiltIn)
    }

    /// The nodes that own volumes of the app.
    fn data_owners(&self) -> Vec<&'a NodeName> {
        let mine = |v: &&Volume| self.app.volumes.iter().any(|spec| *spec.name() == v.name);
        let mut owners: Vec<_> =
            self.world.volumes.iter().filter(mine).filter_map(|v| v.owner.as_ref()).collect();
        owners.sort_unstable();
        owners.dedup();
        owners
    }

    fn settle(&self, id: OperationId, seed: u64, plan: &mut Plan) {
        if let [one, other, ..] = self.data_owners()[..] {
            let text =
                format!("its volumes are on different nodes, `{one}` and `{other}` among them");
            return plan.notes.push(self.note(text));
        }
        let decision = self.decide(id.clone(), seed, Purpose::Create);
        match &decision.chosen {
            None => plan.notes.push(self.undecided(decision)),
            Some(target) => plan.actions.push(Action::Begin {
                id,
                app: self.record.name.clone(),
                kind: OperationKind::Deploy { target: target.clone(), tried: vec![] },
                purpose: Purpose::Create,
                decision: Box::new(decision),
            }),
        }
    }

    /// Returns how many moves it began: one or none.
    fn relocate(
        &self,
        id: OperationId,
        seed: u64,
        current: &NodeName,
        purpose: Purpose,
        plan: &mut Plan,
    ) -> usize {
        let decision = self.decide(id.clone(), seed, purpose);
        let target = match purpose {
            Purpose::Rebalance => worth_moving(&decision, current, self.settings.threshold),
            Purpose::Operator | Purpose::Create | Purpose::Drain => decision.chosen.as_ref(),
        };
        let Some(target) = target.filter(|t| *t != current).cloned() else {
            if purpose == Purpose::Drain {
                plan.notes.push(self.undecided(decision));
            }
            return 0;
        };
        let kind =
            OperationKind::Move { source: current.clone(), target, epoch: self.record.epoch };
        let app = self.record.name.clone();
        plan.actions.push(Action::Begin { id, app, kind, purpose, decision: Box::new(decision) });
        1
    }

    fn note(&self, text: String) -> Note {
        Note { app: self.record.name.clone(), text, decision: None }
    }

    /// Nothing is done, as no node was found.
    fn undecided(&self, decision: Decision) -> Note {
        let text = decision.why_none().unwrap_or_else(|| "no node was chosen".to_owned());
        Note { decision: Some(Box::new(decision)), ..self.note(text) }
    }
}

/// An operator's move: to the node that was named, or to the best one but the present.
#[must_use]
pub fn elsewhere(
    world: &World,
    record: &AppRecord,
    app: &App,
    named: Option<NodeName>,
    policies: &dyn Policies,
    id: OperationId,
    seed: u64,
) -> Decision {
    let view = View::of(world);
    let question = view.question(world, record, app, Purpose::Operator, id, seed);
    let mut decision = place(&view.cluster, &app.placement, question, policies, &BuiltIn);
    let other = |c: &&crate::Candidate| c.score.is_some() && record.owner.as_ref() != Some(&c.node);
    if named.is_some() {
        decision.decided_by = DecidedBy::Operator;
    }
    decision.chosen =
        named.or_else(|| decision.candidates.iter().find(other).map(|c| c.node.clone()));
    decision
}

/// Where a deployment that was not possible on the nodes `tried` is tried next.
#[must_use]
pub fn again(
    world: &World,
    record: &AppRecord,
    app: &App,
    tried: &[NodeName],
    policies: &dyn Policies,
    id: OperationId,
    seed: u64,
) -> Decision {
    let mut world = world.clone();
    world.nodes.retain(|name, _| !tried.contains(name));
    let (view, settings) = (&View::of(&world), &Settings::default());
    let context = Context { world: &world, settings, view, policies, record, app };
    context.decide(id, seed, Purpose::Create)
}

#[cfg(test)]
mod tests;
