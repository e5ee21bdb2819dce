//! Volumes that are encrypted: what leaves a node, who can open what, and that going there and back breaks nothing.

use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use flocker_model::{ByteSize, Epoch, Point, Role, VolumeId, VolumeOptions};
use flocker_ports::{Backend, BackendError};
use flocker_zfs::ZfsBackend;

use super::{ONE, SIZE, TWO, World, feed, noise, op, pool::zfs, snap, stream, volume, write};

const PLAIN: &[u8] = b"nobody on the way may read this, nor who keeps a copy of it";

/// How often a volume goes to the other node and back, where `FLOCKER_ROUND_TRIPS` does not say.
const ROUND_TRIPS: u64 = 5;

pub(super) fn put_key(folder: &Path, digits: &str) {
    if !folder.is_dir() {
        fs::DirBuilder::new().mode(0o700).create(folder).unwrap();
    }
    let mut options = fs::File::options();
    let file = options.create(true).truncate(true).write(true).mode(0o600).open(folder.join("k"));
    file.unwrap().write_all(digits.as_bytes()).unwrap();
}

/// Two nodes that know the same key.
async fn world() -> World {
    let world = World::new().await;
    for pool in [&world.source, &world.target] {
        put_key(&pool.secrets(), &"5a".repeat(32));
    }
    world
}

pub(super) fn options() -> VolumeOptions {
    VolumeOptions { secret: Some("k".parse().unwrap()), ..SIZE.into() }
}

async fn copy(
    from: &ZfsBackend,
    to: &ZfsBackend,
    volume: &VolumeId,
    (base, point): (Option<&Point>, &Point),
    epoch: Epoch,
) -> Result<Vec<u8>, BackendError> {
    let mut receiver = to.receive(&op(epoch), volume, base, point, &options()).await?;
    let bytes = stream(from, volume, base, point, None).await;
    feed(receiver.as_mut(), &bytes).await?;
    receiver.finish().await?;
    Ok(bytes)
}

fn property(name: &str, dataset: &str) -> String {
    zfs(&["get", "-Hpo", "value", name, dataset]).trim().to_owned()
}

async fn file(on: &ZfsBackend, volume: &VolumeId, epoch: Epoch, name: &str) -> Vec<u8> {
    let at = on.attach(&op(epoch), volume).await.unwrap();
    fs::read(at.path.join(name)).unwrap()
}

/// Given a volume with words in it, its streams hold none of them, the replica is closed, and its promotion opens it.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_a_node_in_the_clear() {
    let world = world().await;
    let (here, there, v) = (world.source.backend(), world.target.backend(), volume("v"));
    here.create(&op(ONE), &v, &options(), None).await.unwrap();
    write(here, &v, ONE, "words", &PLAIN.repeat(1000)).await;
    let one = snap(here, &v, ONE, "one").await;

    let bytes = copy(here, there, &v, (None, &one), ONE).await.unwrap();

    assert!(!bytes.windows(PLAIN.len()).any(|window| window == PLAIN));
    let replica = world.target.dataset("v");
    assert_eq!(property("encryption", &replica), "aes-256-gcm");
    assert_eq!(property("keystatus", &replica), "unavailable");
    here.seal(&op(ONE), &v).await.unwrap();
    there.promote(&op(TWO), &v, &one).await.unwrap();
    assert_eq!(file(there, &v, TWO, "words").await, PLAIN.repeat(1000));
    here.retire(&op(TWO), &v, &one).await.unwrap();
    let source = world.source.dataset("v");
    assert_eq!(property("keystatus", &source), "unavailable", "a replica needs no key");
}

/// Given a node without the key, or with another one, it is no node for a copy, and says what to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_the_right_key_takes_no_copy() {
    let world = world().await;
    let (here, there, v) = (world.source.backend(), world.target.backend(), volume("v"));
    here.create(&op(ONE), &v, &options(), None).await.unwrap();
    let one = snap(here, &v, ONE, "one").await;

    fs::remove_file(world.target.secrets().join("k")).unwrap();
    let missing = copy(here, there, &v, (None, &one), ONE).await.unwrap_err().to_string();
    put_key(&world.target.secrets(), "too short");
    let short = copy(here, there, &v, (None, &one), ONE).await.unwrap_err().to_string();
    put_key(&world.target.secrets(), &"00".repeat(32));
    let wrong = copy(here, there, &v, (None, &one), ONE).await.unwrap_err().to_string();
    let again = copy(here, there, &v, (None, &one), ONE).await.unwrap_err().to_string();
    put_key(&world.target.secrets(), &"5a".repeat(32));
    copy(here, there, &v, (None, &one), ONE).await.unwrap();

    assert!(missing.contains("secrets/k"), "{missing}");
    assert!(short.contains("openssl rand -hex 32"), "{short}");
    assert!(wrong.contains("is not its key"), "{wrong}");
    assert_eq!(wrong, again, "what is here already is no better");
    assert!(there.stat(&v).await.unwrap().is_some());
}

/// Given a node that starts without the key of a volume of its own, that volume alone does not work, and does as soon as
/// the key is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_there_at_a_start_is_read_when_it_is() {
    let mut world = world().await;
    let (v, w) = (volume("v"), volume("w"));
    let here = world.source.backend();
    here.create(&op(ONE), &v, &options(), None).await.unwrap();
    here.create(&op(ONE), &w, &SIZE.into(), None).await.unwrap();
    write(here, &v, ONE, "words", PLAIN).await;
    fs::remove_file(world.source.secrets().join("k")).unwrap();
    world.source.import_again().await;
    let here = world.source.backend();

    let refused = here.attach(&op(ONE), &v).await.unwrap_err().to_string();

    assert!(refused.contains("secrets/k"), "{refused}");
    assert!(here.troubles().iter().any(|trouble| trouble.contains("volume `v`")));
    here.attach(&op(ONE), &w).await.unwrap();
    put_key(&world.source.secrets(), &"5a".repeat(32));
    assert_eq!(file(here, &v, ONE, "words").await, PLAIN);
}

/// Given a volume that goes to the other node and back many times, by increments alone and through cut streams, all that
/// was written is there at the end, and the pools find nothing wrong with themselves.
#[tokio::test(flavor = "multi_thread")]
async fn there_and_back_many_times_breaks_nothing() {
    let n_trips = std::env::var("FLOCKER_ROUND_TRIPS").map_or(ROUND_TRIPS, |n| n.parse().unwrap());
    let world = world().await;
    let (mut from, mut to) = (world.source.backend(), world.target.backend());
    let v = volume("v");
    from.create(&op(ONE), &v, &options(), None).await.unwrap();
    write(from, &v, ONE, "ballast", &noise(4 << 20)).await;
    let mut base = snap(from, &v, ONE, "begin").await;
    let whole = copy(from, to, &v, (None, &base), ONE).await.unwrap().len();
    for round in 1..=2 * n_trips {
        let epoch = Epoch(round);
        write(from, &v, epoch, &format!("f{round}"), &round.to_le_bytes().repeat(1000)).await;
        let middle = snap(from, &v, epoch, &format!("middle-{round}")).await;
        // A stream that is cut in its middle, and goes on from there.
        let bytes = stream(from, &v, Some(&base), &middle, None).await;
        assert!(bytes.len() < whole / 8, "an increment of {} bytes", bytes.len());
        let mut cut = to.receive(&op(epoch), &v, Some(&base), &middle, &options()).await.unwrap();
        feed(cut.as_mut(), &bytes[..bytes.len() / 2]).await.unwrap();
        drop(cut);
        let mut rest = to.receive(&op(epoch), &v, Some(&base), &middle, &options()).await.unwrap();
        let bytes = stream(from, &v, Some(&base), &middle, rest.resume_token().as_ref()).await;
        feed(rest.as_mut(), &bytes).await.unwrap();
        rest.finish().await.unwrap();
        from.seal(&op(epoch), &v).await.unwrap();
        let last = snap(from, &v, epoch, &format!("last-{round}")).await;
        copy(from, to, &v, (Some(&middle), &last), epoch).await.unwrap();
        to.promote(&op(epoch.next()), &v, &last).await.unwrap();
        from.retire(&op(epoch.next()), &v, &last).await.unwrap();
        for backend in [from, to] {
            let gone = [base.clone(), middle.clone()];
            backend.destroy_snapshots(&op(epoch.next()), &v, &gone).await.unwrap();
        }
        base = last;
        std::mem::swap(&mut from, &mut to);
    }

    let epoch = Epoch(2 * n_trips + 1);
    assert_eq!(from.stat(&v).await.unwrap().unwrap().role, Role::Live);
    assert_eq!(file(from, &v, epoch, "ballast").await, noise(4 << 20));
    for round in 1..=2 * n_trips {
        let found = file(from, &v, epoch, &format!("f{round}")).await;
        assert_eq!(found, round.to_le_bytes().repeat(1000), "round {round}");
    }
    for pool in [&world.source, &world.target] {
        let status = pool.scrub();
        assert!(status.contains("with 0 errors"), "{status}");
        assert!(status.contains("No known data errors"), "{status}");
    }
}

/// Given options of how files are kept, both copies keep them so, and room is reserved where the volume is writable.
#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_kept_as_its_options_say() {
    let world = World::new().await;
    let (here, there, v) = (world.source.backend(), world.target.backend(), volume("v"));
    let options = VolumeOptions {
        record_size: Some("16KiB".parse().unwrap()),
        compression: Some("zstd".parse().unwrap()),
        reserved: true,
        ..SIZE.into()
    };
    here.create(&op(ONE), &v, &options, None).await.unwrap();
    write(here, &v, ONE, "a", &noise(1 << 20)).await;
    let one = snap(here, &v, ONE, "one").await;
    let mut receiver = there.receive(&op(ONE), &v, None, &one, &options).await.unwrap();
    feed(receiver.as_mut(), &stream(here, &v, None, &one, None).await).await.unwrap();
    receiver.finish().await.unwrap();
    let (source, target) = (world.source.dataset("v"), world.target.dataset("v"));
    let seen = |dataset: &str| {
        ["recordsize", "compression", "refreservation"].map(|name| property(name, dataset))
    };

    let reserved = SIZE.0.to_string();
    assert_eq!(seen(&source), ["16384", "zstd", &reserved]);
    assert_eq!(seen(&target), ["16384", "zstd", "0"]);
    here.seal(&op(ONE), &v).await.unwrap();
    there.promote(&op(TWO), &v, &one).await.unwrap();
    here.retire(&op(TWO), &v, &one).await.unwrap();
    assert_eq!(seen(&source), ["16384", "zstd", "0"]);
    assert_eq!(seen(&target), ["16384", "zstd", &reserved]);
    there.resize(&op(TWO), &v, ByteSize::mib(32)).await.unwrap();
    assert_eq!(property("refreservation", &target), ByteSize::mib(32).0.to_string());
    let huge = VolumeOptions { reserved: true, ..ByteSize::gib(900).into() };
    let full = there.create(&op(ONE), &volume("huge"), &huge, None).await.unwrap_err();
    assert!(matches!(full, BackendError::PoolFull { .. }), "{full}");
}
