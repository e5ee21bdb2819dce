//! A process that commits is killed, many times, at any moment.

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flocker_ports::{Store, contract::store::StoreHarness};

use super::{EmbeddedStore, Harness, put};

/// Tells the test that it is the process to be killed, and which file it writes.
const VICTIM: &str = "FLOCKER_STORE_VICTIM";

/// Kills. Enough to hit a commit before, in and after its sync.
const ROUNDS: u64 = 30;

/// Ends the process with the test, however the test ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Commits for ever, and prints `KEY REVISION` for each that was acknowledged.
async fn victim(path: &Path) {
    let store = Arc::new(EmbeddedStore::open(path).await.unwrap());
    let next = Arc::new(AtomicU64::new(store.list("").await.unwrap().revision.0));
    let writers = (0..8).map(|_| {
        let (store, next) = (Arc::clone(&store), Arc::clone(&next));
        async move {
            loop {
                let key =
                    format!("k{}-{}", std::process::id(), next.fetch_add(1, Ordering::Relaxed));
                let revision = store.commit(put(&key, "v")).await.unwrap();
                println!("acknowledged {key} {revision}");
            }
        }
    });
    futures::future::join_all(writers).await;
}

/// Given a process killed at any moment, whatever it acknowledged is there at the revision that it was told, and the
/// store goes on.
#[tokio::test]
async fn acknowledged_commits_survive_a_kill() {
    if let Some(path) = env::var_os(VICTIM) {
        return victim(Path::new(&path)).await;
    }
    let mut harness = Harness::fresh().await;
    harness.close().await;
    let mut acknowledged: Vec<(String, u64)> = Vec::new();
    for round in 0..ROUNDS {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args([
            "embedded::tests::crash::acknowledged_commits_survive_a_kill",
            "--exact",
            "--nocapture",
        ]);
        command.env(VICTIM, harness.path()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = Killed(command.spawn().unwrap());
        let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
        let mut n = 0;
        for line in lines {
            let line = line.unwrap();
            if let Some((key, revision)) = parse(&line) {
                acknowledged.push((key.to_owned(), revision));
                n += 1;
            }
            // After the kill, what it had printed before is still read to the end.
            if n == 1 + round * 7 % 50 {
                child.0.kill().unwrap();
            }
        }
        assert!(n > round * 7 % 50, "round {round}: the process ended by itself after {n} commits");
    }
    harness.restart().await;

    let store = harness.store();
    for (key, revision) in &acknowledged {
        let entry = store.get(key).await.unwrap();
        assert_eq!(
            entry.map(|e| e.revision.0),
            Some(*revision),
            "`{key}` was acknowledged at {revision}"
        );
    }
    let before = store.list("").await.unwrap();
    assert_eq!(
        before.entries.len() as u64,
        before.revision.0,
        "each key was written once, by one transaction"
    );
    assert_eq!(store.commit(put("on", "")).await.unwrap().0, before.revision.0 + 1);
}

fn parse(line: &str) -> Option<(&str, u64)> {
    // The test runner of the child writes to the same stream, possibly on the same line.
    let (_, rest) = line.split_once("acknowledged ")?;
    let (key, revision) = rest.split_once(' ')?;
    Some((key, revision.parse().ok()?))
}
