//! Pools and datasets that do not do what they should, and what is said about it. Nothing is lost by any of it.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use flocker_ports::{Backend, BackendError, Change};
use flocker_zfs::{OpenError, ZfsBackend};

use super::{ONE, SIZE, TestPool, op, points, pool::run, snap, tag, volume, write};

/// A small filesystem in memory, in which a pool's disk runs out of room.
#[derive(Debug)]
struct Small(PathBuf);

impl Small {
    fn over(folder: &Path) -> Self {
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=100M", "none"]).arg(folder));
        Self(folder.to_owned())
    }

    fn fill(&self) {
        let mut ballast = File::create(self.0.join("ballast")).unwrap();
        while ballast.write_all(&[0; 1 << 16]).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Given a disk that takes no more writes, whatever the pool does then, changes are refused within seconds; with the disk
/// back, everything is as it was answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_pool_is_named_and_loses_nothing() {
    for mode in ["wait", "continue"] {
        let folder = tempfile::tempdir().unwrap();
        let disk = Small::over(folder.path());
        let pool = TestPool::in_folder(folder, 300 << 20).await;
        run(Command::new("zpool").args(["set", &format!("failmode={mode}"), &pool.name]));
        let (on, v) = (pool.backend(), volume("v"));
        on.create(&op(ONE), &v, &SIZE.into(), None).await.unwrap();
        write(on, &v, ONE, "a", b"a").await;
        let one = snap(on, &v, ONE, "one").await;

        disk.fill();
        let began = Instant::now();
        let refused = on.snapshot(&op(ONE), std::slice::from_ref(&v), &tag("two")).await;
        disk.make_room();
        run(Command::new("zpool").args(["clear", &pool.name]));

        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(&format!("`{}` is suspended", pool.name)), "{mode}: {refused}");
        assert!(refused.contains("hint: ") && refused.contains("`v`"), "{mode}: {refused}");
        assert!(began.elapsed() < Duration::from_secs(30), "{mode}: {:?}", began.elapsed());
        let two = snap(on, &v, ONE, "two").await;
        assert_eq!(points(on, &v).await, [one, two]);
        let at = on.attach(&op(ONE), &v).await.unwrap();
        assert_eq!(fs::read(at.path.join("a")).unwrap(), b"a");
        drop(pool);
    }
}

/// Given a pool that was imported for reading alone, its volumes are listed, and everything else says why it is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_pool_is_listed_and_changed_by_nobody() {
    let mut pool = TestPool::new().await;
    let v = volume("v");
    pool.backend().create(&op(ONE), &v, &SIZE.into(), None).await.unwrap();
    let one = snap(pool.backend(), &v, ONE, "one").await;
    let import = |how: &[&str]| {
        run(Command::new("zpool").args(["export", "-f", &pool.name]));
        let folder = pool.folder.path();
        run(Command::new("zpool").arg("import").args(how).arg("-d").arg(folder).arg(&pool.name));
    };

    import(&["-o", "readonly=on"]);
    let on = pool.backend();
    let refused = [
        on.stat(&v).await.unwrap_err(),
        on.snapshots(&v).await.unwrap_err(),
        on.create(&op(ONE), &volume("w"), &SIZE.into(), None).await.unwrap_err(),
        on.snapshot(&op(ONE), std::slice::from_ref(&v), &tag("two")).await.unwrap_err(),
        on.destroy_snapshots(&op(ONE), &v, std::slice::from_ref(&one)).await.unwrap_err(),
        on.seal(&op(ONE), &v).await.unwrap_err(),
        on.destroy(&op(ONE), &v).await.unwrap_err(),
    ];

    for error in refused {
        let said = error.to_string();
        assert!(matches!(error, BackendError::Failed { .. }), "{said}");
        assert!(said.contains("read-only") && said.contains("hint: "), "{said}");
    }
    assert_eq!(on.volumes().await.unwrap().len(), 1);
    import(&[]);
    pool.reopen().await;
    assert_eq!(pool.backend().troubles(), [""; 0]);
    assert_eq!(points(pool.backend(), &v).await, [one]);
    write(pool.backend(), &v, ONE, "a", b"a").await;
}

/// Given no such pool, it is not made and not taken for an empty one.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_not_imported_is_named() {
    let pool = TestPool::new().await;
    run(Command::new("zpool").args(["export", &pool.name]));

    let error = ZfsBackend::open(pool.config()).await.unwrap_err();

    assert!(matches!(error, OpenError::NoPool(_)), "{error}");
    let said = error.to_string();
    assert!(said.contains(&format!("`{}`", pool.name)) && said.contains("zpool import"), "{said}");
    run(Command::new("zpool").arg("import").arg("-d").arg(pool.folder.path()).arg(&pool.name));
}

/// Given a process of another mount namespace that still uses the volume, it is removed once that ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_another_namespace_uses_is_busy_until_that_ends() {
    let pool = TestPool::new().await;
    let (on, v) = (pool.backend(), volume("v"));
    on.create(&op(ONE), &v, &SIZE.into(), None).await.unwrap();
    let at = on.attach(&op(ONE), &v).await.unwrap();
    let mut other = Command::new("unshare");
    other.args(["-m", "--propagation", "private", "sh", "-c", "cd $0 && echo ready; read end"]);
    other.arg(&at.path);
    let mut other = other.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(other.stdout.take().unwrap()).read_line(&mut ready).unwrap();

    let busy = on.destroy(&op(ONE), &v).await;
    drop(other.stdin.take());
    other.wait().unwrap();

    let busy = busy.unwrap_err();
    assert!(matches!(busy, BackendError::Busy { .. }), "{busy}");
    let said = busy.to_string();
    assert!(said.contains("hint: ") && said.contains(&pool.dataset("v")), "{said}");
    assert_eq!(on.destroy(&op(ONE), &v).await.unwrap(), Change::None, "it was decided before");
    on.create(&op(ONE), &v, &SIZE.into(), None).await.unwrap();
}
