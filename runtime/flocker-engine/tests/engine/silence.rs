//! A node falls silent: policies are asked about its volumes, an operator is told what they said, and nothing is promoted.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use flocker_engine::leader::ALIVE;
use flocker_model::{NodeName, OperationState, Revision, Role};
use flocker_planner::{
    Answer, BuiltIn, ClusterView, Course, Incident, PlacementQuestion, Policies, PolicyAnswer,
    PolicyFailure, Verdict, plan::Settings,
};
use flocker_ports::Backend as _;
use flocker_sim::{Victim, World};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::pretend::*;

/// What a policy under test would do, given how long the node has been silent.
type Says = fn(&ClusterView, &Incident) -> Result<Course, PolicyFailure>;

/// Says the same about each volume, counts aloud how often it was asked, and remembers when.
#[derive(Debug)]
struct Counting {
    says: Says,
    asked: AtomicU64,
    at: Mutex<Vec<Instant>>,
}

impl Policies for Counting {
    fn place(&self, v: &Arc<ClusterView>, q: &PlacementQuestion) -> Vec<PolicyAnswer<Answer>> {
        BuiltIn.place(v, q)
    }

    fn fail_over(
        &self,
        view: &Arc<ClusterView>,
        incident: &Incident,
    ) -> Vec<PolicyAnswer<Vec<Verdict>>> {
        let n = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        self.at.lock().unwrap().push(Instant::now());
        assert!(!incident.fenced, "this version fences nothing");
        let answer = (self.says)(view, incident).map(|course| {
            let verdict = Verdict { course, reason: format!("asked {n} times") };
            vec![verdict; incident.volumes.len()]
        });
        let evidence = flocker_planner::Evidence::default();
        let (policy, digest) = ("counting 1.0.0".to_owned(), String::new());
        vec![PolicyAnswer { policy, digest, weight: 1, shadow: false, answer, evidence }]
    }
}

/// Wherever there is a replica on a node that answers.
fn bold(view: &ClusterView, incident: &Incident) -> Result<Course, PolicyFailure> {
    let here = |r: &flocker_planner::ReplicaRow| {
        r.volume == incident.volumes[0] && view.nodes[r.node as usize].alive
    };
    let replica = view.replicas.iter().position(here);
    Ok(replica.map_or(Course::Freeze, |row| Course::Promote { replica: row.try_into().unwrap() }))
}

/// Waits for half a minute of silence, and then leaves it to an operator.
fn patient(_: &ClusterView, incident: &Incident) -> Result<Course, PolicyFailure> {
    let left = Duration::from_secs(30).saturating_sub(incident.silent);
    Ok(if left.is_zero() { Course::Freeze } else { Course::Wait { again: left } })
}

/// Never makes up its mind.
fn restless(_: &ClusterView, _: &Incident) -> Result<Course, PolicyFailure> {
    Ok(Course::Wait { again: Duration::from_millis(1) })
}

fn broken(_: &ClusterView, _: &Incident) -> Result<Course, PolicyFailure> {
    Err(PolicyFailure { class: "trap".into(), message: "unreachable".into() })
}

/// A shop on `n1` with a replica on `n2`, and a policy.
async fn shop_asking(says: Says) -> (Arc<World>, Arc<Counting>) {
    let policies = Arc::new(Counting { says, asked: AtomicU64::new(0), at: Mutex::default() });
    let settings = Settings { cooldown: Duration::from_hours(24), ..Settings::default() };
    let world = Arc::new(World::start_with(&["n1", "n2", "n3"], policies.clone(), settings));
    world.boot().await.unwrap();
    until(|| async { world.state().await.unwrap().nodes.len() == 3 }).await;
    let id = deployed(&world, SHOP).await;
    assert_eq!(ended(&world, &id).await.state, OperationState::Done);
    for to in ["n2", "n1"].map(node) {
        if owner(&world).await != to {
            let id = world.control().move_app(&app(), Some(&to)).await.unwrap().0;
            assert_eq!(ended(&world, &id).await.state, OperationState::Done);
        }
    }
    (world, policies)
}

async fn explained(world: &World) -> Value {
    serde_json::from_slice(&world.control().explain("shop").await.unwrap()).unwrap()
}

/// What an operator reads once policies were asked.
async fn told(world: &World) -> Value {
    until(|| async { !explained(world).await["failover"].is_null() }).await;
    explained(world).await
}

fn silent(world: &World, name: &str) -> Victim {
    let victim = Victim::Node(node(name));
    world.kill(&victim);
    victim
}

async fn role_on(world: &World, name: &NodeName) -> Role {
    let state = world.state().await.unwrap();
    let volume = state.volumes.values().next().unwrap().value.id.clone();
    world.backend(name).unwrap().stat(&volume).await.unwrap().unwrap().role
}

/// When the note was written last; `None`: there is none.
async fn noted(world: &World) -> Option<Revision> {
    let store = world.cluster().store().clone();
    store.get("silence/n1").await.unwrap().map(|entry| entry.revision)
}

#[tokio::test(start_paused = true)]
async fn an_operator_is_told_who_would_promote_what_and_why_nobody_does() {
    let (world, _) = shop_asking(bold).await;
    silent(&world, "n1");

    let told = told(&world).await;

    let failover = &told["failover"];
    assert_eq!((&failover["node"], &failover["votes"]), (&"n1".into(), &1.into()));
    let volume = &failover["volumes"][0];
    assert_eq!((&volume["volume"], &volume["course"]), (&"shop.data".into(), &"wait".into()));
    let said = &volume["said"][0];
    // Where it was before; the shop may have been deployed on either.
    let replica = said["replica"].as_str().unwrap();
    assert_eq!((&said["course"], replica == "n1"), (&"promote".into(), false), "{said}");
    let text = told["text"].as_str().unwrap();
    for words in [
        "its node `n1` is silent since 2026-01-01T00:00:",
        "volume `shop.data`: it waits, as the node may still be writing",
        &format!("counting 1.0.0: promote its copy on `{replica}`: asked 1 times"),
        "nothing is promoted without fencing, which this version does not have",
        // Why it is where it is comes after that.
        "decided by an operator",
    ] {
        assert!(text.contains(words), "`{words}` is not in:\n{text}");
    }
    sleep(Duration::from_mins(10)).await;
    assert_eq!(owner(&world).await, node("n1"));
    assert_eq!(role_on(&world, &node(replica)).await, Role::Replica);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_waits_is_asked_again_then_and_not_before() {
    let (world, policy) = shop_asking(patient).await;
    let silent_since = Instant::now();
    silent(&world, "n1");

    until(|| async { policy.asked.load(Ordering::Relaxed) == 2 }).await;

    let at: Vec<_> = policy.at.lock().unwrap().iter().map(|at| *at - silent_since).collect();
    assert!(at[0] < ALIVE + Duration::from_secs(2), "{at:?}");
    assert!((29..33).contains(&at[1].as_secs()), "{at:?}");
    until(|| async { told(&world).await["failover"]["volumes"][0]["course"] == "freeze" }).await;
    // What was decided for good is asked about as well, in case somebody thinks better of it: rarely.
    sleep(Duration::from_mins(5)).await;
    assert!((6..9).contains(&policy.asked.load(Ordering::Relaxed)), "{policy:?}");
}

#[tokio::test(start_paused = true)]
async fn it_is_written_down_once_however_often_a_policy_is_asked() {
    let (world, policy) = shop_asking(restless).await;
    silent(&world, "n1");
    told(&world).await;
    let (written, before) = (noted(&world).await, world.state().await.unwrap().revision);

    sleep(Duration::from_mins(10)).await;

    assert!(policy.asked.load(Ordering::Relaxed) > 100, "{policy:?}");
    assert_eq!(noted(&world).await, written);
    assert_eq!(world.state().await.unwrap().revision, before, "somebody else writes");
}

#[tokio::test(start_paused = true)]
async fn when_the_node_is_back_nothing_is_left_of_it() {
    let (world, policy) = shop_asking(bold).await;
    let victim = silent(&world, "n1");
    told(&world).await;

    world.revive(&victim).unwrap();

    until(|| async { noted(&world).await.is_none() }).await;
    assert!(explained(&world).await["failover"].is_null());
    let asked = policy.asked.load(Ordering::Relaxed);
    let client = Client::start(world.clone(), node("n3"));
    sleep(Duration::from_secs(5)).await;
    settled(&world, &client.end().await).await;
    sleep(Duration::from_mins(2)).await;
    assert_eq!(policy.asked.load(Ordering::Relaxed), asked);
}

#[tokio::test(start_paused = true)]
async fn the_next_leader_knows_since_when_the_node_is_silent() {
    let (world, _) = shop_asking(patient).await;
    silent(&world, "n1");
    let before = told(&world).await["failover"]["since_ms"].clone();
    world.kill(&Victim::Leader);
    sleep(Duration::from_mins(1)).await;

    world.revive(&Victim::Leader).unwrap();

    // It waited for half a minute of silence, which are over.
    until(|| async { told(&world).await["failover"]["volumes"][0]["course"] == "freeze" }).await;
    assert_eq!(told(&world).await["failover"]["since_ms"], before);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_fails_leaves_it_to_the_operator_who_is_told() {
    let (world, _) = shop_asking(broken).await;
    silent(&world, "n1");

    let told = told(&world).await;

    assert_eq!(told["failover"]["volumes"][0]["course"], "freeze");
    assert_eq!(told["failover"]["failures"][0]["class"], "trap");
    let text = told["text"].as_str().unwrap();
    assert!(text.contains("policy `counting 1.0.0` failed (trap): unreachable"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_without_volumes_is_nobodys_question() {
    let (world, policy) = shop_asking(bold).await;
    silent(&world, "n3");

    sleep(Duration::from_mins(2)).await;

    assert_eq!(policy.asked.load(Ordering::Relaxed), 0);
    assert!(explained(&world).await["failover"].is_null());
}

#[tokio::test(start_paused = true)]
async fn an_app_that_is_given_up_takes_the_note_with_it() {
    let (world, _) = shop_asking(bold).await;
    silent(&world, "n1");
    told(&world).await;

    let id = world.control().remove(&app(), true).await.unwrap();

    ended(&world, &id).await;
    until(|| async { noted(&world).await.is_none() }).await;
}
