//! Every question and answer is on the disk, and can be asked again, of the same plugin or of another.

use std::{
    fs,
    path::{Path, PathBuf},
};

use flocker_model::{OperationId, Timestamp};
use flocker_planner::{PlacementQuestion, Policies};
use flocker_plugins::{HostConfig, PluginHost, RecordsConfig, ReplayReport};
use tempfile::TempDir;

use crate::{
    forge::{ANSWER, COUNT, DROP_VIEW, Forge, fill},
    guest::wasm,
    world::{configured, question, view},
};

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
            host.place(&view(), &PlacementQuestion { decision, ..question() });
        }
        host.flush_records();
    }

    /// Asks a plugin the recorded questions, in a host that keeps none.
    fn replay(&self, plugin: &Path) -> ReplayReport {
        let host = PluginHost::new(HostConfig::default()).unwrap();
        host.replay(&configured(plugin, "", 1), &self.records(), Timestamp(0)).unwrap()
    }

    pub(crate) fn forged(&self, name: &str, plugin: &Forge) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, plugin.build()).unwrap();
        path
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
        host.place(&view(), &PlacementQuestion { decision, ..question() });
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
