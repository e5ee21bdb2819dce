//! Snapshots by schedule: taken when a policy finds them due, removed when it lets them go, and nothing else is touched.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use flocker_model::{NodeName, OperationState, SnapshotTag};
use flocker_planner::{
    Answer, BuiltIn, ClusterView, Droppable, Due, PlacementQuestion, Policies, PolicyAnswer,
    PolicyFailure, PruneQuestion, Schedule, ScheduleQuestion, backups::SNAPSHOT_INTERVAL_MIN,
    plan::Settings,
};
use flocker_ports::Backend as _;
use flocker_sim::{Victim, World};
use tokio::time::sleep;

use crate::pretend::*;

const MINUTE: Duration = Duration::from_mins(1);

/// A snapshot as soon as its pause after the one before is over, of which the newest two are kept; or a failure at each
/// question about what may go.
#[derive(Debug)]
struct Every {
    pause: Duration,
    prunes: AtomicBool,
}

fn says<A>(answer: Result<A, PolicyFailure>) -> Vec<PolicyAnswer<A>> {
    vec![PolicyAnswer {
        policy: "every 1.0.0".into(),
        digest: String::new(),
        weight: 1,
        shadow: false,
        answer,
        evidence: flocker_planner::Evidence::default(),
    }]
}

impl Policies for Every {
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
            let at = last.map_or(view.now, |last| last + self.pause);
            Due { volume: *row, at, lane: "snapshot".into(), label: "By/minute".into() }
        };
        let due = question.volumes.iter().map(due).collect();
        says(Ok(Schedule { due, ask_again: self.pause }))
    }

    fn prune(
        &self,
        _: &Arc<ClusterView>,
        question: &PruneQuestion,
    ) -> Vec<PolicyAnswer<Vec<Droppable>>> {
        let surplus = u32::try_from(question.copies.len().saturating_sub(2)).unwrap();
        let go = |copy| Droppable { copy, reason: "two are enough".into() };
        let trap = PolicyFailure { class: "trap".into(), message: "unreachable".into() };
        says(if self.prunes.load(Ordering::Relaxed) {
            Ok((0..surplus).map(go).collect())
        } else {
            Err(trap)
        })
    }
}

async fn scheduled(prunes: bool) -> Arc<World> {
    let policies = Arc::new(Every { pause: MINUTE, prunes: prunes.into() });
    scheduled_by(policies, Settings::default()).await
}

async fn scheduled_by(policies: Arc<Every>, settings: Settings) -> Arc<World> {
    // Nobody moves anything by itself meanwhile.
    let settings = Settings { cooldown: Duration::from_hours(24), ..settings };
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

fn taken(tag: &str) -> u64 {
    tag.split('-').nth(1).unwrap().parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_always_due_is_taken_with_pauses() {
    let always = Every { pause: Duration::ZERO, prunes: false.into() };
    let world = scheduled_by(Arc::new(always), Settings::default()).await;
    let at = owner(&world).await;

    sleep(MINUTE).await;

    let all = by_schedule(&world, &at).await;
    assert!((8..=13).contains(&all.len()), "{all:?}");
    for pair in all.windows(2) {
        let apart = Duration::from_millis(taken(&pair[1]) - taken(&pair[0]));
        assert!(apart >= SNAPSHOT_INTERVAL_MIN, "{apart:?} in {all:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_volume_with_as_many_snapshots_as_it_may_have_gets_no_more_until_some_may_go() {
    let policies = Arc::new(Every { pause: Duration::ZERO, prunes: false.into() });
    let settings = Settings { snapshots_max: 5, ..Settings::default() };
    let world = scheduled_by(policies.clone(), settings).await;
    let at = owner(&world).await;
    until(|| async { by_schedule(&world, &at).await.len() == 5 }).await;
    let full = by_schedule(&world, &at).await;
    let volume = world.state().await.unwrap().volumes.values().next().unwrap().value.clone();

    sleep(10 * MINUTE).await;

    assert_eq!(by_schedule(&world, &at).await, full, "what no policy let go is kept");
    let trouble = world.control().volume_trouble(&volume).unwrap();
    assert!(trouble.contains("it has 5 snapshots by schedule"), "{trouble}");
    let told = world.control().explain("shop").await.unwrap();
    let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(told["troubles"][0]["trouble"], trouble);
    let text = told["text"].as_str().unwrap();
    assert!(text.starts_with(&format!("volume `{}`: {trouble}\n\n", volume.name)), "{text}");

    // An operator has mended the policy.
    policies.prunes.store(true, Ordering::Relaxed);
    until(|| async { by_schedule(&world, &at).await.len() == 2 }).await;
    sleep(MINUTE).await;
    let later = by_schedule(&world, &at).await;
    assert!(later.len() == 2 && later.iter().all(|tag| !full.contains(tag)), "{later:?}");
    assert_eq!(world.control().volume_trouble(&volume), None);
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
