//! What replication stands on, on real OpenZFS, through its commands. Runs in a guest of its own.
#![expect(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::process::Command;

use zfs_guest::disks;

/// What the line prints.
fn sh(line: &str) -> String {
    let out = Command::new("sh").args(["-c", line]).output().unwrap();
    let (printed, errors) =
        (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{line}: {}: {errors}", out.status);
    printed.trim().to_owned()
}

/// A pool that goes with the test.
struct Pool(String);

impl Pool {
    fn make() -> Self {
        let name = format!("pool-of-{}", std::process::id());
        let disk = disks().unwrap()[0].display().to_string();
        sh(&format!("zpool create -m /run/{name} {name} {disk}"));
        Self(name)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        sh(&format!("zpool destroy -f {}", self.0));
    }
}

#[test]
fn live_zfs_guest_goes_on_with_a_receive_that_was_cut_off() {
    let pool = Pool::make();
    let name = &pool.0;
    sh(&format!(
        "zfs create {name}/a && head -c 32M /dev/urandom >/run/{name}/a/data && zfs snapshot {name}/a@1"
    ));

    let receive = format!("zfs receive -s -u {name}/b");
    // The sender is killed by its pipe, and the receiver finds the end of the stream too early.
    sh(&format!("! (zfs send {name}/a@1 | head -c 20M | {receive}) 2>/run/refusal"));
    let token = sh(&format!("zfs get -H -o value receive_resume_token {name}/b"));
    assert!(token.starts_with("1-"), "{token:?}");
    let rest: u64 = sh(&format!("zfs send -t {token} | wc -c")).parse().unwrap();
    assert!(rest < 24 << 20, "{rest} bytes were left to send of 32 MiB");
    sh(&format!("zfs send -t {token} | {receive}"));

    let guid = |of: &str| sh(&format!("zfs get -H -o value guid {name}/{of}@1"));
    assert_eq!(guid("a"), guid("b"));
    sh(&format!("zfs mount {name}/b && cmp /run/{name}/a/data /run/{name}/b/data"));
}

#[test]
fn live_zfs_guest_keeps_a_held_snapshot() {
    let pool = Pool::make();
    let name = &pool.0;
    sh(&format!("zfs snapshot {name}@1 && zfs hold replica {name}@1"));

    sh(&format!("! zfs destroy {name}@1 2>/run/refusal && grep -q 'being held' /run/refusal"));
    sh(&format!("zfs release replica {name}@1 && zfs destroy {name}@1"));
}
