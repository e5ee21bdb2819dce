//! Which nodes are to have replicas, where an operator only said how many.

use std::collections::{BTreeMap, BTreeSet};

use flocker_model::{
    App, AppName, AppRecord, AppState, ByteSize, CpuMillis, NodeName, PlacementRules, Purpose,
    Timestamp, Volume, VolumeName,
};

use super::{Draw, World};
use crate::{BuiltIn, Placed, Policies, place, view::View};

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
        let fits = |node: &NodeName| {
            let owns = volumes.iter().any(|v| v.owner.as_ref() == Some(node));
            world.nodes.contains_key(node) && !owns && !named.contains(node)
        };
        let mut nodes: BTreeSet<NodeName> = chosen.filter(|node| fits(node)).cloned().collect();
        while nodes.len() > copies as usize {
            nodes.pop_last();
        }
        let missing = (copies as usize).saturating_sub(nodes.len());
        if missing > 0 {
            let taken = |node: &NodeName| !fits(node) || nodes.contains(node);
            let ranked = rank(world, app.as_ref(), &volumes, taken, policies, draw);
            nodes.extend(ranked.into_iter().take(missing));
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
    taken: impl Fn(&NodeName) -> bool,
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
    question.what = Placed::Replica;
    (question.memory, question.cpu) = (ByteSize(0), CpuMillis(0));
    // Also of a volume that no app uses: only storage of the same kind can take it.
    let row = |volume: &&Volume| world.volumes.iter().position(|known| known.id == volume.id);
    question.volumes =
        volumes.iter().filter_map(row).filter_map(|row| u32::try_from(row).ok()).collect();
    question.size = volumes.iter().map(|volume| volume.options.size).sum();
    // Where the app itself may not be, its replica would be of no use; where it is, there is one too many.
    let named = &app.placement.nodes;
    let may = |node: &&NodeName| !taken(node) && (named.is_empty() || named.contains(*node));
    let nodes: Vec<_> = world.nodes.keys().filter(may).cloned().collect();
    if nodes.is_empty() {
        return vec![];
    }
    let rules = PlacementRules { pinned: false, nodes, ..app.placement.clone() };
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

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    use flocker_model::{
        Capacity, Epoch, Node, NodeStats, OperationId, Rates, Replication, Revision, VolumeId,
    };

    use super::*;
    use crate::{Answer, ClusterView, PlacementQuestion, PolicyAnswer, plan::NodeSeen};

    /// Likes the last candidate best, and remembers what it was asked.
    #[derive(Debug, Default)]
    struct Last(Mutex<Vec<(Placed, usize)>>);

    impl Policies for Last {
        fn place(
            &self,
            _: &Arc<ClusterView>,
            question: &PlacementQuestion,
        ) -> Vec<PolicyAnswer<Answer>> {
            self.0.lock().unwrap().push((question.what, question.candidates.len()));
            let scores = (0..).map(|score| score * 100).take(question.candidates.len()).collect();
            vec![PolicyAnswer::built_in(Answer { scores, ..Answer::default() })]
        }
    }

    fn name(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    fn seen(node: &str) -> NodeSeen {
        let at = "10.0.0.1:1".parse().unwrap();
        let pool = Capacity { total: ByteSize::gib(10), free: ByteSize::gib(10) };
        NodeSeen {
            node: Node {
                name: name(node),
                api: at,
                mesh: at,
                replication: at,
                labels: BTreeMap::new(),
                configured: BTreeSet::new(),
                draining: false,
                identity: node.to_owned(),
                stream_key: None,
            },
            alive: true,
            asked: Revision(0),
            stats: NodeStats { pool, ..NodeStats::default() },
            volumes: None,
            written: BTreeMap::new(),
            apps: None,
        }
    }

    fn world(copies: u32, chosen: &[&str]) -> World {
        let replication = Replication {
            named: BTreeSet::from([name("n2")]),
            copies,
            chosen: chosen.iter().map(|node| name(node)).collect(),
            every: Duration::from_secs(10),
            rates: Rates::default(),
        };
        let volume = Volume {
            id: VolumeId::new("v").unwrap(),
            name: VolumeName::new("photos.2026").unwrap(),
            app: None,
            owner: Some(name("n1")),
            epoch: Epoch(1),
            options: ByteSize::gib(1).into(),
            ownership: None,
            replicas: vec![],
            replication: Some(replication),
        };
        let nodes = ["n1", "n2", "n3", "n4"].map(|node| (name(node), seen(node)));
        World { nodes: nodes.into(), volumes: vec![volume], ..World::default() }
    }

    fn chosen(world: &World, policies: &Last) -> Option<Vec<String>> {
        let mut draw = || (OperationId::new("o").unwrap(), 7);
        let choice = choose(world, policies, &mut draw).pop()?;
        Some(choice.nodes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn policies_are_asked_about_nodes_that_could_have_it_and_no_others() {
        let policies = Last::default();

        assert_eq!(chosen(&world(1, &[]), &policies), Some(vec!["n4".to_owned()]));

        assert_eq!(*policies.0.lock().unwrap(), [(Placed::Replica, 2)]);
    }

    #[test]
    fn what_was_chosen_stays_chosen() {
        let policies = Last::default();
        assert_eq!(chosen(&world(1, &["n3"]), &policies), None);
        let more = chosen(&world(2, &["n3"]), &policies);
        assert_eq!(more, Some(vec!["n3".to_owned(), "n4".to_owned()]));
        assert_eq!(chosen(&world(1, &["n3", "n4"]), &policies), Some(vec!["n3".to_owned()]));
        // The owner's place, one that was named since, and a node that is gone.
        let other = chosen(&world(1, &["n1", "n2", "n9"]), &policies);
        assert_eq!(other, Some(vec!["n4".to_owned()]));
    }

    #[test]
    fn storage_of_another_kind_is_no_place_for_a_replica() {
        let mut world = world(2, &[]);
        for seen in world.nodes.values_mut() {
            let kind = if seen.node.name == name("n4") { "zfs" } else { "btrfs" };
            seen.stats.streams = kind.to_owned();
        }
        assert_eq!(chosen(&world, &Last::default()), Some(vec!["n3".to_owned()]));
    }

    #[test]
    fn fewer_than_wanted_are_better_than_none() {
        let all = chosen(&world(5, &[]), &Last::default());
        assert_eq!(all, Some(vec!["n3".to_owned(), "n4".to_owned()]));
    }
}
