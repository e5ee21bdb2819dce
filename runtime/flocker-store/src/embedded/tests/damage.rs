//! Files that are not a store, or no longer one: refused with words, and left as they are.

use std::{fs, path::Path};

use flocker_ports::{Store, StoreError, contract::store::StoreHarness};
use redb::{Database, TableDefinition};

use super::{EmbeddedStore, Harness, put};

/// Opens a file that must be refused, and checks that it was not touched.
#[track_caller]
fn refusal(path: &Path) -> impl Future<Output = StoreError> {
    let before = fs::read(path).unwrap();
    async move {
        let error = EmbeddedStore::open(path).await.expect_err("the file was accepted");
        assert!(fs::read(path).unwrap() == before, "the file was changed");
        error
    }
}

/// A file with forty records.
async fn filled() -> Harness {
    let mut harness = Harness::fresh().await;
    for i in 0..40 {
        harness.store().commit(put(&format!("key{i}"), &format!("{i}").repeat(100))).await.unwrap();
    }
    harness.close().await;
    harness
}

#[tokio::test]
async fn a_file_that_never_was_a_store_is_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    for content in
        [&b""[..], b"x", b"[node]\nname = \"one\"\n", &[0; 100_000], b"redb\x1A\x0A\xA9\x0D\x0A"]
    {
        fs::write(&path, content).unwrap();

        let error = refusal(&path).await;

        assert!(matches!(error, StoreError::Corrupt { .. }), "got {error:?}");
        let text = error.to_string();
        assert!(text.contains(path.to_str().unwrap()) && text.contains("\nhint: "), "got {text}");
    }
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let database = Database::create(&path).unwrap();
    let writing = database.begin_write().unwrap();
    writing
        .open_table(TableDefinition::<&str, u64>::new("theirs"))
        .unwrap()
        .insert("a", 1)
        .unwrap();
    writing.commit().unwrap();
    drop(database);

    let error = refusal(&path).await;

    assert!(
        matches!(&error, StoreError::Corrupt { reason, .. } if reason.contains("another program")),
        "got {error:?}"
    );
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused_and_kept() {
    let harness = filled().await;
    let database = Database::open(harness.path()).unwrap();
    let writing = database.begin_write().unwrap();
    writing
        .open_table(TableDefinition::<&str, u64>::new("meta"))
        .unwrap()
        .insert("version", 2)
        .unwrap();
    writing.commit().unwrap();
    drop(database);

    let error = refusal(&harness.path()).await;

    assert!(
        matches!(&error, StoreError::Failed { reason, .. } if reason.contains("newer")),
        "got {error:?}"
    );
}

#[tokio::test]
async fn a_store_cut_short_is_refused_and_kept() {
    let harness = filled().await;
    let whole = fs::read(harness.path()).unwrap();
    for part in 1..20 {
        fs::write(harness.path(), &whole[..whole.len() * part / 20]).unwrap();

        let error = refusal(&harness.path()).await;

        assert!(matches!(error, StoreError::Corrupt { .. }), "{part}/20: got {error:?}");
    }
}

/// Given one flipped bit anywhere, the store is refused and kept, or holds exactly what it held: a free page matters to
/// nobody.
#[tokio::test]
async fn a_flipped_bit_is_found_or_harmless() {
    let mut harness = filled().await;
    harness.restart().await;
    let want = harness.store().list("").await.unwrap();
    harness.close().await;
    let whole = fs::read(harness.path()).unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut n_found = 0;
    for i in 0..100 {
        let mut bad = whole.clone();
        let at = i * used / 100;
        bad[at] ^= 1 << (i % 8);
        fs::write(harness.path(), &bad).unwrap();
        match EmbeddedStore::open(&harness.path()).await {
            Ok(store) => {
                assert_eq!(store.list("").await.unwrap(), want, "a bit at {at} changed the records")
            }
            Err(StoreError::Corrupt { .. }) => {
                assert!(fs::read(harness.path()).unwrap() == bad, "the file was changed");
                n_found += 1;
            }
            Err(other) => panic!("a bit at {at}: got {other:?}"),
        }
    }
    assert!(n_found > 0, "no bit was found, so none was flipped where it matters");
}

#[tokio::test]
async fn a_second_user_of_the_file_is_refused_by_name() {
    let harness = Harness::fresh().await;
    harness.store().commit(put("x", "1")).await.unwrap();

    let error = EmbeddedStore::open(&harness.path()).await.expect_err("two have the file");

    let text = error.to_string();
    assert!(
        text.contains(harness.path().to_str().unwrap()) && text.contains("another process"),
        "got {text}"
    );
    harness.store().commit(put("x", "2")).await.unwrap();
}

#[tokio::test]
async fn a_folder_that_does_not_exist_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("no/store.redb");

    let error = EmbeddedStore::open(&path).await.expect_err("there is no such folder");

    assert!(error.to_string().contains(path.to_str().unwrap()), "got {error}");
}

/// What an interrupted first start left is no obstacle.
#[tokio::test]
async fn a_half_made_store_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    fs::write(folder.path().join("store.redb.new"), "half").unwrap();

    let store = EmbeddedStore::open(&path).await.unwrap();

    assert_eq!(store.commit(put("x", "1")).await.unwrap().0, 1);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
