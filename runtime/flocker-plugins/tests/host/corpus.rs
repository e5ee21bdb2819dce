//! Every hostile policy beside two healthy ones: the question is answered in time, the neighbours notice nothing, and it
//! is said who did what.

use std::{
    fmt::Debug,
    sync::Arc,
    time::{Duration, Instant},
};

use flocker_model::{AppName, ByteSize, CpuMillis, Epoch, OperationId, Timestamp, VolumeName};
use flocker_planner::{
    AppRow, BuiltIn, ClusterView, Copied, Incident, Policies, PolicyAnswer, PolicyFailure,
    PruneQuestion, RebalanceQuestion, ReplicaRow, ScheduleQuestion, VolumeRow, decide,
};
use flocker_plugins::{Configured, Health, Mode};
use hostile::{Case, Expect, POLICIES, Question};

use crate::world::{World, configured, question, view};

/// What one plugin said.
#[derive(Debug, PartialEq)]
struct Said {
    policy: String,
    digest: String,
    answer: Result<String, PolicyFailure>,
}

/// A question is answered within this time, whatever a plugin does, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// So often is asked: enough for a breaker to open, and for a plugin that begins well.
const TIMES: usize = 8;

#[test]
fn what_is_no_plugin_is_refused_in_words() {
    check(&|case| matches!(case.expect, Expect::Refused(_)));
}

#[test]
fn hostile_placement_policies_are_contained() {
    check(&|case| case.question() == Some(Question::Place));
}

#[test]
fn hostile_policies_of_other_hooks_are_contained() {
    check(&|case| case.question().is_some_and(|asked| asked != Question::Place));
}

/// All cases are tried, and those that are not contained are listed.
#[track_caller]
fn check(which: &dyn Fn(&Case) -> bool) {
    let alone = World::new();
    load(&alone, "spread", Mode::Active).unwrap();
    load(&alone, "neighbour", Mode::Active).unwrap();
    let mut bad = Vec::new();
    for case in POLICIES.iter().filter(|case| which(case)) {
        bad.extend(tried(case, &alone).err().map(|why| format!("  {}: {why}", case.name)));
    }
    assert!(bad.is_empty(), "not contained:\n{}", bad.join("\n"));
}

/// A claim about a case: `false` is told, with what was seen.
macro_rules! claim {
    ($holds:expr, $($seen:tt)+) => {
        if !$holds {
            return Err(format!("{}: {}", stringify!($holds), format!($($seen)+)));
        }
    };
}

fn tried(case: &Case, alone: &World) -> Result<(), String> {
    let world = World::new();
    load(&world, "spread", Mode::Active)?;
    let began = Instant::now();
    let loaded = match case.expect {
        Expect::Refused(words) => return refused(&world, case, words),
        Expect::FailsInShadow(..) => put(&world, case.name, &case.build(), Mode::Shadow),
        Expect::Fails(..) | Expect::Answers(..) => {
            put(&world, case.name, &case.build(), Mode::Active)
        }
    };
    loaded?;
    load(&world, "neighbour", Mode::Active)?;
    claim!(began.elapsed() < PATIENCE, "loading took {:?}", began.elapsed());
    let asked = case.question().ok_or("it is asked nothing")?;
    let healthy = ask(alone, asked);
    let mut answers = Vec::new();
    for _ in 0..TIMES {
        let began = Instant::now();
        let said = ask(&world, asked);
        claim!(began.elapsed() < PATIENCE, "the answer took {:?}", began.elapsed());
        let [first, its, last] = <[Said; 3]>::try_from(said).map_err(|s| format!("{s:?}"))?;
        claim!([first, last] == healthy[..], "the neighbours' answers changed");
        claim!(harmless(&its.policy), "{:?}", its.policy);
        answers.push(its.answer);
    }
    blamed(&world, case, &answers)
}

/// Nothing of it stays, and the others go on.
fn refused(world: &World, case: &Case, words: &str) -> Result<(), String> {
    let began = Instant::now();
    let Err(said) = put(world, case.name, &case.build(), Mode::Active) else {
        return Err("it was loaded".into());
    };
    claim!(began.elapsed() < PATIENCE, "refusing it took {:?}", began.elapsed());
    claim!(said.contains(words), "{said}");
    claim!(said.contains(&format!("{}.wasm", case.name)), "the file is not named: {said}");
    claim!(harmless(&said.replace('\n', " ")) && said.lines().count() <= 2, "{said:?}");
    claim!(said.len() < 2000, "{} bytes are said", said.len());
    claim!(world.host.list().len() == 1, "something of it stayed");
    claim!(ask(world, Question::Place)[0].answer.is_ok(), "its neighbour no longer answers");
    Ok(())
}

/// What is said of it is what it did, its neighbours are blamed for nothing, and what keeps failing is left alone.
fn blamed(
    world: &World,
    case: &Case,
    answers: &[Result<String, PolicyFailure>],
) -> Result<(), String> {
    let list = world.host.list();
    let [first, it, last] = &list[..] else { return Err(format!("{list:?}")) };
    claim!(it.loaded.name != first.loaded.name, "it is taken for its neighbour");
    for neighbour in [first, last] {
        let (health, failures) = (neighbour.health, neighbour.failures);
        claim!((health, failures) == (Health::Good, 0), "{health:?}, {failures} failures");
        claim!(neighbour.calls == TIMES as u64, "{} calls", neighbour.calls);
    }
    for name in it.metrics.keys() {
        claim!(harmless(name) && it.metrics.len() <= 64, "metric {name:?}");
    }
    let failed = answers.iter().filter_map(|answer| answer.as_ref().err());
    let mut failed = failed.filter(|failure| failure.class != "quarantined");
    match case.expect {
        Expect::Fails(_, class, words) | Expect::FailsInShadow(class, words) => {
            let failure = failed.next().ok_or_else(|| format!("it answers: {answers:?}"))?;
            claim!(failure.class == class, "{failure:?}");
            claim!(failure.message.contains(words), "{failure:?}");
            claim!(harmless(&failure.message), "{failure:?}");
            claim!(it.failures > 0 && it.last_failure.is_some(), "{it:?}");
            let n_failed = 1 + failed.count();
            claim!(it.failures == n_failed as u64, "{} of {n_failed} failures", it.failures);
            // Five in a row open the breaker; then it is not asked any more.
            let always = answers[0].is_err();
            claim!(!always || (it.calls, n_failed) == (5, 5), "{} calls", it.calls);
            Ok(())
        }
        Expect::Answers(_, words) => {
            claim!(failed.next().is_none(), "{answers:?}");
            let said = answers.iter().flatten().all(|said| said.contains(words));
            claim!(said, "{:?}", answers[0]);
            let shown = answers.iter().flatten().all(|said| said.lines().all(harmless));
            claim!(shown, "{:?}", answers[0]);
            Ok(())
        }
        Expect::Refused(_) => Err("it was loaded".into()),
    }
}

/// Nothing that a terminal obeys, and nothing that turns text round or hides it.
fn harmless(text: &str) -> bool {
    let hides = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    !text.chars().any(|c| c.is_control() || hides(c))
}

fn load(world: &World, name: &str, mode: Mode) -> Result<(), String> {
    let version = "(data $version (i32.const 112) \"0.1.0\")";
    put(world, name, &hostile::policy(name, version), mode)
}

fn put(world: &World, name: &str, bytes: &[u8], mode: Mode) -> Result<(), String> {
    let path = world.file(&format!("{name}.wasm"), bytes);
    let loaded = world.host.load(&Configured { mode, ..configured(&path, "", 1) });
    loaded.map(drop).map_err(|error| error.to_string())
}

/// A cluster that every hook can be asked about.
fn cluster() -> Arc<ClusterView> {
    let app = AppRow {
        name: AppName::new("shop").unwrap(),
        node: Some(2),
        epoch: Epoch(1),
        memory: ByteSize::gib(1),
        cpu: CpuMillis(500),
        size: ByteSize::gib(1),
        placed: Timestamp(0),
        labels: std::collections::BTreeMap::new(),
    };
    let volume = VolumeRow {
        name: VolumeName::new("shop.data").unwrap(),
        app: Some(0),
        node: Some(2),
        size: ByteSize::gib(1),
        used: ByteSize(0),
        written: None,
        snapshot: None,
    };
    let replica = ReplicaRow { volume: 0, node: 0, taken: None };
    Arc::new(ClusterView {
        apps: vec![app],
        volumes: vec![volume],
        replicas: vec![replica],
        ..ClusterView::clone(&view())
    })
}

fn ask(world: &World, asked: Question) -> Vec<Said> {
    let (host, view, seed) = (&world.host, cluster(), 42);
    let decision = OperationId::new("op-1").unwrap();
    match asked {
        Question::Place => {
            let question = question();
            let answers = host.place(&view, &question);
            let made = decide(&view, &question, answers.clone(), &BuiltIn);
            assert!(made.chosen.is_some(), "no decision: {made}");
            let explained = |answer: &PolicyAnswer<_>| {
                let alone = PolicyAnswer { shadow: false, ..answer.clone() };
                decide(&view, &question, vec![alone], &BuiltIn).to_string()
            };
            answers.iter().map(|answer| said(answer, explained(answer))).collect()
        }
        Question::Rebalance => told(&host.rebalance(
            &view,
            &RebalanceQuestion { decision, seed, movable: vec![0], moves_max: 4 },
        )),
        Question::Schedule => told(&host.schedule(
            &view,
            &ScheduleQuestion { decision, seed, volumes: vec![0], horizon: PATIENCE },
        )),
        Question::Prune => {
            let copy = |n: u64| Copied {
                tag: format!("auto-{n}"),
                taken: Timestamp(n),
                label: String::new(),
                bytes: 1,
            };
            let copies = vec![copy(1), copy(2)];
            let lane = "snapshot".to_owned();
            told(&host.prune(&view, &PruneQuestion { decision, seed, volume: 0, lane, copies }))
        }
        Question::FailOver => told(&host.fail_over(
            &view,
            &Incident {
                decision,
                seed,
                node: 2,
                silent: PATIENCE,
                fenced: true,
                votes: 2,
                quorum: 2,
                volumes: vec![0],
            },
        )),
    }
}

fn told<A: Debug + Clone>(answers: &[PolicyAnswer<A>]) -> Vec<Said> {
    answers.iter().map(|answer| said(answer, format!("{:?}", answer.answer))).collect()
}

fn said<A: Clone>(answer: &PolicyAnswer<A>, shown: String) -> Said {
    Said {
        policy: answer.policy.clone(),
        digest: answer.digest.clone(),
        answer: answer.answer.clone().map(|_| shown),
    }
}
