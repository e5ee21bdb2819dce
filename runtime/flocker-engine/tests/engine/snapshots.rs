//! Snapshots by schedule: taken when a policy finds them due, removed when it lets them go, and nothing else is touched.

use std::{sync::Arc, time::Duration};

use flocker_model::{NodeName, OperationState, SnapshotTag};
use flocker_planner::{
    Answer, BuiltIn, ClusterView, Droppable, Due, PlacementQuestion, Policies, PolicyAnswer,
    PolicyFailure, PruneQuestion, Schedule, ScheduleQuestion, plan::Settings,
};
use flocker_ports::Backend as _;
use flocker_sim::{Victim, World};
use tokio::time::sleep;

use crate::pretend::*;

const MINUTE: Duration = Duration::from_mins(1);

/// A snapshot each minute, of which the newest two are kept; or a failure at each question about what may go.
#[derive(Debug)]
struct EveryMinute {
    prunes: bool,
}

fn says<A>(answer: Result<A, PolicyFailure>) -> Vec<PolicyAnswer<A>> {
    vec![PolicyAnswer {
        policy: "every-minute 1.0.0".into(),
        digest: String::new(),
        weight: 1,
        shadow: false,
        answer,
        evidence: flocker_planner::Evidence::default(),
    }]
}

impl Policies for EveryMinute {
    fn place(&self, v: &Arc<ClusterView>, q: &PlacementQuestion) -> Vec<PolicyAnswer<Answer>> {
        BuiltIn.place(v, q)
    }

    fn schedule(
        &self,
        view: &Arc<ClusterView>,
        question: &ScheduleQuestion,
    ) -> Vec<PolicyAnswer<Schedule>> {
        let due = |row: &u32| {
            let last = view.volumes[*row as usize].snapshot;
            let at = last.map_or(view.now, |last| last + MINUTE);
            Due { volume: *row, at, lane: "snapshot".into(), label: "By/minute".into() }
        };
        let due = question.volumes.iter().map(due).collect();
        says(Ok(Schedule { due, ask_again: MINUTE }))
    }

    fn prune(
        &self,
        _: &Arc<ClusterView>,
        question: &PruneQuestion,
    ) -> Vec<PolicyAnswer<Vec<Droppable>>> {
        let surplus = u32::try_from(question.copies.len().saturating_sub(2)).unwrap();
        let go = |copy| Droppable { copy, reason: "two are enough".into() };
        let trap = PolicyFailure { class: "trap".into(), message: "unreachable".into() };
        says(if self.prunes { Ok((0..surplus).map(go).collect()) } else { Err(trap) })
    }
}

async fn scheduled(prunes: bool) -> Arc<World> {
    let policies = Arc::new(EveryMinute { prunes });
    // Nobody moves anything by itself meanwhile.
    let settings = Settings { cooldown: Duration::from_hours(24), ..Settings::default() };
    let world = Arc::new(World::start_with(&["n1", "n2", "n3"], policies, settings));
    world.boot().await.unwrap();
    until(|| async { world.state().await.unwrap().nodes.len() == 3 }).await;
    let id = deployed(&world, SHOP).await;
    assert_eq!(ended(&world, &id).await.state, OperationState::Done);
    world
}

/// The snapshots on a node, oldest first.
async fn tags(world: &World, at: &NodeName) -> Vec<String> {
    let state = world.state().await.unwrap();
    let volume = state.volumes.values().next().unwrap().value.id.clone();
    let all = world.backend(at).unwrap().snapshots(&volume).await.unwrap();
    all.into_iter().map(|s| s.point.tag.to_string()).collect()
}

async fn by_schedule(world: &World, at: &NodeName) -> Vec<String> {
    let mut tags = tags(world, at).await;
    tags.retain(|tag| tag.starts_with("auto-"));
    tags
}

#[tokio::test(start_paused = true)]
async fn snapshots_are_taken_when_due_and_only_those_of_the_schedule_go() {
    let world = scheduled(true).await;
    let at = owner(&world).await;
    let volume = world.state().await.unwrap().volumes.keys().next().unwrap().clone();
    let manual = SnapshotTag::new("mine").unwrap();
    world.control().snapshot(&volume, Some(manual)).await.unwrap();

    sleep(5 * MINUTE).await;

    let kept = by_schedule(&world, &at).await;
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept.iter().all(|tag| tag.ends_with("-byminute")), "{kept:?}");
    assert!(tags(&world, &at).await.contains(&"mine".to_owned()));
    sleep(2 * MINUTE).await;
    let later = by_schedule(&world, &at).await;
    assert!(later.iter().all(|tag| !kept.contains(tag)), "{kept:?} {later:?}");
}

#[tokio::test(start_paused = true)]
async fn an_operator_names_no_snapshot_as_the_leader_does() {
    let world = shop().await;
    let volume = world.state().await.unwrap().volumes.keys().next().unwrap().clone();

    for theirs in ["auto-1", "move-mine"] {
        let tag = SnapshotTag::new(theirs).unwrap();
        let refused = world.control().snapshot(&volume, Some(tag)).await.unwrap_err();
        assert_eq!(refused.code, "invalid-argument", "{refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_takes_none_before_its_time() {
    let world = scheduled(true).await;
    let at = owner(&world).await;
    until(|| async { !by_schedule(&world, &at).await.is_empty() }).await;
    let before = by_schedule(&world, &at).await;

    world.kill(&Victim::Leader);
    world.revive(&Victim::Leader).unwrap();
    sleep(MINUTE / 3).await;

    assert_eq!(by_schedule(&world, &at).await, before);
    until(|| async { by_schedule(&world, &at).await.len() == 2 }).await;
}

#[tokio::test(start_paused = true)]
async fn while_a_policy_fails_nothing_goes() {
    let world = scheduled(false).await;
    let at = owner(&world).await;

    sleep(4 * MINUTE + MINUTE / 2).await;

    assert!(by_schedule(&world, &at).await.len() >= 4);
}

#[tokio::test(start_paused = true)]
async fn the_schedule_goes_on_where_the_volume_went() {
    let world = scheduled(true).await;
    let (from, to) = (owner(&world).await, another(&owner(&world).await));
    sleep(2 * MINUTE).await;

    let id = world.control().move_app(&app(), Some(&to)).await.unwrap().0;
    assert_eq!(ended(&world, &id).await.state, OperationState::Done);
    let left = by_schedule(&world, &from).await;
    sleep(3 * MINUTE).await;

    assert_eq!(by_schedule(&world, &to).await.len(), 2);
    // A replica is nobody's to snapshot; it keeps what it had.
    assert_eq!(by_schedule(&world, &from).await, left);
}
