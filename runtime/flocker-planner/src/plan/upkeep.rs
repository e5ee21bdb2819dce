//! Nodes against records: what a node still has of apps that are elsewhere or gone, and apps that it should run and does
//! not know. Absence is unknown: a node that did not say what it has is left alone, and so is what nobody wrote down as
//! removed.

use flocker_model::{
    App, AppRecord, AppState, Epoch, Left, Leftover, NodeName, Point, Role, Volume, VolumeId,
};

use super::{Action, NodeSeen, Note, Plan, World};

/// Adds to the plan what follows from comparing what nodes have with what the records say.
pub(super) fn check(world: &World, plan: &mut Plan) {
    // First: what is removed for good needs no other order.
    plan.actions.extend(world.leftovers.iter().filter_map(|leftover| cleared(world, leftover)));
    for (record, app) in world.apps.values() {
        // An app that an operation works with is that operation's.
        if record.operation.is_some() || record.state != AppState::Deployed {
            continue;
        }
        let Some(owner) = &record.owner else { continue };
        for (name, seen) in world.nodes.iter().filter(|(_, seen)| seen.alive) {
            if name == owner {
                unknown_to_owner(world, name, seen, (record, app), plan);
            } else {
                plan.actions.extend(elsewhere(world, name, seen, record));
            }
        }
    }
}

/// What a node still has of an app that is elsewhere, because it did not answer when that was tidied up.
fn elsewhere(
    world: &World,
    name: &NodeName,
    seen: &NodeSeen,
    record: &AppRecord,
) -> Option<Action> {
    let (node, app) = (name.clone(), record.name.clone());
    let volumes = sealed(world, name, seen, record);
    if !volumes.is_empty() {
        return Some(Action::Retire { node, app, epoch: record.epoch, volumes });
    }
    let held = seen.apps.iter().flatten().find(|held| held.name == record.name)?;
    Some(Action::Discard { node, app, epoch: record.epoch.max(held.epoch) })
}

/// The app's volumes that a node sealed when it gave them away, and at which snapshot.
fn sealed(
    world: &World,
    name: &NodeName,
    seen: &NodeSeen,
    record: &AppRecord,
) -> Vec<(VolumeId, Epoch, Point)> {
    let given_away = |volume: &Volume| {
        let copy = seen.volumes.iter().flatten().find(|v| v.id == volume.id)?;
        let at = volume.replicas.iter().find(|r| r.node == *name)?;
        let left = copy.role == Role::Sealed && copy.epoch < volume.epoch;
        left.then(|| (volume.id.clone(), volume.epoch, at.point()))
    };
    let of_app = world.volumes.iter().filter(|v| v.app.as_ref() == Some(&record.name));
    of_app.filter_map(given_away).collect()
}

/// An app that its node does not keep running is started there, if the node has all of its data: the node lost its
/// journal. What the node said before the app's record last changed says nothing about that.
fn unknown_to_owner(
    world: &World,
    name: &NodeName,
    seen: &NodeSeen,
    (record, app): (&AppRecord, &App),
    plan: &mut Plan,
) {
    let (Some(apps), Some(copies)) = (&seen.apps, &seen.volumes) else { return };
    let current = world.changed.get(&record.name).is_some_and(|changed| seen.asked >= *changed);
    if !current || apps.iter().any(|held| held.name == record.name && held.kept) {
        return;
    }
    let here = |volume: &Volume| {
        let live = |v: &flocker_model::VolumeState| {
            v.id == volume.id && v.role == Role::Live && v.epoch == volume.epoch
        };
        copies.iter().any(live)
    };
    let mine = world.volumes.iter().filter(|v| app.volumes.iter().any(|s| *s.name() == v.name));
    match mine.into_iter().find(|v| !here(v)) {
        None => {
            plan.actions.push(Action::Start { node: name.clone(), app: record.name.clone() });
        }
        Some(volume) => plan.notes.push(Note {
            app: record.name.clone(),
            decision: None,
            text: format!(
                "node `{name}` knows nothing of it, and has no writable copy of volume `{}`\nhint: was its pool replaced, or is it not mounted? the node's log says which pool it uses",
                volume.name
            ),
        }),
    }
}

/// What is to become of something that was left on a node. As long as a record names it, it is none.
fn cleared(world: &World, leftover: &Leftover) -> Option<Action> {
    let leftover = leftover.clone();
    let Some(seen) = world.nodes.get(&leftover.node) else {
        return Some(Action::Forget { leftover });
    };
    let ready = match &leftover.what {
        // An app of that name that was deployed since has a newer epoch. One whose manifest cannot be read is only
        // among those that changed.
        Left::App { name, epoch } => {
            let anew = world.apps.get(name).is_some_and(|(record, _)| record.epoch > *epoch);
            anew || !world.changed.contains_key(name)
        }
        // What uses it goes first.
        Left::Volume { id, .. } => {
            world.volumes.iter().all(|v| v.id != *id) && !containers_left(world, &leftover.node)
        }
        Left::Replica { id, epoch, .. } => match world.volumes.iter().find(|v| v.id == *id) {
            None => true,
            // It was the owner's since, or became a copy of another owner's.
            Some(volume) if volume.epoch != *epoch => return Some(Action::Forget { leftover }),
            Some(volume) => may_lose_copy(world, volume, &leftover.node),
        },
    };
    (ready && seen.alive).then_some(Action::Clear { leftover })
}

/// Whether a node's copy of a volume that lives on is of no use: it is not the owner's, nobody wants it there again, and
/// no operation is about to make it the owner's.
fn may_lose_copy(world: &World, volume: &Volume, node: &NodeName) -> bool {
    let app = volume.app.as_ref().and_then(|name| world.apps.get(name));
    let held = match (&volume.app, app) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(_), Some((record, _))) => record.operation.is_some(),
    };
    !held && volume.owner.as_ref() != Some(node) && volume.receivers().all(|wanted| wanted != node)
}

/// Whether containers of a removed app are left on the node.
fn containers_left(world: &World, node: &NodeName) -> bool {
    let containers = |what: &Left| match what {
        Left::App { .. } => true,
        Left::Volume { .. } | Left::Replica { .. } => false,
    };
    world.leftovers.iter().any(|l| l.node == *node && containers(&l.what))
}
