//! Every question and answer is on the disk, and can be asked again, of the same plugin or of another.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use flocker_model::{AppName, OperationId, Timestamp};
use flocker_planner::{ClusterView, Incident, PlacementQuestion, Policies};
use flocker_plugins::{Difference, HostConfig, PluginHost, RecordsConfig, ReplayReport};
use tempfile::TempDir;

use crate::{
    forge::{ANSWER, COUNT, DROP_VIEW, Forge, fill},
    guest::wasm,
    replays::moment,
    world::{configured, question, view},
};

/// A question about one of many apps.
fn about(n: usize) -> PlacementQuestion {
    PlacementQuestion { name: AppName::new(format!("app-{n}")).unwrap(), ..question() }
}

pub(crate) struct Recorded {
    folder: TempDir,
}

impl Recorded {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn records(&self) -> PathBuf {
        self.folder.path().join("records")
    }

    pub(crate) fn host(&self, bytes_max: u64) -> PluginHost {
        let records = Some(RecordsConfig { folder: self.records(), bytes_max });
        PluginHost::new(HostConfig { records, ..HostConfig::default() }).unwrap()
    }

    /// Asks a plugin so many questions, in a host of its own.
    fn ask(&self, plugin: &Path, times: usize) {
        let host = self.host(1 << 20);
        host.load(&configured(plugin, "", 1)).unwrap();
        for n in 0..times {
            let decision = OperationId::new(format!("op-{n}")).unwrap();
            host.place(&view(), &PlacementQuestion { decision, ..about(n) });
        }
        host.flush_records();
    }

    /// Asks a plugin the recorded questions, in a host that keeps none.
    fn replay(&self, plugin: &Path) -> ReplayReport {
        self.replay_with(plugin, "")
    }

    pub(crate) fn replay_with(&self, plugin: &Path, settings: &str) -> ReplayReport {
        let host = PluginHost::new(HostConfig::default()).unwrap();
        host.replay(&configured(plugin, settings, 1), &self.records(), Timestamp(0)).unwrap()
    }

    pub(crate) fn forged(&self, name: &str, plugin: &Forge) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, plugin.build()).unwrap();
        path
    }

    /// Changes the frames of the first segment, or leaves some out.
    fn rewrite(&self, change: impl Fn(Vec<u8>) -> Option<Vec<u8>>) {
        let path = self.segments().remove(0);
        let segment = fs::read(&path).unwrap();
        let (magic, mut rest) = segment.split_at(8);
        let mut written = magic.to_vec();
        while !rest.is_empty() {
            let length = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
            let (frame, others) = rest.split_at(8 + length);
            if let Some(frame) = change(frame[8..].to_vec()) {
                written.extend(u32::try_from(frame.len()).unwrap().to_le_bytes());
                written.extend(crc32fast::hash(&frame).to_le_bytes());
                written.extend(frame);
            }
            rest = others;
        }
        fs::write(&path, written).unwrap();
    }

    fn segments(&self) -> Vec<PathBuf> {
        let mut all: Vec<_> =
            fs::read_dir(self.records()).unwrap().map(|e| e.unwrap().path()).collect();
        all.sort();
        all
    }
}

#[test]
fn the_same_plugin_gives_the_same_answers() {
    let recorded = Recorded::new();
    recorded.ask(&wasm("spread"), 5);

    let report = recorded.replay(&wasm("spread"));

    assert_eq!((report.asked, report.same), (5, 5), "{report:?}");
}

#[test]
fn another_plugin_shows_what_would_have_been_different() {
    let recorded = Recorded::new();
    recorded.ask(&recorded.forged("old.wasm", &Forge::healthy()), 2);
    let new = Forge::evaluating(format!("{DROP_VIEW} {COUNT} {} {ANSWER}", fill(4000)));

    let report = recorded.replay(&recorded.forged("new.wasm", &new));

    assert_eq!((report.asked, report.same, report.different.len()), (2, 0, 2));
    let difference = &report.different[0];
    assert_eq!((difference.decision.as_str(), difference.kind.as_str()), ("op-0", "placement"));
    assert_eq!(difference.then["verdict"]["scores"], serde_json::json!([5000, 5000, 5000]));
    assert_eq!(difference.now["scores"], serde_json::json!([4000, 4000, 4000]));
}

#[test]
fn a_plugin_that_fails_now_is_different() {
    let recorded = Recorded::new();
    recorded.ask(&recorded.forged("old.wasm", &Forge::healthy()), 1);

    let report = recorded.replay(&recorded.forged("new.wasm", &Forge::evaluating("(unreachable)")));

    assert_eq!(report.different[0].now["failed"], "trap");
}

#[test]
fn what_nobody_looked_at_then_cannot_be_shown_now() {
    let recorded = Recorded::new();
    // It looks at nothing at all.
    recorded.ask(&recorded.forged("old.wasm", &Forge::healthy()), 1);

    let report = recorded.replay(&wasm("spread"));

    assert_eq!((report.asked, report.different.len(), report.unanswerable.len()), (1, 0, 1));
    let said = report.unanswerable[0].now["message"].as_str().unwrap();
    assert!(said.contains("of `nodes`, which was not recorded"), "{said}");
}

/// A minute of silence, about which `careful` is asked.
fn silence() -> Incident {
    Incident {
        decision: OperationId::new("op-1").unwrap(),
        seed: 42,
        node: 0,
        silent: Duration::from_secs(60),
        fenced: true,
        votes: 2,
        quorum: 2,
        volumes: vec![0],
    }
}

/// Asks `careful` about the same with each of these settings.
fn recorded_with(settings: &[&str]) -> Recorded {
    let recorded = Recorded::new();
    for settings in settings {
        let host = recorded.host(1 << 20);
        host.load(&configured(&wasm("careful"), settings, 1)).unwrap();
        host.fail_over(&moment(0), &silence());
        host.flush_records();
    }
    recorded
}

const PATIENT: &str = r#"{"wait_seconds": 90}"#;
const HASTY: &str = r#"{"wait_seconds": 10}"#;

#[test]
fn each_question_is_asked_with_the_settings_that_were_in_force() {
    let recorded = recorded_with(&[PATIENT, HASTY, PATIENT]);

    let report = recorded.replay(&wasm("careful"));

    assert_eq!((report.asked, report.same, report.without_settings), (3, 3, 0), "{report:?}");
}

#[test]
fn other_settings_show_what_they_would_have_decided() {
    let recorded = recorded_with(&[PATIENT, HASTY]);

    let report = recorded.replay_with(&wasm("careful"), PATIENT);

    assert_eq!((report.asked, report.same), (2, 1), "{report:?}");
    // To wait.
    assert_eq!(report.different[0].now[0]["code"], 0, "{report:?}");
}

#[test]
fn nodes_and_volumes_are_called_as_operators_know_them() {
    let recorded = recorded_with(&[HASTY]);

    let report = recorded.replay_with(&wasm("careful"), PATIENT);

    let Difference { question, then, .. } = &report.different[0];
    assert_eq!(question["incident"]["node"], "a");
    assert_eq!(question["volumes"][0], "shop.data");
    assert_eq!(then["verdict"][0]["replica"], "b");
}

#[test]
fn settings_that_a_build_does_not_have_any_more_are_no_difference() {
    let recorded = recorded_with(&[PATIENT]);
    // As a former build called it.
    recorded.rewrite(|frame| {
        let text = String::from_utf8_lossy(&frame);
        let renamed = text.contains(PATIENT).then(|| text.replace("wait", "WAIT").into_bytes());
        Some(renamed.unwrap_or(frame))
    });

    let report = recorded.replay(&wasm("careful"));

    assert_eq!((report.different.len(), report.unanswerable.len()), (0, 1), "{report:?}");
    let said = report.unanswerable[0].now["message"].as_str().unwrap();
    assert!(said.contains("WAIT_seconds"), "{said}");
}

#[test]
fn of_records_without_settings_it_is_said_that_they_were_asked_with_none() {
    let recorded = recorded_with(&[PATIENT]);
    // Which kind of frame it is comes first; those that there were not are the last ones.
    recorded.rewrite(|frame| (frame[0] < 3).then_some(frame));

    let report = recorded.replay(&wasm("careful"));
    assert_eq!((report.asked, report.same, report.without_settings), (1, 0, 1), "{report:?}");

    let report = recorded.replay_with(&wasm("careful"), PATIENT);
    assert_eq!((report.asked, report.same, report.without_settings), (1, 1, 0), "{report:?}");
}

#[test]
fn a_record_that_was_cut_short_costs_only_itself() {
    let recorded = Recorded::new();
    recorded.ask(&wasm("spread"), 3);
    let first = recorded.segments().remove(0);
    let bytes = fs::read(&first).unwrap();
    fs::write(&first, &bytes[..bytes.len() - 7]).unwrap();
    recorded.ask(&wasm("spread"), 1);

    let report = recorded.replay(&wasm("spread"));

    assert_eq!((report.asked, report.same), (3, 3));
    assert_eq!(report.damaged, [first]);
}

#[test]
fn a_flipped_bit_is_found() {
    let recorded = Recorded::new();
    recorded.ask(&wasm("spread"), 3);
    let only = recorded.segments().remove(0);
    let whole = fs::read(&only).unwrap();
    for position in (0..whole.len()).step_by(97) {
        let mut bytes = whole.clone();
        bytes[position] ^= 4;
        fs::write(&only, &bytes).unwrap();

        let report = recorded.replay(&wasm("spread"));

        assert_eq!(report.damaged.len(), 1, "at {position}");
        assert_eq!(report.asked, report.same, "at {position}");
    }
}

#[test]
fn the_oldest_records_make_room_for_the_newest() {
    let recorded = Recorded::new();
    let limit = 64 << 10;
    let host = recorded.host(limit);
    host.load(&configured(&wasm("spread"), "", 1)).unwrap();
    for n in 0..600 {
        let decision = OperationId::new(format!("op-{n}")).unwrap();
        host.place(&view(), &PlacementQuestion { decision, ..about(n) });
        // The queue is bounded, and none must be dropped here.
        host.flush_records();
    }

    let total: u64 = recorded.segments().iter().map(|s| fs::metadata(s).unwrap().len()).sum();
    assert!(total <= limit, "{total}");
    let report = recorded.replay(&wasm("spread"));
    assert!(report.asked > 10 && report.asked < 600, "{}", report.asked);
    assert_eq!((report.same, report.damaged.len()), (report.asked, 0));
}

#[test]
fn what_is_said_over_and_over_is_written_down_once_in_a_while() {
    let recorded = Recorded::new();
    let host = recorded.host(1 << 20);
    host.load(&configured(&wasm("spread"), "", 1)).unwrap();
    for second in 0..100 {
        let now = view().now + Duration::from_secs(second);
        let decision = OperationId::new(format!("op-{second}")).unwrap();
        let view = ClusterView { now, ..ClusterView::clone(&view()) };
        host.place(&Arc::new(view), &PlacementQuestion { decision, ..question() });
    }
    host.flush_records();

    let report = recorded.replay(&wasm("spread"));

    assert_eq!((report.asked, report.same), (2, 2), "at the beginning, and after a minute");
}

#[test]
fn records_are_found_after_a_restart_and_by_time() {
    let recorded = Recorded::new();
    recorded.ask(&wasm("spread"), 2);
    recorded.ask(&wasm("spread"), 2);
    let host = PluginHost::new(HostConfig::default()).unwrap();
    let since = |at| host.replay(&configured(&wasm("spread"), "", 1), &recorded.records(), at);

    assert_eq!(since(view().now).unwrap().asked, 4);
    assert_eq!(since(Timestamp(view().now.0 + 1)).unwrap().asked, 0);
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    fs::write(&file, "").unwrap();
    let records = Some(RecordsConfig { folder: file.join("records"), bytes_max: 1 << 20 });

    let refused = PluginHost::new(HostConfig { records, ..HostConfig::default() }).unwrap_err();

    assert!(refused.to_string().contains("a-file/records"), "{refused}");
}
