//! Moves that nobody needs and somebody would like: for the balance of the whole, as a rebalance policy proposes them,
//! or app by app, as the placement policies like other nodes better. One at a time.

use flocker_model::{AppName, OperationKind, Purpose};

use super::{Action, Context, Draw, Plan, Settings, World};
use crate::{
    DecidedBy, Policies, ProposedMove, RebalanceQuestion,
    rebalance::{self, Rebalancing},
    view::View,
};

/// Begins the move that is worth most among those of the apps that may move, if any is.
pub(super) fn improve(
    world: &World,
    settings: &Settings,
    view: &View,
    movable: &[&AppName],
    policies: &dyn Policies,
    draw: Draw<'_>,
    plan: &mut Plan,
) {
    if movable.is_empty() {
        return;
    }
    let context = |name: &AppName| {
        let (record, app) = world.apps.get(name)?;
        Some(Context { world, settings, view, policies, record, app })
    };
    let proposals = propose(settings, view, movable, policies, draw);
    if !proposals.answered {
        for context in movable.iter().filter_map(|name| context(name)) {
            let Some(current) = &context.record.owner else { continue };
            let (id, seed) = draw();
            if context.relocate(id, seed, current, Purpose::Rebalance, plan) > 0 {
                return;
            }
        }
        return;
    }
    for (policy, proposed) in &proposals.moves {
        let Some(row) = view.cluster.apps.get(proposed.app as usize) else { continue };
        let Some(context) = context(&row.name) else { continue };
        if let Some(action) = context.follow(policy, proposed, &proposals, draw) {
            plan.actions.push(action);
            return;
        }
    }
}

fn propose(
    settings: &Settings,
    view: &View,
    movable: &[&AppName],
    policies: &dyn Policies,
    draw: Draw<'_>,
) -> Rebalancing {
    let (decision, seed) = draw();
    let rows = (0..).zip(&view.cluster.apps).filter(|(_, app)| movable.contains(&&app.name));
    let question = RebalanceQuestion {
        decision,
        seed,
        movable: rows.map(|(row, _)| row).collect(),
        moves_max: u32::try_from(settings.moves_max).unwrap_or(u32::MAX),
    };
    let answers = policies.rebalance(&view.cluster, &question);
    rebalance::decide(&view.cluster, &question, answers)
}

impl Context<'_> {
    /// A proposed move, unless a hard rule or a placement policy refuses the target, or the app is there already.
    fn follow(
        &self,
        policy: &str,
        proposed: &ProposedMove,
        proposals: &Rebalancing,
        draw: Draw<'_>,
    ) -> Option<Action> {
        let source = self.record.owner.clone()?;
        let target = self.view.cluster.nodes.get(proposed.target as usize)?.name.clone();
        let (id, seed) = draw();
        let mut decision = self.decide(id.clone(), seed, Purpose::Rebalance);
        if rebalance::objection(&source, &target, &decision).is_some() {
            return None;
        }
        let candidate = decision.candidates.iter_mut().find(|c| c.node == target)?;
        candidate.reasons.push(format!("{policy} proposes it: {}", proposed.reason));
        decision.chosen = Some(target.clone());
        decision.decided_by = DecidedBy::Rebalance;
        decision.consulted.extend(proposals.consultation.consulted.iter().cloned());
        decision.failures.extend(proposals.consultation.failures.iter().cloned());
        let kind = OperationKind::Move { source, target, epoch: self.record.epoch };
        let (app, purpose) = (self.record.name.clone(), Purpose::Rebalance);
        Some(Action::Begin { id, app, kind, purpose, decision: Box::new(decision) })
    }
}
