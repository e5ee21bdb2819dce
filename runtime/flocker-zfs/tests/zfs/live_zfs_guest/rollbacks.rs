//! Ways back that end in the middle, and what else is in the pool then.

use std::{fs, process::Command};

use flocker_model::{Point, VolumeOptions};
use flocker_ports::{Backend, BackendError, Change};

use super::{
    ONE, SIZE, TestPool,
    encrypted::{options as encrypted, put_key},
    op, points,
    pool::{run, zfs},
    snap, volume, write,
};

/// Given a volume `v` with snapshots `one` and `two`, and in its file `f` how many there were when it was written.
async fn written(pool: &TestPool, options: &VolumeOptions) -> [Point; 2] {
    let (on, v) = (pool.backend(), volume("v"));
    on.create(&op(ONE), &v, options, None).await.unwrap();
    write(on, &v, ONE, "f", b"0").await;
    let one = snap(on, &v, ONE, "one").await;
    write(on, &v, ONE, "f", b"1").await;
    let two = snap(on, &v, ONE, "two").await;
    write(on, &v, ONE, "f", b"2").await;
    [one, two]
}

async fn went_back(pool: &TestPool, [one, two]: &[Point; 2]) {
    let on = pool.backend();
    assert_eq!(on.troubles(), [""; 0]);
    for (name, content, held) in [("v", b"0", one), ("kept", b"2", two)] {
        let at = on.attach(&op(ONE), &volume(name)).await.unwrap();
        assert_eq!(fs::read(at.path.join("f")).unwrap(), content);
        assert_eq!(points(on, &volume(name)).await, std::slice::from_ref(held));
        write(on, &volume(name), ONE, "g", b"it can be written").await;
    }
    assert_eq!(on.volumes().await.unwrap().len(), 2);
}

/// Given each state that a crash between two steps of a way back leaves, the next open finishes it, and asking again
/// changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_way_back_that_ended_in_the_middle_is_finished_by_the_next_open() {
    for n_steps in 1..=5 {
        let mut pool = TestPool::new().await;
        let both = written(&pool, &SIZE.into()).await;
        let (from, to) = (pool.dataset("v"), pool.dataset("kept"));
        run(Command::new("umount").arg(pool.folder.path().join("mounts/v")));
        let going = format!("io.flocker:way=going v kept one {}", both[0].guid);
        let origin = format!("{to}@flocker-one");
        let size = format!("io.flocker:size={}", SIZE.0);
        let clone = ["clone", "-o", "mountpoint=legacy", "-o", "io.flocker:role=making", "-o"];
        let clone = [&clone[..], &["io.flocker:epoch=1", "-o", &size, &origin, &from]].concat();
        let steps: [&[&str]; 5] = [
            &["set", &going, &from],
            &["rename", &from, &to],
            &clone,
            &["set", "io.flocker:role=live", &from],
            &["promote", &from],
        ];
        for step in &steps[..n_steps] {
            zfs(step);
        }

        pool.reopen().await;

        went_back(&pool, &both).await;
        let (v, kept) = (volume("v"), volume("kept"));
        let again = pool.backend().rollback(&op(ONE), &v, &both[0], &kept).await.unwrap();
        assert_eq!(again, Change::None, "after {n_steps} steps");
    }
}

/// Given a way back that cannot go on, the volume is said to be what it was, nothing else is done with it, and asking again
/// finishes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_way_back_that_is_held_up_loses_nothing() {
    let pool = TestPool::new().await;
    let both = written(&pool, &SIZE.into()).await;
    let (on, v, kept) = (pool.backend(), volume("v"), volume("kept"));
    let before = on.stat(&v).await.unwrap().unwrap();
    // The folder at which the new one is to be marked cannot be made.
    let folder = pool.folder.path().join("mounts/kept");
    fs::write(&folder, "in the way").unwrap();

    on.rollback(&op(ONE), &v, &both[0], &kept).await.unwrap_err();

    let said = on.stat(&v).await.unwrap().unwrap();
    assert_eq!((said.role, said.epoch, said.size), (before.role, before.epoch, before.size));
    assert_eq!(on.stat(&kept).await.unwrap(), None);
    assert_eq!(on.volumes().await.unwrap().len(), 1);
    let busy = on.destroy(&op(ONE), &kept).await.unwrap_err();
    assert!(matches!(busy, BackendError::Busy { .. }), "{busy}");
    let busy = on.attach(&op(ONE), &v).await.unwrap_err();
    assert!(busy.to_string().contains("on its way back to its snapshot `one`"), "{busy}");
    fs::remove_file(&folder).unwrap();
    on.rollback(&op(ONE), &v, &both[0], &kept).await.unwrap();
    went_back(&pool, &both).await;
}

/// Given an encrypted volume with room of its own and snapshots of somebody else's, both are kept as it was, can be opened
/// after a restart, and theirs are all there.
#[tokio::test(flavor = "multi_thread")]
async fn both_are_kept_as_the_volume_was() {
    let mut pool = TestPool::new().await;
    put_key(&pool.secrets(), &"5a".repeat(32));
    let options = VolumeOptions {
        record_size: Some("16KiB".parse().unwrap()),
        reserved: true,
        ..encrypted()
    };
    let both = written(&pool, &options).await;
    let dataset = pool.dataset("v");
    zfs(&["snapshot", &format!("{dataset}@late")]);

    let on = pool.backend();
    on.rollback(&op(ONE), &volume("v"), &both[0], &volume("kept")).await.unwrap();
    pool.import_again().await;

    went_back(&pool, &both).await;
    let property = |name: &str, of: &str| {
        zfs(&["get", "-Hpo", "value", name, &pool.dataset(of)]).trim().to_owned()
    };
    for name in ["v", "kept"] {
        assert_eq!(property("recordsize", name), "16384");
        assert_eq!(property("refreservation", name), SIZE.0.to_string());
        assert_eq!(property("encryption", name), "aes-256-gcm");
    }
    zfs(&["list", "-t", "snapshot", &format!("{}@late", pool.dataset("kept"))]);
    let on = pool.backend();
    assert_eq!(on.bookmarks(&volume("v")).await.unwrap(), []);
    on.destroy(&op(ONE), &volume("v")).await.unwrap();
    assert!(on.attach(&op(ONE), &volume("kept")).await.is_ok());
}
