//! A pool in a file, destroyed at the end, also of a test that fails.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
};

use flocker_zfs::{ZfsBackend, ZfsConfig};

/// A pool and the backend on it.
#[derive(Debug)]
pub(super) struct TestPool {
    pub(super) backend: Option<ZfsBackend>,
    pub(super) name: String,
    pub(super) folder: tempfile::TempDir,
}

impl TestPool {
    pub(super) async fn new() -> Self {
        Self::of_size(512 << 20).await
    }

    pub(super) async fn of_size(bytes: u64) -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), bytes).await
    }

    pub(super) async fn in_folder(folder: tempfile::TempDir, bytes: u64) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("flk{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let image = folder.path().join("pool.img");
        File::create(&image).unwrap().set_len(bytes).unwrap();
        let mut pool = Self { backend: None, name, folder };
        let args = ["-o", "cachefile=none", "-m", "none", &pool.name];
        run(Command::new("zpool").arg("create").args(args).arg(&image));
        pool.reopen().await;
        pool
    }

    /// Where the node's keys are.
    pub(super) fn secrets(&self) -> PathBuf {
        self.folder.path().join("secrets")
    }

    pub(super) fn config(&self) -> ZfsConfig {
        ZfsConfig {
            parent: format!("{}/flocker", self.name),
            mounts: self.folder.path().join("mounts"),
            helper: helper(),
            secrets: self.secrets(),
            zfs: None,
        }
    }

    /// What a program finds that comes after one that was killed: everything mounted, nobody at home.
    pub(super) async fn reopen(&mut self) {
        self.backend = None;
        self.backend = Some(ZfsBackend::open(self.config()).await.unwrap());
    }

    /// What a program finds after a restart of the machine: nothing mounted, and a kernel that knows no keys.
    pub(super) async fn import_again(&mut self) {
        self.backend = None;
        let mounts = self.folder.path().join("mounts");
        for mounted in std::fs::read_dir(mounts).unwrap() {
            run(Command::new("umount").arg(mounted.unwrap().path()));
        }
        run(Command::new("zpool").args(["export", &self.name]));
        let import = ["import", "-o", "cachefile=none", "-d"];
        run(Command::new("zpool").args(import).arg(self.folder.path()).arg(&self.name));
        self.backend = Some(ZfsBackend::open(self.config()).await.unwrap());
    }

    /// Reads everything, and answers what the pool says of itself afterwards.
    pub(super) fn scrub(&self) -> String {
        run(Command::new("zpool").args(["scrub", "-w", &self.name]));
        run(Command::new("zpool").args(["status", &self.name]))
    }

    pub(super) fn backend(&self) -> &ZfsBackend {
        self.backend.as_ref().unwrap()
    }

    /// The dataset of a volume.
    pub(super) fn dataset(&self, volume: &str) -> String {
        format!("{}/flocker/{volume}", self.name)
    }
}

impl Drop for TestPool {
    fn drop(&mut self) {
        self.backend = None;
        let _ = Command::new("zpool").args(["destroy", "-f", &self.name]).output();
    }
}

/// Runs `zfs` as an operator would. Answers what it printed.
pub(super) fn zfs(args: &[&str]) -> String {
    run(Command::new("zfs").args(args))
}

/// Runs a command that must not fail.
pub(super) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub(super) fn helper() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../flocker-zfs-helper/target/debug/flocker-zfs-helper");
    std::env::var_os("FLOCKER_ZFS_HELPER").map_or(built, PathBuf::from)
}
