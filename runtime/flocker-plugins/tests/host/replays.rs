//! Ten thousand decisions of every hook, read back from the disk after a restart and asked again.

use std::{sync::Arc, time::Duration};

use flocker_model::{AppName, ByteSize, CpuMillis, Epoch, OperationId, Timestamp, VolumeName};
use flocker_planner::{
    AppRow, ClusterView, Copied, Incident, PlacementQuestion, Policies, PruneQuestion,
    RebalanceQuestion, ReplicaRow, ScheduleQuestion, VolumeRow,
};
use flocker_plugins::{HostConfig, PluginHost};

use crate::{
    guest::wasm,
    modes::prefers,
    records::Recorded,
    world::{configured, question, view},
};

/// So often each of the five kinds of question is asked.
const TIMES: u32 = 2000;
const SECOND: u64 = 1000;
const POLICIES: [(&str, u64); 4] = [("spread", 1), ("level", 1), ("gfs", 2), ("careful", 1)];

/// A cluster that is another one at each moment: loads, writes and snapshots go on. What is said over and over is
/// recorded once a minute, so moments are further apart.
pub(crate) fn moment(n: u32) -> Arc<ClusterView> {
    let now = Timestamp(20_000 * 86_400 * SECOND + u64::from(n) * 61 * SECOND);
    let mut cluster = ClusterView { now, ..ClusterView::clone(&view()) };
    for (node, row) in (0..).zip(&mut cluster.nodes) {
        row.memory_promised = ByteSize::gib((u64::from(n) + 5 * node) % 16);
        row.memory.free = ByteSize::gib(16 - row.memory_promised.0 / ByteSize::gib(1).0);
        row.apps = (n + 7 * u32::try_from(node).unwrap()) % 9;
    }
    let app = |(row, name): (u32, &str)| AppRow {
        name: AppName::new(name).unwrap(),
        node: Some((n + row) % 3),
        epoch: Epoch(1),
        memory: ByteSize::gib(1 + u64::from((n + row) % 4)),
        cpu: CpuMillis(100),
        size: ByteSize::gib(1),
        placed: Timestamp(0),
        labels: [].into(),
    };
    cluster.apps = (0..).zip(["news", "shop", "wiki"]).map(app).collect();
    let ago = |seconds: u32| Some(Timestamp(now.0 - u64::from(seconds) * SECOND));
    cluster.volumes = vec![VolumeRow {
        name: VolumeName::new("shop.data").unwrap(),
        app: Some(1),
        node: Some(0),
        size: ByteSize::gib(1),
        used: ByteSize(u64::from(n)),
        written: ago(n % 50),
        snapshot: ago(n % 7200),
    }];
    cluster.replicas =
        (1..3).map(|node| ReplicaRow { volume: 0, node, taken: ago(n % 97) }).collect();
    Arc::new(cluster)
}

/// One question of each kind.
fn ask_all(host: &PluginHost, n: u32) {
    let view = &moment(n);
    let decision = |kind: &str| OperationId::new(format!("{kind}-{n}")).unwrap();
    let seed = u64::from(n);
    host.place(view, &PlacementQuestion { decision: decision("place"), seed, ..question() });
    let movable = vec![0, 1, 2];
    host.rebalance(
        view,
        &RebalanceQuestion { decision: decision("move"), seed, movable, moves_max: 2 },
    );
    let silent = Duration::from_secs(u64::from(n % 120));
    let incident = Incident {
        decision: decision("fail"),
        seed,
        node: 0,
        silent,
        fenced: n.is_multiple_of(2),
        votes: 2,
        quorum: 2,
        volumes: vec![0],
    };
    host.fail_over(view, &incident);
    let horizon = Duration::from_mins(1);
    host.schedule(
        view,
        &ScheduleQuestion { decision: decision("due"), seed, volumes: vec![0], horizon },
    );
    let copy = |age: u32| Copied {
        tag: format!("auto-{age}"),
        taken: Timestamp(view.now.0 - u64::from(age) * (1 + u64::from(n % 5)) * 1800 * SECOND),
        label: "hourly".into(),
        bytes: 0,
    };
    let copies = (0..12).rev().map(copy).collect();
    let lane = "snapshot".into();
    host.prune(view, &PruneQuestion { decision: decision("prune"), seed, volume: 0, lane, copies });
}

#[test]
fn of_two_builds_that_were_asked_the_same_the_one_that_counted_is_compared() {
    let recorded = Recorded::new();
    let host = recorded.host(1 << 20);
    let path = recorded.forged("p.wasm", &prefers(1));
    let former = recorded.forged("former.wasm", &prefers(1));
    host.load(&configured(&path, "", 1)).unwrap();
    recorded.forged("p.wasm", &prefers(2));
    host.reload(&configured(&path, "", 1), view().now).unwrap();
    host.place(&view(), &question());
    host.flush_records();
    assert_eq!(host.list()[0].trial.as_ref().unwrap().decisions, 1);

    let again = PluginHost::new(HostConfig::default()).unwrap();
    let replay = |file| again.replay(&configured(file, "", 1), &recorded.records(), Timestamp(0));
    let (former, new) = (replay(&former).unwrap(), replay(&path).unwrap());
    assert_eq!((former.asked, former.same), (1, 1));
    assert_eq!((new.asked, new.different.len()), (1, 1));
}

#[test]
fn ten_thousand_decisions_are_answered_alike_after_a_restart_and_a_change_shows_what_it_changes() {
    let recorded = Recorded::new();
    let host = recorded.host(256 << 20);
    for (name, _) in POLICIES {
        host.load(&configured(&wasm(name), "", 1)).unwrap();
    }
    for n in 0..TIMES {
        ask_all(&host, n);
        // The queue to the disk is bounded, and nothing waits for it but this test.
        if n % 100 == 99 {
            host.flush_records();
        }
    }
    host.flush_records();
    let failures: u64 = host.list().iter().map(|plugin| plugin.failures).sum();
    assert_eq!(failures, 0, "{:?}", host.list());
    drop(host);

    let mut asked = 0;
    for (name, kinds) in POLICIES {
        let report = recorded.replay_with(&wasm(name), "");
        let all = u64::from(TIMES) * kinds;
        assert_eq!(
            (report.asked, report.same),
            (all, all),
            "{name}: {:?}",
            report.different.first()
        );
        assert_eq!(
            (report.different.len(), report.unanswerable.len(), report.damaged.len()),
            (0, 0, 0)
        );
        asked += report.asked;
    }
    assert_eq!(asked, 10_000);

    // A policy that waits for 40 s instead of 30 answers otherwise where it used to act, and did not wait for long
    // enough by its new measure; or waits longer.
    let report = recorded.replay_with(&wasm("careful"), r#"{"wait_seconds": 40}"#);
    let differs = (0..TIMES).filter(|n| n % 120 < 40).map(|n| format!("fail-{n}"));
    let got: Vec<_> = report.different.iter().map(|d| d.decision.clone()).collect();
    assert_eq!(got, differs.collect::<Vec<_>>());
    assert_eq!(report.same + report.different.len() as u64, u64::from(TIMES));
}
