//! A small cluster, a question about it, and a host with tight limits.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use flocker_model::{
    AppName, ByteSize, Capacity, CpuMillis, NodeName, OperationId, Purpose, Revision, Timestamp,
};
use flocker_planner::{
    BuiltIn, ClusterView, Decision, NodeRow, PlacementQuestion, Policies, decide,
};
use flocker_plugins::{Configured, HostConfig, Limits, PluginHost};
use tempfile::TempDir;

use crate::forge::Forge;

/// A plugin as an operator configures it.
pub(crate) fn configured(path: &Path, settings: &str, weight: u32) -> Configured {
    Configured { settings: settings.to_owned(), weight, ..Configured::new(path) }
}

/// `a` is empty, `b` holds one app, `c` two and most of its memory is promised.
pub(crate) fn view() -> Arc<ClusterView> {
    let node = |name: &str, apps: u32, promised: u64| NodeRow {
        memory: Capacity { total: ByteSize::gib(16), free: ByteSize::gib(16 - promised) },
        cpu: CpuMillis(4000),
        memory_promised: ByteSize::gib(promised),
        pool: Capacity { total: ByteSize::gib(100), free: ByteSize::gib(50) },
        apps,
        labels: BTreeMap::from([("zone".to_owned(), format!("zone-{name}"))]),
        ..NodeRow::new(NodeName::new(name).unwrap())
    };
    let view = ClusterView {
        generation: Revision(7),
        now: Timestamp(1_000_000),
        nodes: vec![node("a", 0, 0), node("b", 1, 4), node("c", 2, 12)],
        ..ClusterView::default()
    };
    Arc::new(view)
}

pub(crate) fn question() -> PlacementQuestion {
    PlacementQuestion {
        decision: OperationId::new("op-1").unwrap(),
        seed: 42,
        what: flocker_planner::Placed::App,
        purpose: Purpose::Create,
        name: AppName::new("shop").unwrap(),
        app: None,
        volumes: vec![],
        current: None,
        size: ByteSize::gib(1),
        memory: ByteSize::gib(1),
        cpu: CpuMillis(500),
        holders: vec![],
        labels: BTreeMap::new(),
        candidates: vec![0, 1, 2],
    }
}

/// A host and the folder of its plugins.
pub(crate) struct World {
    pub(crate) host: PluginHost,
    folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        // Small enough that a runaway ends in milliseconds.
        let limits = Limits {
            fuel: 20_000_000,
            wall: Duration::from_secs(5),
            wall_start: Duration::from_secs(5),
            ..Limits::default()
        };
        Self::with(limits)
    }

    pub(crate) fn with(limits: Limits) -> Self {
        let cache = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache"));
        let host = PluginHost::new(HostConfig { limits, cache, ..HostConfig::default() }).unwrap();
        Self { host, folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Loads a component that is expected to load.
    #[track_caller]
    pub(crate) fn load(&self, name: &str, plugin: &Forge) {
        let path = self.file(name, &plugin.build());
        self.host.load(&configured(&path, "", 1)).unwrap();
    }

    /// What loading says.
    #[track_caller]
    pub(crate) fn refused(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.file(name, bytes);
        let text = self.host.load(&configured(&path, "", 1)).unwrap_err().to_string();
        text.replace(&self.folder.path().display().to_string(), "FOLDER")
    }

    pub(crate) fn decide_at(&self, now: Timestamp) -> Decision {
        self.decided(now, &question())
    }

    /// Asks about another app.
    pub(crate) fn decide_about(&self, app: &str) -> Decision {
        let name = AppName::new(app).unwrap();
        self.decided(view().now, &PlacementQuestion { name, ..question() })
    }

    fn decided(&self, now: Timestamp, question: &PlacementQuestion) -> Decision {
        let view = Arc::new(ClusterView { now, ..ClusterView::clone(&view()) });
        let answers = self.host.place(&view, question);
        decide(&view, question, answers, &BuiltIn)
    }

    pub(crate) fn decide(&self) -> Decision {
        self.decide_at(view().now)
    }
}
