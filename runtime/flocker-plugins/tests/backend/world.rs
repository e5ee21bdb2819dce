//! A backend in temporary folders, whose mounts are taken away at the end, also of a test that fails.

use std::{
    fs,
    path::{Path, PathBuf},
};

use flocker_model::{ByteSize, Epoch, OperationId, SnapshotTag, VolumeId};
use flocker_plugins::{BackendConfig, BackendLimits, Grants, OpenBackendError, PluginBackend};
use flocker_ports::Op;

pub(crate) const ONE: Epoch = Epoch(1);
pub(crate) const TWO: Epoch = Epoch(2);
pub(crate) const SIZE: ByteSize = ByteSize::mib(64);

/// The component of `plugins/`, as an operator uses it.
pub(crate) fn dir_backend() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../plugins/target/wasm32-unknown-unknown/release/dir_backend.wasm");
    let shown = path.display();
    assert!(path.exists(), "`{shown}` is missing\nhint: cd plugins && cargo build --release");
    path
}

/// What is granted: a directory and a small store.
pub(crate) fn grants(pool: &Path) -> Grants {
    let directory = format!("directory=pool:{}", pool.display());
    Grants::new([directory.parse().unwrap(), "kv=1KiB".parse().unwrap()]).unwrap()
}

/// One node.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    backend: Option<PluginBackend>,
}

impl World {
    pub(crate) async fn new(component: &Path, limits: BackendLimits) -> Self {
        let mut world = Self { folder: tempfile::tempdir().unwrap(), backend: None };
        fs::create_dir(world.pool()).unwrap();
        world.backend = Some(world.open(component, limits).await.unwrap());
        world
    }

    pub(crate) async fn open(
        &self,
        component: &Path,
        limits: BackendLimits,
    ) -> Result<PluginBackend, OpenBackendError> {
        PluginBackend::open(self.config(component, limits)).await
    }

    pub(crate) fn config(&self, component: &Path, limits: BackendLimits) -> BackendConfig {
        BackendConfig {
            path: component.to_owned(),
            settings: String::new(),
            grants: grants(&self.pool()),
            state_dir: self.folder.path().join("state"),
            cache: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache")),
            limits,
            signed_by: None,
        }
    }

    /// What comes after a daemon that was killed: mounts are there, nobody is at home.
    pub(crate) async fn reopen(&mut self, component: &Path) {
        self.backend = None;
        self.backend = Some(self.open(component, BackendLimits::default()).await.unwrap());
    }

    pub(crate) fn backend(&self) -> &PluginBackend {
        self.backend.as_ref().unwrap()
    }

    pub(crate) fn pool(&self) -> PathBuf {
        self.folder.path().join("pool")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(backend) = &self.backend {
            backend.close().unwrap();
        }
    }
}

pub(crate) fn op(epoch: Epoch) -> Op {
    Op { id: OperationId::new("test").unwrap(), epoch }
}

pub(crate) fn tag(name: &str) -> SnapshotTag {
    SnapshotTag::new(name).unwrap()
}

pub(crate) fn volume(name: &str) -> VolumeId {
    VolumeId::new(name).unwrap()
}
