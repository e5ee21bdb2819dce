//! Which nodes are to have replicas, where an operator only said how many.

use std::collections::{BTreeMap, BTreeSet};

use flocker_model::{
    App, AppName, AppRecord, AppState, ByteSize, CpuMillis, NodeName, PlacementRules, Purpose,
    Timestamp, Volume, VolumeName,
};

use super::{Draw, World};
use crate::{BuiltIn, Policies, place, view::View};

/// The nodes that were chosen for a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The volume.
    pub volume: VolumeName,
    /// All of them, those of before included.
    pub nodes: BTreeSet<NodeName>,
}

/// What is to be chosen anew; nothing where everything is as it should be, or no node is left. A node that was chosen
/// stays chosen, also while it is away: what it holds is worth more than what another one would have to be sent. All
/// volumes of an app go to the same nodes, since only there it could run.
#[must_use]
pub fn choose(world: &World, policies: &dyn Policies, draw: Draw<'_>) -> Vec<Choice> {
    let mut groups: BTreeMap<_, Vec<&Volume>> = BTreeMap::new();
    for volume in world.volumes.iter().filter(|volume| volume.owner.is_some()) {
        let Some(wanted) = volume.replication.as_ref() else { continue };
        let alone = volume.app.is_none().then_some(&volume.name);
        let key = (&volume.app, alone, &wanted.named, wanted.copies);
        groups.entry(key).or_default().push(volume);
    }
    let mut choices = vec![];
    for ((app, _, named, copies), volumes) in groups {
        let chosen = volumes.iter().flat_map(|v| v.replication.iter().flat_map(|r| &r.chosen));
        let fits = |node: &&NodeName| {
            let owns = volumes.iter().any(|v| v.owner.as_ref() == Some(*node));
            world.nodes.contains_key(*node) && !owns && !named.contains(*node)
        };
        let mut nodes: BTreeSet<NodeName> = chosen.filter(fits).cloned().collect();
        while nodes.len() > copies as usize {
            nodes.pop_last();
        }
        let missing = (copies as usize).saturating_sub(nodes.len());
        if missing > 0 {
            let ranked = rank(world, app.as_ref(), &volumes, policies, draw);
            let free: Vec<_> = ranked
                .into_iter()
                .filter(|n| fits(&n) && !nodes.contains(n))
                .take(missing)
                .collect();
            nodes.extend(free);
        }
        for volume in volumes {
            if volume.replication.as_ref().is_some_and(|r| r.chosen != nodes) {
                choices.push(Choice { volume: volume.name.clone(), nodes: nodes.clone() });
            }
        }
    }
    choices
}

/// All nodes that could have it, the best first. A replica needs space and nothing else.
fn rank(
    world: &World,
    app: Option<&AppName>,
    volumes: &[&Volume],
    policies: &dyn Policies,
    draw: Draw<'_>,
) -> Vec<NodeName> {
    let (id, seed) = draw();
    let known = app.and_then(|name| world.apps.get(name));
    let lone;
    let (record, app) = match known {
        Some((record, app)) => (record, app),
        None => {
            let Some(made) = volumes.first().and_then(|volume| stand_in(volume)) else {
                return vec![];
            };
            lone = made;
            (&lone.0, &lone.1)
        }
    };
    let view = View::of(world);
    let mut question = view.question(world, record, app, Purpose::Create, id, seed);
    (question.memory, question.cpu) = (ByteSize(0), CpuMillis(0));
    question.size = volumes.iter().map(|volume| volume.size).sum();
    // Where the app itself may not be, its replica would be of no use.
    let rules = PlacementRules { pinned: false, ..app.placement.clone() };
    let decision = place(&view.cluster, &rules, question, policies, &BuiltIn);
    decision.candidates.into_iter().filter(|c| c.score.is_some()).map(|c| c.node).collect()
}

/// A volume of nobody is asked about like an app of that name.
fn stand_in(volume: &Volume) -> Option<(AppRecord, App)> {
    let name = volume.name.as_str().replace('.', "-");
    let name = AppName::new(name.get(..40).unwrap_or(&name)).ok()?;
    let record = AppRecord {
        name: name.clone(),
        manifest: String::new(),
        owner: volume.owner.clone(),
        epoch: volume.epoch,
        state: AppState::Deployed,
        operation: None,
        placed: Timestamp(0),
    };
    let placement = PlacementRules::default();
    Some((record, App { name, containers: vec![], volumes: vec![], services: vec![], placement }))
}
