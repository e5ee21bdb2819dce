//! Pools in files.

use std::process::Command;

use flocker_model::ByteSize;
use flocker_ports::Backend;
use flocker_zfs::{PoolFile, ZfsBackend, ZfsConfig};

use super::{
    ONE, SIZE, op,
    pool::{helper, run},
    volume,
};

/// Destroyed at the end, also of a test that fails.
struct Doomed(String);

impl Drop for Doomed {
    fn drop(&mut self) {
        let _ = Command::new("zpool").args(["destroy", "-f", &self.0]).output();
    }
}

/// Given a file that is not there, a pool is made in it once, found again, and imported again after a restart; a pool of
/// somebody else is left alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_in_a_file_is_made_once_and_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("trial{}", std::process::id());
    let path = folder.path().join("deep").join(format!("{name}.zfs"));
    let file = PoolFile { path: path.clone(), size: ByteSize::mib(512) };
    let _doomed = Doomed(name.clone());

    assert_eq!(file.ensure().await.unwrap(), name);
    let config = ZfsConfig {
        parent: format!("{name}/flocker"),
        mounts: folder.path().join("mounts"),
        helper: helper(),
        secrets: folder.path().join("secrets"),
        zfs: None,
    };
    let backend = ZfsBackend::open(config.clone()).await.unwrap();
    backend.create(&op(ONE), &volume("v"), &SIZE.into(), None).await.unwrap();
    drop(backend);
    assert_eq!(file.ensure().await.unwrap(), name, "it is imported already");
    run(Command::new("umount").arg(folder.path().join("mounts/v")));
    run(Command::new("zpool").args(["export", &name]));
    assert_eq!(file.ensure().await.unwrap(), name, "it is imported again");
    let backend = ZfsBackend::open(config).await.unwrap();
    assert!(backend.stat(&volume("v")).await.unwrap().is_some());

    let other = PoolFile { path: folder.path().join(format!("{name}.zfs")), ..file };
    let refused = other.ensure().await.unwrap_err().to_string();
    assert!(refused.contains("another pool") && refused.contains("hint"), "{refused}");
    let small = PoolFile { path: folder.path().join("small.zfs"), size: ByteSize::mib(1) };
    assert!(small.ensure().await.is_err());
    assert!(!small.path.exists(), "nothing is left of a pool that could not be made");
}
