//! `gfs`, `quiet` and `careful`, as an operator uses them: what becomes of volumes, their copies and their owners.

use std::{sync::Arc, time::Duration};

use flocker_model::{ByteSize, OperationId, Timestamp, VolumeName};
use flocker_planner::{
    ClusterView, Copied, Course, Incident, Policies, PruneQuestion, ReplicaRow, ScheduleQuestion,
    VolumeRow, backups, failover,
};
use flocker_plugins::Hook;

use crate::{
    guest::loaded,
    world::{World, view},
};

/// A quarter past midnight, some day.
const NOW: Timestamp = Timestamp(20_000 * 86_400_000 + 900_000);

fn ago(seconds: u64) -> Timestamp {
    Timestamp(NOW.0 - 1000 * seconds)
}

fn decision() -> OperationId {
    OperationId::new("op-1").unwrap()
}

fn with_backups(policies: &[(&str, &str)]) -> World {
    loaded(Hook::BackupSchedule, policies)
}

fn with_careful(settings: &str) -> World {
    loaded(Hook::Failover, &[("careful", settings)])
}

/// Volumes of node `a`, each with the moments of its last write and its last snapshot.
fn volumes(moments: &[(Option<Timestamp>, Option<Timestamp>)]) -> ClusterView {
    let row =
        |(n, (written, snapshot)): (usize, &(Option<Timestamp>, Option<Timestamp>))| VolumeRow {
            name: VolumeName::new(format!("shop.data-{n}")).unwrap(),
            app: None,
            node: Some(0),
            size: ByteSize::gib(1),
            used: ByteSize(0),
            written: *written,
            snapshot: *snapshot,
        };
    let volumes = moments.iter().enumerate().map(row).collect();
    ClusterView { now: NOW, volumes, ..ClusterView::clone(&view()) }
}

/// What is due, as row, time and label.
fn due(world: &World, view: ClusterView, horizon: u64) -> Vec<(u32, Timestamp, String)> {
    let view = Arc::new(view);
    let question = ScheduleQuestion {
        decision: decision(),
        seed: 1,
        volumes: (0..).take(view.volumes.len()).collect(),
        horizon: Duration::from_secs(horizon),
    };
    let answers = world.host.schedule(&view, &question);
    let decided = backups::decide_schedule(&view, &question, answers);
    assert_eq!(decided.consultation.failures, []);
    assert!(decided.due.iter().all(|d| d.lane == backups::SNAPSHOT), "{:?}", decided.due);
    decided.due.into_iter().map(|d| (d.volume, d.at, d.label)).collect()
}

#[test]
fn gfs_takes_a_snapshot_on_the_hour() {
    let view = volumes(&[(None, None), (None, Some(ago(60))), (None, Some(ago(7200)))]);
    let clock = "by the clock".to_owned();
    let next_hour = Timestamp(NOW.0 + 45 * 60_000);
    let missed = Timestamp(NOW.0 - (60 + 15) * 60_000);

    let gfs = with_backups(&[("gfs", "")]);

    let soon = due(&gfs, view.clone(), 60);
    assert_eq!(soon, [(0, NOW, clock.clone()), (2, missed, clock.clone())]);
    let later = due(&gfs, view, 3600);
    assert_eq!(later[1], (1, next_hour, clock));
}

#[test]
fn quiet_takes_one_in_a_pause_and_none_of_what_rests() {
    let view = volumes(&[
        (Some(ago(4)), Some(ago(10))),
        (Some(ago(1)), Some(ago(10))),
        (Some(ago(1)), Some(ago(20))),
        (Some(ago(30)), Some(ago(20))),
        (None, Some(ago(9999))),
    ]);
    let quiet = |row, at| (row, at, "quiet".to_owned());
    let soon = Timestamp(NOW.0 + 2000);
    let busy = |row, at| (row, at, "busy".to_owned());

    assert_eq!(
        due(&with_backups(&[("quiet", "")]), view.clone(), 10),
        [quiet(0, ago(1)), quiet(1, soon), busy(2, ago(1))]
    );
    let patient = r#"{"quiet_seconds": 9, "latest_seconds": 60}"#;
    let later = due(&with_backups(&[("quiet", patient)]), view, 5);
    assert_eq!(later, [quiet(0, Timestamp(NOW.0 + 5000))]);
}

#[test]
fn what_one_of_two_policies_finds_due_is_due() {
    let view = volumes(&[(Some(ago(4)), Some(ago(10))), (None, Some(ago(7200)))]);
    let labels: Vec<_> = due(&with_backups(&[("gfs", ""), ("quiet", "")]), view, 10)
        .into_iter()
        .map(|(row, _, label)| (row, label))
        .collect();
    assert_eq!(labels, [(0, "quiet".to_owned()), (1, "by the clock".to_owned())]);
}

/// The positions of copies that may go, given how many seconds ago each was taken, and a reason.
fn pruned(world: &World, taken: &[u64]) -> (Vec<u32>, String) {
    let copy = |seconds: &u64| Copied {
        tag: format!("s{seconds}"),
        taken: ago(*seconds),
        label: String::new(),
        bytes: 0,
    };
    let question = PruneQuestion {
        decision: decision(),
        seed: 1,
        volume: 0,
        lane: backups::SNAPSHOT.into(),
        copies: taken.iter().map(copy).collect(),
    };
    let answers = world.host.prune(&Arc::new(volumes(&[(None, None)])), &question);
    let decided = backups::decide_prune(&question, answers);
    assert_eq!(decided.consultation.failures, []);
    let reason = decided.droppable.values().flatten().next().cloned().unwrap_or_default();
    (decided.droppable.into_keys().collect(), reason)
}

#[test]
fn copies_go_by_their_age_or_their_number_and_only_if_both_agree() {
    const HOUR: u64 = 3600;
    // Two of the same hour two days ago, two of yesterday evening, two that are young.
    let taken = [50 * HOUR, 50 * HOUR - 60, 3 * HOUR, 3 * HOUR - 60, 20, 10];
    let one_per_day = r#"{"all_minutes": 0, "hourly": 0, "daily": 9, "weekly": 0, "monthly": 0}"#;

    let (copies, reason) = pruned(&with_backups(&[("gfs", "")]), &taken);
    assert_eq!(copies, [0, 2]);
    assert!(reason.starts_with("gfs 0.1.0: newer ones stand"), "{reason}");
    let daily = ("gfs", one_per_day);
    assert_eq!(pruned(&with_backups(&[daily]), &taken).0, [0, 2, 4]);
    let both = with_backups(&[daily, ("quiet", r#"{"keep": 3}"#)]);
    assert_eq!(pruned(&both, &taken).0, [0, 2]);
}

/// What becomes of the only volume of `a`, which has been silent for so many seconds and has replicas on `b` and `c`.
fn ruled(world: &World, silent: u64, incident: Incident, replicas: [u64; 2]) -> (Course, String) {
    let mut view = volumes(&[(None, None)]);
    view.nodes[0].alive = false;
    let copy =
        |(node, seconds): (u32, u64)| ReplicaRow { volume: 0, node, taken: Some(ago(seconds)) };
    view.replicas = [(1, replicas[0]), (2, replicas[1])].map(copy).into();
    let incident = Incident { silent: Duration::from_secs(silent), ..incident };
    let view = Arc::new(view);
    let answers = world.host.fail_over(&view, &incident);
    let decided = failover::decide(&view, &incident, answers);
    assert_eq!(decided.consultation.failures, []);
    let ruling = &decided.rulings[0];
    let said = ruling.said.iter().map(|said| said.verdict.reason.clone());
    (ruling.course, ruling.held_back.clone().into_iter().chain(said).collect::<Vec<_>>().join("; "))
}

fn fenced() -> Incident {
    Incident {
        decision: decision(),
        seed: 1,
        node: 0,
        silent: Duration::ZERO,
        fenced: true,
        votes: 2,
        quorum: 2,
        volumes: vec![0],
    }
}

#[test]
fn careful_waits_then_promotes_the_newest_replica() {
    let careful = with_careful("");
    let (course, why) = ruled(&careful, 10, fenced(), [15, 40]);
    assert_eq!(course, Course::Wait { again: Duration::from_secs(20) }, "{why}");
    let (course, why) = ruled(&careful, 30, fenced(), [95, 40]);
    assert_eq!(course, Course::Promote { replica: 1 }, "{why}");
    assert!(why.contains("10.0 s behind"), "{why}");
}

#[test]
fn careful_freezes_what_would_lose_too_much() {
    let (course, why) = ruled(&with_careful(""), 30, fenced(), [95, 91]);
    assert_eq!(course, Course::Freeze);
    assert!(why.contains("61.0 s behind, more than 60 s"), "{why}");
    let bold = with_careful(r#"{"wait_seconds": 0, "max_lag_seconds": 61}"#);
    let (course, why) = ruled(&bold, 10, fenced(), [75, 71]);
    assert_eq!(course, Course::Promote { replica: 1 }, "{why}");
}

#[test]
fn careful_is_held_back_where_the_node_may_still_write() {
    let (course, why) =
        ruled(&with_careful(""), 30, Incident { fenced: false, ..fenced() }, [40, 40]);
    assert_eq!(course, Course::Wait { again: Duration::from_secs(1) });
    assert!(why.starts_with("the node may still be writing; "), "{why}");
}
